"""The example plugin, from the command line: trained, restored with, and missing."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from click.shell_completion import get_completion_class
from click.testing import CliRunner, Result
from PIL import Image
from safetensors import safe_open

from maskdcpt_cli.cli import main
from maskdcpt_cli.data.sets import from_preset
from maskdcpt_cli.data.sources import scan
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.models import build_backbone
from maskdcpt_cli.models.masking import PatchMask
from maskdcpt_cli.plugins import VARIABLE, use_plugin
from maskdcpt_cli.presets.data import Manifest
from maskdcpt_cli.presets.load import load_data

ROOT = Path(__file__).parents[2]
PLUGIN = "maskdcpt_grain"
STAGE = {"iterations": 2, "crop_size": 32, "batch": 2}
SHORT = [
    *("--set", f"training.stages=[{json.dumps(STAGE)}]", "--data-root", ".", "--device", "cpu"),
    *("--set", "validation={every: 2, images: 1, crop_size: 32}"),
]


@pytest.fixture(autouse=True)
def no_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr(sys, "path", sys.path[:])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's folder, with photos and a table of pairs."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(ROOT / "examples" / "plugin", folder, dirs_exist_ok=True)
    for name in ("photos", "lq"):
        (folder / name).mkdir()
        with Image.open(ROOT / "examples" / "bee-blur.jpg") as image:
            for number in range(10):
                image.crop((number, 0, number + 64, 48)).save(folder / name / f"{number}.png")
    rows = [f"lq/{number}.png,photos/{number}.png" for number in range(10)]
    (folder / "pairs.csv").write_text("\n".join(["degraded,clean", *rows]))
    return folder


def run(*args: str, plugin: bool = True) -> Result:
    return CliRunner(env={VARIABLE: ""}).invoke(
        main, [*(["--plugin", PLUGIN] if plugin else []), *args]
    )


def done(*args: str) -> str:
    result = run(*args)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    """The weights of the example's two runs: pre-trained, then fine-tuned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv(VARIABLE, "")
        patch.setattr(sys, "path", sys.path[:])
        workers = ("--set", "training.workers=0")
        done("pretrain", "--preset", "pretrain.yaml", *SHORT, *workers, "--run-dir", "first")
        weights = ("--init-from", "first/final.safetensors", "--set", "training.workers=1")
        done("finetune", "--preset", "finetune.yaml", *SHORT, *weights, "--run-dir", "second")
    return folder / "second" / "final.safetensors"


@pytest.fixture
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


@pytest.mark.usefixtures("inside")
def test_the_files_name_the_plugin_and_restore_with_it(trained: Path):
    with safe_open(trained, framework="pt") as file:
        metadata = file.metadata()
    assert (metadata["backbone"], json.loads(metadata["plugins"])) == ("plain-cnn", [PLUGIN])
    (launch,) = Path("second/launches.jsonl").read_text().splitlines()
    assert json.loads(launch)["plugins"] == [PLUGIN]
    done("restore", "photos/0.png", "-o", "out", "--model", str(trained), "--backend", "torch")
    assert Path("out/0.png").is_file()
    assert f"plugins       {PLUGIN}" in done("models", "show", str(trained))
    assert "film-grain" in done("classify", "photos/0.png", "--model", "first/final.safetensors")


@pytest.mark.usefixtures("inside")
def test_the_weights_are_recognised_without_their_metadata(trained: Path):
    torch.save(torch.load("second/last.state", weights_only=True)["model"], "bare.pth")
    assert "plain-cnn" in done("models", "show", "bare.pth")


@pytest.mark.usefixtures("inside")
def test_without_the_plugin_a_file_and_a_run_say_what_they_need(trained: Path):
    need = f"needs the plugin '{PLUGIN}': install its package with pip, or type maskdcpt --plugin"
    result = run("restore", "photos", "-o", "none", "--model", str(trained), plugin=False)
    assert (result.exit_code, need in result.output) == (1, True), result.output
    assert not Path("none").exists()
    weights = ("--init-from", "first/final.safetensors", "--set", "training.workers=1")
    again = ("finetune", "--preset", "finetune.yaml", *SHORT, *weights, "--run-dir", "second")
    result = run(*again, "--resume", plugin=False)
    assert result.exit_code == 1, result.output
    assert f"The run in 'second' {need}" in result.output


@pytest.mark.usefixtures("inside")
def test_the_blocks_of_the_network_may_be_recomputed_and_learn_at_rates_of_their_own():
    options = ("--set", "training.checkpointing=true", "--set", "optimizer.layer_decay=0.5")
    done("finetune", "--preset", "finetune.yaml", *SHORT, *options, "--run-dir", "decayed")
    groups = torch.load("decayed/last.state", weights_only=True)["optimizer"]["param_groups"]
    rates = [group["lr"] for group in groups]
    assert rates == [rates[0] * 0.5**below for below in range(5)]


@pytest.mark.usefixtures("inside")
def test_photos_are_degraded_and_scored_by_rows_of_the_plugin():
    done(
        "degrade",
        "photos/0.png",
        "photos/1.png",
        "-o",
        "pairs",
        "--type",
        "film-grain",
        "--jobs",
        "1",
    )
    grainy = Path("pairs/film-grain")
    assert len(list(grainy.glob("lq/*.png"))) == 2
    output = done("score", str(grainy / "lq"), str(grainy / "gt"), "--metrics", "gradient_mae")
    assert "gradient_mae" in output
    assert "lower is better" in output
    manifest = Manifest(name="made", manifest="pairs/manifest.jsonl")
    with pytest.raises(MaskDCPTError, match="'film-grain' is no degradation, or one of a plugin"):
        scan(manifest, Path(), None)
    result = run("degrade", "photos", "-o", "more", "--type", "film-grain", plugin=False)
    assert (result.exit_code, "Unknown degradation 'film-grain'" in result.output) == (2, True)


@pytest.mark.usefixtures("inside")
def test_a_table_of_pairs_is_a_source():
    use_plugin(PLUGIN)
    data = load_data("data.yaml")
    (pairs,) = from_preset(data.train[1:], Path())
    assert (len(pairs), pairs.pairs.degradations(), data.plugins) == (10, {"J"}, (PLUGIN,))
    wrong = load_data("data.yaml", overrides=["train.1.sources.0.options={tables: pairs.csv}"])
    (pairs,) = from_preset(wrong.train[1:], Path())
    assert pairs.missing == (
        "options of the source 'csv-pairs': missing a required argument: 'table'"
    )
    absent = load_data("data.yaml", overrides=["train.1.sources.0.options={table: gone.csv}"])
    (pairs,) = from_preset(absent.train[1:], Path())
    assert pairs.missing == (
        "the source 'csv-pairs': [Errno 2] No such file or directory: 'gone.csv'"
    )
    check = run("data", "check", "--data-preset", "data.yaml", "--data-root", ".", plugin=False)
    assert "unknown source 'csv-pairs'.\n" in check.output


@pytest.mark.usefixtures("inside")
def test_names_of_a_plugin_are_completed_and_listed():
    complete = get_completion_class("bash")(main, {}, "maskdcpt", "_MASKDCPT_COMPLETE")
    typed = ["--plugin", PLUGIN, "degrade", "--setting"]
    assert "grain" in {item.value for item in complete.get_completions(typed, "")}
    typed[-1] = "--type"
    assert [item.value for item in complete.get_completions(typed, "film")] == ["film-grain"]
    assert "|grain]" in "".join(done("degrade", "--help").split())


def test_a_plugin_that_is_not_there_is_wrong_usage():
    result = run("--plugin", "plug_nowhere", "models", plugin=False)
    assert (result.exit_code, "There is no plugin 'plug_nowhere'" in result.output) == (2, True)


@pytest.mark.usefixtures("inside")
def test_the_network_of_the_example_keeps_hidden_pixels_hidden():
    use_plugin(PLUGIN)
    torch.manual_seed(0)
    network = build_backbone("plain-cnn", channels=4, blocks=2)
    image = torch.rand(1, 3, 16, 16)
    generators = [torch.Generator().manual_seed(0)]
    mask = PatchMask.draw_each(
        "random",
        generators,
        size=(16, 16),
        patch_size=4,
        mask_ratio=0.5,
        device=torch.device("cpu"),
    )
    visible = mask.unpack(mask.pack(torch.ones_like(image)))
    changed = torch.where(visible > 0, image, torch.rand_like(image))
    one, other = (network.encode(mask.pack(x), mask).latent for x in (image, changed))
    assert torch.equal(one, other)
