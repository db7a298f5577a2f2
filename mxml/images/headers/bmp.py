"""BMP: the headers of the Windows API, BITMAPFILEHEADER and BITMAPINFOHEADER."""

from __future__ import annotations

import struct

from mxml.images.headers.header import CutOff, Damaged, Header


def parse_bmp(data: bytes) -> Header:
    """Read both headers, and check that the pixels lie inside the file."""
    file_size, _, pixels, header_size = struct.unpack_from("<IIII", data, 2)
    compression = size = 0
    if header_size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
    elif header_size >= 40:
        width, height, _, bits, compression, size = struct.unpack_from("<iiHHII", data, 18)
    else:
        raise Damaged("the BMP file has an unknown header")
    height = abs(height)
    if compression in (0, 3):
        needed = pixels + (width * bits + 31) // 32 * 4 * height
    else:
        needed = pixels + size if size else file_size
    if needed > len(data):
        raise CutOff("BMP", f"it should hold {needed:,} bytes")
    return Header("BMP", width, height)
