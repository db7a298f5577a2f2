"""The training curves: losses and validation metrics by epoch, as one PNG."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mxml import atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOSSES = {"train_loss": "training", "val_loss": "validation"}
METRICS = ("mAP", "CF1", "OF1")
# Where training begins, the loss per label is ln 2; one of 100 has logits of 100 and more.
_MOST_LOSS = 100.0
_COLOURS = ("#0f766e", "#c2410c", "#4338ca")


def plot_history(
    rows: Sequence[Mapping[str, Any]], path: str | os.PathLike[str], best_epoch: int | None = None
) -> None:
    """Draw the history of a run to ``path``, a PNG that appears whole or not at all; see ``draw_history``."""
    content = io.BytesIO()
    draw_history(rows, best_epoch).savefig(content, format="png")
    atomic.write_bytes(path, content.getvalue())


def draw_history(rows: Sequence[Mapping[str, Any]], best_epoch: int | None = None) -> Figure:
    """Return the picture of a run's history: losses on the left, validation metrics on the right.

    ``rows`` holds one mapping per epoch: ``epoch`` and any of ``train_loss``, ``val_loss``, ``mAP``, ``CF1``, ``OF1``,
    ``lr``, as numbers or the text of a CSV; what is missing, empty or NaN is a gap. ``best_epoch`` is marked; without
    it, the epoch of the highest mAP.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    epochs = [int(_number(row.get("epoch"))) for row in rows]
    series = {name: [_number(row.get(name)) for row in rows] for name in (*LOSSES, *METRICS, "lr")}
    if best_epoch is None:
        best_epoch = _epoch_of_highest(epochs, series["mAP"])

    figure = Figure(figsize=(10, 4), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    losses, metrics = figure.subplots(1, 2)
    for (name, label), colour in zip(LOSSES.items(), _COLOURS):
        _draw_line(losses, epochs, series[name], label, colour)
    highest = _highest(series[name] for name in LOSSES) or 1.0
    limit = _loss_limit([value for name in LOSSES for value in series[name] if math.isfinite(value)])
    losses.set_title("Loss" if highest <= limit else f"Loss (some values are above {limit:.3g})")
    losses.set_ylim(0, min(highest, limit) * 1.06)
    for name, colour in zip(METRICS, _COLOURS):
        _draw_line(metrics, epochs, series[name], name, colour)
    metrics.set_title("Validation metrics")
    lowest = -_highest([-value for value in series[name]] for name in METRICS)
    metrics.set_ylim(max(0.0, lowest - 0.1 * (1.05 - lowest)), 1.0)
    for axes in (losses, metrics):
        _finish(axes, epochs, best_epoch)
    _draw_learning_rate(losses, epochs, series["lr"])
    return figure


def _loss_limit(values: list[float]) -> float:
    """Return the loss up to which the axis reaches: one that diverged would flatten all others."""
    middle = sorted(values)[(len(values) - 1) // 2] if values else 0.0
    return min(_MOST_LOSS, 10 * max(math.log(2), middle))


def _number(value: Any) -> float:
    return math.nan if value is None or value == "" else float(value)


def _epoch_of_highest(epochs: list[int], values: list[float]) -> int | None:
    known = [(value, -epoch) for epoch, value in zip(epochs, values) if math.isfinite(value)]
    return -max(known)[1] if known else None


def _highest(lines: Iterable[list[float]]) -> float:
    return max((value for line in lines for value in line if math.isfinite(value)), default=1.0)


def _draw_line(axes: Axes, epochs: list[int], values: list[float], label: str, colour: str) -> None:
    if any(map(math.isfinite, values)):
        # A dot per epoch as well as the line: a single epoch, or one between gaps, has no line.
        axes.plot(epochs, values, marker="o", markersize=3.5, linewidth=1.8, label=label, color=colour)


def _draw_learning_rate(axes: Axes, epochs: list[int], values: list[float]) -> None:
    if not any(map(math.isfinite, values)):
        return
    right = axes.twinx()
    right.plot(epochs, values, drawstyle="steps-mid", linestyle=":", linewidth=1.2, color="#6b7280")
    right.set_ylabel("learning rate (dotted)", color="#6b7280")
    right.tick_params(colors="#6b7280")
    right.set_ylim(bottom=0)
    right.spines[["top"]].set_visible(False)


def _finish(axes: Axes, epochs: list[int], best_epoch: int | None) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if epochs:
        axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
    axes.grid(color="#e5e7eb")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if best_epoch is not None:
        axes.axvline(
            best_epoch, color="#ca8a04", linestyle="--", linewidth=1.5, zorder=1, label=f"best: epoch {best_epoch}"
        )
    if axes.lines:
        axes.legend(frameon=False)
    else:
        axes.text(0.5, 0.5, "none in this run", ha="center", transform=axes.transAxes, color="#6b7280")
