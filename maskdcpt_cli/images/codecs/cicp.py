"""No library here makes an ICC profile from primaries and a transfer function; this does.

Files state them by number (cICP of PNG, nclx of AVIF and HEIC; ITU-T H.273) or by value (gAMA and
cHRM of PNG).
"""

import re
import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from maskdcpt_cli.errors import ImageError

UNSPECIFIED = 2
D65, DCI = (0.3127, 0.3290), (0.314, 0.351)
Chromaticities = Sequence[tuple[float, float]]  # x, y of white, red, green, blue
PRIMARIES: dict[int, Chromaticities] = {
    1: (D65, (0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),  # BT.709, sRGB
    5: (D65, (0.64, 0.33), (0.29, 0.60), (0.15, 0.06)),  # BT.601, 625 lines
    6: (D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),  # BT.601, 525 lines
    7: (D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    9: (D65, (0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),  # BT.2020
    11: (DCI, (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),  # DCI-P3
    12: (D65, (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),  # Display P3
}
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)  # g, a, b, c, d of `para`
BT709_CURVE = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
TRANSFERS: dict[int, tuple[float, ...]] = {
    **dict.fromkeys((1, 6, 14, 15), BT709_CURVE),
    4: (2.2,),
    5: (2.8,),
    8: (1.0,),
    13: SRGB_CURVE,
}
HDR = {16: "PQ", 18: "HLG"}
AS_SRGB = frozenset({1, 6, 13, 14, 15, UNSPECIFIED})  # with the primaries of sRGB
SRGB_GAMMA = 1 / 2.2  # that files of sRGB state

D50 = np.array([0.9642, 1.0, 0.8249])
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
NCLX = re.compile(rb"colrnclx(..)(..)(..)", re.DOTALL)  # primaries, transfer function, matrix


def nclx_colours(head: bytes) -> tuple[int, int] | None:
    """Return primaries and transfer function that the first bytes of an AVIF or HEIC file state."""
    stated = NCLX.search(head)
    return stated and (int.from_bytes(stated[1], "big"), int.from_bytes(stated[2], "big"))


def are_known(primaries: int, transfer: int) -> bool:
    """Return whether these numbers of ITU-T H.273 state colours that are known, or HDR."""
    return transfer in HDR or (primaries in PRIMARIES and transfer in TRANSFERS)


def from_numbers(
    primaries: int, transfer: int, *, grey: bool
) -> tuple[bytes | None, tuple[str, ...]]:
    """Return the profile of primaries and transfer function of ITU-T H.273, and notices.

    None where they are those of sRGB. Raises ImageError for HDR.
    """
    if transfer in HDR:
        raise ImageError(f"its colours are HDR ({HDR[transfer]}): convert it to SDR first")
    if primaries in {1, UNSPECIFIED} and transfer in AS_SRGB:
        return None, ()
    primaries = 1 if primaries == UNSPECIFIED else primaries
    transfer = 13 if transfer == UNSPECIFIED else transfer
    if primaries not in PRIMARIES or transfer not in TRANSFERS:
        return None, (
            f"Its colours (CICP {primaries}, {transfer}) are not known: treated as sRGB.",
        )
    return _profile(PRIMARIES[primaries], TRANSFERS[transfer], grey=grey), ()


def from_gamma(gamma: float, chromaticities: Sequence[float] | None, *, grey: bool) -> bytes | None:
    """Return the profile of gAMA and cHRM (x and y of white, red, green, blue).

    None where they are those of sRGB, or impossible.
    """
    given = PRIMARIES[1]
    if chromaticities:
        x, y = chromaticities[::2], chromaticities[1::2]
        given = tuple(zip(x, y, strict=True))
    if np.allclose(given, PRIMARIES[1], atol=0.002) and abs(gamma - SRGB_GAMMA) < 0.01:
        return None
    try:
        return _profile(given, (1 / gamma,), grey=grey)
    except (ZeroDivisionError, np.linalg.LinAlgError, struct.error):
        return None


def _profile(chromaticities: Chromaticities, curve: Sequence[float], *, grey: bool) -> bytes:
    """Return an ICC profile, version 4.3: a curve, and for RGB a matrix."""
    tone = b"para" + struct.pack(">IHH", 0, 0 if len(curve) == 1 else 3, 0) + _fixed(curve)
    tags = {
        b"desc": _text("Colours stated by the file"),
        b"cprt": _text("No copyright"),
        b"wtpt": b"XYZ " + bytes(4) + _fixed(D50),
    }
    if grey:
        tags[b"kTRC"] = tone
    else:
        for letter, column in zip(b"rgb", _to_pcs(chromaticities).T, strict=True):
            tags[bytes([letter]) + b"XYZ"] = b"XYZ " + bytes(4) + _fixed(column)
            tags[bytes([letter]) + b"TRC"] = tone
    table, data, at = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        table += struct.pack(">4sII", name, at + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    size = at + len(data)
    space = b"GRAY" if grey else b"RGB "
    header = struct.pack(">I4xI4s4s4s12x4s", size, 0x04300000, b"mntr", space, b"XYZ ", b"acsp")
    header += bytes(28) + _fixed(D50) + bytes(48)
    return header + table + data


def _to_pcs(chromaticities: Chromaticities) -> NDArray[np.float64]:
    """Return XYZ of red, green, blue as columns, adapted to D50 (Bradford)."""
    white, *colours = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in chromaticities)
    matrix = np.stack(colours, axis=1)
    matrix = matrix * np.linalg.solve(matrix, white)
    gain = (BRADFORD @ D50) / (BRADFORD @ white)
    adapted: NDArray[np.float64] = np.linalg.inv(BRADFORD) @ np.diag(gain) @ BRADFORD @ matrix
    return adapted


def _fixed(values: Sequence[float] | NDArray[np.float64]) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def _text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    return b"mluc" + struct.pack(">III2s2sII", 0, 1, 12, b"en", b"US", len(encoded), 28) + encoded
