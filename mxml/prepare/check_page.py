"""The result of a check, as one HTML page that needs no other files; see ``mxml.pages.page``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mxml.pages import heat_map
from mxml.pages.page import cut_label, render, write
from mxml.prepare.check import CheckReport
from mxml.prepare.findings import ERRORS, WARNINGS, Finding
from mxml.prepare.page_pictures import duplicate_groups, label_samples, thumbnails
from mxml.prepare.size_chart import size_chart
from mxml.progress import SILENT, Progress

# What bounds the page, with the limits on its pictures at about 8 MB; each limit that is reached is said on it.
FINDINGS_SHOWN = 100
FINDINGS_OPEN = 5
EXAMPLES = 5
TABLE_LABELS = 1_000
MAP_LABELS = 60
LABEL_COUNTS = 40
CARD_LABELS = 12
PAIRS_SHOWN = 200


def format_page(report: CheckReport, progress: Progress = SILENT) -> str:
    """Return the report as one HTML page of a few megabytes at most, however many images and labels there are.

    Thumbnails are made from the image files; one that cannot be read any more is named instead of shown.
    """
    frequency = _label_frequency(report)
    by_frequency = np.argsort(-frequency, kind="stable")
    list_names = _list_names(report)
    samples = label_samples(report, by_frequency, list_names)
    groups = duplicate_groups(report, list_names)
    cards = [card for _, cards in (*samples, *groups) for card in cards]

    return render(
        Path(__file__).with_suffix(".html"),
        report=report,
        statistics=report.statistics,
        names=report.label_names,
        list_names=list_names,
        findings=[("error", _by_kind(report.errors)), ("warning", _by_kind(report.warnings))],
        kinds={**ERRORS, **WARNINGS},
        findings_open=FINDINGS_OPEN,
        examples=EXAMPLES,
        table=np.sort(by_frequency[:TABLE_LABELS]).tolist(),
        largest_share=_largest(stats.shares for stats in report.statistics.lists),
        frequency=frequency.tolist(),
        unknown=np.sum([stats.unknown for stats in report.statistics.lists], axis=0).tolist(),
        heat=_heat_map(report, np.sort(by_frequency[:MAP_LABELS])),
        new_pairs=_new_pairs(report, list_names),
        label_counts=_label_counts(report),
        samples=samples,
        sampled={label for label, _ in samples},
        groups=groups,
        card_labels=CARD_LABELS,
        pairs_shown=PAIRS_SHOWN,
        weights=report.statistics.pos_weight[:TABLE_LABELS].tolist(),
        thumbnails=thumbnails(report, cards, progress),
        sizes=size_chart(report.scan),
    )


def write_page(report: CheckReport, path: str, progress: Progress = SILENT) -> None:
    """Write the page to a file, whose folder is made; raise StorageError where it cannot be written."""
    write(format_page(report, progress), path)


def _list_names(report: CheckReport) -> list[str]:
    """Name each list by its file, or by its path where two files have one name."""
    files = [Path(checked.path).name for checked in report.lists]
    return [cut_label(file if files.count(file) == 1 else checked.path) for file, checked in zip(files, report.lists)]


# ---- findings


def _by_kind(findings: Iterable[Finding]) -> list[tuple[str, int, list[Finding]]]:
    """Group findings by kind, in the order of the first of each: kind, how many there are, those that are shown."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.kind, []).append(finding)
    return [(kind, len(group), group[:FINDINGS_SHOWN]) for kind, group in groups.items()]


# ---- labels


def _label_frequency(report: CheckReport) -> np.ndarray:
    return np.sum([stats.present for stats in report.statistics.lists], axis=0)


def _largest(columns: Iterable[np.ndarray]) -> float:
    """Return the largest number that is not NaN, and 1 where there is none above 0."""
    return max((float(value) for column in columns for value in column if value > 0), default=1.0)


def _heat_map(report: CheckReport, shown: np.ndarray) -> dict[str, Any]:
    """Return the co-occurrence of some labels, all lists together, row by row.

    ``share`` is that of the row's images which have the column's label too, ``step`` the same in tenths of ``highest``,
    rounded up. ``new`` marks pairs that occur in a later list and never in the first.
    """
    statistics = report.statistics
    counts = np.sum([stats.cooccurrence[np.ix_(shown, shown)] for stats in statistics.lists], axis=0)
    totals = np.diagonal(counts)
    with np.errstate(invalid="ignore"):
        shares = counts / totals[:, None]
    apart = shares[~np.eye(len(shown), dtype=bool)]
    highest = math.ceil(10 * np.nanmax(apart, initial=0.1)) / 10
    new = (counts > 0) & (statistics.lists[0].cooccurrence[np.ix_(shown, shown)] == 0)
    rows = []
    for row, first in enumerate(shown.tolist()):
        cells = [
            {
                "label": second,
                "count": int(counts[row, column]),
                "share": float(shares[row, column]),
                "step": heat_map.step(shares[row, column], highest) if counts[row, column] else 0,
                "new": bool(new[row, column]),
                "impossible": not totals[row] or not totals[column],
            }
            for column, second in enumerate(shown.tolist())
        ]
        rows.append((first, cells))
    look = heat_map.look([report.label_names[label] for label in shown])
    return {"labels": shown.tolist(), "rows": rows, "look": look, "highest": highest, "new": bool(new.any())}


def _new_pairs(report: CheckReport, list_names: Sequence[str]) -> list[dict[str, Any]]:
    """Return, for each list that has such, the pairs of labels that never occur together in the first list."""
    statistics = report.statistics
    return [
        {
            "list_name": name,
            "total": len(pairs),
            "pairs": [(*pair, int(stats.cooccurrence[tuple(pair)])) for pair in pairs[:PAIRS_SHOWN].tolist()],
        }
        for name, stats, pairs in zip(list_names, statistics.lists, statistics.new_pairs)
        if len(pairs)
    ]


def _label_counts(report: CheckReport) -> dict[str, Any]:
    """Return, for each number of labels, the number of images of each list that have as many."""
    columns = [stats.label_counts for stats in report.statistics.lists]
    length = max(len(column) for column in columns)
    table = np.array([np.pad(column, (0, length - len(column))) for column in columns])
    images = np.maximum(1, table.sum(axis=1, keepdims=True))
    return {
        "rows": list(enumerate(table[:, :LABEL_COUNTS].T.tolist())),
        "shares": (table[:, :LABEL_COUNTS] / images).T.tolist(),
        "largest": _largest(table / images),
        "hidden": int(table[:, LABEL_COUNTS:].sum()),
    }
