"""JPEG bytes to pixels, by TurboJPEG where it gives OpenCV's pixels, else by OpenCV.

TurboJPEG (through simplejpeg) is the newer one here and 1.1 to 3 times as fast; it also reports libjpeg's warnings,
which OpenCV only prints. Both leave Python's lock while they decode.
"""

from __future__ import annotations

import numpy as np
import simplejpeg

from mxml.errors import ImageError
from mxml.images.headers import Header
from mxml.images.opencv import imdecode
from mxml.runtime.imports import load_cv2

__all__ = ["decode_jpeg", "turbojpeg_decodes"]

cv2 = load_cv2()

_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}

_FRAMES = frozenset((0xC0, 0xC1, 0xC2))  # baseline, extended and progressive, with Huffman codes
_LUMA_FACTORS = frozenset(((1, 1), (2, 1), (2, 2), (1, 2), (4, 1)))  # 4:4:4, 4:2:2, 4:2:0, 4:4:0 and 4:1:1
_LEAST_SIDE = 16  # of smaller pictures, several factors give one size, and simplejpeg takes a size instead of a factor

_MISSING = 128  # of every colour, where nothing was decoded


def turbojpeg_decodes(header: Header, reduction: int) -> bool:
    """Say whether TurboJPEG decodes this kind of JPEG, to the pixels that OpenCV would give."""
    coding = header.jpeg
    if coding is None or coding.frame not in _FRAMES:
        return False
    if reduction > 1 and max(header.width, header.height) < _LEAST_SIDE:
        return False
    luma, *colours = coding.sampling
    if not colours:
        return luma == (1, 1)
    return luma in _LUMA_FACTORS and colours == [(1, 1)] * 2


def decode_jpeg(data: bytes, header: Header, reduction: int, path: str) -> tuple[np.ndarray, str | None]:
    """Decode a JPEG to BGR, not yet upright, its sides divided by ``reduction`` and rounded up.

    Returns with it what is damaged inside, or None. Damage that leaves the coded data readable, such as another
    colour's bits, shows in nothing but the picture; of the rare kinds of subsampling that TurboJPEG does not take,
    nothing is said. Raises ImageError for data that cannot be decoded, and for a picture that is cut off before its
    last row of blocks, although the file has an end marker.
    """
    if turbojpeg_decodes(header, reduction):
        image, damage = _by_turbojpeg(data, header, reduction, path)
    else:
        image = imdecode(data, _FLAGS[reduction], header, path)
        damage = _damage(data)
    if damage and _lacks_last_row(image[-1], header):
        raise ImageError("the JPEG file is cut off: its coded data end before the picture does", path, "truncated")
    return image, damage


def _by_turbojpeg(data: bytes, header: Header, reduction: int, path: str) -> tuple[np.ndarray, str | None]:
    height, width = (-(-side // reduction) for side in (header.height, header.width))
    try:
        return simplejpeg.decode_jpeg(data, "BGR", min_height=height, min_width=width, strict=True), None
    except ValueError as error:
        damage = str(error)
    try:
        return simplejpeg.decode_jpeg(data, "BGR", min_height=height, min_width=width, strict=False), damage
    except ValueError as error:
        raise ImageError(f"the JPEG data cannot be decoded: {error}", path) from None


def _damage(data: bytes) -> str | None:
    try:
        simplejpeg.decode_jpeg(data, "GRAY", min_height=1, min_width=1, min_factor=8, strict=True)
    except ValueError as error:
        # What TurboJPEG refuses by itself opens with its function's name; what libjpeg says of the data does not.
        return None if str(error).startswith("tj") else str(error)
    return None


def _lacks_last_row(last: np.ndarray, header: Header) -> bool:
    """Say whether nothing of the last row was decoded: it has one colour, which CMYK turns into another."""
    colours = len(header.jpeg.sampling) if header.jpeg else 0
    return bool((last == (last[0] if colours == 4 else _MISSING)).all())
