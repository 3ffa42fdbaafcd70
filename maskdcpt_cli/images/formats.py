"""Image formats: readable suffixes, and the capabilities of the writable formats."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

MAX_PIXELS = 500_000_000  # of a file, unless another limit is given


@dataclass(frozen=True)
class Holds:
    """The capabilities of a format."""

    suffixes: tuple[str, ...]  # the usual one first
    depths: tuple[str, ...]  # dtypes
    channels: tuple[int, ...] = (1, 3)
    alpha: bool = True
    icc: bool = True
    exif: bool = True  # and XMP
    pages: bool = False
    max_side: int = 2**31 - 1


WRITABLE: Mapping[str, Holds] = MappingProxyType(
    {
        "jpeg": Holds(
            (".jpg", ".jpeg", ".jpe", ".jfif"),
            ("uint8",),
            channels=(1, 3, 4),
            alpha=False,
            max_side=65_500,
        ),
        "png": Holds((".png", ".apng"), ("uint8", "uint16")),
        "tiff": Holds(
            (".tif", ".tiff"),
            ("uint8", "uint16", "float16", "float32", "float64"),
            channels=(1, 3, 4),
            pages=True,
        ),
        "webp": Holds((".webp",), ("uint8",), channels=(3,), max_side=16_383),
        "bmp": Holds((".bmp", ".dib"), ("uint8",), alpha=False, icc=False, exif=False),
        "avif": Holds((".avif",), ("uint8",), channels=(3,), max_side=65_536),
    }
)

RAW_SUFFIXES = frozenset(
    f".{word}"
    for word in (
        *("3fr", "arw", "cr2", "cr3", "crw", "dcr", "dng", "erf", "fff", "iiq", "kdc", "mef"),
        *("mos", "mrw", "nef", "nrw", "orf", "pef", "raf", "raw", "rw2", "rwl", "sr2", "srf"),
        *("srw", "x3f"),
    )
)
HEIF_SUFFIXES = frozenset({".heic", ".heif", ".hif"})

# The format of results of files that can be read but not written.
SUBSTITUTES: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(RAW_SUFFIXES, ".tiff")
    | dict.fromkeys(HEIF_SUFFIXES, ".jpg")
    | dict.fromkeys((".gif", ".pbm", ".pgm", ".pnm", ".ppm"), ".png")
    | dict.fromkeys((".jp2", ".j2k", ".jpx", ".jpf"), ".png")
    | {".pfm": ".tiff"}
)

IMAGE_SUFFIXES: frozenset[str] = frozenset(SUBSTITUTES).union(
    *(holds.suffixes for holds in WRITABLE.values())
)

# The values of `Photo.format` that are not a suffix of the format.
_WORDS = {"raw": ".tiff", "heif": ".jpg", "jpeg2000": ".png", "tiff": ".tiff", "pfm": ".tiff"}


def format_of(suffix: str) -> str | None:
    """Return the writable format of a suffix, None where there is none."""
    suffix = suffix.lower()
    return next((word for word, holds in WRITABLE.items() if suffix in holds.suffixes), None)


def result_suffix(suffix_or_format: str) -> str:
    """Return the default suffix of a result: the given one where it can be written.

    Takes ".NEF", ".jpg", "png", "heif"...; RAW becomes .tiff, HEIC .jpg, anything else .png.
    """
    word = suffix_or_format.lower()
    suffix = word if word.startswith(".") else f".{word}"
    if suffix == ".apng":
        return ".png"
    if format_of(suffix):
        return suffix
    return SUBSTITUTES.get(suffix) or _WORDS.get(word, ".png")
