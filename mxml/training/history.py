"""A run's metrics, epoch by epoch: the best one, and the rows of PREFIX-history.csv."""

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
    "accuracy",
    "seconds",
    "images_per_second",
)

_SHOWN = {
    "train_loss": "loss",
    "val_loss": "val loss",
    "mAP": "mAP",
    "CF1": "CF1",
    "OF1": "OF1",
    "hamming": "Hamming",
    "element_accuracy": "acc",
}
# Of a network of single labels.
_SHOWN_SINGLE = {"train_loss": "loss", "val_loss": "val loss", "mAP": "mAP", "accuracy": "accuracy"}


def best_epoch(epochs: Sequence[Epoch], best_by: str) -> int | None:
    """Return the earliest epoch with the best validation metric; the last one where no epoch has the metric."""
    if not epochs:
        return None
    sign = -1 if best_by in LOWER_IS_BETTER else 1
    known = [(sign * entry.metrics["val"][best_by], -entry.epoch) for entry in epochs if _has(entry, best_by)]
    return -max(known)[1] if known else epochs[-1].epoch


def _has(entry: Epoch, metric: str) -> bool:
    return entry.metrics.get("val", {}).get(metric) is not None


def history_rows(epochs: Sequence[Epoch]) -> list[dict[str, Any]]:
    """Return one dictionary per epoch with the columns COLUMNS; a metric that is undefined is None."""
    rows = []
    for entry in epochs:
        metrics = entry.metrics
        flat = {**metrics["val"], **metrics, "val_loss": metrics["val"]["loss"], "epoch": entry.epoch}
        # What a run of an earlier version does not have stays empty.
        rows.append({name: flat.get(name) for name in COLUMNS})
    return rows


def epoch_line(row: Mapping[str, Any], last_epoch: int, best: bool) -> str:
    """Return one row as the line that the user reads."""
    names = _SHOWN if row["accuracy"] is None else _SHOWN_SINGLE
    shown = ", ".join(f"{label} {_number(row[name])}" for name, label in names.items())
    rate = f"{row['images_per_second']:.0f} img/s"
    return f"epoch {row['epoch']}/{last_epoch}: {shown}, {rate}" + (", best so far" if best else "")


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as the text of a CSV file with a header; None becomes an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
