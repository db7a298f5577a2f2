"""Videos and cameras: their frames, one after the other, as pixels."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mxml.errors import ImageError
from mxml.images.decode import read_start
from mxml.runtime.imports import load_cv2

cv2 = load_cv2()

_MOST_PIXELS = 1 << 26  # 8192 x 8192: a decoder keeps up to 17 frames
_MOST_FRAMES = 1 << 40
_FASTEST = 1000.0
_FALLBACK_FPS = 25.0
_SHORT = 0.9

# FFmpeg finds out the format by itself, and among those it knows are lists that name other files and addresses. What
# begins otherwise than a video does is not given to it.
_STARTS = (
    (b"\x1a\x45\xdf\xa3", 0),  # Matroska, WebM
    (b"AVI ", 8),
    (b"\0\0\1\xba", 0),  # MPEG program stream
    (b"\0\0\1\xb3", 0),
    (b"FLV\1", 0),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", 0),  # WMV
    (b"OggS", 0),
    *((kind, 4) for kind in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")),
)
_TRANSPORT_PACKETS = ((0, 188), (4, 192))


@dataclass(frozen=True)
class VideoInfo:
    """What a video's header says of it, where that can be: nothing of it is certain.

    Parameters
    ----------
    width, height : int
        Pixels of a frame.
    fps : float
        Frames per second, 25 where the header does not say.
    frames : int, optional
        How many frames the video should have.
    """

    width: int
    height: int
    fps: float
    frames: int | None


class Frame(NamedTuple):
    """A frame: its ``number`` from 0, its time in ``seconds`` and its pixels ``bgr`` (H, W, 3) uint8."""

    number: int
    seconds: float
    bgr: np.ndarray


def video_info(path: str) -> VideoInfo:
    """Return what a video's header says. Raises ImageError for a file that is no video which can be read."""
    capture = open_video(path)
    try:
        return _info(capture, path)
    finally:
        capture.release()


def video_frames(path: str, every: int | None = None) -> Generator[Frame, None, None]:
    """Yield every so many frames of a video, from the first on; without ``every`` the first one of each second.

    Raises ImageError for a file that is no video which can be read, and at its end for one that ends well before its
    header says.
    """
    capture = open_video(path)
    try:
        info = _info(capture, path)
        number, taken, seconds, due = 0, 0, 0.0, 0.0
        while capture.grab():
            seconds = _seconds(capture, number, info.fps, seconds)
            if number % every == 0 if every else seconds >= due:
                bgr = _retrieved(capture, path)
                if bgr is not None:
                    taken += 1
                    yield Frame(number, seconds, bgr)
                due = math.floor(seconds) + 1.0
            number += 1
        if not taken:
            raise ImageError("holds no frame that can be read", path)
        # Where the container does not count its frames, their number is a guess from its duration, and so both
        # have to be short.
        if info.frames and number < _SHORT * info.frames and seconds < _SHORT * (info.frames - 1) / info.fps:
            raise ImageError(
                f"ends after {number:,} of about {info.frames:,} frames; the file is cut off or damaged there",
                path,
                "truncated",
            )
    finally:
        capture.release()


def camera_frames(source: int | str, every: int | None = None) -> Generator[Frame, None, None]:
    """Yield every so many frames of a camera, by default all; ``seconds`` counts from the first one.

    ``source`` is the camera's number, or its device. Raises ImageError for a camera that cannot be opened, or stops.
    """
    name = camera_name(source)
    capture = cv2.VideoCapture(source)
    try:
        if not capture.isOpened():
            device = f"/dev/video{source}" if isinstance(source, int) else source
            raise ImageError(
                f"cannot be opened: there is none, another program uses it, or you may not read {device}",
                name,
                "missing",
            )
        # Frames that wait would be shown late.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        number, began = 0, time.monotonic()
        while capture.grab():
            if number % (every or 1) == 0:
                bgr = _retrieved(capture, name)
                if bgr is not None:
                    yield Frame(number, time.monotonic() - began, bgr)
            number += 1
        raise ImageError(f"gives no more frames after {number:,}", name)
    finally:
        capture.release()


def camera_name(source: int | str) -> str:
    """Return what messages call a camera."""
    return f"camera {source}" if isinstance(source, int) else source


def open_video(path: str) -> Any:
    """Return OpenCV's capture of a file whose start is a video's. Raises ImageError for any other."""
    start = read_start(path, 400)
    if not start:
        raise ImageError("the file is empty", path, "empty")
    if not _is_video(start):
        raise ImageError("is not a video in a known format", path)
    # An absolute path has no scheme that FFmpeg would follow.
    capture = cv2.VideoCapture(os.path.abspath(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise ImageError(
            "the video cannot be opened: it is cut off, damaged, or of a kind that cannot be decoded", path
        )
    return capture


def _is_video(start: bytes) -> bool:
    if any(start[place:].startswith(sign) for sign, place in _STARTS):
        return True
    return any(
        len(start) > first + step and start[first] == start[first + step] == 0x47 for first, step in _TRANSPORT_PACKETS
    )


def _info(capture: Any, path: str) -> VideoInfo:
    width, height = (
        _whole(capture.get(key), _MOST_PIXELS) or 0 for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    )
    _check_size(width, height, path)
    fps = capture.get(cv2.CAP_PROP_FPS)
    if not 0 < fps <= _FASTEST:
        fps = _FALLBACK_FPS
    return VideoInfo(width, height, fps, _whole(capture.get(cv2.CAP_PROP_FRAME_COUNT), _MOST_FRAMES))


def _whole(value: float, most: int) -> int | None:
    """Return a number from a header as a whole one, at most ``most``; None where it cannot be true."""
    return min(int(value), most) if math.isfinite(value) and value >= 1 else None


def _check_size(width: int, height: int, path: str) -> None:
    if width * height > _MOST_PIXELS:
        raise ImageError(
            f"has frames of {width:,} x {height:,} pixels, more than the {_MOST_PIXELS:,} pixels allowed",
            path,
            "too_large",
        )


def _retrieved(capture: Any, path: str) -> np.ndarray | None:
    """Return the frame that was grabbed last; None where it cannot be decoded."""
    good, bgr = capture.retrieve()
    if not good or bgr is None or bgr.ndim != 3 or bgr.shape[2] != 3 or bgr.dtype != np.uint8 or not bgr.size:
        return None
    _check_size(bgr.shape[1], bgr.shape[0], path)
    picture: np.ndarray = bgr
    return picture


def _seconds(capture: Any, number: int, fps: float, before: float) -> float:
    """Return the time of the frame that was grabbed last, which never goes back."""
    seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
    if not math.isfinite(seconds) or (number and seconds <= 0):
        seconds = number / fps
    return max(before, seconds)
