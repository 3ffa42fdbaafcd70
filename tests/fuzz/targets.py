"""What is fuzzed: sound files of each kind, and what the program does with one."""

import io
import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import tifffile
import torch
from PIL import Image

from maskdcpt_cli.data.manifest import read_manifest
from maskdcpt_cli.data.shards.index import ShardPairs
from maskdcpt_cli.images.formats import WRITABLE
from maskdcpt_cli.images.reading import preview, read_photo, read_rgb, result_suffix
from maskdcpt_cli.images.writing import write_photo
from maskdcpt_cli.presets.load import folder, load_data
from maskdcpt_cli.presets.training import load_preset
from maskdcpt_cli.scoring.images import read_image
from maskdcpt_cli.weights.building import build
from maskdcpt_cli.weights.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from tests.data.test_shards import packed, write_pairs
from tests.images.samples import SRGB, exif_block, noise, with_metadata
from tests.small import SMALL, small

MAX_PIXELS = 4_000_000
Seeds = Mapping[str, bytes]  # by file name


@dataclass(frozen=True)
class Target:
    """Sound files, and the use of one that was changed, in a folder of its own."""

    seeds: Callable[[Path], Seeds]
    use: Callable[[Path], object]


def image_seeds(tmp: Path) -> Seeds:
    modes = {".jpg": ["RGB", "L", "CMYK"], ".bmp": ["RGB", "P"], ".webp": ["RGBA"]}
    for holds in WRITABLE.values():
        suffix = holds.suffixes[0]
        for mode in modes.get(suffix, ["RGB", "RGBA", "L"]):
            name = tmp / f"{mode}{suffix}"
            if suffix == ".bmp":
                Image.fromarray(noise(3, "uint8")).convert(mode).save(name)
            else:
                with_metadata(name, mode, orientation=6)
    for mode in ("RGB", "P"):
        Image.fromarray(noise(3, "uint8")).convert(mode).save(tmp / f"{mode}.gif")
    Image.fromarray(noise(3, "uint8")).save(tmp / "RGB.ppm")
    Image.fromarray(noise(3, "uint8")).save(tmp / "RGB.jp2")
    Image.fromarray(noise(1, "uint16")[..., 0]).save(tmp / "16.png")
    frames = [Image.fromarray(noise(3, "uint8", seed=seed)) for seed in (1, 2)]
    frames[0].save(tmp / "frames.png", save_all=True, append_images=frames[1:])
    for dtype in ("uint16", "float32"):
        tifffile.imwrite(
            tmp / f"{dtype}.tif", noise(3, dtype), compression="zlib", predictor=dtype == "uint16"
        )
    tifffile.imwrite(tmp / "big.tif", noise(3, "uint8"), bigtiff=True, tile=(16, 16))
    tifffile.imwrite(tmp / "pages.tif", np.stack([noise(3, "uint8")] * 3), photometric="rgb")
    return {path.name: path.read_bytes() for path in sorted(tmp.iterdir())}


def use_image(path: Path) -> None:
    photo = read_photo(path, max_pixels=MAX_PIXELS)
    suffix = result_suffix(path.suffix)
    write_photo(photo, photo.pages, path.with_name(f"out{suffix}"))


def metadata_seeds(_tmp: Path) -> Seeds:
    return {"exif.bin": exif_block(6)[6:], "icc.bin": SRGB}


def use_metadata(path: Path) -> None:
    data = path.read_bytes()
    with_block = {"icc_profile": data} if path.stem == "icc" else {"exif": b"Exif\0\0" + data}
    for suffix in (".jpg", ".png", ".tif", ".webp", ".avif"):
        image = path.with_suffix(suffix)
        file = io.BytesIO()
        try:
            Image.fromarray(noise(3, "uint8")).save(
                file, Image.registered_extensions()[suffix], **with_block
            )
        except Exception:  # Pillow itself refuses some blocks
            continue
        image.write_bytes(file.getvalue())
        use_image(image)


def weight_seeds(tmp: Path) -> Seeds:
    files = {}
    for name in ("nafnet", "restormer"):
        model = small(name)
        whole = Checkpoint(name, SMALL[name], model.state_dict(), ("GN", "H"))
        save_checkpoint(whole, tmp / f"{name}.safetensors")
        files[f"{name}.safetensors"] = (tmp / f"{name}.safetensors").read_bytes()
    for old in (False, True):
        file = io.BytesIO()
        state = {"params": model.state_dict()}
        torch.save(state, file, _use_new_zipfile_serialization=not old)
        files[f"{'old' if old else 'zip'}.pth"] = file.getvalue()
    files["bare.pth"] = pickle.dumps({"params": {"weight": [1.0]}})
    return files


def use_weights(path: Path) -> None:
    build(read_checkpoint(path))


def shard_seeds(tmp: Path) -> Seeds:
    packed([write_pairs(tmp / "pairs")], tmp / "shards")
    return {path.name: path.read_bytes() for path in sorted((tmp / "shards").iterdir())}


def use_shards(path: Path) -> None:
    pairs = ShardPairs(path.with_name("index.json"))
    for index in range(len(pairs)):
        pairs.read(index)
    pairs.scenes()


def preset_seeds(_tmp: Path) -> Seeds:
    return {
        f"{kind}-{name}.yaml": (folder() / kind / f"{name}.yaml").read_bytes()
        for kind, name in (
            ("data", "5d"),
            ("data", "mixed"),
            ("pretrain", "5d"),
            ("finetune", "12d"),
        )
    }


def use_preset(path: Path) -> None:
    kind = path.name.split("-")[0]
    if kind == "data":
        load_data(str(path))
    else:
        load_preset(kind, str(path))


def manifest_seeds(_tmp: Path) -> Seeds:
    lines = (
        {
            "file": f"{number}.png",
            "type": "haze",
            "kind": "haze",
            "level": 0.5,
            "seed": 3,
            "parameters": {"airlight": 0.9},
        }
        for number in range(5)
    )
    return {"manifest.jsonl": "".join(json.dumps(line) + "\n" for line in lines).encode()}


TARGETS: Mapping[str, Target] = {
    "image": Target(image_seeds, use_image),
    "preview": Target(image_seeds, lambda path: preview(path, max_side=64, max_pixels=MAX_PIXELS)),
    "training image": Target(image_seeds, partial(read_rgb, max_pixels=MAX_PIXELS)),
    "scored image": Target(image_seeds, partial(read_image, max_pixels=MAX_PIXELS)),
    "metadata": Target(metadata_seeds, use_metadata),
    "weights": Target(weight_seeds, use_weights),
    "shards": Target(shard_seeds, use_shards),
    "preset": Target(preset_seeds, use_preset),
    "manifest": Target(manifest_seeds, read_manifest),
}
