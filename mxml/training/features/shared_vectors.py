"""Feature vectors that several workers compute together: each its share of the images, and all get the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mxml.data.batches import BadImage
from mxml.data.image_sources import ChosenImages, ImageSource
from mxml.inference.feature_vectors import FeatureExtractor, digests
from mxml.training.shared_run import all_bad_images
from mxml.training.workers import Workers

# After how many batches of each the workers put together what they have.
_BATCHES_PER_ROUND = 16


class SharedExtractor(FeatureExtractor):
    """A ``FeatureExtractor`` of several ``workers``, who all call it alike; only the first one needs a cache.

    The other arguments are those of ``FeatureExtractor``.
    """

    def __init__(self, *args: Any, workers: Workers, after_batch: Callable[[], None], **settings: Any):
        super().__init__(*args, **settings)
        self._workers = workers
        # Workers stop together: after a round, and not after a batch of their own.
        self._after_round = after_batch

    def _names(self, images: ImageSource) -> tuple[list[bytes | None], dict[int, BadImage]]:
        own = self._workers.share(len(images))
        positions = np.arange(own.start, own.stop)
        names, faults = digests(ChosenImages(images, positions), self._threads)
        moved = [BadImage(int(positions[at]), image.path, image.reason) for at, image in faults.items()]
        bad = {image.position: image for image in all_bad_images(self._workers, moved)}
        size = hashlib.sha256().digest_size
        rows = np.zeros((len(names), size), np.float32)
        for row, name in zip(rows, names):
            row[:] = 0 if name is None else np.frombuffer(name, np.uint8)
        everyone = self._workers.gather_rows(rows, len(images)).astype(np.uint8)
        return [None if at in bad else row.tobytes() for at, row in enumerate(everyone)], bad

    def _kept(self, names: Sequence[bytes | None]) -> tuple[np.ndarray, np.ndarray]:
        found, known = super()._kept(names)
        if self._workers.any(bool(known.any()))[0]:
            # The others have no cache.
            known = self._workers.sum(known) > 0
            found = self._workers.sum(found)
        return found, known

    def _compute(
        self,
        images: ImageSource,
        first: int,
        positions: np.ndarray,
        names: Sequence[bytes | None],
        found: np.ndarray,
        bad: dict[int, BadImage],
    ) -> None:
        """Compute in rounds: in each every worker computes its share, and the first keeps all."""
        size = self._workers.count * self._batch_size * _BATCHES_PER_ROUND
        for start in range(0, len(positions), size):
            part = positions[start : start + size]
            own = part[self._workers.share(len(part))]
            here: dict[int, BadImage] = {}
            super()._compute(images, first, own, names, found, here)
            bad.update((image.position, image) for image in all_bad_images(self._workers, tuple(here.values())))
            good = [at for at in part.tolist() if at not in bad]
            for number in self._together(first):
                found[number, part] = self._workers.gather_rows(found[number, own], len(part))
                self._cache.put(self._source(self._views[number]), {names[at]: found[number, at] for at in good})
            self._progress.advance(len(part) - len(own))
            self._after_round()
