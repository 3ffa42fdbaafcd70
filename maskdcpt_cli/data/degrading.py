"""Pairs from clean photos: degrade files into `OUT/<type>/{lq,gt}/`, with a manifest."""

import io
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskdcpt_cli.data.manifest import ManifestLine, read_manifest, write_manifest
from maskdcpt_cli.data.parallel import in_processes
from maskdcpt_cli.data.templates import ALL, MANIFEST, Template
from maskdcpt_cli.degradations import LABELS, Range, slugs
from maskdcpt_cli.errors import ImageError, MaskDCPTError
from maskdcpt_cli.files import check_inside, is_below, open_regular, shown, written
from maskdcpt_cli.images.contact_sheets import grid, stacked
from maskdcpt_cli.images.discover import FileIdentity, identity
from maskdcpt_cli.images.formats import MAX_PIXELS
from maskdcpt_cli.images.reading import preview
from maskdcpt_cli.images.workers import WorkerLost, WorkerPool
from maskdcpt_cli.synthesis.table import check, degrade, generator_of

SIDES = ("lq", "gt")
SHEET = "sheet.jpg"
ON_SHEET = 4  # photos
COLUMNS = 5
CELL = (256, 192)  # width, height of a photo on the sheet, in pixels

Levels = tuple[float, ...] | Range | None
Pixels = NDArray[np.uint8]  # (H, W, 3), sRGB


@dataclass(frozen=True)
class CleanPhoto:
    """A clean photo, and the name of its pairs."""

    path: Path
    name: str  # of the pair's files below lq/ and gt/, without their suffix


@dataclass(frozen=True)
class DegradeRequest:
    """A degradation to apply."""

    degradation: str  # abbreviation
    variant: str | None = None  # None: any of its variants
    levels: Levels = None  # None: its usual ones

    def __post_init__(self) -> None:
        check(self.degradation, variant=self.variant, levels=self.levels or ())


@dataclass(frozen=True)
class DegradedPhoto:
    """The result for a photo."""

    photo: CleanPhoto
    lines: tuple[ManifestLine, ...]
    cells: tuple[Pixels, ...]  # for the sheet: the photo and one of each degradation
    reason: str = ""  # why pairs are missing
    refusal: str = ""  # why the command ends with it


def discover_photos(inputs: Sequence[Path], *, out: Path) -> list[CleanPhoto]:
    """List the given photos, and those in the given folders, sorted, without results in `out`.

    Raises MaskDCPTError if there are none, or if two photos would give pairs of the same name.
    """
    found: dict[str, CleanPhoto] = {}
    for source in inputs:
        if not source.exists():
            raise MaskDCPTError(f"There is no '{shown(source)}'.")
        if not source.is_dir() and not source.is_file():
            raise MaskDCPTError(f"'{shown(source)}' is neither a file nor a folder.")
        for path, name in _images(source, out.resolve()):
            photo = CleanPhoto(path, PurePosixPath(name).with_suffix("").as_posix())
            other = found.setdefault(photo.name, photo)
            if other.path != path and identity(other.path) != identity(path):
                raise MaskDCPTError(
                    f"'{shown(other.path)}' and '{shown(path)}' would give pairs of the same name; "
                    "rename one, or degrade them into two folders."
                )
    if not found:
        raise MaskDCPTError(f"There are no photos in '{shown(inputs[0])}'.")
    return list(found.values())


def _images(source: Path, out: Path) -> Iterator[tuple[Path, str]]:
    """Yield the images of a source, each with its name below it.

    Those in `out` are left out; of a source in it results alone are, but where they are the source.
    """
    if source.is_file():
        yield source, source.name
        return
    root = source.resolve()
    below = root.is_relative_to(out) and root != out
    own = _result_folder(root, out)
    for name, _ in Template(ALL).files(source):
        folder = (source / name).parent.resolve()
        if _result_folder(folder, out) == own if below else not folder.is_relative_to(out):
            yield source / name, name


def _result_folder(folder: Path, out: Path) -> tuple[str, ...]:
    """Return the parts below `out` of the results that a folder is among, as (haze, gt); or ().

    Both are resolved.
    """
    parts = folder.relative_to(out).parts[:2] if folder.is_relative_to(out) else ()
    return parts if len(parts) == 2 and parts[0] in slugs() and parts[1] in SIDES else ()


def degrade_photos(
    photos: Sequence[CleanPhoto],
    out: Path,
    requests: Sequence[DegradeRequest],
    *,
    per_photo: int = 1,
    seed: int = 0,
    overwrite: bool = False,
    sheet: bool = False,
    max_pixels: int | None = MAX_PIXELS,
    jobs: int = 1,
    pool: WorkerPool | None = None,
) -> Generator[DegradedPhoto, None, None]:
    """Write pairs of every photo, then the manifest and, on request, a contact sheet.

    What is sampled for a pair depends on the seed, the name of the photo, the degradation and the
    number of the pair alone: the same call writes the same bytes, whatever else is degraded. The
    manifest keeps the lines of earlier runs into the same folder. The `jobs` processes are those of
    `pool`; None starts them.

    Raises MaskDCPTError if a file of other content exists and `overwrite` is not set, and if a
    photo would be overwritten.
    """
    root = out.resolve()
    kept = frozenset(
        identity(one.path) for one in photos if _result_folder(one.path.parent.resolve(), root)
    )
    make = partial(
        _degrade_photo,
        out=out,
        requests=requests,
        per_photo=per_photo,
        seed=seed,
        overwrite=overwrite,
        max_pixels=max_pixels,
        kept=kept,
    )
    for name in (MANIFEST, SHEET):
        check_inside(out / name, out)
    if sheet:
        _check_sheet(out, photos, overwrite=overwrite)
    read_manifest(out / MANIFEST)  # before a pair is written without a line in it
    lines: list[ManifestLine] = []
    examples: list[DegradedPhoto] = []
    try:
        with closing(in_processes(make, photos, jobs=jobs, lost=_lost, pool=pool)) as degrading:
            for done in degrading:
                lines += done.lines
                if done.refusal:
                    raise MaskDCPTError(done.refusal)
                if done.cells and len(examples) < ON_SHEET:
                    examples.append(done)
                yield done
    finally:  # interrupted, too
        if lines:
            write_manifest(out / MANIFEST, lines)
    if sheet and examples:
        titles = ["clean"] + [LABELS[request.degradation].slug for request in requests]
        with written(out / SHEET) as file:
            image = Image.fromarray(_sheet(examples, titles))
            image.save(file, format="JPEG", quality=90)


def _check_sheet(out: Path, photos: Sequence[CleanPhoto], *, overwrite: bool) -> None:
    """Raise MaskDCPTError if the sheet would replace a photo, or a file that is not a sheet."""
    _check_kept(out / SHEET, frozenset(identity(one.path) for one in photos))
    # A sheet beside a manifest is that of an earlier run.
    if not overwrite and os.path.lexists(out / SHEET) and not (out / MANIFEST).exists():
        raise MaskDCPTError(_exists(out / SHEET))


def _sheet(examples: Sequence[DegradedPhoto], titles: Sequence[str]) -> Pixels:
    """Draw a block for each photo: clean and under every degradation, in rows of COLUMNS."""
    blocks = []
    for done in examples:
        cells = list(zip(done.cells, titles, strict=True))
        rows = [cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)]
        parts = [
            grid([[cell for cell, _ in row]], column_titles=[title for _, title in row])
            for row in rows
        ]
        blocks.append(stacked(parts, title=done.photo.name))
    return stacked(blocks, title="")


def _degrade_photo(photo: CleanPhoto, **how: Any) -> DegradedPhoto:
    """Write the pairs of a photo; of an error, those before it count. See `_write_pairs`."""
    lines: list[ManifestLine] = []
    cells: list[Pixels] = []
    reason = refusal = ""
    try:
        _write_pairs(photo, lines, cells, **how)
    except ImageError as error:
        reason = str(error)
    except MaskDCPTError as error:
        refusal = str(error)
    except Exception as error:  # any of a plugin's, too
        why = f"{type(error).__name__}: {error}".rstrip(".: ")
        if isinstance(error, MemoryError) or "nsufficient memory" in why:
            why = "there is not enough memory"
        elif isinstance(error, cv2.error):  # which takes no side above 32,767
            why = "OpenCV does not take its size"
        reason = f"{shown(photo.path)} cannot be degraded: {why}."
    whole = not (reason or refusal)
    return DegradedPhoto(photo, tuple(lines), tuple(cells) if whole else (), reason, refusal)


def _write_pairs(
    photo: CleanPhoto,
    lines: list[ManifestLine],
    cells: list[Pixels],
    *,
    out: Path,
    requests: Sequence[DegradeRequest],
    per_photo: int,
    seed: int,
    overwrite: bool,
    max_pixels: int | None,
    kept: frozenset[FileIdentity],
) -> None:
    """Write all pairs of a photo; append a line for each, and the cells of the sheet."""
    if not is_below(photo.name):
        raise ImageError(
            f"{shown(photo.path)}: its name begins as a drive of Windows does; rename it."
        )
    pixels = preview(photo.path, max_side=None, max_pixels=max_pixels)
    gt = np.divide(pixels, 255, dtype=np.float32)
    gt_file = _png(pixels)
    cells.append(_cell(pixels))
    for request in requests:
        slug = LABELS[request.degradation].slug
        for number in range(per_photo):
            result = degrade(
                gt,
                request.degradation,
                generator_of(photo.name, slug, seed=(seed, number)),
                variant=request.variant,
                levels=request.levels,
            )
            lq = np.rint(result.lq * 255).astype(np.uint8)
            name = f"{photo.name}_{number}.png" if per_photo > 1 else f"{photo.name}.png"
            for side, file in (("lq", _png(lq)), ("gt", gt_file)):
                target = out / slug / side / name
                check_inside(target, out)
                _check_kept(target, kept)
                _write(target, file, overwrite=overwrite)
            lines.append(
                ManifestLine(
                    name,
                    slug,
                    result.variant,
                    result.level,
                    result.seed,
                    result.parameters,
                    photo.name,
                )
            )
            if number == 0:
                cells.append(_cell(lq))


def _lost(photo: CleanPhoto, error: WorkerLost, _retry: object) -> DegradedPhoto:
    reason = str(error)
    if not error.file:  # it was read
        reason = (
            f"{shown(photo.path)} cannot be degraded: its process was killed, perhaps for lack of "
            "memory; try fewer --jobs."
        )
    return DegradedPhoto(photo, (), (), reason)


def _png(pixels: Pixels) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", compress_level=4)
    return stream.getvalue()


def _write(target: Path, data: bytes, *, overwrite: bool) -> None:
    if not overwrite and os.path.lexists(target):
        if _content(target) == data:
            return
        raise MaskDCPTError(_exists(target))
    with written(target) as file:
        file.write(data)


def _exists(target: Path) -> str:
    return (
        f"'{shown(target)}' exists with other content; choose another folder, or give --overwrite."
    )


def _check_kept(target: Path, kept: frozenset[FileIdentity]) -> None:
    """Raise MaskDCPTError if a file to write is one of the photos that are degraded."""
    if kept and identity(target) in kept:
        raise MaskDCPTError(
            f"'{shown(target)}' is one of the photos and would be overwritten; choose another "
            "folder."
        )


def _content(path: Path) -> bytes | None:
    """Return the content of a file; None for what is no file, or cannot be read."""
    try:
        with open_regular(path) as file:
            return file.read()
    except OSError:
        return None


def _cell(pixels: Pixels) -> Pixels:
    """Crop the middle of a photo, downscaled to show the scene, but by no more than half of it."""
    width, height = CELL
    scale = min(1.0, 1.5 * max(width / pixels.shape[1], height / pixels.shape[0]))
    size = round(pixels.shape[1] * scale), round(pixels.shape[0] * scale)
    shrunk = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    left, top = (max(0, (size[i] - CELL[i]) // 2) for i in (0, 1))
    return np.ascontiguousarray(shrunk[top : top + height, left : left + width], np.uint8)
