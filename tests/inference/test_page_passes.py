"""Passes over a page: what is removed from it reduced, and what at its own size."""

from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Event
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskdcpt_cli.images.colour import Colour
from maskdcpt_cli.images.photo import Page
from maskdcpt_cli.inference import page_passes
from maskdcpt_cli.inference import restore_page as restore_page_module
from maskdcpt_cli.inference.classify import Found
from maskdcpt_cli.inference.coarse import restore_reduced
from maskdcpt_cli.inference.events import Settings
from maskdcpt_cli.inference.page_pixels import PagePixels
from maskdcpt_cli.inference.removal import Removal, Remover
from maskdcpt_cli.inference.restore_page import (
    PreparedPage,
    RestoredPage,
    Steps,
    prepare,
    restore_page,
)
from maskdcpt_cli.models.backbone import pad_by_reflection
from tests.inference.local import Local

REQUESTS = ("GN", "H", "RS", "LL")
SIZE = (600, 560)  # larger than a reduced page, whose size is
REDUCED = (566, 529)
LARGE = (1200, 1120)  # larger than the copy from which rain is removed
THIRD = (200, 187)  # the coarser of the two scales at which noise is removed


@dataclass
class Removing:
    """An engine that doubles the contrast for haze, and adds 0.05 for each other type."""

    requests: tuple[str, ...] = REQUESTS
    precision: str = "fp32"
    unsound: tuple[str, ...] = ()  # precisions whose output is not finite
    largest: int = 10_000  # side of an image that fits into memory
    seen: list[tuple[tuple[str, ...], tuple[int, int]]] = field(default_factory=list)

    backend, device, size_multiple, bytes_per_pixel = "torch", "cpu", 8, 100
    pad = staticmethod(pad_by_reflection)

    def __post_init__(self) -> None:
        self.model = SimpleNamespace(requests=self.requests, request_types=len(self.requests))
        self.notices: list[str] = []

    def with_request(self, request: Tensor) -> Local:
        flags = zip(self.requests, request[0].tolist(), strict=True)
        types = tuple(one for one, flag in flags if flag)

        def run(lq: Tensor) -> Tensor:
            size = (lq.shape[-2], lq.shape[-1])
            if max(size) > self.largest:
                raise MemoryError
            self.seen.append((types, size))
            if self.precision in self.unsound:
                return lq * torch.nan
            contrast = 2 if "H" in types else 1
            return 0.5 + contrast * (lq - 0.5) + 0.05 * len(set(types) - {"H"})

        return Local(run)

    def in_fp32(self) -> "Removing":
        return Removing(self.requests, "fp32", self.unsound, self.largest, self.seen)

    def peak_bytes(self, tile: int) -> int:
        return 100 * tile**2


def photo(*size: int, dtype: type = np.uint8) -> NDArray[np.generic]:
    """A photo of values from 0.3 to 0.7, which no change above brings to 0 or 1."""
    values = np.random.default_rng(0).uniform(0.3, 0.7, size)
    return (values * np.iinfo(dtype).max).astype(dtype)


def restored(
    engine: Removing,
    page: Page,
    native: tuple[str, ...] = (),
    reduced: tuple[str, ...] = (),
    settings: Settings | None = None,
) -> tuple[RestoredPage, list[int]]:
    """Return the restored page, and the progress."""

    class Deciding(Remover):
        def decide(self, _found: Found | None) -> Removal:
            return Removal(native, reduced)

        def after(self, _removal: Removal | None) -> None:
            return None

    given = settings or Settings()
    prepared = prepare(page, Colour(), Deciding(engine.requests, given, None))
    return run(engine, prepared, given)


def run(engine: Any, prepared: PreparedPage, settings: Settings) -> tuple[RestoredPage, list[int]]:
    """Return the page that an engine, or a double of one, restores, and the progress."""
    with ThreadPoolExecutor(1) as worker:
        steps = Steps(restore_page(engine, prepared, settings, worker))
        progress = list(steps)
    return steps.result, progress


def values(result: RestoredPage) -> NDArray[np.float64]:
    pixels = result.finished().pixels
    return pixels / np.iinfo(pixels.dtype).max


def hazeless(image: NDArray[np.generic]) -> NDArray[np.float64]:
    return 0.5 + 2 * (image / np.iinfo(image.dtype).max - 0.5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_types_of_the_scene_are_removed_from_the_reduced_page_alone(dtype: type) -> None:
    engine, image = Removing(), photo(*SIZE, 3, dtype=dtype)
    result, progress = restored(engine, Page(image), reduced=("H",))
    assert engine.seen == [(("H",), REDUCED)]
    assert np.abs(values(result) - hazeless(image)).max() <= 0.51 / np.iinfo(dtype).max + 1e-5
    assert sum(progress) == SIZE[0] * SIZE[1]
    assert result.removed == ("H",)
    assert result.seconds > 0


def test_the_reduced_page_is_restored_whole_whatever_the_tiles_of_the_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, tiled = Removing(), Settings(tile=1024, overlap=500)
    restored(
        engine, Page(photo(*SIZE, 3)), reduced=("H",), settings=replace(tiled, tile=64, overlap=8)
    )
    assert engine.seen == [(("H",), REDUCED)]
    monkeypatch.setattr("maskdcpt_cli.inference.tile_size.CPU_BUDGET", 10_000_000)  # tiles of 316
    for settings in (tiled, Settings(overlap=500)):
        result, _ = restored(Removing(), Page(photo(*SIZE, 3)), reduced=("H",), settings=settings)
        assert result.removed == ("H",)


def test_types_of_the_pixel_are_removed_at_the_size_of_the_page_alone() -> None:
    engine = Removing()
    result, progress = restored(engine, Page(photo(*SIZE, 3)), native=("GN",))
    assert engine.seen == [(("GN",), SIZE), (("GN",), THIRD)]
    assert sum(progress) == SIZE[0] * SIZE[1]
    assert result.removed == ("GN",)


def test_types_other_than_noise_need_one_scale() -> None:
    engine = Removing()
    restored(engine, Page(photo(*SIZE, 3)), native=("RS",))
    assert engine.seen == [(("RS",), SIZE)]


def test_all_is_asked_of_the_reduced_page_too_where_all_is_removed() -> None:
    everything, engine = Settings(remove="all"), Removing()
    restored(engine, Page(photo(*SIZE, 3)), ("GN", "RS"), ("H", "LL"), everything)
    assert engine.seen == [(REQUESTS, REDUCED), (("GN", "RS"), SIZE), (("GN", "RS"), THIRD)]
    engine = Removing()
    restored(engine, Page(photo(96, 80, 3)), ("GN", "RS"), ("H", "LL"), everything)
    assert engine.seen == [(REQUESTS, (96, 80))]


def test_rain_is_removed_before_haze_from_a_larger_copy() -> None:
    engine = Removing()
    restored(engine, Page(photo(*LARGE, 3)), reduced=("H", "RS"))
    assert engine.seen == [(("RS",), (1133, 1058)), (("H",), REDUCED)]


@pytest.mark.parametrize("tile", [0, 128])
def test_noise_is_removed_after_the_change_of_the_scene(tile: int) -> None:
    engine, image = Removing(), photo(*SIZE, 3)
    result, progress = restored(
        engine, Page(image), ("GN",), ("H",), Settings(tile=tile, overlap=16 if tile else None)
    )
    assert {types for types, _size in engine.seen} == {("H",), ("GN",)}
    assert engine.seen[0][0] == ("H",)
    assert np.abs(values(result) - hazeless(image) - 0.05).max() <= 0.51 / 255 + 1e-5
    assert sum(progress) == SIZE[0] * SIZE[1]
    assert result.removed == ("GN", "H")


@pytest.mark.parametrize("tile", [0, 64])
def test_from_a_small_page_itself_types_of_the_scene_are_removed_last(tile: int) -> None:
    engine, image = Removing(), photo(100, 90, 3)
    settings = Settings(tile=tile, overlap=16 if tile else None)
    result, progress = restored(engine, Page(image), ("GN",), ("H", "RS"), settings)
    requests = [types for types, _size in engine.seen]
    assert requests == sorted(requests)
    assert set(requests) == {("GN", "RS"), ("H",)}
    expected = np.minimum(hazeless(image) + 2 * 0.1, 1)
    assert np.abs(values(result) - expected).max() <= 0.51 / 255 + 1e-5
    assert sum(progress) == 100 * 90
    assert result.removed == ("GN", "H", "RS")


def test_a_small_page_without_types_of_the_scene_is_restored_once() -> None:
    engine = Removing()
    restored(engine, Page(photo(100, 90, 3)), ("GN",), ("RS",))
    assert engine.seen == [(("GN", "RS"), (100, 90)), (("GN", "RS"), (34, 30))]


def test_a_page_with_nothing_to_remove_is_left_as_it_is() -> None:
    engine, page = Removing(), Page(photo(*SIZE, 3))
    result, progress = restored(engine, page)
    assert result.finished() is page
    assert engine.seen == []
    assert sum(progress) == SIZE[0] * SIZE[1]


def test_grey_stays_grey_and_hidden_pixels_stay_as_they_are() -> None:
    image = photo(*SIZE, 1).repeat(3, axis=2)
    alpha = np.full(SIZE, 255, np.uint8)
    alpha[100:200, 50:300] = 0
    result, _ = restored(Removing(), Page(image, alpha), reduced=("H",))
    pixels = result.finished().pixels
    assert np.array_equal(pixels[100:200, 50:300], image[100:200, 50:300])
    assert np.array_equal(pixels[..., 0], pixels[..., 2])
    shown = np.abs(values(result) - hazeless(image))[alpha > 0]
    assert shown.max() <= 0.51 / 255 + 1e-3  # hidden pixels are filled, and in no window
    assert result.finished().alpha is alpha


@pytest.mark.parametrize("strength", [0.25, 0.5])
def test_strength_blends_the_page_with_its_change(strength: float) -> None:
    image = photo(*SIZE, 3)
    result, _ = restored(
        Removing(), Page(image), reduced=("H",), settings=Settings(strength=strength)
    )
    expected = image / 255 + strength * (hazeless(image) - image / 255)
    assert np.abs(values(result) - expected).max() <= 0.51 / 255 + 1e-5


def test_the_self_ensemble_turns_the_reduced_page() -> None:
    engine = Removing()
    restored(engine, Page(photo(*SIZE, 3)), reduced=("H",), settings=Settings(tta=True))
    assert sorted(size for _types, size in engine.seen) == [REDUCED[::-1]] * 4 + [REDUCED] * 4


def test_an_unsound_change_is_computed_again_in_fp32() -> None:
    engine, image = Removing(precision="bf16", unsound=("bf16",)), photo(*SIZE, 3)
    result, progress = restored(engine, Page(image), reduced=("H",))
    assert engine.seen == [(("H",), REDUCED)] * 2
    assert np.abs(values(result) - hazeless(image)).max() <= 0.51 / 255 + 1e-5
    assert sum(progress) == SIZE[0] * SIZE[1]


def test_a_page_whose_change_stays_unsound_is_not_restored() -> None:
    page = Page(photo(*SIZE, 3))
    result, _ = restored(Removing(unsound=("fp32",)), page, ("GN",), ("H",))
    assert "NaN" in (result.reason or "")
    assert result.finished() is page
    assert result.removed == ()


def test_where_memory_runs_out_the_reduced_page_is_restored_in_tiles() -> None:
    image = photo(*SIZE, 3)
    result, _ = restored(Removing(largest=300), Page(image), reduced=("H",))
    assert result.notices == ("Out of memory with tiles of 566 pixels: continued with 280.",)
    assert np.abs(values(result) - hazeless(image)).max() <= 0.51 / 255 + 1e-5


def test_bands_wait_for_those_before_them_to_be_blended(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting, read = Event(), list[int]()
    blend, read_rows, wait = restore_page_module._Target.blend, PagePixels.read, futures.wait

    def blend_late(*given: Any) -> None:
        assert waiting.wait(timeout=60)
        blend(*given)

    def read_noted(pixels: PagePixels, rows: slice, columns: slice) -> Tensor:
        if columns == slice(0, SIZE[1]):
            read.append(rows.stop)
        return read_rows(pixels, rows, columns)

    def wait_noted(pending: list[futures.Future[None]]) -> None:
        if pending and not waiting.is_set():
            assert read == [10, 20, 30]
            waiting.set()
        wait(pending)

    monkeypatch.setattr(restore_page_module._Target, "blend", blend_late)
    monkeypatch.setattr(restore_page_module, "wait", wait_noted)
    monkeypatch.setattr(PagePixels, "read", read_noted)
    monkeypatch.setattr(page_passes, "BAND", 10 * SIZE[1])
    image = photo(*SIZE, 3)
    result, _ = restored(Removing(), Page(image), reduced=("H",))
    assert np.abs(values(result) - hazeless(image)).max() <= 0.51 / 255 + 1e-5
    assert len(read) == SIZE[0] / 10


@pytest.mark.parametrize(
    ("reduced", "exact"),
    [
        (("H",), [False]),
        (("RS",), [True]),
        (("H", "RS"), [True, False]),
        (("H", "DB"), [True, False]),
        (("H", "LL", "DB", "S"), [True, True, False]),
    ],
)
def test_weather_and_blur_are_carried_back_pixel_by_pixel_and_haze_is_not(
    reduced: tuple[str, ...], exact: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def noted(*given: Any, exact: bool, level: float) -> Any:
        seen.append(exact)
        return restore_reduced(*given, exact=exact, level=level)

    monkeypatch.setattr("maskdcpt_cli.inference.page_passes.restore_reduced", noted)
    restored(Removing(), Page(photo(*SIZE, 3)), reduced=reduced)
    assert seen == exact
