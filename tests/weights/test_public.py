"""Weights that the authors of the networks publish restore as their definitions do."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from maskdcpt_cli.errors import CheckpointError
from maskdcpt_cli.inference.backends import open_engine
from maskdcpt_cli.models.swinir import BIAS_TABLE
from maskdcpt_cli.weights.building import build
from maskdcpt_cli.weights.checkpoint import read_checkpoint, save_checkpoint
from maskdcpt_cli.weights.zoo import load_model
from tests.cli.commands import run
from tests.golden import golden_image
from tests.weights.public_networks import (
    Weights,
    add_buffers,
    add_unused_layers,
    nafnet,
    restormer,
    swinir,
)

Network = Callable[[Weights, Tensor], Tensor]
SMALL_RESTORMER = {"dim": 8, "blocks": (1, 2, 1, 1), "refinement": 1}


@dataclass(frozen=True)
class Published:
    """A form in which weights are published, small, and the options that it is to give."""

    network: Network
    backbone: str
    options: dict[str, Any]
    finish: Callable[[Weights], None] | None = None
    contain: Callable[[Weights], object] = lambda net: {"params": dict(net)}


def lightning(net: Weights) -> object:
    state = {f"net.{name}": tensor for name, tensor in net.items()}
    return {"epoch": 3, "state_dict": state, "optimizer_states": [{}], "loops": {"fit_loop": {}}}


FORMS = {
    "nafnet": Published(
        partial(nafnet, width=4, encoders=(1, 2), middle=2, decoders=(2, 1)),
        "nafnet",
        {"middle_blk_num": 2, "dec_blk_nums": (2, 1), "padding": "zeros", "norm_eps": 1e-6},
    ),
    "restormer": Published(
        partial(restormer, **SMALL_RESTORMER), "restormer", {"dim": 8, "norm": "with-bias"}
    ),
    "restormer-bias-free": Published(
        partial(restormer, **SMALL_RESTORMER, bias_free=True),
        "restormer",
        {"num_blocks": (1, 2, 1, 1), "norm": "bias-free"},
    ),
    "promptir": Published(
        partial(restormer, dim=48, blocks=(1, 1, 1, 1), refinement=1, prompts=True),
        "promptir",
        {"dim": 48, "bias": False},
        finish=add_unused_layers,
        contain=lightning,
    ),
    "swinir": Published(
        partial(swinir, dim=12, depths=(2, 2, 2), heads=3),
        "swinir",
        {"num_heads": (3, 3, 3), "window_size": 8, "attention": "swin"},
        finish=partial(add_buffers, window=8),
    ),
    "swinir-jpeg": Published(
        partial(swinir, dim=12, depths=(2, 2), heads=2, window=7, pixel_range=255),
        "swinir",
        {"num_heads": (2, 2), "window_size": 7, "attention": "swin"},
        finish=partial(add_buffers, window=7),
        contain=dict,
    ),
}
SIZES = [(16, 24), (17, 21), (29, 9)]
every_form = pytest.mark.parametrize("form", FORMS)


@cache
def weights(form: str) -> Weights:
    net = Weights()
    with torch.inference_mode():
        FORMS[form].network(net, golden_image(16, 16))
    if finish := FORMS[form].finish:
        finish(net)
    return net


def publish(form: str, folder: Path) -> Path:
    path = folder / f"{form}.pth"
    torch.save(FORMS[form].contain(weights(form)), path)
    return path


def defined(form: str, lq: Tensor) -> Tensor:
    with torch.inference_mode():
        return FORMS[form].network(weights(form), lq)


@every_form
def test_published_weights_restore_as_their_network_is_defined(form: str, tmp_path: Path) -> None:
    model = load_model(publish(form, tmp_path))
    for size in SIZES:
        lq = golden_image(*size, 2)
        with torch.inference_mode():
            restored = model(lq)
        expected = defined(form, lq)
        assert (expected - lq).std() > 0.1
        torch.testing.assert_close(restored, expected, atol=2e-5, rtol=1e-5)


def test_single_pixels_are_padded_with_zeros_where_nafnet_is_defined_so(tmp_path: Path) -> None:
    lq = golden_image(1, 3)
    restored = load_model(publish("nafnet", tmp_path))(lq)
    torch.testing.assert_close(restored, defined("nafnet", lq), atol=2e-5, rtol=1e-5)


@every_form
def test_the_form_is_recognised_and_kept_when_it_is_saved(form: str, tmp_path: Path) -> None:
    published, again = publish(form, tmp_path), tmp_path / "again.safetensors"
    read = read_checkpoint(published)
    assert read.backbone == FORMS[form].backbone
    assert FORMS[form].options.items() <= dict(read.options).items()
    save_checkpoint(read, again)
    saved = read_checkpoint(again)
    assert saved.options == read.options
    lq = golden_image(9, 13)
    with torch.inference_mode():
        assert build(saved)(lq).equal(build(read)(lq))


@pytest.mark.parametrize(
    ("form", "backend"),
    [
        ("nafnet", "torch"),
        ("restormer-bias-free", "openvino"),
        ("swinir", "openvino"),
        ("swinir", "onnx"),
    ],
)
def test_backends_give_the_pixels_of_the_definition(
    form: str, backend: str, tmp_path: Path
) -> None:
    if backend != "torch":
        pytest.importorskip({"onnx": "onnxruntime"}.get(backend, backend))
    engine = open_engine(
        load_model(publish(form, tmp_path)), device="cpu", precision="fp32", backend=backend
    )
    for size in SIZES:
        lq = golden_image(*size)
        torch.testing.assert_close(engine(lq), defined(form, lq), atol=1e-3, rtol=0)


@pytest.mark.parametrize("form", ["nafnet", "promptir"])
def test_a_file_of_published_weights_is_shown_and_restores(form: str, tmp_path: Path) -> None:
    path, lq, out = publish(form, tmp_path), tmp_path / "lq.png", tmp_path / "out.png"
    pixels = np.random.default_rng(0).integers(0, 256, (19, 27, 3), np.uint8)
    Image.fromarray(pixels).save(lq)
    result = run("restore", str(lq), "-o", str(out), "--model", str(path), "--backend", "torch")
    assert result.exit_code == 0, result.output
    expected = defined(form, torch.from_numpy(pixels / np.float32(255)).permute(2, 0, 1)[None])
    restored = torch.from_numpy(np.asarray(Image.open(out)).copy()).permute(2, 0, 1) / 255
    assert (restored - expected[0].clip(0, 1)).abs().max() < 0.51 / 255
    facts = json.loads(run("models", "show", str(path), "--json").stdout)
    options = json.loads(json.dumps(FORMS[form].options))
    assert facts["backbone"] == form
    assert options.items() <= facts["options"].items()


def without(form: str, *beginnings: str, **added: Tensor) -> Weights:
    kept = Weights()
    kept.update({n: t for n, t in weights(form).items() if not n.startswith(beginnings)})
    kept.update(added)
    return kept


OTHERS = {
    "dual-pixel Restormer": (
        lambda: without("restormer", **{"skip_conv.weight": torch.zeros(16, 8, 1, 1)}),
        "reads two views, .* take single_image_defocus_deblurring.pth",
    ),
    "grey Restormer": (
        lambda: without("restormer", **{"patch_embed.proj.weight": torch.zeros(8, 1, 3, 3)}),
        r"images of 1 channel\(s\), and maskdcpt restores RGB images",
    ),
    "grey SwinIR": (
        lambda: without("swinir", **{"conv_first.weight": torch.zeros(12, 1, 3, 3)}),
        r"images of 1 channel\(s\)",
    ),
    "classical super-resolution": (
        lambda: without("swinir", **{"conv_before_upsample.0.weight": torch.zeros(64, 12, 3, 3)}),
        "for super-resolution .it has 'conv_before_upsample.0.weight'.",
    ),
    "light super-resolution": (
        lambda: without("swinir", "conv_last.", **{"upsample.0.weight": torch.zeros(12, 12, 3, 3)}),
        "for super-resolution .it has 'upsample.0.weight'.",
    ),
    "incomplete SwinIR": (
        lambda: without("swinir", "layers.0.residual_group.blocks.1.attn.rel"),
        r"does not fit swinir: 1 missing \(encode_layers.0.residual_group.blocks.1.attn.relative_",
    ),
    "a flat SwinIR": (
        lambda: without(
            "swinir",
            "layers.0.",
            **{f"layers.0.residual_group.blocks.0.attn.{BIAS_TABLE}": torch.zeros(())},
        ),
        r"has a 'encode_layers.0.residual_group.blocks.0.attn.relative_position_bias_table' of the",
    ),
    "NAFNet's baseline": (
        lambda: without("nafnet", **{"encoders.0.0.se.1.weight": torch.zeros(2, 4, 1, 1)}),
        r"does not fit nafnet: 1 unexpected \(encoders.0.blocks.0.se.1.weight\)",
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_networks_of_the_authors_are_refused(kind: str, tmp_path: Path) -> None:
    make, fault = OTHERS[kind]
    path = tmp_path / "weights.pth"
    torch.save({"params": dict(make())}, path)
    with pytest.raises(CheckpointError, match=fault) as caught:
        load_model(path)
    assert str(caught.value).startswith(str(path))
