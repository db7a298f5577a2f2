"""The first epoch of a run that begins with features: a head fitted to convergence on vectors of the frozen network."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mxml.data.batches import BadImage, too_many_bad
from mxml.data.image_list import ImageList
from mxml.data.record_list import RecordList, image_source
from mxml.errors import TrainingError
from mxml.evaluation.average_precision import average_precisions
from mxml.evaluation.scores import Scores, probabilities
from mxml.images.transforms import Preprocess
from mxml.inference.feature_cache import FeatureCache
from mxml.inference.feature_vectors import FeatureExtractor, FeatureNetwork, Vectors
from mxml.model import symbols
from mxml.progress import Progress
from mxml.runtime.imports import load_mxnet
from mxml.runtime.types import Context, NDArray
from mxml.training.config import TrainConfig
from mxml.training.features.linear import CrossValidated, Linear, Standardiser, cross_validate, fit_logistic
from mxml.training.features.preconditioner import Directions
from mxml.training.features.shared_vectors import SharedExtractor
from mxml.training.run_data import TrainData
from mxml.training.starting_point import StartingPoint
from mxml.training.workers import ALONE, Workers

mx = load_mxnet()

# Its square is a variance that float32 still holds.
_LARGEST = 1e18


@dataclass(frozen=True, eq=False)
class FittedHead:
    """A starting point whose head is fitted, and how well it does.

    ``metrics`` has what ``EpochTotals.metrics`` returns for a trained epoch; ``scores`` are the validation list's;
    ``bad`` are the training images that cannot be read. ``cross_validated`` is the mAP on training images that the
    fit has not seen, the mean over the folds; None where no label has both values in any of them.
    """

    point: StartingPoint
    metrics: dict[str, Any]
    scores: Scores
    bad: tuple[BadImage, ...]
    cross_validated: float | None

    @property
    def size(self) -> int:
        """Return how many features the head works on."""
        size: int = self.point.arg_params[self.point.head_names[0]].shape[1]
        return size


def fit_head(
    point: StartingPoint,
    config: TrainConfig,
    preprocess: Preprocess,
    data: TrainData,
    devices: Sequence[Context],
    cache: FeatureCache,
    progress: Progress,
    after_batch: Callable[[], None],
    after_step: Callable[[], None],
    workers: Workers = ALONE,
) -> FittedHead:
    """Fit the head of ``point`` to the vectors that its features give for the training list.

    ``after_batch`` is called after each batch of images, ``after_step`` after each step of the fit; both may raise.
    Several ``workers`` share out the images, and all get the first one's head. Raises TrainingError where too many
    images cannot be read, or a vector is not finite.
    """
    clock = time.perf_counter()
    train, val = vectors_of_lists(
        point, config, preprocess, data, devices, cache, progress, after_batch, workers, validates=True
    )
    labels = data.train.labels[train.readable]
    # Workers round differently: they may take another number of steps, and could not stop together.
    own_step = after_step if workers.count == 1 else lambda: None
    fit = fit_linear(train.views[:, train.readable], labels, config.seed, own_step)
    fitted, logits = (fit.head.logits(fit.standardise(vectors)) for vectors in (train.plain[train.readable], val.plain))
    logits[~val.readable] = np.nan
    scores = Scores(probabilities(logits), logits, val.bad)
    minimised, settings = symbols.loss_of(point.symbol)
    loss, known = minimised.value(fitted, labels, settings)
    right = ((fitted >= 0) == (labels > 0.5)) & (labels >= 0)
    seconds = time.perf_counter() - clock
    metrics = {
        "train_loss": loss / max(1, known),
        "train_accuracy": float(right.sum()) / max(1, known),
        "seconds": round(seconds, 3),
        "images_per_second": round(len(data.train) / max(1e-9, seconds), 2),
    }
    return FittedHead(
        _with_head(point, fit, workers), metrics, scores, train.bad, cross_validated_mAP(fit.cross_validated, labels)
    )


def check_views(point: StartingPoint, config: TrainConfig, preprocess: Preprocess) -> None:
    """Raise SettingError where the network cannot take the images as ``feature_copies`` show them."""
    _network(point).size_of(_views(config), preprocess)


def _network(point: StartingPoint) -> FeatureNetwork:
    return FeatureNetwork(symbols.features_output(point.symbol), point.arg_params, point.aux_params)


def _views(config: TrainConfig) -> tuple[str, ...]:
    return ("plain", *config.feature_copies)


def vectors_of_lists(
    point: StartingPoint,
    config: TrainConfig,
    preprocess: Preprocess,
    data: TrainData,
    devices: Sequence[Context],
    cache: FeatureCache,
    progress: Progress,
    after_batch: Callable[[], None] = lambda: None,
    workers: Workers = ALONE,
    *,
    validates: bool,
) -> tuple[Vectors, Vectors]:
    """Return the vectors of the training and of the validation list. Raises as ``fit_head`` does.

    Where the validation list ``validates``, its vectors are in float32, so that its metrics are those of the saved
    network; else both are alike.
    """
    network = _network(point)
    fastest = _fastest(network, devices, progress, workers)

    def extractor(network: FeatureNetwork) -> FeatureExtractor:
        settings: dict[str, Any] = {
            "batch_size": config.batch_size,
            "threads": config.decode_threads,
            "progress": progress,
            "views": _views(config),
            "after_batch": after_batch,
        }
        if workers.count == 1:
            return FeatureExtractor(network, preprocess, devices, cache, **settings)
        return SharedExtractor(network, preprocess, devices, cache, **settings, workers=workers)

    of_train = extractor(fastest)
    of_val = extractor(network) if validates and fastest is not network else of_train
    train = of_train.vectors(image_source(data.train), "features of the training images")
    val = of_val.vectors(image_source(data.val), "features of the validation images")
    for vectors, images, path in zip((train, val), (data.train, data.val), config.lists):
        _check(vectors, images, path, config.max_bad_share)
    return train, val


def _fastest(
    network: FeatureNetwork, devices: Sequence[Context], progress: Progress, workers: Workers
) -> FeatureNetwork:
    fastest = network.on(devices)
    # One worker's processor may have what another's has not.
    if workers.any(fastest is network)[0]:
        return network
    progress.note("features of training images are computed in bfloat16, for which this processor has AMX")
    return fastest


@dataclass(frozen=True, eq=False)
class LinearFit:
    """A head for features as ``standardise`` scales them, and how it does on images that it has not seen."""

    standardise: Standardiser
    head: Linear
    cross_validated: CrossValidated


def fit_linear(
    views: np.ndarray, labels: np.ndarray, seed: int, after_step: Callable[[], None] = lambda: None
) -> LinearFit:
    """Fit labels (N, C) to views (V, N, D) of the images; ``after_step``, which may raise, is called by L-BFGS."""
    standardise = Standardiser.of(views.reshape(-1, views.shape[2]))
    standard = np.stack([standardise(view) for view in views])
    everything = standard.reshape(-1, standard.shape[2])
    directions = Directions.of(everything)
    found = cross_validate(standard, labels, seed, directions=directions, after_step=after_step)
    all_labels = np.tile(labels, (len(views), 1))
    head = fit_logistic(
        everything, all_labels, found.penalties, found.mean, directions=directions, after_step=after_step
    )
    return LinearFit(standardise, head, found)


def _with_head(point: StartingPoint, fit: LinearFit, workers: Workers) -> StartingPoint:
    weight, bias = point.head_names
    _, _, mean, variance = point.statistics
    head = {weight: fit.head.weight.T, bias: fit.head.bias}
    statistics = {mean: fit.standardise.mean, variance: fit.standardise.variance}
    return replace(
        point,
        arg_params={**point.arg_params, **_arrays(head, workers)},
        aux_params={**point.aux_params, **_arrays(statistics, workers)},
    )


def _arrays(values: Mapping[str, np.ndarray], workers: Workers) -> dict[str, NDArray]:
    # Processors and threads differ, and so do the last bits of what the workers have fitted.
    same = workers.broadcast({name: value.astype(np.float32) for name, value in values.items()})
    return {name: mx.nd.array(value) for name, value in same.items()}


def cross_validated_mAP(found: CrossValidated, labels: np.ndarray) -> float | None:
    """Return the mean over the folds, as ``over_folds`` does: their heads' scores have no common scale."""
    means = []
    for number in range(int(found.fold.max()) + 1):
        held_out = found.fold == number
        APs = average_precisions(probabilities(found.logits[held_out]), labels[held_out])
        defined = [AP for AP in APs if AP is not None]
        if defined:
            means.append(np.mean(defined))
    return float(np.mean(means)) if means else None


def _check(vectors: Vectors, images: ImageList | RecordList, path: str, max_bad_share: float) -> None:
    # A minimum or maximum that is not a number is not within these bounds.
    if not (vectors.views.min() > -_LARGEST and vectors.views.max() < _LARGEST):
        raise TrainingError(
            f"{path}: the network's features are not finite, or too large; its parameters or the preprocessing are "
            "wrong"
        )
    if len(vectors.bad) > max_bad_share * len(images):
        raise TrainingError(f"{path}: {too_many_bad(vectors.bad, len(images), max_bad_share)}")
    if not vectors.readable.any():
        first = vectors.bad[0]
        raise TrainingError(f"{path}: none of its images can be read, such as {first.path}: {first.reason}")
