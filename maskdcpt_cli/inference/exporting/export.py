"""Export of a network to a file that other programs run."""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.files import shown, written
from maskdcpt_cli.inference.backends import Engine, check_installed, open_engine
from maskdcpt_cli.inference.exporting.forms import Form, form_to_write
from maskdcpt_cli.inference.exporting.graph import exportable
from maskdcpt_cli.inference.exporting.load import load_exported
from maskdcpt_cli.inference.tiling import Band, restore_tiles
from maskdcpt_cli.models import Backbone

MIN_PARITY = 60.0  # dB: an error of a quarter of 1 of 255
SIZES = ((64, 64), (57, 91), (131, 40), (1, 1))  # h, w
SIZE_IN_TILES = (150, 211)
TILE, OVERLAP = 96, 16


@dataclass(frozen=True)
class Parity:
    """How near an exported network is to its origin, on an image of one size."""

    size: tuple[int, int]  # h, w
    in_tiles: bool
    psnr: float  # dB, for values in [0, 1]; that of the worst request

    def __str__(self) -> str:
        """Return the size in words."""
        return f"{self.size[0]}x{self.size[1]}" + (" in tiles" if self.in_tiles else "")


def export_model(
    model: Backbone, path: Path | str, *, to: str | None = None, overwrite: bool = False
) -> Iterator[Parity]:
    """Write a network to a file that other programs run, and `load_exported` opens.

    The written file is compared with the network first; it appears when the iterator ends.

    Args:
        model: A network, as `load_model` returns it; it is left unchanged.
        path: The file, which ends in .onnx, .xml (a .bin is written beside it), .ts or .pt.
        to: "onnx", "openvino" or "torchscript"; None: by the suffix of `path`.
        overwrite: Whether a file that exists is replaced.

    Returns:
        An iterator of the parity at several sizes.

    Raises:
        MaskDCPTError: The suffix is not one of the form, a file exists, the network has no graph
            that this form can hold, or its parity is below 60 dB; nothing is written then.
        BackendError: The library that writes it is not installed.
    """
    path = Path(path)
    form = form_to_write(path, to)
    files = form.files(path)
    if not overwrite and (there := next((file for file in files if file.exists()), None)):
        raise MaskDCPTError(f"'{shown(there)}' exists; overwrite=True replaces it.")
    check_installed(form.backend)
    with TemporaryDirectory() as folder:
        draft = Path(folder, f"network{form.suffixes[0]}")
        _write(model, form, draft)
        for parity in _compare(model, draft):
            yield parity
            if not parity.psnr >= MIN_PARITY:  # NaN, too
                raise MaskDCPTError(
                    f"The exported network is at {parity.psnr:.1f} dB from the original one, on an "
                    f"image of {parity}, and {MIN_PARITY:.0f} dB are needed: "
                    f"'{shown(path)}' is not written."
                )
        _publish(form.files(draft), files)


def _publish(drafts: Sequence[Path], files: Sequence[Path]) -> None:
    """Write files that belong together; the last one, which names the others, appears last."""
    with ExitStack() as stack:
        for draft, file in reversed(list(zip(drafts, files, strict=True))):
            stack.enter_context(written(file)).write(draft.read_bytes())
        if len(files) > 1:
            files[-1].unlink(missing_ok=True)  # an earlier graph does not fit new weights


def _write(model: Backbone, form: Form, path: Path) -> None:
    network = exportable(model)
    try:
        form.module.write(network, path)
    except Exception as error:  # each library raises its own
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise MaskDCPTError(
            f"This network cannot be exported to {form.title}: {reason or type(error).__name__}."
        ) from error


def _compare(model: Backbone, path: Path) -> Iterator[Parity]:
    original = open_engine(model, device="cpu", precision="fp32", backend="torch")
    exported = open_engine(load_exported(path))
    requests = _requests(model.request_types)
    for size in SIZES:
        image = probe_image(size)
        values = [
            _psnr(exported.with_request(request)(image), original.with_request(request)(image))
            for request in requests
        ]
        yield Parity(size, False, _worst(values))
    image = probe_image(SIZE_IN_TILES)
    values = [
        _psnr(_in_tiles(exported, image, request), _in_tiles(original, image, request))
        for request in requests
    ]
    yield Parity(SIZE_IN_TILES, True, _worst(values))


def _worst(values: Sequence[float]) -> float:
    """Return the lowest value, NaN if there is one."""
    return min(values, key=lambda value: -math.inf if math.isnan(value) else value)


def _requests(types: int) -> list[Tensor | None]:
    """Return the request for everything, and one for a part."""
    if not types:
        return [None]
    return [torch.ones(1, types), torch.eye(types)[:1]]


def _in_tiles(engine: Engine, image: Tensor, request: Tensor | None) -> Tensor:
    steps = restore_tiles(
        engine.with_request(request),
        lambda rows, columns: image[0, :, rows, columns],
        (image.shape[-2], image.shape[-1]),
        tile=TILE,
        overlap=OVERLAP,
        multiple=engine.size_multiple,
        pad=engine.pad,
    )
    return torch.cat([step.restored for step in steps if isinstance(step, Band)], dim=1)


def probe_image(size: tuple[int, int]) -> Tensor:
    """Return an image (1, 3, h, w) with smooth parts, edges and noise."""
    rows, columns = (torch.linspace(0, 3, side) for side in size)
    smooth = 0.5 + 0.3 * torch.sin(2 * rows[:, None] + torch.tensor([0.0, 1.0, 2.0])[:, None, None])
    edges = 0.2 * ((columns * 2) % 1 > 0.5)
    noise = 0.1 * torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    return (smooth + edges + noise - 0.1).clip(0, 1)[None]


def _psnr(image: Tensor, expected: Tensor) -> float:
    error = float((image - expected).double().square().mean())
    return -10 * math.log10(error) if error else math.inf
