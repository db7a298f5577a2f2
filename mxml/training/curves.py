"""The training curves: losses and validation figures by epoch, as one PNG."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mxml import atomic

LOSSES = {"train_loss": "training", "val_loss": "validation"}
FIGURES = ("mAP", "CF1", "OF1")
_COLOURS = ("#0f766e", "#c2410c", "#4338ca")


def plot_history(
    rows: Sequence[Mapping[str, Any]], path: str | os.PathLike[str], best_epoch: int | None = None
) -> None:
    """Draw the history of a run to ``path``, a PNG that appears whole or not at all.

    ``rows`` holds one mapping an epoch: ``epoch`` and any of ``train_loss``, ``val_loss``, ``mAP``, ``CF1``, ``OF1``,
    ``lr``, as numbers or the text of a CSV; what is missing, empty or NaN is a gap. ``best_epoch`` is marked; without
    it, the epoch of the highest mAP.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    epochs = [int(_number(row.get("epoch"))) for row in rows]
    series = {name: [_number(row.get(name)) for row in rows] for name in (*LOSSES, *FIGURES, "lr")}
    if best_epoch is None:
        best_epoch = _epoch_of_highest(epochs, series["mAP"])

    figure = Figure(figsize=(10, 4), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    losses, figures = figure.subplots(1, 2)
    for (name, label), colour in zip(LOSSES.items(), _COLOURS):
        _draw_line(losses, epochs, series[name], label, colour)
    losses.set_title("Loss")
    losses.set_ylim(0, (_highest(series[name] for name in LOSSES) or 1.0) * 1.06)
    for name, colour in zip(FIGURES, _COLOURS):
        _draw_line(figures, epochs, series[name], name, colour)
    figures.set_title("Validation figures")
    lowest = -_highest([-value for value in series[name]] for name in FIGURES)
    figures.set_ylim(max(0.0, lowest - 0.1 * (1.05 - lowest)), 1.0)
    for axes in (losses, figures):
        _finish(axes, epochs, best_epoch)
    _draw_learning_rate(losses, epochs, series["lr"])

    content = io.BytesIO()
    figure.savefig(content, format="png")
    atomic.write_bytes(path, content.getvalue())


def _number(value: Any) -> float:
    return math.nan if value is None or value == "" else float(value)


def _epoch_of_highest(epochs: list[int], values: list[float]) -> int | None:
    known = [(value, -epoch) for epoch, value in zip(epochs, values) if math.isfinite(value)]
    return -max(known)[1] if known else None


def _highest(lines: Iterable[list[float]]) -> float:
    return max((value for line in lines for value in line if math.isfinite(value)), default=1.0)


def _draw_line(axes: Any, epochs: list[int], values: list[float], label: str, colour: str) -> None:
    if any(map(math.isfinite, values)):
        # A dot an epoch as well as the line: a single epoch, or one between gaps, has no line.
        axes.plot(epochs, values, marker="o", markersize=3.5, linewidth=1.8, label=label, color=colour)


def _draw_learning_rate(axes: Any, epochs: list[int], values: list[float]) -> None:
    if not any(map(math.isfinite, values)):
        return
    right = axes.twinx()
    right.plot(epochs, values, drawstyle="steps-mid", linestyle=":", linewidth=1.2, color="#6b7280")
    right.set_ylabel("learning rate (dotted)", color="#6b7280")
    right.tick_params(colors="#6b7280")
    right.set_ylim(bottom=0)
    right.spines[["top"]].set_visible(False)


def _finish(axes: Any, epochs: list[int], best_epoch: int | None) -> None:
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
