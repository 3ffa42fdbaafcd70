"""Data sets on disk: from the sources of a preset to pairs."""

import json
import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskdcpt_cli.data.pairs import (
    FilePairs,
    Names,
    Pairs,
    hashed,
    labels,
    read_list,
    scene,
    scene_of_file,
)
from maskdcpt_cli.data.shards.index import ShardPairs
from maskdcpt_cli.data.templates import ALL, Template
from maskdcpt_cli.degradations import find
from maskdcpt_cli.errors import MaskDCPTError, words_of
from maskdcpt_cli.files import is_below, open_regular, shown
from maskdcpt_cli.images.formats import MAX_PIXELS
from maskdcpt_cli.presets.addresses import is_address
from maskdcpt_cli.presets.data import (
    SOURCES,
    Data,
    Folders,
    Manifest,
    Part,
    PluginSource,
    Shards,
    Source,
    TextList,
    Unpaired,
)
from maskdcpt_cli.synthesis.table import check, spec_of

ROOT_VARIABLE = "MASKDCPT_DATA"
NONE = Names(())
SCENE = "scene"  # the word of a template that names it, as of the frames of a video
Keys = NDArray[np.uint64]


class Collected(NamedTuple):
    """The files that match a template."""

    names: Names
    keys: Keys  # of their words
    scenes: Keys | None  # None: the template has no word for them


@dataclass(frozen=True)
class SourceScan:
    """The content of a source."""

    pairs: Pairs
    unpaired: Names = NONE  # lq without a gt
    unused: Names = NONE  # gt without an lq, and a second gt for the same words
    missing: tuple[str, ...] = ()  # folders and files that are not there


def root_of(data: Data, folder: Path | None) -> Path:
    """Return the data root of a preset, which none needs whose sources are all at addresses."""
    return data_root(folder) if data.needs_root else Path()


def data_root(folder: Path | None) -> Path:
    """Return the folder that preset paths start from; raise MaskDCPTError if none is given."""
    text = folder or os.environ.get(ROOT_VARIABLE)
    if not text:
        raise MaskDCPTError(
            f"The data root is not set; give --data-root FOLDER, or set {ROOT_VARIABLE}."
        )
    if not Path(text).is_dir():
        raise MaskDCPTError(f"The data root '{shown(Path(text))}' is not a folder.")
    return Path(text)


def is_clean(source: Source) -> bool:
    """Return whether the keys of a source say that its images are clean, without lq."""
    if isinstance(source, Shards):
        return source.clean
    return isinstance(source, Folders) and source.lq is None


def check_synthesis(part: Part) -> None:
    """Raise MaskDCPTError for a variant or a level that the degradation of a part does not have.

    Also for clean images of a degradation that cannot be synthesised.
    """
    if part.degradation:
        if any(map(is_clean, part.sources)):
            spec_of(part.degradation)
        check(part.degradation, variant=part.synthesis.variant, levels=part.synthesis.levels or ())


def scan(
    source: Source, root: Path, degradation: str | None, *, max_pixels: int | None = MAX_PIXELS
) -> SourceScan:
    """Find the pairs of a source, in an order that depends on their names alone.

    Args:
        source: of a preset.
        root: data root.
        degradation: abbreviation, of the pairs; of a manifest and of shards the pairs to take, None
            for all.
        max_pixels: larger images will be refused; None for no limit.

    Returns:
        The pairs, and what is unpaired, unused or missing.

    Raises:
        MaskDCPTError: for a list, manifest or index that is not valid.
    """
    found = _scan(source, root, degradation, max_pixels)
    if not isinstance(found.pairs, FilePairs):
        return found
    return replace(found, pairs=replace(found.pairs, max_pixels=max_pixels))


def _scan(
    source: Source, root: Path, degradation: str | None, max_pixels: int | None
) -> SourceScan:
    match source:
        case Folders():
            return _scan_folders(source, root, degradation or "")
        case TextList():
            return _scan_list(source, root, degradation or "")
        case Manifest():
            return _scan_manifest(source, root, degradation)
        case Shards():
            return _scan_shards(source, root, degradation, max_pixels)
        case PluginSource():
            return SourceScan(_pairs_of_plugin(source, root, degradation))
        case Unpaired():
            # Read as gt alone, as clean images are.
            return _scan_folders(Folders(name=source.name, gt=source.lq), root, degradation or "")


def scan_pairs(
    lq: Path, gt: Path, degradation: str, *, max_pixels: int | None = MAX_PIXELS
) -> SourceScan:
    """Pair the images of two folders by their paths below them, without suffix."""
    folders = [Path(os.path.normpath(one.absolute())) for one in (lq, gt)]
    root = Path(os.path.commonpath(folders))
    below = ["" if one == root else f"{one.relative_to(root).as_posix()}/" for one in folders]
    every = Template(ALL)
    restored, clean = (
        _collected(one, every, every.words, below=prefix)
        for one, prefix in zip(folders, below, strict=True)
    )
    return _paired(root, restored, clean, degradation, max_pixels=max_pixels)


def _scan_folders(source: Folders, root: Path, degradation: str) -> SourceScan:
    shape = Template(source.gt)
    gt = _collected(root, shape, shape.words)
    if source.lq is None:
        missing = _missing([shape.folder()], root)
        pairs = FilePairs(root, gt.names, None, degradation, known_scenes=gt.scenes)
        return SourceScan(pairs, missing=missing)
    lq_shape = Template(source.lq)
    lq = _collected(root, lq_shape, shape.words)
    missing = _missing([lq_shape.folder(), shape.folder()], root)
    return replace(_paired(root, lq, gt, degradation), missing=missing)


def _paired(
    root: Path,
    lq: Collected,
    gt: Collected,
    degradation: str,
    *,
    max_pixels: int | None = MAX_PIXELS,
) -> SourceScan:
    """Return the pairs of files of the same key, and what is left over."""
    paired, partner = _joined(lq.keys, gt.keys)
    names = gt.names.take(partner), lq.names.take(np.flatnonzero(paired))
    pairs = FilePairs(root, *names, degradation, max_pixels=max_pixels)
    if gt.scenes is not None:
        pairs = replace(pairs, known_scenes=gt.scenes[partner])
    unused = np.ones(len(gt.names), bool)
    unused[partner] = False
    return SourceScan(
        pairs,
        unpaired=lq.names.take(np.flatnonzero(~paired)),
        unused=gt.names.take(np.flatnonzero(unused)),
    )


def _joined(lq: Keys, gt: Keys) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Return which lq have a gt of the same key, and the index of that gt: the first of several."""
    known, first = np.unique(gt, return_index=True)
    paired = np.isin(lq, known)
    return paired, first[np.searchsorted(known, lq[paired])]


def _scan_list(source: TextList, root: Path, degradation: str) -> SourceScan:
    below = root / source.root
    if missing := _missing([source.list], root):
        return SourceScan(FilePairs(below, NONE, None, degradation), missing=missing)
    gt, lq = read_list(root / source.list)
    return SourceScan(FilePairs(below, gt, lq, degradation))


class _ManifestPair(NamedTuple):
    degradation: str  # abbreviation
    slug: str
    file: str  # below <slug>/gt and <slug>/lq
    photo: str  # name of the clean photo; "" where the manifest does not say


def _scan_manifest(source: Manifest, root: Path, degradation: str | None) -> SourceScan:
    path = root / source.manifest
    if missing := _missing([source.manifest], root):
        return SourceScan(FilePairs(path.parent, NONE, NONE, degradation or ""), missing=missing)
    codes, scenes, known = array("B"), array("Q"), labels()

    def taken() -> Iterator[str]:
        for line in _manifest_lines(path):
            if degradation in (None, line.degradation):
                codes.append(known.index(line.degradation))
                # Of one photo there is a gt for each type, and each time it was degraded.
                scenes.append(scene(line.photo) if line.photo else scene_of_file(line.file))
                yield f"{line.slug}/gt/{line.file}"

    gt = Names(taken())
    lq = Names(gt[index].replace("/gt/", "/lq/", 1) for index in range(len(gt)))
    return SourceScan(
        FilePairs(
            path.parent, gt, lq, np.frombuffer(codes, np.uint8),
            known_scenes=np.frombuffer(scenes, np.uint64),
        )
    )  # fmt: skip


def _manifest_lines(path: Path) -> Iterator[_ManifestPair]:
    """Yield the pair of each line."""
    try:
        with open_regular(path) as lines:
            for number, line in enumerate(lines, 1):
                yield _manifest_line(line, f"{shown(path)}, line {number}")
    except OSError as error:
        raise MaskDCPTError(f"{shown(path)} cannot be read: {error.strerror}.") from error


def _manifest_line(line: bytes, place: str) -> _ManifestPair:
    reason = ""
    try:
        fields = json.loads(line)
        slug, file, photo = fields["type"], fields["file"], fields.get("photo", "")
        if is_below(file) and isinstance(photo, str):
            return _ManifestPair(find(slug), slug, file, photo)
    except MaskDCPTError:
        reason = f": '{shown(slug)}' is no degradation, or one of a plugin that is not in use"
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    raise MaskDCPTError(f"{place}: not a line of a manifest{reason}.")


def _scan_shards(
    source: Shards, root: Path, degradation: str | None, max_pixels: int | None
) -> SourceScan:
    pairs = partial(ShardPairs, degradation=degradation, clean=source.clean, max_pixels=max_pixels)
    if is_address(source.shards):
        return SourceScan(pairs(source.shards))
    if missing := _missing([source.shards], root):
        return SourceScan(FilePairs(root, NONE, None, degradation or ""), missing=missing)
    index = root / source.shards
    try:
        open_regular(index).close()
    except OSError as error:
        raise MaskDCPTError(f"{shown(index)} cannot be read: {error.strerror}.") from error
    return SourceScan(pairs(index))


def _pairs_of_plugin(source: PluginSource, root: Path, degradation: str | None) -> Pairs:
    function = SOURCES[source.source]
    try:
        given = signature(function).bind(root, degradation, **source.options)
    except TypeError as error:
        raise MaskDCPTError(f"options of the source '{source.source}': {error}.") from error
    try:
        pairs: Pairs = function(*given.args, **given.kwargs)
    except MaskDCPTError:
        raise
    except Exception as error:  # a plugin may raise any
        raise MaskDCPTError(f"the source '{source.source}': {words_of(error)}") from error
    return pairs


def _missing(names: Sequence[str], root: Path) -> tuple[str, ...]:
    return tuple(name for name in dict.fromkeys(names) if not (root / name).exists())


def _collected(
    root: Path, template: Template, words: Sequence[str], *, below: str = ""
) -> Collected:
    """Return the files that match a template, a hash of the words of each, and their scenes.

    Each name begins with `below`.
    """
    keys, scenes = array("Q"), array("Q")
    by_scene = SCENE in template.words

    def files() -> Iterator[str]:
        for name, match in template.files(root):
            text = "\0".join(match[word] for word in words)
            keys.append(hashed(text.encode(errors="surrogateescape")))
            if by_scene:
                scenes.append(scene(name[: match.end(SCENE)]))
            yield below + name

    names = Names(files())
    return Collected(
        names,
        np.frombuffer(keys, np.uint64),
        np.frombuffer(scenes, np.uint64) if by_scene else None,
    )
