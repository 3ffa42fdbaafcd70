"""What passes between the restoration of a folder and whoever shows it; light to import."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Status = Literal["restored", "skipped", "unrestored", "failed"]


@dataclass(frozen=True)
class Job:
    """One photo to restore: where it lies, where its result goes."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Settings:
    """How photos are restored and written; the defaults are those of `maskdcpt restore`."""

    tile: int | None = None  # pixels a side; None chooses by memory, 0 takes a photo in one piece
    overlap: int | None = None  # pixels shared by neighbouring tiles; None chooses by the tile
    strength: float = 1.0  # 0 keeps the input, 1 takes the network's result
    tta: bool = False  # eight-fold self-ensemble
    quality: int | None = None  # of JPEG, WebP and AVIF; None takes 95
    strip: bool = False  # drop EXIF, XMP and ICC
    compare: bool = False  # write a before/after sheet beside each result
    max_pixels: int | None = 500_000_000  # larger images are refused; None lifts the limit


@dataclass(frozen=True)
class Started:
    """A photo has been read and its restoration begins."""

    job: Job
    pixels: int


@dataclass(frozen=True)
class Advanced:
    """So many more pixels of a photo are restored."""

    job: Job
    pixels: int


@dataclass(frozen=True)
class Outcome:
    """How one photo ended.

    `restored`: its result lies whole at the target. `skipped`: a result of the same model and
    settings lies there already. `unrestored`: the network's output was unsound, so the target
    holds the input's pixels. `failed`: nothing was written. `reason` is set for the last two.
    """

    job: Job
    status: Status
    reason: str | None = None
    notices: tuple[str, ...] = ()  # what a person may want to know, a sentence each
    pixels: int = 0
    seconds: float = 0.0  # in the network


Event = Started | Advanced | Outcome
