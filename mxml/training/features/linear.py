"""Logistic regression of many labels at once, with an L2 penalty for each label that cross-validation chooses."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mxml.model.pooled_layers import EPSILON
from mxml.runtime.threads import one_blas_thread
from mxml.training.features.preconditioner import Directions, Preconditioner

# Penalties that are tried, the strongest first: each fit begins at the one before.
PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
FOLDS = 4
# The penalty of a label is chosen by its own loss where it has so many images of its rarer value.
_LEAST_IMAGES = 8
# More images say no more about the penalty.
_MOST_IMAGES = 8000
_SEARCH_STEPS, _FINAL_STEPS = 12, 500
# Of the features' mean variance: one that hardly varies is hardly scaled up.
_LEAST_VARIANCE = 1e-6
_MEMORY = 10  # pairs that L-BFGS keeps
# What a fit holds for a label, in float64: copies of its weights, of which L-BFGS keeps most, and of its column.
_COPIES_OF_WEIGHTS, _COPIES_OF_LABELS = 2 * _MEMORY + 8, 8
_MOST_BYTES = 1 << 30


@dataclass(frozen=True, eq=False)
class Linear:
    """``logits = vectors @ weight + bias``; ``weight`` is (D, C), ``bias`` (C,), float64."""

    weight: np.ndarray
    bias: np.ndarray

    def logits(self, vectors: np.ndarray) -> np.ndarray:
        """Return (N, C) float32 for vectors (N, D)."""
        with one_blas_thread():
            return (vectors @ self.weight.astype(np.float32) + self.bias.astype(np.float32)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Standardiser:
    """Takes the mean off each feature and divides it by its standard deviation, as the BatchNorm of a head does.

    ``mean`` and ``variance`` are (D,) float32, the very numbers that the network's parameters hold.
    """

    mean: np.ndarray
    variance: np.ndarray

    @classmethod
    def of(cls, vectors: np.ndarray) -> Standardiser:
        """Return that of vectors (N, D); a feature that hardly varies is hardly scaled."""
        mean, variance = vectors.mean(axis=0, dtype=np.float64), vectors.var(axis=0, dtype=np.float64)
        variance = np.maximum(variance, _LEAST_VARIANCE * float(variance.mean()))
        return cls(mean.astype(np.float32), variance.astype(np.float32))

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Return standardised vectors (N, D) float32."""
        scale = 1 / np.sqrt(self.variance.astype(np.float64) + EPSILON)
        return ((vectors - self.mean) * scale.astype(np.float32)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class CrossValidated:
    """The penalty (C,) of each label, and the logits (N, C) that each image gets from a fit that has not seen it.

    ``fold`` (N,) int64 is the fold of each image, -1 for one that took no part; ``mean`` is the mean of the folds'
    fits, from where a fit to all images has few steps to go.
    """

    penalties: np.ndarray
    logits: np.ndarray
    fold: np.ndarray
    mean: Linear


def fit_logistic(
    vectors: np.ndarray,
    labels: np.ndarray,
    penalties: np.ndarray,
    start: Linear | None = None,
    steps: int = _FINAL_STEPS,
    *,
    directions: Directions | None = None,
    after_step: Callable[[], None] = lambda: None,
) -> Linear:
    """Fit labels (N, C), 1, 0, or -1 for unknown, to standardised vectors (N, D) float32.

    Minimises for each label the mean cross-entropy over its known images plus half its penalty times the squared norm
    of its weights, by L-BFGS (Nocedal & Wright 2006, section 7.2). A label that has only one value gets no weights: its
    bias is the logit of its frequency with half an image of each value added. ``directions`` are those of the vectors,
    or found here; ``after_step`` may raise.
    """
    known = labels >= 0
    counts = known.sum(axis=0)
    positive = ((labels > 0.5) & known).sum(axis=0)
    prior = np.log((positive + 0.5) / (counts - positive + 0.5))
    fitted = np.flatnonzero((positive > 0) & (positive < counts))
    weight = np.zeros((vectors.shape[1], labels.shape[1]))
    bias = prior.copy()
    if not len(fitted):
        return Linear(weight, bias)
    with one_blas_thread():
        directions = directions or Directions.of(vectors)
        # Labels are independent: together they are faster, in parts they need no more memory than there is.
        each = 8 * (_COPIES_OF_WEIGHTS * vectors.shape[1] + _COPIES_OF_LABELS * len(vectors))
        at_once = max(1, _MOST_BYTES // each)
        for first in range(0, len(fitted), at_once):
            some = fitted[first : first + at_once]
            begin = None if start is None else Linear(start.weight[:, some], start.bias[some])
            fit = _fit(vectors, labels[:, some], prior[some], penalties[some], begin, steps, directions, after_step)
            weight[:, some], bias[some] = fit.weight, fit.bias
    return Linear(weight, bias)


def _fit(
    vectors: np.ndarray,
    labels: np.ndarray,
    prior: np.ndarray,
    penalty: np.ndarray,
    start: Linear | None,
    steps: int,
    directions: Directions,
    after_step: Callable[[], None],
) -> Linear:
    """Fit labels that have both values, whose frequencies have the logits ``prior`` (C,)."""
    from scipy.optimize import minimize

    known = labels >= 0
    weights = np.where(known, 1.0 / np.maximum(known.sum(axis=0), 1), 0.0)
    targets = np.where(known, labels, 0).astype(np.float64)
    first = np.zeros((vectors.shape[1] + 1, labels.shape[1]))
    first[-1] = prior
    if start is not None:
        first[:-1], first[-1] = start.weight, start.bias
    frequency = 1 / (1 + np.exp(-prior))
    preconditioner = Preconditioner(directions, frequency * (1 - frequency), penalty)

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        parameters = preconditioner.parameters(flat.reshape(first.shape))
        logits = (vectors @ parameters[:-1].astype(np.float32)).astype(np.float64) + parameters[-1]
        loss = (weights * (np.logaddexp(0, logits) - targets * logits)).sum()
        loss += 0.5 * (penalty * parameters[:-1] ** 2).sum()
        slope = weights * (1 / (1 + np.exp(-np.clip(logits, -500, 500))) - targets)
        gradient = np.empty(first.shape)
        gradient[:-1] = (vectors.T @ slope.astype(np.float32)) + penalty * parameters[:-1]
        gradient[-1] = slope.sum(axis=0)
        return float(loss), preconditioner.parameters(gradient).ravel()

    # As near as float32 comes to the minimum.
    options = {"maxiter": steps, "maxcor": _MEMORY, "ftol": 1e-10, "gtol": 1e-6}
    begin = preconditioner.variables(first).ravel()
    found = minimize(objective, begin, jac=True, method="L-BFGS-B", options=options, callback=lambda _: after_step()).x
    parameters = preconditioner.parameters(found.reshape(first.shape))
    return Linear(parameters[:-1], parameters[-1])


def folds_of(labels: np.ndarray, seed: int, count: int = FOLDS, groups: np.ndarray | None = None) -> np.ndarray:
    """Return (N,) int64: the fold of each image, every label spread evenly; fewer folds where there are few images.

    Images with the same number in ``groups`` (N,) int64 are in one fold.
    """
    from mxml.prepare.splits import stratified_split

    fold = np.zeros(len(labels), np.int64)
    different = len(labels) if groups is None else len(np.unique(groups))
    parts = stratified_split(labels, [1.0] * max(2, min(count, different)), seed, groups)
    for number, positions in enumerate(parts):
        fold[positions] = number
    return fold


def same_images(vectors: np.ndarray) -> np.ndarray:
    """Return a number (N,) int64 for each vector, the same for the same vectors."""
    numbers: dict[bytes, int] = {}
    digests = (hashlib.sha256(np.ascontiguousarray(vector).tobytes()).digest() for vector in vectors)
    return np.array([numbers.setdefault(digest, len(numbers)) for digest in digests], np.int64)


def cross_validate(
    vectors: np.ndarray,
    labels: np.ndarray,
    seed: int,
    penalties: Sequence[float] = PENALTIES,
    folds: int = FOLDS,
    *,
    directions: Directions | None = None,
    after_step: Callable[[], None] = lambda: None,
) -> CrossValidated:
    """Choose each label's penalty by its loss on images that the fit has not seen.

    ``vectors`` are standardised, (N, D) float32, or (V, N, D) for V views of the same images: all of them are fitted,
    and the first is judged. A label with too few images of one value gets the penalty that is best for all labels
    together. Images whose vectors are the same are in one fold. Of many images some thousands are used. ``directions``
    and ``after_step`` are as in ``fit_logistic``.
    """
    views = vectors if vectors.ndim == 3 else vectors[None]
    images = labels.shape[0]
    chosen = np.arange(images)
    if images > _MOST_IMAGES:
        chosen = np.sort(np.random.default_rng(seed).permutation(images)[:_MOST_IMAGES])
    views, some = views[:, chosen], labels[chosen]
    fold = folds_of(some, seed, folds, same_images(views[0]))
    parts, (count, num_labels) = int(fold.max()) + 1, some.shape
    # One fit for all folds: the labels of each fold's images are unknown to its own columns.
    held_out = fold[:, None] == np.repeat(np.arange(parts), num_labels)
    seen = np.where(held_out, -1, np.tile(some, parts))
    everything, all_seen = np.concatenate(list(views)), np.tile(seen, (len(views), 1))
    directions = directions or Directions.of(everything)
    known = some >= 0
    logits = np.zeros((len(penalties), count, num_labels), np.float32)
    losses = np.full((len(penalties), num_labels), np.inf)
    means: list[Linear] = []
    start: Linear | None = None
    for number, penalty in enumerate(penalties):
        every = np.full(parts * num_labels, penalty)
        start = fit_logistic(
            everything, all_seen, every, start, _SEARCH_STEPS, directions=directions, after_step=after_step
        )
        means.append(_mean_of_folds(start, parts))
        logits[number] = start.logits(views[0])[held_out].reshape(count, num_labels)
        values = np.where(known, np.logaddexp(0, logits[number]) - np.maximum(some, 0) * logits[number], 0)
        losses[number] = values.sum(axis=0) / np.maximum(1, known.sum(axis=0))
        if number and (losses[number] >= losses[:number].min(axis=0)).all():
            break
    together = int(losses.mean(axis=1).argmin())
    best = losses.argmin(axis=0)
    positive, negative = (some > 0.5).sum(axis=0), (known & (some <= 0.5)).sum(axis=0)
    best[np.minimum(positive, negative) < _LEAST_IMAGES] = together
    picked = np.full(labels.shape, np.nan, np.float32)
    picked[chosen] = np.take_along_axis(logits, best[None, None], axis=0)[0]
    fold_of_all = np.full(images, -1, np.int64)
    fold_of_all[chosen] = fold
    mean = Linear(
        np.stack([means[number].weight[:, label] for label, number in enumerate(best)], axis=1),
        np.array([means[number].bias[label] for label, number in enumerate(best)]),
    )
    return CrossValidated(np.asarray(penalties)[best], picked, fold_of_all, mean)


def _mean_of_folds(fits: Linear, parts: int) -> Linear:
    size = fits.weight.shape[0]
    return Linear(fits.weight.reshape(size, parts, -1).mean(axis=1), fits.bias.reshape(parts, -1).mean(axis=0))
