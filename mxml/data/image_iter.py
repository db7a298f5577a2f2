"""``ImageIter``: stands in for ``mx.image.ImageIter`` in existing programs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, Callable

import numpy as np

from mxml.data.batch_iterator import LAST_BATCHES, BatchIterator, Loading, require
from mxml.data.image_cache import ImageCache
from mxml.data.image_list import ImageList
from mxml.data.image_sources import ImageFiles, ImageSource
from mxml.data.lst_file import read_lst
from mxml.data.mxnet_augmenters import AugmenterLoader, row_transform
from mxml.data.record_images import RecordImages
from mxml.data.row_loader import RowLoader, TransformLoader
from mxml.data.sampling import BatchRows, Sampler
from mxml.errors import ImageError, ListError, MxmlError, SettingError
from mxml.images.decode import Limits
from mxml.images.transforms import RGB_MEAN, RGB_STD, Augment, Preprocess
from mxml.runtime.imports import load_mxnet
from mxml.runtime.types import NDArray

mx = load_mxnet()

_LABEL_TYPES = ("float32", "int32", "int64", "float64")


class ImageIter(BatchIterator):
    """Iterate over batches of images as ``mx.image.ImageIter`` of MXNet 1.9.1 does, but faster without ``aug_list``.

    The arguments up to ``last_batch_handle`` are those of ``mx.image.ImageIter``, the ones up to ``inter_method`` are
    those of ``mx.image.CreateAugmenter``, with the same meaning. A program that uses ``mx.image.ImageIter`` works with
    this class once its import is changed, unless it overrides methods such as ``next_sample``. New programs should use
    ``Batches``.

    Batches are like MXNet's: ``data`` (batch_size, 3, height, width) float32, and ``label`` (batch_size,) with one
    label per image, else (batch_size, label_width), of ``dtype``. Each row has the label of the image that it shows,
    also where it only fills the batch up. ``index`` has each row's position in the list. A batch never changes once it
    is returned.

    Differences from MXNet's: threads decode images ahead of their use, and the decoder reduces images that are much too
    large; ``shuffle`` and augmentation depend only on ``seed``, the epoch and an image's position; an image that cannot
    be read does not end the run; all of ``num_parts`` workers have the same number of batches; and ``shuffle`` and
    ``num_parts`` need no ``path_imgidx``.

    Parameters
    ----------
    batch_size : int
        Rows per batch.
    data_shape : sequence of int
        (3, height, width).
    label_width : int, optional
        How many labels an image has; by default as many as the list or record file says.
    path_imgrec, path_imgidx : str, optional
        A RecordIO file, read in place, and its index file. The whole structure of the record file is checked first.
    path_imglist, path_root : str, optional
        A list of image files, and the folder that they are under. With ``path_imgrec`` and ``path_imgidx``, the list
        gives only the labels.
    shuffle : bool
        Visit the images of every epoch in another order.
    part_index, num_parts : int
        Which of how many workers this is.
    aug_list : list of callables, optional
        Augmenters, such as mx.image.CreateAugmenter returns; CreateAugmenter's arguments then do nothing. They run one
        after the other in the thread that asks for a batch, on images of full size, which is several times slower than
        the same augmentation by arguments. What they draw comes from Python's ``random``, not from ``seed``.
    imglist : list, optional
        Rows of (label, ..., path) or (labels, path).
    data_name, label_name : str
        Names of the network's inputs.
    dtype : str
        Type of the labels: float32, int32, int64 or float64.
    last_batch_handle : str
        What happens to images that do not fill an epoch's last batch: ``pad`` fills it with the epoch's first images,
        ``discard`` leaves them out, ``roll_over`` puts them at the beginning of the next epoch. As in MXNet, ``pad`` of
        the batch that they begin counts the rows behind them.
    resize, rand_crop, rand_resize, rand_mirror, mean, std, brightness, contrast, saturation, hue, pca_noise, rand_gray
        See mx.image.CreateAugmenter.
    inter_method : int
        How images are resized: 0 nearest, 1 linear, 2 cubic, 3 area, 4 Lanczos, 9 by area to shrink and cubic to
        enlarge, 10 one of the first five, drawn for each image.
    seed, threads, prefetch, bad_images, max_bad_share, cache_bytes, limits
        See ``Batches``.

    Raises
    ------
    MxmlError
        For arguments that are wrong, and for lists and record files that cannot be used.
    """

    def __init__(
        self,
        batch_size: int,
        data_shape: Sequence[int],
        label_width: int | None = None,
        path_imgrec: str | os.PathLike[str] | None = None,
        path_imglist: str | os.PathLike[str] | None = None,
        path_root: str | os.PathLike[str] | None = None,
        path_imgidx: str | os.PathLike[str] | None = None,
        shuffle: bool = False,
        part_index: int = 0,
        num_parts: int = 1,
        aug_list: Sequence[Callable[[NDArray], NDArray]] | None = None,
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
        require("dtype", dtype, dtype in _LABEL_TYPES, ", ".join(_LABEL_TYPES))
        require("last_batch_handle", last_batch_handle, last_batch_handle in LAST_BATCHES, ", ".join(LAST_BATCHES))
        require("data_shape", tuple(data_shape), len(data_shape) == 3 and data_shape[0] == 3, "3,height,width")
        loading = Loading(threads, prefetch, bad_images, max_bad_share)
        self.data_shape = (3, data_shape[1], data_shape[2])
        self._records = None if path_imgrec is None else RecordImages(path_imgrec, path_imgidx)
        try:
            source, self._table = self._images(path_imglist, path_root, imglist, label_width, path_imgidx is not None)
            self.label_width = self._table.shape[1]
            if label_width not in (None, self.label_width):
                raise SettingError("label_width", label_width, f"{self.label_width}, as many labels as the images have")
            self._label_shape = (batch_size, self.label_width) if self.label_width > 1 else (batch_size,)
            limits, cache = limits or Limits(), ImageCache(cache_bytes)
            if aug_list is not None:
                loader: RowLoader = AugmenterLoader(source, aug_list, limits, cache)
            else:
                colours = (brightness, contrast, saturation, hue, pca_noise, rand_gray)
                transform = row_transform(
                    _preprocess(self.data_shape, resize, mean, std),
                    _augment(rand_crop, rand_resize, rand_mirror, *colours),
                    inter_method,
                )
                loader = TransformLoader(source, transform, limits, cache)
            sampler = Sampler(
                len(source),
                batch_size,
                shuffle=shuffle,
                seed=seed,
                part_index=part_index,
                num_parts=num_parts,
                last_batch=last_batch_handle,
            )
            super().__init__(
                len(source),
                loader,
                sampler,
                mx.io.DataDesc(data_name, (batch_size, *self.data_shape), np.float32),
                [mx.io.DataDesc(label_name, self._label_shape, np.dtype(dtype).type)],
                loading,
            )
        except BaseException:
            if self._records is not None:
                self._records.close()
            raise

    def hard_reset(self) -> None:
        """Go back to the beginning of the first epoch, whatever was rolled over."""
        self.set_epoch(0)

    def close(self) -> None:
        """End the threads; the iterator cannot be used afterwards, batches that it returned can."""
        super().close()
        if self._records is not None:
            self._records.close()

    def _images(
        self,
        path_imglist: str | os.PathLike[str] | None,
        path_root: str | os.PathLike[str] | None,
        imglist: list[Any] | None,
        label_width: int | None,
        keyed: bool,
    ) -> tuple[ImageSource, np.ndarray]:
        """Return where the images come from, and their labels (N, C)."""
        if self._records is not None:
            # As in MXNet, records are found in a list by the keys of the index file, and without one are not.
            if path_imglist is None or not keyed:
                return self._records, self._records.labels
            listed = read_lst(path_imglist, "", label_width, any_values=True)
            return self._records, _labels_by_key(listed, self._records.keys, path_imglist)
        if (path_imglist is None) == (imglist is None):
            raise MxmlError("give the images by one of `path_imgrec`, `path_imglist` and `imglist`")
        root = os.fspath(path_root) if path_root is not None else ""
        if path_imglist is not None:
            images = read_lst(path_imglist, root, label_width, any_values=True)
        else:
            assert imglist is not None
            if not imglist:
                raise ListError("`imglist` holds no images")
            images = ImageList.from_rows([row[-1] for row in imglist], list(_label_rows(imglist)), root)
        return ImageFiles(images), images.labels

    def _labels(self, rows: BatchRows, faults: dict[int, ImageError], shown: np.ndarray) -> list[np.ndarray]:
        labels = self._table[rows.positions[shown]].astype(self.provide_label[0].dtype)
        return [labels.reshape(self._label_shape)]

    def _pad(self, rows: BatchRows) -> int:
        carried = int((rows.epochs < rows.epochs[-1]).sum())
        return self.batch_size - carried if carried else rows.pad


def _labels_by_key(listed: ImageList, keys: np.ndarray, path: str | os.PathLike[str]) -> np.ndarray:
    position = {key: row for row, key in enumerate(listed.index.tolist())}
    missing = [key for key in keys.tolist() if key not in position]
    if missing:
        raise ListError(f"{os.fspath(path)}: has no line with the index {missing[0]}, which a record has as its key")
    return listed.labels[[position[key] for key in keys.tolist()]]


def _label_rows(rows: Sequence[Sequence[Any]]) -> Iterator[np.ndarray]:
    """Give the labels of rows that are (label, ..., path) or (labels, path)."""
    width = None
    for number, row in enumerate(rows):
        labels = np.atleast_1d(np.asarray(row[:-1] if len(row) > 2 else row[0], np.float32))
        width = width or labels.shape
        if labels.ndim != 1 or labels.shape != width:
            raise ListError(f"imglist row {number} ({row[-1]}) has other labels than the first row")
        yield labels


def _preprocess(data_shape: tuple[int, int, int], resize: int, mean: Any, std: Any) -> Preprocess:
    return Preprocess(
        size=data_shape[1:],
        short_side=resize or None,
        mean=_three(mean, RGB_MEAN, 0.0),
        std=_three(std, RGB_STD, 1.0),
    )


def _three(given: Any, usual: tuple[float, float, float], none: float) -> Any:
    """Turn CreateAugmenter's mean or std (True, None, or an array of one or three) into three numbers."""
    if given is True:
        return usual
    if given is None:
        return (none,) * 3
    values = given.asnumpy() if isinstance(given, mx.nd.NDArray) else np.asarray(given)
    return tuple(float(value) for value in values.ravel()) * (3 if values.size == 1 else 1)


def _augment(rand_crop: bool, rand_resize: bool, rand_mirror: bool, *colours: float) -> Augment:
    if rand_resize and not rand_crop:
        raise MxmlError("`rand_resize` needs `rand_crop`")
    smallest = 0.08 if rand_resize else None  # CreateAugmenter's
    brightness, contrast, saturation, hue, pca_noise, rand_gray = colours
    return Augment(
        bool(rand_crop), smallest, bool(rand_mirror), brightness, contrast, saturation, hue, pca_noise, rand_gray
    )
