"""Presets by name or from a file: find, read, override and validate them."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from maskdcpt_cli.errors import MaskDCPTError, unknown
from maskdcpt_cli.presets.data import Data, Extension
from maskdcpt_cli.presets.parse import MAX_DEPTH, parse_yaml, read_yaml

PACKAGED = Path(__file__).parents[1] / "_presets"  # in a wheel
SOURCE = Path(__file__).parents[2] / "presets"  # in a checkout
RENAMED_KEYS = {  # earlier name -> name; files and overrides may have either
    "optimiser": "optimizer",
    "rate": "lr",
    "decoder_rate": "decoder_lr",
    "kind": "variant",
    "toned": "p_tone",
    "enlarged": "p_upscale",
    "saved": "p_jpeg",
}
OF_OTHERS = ("options", "sizes")  # whose keys are those of plugins and networks

Model = TypeVar("Model", bound=BaseModel)
Change = Callable[[Any], Any]  # of the content of a preset


def names(kind: str = "data") -> list[str]:
    """Return the names of the presets of a kind, which is a folder in presets/."""
    return sorted(path.stem for path in (folder() / kind).glob("*.yaml"))


def load_data(name: str, *, overrides: Sequence[str] = ()) -> Data:
    """Load a data preset, together with the preset that it extends.

    Args:
        name: as `maskdcpt presets` lists it, or a YAML file of that form.
        overrides: as "train.0.repeat=3": the key path of a value, and the value in YAML.

    Returns:
        The data of a setting.

    Raises:
        MaskDCPTError: for a file that cannot be read, for values that are not valid, with their
            key path, and for a preset that cannot be extended.
    """
    path = locate(name, "data")
    return _validated(_extended(path), Data, path, overrides)


def load(
    name: str, schema: type[Model], *, kind: str, overrides: Sequence[str | Change] = ()
) -> Model:
    """Load a preset.

    Args:
        name: as "5d", or a file: a name with a folder or a suffix, as "my/data.yaml".
        schema: of the content of the file.
        kind: folder of the presets, as "data".
        overrides: as "train.0.repeat=3": the key path of a value, and the value in YAML; or
            functions, which are given the content with the overrides before, and return another.

    Returns:
        The content of the file, with the overrides, as an instance of the schema.

    Raises:
        MaskDCPTError: for a file that cannot be read, and for values that are not valid, with
            their key path.
    """
    path = locate(name, kind)
    return _validated(_read(path), schema, path, overrides)


def folder() -> Path:
    """Return the folder of the presets, in a wheel or a checkout."""
    return PACKAGED if PACKAGED.is_dir() else SOURCE


def locate(name: str, kind: str) -> Path:
    """Return the file of a preset that is given by its name or as a path.

    Raises MaskDCPTError for an unknown name.
    """
    if _is_file(name):
        return Path(name)
    if name not in names(kind):
        raise MaskDCPTError(
            f"{unknown(f'{kind} preset', name, names(kind))} Or give a file, .yaml."
        )
    return folder() / kind / f"{name}.yaml"


def _is_file(name: str) -> bool:
    return bool(Path(name).suffix) or len(Path(name).parts) > 1


def _read(path: Path) -> Any:
    return rename_keys(read_yaml(path))


def _validated(
    content: Any, schema: type[Model], path: Path, overrides: Sequence[str | Change] = ()
) -> Model:
    for override in overrides:
        content = override(content) if callable(override) else _overridden(content, override)
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        raise MaskDCPTError(
            "\n".join(f"{_shown(path)}: {line}" for line in _lines(error))
        ) from error


def _shown(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _extended(path: Path, *, extending: tuple[Path, ...] = ()) -> Any:
    """Return the content of a data preset, with the parts of the preset that it extends.

    Keys of the file replace those of the base. `extending` are the files that led to this one.
    """
    content = _read(path)
    keys = Extension.model_fields.keys()
    if not isinstance(content, Mapping) or not keys & content.keys():
        return content
    given = {key: value for key, value in content.items() if key in keys}
    extension = _validated(given, Extension, path)
    own = {key: value for key, value in content.items() if key not in keys}
    return {**_base(extension, path, (*extending, path.resolve())), **own}


def _base(extension: Extension, path: Path, extending: tuple[Path, ...]) -> dict[str, Any]:
    """Return the content of the base, reduced to the parts that are taken over."""
    name = extension.extends
    try:
        base = path.parent / name if _is_file(name) else locate(name, "data")
    except MaskDCPTError as error:
        raise MaskDCPTError(f"{_shown(path)}: extends: {error}") from error
    if base.resolve() in extending:
        raise MaskDCPTError(
            f"{_shown(path)}: extends: '{name}' extends this file itself; "
            "extend a preset that does not."
        )
    content: dict[str, Any] = _extended(base, extending=extending)
    data = _validated(content, Data, base)
    if extension.only is None:
        return content
    held = dict.fromkeys(part.degradation for part in (*data.train, *data.test))
    for label in extension.only:
        if label not in held:
            raise MaskDCPTError(
                f"{_shown(path)}: only: '{name}' has no part of '{label}'; "
                f"choose from: {' '.join(filter(None, held))}."
            )
    parts = {
        key: [part for part in content.get(key, ()) if part.get("degradation") in extension.only]
        for key in ("train", "test")
    }
    return {**content, **parts}


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
    return {
        RENAMED_KEYS.get(key, key): value if key in OF_OTHERS else rename_keys(value)
        for key, value in node.items()
    }


def _overridden(content: Any, override: str) -> Any:
    """Return the content with one value replaced; mappings are added where the path needs them."""
    key_path, equals, text = override.partition("=")
    keys = key_path.split(".")
    own = next((at for at, key in enumerate(keys) if key in OF_OTHERS), len(keys))
    keys = [*(RENAMED_KEYS.get(key, key) for key in keys[:own]), *keys[own:]]
    if not equals or not all(keys) or len(keys) > MAX_DEPTH:
        raise MaskDCPTError(
            f"'{override}' is not an override; write KEY=VALUE, as train.0.repeat=3."
        )
    try:
        value = parse_yaml(text)
        value = rename_keys(value) if own == len(keys) else value
    except ValueError as error:
        raise MaskDCPTError(
            f"'{override}': the value of {key_path} is not YAML: {error}."
        ) from error
    return _replaced(content, (), keys, value, override)


def _replaced(
    node: Any, above: Sequence[str], keys: Sequence[str], value: object, override: str
) -> Any:
    """Return a node with the value at `keys` below it; `above` is the key path of the node."""
    if not keys:
        return value
    key, *rest = keys
    below = (*above, key)
    if isinstance(node, list):
        if key == str(len(node)) and not rest:
            return [*node, value]
        if key not in map(str, range(len(node))):
            last = f"valid are 0 to {len(node) - 1}" if node else "the list is empty"
            raise MaskDCPTError(f"'{override}': there is no '{key}'; {last}.")
        index = int(key)
        replaced = _replaced(node[index], below, rest, value, override)
        return [*node[:index], replaced, *node[index + 1 :]]
    if node is not None and not isinstance(node, dict):
        raise MaskDCPTError(
            f"'{override}': {'.'.join(above) or 'the preset'} is {str(node)[:60]!r}, "
            f"so there is no '{key}' in it."
        )
    node = node or {}
    return {**node, key: _replaced(node.get(key), below, rest, value, override)}


def _lines(error: ValidationError) -> Iterator[str]:
    """Yield a line for each error: `train[1].repeet: unknown key; did you mean 'repeat'?`."""
    for detail in error.errors(include_url=False):
        text = detail["msg"].removeprefix("Value error, ")
        yield f"{_key_path(detail)}{text[:1].lower()}{text[1:]}{'' if text.endswith('?') else '.'}"


def _key_path(detail: ErrorDetails) -> str:
    keys = [key for key in detail["loc"] if not str(key).startswith("<")]
    keys += [detail["ctx"]["key"]] if detail["type"] == "key" else []
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return f"{text.removeprefix('.')}: " if text else ""
