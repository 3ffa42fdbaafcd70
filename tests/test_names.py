"""Names in the package."""

import ast
from collections import defaultdict
from pathlib import Path

import maskdcpt_cli

PACKAGE = Path(maskdcpt_cli.__file__).parent


def test_no_two_classes_have_one_name():
    places: dict[str, list[str]] = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(path.relative_to(PACKAGE).as_posix())
    assert len(places) > 100
    assert {name: files for name, files in places.items() if len(files) > 1} == {}
