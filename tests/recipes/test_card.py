"""The tables of an embedded model's card, at toy size."""

import pytest
import torch
from click.testing import CliRunner

from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.inference.networks import Restorer
from maskdcpt_cli.inference.output_check import judge
from recipes.tiny import card
from tests.datasets import degraded, photos, save
from tests.recipes.test_asked import ASKED, OPTIONS, rows_of, write_network

WAYS = ["asked for what is there", "asked for what is found", "asked for everything"]


@pytest.fixture
def tables(tmp_path):
    for index in range(2):
        save(tmp_path / "data/unseen" / f"{index}.png", photos()[index])
        save(tmp_path / "noisy" / f"{index}.png", degraded(photos()[index], "GN"))

    def of(**options):
        model = write_network(tmp_path / "model.safetensors", **OPTIONS, **options)
        arguments = [
            tmp_path / "data",
            "-o",
            tmp_path / "out",
            "-m",
            model,
            "--no-tools",
            "--limit",
            1,
        ]
        arguments += ["--pairs", "GN", tmp_path / "noisy", tmp_path / "data/unseen"]
        arguments = list(map(str, arguments))
        result = CliRunner().invoke(card.main, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        _, *parts = result.output.split(":\n\n")
        return result.output, [rows_of(part) for part in parts]

    return of


def test_a_network_that_can_be_asked_has_a_table_of_each_way(tables):
    output, (there, _, everything) = tables(**ASKED)
    assert [line.rstrip(":") for line in output.splitlines() if line.endswith(":")] == WAYS
    assert there.keys() == everything.keys()
    (noisy,) = (title for title in there if "/noisy" in title)
    assert there[noisy] != everything[noisy]
    (clean,) = (title for title in there if title.endswith("clean"))
    at = there["PSNR, dB"].index("untouched")
    assert (there[clean][at], everything[clean][at]) == ("100%", "0%")


def test_a_blind_network_has_one_table(tables):
    _, (table,) = tables()
    assert len(table) > 10


def failing_with(reason):
    """An `open_network` whose network fails on every image."""

    def restore(_lq):
        raise ImageError(f"The image was not restored: {reason}.")

    return lambda _model, **_options: Restorer(restore, "fails", "fails")


def test_where_the_output_is_refused_the_image_stays_as_it_was(tables, monkeypatch):
    refused = judge(torch.full((2, 1, 3, 1, 1), torch.nan))
    monkeypatch.setattr(card, "open_network", failing_with(refused))
    _, (table,) = tables()
    at = table["PSNR, dB"].index("untouched")
    (noisy,) = (title for title in table if "/noisy" in title)
    assert table[noisy][at] == "100%"


def test_any_other_failure_ends_the_tables(tables, monkeypatch):
    monkeypatch.setattr(card, "open_network", failing_with("the memory is used up"))
    with pytest.raises(AssertionError, match="the memory is used up"):
        tables()
