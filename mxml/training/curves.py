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
    from matplotlib.lines import Line2D

LOSSES = {"train_loss": "training", "val_loss": "validation"}
METRICS = ("mAP", "CF1", "OF1")
# Where training begins, the loss per label is ln 2; one of 100 has logits of 100 and more.
_MOST_LOSS = 100.0
_COLOURS = ("#0f766e", "#c2410c", "#4338ca")
_GREY, _LIGHT = "#6b7280", "#9ca3af"
_WIDTH, _HEIGHT = 10, 4
_LONG_NAME = 20


def plot_history(
    rows: Sequence[Mapping[str, Any]],
    path: str | os.PathLike[str],
    best_epoch: int | None = None,
    diverged: Sequence[int] = (),
    trained_on: str = "",
) -> None:
    """Draw the history of a run to ``path``, a PNG that appears whole or not at all; see ``draw_history``."""
    content = io.BytesIO()
    draw_history(rows, best_epoch, diverged, trained_on).savefig(content, format="png")
    atomic.write_bytes(path, content.getvalue())


def draw_history(
    rows: Sequence[Mapping[str, Any]],
    best_epoch: int | None = None,
    diverged: Sequence[int] = (),
    trained_on: str = "",
) -> Figure:
    """Return the picture of a run's history: losses, validation metrics and, below them, the AP of each label.

    ``rows`` holds one mapping per epoch: ``epoch`` and any of ``train_loss``, ``val_loss``, ``mAP``, ``CF1``, ``OF1``,
    ``lr`` and the labels' columns, as numbers or the text of a CSV; what is missing, empty or NaN is a gap. Without any
    label's column the picture has no part for them.

    ``best_epoch`` is marked; without it, the epoch of the highest mAP. So are the epochs in ``diverged``, in which
    training diverged before it went on from an earlier state, and an epoch that only fitted the head. A single epoch
    is drawn as bars.

    ``trained_on`` says what training minimised where that is not validation's plain cross-entropy.
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
    draw = _draw_bars if len(epochs) == 1 else _draw_lines
    draw(losses, epochs, {label: series[name] for name, label in _names_of_losses(trained_on).items()})
    highest = _highest(series[name] for name in LOSSES) or 1.0
    limit = _loss_limit([value for name in LOSSES for value in series[name] if math.isfinite(value)])
    losses.set_title("Loss" if highest <= limit else f"Loss (some values are above {limit:.3g})")
    losses.set_ylim(0, min(highest, limit) * (1.12 if len(epochs) == 1 else 1.06))
    draw(metrics, epochs, {name: series[name] for name in METRICS})
    metrics.set_title("Validation metrics")
    _show_shares(metrics, epochs, [series[name] for name in METRICS])
    for axes, rates in ((losses, series["lr"]), (metrics, [])):
        _finish(axes, epochs, marks, rates)
        if not axes.lines and not axes.patches:
            axes.text(0.5, 0.5, "none in this run", ha="center", transform=axes.transAxes, color=_GREY)
        elif len(epochs) > 1:
            _add_legend(axes, _draw_learning_rate(axes, epochs, rates))
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
    _show_shares(axes, epochs, [curve.values for curve in labels])
    _finish(axes, epochs, marks)
    if len(epochs) == 1:
        axes.set_xticks([])
        axes.set_xlabel(f"{axes.get_xlabel()}: labels, the highest AP first")
    if shown:
        add_legend(axes, shown, "last AP" if marks.best is None else f"AP at epoch {marks.best}")


def _names_of_losses(trained_on: str) -> dict[str, str]:
    if not trained_on:
        return LOSSES
    meant = {"train_loss": trained_on, "val_loss": "cross-entropy"}
    return {name: f"{label} ({meant[name]})" for name, label in LOSSES.items()}


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


def _show_shares(axes: Axes, epochs: list[int], lines: Sequence[Sequence[float]]) -> None:
    """Let the axis of values up to 1 begin a little below the lowest, and end so that dots at 1 are whole.

    Bars begin at 0, and have room for their values.
    """
    if len(epochs) == 1:
        axes.set_ylim(0, 1.08)
        return
    lowest = -_highest([-value for value in line] for line in lines)
    bottom = max(0.0, lowest - 0.1 * (1.05 - lowest))
    axes.set_ylim(bottom, 1 + 0.02 * (1 - bottom))


def _draw_lines(axes: Axes, epochs: list[int], lines: Mapping[str, Sequence[float]]) -> None:
    for (label, values), colour in zip(lines.items(), _COLOURS):
        if any(map(math.isfinite, values)):
            # A dot per epoch as well as the line: an epoch between gaps has no line.
            size = 3.5 if len(epochs) <= MANY_EPOCHS else 1.8
            axes.plot(epochs, values, marker="o", markersize=size, linewidth=1.8, label=label, color=colour)


def _draw_bars(axes: Axes, epochs: list[int], lines: Mapping[str, Sequence[float]]) -> None:
    """Draw the values of a single epoch; one that diverged has a bar as high as the axes, and its number."""
    known = {label: values[0] for label, values in lines.items() if math.isfinite(values[0])}
    colours = [colour for label, colour in zip(lines, _COLOURS) if label in known]
    for at, (value, colour) in enumerate(zip(known.values(), colours)):
        bar = axes.bar(at, min(value, _MOST_LOSS), width=0.5, color=colour)
        axes.bar_label(bar, [f"{value:.3g}" if value > 1 else f"{value:.3f}"], padding=2)
    axes.set_xticks(range(len(known)), [label.replace(" (", "\n(") for label in known])
    middle, half = (len(known) - 1) / 2, max(len(lines), len(METRICS)) / 2
    axes.set_xlim(middle - half, middle + half)


def _draw_learning_rate(axes: Axes, epochs: list[int], values: Sequence[float]) -> Line2D | None:
    """Draw the learning rate on an axis of its own at the right; None where none is known."""
    if not any(map(math.isfinite, values)):
        return None
    right = axes.twinx()
    (line,) = right.plot(epochs, values, drawstyle="steps-mid", linewidth=1.2, color=_LIGHT, label="learning rate")
    right.set_ylabel("learning rate", color=_GREY)
    right.tick_params(colors=_GREY)
    right.set_ylim(bottom=0)
    right.ticklabel_format(axis="y", scilimits=(-2, 3))
    right.spines[["top"]].set_visible(False)
    # Behind the losses.
    axes.set_zorder(right.get_zorder() + 1)
    axes.patch.set_visible(False)
    return line


def _add_legend(axes: Axes, rate: Line2D | None) -> None:
    """Name what is drawn, below the axes, where it covers nothing; the learning rate after the lines."""
    drawn, names = axes.get_legend_handles_labels()
    if rate is not None:
        at = sum(name.startswith(tuple(LOSSES.values())) for name in names)
        drawn.insert(at, rate)
        names.insert(at, str(rate.get_label()))
    columns = 3 if max(map(len, names)) < _LONG_NAME else 2
    axes.legend(drawn, names, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=columns, frameon=False, fontsize=9)


def _finish(axes: Axes, epochs: list[int], marks: _Marks, rates: Sequence[float] = ()) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.grid(color="#e5e7eb")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if len(epochs) == 1:
        fitted = " (fit of the head)" if marks.head_fit is not None else ""
        rate = "".join(f", learning rate {value:g}" for value in rates if math.isfinite(value))
        axes.grid(axis="x", visible=False)
        axes.set_xlabel(f"epoch {epochs[0]}{fitted}{rate}")
        return
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if epochs:
        axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
    if marks.head_fit is not None:
        axes.axvspan(marks.head_fit - 0.5, marks.head_fit + 0.5, color="#e0e7ff", zorder=0, label="fit of the head")
    for number, epoch in enumerate(marks.diverged):
        label = "" if number else "diverged"
        axes.axvline(epoch, color="#dc2626", linestyle="-.", linewidth=1.2, zorder=1, label=label)
    if marks.best is not None:
        label = f"best: epoch {marks.best}"
        axes.axvline(marks.best, color="#ca8a04", linestyle="--", linewidth=1.5, zorder=1, label=label)
