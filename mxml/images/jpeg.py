"""JPEG bytes to pixels, by TurboJPEG where it gives OpenCV's pixels, else by OpenCV.

TurboJPEG (through simplejpeg) is the newer one here and 1.1 to 3 times as fast; it also reports libjpeg's warnings,
which OpenCV only prints. Both leave Python's lock while they decode.
"""

from __future__ import annotations

import re

import numpy as np
import simplejpeg

from mxml.errors import ImageError
from mxml.images.headers import Header
from mxml.images.headers.jpeg import last_scan
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

_END = b"\xff\xd9"
_PROGRESSIVE = 0xC2
_PREMATURE_END = "Corrupt JPEG data: premature end of data segment"
_TWO_RESTARTS = re.compile(rb"\xff+[\xd0-\xd7]\xff+[\xd0-\xd7]\Z")
# Of a scan's coded data: from so much on, a run of one byte at their end is filling, and missing data are a cut.
_SHARE = 32
_SHORTEST_FILLING = 32  # bytes


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
    nothing is said. Raises ImageError for data that cannot be decoded, and for a picture that is cut off, although the
    file has an end marker: its last row of blocks is missing, or something else than coded data stands in its place,
    or a good part of a progressive picture's last scan is missing.
    """
    if turbojpeg_decodes(header, reduction):
        image, damage = _by_turbojpeg(data, header, reduction, path)
    else:
        image = imdecode(data, _FLAGS[reduction], header, path)
        damage = _damage(data)
    if damage and _is_cut_off(data, image, damage, header):
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


def _is_cut_off(data: bytes, image: np.ndarray, damage: str, header: Header) -> bool:
    """Say whether the damage is a missing end; costs time, but only for pictures that are damaged."""
    if _lacks_last_row(image[-1], header):
        return True
    begin, end = last_scan(data)
    end = begin + len(data[begin:end].rstrip(b"\xff"))  # these belong to the marker behind them
    # An interval between restart markers holds data, and one wrong byte makes one marker at most.
    if _TWO_RESTARTS.search(data[max(begin, end - 64) : end]):
        return True
    filling = end - begin - len(data[begin:end].rstrip(data[end - 1 : end]))
    if filling >= max(_SHORTEST_FILLING, (end - begin) // _SHARE):
        return _stands_for_data(data, image, filling, end)
    return bool(header.jpeg and header.jpeg.frame == _PROGRESSIVE) and _lacks_end_of_scan(data, damage, begin, end)


def _stands_for_data(data: bytes, image: np.ndarray, filling: int, end: int) -> bool:
    """Say whether the run of one byte before ``end`` stands where coded data are missing.

    Some cameras write such a run behind a whole picture. And it can be coded data: the lower end of a picture, in one
    colour, whose last rows get lost with half of the run.
    """
    if _damage(data[: end - filling] + _END) is None:
        return False
    if (image[-1] != image[-1, 0]).any():
        return True
    try:
        whole, shorter = (_last_grey_row(part + _END) for part in (data[:end], data[: end - filling // 2]))
    except ValueError:  # of CMYK, for one
        return True
    return bool((whole != whole[0]).any() or (shorter != _MISSING).any())


def _last_grey_row(data: bytes) -> np.ndarray:
    """Return the last row, not reduced, so that blocks which are not plain do not look so."""
    return simplejpeg.decode_jpeg(data, "GRAY", strict=False)[-1]


def _lacks_end_of_scan(data: bytes, damage: str, begin: int, end: int) -> bool:
    """Say whether the scans before the last are intact, and that misses a good part of its data.

    A wrong byte, too, makes a decoder ask for more data than there are, but for few: it is content with some of these.
    """
    if damage != _PREMATURE_END or _damage(data[:begin] + _END) is not None:
        return False
    more = data[end - (end - begin) // _SHARE : end].replace(b"\xff", b"")
    return _damage(data[:end] + more + _END) == _PREMATURE_END


def _lacks_last_row(last: np.ndarray, header: Header) -> bool:
    """Say whether nothing of the last row was decoded: it has one colour, which CMYK turns into another."""
    colours = len(header.jpeg.sampling) if header.jpeg else 0
    return bool((last == (last[0] if colours == 4 else _MISSING)).all())
