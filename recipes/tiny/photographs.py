"""The photographs that the embedded model learns from: those that Debian and PyPI packages ship.

They are gathered into OUT/photographs (216, 111 megapixels) and OUT/further (68), mostly CC BY-SA,
GPL or in the public domain; see the copyright file of each package. Of every ten of the former,
and of the folders given besides, one is kept for validation in OUT/unseen. Of a folder with a
table of their sources, sources.tsv, whole sources are kept, since photos of one book or site are
alike. The others are packed into OUT/shards, and once more, reduced, into OUT/scenes, where a crop
holds most of a photograph; OUT/further, dull or hazy snapshots in part, into OUT/further-shards.
Needs Debian's apt-get and dpkg, an index that is up to date (apt-get update), and pip.

    python -m recipes.tiny.photographs data/ --also cid22/
"""

import csv
import io
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

import click
from PIL import Image

from maskdcpt_cli.images.formats import IMAGE_SUFFIXES

HELD_OUT = 10  # of so many photos one is for validation
HELD_OUT_BY_SOURCE = 12  # of so many photos with a source, one at most
SOURCES = "sources.tsv"  # with the columns `file` and `source`
SHORTEST, ENOUGH = 240, 480  # sides in pixels: smaller ones are left, larger ones reduced to it
SCENE = 384  # shorter side in pixels of what is reduced once more

# Packages of Debian, and in which paths their photographs are; the rest are drawings.
DEBIAN = {
    "lomiri-wallpapers-16.04": (
        "Picture_1A", "Wine_", "seeding", "aitzgorri", "Dragonfly", "friends", "sunset",
        "picosdeeuropa", "Picture_0B", "life_by", "Bridge",
    ),
    "lomiri-wallpapers-20.04": ("Kleiber",),
    "mate-backgrounds": tuple(
        f"nature/{name}"
        for name in (
            "Garden", "Dune", "Aqua", "TwoWings", "Storm", "GreenMeadow", "RainDrops", "Blinds",
            "FreshFlower", "LadyBird", "YellowFlower", "Wood",
        )
    ),
    "plasma-workspace-wallpapers": (
        "FallenLeaf", "Path/", "DarkestHour", "summer_1am", "EveningGlow", "Grey/", "Kite/",
        "ColorfulCups", "OneStandsOut", "ColdRipple", "BytheWater",
    ),
    "palapeli-data": (
        "castle-maintenon", "cincinnati-bridge", "citrus-fruits", "european-honey-bee",
        "panther-chameleon",
    ),
    "lxqt-themes": ("Butterfly-Kenneth", "after-the-rain", "fog.jpg", "this-is-not-windows"),
    "opencv-doc": (
        "data/aero1", "data/aloeL", "data/board", "data/building", "data/butterfly", "data/fruits",
        "data/home.jpg", "data/messi5", "data/squirrel_cls", "data/stuff", "data/graf1",
        "data/leuvenA",
    ),
}  # fmt: skip
FURTHER = {  # came later: for training alone, so that what is held out stays the same
    "scratch": tuple(
        f"Backgrounds/{name}"
        for name in (
            "Indoors/chalk",
            "Indoors/cloth",
            "Indoors/hall",
            "Indoors/kitchen",
            "Indoors/the-",
            "Nature/",
            "Outdoors/",
            "Sports/",
        )
    ),
    "gnome-control-center-data": ("pixmaps/faces/",),
}
DRAWN = ("screenshot", "woods-and-bench", "forest.", "school2", "basketball-court2", "/legacy/")
QUIZZES = "gcompris-qt-data"  # keeps its photographs as WebP inside Qt's resource files
RESOURCES = (
    "explore_monuments", "erase", "details", "explore_world_animals", "explore_world_music",
    "clickgame", "explore_farm_animals",
)  # fmt: skip
LEAST_BYTES = 25_000  # of a WebP that is a photograph and no symbol
PYPI = ("scikit-image", "scikit-learn", "foolbox")
IN_WHEELS = (
    "data/astronaut.png", "data/coffee.png", "data/chelsea.png", "data/rocket.jpg",
    "data/motorcycle_left.png", "images/china.jpg", "images/flower.jpg", "foolbox/data/imagenet_",
)  # fmt: skip


def gather(out: Path) -> None:
    """Fetch the packages and write what they hold below `out`, as PNG."""
    with tempfile.TemporaryDirectory() as scratch:
        fetched = Path(scratch)
        _run("apt-get", "-q", "download", *DEBIAN, *FURTHER, QUIZZES, folder=fetched)
        _run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", *PYPI, folder=fetched)
        for package in sorted(fetched.glob("*.deb")):
            _run("dpkg", "-x", str(package), package.stem, folder=fetched)
            unpacked, debian = fetched / package.stem, package.stem.partition("_")[0]
            for part, packages in (("photographs", DEBIAN), ("further", FURTHER)):
                for photo, name in _files(unpacked, packages.get(debian, ())):
                    _write(photo, out / part / f"{debian}_{name}.png")
            for photo, name in _resources(unpacked):
                _write(photo, out / "photographs" / f"gcompris_{name}.png")
        for wheel in sorted(fetched.glob("*.whl")):
            for photo, name in _wheel(wheel):
                _write(photo, out / "photographs" / f"pypi_{name}.png")


def _run(*command: str, folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def _files(unpacked: Path, wanted: Sequence[str]) -> Iterator[tuple[Image.Image, str]]:
    for path in sorted(unpacked.rglob("*")):
        text = path.as_posix()
        if (
            path.suffix.lower() in (".jpg", ".jpeg", ".png")
            and not path.is_symlink()
            and not any(part in text for part in DRAWN)
            and any(part in text for part in wanted)
        ):
            photo = Image.open(path)
            if min(photo.size) >= SHORTEST:
                theme = f"_{path.parts[-4]}" if "contents" in path.parts else ""  # of Plasma
                yield photo, path.stem + theme


def _resources(unpacked: Path) -> Iterator[tuple[Image.Image, str]]:
    for path in sorted(unpacked.rglob("*.rcc")):
        if path.stem not in RESOURCES:
            continue
        content, at = path.read_bytes(), -1
        while (at := content.find(b"RIFF", at + 1)) >= 0:
            length = int.from_bytes(content[at + 4 : at + 8], "little") + 8
            if content[at + 8 : at + 12] == b"WEBP" and length > LEAST_BYTES:
                photo = Image.open(io.BytesIO(content[at : at + length]))
                if min(photo.size) >= 300 and photo.mode == "RGB":
                    yield photo, f"{path.stem}_{at}"


def _wheel(path: Path) -> Iterator[tuple[Image.Image, str]]:
    with zipfile.ZipFile(path) as wheel:
        for name in sorted(wheel.namelist()):
            if name.endswith((".png", ".jpg")) and any(part in name for part in IN_WHEELS):
                yield Image.open(io.BytesIO(wheel.read(name))), Path(name).stem


def _write(photo: Image.Image, target: Path) -> None:
    """Average lossy originals down as far as they allow, which removes their own artefacts."""
    photo = photo.convert("RGB")
    target.parent.mkdir(parents=True, exist_ok=True)
    photo.reduce(max(1, min(photo.size) // ENOUGH)).save(target)


def split(folders: Sequence[Path], out: Path) -> None:
    """Copy photos for training into OUT/train, and those for validation into OUT/unseen."""
    index = 0
    for folder in folders:
        sources = _sources(folder)
        unseen = held_out_sources(sources.values())
        for path in _photos(folder):
            source = sources.get(path.relative_to(folder).as_posix())
            held_out = source in unseen if source else index % HELD_OUT == HELD_OUT - 1
            part = out / ("unseen" if held_out else "train")
            part.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, part / f"{index:05d}{path.suffix}")
            index += 1


def held_out_sources(sources: Iterable[str]) -> frozenset[str]:
    """Return sources that have one of HELD_OUT_BY_SOURCE photos together, or fewer.

    Args:
        sources: The source of each photo.
    """
    photos = Counter(sources)
    left = photos.total() // HELD_OUT_BY_SOURCE
    held_out = set()
    for source in sorted(photos, key=lambda name: blake2b(name.encode()).digest()):
        if photos[source] <= left:
            held_out.add(source)
            left -= photos[source]
    return frozenset(held_out)


def _sources(folder: Path) -> dict[str, str]:
    """Return the source of each photo, by its path in the folder; none without a table."""
    path = folder / SOURCES
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {row["file"]: row["source"] for row in csv.DictReader(file, delimiter="\t")}


def reduce(photos: Path, out: Path) -> None:
    """Write the photos reduced to a shorter side of SCENE."""
    for path in _photos(photos):
        photo = Image.open(path).convert("RGB")
        size = [round(side * SCENE / min(photo.size)) for side in photo.size]
        photo.resize((size[0], size[1]), Image.Resampling.LANCZOS).save(out / f"{path.stem}.png")


def pack(photos: Path, out: Path) -> None:
    command = ["data", "pack", "--photos", str(photos), "-o", str(out)]
    subprocess.run([sys.executable, "-m", "maskdcpt_cli", *command], check=True)


def _photos(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in IMAGE_SUFFIXES]


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--also",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder of more photographs; may be repeated.",
)
def main(out: Path, also: tuple[Path, ...]) -> None:
    """Gather photographs into OUT, keep one of ten for validation, pack the others."""
    gather(out)
    split([out / "photographs", *also], out)
    pack(out / "train", out / "shards")
    pack(out / "further", out / "further-shards")
    with tempfile.TemporaryDirectory() as reduced:
        reduce(out / "train", Path(reduced))
        pack(Path(reduced), out / "scenes")


if __name__ == "__main__":
    main()
