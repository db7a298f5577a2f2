"""A video file that is written frame by frame, and appears when it is whole."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from mxml import atomic
from mxml.errors import SettingError, StorageError
from mxml.runtime.imports import load_cv2

# In the order in which they are tried: H.264 plays everywhere, but OpenCV's packages bring no encoder of it.
_CODECS = {".mp4": ("avc1", "mp4v"), ".m4v": ("avc1", "mp4v"), ".mov": ("avc1", "mp4v"), ".mkv": ("mp4v",)}
_LAST = (".avi", "MJPG")
VIDEO_SUFFIXES = (*_CODECS, _LAST[0])

_FASTEST, _USUAL, _SLOWEST = 240.0, 25.0, 1.0


class VideoFile:
    """Writes frames of one size; a context manager.

    The file appears when the ``with`` block ends, also by Ctrl-C, with the frames until then. It does not appear after
    another error, or without a frame. Where OpenCV has no encoder for the wanted ending, ``path`` becomes an .avi.

    Parameters
    ----------
    path : str or path-like
        A file that ends in .mp4, .m4v, .mov, .mkv or .avi; its folder is made.
    fps : float
        Frames per second; 25 in place of what no video has.

    Raises
    ------
    SettingError
        If ``path`` has another ending.
    StorageError
        If it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], fps: float):
        self.path = Path(path)
        self.frames = 0
        self._fps = min(max(fps, _SLOWEST), _FASTEST) if math.isfinite(fps) and fps > 0 else _USUAL
        self._files = contextlib.ExitStack()
        self._writer: Any = None
        self._temporary = ""
        self._size = (0, 0)
        require_video_suffix(path)
        atomic.make_folder(self.path.parent)

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._writer is None:
            return
        self._writer.release()
        if kind is None or issubclass(kind, KeyboardInterrupt):
            with self._files:
                self._check()
        else:
            self._files.__exit__(kind, error, at)

    def write(self, frame: np.ndarray) -> None:
        """Add a frame, (H, W, 3) uint8 RGB; H and W are even, and those of all frames."""
        if self._writer is None:
            self._open(frame.shape[1], frame.shape[0])
        if frame.shape != (self._size[1], self._size[0], 3):
            raise ValueError(f"a frame of {frame.shape} in a video of {self._size[0]} x {self._size[1]}")
        cv2 = load_cv2()
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        self.frames += 1

    def _open(self, width: int, height: int) -> None:
        if width % 2 or height % 2:
            raise ValueError(f"a video cannot be {width} x {height}: its sides have to be even")
        cv2 = load_cv2()
        suffix, codec = _encoder(self.path, (width, height))
        if suffix != self.path.suffix and os.path.lexists(self.path.with_suffix(suffix)):
            other = self.path.with_suffix(suffix)
            raise StorageError(f"{self.path}: there is no encoder for it here, and {other} exists; choose another name")
        self.path = self.path.with_suffix(suffix)
        try:
            self._temporary = self._files.enter_context(atomic.replacing(self.path, suffix))
        except OSError as error:
            raise StorageError(f"{self.path}: cannot be written: {error.strerror or error}") from error
        self._size = (width, height)
        self._writer = cv2.VideoWriter(self._temporary, cv2.VideoWriter_fourcc(*codec), self._fps, self._size)

    def _check(self) -> None:
        """OpenCV does not say that a disk is full."""
        cv2 = load_cv2()
        capture = cv2.VideoCapture(self._temporary)
        try:
            if not capture.isOpened() or capture.get(cv2.CAP_PROP_FRAME_COUNT) < self.frames:
                raise StorageError(f"{self.path}: cannot be written whole: the disk may be full")
        finally:
            capture.release()


def _encoder(path: Path, size: tuple[int, int]) -> tuple[str, str]:
    """Return the ending and the codec of the first encoder that works here."""
    cv2 = load_cv2()
    wanted = path.suffix
    with tempfile.TemporaryDirectory() as folder:
        for suffix, codec in [*((wanted.lower(), codec) for codec in _CODECS.get(wanted.lower(), ())), _LAST]:
            writer = cv2.VideoWriter(f"{folder}/x{suffix}", cv2.VideoWriter_fourcc(*codec), _USUAL, size)
            works = writer.isOpened()
            writer.release()
            if works:
                return (wanted if suffix == wanted.lower() else suffix), codec
    raise StorageError(f"{path}: OpenCV cannot write a video of {size[0]} x {size[1]}")


def require_video_suffix(path: str | os.PathLike[str], setting: str = "save_video") -> None:
    """Raise SettingError for a file that does not end like a video that can be written."""
    if Path(path).suffix.lower() not in VIDEO_SUFFIXES:
        raise SettingError(setting, os.fspath(path), f"a file that ends in {', '.join(VIDEO_SUFFIXES)}")
