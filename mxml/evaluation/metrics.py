"""The metrics of a multi-label model: ranking, thresholded decisions and loss, unknown labels masked.

Names and definitions are the field's; ``y`` is a known label, ``s`` its score, ``t`` its class's threshold:

- **AP** of a class: the mean, over its positive samples, of the precision among the samples that score at least as
  high; scikit-learn's ``average_precision_score``, ties included. **mAP**: its mean over the classes.
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
- **loss**: mean binary cross-entropy of a label, in nats, whatever loss the model was trained with, so that the
  losses of models can be compared.
- **accuracy**: of a model of single labels, the share of samples whose label scores highest; others have none. The
  label that scores highest is then the one that is predicted, whatever the thresholds, and **loss** is the mean
  cross-entropy of a sample, ``-log s`` of its label.

A label of -1 is unknown and takes part in nothing: it is no decision, holds no rank, and counts in no denominator; a
sample without known labels is no sample. A class without a known positive has no AP, precision, recall or F1 (NaN,
``null`` in JSON) and is left out of mAP, CP and CR; its false alarms still count in the micro averages.

scikit-learn computes every metric that it has. It knows no unknown labels, so it is given only the known ones, or the
unknown ones as absent, not predicted and scored below every probability, where they add no count and shift no rank.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mxml.errors import ModelError, MxmlError

# float32 probabilities end at 1 - 6e-8; without a bound one saturated mistake would make the mean loss infinite.
SCORE_CLIP = 1e-7
DIVERGED = (
    "finite: the training diverged or the parameters are damaged; take an earlier epoch, or train with a lower "
    "learning rate"
)


@dataclass(frozen=True)
class ClassMetrics:
    """The metrics of one class, NaN without a known positive; ``index`` is its column, counts are of known labels."""

    index: int
    known: int
    positives: int
    predicted: int
    threshold: float
    AP: float = math.nan
    precision: float = math.nan
    recall: float = math.nan
    F1: float = math.nan


@dataclass(frozen=True)
class Metrics:
    """The metrics of one evaluation; NaN where a metric is undefined.

    Attributes
    ----------
    samples : int
        How many images have a known label.
    known : int
        How many labels are known, over all images.
    per_class : tuple of ClassMetrics
        The metrics of each class, in the order of the columns.
    mAP, CP, CR, CF1, OP, OR, OF1, hamming, element_accuracy, subset_accuracy, accuracy
        Floats; the module's docstring defines each of them.
    ranking_loss, coverage, lrap, loss
        Floats as well.
    """

    samples: int
    known: int
    mAP: float = math.nan
    CP: float = math.nan
    CR: float = math.nan
    CF1: float = math.nan
    OP: float = math.nan
    OR: float = math.nan
    OF1: float = math.nan
    hamming: float = math.nan
    element_accuracy: float = math.nan
    subset_accuracy: float = math.nan
    accuracy: float = math.nan
    ranking_loss: float = math.nan
    coverage: float = math.nan
    lrap: float = math.nan
    loss: float = math.nan
    per_class: tuple[ClassMetrics, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain Python values that JSON can hold, NaN as None."""
        plain = asdict(self)
        plain["per_class"] = [_without_nan(entry) for entry in plain["per_class"]]
        return _without_nan(plain)


def multilabel_metrics(
    scores: np.ndarray,
    labels: np.ndarray,
    thresholds: float | np.ndarray = 0.5,
    logits: np.ndarray | None = None,
    *,
    single_label: bool = False,
) -> Metrics:
    """Compare probabilities with labels.

    ``scores`` (N, C) float in [0, 1]; ``labels`` (N, C) of 1, 0 and -1 (unknown); ``thresholds`` one number or (C,).
    A label is predicted when its score is at least its class's threshold, compared in float64. With ``logits`` (N, C)
    the loss is exact however sure the model is; without, it is taken from scores clipped to [1e-7, 1 - 1e-7].
    With ``single_label`` every sample has exactly one label, and that of the highest score is predicted.
    Raises ModelError for a score or logit that is not finite, MxmlError for a label other than those three, and for
    a sample without exactly one label where it should have one.
    """
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    logits = None if logits is None else np.asarray(logits, dtype=np.float64)
    if scores.ndim != 2 or scores.shape != labels.shape:
        raise ValueError(f"scores {scores.shape} and labels {labels.shape} must have the same two dimensions")
    if logits is not None and logits.shape != labels.shape:
        raise ValueError(f"logits {logits.shape} and labels {labels.shape} must have the same shape")
    thresholds = np.broadcast_to(np.asarray(thresholds, dtype=np.float64), labels.shape[1:])
    present = labels == 1
    known = present | (labels == 0)
    _require(known | (labels == -1), "label", labels, "1 (present), 0 (absent) or -1 (unknown)")
    _require(np.isfinite(scores), "score", scores, DIVERGED, ModelError)
    _require((scores >= 0) & (scores <= 1), "score", scores, "probabilities: give the sigmoid's output as scores")
    if logits is not None:
        _require(np.isfinite(logits), "logit", logits, DIVERGED, ModelError)
    if not known.any():
        return Metrics(0, 0, per_class=tuple(ClassMetrics(i, 0, 0, 0, float(t)) for i, t in enumerate(thresholds)))

    if single_label:
        if not (known.all() and (present.sum(axis=1) == 1).all()):
            raise MxmlError("a sample has unknown labels, or not exactly one label")
        predicted = np.arange(labels.shape[1]) == scores.argmax(axis=1)[:, np.newaxis]
    else:
        predicted = known & (scores >= thresholds)
    counted = known.any(axis=1)
    per_class = _class_metrics(scores, present, known, predicted, thresholds)
    return Metrics(
        samples=int(counted.sum()),
        known=int(known.sum()),
        **_class_averages(per_class),
        **_micro_averages(present, predicted),
        **_mistakes(present, known, predicted, counted),
        accuracy=float(present[predicted].mean()) if single_label else math.nan,
        **_rankings(scores[counted], present[counted], known[counted]),
        loss=_softmax_loss(scores, present, logits)
        if single_label
        else _loss(scores[known], present[known], None if logits is None else logits[known]),
        per_class=per_class,
    )


def average_precisions(scores: np.ndarray, labels: np.ndarray) -> list[float | None]:
    """Return each label's AP alone, which takes far less time than all; None for one never present, or never absent."""
    from sklearn.metrics import average_precision_score

    known, present = labels >= 0, labels == 1
    return [
        float(average_precision_score(present[rows, index], scores[rows, index]))
        if 0 < present[rows, index].sum() < rows.sum()
        else None
        for index, rows in enumerate(known.T)
    ]


def _class_metrics(
    scores: np.ndarray, present: np.ndarray, known: np.ndarray, predicted: np.ndarray, thresholds: np.ndarray
) -> tuple[ClassMetrics, ...]:
    from sklearn.metrics import average_precision_score, precision_recall_fscore_support

    decided = precision_recall_fscore_support(_widen(present), _widen(predicted), average=None, zero_division=0.0)
    precision, recall, F1 = (column.tolist() for column in decided[:3])
    per_class = []
    for index, threshold in enumerate(thresholds.tolist()):
        rows = known[:, index]
        truth = present[rows, index]
        metrics = {}
        if truth.any():
            AP = float(average_precision_score(truth, scores[rows, index]))
            metrics = {"AP": AP, "precision": precision[index], "recall": recall[index], "F1": F1[index]}
        calls = int(predicted[:, index].sum())
        per_class.append(ClassMetrics(index, len(truth), int(truth.sum()), calls, threshold, **metrics))
    return tuple(per_class)


def _class_averages(per_class: tuple[ClassMetrics, ...]) -> dict[str, float]:
    rows = [(entry.AP, entry.precision, entry.recall) for entry in per_class if entry.positives]
    if not rows:
        return {}
    mAP, CP, CR = np.mean(rows, axis=0).tolist()
    return {"mAP": mAP, "CP": CP, "CR": CR, "CF1": 2 * CP * CR / (CP + CR) if CP + CR else 0.0}


def _micro_averages(present: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    from sklearn.metrics import precision_recall_fscore_support

    if not present.any():
        return {}
    OP, OR, OF1, _ = precision_recall_fscore_support(
        _widen(present), _widen(predicted), average="micro", zero_division=0.0
    )
    return {"OP": float(OP), "OR": float(OR), "OF1": float(OF1)}


def _mistakes(present: np.ndarray, known: np.ndarray, predicted: np.ndarray, counted: np.ndarray) -> dict[str, float]:
    from sklearn.metrics import accuracy_score, hamming_loss

    hamming = float(hamming_loss(present[known], predicted[known]))
    subset_accuracy = float(accuracy_score(present[counted], predicted[counted]))
    return {"hamming": hamming, "element_accuracy": 1 - hamming, "subset_accuracy": subset_accuracy}


def _rankings(scores: np.ndarray, present: np.ndarray, known: np.ndarray) -> dict[str, float]:
    from sklearn.metrics import coverage_error, label_ranking_average_precision_score, label_ranking_loss

    truth = _widen(present)
    ranked = _widen(np.where(known, scores, -1.0), -1.0)
    # Only the ranking loss divides by the number of absent labels; the weights put the known ones in their place.
    absent = known.sum(axis=1) - present.sum(axis=1)
    weights = (~truth).sum(axis=1) / np.maximum(absent, 1)
    return {
        "ranking_loss": float(label_ranking_loss(truth, ranked, sample_weight=weights) * weights.mean()),
        "coverage": float(coverage_error(truth, ranked)),
        "lrap": float(label_ranking_average_precision_score(truth, ranked)),
    }


def _widen(values: np.ndarray, unknown: float = False) -> np.ndarray:
    """Append a class of unknown labels, since scikit-learn takes a single column for a binary problem."""
    return np.pad(values, ((0, 0), (0, 1)), constant_values=unknown)


def _loss(scores: np.ndarray, present: np.ndarray, logits: np.ndarray | None) -> float:
    from sklearn.metrics import log_loss

    if logits is None:
        return float(log_loss(present, np.clip(scores, SCORE_CLIP, 1 - SCORE_CLIP), labels=[False, True]))
    # log_loss takes probabilities only; log(1 + exp(-z)) of a present label, log(1 + exp(z)) of an absent one.
    return float(np.logaddexp(0.0, np.where(present, -logits, logits)).mean())


def _softmax_loss(scores: np.ndarray, present: np.ndarray, logits: np.ndarray | None) -> float:
    if logits is None:
        return float(-np.log(np.clip(scores[present], SCORE_CLIP, 1)).mean())
    return float((np.logaddexp.reduce(logits, axis=1) - logits[present]).mean())


def _require(sound: np.ndarray, kind: str, values: np.ndarray, demand: str, error: type[MxmlError] = MxmlError) -> None:
    if not sound.all():
        sample, column = np.argwhere(~sound)[0]
        raise error(
            f"the {kind} of sample {sample}, class {column} is {values[sample, column]:g}, "
            f"and {np.count_nonzero(~sound):,} of {sound.size:,} are not {demand}"
        )


def _without_nan(metrics: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in metrics.items()}
