"""The size of tiles and the number of samples, by the memory that there is."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from maskdcpt_cli.errors import BackendError
from maskdcpt_cli.inference import tile_size
from maskdcpt_cli.inference.backends import Engine, open_engine
from maskdcpt_cli.inference.out_of_memory import moved
from maskdcpt_cli.inference.tile_size import choose_overlap, choose_samples, choose_tile
from maskdcpt_cli.inference.tiling import SAMPLES, TileSizeReduced
from tests.inference.local import Restoring, twice
from tests.small import small


def out_of_memory(error: Exception, *, above: int) -> Callable[[Tensor], Tensor]:
    def run(lq: Tensor) -> Tensor:
        if max(lq.shape[-2:]) > above:
            raise error
        return twice(lq)

    return run


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")], ids=repr
)
def test_tiles_shrink_until_memory_suffices(image: Tensor, error: Exception) -> None:
    run = out_of_memory(error, above=100)
    restoring = Restoring(image)(run, tile=0, overlap=24, multiple=16)
    assert restoring.reductions == [TileSizeReduced(200, 96)]
    torch.testing.assert_close(restoring.canvas, image * 2)
    assert sum(restoring.pixels) == image[0].numel()


@pytest.mark.parametrize("calls_before", range(1, 6))
@pytest.mark.parametrize("overlap", [0, 24, 63])
def test_running_out_of_memory_half_way_repeats_no_finished_row(
    calls_before: int, overlap: int
) -> None:
    image = torch.rand(3, 300, 200)
    calls = 0

    def run(lq: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls > calls_before and max(lq.shape[-2:]) > 90:
            raise MemoryError
        return twice(lq)

    restoring = Restoring(image)(run, tile=128, overlap=overlap)
    assert restoring.reductions == [TileSizeReduced(128, 64)]
    assert [band.start for band in restoring.bands] == [
        0,
        *(band.stop for band in restoring.bands[:-1]),
    ]
    torch.testing.assert_close(restoring.canvas, image * 2)
    assert sum(restoring.pixels) == image[0].numel()


def test_without_memory_for_the_smallest_tile_it_gives_up(image: Tensor) -> None:
    run = out_of_memory(MemoryError(), above=10)
    with pytest.raises(BackendError, match=r"^Out of memory at tiles of 100 pixels"):
        Restoring(image)(run, tile=0, overlap=24)


def test_caches_are_emptied_where_memory_ran_out(
    image: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    emptied: list[str] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append("cuda"))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: emptied.append("mps"))
    Restoring(image)(out_of_memory(MemoryError(), above=100), tile=0, overlap=24)
    assert emptied == ["cuda", "mps"]


def test_other_errors_are_not_taken_for_a_lack_of_memory(image: Tensor) -> None:
    with pytest.raises(RuntimeError, match="weight of size"):
        Restoring(image)(out_of_memory(RuntimeError("weight of size"), above=0), tile=0, overlap=0)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return open_engine(small("nafnet"), device="cpu", backend="torch")


def test_a_photo_that_fits_in_memory_goes_in_one_piece(engine: Engine) -> None:
    assert choose_tile(engine, (400, 600)) == 0


def test_the_tile_of_a_large_photo_fits_in_memory(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {}
    for megabytes in (10, 50, 100, 10_000):
        monkeypatch.setattr(tile_size, "CPU_BUDGET", megabytes * 1_000_000)
        tile = chosen[megabytes] = choose_tile(engine, (100_000, 100_000))
        assert tile % engine.size_multiple == 0
        assert tile == 128 or engine.peak_bytes(tile) <= megabytes * 1_000_000
    assert 128 == chosen[10] < chosen[50] < chosen[100] < chosen[10_000] == 1024


def test_on_a_gpu_the_tile_follows_its_free_memory(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_gpu(engine, monkeypatch, free=50_000_000)
    small = choose_tile(engine, (100_000, 100_000))
    on_a_gpu(engine, monkeypatch, free=100_000_000)
    assert 128 < small < choose_tile(engine, (100_000, 100_000)) < 1024


def test_what_pytorch_keeps_of_earlier_photos_counts_as_free(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in ((1000, 1000), (100_000, 100_000)):
        on_a_gpu(engine, monkeypatch, free=90_000_000, reserved=10_000_000, allocated=10_000_000)
        first = choose_tile(engine, size), choose_samples(engine)
        on_a_gpu(engine, monkeypatch, free=5_000_000, reserved=95_000_000, allocated=10_000_000)
        assert (choose_tile(engine, size), choose_samples(engine)) == first


def on_a_gpu(
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    *,
    free: int,
    reserved: int = 0,
    allocated: int = 0,
) -> None:
    """Pretend that an engine is on a GPU whose memory is in this state, in bytes."""
    monkeypatch.setattr(engine, "device", "cuda:1")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 200_000_000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: reserved)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: allocated)


def test_as_many_samples_are_taken_as_memory_allows(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {}
    for megabytes in (1, 50, 10_000):
        monkeypatch.setattr(tile_size, "CPU_BUDGET", megabytes * 1_000_000)
        samples = chosen[megabytes] = choose_samples(engine)
        taken = 2 * engine.bytes_per_pixel * 128**2 * samples
        assert samples == 1 or taken <= megabytes * 1_000_000
    assert chosen[1] == 1 < chosen[50] < chosen[10_000] == SAMPLES


@pytest.mark.parametrize(
    ("tile", "overlap"), [(0, 128), (64, 16), (256, 64), (512, 128), (2000, 128)]
)
def test_small_tiles_overlap_by_a_quarter(tile: int, overlap: int) -> None:
    assert choose_overlap(tile) == overlap


def test_a_device_without_room_for_the_network_is_reported_in_a_sentence():
    class Heavy(nn.Module):
        def to(self, _device):
            raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(BackendError, match="not enough memory on 'cuda:0' for the network"):
        moved(Heavy(), "cuda:0")
    light = nn.Linear(2, 2)
    assert moved(light, "cpu") is light


def test_one_piece_on_a_gpu_stays_within_what_its_kernels_count(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_gpu(engine, monkeypatch, free=10**15)
    assert choose_tile(engine, (1000, 1000)) == 0
    assert choose_tile(engine, (100_000, 100_000)) == 1024
