"""From batches of images to predictions and features, one image after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Callable, NamedTuple

import numpy as np

from mxml.data.image_stream import StreamBatch
from mxml.errors import ImageError
from mxml.evaluation.scores import probabilities, require_finite
from mxml.inference.backend import Backend
from mxml.inference.prediction import Prediction
from mxml.model.feature_distribution import FeatureDistribution

BackendsFor = Callable[[int], Sequence[Backend]]
"""Returns a backend for each view of the images, for batches of so many."""


class ImageFeatures(NamedTuple):
    """The features of one image.

    Attributes
    ----------
    path : str
        The image's file, with the number of a video's frame, such as ``clip.mp4#50``; ``image 3`` for the fourth input
        where that is in memory.
    features : ndarray of shape (D,) or None
        float32; None where the image could not be read.
    error : ImageError or None
        Why it could not be read.
    """

    path: str
    features: np.ndarray | None
    error: ImageError | None


@dataclass(frozen=True, eq=False)
class Tagging:
    """What makes labels of logits: names and thresholds (C,), how many labels an image gets, and what is unlike."""

    label_names: tuple[str, ...]
    thresholds: np.ndarray
    top_k: int
    always_top_k: bool
    single_label: bool
    distribution: FeatureDistribution | None


def predictions(
    batches: Iterator[StreamBatch], backends_for: BackendsFor, tagging: Tagging, advance: Callable[[int], None]
) -> Iterator[Prediction]:
    """Yield a prediction for each image; its logits are the mean of its views'."""
    backends: Sequence[Backend] = ()
    for batch in batches:
        # Where the first batch is not full, there is no other, and the network need not compute more than it.
        backends = backends or backends_for(len(batch.items))
        logits, distances = _seen(batch, backends, tagging.distribution)
        require_finite(logits)
        scores = probabilities(logits, tagging.single_label)
        advance(len(batch.items))
        for row, (item, error, pixels) in enumerate(zip(batch.items, batch.faults, batch.pixels)):
            if error is not None:
                scores[row] = np.nan
            yield Prediction(
                item.name,
                tagging.label_names,
                scores[row],
                tagging.thresholds,
                tagging.top_k,
                tagging.always_top_k,
                error,
                pixels,
                item.frame,
                item.seconds,
                distances[row] if error is None else None,
            )


def _seen(
    batch: StreamBatch, backends: Sequence[Backend], distribution: FeatureDistribution | None
) -> tuple[np.ndarray, Sequence[float | None]]:
    """Return the mean logits (N, C), and the distances (N) of the images as the first view shows them."""
    distances: Sequence[float | None] = [None] * len(batch.items)
    if distribution is None:
        logits = backends[0].logits(batch.data)
    else:
        logits, features = backends[0].outputs(batch.data)
        distances = distribution.distances(features).tolist()
    for backend, data in zip(backends[1:], batch.views[1:]):
        logits = logits + backend.logits(data)
    return logits / len(backends), distances


def image_features(
    batches: Iterator[StreamBatch], backends_for: BackendsFor, advance: Callable[[int], None]
) -> Iterator[ImageFeatures]:
    """Yield the features of each image."""
    backends: Sequence[Backend] = ()
    for batch in batches:
        backends = backends or backends_for(len(batch.items))
        _, features = backends[0].outputs(batch.data)
        require_finite(features)
        advance(len(batch.items))
        for row, (item, error) in enumerate(zip(batch.items, batch.faults)):
            yield ImageFeatures(item.called, None if error is not None else features[row], error)
