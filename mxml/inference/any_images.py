"""Images to look at whatever is known of them: a list with any labels or none that fit, a folder, or a text file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from mxml.data.formats.file_tree import IMAGE_SUFFIXES, look_for_images
from mxml.data.image_list import ImageList
from mxml.data.list_root import image_root, under_found_root
from mxml.data.lst_file import read_lst
from mxml.data.record_list import RecordList, is_record_file
from mxml.errors import ListError
from mxml.inference.input_names import path_lines
from mxml.progress import Progress

_UNKNOWN = -1


def read_any_images(
    data: str | os.PathLike[str],
    root: str | os.PathLike[str] | None,
    num_classes: int,
    progress: Progress,
    *,
    allow_absolute: bool = False,
) -> ImageList | RecordList:
    """Return the images of a ``.lst``, ``.rec`` or ``.txt`` file or a folder, with ``num_classes`` labels each.

    Labels that are not as many, or other than 0, 1 and -1, and those of images that come without, are all unknown (-1).
    ``root`` is the folder that the paths of a list or text file are under. Notes say where a list's images were found,
    and that its labels are not the model's. Raises ListError for a file that is wrong, or names no image.
    """
    path = os.fspath(data)
    if os.path.isdir(path):
        names = look_for_images(Path(path), progress).names
        return _unlabelled(path, names, path, num_classes, f"files that end in {', '.join(IMAGE_SUFFIXES)}")
    if path.lower().endswith(".txt"):
        names = list(path_lines(path))
        return _unlabelled(path, names, os.fspath(root or ""), num_classes, "one path on each line")
    if is_record_file(path):
        images: ImageList | RecordList = RecordList(path, any_values=True)
    else:
        images = read_lst(path, image_root(path, root), allow_absolute=allow_absolute, any_values=True)
        images, note = under_found_root(images, path, root)
        if note:
            progress.note(note)
    return _with_labels_of(images, path, num_classes, progress)


def _unlabelled(path: str, names: list[str], root: str, num_classes: int, wanted: str) -> ImageList:
    if not names:
        raise ListError(f"{path}: names no image, should hold {wanted}")
    return ImageList.from_rows(names, np.full((len(names), num_classes), _UNKNOWN, np.int8), root)


def _with_labels_of(
    images: ImageList | RecordList, path: str, num_classes: int, progress: Progress
) -> ImageList | RecordList:
    labels = images.labels
    if labels.shape[1] == num_classes and np.isin(labels, (0, 1, _UNKNOWN)).all():
        known = labels.astype(np.int8)
    else:
        progress.note(f"{path}: its labels are not those of the model, so they are not looked at")
        known = np.full((len(labels), num_classes), _UNKNOWN, np.int8)
    return images.with_labels(known)
