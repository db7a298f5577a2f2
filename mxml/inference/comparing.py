"""Two checkpoints on one list."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from mxml.errors import MxmlError
from mxml.evaluation.bootstrap import Difference
from mxml.evaluation.comparison import Answers, Compared, Comparison, compare_answers
from mxml.evaluation.scored_list import ScoredList
from mxml.inference.classifier import Classifier
from mxml.inference.limits import BATCH_SIZE
from mxml.inference.trained_lists import was_trained_on
from mxml.progress import SILENT, Progress
from mxml.text import counted, shown_labels

_SHOWN = 5


@dataclass(frozen=True, eq=False)
class CheckpointComparison:
    """How two checkpoints, called A and B, differ on a list.

    Attributes
    ----------
    prefixes : tuple of str
        Of A and B.
    epochs : tuple of int
        Of A and B.
    label_names : tuple of str
        The C names, in A's order.
    scored : ScoredList
        The list, with A's scores.
    positions : ndarray of shape (N,)
        Where in the list the compared images are: those that could be read.
    comparison : Comparison
        Metrics, their differences (B less A) and the images whose tags differ.
    """

    prefixes: tuple[str, str]
    epochs: tuple[int, int]
    label_names: tuple[str, ...]
    scored: ScoredList
    positions: np.ndarray
    comparison: Comparison

    def remarks(self) -> tuple[str, ...]:
        """Return whether the differences are more than noise, and whose tags are right, in sentences."""
        found = [_verdict(name, compared.difference) for name, compared in self.comparison.metrics.items()]
        changed = self.comparison.changed
        count = counted(self.comparison.images, "image")
        if not changed:
            return (*found, f"Both give the same tags to all of {count}.")
        of_a, of_b = (sum(tags.better == name for tags in changed) for name in ("A", "B"))
        return (
            *found,
            f"Tags differ on {len(changed):,} of {count}: those of A are better on {of_a:,}, those of B on {of_b:,}, "
            f"and neither on {len(changed) - of_a - of_b:,}.",
        )

    def changed(self) -> list[dict[str, Any]]:
        """Return the images whose tags differ: ``path``, ``only_A``, ``only_B``, ``labels`` (those present), ``right``.

        ``right`` is A or B, whoever is right on more of the labels that differ, and None where both are equally.
        """
        found = []
        for tags in self.comparison.changed:
            position = int(self.positions[tags.row])
            present = np.flatnonzero(self.scored.images.labels[position] == 1).tolist()
            found.append(
                {
                    "path": os.fsencode(self.scored.images.path(position)).decode("utf-8", "replace"),
                    "only_A": [self.label_names[index] for index in tags.only_first],
                    "only_B": [self.label_names[index] for index in tags.only_second],
                    "labels": [self.label_names[index] for index in present],
                    "right": tags.better or None,
                }
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON holds it, as ``mxml compare --json`` prints it.

        Returns
        -------
        dict
            ``A`` and ``B`` (``prefix`` and ``epoch``), ``data``, ``images``, ``metrics`` and ``per_label`` with the
            values of both and the ``difference`` B - A, its interval and whether that ``is_noise``, and ``changed``.
        """
        compared = self.comparison
        labels = zip(self.label_names, compared.positives, compared.AP)
        return {
            **{
                name: {"prefix": prefix, "epoch": epoch}
                for name, prefix, epoch in zip("AB", self.prefixes, self.epochs)
            },
            "data": os.fsencode(self.scored.path).decode("utf-8", "replace"),
            "images": compared.images,
            "bad": len(self.scored.images) - len(self.positions),
            "metrics": {name: _as_dict(values) for name, values in compared.metrics.items()},
            "per_label": [
                {"name": name, "positives": positives, "AP": _as_dict(values)} for name, positives, values in labels
            ],
            "changed": self.changed(),
        }


def compare_checkpoints(
    first: Classifier,
    second: Classifier,
    data: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    *,
    batch_size: int = BATCH_SIZE,
    threads: int | None = None,
    skip_bad: bool = False,
    allow_absolute: bool = False,
    progress: Progress = SILENT,
) -> CheckpointComparison:
    """Compare two checkpoints on the images of one list, each with its own preprocessing and thresholds.

    Parameters
    ----------
    first, second : Classifier
        A and B: their labels have the same names, in any order.
    data, root, batch_size, threads, skip_bad, allow_absolute, progress
        As for ``Classifier.evaluate``; by default the validation list of ``first``.

    Returns
    -------
    CheckpointComparison

    Raises
    ------
    MxmlError
        If the labels have other names, or no image has a label; else as ``Classifier.evaluate``.
    """
    order = _matching_labels(first, second)
    scored = first.score_list(
        data,
        root,
        batch_size=batch_size,
        threads=threads,
        skip_bad=skip_bad,
        allow_absolute=allow_absolute,
        progress=progress,
    )
    for name, classifier in (("A", first), ("B", second)):
        if was_trained_on(classifier.checkpoint.sidecar, scored.path, scored.images):
            progress.note(f"{scored.path}: {name} was trained on this list, which flatters it")
    # What the first one could not read has been refused, or may be left out.
    others = second.scores(scored.images, batch_size=batch_size, skip_bad=True, threads=threads, progress=progress)
    positions = np.flatnonzero(scored.scores.readable & others.readable)
    comparison = compare_answers(
        _answers(first, scored.scores.probabilities[positions]),
        _answers(second, others.probabilities[positions], order),
        scored.images.labels[positions],
        progress,
    )
    models = (first.checkpoint, second.checkpoint)
    return CheckpointComparison(
        (models[0].prefix, models[1].prefix),
        (models[0].epoch, models[1].epoch),
        first.label_names,
        scored,
        positions,
        comparison,
    )


def _matching_labels(first: Classifier, second: Classifier) -> list[int]:
    """Return where among the labels of ``second`` those of ``first`` are."""
    only_first, only_second = (
        [name for name in one.label_names if name not in set(other.label_names)]
        for one, other in ((first, second), (second, first))
    )
    if only_first or only_second:
        parts = [
            f"only {model.checkpoint.prefix} has {shown_labels(names, _SHOWN)}"
            for model, names in ((first, only_first), (second, only_second))
            if names
        ]
        raise MxmlError(f"the checkpoints have other labels: {'; '.join(parts)}")
    places = {name: place for place, name in enumerate(second.label_names)}
    return [places[name] for name in first.label_names]


def _answers(classifier: Classifier, scores: np.ndarray, order: list[int] | None = None) -> Answers:
    """Return scores and tags; ``order`` says where the labels of the answers are."""
    if classifier.single_label:
        predicted = np.arange(scores.shape[1]) == scores.argmax(axis=1)[:, np.newaxis]
    else:
        predicted = scores >= classifier.thresholds
    return Answers(scores, predicted) if order is None else Answers(scores[:, order], predicted[:, order])


def _verdict(name: str, difference: Difference) -> str:
    if np.isnan(difference.value):
        return f"{name} is undefined."
    interval = f"95 % interval of B - A {difference.low:+.4f} to {difference.high:+.4f}"
    if difference.value == 0 and difference.is_noise:
        return f"{name} is the same ({interval})."
    better = "B" if difference.value > 0 else "A"
    noise = "no more than noise" if difference.is_noise else "more than noise"
    return f"{name} of {better} is higher by {abs(difference.value):.4f}: {noise} ({interval})."


def _as_dict(compared: Compared) -> dict[str, Any]:
    values = {"A": compared.first, "B": compared.second}
    return {
        **{name: None if np.isnan(value) else value for name, value in values.items()},
        "difference": compared.difference.to_dict(),
    }
