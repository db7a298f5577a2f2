"""``ImageIter``: stands in for ``mx.image.ImageIter`` in existing programs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mxml.data.batch_iterator import LAST_BATCHES, BatchIterator, Loading, TransformLoader, require
from mxml.data.image_cache import ImageCache
from mxml.data.image_list import ImageList
from mxml.data.image_sources import ImageFiles
from mxml.data.lst_file import read_lst
from mxml.data.sampling import BatchRows, Sampler
from mxml.errors import ImageError, ListError, MxmlError, SettingError
from mxml.images.decode import Limits
from mxml.images.network_input import Transform
from mxml.images.transforms import RGB_MEAN, RGB_STD, Augment, Preprocess
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()

_LABEL_TYPES = ("float32", "int32", "int64", "float64")
_INTERPOLATION_NUMBERS = {1: "linear", 2: "cubic", 3: "area"}


class ImageIter(BatchIterator):
    """Iterate over batches of a list of image files; stands in for ``mx.image.ImageIter``."""

    def __init__(
        self,
        batch_size: int,
        data_shape: Sequence[int],
        label_width: int | None = None,
        path_imgrec: str | None = None,
        path_imglist: str | os.PathLike[str] | None = None,
        path_root: str | os.PathLike[str] | None = None,
        path_imgidx: str | None = None,
        shuffle: bool = False,
        part_index: int = 0,
        num_parts: int = 1,
        aug_list: Any = None,
        imglist: list[Any] | None = None,
        data_name: str = "data",
        label_name: str = "softmax_label",
        dtype: str = "float32",
        last_batch_handle: str = "pad",
        resize: int = 0,
        rand_crop: bool = False,
        rand_resize: bool = False,
        rand_mirror: bool = False,
        mean: Any = None,
        std: Any = None,
        brightness: float = 0,
        contrast: float = 0,
        saturation: float = 0,
        hue: float = 0,
        pca_noise: float = 0,
        rand_gray: float = 0,
        inter_method: int = 2,
        *,
        seed: int = 0,
        threads: int | None = None,
        prefetch: int = 2,
        bad_images: str = "skip",
        max_bad_share: float = 0.05,
        cache_bytes: int = 0,
        limits: Limits | None = None,
    ):
        for name, value in (("path_imgrec", path_imgrec), ("path_imgidx", path_imgidx), ("aug_list", aug_list)):
            if value is not None:
                raise MxmlError(f"{name} is not supported: mxml.ImageIter reads image files and augments by itself")
        require("dtype", dtype, dtype in _LABEL_TYPES, ", ".join(_LABEL_TYPES))
        require("last_batch_handle", last_batch_handle, last_batch_handle in LAST_BATCHES, "pad, discard or roll_over")
        preprocess = _preprocess(data_shape, resize, mean, std, inter_method)
        augment = _augment(
            rand_crop, rand_resize, rand_mirror, brightness, contrast, saturation, hue, pca_noise, rand_gray
        )
        images = _images(path_imglist, path_root, imglist, label_width)
        if not len(images):
            raise ListError(f"{path_imglist or 'the image list'} holds no images")
        width = images.num_classes
        if label_width is not None and label_width != width:
            raise MxmlError(f"label_width is {label_width}, but the list has {width} labels an image")
        self._table = images.labels
        self._label_shape = (batch_size, width) if width > 1 else (batch_size,)
        transform = Transform(preprocess, augment)
        super().__init__(
            len(images),
            TransformLoader(ImageFiles(images), transform, limits or Limits(), ImageCache(cache_bytes)),
            Sampler(
                len(images),
                batch_size,
                shuffle=shuffle,
                seed=seed,
                part_index=part_index,
                num_parts=num_parts,
                last_batch=last_batch_handle,
            ),
            mx.io.DataDesc(data_name, (batch_size, *preprocess.data_shape), np.float32),
            [mx.io.DataDesc(label_name, self._label_shape, np.dtype(dtype).type)],
            Loading(threads, prefetch, bad_images, max_bad_share),
        )

    def _labels(self, rows: BatchRows, faults: dict[int, ImageError], shown: np.ndarray) -> list[np.ndarray]:
        labels = self._table[rows.positions[shown]].astype(self.provide_label[0].dtype)
        return [labels.reshape(self._label_shape)]


def _images(
    path_imglist: str | os.PathLike[str] | None,
    path_root: str | os.PathLike[str] | None,
    imglist: list[Any] | None,
    label_width: int | None,
) -> ImageList:
    if (path_imglist is None) == (imglist is None):
        raise MxmlError("give the images by path_imglist or imglist")
    if imglist is not None and not imglist:
        raise ListError("imglist holds no images")
    root = os.fspath(path_root) if path_root is not None else ""
    if path_imglist is not None:
        return read_lst(path_imglist, root, label_width, any_values=True)
    assert imglist is not None
    return ImageList.from_rows([row[-1] for row in imglist], list(_label_rows(imglist)), root)


def _label_rows(rows: Sequence[Sequence[Any]]) -> Iterator[np.ndarray]:
    """Give the labels of rows that are (label, ..., path) or (labels, path)."""
    width = None
    for number, row in enumerate(rows):
        labels = np.atleast_1d(np.asarray(row[:-1] if len(row) > 2 else row[0], np.float32))
        width = width or labels.shape
        if labels.ndim != 1 or labels.shape != width:
            raise ListError(f"imglist row {number} ({row[-1]}) has other labels than the first row")
        yield labels


def _preprocess(data_shape: Sequence[int], resize: int, mean: Any, std: Any, inter_method: int) -> Preprocess:
    if len(data_shape) != 3 or data_shape[0] != 3:
        raise SettingError("data_shape", tuple(data_shape), "3,height,width")
    if inter_method not in _INTERPOLATION_NUMBERS:
        raise MxmlError(f"inter_method is {inter_method!r}; mxml.ImageIter knows 1 (linear), 2 (cubic) and 3 (area)")
    return Preprocess(
        size=(data_shape[1], data_shape[2]),
        short_side=resize or None,
        mean=_three(mean, RGB_MEAN, 0.0),
        std=_three(std, RGB_STD, 1.0),
        interpolation=_INTERPOLATION_NUMBERS[inter_method],
    )


def _three(given: Any, usual: tuple[float, float, float], none: float) -> Any:
    """Turn CreateAugmenter's mean or std (True, None, or an array of one or three) into three numbers."""
    if given is True:
        return usual
    if given is None:
        return (none,) * 3
    values = given.asnumpy() if isinstance(given, mx.nd.NDArray) else np.asarray(given)
    return tuple(float(value) for value in values.ravel()) * (3 if values.size == 1 else 1)


def _augment(rand_crop: bool, rand_resize: bool, rand_mirror: bool, *colour: float) -> Augment:
    if rand_resize and not rand_crop:
        raise MxmlError("rand_resize needs rand_crop")
    smallest = 0.08 if rand_resize else None  # CreateAugmenter's
    return Augment(bool(rand_crop), smallest, bool(rand_mirror), *colour)
