"""A run's metrics, epoch by epoch: the best one, and the rows of PREFIX-history.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mxml.model.sidecar import Epoch
from mxml.training.config import LOWER_IS_BETTER

if TYPE_CHECKING:
    from mxml.inference.metrics import Metrics

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

# A label may be called as a column is.
_AP = "AP "

_DIGITS = 6

_SHOWN = {
    "train_loss": "loss",
    "val_loss": "val loss",
    "mAP": "mAP",
    "CF1": "CF1",
    "OF1": "OF1",
    "hamming": "Hamming",
    "element_accuracy": "acc",
}


def best_epoch(epochs: Sequence[Epoch], best_by: str) -> int | None:
    """Return the earliest epoch with the best validation metric; the last one where no epoch has the metric."""
    if not epochs:
        return None
    sign = -1 if best_by in LOWER_IS_BETTER else 1
    known = [(sign * entry.metrics["val"][best_by], -entry.epoch) for entry in epochs if _has(entry, best_by)]
    return -max(known)[1] if known else epochs[-1].epoch


def _has(entry: Epoch, metric: str) -> bool:
    return entry.metrics.get("val", {}).get(metric) is not None


def stored_metrics(metrics: Metrics) -> dict[str, Any]:
    """Return validation metrics as the sidecar holds them: those of each label rounded, as there are many of them."""
    stored = metrics.to_dict()
    stored["per_class"] = [
        {name: round(value, _DIGITS) if isinstance(value, float) else value for name, value in entry.items()}
        for entry in stored["per_class"]
    ]
    return stored


def history_rows(epochs: Sequence[Epoch], label_names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return one dictionary per epoch: the columns COLUMNS, then the AP of each label, called as ``ap_column`` says.

    A metric that is undefined, or that the epoch does not have, is None.
    """
    rows = []
    for entry in epochs:
        metrics = entry.metrics
        flat = {**metrics["val"], **metrics, "val_loss": metrics["val"]["loss"], "epoch": entry.epoch}
        APs = {found["index"]: found["AP"] for found in metrics["val"].get("per_class", ())}
        row = {name: flat.get(name) for name in COLUMNS}
        row.update({ap_column(name): APs.get(index) for index, name in enumerate(label_names)})
        rows.append(row)
    return rows


def ap_column(label_name: str) -> str:
    """Return the column with a label's AP."""
    return f"{_AP}{label_name}"


def label_columns(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the columns with the labels' AP, with the names of the labels."""
    return {column: column[len(_AP) :] for column in row if column.startswith(_AP)}


def is_head_fit(row: Mapping[str, Any]) -> bool:
    """Say whether an epoch took no steps, but only fitted the head: it was validated, and has no training loss."""
    missing = [row.get(name) in (None, "") for name in ("train_loss", "lr")]
    return all(missing) and row.get("val_loss") not in (None, "")


def epoch_line(row: Mapping[str, Any], last_epoch: int, best: bool, left: str = "") -> str:
    """Return one row as the line that the user reads; ``left`` says how long the rest of the run takes."""
    shown = [
        f"{label} {_number(row[name])}"
        for name, label in _SHOWN.items()
        if row[name] is not None or not name.startswith("train_")
    ]
    if row["images_per_second"] is not None:
        shown.append(f"{row['images_per_second']:.0f} img/s")
    shown += [*(["best so far"] if best else []), *([left] if left else [])]
    return f"epoch {row['epoch']}/{last_epoch}: " + ", ".join(shown)


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as the text of a CSV file with a header; None becomes an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
