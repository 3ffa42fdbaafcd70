"""Weights on disk: what is read, built and written; test_refused_checkpoints.py has the rest."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from maskdcpt_cli._version import __version__
from maskdcpt_cli.errors import CheckpointError
from maskdcpt_cli.models import BACKBONES, backbone_class, build_backbone
from maskdcpt_cli.models.maskdcpt import MaskDCPT
from maskdcpt_cli.weights.checkpoint import (
    Checkpoint,
    build,
    build_classifier,
    read_checkpoint,
    save_checkpoint,
)
from maskdcpt_cli.weights.recognise import recognise
from tests.golden import fill_with_golden_weights

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/backbones.json").read_text())
OPTIONS: dict[str, dict[str, Any]] = {
    "nafnet": {
        "width": 4,
        "enc_blk_nums": (1, 2),
        "middle_blk_num": 3,
        "dec_blk_nums": (2, 1),
        "unshuffle": 2,
    },
    "restormer": {
        "dim": 8,
        "num_blocks": (1, 2, 1, 3),
        "num_refinement_blocks": 2,
        "heads": (1, 2, 4, 8),
        "ffn_expansion_factor": 2.5,
    },
    "promptir": {
        "dim": 8,
        "num_blocks": (2, 1, 1, 1),
        "num_refinement_blocks": 1,
        "heads": (2, 2, 2, 4),
        "ffn_expansion_factor": 1.25,
    },
    "swinir": {
        "embed_dim": 60,
        "depths": (1, 2, 1),
        "num_heads": (2, 2, 2),
        "mlp_ratio": 1.5,
        "window_size": 8,
    },
}


def filled(backbone: str) -> Checkpoint:
    model = build_backbone(backbone, **OPTIONS[backbone])
    fill_with_golden_weights(model)
    return Checkpoint(backbone, OPTIONS[backbone], model.state_dict())


@pytest.fixture(params=OPTIONS)
def small(request: pytest.FixtureRequest) -> Checkpoint:
    return filled(request.param)


@pytest.fixture
def nafnet() -> Checkpoint:
    return filled("nafnet")


def same(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(left[key].equal(right[key]) for key in left)


def on_meta(backbone: str, options: Mapping[str, object]) -> dict[str, Tensor]:
    with torch.device("meta"):
        return build_backbone(backbone, **options).state_dict()


NAFNET = {key: torch.zeros(v.shape) for key, v in on_meta("nafnet", OPTIONS["nafnet"]).items()}


def test_every_backbone_can_be_recognised_and_is_tried_here() -> None:
    assert set(BACKBONES) == set(OPTIONS)
    assert len({backbone_class(name).telltale for name in BACKBONES}) == len(BACKBONES)


@pytest.mark.parametrize("released", ["nafnet", "nafnet-small", "restormer", "promptir", "swinir"])
def test_released_weights_are_recognised_by_keys_and_shapes(released: str) -> None:
    golden = GOLDEN[released]
    keys = {key: torch.empty(shape, device="meta") for key, shape in dict(golden["keys"]).items()}
    backbone, options = recognise(keys)
    assert backbone == released.partition("-")[0]
    expected = {name: golden["config"].get(name, 1) for name in options}  # 1: unshuffle
    assert json.loads(json.dumps(options)) == expected


@pytest.mark.parametrize("backbone", OPTIONS)
def test_other_sizes_are_recognised_too(backbone: str) -> None:
    assert recognise(on_meta(backbone, OPTIONS[backbone])) == (backbone, OPTIONS[backbone])


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
        "crop_size": 192,
        "restores": False,
    }


def test_options_that_shapes_do_not_tell_come_from_the_metadata(tmp_path: Path) -> None:
    options = {**OPTIONS["swinir"], "num_heads": (4, 5, 6), "window_size": 4}
    path = tmp_path / "weights.safetensors"
    model = build_backbone("swinir", **options)
    save_checkpoint(Checkpoint("swinir", options, model.state_dict()), path)
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


def test_a_built_model_computes_as_the_one_that_was_saved(
    small: Checkpoint, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    save_checkpoint(small, path)
    original = build_backbone(small.backbone, **small.options)
    original.load_state_dict(small.state_dict)
    model = build(read_checkpoint(path))
    lq = torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        assert model(lq).equal(original.eval()(lq))
    assert not model.training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_built_model_shares_no_memory_with_its_checkpoint(nafnet: Checkpoint) -> None:
    first, second = build(nafnet), build(nafnet)
    with torch.no_grad():
        first.get_parameter("intro.bias").fill_(7.0)
    assert not second.get_parameter("intro.bias").eq(7.0).any()
    assert not nafnet.state_dict["intro.bias"].eq(7.0).any()


MISFITS: dict[str, tuple[dict[str, Tensor], str]] = {
    "missing": ({}, "1 missing (intro.bias)"),
    "unexpected": (
        {"intro.bias": torch.zeros(4), "fc.bias": torch.zeros(5)},
        "1 unexpected (fc.bias)",
    ),
    "unprintable": (
        {"intro.bias": torch.zeros(4), "a\r\0b": torch.zeros(5)},
        r"1 unexpected (a\r\x00b)",
    ),
    "shape": (
        {"intro.bias": torch.zeros(3)},
        "1 of the wrong shape (intro.bias is (3,) instead of (4,))",
    ),
}


@pytest.mark.parametrize("kind", MISFITS)
def test_tensors_that_do_not_fit_are_named(kind: str, tmp_path: Path) -> None:
    change, fault = MISFITS[kind]
    path = tmp_path / "weights.pth"
    torch.save({key: v for key, v in NAFNET.items() if key != "intro.bias"} | change, path)
    with pytest.raises(CheckpointError) as caught:
        build(read_checkpoint(path))
    assert str(caught.value).startswith(f"{path} does not fit nafnet: {fault}")


def test_many_misfits_are_counted_and_three_named(nafnet: Checkpoint) -> None:
    few = dict(list(nafnet.state_dict.items())[:4])
    missing = list(nafnet.state_dict)[4:]
    with pytest.raises(CheckpointError) as caught:
        build(replace(nafnet, state_dict=few))
    assert f"{len(missing)} missing ({', '.join(missing[:3])}, ...)" in str(caught.value)


def test_an_option_that_does_not_exist_is_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(NAFNET, path, metadata={"options": '{"widht": 4}'})
    with pytest.raises(CheckpointError, match=r"weights\.safetensors .*'widht'.*'width'"):
        build(read_checkpoint(path))


def pre_trained(nafnet: Checkpoint) -> Checkpoint:
    torch.manual_seed(0)
    model = MaskDCPT(build(nafnet), classes=3, reconstruction=False, classifier_dims=(4, 6, 8, 8))
    assert model.classifier is not None
    return replace(
        nafnet, degradations=("H", "RS", "clean"), classifier=model.classifier.state_dict()
    )


def test_a_classifier_that_lost_a_tensor_is_named_with_it(nafnet: Checkpoint) -> None:
    whole = pre_trained(nafnet)
    rest = {key: value for key, value in whole.classifier.items() if key != "linear.bias"}
    with pytest.raises(CheckpointError, match=r"fit the classifier: 1 missing \(linear.bias\)"):
        build_classifier(replace(whole, classifier=rest))


def test_a_classifier_of_another_form_is_named(nafnet: Checkpoint) -> None:
    whole = pre_trained(nafnet)
    few = {"linear.weight": torch.zeros(3, 8)}
    with pytest.raises(CheckpointError, match=r"has a classifier that does not work: .* 0 stages"):
        build_classifier(replace(whole, classifier=few))
    with pytest.raises(CheckpointError, match=r"has a classifier .* lacks 'linear.weight'"):
        build_classifier(replace(whole, classifier={"scales": torch.zeros(2)}))


def test_a_classifier_whose_classes_have_no_names_is_refused(nafnet: Checkpoint) -> None:
    whole = replace(pre_trained(nafnet), degradations=("H", "RS"))
    with pytest.raises(CheckpointError, match="of 3 classes, but lists 2 degradations"):
        build_classifier(whole)


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
