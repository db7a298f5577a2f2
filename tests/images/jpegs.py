"""JPEG files made for tests: in every usual way of coding, and crafted ones."""

from __future__ import annotations

import struct

import numpy as np

from mxml.runtime.imports import load_cv2

cv2 = load_cv2()

SAMPLINGS = {"4:4:4": 0x111111, "4:2:2": 0x211111, "4:2:0": 0x221111, "4:4:0": 0x121111, "4:1:1": 0x411111}


def encoded(
    bgr: np.ndarray, sampling: str = "4:2:0", *, progressive: bool = False, quality: int = 90, restart: int = 0
) -> bytes:
    """Encode with OpenCV; ``restart`` puts a restart marker behind so many rows of blocks."""
    flags = {
        cv2.IMWRITE_JPEG_QUALITY: quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR: SAMPLINGS[sampling],
        cv2.IMWRITE_JPEG_PROGRESSIVE: int(progressive),
        cv2.IMWRITE_JPEG_RST_INTERVAL: restart,
    }
    return cv2.imencode(".jpg", bgr, [value for pair in flags.items() for value in pair])[1].tobytes()


def scans(data: bytes) -> list[int]:
    """Return where each scan's header begins; inside the coded data this pair cannot occur."""
    starts = [data.index(b"\xff\xda")]
    while (next_start := data.find(b"\xff\xda", starts[-1] + 1)) >= 0:
        starts.append(next_start)
    return starts


def of_many_scans(side: int, count: int, *, progressive: bool = True) -> bytes:
    """Return a grey square in so many more scans than one, all of them empty: a few bytes each.

    The same frame in baseline coding has three colours, one after another, over and over.
    """

    def segment(marker: int, content: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content

    blocks = (-(-side // 8)) ** 2
    names = (1,) if progressive else (1, 2, 3)
    components = b"".join(bytes([name, 0x11, 0]) for name in names)
    data = b"\xff\xd8" + segment(0xDB, b"\0" + b"\1" * 64)
    data += segment(0xC2 if progressive else 0xC0, struct.pack(">BHHB", 8, side, side, len(names)) + components)
    # Codes: 0 is a DC difference of 0; 0 ends a block, 10 and 14 bits end 16,384 blocks and more.
    data += segment(0xC4, b"\x00" + bytes([1] + [0] * 15) + b"\0")
    data += segment(0xC4, b"\x10" + bytes([1, 1] + [0] * 14) + b"\x00\xe0")
    if not progressive:
        empty = bytes(-(-2 * blocks // 8))
        scan = b"".join(segment(0xDA, bytes([1, name, 0, 0, 63, 0])) + empty for name in names)
        return data + scan * -(-(count + 1) // 3) + b"\xff\xd9"
    data += segment(0xDA, b"\1\1\0\0\0\0") + bytes(-(-blocks // 8))
    scan = segment(0xDA, b"\1\1\0\1\x3f\0") + b"\x80\0" * -(-blocks // 16384)
    return data + scan * count + b"\xff\xd9"
