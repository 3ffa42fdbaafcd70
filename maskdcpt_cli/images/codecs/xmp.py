"""Pillow hands XMP over as bytes; what it announces and a result does not hold is removed here."""

import re

GAIN_MAP = "The HDR gain map is left out: the result is the SDR image."
VIDEO = "The video of the motion photo is left out."
GOOGLE = b"http://ns.google.com/photos/1.0/"
# What an XMP packet announces: a namespace, the names of fields in it, and the notice that it is
# left out.
ANNOUNCED = (
    (b"http://ns.adobe.com/hdr-gain-map/1.0/", rb"\w+", GAIN_MAP),
    (b"http://ns.apple.com/HDRGainMap/1.0/", rb"\w+", GAIN_MAP),
    (GOOGLE + b"camera/", rb"(?:MotionPhoto|MicroVideo)\w*", VIDEO),
    (
        b"http://ns.adobe.com/xmp/note/",
        b"HasExtendedXMP",
        "The second part of its XMP is left out.",
    ),
)


def without_announcements(xmp: bytes | None) -> tuple[bytes | None, tuple[str, ...]]:
    """Return an XMP packet without fields about parts of the file that are lost, and notices."""
    if xmp is None:
        return None, ()
    notices = []
    for namespace, names, notice in ANNOUNCED:
        cleaned = _without(namespace, names, xmp)
        if cleaned != xmp:
            notices.append(notice)
            xmp = cleaned
    if notices:  # a list of the parts of the file
        xmp = _without(GOOGLE + b"container/", b"Directory", xmp)
    return xmp, tuple(notices)


def without_orientation(xmp: bytes | None) -> bytes | None:
    """Return an XMP packet without its orientation, for pixels that are upright."""
    return xmp and _without(b"http://ns.adobe.com/tiff/1.0/", b"Orientation", xmp)


def _without(namespace: bytes, names: bytes, xmp: bytes) -> bytes:
    """Remove fields of a namespace, whatever its prefix, written as attributes or as elements."""
    bound = rb"xmlns:([^\s=:]+)\s*=\s*[\"']%b[\"']" % re.escape(namespace)
    for prefix in set(re.findall(bound, xmp)):
        field = rb"%b:%b" % (re.escape(prefix), names)
        xmp = re.sub(rb"\s%b\s*=\s*(?:\"[^\"]*\"|'[^']*')" % field, b"", xmp)
        element = rb"<(%b)(?:\s[^>]*)?(?:/>|>.*?</\1\s*>)" % field
        xmp = re.sub(element, b"", xmp, flags=re.DOTALL)
    return xmp
