"""Contact sheets: any number of predictions as thumbnails with their labels, on pages of 36."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

from mxml import atomic
from mxml.errors import SettingError
from mxml.images.contact_sheet import MOST_LABELS, PAGE, SheetCell, draw_sheet, thumbnail
from mxml.images.drawing import Row
from mxml.images.picture_file import SUFFIXES as PICTURES
from mxml.images.picture_file import encoded
from mxml.inference.prediction import Prediction
from mxml.inference.prediction_rows import prediction_rows


class ContactSheet:
    """Draws predictions on pages of 36, in their order: ``sheet.jpg``, ``sheet_2.jpg``, and so on.

    A page is written when it is full, and the last one when the ``with`` block ends, also by an error. Only thumbnails
    of the current page are kept in memory. An image that could not be read has an empty frame and says why.

    Parameters
    ----------
    path : str or path-like
        The first page, a .jpg, .jpeg or .png file; its folder is made. Pages of these names are replaced; mxml predict
        does that only with --force.

    Attributes
    ----------
    pages : list of Path
        The pages that have been written.

    Raises
    ------
    SettingError
        If ``path`` has another ending.
    StorageError
        If a page cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.pages: list[Path] = []
        self._path = Path(path)
        self._cells: list[SheetCell] = []
        if self._path.suffix.lower() not in PICTURES:
            raise SettingError("contact_sheet", os.fspath(path), f"a file that ends in {', '.join(PICTURES)}")
        atomic.make_folder(self._path.parent)

    def __enter__(self) -> ContactSheet:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._cells:
            self._write()

    def add(self, prediction: Prediction) -> None:
        """Add a prediction, which has to have its ``pixels`` unless it has an error."""
        name = os.path.basename(prediction.called.rstrip("/")) or prediction.called
        if prediction.error is not None:
            cell = SheetCell(None, name, [Row("cannot be read:"), Row(prediction.error.reason)])
        elif prediction.pixels is None:
            raise ValueError("there is no image for the sheet: call predict with keep_pixels=True")
        else:
            cell = SheetCell(thumbnail(prediction.pixels), name, prediction_rows(prediction, MOST_LABELS))
        self._cells.append(cell)
        if len(self._cells) == PAGE:
            self._write()

    def _write(self) -> None:
        number = len(self.pages) + 1
        path = self._path if number == 1 else self._path.with_name(f"{self._path.stem}_{number}{self._path.suffix}")
        content = encoded(draw_sheet(self._cells), path, quality=88)
        self._cells = []
        atomic.write_bytes(path, content)
        self.pages.append(path)
