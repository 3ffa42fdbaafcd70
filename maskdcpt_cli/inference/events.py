"""Events and settings of the restoration of files; light to import."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from maskdcpt_cli.degradations import find_types
from maskdcpt_cli.errors import MaskDCPTError, check_max_pixels, check_range
from maskdcpt_cli.images.formats import MAX_PIXELS

LEAST_TILE = 64  # pixels
Status = Literal["restored", "skipped", "unrestored", "failed"]
Remove = Literal["auto", "all"] | tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """One photo to restore: its path, and the path of its result."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Settings:
    """Settings of restoring and writing; the defaults are those of `maskdcpt restore`.

    Raises:
        MaskDCPTError: A value is out of its range.
    """

    tile: int | None = None  # pixels a side, from 64; None: chosen by the memory; 0: no tiles
    overlap: int | None = None  # pixels shared by neighbouring tiles; None: chosen by the tile
    strength: float = 1.0  # 0 is the input, 1 the output of the network
    tta: bool = False  # eight-fold self-ensemble
    quality: int | None = None  # of JPEG, WebP and AVIF, 1 to 100; None: 95
    strip: bool = False  # drop EXIF, XMP and ICC
    compare: bool = False  # write a before/after sheet beside each result
    max_pixels: int | None = MAX_PIXELS  # larger images are refused; None: no limit
    # Of request-conditioned models: "auto" removes what a classifier finds, "all" all that the
    # model knows, and types (their names as for `maskdcpt degrade --type`) exactly these.
    remove: Remove = "auto"
    keep: tuple[str, ...] = ()  # types that "auto" and "all" do not remove

    def __post_init__(self) -> None:
        if self.tile is not None:
            check_range("tile", self.tile, least=0)
        if self.tile and self.tile < LEAST_TILE:
            raise MaskDCPTError(
                f"Invalid value for 'tile': {self.tile} is too small: the least is {LEAST_TILE}."
            )
        if self.overlap is not None:
            check_range("overlap", self.overlap, least=0)
        if self.tile and self.overlap is not None and 2 * self.overlap >= self.tile:
            raise MaskDCPTError(
                f"overlap {self.overlap} must be less than half of tile {self.tile}."
            )
        check_range("strength", self.strength, least=0, most=1, whole=False)
        if self.quality is not None:
            check_range("quality", self.quality, least=1, most=100)
        check_max_pixels(self.max_pixels)
        if self.remove not in ("auto", "all"):
            object.__setattr__(self, "remove", find_types(self.remove))
        object.__setattr__(self, "keep", find_types(self.keep))
        if self.keep and self.remove not in ("auto", "all"):
            raise MaskDCPTError(
                "keep goes with remove 'auto' or 'all': of types by name none is to be kept."
            )


@dataclass(frozen=True)
class Started:
    """A photo has been read and its restoration begins."""

    job: Job
    pixels: int


@dataclass(frozen=True)
class Advanced:
    """Further pixels of a photo are restored."""

    job: Job
    pixels: int


@dataclass(frozen=True)
class Outcome:
    """The result of one photo.

    `restored`: the target is written. `skipped`: the target exists, from the same model and
    settings. `unrestored`: the output of the network failed its check, so the target holds the
    pixels of the input; where `reason` names pages, for these alone, and the others are restored.
    `failed`: nothing is written. `reason` is set for the last two.
    """

    job: Job
    status: Status
    reason: str | None = None
    # Messages for the user, a sentence each; of some pages, as "Pages 2, 4: It is left as it is".
    notices: tuple[str, ...] = ()
    pixels: int = 0
    seconds: float = 0.0  # in the network
    # Types of degradation, over all pages.
    found: tuple[str, ...] | None = None  # None: not by "auto", or the classifier is uncertain
    removed: tuple[str, ...] | None = None  # None: the network was not asked for types


Event = Started | Advanced | Outcome
