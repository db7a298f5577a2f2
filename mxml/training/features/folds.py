"""K-fold cross-validation of a head on feature vectors: how well a small set can be learned, and how sure that is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mxml.data.batches import BadImage
from mxml.errors import SettingError
from mxml.evaluation.average_precision import average_precisions
from mxml.evaluation.scores import probabilities
from mxml.inference.feature_cache import FeatureCache
from mxml.model import checkpoint
from mxml.model.prefix_lock import locked
from mxml.model.run_files import RunFiles
from mxml.progress import Progress
from mxml.runtime.devices import default_device, parse_devices
from mxml.runtime.mxnet_errors import memory_checked
from mxml.text import counted, shown
from mxml.training import source_lists, starting_point
from mxml.training.config import TrainConfig
from mxml.training.features.head_fit import fit_linear, vectors_of_lists
from mxml.training.features.linear import folds_of, same_images
from mxml.training.features.preset_guess import with_preset
from mxml.training.method_settings import note_folds
from mxml.training.recipe import with_recipe
from mxml.training.run_data import open_data, preprocess_of
from mxml.training.settings.data import check_one_source

MOST_FOLDS = 100
# A label with fewer images is in too few folds however many there are: it does not lower their number.
_ENOUGH_IMAGES = 5
# In smaller folds the average precision of guessing is far above the label's share.
_SMALL_FOLD = 10
_SHOWN_LABELS = 5


@dataclass(frozen=True)
class Spread:
    """A metric over folds.

    Attributes
    ----------
    folds : tuple of float or None
        The metric of each fold; None where it is not defined.
    """

    folds: tuple[float | None, ...]

    @property
    def mean(self) -> float | None:
        """Return the mean over the folds that have a value; None where none has."""
        values = self._values
        return float(np.mean(values)) if values else None

    @property
    def std(self) -> float | None:
        """Return the standard deviation over these folds, as of a sample; None of fewer than two values."""
        values = self._values
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    @property
    def _values(self) -> list[float]:
        return [value for value in self.folds if value is not None]

    def to_dict(self) -> dict[str, Any]:
        """Return the mean, the standard deviation and the folds' values as JSON holds them."""
        return {"mean": self.mean, "std": self.std, "folds": list(self.folds)}


@dataclass(frozen=True)
class LabelFolds:
    """How one label does.

    Attributes
    ----------
    name : str
        The label's name.
    known, positives : int
        How many images it is known of, and how many of these have it.
    rarer : int
        How many different images have it, or have it not: the fewer of the two. Copies of an image are one.
    AP : Spread
        Average precision; not defined in a fold where no image has the label, or all have it.
    """

    name: str
    known: int
    positives: int
    rarer: int
    AP: Spread


@dataclass(frozen=True)
class CrossValidation:
    """What a cross-validation found.

    Attributes
    ----------
    images : int
        How many images took part.
    mAP : Spread
        In each fold, the mean of the labels' AP that are defined in it.
    per_class : tuple of LabelFolds
        Each label, in the order of the lists.
    bad : tuple of BadImage
        The images that could not be read, and were left out.
    """

    images: int
    mAP: Spread
    per_class: tuple[LabelFolds, ...]
    bad: tuple[BadImage, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON holds it.

        Returns
        -------
        dict
            The fields by name; each ``Spread`` has ``mean``, ``std`` and ``folds``.
        """
        return {
            "folds": len(self.mAP.folds),
            "images": self.images,
            "mAP": self.mAP.to_dict(),
            "per_class": [
                {"name": label.name, "known": label.known, "positives": label.positives, "AP": label.AP.to_dict()}
                for label in self.per_class
            ],
            "bad": [{"path": image.path, "reason": image.reason} for image in self.bad],
        }


def cross_validate_folds(config: TrainConfig, folds: int, progress: Progress) -> CrossValidation:
    """Cross-validate the head that method ``features`` fits, on the images of both lists together.

    No checkpoint is written, and the lists of a run that is at the prefix stay as they are. The feature vectors come
    from, and are kept in, ``features.sqlite`` beside the prefix.

    Parameters
    ----------
    config : TrainConfig
        The settings of a run; those of fine-tuning are not used.
    folds : int
        How many folds there are, from 2 to 100. Fewer are made where a label has fewer different images with it, or
        without it, than that; labels with fewer than 5 of these do not count.
    progress : Progress
        Receives the progress.

    Returns
    -------
    CrossValidation
        Average precision per label, and their mean, over the folds.

    Raises
    ------
    MxmlError
        For a wrong setting, lists or a model that are wrong or do not fit, and too many images that cannot be read.
    """
    if not 2 <= folds <= MOST_FOLDS:
        raise SettingError("folds", folds, f"2 to {MOST_FOLDS}")
    if config.method not in (None, "features"):
        raise SettingError("method", config.method, "features with `folds`, which fits nothing but heads")
    check_one_source(config)
    note_folds(config, progress)
    config = with_recipe(dataclasses.replace(config, method="features", device=config.device or default_device()))
    # With a network from scratch the recipe has refused method features.
    assert config.model is not None
    checkpoint.find_epoch(config.model, config.epoch)
    with locked(config.prefix, progress):
        return _cross_validate(source_lists.with_lists_of_run(config, progress), folds, progress)


def _cross_validate(config: TrainConfig, folds: int, progress: Progress) -> CrossValidation:
    devices = parse_devices(config.device or "cpu")
    data = open_data(config, progress)
    with memory_checked(config.batch_size), FeatureCache(RunFiles(config.prefix).features, progress) as cache:
        point = starting_point.of_pretrained(config, len(data.label_names))
        config = with_preset(config, point, (data.train, data.val), devices, cache, progress)
        # Copies are known by their vectors, whichever list they are in.
        found = vectors_of_lists(point, config, preprocess_of(config), data, devices, cache, progress, validates=False)
    views = np.concatenate([vectors.views[:, vectors.readable] for vectors in found], axis=1)
    labels = np.concatenate([images.labels[vectors.readable] for images, vectors in zip((data.train, data.val), found)])
    result = over_folds(views, labels, data.label_names, folds, config.seed)
    for line in _notes(result, folds):
        progress.note(line)
    return dataclasses.replace(result, bad=(*found[0].bad, *found[1].bad))


def over_folds(
    views: np.ndarray, labels: np.ndarray, label_names: Sequence[str], folds: int, seed: int
) -> CrossValidation:
    """Cross-validate on views (V, N, D) of images with labels (N, C); each fold chooses its penalties without it.

    Images whose vectors are the same are in one fold. There are fewer folds than ``folds`` where the labels bear no
    more. Raises SettingError where no label bears two.
    """
    same = same_images(views[0])
    rarer = _rarer(labels, same)
    most = _most_folds(rarer)
    if most < 2:
        raise SettingError("folds", folds, "left out: no label has two images with it and two without it")
    folds = min(folds, most)
    fold = folds_of(labels, seed, folds, same)
    mAP: list[float | None] = []
    AP: list[list[float | None]] = [[] for _ in label_names]
    for number in range(folds):
        seen, held_out = fold != number, fold == number
        fit = fit_linear(views[:, seen], labels[seen], seed)
        logits = fit.head.logits(fit.standardise(views[0, held_out]))
        found = average_precisions(probabilities(logits), labels[held_out])
        mAP.append(Spread(tuple(found)).mean)
        for values, value in zip(AP, found):
            values.append(value)
    known, positives = (labels >= 0).sum(axis=0).tolist(), (labels > 0.5).sum(axis=0).tolist()
    rows = zip(label_names, known, positives, rarer.tolist(), AP)
    per_class = [LabelFolds(*row[:4], Spread(tuple(row[4]))) for row in rows]
    return CrossValidation(len(labels), Spread(tuple(mAP)), tuple(per_class), ())


def _most_folds(rarer: np.ndarray) -> int:
    """Return how many folds can each have an image with every label, and one without it.

    A fold without one of these says nothing of the label, and the fewer images it has, the higher is the average
    precision of guessing.
    """
    enough = rarer[rarer >= _ENOUGH_IMAGES]
    return int(enough.min() if len(enough) else rarer.max())


def _rarer(labels: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Return (C,) for each label how many different images have it, or have it not: the fewer of the two.

    Copies of an image have the same number in ``same``.
    """
    counts = [[len(np.unique(same[column == value])) for column in labels.T] for value in (0, 1)]
    return np.array(counts).min(axis=0)


def _notes(result: CrossValidation, asked: int) -> list[str]:
    folds = len(result.mAP.folds)
    lines = [f"{folds} folds over {counted(result.images, 'image')} of both lists; no checkpoint is written"]
    if result.images < _SMALL_FOLD * folds:
        lines.append(
            f"a fold has about {round(result.images / folds)} images: of so few the AP is high by chance; fewer "
            "`folds` say more"
        )
    if folds < asked:
        rarest = [label.name for label in result.per_class if label.rarer == folds]
        lines.append(
            f"labels with too few images for `folds` {asked}: {shown(rarest, _SHOWN_LABELS)}, with {folds} different "
            f"images that have it, or that have it not; each fold needs one of both, so {folds} are made"
        )
    few = [f"{label.name} {label.positives}" for label in result.per_class if None in label.AP.folds]
    if few:
        lines.append(
            f"labels with too few images to be in every fold: {shown(few, _SHOWN_LABELS)}; their AP is of the folds "
            "that have one with the label and one without it"
        )
    return lines
