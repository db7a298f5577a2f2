"""The metrics of a multi-label model: ranking, thresholded decisions, calibration and loss, unknown labels masked.

Names and definitions are the field's; ``y`` is a known label, ``s`` its score, ``t`` its class's threshold:

- **AP** of a class: the mean, over its positive samples, of the precision among the samples that score at least as
  high; scikit-learn's ``average_precision_score``, ties included. **mAP**: its mean over the classes.
- **AP_11point**: the mean over the recalls 0, 0.1, ..., 1 of the highest precision at that recall or above, as PASCAL
  VOC measured until 2009 (Everingham et al., The PASCAL Visual Object Classes Challenge, IJCV 2010, section 4.2), with
  precision as in AP. **mAP_11point**: its mean over the classes.
- **CP, CR**: the means over the classes of precision and recall of ``s >= t``, and **CF1** their harmonic mean, as in
  Wang et al., CNN-RNN (CVPR 2016) and the papers on MS-COCO since; it is not the mean of the classes' F1.
  A class that is never predicted has precision 0.
- **OP, OR, OF1**: the same from counts summed over all classes (micro averages).
- **CP_top3, CR_top3, CF1_top3, OP_top3, OR_top3, OF1_top3**: the same six where of the predicted labels of a sample
  only those remain that are among its three highest scores, as the code of ML-GCN (Chen et al., CVPR 2019) and the
  tables since count them. Wang et al. (2016) predict always three, whatever their scores; where fewer than three reach
  their thresholds, precision is lower and recall higher by that. Of labels that score alike the first ones are taken.
- **hamming**: share of labels decided wrongly; **element_accuracy**: share decided rightly, the original script's
  ``acc``; **subset_accuracy**: share of samples without a wrong label (exact match).
- **ranking_loss**: share of (present, absent) pairs of a sample in which the absent label scores as high or higher;
  **coverage**: how many labels down its ranking a sample's last present one stands; **lrap**: label ranking average
  precision, AP along a sample instead of along a class. Means over samples; Tsoumakas et al., Mining Multi-label Data
  (2010), section 7, with scikit-learn's treatment of ties and of samples whose labels are all present or all absent
  (ranking loss 0, lrap 1; coverage 0 if none is present).
- **one_error**: share of samples in which an absent label scores as high as every present one, or higher (Schapire and
  Singer, BoosTexter, Machine Learning 2000); of the samples that have a label, as of the others no ranking is right.
- **ECE**: expected calibration error, of all labels or of a class: how far probabilities are from the shares that come
  true, in 15 bins of equal width; sources in ``mxml.evaluation.calibration_error``.
- **loss**: mean binary cross-entropy of a label, in nats, whatever loss the model was trained with, so that the
  losses of models can be compared.
- **accuracy**: of a model of single labels, the share of samples whose label scores highest; others have none. The
  label that scores highest is then the one that is predicted, whatever the thresholds; **loss** is the mean
  cross-entropy of a sample, ``-log s`` of its label; **ECE** of all labels is that of the predicted ones.

A label of -1 is unknown and takes part in nothing: it is no decision, holds no rank, and counts in no denominator; a
sample without known labels is no sample. A class without a known positive has no AP, precision, recall or F1 (NaN,
``null`` in JSON) and is left out of mAP, CP and CR; its false alarms still count in the micro averages.

Everything is computed from sums over images or from ranked columns, which serve the resamples of ``intervals`` as well.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mxml.evaluation.average_precision import average_precisions_of
from mxml.evaluation.calibration_error import calibration_errors
from mxml.evaluation.decisions import Decisions
from mxml.evaluation.image_values import ImageValues
from mxml.evaluation.precision_recall import Counts, mean_of_defined


@dataclass(frozen=True)
class ClassMetrics:
    """The metrics of one class, NaN without a known positive; ``index`` is its column, counts are of known labels.

    Only ``ECE`` needs no positive: it is NaN without a known label.
    """

    index: int
    known: int
    positives: int
    predicted: int
    threshold: float
    AP: float = math.nan
    AP_11point: float = math.nan
    precision: float = math.nan
    recall: float = math.nan
    F1: float = math.nan
    ECE: float = math.nan


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
    mAP, mAP_11point, CP, CR, CF1, OP, OR, OF1, hamming, element_accuracy, subset_accuracy, accuracy
        Floats; the module's docstring defines each of them.
    CP_top3, CR_top3, CF1_top3, OP_top3, OR_top3, OF1_top3, ranking_loss, coverage, one_error, lrap, ECE, loss
        Floats as well.
    """

    samples: int
    known: int
    mAP: float = math.nan
    mAP_11point: float = math.nan
    CP: float = math.nan
    CR: float = math.nan
    CF1: float = math.nan
    OP: float = math.nan
    OR: float = math.nan
    OF1: float = math.nan
    CP_top3: float = math.nan
    CR_top3: float = math.nan
    CF1_top3: float = math.nan
    OP_top3: float = math.nan
    OR_top3: float = math.nan
    OF1_top3: float = math.nan
    hamming: float = math.nan
    element_accuracy: float = math.nan
    subset_accuracy: float = math.nan
    accuracy: float = math.nan
    ranking_loss: float = math.nan
    coverage: float = math.nan
    one_error: float = math.nan
    lrap: float = math.nan
    ECE: float = math.nan
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
    return metrics_of(Decisions.of(scores, labels, thresholds, logits, single_label))


def metrics_of(decisions: Decisions) -> Metrics:
    """Compute every metric of checked scores and labels."""
    counts = Counts.of(decisions.present, decisions.predicted)
    ECE, ECE_per_class = calibration_errors(decisions)
    AP, AP_11point = average_precisions_of(decisions.scores, decisions.present, decisions.known)
    values = ImageValues.of(decisions)
    found = {
        "mAP": mean_of_defined(AP),
        "mAP_11point": mean_of_defined(AP_11point),
        **counts.averages(),
        **top3_averages(Counts.of(decisions.present, decisions.predicted_in_top)),
        **values.metrics(values.sums()),
    }
    known = np.count_nonzero(decisions.known, axis=0)
    precision, recall, F1 = counts.per_class()
    columns = (
        known, counts.positives, counts.predicted, decisions.thresholds, AP, AP_11point, precision, recall, F1,
        ECE_per_class,
    )  # fmt: skip
    return Metrics(
        samples=len(decisions.known),
        known=int(known.sum()),
        **{name: float(value) for name, value in found.items()},
        ECE=ECE,
        per_class=tuple(
            ClassMetrics(index, *entry) for index, entry in enumerate(zip(*(column.tolist() for column in columns)))
        ),
    )


def top3_averages(counts: Counts) -> dict[str, np.ndarray]:
    """Return the averages of counts of labels among an image's three best, by the metrics' names."""
    return {f"{name}_top3": value for name, value in counts.averages().items()}


def _without_nan(metrics: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in metrics.items()}
