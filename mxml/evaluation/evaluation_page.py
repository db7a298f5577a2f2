"""The result of an evaluation, as one HTML page that needs no other files; see ``mxml.pages.page``."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mxml.data.record_list import image_source
from mxml.evaluation.confusion import confusion
from mxml.evaluation.evaluation import Evaluation
from mxml.evaluation.label_curves import precision_recall, sweep
from mxml.evaluation.label_errors import LabelError
from mxml.evaluation.mistakes import Mistakes, surest_mistakes
from mxml.evaluation.page_charts import PrecisionRecallChart, SweepChart, reliability_chart
from mxml.evaluation.page_metrics import shown_metrics
from mxml.evaluation.reliability import reliability
from mxml.pages import heat_map
from mxml.pages.page import cut_label, render, write
from mxml.pages.thumbnails import make_thumbnails
from mxml.progress import SILENT, Progress

# What bounds the page at about 10 MB; each limit that is reached is said on it.
TABLE_LABELS = 1_000
CURVE_LABELS = 60
MAP_LABELS = 60
MISTAKES_OF_A_KIND = 4
MISTAKE_LABELS = 40
ERROR_IMAGES = 100
CARD_LABELS = 12
# A mistake is judged by what the image shows.
THUMBNAIL_SIDE = 200


@dataclass(frozen=True, eq=False)
class _Decisions:
    """What is known, true and decided of the M images that could be read; all (M, C), the last three bool."""

    scores: np.ndarray
    present: np.ndarray
    known: np.ndarray
    predicted: np.ndarray

    @classmethod
    def of(cls, evaluation: Evaluation) -> _Decisions:
        scores, labels = evaluation.scored.probabilities, evaluation.scored.labels
        known = labels >= 0
        if evaluation.single_label:
            predicted = np.arange(scores.shape[1]) == scores.argmax(axis=1)[:, np.newaxis]
        else:
            # In float64, as metrics and predictions compare them.
            predicted = known & (scores >= evaluation.thresholds)
        return cls(scores, labels == 1, known, predicted)

    @property
    def wrong(self) -> np.ndarray:
        """Return (C,): how many mistakes there are of each label."""
        return np.count_nonzero(self.known & (self.present != self.predicted), axis=0)


@dataclass(frozen=True)
class _Card:
    """An image on the page: ``labels`` are the columns of those that the list gives it."""

    position: int
    name: str
    labels: tuple[int, ...]
    score: float
    corrections: tuple[LabelError, ...] = ()


def format_page(evaluation: Evaluation, progress: Progress = SILENT) -> str:
    """Return the evaluation as one HTML page of a few megabytes at most, however many images and labels there are.

    Thumbnails are made from the image files; one that cannot be read any more is named instead of shown.
    """
    decisions = _Decisions.of(evaluation)
    # Where not all labels fit, those are shown of which most is to be seen.
    by_mistakes = np.argsort(-decisions.wrong, kind="stable")
    mistakes = _mistakes(evaluation, decisions, np.sort(by_mistakes[:MISTAKE_LABELS]))
    errors = evaluation.label_errors()
    corrections, corrected_images = _corrections(evaluation, errors)
    headline, others = shown_metrics(evaluation)
    cards = [*corrections, *(card for _, *kinds in mistakes for cards in kinds for card in cards)]
    source = image_source(evaluation.scored.images)
    suspected = np.bincount([error.class_id for error in errors], minlength=len(evaluation.label_names))
    return render(
        Path(__file__).with_suffix(".html"),
        evaluation=evaluation,
        headline=headline,
        others=others,
        metrics=evaluation.metrics,
        names=evaluation.label_names,
        list_name=cut_label(Path(evaluation.data).name),
        run_name=cut_label(Path(evaluation.prefix).name),
        single=evaluation.single_label,
        table=np.sort(by_mistakes[:TABLE_LABELS]).tolist(),
        unknown=(len(decisions.known) - np.count_nonzero(decisions.known, axis=0)).tolist(),
        suspected=suspected.tolist(),
        **_curves(evaluation, decisions, np.sort(by_mistakes[:CURVE_LABELS])),
        calibration=_calibration(evaluation, decisions),
        heat=_heat_map(evaluation, decisions, np.sort(by_mistakes[:MAP_LABELS])),
        mistakes=mistakes,
        mistake_labels=MISTAKE_LABELS,
        mistakes_of_a_kind=MISTAKES_OF_A_KIND,
        errors=errors,
        corrections=corrections,
        corrected_images=corrected_images,
        card_labels=CARD_LABELS,
        thumbnails=make_thumbnails(
            {card.position: (source, card.position) for card in cards}, progress, side=THUMBNAIL_SIDE
        ),
    )


def write_page(evaluation: Evaluation, path: str, progress: Progress = SILENT) -> None:
    """Write the page to a file, whose folder is made; raise StorageError where it cannot be written."""
    write(format_page(evaluation, progress), path)


def _curves(evaluation: Evaluation, decisions: _Decisions, shown: np.ndarray) -> dict[str, Any]:
    """Return the charts of the labels that are in an image, and how many of those that are shown have none."""
    curves, sweeps = [], []
    for label in shown.tolist():
        rows = decisions.known[:, label]
        scores, present = decisions.scores[rows, label], decisions.present[rows, label]
        if not present.any():
            continue
        entry = evaluation.metrics.per_class[label]
        curves.append(PrecisionRecallChart.of(label, precision_recall(scores, present), entry))
        if not evaluation.single_label:
            sweeps.append(SweepChart.of(label, sweep(scores, present), entry))
    never = sum(not entry.positives for entry in evaluation.metrics.per_class)
    return {"curves": curves, "sweeps": sweeps, "never_present": never}


def _calibration(evaluation: Evaluation, decisions: _Decisions) -> dict[str, Any]:
    """Return the chart of all decisions; of single labels only what is predicted counts, as in Guo et al. (2017)."""
    counted = decisions.predicted if evaluation.single_label else decisions.known
    return reliability_chart(reliability(decisions.scores[counted], decisions.present[counted]))


def _heat_map(evaluation: Evaluation, decisions: _Decisions, shown: np.ndarray) -> dict[str, Any]:
    """Return the confusion of some labels, row by row; ``share`` is that of the images with the row's label."""
    found = confusion(decisions.present, decisions.known, decisions.predicted, shown)
    counts = found.counts if evaluation.single_label else np.column_stack([found.counts, found.alone])
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.nan_to_num(counts / found.images[:, np.newaxis])
    apart = shares[:, : len(shown)][~np.eye(len(shown), dtype=bool)]
    highest = np.ceil(10 * max(0.1, shares[:, len(shown) :].max(initial=0), apart.max(initial=0))) / 10
    rows = [
        (
            label,
            int(found.images[row]),
            [
                {
                    "count": int(count),
                    "share": float(share),
                    "step": heat_map.step(share, highest) if count else 0,
                }
                for count, share in zip(counts[row], shares[row])
            ],
        )
        for row, label in enumerate(shown.tolist())
    ]
    look = heat_map.look([evaluation.label_names[label] for label in shown])
    return {"labels": shown.tolist(), "rows": rows, "look": look, "highest": highest}


def _mistakes(
    evaluation: Evaluation, decisions: _Decisions, shown: np.ndarray
) -> list[tuple[Mistakes, list[_Card], list[_Card]]]:
    """Return the mistakes of each label that has some, with their pictures: false ones and missed ones."""
    positions = evaluation.scored.positions.tolist()
    chosen = []
    for label in shown.tolist():
        scores = decisions.scores[:, label]
        mistakes = surest_mistakes(
            label,
            scores,
            decisions.present[:, label],
            decisions.known[:, label],
            decisions.predicted[:, label],
            MISTAKES_OF_A_KIND,
        )
        false, missed = (
            [_card(evaluation, positions[row], scores[row]) for row in rows.tolist()]
            for rows in (mistakes.false, mistakes.missed)
        )
        if false or missed:
            chosen.append((mistakes, false, missed))
    return chosen


def _card(evaluation: Evaluation, position: int, score: float, corrections: Sequence[LabelError] = ()) -> _Card:
    images = evaluation.scored.images
    labels = np.flatnonzero(images.labels[position] == 1).tolist()
    return _Card(position, images.name(position), tuple(labels), float(score), tuple(corrections))


def _corrections(evaluation: Evaluation, errors: Sequence[LabelError]) -> tuple[list[_Card], int]:
    """Return cards of images with likely wrong labels, the surest ones first, and how many such images there are."""
    by_image: dict[int, list[LabelError]] = {}
    for error in errors:
        by_image.setdefault(error.position, []).append(error)
    shown = itertools.islice(by_image.items(), ERROR_IMAGES)
    return [_card(evaluation, position, found[0].score, found) for position, found in shown], len(by_image)
