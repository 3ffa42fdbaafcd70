"""Reading and saving of checkpoints, and building of networks from them."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from maskdcpt_cli import plugins
from maskdcpt_cli._version import __version__
from maskdcpt_cli.degradations import removable
from maskdcpt_cli.errors import CheckpointError
from maskdcpt_cli.files import open_regular, replacing, shown
from maskdcpt_cli.models import BACKBONES, backbone_class
from maskdcpt_cli.weights.archives import holds_program
from maskdcpt_cli.weights.metadata import (
    CheckpointMetadata,
    format_metadata,
    frozen,
    parse_metadata,
)
from maskdcpt_cli.weights.public import from_public
from maskdcpt_cli.weights.recognise import recognise

ZIP = b"PK\x03\x04"
LEGACY = (
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # a pickled number: torch.save before version 1.6
)
PARTS = ("params_ema", "params", "state_dict")  # of pickles that hold more than tensors
CLASSIFIER = "classifier."  # prefix of its tensors in a file
EXPORTED = "is an exported network, not weights: `maskdcpt restore` and `benchmark` take it"
OTHER_FILES = {
    b'<?xml version="1.0"?>\n<net': EXPORTED,  # OpenVINO
    b"\x08\x08\x12\x07pytorch": EXPORTED,  # ONNX, as PyTorch writes it for OPSET
    b"<": "is a web page, not weights: the download went to the page around the file",
    b"version https://git-lfs": "is a Git LFS pointer: `git lfs pull` fetches the weights it names",
    b"\x80": "is a bare pickle, which could run code; it was not opened",
}
ADVICE = "Give weights written by maskdcpt, or a name or file that `maskdcpt models` lists."


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The weights of a restoration network and their metadata."""

    backbone: str
    options: Mapping[str, object]  # the backbone's constructor arguments
    state_dict: Mapping[str, Tensor]
    degradations: tuple[str, ...] = ()  # abbreviations in label order; () when unknown
    preset: str | None = None
    licence: str | None = None
    version: str | None = None  # of the maskdcpt that wrote the file
    source: Path | None = None  # the file it was read from
    classifier: Mapping[str, Tensor] = field(
        default_factory=dict
    )  # of degradations; empty if not trained
    temperature: float | None = None  # divides its logits; None: not calibrated
    multi_label: bool = False  # whether it has a sigmoid for each label, not one softmax
    thresholds: Mapping[str, float] = field(default_factory=dict)  # of a multi-label one, by label
    crop_size: int | None = None  # side of its last training crops, in pixels; None: unknown
    plugins: tuple[str, ...] = ()  # modules of those that the file names
    restores: bool = True  # false: the head still has its initial weights, as after pre-training

    @property
    def requests(self) -> tuple[str, ...]:
        """The types of a request to its network, in order, if known."""
        return removable(self.degradations) if self.options.get("request_types") else ()


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint: a file of maskdcpt, plain safetensors, or a PyTorch pickle, by content.

    Weights published by the authors of a network come back under the names of this package.

    Floating-point tensors become float32 on the CPU. Nothing in the file is executed.

    Raises:
        CheckpointError: The file cannot be read or holds no network of BACKBONES.
    """
    tensors, header = _read_tensors(path)
    classifier = {
        name.removeprefix(CLASSIFIER): tensors.pop(name)
        for name in list(tensors)
        if name.startswith(CLASSIFIER)
    }
    try:
        metadata = parse_metadata(header)
        if metadata.backbone and metadata.backbone not in BACKBONES:
            plugins.check_there(metadata.plugins or (), by=shown(path), error=CheckpointError)
        stated: dict[str, object] = {}
        if metadata.backbone is None:  # not written by maskdcpt
            tensors, stated = from_public(tensors)
        backbone, detected = recognise(tensors, recorded=metadata.backbone)
        assumed = backbone_class(backbone).assumed_options
        _compare(
            {"backbone": backbone, **{k: v for k, v in detected.items() if k not in assumed}},
            {"backbone": metadata.backbone or backbone, **metadata.options},
        )
    except ValueError as error:
        raise CheckpointError(f"{shown(path)} {shown(str(error))}. {ADVICE}") from error
    return Checkpoint(
        backbone=backbone,
        options={**detected, **stated, **metadata.options},
        state_dict=tensors,
        degradations=metadata.degradations,
        preset=metadata.preset,
        licence=metadata.licence,
        version=metadata.version,
        source=path,
        classifier=classifier,
        temperature=metadata.temperature,
        multi_label=metadata.multi_label,
        thresholds=metadata.thresholds,
        crop_size=metadata.crop_size,
        plugins=metadata.plugins or (),
        restores=not classifier and metadata.restores,
    )


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write safetensors with metadata, atomically; tensors keep their dtype.

    The recorded version is the running one. Raises CheckpointError where writing fails.
    """
    metadata = CheckpointMetadata.model_construct(
        backbone=checkpoint.backbone,
        options=dict(checkpoint.options),
        degradations=checkpoint.degradations,
        preset=checkpoint.preset,
        licence=checkpoint.licence,
        temperature=checkpoint.temperature,
        multi_label=checkpoint.multi_label,
        thresholds=dict(checkpoint.thresholds),
        crop_size=checkpoint.crop_size,
        restores=checkpoint.restores,
        version=__version__,
        plugins=plugins.needed(
            BACKBONES=[checkpoint.backbone], DEGRADATIONS=checkpoint.degradations
        )
        or None,
    )
    decoder = {CLASSIFIER + name: tensor for name, tensor in checkpoint.classifier.items()}
    tensors = _separate({**checkpoint.state_dict, **decoder})
    # save_file would make the file private
    content = _with_sorted_metadata(save(tensors, metadata=format_metadata(metadata)))
    try:
        with replacing(path) as file:
            file.write(content)
    except OSError as error:
        raise CheckpointError(f"{shown(path)} cannot be written: {error.strerror}.") from error


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return contiguous tensors of which no two share memory, as safetensors asks for."""
    separate: dict[str, Tensor] = {}
    used: set[int] = set()
    for name, tensor in tensors.items():
        one = tensor.contiguous()
        if one.untyped_storage().data_ptr() in used:  # a layer of two names
            one = one.clone()
        used.add(one.untyped_storage().data_ptr())
        separate[name] = one
    return separate


def _read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a file of any form, and the metadata of safetensors."""
    try:
        with open_regular(path) as file:
            head = file.read(64)
    except OSError as error:
        raise CheckpointError(
            f"{shown(path)} cannot be opened: {error.strerror}. {ADVICE}"
        ) from error
    if head[8:9] == b"{":  # after the length of the header, which is JSON
        return _read_safetensors(path)
    if head.startswith(ZIP) and holds_program(path):
        raise CheckpointError(f"{shown(path)} {EXPORTED}. {ADVICE}")
    if head.startswith((ZIP, LEGACY)):
        return _published_tensors(path, _unpickle(path, zipped=head.startswith(ZIP))), {}
    raise CheckpointError(f"{shown(path)} {_file_kind(head)}. {ADVICE}")


def _with_sorted_metadata(content: bytes) -> bytes:
    """Return a safetensors file whose metadata, which the library shuffles, is in order."""
    size = int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    ordered = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    ordered += b" " * (-len(ordered) % 8)  # the tensors begin at a multiple of eight bytes
    return len(ordered).to_bytes(8, "little") + ordered + content[8 + size :]


def _file_kind(head: bytes) -> str:
    if not head:
        return "is empty"
    kinds = (kind for magic, kind in OTHER_FILES.items() if head.lstrip().startswith(magic))
    return next(kinds, "is neither safetensors nor a PyTorch checkpoint")


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            tensors = {name: _single_precision(file.get_tensor(name)) for name in names}
            return tensors, file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{shown(path)} is damaged or cut short ({error}). {ADVICE}"
        ) from error


def _unpickle(path: Path, *, zipped: bool) -> object:
    mmap = zipped and path.suffix != ".safetensors"  # torch.load trusts this suffix of a path
    try:
        with path.open("rb") as file:
            source = path if mmap else file
            return torch.load(source, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # on damaged bytes the restricted unpickler raises almost any type
        requested = re.search(r"GLOBAL ([\w.]+)", str(error))
        if requested:
            problem = f"asks for '{requested[1]}', which could run code; nothing was executed"
        else:
            problem = "is damaged or cut short: it does not unpickle as a PyTorch checkpoint"
        raise CheckpointError(f"{shown(path)} {problem}. {ADVICE}") from error


def _published_tensors(path: Path, content: object) -> dict[str, Tensor]:
    """Return the tensors of one of PARTS, or of the top level, without `module.`."""
    found = content
    if isinstance(content, dict):
        found = next((content[part] for part in PARTS if part in content), content)
    if not isinstance(found, dict):
        raise CheckpointError(f"{shown(path)} holds no tensors by name. {ADVICE}")
    return {
        str(name).removeprefix("module."): _single_precision(tensor)
        for name, tensor in found.items()
        if isinstance(tensor, Tensor)
    }


def _single_precision(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _compare(detected: Mapping[str, object], recorded: Mapping[str, object]) -> None:
    for name, value in detected.items():
        claimed = recorded.get(name, value)
        if frozen(claimed) != frozen(value):
            raise ValueError(
                f"contradicts itself: its metadata says {name} {claimed}, its tensors say {value}"
            )
