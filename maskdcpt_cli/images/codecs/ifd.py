"""Pillow decodes the values of EXIF and writes others for them; here their bytes stay untouched.

Directories of TIFF files and of EXIF blocks (TIFF 6.0, section 2).
"""

import contextlib
import struct
from collections.abc import Container, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO, Literal, TypeAlias, Union

ORIENTATION, XMP, EXIF, ICC_PROFILE = 274, 700, 34665, 34675
RESOLUTION = (282, 283, 296)  # across, down, and the unit of both
SHORT, LONG, RATIONAL, UNDEFINED, LONG8 = 3, 4, 5, 7, 16

# Bytes of one value, by the type's number.
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
SIZES |= {16: 8, 17: 8, 18: 8}
CODES = {SHORT: "H", LONG: "I", RATIONAL: "I", LONG8: "Q"}

MOST_DPI = 1e5  # more is nonsense, or more than formats hold
LONGEST, MOST_ENTRIES = 1 << 26, 1 << 16  # bytes of a value, entries of a directory

SUBDIRECTORIES = frozenset({EXIF, 34853, 40965})  # Exif, GPS, and interoperability within Exif

OF_PAGES = frozenset({285, 297})  # the name and number of a page

# What says something about the photo rather than about how a file stores it: document, description,
# camera, orientation, software, time, author, rating, copyright, IPTC, GeoTIFF and GDAL's own,
# Windows' titles.
DESCRIPTIVE = frozenset(
    {269, 270, 271, 272, 274, 305, 306, 315, 316, 18246, 18249, 33432, 33723}
    | {33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113}
    | set(range(40091, 40096))
    | OF_PAGES
    | SUBDIRECTORIES
)


@dataclass(frozen=True)
class Field:
    """One entry: the number of its type, and its values as bytes in the file's order."""

    type: int
    data: bytes


Directory: TypeAlias = Mapping[int, Union[Field, "Directory"]]


@dataclass(frozen=True)
class Layout:
    """The layout of numbers: the byte order as `struct` writes it, and BigTIFF or not."""

    order: Literal["<", ">"]
    big: bool = False

    @property
    def offset(self) -> str:
        return self.order + ("Q" if self.big else "I")

    @property
    def count(self) -> str:
        return self.order + ("Q" if self.big else "H")

    @property
    def value_size(self) -> int:
        """The bytes of an entry for its values, or for their offset."""
        return 8 if self.big else 4

    @property
    def entry(self) -> str:
        return self.order + ("HHQ8s" if self.big else "HHI4s")

    def header(self, first: int) -> bytes:
        """Return the header of a file whose first directory is at offset `first`."""
        mark = b"II" if self.order == "<" else b"MM"
        version = (43, 8, 0) if self.big else (42,)
        code = f"{self.order}{len(version)}H"
        return mark + struct.pack(code, *version) + struct.pack(self.offset, first)


def read(
    stream: BinaryIO, tags: Container[int], *, at: int | None = None
) -> tuple[Layout, Directory]:
    """Read the directory at an offset of a TIFF stream, those of its entries that are in `tags`.

    None is the first directory. Entries that point outside the stream, or are cut short, are left
    out; ValueError where there is no directory.
    """
    stream.seek(0)
    head = stream.read(16)
    orders: dict[bytes, Literal["<", ">"]] = {b"II": "<", b"MM": ">"}
    if head[:2] not in orders or len(head) < 8:
        raise ValueError("no TIFF header")
    order = orders[head[:2]]
    layout = Layout(order, big=struct.unpack(order + "H", head[2:4])[0] == 43)
    if at is None:
        at = _unpack(layout.offset, head[8:] if layout.big else head[4:8])
    return layout, _read_directory(stream, layout, at, tags, depth=0)


def _unpack(code: str, data: bytes) -> int:
    if len(data) != struct.calcsize(code):
        raise ValueError("the directory points outside the file")
    value: int = struct.unpack(code, data)[0]
    return value


def _read_directory(
    stream: BinaryIO, layout: Layout, at: int, tags: Container[int], *, depth: int
) -> Directory:
    stream.seek(at)
    entries = _unpack(layout.count, stream.read(struct.calcsize(layout.count)))
    size = struct.calcsize(layout.entry)
    table = stream.read(min(entries, MOST_ENTRIES) * size)
    whole = len(table) // size * size
    if len(table) != entries * size and (depth > 0 or not whole):
        raise ValueError("the directory is cut short")
    directory: dict[int, Field | Directory] = {}
    for tag, field_type, count, value in struct.iter_unpack(layout.entry, table[:whole]):
        if field_type not in SIZES or (depth == 0 and tag not in tags):
            continue
        length = count * SIZES[field_type]
        if length > LONGEST:
            continue
        if tag in SUBDIRECTORIES and depth < 2:
            with contextlib.suppress(ValueError, OverflowError):  # a damaged one is left out
                code = layout.order + ("Q" if SIZES[field_type] == 8 else "I")
                where = _unpack(code, value[: SIZES[field_type]])
                directory[tag] = _read_directory(stream, layout, where, tags, depth=depth + 1)
            continue
        data = value[:length]
        if length > layout.value_size:
            stream.seek(_unpack(layout.offset, value))
            data = stream.read(length)
        if len(data) == length:  # else it is outside the file, and left out
            directory[tag] = Field(field_type, data)
    return directory


def pack(directory: Directory, layout: Layout, at: int) -> bytes:
    """Return the bytes of a directory for offset `at`; no directory follows it."""
    values_at = at + sum(map(struct.calcsize, (layout.count, layout.offset)))
    values_at += len(directory) * struct.calcsize(layout.entry)
    entries, values = b"", b""
    for tag, field in sorted(directory.items()):
        if isinstance(field, Field):
            field_type, count, data = field.type, len(field.data) // SIZES[field.type], field.data
        else:
            field_type, count = LONG8 if layout.big else LONG, 1
            data = pack(field, layout, values_at)
        if isinstance(field, Field) and len(data) <= layout.value_size:
            value = data
        else:
            value = struct.pack(layout.offset, values_at)
            data += b"\0" * (len(data) % 2)
            values += data
            values_at += len(data)
        entries += struct.pack(layout.entry, tag, field_type, count, value)
    end = struct.pack(layout.offset, 0)
    return struct.pack(layout.count, len(directory)) + entries + end + values


def block(directory: Directory, layout: Layout) -> bytes:
    """Return an EXIF block: a TIFF file of one directory and no pixels."""
    plain = Layout(layout.order)
    return plain.header(8) + pack(directory, plain, 8)


def without_thumbnail(exif: bytes) -> bytes:
    """Return an EXIF block without its second directory, of the photo as it was: it is unlinked."""
    order: Literal["<", ">"] = "<" if exif[:2] == b"II" else ">"
    try:
        (at,) = struct.unpack_from(order + "I", exif, 4)
        (entries,) = struct.unpack_from(order + "H", exif, at)
        end = at + 2 + 12 * entries
        struct.unpack_from(order + "I", exif, end)
    except struct.error:  # it ends before
        return exif
    return exif[:end] + b"\0\0\0\0" + exif[end + 4 :]


def parse_block(exif: bytes) -> tuple[Layout, Directory]:
    """Return the descriptive entries of an EXIF block; ValueError where it is damaged."""
    return read(BytesIO(exif), DESCRIPTIVE)


def number(directory: Directory, tag: int, layout: Layout) -> float | None:
    """Return the first value of a numeric entry; None where there is none."""
    field = directory.get(tag)
    if not isinstance(field, Field) or field.type not in CODES:
        return None
    code = layout.order + CODES[field.type]
    values = [value for (value,) in struct.iter_unpack(code, field.data)]
    if not values:
        return None
    if field.type == RATIONAL:
        return values[0] / values[1] if values[1] else None
    return float(values[0])


def orientation(exif: bytes | None) -> int:
    """Return the orientation of an EXIF block, 1 where it has none."""
    if not exif:
        return 1
    layout, directory = parse_block(exif)
    stated = number(directory, ORIENTATION, layout)
    return int(stated) if stated and stated in range(1, 9) else 1
