"""The command line of classify, with a network that finds several degradations."""

import csv
import io
import json
from pathlib import Path

import pytest

from maskdcpt_cli.inference.classify import Classified
from tests.cli.classify.fakes import FakeClassifier, invoke

SEVERAL = {"H": 0.93, "J": 0.81, "GN": 0.7104, "LL": 0.002}
FAINT = {"GN": 0.74, "H": 0.3, "J": 0.02, "LL": 0.01}


@pytest.fixture
def several(fake, photos) -> FakeClassifier:
    """A multi-label classifier: of haze and JPEG in a.png and b.png, and nothing in c.png."""
    fake.multi_label, fake.labels = True, ("GN", "J", "H", "LL")
    fake.thresholds = {"GN": 0.75, "J": 0.6, "H": 0.8, "LL": 0.5}
    fake.found.update({"a.png": SEVERAL, "b.png": SEVERAL, "c.png": FAINT})
    return fake


def test_every_type_above_its_threshold_is_shown(several):
    headline, _, *bars = invoke("in/a.png").stdout.splitlines()
    assert headline == "in/a.png: haze 93 %, jpeg 81 %"
    assert [bar.split()[0] for bar in bars] == ["haze", "jpeg", "noise", "low-light"]
    ends = [bar.split("%", 1)[1].strip() for bar in bars]
    assert ends == ["found", "found", "below 75 %", "below 50 %"]
    assert all(len(bar) <= 80 for bar in bars)


def test_without_any_a_photo_looks_clean(several):
    assert invoke("in/sub/c.png").stdout.splitlines()[0] == "in/sub/c.png: looks clean"


def test_photos_with_several_types_have_a_row_each_and_count_for_each_type(several):
    result = invoke("in")
    rows = [row.rstrip() for row in result.stdout.splitlines()]
    assert rows == [
        "File          Found                 Below its threshold",
        "in/a.png      haze 93 %, jpeg 81 %  noise 71 %, low-light <1 %",
        "in/b.png      haze 93 %, jpeg 81 %  noise 71 %, low-light <1 %",
        "in/sub/c.png  looks clean           noise 74 %, haze 30 %",
    ]
    assert result.stderr.splitlines()[-1] == "3 photos: 2 haze, 2 jpeg, 1 looks clean"


def test_json_and_csv_have_every_type_that_was_found(several):
    result = invoke("in", "--json", "--csv", "a.csv")
    first, _, last = map(json.loads, result.stdout.splitlines())
    assert (first["answer"], first["probability"]) == ("haze", 0.93)
    assert first["labels"] == ["haze", "jpeg"]
    assert first["probabilities"] == {
        "haze": 0.93,
        "jpeg": 0.81,
        "noise": 0.7104,
        "low-light": 0.002,
    }
    assert (last["answer"], last["probability"], last["labels"]) == ("clean", None, [])
    with Path("a.csv").open(newline="") as file:
        head, row, _, clean = csv.reader(file)
    assert head[:7] == ["file", "answer", "probability", "found", "first", "second", "third"]
    assert head[7:] == ["noise", "jpeg", "haze", "low-light", "reason"]
    assert row[1:7] == ["haze", "0.93", "haze jpeg", "haze", "jpeg", "noise"]
    assert clean[1:7] == ["clean", "", "", "noise", "haze", "jpeg"]


def test_a_file_without_thresholds_is_reported(several):
    assert "no thresholds" not in invoke("in").stderr
    several.thresholds = {}
    assert "Note: The file holds no thresholds" in invoke("in").stderr


def test_a_table_of_several_types_fits_a_terminal_of_80_columns(several):
    from rich.console import Console

    from maskdcpt_cli.cli.classify_view import _table

    found = {"LL+H+RS+S": 0.99, "MB+LL+GN": 0.98, **SEVERAL}
    labels = ("LL+H+RS+S", "MB+LL+GN", "H", "J")
    one = Classified(Path("in/a.png"), found, labels=labels, multi_label=True)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(_table([one], width=80))
    lines = console.export_text().splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert "low-light+haze+rain+snow 99 %," in lines[1], "wrapped between two types"
    assert "in/a.png" in lines[1]
