"""A prediction as the lines that pictures and notebooks show of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mxml.images.drawing import Row
from mxml.images.label_colours import label_colours

if TYPE_CHECKING:
    from mxml.inference.prediction import Label, Prediction

MOST_ROWS = 20
UNLIKE = "unlike the training images"


def prediction_rows(prediction: Prediction, most: int = MOST_ROWS) -> list[Row]:
    """Return a row for each label that the image gets, at most ``most``, of which the last then counts the rest.

    Where it gets none, the rows say so and name the nearest. The first row of an image unlike the training images says
    that it is.
    """
    if prediction.unlike:
        return [Row(UNLIKE), *_label_rows(prediction, most - 1)]
    return _label_rows(prediction, most)


def _label_rows(prediction: Prediction, most: int) -> list[Row]:
    labels = prediction.labels
    if not labels:
        rows = [] if prediction.unlike and prediction.is_dropped else [Row("no label reaches its threshold")]
        best = prediction.best
        return [*rows, *([] if best is None else [_row(prediction, best)])][:most]
    if len(labels) <= most:
        return [_row(prediction, label) for label in labels]
    shown = [_row(prediction, label) for label in labels[: most - 1]]
    return [*shown, Row(f"… and {len(labels) - len(shown):,} more")]


def _row(prediction: Prediction, label: Label) -> Row:
    return Row(
        label.name,
        # A name that no font has is replaced by its number, which can be looked up.
        f"class {label.class_id}",
        label.score,
        prediction.threshold_of(label),
        prediction.reaches(label),
        label_colours(prediction.label_names)[label.class_id],
    )
