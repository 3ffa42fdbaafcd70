"""Tiles: what they cover, how they blend, what they hold, and what happens without memory."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.inference.backends import open_engine
from maskdcpt_cli.inference.backends.engine import Network
from maskdcpt_cli.inference.restore import restore
from maskdcpt_cli.inference.self_ensemble import Eightfold
from maskdcpt_cli.inference.tiling import (
    Band,
    TileSizeReduced,
    even,
    restore_tiles,
    sample_tiles,
    spans,
)
from maskdcpt_cli.models.backbone import pad_with_zeros
from tests.inference.brighten import TILED, Brighten, ramp
from tests.inference.local import Local, Restoring, twice
from tests.small import IN_SHORT, calm

# (H, W), tile, overlap
CUTS = [
    ((1, 1), 64, 8),
    ((100, 230), 64, 16),
    ((65, 64), 64, 31),
    ((64, 65), 64, 0),
    ((200, 50), 0, 300),
    ((301, 299), 65, 32),
    ((1, 500), 64, 20),
    ((500, 1), 64, 20),
    ((128, 128), 128, 63),
]


@pytest.mark.parametrize(("size", "tile", "overlap"), CUTS)
def test_tiles_of_a_pointwise_network_give_the_image_untiled(
    size: tuple[int, int], tile: int, overlap: int
) -> None:
    restoring = Restoring(torch.rand(3, *size))(twice, tile=tile, overlap=overlap)
    torch.testing.assert_close(restoring.canvas, restoring.image * 2)


def test_the_last_tiles_are_completed_as_the_network_wants() -> None:
    tiles: list[Tensor] = []
    network = Local(lambda lq: tiles.append(lq) or lq)  # type: ignore[func-returns-value]
    ones = torch.ones(3, 70, 90)
    steps = restore_tiles(
        network,
        lambda rows, columns: ones[:, rows, columns],
        (70, 90),
        tile=64,
        overlap=8,
        multiple=16,
        pad=pad_with_zeros,
    )
    assert sum(isinstance(step, Band) for step in steps) == 2
    edges = {(int(tile[0, 0, :, 0].sum()), int(tile[0, 0, 0].sum())) for tile in tiles}
    assert {tuple(tile.shape[-2:]) for tile in tiles} == {(48, 64)}
    assert edges == {(48, 64), (48, 58), (38, 64), (38, 58)}


def test_a_photo_in_tiles_is_completed_as_its_network_wants() -> None:
    engine = Brighten()
    engine.pad = pad_with_zeros
    restore(engine, ramp(77, 121, 3), settings=TILED)
    assert any(tile.eq(0).any() for tile in engine.seen)


@pytest.mark.parametrize(("size", "tile", "overlap"), CUTS)
def test_progress_adds_up_to_the_pixels(size: tuple[int, int], tile: int, overlap: int) -> None:
    restoring = Restoring(torch.rand(3, *size))(twice, tile=tile, overlap=overlap)
    assert sum(restoring.pixels) == size[0] * size[1]
    assert min(restoring.pixels) >= 0


@pytest.mark.parametrize(("size", "tile", "overlap"), CUTS)
def test_bands_come_from_top_to_bottom_each_row_once(
    size: tuple[int, int], tile: int, overlap: int
) -> None:
    restoring = Restoring(torch.rand(3, *size))(twice, tile=tile, overlap=overlap)
    rows = [row for band in restoring.bands for row in range(size[0])[band]]
    assert rows == list(range(size[0]))


@pytest.mark.parametrize(("size", "tile", "overlap"), CUTS)
def test_no_tile_reads_a_row_that_is_finished(
    size: tuple[int, int], tile: int, overlap: int
) -> None:
    finished = 0

    def read(rows: slice, columns: slice) -> Tensor:
        assert rows.start >= finished
        return torch.zeros(3, rows.stop - rows.start, columns.stop - columns.start)

    for step in restore_tiles(Local(twice), read, size, tile=tile, overlap=overlap):
        if isinstance(step, Band):
            finished = step.rows.stop


def test_all_tiles_of_a_large_image_have_one_shape(image: Tensor) -> None:
    shapes = set()

    def run(lq: Tensor) -> Tensor:
        shapes.add(tuple(lq.shape))
        return lq

    Restoring(image)(run, tile=64, overlap=16, multiple=8)
    assert shapes == {(1, 3, 64, 64)}


@pytest.mark.parametrize(("tile", "multiple"), [(65, 1), (96, 16), (72, 8)])
def test_neighbouring_tiles_overlap_by_at_least_the_overlap(tile: int, multiple: int) -> None:
    tiles = list(spans(301, tile=tile, overlap=32, multiple=multiple))
    assert tiles[0].start == 0
    assert tiles[-1].stop == 301
    assert all(a.stop - b.start >= 32 for a, b in pairwise(tiles))
    assert all(one.start % multiple == 0 for one in tiles)


@pytest.mark.parametrize("length", [1, 100, 1024, 1025, 2000, 3000, 4000, 100_000])
@pytest.mark.parametrize(("overlap", "multiple"), [(0, 1), (96, 32), (50, 16), (450, 8)])
def test_tiles_are_as_few_as_the_largest_would_be_and_equally_long(
    length: int, overlap: int, multiple: int
) -> None:
    def cut(tile: int) -> list[slice]:
        return list(spans(length, tile=tile, overlap=overlap, multiple=multiple))

    side = even(length, 1024, overlap=overlap, multiple=multiple)
    assert side <= 1024
    assert len(cut(side)) <= len(cut(1024)) + 1  # one more where multiples leave no other way
    padded = -(-length // multiple) * multiple
    assert {min(one.start + side, padded) - one.start for one in cut(side)} == {min(side, padded)}


SAMPLED = [(3000, 4000), (128, 5000), (100, 90), (1000, 130), (128, 128), (9000, 200), (2000, 300)]


@pytest.mark.parametrize("samples", [1, 7, 100])
@pytest.mark.parametrize("size", SAMPLED)
def test_sample_tiles_lie_in_the_photo_apart_and_at_multiples(
    size: tuple[int, int], samples: int
) -> None:
    boxes = sample_tiles(size, samples=samples, multiple=32)
    assert 1 <= len(boxes) <= samples
    most = max(1, size[0] // 128) * max(1, size[1] // 128)
    assert len(boxes) >= min(samples, most) / 2
    covered = torch.zeros(size)
    for rows, columns in boxes:
        assert rows.start % 32 == columns.start % 32 == 0
        assert rows.stop <= size[0]
        assert columns.stop <= size[1]
        covered[rows, columns] += 1
    assert covered.max() == 1


def test_sample_tiles_are_spread_evenly() -> None:
    boxes = sample_tiles((3000, 4000), samples=100, multiple=32)
    centres = torch.tensor(
        [[(one.start + one.stop) / 2 for one in box] for box in boxes], dtype=torch.float
    )
    assert torch.allclose(centres.mean(0), torch.tensor([1500.0, 2000.0]), atol=20)
    gaps = torch.cdist(centres, centres).fill_diagonal_(torch.inf).amin(1)
    assert gaps.min() > 0.8 * gaps.max()


def test_a_photo_in_one_piece_is_pooled_over_as_it_is(image: Tensor) -> None:
    network = Local(twice)
    read = [
        *restore_tiles(
            network, lambda rows, columns: image[:, rows, columns], (200, 150), tile=0, overlap=32
        )
    ]
    assert len(read) == 2
    assert not network.recorded


@pytest.mark.parametrize("tile", [64, 96, 128])
def test_pooled_values_are_of_the_same_samples_whatever_the_tile(image: Tensor, tile: int) -> None:
    network = Local(twice)
    steps = restore_tiles(
        network, lambda rows, columns: image[:, rows, columns], (200, 150), tile=tile, overlap=16
    )
    assert sum(isinstance(step, Band) for step in steps) > 1
    ((tiles, boxes),) = network.recorded
    assert tiles.shape == (1, 3, 128, 128)
    assert torch.equal(tiles[0], image[:, 36:164, 11:139])
    expected = torch.tensor([[36 / 200, 11 / 150, 128 / 200, 128 / 150]])
    torch.testing.assert_close(boxes, expected)


def test_without_memory_for_all_samples_fewer_are_taken() -> None:
    class Little(Local):
        def record(self, tiles: Tensor, boxes: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
            if len(tiles) > 3:
                raise MemoryError
            return super().record(tiles, boxes)

    network, image = Little(twice), torch.rand(3, 512, 512)
    steps = list(
        restore_tiles(
            network, lambda rows, columns: image[:, rows, columns], (512, 512), tile=256, overlap=0
        )
    )
    assert len(network.recorded) == 1
    assert not any(isinstance(step, TileSizeReduced) for step in steps)


def test_the_ensemble_gives_every_turn_the_box_of_its_tile(image: Tensor) -> None:
    class Positions(Local):
        """Adds to each pixel how far down the photo it is, and ten times how far across."""

        def record(self, _tiles: Tensor, _boxes: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
            return lambda lq, box: lq + position(box, lq)

    def position(box: Tensor, lq: Tensor) -> Tensor:
        (top, left, height, width), (rows, columns) = box[0], lq.shape[-2:]
        down = top + height * (torch.arange(rows) + 0.5) / rows
        across = left + width * (torch.arange(columns) + 0.5) / columns
        return down[:, None] + 10 * across

    lq = image[None, :, 40:100, 20:120]
    box = torch.tensor([[40 / 200, 20 / 150, 60 / 200, 100 / 150]])
    restore = Eightfold(Positions(twice)).record(lq, box)
    # Flips take y to 1 - y, transpositions take y to x: all in all one half of both everywhere.
    torch.testing.assert_close(restore(lq, box), lq + 0.5 + 10 * 0.5)


def test_tiles_that_disagree_are_joined_without_a_seam() -> None:
    calls = 0

    def run(lq: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return torch.full_like(lq, calls % 2)  # the worst case: neighbours black and white

    canvas = Restoring(torch.zeros(3, 64, 400))(run, tile=64, overlap=24).canvas
    assert canvas.max() == 1
    steepest = torch.pi / 2 / 8  # of a raised cosine over a third of the overlap
    assert canvas.diff(dim=2).abs().max() <= steepest * 1.01


def test_a_network_that_looks_around_leaves_no_seam(image: Tensor) -> None:
    blur = torch.nn.AvgPool2d(9, stride=1, padding=4, count_include_pad=False)
    tiled = Restoring(image)(blur, tile=64, overlap=24).canvas
    off = (tiled - blur(image)).abs().amax(dim=(0, 1))
    assert off.max() < 0.02  # hard cuts leave 0.1 and more
    hard = Restoring(image)(blur, tile=64, overlap=0).canvas
    assert (hard - blur(image)).abs().max() > 0.1


@pytest.mark.parametrize(("tile", "overlap"), [(64, 32), (64, 100), (64, -1), (0, -1), (1, 1)])
def test_an_overlap_that_does_not_suit_the_tile_is_refused(
    image: Tensor, tile: int, overlap: int
) -> None:
    with pytest.raises(MaskDCPTError, match=f"overlap of {overlap} does not suit tiles of {tile}"):
        Restoring(image)(twice, tile=tile, overlap=overlap)


def test_the_ensemble_undoes_every_turn(image: Tensor) -> None:
    lq = image[None]
    torch.testing.assert_close(Eightfold(Local(twice))(lq), lq * 2)


def test_the_ensemble_is_indifferent_to_turns_of_the_image() -> None:
    def lopsided(lq: Tensor) -> Tensor:
        return lq.cumsum(dim=-1)

    lq = torch.rand(1, 3, 16, 24)
    restored = Eightfold(Local(lopsided))(lq)
    torch.testing.assert_close(Eightfold(Local(lopsided))(lq.mT), restored.mT)
    torch.testing.assert_close(Eightfold(Local(lopsided))(lq.flip(-1)), restored.flip(-1))
    assert not torch.allclose(lopsided(lq), restored)


class Halves:
    """A dark half and a bright half, restored tile by tile and in one piece."""

    size = (64, 1600)
    edge = 192  # pixels beside the colour edge and the ends that are not looked at

    def __init__(self, network: Network) -> None:
        image = torch.full((3, *self.size), 0.2)
        image[..., self.size[1] // 2 :] = 0.8
        self.whole = network(image[None])[0]
        self.tiled = Restoring(image)
        steps = restore_tiles(
            network,
            lambda rows, columns: image[:, rows, columns],
            self.size,
            tile=600,
            overlap=298,
            multiple=16,
        )
        for step in steps:
            if isinstance(step, Band):
                self.tiled.canvas = step.restored

    def step(self) -> float:
        """The largest of mean colour, beyond those in one piece, between strips of 16 columns."""
        strips = torch.nn.functional.avg_pool2d(self.tiled.canvas - self.whole, (64, 16))
        change = strips.diff(dim=-1).abs().amax(dim=(0, 1))
        edge, middle = self.edge // 16, len(change) // 2
        halves = (change[edge : middle - edge], change[middle + edge : -edge])
        return max(float(half.max()) for half in halves)


@pytest.mark.parametrize("name", IN_SHORT)
@pytest.mark.usefixtures("narrow_prompts")
def test_a_photo_of_one_colour_per_half_shows_no_step_at_a_border(name: str) -> None:
    network = open_engine(calm(name), device="cpu", backend="torch")
    assert Halves(network).step() < 0.1 / 255
    if name != "swinir":  # which pools nothing
        assert Halves(Local(network)).step() > 0.1 / 255
