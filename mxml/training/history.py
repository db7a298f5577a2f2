"""A run's figures, epoch by epoch: the best one, and the rows of PREFIX-history.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from mxml.model.sidecar import Epoch
from mxml.training.config import LOWER_IS_BETTER

COLUMNS = (
    "epoch",
    "lr",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "mAP",
    "CF1",
    "OF1",
    "hamming",
    "element_accuracy",
    "seconds",
    "images_per_second",
)


def best_epoch(epochs: Sequence[Epoch], best_by: str) -> int | None:
    """Return the earliest epoch with the best validation figure; the last one where no epoch has the figure."""
    if not epochs:
        return None
    sign = -1 if best_by in LOWER_IS_BETTER else 1
    known = [(sign * entry.metrics["val"][best_by], -entry.epoch) for entry in epochs if _has(entry, best_by)]
    return -max(known)[1] if known else epochs[-1].epoch


def _has(entry: Epoch, figure: str) -> bool:
    return entry.metrics.get("val", {}).get(figure) is not None


def history_rows(epochs: Sequence[Epoch]) -> list[dict[str, Any]]:
    """Return one dictionary an epoch with the columns COLUMNS; a figure that is undefined is None."""
    rows = []
    for entry in epochs:
        figures = entry.metrics
        flat = {**figures["val"], **figures, "val_loss": figures["val"]["loss"], "epoch": entry.epoch}
        rows.append({name: flat[name] for name in COLUMNS})
    return rows


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as the text of a CSV file with a header; None becomes an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
