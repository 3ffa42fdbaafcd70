"""The command line of classify, with a network that names colours."""

import csv
import io
import json
import os
import sys
from pathlib import Path

import click
import pytest

from maskdcpt_cli.cli.classify_view import ClassifyBars, ClassifyTable
from maskdcpt_cli.cli.listed import with_listed
from maskdcpt_cli.inference.classify import Classified
from tests.cli.classify.fakes import NOISE, SOUND, UNSURE, invoke


def test_one_photo_has_a_bar_for_every_type(fake, photos):
    result = invoke("in/a.png")
    assert result.exit_code == 0
    headline, empty, *bars = result.stdout.splitlines()
    assert (headline, empty) == ("in/a.png: noise, 93 %", "")
    assert [bar.split()[0] for bar in bars] == ["noise", "haze", "blur+low-light+noise", "clean"]
    assert [bar.split()[-2] for bar in bars] == ["93", "5", "2", "<1"]
    lengths = [bar.count("\u2588") for bar in bars]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] > 40
    assert all(len(bar) <= 80 for bar in bars)


@pytest.mark.parametrize(
    ("found", "headline"),
    [(SOUND, "in/a.png: looks clean, 80 %"), (UNSURE, "in/a.png: uncertain")],
)
def test_clean_and_uncertain_are_answers(fake, photos, found, headline):
    fake.found["a.png"] = found
    assert invoke("in/a.png").stdout.splitlines()[0] == headline


def test_several_photos_have_a_row_each_with_the_top_three(fake, photos):
    fake.found.update({"b.png": UNSURE, "c.png": SOUND})
    result = invoke("in")
    assert result.exit_code == 0
    rows = [row.rstrip() for row in result.stdout.splitlines()]
    assert rows == [
        "File          Answer       Prob.  Then",
        "in/a.png      noise         93 %  haze 5 %, blur+low-light+noise 2 %",
        "in/b.png      uncertain           haze 43 %, noise 30 %, clean 20 %",
        "in/sub/c.png  looks clean   80 %  haze 10 %, noise 6 %",
    ]
    assert result.stderr.splitlines()[-1] == "3 photos: 1 noise, 1 uncertain, 1 looks clean"


def test_a_table_fits_a_terminal_of_80_columns(fake, photos):
    from rich.console import Console

    from maskdcpt_cli.cli.classify_view import _table

    long = Path("a-folder-with-a-long-name/and-another-one") / ("x" * 60 + ".jpeg")
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(_table([Classified(long, NOISE), Classified(Path("b.png"), UNSURE)], width=80))
    lines = console.export_text().splitlines()
    assert all(len(line) <= 80 for line in lines)
    names = "".join(line[: lines[0].index("Answer")].strip() for line in lines[1:])
    assert names == f"{long}b.png", "a long name is folded, not cut"
    (row,) = (line for line in lines if "noise  " in line)
    assert "93 %" in row
    assert "haze" in row


def test_json_is_one_object_per_photo_and_nothing_else(fake, photos):
    fake.found["b.png"] = "in/b.png cannot be read: it is empty."
    result = invoke("in", "missing.png", "--json", "--no-recursive")
    assert result.exit_code == 1
    assert not result.stderr
    printed = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(one["source"], one["answer"]) for one in printed] == [
        ("missing.png", None),
        ("in/a.png", "noise"),
        ("in/b.png", None),
    ]
    assert printed[1] == {
        "source": "in/a.png",
        "answer": "noise",
        "probability": 0.931,
        "labels": ["noise"],
        "top": [
            {"type": "noise", "probability": 0.931},
            {"type": "haze", "probability": 0.052},
            {"type": "blur+low-light+noise", "probability": 0.016},
        ],
        "probabilities": {
            "noise": 0.931,
            "haze": 0.052,
            "blur+low-light+noise": 0.016,
            "clean": 0.001,
        },
        "reason": None,
        "notices": [],
        "calibrated": True,
    }
    assert printed[2]["reason"] == "in/b.png cannot be read: it is empty."


def test_csv_has_a_column_for_every_label_in_its_order(fake, photos):
    fake.found.update({"b.png": UNSURE, "c.png": "it is empty"})
    assert invoke("in", "--csv", "new/a.csv").exit_code == 1
    with Path("new/a.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    kinds = ["noise", "blur+low-light+noise", "haze", "clean"]
    assert head == ["file", "answer", "probability", "first", "second", "third", *kinds, "reason"]
    assert rows == [
        ["in/a.png", "noise", "0.931", "noise", "haze", "blur+low-light+noise",
         "0.931", "0.016", "0.052", "0.001", ""],
        ["in/b.png", "uncertain", "0.4312", "haze", "noise", "clean",
         "0.3", "0.0688", "0.4312", "0.2", ""],
        ["in/sub/c.png", *[""] * 9, "it is empty"],
    ]  # fmt: skip


def test_the_csv_is_written_even_where_the_table_cannot_be(fake, photos, monkeypatch):
    def broken(_view: object) -> None:
        raise SystemExit(1)  # as rich does where the pipe is closed

    for view in (ClassifyBars, ClassifyTable):
        monkeypatch.setattr(view, "show", broken)
    assert invoke("in", "--csv", "a.csv").exit_code == 1
    assert Path("a.csv").read_text().count("\n") > 1


def test_a_csv_is_not_overwritten_unasked(fake, photos):
    Path("a.csv").write_text("mine")
    result = invoke("in", "--csv", "a.csv")
    assert result.exit_code == 2
    assert "'a.csv' exists: name another file, or type --overwrite." in result.stderr
    assert not fake.model
    assert invoke("in", "--csv", "a.csv", "--overwrite").exit_code == 0
    assert Path("a.csv").read_text().startswith("file,answer,")


def test_a_csv_that_cannot_be_written_is_reported_after_the_answers(fake, photos):
    result = invoke("in", "--csv", "in/a.png/a.csv")
    assert result.exit_code == 1
    assert "in/b.png" in result.stdout
    assert "Error: Cannot write 'in/a.png/a.csv'" in result.stderr


def test_model_device_limit_and_maps_are_those_of_the_options(fake, photos):
    options = "--model runs/final.safetensors --device cpu --max-pixels 20 --map maps --overwrite"
    assert invoke("in", *options.split()).exit_code == 0
    assert (fake.model, fake.device) == ("runs/final.safetensors", "cpu")
    assert fake.options == {
        "max_pixels": 20_000_000,
        "maps": {
            Path("in/a.png"): Path("maps/a.png.map.png"),
            Path("in/b.png"): Path("maps/b.png.map.png"),
            Path("in/sub/c.png"): Path("maps/sub/c.png.map.png"),
        },
        "overwrite": True,
    }


def test_the_default_is_the_model_that_classifies(fake, photos):
    invoke("in")
    assert fake.model == "tiny-classifier"


def test_files_folders_globs_and_lists_are_taken_and_maps_are_not(fake, photos):
    for name in ("a.png.map.png", "a.png.compare.jpg", "notes.txt"):
        (photos / name).write_bytes((photos / "a.png").read_bytes())
    invoke("in", "--no-recursive")
    invoke("in/sub/*.png")
    invoke("-", stdin="in/b.png\nin/a.png\n")
    invoke("in/a.png.map.png")
    assert [path.as_posix() for path in fake.paths] == [
        "in/a.png", "in/b.png", "in/sub/c.png", "in/b.png", "in/a.png", "in/a.png.map.png",
    ]  # fmt: skip


def test_two_photos_with_one_map_are_wrong_usage(fake, photos):
    (photos / "sub" / "a.png").write_bytes((photos / "a.png").read_bytes())
    result = invoke("in/a.png", "in/sub/a.png", "--map", "maps")
    assert result.exit_code == 2
    assert "would both have their map" in " ".join(result.stderr.split())
    assert invoke("in", "--map", "maps").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("empty", "No image found in 'empty'."),
        ("in --device gpu", "'gpu' is none of auto, cpu, cuda"),
        ("in --max-pixels many", "'many' is neither off nor a whole number"),
        ("", "Missing argument 'INPUT...'"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_nothing_is_loaded(fake, photos, arguments, sentence):
    Path("empty").mkdir()
    result = invoke(*arguments.split())
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())
    assert not fake.model


def test_one_bad_file_never_stops_the_others(fake, photos):
    fake.found["a.png"] = "in/a.png cannot be read: it is empty."
    result = invoke("in", "none*.jpg")
    assert result.exit_code == 1
    assert len(fake.paths) == 3
    assert "Failed: in/a.png cannot be read: it is empty." in result.stderr
    assert "Failed: No file matches 'none*.jpg'." in result.stderr
    assert result.stderr.splitlines()[-1] == "4 photos: 2 noise, 2 failed"


def test_only_problems_load_no_network(fake, photos):
    result = invoke("missing.png")
    assert result.exit_code == 1
    assert "Failed: 'missing.png' does not exist." in result.stderr
    assert not fake.model


def test_quiet_says_only_what_failed(fake, photos):
    assert not invoke("in", "--quiet").output
    fake.found["b.png"] = "in/b.png cannot be read."
    assert invoke("in", "--quiet").output == "Failed: in/b.png cannot be read.\n"


def test_a_model_that_does_not_classify_is_one_sentence(fake, photos):
    result = invoke("in", "--model", "tiny")
    assert (result.exit_code, result.stderr) == (1, "Error: tiny holds no classifier.\n")


def test_uncalibrated_probabilities_are_reported(fake, photos):
    assert "not calibrated" not in invoke("in").stderr
    fake.temperature = None
    assert "Note: The probabilities are not calibrated" in invoke("in").stderr
    assert json.loads(invoke("in/a.png", "--json").stdout)["calibrated"] is False


def test_an_interruption_shows_what_is_known_by_then(fake, photos):
    fake.found["c.png"] = KeyboardInterrupt()
    result = invoke("in", "--csv", "a.csv")
    assert result.exit_code == 130
    assert "Interrupted: 2 of 3 photos done" in result.stderr
    assert "in/b.png" in result.stdout
    assert len(Path("a.csv").read_text().splitlines()) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
@pytest.mark.parametrize("option", ["--json", "--csv=a.csv"])
def test_a_name_that_is_not_utf8_can_be_shown(fake, photos, option):
    name = os.fsdecode(b"caf\xe9\n.png")
    (photos / name).write_bytes((photos / "a.png").read_bytes())
    result = invoke("in", option)
    assert result.exit_code == 0, result.output
    if option == "--json":
        sources = [json.loads(line)["source"] for line in result.stdout.splitlines()]
        assert f"in/{name}" in sources
    else:
        assert r"in/caf\xe9\n.png" in result.stdout
        assert b"caf\xe9\n.png" in Path("a.csv").read_bytes()


def test_names_on_a_standard_input_that_is_closed_are_wrong_usage(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(click.UsageError, match="names on standard input, which is closed"):
        with_listed(["-"])
