"""The layouts of predictions that machines read: a head, one row per image, a tail."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from mxml.inference.prediction import Prediction

SUFFIXES = {".json": "json", ".jsonl": "jsonl", ".csv": "csv"}
"""The layout of a file by its suffix."""

_CSV_COLUMNS = ("path", "labels", "error")
_UNLIKE_COLUMNS = ("unlike", "distance")
_BETWEEN_LABELS = "|"
# What Excel, LibreOffice and Google Sheets take for the beginning of a formula, also behind the mark that this adds.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


class HeldRow(NamedTuple):
    """What a row of a file says: whose prediction it is, and whether that image could be read."""

    path: str
    readable: bool


class Layout(Protocol):
    """How predictions are written.

    Rows end with a line end, so that a whole one can be told from one that a killed process has torn. ``multiline``
    says whether a row may hold more line ends, between quotation marks.
    """

    head: str
    tail: str
    multiline: bool

    def row(self, prediction: Prediction, first: bool) -> str:
        """Return the row of one image; ``first`` says whether it is the first."""

    def read_row(self, row: str) -> HeldRow:
        """Return what a row says. Raises ValueError for a text that ``row`` does not return."""


def layout(name: str, label_names: Sequence[str], with_scores: bool = False, with_unlike: bool = False) -> Layout:
    """Return a layout: ``json``, ``jsonl`` or ``csv``.

    ``with_scores`` adds the scores of all labels to JSON; CSV always has them. ``with_unlike`` says that predictions
    know whether they are unlike the training images, which takes two columns of CSV; JSON has the keys where they do.
    """
    if name == "csv":
        return CsvLayout(label_names, with_unlike)
    return JsonLayout(as_array=name == "json", with_scores=with_scores)


def shown_path(path: str) -> str:
    """Return a path as the layouts hold it: bytes that are not UTF-8 are replaced."""
    return os.fsencode(path).decode("utf-8", "replace")


class JsonLayout:
    """One JSON object per line; with ``as_array`` the lines are one JSON array."""

    multiline = False

    def __init__(self, as_array: bool, with_scores: bool = False):
        self.head, self.tail = ("[\n", "]\n") if as_array else ("", "")
        self._as_array = as_array
        self._with_scores = with_scores

    def row(self, prediction: Prediction, first: bool) -> str:
        """Return the line of one image, with a comma in front where another is above it in an array."""
        record = prediction.to_dict()
        if self._with_scores and prediction.error is None:
            record["all_scores"] = dict(zip(prediction.label_names, _rounded(prediction.scores)))
        comma = "," if self._as_array and not first else ""
        return f"{comma}{json.dumps(record, ensure_ascii=False)}\n"

    def read_row(self, row: str) -> HeldRow:
        """Return what a line says."""
        record: Any = json.loads(row[1:] if self._as_array and row.startswith(",") else row)
        if not isinstance(record, dict) or not isinstance(record.get("input_path"), str):
            raise ValueError("has no `input_path`")
        frame = f"#{record['frame']}" if "frame" in record else ""
        return HeldRow(record["input_path"] + frame, "error" not in record)


class CsvLayout:
    """A table: path, labels with ``|`` between them, error, then a column for each label's score.

    ``with_unlike`` adds two at the end: ``unlike``, true or false, and ``distance``.
    A frame of a video is called ``clip.mp4#50``. A cell that a spreadsheet would take for a formula has an apostrophe
    in front.
    """

    tail = ""
    multiline = True

    def __init__(self, label_names: Sequence[str], with_unlike: bool = False):
        more = _UNLIKE_COLUMNS if with_unlike else ()
        names: list[str] = list(_CSV_COLUMNS)
        for name in label_names:
            while name in (*_CSV_COLUMNS, *more):
                name += " score"
            names.append(name)
        names += more
        self.head = csv_line(names)
        self._with_unlike = with_unlike
        self._columns = len(names)

    def row(self, prediction: Prediction, first: bool) -> str:
        """Return the row of one image; without scores where it could not be read."""
        path = shown_path(prediction.called)
        if prediction.error is not None:
            return csv_line([path, "", prediction.error.reason, *[""] * (self._columns - len(_CSV_COLUMNS))])
        labels = _BETWEEN_LABELS.join(label.name for label in prediction.labels)
        numbers = [f"{score:.5f}" for score in prediction.scores]
        if self._with_unlike:
            known = prediction.distance is not None
            numbers += [str(prediction.unlike).lower(), f"{prediction.distance:.5f}"] if known else ["", ""]
        return csv_line([path, labels, ""], numbers)

    def read_row(self, row: str) -> HeldRow:
        """Return what a row says."""
        try:
            (cells,) = csv.reader(io.StringIO(row, newline=""), strict=True)
        except csv.Error as error:
            raise ValueError(str(error)) from error
        if len(cells) != self._columns:
            raise ValueError(f"has {len(cells)} cells, should be {self._columns}")
        return HeldRow(unguarded(cells[0]), not cells[2])


def guarded(cell: str) -> str:
    """Return a cell of CSV that no spreadsheet takes for a formula."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unguarded(cell: str) -> str:
    """Return what ``guarded`` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


class _AllQuoted(csv.excel):
    quoting = csv.QUOTE_ALL


def csv_line(cells: Sequence[str], numbers: Sequence[str] = ()) -> str:
    """Return a row of CSV: guarded cells, then numbers."""
    line = io.StringIO()
    # Before Python 3.13 the module writes a carriage return, which ends a row, without quotation marks.
    dialect = _AllQuoted if any("\r" in cell for cell in cells) else csv.excel
    csv.writer(line, dialect, lineterminator="\n").writerow([*map(guarded, cells), *numbers])
    return line.getvalue()


def _rounded(scores: np.ndarray) -> list[float]:
    return [round(float(score), 5) for score in scores]
