"""The change of a reduced photo, carried back to the photo."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from maskdcpt_cli.inference.coarse import (
    LocalAffine,
    interpolate,
    local_affine,
    reduce,
    reduced_size,
    restore_reduced,
)
from maskdcpt_cli.inference.tiling import Read, TileSizeReduced, restore_tiles
from tests.inference.local import Local

SIZES = [(200, 150), (149, 211), (1, 900), (900, 1), (2, 30)]


def photo(size: tuple[int, int]) -> Tensor:
    return torch.rand(3, *size, generator=torch.Generator().manual_seed(0))


def reader(image: Tensor) -> Read:
    return lambda rows, columns: image[:, rows, columns]


def change_of(
    run: Callable[[Tensor], Tensor],
    image: Tensor,
    reduced: tuple[int, int] | None = None,
    *,
    level: float = 0,
) -> tuple[LocalAffine, list[TileSizeReduced]]:
    size = (image.shape[1], image.shape[2])
    restore = partial(restore_tiles, Local(run), tile=0, overlap=128)
    height, width = (-(-side // 3) for side in size)
    reduced = reduced or (height, width)
    steps = restore_reduced(restore, reader(image), size, reduced, level=level)
    seen = []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as stop:
            return stop.value, seen


def applied(change: LocalAffine, image: Tensor) -> Tensor:
    return change.apply(image, slice(0, image.shape[1]), slice(0, image.shape[2]))


@pytest.mark.parametrize("size", SIZES)
def test_a_network_that_changes_nothing_changes_no_bit(size: tuple[int, int]) -> None:
    image = photo(size)
    change, _ = change_of(lambda lq: lq, image)
    assert torch.equal(applied(change, image), image)


@pytest.mark.parametrize("size", SIZES)
def test_an_affine_change_of_each_colour_is_carried_back(size: tuple[int, int]) -> None:
    image = photo(size)
    gain = torch.tensor([0.5, 2.0, 3.0])[:, None, None]
    offset = torch.tensor([0.1, -0.2, 0.0])[:, None, None]
    change, _ = change_of(lambda lq: gain * lq + offset, image)
    torch.testing.assert_close(applied(change, image), gain * image + offset, rtol=0, atol=5e-6)


def test_a_change_that_varies_over_the_photo_is_carried_to_its_place() -> None:
    clean = photo((400, 600))
    down, across = (torch.linspace(0, 1, 2 * side + 1)[1::2] for side in (400, 600))
    haze = (0.2 * down[:, None] + 0.3 * across)[None]

    def remove(lq: Tensor) -> Tensor:
        reduced = F.interpolate(haze[None], lq.shape[-2:], mode="area")
        return (lq - reduced) / (1 - reduced)

    lq = clean * (1 - haze) + haze
    copy = reduce(reader(lq), (400, 600), (163, 244))
    change = local_affine(copy, remove(copy), (400, 600), radius=8)
    error = applied(change, lq) - clean
    inner = error[:, 40:-40, 40:-40]
    assert inner.abs().max() < 0.01
    assert inner.mean().abs() < 1e-4  # 8e-4 where it is a reduced pixel off
    assert error.abs().max() < 0.05


@pytest.mark.parametrize("size", SIZES)
def test_a_rectangle_is_changed_as_in_the_whole_photo(size: tuple[int, int]) -> None:
    image = photo(size)
    change, _ = change_of(lambda lq: lq.sin() * lq.flip(-1), image)
    whole = applied(change, image)
    for top in range(0, size[0], 37):
        for left in range(0, size[1], 53):
            rows = slice(top, min(top + 37, size[0]))
            columns = slice(left, min(left + 53, size[1]))
            part = change.apply(image[:, rows, columns], rows, columns)
            assert torch.equal(part, whole[:, rows, columns])
    batch = change.apply(image[None], slice(0, size[0]), slice(0, size[1]))
    assert torch.equal(batch[0], whole)


def test_a_grey_photo_stays_grey() -> None:
    image = photo((120, 90))[:1].repeat(3, 1, 1)
    change, _ = change_of(torch.sqrt, image)
    red, green, blue = applied(change, image)
    torch.testing.assert_close(red, green, rtol=0, atol=1e-6)
    torch.testing.assert_close(red, blue, rtol=0, atol=1e-6)


def test_the_network_sees_the_whole_photo_once() -> None:
    seen = []

    def run(lq: Tensor) -> Tensor:
        seen.append(lq.shape)
        return lq * 2

    change_of(run, photo((300, 200)), (94, 63))
    assert seen == [(1, 3, 94, 63)]


def test_where_memory_runs_out_the_reduced_photo_is_restored_in_tiles() -> None:
    def run(lq: Tensor) -> Tensor:
        if max(lq.shape[-2:]) > 100:
            raise MemoryError
        return lq * 2

    image = photo((400, 300))
    change, steps = change_of(run, image, (200, 150))
    assert steps == [TileSizeReduced(200, 100)]
    torch.testing.assert_close(applied(change, image), image * 2, rtol=0, atol=5e-6)


@pytest.mark.parametrize("reduced", [(20, 15), (17, 13), (7, 3), (1, 1), (60, 44)])
def test_reducing_takes_the_mean_of_an_area(reduced: tuple[int, int]) -> None:
    image = photo((60, 45)).double()
    found = reduce(reader(image), (60, 45), reduced)
    fine = image.repeat_interleave(reduced[0], -2).repeat_interleave(reduced[1], -1)
    torch.testing.assert_close(found[0], F.avg_pool2d(fine, (60, 45)))


def test_reducing_reads_rectangles_of_bounded_size() -> None:
    areas, image = [], torch.zeros(1, 1, 1).expand(3, 5000, 3000)

    def read(rows: slice, columns: slice) -> Tensor:
        part = image[:, rows, columns]
        areas.append(part.shape[1] * part.shape[2])
        return part

    assert reduce(read, (5000, 3000), (500, 300)).shape == (1, 3, 500, 300)
    assert max(areas) <= (64 * 10 + 1) ** 2
    assert sum(areas) < 1.02 * 5000 * 3000


@pytest.mark.parametrize(
    ("size", "max_pixels", "expected"),
    [
        ((3000, 4000), 300_000, (474, 632)),
        ((300, 400), 120_000, (300, 400)),
        ((300, 400), 119_999, (299, 399)),
        ((10_000, 10_000), 300, (64, 64)),
        ((100, 1_000_000), 300_000, (64, 640_000)),
        ((50, 1_000_000), 300_000, (50, 1_000_000)),
    ],
)
def test_a_photo_is_reduced_to_so_many_pixels_with_no_side_below_64(
    size: tuple[int, int], max_pixels: int, expected: tuple[int, int]
) -> None:
    assert reduced_size(size, max_pixels) == expected


def test_values_are_interpolated_between_the_centres_of_pixels() -> None:
    ramp = torch.linspace(0, 1, 21)[1::2]  # at the centres of 10 pixels
    fine = interpolate(ramp[None], slice(0, 40), 40, dim=-1)[0]
    expected = (torch.arange(40) + 0.5) / 40
    torch.testing.assert_close(fine, expected.clamp(0.05, 0.95))
    expected = F.interpolate(ramp[None, None], 37, mode="linear")[0]
    torch.testing.assert_close(interpolate(ramp[None], slice(0, 37), 37, dim=-1), expected)


def test_a_change_without_structure_in_the_photo_is_an_offset() -> None:
    flat = torch.full((1, 3, 20, 30), 0.3)
    change = local_affine(flat, flat * 2, (200, 300))
    image = torch.full((3, 200, 300), 0.3)
    torch.testing.assert_close(applied(change, image), image * 2)


def test_an_exact_change_is_that_of_the_reduced_photo_pixel_by_pixel() -> None:
    lq = photo((40, 60))[None]
    restored = lq.flip(-1) * lq.sin()
    every = (slice(0, 40), slice(0, 60))
    exact = local_affine(lq, restored, (40, 60), exact=True)
    torch.testing.assert_close(exact.apply(lq, *every), restored, rtol=0, atol=1e-6)
    smooth = local_affine(lq, restored, (40, 60))
    assert (smooth.apply(lq, *every) - restored).abs().max() > 0.1


@pytest.mark.parametrize("reduced", [(50, 60), (200, 240)])
def test_grain_of_a_level_of_the_file_is_not_raised_with_the_contrast(
    reduced: tuple[int, int],
) -> None:
    sky = torch.linspace(0.7, 0.75, 240).expand(3, 200, 240)
    file = (sky * 255 + photo((200, 240)) - 0.5).round() / 255

    def raise_contrast(lq: Tensor) -> Tensor:
        return 6 * (lq - 0.7)

    def rms_error(level: float) -> float:
        change, _ = change_of(raise_contrast, file, reduced, level=level)
        return (applied(change, file) - raise_contrast(sky)).square().mean().sqrt().item()

    assert rms_error(0) == pytest.approx(6 / 255 / 6**0.5, rel=0.05)
    assert rms_error(1 / 255) < 0.5 * rms_error(0)


def test_detail_of_several_levels_is_raised_with_the_contrast() -> None:
    detail = 0.3 + 12 / 255 * photo((120, 160))
    changes = [change_of(lambda lq: 4 * lq, detail, level=level)[0] for level in (0, 1 / 255)]
    full, spared = (applied(change, detail).std().item() for change in changes)
    assert 0.9 * full < spared < full
