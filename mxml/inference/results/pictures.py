"""Where the pictures of predictions are written, and their JSON."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from types import TracebackType

from mxml.inference.annotated_video import AnnotatedVideo
from mxml.inference.contact_sheet import ContactSheet
from mxml.inference.drawing_folder import DrawingFolder
from mxml.inference.input_names import split_called
from mxml.inference.numbered_files import NumberedFiles
from mxml.inference.prediction import Prediction
from mxml.progress import SILENT, Progress
from mxml.text import counted


class Pictures:
    """Writes each image with its labels to ``save_img``/NAME_res.jpg and to ``numbered``, NAME_%i.jpg.

    Into the folder ``save_path`` go both, NAME_res.jpg and NAME_res.json, as PaddleX writes them. All images are drawn
    on the pages of ``contact_sheet``, and frames into the video ``save_video``. Each may be None. A context manager,
    whose end writes the last page and the video. Raises StorageError where a folder cannot be made.
    """

    def __init__(
        self,
        save_img: str | None = None,
        save_path: str | None = None,
        numbered: str | None = None,
        contact_sheet: str | None = None,
        save_video: str | None = None,
        tagged_frames: bool = False,
        progress: Progress = SILENT,
    ):
        self._save_img, self._save_path, self._pattern = save_img, save_path, numbered
        self._drawn = 0
        self._progress = progress
        self._sheet = ContactSheet(contact_sheet) if contact_sheet else None
        self._video = AnnotatedVideo(save_video, tagged_frames, progress) if save_video else None
        self._results = None if save_path is None else DrawingFolder(save_path, beside=".json")
        self._drawings = None if save_img is None else DrawingFolder(save_img)
        self._numbered = None if numbered is None else NumberedFiles(numbered)
        self._opened = contextlib.ExitStack()

    @property
    def need_pixels(self) -> bool:
        """Say whether predictions have to keep their pixels."""
        return any((self._sheet, self._video, self._results, self._drawings, self._numbered))

    def __enter__(self) -> Pictures:
        for whole in (self._sheet, self._video):
            if whole is not None:
                self._opened.enter_context(whole)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._opened.__exit__(kind, error, at)
        if kind is None or issubclass(kind, KeyboardInterrupt):
            for text in self._written():
                self._progress.note(text)

    def _written(self) -> Iterator[str]:
        """Yield a line for each place that something was written to."""
        folders = (self._save_img, self._save_path, self._pattern)
        for place in (folder for folder in folders if folder is not None and self._drawn):
            yield f"{counted(self._drawn, 'drawing')} in {place}"
        if self._sheet is not None and self._sheet.pages:
            pages = self._sheet.pages
            yield f"{counted(len(pages), 'page')} in {pages[0]}" + (f" to {pages[-1]}" if pages[1:] else "")
        if self._video is not None and self._video.written is not None:
            yield f"{counted(self._video.written.frames, 'frame')} in {self._video.written.path}"

    def leave_out(self, called: str) -> None:
        """Keep the names that an image's pictures have, since another process has written them or will.

        ``called`` is the image's path; for a frame that of its video, ``#`` and its number.
        """
        path, frame = split_called(called)
        for folder in (self._drawings, self._results):
            if folder is not None:
                folder.location(path, frame)

    def write(self, prediction: Prediction) -> None:
        """Write the pictures of one image, if it could be read. Raises StorageError where they cannot be written."""
        if self._sheet is not None:
            self._sheet.add(prediction)
        if self._video is not None:
            self._video.add(prediction)
        # An image that cannot be read keeps its name as well: who leaves it out does not know that.
        drawing, result = (
            None if folder is None else folder.location(prediction.path, prediction.frame)
            for folder in (self._drawings, self._results)
        )
        if prediction.error is not None:
            return
        self._drawn += 1
        if drawing is not None:
            prediction.save_to_img(drawing)
        if self._numbered is not None:
            prediction.save_to_img(self._numbered.following(prediction.path))
        if result is not None:
            prediction.save_to_img(result)
            prediction.save_to_json(os.path.splitext(result)[0] + ".json")
