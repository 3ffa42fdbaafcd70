"""YAML of bounded size and depth: presets and the values of overrides are small."""

import codecs
import re
from pathlib import Path
from typing import Any

import yaml

from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.files import open_regular, shown

MAX_BYTES = 200_000  # twenty times the largest preset of the paper
MAX_DEPTH = 20
MAX_ALIASES = 100
MAX_DIGITS = 20  # of an integer, as 2**64 has


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file.

    Raises MaskDCPTError for a file that cannot be read, is too large, or is not plain YAML.
    """
    try:
        with open_regular(path) as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise MaskDCPTError(f"{shown(path)} cannot be read: {error.strerror}.") from error
    if len(data) > MAX_BYTES:
        raise MaskDCPTError(f"{shown(path)} is no preset: it has more than {MAX_BYTES} bytes.")
    try:
        return parse_yaml(data)
    except ValueError as error:
        raise MaskDCPTError(f"{shown(path)} is not YAML: {error}.") from error


def read_text(path: Path) -> str:
    """Return the text of a YAML file, in UTF-8 or UTF-16 as YAML allows."""
    data = path.read_bytes()
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if is_utf16 else "utf-8-sig")


def parse_yaml(text: str | bytes) -> Any:
    """Return the content of YAML without tags; ValueError with the reason for anything else.

    What an anchor names holds no alias, so that the content cannot grow without bound.
    """
    try:
        return yaml.load(text, _PlainLoader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(line + ", ".join(filter(None, (error.context, error.problem)))) from error
    except yaml.reader.ReaderError as error:
        raise ValueError(f"position {error.position}: {error.reason}") from error
    except (ValueError, ArithmeticError) as error:
        raise ValueError("it holds a date or a number that does not exist") from error


class _PlainLoader(yaml.SafeLoader):
    depth = 0
    aliases = 0
    anchored = 0  # how many of the nodes around have an anchor

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        self._check(event)
        anchored = bool(event.anchor) and not isinstance(event, yaml.AliasEvent)
        self.depth += 1
        self.anchored += anchored
        node = super().compose_node(parent, index)
        self.depth -= 1
        self.anchored -= anchored
        return node

    def _check(self, event: Any) -> None:
        alias = isinstance(event, yaml.AliasEvent)
        self.aliases += alias
        problem = ""
        if alias and self.anchored:
            problem = f"the alias *{event.anchor} is within what another anchor names"
        elif self.aliases > MAX_ALIASES:
            problem = f"there are more than {MAX_ALIASES} aliases"
        elif self.depth >= MAX_DEPTH:
            problem = f"there are more than {MAX_DEPTH} levels"
        elif not alias and event.tag:
            problem = f"the tag {event.tag[:60]!r} has no use in a preset"
        if problem:
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        """Return an integer, which is to have at most MAX_DIGITS digits."""
        if len(node.value) > MAX_DIGITS:
            problem = f"an integer has {len(node.value)} digits; at most {MAX_DIGITS} are valid"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return self.construct_yaml_int(node)


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_integer)
# 1e-6, which YAML 1.1 takes for text, is a number, as in YAML 1.2.
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)
