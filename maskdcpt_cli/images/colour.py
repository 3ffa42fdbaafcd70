"""Colour conversion between the pixels of a file and the sRGB of the networks."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from maskdcpt_cli.images.arrays import Float, Native
from maskdcpt_cli.images.codecs import icc

GREY_WEIGHTS = (0.299, 0.587, 0.114)  # ITU-R BT.601
SPACES = {"GRAY": 1, "RGB": 3, "CMYK": 4}  # channels, by the colour space of ICC profiles
MODES = {1: "L", 3: "RGB", 4: "CMYK"}  # of Pillow, by channels
WORDS = {**MODES, 1: "grey"}
SAME = 1.5 / 255  # a profile that changes no colour by more than this is sRGB


class Encoding(Protocol):
    """A conversion of native values in [0, 1] to sRGB in [0, 1], and back."""

    def decode(self, native: Float, /) -> Float: ...

    def encode(self, srgb: Float, native: Float, /) -> Float:
        """Return the native values of `srgb` for pixels whose values in the file are `native`."""


class PlainGrey:
    """Grey with the transfer function of sRGB."""

    def decode(self, native: Float) -> Float:
        return np.repeat(native, 3, axis=-1)

    def encode(self, srgb: Float, _native: Float) -> Float:
        return icc.weighted(srgb, GREY_WEIGHTS)


class PlainRGB:
    """RGB that is sRGB already."""

    def decode(self, native: Float) -> Float:
        return native

    def encode(self, srgb: Float, _native: Float) -> Float:
        return srgb


class NeutralRGB:
    """RGB whose channels are equal, stored as one of them; the result is neutral as well."""

    def __init__(self, rgb: Encoding) -> None:
        self.rgb = rgb

    def decode(self, native: Float) -> Float:
        return self.rgb.decode(np.repeat(native, 3, axis=-1))

    def encode(self, srgb: Float, native: Float) -> Float:
        grey = np.repeat(icc.weighted(srgb, GREY_WEIGHTS), 3, axis=-1)
        return self.rgb.encode(grey, np.repeat(native, 3, axis=-1))[..., 1:2]


class PlainCMYK:
    """CMYK without a profile; the black of the file is kept as far as the colour allows."""

    def decode(self, native: Float) -> Float:
        return (1 - native[..., :3]) * (1 - native[..., 3:])

    def encode(self, srgb: Float, native: Float) -> Float:
        light = np.maximum(1 - native[..., 3:], srgb.max(axis=-1, keepdims=True))
        inks = 1 - srgb / np.maximum(light, 1 / 255)
        return np.concatenate([inks, 1 - light], axis=-1)


class TableProfile:
    """A profile of lookup tables, applied by LittleCMS at 8 bits.

    Raises ValueError where LittleCMS cannot apply the profile in both directions.
    """

    def __init__(self, profile: bytes, channels: int) -> None:
        mode = MODES[channels]
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
        try:
            own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            srgb = ImageCms.createProfile("sRGB")
            self.to_srgb = ImageCms.buildTransform(own, srgb, mode, "RGB", intent, flags)
            self.to_native = ImageCms.buildTransform(srgb, own, "RGB", mode, intent, flags)
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError) as error:
            raise ValueError(str(error)) from error

    def decode(self, native: Float) -> Float:
        return _through(self.to_srgb, native)

    def encode(self, srgb: Float, _native: Float) -> Float:
        return _through(self.to_native, srgb)


def _through(transform: ImageCms.ImageCmsTransform, values: Float) -> Float:
    image = pillow_image(np.rint(values * 255).astype(np.uint8))
    result = np.asarray(ImageCms.applyTransform(image, transform), dtype=np.float32) / 255
    return result.reshape(*values.shape[:2], -1)


def pillow_image(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return pixels (H, W, C), C = 1 grey, 3 RGB, 4 CMYK, as a Pillow image."""
    height, width, channels = pixels.shape
    mode = MODES[channels]
    data = np.ascontiguousarray(pixels)
    return Image.frombuffer(mode, (width, height), data, "raw", mode, 0, 1)


PLAIN: Mapping[int, Encoding] = MappingProxyType({1: PlainGrey(), 3: PlainRGB(), 4: PlainCMYK()})


@dataclass(frozen=True)
class Colour:
    """The conversion of native pixels to sRGB and back, for any rectangle of a page.

    The conversion itself causes no change: only the difference between the input and the output of
    the network is converted, and added to the native pixels.
    """

    encodings: Mapping[int, Encoding] = field(default_factory=lambda: PLAIN)  # by channels

    def is_plain(self, channels: int) -> bool:
        """Return whether pixels of `channels` channels are sRGB, or its plain grey or CMYK."""
        return self.encodings[channels] is PLAIN[channels]

    def of_neutral(self) -> "Colour":
        """Return the conversion of one channel of neutral RGB pixels to neutral sRGB."""
        return Colour(MappingProxyType({**self.encodings, 1: NeutralRGB(self.encodings[3])}))

    def to_srgb(self, pixels: Native) -> Float:
        """Convert native pixels (h, w, C) to sRGB: (h, w, 3), float32 in [0, 1].

        Float values outside [0, 1] are clipped, NaN becomes 0.
        """
        return self.encodings[pixels.shape[2]].decode(_unit(pixels))

    def from_srgb(self, restored: Float, lq: Float, pixels: Native) -> Native:
        """Return `pixels` plus the change from `lq` to `restored`: (h, w, C), of the same dtype.

        `lq` is `to_srgb(pixels)`. Where `restored` equals `lq` the result equals
        `pixels`. Integers are rounded; floats may leave [0, 1], as highlights do.
        """
        encoding = self.encodings[pixels.shape[2]]
        native = _unit(pixels)
        change = encoding.encode(restored.clip(0, 1), native) - encoding.encode(lq, native)
        if pixels.dtype.kind == "f":
            return (pixels + change).astype(pixels.dtype)
        peak = np.iinfo(pixels.dtype).max
        change *= np.float32(peak)
        change += pixels
        np.rint(change, out=change)
        return change.clip(0, peak, out=change).astype(pixels.dtype)


def _unit(pixels: Native) -> Float:
    if pixels.dtype.kind == "f":
        return np.nan_to_num(pixels.astype(np.float32)).clip(0, 1)
    return np.divide(pixels, np.float32(np.iinfo(pixels.dtype).max), dtype=np.float32)


def colour_of(profile: bytes | None, pixels: Native) -> tuple[Colour, tuple[str, ...]]:
    """Return the colour of a file with this ICC profile, whose first page is `pixels` (H, W, C).

    The notices say where the profile cannot be applied, or not at the full bit depth.
    """
    if profile is None:
        return Colour(), ()
    channels = pixels.shape[2]
    try:
        space = icc.colour_space(profile)
        if SPACES.get(space) != channels:
            return Colour(), (
                f"The ICC profile is for {space} and the pixels are {WORDS[channels]}: "
                "it is not applied.",
            )
        encoding: Encoding = icc.parse(profile) or TableProfile(profile, channels)
    except ValueError:
        return Colour(), (
            "The ICC profile cannot be read: colours are treated as sRGB, and it is copied.",
        )
    if channels < 4 and _is_srgb(encoding, channels):
        return Colour(), ()
    notices: tuple[str, ...] = ()
    if isinstance(encoding, TableProfile) and pixels.dtype != np.uint8:
        notices = (
            "The ICC profile uses lookup tables: changes are computed at 8 bits per channel.",
        )
    return Colour(MappingProxyType({**PLAIN, channels: encoding})), notices


def _is_srgb(encoding: Encoding, channels: int) -> bool:
    steps = np.linspace(0, 1, 9, dtype=np.float32)
    cube = np.stack(np.meshgrid(*[steps] * channels), axis=-1).reshape(-1, 1, channels)
    change = encoding.decode(cube) - PLAIN[channels].decode(cube)
    return bool(np.abs(change).max() < SAME)
