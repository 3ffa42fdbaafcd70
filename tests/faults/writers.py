"""A disk that is full after N bytes, for every N: an error, and the file of before.

A limit of the system on the size of files stands for the disk: the write that exceeds it is short,
as on a full disk, and the next one fails.
"""

import contextlib
import os
import resource
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from maskdcpt_cli.cli.csv_file import write_csv
from maskdcpt_cli.cli.report import write_report
from maskdcpt_cli.data.shards.packing import UNFINISHED
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.images.contact_sheets import write_sheet
from maskdcpt_cli.images.formats import WRITABLE
from maskdcpt_cli.images.photo import Metadata, Page, Photo
from maskdcpt_cli.images.writing import write_photo
from maskdcpt_cli.inference.events import Job, Outcome, Settings
from maskdcpt_cli.training.checkpointing import CheckpointFolder
from maskdcpt_cli.weights.checkpoint import Checkpoint, save_checkpoint
from tests.data.test_shards import packed, write_pairs
from tests.images.samples import SRGB, exif_block
from tests.small import SMALL

NOISE = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
METADATA = Metadata(exif=exif_block()[6:], icc=SRGB, xmp=b"<x:xmpmeta/>", dpi=(300, 300))
EARLIER = b"the file of before"
UNFINISHED_IN = {"shards": UNFINISHED}  # what an interrupted run leaves so that it is replaced
Write = Callable[[Path], object]  # writes into a folder


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let this process write files of `size` bytes; what is longer is cut short by the system."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_image(folder: Path, *, suffix: str, metadata: Metadata, quality: int | None) -> None:
    photo = Photo(Path("in.png"), "png", (Page(NOISE),), metadata=metadata)
    write_photo(photo, photo.pages, folder / f"out{suffix}", quality=quality)


def write_weights(folder: Path) -> None:
    save_checkpoint(checkpoint(), folder / "small.safetensors")


def write_states(folder: Path) -> None:
    CheckpointFolder(folder).save("last", {"iteration": 3, "rates": [0.5] * 50}, checkpoint())


def checkpoint() -> Checkpoint:
    state = {f"{number}.weight": torch.ones(3, 4) for number in range(9)}
    return Checkpoint("nafnet", SMALL["nafnet"], state, ("GN", "H"))


def write_rows(folder: Path) -> None:
    write_csv(folder / "rows.csv", [["name", "value"], *([f"=a{i}.png", i] for i in range(200))])


@contextmanager
def inputs() -> Iterator[Mapping[str, Write]]:
    """Yield the writers by name, with what they read."""
    with tempfile.TemporaryDirectory() as given:
        folder = Path(given)
        for name in ("lq.png", "gt.png"):
            Image.fromarray(NOISE).save(folder / name)
        pairs = write_pairs(folder / "pairs")
        outcomes = [Outcome(Job(folder / "lq.png", folder / "gt.png"), "restored")]

        def sheet(out: Path) -> None:
            with contextlib.suppress(FileExistsError):
                os.link(folder / "gt.png", out / "gt.png")
            write_sheet(folder / "lq.png", out / "gt.png")

        yield {
            **{
                f"{word}, {of}": partial(
                    write_image, suffix=holds.suffixes[0], metadata=metadata, quality=None
                )
                for word, holds in WRITABLE.items()
                for of, metadata in (("bare", Metadata()), ("metadata", METADATA))
            },
            **{
                f"{word}, lossless": partial(
                    write_image, suffix=f".{word}", metadata=METADATA, quality=100
                )
                for word in ("webp", "avif")
            },
            "sheet": sheet,
            "report": lambda out: write_report(
                out / "report.html", outcomes, model="tiny", settings=Settings()
            ),
            "CSV": write_rows,
            "weights": write_weights,
            "states": write_states,
            "shards": lambda out: packed([pairs], out),
        }


def fill_disk(name: str, write: Write, *, stride: int) -> Iterator[str]:
    """Yield what came of each size of the disk: "" where nothing was lost."""
    with tempfile.TemporaryDirectory() as complete:
        write(Path(complete))
        expected = contents(Path(complete))
    largest = max(map(len, expected.values()))
    before = {} if UNFINISHED_IN.get(name) else dict.fromkeys(expected, EARLIER)
    before.pop("gt.png", None)
    for size in [*range(0, largest, stride), largest - 1]:
        with tempfile.TemporaryDirectory() as folder:
            for file, content in before.items():
                Path(folder, file).write_bytes(content)
            yield (
                f"{name} at {size}: {found}"
                if (found := _failed(name, write, Path(folder), size, expected))
                else ""
            )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _failed(name: str, write: Write, folder: Path, size: int, expected: Mapping[str, bytes]) -> str:
    """Return what is wrong with a run on a disk of this size; "" for nothing."""
    try:
        with room_for(size):
            write(folder)
    except MaskDCPTError as error:
        if not str(error).endswith(".") or "\n" in str(error):
            return f"no sentence: {error}"
    except OSError as error:  # the command line makes a sentence of it
        if not error.strerror:
            return f"no reason: {error!r}"
    else:
        return "no error"
    for file, content in contents(folder).items():
        if content not in (EARLIER, expected.get(file)) and file != UNFINISHED_IN.get(name):
            return f"{file} is left, {len(content)} bytes"
    return ""
