"""Moire: an image on a screen, photographed again.

As in LCDMoire (Yuan et al., AIM 2019): the image shines through the red, green and blue stripes
of the screen's pixels; a camera looks at them from a little aside through a lens that distorts and
blurs, samples them through a Bayer filter, and interpolates the colours. Where the stripes come
about as dense as the filter's sites, what should be too fine to see turns into coloured bands.
Pairs of such datasets are aligned, so here the image stays in place and only the stripes are
seen from aside.

The stripes are periodic and blurred alike everywhere: what a site sees is looked up by its position
between them, in a profile summed up from harmonics, and nothing is drawn at a higher resolution.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from maskdcpt_cli.synthesis.contract import Degraded, Image
from maskdcpt_cli.synthesis.light import to_linear, to_srgb

Plane = NDArray[np.float32]  # (H, W)

BAYER = ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2))  # row, column, channel of the sites, RGGB
STRIPE, ROW = 0.3, 0.8  # fraction of a pixel's width and height that shines
FINENESS = 1024  # steps of a profile
HARMONICS = 6
WHITE = 65535
SHORT_SIDE = 720  # of photos in which the bands are as wide as in small ones; wider in larger
LEAST_SIDE = 4  # pixels, of what the sensor reads: OpenCV makes no colours of fewer than 3
NEAR = (0.25, *6 * (0.5,))  # screen pixels a site: here a harmonic is as dense as the reds


class _View(NamedTuple):
    order: int  # of the stripes: 1 for RGB, -1 for BGR
    density: float  # of screen pixels, to a site of the sensor
    turn: float  # in radians
    aside_x: float  # perspective: how much denser the screen gets across the image
    aside_y: float
    distortion: float  # of the lens, relative, at the distance of an image's side
    centre_x: float  # of the lens, relative to the image's longer side
    centre_y: float
    blur: float  # of the lens, as sigma in sites
    resampling: float  # likewise: what aligning the photo with the image blurs
    exposure: float
    glare: float  # light of the room, reflected by the screen
    warmth: float  # of the colours: more of red than of blue


def screen(image: Image, level: float, generator: Generator) -> Degraded:
    """Photograph the image on a screen at level 1; blend with it at levels between 0 and 1."""
    view = _view(image.shape[:2], generator)
    height, width = image.shape[:2]
    lacking = max(LEAST_SIDE - height, 0), max(LEAST_SIDE - width, 0)
    light = cv2.copyMakeBorder(to_linear(image), 0, lacking[0], 0, lacking[1], cv2.BORDER_REPLICATE)
    raw = _sampled(np.asarray(light, np.float32), view)
    colours = cv2.cvtColor(raw, cv2.COLOR_BayerRGGB2RGB)[:height, :width]
    photo = np.array(colours, np.float32, order="C")
    cv2.GaussianBlur(photo, (5, 5), view.resampling, dst=photo)
    photo /= WHITE
    lq = to_srgb(photo)
    lq -= image
    lq *= np.float32(level)
    lq += image
    return Degraded(np.clip(lq, 0, 1, out=lq), view._asdict())


def _view(size: tuple[int, ...], generator: Generator) -> _View:
    near = float(generator.choice(NEAR))
    play = 0.04 * min(1, SHORT_SIDE / min(size))  # how far all is from straight and in tune
    return _View(
        order=int(generator.choice((-1, 1))),
        density=near * math.exp(play * generator.normal()),
        turn=1.25 * play * generator.normal(),
        aside_x=play * generator.normal(),
        aside_y=play * generator.normal(),
        distortion=play * generator.normal(),
        centre_x=generator.uniform(0, 1),
        centre_y=generator.uniform(0, 1),
        blur=generator.uniform(0.3, 0.6),
        resampling=generator.uniform(0.4, 0.9),
        exposure=generator.uniform(0.55, 0.9),
        glare=generator.uniform(0, 0.03),
        warmth=generator.uniform(-0.06, 0.06),
    )


def _sampled(light: Image, view: _View) -> NDArray[np.uint16]:
    """Return what the sensor reads, one colour per site."""
    columns, rows = _profile(STRIPE, view), _profile(ROW, view)
    raw = np.empty(light.shape[:2], np.uint16)
    for row, column, channel in BAYER:
        down_from, across_from = slice(row, None, 2), slice(column, None, 2)
        site = down_from, across_from
        across, down = _positions(raw.shape, site, view)
        across -= np.float32(view.order * (channel - 1) / 3)
        light_at_site = columns[_step(across)] * rows[_step(down)]
        light_at_site *= light[down_from, across_from, channel]
        light_at_site *= np.float32(view.exposure * (1 + view.warmth * (1 - channel)))
        light_at_site += np.float32(view.glare)
        raw[site] = np.minimum(light_at_site, 1) * np.float32(WHITE)
    return raw


def _positions(
    size: tuple[int, ...], site: tuple[slice, slice], view: _View
) -> tuple[Plane, Plane]:
    """Return the positions on the screen that the sites read, in screen pixels across and down."""
    longer = np.float32(max(size))
    y = np.arange(size[0], dtype=np.float32)[site[0], None] / longer - np.float32(view.centre_y)
    x = np.arange(size[1], dtype=np.float32)[None, site[1]] / longer - np.float32(view.centre_x)
    scale = x * x + y * y
    scale *= np.float32(view.distortion)
    scale += 1
    scale /= 1 + np.float32(view.aside_x) * x + np.float32(view.aside_y) * y
    scale *= longer * np.float32(view.density)
    sine, cosine = np.float32(np.sin(view.turn)), np.float32(np.cos(view.turn))
    return scale * (x * cosine - y * sine), scale * (x * sine + y * cosine)


def _step(position: Plane) -> NDArray[np.int32]:
    """Return the step of a profile, which repeats with every screen pixel."""
    return (position * np.float32(FINENESS)).astype(np.int32) & (FINENESS - 1)


def _profile(fraction: float, view: _View) -> Plane:
    """Return the light along a period of which a fraction shines, as a square site reads it."""
    harmonic = np.arange(1, HARMONICS + 1)
    frequency = harmonic * view.density
    strength = 2 * np.sinc(harmonic * fraction) * np.sinc(frequency)
    strength *= np.exp(-2 * np.square(np.pi * view.blur * frequency))
    turns = harmonic * np.arange(FINENESS)[:, None] / FINENESS
    light = 1 + (strength * np.cos(2 * np.pi * turns)).sum(1)
    return np.asarray(np.maximum(light, 0), np.float32)
