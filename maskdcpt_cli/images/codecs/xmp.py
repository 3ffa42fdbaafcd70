"""Pillow hands XMP over as bytes; what it announces and a result does not hold is removed here."""

import re

GAIN_MAP = "The HDR gain map is left out: the result is the SDR image."
# What an XMP packet announces, by the names of its fields, and the notice that it is left out.
ANNOUNCED: dict[bytes, str] = {
    rb"hdrgm:\w+|HDRGainMap:\w+": GAIN_MAP,
    rb"GCamera:(?:MotionPhoto|MicroVideo)\w*": "The video of the motion photo is left out.",
    rb"xmpNote:HasExtendedXMP": "The second part of its XMP is left out.",
}
DIRECTORY = rb"G?Container:Directory"  # of the parts of the file


def without_announcements(xmp: bytes | None) -> tuple[bytes | None, tuple[str, ...]]:
    """Return an XMP packet without fields about parts of the file that are lost, and notices."""
    if xmp is None:
        return None, ()
    notices = []
    for names, notice in ANNOUNCED.items():
        cleaned = _without(names, xmp)
        if cleaned != xmp:
            notices.append(notice)
            xmp = cleaned
    return (_without(DIRECTORY, xmp) if notices else xmp), tuple(notices)


def without_orientation(xmp: bytes | None) -> bytes | None:
    """Return an XMP packet without its orientation, for pixels that are upright."""
    return xmp and _without(rb"tiff:Orientation", xmp)


def _without(names: bytes, xmp: bytes) -> bytes:
    """Remove fields, written as attributes or as elements."""
    xmp = re.sub(rb"\s(?:%b)\s*=\s*(?:\"[^\"]*\"|'[^']*')" % names, b"", xmp)
    return re.sub(rb"<(%b)(?:\s[^>]*)?(?:/>|>.*?</\1\s*>)" % names, b"", xmp, flags=re.DOTALL)
