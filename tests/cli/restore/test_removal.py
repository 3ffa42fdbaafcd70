"""The command line of restore, with a request-conditioned network."""

import json
from pathlib import Path

import pytest

from maskdcpt_cli.inference.events import Job, Outcome, Settings
from tests.cli.restore.fakes import FakeBackend, invoke

JOB = Job(Path("x"), Path("y"))


@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize(
    ("options", "settings", "classifier", "sentence"),
    [
        ("", {}, "tiny-classifier", "what tiny-classifier finds"),
        ("--keep haze", {"keep": ("H",)}, "tiny-classifier", "what tiny-classifier finds but haze"),
        ("--classifier own.pth", {}, "own.pth", "what own finds"),
        ("--remove all", {"remove": "all"}, None, "all that it knows"),
        (
            "--remove all --keep haze,J",
            {"remove": "all", "keep": ("H", "J")},
            None,
            "all that it knows but haze, jpeg",
        ),
        ("--remove noise,H,GN", {"remove": ("GN", "H")}, None, "noise, haze"),
        ("--remove rain", {"remove": ("RS",)}, "tiny-classifier", "rain"),
        ("--remove rain --classifier own.pth", {"remove": ("RS",)}, "own.pth", "rain"),
        ("--remove auto", {}, "tiny-classifier", "what tiny-classifier finds"),
    ],
)
def test_what_to_remove_arrives_and_is_reported(fake, options, settings, classifier, sentence):
    fake.requests = ("GN", "H", "RS", "J")
    result = invoke("in", "-o", "out", *options.split())
    assert result.exit_code == 0, result.output
    assert fake.settings == Settings(**settings)
    assert fake.classifier == classifier
    assert fake.model == ("tiny" if options == "--remove all" else "tiny-asked")
    first = f"{fake.model}: torch on cpu, fp32; removes {sentence}"
    assert result.stderr.splitlines()[0] == first


@pytest.mark.parametrize(
    ("requests", "options", "sentence"),
    [
        (
            (),
            "--remove noise",
            "cannot be asked what to remove (remove, keep): take tiny-asked, or",
        ),
        ((), "--keep haze", "cannot be asked what to remove"),
        (
            (),
            "--classifier tiny-classifier",
            "--classifier is for --remove auto, and for rain, snow, drops and blur that are named",
        ),
        (
            ("GN", "H"),
            "--remove all --classifier x.safetensors",
            "--classifier is for --remove auto",
        ),
        (("GN", "H"), "--remove moire,haze", "does not know moire: it removes noise, haze."),
        (("GN", "H"), "--remove all --keep noise,haze", "nothing is left to remove"),
    ],
)
def test_what_a_model_cannot_be_asked_is_wrong_usage_and_no_photo_is_read(
    fake, photos, requests, options, sentence
):
    fake.requests = requests
    result = invoke("in", "-o", "out", *options.split())
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())
    assert not fake.jobs
    assert not fake.opened


@pytest.fixture
def asked(fake) -> FakeBackend:
    fake.requests = ("GN", "H", "J")
    ends = {"a.png": (("GN", "H"), ("GN",)), "b.png": ((), ()), "c.png": (("H",), ())}
    fake.outcomes = {
        name: Outcome(JOB, "restored", pixels=12, found=found, removed=removed)
        for name, (found, removed) in ends.items()
    }
    return fake


def test_lines_and_summary_say_what_was_removed(asked, photos):
    lines = invoke("in", "-o", "out", "--keep", "haze").stderr.splitlines()
    assert lines[1].endswith("out/a.png (0.0 MP, 0.0 s; removed noise; not removed: haze)")
    assert lines[2].endswith(
        "out/b.png (0.0 MP, 0.0 s; nothing found: left as it is; --remove names types)"
    )
    assert lines[3].endswith("out/c.png (0.0 MP, 0.0 s; not removed: haze; left as it is)")
    assert lines[4].startswith("Restored: 3 photos, ")
    assert lines[4].endswith(": removed noise from 1; 2 left as they are")


def test_a_photo_of_which_the_classifier_is_uncertain_is_not_called_clean(asked, photos):
    asked.outcomes["a.png"] = Outcome(JOB, "restored", pixels=12, found=None, removed=())
    result = invoke("in/a.png", "-o", "out")
    assert "uncertain what it has: left as it is; --remove names types" in result.stderr
    assert "clean" not in result.stderr
    assert "1 left as it is" in result.stderr


def test_what_was_asked_by_name_is_said_once(asked, photos):
    asked.outcomes["a.png"] = Outcome(JOB, "restored", pixels=12, removed=("GN",))
    lines = invoke("in/a.png", "-o", "out", "--remove", "noise").stderr.splitlines()
    assert lines[0].endswith("; removes noise")
    assert lines[1].endswith("out/a.png (0.0 MP, 0.0 s)")
    assert "noise" not in lines[2]


def test_json_says_what_was_found_and_removed(asked, photos):
    result = invoke("in", "-o", "out", "--json")
    printed = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(one["found"], one["removed"]) for one in printed] == [
        (["noise", "haze"], ["noise"]),
        ([], []),
        (["haze"], []),
    ]


def test_a_terminal_shows_what_was_removed_above_the_bar(monkeypatch, asked, photos):
    monkeypatch.setattr("maskdcpt_cli.cli.restore_view.is_interactive", lambda _console: True)
    shown = " ".join(invoke("in", "-o", "out").stderr.split())
    for words in ("a.png: removed noise; not removed: haze", "b.png: nothing found: left as it is"):
        assert f"in/{words}" in shown
    assert "removed noise from 1; 2 left as they are" in shown
