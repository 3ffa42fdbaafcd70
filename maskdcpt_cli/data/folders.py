"""Pairs from two folders, and clean photos from one, without a preset."""

from pathlib import Path

from maskdcpt_cli.data.pairs import FilePairs, Pairs
from maskdcpt_cli.data.sources import scan, two_folders
from maskdcpt_cli.data.templates import SPANNING
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.files import shown
from maskdcpt_cli.images.formats import MAX_PIXELS
from maskdcpt_cli.presets.data import Folders


def paired(
    lq: Path, gt: Path, *, degradation: str, max_pixels: int | None = MAX_PIXELS
) -> FilePairs:
    """Pair the images of two folders by their names, without suffix, at any depth.

    Raises MaskDCPTError if there are none, or if an lq has no gt.
    """
    root, source = two_folders(lq, gt, name="pairs")
    scanned = scan(source, root, degradation, max_pixels=max_pixels)
    if len(scanned.unpaired):
        more = f" (and {len(scanned.unpaired) - 1} more)" if len(scanned.unpaired) > 1 else ""
        raise MaskDCPTError(f"'{scanned.unpaired[0]}'{more} has no partner in '{shown(gt)}'.")
    return _some(scanned.pairs, lq)


def photos(
    folder: Path, *, degradation: str = "", max_pixels: int | None = MAX_PIXELS
) -> FilePairs:
    """Find the images of a folder at any depth, to be degraded when they are read.

    Raises MaskDCPTError if there are none.
    """
    source = Folders(name="photos", gt=f"{{{SPANNING}}}")
    return _some(scan(source, folder, degradation, max_pixels=max_pixels).pairs, folder)


def _some(pairs: Pairs, folder: Path) -> FilePairs:
    if not isinstance(pairs, FilePairs) or not len(pairs):
        raise MaskDCPTError(f"There are no images in '{shown(folder)}'.")
    return pairs
