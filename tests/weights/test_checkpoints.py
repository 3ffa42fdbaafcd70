"""Weights on disk: what is read, built and written; test_refused_checkpoints.py has the rest."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from maskdcpt_cli._version import __version__
from maskdcpt_cli.errors import CheckpointError
from maskdcpt_cli.models import BACKBONES, backbone_class, build_backbone
from maskdcpt_cli.models.options import PLAIN
from maskdcpt_cli.weights.building import build
from maskdcpt_cli.weights.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from maskdcpt_cli.weights.recognise import recognise
from tests.small import NETWORKS, backbone_of
from tests.weights.filled import OPTIONS, on_meta

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/backbones.json").read_text())


def same(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(left[key].equal(right[key]) for key in left)


def test_every_backbone_can_be_recognised_and_is_tried_here() -> None:
    assert set(NETWORKS) == set(OPTIONS)
    assert len({backbone_class(name).telltale for name in BACKBONES}) == len(BACKBONES)


@pytest.mark.parametrize("released", ["nafnet", "nafnet-small", "restormer", "promptir", "swinir"])
def test_released_weights_are_recognised_by_keys_and_shapes(released: str) -> None:
    golden = GOLDEN[released]
    keys = {key: torch.empty(shape, device="meta") for key, shape in dict(golden["keys"]).items()}
    backbone, options = recognise(keys)
    assert backbone == released.partition("-")[0]
    others = {"unshuffle": 1, **PLAIN}
    expected = {name: golden["config"].get(name, others.get(name)) for name in options}
    assert json.loads(json.dumps(options)) == expected


@pytest.mark.parametrize("name", OPTIONS)
def test_other_sizes_and_architectures_are_recognised_too(name: str) -> None:
    backbone = backbone_of(name)
    assert recognise(on_meta(backbone, OPTIONS[name])) == (backbone, OPTIONS[name])


@pytest.mark.parametrize("dim", [8, 40, 48, 100])
@pytest.mark.parametrize("factor", [0.29, 0.57, 1.0, 4 / 3, 2.0, 2.2, 2.66, 2.7182818284, 4.0])
def test_the_expansion_factor_gives_every_layer_its_width_again(dim: int, factor: float) -> None:
    options = {**OPTIONS["restormer"], "dim": dim, "ffn_expansion_factor": factor}
    state_dict = on_meta("restormer", options)
    _, recognised = recognise(state_dict)
    again = on_meta("restormer", recognised)
    assert {k: v.shape for k, v in again.items()} == {k: v.shape for k, v in state_dict.items()}


def test_a_saved_checkpoint_comes_back_whole(small: Checkpoint, tmp_path: Path) -> None:
    written = replace(
        small, degradations=("H", "RS", "MB+LL+GN"), preset="5d", licence="CC BY-SA 4.0"
    )
    path = tmp_path / "weights.safetensors"
    save_checkpoint(written, path)
    read = read_checkpoint(path)
    assert same(read.state_dict, written.state_dict)
    assert replace(read, state_dict={}).__dict__ == {
        **replace(written, state_dict={}).__dict__,
        "version": __version__,
        "source": path,
    }


@pytest.mark.parametrize("classifier", [{}, {"linear.bias": torch.ones(3)}])
def test_what_pre_training_knows_comes_back(
    classifier: dict[str, Tensor], nafnet: Checkpoint, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    known: dict[str, Any] = {"temperature": 1.0625, "crop_size": 192, "restores": False}
    written = replace(nafnet, classifier=classifier, **known)
    save_checkpoint(written, path)
    read = read_checkpoint(path)
    assert {name: getattr(read, name) for name in known} == known
    assert same(read.classifier, classifier)


def test_the_form_and_the_thresholds_of_a_classifier_come_back(
    nafnet: Checkpoint, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    save_checkpoint(replace(nafnet, degradations=("H", "GN")), path)
    with safe_open(path, framework="pt") as file:
        assert not file.metadata().keys() & {"multi_label", "thresholds"}, "as earlier files"
    assert not read_checkpoint(path).multi_label
    thresholds = {"H": 0.8000000000000002, "GN": 0.5}
    known = {"degradations": ("H", "GN"), "multi_label": True, "thresholds": thresholds}
    save_checkpoint(replace(nafnet, **known), path)
    read = read_checkpoint(path)
    assert {name: getattr(read, name) for name in known} == known


def test_metadata_in_the_format_of_the_first_release_is_read(
    nafnet: Checkpoint, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    metadata = {
        "backbone": "nafnet",
        "options": '{"width": 4, "enc_blk_nums": [1, 2], "middle_blk_num": 3, '
        '"dec_blk_nums": [2, 1], "unshuffle": 2}',
        "degradations": '["GN", "MB+LL+GN", "clean"]',
        "preset": "classifier",
        "licence": "Apache-2.0",
        "temperature": "1.2343729348276442",
        "crop_size": "192",
        "restores": "false",
        "version": "0.1.0",
    }
    classifier = {"classifier.linear.bias": torch.ones(3)}
    save_file({**nafnet.state_dict, **classifier}, path, metadata=metadata)
    read = read_checkpoint(path)
    assert same(read.state_dict, nafnet.state_dict)
    assert same(read.classifier, {"linear.bias": torch.ones(3)})
    assert replace(read, state_dict={}, classifier={}).__dict__ == {
        "backbone": "nafnet",
        "options": OPTIONS["nafnet"],
        "state_dict": {},
        "degradations": ("GN", "MB+LL+GN", "clean"),
        "preset": "classifier",
        "licence": "Apache-2.0",
        "version": "0.1.0",
        "source": path,
        "classifier": {},
        "temperature": 1.2343729348276442,
        "multi_label": False,
        "thresholds": {},
        "crop_size": 192,
        "plugins": (),
        "restores": False,
    }


def test_options_that_shapes_do_not_tell_come_from_the_metadata(tmp_path: Path) -> None:
    options = {**OPTIONS["swinir"], "num_heads": (4, 5, 6), "window_size": 4}
    path = tmp_path / "weights.safetensors"
    model = build_backbone("swinir", **options)
    save_checkpoint(Checkpoint("swinir", options, model.state_dict()), path)
    assert read_checkpoint(path).options == options


@pytest.mark.parametrize("name", ["restormer", "promptir"])
def test_the_heads_of_a_level_without_blocks_come_from_the_metadata(
    name: str, tmp_path: Path
) -> None:
    options = {**OPTIONS[name], "num_blocks": (1, 0, 0, 1), "heads": (2, 2, 4, 4)}
    path = tmp_path / "weights.safetensors"
    model = build_backbone(name, **options)
    save_checkpoint(Checkpoint(name, options, model.state_dict()), path)
    assert read_checkpoint(path).options == options


def test_half_precision_stays_on_disk_and_becomes_single_in_memory(
    nafnet: Checkpoint, tmp_path: Path
) -> None:
    path = tmp_path / "half.safetensors"
    half = {key: tensor.half() for key, tensor in nafnet.state_dict.items()}
    save_checkpoint(replace(nafnet, state_dict=half), path)
    assert {tensor.dtype for tensor in load_file(path).values()} == {torch.float16}
    read = read_checkpoint(path)
    assert same(read.state_dict, {key: tensor.float() for key, tensor in half.items()})


LAYOUTS: dict[str, Callable[[dict[str, Tensor], dict[str, Tensor]], object]] = {
    "params_ema": lambda weights, _: {"params_ema": weights},
    "params": lambda weights, _: {"params": weights},
    "ema before params": lambda weights, other: {"params": other, "params_ema": weights},
    "top": lambda weights, _: weights,
    "top with a counter": lambda weights, _: {**weights, "iteration": 7},
    "module": lambda weights, _: {"params": {f"module.{k}": v for k, v in weights.items()}},
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_published_layouts_are_read(
    layout: str, zipped: bool, nafnet: Checkpoint, tmp_path: Path
) -> None:
    weights = dict(nafnet.state_dict)
    other = {key: tensor + 1 for key, tensor in weights.items()}
    path = tmp_path / "weights.safetensors"  # the content tells, not the suffix
    torch.save(LAYOUTS[layout](weights, other), path, _use_new_zipfile_serialization=zipped)
    read = read_checkpoint(path)
    assert same(read.state_dict, weights)
    assert (read.backbone, read.options) == ("nafnet", nafnet.options)
    assert (read.degradations, read.preset, read.licence, read.version) == ((), None, None, None)


def test_bare_safetensors_are_read(small: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    save_file(dict(small.state_dict), path)
    read = read_checkpoint(path)
    assert (read.backbone, read.options) == (small.backbone, small.options)
    assert same(read.state_dict, small.state_dict)


def test_a_failed_save_leaves_the_old_file_and_nothing_else(
    nafnet: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_text("old")

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(CheckpointError, match=r"weights\.safetensors .*No space left on device"):
        save_checkpoint(nafnet, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_named(nafnet: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "nowhere" / "weights", tmp_path / "file" / "weights"):
        with pytest.raises(CheckpointError, match=rf"{path} cannot be written: No"):
            save_checkpoint(nafnet, path)


def test_a_saved_file_is_as_readable_as_any_other(nafnet: Checkpoint, tmp_path: Path) -> None:
    path, other = tmp_path / "weights.safetensors", tmp_path / "other"
    save_checkpoint(nafnet, path)
    other.touch()
    assert path.stat().st_mode == other.stat().st_mode


def test_tensors_in_any_memory_layout_are_saved(nafnet: Checkpoint, tmp_path: Path) -> None:
    model = build(nafnet).to(memory_format=torch.channels_last)
    path = tmp_path / "weights.safetensors"
    save_checkpoint(replace(nafnet, state_dict=model.state_dict()), path)
    assert same(read_checkpoint(path).state_dict, nafnet.state_dict)


def test_equal_weights_are_equal_files(nafnet: Checkpoint, tmp_path: Path) -> None:
    path, files = tmp_path / "weights.safetensors", set()
    for _ in range(8):
        save_checkpoint(nafnet, path)
        files.add(path.read_bytes())
    assert len(files) == 1
    assert same(read_checkpoint(path).state_dict, nafnet.state_dict)
