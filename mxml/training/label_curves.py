"""The AP of each label by epoch: all in colour, or of many labels the best and the worst.

Of a single epoch dots would lie upon each other: there each label has a bar, the highest first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mxml.images.fonts import font_file
from mxml.text import printable

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.font_manager import FontProperties

_COLOURS = ("#0f766e", "#0284c7", "#4d7c0f", "#4338ca", "#7e22ce", "#be185d", "#c2410c", "#78350f")
_BEST, _WORST = _COLOURS[:3], _COLOURS[4:]
_GREY = "#9ca3af"
_LONGEST_NAME = 28
# So many have no room for a dot each.
MANY_EPOCHS = 40
_FONT_SIZE = 9


@dataclass(frozen=True)
class LabelCurve:
    """A label's AP at each epoch, NaN where it has none; ``position`` is its number among the labels, from 0."""

    name: str
    position: int
    values: Sequence[float]

    def at(self, epochs: Sequence[int], epoch: int | None) -> float:
        """Return the AP at ``epoch``, else the last one."""
        known = {number: value for number, value in zip(epochs, self.values) if math.isfinite(value)}
        return known.get(epoch if epoch in known else max(known, default=-1), math.nan)


@dataclass(frozen=True)
class LegendEntry:
    """A line of the legend: what it shows, its text, and the font that has the text's letters."""

    drawn: Artist
    text: str
    font_path: str


def draw_labels(
    axes: Axes, epochs: Sequence[int], curves: Sequence[LabelCurve], best_epoch: int | None
) -> list[LegendEntry]:
    """Draw the curves and return the legend: the labels in colour with their AP at the best epoch, highest first.

    Of a single epoch they are bars, in the middle where there are fewer than colours.
    """
    measured = [(curve.at(epochs, best_epoch), curve) for curve in curves]
    ranked = sorted((pair for pair in measured if math.isfinite(pair[0])), key=lambda pair: -pair[0])
    many = len(ranked) > len(_COLOURS)
    head, tail = len(_BEST), len(_WORST)
    between = len(ranked) - head - tail if many else 0
    colours = (*_BEST, *[_GREY] * between, *_WORST) if many else _COLOURS
    entries, greys = [], []
    for rank, ((AP, curve), colour) in enumerate(zip(ranked, colours)):
        if len(epochs) == 1:
            (drawn,) = axes.bar(rank, AP, color=colour)
        else:
            drawn = _draw_line(axes, epochs, curve, colour, 0.7 if colour == _GREY else 1.6)
        if colour == _GREY:
            greys.append(drawn)
        else:
            entries.append(_entry(drawn, f"{AP:.3f}  ", curve))
    if len(epochs) == 1:
        beside = max(0, len(_COLOURS) - len(ranked)) / 2
        axes.set_xlim(-0.6 - beside, len(ranked) - 0.4 + beside)
    if greys:
        entries.insert(head, LegendEntry(greys[0], f"{len(greys):,} labels between", _font("")))
    return entries


def add_legend(axes: Axes, entries: Sequence[LegendEntry], title: str) -> None:
    """Put the legend to the right of the axes, where it covers no line."""
    legend = axes.legend(
        [entry.drawn for entry in entries],
        [entry.text for entry in entries],
        title=title,
        title_fontsize=_FONT_SIZE,
        alignment="left",
        frameon=False,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
    )
    for text, entry in zip(legend.get_texts(), entries):
        # A name may hold what matplotlib takes for a formula.
        text.set_parse_math(False)
        text.set_fontproperties(_properties(entry.font_path))


def _draw_line(axes: Axes, epochs: Sequence[int], curve: LabelCurve, colour: str, width: float) -> Artist:
    known = sum(map(math.isfinite, curve.values))
    # Many lines with dots are hard to tell apart, but a single value has no line.
    marker = "o" if known < 2 or (width > 1 and len(epochs) <= MANY_EPOCHS) else ""
    (line,) = axes.plot(
        epochs, curve.values, marker=marker, markersize=3, linewidth=width, color=colour, zorder=2 + (width > 1)
    )
    return line


def _entry(drawn: Artist, start: str, curve: LabelCurve) -> LegendEntry:
    name = printable(curve.name)
    name = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
    # Where no font has a name's letters its number says more than boxes do.
    text = start + (name if font_file(start + name) else f"label {curve.position + 1}")
    return LegendEntry(drawn, text, _font(text))


def _font(text: str) -> str:
    path = font_file(text)
    assert path is not None
    return path


def _properties(font_path: str) -> FontProperties:
    from matplotlib.font_manager import FontProperties

    return FontProperties(fname=font_path, size=_FONT_SIZE)
