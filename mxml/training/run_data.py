"""The data of a run: both lists, read and checked, with the label names and the preprocessing."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mxml.data.image_list import ImageList
from mxml.data.label_mixing import Mixing
from mxml.data.label_names import label_names_file, read_label_names, require_same_names
from mxml.data.record_list import RecordList, image_source, read_images
from mxml.data.single_label import require_single_labels
from mxml.errors import ListError
from mxml.images.transforms import Augment, Preprocess, preset
from mxml.model.image_sums import sum_of_images
from mxml.model.run_files import RunFiles
from mxml.model.sidecar import Sidecar, UsedList
from mxml.model.trusted_paths import needs_sum_of_images
from mxml.progress import Progress, note_reading
from mxml.text import counted
from mxml.training import changed_images
from mxml.training.config import TrainConfig
from mxml.training.recipe import BY_GRADIENT_SIZE, Recipe

# Images looked for between two words on how far it is.
_LOOKED_FOR = 1000


@dataclass(frozen=True)
class TrainData:
    """The two lists of a run, their label names, and where they came from.

    ``changed_at`` has for each list (N,) int64: when the file of each image was changed, in nanoseconds.
    """

    train: ImageList | RecordList
    val: ImageList | RecordList
    label_names: tuple[str, ...]
    sources: Mapping[str, UsedList]
    changed_at: Mapping[str, np.ndarray]


def open_data(
    config: TrainConfig,
    progress: Progress,
    label_names: tuple[str, ...] | None = None,
    files: tuple[str, str] | None = None,
) -> TrainData:
    """Read and check both lists and the label names, and that the images are where the lists say.

    ``label_names`` are taken instead of reading a file of them. ``files`` are the lists where they will only later be
    where ``config`` says: faults of their lines are located there, all else is said of the lists of ``config``.
    """
    data_train, data_val = config.lists
    train_file, val_file = files = files or config.lists
    for file, path in zip(files, config.lists):
        note_reading(progress, file, path)
    absolute = config.allow_absolute
    train, note_train = read_images(
        train_file, config.image_train, config.num_classes, allow_absolute=absolute, setting="image_train"
    )
    val, note_val = read_images(
        val_file, config.image_val, train.num_classes, allow_absolute=absolute, setting="image_val"
    )
    if config.single_label:
        for file, images in ((train_file, train), (val_file, val)):
            require_single_labels(file, images, "`single_label` demands")
    for note in filter(None, (note_train, note_val)):
        progress.note(note)
    label_names = label_names or tuple(_label_names(config.labels, files, train.num_classes))
    labels = counted(train.num_classes, "label")
    progress.note(f"{counted(len(train), 'image')} to train on, {len(val):,} to validate on, {labels}")
    train_bytes, train_changed = _check_images_are_there(train, data_train, "train", config, progress)
    # Damaged records count as unlabelled images, and have been named by now.
    if not (train.labels >= 0).any():
        raise ListError(f"{data_train}: no label of any image is known (all are -1), so there is nothing to learn")
    val_bytes, val_changed = _check_images_are_there(val, data_val, "val", config, progress)
    if config.batch_size > len(train):
        recipe = Recipe.of(config)
        # The rows that pad count for nothing, but the gradient is divided by all.
        shortens = recipe.method != "features" and recipe.optimizer in BY_GRADIENT_SIZE
        progress.note(
            f"each batch of {config.batch_size:,} has {counted(len(train), 'image')} and is padded: "
            "a smaller `batch_size` needs less time and memory"
            + (f", and padding shortens the steps of {recipe.optimizer}" if shortens else "")
        )
    if config.num_examples not in (None, len(train)):
        progress.note(
            f"{data_train} has {len(train):,} images; their number, given as {config.num_examples}, is not used"
        )
    return TrainData(
        train,
        val,
        label_names,
        {
            "train": _used_list(data_train, train_file, train, train_bytes),
            "val": _used_list(data_val, val_file, val, val_bytes),
        },
        {"train": train_changed, "val": val_changed},
    )


def sums_to_record(
    data: TrainData, prefix: str, before: Sidecar | None, progress: Progress
) -> dict[str, dict[str, Any]]:
    """Return what a run records of the images of each list, as fields of ``UsedList``.

    ``before`` is the sidecar of a resumed run. What has changed since is noted, and is not new to the next resume.
    """
    fields: dict[str, dict[str, Any]] = {}
    for name, images in (("train", data.train), ("val", data.val)):
        used, source, changed_at = data.sources[name], image_source(images), data.changed_at[name]
        was = None if before is None else before.data.get(name)
        now, found = changed_images.compare(was, used, source, changed_at, progress)
        if was is not None:
            changed_images.note_changes(was, used, found, source, prefix, progress)
        fields[name] = {"image_sums": now.sums.hex(), "images_changed_at": now.changed_at}
        if name == "val":
            unchanged = was is not None and was.image_bytes == used.image_bytes and not (found.changed or found.unknown)
            kept = was.images_sha256 if was is not None and unchanged else None
            fields[name]["images_sha256"] = _sum_of_validation(data, prefix, kept, progress)
    return fields


def _sum_of_validation(data: TrainData, prefix: str, kept: str | None, progress: Progress) -> str | None:
    """Return the sum by which ``evaluate`` and ``predict`` may know the validation images; None where they need none.

    ``kept`` is that of a resumed run, where it still holds.
    """
    used, images = data.sources["val"], data.val
    if isinstance(images, RecordList) or not needs_sum_of_images(used.path, used.root, RunFiles(prefix).folder):
        return None
    return kept or sum_of_images(images, progress)


def preprocess_of(config: TrainConfig) -> Preprocess:
    """Return the preprocessing of ``config``: its preset, with the settings that replace parts of it."""
    base = preset(config.preset or "original", config.image_shape[1:], config.fit)
    changes: dict[str, Any] = {
        name: value
        for name, value in (("mean", config.mean), ("std", config.std), ("channels", config.channels))
        if value is not None
    }
    return dataclasses.replace(base, **changes)


def augment_of(config: TrainConfig) -> Augment:
    """Return the augmentation of ``config``."""
    return Augment(
        rand_crop=config.rand_crop,
        rand_mirror=config.rand_mirror,
        rand_resized_crop=config.min_area,
        brightness=config.jitter,
        contrast=config.jitter,
        saturation=config.jitter,
        hue=config.hue,
        pca_noise=config.pca_noise,
        rand_gray=config.rand_gray,
        vertical_flip=config.vertical_flip,
        rotate=config.rotate,
        shift=config.shift,
        shear=config.shear,
        zoom=config.zoom,
        cutout=config.cutout,
        rand_augment=config.rand_augment,
    )


def mixing_of(config: TrainConfig) -> Mixing:
    """Return how ``config`` mixes the rows of training batches."""
    return Mixing(config.mixup, config.cutmix)


def cache_bytes(config: TrainConfig, data: TrainData) -> tuple[int, int]:
    """Share the memory for decoded images among both lists, each by its number of images."""
    total = config.cache_mb << 20
    train = total * len(data.train) // max(1, len(data.train) + len(data.val))
    return train, total - train


def _used_list(list_path: str, file: str, images: ImageList | RecordList, image_bytes: int) -> UsedList:
    if isinstance(images, RecordList):
        return UsedList(list_path, os.path.dirname(list_path) or ".", len(images), images.digest, image_bytes)
    digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return UsedList(list_path, images.root, len(images), digest, image_bytes)


def _label_names(labels: str | None, lists: tuple[str, str], num_classes: int) -> list[str]:
    if labels is not None:
        return read_label_names(labels, num_classes)
    train, val = lists
    beside = label_names_file(train)
    if beside.exists():
        names = read_label_names(beside, num_classes)
        require_same_names(val, names, beside)
        return names
    return [f"class_{index}" for index in range(num_classes)]


def _check_images_are_there(
    images: ImageList | RecordList, list_path: str, name: str, config: TrainConfig, progress: Progress
) -> tuple[int, np.ndarray]:
    """Return the size of all image files together, and when each was changed, (N,) int64 nanoseconds.

    Raises ListError where too many do not exist.
    """
    if isinstance(images, RecordList):
        _check_records(images, list_path, config.max_bad_share, progress)
        status = os.stat(list_path)
        return status.st_size, np.full(len(images), status.st_ctime_ns)
    missing: list[int] = []
    total = 0
    changed_at = np.zeros(len(images), np.int64)
    progress.start(len(images), "looking for the images")
    for start in range(0, len(images), _LOOKED_FOR):
        some = range(start, min(start + _LOOKED_FOR, len(images)))
        for position in some:
            there = changed_images.size_and_change(images.path(position))
            if there is None:
                missing.append(position)
            else:
                size, changed_at[position] = there
                total += size
        progress.advance(len(some))
    if not missing:
        return total, changed_at
    first = images.path(missing[0])
    if len(missing) > config.max_bad_share * len(images):
        wrong_root = 2 * len(missing) > len(images)
        setting = "data_root" if config.data else f"image_{name}"
        remedy = f"`{setting}` says which folder they are in"
        if not wrong_root:
            remedy = "mxml check finds them, `max_bad_share` allows more"
        raise ListError(
            f"{list_path}: {len(missing):,} of {len(images):,} images do not exist, such as {first}; {remedy}"
        )
    progress.note(f"{list_path}: {len(missing):,} of {len(images):,} images do not exist, such as {first}")
    return total, changed_at


def _check_records(images: RecordList, list_path: str, max_bad_share: float, progress: Progress) -> None:
    if not images.damaged:
        return
    damaged = f"{len(images.damaged):,} of {len(images):,} records are damaged"
    first = min(images.damaged.items())[1]
    if len(images.damaged) > max_bad_share * len(images):
        raise ListError(f"{list_path}: {damaged}, more than `max_bad_share` allows; the first: {first}")
    progress.note(f"{list_path}: {damaged}; the first: {first}")
