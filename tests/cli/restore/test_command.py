"""The command line of restore, with a stand-in for the network."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from maskdcpt_cli.inference.events import Job, Outcome, Settings
from tests.cli.restore.fakes import invoke

JOB = Job(Path("x"), Path("y"))
FAILED = Outcome(JOB, "failed", "Cannot read 'in/b.png': it is truncated.")
UNSOUND = Outcome(JOB, "unrestored", "the output is black")
SKIPPED = Outcome(JOB, "skipped")


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        ("", "tile", None),
        ("--tile auto", "tile", None),
        ("--tile off", "tile", 0),
        ("--tile 256", "tile", 256),
        ("--overlap 16", "overlap", 16),
        ("--strength 0.5", "strength", 0.5),
        ("--tta", "tta", True),
        ("--quality 80", "quality", 80),
        ("--strip", "strip", True),
        ("--compare", "compare", True),
        ("--max-pixels 20", "max_pixels", 20_000_000),
        ("--max-pixels off", "max_pixels", None),
    ],
)
def test_each_setting_arrives_and_the_others_stay_as_they_are(fake, photos, options, field, value):
    result = invoke("in", "-o", "out", *options.split())
    assert result.exit_code == 0, result.output
    assert fake.settings == replace(Settings(), **{field: value})


def test_the_options_of_the_network_arrive(fake, photos):
    options = "--model nafnet-5d --device cuda:1 --precision bf16 --backend torch"
    assert invoke("in", "-o", "out", *options.split()).exit_code == 0
    assert fake.model == "nafnet-5d"
    assert fake.opened == {"device": "cuda:1", "precision": "bf16", "backend": "torch"}


@pytest.mark.parametrize("existing", ["skip", "overwrite", "error"])
def test_what_to_do_with_existing_results_arrives(fake, photos, existing):
    invoke("in", "-o", "out", "--existing", existing)
    assert fake.existing == existing


def test_names_and_formats_choose_the_targets(fake, photos):
    options = [
        "--model",
        "weights/mine.pth",
        "--name",
        "{stem}-{model}{suffix}",
        "--format",
        "webp",
    ]
    invoke("in/a.png", "-o", "out", *options)
    assert [job.target for job in fake.jobs] == [Path("out/a-mine.webp")]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("", "Missing option '-o'"),
        ("-o out --tile 0", "'0' is neither auto nor off nor a whole number above 0."),
        ("-o out --tile -5", "'-5' is neither auto nor off"),
        ("-o out --tile 1", "1 is too small: the least is 64."),
        ("-o out --tile 63", "63 is too small: the least is 64."),
        (f"-o out --tile {'9' * 5000}", "has 5000 digits; take a smaller one."),
        (f"-o out --max-pixels {'9' * 5000}", "has 5000 digits; take a smaller one."),
        ("-o out --name {stem!x}{suffix}", "takes {stem} as it is, without ':' or '!'."),
        ("-o out --name {stem!r}{suffix}", "takes {stem} as it is"),
        ("-o out --name {stem:>999999999}{suffix}", "takes {stem} as it is"),
        ("-o out --name {stem:{model}}{suffix}", "takes {stem} as it is"),
        ("-o out --name {stem.__class__}{suffix}", "Unknown field of --name 'stem.__class__'."),
        ("-o out --name {0}{suffix}", "Unknown field of --name '0'."),
        ("-o out --name \x1b{stem}{suffix}", "must be a file name"),
        ("**.png -o out", "'**.png': ** stands for folders, as in '**/*.png'."),
        ("-o out --tile 64 --overlap 32", "--overlap 32 must be less than half of --tile 64."),
        ("-o out --strength 1.5", "1.5 is not in the range"),
        ("-o out --quality 0", "0 is not in the range"),
        ("-o out --device gpu", "'gpu' is none of auto, cpu, cuda"),
        ("-o out --max-pixels many", "'many' is neither off nor a whole number"),
        ("-o out --format gif", "'gif' is not one of"),
        ("-o out --name {stem}", "must hold {stem} once and end in {suffix}"),
        ("-o in", "would overwrite the input"),
        ("-o in/a.png", "several inputs"),
        ("-o out --remove niose", "Unknown degradation 'niose'. Did you mean 'noise'?"),
        ("-o out --remove haze,", "Unknown degradation ''."),
        ("-o out --remove noise,clean", "'clean' is not a type of degradation."),
        ("-o out --keep all", "Unknown degradation 'all'."),
        ("-o out --remove noise --keep haze", "--keep goes with --remove auto or all"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_nothing_is_loaded(fake, photos, options, sentence):
    result = invoke("in", *options.split())
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())
    assert not fake.model


def test_an_empty_folder_is_wrong_usage(fake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    result = invoke("empty", "-o", "out")
    assert result.exit_code == 2
    assert "No image found in 'empty'." in result.stderr


@pytest.mark.parametrize(
    ("outcome", "exit_code"), [(None, 0), (SKIPPED, 0), (FAILED, 1), (UNSOUND, 1)]
)
def test_the_exit_code_tells_whether_all_is_well(fake, photos, outcome, exit_code):
    if outcome:
        fake.outcomes["b.png"] = outcome
    assert invoke("in", "-o", "out").exit_code == exit_code
    assert len(fake.jobs) == 3


def test_a_backend_that_is_not_here_is_one_sentence(fake, photos):
    result = invoke("in", "-o", "out", "--device", "mps")
    assert (result.exit_code, result.stderr) == (1, "Error: There is no 'mps' here.\n")


def test_only_problems_load_no_network(fake, photos):
    result = invoke("missing.png", "-o", "out")
    assert result.exit_code == 1
    assert "'missing.png' does not exist." in result.stderr
    assert not fake.model


@pytest.mark.parametrize("separator", [b"\n", b"\r\n", b"\0"])
def test_names_come_from_standard_input(fake, photos, separator):
    listed = separator.join([b"in/a.png", b"in/c.png", b""])
    assert invoke("-", "-o", "out", stdin=listed).exit_code == 0
    assert [job.source for job in fake.jobs] == [Path("in/a.png"), Path("in/c.png")]


def test_without_a_terminal_there_are_plain_lines(fake, photos):
    fake.outcomes.update({"b.png": FAILED, "c.png": UNSOUND})
    (photos / "notes.txt").touch()
    result = invoke("in", "-o", "out")
    assert not result.stdout
    lines = result.stderr.splitlines()
    assert lines[0] == "tiny-asked: torch on cpu, fp32"
    assert lines[1].startswith("[1/3] Restored: in/a.png -> out/a.png")
    assert lines[2:5] == [
        "[2/3] Failed: Cannot read 'in/b.png': it is truncated.",
        "[3/3] Not restored: in/c.png: the output is black",
        "Note: 1 other file in the folders skipped: no images.",
    ]
    assert lines[5].startswith("Restored: 1 photo, ")
    assert lines[5].endswith("; Not restored: 1 photo; Failed: 1 photo")


def test_equal_notices_are_reported_once(fake, photos):
    palette = Outcome(JOB, "restored", notices=("Palette image: the result is RGB.",))
    fake.outcomes.update(dict.fromkeys(("a.png", "b.png", "c.png"), palette))
    printed = [line for line in invoke("in", "-o", "out").stderr.splitlines() if "Palette" in line]
    assert printed == ["Note: in/a.png and 2 more photos: Palette image: the result is RGB."]


def test_quiet_says_only_what_failed(fake, photos):
    assert not invoke("in", "-o", "out", "--quiet").output
    fake.outcomes["b.png"] = FAILED
    result = invoke("in", "-o", "out", "--quiet", "--existing", "overwrite")
    assert result.output == "Failed: Cannot read 'in/b.png': it is truncated.\n"


def test_json_is_one_object_per_photo_and_nothing_else(fake, photos):
    fake.outcomes["b.png"] = FAILED
    result = invoke("in", "missing.png", "-o", "out", "--json")
    assert not result.stderr
    printed = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(one["source"], one["status"]) for one in printed] == [
        ("missing.png", "failed"),
        ("in/a.png", "restored"),
        ("in/b.png", "failed"),
        ("in/c.png", "restored"),
    ]
    assert printed[1] == {
        "source": "in/a.png",
        "target": "out/a.png",
        "status": "restored",
        "reason": None,
        "notices": [],
        "pixels": 12,
        "seconds": 0.0,
        "found": None,
        "removed": None,
    }


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
@pytest.mark.parametrize("option", ["--json", "--quiet", "--existing=skip"])
def test_a_name_that_is_not_utf8_can_be_shown(fake, photos, option):
    name = os.fsdecode(b"caf\xe9\n.png")
    Path("in", name).write_bytes(Path("in/a.png").read_bytes())
    fake.outcomes[name] = Outcome(JOB, "failed", "no space left")
    result = invoke("in", "-o", "out", option)
    assert result.exit_code == 1
    if option == "--json":
        sources = [json.loads(line)["source"] for line in result.stdout.splitlines()]
        assert f"in/{name}" in sources
    else:
        assert r"Failed: in/caf\xe9\n.png: no space left" in result.stderr


def test_an_interruption_tells_how_far_the_run_came(fake, photos):
    fake.outcomes["c.png"] = KeyboardInterrupt()
    result = invoke("in", "-o", "out")
    assert result.exit_code == 130
    assert "Interrupted: 2 of 3 photos finished; nothing half-written is left." in result.stderr


def test_a_view_that_breaks_stops_the_run_cleanly(fake, photos, monkeypatch):
    def broken(*_args, **_options):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("maskdcpt_cli.cli.restore_view.click.echo", broken)
    result = invoke("in", "-o", "out", "--json")
    assert result.exit_code == 1
    assert fake.closed
    assert len(fake.jobs) == 1
    assert "Traceback" not in result.stderr


def test_a_photo_after_report_is_not_taken_for_the_page(fake, photos):
    before = (photos / "a.png").read_bytes()
    result = invoke("-o", "out", "--report", "in/a.png", "in/b.png")
    assert result.exit_code == 2
    assert "'in/a.png' must end in .html, .htm." in result.stderr
    assert (photos / "a.png").read_bytes() == before
    assert not fake.jobs


def test_the_report_replaces_no_page_but_that_of_an_earlier_run(fake, photos):
    page = Path("index.html")
    page.write_text("mine")
    result = invoke("in", "-o", "out", "--report", "index.html")
    assert result.exit_code == 2
    assert "'index.html' exists and is not known as the page of an earlier run" in result.stderr
    assert page.read_text() == "mine"
    assert not fake.jobs
    overwrite = ("in", "-o", "out", "--report", "index.html", "--existing", "overwrite")
    for options in (overwrite, overwrite[:-2]):
        assert invoke(*options).exit_code == 0
        assert "Restored photos" in page.read_text(encoding="utf-8")
        page.write_text(page.read_text(encoding="utf-8").replace("Restored photos", "Earlier"))


def test_the_report_is_written(fake, photos):
    for name in ("a.png", "b.png", "c.png"):
        Path("out").mkdir(exist_ok=True)
        Path("out", name).write_bytes((photos / name).read_bytes())
    assert invoke("in", "-o", "out", "--report", "pages/all.html").exit_code == 0
    page = Path("pages/all.html").read_text(encoding="utf-8")
    assert page.count("<figure") == 3
