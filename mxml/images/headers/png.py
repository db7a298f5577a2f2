"""PNG: the PNG specification, third edition (W3C), chapters 5 and 11; acTL is that of its animations."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from mxml.images.headers.exif import exif_orientation
from mxml.images.headers.header import CutOff, Damaged, Header, TooLarge

_MOST_CHUNKS = 1 << 18  # encoders put at least 8 KiB into one: 32,768 in the largest file that is read
_OF_THE_PICTURE = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"))


def parse_png(data: bytes) -> Header:
    """Read all chunks but what is in the picture's."""
    length, kind, width, height, bits, colour = struct.unpack_from(">I4sIIBB", data, 8)
    if kind != b"IHDR" or length != 13:
        raise Damaged("the PNG file does not begin with its header")
    has_alpha, orientation, has_pixels, animated = colour in (4, 6), 1, False, False
    for kind, start, stop in _chunks(data):
        if kind == b"tRNS":
            has_alpha = True
        elif kind == b"eXIf":
            orientation = exif_orientation(data[start + 8 : stop - 4])
        elif kind == b"acTL" and not has_pixels:  # behind the picture it counts for nothing
            animated = struct.unpack_from(">I", data, start + 8)[0] > 1
        elif kind == b"IDAT":
            has_pixels = True
    if not has_pixels:
        raise Damaged("the PNG file holds no picture")
    return Header("PNG", width, height, orientation, has_alpha, bits, animated)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Walk the chunks: each one's name, and where it starts and stops."""
    position = 8
    for _ in range(_MOST_CHUNKS):
        if position + 12 > len(data):
            raise CutOff("PNG", "its end chunk is missing")
        length, kind = struct.unpack_from(">I4s", data, position)
        yield kind, position, position + 12 + length
        if kind == b"IEND":
            return
        position += 12 + length
    raise TooLarge(f"the PNG file has more than {_MOST_CHUNKS:,} chunks")


def picture_of_png(data: bytes) -> bytes:
    """Return a PNG, whose header has been read, without the chunks that its pixels don't need.

    libpng prints warnings about many colour profiles, and unpacks each of up to 1,000 texts to as much as 8 MB.
    """
    kept: list[tuple[int, int]] = []
    for kind, start, stop in _chunks(data):
        if kind not in _OF_THE_PICTURE:
            continue
        if kept and kept[-1][1] == start:
            kept[-1] = (kept[-1][0], stop)
        else:
            kept.append((start, stop))
    if len(kept) == 1:
        return data
    return b"".join([data[:8], *(data[start:stop] for start, stop in kept)])
