"""The orientation in an EXIF block, which is laid out as TIFF."""

from __future__ import annotations

import struct


def exif_orientation(exif: bytes) -> int:
    """Return the orientation that an EXIF block holds; 1 where it holds none or is damaged."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        offset = struct.unpack_from(order + "I", exif, 4)[0]
        for entry in range(struct.unpack_from(order + "H", exif, offset)[0]):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", exif, offset + 2 + 12 * entry)
            if tag == 0x0112 and kind == 3:
                return checked_orientation(value)
    except struct.error:
        pass
    return 1


def checked_orientation(value: int) -> int:
    """Return an orientation of 1 to 8 as it is, and 1 for any other number."""
    return value if 1 <= value <= 8 else 1
