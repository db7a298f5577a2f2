"""The description of a checkpoint's training images, made at the end of a run or for a checkpoint that lacks it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mxml.data.image_sources import ChosenImages, ImageSource
from mxml.data.record_list import image_source, read_images
from mxml.errors import CheckpointError, Interrupted, ListError, MxmlError, SettingError
from mxml.inference.any_images import read_any_images
from mxml.inference.checkpoint_data import own_preprocess
from mxml.inference.feature_cache import FeatureCache
from mxml.inference.feature_vectors import FeatureExtractor, FeatureNetwork
from mxml.inference.limits import BATCH_SIZE
from mxml.model import checkpoint, described, symbols
from mxml.model.checkpoint import Checkpoint
from mxml.model.feature_distribution import FeatureDistribution
from mxml.model.prefix_lock import locked
from mxml.model.run_files import RunFiles
from mxml.model.sidecar import Sidecar
from mxml.model.trusted_paths import trusted_list
from mxml.progress import SILENT, Progress
from mxml.runtime.devices import default_device, parse_devices
from mxml.runtime.mxnet_errors import memory_checked
from mxml.runtime.types import Context
from mxml.text import counted
from mxml.training.config import TrainConfig
from mxml.training.run_data import TrainData
from mxml.training.signals import StoppableProgress, StopRequest

# Measured, that many describe a training set as well as all of them.
_MOST_TRAIN = 1000
# The share of those beyond the threshold is then known to about one percent.
_MOST_HELD_OUT = 400
_HELD_OUT = 5


@dataclass(frozen=True)
class _Means:
    """What the features are computed with."""

    devices: Sequence[Context]
    batch_size: int
    threads: int | None
    seed: int


def describe_checkpoint(
    prefix: str | os.PathLike[str],
    epoch: int | None = None,
    *,
    data: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    device: str | None = None,
    batch_size: int = BATCH_SIZE,
    threads: int | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> FeatureDistribution:
    """Describe the training images of a checkpoint, and write that beside it, without training.

    The network runs once over at most 1,000 images of each of its run's two lists.

    Parameters
    ----------
    prefix : str or path-like
        The checkpoint's prefix, or one of its files.
    epoch : int, optional
        By default the best. A description is for one epoch; another one's is replaced.
    data : str or path-like, optional
        The training images, where the run's list is not there: a ``.lst``, ``.rec`` or ``.txt`` file, or a folder. No
        labels are needed. Where the run's validation list is not there either, a fifth of them is used in its place.
    root : str or path-like, optional
        The image folder of ``data``, else of the run's two lists, where it is no longer where the run had it.
    device : str, optional
        ``cpu``, ``gpu`` or ``gpu:0,1``.
    batch_size : int, default 32
        Images that the network computes at a time.
    threads : int, optional
        Threads that decode; by default as many as physical cores.
    seed : int, default 0
        Draws the images of longer lists.
    progress : Progress, optional
        Receives the number of finished images, and what was found.

    Returns
    -------
    FeatureDistribution

    Raises
    ------
    CheckpointError
        If files are missing or damaged, or its lists may not be used and there is no ``data``.
    ListError
        If ``data`` is wrong, or names no image.
    SettingError
        If the checkpoint has no sidecar, or names no lists.
    TrainingError
        If a run is at work at the prefix.
    """
    model = checkpoint.load(os.fspath(prefix), epoch)
    if model.sidecar is None:
        wanted = "a checkpoint that mxml trained: a description is named in its sidecar"
        raise SettingError("prefix", model.prefix, wanted)
    means = _Means(parse_devices(device or default_device()), batch_size, threads, seed)
    if data is None:
        train, val = (_own_images(model, model.sidecar, name, root, progress) for name in ("train", "val"))
    else:
        images = read_any_images(data, root, len(model.sidecar.label_names), progress, allow_absolute=True)
        train, val = _given_images(model, model.sidecar, image_source(images), seed, progress)
    with locked(model.prefix, progress), memory_checked(batch_size):
        return _describe(model, train, val, means, progress)


def _own_images(
    model: Checkpoint, sidecar: Sidecar, name: str, root: str | os.PathLike[str] | None, progress: Progress
) -> ImageSource:
    """Return the images of the run's own list, ``train`` or ``val``."""
    what = {"train": "training", "val": "validation"}[name]
    used = sidecar.data.get(name)
    if used is None:
        raise SettingError("prefix", model.prefix, f"a checkpoint that names its {what} list")
    named = None if root is None else os.fspath(root)
    try:
        used = trusted_list(used, f"the run's {what} list", RunFiles(model.prefix).folder, progress, named)
    except CheckpointError as error:
        # A root helps only where the list itself is there.
        remedy = "give the folder of its images as `root`, or" if os.path.isfile(used.path) else "give"
        raise CheckpointError(
            f"{error}; {remedy} the training images as `data`: any list or folder of them, without labels too"
        ) from error
    return image_source(read_images(used.path, used.root, len(sidecar.label_names))[0])


def _given_images(
    model: Checkpoint, sidecar: Sidecar, images: ImageSource, seed: int, progress: Progress
) -> tuple[ImageSource, ImageSource]:
    """Return the training images that a person gave, and the run's validation images, or else a fifth of the given."""
    try:
        return images, _own_images(model, sidecar, "val", None, progress)
    except (CheckpointError, ListError, SettingError):
        chosen = np.random.default_rng(seed).permutation(len(images))
        held_out = max(1, len(images) // _HELD_OUT)
        progress.note(
            f"the run's validation list cannot be used: {counted(held_out, 'image')} of those given, drawn by chance, "
            "set the distance in its place, though the network may have been trained on them"
        )
        return ChosenImages(images, np.sort(chosen[held_out:])), ChosenImages(images, np.sort(chosen[:held_out]))


def describe_run(
    config: TrainConfig,
    data: TrainData,
    devices: Sequence[Context],
    progress: Progress,
    stop: StopRequest | None,
) -> None:
    """Describe the training images for the best epoch of a finished run, unless that was done.

    It is a by-product: what goes wrong is a note. Raises Interrupted where a signal comes meanwhile.
    """
    prefix = config.prefix
    if stop is not None and stop.number is not None:
        progress.note("the training images are not described, since the run was stopped; `resume` describes them")
        return
    stoppable = StoppableProgress(
        progress,
        stop,
        "stopped by {} while the training images were described; the run is finished and saved, and `resume` "
        "describes them",
        True,
    )
    try:
        sidecar = checkpoint.read_sidecar(prefix)
        if sidecar is None or sidecar.best_epoch is None or is_described(prefix, sidecar.best_epoch):
            return
        model = checkpoint.load(prefix, sidecar.best_epoch)
        means = _Means(devices, config.batch_size, config.decode_threads, config.seed)
        with memory_checked(config.batch_size):
            _describe(model, image_source(data.train), image_source(data.val), means, stoppable)
    except Interrupted:
        raise
    except (MxmlError, OSError, np.linalg.LinAlgError) as error:
        progress.note(f"the training images are not described, so that no image is marked as unlike them: {error}")


def is_described(prefix: str, epoch: int) -> bool:
    """Say whether the sidecar names a description for an epoch, whose file is there."""
    found = described.named(checkpoint.read_sidecar(prefix), epoch)
    path = RunFiles(prefix).described
    return found is not None and os.path.isfile(path) and os.path.getsize(path) == found.file.size


def _describe(
    model: Checkpoint,
    train: ImageSource,
    val: ImageSource,
    means: _Means,
    progress: Progress,
) -> FeatureDistribution:
    clock = time.perf_counter()
    # A head was fitted to vectors that are kept. Those of a network that was trained since would be used by nobody.
    epochs = model.sidecar.epochs if model.sidecar else ()
    is_kept = any(entry.epoch == model.epoch and entry.num_update == 0 for entry in epochs)
    network = FeatureNetwork(symbols.features_output(model.symbol), model.arg_params, model.aux_params)
    with FeatureCache(RunFiles(model.prefix).features if is_kept else None, progress) as cache:
        extractor = FeatureExtractor(
            network,
            own_preprocess(model),
            means.devices,
            cache,
            batch_size=means.batch_size,
            threads=means.threads,
            progress=progress,
        )
        vectors = []
        for source, what, most in ((train, "training", _MOST_TRAIN), (val, "validation", _MOST_HELD_OUT)):
            if len(source) > most:
                chosen = np.random.default_rng(means.seed).permutation(len(source))[:most]
                source = ChosenImages(source, np.sort(chosen))
            found = extractor.vectors(source, f"describing the {what} images")
            vectors.append(found.plain[found.readable])
    distribution = FeatureDistribution.of(*vectors)
    described.save(model.prefix, model.epoch, distribution)
    progress.note(
        f"described {counted(distribution.train_images, 'training image')} in "
        f"{time.perf_counter() - clock:.0f} s: mxml predict marks images unlike them, and would mark "
        f"{distribution.marked:.1%} of the validation images"
    )
    return distribution
