"""`maskdcpt pretrain` and `maskdcpt finetune`, from arguments to output."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from PIL import Image
from rich.console import Console

from maskdcpt_cli.cli import main
from maskdcpt_cli.cli.stopping import stopping
from maskdcpt_cli.cli.training_view import Lines, Live, View, facts, messages, seconds_left, show
from maskdcpt_cli.data.mixture import Curriculum
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.presets.training import Run
from maskdcpt_cli.training import finetune, pretrain
from maskdcpt_cli.training.dry_run import StageEstimate
from maskdcpt_cli.training.events import Event, Initialised, Notice, Saved, Step, Validated
from tests.programs import unmeasured

TINY = ("--preset", "tiny", "--photos", "photos", "--setting", "5d")
SMALL = [
    *("--set", "training.stages=[{iterations: 4, crop_size: 32, batch: 2}]"),
    *("--set", "training.workers=0", "--set", "validation={images: 1, crop_size: 32}"),
    *("--set", "sizes.nafnet={width: 8, enc_blk_nums: [1, 1, 1, 1]}", "--device", "cpu"),
]


@pytest.fixture(autouse=True)
def photos(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    example = Path(__file__).parents[2] / "examples" / "bee-blur.jpg"
    with Image.open(example) as image:
        for number in range(10):
            image.crop((number, 0, number + 64, 48)).save(f"photos/{number}.png")


def run(*args: str) -> Result:
    return CliRunner().invoke(main, args)


def step(iteration: int, *, iterations: int = 3, skipped: int = 0) -> Step:
    return Step(
        iteration=iteration, iterations=iterations, losses={"total": 0.5, "reconstruction": 0.4},
        accuracy=0.25, lr=3e-4, batch=8, images_per_second=4.0, waited=0.02, memory=2 * 10**9,
        skipped=skipped,
    )  # fmt: skip


@pytest.fixture
def calls(monkeypatch) -> list[dict[str, Any]]:
    """Return the arguments of each training, which is replaced by one of three steps."""
    calls: list[dict[str, Any]] = []

    def train(
        preset: Run, samples: Curriculum, run_dir: Path, **how: Any
    ) -> Generator[Event, None, None]:
        calls.append({"preset": preset, "train": samples.mixtures[0].sets, **how})
        yield from (step(iteration) for iteration in (1, 2, 3))
        yield Saved(3, run_dir / "final.safetensors")

    replace_training(monkeypatch, train)
    return calls


def replace_training(monkeypatch: pytest.MonkeyPatch, train: Callable[..., Any]) -> None:
    for task in (pretrain, finetune):
        monkeypatch.setattr(task, "train", train)


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_a_run_is_shown_and_kept(calls, command):
    result = run(command, *TINY, "--backbone", "swinir", "--set", "training.iterations=3")
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    batch = {"pretrain": 16, "finetune": 8}[command]
    assert f"swinir, 3 iterations; batch {batch}\n[1/3]  total loss 0.5000" in result.stderr
    assert result.stderr.splitlines()[-1].endswith("final.safetensors")
    folder = Path(f"runs/{command}-tiny")
    assert {"preset.yaml", "launches.jsonl", "log.jsonl"} <= {
        path.name for path in folder.iterdir()
    }
    assert calls[0]["preset"].options == {"embed_dim": 36, "depths": [2] * 6}
    assert sum(len(one.pairs) for one in calls[0]["train"]) == 5 * 9


def test_an_architecture_is_an_option_of_the_backbone(calls):
    result = run("finetune", *TINY, "--backbone", "restormer", "--architecture", "moe")
    assert result.exit_code == 0, result.output
    expected = {"dim": 16, "num_blocks": [1, 1, 1, 2], "num_refinement_blocks": 1}
    assert calls[0]["preset"].options == {**expected, "architecture": "moe"}


def test_a_stage_may_have_data_of_its_own():
    first = "{iterations: 2, crop_size: 32, batch: 2, data: embedded-strong}"
    chosen = [
        *("pretrain", "--preset", "tiny", "--photos", "photos", *SMALL),
        *("--set", f"training.stages=[{first}, {{iterations: 2, crop_size: 32, batch: 2}}]"),
    ]
    assert run(*chosen).exit_code == 0
    shown = yaml.safe_load(Path("runs/pretrain-tiny/preset.yaml").read_text())
    assert [stage["data"] for stage in shown["training"]["stages"]] == ["embedded-strong", None]
    refused = run(*chosen, "--run-dir", "other", "--set", "training.stages.0.data=weak")
    assert "Unknown data preset 'weak'" in refused.output
    refused = run(*chosen, "--run-dir", "other", "--set", "training.stages.0.data=mixed")
    assert "not in the setting" in refused.output
    assert not Path("other").exists()


def test_weights_to_begin_with_are_part_of_the_preset(calls):
    Path("a [1].safetensors").touch()
    assert run("finetune", *TINY, "--init-from", "a [1].safetensors").exit_code == 0
    assert calls[0]["preset"].initialise_from == "a [1].safetensors"


def test_own_pairs_need_a_type_only_where_there_are_several(calls):
    pairs = ("--pairs", "photos", "photos")
    assert run("finetune", "--preset", "derain", *pairs, "--run-dir", "a").exit_code == 0
    assert calls[0]["train"][0].pairs.degradations() == {"RS"}
    tiny = ("finetune", "--preset", "tiny", "--run-dir", "b", *pairs)
    refused = run(*tiny)
    assert refused.exit_code == 2
    assert "Say --type once for each; '12d+clean' has noise," in refused.stderr
    assert run(*tiny, *pairs, "--type", "haze", "--type", "snow").exit_code == 0
    assert [one.pairs.degradations() for one in calls[1]["train"]] == [{"H"}, {"S"}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Missing option '--preset'"),
        (("--preset", "tinny"), "Did you mean 'tiny'?"),
        (("--preset", "tiny"), "The data root is not set; give --data-root FOLDER"),
        (("--preset", "tiny", "--photos", "none"), "'none' does not exist"),
        ((*TINY, "--pairs", "photos", "photos"), "either --pairs or --photos"),
        ((*TINY, "--type", "haze"), "--type is the degradation of --pairs"),
        (("--preset", "tiny", "--setting", "5d"), "--setting goes with --photos or --pairs"),
        ((*TINY, "--set", "mask.patch_size=24"), "mask.patch_size is 24, which does not divide"),
        ((*TINY, "--set", "training.stage=1"), "did you mean 'stages'?"),
        ((*TINY, "--backbone", "nafnett", *SMALL), "Did you mean 'nafnet'?"),
        ((*TINY, "--architecture", "mow"), "'mow' is not one of 'plain', 'instruct'"),
        ((*TINY, "--architecture", "moe", *SMALL), "Choose from: instruct, plain."),
        ((*TINY, "--device", "tpu"), "'tpu' is none of"),
        (
            ("--preset", "tiny", "--pairs", "photos", "photos", "--type", "rain", "--setting",
             "motion-deblur"),
            "degradation RS, which is not in the setting: MB",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_a_sentence(arguments, message, monkeypatch):
    monkeypatch.delenv("MASKDCPT_DATA", raising=False)
    result = run("pretrain", *arguments)
    assert result.exit_code in (1, 2)
    assert message in " ".join(result.stderr.split())
    assert not isinstance(result.exception, MaskDCPTError)


def test_a_second_run_in_a_folder_must_resume(calls):
    assert run("pretrain", *TINY).exit_code == 0
    again = run("pretrain", *TINY)
    assert "type --resume to continue it" in again.stderr
    assert run("pretrain", *TINY, "--resume").exit_code == 0
    assert [call["resume"] for call in calls] == [False, True]


def test_an_interrupted_run_says_how_to_go_on(monkeypatch):
    def train(*_: object, **how: Any) -> Generator[Event, None, None]:
        yield step(1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert how["stop"]()
        yield Notice("Stopped after iteration 1; --resume continues.")

    replace_training(monkeypatch, train)
    result = run("pretrain", *TINY)
    assert result.exit_code == 130
    assert "1 of 3 iterations are done and saved in runs/pretrain-tiny" in result.stderr
    assert "the same command with --resume continues from there" in result.stderr


def test_only_a_second_ctrl_c_interrupts_at_once():
    before = signal.getsignal(signal.SIGINT)
    with stopping() as stop:
        assert not stop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTERM):
            os.kill(os.getpid(), number)
            assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_torchrun_may_pass_ctrl_c_on_twice(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with stopping() as stop:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        assert stop()


def test_all_figures_of_a_step_are_shown():
    figures = dict(facts(step(1, iterations=101, skipped=2)))
    assert figures == {
        "total loss": "0.5000", "reconstruction loss": "0.4000", "accuracy": "25.0%",
        "lr": "3.00e-04", "images/s": "4.0", "waiting for data": "2%", "memory": "2.0 GB",
        "skipped": "2", "left": "3 min 20 s",
    }  # fmt: skip
    assert seconds_left(step(1, iterations=101)) == 200


@pytest.mark.parametrize(
    ("event", "sentences"),
    [
        (Notice("Mind this."), ["Mind this."]),
        (Saved(3, Path("a.safetensors")), ["Saved a.safetensors"]),
        (
            Validated(3, {"H": {"psnr": 21.234, "ssim": 0.5}, "RS": {"accuracy": 0.5}}),
            ["Validated at 3: H psnr 21.23, ssim 0.5; RS accuracy 50.0%"],
        ),
        (
            Initialised(Path("a"), ("x", "y"), ("ending.weight", "ending.bias"), ()),
            ["Initialised from a: 2 tensors loaded", "Missing: 2 of ending; by name in the log"],
        ),
    ],
)
def test_events_are_shown_as_sentences(event, sentences):
    assert list(messages(event)) == sentences


def shown_on(view: Callable[[Console], View]) -> str:
    page = io.StringIO()
    console = Console(file=page, force_terminal=view is Live, width=80)

    def events() -> Generator[Event, None, None]:
        yield Notice("At the start.")
        yield from (step(iteration) for iteration in (1, 2, 3))
        yield Saved(3, Path("a.safetensors"))

    assert show(events(), view(console)) == step(3)
    return page.getvalue()


def test_lines_are_few_but_begin_and_end():
    lines = shown_on(Lines).splitlines()
    assert [line.split()[0] for line in lines] == ["At", "[1/3]", "[3/3]", "Saved"]


def test_a_terminal_shows_a_bar_with_the_facts():
    page = shown_on(Live)
    for text in ("At the start.", "3/3", "reconstruction loss", "25.0%", "Saved a.safetensors"):
        assert text in page


def test_a_dry_run_tells_duration_and_memory_and_keeps_nothing():
    result = run("pretrain", *TINY, *SMALL, "--dry-run")
    assert result.exit_code == 0, result.output
    lines = result.stderr.splitlines()
    assert lines[0] == "Training pairs: H 9, RS 9, GN 9, MB 9, LL 9"
    assert lines[1] == "Validation pairs: H 1, RS 1, GN 1, MB 1, LL 1"
    assert lines[2].startswith("4 iterations of 2 crops of 32: ")
    assert "GB of memory for each process" in lines[-1]
    assert not Path("runs").exists()


def test_a_dry_run_counts_the_weights_that_are_kept(monkeypatch):
    def estimate(preset, _train, *, run_dir):
        yield StageEstimate(preset.training.stages[0], 1.0, 10**9, 2 * 10**9, 10**9)

    monkeypatch.setattr("maskdcpt_cli.cli.dry_run.dry_run", estimate)
    for more, disk in (([], "about 4.0 GB"), (["--set", "training.keep_every=1"], "about 8.0 GB")):
        result = run("pretrain", *TINY, *SMALL, "--dry-run", *more)
        assert result.exit_code == 0, result.output
        assert disk in result.stderr.splitlines()[-1]


def test_a_real_run_pretrains_then_finetunes_then_restores():
    small = [*TINY, *SMALL]
    first = run("pretrain", *small, "--set", "mask.patch_size=8")
    assert first.exit_code == 0, first.output
    encoder = "runs/pretrain-tiny/final.safetensors"
    second = run("finetune", *small, "--init-from", encoder)
    assert second.exit_code == 0, second.output
    assert "Initialised from runs/pretrain-tiny/final.safetensors" in second.stderr
    scores = [
        json.loads(line)["scores"]
        for line in Path("runs/finetune-tiny/log.jsonl").read_text().splitlines()
        if "scores" in line
    ]
    assert scores[-1].keys() == {"H", "RS", "GN", "MB", "LL"}
    assert "psnr" in scores[-1]["H"]
    final = "runs/finetune-tiny/final.safetensors"
    restored = run("restore", "photos/0.png", "-o", "out", "-m", final, "--backend", "torch")
    assert restored.exit_code == 0, restored.output
    Path(encoder).unlink()
    again = run("finetune", *small, "--init-from", encoder, "--resume")
    assert again.exit_code == 0, again.output
    refused = run("finetune", *small, "--init-from", encoder, "--run-dir", "other")
    assert refused.exit_code == 1
    assert f"{encoder} cannot be opened: No such file" in " ".join(refused.stderr.split())
    assert not Path("other").exists()


@pytest.mark.torchrun
def test_a_signal_saves_and_leaves():
    long = [*TINY, *SMALL, "--set", "training.iterations=100000", "--run-dir", "run"]
    command = [sys.executable, "-m", "maskdcpt_cli", "pretrain", *long]
    root = Path(__file__).parents[2]
    env = {**unmeasured(), "PYTHONPATH": str(root)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)
    log = Path("run/log.jsonl")
    while process.poll() is None and not (log.exists() and '"losses"' in log.read_text()):
        time.sleep(0.1)
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "the same command with --resume continues from there" in errors
    assert Path("run/last.state").exists()


def test_ram_fine_tunes_the_layers_that_its_pre_training_points_to():
    small = (*TINY[2:], *SMALL, "--set", "optimizer.lr.warm_up=1")
    result = run("pretrain", *TINY, *SMALL, "--run-dir", "pre")
    assert result.exit_code == 0, result.output
    fewer = ("--set", "conductance={steps: 2, images: 1}", "--run-dir", "ram")
    weights = ("--init-from", "pre/final.safetensors")
    result = run("finetune", "--preset", "ram", *small, *fewer)
    assert (result.exit_code, "give its weights by --init-from" in result.output) == (1, True)
    assert not Path("ram").exists()
    result = run("finetune", "--preset", "ram", *small, *fewer, *weights, "--dry-run")
    assert result.exit_code == 0, result.output
    assert not Path("ram").exists()
    result = run("finetune", "--preset", "ram", *small, *fewer, *weights)
    assert result.exit_code == 0, result.output
    assert "The conductance of the layers is measured before the training." in result.output
    assert "layers are trained" in result.output
    assert Path("ram/conductance.json").is_file()
    assert Path("ram/final.safetensors").is_file()
