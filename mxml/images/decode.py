"""Bytes to pixels: the decoder of training, checking and prediction."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Callable, NamedTuple

import numpy as np

from mxml.errors import ImageError
from mxml.images.headers import FORMATS, Header, read_header
from mxml.images.headers.header import Damaged
from mxml.images.headers.png import picture_of_png
from mxml.images.headers.webp import first_frame_of_webp
from mxml.images.jpeg import decode_jpeg
from mxml.images.opencv import imdecode
from mxml.runtime.imports import load_cv2

__all__ = [
    "FORMATS",
    "LONGEST_SIDE",
    "Header",
    "Limits",
    "Pixels",
    "decode",
    "decode_reduced",
    "load",
    "read_file",
    "read_header",
    "read_start",
    "reduced",
]

cv2 = load_cv2()

# What libjpeg can decode; other formats stay under it, too, so that a limit does not depend on a file's format.
LONGEST_SIDE = 65_500

_STRIP_PIXELS = 1 << 18  # converted at a time
_MOST_PASSES = 24  # over the largest picture; encoders write about 10 scans

_ROTATIONS = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_CLOCKWISE, 8: cv2.ROTATE_90_COUNTERCLOCKWISE}
_FLIPS = {2: 1, 4: 0}


@dataclass(frozen=True)
class Limits:
    """The largest image that is read: ``max_pixels`` by its header, ``max_bytes`` of its file, and ``max_memory``, the
    bytes that its decoding takes at the most, by what its header says and its decoder needs.

    The defaults are about 179 million pixels (half a gigabyte decoded; Pillow's limit), 256 MiB, and 1 GiB: twice the
    largest picture of 8 bits. Each thread may take so much at once. A JPEG in several scans is decoded scan by scan;
    all of them together may have 24 times ``max_pixels``.
    """

    max_pixels: int = 178_956_970
    max_bytes: int = 256 << 20
    max_memory: int = 1 << 30


_DEFAULT_LIMITS = Limits()


class Pixels(NamedTuple):
    """A decoded image: ``bgr`` (H, W, 3) uint8, upright; ``size`` (width, height) of the original as shown, in pixels;
    ``reduction``, how many times smaller than that it was decoded; ``animated``, whether more pictures follow in the
    file; ``damage``, what is damaged inside a JPEG that decodes nevertheless, or None.
    """

    bgr: np.ndarray
    size: tuple[int, int]
    reduction: int
    animated: bool = False
    damage: str | None = None


def load(path: str | os.PathLike[str], *, channels: str = "rgb", limits: Limits = _DEFAULT_LIMITS) -> np.ndarray:
    """Read and decode the image at ``path``, as ``decode`` does: (H, W, 3) uint8."""
    path = os.fspath(path)
    return decode(read_file(path, limits), channels=channels, limits=limits, path=path)


def read_file(path: str, limits: Limits = _DEFAULT_LIMITS) -> bytes:
    """Return the content of a regular file of at most ``limits.max_bytes``; raises ImageError for anything else."""
    with _regular_file(path) as (handle, size):
        if size > limits.max_bytes:
            raise ImageError(f"holds {size:,} bytes, more than the {limits.max_bytes:,} allowed", path, "too_large")
        data = os.read(handle, size + 1)
        while len(data) < size:  # one read returns at most 2 GiB, and less on some network file systems
            more = os.read(handle, size - len(data))
            if not more:
                break
            data += more
        return data


def read_start(path: str, count: int) -> bytes:
    """Return at most the first ``count`` bytes of a regular file; raises ImageError for anything else."""
    with _regular_file(path) as (handle, _):
        return os.read(handle, count)


@contextlib.contextmanager
def _regular_file(path: str) -> Iterator[tuple[int, int]]:
    """Open a file, and give its handle and size. Raises ImageError where it is none, also while it is read."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
                raise ImageError(f"is {kind}, not an image", path)
            yield handle, status.st_size
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise  # the process is short of something; this is not the image's fault
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise ImageError("no such file", path, "missing") from None
        raise ImageError(os.strerror(error.errno or 0), path) from None
    except ValueError as error:
        raise ImageError(f"is not a valid file name: {error}", path) from None


def decode(
    data: bytes,
    *,
    channels: str = "rgb",
    reduction: int = 1,
    limits: Limits = _DEFAULT_LIMITS,
    header: Header | None = None,
    path: str = "",
) -> np.ndarray:
    """Decode an image file to (H, W, 3) uint8 with its EXIF orientation applied.

    ``channels`` is the order of the last axis, ``rgb`` or ``bgr`` (faster by one copy). Grey, palette and CMYK images
    become RGB; 16-bit samples keep their upper eight bits; transparent pixels are laid over white, as viewers show
    them; of several frames or pages the first is taken. ``reduction`` of 2, 4 or 8 returns the image that many times
    smaller, sides rounded down: a JPEG is decoded at that size, at a fraction of the cost, other formats are averaged.
    ``header`` saves reading it twice. Raises ImageError, naming ``path``, for what ``read_header`` refuses, for an
    image over ``limits``, for data that the decoder refuses, and for a JPEG that is cut off, even where it was given
    a new end; a damaged JPEG that is whole in length decodes with its damage, as everywhere.
    """
    if channels not in ("rgb", "bgr"):
        raise ValueError(f"channels must be 'rgb' or 'bgr', not {channels!r}")
    image = _decode(data, header or read_header(data, path), reduction, limits, path).bgr
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if channels == "rgb" else image


def decode_reduced(
    data: bytes,
    reduction_for: Callable[[int, int], int],
    *,
    limits: Limits = _DEFAULT_LIMITS,
    path: str = "",
) -> Pixels:
    """Decode an image file to upright BGR pixels, reduced as ``reduction_for(width, height)`` says: 1, 2, 4 or 8.

    The one way from bytes to pixels of batches, scans, pages and drawings. Raises ImageError as ``decode`` does.
    """
    header = read_header(data, path)
    return _decode(data, header, reduction_for(*header.shown_size), limits, path)


def _decode(data: bytes, header: Header, reduction: int, limits: Limits, path: str) -> Pixels:
    _check_limits(header, limits, path)
    if header.format == "JPEG":
        image, damage = decode_jpeg(data, header, reduction, path)
        # libjpeg rounds up; its last row and column then stand for less than a whole block of pixels
        image = image[: max(1, header.height // reduction), : max(1, header.width // reduction)]
    else:
        image, damage = reduced(_decode_bgr(data, header, path), reduction), None
    if header.format != "TIFF":  # OpenCV has turned that upright already
        image = _upright(image, header.orientation)
    expected = tuple(max(1, side // reduction) for side in reversed(header.shown_size))
    if image.shape != (*expected, 3):
        raise ImageError(f"the {header.format} data do not agree with the size that its header gives", path)
    return Pixels(image, header.shown_size, reduction, header.animated, damage)


def _check_limits(header: Header, limits: Limits, path: str) -> None:
    size = f"{header.width:,} x {header.height:,} pixels"
    if header.pixels > limits.max_pixels:
        raise ImageError(f"has {size}, more than the {limits.max_pixels:,} pixels allowed", path, "too_large")
    if max(header.width, header.height) > LONGEST_SIDE:
        raise ImageError(f"has {size}, and no side may have more than {LONGEST_SIDE:,}", path, "too_large")
    memory = _memory(header)
    if memory > limits.max_memory:
        raise ImageError(
            f"has {size} and takes {memory:,} bytes to decode, more than the {limits.max_memory:,} allowed",
            path,
            "too_large",
        )
    scans = header.jpeg.scans if header.jpeg else 1
    if header.pixels * scans > _MOST_PASSES * limits.max_pixels:
        raise ImageError(
            f"has {size} in {scans} scans, too many for a picture so large; save it again with fewer", path, "too_large"
        )


def _memory(header: Header) -> int:
    """Return the most bytes that decoding holds at once, at whatever reduction."""
    decoded = header.pixels * (_stored_bytes(header) if _is_converted(header) else 3)
    plain = 3 * header.pixels
    # Of what OpenCV decodes, its Python module makes a copy; then follow one of 8-bit BGR, and one upright or of RGB.
    return max(decoded + max(header.scratch, decoded, plain), 2 * plain)


def _is_converted(header: Header) -> bool:
    """Say whether OpenCV is asked for the samples as they are stored; else it gives BGR of 8 bits."""
    return header.has_alpha or (header.format == "TIFF" and header.bits > 8)


def _stored_bytes(header: Header) -> int:
    """Return the bytes of a pixel whose samples come as they are stored."""
    return (4 if header.has_alpha else header.samples) * (2 if header.bits > 8 else 1)


def _decode_bgr(data: bytes, header: Header, path: str) -> np.ndarray:
    """Decode another format than JPEG to BGR of 8 bits, upright only if it is TIFF."""
    if header.format == "WebP":
        try:
            data = first_frame_of_webp(data, header)
        except Damaged as fault:
            raise ImageError(str(fault), path) from None
    elif header.format == "PNG":
        data = picture_of_png(data)
    if not _is_converted(header):
        return imdecode(data, cv2.IMREAD_COLOR, header, path)
    # libtiff returns colours multiplied by their alpha
    return _plain_bgr(imdecode(data, cv2.IMREAD_UNCHANGED, header, path), header.format == "TIFF")


def largest_reduction(scale: float) -> int:
    """Return the largest of 8, 4, 2 and 1 by which an image ``scale`` times too large can be reduced."""
    return next((factor for factor in (8, 4, 2) if scale >= factor), 1)


def reduced(image: np.ndarray, reduction: int) -> np.ndarray:
    """Return an image averaged over blocks of ``reduction`` x ``reduction`` pixels; those at its end make no block."""
    if reduction == 1:
        return image
    height, width = (max(1, side // reduction) for side in image.shape[:2])
    image = image[: height * reduction, : width * reduction]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _plain_bgr(image: np.ndarray, premultiplied: bool) -> np.ndarray:
    """Bring grey, BGR or BGRA of 8 or 16 bits to BGR of 8, transparent pixels over white: some rows at a time."""
    if image.dtype == np.uint8 and image.shape[2:] == (3,):
        return image
    height, width = image.shape[:2]
    plain = np.empty((height, width, 3), np.uint8)
    step = max(1, _STRIP_PIXELS // width)
    for start in range(0, height, step):
        plain[start : start + step] = _plain_rows(image[start : start + step], premultiplied)
    return plain


def _plain_rows(image: np.ndarray, premultiplied: bool) -> np.ndarray:
    premultiplied = premultiplied and image.dtype == np.uint8
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    colour, alpha = image[:, :, :3], image[:, :, 3:]
    if alpha.size == 0 or alpha.min() == 255:
        return colour
    if premultiplied:
        return cv2.add(colour, cv2.merge([255 - alpha] * 3))
    alpha = alpha.astype(np.uint16)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turn an image as its EXIF orientation (TIFF 6.0, tag 274) says."""
    if orientation in _ROTATIONS:
        return cv2.rotate(image, _ROTATIONS[orientation])
    if orientation in _FLIPS:
        return cv2.flip(image, _FLIPS[orientation])
    if orientation in (5, 7):
        turned = cv2.transpose(image)
        return turned if orientation == 5 else cv2.flip(turned, -1, dst=turned)
    return image
