"""Weights that the authors of the four networks publish, under the names of this package.

NAFNet (megvii-research/NAFNet), Restormer (swz30/Restormer), PromptIR (va1shn9v/PromptIR) and
SwinIR (JingyunLiang/SwinIR) are recognised from the names of their tensors.
"""

import re
from collections.abc import Callable, Mapping

from torch import Tensor

from maskdcpt_cli.models.swinir import BIAS_TABLE

Tensors = dict[str, Tensor]
Converted = tuple[Tensors, dict[str, object]]

NAFNET_NAMES = {
    r"^encoders\.(\d+)\.": r"encoders.\1.blocks.",
    r"^decoders\.(\d+)\.": r"decoder\1.blocks.",
    r"^middle_blks\.": "middle_blks.blocks.",
}
RESTORMER_NAMES = {
    r"^(encoder_level\d|decoder_level\d|latent|refinement)\.": r"\1.blocks.",
    r"^((?:down|up)\d_\d)\.body\.0\.": r"\1.conv.",
    r"(norm\d)\.body\.": r"\1.",
}
PROMPTIR_UNUSED = re.compile(r"(chnl_reduce|reduce_noise_channel_)\d\.")
SWINIR_BUFFERS = re.compile(r".*\.(relative_position_index|attn_mask)$")
SWINIR_GROUP = re.compile(r"layers\.(\d{1,3})\.")
SWINIR_UPSAMPLER = re.compile(r"(upsample|conv_before_upsample|conv_up\d)\.")
JPEG_WINDOW = 7  # of SwinIR for JPEG, as its blocks are 8 pixels wide
JPEG_RANGE = 255  # of the pixels that it takes


def from_public(tensors: Tensors) -> Converted:
    """Return public weights by the names of this package, and options that no shape tells.

    Other tensors are returned as they are. Raises ValueError, which continues the name of a file,
    for a variant that does not restore RGB images at their size.
    """
    if all(name.startswith("net.") for name in tensors):  # of a Lightning module
        tensors = {name.removeprefix("net."): tensor for name, tensor in tensors.items()}
    for beginning, convert in LAYOUTS.items():
        if any(name.startswith(beginning) for name in tensors):
            return convert(tensors)
    return tensors, {}


def _nafnet(tensors: Tensors) -> Converted:
    _check_channels(tensors, "intro.weight")
    return _rename(tensors, NAFNET_NAMES), {"padding": "zeros", "norm_eps": 1e-6}


def _restormer(tensors: Tensors) -> Converted:
    """Convert Restormer, and PromptIR without the six layers that it has and does not run."""
    if "skip_conv.weight" in tensors:
        raise ValueError(
            "holds Restormer for dual-pixel photos, which reads two views, and maskdcpt restores "
            "single RGB images: take single_image_defocus_deblurring.pth"
        )
    _check_channels(tensors, "patch_embed.proj.weight")
    used = {name: t for name, t in tensors.items() if not PROMPTIR_UNUSED.match(name)}
    return _rename(used, RESTORMER_NAMES), {}


def _swinir(tensors: Tensors) -> Converted:
    """Convert SwinIR; the pixel range of its JPEG variant goes into its outer convolutions."""
    upsampler = next(filter(SWINIR_UPSAMPLER.match, tensors), None)
    if upsampler:
        raise ValueError(
            f"holds a network for super-resolution (it has '{upsampler}'), and maskdcpt restores "
            "images at their size"
        )
    _check_channels(tensors, "conv_first.weight")
    groups = {int(found[1]) for found in map(SWINIR_GROUP.match, tensors) if found}
    half = len(groups) // 2
    names = {rf"^layers\.{i}\.": f"encode_layers.{i}." for i in range(half)}
    names |= {rf"^layers\.{i}\.": f"decode_layers{i - half}." for i in groups if i >= half}
    kept = {name: t for name, t in tensors.items() if not SWINIR_BUFFERS.match(name)}
    tables = [t for name, t in kept.items() if name.endswith(BIAS_TABLE)]
    if any(table.shape[:1] == ((2 * JPEG_WINDOW - 1) ** 2,) for table in tables):
        scales = {"conv_first.weight": JPEG_RANGE, "conv_last.weight": 1 / JPEG_RANGE}
        scales["conv_last.bias"] = 1 / JPEG_RANGE
        kept = {name: tensor * scales.get(name, 1) for name, tensor in kept.items()}
    return _rename(kept, names), {}


LAYOUTS: dict[str, Callable[[Tensors], Converted]] = {  # by the beginning of a name of a tensor
    "decoders.": _nafnet,
    "down1_2.body.": _restormer,
    "layers.0.residual_group.": _swinir,
}


def _rename(tensors: Tensors, names: Mapping[str, str]) -> Tensors:
    for pattern, ours in names.items():
        tensors = {re.sub(pattern, ours, name): tensor for name, tensor in tensors.items()}
    return tensors


def _check_channels(tensors: Tensors, first: str) -> None:
    weight = tensors.get(first)
    if weight is not None and weight.ndim == 4 and weight.shape[1] != 3:
        raise ValueError(
            f"holds a network for images of {weight.shape[1]} channel(s), and maskdcpt restores "
            "RGB images: take the authors' weights for colour"
        )
