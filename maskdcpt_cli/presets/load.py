"""Presets by name or from a file: found, read, overridden, and checked."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from maskdcpt_cli.errors import MaskDCPTError, unknown
from maskdcpt_cli.presets.data import Data

PACKAGED = Path(__file__).parents[1] / "_presets"  # in a wheel
SOURCE = Path(__file__).parents[2] / "presets"  # in a checkout
RENAMED_KEYS = {  # earlier name -> name; files and overrides may have either
    "optimiser": "optimizer",
    "rate": "lr",
    "decoder_rate": "decoder_lr",
}

Model = TypeVar("Model", bound=BaseModel)


def names(kind: str = "data") -> list[str]:
    """The presets of a kind, a folder below presets/."""
    return sorted(path.stem for path in (folder() / kind).glob("*.yaml"))


def load_data(name: str, *, overrides: Sequence[str] = ()) -> Data:
    """The data preset of a name, or in a file; see load."""
    return load(name, Data, kind="data", overrides=overrides)


def load(name: str, schema: type[Model], *, kind: str, overrides: Sequence[str] = ()) -> Model:
    """A preset by its name, or from a file: what has a folder or a suffix in its name.

    Args:
        name: as "5d", or "my/data.yaml".
        schema: what the file must hold.
        kind: folder of the presets, as "data".
        overrides: as "train.0.repeat=3": a place, and its value in YAML.

    Raises MaskDCPTError, with the place of what is wrong.
    """
    path = locate(name, kind)
    try:
        content = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise MaskDCPTError(f"{path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise MaskDCPTError(f"{path} is not YAML: {' '.join(str(error).split())}.") from error
    content = rename_keys(content)
    for override in overrides:
        content = _overridden(content, override)
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        shown = os.path.relpath(path) if path.is_relative_to(Path.cwd()) else path
        raise MaskDCPTError("\n".join(f"{shown}: {line}" for line in _lines(error))) from error


def folder() -> Path:
    """Where presets lie, in a wheel or a checkout."""
    return PACKAGED if PACKAGED.is_dir() else SOURCE


def locate(name: str, kind: str) -> Path:
    """The file of a preset, given by its name or as a path; MaskDCPTError for an unknown name."""
    if Path(name).suffix or len(Path(name).parts) > 1:
        return Path(name)
    if name not in names(kind):
        raise MaskDCPTError(
            f"{unknown(f'{kind} preset', name, names(kind))} Or give a file, .yaml."
        )
    return folder() / kind / f"{name}.yaml"


def rename_keys(node: Any) -> Any:
    """Return the content of a preset with the present names of its keys.

    Raises MaskDCPTError where a mapping has a key under both of its names.
    """
    if isinstance(node, list):
        return [rename_keys(item) for item in node]
    if not isinstance(node, dict):
        return node
    for earlier in RENAMED_KEYS.keys() & node.keys():
        if RENAMED_KEYS[earlier] in node:
            raise MaskDCPTError(
                f"'{earlier}' is the earlier name of '{RENAMED_KEYS[earlier]}': give one of them."
            )
    return {RENAMED_KEYS.get(key, key): rename_keys(value) for key, value in node.items()}


def _overridden(content: Any, override: str) -> Any:
    """The content with the value at a dotted place replaced; mappings are made where none are."""
    place, equals, text = override.partition("=")
    if not equals or not place:
        raise MaskDCPTError(
            f"'{override}' overrides nothing: say place=value, as train.0.repeat=3."
        )
    keys = [RENAMED_KEYS.get(key, key) for key in place.split(".")]
    return _replaced(content, keys, rename_keys(yaml.safe_load(text)), override)


def _replaced(node: Any, keys: Sequence[str], value: object, override: str) -> Any:
    if not keys:
        return value
    key, *rest = keys
    if not isinstance(node, list):
        node = dict(node or {})
        return {**node, key: _replaced(node.get(key), rest, value, override)}
    if not key.isdecimal() or int(key) >= len(node):
        raise MaskDCPTError(f"'{override}': there is no '{key}'; valid are 0 to {len(node) - 1}.")
    place = int(key)
    return [*node[:place], _replaced(node[place], rest, value, override), *node[place + 1 :]]


def _lines(error: ValidationError) -> Iterator[str]:
    """What is wrong, a line each, as `train[1].repeet: unknown key; did you mean 'repeat'?`."""
    for detail in error.errors(include_url=False):
        text = detail["msg"].removeprefix("Value error, ")
        yield f"{_place(detail)}{text[:1].lower()}{text[1:]}{'' if text.endswith('?') else '.'}"


def _place(detail: ErrorDetails) -> str:
    keys = [key for key in detail["loc"] if not str(key).startswith("<")]
    keys += [detail["ctx"]["key"]] if detail["type"] == "unknown_key" else []
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return f"{text.removeprefix('.')}: " if text else ""
