"""The manifest of degraded pairs: how each was made, and of which photo."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from maskdcpt_cli.degradations import slugs
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.files import is_below, open_regular, shown, written
from maskdcpt_cli.synthesis.contract import Parameters

MAX_LEVEL = 1e9  # above that of any degradation


@dataclass(frozen=True)
class ManifestLine:
    """The line of the manifest for a pair.

    The variant `kind` of the degradation `type` makes the lq of the pair again from its gt, `level`
    and `numpy.random.default_rng(seed)`.
    """

    file: str  # below OUT/<type>/lq and OUT/<type>/gt
    type: str  # slug
    kind: str
    level: float
    seed: int
    parameters: Parameters
    photo: str = ""  # name of the clean photo; manifests of earlier versions have none


def write_manifest(path: Path, lines: Sequence[ManifestLine]) -> None:
    """Add lines to a manifest, in the place of earlier ones of the same pairs."""
    known = {(line.type, line.file): line for line in [*read_manifest(path), *lines]}
    order = slugs()
    with written(path) as file:
        for line in sorted(known.values(), key=lambda line: (order.index(line.type), line.file)):
            file.write(json.dumps(asdict(line)).encode() + b"\n")


def read_manifest(path: Path) -> list[ManifestLine]:
    """Read the lines of a manifest; none if there is no such file.

    Raises MaskDCPTError for another file, with the number of the line.
    """
    if not os.path.lexists(path):
        return []
    try:
        with open_regular(path) as file:
            return [_parsed(text, f"{shown(path)}, line {n}") for n, text in enumerate(file, 1)]
    except OSError as error:
        raise MaskDCPTError(f"{shown(path)} cannot be read: {error.strerror}.") from error


def _parsed(text: bytes, place: str) -> ManifestLine:
    try:
        line = ManifestLine(**json.loads(text))
        if _is_sound(line):
            return line
    except (TypeError, ValueError, RecursionError):
        pass
    raise MaskDCPTError(f"{place}: not a line of a manifest.")


def _is_sound(line: ManifestLine) -> bool:
    """Return whether the fields of a line have the types that they are written with."""
    return (
        all(isinstance(text, str) for text in (line.file, line.type, line.kind, line.photo))
        and is_below(line.file)
        and line.type in slugs()
        and isinstance(line.level, (int, float))
        and abs(line.level) < MAX_LEVEL  # false for NaN
        and isinstance(line.seed, int)
        and isinstance(line.parameters, dict)
    )
