"""The taxonomy: 19 types, their names, the label orders of the settings."""

import pytest

from maskdcpt_cli.degradations import CLEAN, DEGRADATIONS, LABELS, SETTINGS, find, group
from maskdcpt_cli.errors import MaskDCPTError


def test_there_are_fourteen_single_types_and_five_mixed_ones():
    assert sum(group(label) == "mixed" for label in DEGRADATIONS) == 5
    assert len(DEGRADATIONS) == 19
    assert all((group(label) == "mixed") == ("+" in label) for label in DEGRADATIONS)


def test_the_settings_hold_what_the_paper_says():
    assert SETTINGS["5d"] == ("H", "RS", "GN", "MB", "LL")
    assert len(SETTINGS["9d"]) == 9
    assert len(SETTINGS["12d"]) == 13  # noise is one result column, but GN and RN two types
    assert set(SETTINGS["mixed"]) == {label for label in DEGRADATIONS if "+" in label}
    for setting in SETTINGS.values():
        assert len(set(setting)) == len(setting)
        assert set(setting) <= set(LABELS)


@pytest.mark.parametrize("abbreviation", DEGRADATIONS)
def test_a_type_is_found_by_slug_and_abbreviation_in_any_case(abbreviation):
    for word in (abbreviation, abbreviation.lower(), DEGRADATIONS[abbreviation].slug):
        assert find(word) == abbreviation
    assert len({degradation.slug for degradation in DEGRADATIONS.values()}) == 19


def test_an_unknown_type_is_named_with_the_nearest():
    with pytest.raises(MaskDCPTError, match=r"Unknown degradation 'hazy'\. Did you mean 'haze'\?"):
        find("hazy")


def test_clean_is_a_label_but_no_degradation():
    assert CLEAN in SETTINGS["12d+clean"]
    assert CLEAN not in DEGRADATIONS
    assert find(CLEAN) == CLEAN
