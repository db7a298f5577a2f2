"""The figures that a multi-label model is judged by: ranking, thresholded decisions and loss, unknown labels masked.

Names and definitions are the field's; ``y`` is a known label, ``s`` its score, ``t`` its class's threshold:

- **AP** of a class: the mean, over its positive samples, of the precision among the samples that score at least as
  high; equal to scikit-learn's ``average_precision_score``, ties included. **mAP**: its mean over the classes.
- **CP, CR**: the means over the classes of precision and recall of ``s >= t``, and **CF1** their harmonic mean, as in
  Wang et al., CNN-RNN (CVPR 2016) and the papers on MS-COCO since; it is not the mean of the classes' F1.
  A class that is never predicted has precision 0.
- **OP, OR, OF1**: the same from counts summed over all classes (micro averages).
- **hamming**: share of labels decided wrongly; **element_accuracy**: share decided rightly, the original script's
  ``acc``; **subset_accuracy**: share of samples without a wrong label.
- **ranking_loss**: share of (present, absent) pairs of a sample in which the absent label scores as high or higher;
  **coverage**: how many labels down its ranking a sample's last present one stands; **lrap**: label ranking average
  precision, AP along a sample instead of along a class. Means over samples; Tsoumakas et al., Mining Multi-label Data
  (2010), section 7, with scikit-learn's treatment of ties and of samples whose labels are all present or all absent
  (ranking loss 0, lrap 1; coverage 0 if none is present).
- **loss**: mean binary cross-entropy of a label, in nats.

A label of -1 is unknown and takes part in nothing: it is no decision, holds no rank, and counts in no denominator; a
sample without known labels is no sample. A class without a known positive has no AP, precision, recall or F1 (NaN,
``null`` in JSON) and is left out of mAP, CP and CR; its false alarms still count in the micro figures.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mxml.errors import MxmlError, TrainingError

# float32 probabilities end at 1 - 6e-8; without a bound one saturated mistake would make the mean loss infinite.
SCORE_CLIP = 1e-7
# Rows are ranked in blocks of about this many cells, so that the temporary arrays stay at some tens of megabytes.
BLOCK_CELLS = 1 << 20


@dataclass(frozen=True)
class ClassMetrics:
    """The figures of one class; ``index`` is its column, counts are of known labels."""

    index: int
    known: int
    positives: int
    predicted: int
    threshold: float
    AP: float
    precision: float
    recall: float
    F1: float


@dataclass(frozen=True)
class Metrics:
    """The figures of one evaluation, each defined in this module's docstring; NaN where nothing defines one."""

    samples: int
    known: int
    mAP: float
    CP: float
    CR: float
    CF1: float
    OP: float
    OR: float
    OF1: float
    hamming: float
    element_accuracy: float
    subset_accuracy: float
    ranking_loss: float
    coverage: float
    lrap: float
    loss: float
    per_class: tuple[ClassMetrics, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain Python values that JSON can hold, NaN as None."""
        plain = asdict(self)
        plain["per_class"] = [_without_nan(figures) for figures in plain["per_class"]]
        return _without_nan(plain)


def multilabel_metrics(
    scores: np.ndarray,
    labels: np.ndarray,
    thresholds: float | np.ndarray = 0.5,
    logits: np.ndarray | None = None,
) -> Metrics:
    """Judge probabilities against labels.

    ``scores`` (N, C) float in [0, 1]; ``labels`` (N, C) of 1, 0 and -1 (unknown); ``thresholds`` one number or (C,).
    A label is predicted when its score is at least its class's threshold, compared in float64. With ``logits`` (N, C)
    the loss is exact however sure the model is; without, it is taken from scores clipped to [1e-7, 1 - 1e-7].
    Raises TrainingError for a score or logit that is not finite, MxmlError for a label other than those three.
    """
    scores = np.asarray(scores, dtype=np.float64)
    labels = np.asarray(labels)
    if scores.ndim != 2 or scores.shape != labels.shape:
        raise ValueError(f"scores {scores.shape} and labels {labels.shape} must have the same two dimensions")
    thresholds = np.broadcast_to(np.asarray(thresholds, dtype=np.float64), scores.shape[1:])
    _check_finite(scores, "score")
    _check_range(scores)
    present, absent = labels == 1, labels == 0
    known = present | absent
    _check_labels(labels, known)

    predicted = known & (scores >= thresholds)
    wrong = known & (predicted != present)
    along_samples = _rank_rows(scores, present, absent)
    along_classes = _rank_rows(scores.T, present.T, absent.T)

    hits = (predicted & present).sum(axis=0)
    positives, positive_calls = present.sum(axis=0), predicted.sum(axis=0)
    has_positive = positives > 0
    precision = np.where(has_positive, _divide(hits, positive_calls, otherwise=0.0), np.nan)
    recall = _divide(hits, positives)
    F1 = np.where(has_positive, _divide(2 * hits, positives + positive_calls), np.nan)
    AP = np.where(has_positive, along_classes.average_precision, np.nan)

    CP, CR = _mean(precision[has_positive]), _mean(recall[has_positive])
    any_positive = bool(has_positive.any())
    OP = _ratio(hits.sum(), positive_calls.sum(), otherwise=0.0) if any_positive else math.nan
    OR = _ratio(hits.sum(), positives.sum())
    judged = known.any(axis=1)
    hamming = _ratio(wrong.sum(), known.sum())
    return Metrics(
        samples=int(judged.sum()),
        known=int(known.sum()),
        mAP=_mean(AP[has_positive]),
        CP=CP,
        CR=CR,
        CF1=_harmonic_mean(CP, CR),
        OP=OP,
        OR=OR,
        OF1=_harmonic_mean(OP, OR),
        hamming=hamming,
        element_accuracy=1 - hamming,
        subset_accuracy=_mean(~wrong.any(axis=1)[judged]),
        ranking_loss=_mean(along_samples.misordered[judged]),
        coverage=_mean(along_samples.depth[judged]),
        lrap=_mean(along_samples.average_precision[judged]),
        loss=_loss_of_scores(scores, present, known) if logits is None else _loss_of_logits(logits, present, known),
        per_class=tuple(
            ClassMetrics(
                index=index,
                known=int(known[:, index].sum()),
                positives=int(positives[index]),
                predicted=int(positive_calls[index]),
                threshold=float(thresholds[index]),
                AP=float(AP[index]),
                precision=float(precision[index]),
                recall=float(recall[index]),
                F1=float(F1[index]),
            )
            for index in range(scores.shape[1])
        ),
    )


@dataclass(frozen=True)
class _Ranking:
    """What the order of each row's scores says: (rows,) arrays."""

    average_precision: np.ndarray
    misordered: np.ndarray
    depth: np.ndarray


def _rank_rows(scores: np.ndarray, present: np.ndarray, absent: np.ndarray) -> _Ranking:
    """Rank every row by descending score. Cells that are neither present nor absent hold no rank."""
    block = max(1, BLOCK_CELLS // max(1, scores.shape[1]))
    parts = [
        _rank_block(scores[start : start + block], present[start : start + block], absent[start : start + block])
        for start in range(0, len(scores), block)
    ]
    columns = zip(*parts) if parts else ((), (), ())
    return _Ranking(*(np.concatenate(column) if column else np.empty(0) for column in columns))


def _rank_block(scores: np.ndarray, present: np.ndarray, absent: np.ndarray) -> tuple[np.ndarray, ...]:
    rows, width = scores.shape
    if width == 0:
        return np.ones(rows), np.zeros(rows), np.zeros(rows)
    # Unknown cells sort behind every finite score, where they shift no rank of a known one.
    keys = np.where(present | absent, -scores, np.inf)
    order = np.argsort(keys, axis=1)
    keys = np.take_along_axis(keys, order, axis=1)
    present = np.take_along_axis(present, order, axis=1)
    absent = np.take_along_axis(absent, order, axis=1)
    # Equal scores share the place of the last of them: an undecided model gets no credit for the order of its input.
    last_of_tie = np.ones((rows, width), dtype=bool)
    last_of_tie[:, :-1] = keys[:, 1:] != keys[:, :-1]
    places = np.where(last_of_tie, np.arange(width), width)
    places = np.minimum.accumulate(places[:, ::-1], axis=1)[:, ::-1]
    present_above = np.take_along_axis(present.cumsum(axis=1), places, axis=1)
    absent_above = np.take_along_axis(absent.cumsum(axis=1), places, axis=1)

    presents, absents = present.sum(axis=1), absent.sum(axis=1)
    precision_sum = np.where(present, present_above / (places + 1), 0.0).sum(axis=1)
    average_precision = np.where(absents == 0, 1.0, _divide(precision_sum, presents, otherwise=1.0))
    misordered = _divide(np.where(present, absent_above, 0).sum(axis=1), presents * absents, otherwise=0.0)
    depth = np.where(present, places + 1, 0).max(axis=1)
    return average_precision, misordered, depth.astype(np.float64)


def _loss_of_logits(logits: np.ndarray, present: np.ndarray, known: np.ndarray) -> float:
    logits = np.asarray(logits, dtype=np.float64)
    if logits.shape != present.shape:
        raise ValueError(f"logits {logits.shape} and labels {present.shape} must have the same shape")
    _check_finite(logits, "logit")
    # log(1 + exp(z)) - y z, arranged so that exp never sees a positive number
    losses = np.maximum(logits, 0) - logits * present + np.log1p(np.exp(-np.abs(logits)))
    return _mean(losses[known])


def _loss_of_scores(scores: np.ndarray, present: np.ndarray, known: np.ndarray) -> float:
    of_truth = np.where(present, scores, 1 - scores)[known]
    return _mean(-np.log(np.clip(of_truth, SCORE_CLIP, 1 - SCORE_CLIP)))


def _check_finite(values: np.ndarray, kind: str) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        sample, column = np.argwhere(~finite)[0]
        raise TrainingError(
            f"the {kind} of sample {sample}, class {column} is {values[sample, column]}, and {(~finite).sum():,} of "
            f"{values.size:,} are not finite: training has diverged or the parameters are damaged; "
            "take an earlier epoch, or train with a lower --lr"
        )


def _check_range(scores: np.ndarray) -> None:
    outside = (scores < 0) | (scores > 1)
    if outside.any():
        sample, column = np.argwhere(outside)[0]
        raise MxmlError(
            f"the score of sample {sample}, class {column} is {scores[sample, column]:g}, which is no probability; "
            "give the sigmoid's output as scores"
        )


def _check_labels(labels: np.ndarray, known: np.ndarray) -> None:
    odd = ~known & (labels != -1)
    if odd.any():
        sample, column = np.argwhere(odd)[0]
        raise MxmlError(
            f"the label of sample {sample}, class {column} is {labels[sample, column]:g}; "
            "metrics need 1 (present), 0 (absent) or -1 (unknown)"
        )


def _divide(upper: np.ndarray, lower: np.ndarray, otherwise: float = math.nan) -> np.ndarray:
    quotients = np.full(np.shape(upper), otherwise, dtype=np.float64)
    return np.divide(upper, lower, out=quotients, where=lower != 0)


def _ratio(upper: float, lower: float, otherwise: float = math.nan) -> float:
    return float(upper / lower) if lower else otherwise


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else math.nan


def _harmonic_mean(first: float, second: float) -> float:
    total = first + second
    return 2 * first * second / total if total else 0.0


def _without_nan(figures: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in figures.items()}
