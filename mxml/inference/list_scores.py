"""The forward pass over a whole list, which evaluation and training's validation share."""

from __future__ import annotations

from typing import Callable

import numpy as np

from mxml.data.batches import Batches
from mxml.evaluation.scores import Scores, probabilities, require_finite
from mxml.inference.backend import Scorer


def collect(
    backend: Scorer,
    batches: Batches,
    size: int,
    num_classes: int,
    advance: Callable[[int], None],
    *,
    single_label: bool = False,
) -> Scores:
    """Run a network over one epoch of ``batches``, of a list of ``size`` images.

    Padding is dropped; ``advance`` is called with the images of each batch. With ``single_label`` the probabilities of
    an image add up to 1. Raises NotFiniteError where a score is not finite.
    """
    logits = np.full((size, num_classes), np.nan, dtype=np.float32)
    for batch in batches:
        count = len(batch.index) - batch.pad
        found = backend.logits(batch.data[0])
        # With the padding, so that workers agree of whom one has nothing else in this batch.
        require_finite(found)
        logits[batch.index[:count]] = found[:count]
        advance(count)
    bad = tuple(batches.bad)
    logits[[image.position for image in bad]] = np.nan
    return Scores(probabilities(logits, single_label), logits, bad)
