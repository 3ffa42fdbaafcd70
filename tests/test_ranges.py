"""From Python a value out of its range is refused in the words of the command line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from maskdcpt_cli import (
    MaskDCPTError,
    Settings,
    TrainingData,
    classify_files,
    finetune,
    pretrain,
    score,
)
from maskdcpt_cli.benchmarking.run import BenchmarkSettings
from maskdcpt_cli.cli import main
from maskdcpt_cli.training.distributed import init_distributed
from tests.cli.commands import COMMANDS, lay_out

RESTORE = ("restore", "x.png", "-o", "out")
OUT_OF_RANGE = [
    ("tile", 1),
    ("tile", 63),
    ("overlap", -1),
    ("strength", -0.5),
    ("strength", 1.5),
    ("strength", float("nan")),
    ("quality", 0),
    ("quality", 101),
]


@pytest.mark.parametrize(("name", "value"), OUT_OF_RANGE)
def test_settings_are_refused_in_the_words_of_the_command_line(name: str, value: float) -> None:
    with pytest.raises(MaskDCPTError) as raised:
        Settings(**{name: value})
    result = CliRunner().invoke(main, [*RESTORE, f"--{name}", str(value)])
    assert result.exit_code == 2
    assert str(raised.value).replace(f"'{name}'", f"'--{name}'") in result.stderr


def test_an_overlap_of_half_a_tile_is_refused_in_the_words_of_the_command_line() -> None:
    with pytest.raises(MaskDCPTError, match=r"^overlap 64 must be less than half of tile 128.$"):
        Settings(tile=128, overlap=64)
    result = CliRunner().invoke(main, [*RESTORE, "--tile", "128", "--overlap", "64"])
    assert "--overlap 64 must be less than half of --tile 128." in result.stderr


@pytest.mark.parametrize(
    ("name", "value"), [("tile", 64.5), ("tile", "64"), ("tile", True), ("strength", "1")]
)
def test_values_of_another_type_are_refused(name: str, value: object) -> None:
    with pytest.raises(MaskDCPTError, match=f"'{name}': {value!r} is not a valid"):
        Settings(**{name: value})


def test_the_ends_of_the_ranges_are_taken() -> None:
    lowest = Settings(tile=0, overlap=0, strength=0, quality=1, max_pixels=1)
    assert (lowest.tile, lowest.overlap, lowest.strength) == (0, 0, 0)
    assert (lowest.quality, lowest.max_pixels) == (1, 1)
    highest = Settings(
        tile=np.int64(64), overlap=31, strength=np.float32(1), quality=100, max_pixels=None
    )
    assert (highest.tile, highest.overlap, highest.strength) == (64, 31, 1)
    assert (highest.quality, highest.max_pixels) == (100, None)


CALLS: dict[str, tuple[Callable[..., Any], str]] = {
    "settings": (Settings, "max_pixels"),
    "classify": (lambda **value: list(classify_files(None, [], **value)), "max_pixels"),
    "score": (lambda **value: score([], **value), "max_pixels"),
    "score jobs": (lambda **value: score([], **value), "jobs"),
    "data": (TrainingData, "max_pixels"),
    "benchmark jobs": (lambda **value: BenchmarkSettings(Path(), **value), "jobs"),
    "benchmark limit": (lambda **value: BenchmarkSettings(Path(), **value), "limit"),
    "pretrain": (lambda **value: pretrain("tiny", TrainingData(), "run", **value), "micro_batch"),
    "finetune": (lambda **value: finetune("tiny", TrainingData(), "run", **value), "micro_batch"),
}


@pytest.mark.parametrize("call", CALLS)
def test_counts_below_one_are_refused(call: str) -> None:
    function, name = CALLS[call]
    for value in (0, -1):
        with pytest.raises(MaskDCPTError) as raised:
            function(**{name: value})
        valid = "1<=x<=256" if name == "jobs" else "x>=1"
        assert str(raised.value) == (
            f"Invalid value for '{name}': {value} is not in the range {valid}."
        )


@pytest.mark.parametrize("call", ["score jobs", "benchmark jobs"])
def test_jobs_without_end_are_refused_as_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    with pytest.raises(MaskDCPTError) as raised:
        CALLS[call][0](jobs=4_294_967_296)
    sentence = str(raised.value).replace("'jobs'", "'--jobs'")
    lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    for command in ("score", "benchmark", "degrade", "data pack"):
        result = CliRunner().invoke(main, [*COMMANDS[command], "--jobs", "4294967296"])
        assert sentence in result.stderr


def test_training_data_that_does_not_fit_together_is_refused() -> None:
    pairs = [("lq", "gt")]
    for given, reason in (
        ({"setting": "5e"}, "Unknown setting '5e'. Choose from: 12d,"),
        ({"pairs": pairs}, "degradations has 0 for 1 of pairs: give one for each"),
        ({"pairs": pairs, "degradations": ["hase"]}, "Unknown degradation 'hase'"),
    ):
        with pytest.raises(MaskDCPTError, match=reason):
            TrainingData(**given)


def test_a_device_that_is_none_is_refused() -> None:
    for name in ("gpu", "cpu:x"):
        with pytest.raises(MaskDCPTError, match=f"device '{name}'"):
            init_distributed(name)
