"""A resolved preset as YAML, with the place in the paper that each value comes from."""

import re
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel

from maskdcpt_cli.presets.load import load, locate
from maskdcpt_cli.presets.training import Run

Place = tuple[str, ...]  # keys, and numbers in lists

SENTENCE_END = re.compile(r"(?<=\.)(?<!Sec\.) ")
COMMENT = re.compile(r"\s#\s*(.*)$")
COLUMN = 52  # where the comments begin
OVERRIDDEN = "not the preset's"


class Line(NamedTuple):
    """A line of YAML and what it says."""

    text: str
    place: Place
    value: Any
    ends: bool = True  # False: the value is on the lines below


def annotated(preset: Run, *, name: str | None, kind: str) -> str:
    """Every value of a preset, as YAML that is a preset again.

    Behind a value stands where it comes from: the comment behind it in the file of the preset, or
    the place of the default in the schema.

    Args:
        preset: as resolved, with all that replaces values of the file.
        name: of the preset, or its file; None for a preset that was made in Python.
        kind: "pretrain" or "finetune".
    """
    written, sources, lines = _plain(preset), _defaults(preset), []
    if name is not None:
        written = _plain(load(name, type(preset), kind=kind))
        sources |= _comments(locate(name, kind))
        lines.append(f"# {summary(name, kind=kind)}")
    for line in _lines(_plain(preset)):
        same = _at(written, line.place) == line.value
        source = sources.get(line.place, "") if same else OVERRIDDEN
        lines.append(f"{line.text:<{COLUMN}}  # {source}" if source and line.ends else line.text)
    return "\n".join(lines) + "\n"


def summary(name: str, *, kind: str) -> str:
    """Return the first sentence of the comment at the head of a preset."""
    lines = locate(name, kind).read_text(encoding="utf-8").splitlines()
    head = takewhile(lambda line: line.startswith("#"), lines)
    comment = " ".join(line.lstrip("# ") for line in head)
    return SENTENCE_END.split(comment, maxsplit=1)[0]


def _plain(preset: Run) -> Any:
    return preset.model_dump(mode="json")


def _lines(node: Any, place: Place = ()) -> Iterator[Line]:
    """Yield the lines of a mapping."""
    indent = "  " * len(place)
    for key, value in node.items():
        below = (*place, key)
        if isinstance(value, dict) and value:
            yield Line(f"{indent}{key}:", below, value, ends=False)
            yield from _lines(value, below)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield Line(f"{indent}{key}:", below, value, ends=False)
            for number, item in enumerate(value):
                yield Line(f"{indent}- {_flow(item)}", (*below, str(number)), item)
        else:
            yield Line(f"{indent}{key}: {_flow(value)}", below, value)


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _defaults(model: BaseModel, place: Place = ()) -> dict[Place, str]:
    """Where the schema has its defaults from, of the values that are defaults."""
    places: dict[Place, str] = {}
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            places |= _defaults(value, (*place, name))
        elif value == field.default and isinstance(field.json_schema_extra, dict):
            places[(*place, name)] = str(field.json_schema_extra["source"])
    return places


def _comments(path: Path) -> dict[Place, str]:
    """Return the comment behind each one-line value of a YAML file."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    found: dict[Place, str] = {}

    def walk(node: yaml.Node, place: Place) -> None:
        end = node.end_mark
        if node.start_mark.line == end.line and (
            match := COMMENT.search(lines[end.line], end.column)
        ):
            found[place] = match[1]
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                walk(value, (*place, str(key.value)))
        elif isinstance(node, yaml.SequenceNode):
            for number, value in enumerate(node.value):
                walk(value, (*place, str(number)))

    if root := yaml.compose(text, Loader=yaml.SafeLoader):
        walk(root, ())
    return found


def _at(node: Any, place: Place) -> Any:
    """Return the value at a key path; None if there is none."""
    for key in place:
        if isinstance(node, dict):
            node = node.get(key)
        elif isinstance(node, list) and int(key) < len(node):
            node = node[int(key)]
        else:
            return None
    return node
