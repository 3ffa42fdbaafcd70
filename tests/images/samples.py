"""Small images with everything on them, and the way of a photo that nothing is changed in."""

import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

from maskdcpt_cli.images.arrays import Native
from maskdcpt_cli.images.reading import Page, Photo, read_photo
from maskdcpt_cli.images.writing import write_photo

SHAPE = (13, 21)
EXIF_TAGS = {271: "Maker", 306: "2026:01:02 03:04:05"}
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a>title</a></x:xmpmeta>'
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def noise(channels: int, dtype: str, *, seed: int = 1) -> Native:
    values = np.random.default_rng(seed).random((*SHAPE, channels))
    if np.dtype(dtype).kind == "f":
        return (values * 1.5 - 0.2).astype(dtype)  # beyond [0, 1], as HDR images are
    return np.rint(values * np.iinfo(dtype).max).astype(dtype)


def exif_block(orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif.update({**EXIF_TAGS, 274: orientation})
    exif[34665] = {33434: 0.5, 34855: 200, 37500: b"maker's own\0notes"}
    exif[34853] = {1: "N", 2: (48.0, 12.0, 30.5)}
    return exif.tobytes()


def unchanged(photo: Photo) -> list[Page]:
    """The pages as a network gives them back that changes nothing."""
    pages = []
    for page in photo.pages:
        lq = photo.colour.to_srgb(page.pixels)
        assert lq.dtype == np.float32
        assert lq.shape == (*page.pixels.shape[:2], 3)
        assert lq.min() >= 0
        assert lq.max() <= 1
        pages.append(replace(page, pixels=photo.colour.from_srgb(lq.copy(), lq, page.pixels)))
    return pages


def through(source: Path, target: Path, *, strip: bool = False) -> tuple[str, ...]:
    photo = read_photo(source, max_pixels=None)
    return write_photo(photo, unchanged(photo), target, strip=strip)


def pillow(path: Path) -> tuple[str, Native]:
    with Image.open(path) as image:
        return image.mode, np.asarray(image)


def pillow_image(mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(noise(1, "uint16")[..., 0])
    if mode == "F":
        return Image.fromarray(noise(1, "float32")[..., 0])
    channels = len(Image.new(mode, (1, 1)).getbands())
    if mode in {"1", "P"}:
        return Image.fromarray(noise(3, "uint8")).convert(mode)
    values = noise(channels, "uint8")
    return Image.frombytes(mode, SHAPE[::-1], values.tobytes())


def with_metadata(path: Path, mode: str = "RGB", *, orientation: int = 1) -> None:
    image = pillow_image(mode)
    options: dict[str, object] = {"exif": exif_block(orientation), "icc_profile": SRGB}
    options["dpi"] = (300, 300)
    if path.suffix == ".png":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    elif path.suffix == ".tiff":
        exif = Image.Exif()
        exif.load(exif_block(orientation))
        exif[700] = XMP
        options["exif"] = exif
    else:
        options["xmp"] = XMP
    image.save(path, **options)


def chunk(name: bytes, data: bytes) -> bytes:
    check = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)


def png_with(path: Path, *chunks: bytes) -> None:
    """Write a PNG with these chunks before its pixels."""
    pillow_image("RGB").save(path)
    data = path.read_bytes()
    path.write_bytes(data[:33] + b"".join(chunks) + data[33:])
