"""WebP: the container specification; VP8 frame header RFC 6386, 9.1; VP8L the lossless bitstream specification."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from mxml.images.headers.exif import exif_orientation
from mxml.images.headers.header import CutOff, Damaged, Header, TooLarge

_MOST_CHUNKS = 1 << 16
_OF_THE_PICTURE = (b"VP8 ", b"VP8L", b"ANMF", b"ALPH", b"VP8X")


def parse_webp(data: bytes) -> Header:
    """Read the chunks of the file, and the first picture's own header."""
    if 8 + struct.unpack_from("<I", data, 4)[0] > len(data):
        raise CutOff("WebP", f"it should hold {8 + struct.unpack_from('<I', data, 4)[0]:,} bytes")
    width, height, orientation, has_alpha, frames = 0, 0, 1, False, 0
    lossless = False
    for kind, start, stop in _chunks(data):
        if kind == b"VP8X" and start == 20:  # elsewhere decoders ignore it
            has_alpha = bool(data[start] & 0x10)
            width = 1 + int.from_bytes(data[start + 4 : start + 7], "little")
            height = 1 + int.from_bytes(data[start + 7 : start + 10], "little")
        elif kind in (b"VP8 ", b"VP8L", b"ANMF"):
            frames += 1
            if frames > 1:
                continue
            lossless = kind != b"VP8 "
            if not width and kind == b"VP8 ":
                width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, start + 6))
            elif not width and kind == b"VP8L":
                packed = struct.unpack_from("<I", data, start + 1)[0]
                width, height = 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
                has_alpha = bool(packed >> 28 & 1)
        elif kind == b"EXIF":
            exif = data[start:stop]
            orientation = exif_orientation(exif[6:] if exif.startswith(b"Exif\0\0") else exif)
    if not frames:
        raise Damaged("the WebP file holds no picture")
    # A lossless picture, such as a first frame may be, is decoded to four bytes per pixel; a plane of alpha to one.
    scratch = width * height * (4 if lossless else int(has_alpha))
    return Header("WebP", width, height, orientation, has_alpha, animated=frames > 1, scratch=scratch)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Walk the chunks of the file: each one's name, and where its content starts and stops."""
    position = 12
    for _ in range(_MOST_CHUNKS):
        if position + 8 > len(data):
            return
        kind, length = struct.unpack_from("<4sI", data, position)
        stop = position + 8 + length
        if stop > len(data):
            if kind in _OF_THE_PICTURE:
                raise CutOff("WebP", "its picture continues beyond its end")
            return  # what follows the picture may be anything
        yield kind, position + 8, stop
        position = stop + (length & 1)
    raise TooLarge(f"the WebP file has more than {_MOST_CHUNKS:,} chunks")


def first_frame_of_webp(data: bytes, header: Header) -> bytes:
    """Return a still WebP as it is; of an animated one, a still file made of its first frame."""
    for kind, start, stop in _chunks(data):
        if kind == b"ANMF":
            frame = data[start + 16 : stop]
            width, height = (1 + int.from_bytes(data[start + at : start + at + 3], "little") for at in (6, 9))
            if (width, height) != (header.width, header.height):
                raise Damaged("the first frame of this WebP animation does not fill it; save it as a still")
            sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
            extended = b"VP8X" + struct.pack("<II", 10, 0x10 if header.has_alpha else 0) + sides
            body = b"WEBP" + extended + frame
            return b"RIFF" + struct.pack("<I", len(body)) + body
    return data
