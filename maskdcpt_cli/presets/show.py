"""A resolved preset as YAML, with the source of each value in the paper."""

import re
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel

from maskdcpt_cli.presets.load import RENAMED_KEYS, load, locate
from maskdcpt_cli.presets.parse import read_text
from maskdcpt_cli.presets.training import Run

KeyPath = tuple[str, ...]  # keys, and indices in lists

SENTENCE_END = re.compile(r"(?<=\.)(?<!Sec\.) ")
COMMENT = re.compile(r"\s#\s*(.*)$")
COLUMN = 52  # where the comments begin
OVERRIDDEN = "not the preset's"


class YamlLine(NamedTuple):
    """A line of YAML and its value."""

    text: str
    key_path: KeyPath
    value: Any
    complete: bool = True  # False: the value is on the lines below


def annotated(preset: Run, *, name: str | None, kind: str) -> str:
    """Return every value of a preset as YAML, which is a preset again.

    The comment behind a value names its source: the comment in the preset's file, or the source of
    the default in the schema.

    Args:
        preset: resolved, with all overrides.
        name: of the preset, or its file; None for a preset that was built in Python.
        kind: "pretrain" or "finetune".

    Returns:
        The YAML, a line for each value.

    Raises:
        MaskDCPTError: for a name that does not exist.
    """
    written, sources, lines = _plain(preset), _defaults(preset), []
    if name is not None:
        written = _plain(load(name, type(preset), kind=kind))
        sources |= _comments(locate(name, kind))
        lines.append(f"# {summary(name, kind=kind)}")
    for line in _lines(_plain(preset)):
        same = _at(written, line.key_path) == line.value
        source = sources.get(line.key_path, "") if same else OVERRIDDEN
        lines.append(
            f"{line.text:<{COLUMN}}  # {source}" if source and line.complete else line.text
        )
    return "\n".join(lines) + "\n"


def summary(name: str, *, kind: str) -> str:
    """Return the first sentence of the comment at the head of a preset."""
    lines = read_text(locate(name, kind)).splitlines()
    head = takewhile(lambda line: line.startswith("#"), lines)
    comment = " ".join(line.lstrip("# ") for line in head)
    return SENTENCE_END.split(comment, maxsplit=1)[0]


def _plain(preset: Run) -> Any:
    return preset.model_dump(mode="json")


def _lines(node: Any, key_path: KeyPath = ()) -> Iterator[YamlLine]:
    """Yield the lines of a mapping."""
    indent = "  " * len(key_path)
    for key, value in node.items():
        below = (*key_path, key)
        if isinstance(value, dict) and value:
            yield YamlLine(f"{indent}{key}:", below, value, complete=False)
            yield from _lines(value, below)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield YamlLine(f"{indent}{key}:", below, value, complete=False)
            for number, item in enumerate(value):
                yield YamlLine(f"{indent}- {_flow(item)}", (*below, str(number)), item)
        else:
            yield YamlLine(f"{indent}{key}: {_flow(value)}", below, value)


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _defaults(model: BaseModel, key_path: KeyPath = ()) -> dict[KeyPath, str]:
    """Return the sources of the values that are defaults of the schema."""
    sources: dict[KeyPath, str] = {}
    for name, field in type(model).model_fields.items():
        value, key = getattr(model, name), (*key_path, name)
        if isinstance(value, BaseModel):
            sources |= _defaults(value, key)
        elif value == field.default and isinstance(field.json_schema_extra, dict):
            sources[key] = str(field.json_schema_extra["source"])
    return sources


def _comments(path: Path) -> dict[KeyPath, str]:
    """Return the comment behind each value of a YAML file that is written in one line."""
    text = read_text(path)
    lines = text.splitlines()
    found: dict[KeyPath, str] = {}

    def walk(node: yaml.Node, key_path: KeyPath) -> None:
        end = node.end_mark
        if node.start_mark.line == end.line and (
            match := COMMENT.search(lines[end.line], end.column)
        ):
            found[key_path] = match[1]
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                walk(value, (*key_path, RENAMED_KEYS.get(key.value, str(key.value))))
        elif isinstance(node, yaml.SequenceNode):
            for number, value in enumerate(node.value):
                walk(value, (*key_path, str(number)))

    if root := yaml.compose(text, Loader=yaml.SafeLoader):
        walk(root, ())
    return found


def _at(node: Any, key_path: KeyPath) -> Any:
    """Return the value at a key path, None where there is none."""
    for key in key_path:
        if isinstance(node, dict):
            node = node.get(key)
        elif isinstance(node, list) and int(key) < len(node):
            node = node[int(key)]
        else:
            return None
    return node
