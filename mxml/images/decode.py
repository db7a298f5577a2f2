"""Bytes to pixels: the one decoder of training, evaluation and serving."""

from __future__ import annotations

import errno
import os
import stat
import struct
from dataclasses import dataclass
from typing import Any, Callable, NamedTuple

import numpy as np

from mxml.errors import ImageError
from mxml.images.headers import FORMATS, Header, read_header, riff_chunks
from mxml.runtime.imports import load_cv2

__all__ = [
    "FORMATS",
    "LONGEST_SIDE",
    "Header",
    "Limits",
    "Pixels",
    "decode",
    "decode_reduced",
    "jpeg_damage",
    "load",
    "read_file",
    "read_header",
    "reduced",
]

cv2 = load_cv2()

# What libjpeg can decode; other formats stay under it, too, so that a limit does not depend on a file's format.
LONGEST_SIDE = 65_500

_JPEG_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


@dataclass(frozen=True)
class Limits:
    """The largest image that is read: ``max_pixels`` by its header, ``max_bytes`` of its file.

    The defaults are about 179 million pixels (half a gigabyte decoded; Pillow's limit) and 256 MiB.
    """

    max_pixels: int = 178_956_970
    max_bytes: int = 256 << 20


_DEFAULT_LIMITS = Limits()


class Pixels(NamedTuple):
    """A decoded image: ``bgr`` (H, W, 3) uint8, upright; ``size`` (width, height) of the original as shown, in pixels;
    ``reduction``, how many times smaller than that it was decoded.
    """

    bgr: np.ndarray
    size: tuple[int, int]
    reduction: int


def load(path: str | os.PathLike[str], *, channels: str = "rgb", limits: Limits = _DEFAULT_LIMITS) -> np.ndarray:
    """Read and decode the image at ``path``, as ``decode`` does: (H, W, 3) uint8."""
    path = os.fspath(path)
    return decode(read_file(path, limits), channels=channels, limits=limits, path=path)


def read_file(path: str, limits: Limits = _DEFAULT_LIMITS) -> bytes:
    """Return the content of a regular file of at most ``limits.max_bytes``; raises ImageError for anything else."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
                raise ImageError(f"is {kind}, not an image", path)
            if status.st_size > limits.max_bytes:
                raise ImageError(
                    f"holds {status.st_size:,} bytes, more than the {limits.max_bytes:,} allowed", path, "too_large"
                )
            data = os.read(handle, status.st_size + 1)
            while len(data) < status.st_size:  # one read returns at most 2 GiB, and less on some network file systems
                more = os.read(handle, status.st_size - len(data))
                if not more:
                    break
                data += more
            return data
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise  # the process is short of something; the image is not to blame
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise ImageError("no such file", path, "missing") from None
        raise ImageError(os.strerror(error.errno or 0), path) from None
    except ValueError as error:
        raise ImageError(f"is no possible file name: {error}", path) from None


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
    image over ``limits``, and for data that the decoder refuses; a damaged JPEG that is whole in length decodes with
    its damage, as everywhere.
    """
    header = header or read_header(data, path)
    _check_size(header, limits, path)
    image = _decode_bgr(data, header, reduction, path)
    expected = tuple(max(1, side // reduction) for side in reversed(header.shown_size))
    if image.shape != (*expected, 3):
        raise ImageError(f"the {header.format} data do not agree with the size that its header gives", path)
    if channels == "rgb":
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    if channels == "bgr":
        return image
    raise ValueError(f"channels must be 'rgb' or 'bgr', not {channels!r}")


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
    reduction = reduction_for(*header.shown_size)
    image = decode(data, channels="bgr", reduction=reduction, limits=limits, header=header, path=path)
    return Pixels(image, header.shown_size, reduction)


def jpeg_damage(data: bytes) -> str | None:
    """Say what is damaged inside a JPEG that decodes nevertheless; None where nothing is.

    Damage that leaves the coded data readable, such as another colour's bits, shows in nothing but the picture. Of the
    rare kinds of subsampling that TurboJPEG does not take, nothing is said.
    """
    import simplejpeg  # OpenCV hands on no warnings of libjpeg, but prints them

    try:
        simplejpeg.decode_jpeg(data, "GRAY", min_height=1, min_width=1, min_factor=8, strict=True)
    except ValueError as error:
        # What TurboJPEG refuses by itself opens with its function's name; what libjpeg says of the data does not.
        return None if str(error).startswith("tj") else str(error)
    return None


def _check_size(header: Header, limits: Limits, path: str) -> None:
    size = f"{header.width:,} x {header.height:,} pixels"
    if header.width * header.height > limits.max_pixels:
        raise ImageError(f"has {size}, more than the {limits.max_pixels:,} pixels allowed", path, "too_large")
    if max(header.width, header.height) > LONGEST_SIDE:
        raise ImageError(f"has {size}, and no side may have more than {LONGEST_SIDE:,}", path, "too_large")


def _decode_bgr(data: bytes, header: Header, reduction: int, path: str) -> np.ndarray:
    """Decode to upright BGR uint8, reduced."""
    if header.format == "JPEG":
        image = _imdecode(data, _JPEG_FLAGS[reduction], header, path)
        # libjpeg rounds up; its last row and column then stand for less than a whole block of pixels
        image = image[: max(1, header.height // reduction), : max(1, header.width // reduction)]
        return _upright(image, header.orientation)
    if header.format == "WebP":
        data = _first_frame(data, header, path)
    elif header.format == "PNG":
        data = _without_profile(data)
    if header.has_alpha or header.bits > 8:
        # libtiff hands colours out multiplied by their alpha
        image = _plain_bgr(_imdecode(data, cv2.IMREAD_UNCHANGED, header, path), header.format == "TIFF")
    else:
        image = _imdecode(data, cv2.IMREAD_COLOR, header, path)
    if header.format != "TIFF":  # OpenCV has turned that upright already
        image = _upright(image, header.orientation)
    return reduced(image, reduction)


def reduced(image: np.ndarray, reduction: int) -> np.ndarray:
    """Return an image averaged over blocks of ``reduction`` x ``reduction`` pixels; those at its end make no block."""
    if reduction == 1:
        return image
    height, width = (max(1, side // reduction) for side in image.shape[:2])
    image = image[: height * reduction, : width * reduction]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _imdecode(data: bytes, flags: int, header: Header, path: str) -> np.ndarray:
    # IMREAD_UNCHANGED is -1: it ignores the orientation by itself, and no flag can be added to it.
    flags = flags if flags < 0 else flags | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ImageError(f"the {header.format} data cannot be decoded: {error.err or error}", path) from None
    if image is None:
        raise ImageError(f"the {header.format} data are damaged, or of a kind that cannot be decoded", path)
    return image


def _plain_bgr(image: np.ndarray, premultiplied: bool) -> np.ndarray:
    """Bring grey, BGR or BGRA of 8 or 16 bits to BGR of 8, transparent pixels over white."""
    premultiplied = premultiplied and image.dtype == np.uint8
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    if image.shape[2] == 3:
        return image
    colour, alpha = image[:, :, :3], image[:, :, 3:]
    if alpha.min() == 255:
        return np.ascontiguousarray(colour)
    if premultiplied:
        return cv2.add(colour, cv2.merge([255 - alpha] * 3))
    alpha = alpha.astype(np.uint16)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _without_profile(data: bytes) -> bytes:
    """Cut the colour profile out of a PNG: it is not used, and libpng prints warnings about many of them."""
    position = 8
    while data[position + 4 : position + 8] not in (b"IDAT", b""):
        stop = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] == b"iCCP":
            return data[:position] + data[stop:]
        position = stop
    return data


def _first_frame(data: bytes, header: Header, path: str) -> bytes:
    """Return a still WebP as it is; of an animated one, a still file made of its first frame."""
    for kind, start, stop in riff_chunks(data, 12):
        if kind == b"ANMF":
            frame = data[start + 16 : stop]
            width, height = (1 + int.from_bytes(data[start + at : start + at + 3], "little") for at in (6, 9))
            if (width, height) != (header.width, header.height):
                raise ImageError("the first frame of this WebP animation does not fill it; save it as a still", path)
            sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
            extended = b"VP8X" + struct.pack("<II", 10, 0x10 if header.has_alpha else 0) + sides
            body = b"WEBP" + extended + frame
            return b"RIFF" + struct.pack("<I", len(body)) + body
    return data


def _upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turn an image as its EXIF orientation (TIFF 6.0, tag 274) says."""
    if orientation == 1:
        return image
    if orientation >= 5:
        image = cv2.transpose(image)
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return image if flip is None else cv2.flip(image, flip)
