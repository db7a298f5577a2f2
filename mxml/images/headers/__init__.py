"""What the header of a picture file says: format, size, orientation, transparency, and whether all of it is there.

Nothing is decoded here and nothing is allocated by what a file claims, so headers can be checked before anything else.
Each format has a module of its own.
"""

from __future__ import annotations

import struct
from typing import Callable

from mxml.errors import ImageError
from mxml.images.headers.bmp import parse_bmp
from mxml.images.headers.header import FORMATS, Damaged, Header, JpegCoding
from mxml.images.headers.jpeg import parse_jpeg
from mxml.images.headers.other_files import what_else
from mxml.images.headers.png import parse_png
from mxml.images.headers.tiff import parse_tiff
from mxml.images.headers.webp import parse_webp

__all__ = ["FORMATS", "Header", "JpegCoding", "read_header"]

_PARSERS: tuple[tuple[bytes, Callable[[bytes], Header]], ...] = (
    (b"\xff\xd8\xff", parse_jpeg),
    (b"\x89PNG\r\n\x1a\n", parse_png),
    (b"RIFF", parse_webp),
    (b"BM", parse_bmp),
    (b"II*\0", parse_tiff),
    (b"MM\0*", parse_tiff),
    (b"II+\0", parse_tiff),
    (b"MM\0+", parse_tiff),
)


def read_header(data: bytes, path: str = "") -> Header:
    """Read the header of an image and check that the file is whole.

    ``data`` is the whole file. Raises ImageError, naming ``path``, for what is not an image, for a format other than
    FORMATS, for a size of nought, and for a file that ends before its last part: a JPEG without its end marker after
    the picture's data, a PNG without IEND, a WebP shorter than its RIFF length, a BMP or TIFF whose pixels lie beyond
    its end. Data after the end of a picture, such as a camera's padding, are not a fault.
    """
    parse = next((parse for magic, parse in _PARSERS if data.startswith(magic)), None)
    if parse is None or (parse is parse_webp and data[8:12] != b"WEBP"):
        raise ImageError(what_else(data), path, "unreadable" if data else "empty")
    try:
        header = parse(data)
    except Damaged as fault:
        raise ImageError(str(fault), path, fault.kind) from None
    except (struct.error, IndexError, OverflowError):  # BigTIFF can point beyond what an index may be
        raise ImageError("the file is cut off inside its header", path, "truncated") from None
    if header.width < 1 or header.height < 1:
        raise ImageError(f"the header gives a size of {header.width}x{header.height} pixels", path)
    return header
