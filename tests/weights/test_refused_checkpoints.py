"""Files that are refused: no weights of ours, damaged ones, and what wants to run code."""

import contextlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from maskdcpt_cli.errors import CheckpointError
from maskdcpt_cli.models.maskdcpt import MaskDCPT
from maskdcpt_cli.weights.building import build, build_classifier
from maskdcpt_cli.weights.checkpoint import CLASSIFIER, Checkpoint, read_checkpoint
from tests.small import SMALL, small
from tests.weights.filled import NAFNET


def zipped(content: object) -> Callable[[Path], None]:
    return lambda path: torch.save(content, path)


def raw(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def cut(write: Callable[[Path], object]) -> Callable[[Path], None]:
    def write_half(path: Path) -> None:
        write(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return write_half


def marked(tensors: dict[str, Tensor], **metadata: str) -> Callable[[Path], None]:
    return lambda path: save_file(tensors, path, metadata=metadata)


def several(**metadata: str) -> Callable[[Path], None]:
    """A file of a multi-label classifier with other metadata."""
    return marked(NAFNET, **{"degradations": '["GN", "H"]', "multi_label": "true", **metadata})


RESNET = {"conv1.weight": torch.zeros(8, 3, 7, 7), "fc.bias": torch.zeros(5)}
UNUSABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.exists, "No such file"),
    "folder": (Path.mkdir, "cannot be opened"),
    "empty": (raw(b""), "is empty"),
    "random bytes": (raw(bytes(range(7, 250))), "neither safetensors nor a PyTorch checkpoint"),
    "web page": (raw(b"\n<!DOCTYPE html><title>Sign in</title>"), "is a web page"),
    "LFS pointer": (raw(b"version https://git-lfs.github.com/spec/v1\n"), "Git LFS pointer"),
    "truncated pth": (cut(zipped({"params": NAFNET})), "damaged or cut short"),
    "truncated safetensors": (cut(marked(NAFNET)), "damaged or cut short"),
    "header only": (raw(b"\x40" + bytes(7) + b'{"a":'), "damaged or cut short"),
    "a list": (zipped([torch.zeros(3)]), "no tensors by name"),
    "no tensors": (zipped({"epoch": 3}), "another network (nothing)"),
    "another network": (zipped(RESNET), "another network ('conv1.weight', 'fc.bias')"),
    "names that draw": (zipped({"a\x1b[2J": torch.zeros(3)}), r"another network ('a\x1b[2J')"),
    "other params": (zipped({"params": RESNET}), "another network ('conv1.weight', 'fc.bias')"),
    "flat": (zipped({**NAFNET, "intro.weight": torch.zeros(4)}), "'intro.weight' of the wrong"),
    "other width": (
        marked(NAFNET, options='{"width": 64}'),
        "its metadata says width 64, its tensors say 4",
    ),
    "other backbone": (marked(NAFNET, backbone="swinir"), "says backbone swinir"),
    "no JSON": (marked(NAFNET, options="width=4"), "metadata"),
    "no options": (marked(NAFNET, options="[1, 2]"), "metadata"),
    "no temperature": (marked(NAFNET, temperature="nan"), "temperature nan"),
    "a temperature of 0": (marked(NAFNET, temperature="0"), "temperature 0"),
    "no form": (marked(NAFNET, multi_label="7"), "multi_label 7"),
    "clean as one of several": (
        marked(NAFNET, degradations='["GN", "clean"]', multi_label="true"),
        "multi_label true",
    ),
    "no thresholds": (several(thresholds="0.5"), "thresholds 0.5"),
    "a threshold of 2": (several(thresholds='{"GN": 2}'), 'thresholds {"GN": 2}'),
    "a threshold that is no number": (several(thresholds='{"GN": NaN}'), "thresholds"),
    "a threshold of nothing": (several(thresholds='{"LL": 0.5}'), 'thresholds {"LL": 0.5}'),
    "thresholds of one label": (
        several(thresholds='{"GN": 0.5}', multi_label="false"),
        "thresholds",
    ),
    "labels that draw": (marked(NAFNET, degradations='["\\u001b[2J"]'), "metadata"),
    "no crop size": (marked(NAFNET, crop_size="0"), "crop_size 0"),
    "a huge crop size": (marked(NAFNET, crop_size="10000"), "crop_size 10000"),
    "no degradations": (marked(NAFNET, degradations="7"), "metadata"),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_an_unusable_file_is_named_with_its_fault(kind: str, tmp_path: Path) -> None:
    write, fault = UNUSABLE[kind]
    path = tmp_path / "weights.pth"
    write(path)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(str(path))
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)


class Hostile:
    """Unpickled freely, makes a folder."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.trace),)


HOSTILE: dict[str, Callable[[Hostile, Path], object]] = {
    "zip": lambda thing, path: torch.save({"params": NAFNET, "thing": thing}, path),
    "legacy": lambda thing, path: torch.save(
        {"params": thing}, path, _use_new_zipfile_serialization=False
    ),
    "pickle": lambda thing, path: path.write_bytes(pickle.dumps(thing)),
    "text pickle": lambda thing, path: path.write_bytes(pickle.dumps(thing, protocol=0)),
}


@pytest.mark.parametrize("form", HOSTILE)
def test_a_pickle_that_wants_to_run_code_is_refused_and_runs_nothing(
    form: str, tmp_path: Path
) -> None:
    path, trace = tmp_path / "weights.pth", tmp_path / "trace"
    HOSTILE[form](Hostile(trace), path)
    with pytest.raises(CheckpointError, match=r"weights\.pth .*(run code|neither safetensors)"):
        read_checkpoint(path)
    assert not trace.exists()
    if "pickle" in form:
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert trace.exists()  # it was armed


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_damaged_bytes_raise_nothing_else(form: str, tmp_path: Path) -> None:
    path = tmp_path / "weights"
    tensors = {"intro.weight": torch.zeros(4, 3, 3, 3), "middle_blks.blocks.0.beta": torch.ones(2)}
    if form == "safetensors":
        save_file(tensors, path, metadata={"backbone": "nafnet", "options": '{"width": 4}'})
    else:
        torch.save({"params": tensors}, path, _use_new_zipfile_serialization=form == "zip")
    whole = path.read_bytes()
    for i in range(0, len(whole), max(len(whole) // 150, 1)):
        path.write_bytes(whole[:i])
        with pytest.raises(CheckpointError):
            read_checkpoint(path)
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 0x5F]) + whole[i + 1 :])
        with contextlib.suppress(CheckpointError):  # a changed weight is still a weight
            read_checkpoint(path)


OF_WRONG_TYPE = (
    0,
    -1,
    1.5,
    8.0,
    True,
    None,
    "8",
    [1],
    {},
    10**30,
    [0] * 4,
    [1.0] * 4,
    ["a"] * 4,
    [],
)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.usefixtures("narrow_prompts")
def test_recorded_options_that_do_not_fit_are_refused_in_a_sentence(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    tensors = small(name).state_dict()
    recorded = build(Checkpoint(name, SMALL[name], tensors))
    for option in recorded.options:
        for value in OF_WRONG_TYPE:
            options = {**SMALL[name], option: value}
            save_file(tensors, path, metadata={"backbone": name, "options": json.dumps(options)})
            valid = getattr(recorded, option)
            if value == valid and type(value) is type(valid):
                assert build(read_checkpoint(path))(torch.rand(1, 3, 20, 20)).shape[2:] == (20, 20)
                continue
            with pytest.raises(CheckpointError) as error:
                build(read_checkpoint(path))
            assert str(error.value).endswith(".")
            assert "\n" not in str(error.value)


@pytest.mark.parametrize("shape", [(0,), (1,), (0, 3, 3, 3), (10**6, 1, 1, 1), ()])
def test_a_classifier_of_other_shapes_is_refused_in_a_sentence(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    backbone = small("nafnet")
    network = MaskDCPT(backbone, classes=2, reconstruction=False, classifier_dims=(4, 4, 8, 8))
    assert network.classifier is not None
    decoder = {CLASSIFIER + key: value for key, value in network.classifier.state_dict().items()}
    for key in ("stages.0.blocks.0.conv1.weight", "linear.weight"):
        changed = {**backbone.state_dict(), **decoder, CLASSIFIER + key: torch.zeros(shape)}
        save_file(changed, path, metadata={"degradations": '["H", "GN"]'})
        with pytest.raises(CheckpointError) as error:
            build_classifier(read_checkpoint(path))
        assert str(error.value).endswith(".")


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "weights.pth")
    path = tmp_path / "weights.pth" if kind == "pipe" else Path("/dev/zero")
    with pytest.raises(CheckpointError, match="cannot be opened: Not a regular file"):
        read_checkpoint(path)
