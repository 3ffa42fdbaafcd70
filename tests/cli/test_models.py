"""`maskdcpt models`: the listing and a model's own page."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from subprocess import run

import pytest
from click.testing import CliRunner, Result

import maskdcpt_cli
from maskdcpt_cli.cli import main
from maskdcpt_cli.weights.checkpoint import Checkpoint, save_checkpoint
from maskdcpt_cli.weights.zoo import ZOO
from tests.small import small

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of huggingface_hub, which reads its environment once, at import."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def fetched(name: str, cache: Path) -> Path:
    folder = cache / "models--Jiakui--MaskDCPT"
    path = folder / "snapshots" / COMMIT / ZOO[name].filename
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(3_400_000))
    (folder / "refs").mkdir()
    (folder / "refs/main").write_text(COMMIT)
    return path


def maskdcpt(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize("name", ZOO)
def test_every_model_has_a_line_with_all_that_is_known(name: str, cache: Path) -> None:
    result = maskdcpt("models")
    assert result.exit_code == 0
    (line,) = (line for line in result.stdout.splitlines() if line.startswith(f"{name} "))
    model = ZOO[name]
    for part in (
        model.use,
        model.backbone,
        " ".join(model.degradations),
        model.licence or "none stated",
    ):
        assert part in line
    assert f"{model.parameters / 1e6:.1f} M" in line
    assert line.rstrip().endswith("no" if model.repo else "yes")


def test_a_fetched_model_is_listed_with_its_size(cache: Path) -> None:
    fetched("swinir-5d", cache)
    (line,) = (line for line in maskdcpt("models").stdout.splitlines() if "swinir-5d" in line)
    assert " 3.4 MB " in line
    assert line.rstrip().endswith("yes")


def test_the_json_of_the_list_has_the_use_size_and_licence_of_each_model(cache: Path) -> None:
    path = fetched("swinir-5d", cache)
    listed = {facts["name"]: facts for facts in json.loads(maskdcpt("models", "--json").stdout)}
    assert list(listed) == list(ZOO)
    defaults = [name for name, facts in listed.items() if facts["default"]]
    assert defaults == ["tiny-asked", "tiny-classifier"]
    assert listed["tiny-classifier"]["use"] == "classifies"
    assert (listed["swinir-5d"]["path"], listed["swinir-5d"]["bytes"]) == (str(path), 3_400_000)
    assert (listed["nafnet-5d"]["path"], listed["nafnet-5d"]["licence"]) == (None, None)
    assert listed["nafnet-5d"]["degradations"] == ["H", "RS", "GN", "MB", "LL"]


def test_a_model_is_shown_with_its_source_and_place(cache: Path) -> None:
    shown = maskdcpt("models", "show", "swinir-5d").stdout
    assert "haze (H); rain streak (RS)" in shown
    assert "/Jiakui/MaskDCPT/resolve/main/swinir_maskdcpt_5d.pth" in shown
    assert "on disk       no\n" in shown
    path = fetched("swinir-5d", cache)
    assert f"on disk       {path}\n" in maskdcpt("models", "show", "swinir-5d").stdout


def test_a_model_is_shown_with_the_command_that_takes_it(cache: Path) -> None:
    shown = maskdcpt("models", "show", "tiny-classifier").stdout
    assert "tiny-classifier (the default)" in shown
    assert "classifies: maskdcpt classify --model tiny-classifier" in shown
    assert "; moire (MR)\n" in shown


def test_json_before_the_command_of_one_model_is_refused(cache: Path) -> None:
    result = maskdcpt("models", "--json", "show", "tiny")
    assert result.exit_code == 2
    assert "models show NAME --json" in result.stderr


def test_the_json_of_one_model_is_its_entry_in_that_of_the_list(cache: Path) -> None:
    listed = json.loads(maskdcpt("models", "--json").stdout)
    assert json.loads(maskdcpt("models", "show", "tiny-asked", "--json").stdout) == listed[0]


def test_a_multi_label_classifier_is_shown_with_its_thresholds(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    network = small("nafnet")
    options = {option: getattr(network, option) for option in network.options}
    weights = Checkpoint("nafnet", options, network.state_dict(), ("H", "GN"))
    several = replace(weights, multi_label=True, thresholds={"H": 0.75, "GN": 0.5})
    save_checkpoint(several, path)
    lines = maskdcpt("models", "show", str(path)).stdout.splitlines()
    assert "multi_label   yes" in lines
    assert "thresholds    H 0.75, GN 0.50" in lines
    facts = json.loads(maskdcpt("models", "show", str(path), "--json").stdout)
    assert (facts["multi_label"], facts["thresholds"]) == (True, {"H": 0.75, "GN": 0.5})
    save_checkpoint(weights, path)
    assert "\nmulti_label " not in maskdcpt("models", "show", str(path)).stdout


def test_a_file_of_a_classifier_has_the_parameters_of_its_decoder_too() -> None:
    file = Path(maskdcpt_cli.__file__).parent / "_models" / "tiny-classifier.safetensors"
    result = CliRunner().invoke(main, ["models", "show", str(file), "--json"])
    assert json.loads(result.stdout)["parameters"] == ZOO["tiny-classifier"].parameters


def test_a_file_of_weights_is_shown_with_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    network = small("nafnet")
    options = {option: getattr(network, option) for option in network.options}
    weights = Checkpoint("nafnet", options, network.state_dict(), ("H", "GN"), preset="5d")
    save_checkpoint(weights, path)
    lines = dict(
        line.split(maxsplit=1) for line in maskdcpt("models", "show", str(path)).stdout.splitlines()
    )
    assert lines["file"] == str(path)
    assert (lines["use"], lines["backbone"], lines["preset"]) == ("restores", "nafnet", "5d")
    assert lines["degradations"] == "H GN"
    assert lines["options"].startswith("width 8, enc_blk_nums (1, 1, 1, 2)")
    assert lines["licence"] == "not recorded"
    facts = json.loads(maskdcpt("models", "show", str(path), "--json").stdout)
    assert facts["options"]["width"] == 8
    assert facts["parameters"] == sum(p.numel() for p in network.parameters())


def test_an_unknown_model_is_answered_with_the_known_ones() -> None:
    result = maskdcpt("models", "show", "tinny")
    assert result.exit_code == 1
    assert "Unknown model 'tinny'. Did you mean 'tiny'?" in result.stderr


def test_listing_does_not_import_torch() -> None:
    code = (
        "import sys; from maskdcpt_cli.cli.models import models;"
        "models([], standalone_mode=False); print('torch' in sys.modules)"
    )
    out = run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "False"


def test_embedded_models_come_with_a_card_and_others_without() -> None:
    for name, model in ZOO.items():
        facts = json.loads(maskdcpt("models", "show", name, "--json").stdout)
        shown = maskdcpt("models", "show", name).stdout
        if model.repo is None:
            assert "## Training" in facts["card"]
            assert facts["card"].rstrip() in shown
        else:
            assert facts["card"] is None


def test_a_card_is_laid_out_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    shown = maskdcpt("models", "show", "tiny").stdout
    assert "Training" in shown
    assert "## Training" not in shown
