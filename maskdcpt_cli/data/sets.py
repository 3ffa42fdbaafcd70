"""Sets of images: those of a preset, pairs from two folders, and clean photos from one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from maskdcpt_cli.data.pairs import FilePairs, Names, Pairs
from maskdcpt_cli.data.sources import check_synthesis, scan, scan_pairs
from maskdcpt_cli.data.templates import ALL
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.files import shown
from maskdcpt_cli.images.formats import MAX_PIXELS
from maskdcpt_cli.presets.data import (
    Folders,
    Part,
    Source,
    Synthesis,
    TrainPart,
    Unpaired,
)
from maskdcpt_cli.synthesis.table import spec_of

NO_PAIRS = FilePairs(Path(), Names(()), None, "")
DEFAULT_SYNTHESIS = Synthesis()


@dataclass(frozen=True)
class ImageSet:
    """Images of one source, and how they are used: in training, benchmarks, shards and studies."""

    name: str
    pairs: Pairs
    degradation: str | None = None  # abbreviation; None: each pair's own, or not in the taxonomy
    synthesis: Synthesis = DEFAULT_SYNTHESIS  # of clean images
    repeat: int = 1  # visits in an epoch
    blind: bool = False  # degraded images without ground truth, which are read as gt
    expected: int | None = None  # images of the complete set, if known
    missing: str = ""  # why there are no images

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def level(self) -> float | None:
        """Level of the synthesis; None if it has several."""
        levels = self.synthesis.levels
        return levels[0] if levels and len(set(levels)) == 1 else None


def from_preset(
    parts: Sequence[Part], root: Path, *, max_pixels: int | None = MAX_PIXELS
) -> list[ImageSet]:
    """Find the images of all sources of some parts of a preset.

    Args:
        parts: of a data preset.
        root: data root.
        max_pixels: larger images will be refused; None for no limit.

    Returns:
        The set of each source, in order; a set that is not on disk says why in `missing`.

    Raises:
        MaskDCPTError: for a synthesis that a degradation does not have.
    """
    for part in parts:
        check_synthesis(part)
    return [_opened(part, one, root, max_pixels) for part in parts for one in part.sources]


def check_complete(sets: Sequence[ImageSet]) -> None:
    """Raise MaskDCPTError, with all reasons, if sets of a preset are not on disk."""
    missing = dict.fromkeys(f"{one.name}: {one.missing}" for one in sets if one.missing)
    if missing:
        raise MaskDCPTError(
            f"Images are missing. {'; '.join(missing)}; `maskdcpt data check` lists what is there."
        )


def from_pairs(
    folders: Sequence[tuple[Path, Path]],
    degradations: Sequence[str] = (),
    *,
    max_pixels: int | None = MAX_PIXELS,
) -> list[ImageSet]:
    """Pair the images of two folders by their names, without suffix, at any depth.

    Args:
        folders: lq and gt of each set.
        degradations: abbreviation of each set; (): not known.
        max_pixels: larger images will be refused; None for no limit.

    Returns:
        A set for each pair of folders, with the name of the lq folder, as `rain/lq`.

    Raises:
        MaskDCPTError: if there are no images, or if an lq has no gt.
    """
    labels = degradations or [""] * len(folders)
    return [
        ImageSet(name, _paired(lq, gt, label, max_pixels), label or None)
        for name, (lq, gt), label in zip(_names(folders), folders, labels, strict=True)
    ]


def from_photos(
    folder: Path,
    syntheses: Iterable[tuple[str, Synthesis]] = (("", DEFAULT_SYNTHESIS),),
    *,
    max_pixels: int | None = MAX_PIXELS,
) -> list[ImageSet]:
    """Find the clean images of a folder at any depth, to be degraded when they are read.

    Args:
        folder: of the images.
        syntheses: abbreviation of the degradation and synthesis of each set.
        max_pixels: larger images will be refused; None for no limit.

    Returns:
        A set of all images for each synthesis, with the name of the folder.

    Raises:
        MaskDCPTError: if there are no images, or for a degradation that cannot be synthesised.
    """
    source = Folders(name="photos", gt=ALL)
    photos = _some(scan(source, folder, "", max_pixels=max_pixels).pairs, folder)
    name = folder.resolve().name
    syntheses = list(syntheses)
    for label, _synthesis in syntheses:
        if label:
            spec_of(label)
    return [
        ImageSet(name, replace(photos, degradation=label), label or None, synthesis)
        for label, synthesis in syntheses
    ]


def _opened(part: Part, source: Source, root: Path, max_pixels: int | None) -> ImageSet:
    pairs: Pairs = NO_PAIRS
    try:
        found = scan(source, root, part.degradation, max_pixels=max_pixels)
    except MaskDCPTError as error:
        missing = str(error).rstrip(".")
    else:
        pairs, missing = found.pairs, ""
        if found.missing:
            missing = f"there is no {', no '.join(found.missing)} in '{shown(root)}'"
        elif not len(pairs):
            missing = f"it has no images in '{shown(root)}'"
    return ImageSet(
        source.name,
        pairs,
        part.degradation,
        part.synthesis,
        repeat=part.repeat if isinstance(part, TrainPart) else 1,
        blind=isinstance(source, Unpaired),
        expected=source.pairs,
        missing=missing,
    )


def _paired(lq: Path, gt: Path, label: str, max_pixels: int | None) -> FilePairs:
    found = scan_pairs(lq, gt, label, max_pixels=max_pixels)
    if len(found.unpaired):
        more = f" (and {len(found.unpaired) - 1} more)" if len(found.unpaired) > 1 else ""
        raise MaskDCPTError(f"'{found.unpaired[0]}'{more} has no partner in '{shown(gt)}'.")
    return _some(found.pairs, lq)


def _some(pairs: Pairs, folder: Path) -> FilePairs:
    if not isinstance(pairs, FilePairs) or not len(pairs):
        raise MaskDCPTError(f"There are no images in '{shown(folder)}'.")
    return pairs


def _names(folders: Sequence[tuple[Path, Path]]) -> list[str]:
    """Name pairs of folders by the lq folder and its parent, as `rain/lq`, and then `rain/lq#2`."""
    names: list[str] = []
    for lq, _ in folders:
        name = "/".join(lq.resolve().parts[-2:]).lstrip("/")
        number = sum(other.partition("#")[0] == name for other in names)
        names.append(f"{name}#{number + 1}" if number else name)
    return names
