"""Predictions for a person: one line per image."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence

from mxml.inference.prediction import Label, Prediction, score_text
from mxml.inference.prediction_rows import UNLIKE
from mxml.text import printable

_WIDEST_NAME = 24
_WIDEST_PATH = 60
_GAP = "   "


class AlignedLines:
    """Lines of a table on a terminal: paths one below the other, names and scores in columns, best first.

    The first column is as wide as the longest path so far: nobody knows the paths to come.
    """

    def __init__(self, label_names: Sequence[str]):
        self._name_width = min(_WIDEST_NAME, max(map(_width, map(printable, label_names)), default=0))
        self._path_width = 0

    def lines(self, predictions: Sequence[Prediction]) -> Iterator[str]:
        """Yield the lines of some predictions in a row; those whose image could not be read have none."""
        readable = [prediction for prediction in predictions if prediction.error is None]
        widths = [_width(printable(prediction.called)) for prediction in readable]
        self._path_width = max([self._path_width, *(width for width in widths if width <= _WIDEST_PATH)])
        for prediction in readable:
            name = printable(prediction.called)
            cells = [*map(self._cell, prediction.labels), *([UNLIKE] if prediction.unlike else [])]
            if not prediction.labels:
                # What such an image has elsewhere behind its path.
                cells = [str(prediction)[len(f"{name}: ") :]]
            yield _GAP.join([_padded(name, self._path_width), *cells]).rstrip()

    def _cell(self, label: Label) -> str:
        return f"{_padded(printable(label.name), self._name_width)} {score_text(label.score)}"


def line_with_scores(prediction: Prediction) -> str:
    """Return the path and all labels with their scores, best first; those that the image does not get in brackets."""
    given = {label.class_id for label in prediction.labels}
    ranked = sorted(range(len(prediction.label_names)), key=lambda column: (-prediction.scores[column], column))
    shown = (_name_and_score(prediction, column, column in given) for column in ranked)
    unlike = f"; {UNLIKE}" if prediction.unlike else ""
    return f"{printable(prediction.called)}: {', '.join(shown)}{unlike}"


def _name_and_score(prediction: Prediction, column: int, given: bool) -> str:
    name = prediction.label_names[column]
    quoted = json.dumps(name, ensure_ascii=False) if set(name) & set(',"()') else name
    score = prediction.scores[column]
    # Of all labels most are near 0: only those that an image gets need their digits.
    return f"{printable(quoted)} {score_text(float(score))}" if given else f"({printable(quoted)} {score:.2f})"


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes: East Asian letters take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))
