"""What a photo has beside its pixels and a result has not is announced, and not by its XMP."""

import struct
from pathlib import Path

import numpy as np
import pytest

from maskdcpt_cli.images.codecs.xmp import GAIN_MAP, VIDEO, without_announcements
from maskdcpt_cli.images.photo import Page
from maskdcpt_cli.images.reading import Metadata, Photo, read_photo
from maskdcpt_cli.images.writing import write_photo
from tests.images.samples import SHAPE, chunk, exif_block, pillow_image, png_with

XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description rdf:about="" %b
xmlns:Parts="http://ns.google.com/photos/1.0/container/">%b
<Parts:Directory><rdf:Seq><rdf:li/></rdf:Seq></Parts:Directory><xmp:Rating>5</xmp:Rating>
</rdf:Description></rdf:RDF></x:xmpmeta>"""
CAMERA = b'xmlns:%b="http://ns.google.com/photos/1.0/camera/" '
ANNOUNCED = {  # attributes, elements, and the notice
    "gain map": (
        b'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"',
        b"<hdrgm:GainMapMax/>",
        GAIN_MAP,
    ),
    "gain map of Apple": (
        b"xmlns:H = 'http://ns.apple.com/HDRGainMap/1.0/' H:HDRGainMapVersion='65536'",
        b"",
        GAIN_MAP,
    ),
    "motion": (
        CAMERA % b"GCamera" + b"GCamera:MotionPhoto='1'",
        b"<GCamera:MicroVideo>1</GCamera:MicroVideo>",
        VIDEO,
    ),
    "motion by another prefix": (CAMERA % b"Camera" + b'Camera:MotionPhoto="1"', b"", VIDEO),
    "extended": (
        b'xmlns:xmpNote="http://ns.adobe.com/xmp/note/"',
        b"<xmpNote:HasExtendedXMP>D4</xmpNote:HasExtendedXMP>",
        "The second part of its XMP is left out.",
    ),
}


@pytest.mark.parametrize("kind", ANNOUNCED)
def test_xmp_does_not_announce_what_a_result_lacks(tmp_path: Path, kind: str) -> None:
    attributes, elements, notice = ANNOUNCED[kind]
    pillow_image("RGB").save(tmp_path / "in.jpg", xmp=XMP % (attributes, elements))
    photo = read_photo(tmp_path / "in.jpg", max_pixels=None)
    assert photo.notices == (notice,)
    xmp = photo.metadata.xmp
    assert xmp is not None
    assert b"<xmp:Rating>5</xmp:Rating>" in xmp
    names = (b"GainMap", b"MotionPhoto", b"MicroVideo", b"hdrgm:Version", b"Extended")
    assert not any(name in xmp.replace(b"HDRGainMap/1.0/", b"") for name in names)
    assert b"Directory" not in xmp


def test_a_field_of_another_namespace_stays(tmp_path: Path) -> None:
    packet = XMP % (b'xmlns:Camera="http://pix4d.com/camera/1.0" Camera:MotionPhoto="1"', b"")
    pillow_image("RGB").save(tmp_path / "in.jpg", xmp=packet)
    photo = read_photo(tmp_path / "in.jpg", max_pixels=None)
    assert (photo.metadata.xmp, photo.notices) == (packet, ())


@pytest.mark.parametrize("mark", [b"\0\0\0\x18ftypmp42", b"\0\0\x30\x0aMotionPhoto_Data"])
@pytest.mark.parametrize("packet", [b"", XMP % ANNOUNCED["motion"][:2]], ids=["bare", "XMP"])
def test_a_video_behind_a_jpeg_is_announced_once(
    tmp_path: Path, mark: bytes, packet: bytes
) -> None:
    pillow_image("RGB").save(tmp_path / "in.jpg", xmp=packet)
    data = (tmp_path / "in.jpg").read_bytes()
    (tmp_path / "in.jpg").write_bytes(data + bytes(20) + mark + bytes(20))
    assert read_photo(tmp_path / "in.jpg", max_pixels=None).notices == (VIDEO,)


BESIDE = {  # the marker of a segment, its content, and its name in the notice
    "radiometric": (0xE1, b"FLIR\0\1\0\0", "thermal data of FLIR"),
    "C2PA": (0xEB, b"JP\0\1\0\0\0\1 jumb c2pa", "content credentials (C2PA)"),
    "JUMBF": (0xEB, b"JP\0\1\0\0\0\1 jumb", "application data (APP11)"),
    "other": (0xE4, b"what a phone has", "application data (APP4)"),
}


@pytest.mark.parametrize("kind", BESIDE)
def test_segments_of_jpeg_that_are_left_out_are_announced_once(tmp_path: Path, kind: str) -> None:
    marker, content, name = BESIDE[kind]
    segment = b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content
    pillow_image("RGB").save(tmp_path / "in.jpg", extra=segment * 2, exif=exif_block())
    photo = read_photo(tmp_path / "in.jpg", max_pixels=None)
    assert photo.notices == (f"Content beside the pixels is left out: {name}.",)


@pytest.mark.parametrize("content", [b"\x1aQualcomm Camera Attributes", b"\xff\xd8\xff\xe0"])
def test_notes_of_a_camera_for_itself_and_previews_are_trifles(
    tmp_path: Path, content: bytes
) -> None:
    segment = b"\xff\xe7" + struct.pack(">H", len(content) + 2) + content
    pillow_image("RGB").save(tmp_path / "in.jpg", extra=segment)
    with (tmp_path / "in.jpg").open("ab") as stream:
        stream.write(b"\0\0\0\x18ftypheic")  # another photo, and no video
    assert read_photo(tmp_path / "in.jpg", max_pixels=None).notices == ()


def test_a_hostile_packet_of_xmp_takes_no_time() -> None:
    """Names of prefixes: by the square of their length it took minutes."""
    assert without_announcements(b"xmlns:" * 2**18) == (b"xmlns:" * 2**18, ())


def test_the_gain_map_of_a_jpeg_without_xmp_is_announced(tmp_path: Path) -> None:
    version = b"urn:iso:std:iso:ts:21496:-1\0\0\0\0\0"
    segment = b"\xff\xe2" + struct.pack(">H", len(version) + 2) + version
    pillow_image("RGB").save(tmp_path / "in.jpg", extra=segment)
    assert read_photo(tmp_path / "in.jpg", max_pixels=None).notices == (GAIN_MAP,)


def test_private_chunks_of_png_are_announced_and_trifles_are_not(tmp_path: Path) -> None:
    trifles = [
        chunk(b"tIME", bytes(7)),
        chunk(b"bKGD", bytes(6)),
        chunk(b"vpAg", bytes(9)),
        chunk(b"orNT", b"\1"),
    ]
    png_with(tmp_path / "in.png", *trifles)
    with (tmp_path / "in.png").open("ab") as stream:
        stream.write(b"junk" * 9)  # no chunk, as it is behind the last one
    assert read_photo(tmp_path / "in.png", max_pixels=None).notices == ()
    png_with(tmp_path / "in.png", *trifles, chunk(b"caBX", b"jumb"), chunk(b"prVW", b"layers"))
    assert read_photo(tmp_path / "in.png", max_pixels=None).notices == (
        "Content beside the pixels is left out: content credentials (C2PA), private chunk prVW.",
    )


def test_other_xmp_is_carried_byte_for_byte(tmp_path: Path) -> None:
    packet = XMP % (b'hdr:Version="1.0"', b"")
    page = Page(np.zeros((*SHAPE, 3), np.uint8))
    photo = Photo(Path("x"), "jpeg", (page,), metadata=Metadata(xmp=packet))
    write_photo(photo, [page], tmp_path / "out.jpg")
    assert read_photo(tmp_path / "out.jpg", max_pixels=None).metadata.xmp == packet
