"""The taxonomy of UIR-2.5M: 19 degradation types and the settings of the paper (Sec. IV-D)."""

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from maskdcpt_cli.errors import MaskDCPTError, unknown
from maskdcpt_cli.plugins import Registry

SLUG = re.compile(r"[a-z0-9]+([+-][a-z0-9]+)*")


class Range(NamedTuple):
    """The levels between two, with equal probability."""

    low: float
    high: float


# What a degradation is a matter of: the whole scene, which shows in a reduced photo; the single
# pixels, which reducing destroys; or either, by its size in the photo (rain, blur).
Scale = Literal["scene", "pixel", "either"]


class Degradation(NamedTuple):
    """A type of degradation, or a mixture of several."""

    name: str
    slug: str  # its name on the command line and of folders
    group: str  # noise, blur, compression, weather, others; or mixed
    scale: Scale = "pixel"


DEGRADATIONS: Registry[Degradation] = Registry("DEGRADATIONS", {
    "GN": Degradation("Gaussian, Poisson, salt & pepper noise", "noise", "noise"),
    "RN": Degradation("real captured noise", "real-noise", "noise"),
    "MB": Degradation("motion blur", "motion-blur", "blur", "either"),
    "DB": Degradation("defocus blur", "defocus", "blur", "either"),
    "GB": Degradation("Gaussian & sinc blur", "gaussian-blur", "blur", "either"),
    "J": Degradation("JPEG", "jpeg", "compression"),
    "H": Degradation("haze", "haze", "weather", "scene"),
    "RS": Degradation("rain streak", "rain", "weather", "either"),
    "RD": Degradation("raindrop", "raindrop", "weather", "either"),
    "RSD": Degradation("rain streak + raindrop", "rain+raindrop", "weather", "either"),
    "S": Degradation("snow", "snow", "weather", "either"),
    "MS": Degradation("mosaic", "mosaic", "others"),
    "LL": Degradation("low light", "low-light", "others", "scene"),
    "MR": Degradation("moire", "moire", "others"),
    "MB+J": Degradation("blur + JPEG", "blur+jpeg", "mixed"),
    "MB+RS": Degradation("blur + rain", "blur+rain", "mixed"),
    "MB+LL+GN": Degradation("blur + low light + noise", "blur+low-light+noise", "mixed"),
    "LL+H+RS+S": Degradation("low light + haze + rain + snow", "low-light+haze+rain+snow", "mixed"),
    "DS+GN+GB+J": Degradation(
        "downsample + noise + blur + JPEG", "downsample+noise+blur+jpeg", "mixed"
    ),
})  # fmt: skip


def _check_degradation(label: str, row: Degradation) -> None:
    if not isinstance(row, Degradation) or not SLUG.fullmatch(row.slug):
        raise ValueError("it has to be a Degradation with a slug of small letters, '-' and '+'")
    if {find(label), find(row.slug)} != {label}:
        raise ValueError("its label or its slug is that of another degradation")


# The label of images without degradation, for classifiers (ours).
CLEAN = "clean"
LABELS: Registry[Degradation] = Registry(
    "DEGRADATIONS",
    {**DEGRADATIONS.own, CLEAN: Degradation("nothing", CLEAN, "clean")},
    check=_check_degradation,
)


def _check_setting(_name: str, labels: tuple[str, ...]) -> None:
    if not isinstance(labels, tuple) or not labels or len(set(labels)) < len(labels):
        raise ValueError("it has to be a tuple of different labels")
    for label in labels:
        if label not in LABELS:
            raise ValueError(unknown("degradation", label, LABELS).rstrip("."))


# Label order of a setting's classifier; 5D's is the paper's. The paper does not define 9D: ours
# are the nine single types that are usual in everyday photos. 12D has 13: the twelve of Table II,
# and Gaussian noise.
TYPES_OF_12D = ("GN", "RN", "MB", "DB", "GB", "J", "H", "RS", "RD", "S", "MS", "LL", "MR")
SETTINGS: Registry[tuple[str, ...]] = Registry(
    "SETTINGS",
    {
        "5d": ("H", "RS", "GN", "MB", "LL"),
        "9d": ("GN", "MB", "DB", "J", "H", "RS", "RD", "S", "LL"),
        "12d": TYPES_OF_12D,
        "12d+clean": (*TYPES_OF_12D, CLEAN),
        "mixed": ("MB+J", "MB+RS", "MB+LL+GN", "LL+H+RS+S", "DS+GN+GB+J"),
        "derain": ("RS",),
        "motion-deblur": ("MB",),
        "all": tuple(DEGRADATIONS.own),
    },
    check=_check_setting,
)


def removable(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the types that a network trained with these labels can be asked to remove.

    >>> removable(["H", "clean", "GN"])
    ('H', 'GN')
    """
    return tuple(label for label in labels if label != CLEAN)


def find(word: str) -> str:
    """Return the label of a degradation given by abbreviation or slug, in any case.

    Raises MaskDCPTError, which names all slugs.

    >>> find("haze"), find("MB+j")
    ('H', 'MB+J')
    """
    for abbreviation, degradation in LABELS.items():
        if word.lower() in (abbreviation.lower(), degradation.slug):
            return abbreviation
    raise MaskDCPTError(unknown("degradation", word, slugs()))


def slugs() -> list[str]:
    """Return the slugs of all labels, in their order."""
    return [degradation.slug for degradation in LABELS.values()]


def find_types(words: str | Iterable[str]) -> tuple[str, ...]:
    """Return the labels of degradations given as for `find`, each once; a string has commas.

    Raises MaskDCPTError for a word that names none, and for `clean`.

    >>> find_types("noise, JPEG,GN")
    ('GN', 'J')
    """
    separate = words.split(",") if isinstance(words, str) else words
    labels = tuple(dict.fromkeys(find(word.strip()) for word in separate))
    if CLEAN in labels:
        raise MaskDCPTError(f"'{CLEAN}' is not a type of degradation.")
    return labels


def scale(label: str) -> Scale:
    """Return what a classifier's label is a matter of; "either" for one that is not in LABELS.

    >>> scale("H"), scale("GN")
    ('scene', 'pixel')
    """
    return LABELS[label].scale if label in LABELS else "either"


def group(label: str) -> str:
    """Return the group of a classifier's label; "" of one that is not in LABELS.

    >>> group("RN"), group("MB")
    ('noise', 'blur')
    """
    return LABELS[label].group if label in LABELS else ""


def alternatives(labels: Sequence[str]) -> list[list[int]]:
    """Return the positions of the kinds of noise, and those of blur, where there are several.

    A photo has one kind for the most part, and a classifier takes one for another.

    >>> alternatives(["GN", "MB", "H", "DB"])
    [[1, 3]]
    """
    groups = [group(label) for label in labels]
    found = ([i for i, one in enumerate(groups) if one == kind] for kind in ("noise", "blur"))
    return [kinds for kinds in found if len(kinds) > 1]


def slug(label: str) -> str:
    """Return the slug of a classifier's label; a label that is not in LABELS unchanged.

    >>> slug("H"), slug("clean")
    ('haze', 'clean')
    """
    return LABELS[label].slug if label in LABELS else label


def in_words(labels: Iterable[str]) -> str:
    """Return the slugs of labels, as text.

    >>> in_words(["H", "GN"])
    'haze, noise'
    """
    return ", ".join(map(slug, labels))
