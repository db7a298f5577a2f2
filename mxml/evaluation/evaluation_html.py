"""An evaluation as notebooks show it: two tables in one piece of HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from mxml.text import counted, printable

if TYPE_CHECKING:
    from mxml.evaluation.evaluation import Evaluation

_HEADLINES = ("mAP", "CF1", "OF1", "accuracy", "hamming", "subset_accuracy", "ranking_loss", "loss")
_OF_A_LABEL = ("AP", "precision", "recall", "F1", "positives", "predicted", "threshold")
_MOST_LABELS = 200
# The words of mxml evaluate.
_WORDS = {
    "hamming": "Hamming loss",
    "subset_accuracy": "exact match",
    "ranking_loss": "ranking loss",
    "loss": "cross-entropy",
    "positives": "present",
}


def evaluation_html(evaluation: Evaluation) -> str:
    """Return HTML that needs nothing else, and whose texts are escaped; the first 200 labels."""
    found = evaluation.to_dict()
    headlines = [name for name in _HEADLINES if found.get(name) is not None]
    overall = _table(_in_words(headlines), [[_shown(found[name]) for name in headlines]])
    rows = [[printable(entry["name"]), *(_shown(entry[name]) for name in _OF_A_LABEL)] for entry in found["per_class"]]
    labels = _table(["label", *_in_words(_OF_A_LABEL)], rows[:_MOST_LABELS])
    more = f"<div>… and {len(rows) - _MOST_LABELS:,} more</div>" if len(rows) > _MOST_LABELS else ""
    title = (
        f"{evaluation.prefix}, epoch {evaluation.epoch}, on {counted(evaluation.samples, 'image')} of {found['data']}"
    )
    return f"<div><div>{escape(printable(title))}</div>{overall}{labels}{more}</div>"


def _in_words(names: Sequence[str]) -> list[str]:
    return [_WORDS.get(name, name) for name in names]


def _table(columns: list[str], rows: list[list[str]]) -> str:
    from tabulate import tabulate

    sides = ["left" if column == "label" else "right" for column in columns]
    return f"<div style='margin:.5em 0'>{tabulate(rows, columns, 'html', disable_numparse=True, colalign=sides)}</div>"


def _shown(value: float | int | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if value > 1 else f"{value:.3f}"
