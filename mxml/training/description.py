"""The description of a checkpoint's training images, made at the end of a run or for a checkpoint that lacks it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mxml.data.image_list import ImageList
from mxml.data.image_sources import ChosenImages
from mxml.data.record_list import RecordList, image_source, read_images
from mxml.errors import CheckpointError, Interrupted, MxmlError, SettingError
from mxml.inference.checkpoint_data import own_preprocess
from mxml.inference.feature_cache import FeatureCache
from mxml.inference.feature_vectors import FeatureExtractor, FeatureNetwork
from mxml.inference.limits import BATCH_SIZE
from mxml.model import checkpoint, described, symbols
from mxml.model.checkpoint import Checkpoint
from mxml.model.feature_distribution import FeatureDistribution
from mxml.model.prefix_lock import locked
from mxml.model.run_files import RunFiles
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
MOST_IMAGES = 1000


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
    root : str or path-like, optional
        The image folder of both lists, where they are no longer where the run had them.
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
        If files are missing or damaged, or its lists may not be used.
    SettingError
        If the checkpoint has no sidecar, or names no lists.
    TrainingError
        If a run is at work at the prefix.
    """
    model = checkpoint.load(os.fspath(prefix), epoch)
    if model.sidecar is None:
        wanted = "a checkpoint that mxml trained: a description is named in its sidecar"
        raise SettingError("prefix", model.prefix, wanted)
    lists = []
    for name, what in (("train", "training"), ("val", "validation")):
        used = model.sidecar.data.get(name)
        if used is None:
            raise SettingError("prefix", model.prefix, f"a checkpoint that names its {what} list")
        named = None if root is None else os.fspath(root)
        folder = RunFiles(model.prefix).folder
        try:
            used = trusted_list(used, f"the run's {what} list", folder, progress, named)
        except CheckpointError as error:
            raise CheckpointError(f"{error}; give the folder of its images as `root`") from error
        lists.append(read_images(used.path, used.root, len(model.sidecar.label_names))[0])
    means = _Means(parse_devices(device or default_device()), batch_size, threads, seed)
    with locked(model.prefix, progress), memory_checked(batch_size):
        return _describe(model, lists[0], lists[1], means, progress)


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
            _describe(model, data.train, data.val, means, stoppable)
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
    train: ImageList | RecordList,
    val: ImageList | RecordList,
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
        for images, what in ((train, "training"), (val, "validation")):
            source = image_source(images)
            if len(images) > MOST_IMAGES:
                chosen = np.random.default_rng(means.seed).permutation(len(images))[:MOST_IMAGES]
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
