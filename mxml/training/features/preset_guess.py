"""Which preprocessing a pretrained network was trained with, where nobody says it.

In this order: what the sidecar of the run that trained it says; what its first BatchNorm remembers of its own training
images; how its layers are called; and if none of these is sure, which preset a linear head fits best with.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mxml.data.batches import Batches
from mxml.data.image_list import ImageList
from mxml.data.image_sources import ChosenImages, ImageSource
from mxml.data.record_list import RecordList, image_source
from mxml.images.transforms import PRESETS, Preprocess, preset
from mxml.inference.feature_cache import FeatureCache
from mxml.inference.feature_vectors import FeatureExtractor, FeatureNetwork, Vectors, contents_digest
from mxml.inference.mxnet_backend import BoundNetwork
from mxml.model import checkpoint, symbols
from mxml.model.graph import Graph
from mxml.progress import Progress
from mxml.runtime.imports import load_mxnet
from mxml.runtime.types import Context
from mxml.training.config import TrainConfig
from mxml.training.features.linear import Standardiser, cross_validate
from mxml.training.starting_point import StartingPoint

mx = load_mxnet()

# imagenet differs from original in its crop alone.
_BY_STATISTICS = ("original", "caffe", "raw", "inception")
_BY_TRIAL = ("original", "caffe")
_STATISTICS_IMAGES = 64
_TRIAL_IMAGES = 256
_TRIAL_PENALTIES = (1.0, 0.3, 0.1)
# Raised whenever another version of mxml finds other losses from the same vectors and labels.
_REVISION = 2
# Standard errors between two losses. Of 120 trials with 30 to 150 photographs 6 were wrong, all of them nearer.
_APART = 2.0
# Two losses that differ alike for all images are still a finite number of errors apart.
_LEAST_ERROR = 1e-9
# What the losses of a trial are called among its images.
_LOSSES = b"losses of the presets"
# How near the nearest statistics have to be, and how many times nearer than the next.
_NEAR, _SURE = 1.0, 2.0
_FITTED = {"crop": "cropped", "letterbox": "letterboxed", "stretch": "stretched"}
_GLUON_NAME = re.compile(r"\w+_fwd")


@dataclass(frozen=True)
class _Guess:
    """Settings that make the preprocessing, and the line that says why."""

    settings: dict[str, Any]
    reason: str
    note: str = ""


def with_preset(
    config: TrainConfig,
    point: StartingPoint,
    lists: Sequence[ImageList | RecordList],
    devices: Sequence[Context],
    cache: FeatureCache,
    progress: Progress,
) -> TrainConfig:
    """Return the configuration with a preset, which is guessed and said where none is given.

    ``lists`` are those of the run, that of the training images first: the next one's images, and labels, are only
    needed where the first has few. A mean, a standard deviation or an order of channels that is given stands for a
    decision of the user's: the rest is then the original script's.
    """
    if config.preset is not None:
        # A network from scratch has the recipe's.
        return config
    if any(value is not None for value in (config.mean, config.std, config.channels)):
        return dataclasses.replace(config, preset="original")
    guess = (
        _of_sidecar(config)
        or _of_statistics(config, point, lists[0], devices, progress)
        or _of_names(point)
        or _of_trial(config, point, lists, devices, cache, progress)
    )
    progress.note(f"preprocessing: {guess.reason}; `preset` sets another{guess.note}")
    return dataclasses.replace(config, **guess.settings)


def _of_sidecar(config: TrainConfig) -> _Guess | None:
    assert config.model is not None
    try:
        sidecar = checkpoint.read_sidecar(config.model)
    except checkpoint.CheckpointError:
        return None
    if sidecar is None:
        return None
    own = sidecar.preprocess
    reason = f"as {os.path.basename(config.model)}.json says"
    note = "" if own.fit == config.fit else f"; its images were {_FITTED[own.fit]}: `fit` {own.fit} keeps that"
    for name, values in PRESETS.items():
        if _same_values(own, values) and own.short_side == preset(name, own.size, own.fit).short_side:
            return _Guess({"preset": name}, f"{name}, {reason}", note)
    settings: dict[str, Any] = {"preset": "original", "mean": own.mean, "std": own.std, "channels": own.channels}
    return _Guess(settings, f"mean {own.mean}, std {own.std}, {own.channels}, {reason}", note)


def _same_values(one: Preprocess, other: Preprocess) -> bool:
    return (one.mean, one.std, one.channels) == (other.mean, other.std, other.channels)


def _of_statistics(
    config: TrainConfig,
    point: StartingPoint,
    images: ImageList | RecordList,
    devices: Sequence[Context],
    progress: Progress,
) -> _Guess | None:
    """Guess by the mean and the variance of each channel that the first BatchNorm remembers."""
    graph = Graph.of(point.symbol)
    first = next((node for node in graph.nodes if node.is_batch_norm), None)
    # The head's own, which comes last, says nothing yet.
    if first is None or {graph.nodes[at].name for at, _ in first.inputs[1:]} == set(point.statistics):
        return None
    mean, variance = (
        point.aux_params[graph.nodes[at].name].asnumpy().astype(np.float64) for at, _ in first.inputs[3:5]
    )
    never_trained = not mean.any() and (variance == 1).all()
    before = graph.output(point.symbol, first.inputs[0])
    _, (shape,), _ = before.infer_shape(data=(1, *config.image_shape))
    if never_trained or len(shape) != 4 or shape[1] != len(mean):
        return None
    # The mean and the mean square of each channel, in one output.
    moments = [mx.sym.mean(part, axis=(2, 3)) for part in (before, mx.sym.square(before))]
    some = ChosenImages(image_source(images), _spread(len(images), _STATISTICS_IMAGES))
    batch_size = max(len(devices), min(config.batch_size, len(some)))
    bound = BoundNetwork(
        mx.sym.Concat(*moments, dim=1), point.arg_params, point.aux_params, devices, config.image_shape, batch_size
    )
    distances = {}
    progress.start(len(_BY_STATISTICS) * len(some), "comparing with the first BatchNorm")
    for name in _BY_STATISTICS:
        rows = _outputs(bound, some, preset(name, config.image_shape[1:], config.fit), config.decode_threads, progress)
        if not len(rows) or not np.isfinite(rows).all():
            return None
        found = rows.mean(axis=0, dtype=np.float64)
        own_mean, own_variance = found[: len(mean)], found[len(mean) :] - found[: len(mean)] ** 2
        distances[name] = _distance(own_mean, own_variance, mean, variance)
    nearest, second = sorted(distances, key=distances.__getitem__)[:2]
    if not (distances[nearest] < _NEAR and distances[nearest] * _SURE < distances[second]):
        return None
    return _Guess({"preset": nearest}, f"{nearest}, by what the first BatchNorm of {config.model} remembers of images")


def _outputs(
    bound: BoundNetwork, images: ImageSource, preprocess: Preprocess, threads: int | None, progress: Progress
) -> np.ndarray:
    """Return what a network says (N, K) of the images that can be read."""
    rows: list[np.ndarray] = []
    with Batches(images, preprocess, bound.batch_size, bad_images="report", threads=threads) as batches:
        for batch in batches:
            unreadable = {image.position for image in batches.bad}
            output = bound.output(batch.data[0])
            positions = batch.index[: len(batch.index) - batch.pad].tolist()
            rows += [row for row, position in zip(output, positions) if position not in unreadable]
            progress.advance(len(positions))
    return np.array(rows, np.float32)


def _distance(mean: np.ndarray, variance: np.ndarray, known_mean: np.ndarray, known_variance: np.ndarray) -> float:
    """Return the median over the channels of the Kullback-Leibler divergence of two normal distributions."""
    variance, known_variance = np.maximum(variance, 1e-6), np.maximum(known_variance, 1e-6)
    ratio = variance / known_variance
    return float(np.median(0.5 * (ratio + (mean - known_mean) ** 2 / known_variance - 1 - np.log(ratio))))


def _of_names(point: StartingPoint) -> _Guess | None:
    nodes = Graph.of(point.symbol).nodes
    if any(_GLUON_NAME.fullmatch(node.name) for node in nodes if node.op == "Convolution"):
        return _Guess({"preset": "original"}, "original, as networks of Gluon have it, by the names of its layers")
    return None


def _of_trial(
    config: TrainConfig,
    point: StartingPoint,
    lists: Sequence[ImageList | RecordList],
    devices: Sequence[Context],
    cache: FeatureCache,
    progress: Progress,
) -> _Guess:
    """Guess by how well a head that is fitted with each preset does on images that it has not seen."""
    sources, labels = _to_try(lists)
    network = FeatureNetwork(symbols.features_output(point.symbol), point.arg_params, point.aux_params).on(devices)
    extractors = {
        name: FeatureExtractor(
            network,
            preset(name, config.image_shape[1:], config.fit),
            devices,
            cache,
            batch_size=config.batch_size,
            threads=config.decode_threads,
            progress=progress,
        )
        for name in _BY_TRIAL
    }
    # The next run with the same images and labels need not fit again.
    digest = hashlib.sha256(json.dumps([_REVISION, _TRIAL_PENALTIES, config.seed, labels.tolist()]).encode())
    for extractor in extractors.values():
        digest.update(extractor.digest())
    for source in sources:
        digest.update(contents_digest(source, config.decode_threads))
    found = cache.get(digest.digest(), [_LOSSES], len(extractors) + 1).get(_LOSSES)
    if found is None:
        tried = []
        for name, extractor in extractors.items():
            parts = [extractor.vectors(source, f"trying the preset {name}") for source in sources]
            tried.append(_trial_losses(parts, labels, config.seed))
        found = np.array([*(losses.mean() for losses in tried), _errors_apart(*tried)], np.float32)
        cache.put(digest.digest(), {_LOSSES: found})
    *means, apart = found.tolist()
    losses = dict(zip(extractors, means))
    best = min(losses, key=losses.__getitem__)
    if not np.isfinite(losses[best]):
        return _Guess({"preset": best}, f"{best}, since no image says more")
    each = ", ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
    chance = "" if apart >= _APART else ", so near each other that it may be chance"
    reason = f"{best}, which fits {len(labels)} images best (cross-validated loss: {each}{chance})"
    return _Guess({"preset": best}, reason)


def _to_try(lists: Sequence[ImageList | RecordList]) -> tuple[list[ImageSource], np.ndarray]:
    """Return some images of the first list, and as far as these are few of the next, with the labels (N, C) of all."""
    sources: list[ImageSource] = []
    labels: list[np.ndarray] = []
    wanted = _TRIAL_IMAGES
    for images in lists:
        positions = _spread(len(images), wanted)
        wanted -= len(positions)
        if len(positions):
            sources.append(ChosenImages(image_source(images), positions))
            labels.append(images.labels[positions])
    return sources, np.concatenate(labels)


def _trial_losses(parts: Sequence[Vectors], labels: np.ndarray, seed: int) -> np.ndarray:
    """Return (M,) float64: the cross-validated loss of a head at each of the images with labels (N, C) that has one.

    Those that cannot be read, or whose labels are all unknown, have none. All are infinite where nothing can be fitted.
    """
    readable = np.concatenate([part.readable for part in parts]) & (labels >= 0).any(axis=1)
    vectors, labels = np.concatenate([part.plain for part in parts])[readable], labels[readable]
    if len(labels) < 2 or not np.isfinite(vectors).all():
        return np.full(max(1, len(labels)), np.inf)
    logits = cross_validate(Standardiser.of(vectors)(vectors), labels, seed, _TRIAL_PENALTIES).logits
    known = labels >= 0
    values = np.where(known, np.logaddexp(0, logits) - np.maximum(labels, 0) * logits, 0)
    losses: np.ndarray = values.sum(axis=1) / known.sum(axis=1)
    return losses


def _errors_apart(first: np.ndarray, second: np.ndarray) -> float:
    """Return how many standard errors the mean losses (N,) of the same images are apart."""
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return np.inf
    differences = first - second
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    return float(abs(differences.mean()) / max(error, _LEAST_ERROR))


def _spread(count: int, most: int) -> np.ndarray:
    """Return up to ``most`` positions, spread over all."""
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)
