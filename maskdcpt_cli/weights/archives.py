"""Zip archives of PyTorch: weights, or a program in TorchScript."""

from pathlib import Path


def holds_program(path: Path) -> bool:
    """Return whether a file is a program in TorchScript, whose archive has the folder `code`."""
    import zipfile  # noqa: PLC0415  # takes 5 ms, and the commands know this module

    try:
        with zipfile.ZipFile(path) as archive:
            return any("/code/" in name for name in archive.namelist())
    except Exception:  # on damaged bytes the library raises almost any type
        return False
