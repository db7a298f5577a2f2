"""The training curves: losses, validation metrics and the AP of each label by epoch, as one PNG."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mxml import atomic
from mxml.training.history import is_head_fit, label_columns
from mxml.training.label_curves import MANY_EPOCHS, LabelCurve, add_legend, draw_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOSSES = {"train_loss": "training", "val_loss": "validation"}
METRICS = ("mAP", "CF1", "OF1")
# Where training begins, the loss per label is ln 2; one of 100 has logits of 100 and more.
_MOST_LOSS = 100.0
_COLOURS = ("#0f766e", "#c2410c", "#4338ca")
_GREY = "#6b7280"
_WIDTH, _HEIGHT = 10, 4


def plot_history(
    rows: Sequence[Mapping[str, Any]],
    path: str | os.PathLike[str],
    best_epoch: int | None = None,
    diverged: Sequence[int] = (),
) -> None:
    """Draw the history of a run to ``path``, a PNG that appears whole or not at all; see ``draw_history``."""
    content = io.BytesIO()
    draw_history(rows, best_epoch, diverged).savefig(content, format="png")
    atomic.write_bytes(path, content.getvalue())


def draw_history(
    rows: Sequence[Mapping[str, Any]], best_epoch: int | None = None, diverged: Sequence[int] = ()
) -> Figure:
    """Return the picture of a run's history: losses, validation metrics and, below them, the AP of each label.

    ``rows`` holds one mapping per epoch: ``epoch`` and any of ``train_loss``, ``val_loss``, ``mAP``, ``CF1``, ``OF1``,
    ``lr`` and the labels' columns, as numbers or the text of a CSV; what is missing, empty or NaN is a gap. Without any
    label's column the picture has no part for them.

    ``best_epoch`` is marked; without it, the epoch of the highest mAP. So are the epochs in ``diverged``, in which
    training diverged before it went on from an earlier state, and an epoch that only fitted the head.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    epochs = [int(_number(row.get("epoch"))) for row in rows]
    series = {name: [_number(row.get(name)) for row in rows] for name in (*LOSSES, *METRICS, "lr")}
    labels = [
        LabelCurve(name, position, [_number(row.get(column)) for row in rows])
        for position, (column, name) in enumerate(label_columns(rows[0]).items() if rows else ())
    ]
    if best_epoch is None:
        best_epoch = _epoch_of_highest(epochs, series["mAP"])
    marks = _Marks(best_epoch, epochs[0] if rows and is_head_fit(rows[0]) else None, tuple(diverged))

    figure = Figure(figsize=(_WIDTH, _HEIGHT * (2 if labels else 1)), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    # Each with a layout of its own: a wide legend below should leave the upper axes as they are.
    above, *below = figure.subfigures(2 if labels else 1, 1, squeeze=False)[:, 0]
    losses, metrics = above.subplots(1, 2)
    for (name, label), colour in zip(LOSSES.items(), _COLOURS):
        _draw_line(losses, epochs, series[name], label, colour)
    highest = _highest(series[name] for name in LOSSES) or 1.0
    limit = _loss_limit([value for name in LOSSES for value in series[name] if math.isfinite(value)])
    losses.set_title("Loss" if highest <= limit else f"Loss (some values are above {limit:.3g})")
    losses.set_ylim(0, min(highest, limit) * 1.06)
    for name, colour in zip(METRICS, _COLOURS):
        _draw_line(metrics, epochs, series[name], name, colour)
    metrics.set_title("Validation metrics")
    _show_shares(metrics, [series[name] for name in METRICS])
    for axes in (losses, metrics):
        _finish(axes, epochs, marks)
        if axes.lines:
            axes.legend(edgecolor="none", framealpha=0.8)
        else:
            axes.text(0.5, 0.5, "none in this run", ha="center", transform=axes.transAxes, color=_GREY)
    _draw_learning_rate(losses, epochs, series["lr"])
    if labels:
        _draw_labels(below[0].subplots(), epochs, labels, marks)
    return figure


@dataclass(frozen=True)
class _Marks:
    """The epochs that are marked: the best one, the one that fitted the head, those in which training diverged."""

    best: int | None
    head_fit: int | None
    diverged: tuple[int, ...]


def _draw_labels(axes: Axes, epochs: list[int], labels: list[LabelCurve], marks: _Marks) -> None:
    axes.set_title("Validation AP of each label")
    shown = draw_labels(axes, epochs, labels, marks.best)
    _show_shares(axes, [curve.values for curve in labels])
    _finish(axes, epochs, marks)
    if shown:
        add_legend(axes, shown, "last AP" if marks.best is None else f"AP at epoch {marks.best}")


def _loss_limit(values: list[float]) -> float:
    """Return the loss up to which the axis reaches: one that diverged would flatten all others."""
    middle = sorted(values)[(len(values) - 1) // 2] if values else 0.0
    return min(_MOST_LOSS, 10 * max(math.log(2), middle))


def _number(value: Any) -> float:
    return math.nan if value is None or value == "" else float(value)


def _epoch_of_highest(epochs: list[int], values: list[float]) -> int | None:
    known = [(value, -epoch) for epoch, value in zip(epochs, values) if math.isfinite(value)]
    return -max(known)[1] if known else None


def _highest(lines: Iterable[Sequence[float]]) -> float:
    return max((value for line in lines for value in line if math.isfinite(value)), default=1.0)


def _show_shares(axes: Axes, lines: Sequence[Sequence[float]]) -> None:
    """Let the axis of values up to 1 begin a little below the lowest, and end so that dots at 1 are whole."""
    lowest = -_highest([-value for value in line] for line in lines)
    bottom = max(0.0, lowest - 0.1 * (1.05 - lowest))
    axes.set_ylim(bottom, 1 + 0.02 * (1 - bottom))


def _draw_line(axes: Axes, epochs: list[int], values: list[float], label: str, colour: str) -> None:
    if any(map(math.isfinite, values)):
        # A dot per epoch as well as the line: a single epoch, or one between gaps, has no line.
        size = 3.5 if len(epochs) <= MANY_EPOCHS else 1.8
        axes.plot(epochs, values, marker="o", markersize=size, linewidth=1.8, label=label, color=colour)


def _draw_learning_rate(axes: Axes, epochs: list[int], values: list[float]) -> None:
    if not any(map(math.isfinite, values)):
        return
    right = axes.twinx()
    right.plot(epochs, values, drawstyle="steps-mid", linestyle=":", linewidth=1.2, color=_GREY)
    right.set_ylabel("learning rate (dotted)", color=_GREY)
    right.tick_params(colors=_GREY)
    right.set_ylim(bottom=0)
    right.ticklabel_format(axis="y", scilimits=(-2, 3))
    right.spines[["top"]].set_visible(False)


def _finish(axes: Axes, epochs: list[int], marks: _Marks) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if epochs:
        axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
    axes.grid(color="#e5e7eb")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    # Of a single epoch it would fill the axes.
    if marks.head_fit is not None and len(epochs) > 1:
        axes.axvspan(marks.head_fit - 0.5, marks.head_fit + 0.5, color="#e0e7ff", zorder=0, label="fit of the head")
    for number, epoch in enumerate(marks.diverged):
        label = "" if number else "diverged"
        axes.axvline(epoch, color="#dc2626", linestyle="-.", linewidth=1.2, zorder=1, label=label)
    if marks.best is not None:
        label = f"best: epoch {marks.best}"
        axes.axvline(marks.best, color="#ca8a04", linestyle="--", linewidth=1.5, zorder=1, label=label)
