"""Path templates, as `train/{scene}/blur/{frame}`, and the files that match them."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path

from maskdcpt_cli.degradations import slugs
from maskdcpt_cli.images.contact_sheets import is_sheet
from maskdcpt_cli.images.formats import IMAGE_SUFFIXES
from maskdcpt_cli.presets.data import WORD

SPANNING = "path"  # the word that stands for folders, too
ALL = f"{{{SPANNING}}}"  # template of all images below a folder
MANIFEST = "manifest.jsonl"  # beside folders of types: pairs of `maskdcpt degrade`
WRITTEN = (  # by this program
    *({"preset.yaml", name} for name in ("launches.jsonl", "starts.jsonl")),
    {"results.jsonl", "examples"},
)


class Template:
    """A template of paths below a root.

    Words match as much as they can, the first one most: in `a_b_0.8_0.2` the scene of
    `{scene}_{airlight}_{beta}` is `a_b`. A word that occurs twice matches the same text both times.
    """

    def __init__(self, text: str) -> None:
        self.words = tuple(dict.fromkeys(WORD.findall(text)))
        above, spans, _ = text.partition(f"{{{SPANNING}}}")
        self._levels = above.split("/")[:-1]
        self._deep = bool(spans)
        self._is_all = bool(spans) and not is_sheet(text)
        self._states_suffix = Path(text).suffix.lower() in IMAGE_SUFFIXES
        self._pattern = re.compile(_pattern(text))

    def folder(self) -> str:
        """Return the folder that holds all files, whatever the words match."""
        return "/".join(takewhile(lambda level: "{" not in level, self._levels))

    def files(self, root: Path) -> Iterator[tuple[str, re.Match[str]]]:
        """Yield the images that match, sorted folder by folder, each with its match.

        Names that begin with a dot are skipped: they belong to the system. Where all images below a
        folder are meant, so are sheets and heat maps, and folders of runs and benchmarks.
        """
        levels = [re.compile(_pattern(level)) for level in self._levels]
        for name in _walk(str(root), "", levels, deep=self._deep, every=self._is_all):
            stem, _, suffix = name.rpartition(".")
            if self._is_all and is_sheet(name):
                continue
            if f".{suffix.lower()}" in IMAGE_SUFFIXES and (
                match := self._pattern.fullmatch(name if self._states_suffix else stem)
            ):
                yield name, match


def _pattern(text: str) -> str:
    """Return a regular expression with a group for each word."""
    parts: list[str] = []
    known: set[str] = set()
    for index, piece in enumerate(WORD.split(text)):
        if index % 2 == 0:
            parts.append(re.escape(piece))
        elif piece in known:
            parts.append(f"(?P={piece})")
        else:
            known.add(piece)
            parts.append(f"(?P<{piece}>{'(?s:.*)' if piece == SPANNING else '[^/]*'})")
    return "".join(parts)


def _is_written(names: Iterable[str]) -> bool:
    """Return whether a folder with these names is that of a run, a benchmark, or degraded pairs."""
    found = {*names}
    has_pairs = MANIFEST in found and not found.isdisjoint(slugs())
    return has_pairs or any(marks <= found for marks in WRITTEN)


def _walk(
    folder: str,
    below: str,
    levels: Sequence[re.Pattern[str]],
    *,
    deep: bool,
    every: bool,
    inside: bool = False,
    above: frozenset[tuple[int, int]] = frozenset(),
) -> Iterator[str]:
    """Yield the files as many folders down as there are levels, each matching; or deeper, too.

    A link to one of the folders `above` is not followed, nor, where `every` image is meant, the
    folder of a run `inside` of the one that is meant.
    """
    try:
        status = Path(folder).stat()
        with os.scandir(folder) as entries:
            found = sorted(
                (entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith(".")
            )
    except (FileNotFoundError, NotADirectoryError):
        return
    identity = status.st_dev, status.st_ino
    if identity in above or (inside and _is_written(name for name, _ in found)):
        return
    above |= {identity}
    for name, is_folder in found:
        if not is_folder:
            if not levels:
                yield below + name
        elif (levels and levels[0].fullmatch(name)) or (deep and not levels):
            inner = f"{folder}/{name}", f"{below}{name}/"
            yield from _walk(
                *inner, levels[1:],
                deep=deep, every=every, inside=every and not levels, above=above,
            )  # fmt: skip
