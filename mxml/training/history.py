"""A run's metrics, epoch by epoch: the best one, and the rows of PREFIX-history.csv."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mxml.model.sidecar import Epoch
from mxml.training.settings.run import LOWER_IS_BETTER

if TYPE_CHECKING:
    from mxml.evaluation.metrics import Metrics

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

PER_CLASS = ("per_class", "AP_per_class")
"""The validation metrics that have an entry for each label."""

# A label may be called as a column is.
_AP = "AP "

_DIGITS = 6
# With them a sidecar stays below what mxml reads of one: an AP takes ten bytes, an entry of `per_class` two hundred.
_MOST_APS = 3_000_000
_MOST_CLASSES = 50_000
_NOISY = ("mAP", "CF1", "OF1")
_SAME_LOSS = 0.001

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
    """Return the epoch to use: by its validation metric, where that tells epochs apart, else by its loss.

    Each epoch in turn takes the place of the choice so far if ``takes_over`` says so. So the choice is always the
    earlier one or the newest, and never falls on an epoch whose files are gone. Where no epoch has the metric, it is
    the last one.
    """
    best: Epoch | None = None
    top = -math.inf
    for entry in epochs:
        new = entry.metrics.get("val", {})
        if new.get(best_by) is None:
            continue
        if best is None or takes_over(new, best.metrics["val"], best_by, top):
            best = entry
        top = max(top, _sign(best_by) * new[best_by])
    if best is None:
        return epochs[-1].epoch if epochs else None
    return best.epoch


def why_not_the_highest(epochs: Sequence[Epoch], best_by: str) -> str:
    """Say why the epoch to use is not the one with the best validation metric; an empty text where it is."""
    number = best_epoch(epochs, best_by)
    judged = {
        entry.epoch: entry.metrics["val"] for entry in epochs if entry.metrics.get("val", {}).get(best_by) is not None
    }
    if number not in judged:
        return ""
    top = max(judged, key=lambda epoch: _sign(best_by) * judged[epoch][best_by])
    best, other = judged[number], judged[top]
    if best[best_by] == other[best_by]:
        return ""
    noise = _noise(best_by, best.get("samples"))
    lower = " and of lower loss" if best["loss"] < other["loss"] else " and of the same loss"
    return f"no worse than the {other[best_by]:.4f} of epoch {top} within {noise:.3f},{lower}"


def takes_over(new: Mapping[str, Any], held: Mapping[str, Any], best_by: str, top: float = -math.inf) -> bool:
    """Say whether the validation metrics ``new`` are better than ``held``; ``top`` is the best value seen before.

    mAP, CF1 and OF1 of N images that differ by 0.1 / sqrt(N) or less are equal: one draw of the images says no more.
    Of those that equal the best value, the one with the lower loss is better, if it is lower by more than a thousandth.
    """
    if new[best_by] is None:
        return False
    sign = _sign(best_by)
    value, held_value = sign * new[best_by], sign * held[best_by]
    limit = max(top, value, held_value) - _noise(best_by, new.get("samples"))
    if value < limit:
        return False
    if held_value < limit:
        return True
    return new["loss"] < (1 - _SAME_LOSS) * held["loss"]


def _sign(best_by: str) -> int:
    return -1 if best_by in LOWER_IS_BETTER else 1


def _noise(best_by: str, images: int | None) -> float:
    return 0.1 / math.sqrt(images) if images and best_by in _NOISY else 0.0


def stored_metrics(metrics: Metrics) -> dict[str, Any]:
    """Return validation metrics as the sidecar holds them of a new epoch: those of each label rounded, and the APs."""
    stored = metrics.to_dict()
    stored["per_class"] = [
        {name: round(value, _DIGITS) if isinstance(value, float) else value for name, value in entry.items()}
        for entry in stored["per_class"]
    ]
    return {**stored, "AP_per_class": [entry["AP"] for entry in stored["per_class"]]}


def thinned(epochs: Sequence[Epoch], best_epoch: int | None) -> tuple[Epoch, ...]:
    """Return the epochs with what a sidecar has room for: the metrics of each label of the best and the last one alone.

    Of the others their APs are left, which the curves show; of very many labels those of the newest epochs.
    """
    kept = {best_epoch, epochs[-1].epoch}
    labels = len(_APs(epochs[-1]))
    old = len(epochs) - _MOST_APS // max(1, labels)
    thin = []
    for position, entry in enumerate(epochs):
        if entry.epoch not in kept or labels > _MOST_CLASSES:
            entry = _with_APs_alone(entry)
        if entry.epoch not in kept and position < old:
            entry = _without(entry, "AP_per_class")
        thin.append(entry)
    return tuple(thin)


def _with_APs_alone(entry: Epoch) -> Epoch:
    val = entry.metrics["val"]
    if "per_class" not in val:
        return entry
    # Earlier versions wrote no others.
    APs = {"AP_per_class": _APs(entry)}
    return _without(dataclasses.replace(entry, metrics={**entry.metrics, "val": {**val, **APs}}), "per_class")


def _without(entry: Epoch, name: str) -> Epoch:
    val = {key: value for key, value in entry.metrics["val"].items() if key != name}
    return dataclasses.replace(entry, metrics={**entry.metrics, "val": val})


def _APs(entry: Epoch) -> list[float | None]:
    val = entry.metrics["val"]
    if "AP_per_class" in val:
        return list(val["AP_per_class"])
    return [found["AP"] for found in val.get("per_class", ())]


def history_rows(epochs: Sequence[Epoch], label_names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return one dictionary per epoch: the columns COLUMNS, then the AP of each label, called as ``ap_column`` says.

    A metric that is undefined, or that the epoch does not have, is None.
    """
    rows = []
    for entry in epochs:
        metrics = entry.metrics
        flat = {**metrics["val"], **metrics, "val_loss": metrics["val"]["loss"], "epoch": entry.epoch}
        APs = dict(enumerate(_APs(entry)))
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
    """Say whether an epoch took no steps, but only fitted the head: it was validated, and has no learning rate."""
    return row.get("lr") in (None, "") and row.get("val_loss") not in (None, "")


def epoch_line(row: Mapping[str, Any], last_epoch: int, best: bool, left: str = "") -> str:
    """Return one row as the line that the user reads; ``left`` says how long the rest of the run takes."""
    names = _SHOWN if row.get("accuracy") is None else _SHOWN_SINGLE
    shown = [
        f"{label} {_number(row[name])}"
        for name, label in names.items()
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
