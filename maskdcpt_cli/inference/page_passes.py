"""The passes of a network over one page: over a reduced copy of it, and over itself in tiles."""

from collections.abc import Generator, Iterator
from functools import partial

from torch import Tensor

from maskdcpt_cli.degradations import group, scale
from maskdcpt_cli.inference.backends import Engine
from maskdcpt_cli.inference.checked_network import CheckedNetwork
from maskdcpt_cli.inference.coarse import LocalAffine, reduced_size, restore_reduced, whole
from maskdcpt_cli.inference.events import Settings
from maskdcpt_cli.inference.looking import REDUCED_PIXELS
from maskdcpt_cli.inference.page_pixels import PagePixels
from maskdcpt_cli.inference.removal import Removal, request_of
from maskdcpt_cli.inference.self_ensemble import Eightfold
from maskdcpt_cli.inference.tile_size import choose_overlap, choose_samples, choose_tile
from maskdcpt_cli.inference.tiling import (
    Band,
    Progress,
    Read,
    Step,
    TileSizeReduced,
    restore_tiles,
)
from maskdcpt_cli.inference.two_scales import TwoScales

BAND = 1 << 18  # pixels of a band that no network restores
# Of the copy from which rain and snow go, as small flakes and fine streaks show in it: 0.5 to 1.3
# dB more than by one of REDUCED_PIXELS, in the mean of four photos of 6 megapixels, with a veil and
# without (docs/speed.md). Drops on the lens are as good by either.
FALLING_PIXELS = 1_200_000
FALLING = ("RS", "S")


class PagePasses:
    """The passes that restore one page.

    What is removed from the reduced page changes the page as a local affine map. What is removed
    at the size of the page is removed after that: noise of dark photos is then lower by 0.5 dB in
    the mean than where it is removed first, by a network that left the light alone. Types of either
    kind need no pass where there are none.

    A page that is small is its own copy, from which only types of the scene are removed: the map
    keeps what the network blurs, and the lattice that it leaves in skies out of them. By an earlier
    tiny-asked, PSNR on 8 photos of each set: synthetic haze 18.32 to 18.70 dB, SOTS indoor 19.91 to
    20.19, synthetic low light 21.45 to 21.82, LOL 18.95 to 18.85 (its noise stays). Other types go
    first, as such a copy averages no noise: with noise of sigma 25, haze 17.60 dB (15.69 where haze
    goes first, 15.85 in one pass), low light 20.55 (18.82, 18.76); of sigma 10, haze 18.63 (18.35,
    17.97), low light 21.88 (21.91, 21.66), each on 8 photos. (The windows of the map were half as
    large then.)

    Rain and snow that show in a reduced page are removed from a larger copy than haze and darkness,
    and before them; blur and drops that show there are removed between them, carried back pixel by
    pixel as rain is.

    Noise is removed at two scales (`two_scales`): with sigma 25 the middles of 13 photos of 2 to 20
    megapixels gain 0.9 dB in the mean (-0.2 to 3.0); ten smaller photos gained 0.2 (-0.14 to 0.8)
    by earlier weights.

    Where all is to be removed, whatever there is, the network is asked for all of it of the reduced
    page, too, and a small page has one pass: asked for haze and darkness alone, the network finds
    them in every photo.
    """

    def __init__(
        self, engine: Engine, pixels: PagePixels, removal: Removal | None, settings: Settings
    ) -> None:
        self.engine = engine
        self.pixels = pixels
        self.size = (pixels.source.shape[0], pixels.source.shape[1])
        self.small = reduced_size(self.size) == self.size
        self.all_at_once = settings.remove == "all"
        if removal is not None and self.small:
            removal = Removal(removal.types) if self.all_at_once else _of_small_page(removal)
        self.removal = removal
        self.settings = settings
        self.networks: list[CheckedNetwork] = []

    @property
    def seconds(self) -> float:
        """Return the seconds in the network."""
        return sum(network.seconds for network in self.networks)

    def steps(self) -> Iterator[Step]:
        """Yield the bands of the restored page and the progress, which is that of its own size.

        Raises UnsoundError where the output of the network fails its check.
        """
        read: Read = self.pixels.read
        if self.removal is None:
            yield from self._restored(None, read, self.size)
            return
        native, reduced = self.removal
        if native and reduced and self.small:
            read = yield from self._read_restored(native)
            native = ()
        for types, pixels in self._copies(reduced):
            requested = self.removal.types if self.all_at_once else types
            change = yield from self._change(requested, types, read, pixels)
            read = partial(_read_changed, read, change)
        if native:
            yield from self._restored(native, read, self.size)
        else:
            yield from self._unrestored(read)

    def _read_restored(self, types: tuple[str, ...]) -> Generator[TileSizeReduced, None, Read]:
        """Remove types from a small page, and return the function that reads the result."""
        restored = yield from whole(self._restored(types, self.pixels.read, self.size))
        restored = restored.clamp(0, 1)
        return lambda rows, columns: restored[0, :, rows, columns]

    def _copies(self, types: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
        """Yield what is removed from one reduced page after the other, and the pixels of each."""
        copies = [(types, REDUCED_PIXELS)]
        if not self.all_at_once:
            of_scene = tuple(one for one in types if scale(one) == "scene")
            falling = tuple(one for one in types if one in FALLING)
            others = tuple(one for one in types if one not in (*falling, *of_scene))
            copies = [
                (falling, FALLING_PIXELS),
                (others, REDUCED_PIXELS),
                (of_scene, REDUCED_PIXELS),
            ]
        yield from (one for one in copies if one[0])

    def _change(
        self, requested: tuple[str, ...], types: tuple[str, ...], read: Read, pixels: int
    ) -> Generator[TileSizeReduced, None, LocalAffine]:
        """Return the change of the page, which is read, by removing `requested` from a copy of it.

        It is that for `types`, which decide how it is carried back; the copy has `pixels` at most.
        """
        reduced = reduced_size(self.size, pixels)
        restore = partial(self._restored, requested)
        exact = any(scale(one) != "scene" for one in types)
        level = self.pixels.level
        return restore_reduced(restore, read, self.size, reduced, exact=exact, level=level)

    def _restored(
        self, types: tuple[str, ...] | None, read: Read, size: tuple[int, int]
    ) -> Iterator[Step]:
        """Remove types, or all that the network can, from an image of `size` that is read."""
        engine, settings = self.engine, self.settings
        request = None if types is None else request_of(types, engine.model.requests)
        network = engine.with_request(request)
        if settings.tta:
            network = Eightfold(network)
        if types is not None and _at_two_scales(types):
            network = TwoScales(network, multiple=engine.size_multiple, pad=engine.pad)
        checked = CheckedNetwork(network, self.pixels.transfer)
        self.networks.append(checked)
        tile, overlap = settings.tile, settings.overlap
        if tile and size != self.size:  # a reduced copy is restored whole where it fits
            tile = overlap = None
        if tile is None:
            tile = choose_tile(engine, size)
            if tile and overlap is not None:
                overlap = min(overlap, (tile - 1) // 2)
        yield from restore_tiles(
            checked,
            read,
            size,
            tile=tile,
            overlap=choose_overlap(tile) if overlap is None else overlap,
            multiple=engine.size_multiple,
            pad=engine.pad,
            samples=choose_samples(engine),
        )
        checked.check_last()

    def _unrestored(self, read: Read) -> Iterator[Step]:
        height, width = self.size
        step = max(1, BAND // width)
        for top in range(0, height, step):
            rows = slice(top, min(top + step, height))
            yield Band(rows, read(rows, slice(0, width)))
            yield Progress((rows.stop - rows.start) * width)


def _at_two_scales(types: tuple[str, ...]) -> bool:
    """Return whether there is noise among types, and nothing that changes the whole scene."""
    scene = any(scale(one) == "scene" for one in types)
    return not scene and any(group(one) == "noise" for one in types)


def _of_small_page(removal: Removal) -> Removal:
    scene = tuple(one for one in removal.types if scale(one) == "scene")
    return Removal(tuple(one for one in removal.types if one not in scene), scene)


def _read_changed(read: Read, change: LocalAffine, rows: slice, columns: slice) -> Tensor:
    return change.apply(read(rows, columns), rows, columns).clamp_(0, 1)
