"""What a picture file says of itself: format, size, orientation, transparency, and whether all of it is there.

Nothing is decoded here and nothing is allocated by what a file claims, so headers can be checked before anything else.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Callable

from mxml.errors import ImageError

FORMATS = ("JPEG", "PNG", "WebP", "BMP", "TIFF")


@dataclass(frozen=True)
class Header:
    """What the header of an image says.

    ``width`` and ``height`` are pixels as stored; ``orientation`` is EXIF's, 1 to 8; ``has_alpha`` tells whether the
    file carries transparency; ``bits`` is the depth of one sample; ``animated`` tells whether more pictures follow the
    first: the frames of a PNG or WebP animation, the pages of a TIFF.
    """

    format: str
    width: int
    height: int
    orientation: int = 1
    has_alpha: bool = False
    bits: int = 8
    animated: bool = False

    @property
    def shown_size(self) -> tuple[int, int]:
        """Return (width, height) as a viewer shows the picture, its orientation applied."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def read_header(data: bytes, path: str = "") -> Header:
    """Read the header of an image and check that the file is whole.

    ``data`` is the whole file. Raises ImageError, naming ``path``, for what is no image, for a format other than
    FORMATS, for a size of nought, and for a file that ends before its last part: a JPEG without its end marker after
    the picture's data, a PNG without IEND, a WebP shorter than its RIFF length, a BMP or TIFF whose pixels lie beyond
    its end. What follows the end of a picture, such as a camera's padding, is no fault.
    """
    parse = next((parse for magic, parse in _PARSERS if data.startswith(magic)), None)
    if parse is None or (parse is _webp and data[8:12] != b"WEBP"):
        raise ImageError(_what_else(data), path, "unreadable" if data else "empty")
    try:
        header = parse(data)
    except _CutOff as fault:
        raise ImageError(str(fault), path, "truncated") from None
    except _Damaged as fault:
        raise ImageError(str(fault), path) from None
    except (struct.error, IndexError, OverflowError):  # BigTIFF can point beyond what an index may be
        raise ImageError("the file is cut off inside its header", path, "truncated") from None
    if header.width < 1 or header.height < 1:
        raise ImageError(f"the header gives a size of {header.width}x{header.height} pixels", path)
    return header


class _Damaged(Exception):
    """A fault of the file, told without its path."""


class _CutOff(_Damaged):
    """The end of the file is missing."""


def _cut_off(format: str, lacks: str) -> _CutOff:
    return _CutOff(f"the {format} file is cut off: {lacks}")


# JPEG: ITU T.81, annex B.

_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_LONE_MARKERS = frozenset((0x01, *range(0xD0, 0xD8)))


def _jpeg(data: bytes) -> Header:
    position, width, height, bits, orientation = 2, 0, 0, 8, 1
    while True:
        position = data.find(b"\xff", position)  # decoders skip what stands between segments, so this does, too
        if position < 0:
            raise _cut_off("JPEG", "it ends before its picture begins")
        marker = data[position + 1]
        if marker in (0x00, 0xFF):
            position += 1
        elif marker in _LONE_MARKERS:
            position += 2
        elif marker == 0xD9:
            raise _Damaged("the JPEG file holds no picture")
        else:
            start = position + 4
            length = (data[position + 2] << 8) | data[position + 3]
            if marker in _FRAME_MARKERS:
                bits, height, width, components = struct.unpack_from(">BHHB", data, start)
                if bits != 8:
                    raise _Damaged(f"JPEG with {bits} bits a sample is not supported; save it with 8")
                if components not in (1, 3, 4):
                    raise _Damaged(f"JPEG with {components} colour components is not supported; save it as RGB")
            elif marker == 0xE1 and data.startswith(b"Exif\0\0", start):
                orientation = _exif_orientation(data[start + 6 : position + 2 + length])
            elif marker == 0xDA:
                break
            position += 2 + length
    if not width:
        raise _Damaged("the JPEG file has no frame header before its picture")
    if data.rfind(b"\xff\xd9", position) < 0:  # inside the coded data this pair cannot occur
        raise _cut_off("JPEG", "its end marker is missing")
    return Header("JPEG", width, height, orientation)


# PNG: the PNG specification, third edition (W3C), chapters 5 and 11; acTL is that of its animations.


def _png(data: bytes) -> Header:
    length, kind, width, height, bits, colour = struct.unpack_from(">I4sIIBB", data, 8)
    if kind != b"IHDR" or length != 13:
        raise _Damaged("the PNG file does not begin with its header")
    has_alpha, orientation, has_pixels, animated = colour in (4, 6), 1, False, False
    position = 33
    while kind != b"IEND":
        if position + 12 > len(data):
            raise _cut_off("PNG", "its end chunk is missing")
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind == b"tRNS":
            has_alpha = True
        elif kind == b"eXIf":
            orientation = _exif_orientation(data[position + 8 : position + 8 + length])
        elif kind == b"acTL" and not has_pixels:  # behind the picture it counts for nothing
            animated = struct.unpack_from(">I", data, position + 8)[0] > 1
        elif kind == b"IDAT":
            has_pixels = True
        position += 12 + length
    if not has_pixels:
        raise _Damaged("the PNG file holds no picture")
    return Header("PNG", width, height, orientation, has_alpha, bits, animated)


# WebP: the WebP container specification; VP8 frame header RFC 6386, 9.1; VP8L the lossless bitstream specification.


def _webp(data: bytes) -> Header:
    if 8 + struct.unpack_from("<I", data, 4)[0] > len(data):
        raise _cut_off("WebP", f"it should hold {8 + struct.unpack_from('<I', data, 4)[0]:,} bytes")
    width, height, orientation, has_alpha, frames = 0, 0, 1, False, 0
    for kind, start, stop in riff_chunks(data, 12):
        if kind == b"VP8X" and start == 20:  # elsewhere decoders pass over it
            has_alpha = bool(data[start] & 0x10)
            width = 1 + int.from_bytes(data[start + 4 : start + 7], "little")
            height = 1 + int.from_bytes(data[start + 7 : start + 10], "little")
        elif kind in (b"VP8 ", b"VP8L", b"ANMF"):
            frames += 1
            if frames > 1:
                continue
            if not width and kind == b"VP8 ":
                width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, start + 6))
            elif not width and kind == b"VP8L":
                packed = struct.unpack_from("<I", data, start + 1)[0]
                width, height = 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
                has_alpha = bool(packed >> 28 & 1)
        elif kind == b"EXIF":
            exif = data[start:stop]
            orientation = _exif_orientation(exif[6:] if exif.startswith(b"Exif\0\0") else exif)
    if not frames:
        raise _Damaged("the WebP file holds no picture")
    return Header("WebP", width, height, orientation, has_alpha, animated=frames > 1)


def riff_chunks(data: bytes, position: int) -> Iterator[tuple[bytes, int, int]]:
    """Walk the chunks of a RIFF file from ``position``: each one's name, and where its content starts and stops."""
    while position + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, position)
        stop = position + 8 + length
        if stop > len(data):
            if kind in (b"VP8 ", b"VP8L", b"ANMF", b"ALPH", b"VP8X"):
                raise _cut_off("WebP", "its picture goes on beyond its end")
            return  # what follows the picture may be anything
        yield kind, position + 8, stop
        position = stop + (length & 1)


# BMP: the headers of the Windows API, BITMAPFILEHEADER and BITMAPINFOHEADER.


def _bmp(data: bytes) -> Header:
    file_size, _, pixels, header_size = struct.unpack_from("<IIII", data, 2)
    compression = size = 0
    if header_size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
    elif header_size >= 40:
        width, height, _, bits, compression, size = struct.unpack_from("<iiHHII", data, 18)
    else:
        raise _Damaged("the BMP file has an unknown header")
    height = abs(height)
    if compression in (0, 3):
        needed = pixels + (width * bits + 31) // 32 * 4 * height
    else:
        needed = pixels + size if size else file_size
    if needed > len(data):
        raise _cut_off("BMP", f"it should hold {needed:,} bytes")
    return Header("BMP", width, height)


# TIFF 6.0, section 2, and BigTIFF.

_TIFF_TYPES = {1: "B", 2: "B", 3: "H", 4: "I", 16: "Q"}
# What a page is of another; width, height, bits, strips (where, how long), orientation, tiles (size, where, how long),
# extra and floating samples.
_TIFF_TAGS = frozenset((254, 256, 257, 258, 273, 274, 279, 322, 323, 324, 325, 338, 339))
_LARGEST_TILE = 1 << 24  # pixels, also in a smaller image
_MOST_TIFF_VALUES = 1 << 20  # tiles of 16 x 16 pixels in the largest image that is read by default: 0.7 million


def _tiff(data: bytes) -> Header:
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    offset = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    tags = dict(_tiff_tags(data, order, big, offset))
    try:
        width, height = tags[256][0], tags[257][0]
        starts = tags[273] if 273 in tags else tags[324]
        lengths = tags[279] if 273 in tags else tags[325]
    except (KeyError, IndexError):
        raise _Damaged("the TIFF file lacks the size or the place of its picture") from None
    if not starts or len(starts) != len(lengths):
        raise _Damaged("the TIFF file lacks the place of its picture")
    if max(start + length for start, length in zip(starts, lengths)) > len(data):
        raise _cut_off("TIFF", "its picture goes on beyond its end")
    tile = max(tags.get(322, ()), default=0) * max(tags.get(323, ()), default=0)
    if tile > max(_LARGEST_TILE, 2 * width * height):  # a decoder makes room for whole tiles
        raise _Damaged(f"the TIFF file claims tiles of {tile:,} pixels, many times its picture")
    bits = max(tags.get(258, ()) or (1,))
    if bits > 16 or max(tags.get(339, ()) or (1,)) == 3:
        raise _Damaged(f"TIFF with {bits}-bit or floating-point samples is not supported; save it with 8 or 16 bits")
    orientation = tags[274][0] if tags.get(274) else 1
    has_alpha = bool(set(tags.get(338, ())) & {1, 2})
    has_pages = _has_second_page(data, order, big, offset)
    return Header("TIFF", width, height, _checked(orientation), has_alpha, bits, has_pages)


def _has_second_page(data: bytes, order: str, big: bool, offset: int) -> bool:
    """Say whether another picture follows the directory at ``offset``: not a small copy or a mask of the first."""
    count = struct.unpack_from(order + ("Q" if big else "H"), data, offset)[0]
    end = offset + (8 + 20 * count if big else 2 + 12 * count)
    try:
        second = struct.unpack_from(order + ("Q" if big else "I"), data, end)[0]
        tags = dict(_tiff_tags(data, order, big, second)) if second else {}
    except (struct.error, OverflowError, _Damaged):
        return False  # it is never decoded
    return 256 in tags and not (tags.get(254) or (0,))[0] & 0b101


def _tiff_tags(data: bytes, order: str, big: bool, offset: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Walk the whole-number tags of _TIFF_TAGS in one image file directory; where one is there twice, the first counts.

    So it does for libtiff, whatever the first one's type is: what is checked here must be what is decoded.
    """
    count = struct.unpack_from(order + ("Q" if big else "H"), data, offset)[0]
    offset += 8 if big else 2
    entry_size, room = (20, 8) if big else (12, 4)
    if offset + count * entry_size > len(data):
        raise _cut_off("TIFF", "its directory goes on beyond its end")
    seen = set()
    for entry in range(offset, offset + count * entry_size, entry_size):
        tag, kind, values = struct.unpack_from(order + ("HHQ" if big else "HHI"), data, entry)
        if tag not in _TIFF_TAGS or tag in seen:
            continue
        seen.add(tag)
        if kind in _TIFF_TYPES:
            if values > _MOST_TIFF_VALUES:
                raise _Damaged(f"the TIFF file claims {values:,} values for one tag")
            start = entry + entry_size - room
            if values * struct.calcsize("=" + _TIFF_TYPES[kind]) > room:
                start = struct.unpack_from(order + ("Q" if big else "I"), data, start)[0]
            if start + values * struct.calcsize("=" + _TIFF_TYPES[kind]) > len(data):
                raise _cut_off("TIFF", "its directory points beyond its end")
            yield tag, struct.unpack_from(f"{order}{values}{_TIFF_TYPES[kind]}", data, start)


def _exif_orientation(exif: bytes) -> int:
    """Return the orientation that an EXIF block (laid out as TIFF) holds; 1 where it holds none or is damaged."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        offset = struct.unpack_from(order + "I", exif, 4)[0]
        for entry in range(struct.unpack_from(order + "H", exif, offset)[0]):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", exif, offset + 2 + 12 * entry)
            if tag == 0x0112 and kind == 3:
                return _checked(value)
    except struct.error:
        pass
    return 1


def _checked(orientation: int) -> int:
    return orientation if 1 <= orientation <= 8 else 1


_PARSERS: tuple[tuple[bytes, Callable[[bytes], Header]], ...] = (
    (b"\xff\xd8\xff", _jpeg),
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"RIFF", _webp),
    (b"BM", _bmp),
    (b"II*\0", _tiff),
    (b"MM\0*", _tiff),
    (b"II+\0", _tiff),
    (b"MM\0+", _tiff),
)

_OTHERS = (
    (b"GIF8", "GIF"),
    (b"8BPS", "Photoshop"),
    (b"%PDF", "PDF"),
    (b"\0\0\1\0", "icon"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"\x1f\x8b", "gzip"),
    (b"PK\3\4", "zip"),
)


def _what_else(data: bytes) -> str:
    """Say what a file is that is none of FORMATS."""
    wanted = "convert it to JPEG, PNG, WebP, BMP or TIFF"
    if not data:
        return "the file is empty"
    for magic, name in _OTHERS:
        if data.startswith(magic):
            return f"unsupported format ({name}); {wanted}"
    if data[4:8] == b"ftyp":
        name = "AVIF" if data[8:12] in (b"avif", b"avis") else "HEIC or video"
        return f"unsupported format ({name}); {wanted}"
    beginning = data[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if beginning.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "the file is a web page, not an image (perhaps what a failed download left)"
    if beginning.startswith((b"<svg", b"<?xml")):
        return f"unsupported format (SVG or XML); {wanted}"
    if beginning.startswith(b"version https://git-lfs"):
        return "the file is a Git LFS pointer, not the image; fetch it with: git lfs pull"
    if not data.strip(b"\0"):
        return "the file holds nothing but zeros"
    return f"not an image in a known format; {wanted}"
