"""Which metrics the evaluation page shows, in which order, and what it says of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mxml.evaluation.evaluation import Evaluation

_MAP = ("mAP", "mAP", "mean over the labels of average precision: how well a label’s score ranks the images")
_MAP_11POINT = ("mAP_11point", "mAP, 11 points", "as PASCAL VOC measured until 2009")
_CF1 = ("CF1", "CF1", "from precision and recall averaged over the labels: every label counts alike")
_LRAP = ("lrap", "label ranking AP", "how well the scores of an image rank its labels; 1 is best")
_ECE = ("ECE", "calibration error", "how far a probability is from the share that comes true; 0 is best")
_LOSS = ("loss", "cross-entropy", "mean over known labels, in nats; 0 is best")
_FIRST = (_MAP, _CF1, ("OF1", "OF1", "from precision and recall over all labels together: every decision counts alike"))
_OTHERS = (
    _MAP_11POINT,
    ("CP", "class precision", "mean over the labels of precision"),
    ("CR", "class recall", "mean over the labels of recall"),
    ("OP", "overall precision", "share of the given labels that are right"),
    ("OR", "overall recall", "share of the present labels that are given"),
    ("CF1_top3", "CF1, top 3", "where of an image’s labels only those among its three highest scores are given"),
    ("OF1_top3", "OF1, top 3", "the same over all labels together"),
    ("hamming", "Hamming loss", "share of the decisions that are wrong"),
    ("subset_accuracy", "exact match", "share of the images without a wrong label"),
    ("ranking_loss", "ranking loss", "share of pairs in which an absent label scores as high as a present one"),
    ("coverage", "coverage", "how far down an image’s ranking its last label stands, on average"),
    ("one_error", "one-error", "share of the images whose highest score is of an absent label"),
    _LRAP,
    _ECE,
    _LOSS,
)
_FIRST_SINGLE = (("accuracy", "accuracy", "share of the images whose label scores highest"), _MAP, _CF1)
_OTHERS_SINGLE = (*_OTHERS[:3], _LRAP, _ECE, ("loss", "cross-entropy", "mean over the images, in nats; 0 is best"))


@dataclass(frozen=True)
class ShownMetric:
    """A metric on the page; ``interval`` are the ends of its 95 % interval, ``baseline`` is what guessing reaches."""

    name: str
    about: str
    value: float
    interval: tuple[float, float] | None
    baseline: float | None


def shown_metrics(evaluation: Evaluation) -> tuple[list[ShownMetric], list[ShownMetric]]:
    """Return the metrics to be seen first, and the others."""
    found = evaluation.to_dict()
    first, others = (_FIRST_SINGLE, _OTHERS_SINGLE) if evaluation.single_label else (_FIRST, _OTHERS)
    return [_shown(found, *metric) for metric in first], [_shown(found, *metric) for metric in others]


def _shown(found: Mapping[str, Any], key: str, name: str, about: str) -> ShownMetric:
    value, interval = found[key], found["intervals"].get(key)
    return ShownMetric(
        name,
        about,
        math.nan if value is None else value,
        None if interval is None else (interval[0], interval[1]),
        found["baseline"][key],
    )
