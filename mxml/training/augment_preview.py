"""One picture of what augmentation does to the images of a list, and to their labels."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mxml.data.batches import Batches
from mxml.data.image_sources import ChosenImages
from mxml.data.label_names import label_names_file, read_label_names
from mxml.data.record_list import image_source, is_record_file, read_images
from mxml.errors import ListError, SettingError
from mxml.images.fonts import drawable
from mxml.images.grid import Cell, draw_grid
from mxml.images.transforms import Preprocess
from mxml.progress import SILENT, Progress
from mxml.training.config import TrainConfig
from mxml.training.run_data import augment_of, mixing_of, preprocess_of

_MOST_PIXELS = 100_000_000


def augment_preview(
    data: str | os.PathLike[str],
    root: str | os.PathLike[str] | None = None,
    given: Mapping[str, Any] | None = None,
    *,
    images: int = 8,
    copies: int = 6,
    progress: Progress = SILENT,
) -> np.ndarray:
    """Draw the first images of a list, plain and as training varies them.

    Parameters
    ----------
    data : path
        The list, or a ``.rec`` file.
    root : path, optional
        Its image folder; by default what ``lists.json`` beside the list says, else ``images`` or the list's folder.
    given : mapping of str to object, optional
        Settings of ``TrainConfig`` by name, of those in ``AUGMENT_SETTINGS``.
    images, copies : int
        How many images there are at most, one in each row, and how often each is varied.
    progress : Progress, optional
        Receives a note where the image folder had to be found.

    Returns
    -------
    numpy.ndarray, (H, W, 3) uint8, RGB
        The first column shows each image as validation sees it. The others show it as training does in epochs 1, 2,
        ..., but that images are mixed with those of the picture alone. Below are the labels, soft ones with values.

    Raises
    ------
    MxmlError
        For a wrong setting, and for a list that cannot be used.
    """
    for name, value in (("images", images), ("copies", copies)):
        if value < 1:
            raise SettingError(name, value, "1 or more")
    unused = {"prefix": "preview", "model": "preview", "data_val": data}
    config = TrainConfig.of({**(given or {}), **unused, "data_train": data, "image_train": root})
    config = dataclasses.replace(config, preset=config.preset or "original")
    preprocess = preprocess_of(config)
    listed, note = read_images(data, config.image_train, allow_absolute=config.allow_absolute)
    if note:
        progress.note(note)
    count = min(images, len(listed))
    height, width = preprocess.size
    if count * (copies + 1) * height * width > _MOST_PIXELS:
        raise SettingError("images", images, f"fewer: with `copies` they have more than {_MOST_PIXELS:,} pixels")
    beside = label_names_file(data)
    if config.labels is not None or beside.is_file():
        names = read_label_names(config.labels or beside, listed.num_classes)
    else:
        names = [f"class_{index}" for index in range(listed.num_classes)]
    shared: dict[str, Any] = {
        "labels": listed.labels[:count],
        "seed": config.seed,
        "threads": config.decode_threads,
        "bad_images": "report",
        "prefetch": 0,
    }
    source = ChosenImages(image_source(listed), np.arange(count))
    with Batches(source, preprocess, count, **shared) as plain:
        columns = list(_columns(plain, range(1), preprocess, names))
        if len(plain.bad) == count:
            first = plain.bad[0]
            is_elsewhere = not is_record_file(data) and not os.path.exists(first.path)
            raise ListError(
                f"{os.fspath(data)}: none of its first {count} images can be read, such as {first.path}: "
                f"{first.reason}" + ("; `root` says where they are" if is_elsewhere else "")
            )
    augment, mixing = augment_of(config), mixing_of(config)
    with Batches(source, preprocess, count, augment=augment, mixing=mixing, **shared) as varied:
        columns += _columns(varied, range(1, copies + 1), preprocess, names)
    titles = ["input", *(f"epoch {number}" for number in range(1, copies + 1))]
    return draw_grid(titles, list(zip(*columns)))


def _columns(batches: Batches, epochs: range, preprocess: Preprocess, names: Sequence[str]) -> Iterator[list[Cell]]:
    """Yield the column of each epoch."""
    for epoch in epochs:
        batches.set_epoch(epoch)
        batch = batches.next()
        unreadable = {image.position for image in batches.bad}
        yield [
            Cell(_picture(row, preprocess), ["cannot be read"] if position in unreadable else _words(labels, names))
            for position, (row, labels) in enumerate(zip(batch.data[0].asnumpy(), batch.label[0].asnumpy()))
        ]


def _picture(row: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """Return (H, W, 3) uint8 RGB from network input."""
    planes = row.transpose(1, 2, 0) * np.array(preprocess.std) + np.array(preprocess.mean)
    picture = np.clip(np.rint(planes), 0, 255).astype(np.uint8)
    return picture[:, :, ::-1] if preprocess.channels == "bgr" else picture


def _words(labels: np.ndarray, names: Sequence[str]) -> list[str]:
    words = []
    for number, (value, name) in enumerate(zip(labels.tolist(), names), start=1):
        if value:
            value_text = "" if value == 1 else " ?" if value < 0 else f" {value:.2f}"
            words.append(drawable(name, f"label {number}") + value_text)
    return words or ["no label"]
