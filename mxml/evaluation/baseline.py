"""What metrics are worth: those that each label's frequency reaches, given to every image."""

from __future__ import annotations

import numpy as np

from mxml.evaluation.metrics import Metrics, multilabel_metrics
from mxml.prepare.label_statistics import label_shares


def frequency_baseline(
    labels: np.ndarray, thresholds: float | np.ndarray = 0.5, *, single_label: bool = False
) -> Metrics:
    """Compute the metrics of a model that gives every image the labels' shares in this very list as its scores.

    No other constant scores have a lower loss, so that it is what a model without eyes can know; the shares of the
    training list, which ``mxml check`` takes to guess with, are not always at hand. Constant scores put all images into
    one tie, so a label's AP is its share.

    Parameters
    ----------
    labels : ndarray of shape (N, C)
        1, 0 and -1 (unknown).
    thresholds : float or ndarray of shape (C,)
        Those that the model is evaluated with.
    single_label : bool
        Whether an image has exactly one label: then the most frequent one is predicted.

    Returns
    -------
    Metrics
        Every metric; of a label that is never known the score is 0, which counts nowhere.
    """
    shares = label_shares((labels == 1).sum(axis=0), (labels == 0).sum(axis=0))
    scores = np.broadcast_to(np.nan_to_num(shares), labels.shape)
    return multilabel_metrics(scores, labels, thresholds, single_label=single_label)
