"""Where a type is removed: at the size of the page, or from the page reduced."""

import pytest

from maskdcpt_cli.inference.classify import Found
from maskdcpt_cli.inference.events import Settings
from maskdcpt_cli.inference.removal import Removal, decide_removal

REQUESTS = ("GN", "H", "RS", "LL")


def found(*labels: str, reduced: tuple[str, ...] = ()) -> Found:
    return Found(dict.fromkeys(labels, 0.9), labels, frozenset(reduced))


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        (found(), Removal(())),
        (found("LL", "H"), Removal((), ("H", "LL"))),
        (found("GN", "LL"), Removal(("GN",), ("LL",))),
        (found("RS"), Removal(("RS",))),
        (found("RS", reduced=("RS",)), Removal((), ("RS",))),
        (found("GN", "RS", reduced=("GN",)), Removal(("GN", "RS"))),
        (None, Removal(("GN", "RS"), ("H", "LL"))),
    ],
)
def test_the_scale_of_a_type_and_the_looks_decide_where_it_is_removed(
    look: Found | None, expected: Removal
) -> None:
    settings = Settings() if look else Settings(remove="all")
    assert decide_removal(REQUESTS, settings, look) == expected


def test_of_types_by_name_the_looks_decide_where_there_are_any() -> None:
    settings = Settings(remove=("rain", "haze"))
    assert decide_removal(REQUESTS, settings, None) == Removal(("RS",), ("H",))
    look = found("GN", reduced=("RS",))
    assert decide_removal(REQUESTS, settings, look) == Removal((), ("H", "RS"))


def test_blur_that_is_named_is_removed_where_another_kind_of_it_shows() -> None:
    settings, look = Settings(remove=("defocus",)), found("MB", reduced=("MB",))
    assert decide_removal(("DB", "H"), settings, look) == Removal((), ("DB",))
    assert decide_removal(("DB", "H"), settings, found("MB")) == Removal(("DB",))
