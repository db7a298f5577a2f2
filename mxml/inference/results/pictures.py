"""Where the pictures of predictions are written, and their JSON."""

from __future__ import annotations

import os
from typing import Protocol

from mxml.inference.drawing_folder import DrawingFolder
from mxml.inference.numbered_files import NumberedFiles
from mxml.inference.prediction import Prediction


class _Places(Protocol):
    def location(self, path: str) -> str:
        """Return the file of the next picture."""


class Pictures:
    """Writes each image with its labels to ``save_img``/NAME_res.jpg and to ``numbered``, NAME_%i.jpg.

    Into the folder ``save_path`` go both, NAME_res.jpg and NAME_res.json, as PaddleX writes them. Each may be None.
    Raises StorageError where a folder cannot be made.
    """

    def __init__(self, save_img: str | None = None, save_path: str | None = None, numbered: str | None = None):
        self._results = None if save_path is None else DrawingFolder(save_path)
        self._drawings: list[_Places] = [] if save_img is None else [DrawingFolder(save_img)]
        if numbered is not None:
            self._drawings.append(NumberedFiles(numbered))

    def __bool__(self) -> bool:
        return bool(self._drawings) or self._results is not None

    def leave_out(self, path: str) -> None:
        """Keep the names of the files that an image's pictures have since an earlier run."""
        for places in (*self._drawings, self._results):
            if places is not None:
                places.location(path)

    def write(self, prediction: Prediction) -> None:
        """Write the pictures of one image, if it could be read. Raises StorageError where they cannot be written."""
        if prediction.error is not None:
            return
        for places in self._drawings:
            prediction.save_to_img(places.location(prediction.path))
        if self._results is not None:
            drawing = self._results.location(prediction.path)
            prediction.save_to_img(drawing)
            prediction.save_to_json(os.path.splitext(drawing)[0] + ".json")
