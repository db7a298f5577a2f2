"""One run of several workers: that it is the same for all, and what they put together of it.

As with the methods of ``Workers``, every worker has to call a function, and in the same order.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mxml.data.batches import BadImage
from mxml.evaluation.scores import Scores, probabilities
from mxml.model.sidecar import Sidecar
from mxml.training.config import train_settings
from mxml.training.workers import Workers

# What each worker counts of an epoch for itself.
_SUMMED = frozenset({"loss", "right", "known", "images"})


def require_same_run(workers: Workers, sidecar: Sidecar) -> None:
    """Raise TrainingError unless all workers are about to train the same run, from the same files."""
    shared = {name: known for name, known in train_settings().items() if known.on_resume != "free"}
    workers.require_same(
        {
            "mxml or MXNet": [sidecar.versions.get(name) for name in ("mxml", "mxnet")],
            "value of a setting": {name: sidecar.config.get(name) for name in shared},
            "content of its lists": {name: used.sha256 for name, used in sidecar.data.items()},
            "label names": sidecar.label_names,
            "run at the prefix": [dataclasses.asdict(entry) for entry in (*sidecar.epochs, sidecar.pause) if entry],
        }
    )


def sidecar_of_first(workers: Workers, sidecar: Sidecar) -> Sidecar:
    """Return the first worker's sidecar: the others' know nothing of the files that it has written."""
    if workers.count == 1:
        return sidecar
    return Sidecar.from_json(workers.of_first(sidecar.to_json("")), "")


def merged_scores(workers: Workers, scores: Scores, *, single_label: bool = False) -> Scores:
    """Return the scores of the whole list, of which each worker has its share of the rows."""
    if workers.count == 1:
        return scores
    bad = all_bad_images(workers, scores.bad)
    # A row of zeros from the workers that have another share.
    logits = workers.sum(np.nan_to_num(scores.logits))
    logits[[image.position for image in bad]] = np.nan
    return Scores(probabilities(logits, single_label), logits, bad)


def all_bad_images(workers: Workers, bad: Sequence[BadImage]) -> tuple[BadImage, ...]:
    """Return the unreadable images that all workers have met, by position."""
    found = workers.gather([dataclasses.astuple(image) for image in bad])
    by_position = {image[0]: BadImage(*image) for images in found for image in images}
    return tuple(by_position[position] for position in sorted(by_position))


def summed_totals(workers: Workers, sums: Mapping[str, float]) -> dict[str, float]:
    """Return an epoch's sums over all workers; what they have in common, such as the seconds, is the first one's."""
    everyone = workers.gather(dict(sums))
    return {name: sum(own[name] for own in everyone) if name in _SUMMED else everyone[0][name] for name in sums}


def own_totals(workers: Workers, sums: Mapping[str, float] | None) -> Mapping[str, float] | None:
    """Return what this worker goes on with where ``sums`` were all workers': the first one has them, the others 0."""
    if sums is None or workers.is_first:
        return sums
    return {name: 0.0 if name in _SUMMED else value for name, value in sums.items()}
