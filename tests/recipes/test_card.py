"""The tables of an embedded model's card, at toy size."""

import pytest
from click.testing import CliRunner

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
        assert result.exit_code == 0
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


def test_where_the_output_is_refused_the_image_stays_as_it_was(tables, monkeypatch):
    measured = card.measured
    monkeypatch.setattr(
        card,
        "measured",
        lambda testset, network, out, limit: (
            measured(testset, network, out, limit=limit) if out.name == "input" else {}
        ),
    )
    _, (table,) = tables()
    at = table["PSNR, dB"].index("untouched")
    (noisy,) = (title for title in table if "/noisy" in title)
    assert table[noisy][at] == "100%"
