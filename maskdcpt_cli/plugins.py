"""Plugins: modules whose tables add rows to those of maskdcpt.

A plugin is a module with dictionaries of the names in TABLES, as `LOSSES = {"charbonnier": ...}`.
Those in use are named by the entry points GROUP of installed packages, and by the variable of the
environment VARIABLE, so that processes that this one starts have them, too. They are imported when
a name is looked up that maskdcpt does not have itself, or when all names are listed.
"""

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple, TypeVar, cast

from maskdcpt_cli.errors import MaskDCPTError

Row = TypeVar("Row")

TABLES = (
    "BACKBONES", "DEGRADATIONS", "SETTINGS", "SYNTHESIS", "LOSSES", "METRICS", "SOURCES",
    "RECORDERS",
)  # fmt: skip
OF_FIGURES = ("BACKBONES", "DEGRADATIONS", "SYNTHESIS", "METRICS", "SOURCES")  # of a benchmark
GROUP = "maskdcpt.plugins"
VARIABLE = "MASKDCPT_PLUGINS"  # names of modules, with commas between
MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
NAME = re.compile(r"[\w+-]{1,40}")  # of a row: printable, and a name of a file


class PluginRow(NamedTuple):
    """A row of a plugin, and the module of the plugin."""

    value: Any
    module: str


@dataclass
class Plugins:
    """The plugins of a value of VARIABLE."""

    modules: list[str] = field(default_factory=list)
    rows: dict[str, dict[str, PluginRow]] = field(  # of each table
        default_factory=lambda: {table: {} for table in TABLES}
    )

    def add(self, module: str) -> None:
        """Import a plugin and add its rows; raise MaskDCPTError where it cannot be used."""
        content = vars(_imported(module))
        tables = [name for name in TABLES if isinstance(content.get(name), Mapping)]
        if not tables:
            raise MaskDCPTError(
                f"'{module}' is no plugin of maskdcpt: it has none of the tables "
                f"{', '.join(TABLES)}."
            )
        for table in tables:
            for name, value in content[table].items():
                if not isinstance(name, str) or not NAME.fullmatch(name):
                    raise MaskDCPTError(
                        f"The plugin '{module}' has {name!r} in {table}; valid are names of up to "
                        "40 letters, digits, '_', '-' and '+'."
                    )
                if name in self.rows[table]:
                    raise _taken(module, table, name, f"'{self.rows[table][name].module}' has")
                self.rows[table][name] = PluginRow(value, module)
        self.modules.append(module)


class Registry(Mapping[str, Row]):
    """The rows of maskdcpt by name, and after them those of the plugins.

    A row may be text, as "package.module:name", which is imported when the row is used.
    """

    def __init__(
        self,
        name: str,
        own: Mapping[str, Row | str],
        *,
        check: Callable[[str, Row], None] | None = None,
    ) -> None:
        """Keep the rows of maskdcpt.

        Args:
            name: of TABLES.
            own: the rows of maskdcpt.
            check: raises ValueError for the name and the row of a plugin that is not valid.
        """
        self.own = own  # the rows of maskdcpt
        self._name, self._check = name, check
        _TABLES.append(self)
        if loaded := _LOADED.get(_variable()):
            self.check(loaded)

    def __getitem__(self, name: str) -> Row:
        row = self.own[name] if name in self.own else self._added()[name].value
        return cast(Row, resolve(row) if isinstance(row, str) else row)

    def __contains__(self, name: object) -> bool:
        return name in self.own or name in self._added()

    def __iter__(self) -> Iterator[str]:
        yield from self.own
        yield from self._added()

    def __len__(self) -> int:
        return len(self.own) + len(self._added())

    def check(self, loaded: Plugins) -> None:
        """Raise MaskDCPTError for a plugin's row that has a name of maskdcpt, or is not valid."""
        for name, row in loaded.rows[self._name].items():
            if name in self.own:
                raise _taken(row.module, self._name, name, "maskdcpt itself has")
            if self._check is not None:
                try:
                    self._check(name, row.value)
                except ValueError as error:
                    raise MaskDCPTError(
                        f"The plugin '{row.module}' has a '{name}' in {self._name} that is not "
                        f"valid: {error}."
                    ) from error

    def _added(self) -> dict[str, PluginRow]:
        return plugins().rows[self._name]


_LOCK = RLock()
_LOADED: dict[str, Plugins] = {}  # by the value of VARIABLE
_TABLES: list[Registry[Any]] = []


def plugins() -> Plugins:
    """Return the plugins of this process, imported by the first call.

    Raises MaskDCPTError for one that cannot be used.
    """
    variable = _variable()
    with _LOCK:
        if variable not in _LOADED:
            # A plugin that looks a name up while it is imported finds those before it.
            loaded = _LOADED[variable] = Plugins()
            try:
                for module in dict.fromkeys([*_installed(), *_named(variable)]):
                    loaded.add(module)
                for table in _TABLES:
                    table.check(loaded)
            except BaseException:
                del _LOADED[variable]
                raise
        return _LOADED[variable]


def use_plugin(module: str) -> None:
    """Use the tables of a module, in this process and in those that it starts.

    Packages that name their module by the entry point `maskdcpt.plugins` need no call.

    Args:
        module: its name, as for `import`; it may also be in the current folder.

    Raises:
        MaskDCPTError: for a module that cannot be imported, has no table of maskdcpt, or has a name
            that is taken.
    """
    before = _variable()
    os.environ[VARIABLE] = ",".join(dict.fromkeys([*_named(before), module]))
    try:
        plugins()
    except MaskDCPTError:
        os.environ[VARIABLE] = before
        raise


def needed(**names: Iterable[str]) -> tuple[str, ...]:
    """Return the modules of the plugins that have these rows, as `BACKBONES=["unet"]`."""
    loaded = _LOADED.get(_variable(), Plugins())
    rows = (loaded.rows[table].get(name) for table, some in names.items() for name in some)
    return tuple(sorted({row.module for row in rows if row}))


def source_state() -> str:
    """Return a hash of the Python files of the plugins that figures depend on; "" without any."""
    rows = plugins().rows
    modules = {row.module for table in OF_FIGURES for row in rows[table].values()}
    files = [file for module in sorted(modules) for file in _files(module)]
    return sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest() if files else ""


def _files(module: str) -> list[Path]:
    """Return the file of a module, or all of the package that it is in."""
    package = sys.modules[module.rpartition(".")[0] or module]
    file = package.__file__ or sys.modules[module].__file__  # a namespace has none
    if file is None:
        return []
    if Path(file).name != "__init__.py":
        return [Path(file)]
    return sorted(path for path in Path(file).parent.rglob("*.py") if path.is_file())


def check_there(
    modules: Iterable[str], *, by: str, error: type[MaskDCPTError] = MaskDCPTError
) -> None:
    """Raise the error, with what needs them, unless these plugins are in use."""
    for module in modules:
        if module not in plugins().modules:
            raise error(
                f"{by} needs the plugin '{module}': install its package with pip, or type "
                f"maskdcpt --plugin {module} and the command."
            )


def resolve(text: str) -> Any:
    """Return what "package.module:name" names; raise MaskDCPTError where it is not there."""
    module, _, name = text.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise MaskDCPTError(f"'{text}', a row of a plugin, cannot be used: {error}.") from error


def _variable() -> str:
    return os.environ.get(VARIABLE, "")


def _named(variable: str) -> list[str]:
    return [name.strip() for name in variable.split(",") if name.strip()]


def _installed() -> list[str]:
    from importlib.metadata import entry_points  # noqa: PLC0415  # takes 20 ms

    return [entry.module for entry in entry_points(group=GROUP)]


def _imported(module: str) -> Any:
    if not MODULE.fullmatch(module):
        raise MaskDCPTError(
            f"'{module}' is not the name of a module; for my_plugin.py in the current folder type "
            "--plugin my_plugin."
        )
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # after all that is installed
    try:
        return import_module(module)
    except Exception as error:  # the module may raise any
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            raise MaskDCPTError(
                f"There is no plugin '{module}': no module of this name is installed or in the "
                "current folder."
            ) from error
        reason = f"{type(error).__name__}: {error}".rstrip(".")
        raise MaskDCPTError(f"The plugin '{module}' cannot be imported: {reason}.") from error


def _taken(module: str, table: str, name: str, holder: str) -> MaskDCPTError:
    return MaskDCPTError(
        f"The plugin '{module}' has a '{name}' in {table}, and {holder} one, too: give it another "
        "name."
    )
