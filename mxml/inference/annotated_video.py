"""A video of tagged frames, each with the labels that it has below it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from mxml.errors import ImageError, MxmlError
from mxml.images.drawing import NARROWEST_PANEL, SHORTEST_DRAWING, resized, rows_panel, stacked
from mxml.images.label_colours import PANEL
from mxml.images.video import open_video
from mxml.images.video_file import VideoFile, require_video_suffix
from mxml.inference.prediction import Prediction
from mxml.inference.prediction_rows import prediction_rows
from mxml.progress import SILENT, Progress
from mxml.runtime.imports import load_cv2

_SLOTS = 4
_SLIDES_PER_SECOND = 1.0


class AnnotatedVideo:
    """Writes the predictions of one video's frames, in their order, as a video with a panel of constant height.

    The panel has the four best labels. Frames between two predictions keep the labels of the first of them; they are
    read from the video itself. Frames keep their size, but small ones are enlarged so that the text has room. A context
    manager: the file appears at its end, see ``VideoFile``.

    Parameters
    ----------
    path : str or path-like
        A file that ends in .mp4, .m4v, .mov, .mkv or .avi.
    tagged_only : bool, default False
        Write only the frames that have a prediction, as fast as they follow each other in the video. The same is done
        where the video cannot be read again, such as a camera's. Images that are no frames follow each other by the
        second, and have the size of the first.
    progress : Progress, optional
        Receives a note where another file is written, since there is no encoder for the one that was asked for.

    Raises
    ------
    SettingError
        If ``path`` has another ending.
    StorageError
        If it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], tagged_only: bool = False, progress: Progress = SILENT):
        require_video_suffix(path)
        self._path = Path(path)
        self._tagged_only = tagged_only
        self._progress = progress
        self._stack = contextlib.ExitStack()
        self._video: VideoFile | None = None
        self._first: Prediction | None = None
        self._source: _Source | None = None
        self._size = (0, 0)
        self._panel: np.ndarray = np.empty(0)

    @property
    def written(self) -> VideoFile | None:
        """Return the file, None before the first frame."""
        return self._video

    def __enter__(self) -> AnnotatedVideo:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._stack:
            if kind is None or issubclass(kind, KeyboardInterrupt):
                self._finish(whole=kind is None)
            else:
                self._stack.__exit__(kind, error, at)

    def add(self, prediction: Prediction) -> None:
        """Add a frame's prediction, which has to have its ``pixels``; one with an error is left out."""
        if prediction.error is not None:
            return
        if prediction.pixels is None:
            raise ValueError("there is no frame for the video: call predict with keep_pixels=True")
        if self._first is None:
            self._first = prediction
            self._begin(prediction)
            return
        if prediction.path != self._first.path and self._first.frame is not None:
            raise MxmlError(f"{self._path}: shows {self._first.path}; {prediction.path} needs a file of its own")
        if self._video is None:
            self._open(_rate(self._first, prediction))
            self._show(self._first)
        self._show(prediction)

    def _begin(self, first: Prediction) -> None:
        assert first.pixels is not None
        height, width = first.pixels.shape[:2]
        scale = max(1.0, SHORTEST_DRAWING / max(width, height))
        self._size = (round(width * scale), round(height * scale))
        self._panel = self._labels([], first)
        if first.frame is not None and not self._tagged_only:
            source = _Source(first.path)
            self._stack.callback(source.close)
            if source.is_open:
                self._source = source
                self._open(source.fps)
                self._show(first)

    def _open(self, fps: float) -> None:
        self._video = self._stack.enter_context(VideoFile(self._path, fps))

    def _show(self, prediction: Prediction) -> None:
        """Write the frames before this one, with the labels that stand, and then this one with its own."""
        assert prediction.pixels is not None
        if self._source is not None and prediction.frame is not None:
            for frame in self._source.until(prediction.frame):
                self._write(frame)
            self._source.skip()
        self._panel = self._labels(prediction_rows(prediction, _slots(prediction)), prediction)
        self._write(prediction.pixels)

    def _labels(self, rows: list[Any], prediction: Prediction) -> np.ndarray:
        width = max(self._size[0], NARROWEST_PANEL)
        return rows_panel(rows, width + width % 2, _slots(prediction))

    def _write(self, frame: np.ndarray) -> None:
        assert self._video is not None
        whole = stacked(_fitted(frame, self._size), self._panel)
        if whole.shape[0] % 2:
            whole = np.concatenate([whole, np.full((1, *whole.shape[1:]), PANEL, np.uint8)])
        self._video.write(whole)

    def _finish(self, whole: bool) -> None:
        if self._first is not None and self._video is None:
            self._open(_SLIDES_PER_SECOND)
            self._show(self._first)
        if self._source is not None and whole:
            for frame in self._source.until(None):
                self._write(frame)
        if self._video is not None and self._video.path != self._path:
            self._progress.note(f"{self._path}: there is no encoder for it here; writing {self._video.path}")


class _Source:
    """The frames of a video file, one after the other."""

    def __init__(self, path: str):
        self._cv2 = load_cv2()
        self._next = 0
        try:
            self._capture = open_video(path) if os.path.isfile(path) else None
        except ImageError:
            self._capture = None

    @property
    def is_open(self) -> bool:
        return self._capture is not None

    @property
    def fps(self) -> float:
        assert self._capture is not None
        return float(self._capture.get(self._cv2.CAP_PROP_FPS))

    def until(self, frame: int | None) -> Any:
        """Yield the frames before the one with this number, (H, W, 3) uint8 RGB; by default all that are left."""
        assert self._capture is not None
        while frame is None or self._next < frame:
            read, pixels = self._capture.read()
            if not read:
                return
            self._next += 1
            yield self._cv2.cvtColor(pixels, self._cv2.COLOR_BGR2RGB)

    def skip(self) -> None:
        """Pass over the next frame."""
        assert self._capture is not None
        self._capture.grab()
        self._next += 1

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()


def _fitted(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a picture of ``size``, (width, height), that shows all of a frame, with borders where it needs them."""
    (width, height), (own_height, own_width) = size, frame.shape[:2]
    scale = min(width / own_width, height / own_height)
    shown = resized(frame, (max(1, round(own_width * scale)), max(1, round(own_height * scale))))
    if shown.shape[:2] == (height, width):
        return shown
    whole = np.full((height, width, 3), PANEL, np.uint8)
    top, left = (height - shown.shape[0]) // 2, (width - shown.shape[1]) // 2
    whole[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
    return whole


def _slots(prediction: Prediction) -> int:
    # Where the distance is known, a frame may need a row that says that it is unlike the training images.
    return min(max(len(prediction.label_names), 2) + (prediction.distance is not None), _SLOTS)


def _rate(first: Prediction, second: Prediction) -> float:
    if first.seconds is None or second.seconds is None or second.seconds <= first.seconds:
        return _SLIDES_PER_SECOND
    return 1 / (second.seconds - first.seconds)
