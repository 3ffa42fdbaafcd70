"""Pairing of restored images with their ground truths."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import NamedTuple

from maskdcpt_cli.data.templates import ALL, Template
from maskdcpt_cli.errors import MaskDCPTError, unknown
from maskdcpt_cli.files import shown
from maskdcpt_cli.scoring.events import Item

# A rule gives the candidate keys of a restored image, best first, and the key of a ground truth;
# both from a path relative to its folder.
Keys = Callable[[PurePath], Iterable[str]]
SEPARATOR = re.compile(r"[-_. ][^-_. ]*$")


class Rule(NamedTuple):
    """Rule that finds the ground truth of a restored image."""

    candidates: Keys
    key: Callable[[PurePath], str]
    description: str


class Pairing(NamedTuple):
    """Pairs of two folders or files, and the images without a partner."""

    items: tuple[Item, ...]
    missing: tuple[Path, ...] = ()  # restored images without a ground truth
    extra: tuple[Path, ...] = ()  # ground truths without a restored image
    rule: str = ""  # description of the rules, for "3 pairs, ..."
    hint: str = ""  # a sentence on a rule that would pair more


def _without_suffix(path: PurePath) -> str:
    return path.with_suffix("").as_posix()


def _prefixes(path: PurePath) -> Iterator[str]:
    stem = path.stem
    yield stem
    while shorter := SEPARATOR.search(stem):
        stem = stem[: shorter.start()]
        yield stem


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "path": Rule(
            lambda path: [_without_suffix(path)], _without_suffix, "the path in the folder"
        ),
        "stem": Rule(lambda path: [path.stem], lambda path: path.stem, "the name"),
        "prefix": Rule(_prefixes, lambda path: path.stem, "the beginning of the name"),
    }
)
AUTO = ("path", "stem")


def pair_files(pred: Path | str, gt: Path | str | None = None, *, by: str = "auto") -> Pairing:
    """Pair the images in two folders and below them, or two files.

    Suffixes do not matter, except if a folder has several images with one name.

    Args:
        pred: Restored image, or a folder of them.
        gt: Ground truth, or a folder of them; None leaves the items without ground truth.
        by: "path" is the path within the folder, "stem" the name in any folder, "prefix" the
            longest beginning of the name that ends before one of `-_. `: many restored images may
            have one ground truth, as 1400_3.png and 1400_7.png have 1400.png. "auto" is by path
            and, for the rest, by stem.

    Returns:
        The pairs in `items`, and the images without a partner in `missing` and `extra`.

    Raises:
        MaskDCPTError: If a path does not exist or has no images, and for ambiguous names.
    """
    if by != "auto" and by not in RULES:
        raise MaskDCPTError(unknown("rule", by, ["auto", *RULES]))
    pred = Path(pred)
    restored = _images(pred)
    if gt is None:
        return Pairing(tuple(Item(name.as_posix(), path) for name, path in restored.items()))
    gt = Path(gt)
    clean = _images(gt)
    if gt.is_file() and (pred.is_dir() or by == "auto"):
        only = next(iter(clean.values()))
        items = tuple(Item(name.as_posix(), path, only) for name, path in restored.items())
        return Pairing(items, rule="all with one ground truth" if pred.is_dir() else "as given")
    restored, clean = _outside(restored, gt, pred), _outside(clean, pred, gt)
    found: dict[PurePath, PurePath] = {}
    rules = AUTO if by == "auto" else (by,)
    for rule in rules:
        taken = set(found.values())  # 000/1.png is not the ground truth of 001/1.png
        left = [name for name in restored if name not in found]
        more = _matched(left, clean, RULES[rule])
        found |= {name: other for name, other in more.items() if other not in taken}
    used = set(found.values())
    unpaired = [name for name in restored if name not in found]
    return Pairing(
        tuple(
            Item(name.as_posix(), restored[name], clean[found[name]])
            for name in restored
            if name in found
        ),
        missing=tuple(restored[name] for name in unpaired),
        extra=tuple(path for name, path in clean.items() if name not in used),
        rule=", then ".join(f"by {RULES[rule].description}" for rule in rules),
        hint=_hint(unpaired, clean, tried=(*AUTO, *rules)),
    )


def _outside(images: Mapping[PurePath, Path], other: Path, root: Path) -> dict[PurePath, Path]:
    """Return the images of a folder `root` without those of `other`, a folder in it."""
    other, root = other.resolve(), root.resolve()
    if other == root or not other.is_relative_to(root):
        return dict(images)
    return {name: path for name, path in images.items() if not path.resolve().is_relative_to(other)}


def _images(root: Path) -> dict[PurePath, Path]:
    """Return the images below a folder by their relative path, sorted; or the one file."""
    if root.is_file():
        return {PurePath(root.name): root}
    if not root.is_dir():
        raise MaskDCPTError(f"'{shown(root)}' is neither a file nor a folder.")
    found = sorted(_walked(root))
    if not found:
        raise MaskDCPTError(f"There are no images in '{shown(root)}'.")
    return {PurePath(path.relative_to(root)): path for path in found}


def _walked(root: Path) -> Iterator[Path]:
    try:
        yield from (root / name for name, _ in Template(ALL).files(root))
    except OSError as error:
        raise MaskDCPTError(
            f"Cannot list the folder '{shown(Path(error.filename))}': {error.strerror}."
        ) from error


def _matched(
    restored: Sequence[PurePath], clean: Iterable[PurePath], rule: Rule
) -> dict[PurePath, PurePath]:
    by_name: dict[str, list[PurePath]] = defaultdict(list)
    for path in clean:
        by_name[rule.key(path)].append(path)
    found = {}
    for path in restored:
        same = next((by_name[name] for name in rule.candidates(path) if name in by_name), [])
        if same:
            found[path] = _only(path, same, rule)
    return found


def _only(path: PurePath, same: Sequence[PurePath], rule: Rule) -> PurePath:
    """Return the only candidate, or the only one with the same suffix."""
    alike = [other for other in same if other.suffix == path.suffix] if len(same) > 1 else same
    if len(alike) != 1:
        raise MaskDCPTError(
            f"By {rule.description}, '{shown(Path(path))}' could belong to "
            f"{_listed(same)}: remove one, or "
            "choose another --pair-by."
        )
    return alike[0]


def _listed(paths: Sequence[PurePath]) -> str:
    named = [f"'{shown(Path(path))}'" for path in paths[:3]]
    return " and ".join(named)


def _hint(unpaired: Sequence[PurePath], clean: Iterable[PurePath], *, tried: Sequence[str]) -> str:
    for name, rule in RULES.items():
        more: dict[PurePath, PurePath] = {}
        with suppress(MaskDCPTError):  # ambiguous names are reported only for the chosen rule
            more = {} if name in tried else _matched(unpaired, clean, rule)
        if more:
            path, other = next(iter(more.items()))
            return (
                f"--pair-by {name} would pair {len(more)} of them, as "
                f"'{shown(Path(path))}' with '{shown(Path(other))}'."
            )
    return ""
