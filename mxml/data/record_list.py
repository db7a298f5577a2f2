"""A ``.rec`` in the place of a list: its records' labels, and its records as the images."""

from __future__ import annotations

import copy
import os

import numpy as np

from mxml.data.image_list import ImageList
from mxml.data.image_sources import ImageFiles, ImageSource
from mxml.data.list_root import image_root, under_found_root
from mxml.data.lst_file import read_lst
from mxml.data.record_images import RecordImages
from mxml.errors import SHOWN_FAULTS, Faults, ListError
from mxml.images.decode import Limits
from mxml.text import counted

REC_SUFFIX = ".rec"
_UNKNOWN = -1


def is_record_file(path: str | os.PathLike[str]) -> bool:
    """Say whether a path names a RecordIO file, by its suffix."""
    return os.fspath(path).lower().endswith(REC_SUFFIX)


class RecordList:
    """The images and labels of a RecordIO file, used where an ImageList would be; a source for ``Batches``, too.

    NAME.idx beside NAME.rec says which records, and in what order; without it all are taken. A record that is damaged
    counts as an image that cannot be read, with unknown labels. ``labels`` is (N, C) int8. ``digest`` is the SHA-256
    sum of what a list would hold: which records there are, where, and their labels. As with a list, the images' content
    is not part of it, so that it costs no reading of them.

    Raises ListError for a file that cannot be read, records with other numbers of labels, and labels other than
    1, 0 and -1, unless ``any_values``, which takes any as float32.
    """

    def __init__(self, path: str | os.PathLike[str], num_classes: int | None = None, *, any_values: bool = False):
        self._images = RecordImages(path, index_beside(path), keep_damaged=True)
        try:
            self.labels = self._images.labels if any_values else self._checked_labels(os.fspath(path), num_classes)
        except BaseException:
            self.close()
            raise
        self.labels.flags.writeable = False

    def __len__(self) -> int:
        return len(self._images)

    @property
    def num_classes(self) -> int:
        """Return the number of labels per image, C."""
        return self.labels.shape[1]

    def with_labels(self, labels: np.ndarray) -> RecordList:
        """Return the images with other labels, (N, C) int8; both are closed together."""
        changed = copy.copy(self)
        changed.labels = labels
        changed.labels.flags.writeable = False
        return changed

    @property
    def damaged(self) -> dict[int, str]:
        """Return what is wrong with the records that are damaged, by position."""
        return self._images.damaged

    @property
    def record_numbers(self) -> np.ndarray:
        """Return (N,) int64: which records of the file, counted from 1, the images are."""
        return self._images.record_numbers

    @property
    def digest(self) -> str:
        """Return the SHA-256 sum of the records' places, keys and labels."""
        return self._images.digest

    def path(self, position: int) -> str:
        """Return what messages call the image: the file, the record's number and its first byte."""
        return self._images.name(position)

    name = path

    def read(self, position: int, limits: Limits) -> bytes:
        """Return the image file in a record. Raises ImageError for a damaged record."""
        return self._images.read(position, limits)

    def close(self) -> None:
        """Close the file; its images cannot be read afterwards."""
        self._images.close()

    def _checked_labels(self, path: str, num_classes: int | None) -> np.ndarray:
        labels = self._images.labels
        if num_classes not in (None, labels.shape[1]):
            raise ListError(f"{path}: its records have {counted(labels.shape[1], 'label')}, should have {num_classes}")
        good = ((labels == 0) | (labels == 1) | (labels == _UNKNOWN)).all(axis=1)
        if not good.all():
            faults = Faults()
            wrong = np.flatnonzero(~good)
            for position in wrong[:SHOWN_FAULTS].tolist():
                row = labels[position]
                column = int(np.flatnonzero((row != 0) & (row != 1) & (row != _UNKNOWN))[0])
                faults.add(
                    f"{self.path(position)}: label {column + 1} is {row[column]:g}, should be 0, 1 or -1 (unknown)"
                )
            raise ListError(faults.messages, len(wrong))
        return labels.astype(np.int8)


def read_images(
    path: str | os.PathLike[str],
    root: str | os.PathLike[str] | None,
    num_classes: int | None = None,
    *,
    allow_absolute: bool = False,
    setting: str = "root",
) -> tuple[ImageList | RecordList, str | None]:
    """Read a list as ``read_lst`` does, or a RecordIO file, which needs no ``root``.

    The root is found as ``image_root`` and ``under_found_root`` say; returns the images, and what the latter says.
    """
    if is_record_file(path):
        return RecordList(path, num_classes), None
    images = read_lst(path, image_root(path, root, setting), num_classes, allow_absolute=allow_absolute)
    return under_found_root(images, path, root)


def image_source(images: ImageList | RecordList) -> ImageSource:
    """Return where the images of a list come from."""
    return ImageFiles(images) if isinstance(images, ImageList) else images


def index_beside(path: str | os.PathLike[str]) -> str | None:
    """Return the NAME.idx beside NAME.rec, None where there is none."""
    file = os.path.splitext(os.fspath(path))[0] + ".idx"
    return file if os.path.exists(file) else None
