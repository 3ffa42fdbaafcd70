"""Gaussian and sinc blur with the kernels of Real-ESRGAN (Wang et al., ICCV Workshops 2021)."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from maskdcpt_cli.synthesis.contract import Degraded, Image, Parameters
from maskdcpt_cli.synthesis.optics import spread

Kernel = NDArray[np.float32]  # (side, side), of odd side, sums to 1
Values = NDArray[np.float64]

SIDES = tuple(range(7, 22, 2))
SIGMAS = 0.2, 3.0
SINC = 0.1  # probability


class KernelShape(NamedTuple):
    """A family of kernels."""

    probability: float  # among the kernels that are not sinc
    shape: Callable[[Values], Values]  # of the squared distance, in sigmas, to the power beta
    betas: tuple[float, float]
    axes: int  # 2: of different sigma, and turned


def _gaussian(distance: Values) -> Values:
    return np.asarray(np.exp(-distance / 2))


def _plateau(distance: Values) -> Values:
    return 1 / (1 + distance)


KERNEL_SHAPES = {
    "iso": KernelShape(0.45, _gaussian, (1, 1), axes=1),
    "aniso": KernelShape(0.25, _gaussian, (1, 1), axes=2),
    "generalised iso": KernelShape(0.12, _gaussian, (0.5, 4), axes=1),
    "generalised aniso": KernelShape(0.03, _gaussian, (0.5, 4), axes=2),
    "plateau iso": KernelShape(0.12, _plateau, (1, 2), axes=1),
    "plateau aniso": KernelShape(0.03, _plateau, (1, 2), axes=2),
}


def gaussian_and_sinc(image: Image, level: float, generator: Generator) -> Degraded:
    """Blur by a random kernel of sigma `level`."""
    kernel, parameters = random_kernel(level, generator)
    lq = spread(image, kernel)
    return Degraded(np.clip(lq, 0, 1, out=lq), parameters)  # sinc overshoots


def random_kernel(level: float, generator: Generator) -> tuple[Kernel, Parameters]:
    """Sample a kernel of 7 to 21 pixels.

    Levels sampled uniformly from 0.2 to 3 give the distribution of the release. The level is sigma
    in pixels, of the first axis if there are two; the second, which is sampled from the same range,
    and the angle do not depend on it. Of sinc, the cut-off falls with the level from pi to pi / 3,
    for sides from 13 on to pi / 5. Below 0.2 a kernel fades into none.
    """
    side = int(generator.choice(SIDES))
    is_sinc = generator.random() < SINC
    name = str(
        generator.choice(
            list(KERNEL_SHAPES), p=[form.probability for form in KERNEL_SHAPES.values()]
        )
    )
    used = max(level, SIGMAS[0])
    if is_sinc:
        lowest = np.pi / (3 if side < 13 else 5)
        cutoff = float(np.interp(used, SIGMAS, (np.pi, lowest)))
        kernel, parameters = sinc(side, cutoff), Parameters(kernel="sinc", cutoff=cutoff)
    else:
        kernel, parameters = _bell(side, KERNEL_SHAPES[name], used, generator)
        parameters["kernel"] = name
    fraction = min(1.0, level / SIGMAS[0])
    kernel *= fraction / kernel.sum()
    kernel[side // 2, side // 2] += 1 - fraction
    return kernel.astype(np.float32), {"side": side, **parameters}


def _bell(
    side: int, form: KernelShape, sigma: float, generator: Generator
) -> tuple[Values, Parameters]:
    # As in the release, half of the shapes are more pointed than a Gaussian, where there are such.
    low, high = form.betas
    beta = generator.uniform(*((low, 1) if generator.random() < 0.5 else (1, high)))
    second, angle = generator.uniform((SIGMAS[0], 0), (SIGMAS[1], np.pi))
    parameters: Parameters = {"beta": beta}
    if form.axes == 2:
        parameters |= {"second sigma": float(second), "angle": float(angle)}
    else:
        second = sigma
    turned = _positions(side) * np.exp(-1j * angle)
    distance = (turned.real / sigma) ** 2 + (turned.imag / second) ** 2
    return form.shape(distance**beta), parameters


def sinc(side: int, cutoff: float) -> Values:
    """Return the circular low-pass filter `c J1(c r) / (2 pi r)` of a cut-off in radians per pixel.

    J1 comes from Bessel's integral, whose sum over 64 angles is exact at these distances.
    """
    r = np.abs(_positions(side))
    angles = (np.arange(64) + 0.5) * np.pi / 64
    bessel = np.cos(angles - cutoff * r[..., None] * np.sin(angles)).mean(-1)
    middle = side // 2, side // 2
    r[middle], bessel[middle] = 1, cutoff / 2  # the limit of J1(c r) / r
    return np.asarray(cutoff * bessel / (2 * np.pi * r))


def _positions(side: int) -> NDArray[np.complex128]:
    """Return x + iy of every pixel, from the middle."""
    steps = np.arange(side) - side // 2
    return np.asarray(steps + 1j * steps[:, None])
