"""The pixels of a page on the device: the same as `Colour` converts them, bit for bit."""

import numpy as np
import pytest
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from maskdcpt_cli.images.colour import Colour
from maskdcpt_cli.images.photo import Page
from maskdcpt_cli.inference.backends.transfer import Transfer
from maskdcpt_cli.inference.page_pixels import PagePixels
from maskdcpt_cli.inference.restore_page import _Target
from maskdcpt_cli.inference.tiling import Band

CUDA = pytest.param(
    "cuda",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    ],
)
ROWS, COLUMNS = slice(3, 200), slice(5, 170)


def page(dtype: DTypeLike, channels: int = 3) -> NDArray[np.generic]:
    """Every value of 8 bits, and of 16 bits nearly every one."""
    values = np.random.default_rng(0).permutation(210 * 180 * channels)
    peak = 1.0 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    return (values % 65_536 / 65_535 * peak).reshape(210, 180, channels).astype(dtype)


def restored_rows(width: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(3, ROWS.stop - ROWS.start, width, generator=generator) * 1.4 - 0.2


def expected_rows(
    source: NDArray[np.generic], restored: Tensor, strength: float
) -> NDArray[np.generic]:
    native = source[ROWS]
    lq = Colour().to_srgb(native)
    output = restored.permute(1, 2, 0).numpy()
    if strength < 1:
        output = lq + strength * (output.clip(0, 1) - lq)
    return Colour().from_srgb(output, lq, native)


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, ">u2", np.float16, np.float32, np.float64])
def test_pixels_are_read_as_colour_converts_them(
    dtype: DTypeLike, channels: int, device: str
) -> None:
    source = page(dtype, channels)
    source.setflags(write=False)  # as of some decoders
    lq = PagePixels(source, Colour(), 1.0, Transfer(device)).read(ROWS, COLUMNS)
    expected = Colour().to_srgb(source[ROWS, COLUMNS])
    assert lq.device.type == device
    assert np.array_equal(lq.permute(1, 2, 0).cpu().numpy(), expected)


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("strength", [1.0, 0.7, 0.0])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, ">u2", np.float16, np.float32])
def test_results_come_back_in_the_depth_of_the_file(
    dtype: DTypeLike, channels: int, strength: float, device: str
) -> None:
    source, restored = page(dtype, channels), restored_rows(180)
    pixels = PagePixels(source, Colour(), strength, Transfer(device))
    band = Band(ROWS, restored.to(device))
    found = pixels.restored(band, pixels.transfer.mark())
    assert found.dtype == source.dtype
    assert np.array_equal(found, expected_rows(source, restored, strength))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_is_not_changed_keeps_every_value(dtype: DTypeLike) -> None:
    source = page(dtype)
    pixels = PagePixels(source, Colour(), 1.0, Transfer("cpu"))
    same = pixels.restored(Band(ROWS, pixels.read(ROWS, slice(None))), None)
    assert np.array_equal(same, source[ROWS])


def test_plain_rgb_of_integers_alone_is_converted_on_the_device() -> None:
    def on_device(dtype: DTypeLike, channels: int, colour: Colour | None = None) -> bool:
        pixels = PagePixels(page(dtype, channels), colour or Colour(), 1.0, Transfer("cpu"))
        return pixels.converted_on_device

    assert on_device(np.uint8, 3)
    assert on_device(np.uint16, 3)
    assert not on_device(">u2", 3)
    assert not on_device(np.float32, 3)
    assert not on_device(np.uint8, 1)
    plain = Colour().encodings
    assert not on_device(np.uint8, 3, Colour({**plain, 3: plain[1]}))


def test_the_step_between_values_is_that_of_the_file() -> None:
    def level(dtype: DTypeLike) -> float:
        return PagePixels(page(dtype), Colour(), 1.0, Transfer("cpu")).level

    assert level(np.uint8) == 1 / 255
    assert level(">u2") == level(np.uint16) == 1 / 65_535
    assert level(np.float16) == level(np.float32) == 0


def test_without_memory_on_the_device_a_band_is_blended_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, restored = page(np.uint8), restored_rows(180)
    pixels = PagePixels(source, Colour(), 1.0, Transfer("cpu"))

    def full(_array: object) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(pixels.transfer, "upload", full)
    result = np.zeros_like(source)
    _Target(Page(source), pixels).blend(result, Band(ROWS, restored), None)
    assert np.array_equal(result[ROWS], expected_rows(source, restored, 1.0))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_copies_beside_the_network_see_finished_tensors() -> None:
    transfer = Transfer("cuda")
    for value in range(50):
        lq = transfer.upload(np.full((2048, 2048), value, np.float32))
        work = lq
        for _ in range(20):  # so that the device falls behind
            work = work + 1
        mark = transfer.mark()
        with transfer.beside(mark, work):
            found = transfer.fetch(work * 2)()
        assert (found == 2 * (value + 20)).all()
