"""Thresholds from held-out images, and what they gain on images that they were not chosen on.

A label's own best threshold follows the few images that have it, and is often worse on others than one threshold for
all labels. So of the kinds of thresholds in ``candidates`` that between the two is taken, unless cross-validation shows
another one to be better by more than its standard error; and the thresholds stay as they were where tuning gains
nothing. Calibration and all of these choices are made again for each fold of a cross-fitting, without the fold: so the
gain is that of images on which nothing was chosen, on average none where there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from mxml.errors import MxmlError
from mxml.evaluation.bootstrap import Difference, resample_count, resamples
from mxml.evaluation.calibration import Calibration, fit_calibration
from mxml.evaluation.candidates import PER_LABEL, PLAIN, SHRUNK, Candidates, find_candidates
from mxml.evaluation.metrics import Metrics, multilabel_metrics
from mxml.evaluation.objectives import Objective
from mxml.evaluation.precision_recall import Counts
from mxml.evaluation.scores import probabilities
from mxml.evaluation.weighted import WeightedCounts
from mxml.progress import SILENT, Progress

FOLDS = 5
MIN_SUPPORT = 10
LEAST_IMAGES = 20
# Which images meet in a fold decides much where they are few: then several divisions into folds are averaged.
_DIVISIONS, _DIVIDED_NUMBERS = 4, 50_000
_RESAMPLES_OF_KINDS = 200
_SEED = 0


@dataclass(frozen=True, eq=False)
class CrossFitted:
    """The metrics of images that thresholds and calibration were not chosen on.

    Attributes
    ----------
    metrics : dict
        CP, CR, CF1, OP, OR, OF1, ``F`` (the mean over the labels of the F-beta that was asked for, or else F1) and
        ``loss``, the cross-entropy of a label in nats.
    per_label : dict
        ``precision``, ``recall`` and ``F1`` of each label, (C,) float64; NaN where no image has it.
    gain : dict
        The ``Difference`` of F, CF1 and OF1 to what they are without tuning, with 95 % intervals.
    kinds : tuple of str
        Which kind of thresholds each fold took.
    """

    metrics: dict[str, float]
    per_label: dict[str, np.ndarray]
    gain: dict[str, Difference]
    kinds: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Tuning:
    """One threshold per label, and how good they are.

    Attributes
    ----------
    objective : Objective
        What they were chosen for.
    kind : {"plain", "common", "shrunk", "per-label"}
        See ``mxml.evaluation.candidates``.
    thresholds : ndarray of shape (C,)
        Float64, from 0 to 1.
    calibration : Calibration or None
        What is done to logits first. None where none was asked for, or where it made the cross-entropy no lower.
    refused : bool
        Whether it made it no lower.
    rejected : Difference or None
        The gain in F, by cross-validation, of thresholds that are no better than those before, so that ``plain`` ones
        are taken.
    pooled, reached : ndarray of shape (C,)
        Bool: whether a label has too few images for a threshold of its own; whether it reaches the precision or recall
        that was asked for, on the images that it was chosen on.
    before, after : Metrics
        On these images without tuning, and with it; what was fitted flatters the second.
    F_before, F_after : float
        The mean F of a label, as in ``cross_fitted``.
    cross_fitted : CrossFitted
        What to expect of other images.
    """

    objective: Objective
    kind: str
    thresholds: np.ndarray
    calibration: Calibration | None
    refused: bool
    rejected: Difference | None
    pooled: np.ndarray
    reached: np.ndarray
    before: Metrics
    after: Metrics
    F_before: float
    F_after: float
    cross_fitted: CrossFitted


def tune_thresholds(
    logits: np.ndarray,
    labels: np.ndarray,
    plain: np.ndarray,
    objective: Objective,
    *,
    calibrate: str | None = None,
    min_support: int = MIN_SUPPORT,
    progress: Progress = SILENT,
) -> Tuning:
    """Choose one threshold per label.

    Parameters
    ----------
    logits : ndarray of shape (N, C)
        Float32, of images that the network was not trained on.
    labels : ndarray of shape (N, C)
        1, 0 and -1 (unknown).
    plain : ndarray of shape (C,)
        The thresholds without tuning.
    objective : Objective
        What is best.
    calibrate : {"temperature", "platt"}, optional
        How logits are calibrated first.
    min_support : int, default 10
        A label with fewer known present or absent images takes the common threshold.
    progress : Progress, optional
        Receives as large a share of the images as of the work is done.

    Returns
    -------
    Tuning

    Raises
    ------
    MxmlError
        For fewer than 20 images with known labels, or where none has a label.
    """
    counted = (labels >= 0).any(axis=1)
    if counted.sum() < LEAST_IMAGES or not (labels == 1).any():
        raise MxmlError(
            f"{int(counted.sum()):,} images with known labels, {int((labels == 1).sum()):,} labels present: thresholds "
            f"are chosen on {LEAST_IMAGES} images or more, of which some have labels"
        )
    logits, labels = logits[counted], labels[counted]
    refused = calibrate is not None and not _calibration_helps(calibrate, logits, labels, min_support)
    fitting = _Fitting(objective, plain, None if refused else calibrate, min_support)
    divisions = _DIVISIONS if labels.size <= _DIVIDED_NUMBERS else 1
    progress.start(len(labels), "choosing thresholds")
    found = fitting.fit(logits, labels)
    # The folds decide anew whether tuning gains anything: an estimate by which it was taken would flatter it.
    judged = replace(fitting, only_plain=True) if found.kind == PLAIN else fitting
    cross_fitted = _cross_fitted(judged, logits, labels, divisions, progress)
    progress.advance(len(labels) - divisions * len(labels) // (divisions + 1))
    gain = cross_fitted.gain["F"]
    if found.kind != PLAIN and not objective.is_target and gain.value <= 0:
        # Nobody should be given thresholds that did worse on images that they were not chosen on.
        plainly = replace(fitting, only_plain=True)
        found = replace(plainly.fit(logits, labels), rejected=gain)
        cross_fitted = _cross_fitted(plainly, logits, labels, divisions, SILENT)
    scores = probabilities(logits)
    moved = found.calibrated(logits)
    tuned = probabilities(moved)
    return Tuning(
        objective,
        found.kind,
        found.thresholds,
        found.calibration,
        refused,
        found.rejected,
        found.pooled,
        found.reached,
        before=multilabel_metrics(scores, labels, plain, logits=logits),
        after=multilabel_metrics(tuned, labels, found.thresholds, logits=moved),
        F_before=float(_counts(scores >= plain, labels).mean_f(objective)),
        F_after=float(_counts(tuned >= found.thresholds, labels).mean_f(objective)),
        cross_fitted=cross_fitted,
    )


@dataclass(frozen=True, eq=False)
class _Fit:
    """What has been chosen on some images, for others."""

    kind: str
    thresholds: np.ndarray
    calibration: Calibration | None
    pooled: np.ndarray
    reached: np.ndarray
    rejected: Difference | None

    def calibrated(self, logits: np.ndarray) -> np.ndarray:
        return logits if self.calibration is None else self.calibration.apply(logits)


@dataclass(frozen=True, eq=False)
class _Fitting:
    """How thresholds and calibration are chosen."""

    objective: Objective
    plain: np.ndarray
    calibrate: str | None
    min_support: int
    only_plain: bool = False

    def fit(self, logits: np.ndarray, labels: np.ndarray) -> _Fit:
        """Choose them on these images alone."""
        calibration = (
            None if self.calibrate is None else fit_calibration(self.calibrate, logits, labels, self.min_support)
        )
        scores = probabilities(logits if calibration is None else calibration.apply(logits))
        found = self._candidates(scores, labels)
        kind, rejected = self._kind(scores, labels)
        return _Fit(kind, found.thresholds[kind], calibration, found.pooled, found.reached, rejected)

    def _candidates(self, scores: np.ndarray, labels: np.ndarray) -> Candidates:
        return find_candidates(scores, labels, self.objective, self.plain, self.min_support)

    def _kind(self, scores: np.ndarray, labels: np.ndarray) -> tuple[str, Difference | None]:
        """Return ``shrunk``, unless another kind is better on images that it was not chosen on by a standard error.

        Where what is taken is no better there than ``plain``, return that, and what the other one would have gained.
        """
        if self.objective.is_target:
            return PER_LABEL, None
        if self.only_plain:
            return PLAIN, None
        predicted: dict[str, np.ndarray] = {}
        for rest, fold in _folds(len(labels), 0):
            for kind, thresholds in self._candidates(scores[rest], labels[rest]).thresholds.items():
                predicted.setdefault(kind, np.zeros(labels.shape, dtype=bool))[fold] = scores[fold] >= thresholds
        found = {kind: float(_counts(given, labels).mean_f(self.objective)) for kind, given in predicted.items()}
        best = max(found, key=lambda kind: found[kind])

        def gain(kind: str, other: str) -> np.ndarray:
            new, old = (_weighted(predicted[one], labels) for one in (kind, other))
            blocks = resamples(len(labels), _RESAMPLES_OF_KINDS)
            return np.concatenate(
                [new.of(weights).mean_f(self.objective) - old.of(weights).mean_f(self.objective) for weights in blocks]
            )

        tuned = best if found[best] - found[SHRUNK] > gain(best, SHRUNK).std() else SHRUNK
        if found[tuned] > found[PLAIN]:
            return tuned, None
        tuned = SHRUNK if tuned == PLAIN else tuned
        return PLAIN, Difference.of(found[tuned] - found[PLAIN], gain(tuned, PLAIN))


def _cross_fitted(
    fitting: _Fitting, logits: np.ndarray, labels: np.ndarray, divisions: int, progress: Progress
) -> CrossFitted:
    before = probabilities(logits) >= fitting.plain
    kinds, after, losses = [], [], []
    # Each image is in a fold of every division, and in the choice from all of them.
    rounds, done = divisions + 1, 0
    for division in range(divisions):
        predicted, moved = np.zeros(labels.shape, dtype=bool), np.empty_like(logits)
        # Another division than the one that a kind of thresholds is chosen by.
        for rest, fold in _folds(len(labels), 1 + division):
            found = fitting.fit(logits[rest], labels[rest])
            kinds.append(found.kind)
            moved[fold] = found.calibrated(logits[fold])
            predicted[fold] = probabilities(moved[fold]) >= found.thresholds
            progress.advance((done + len(fold)) // rounds - done // rounds)
            done += len(fold)
        after.append(predicted)
        losses.append(_loss(moved, labels))
    counts = [_counts(predicted, labels) for predicted in after]
    averages = _mean([_averages(one, fitting.objective) for one in counts])
    return CrossFitted(
        {**{name: float(value) for name, value in averages.items()}, "loss": float(np.mean(losses))},
        _mean([dict(zip(("precision", "recall", "F1"), one.per_class())) for one in counts]),
        _gain(before, after, labels, fitting.objective),
        tuple(kinds),
    )


def _counts(predicted: np.ndarray, labels: np.ndarray) -> Counts:
    return Counts.of(labels == 1, predicted & (labels >= 0))


def _weighted(predicted: np.ndarray, labels: np.ndarray) -> WeightedCounts:
    return WeightedCounts(labels == 1, predicted & (labels >= 0))


def _averages(counts: Counts, objective: Objective) -> dict[str, np.ndarray]:
    return {**counts.averages(), "F": counts.mean_f(objective)}


def _gain(
    before: np.ndarray, after: list[np.ndarray], labels: np.ndarray, objective: Objective
) -> dict[str, Difference]:
    """Return how far F, CF1 and OF1 are above those before, with intervals over images."""

    def gain(old: Counts, new: list[Counts]) -> dict[str, np.ndarray]:
        first, second = _averages(old, objective), _mean([_averages(one, objective) for one in new])
        return {name: second[name] - first[name] for name in ("F", "CF1", "OF1")}

    old, new = _weighted(before, labels), [_weighted(predicted, labels) for predicted in after]
    blocks = [
        gain(old.of(weights), [one.of(weights) for one in new])
        for weights in resamples(len(labels), resample_count(*labels.shape))
    ]
    values = gain(_counts(before, labels), [_counts(predicted, labels) for predicted in after])
    return {
        name: Difference.of(float(value), np.concatenate([block[name] for block in blocks]))
        for name, value in values.items()
    }


def _calibration_helps(method: str, logits: np.ndarray, labels: np.ndarray, min_support: int) -> bool:
    """Say whether a calibration lowers the cross-entropy of images that it was not fitted to."""
    moved = np.empty_like(logits)
    for rest, fold in _folds(len(labels), 0):
        moved[fold] = fit_calibration(method, logits[rest], labels[rest], min_support).apply(logits[fold])
    return _loss(moved, labels) < _loss(logits, labels)


def _loss(logits: np.ndarray, labels: np.ndarray) -> float:
    known = labels >= 0
    signed = np.where(labels == 1, -logits, logits)[known].astype(np.float64)
    return float(np.logaddexp(0.0, signed).mean())


def _folds(count: int, division: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the positions outside and inside of each fold, the same for the same ``division``."""
    order = np.random.default_rng([_SEED, division]).permutation(count)
    for fold in range(FOLDS):
        inside = np.zeros(count, dtype=bool)
        inside[order[fold::FOLDS]] = True
        yield np.flatnonzero(~inside), np.flatnonzero(inside)


def _mean(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.mean([part[name] for part in parts], axis=0) for name in parts[0]}
