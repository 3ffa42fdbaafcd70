"""`maskdcpt degrade`, from arguments to files."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.random import default_rng
from PIL import Image

from maskdcpt_cli.cli import main
from maskdcpt_cli.data.manifest import read_manifest
from maskdcpt_cli.degradations import DEGRADATIONS, LABELS, SETTINGS, find
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.synthesis.table import SYNTHESIS

SLUGS = [degradation.slug for degradation in DEGRADATIONS.values()]


@pytest.fixture(autouse=True)
def photos(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos/sub").mkdir(parents=True)
    examples = Path(__file__).parents[2] / "examples"
    for name, target in (("coffee-jpeg.jpg", "a.png"), ("bee-blur.jpg", "sub/b.jpg")):
        with Image.open(examples / name) as image:
            image.crop((100, 100, 196, 164)).save(Path("photos", target), quality=95)


def degrade(*args: str) -> Result:
    return CliRunner().invoke(main, ["degrade", *args, "--jobs", "1"])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_all_types_are_written_with_a_manifest_and_a_sheet():
    result = degrade("photos", "-o", "out", "--setting", "all", "--sheet")
    assert result.exit_code == 0, result.output
    assert "38 pairs of 19 types" in result.stderr
    out = Path("out")
    assert {path.name for path in out.iterdir() if path.is_dir()} == set(SLUGS)
    for line in read_manifest(out / "manifest.jsonl"):
        lq, gt = (pixels(out / line.type / side / line.file) for side in ("lq", "gt"))
        assert lq.shape == gt.shape == (64, 96, 3)
        row = SYNTHESIS[find(line.type)]
        again = row.variants[line.kind](
            np.divide(gt, 255, dtype=np.float32), line.level, default_rng(line.seed)
        )
        assert np.array_equal(np.rint(again.lq * 255), lq)
    assert len(read_manifest(out / "manifest.jsonl")) == 38
    assert min(pixels(out / "sheet.jpg").shape[:2]) > 192


def test_the_same_command_writes_the_same_bytes():
    command = ["--setting", "12d", "--per-photo", "2", "--seed", "7", "--sheet"]
    assert degrade("photos", "-o", "one", *command).exit_code == 0
    first = contents(Path("one"))
    assert degrade("photos", "-o", "one", *command).exit_code == 0
    assert contents(Path("one")) == first
    shutil.move("one", "kept")
    again = CliRunner().invoke(
        main, ["degrade", "photos", "-o", "one", *command, "--jobs", "2", "--quiet"]
    )
    assert again.exit_code == 0
    assert contents(Path("one")) == first


def test_a_sheet_replaces_neither_a_photo_nor_a_file_of_others():
    Path("photos/sheet.jpg").write_bytes(Path("photos/sub/b.jpg").read_bytes())
    before = contents(Path("photos"))
    result = degrade("photos/sheet.jpg", "photos/a.png", "-o", "photos", "-t", "jpeg", "--sheet")
    assert result.exit_code != 0
    assert "'photos/sheet.jpg' is one of the photos" in result.stderr
    result = degrade("photos/a.png", "-o", "photos", "-t", "jpeg", "--sheet")
    assert result.exit_code != 0
    assert "'photos/sheet.jpg' exists with other content" in result.stderr
    assert contents(Path("photos")) == before


def test_photos_in_the_output_folder_are_degraded_and_results_are_not():
    for _ in range(2):
        assert degrade("photos", "-o", ".", "-t", "jpeg").exit_code == 0
        assert len(read_manifest(Path("manifest.jsonl"))) == 2
    result = degrade(".", "-o", ".", "-t", "jpeg")
    assert result.exit_code == 1
    assert "There are no photos in '.'" in result.stderr


def test_a_level_given_twice_is_refused():
    result = degrade("photos", "-o", "out", "-t", "noise", "--level", "15", "--level", "25")
    assert result.exit_code == 2
    assert "noise has a level already; write several with commas" in result.stderr


def test_a_ground_truth_that_is_degraded_again_is_not_overwritten():
    degrade("photos/a.png", "-o", "out", "-t", "haze")
    before = contents(Path("out"))
    result = degrade("out/haze/gt/a.png", "-o", "out", "-t", "haze", "--seed", "1", "--overwrite")
    assert result.exit_code != 0
    assert "'out/haze/gt/a.png' is one of the photos" in result.stderr
    assert contents(Path("out"))["out/haze/gt/a.png"] == before["out/haze/gt/a.png"]


def test_a_pair_does_not_depend_on_what_else_is_degraded():
    degrade("photos", "-o", "all", "--setting", "5d")
    degrade("photos/sub", "photos/a.png", "-o", "one", "--type", "haze")
    assert pixels(Path("all/haze/lq/a.png")).tolist() == pixels(Path("one/haze/lq/a.png")).tolist()


def test_several_pairs_of_a_photo_differ_and_another_seed_draws_others():
    degrade("photos", "-o", "out", "-t", "noise", "--per-photo", "3")
    lines = read_manifest(Path("out/manifest.jsonl"))
    assert [line.file for line in lines][:3] == ["a_0.png", "a_1.png", "a_2.png"]
    assert len({line.seed for line in lines}) == 6
    degrade("photos", "-o", "other", "-t", "noise", "--per-photo", "3", "--seed", "1")
    assert read_manifest(Path("other/manifest.jsonl"))[0].seed not in {line.seed for line in lines}


@pytest.mark.parametrize(
    ("options", "valid"),
    [
        (["-t", "noise:gaussian", "--level", "25"], lambda level: level == 25),
        (["-t", "jpeg", "--level", "10,40"], lambda level: level in (10, 40)),
        (["-t", "haze", "--level", "0.5..0.6"], lambda level: 0.5 <= level <= 0.6),
        (["-t", "H", "-t", "J", "--level", "haze=1", "--level", "J=1"], lambda level: level == 1),
    ],
)
def test_levels_are_what_was_asked_for(options, valid):
    result = degrade("photos", "-o", "out", *options)
    assert result.exit_code == 0, result.output
    lines = read_manifest(Path("out/manifest.jsonl"))
    assert lines
    assert all(valid(line.level) for line in lines)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "either --type, which may be repeated, or --setting"),
        (["-t", "haze", "--setting", "5d"], "either --type"),
        (["-t", "hazy"], "Unknown degradation 'hazy'. Did you mean 'haze'?"),
        (["-t", "noise:poison"], "Did you mean 'poisson'?"),
        (["-t", "noise:gaussian", "-t", "noise:poisson"], "--type noise is given twice"),
        (["-t", "haze", "--level", "lots"], "valid are a number as 25, several as 15,25,50"),
        (["-t", "haze", "--level", "99"], "out of range for haze"),
        (["-t", "haze", "-t", "jpeg", "--level", "1"], "name one, as --level haze=1"),
        (["-t", "haze", "--level", "jpeg=1"], "not among the requested types"),
    ],
)
def test_wrong_usage_is_a_sentence_and_exit_code_2(options, sentence):
    result = degrade("photos", "-o", "out", *options)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert not Path("out").exists()


def test_nothing_is_overwritten_unasked():
    degrade("photos", "-o", "out", "-t", "noise", "--level", "10")
    before = contents(Path("out"))
    refused = degrade("photos", "-o", "out", "-t", "noise", "--level", "50")
    assert refused.exit_code == 1
    assert "--overwrite" in refused.stderr
    assert contents(Path("out")) == before
    assert (
        degrade("photos", "-o", "out", "-t", "noise", "--level", "50", "--overwrite").exit_code == 0
    )
    assert {line.level for line in read_manifest(Path("out/manifest.jsonl"))} == {50}


def test_another_type_joins_the_manifest_of_an_earlier_run():
    degrade("photos", "-o", "out", "-t", "noise")
    degrade("photos", "-o", "out", "-t", "haze")
    types = [line.type for line in read_manifest(Path("out/manifest.jsonl"))]
    assert types == ["noise", "noise", "haze", "haze"]


def test_a_broken_photo_is_named_and_stops_no_other():
    Path("photos/broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    result = degrade("photos", "-o", "out", "-t", "noise")
    assert result.exit_code == 1
    assert "broken.png" in result.stderr
    assert len(read_manifest(Path("out/manifest.jsonl"))) == 2


def test_photos_of_one_name_are_refused_before_anything_is_written():
    shutil.copy("photos/a.png", "photos/a.bmp")
    result = degrade("photos", "-o", "out", "-t", "noise")
    assert result.exit_code == 1
    assert "pairs of the same name" in result.stderr
    assert not Path("out").exists()


def test_pairs_within_the_photos_are_not_degraded_again():
    degrade("photos", "-o", "photos/out", "-t", "noise")
    result = degrade("photos", "-o", "photos/out", "-t", "noise")
    assert result.exit_code == 0
    assert len(read_manifest(Path("photos/out/manifest.jsonl"))) == 2


def test_pairs_of_another_run_within_the_photos_are_no_photos():
    degrade("photos", "-o", "photos/hazy", "-t", "haze")
    result = degrade("photos", "-o", "photos/noisy", "-t", "noise")
    assert result.exit_code == 0, result.stderr
    assert len(read_manifest(Path("photos/noisy/manifest.jsonl"))) == 2


def test_a_folder_may_be_named_twice():
    result = degrade("photos", str(Path("photos").resolve()), "-o", "out", "-t", "noise")
    assert result.exit_code == 0, result.stderr
    assert len(read_manifest(Path("out/manifest.jsonl"))) == 2


def test_folders_are_walked_as_by_other_commands():
    """Links to folders are followed, but for those to a folder above; hidden files are not read."""
    Path("elsewhere").mkdir()
    Path("photos/a.png").rename("elsewhere/a.png")
    Path("photos/linked").symlink_to(Path("elsewhere").resolve())
    Path("photos/again").symlink_to(Path("photos").resolve())
    Path("photos/.b.png").write_bytes(Path("elsewhere/a.png").read_bytes())
    result = degrade("photos", "-o", "out", "--type", "haze")
    assert result.exit_code == 0, result.stderr
    written = {
        path.relative_to("out/haze/lq").as_posix() for path in Path("out/haze/lq").rglob("*")
    }
    assert written == {"linked", "linked/a.png", "sub", "sub/b.png"}


def test_a_manifest_that_is_none_is_named_with_its_line():
    Path("out").mkdir()
    Path("out/manifest.jsonl").write_text('{"file": "a.png"}\n')
    result = degrade("photos", "-o", "out", "-t", "noise")
    assert result.exit_code == 1
    assert "line 1: not a line of a manifest" in result.stderr
    assert {path.name for path in Path("out").iterdir()} == {"manifest.jsonl"}


@pytest.mark.parametrize(
    ("label", "variant"),
    [
        (label, variant)
        for label, row in SYNTHESIS.items()
        for variant in row.variants
        if row.sampled and variant not in row.sampled
    ],
)
def test_further_variants_are_made_and_listed_if_they_are_named(label, variant):
    slug = LABELS[label].slug
    result = degrade("photos/a.png", "-o", "out", "-t", f"{slug}:{variant}")
    assert result.exit_code == 0, result.output
    assert [line.kind for line in read_manifest(Path("out/manifest.jsonl"))] == [variant]
    listed = CliRunner().invoke(main, ["degrade", "--list"], env={"COLUMNS": "160"}).output
    assert variant in listed


def test_the_list_names_every_type():
    result = CliRunner().invoke(main, ["degrade", "--list"], env={"COLUMNS": "120"})
    assert result.exit_code == 0
    assert all(slug in result.output for slug in SLUGS)


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_makes_its_types(setting):
    degrade("photos/a.png", "-o", "out", "--setting", setting)
    text = Path("out/manifest.jsonl").read_text().splitlines()
    assert {find(json.loads(line)["type"]) for line in text} == set(SETTINGS[setting])


SOUND = {"file": "a.png", "type": "haze", "kind": "haze", "level": 0.5, "seed": 3, "parameters": {}}


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe",
        b"[1]",
        b"[" * 100_000,
        json.dumps({**SOUND, "level": "high"}).encode(),
        json.dumps({**SOUND, "level": float("nan")}).encode(),
        json.dumps({**SOUND, "level": 10**400}).encode(),
        json.dumps({**SOUND, "seed": None}).encode(),
        json.dumps({**SOUND, "file": 3}).encode(),
        json.dumps({**SOUND, "type": "H"}).encode(),
        json.dumps({**SOUND, "type": ["haze"]}).encode(),
        json.dumps({**SOUND, "parameters": []}).encode(),
        json.dumps({**SOUND, "more": 1}).encode(),
    ],
)
def test_a_line_of_another_form_is_named_by_its_number(line):
    Path("manifest.jsonl").write_bytes(json.dumps(SOUND).encode() + b"\n" + line + b"\n")
    with pytest.raises(MaskDCPTError, match="line 2: not a line of a manifest"):
        read_manifest(Path("manifest.jsonl"))


@pytest.mark.parametrize(
    "block",
    [
        lambda: Path("out").write_text("a file"),
        lambda: (Path("out").mkdir(), Path("out/noise").write_text("a file")),
        lambda: Path("out/noise/lq/a.png").mkdir(parents=True),
        lambda: (Path("out/noise/lq").mkdir(parents=True), os.mkfifo("out/noise/lq/a.png")),
        lambda: (Path("out").mkdir(), os.mkfifo("out/manifest.jsonl")),
        lambda: Path("out/manifest.jsonl").mkdir(parents=True),
        lambda: Path("out/sheet.jpg").mkdir(parents=True),
    ],
)
def test_what_cannot_be_written_is_named_in_a_sentence(block):
    block()
    result = degrade("photos/a.png", "-o", "out", "-t", "noise", "--sheet", "--jobs", "1")
    assert result.exit_code in (1, 2)
    assert isinstance(result.exception, SystemExit)
    message = result.stderr.splitlines()[-1]
    assert message.startswith("Error: ")
    assert "out" in message
    assert message.endswith(".")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--level", "50..5"], "a range begins with the lower level, as 5..50."),
        (["--level", "9" * 400], "out of range"),
        (["--per-photo", "9" * 30], "is not in the range"),
        (["--seed", "9" * 5000], "is not a valid integer"),
    ],
)
def test_numbers_without_sense_are_refused(args, message):
    result = degrade("photos/a.png", "-o", "out", "-t", "noise", *args)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not Path("out").exists()


def test_a_seed_may_have_more_than_64_bits():
    assert degrade("photos/a.png", "-o", "out", "-t", "noise", "--seed", str(2**70)).exit_code == 0


def test_what_is_no_file_is_refused_at_once():
    os.mkfifo("pipe.png")
    result = degrade("pipe.png", "-o", "out", "-t", "noise")
    assert "'pipe.png' is neither a file nor a folder." in result.stderr
