"""`maskdcpt export`, and `maskdcpt restore` and `benchmark` with what it writes."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from maskdcpt_cli.cli import main
from maskdcpt_cli.weights.checkpoint import Checkpoint, save_checkpoint
from tests.inference.test_backends import needs
from tests.small import calm, two_blocks


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of a small request-conditioned network, and photos, in the current folder."""
    monkeypatch.chdir(tmp_path)
    network = calm("nafnet-instruct", **two_blocks("nafnet-instruct"))
    options = {option: getattr(network, option) for option in network.options}
    save_checkpoint(
        Checkpoint("nafnet", options, network.state_dict(), ("GN", "H", "J")),
        Path("own.safetensors"),
    )
    Path("photos").mkdir()
    rows, columns = np.mgrid[0:96, 0:130]
    pixels = np.stack([60 + rows, 40 + columns, 200 - rows], axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save("photos/a.png")
    return Path("own.safetensors")


def maskdcpt(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def pixels(path: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]]":
    return np.asarray(Image.open(path)).astype(int)


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("own.onnx", "onnx"),
        pytest.param("own.xml", "openvino", marks=pytest.mark.slow),  # it compiles for each size
        ("own.ts", "torch"),
    ],
)
def test_what_is_exported_restores_as_the_weights_do(
    name: str, backend: str, weights: Path
) -> None:
    needs(backend)
    result = maskdcpt("export", str(weights), "-o", name)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert all(
        re.fullmatch(r"\d+x\d+( in tiles)? +(\d+\.\d|inf) dB to the original", x) for x in lines
    )
    assert len(lines) == 5
    assert re.fullmatch(
        r"Written: (own\.bin \(0\.\d MB\), )?own\.\w+ \(0\.\d MB\)\n", result.stderr
    )
    for model, out in ((str(weights), "expected"), (name, "out")):
        options = ("--remove", "noise,jpeg", "--tile", "64", "--backend")
        chosen = backend if model == str(weights) else "auto"
        result = maskdcpt("restore", "photos", "-o", out, "-m", model, *options, chosen)
        assert result.exit_code == 0, result.output
        assert result.stderr.startswith(f"own: {backend} on cpu, fp32; removes noise, jpeg\n")
    assert np.abs(pixels("out/a.png") - pixels("expected/a.png")).max() <= 1
    assert np.abs(pixels("out/a.png") - pixels("photos/a.png")).max() > 1


def test_a_model_by_name_is_exported(tmp_path: Path) -> None:
    result = maskdcpt("export", "tiny", "-o", str(tmp_path / "tiny.ts"), "-q")
    assert (result.exit_code, result.output) == (0, "")
    assert (tmp_path / "tiny.ts").stat().st_size > 10_000_000


def test_an_exported_network_is_measured_by_benchmark(weights: Path) -> None:
    assert maskdcpt("export", str(weights), "-o", "own.ts").exit_code == 0
    measured = ("benchmark", "--pairs", "photos", "photos", "-o", "out", "--metrics", "psnr")
    result = maskdcpt(*measured, "-m", "own.ts", "--jobs", "1")
    assert result.exit_code == 0, result.output
    pages = [path.read_text() for path in Path("out").rglob("*.md")]
    assert any("torch on cpu, fp32" in page for page in pages)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ("tiny -o there.onnx", 2, "'there.onnx' exists: name another file, or type --overwrite."),
        ("tiny -o there.xml", 2, "'there.bin' exists: name another file, or type --overwrite."),
        ("tiny -o a.onnx --to torchscript", 2, "'a.onnx' ends in none of the suffixes of a form: "),
        ("tiny -o a.png", 2, ".onnx (ONNX), .xml (OpenVINO), .ts or .pt (TorchScript)."),
        ("tiny -o a.onnx --to onyx", 2, "'onyx' is not one of 'onnx', 'openvino', 'torchscript'."),
        ("tinny -o a.ts", 1, "Unknown model 'tinny'. Did you mean 'tiny'?"),
        ("tiny-classifier -o a.ts", 1, "only pre-trained and cannot restore"),
    ],
)
def test_what_cannot_be_written_is_one_sentence(
    arguments: str, code: int, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("there.onnx", "there.bin"):
        Path(name).touch()
    result = maskdcpt("export", *arguments.split())
    assert result.exit_code == code
    assert sentence in " ".join(result.stderr.split())
    assert len(list(tmp_path.iterdir())) == 2


def test_an_exported_network_in_place_of_weights_is_one_sentence(weights: Path) -> None:
    assert maskdcpt("export", str(weights), "-o", "own.ts").exit_code == 0
    for command in (("export", "own.ts", "-o", "b.ts"), ("classify", "photos", "-m", "own.ts")):
        result = maskdcpt(*command)
        assert result.exit_code == 1
        assert "own.ts is an exported network, not weights" in result.stderr


@pytest.mark.parametrize("name", ["a.onnx", "a.xml", "a.ts"])
def test_a_file_that_is_no_network_is_one_sentence(name: str, weights: Path) -> None:
    Path(name).write_text("no network")
    Path("a.bin").touch()
    result = maskdcpt("restore", "photos", "-o", "out", "-m", name)
    assert result.exit_code == 1
    assert re.match(rf"Error: {name} is (damaged, or no|neither safetensors)", result.stderr)
    assert not Path("out").exists()


def test_how_an_exported_network_runs_is_not_chosen(weights: Path) -> None:
    assert maskdcpt("export", str(weights), "-o", "own.ts").exit_code == 0
    result = maskdcpt("restore", "photos", "-o", "out", "-m", "own.ts", "--backend", "onnx")
    assert result.exit_code == 1
    assert "runs by backend 'torch', not 'onnx': use --backend auto" in result.stderr


def test_weights_in_a_pickle_that_ends_as_torchscript_does_restore(weights: Path) -> None:
    network = calm("nafnet", **two_blocks("nafnet"))
    torch.save({"params": network.state_dict()}, "plain.pt")
    result = maskdcpt("restore", "photos", "-o", "out", "-m", "plain.pt", "--backend", "torch")
    assert result.exit_code == 0, result.output


def test_the_weights_are_never_replaced_by_what_is_exported(weights: Path) -> None:
    own = weights.rename("own.pt")
    before = own.read_bytes()
    result = CliRunner().invoke(main, ["export", "own.pt", "-o", "own.pt", "--overwrite"])
    assert result.exit_code == 2
    assert "'own.pt' is an input: name another file to write." in result.stderr
    assert own.read_bytes() == before
