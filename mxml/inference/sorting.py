"""Photographs sorted into folders by their predicted labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from mxml import atomic
from mxml.data.record_list import REC_SUFFIX
from mxml.errors import SettingError
from mxml.images.choices import VIDEO_SUFFIXES
from mxml.inference.input_names import STDIN, is_camera
from mxml.inference.label_folders import NO_LABEL, UNLIKE, folder_names
from mxml.inference.placing import ACTIONS, place, same_content
from mxml.inference.prediction import Prediction
from mxml.inference.sorting_record import Placement, SortingRecord
from mxml.inference.url import is_url, without_credentials

_MOST_NAME_BYTES = 255
_NO_FILES = (*VIDEO_SUFFIXES, REC_SUFFIX)


def require_files(names: Sequence[str]) -> None:
    """Raise SettingError for a name that stands for images without files of their own, which cannot be sorted."""
    for name in names:
        if name == STDIN or is_url(name) or is_camera(name) or name.lower().endswith(_NO_FILES):
            raise SettingError(
                "inputs", without_credentials(name), "image files, or folders, patterns and lists of them"
            )


class Sorted(NamedTuple):
    """Where an image is now.

    Attributes
    ----------
    target : str
        The file, relative to the folder.
    is_new : bool
        False where a file of this name and content was there before; nothing was done then.
    """

    target: str
    is_new: bool


class Sorter:
    """Brings image files into ``folder``/LABEL/NAME, as they are predicted.

    An image with several labels is copied or linked into each label's folder, and moved into that of its best one; one
    without a label goes into ``_none``, and one that the prediction calls unlike the training images into ``_unlike``,
    whatever its labels. No file is ever replaced: where NAME is taken by another image, it becomes
    NAME_2. Every step is in ``sorted.csv``, by which ``undo`` takes it back; what a killed process has begun is
    finished here.

    Parameters
    ----------
    folder : str
        Where the labels' folders are made.
    label_names : sequence of str
        The model's C names.
    action : {"copy", "link", "move"}
        Links are hard links: they take no space, need the same file system, and keep the image when the original goes.
    dry_run : bool, default False
        Only say what would be done.

    Raises
    ------
    SettingError
        If the action is another.
    MxmlError
        If the folder has a record that cannot be read, or another process sorts into it.
    StorageError
        If the folder cannot be made.
    """

    def __init__(self, folder: str, label_names: Sequence[str], action: str = "copy", *, dry_run: bool = False):
        if action not in ACTIONS:
            raise SettingError("action", action, f"one of {', '.join(ACTIONS)}")
        self._folder = folder
        self._folders = folder_names(label_names)
        self._action = action
        self._dry_run = dry_run
        self._record = SortingRecord(folder)
        # In a dry run: which file would be where.
        self._planned: dict[str, str] = {}
        if dry_run:
            self._record.read()
        else:
            atomic.make_folder(folder)
            self._record.lock()
            self._record.repair()

    def is_inside(self, path: str) -> bool:
        """Say whether an image lies in the folder already, so that it is not sorted once more.

        Parameters
        ----------
        path : str
            The image's path.

        Returns
        -------
        bool
        """
        folder = os.path.realpath(self._folder)
        return os.path.realpath(path).startswith(os.path.join(folder, ""))

    def refusal(self, prediction: Prediction) -> str:
        """Return why an image cannot be sorted: what has no file of its own stays where it is.

        Parameters
        ----------
        prediction : Prediction
            The image's.

        Returns
        -------
        str
            Empty where it can.
        """
        if prediction.frame is not None:
            return "is a frame of a video, which has no file of its own"
        if not os.path.isfile(prediction.path):
            return "is no file that could be sorted"
        if self._action == "move" and os.path.islink(prediction.path):
            return "is a symbolic link, which is not moved"
        return ""

    def sort(self, prediction: Prediction) -> tuple[Sorted, ...]:
        """Bring one image to its folders.

        Parameters
        ----------
        prediction : Prediction
            Of a file that ``refusal`` has nothing against, and that could be read.

        Returns
        -------
        tuple of Sorted
            One for each folder, that of the best label first.

        Raises
        ------
        StorageError
            If a file cannot be written.
        """
        folders = [self._folders[label.class_id] for label in prediction.labels] or [NO_LABEL]
        if prediction.unlike:
            folders = [UNLIKE]
        if self._action == "move":
            folders = folders[:1]
        labels = "|".join(label.name for label in prediction.labels)
        return tuple(self._bring(prediction.path, folder, labels) for folder in folders)

    def _bring(self, source: str, folder: str, labels: str) -> Sorted:
        target, is_new = self._place_for(source, folder)
        if is_new and self._dry_run:
            self._planned[target] = source
        elif is_new:
            atomic.make_folder(os.path.join(self._folder, folder))
            self._record.add(Placement(self._action, os.path.abspath(source), target, labels))
            place(self._action, source, os.path.join(self._folder, target))
        return Sorted(target, is_new)

    def _place_for(self, source: str, folder: str) -> tuple[str, bool]:
        """Return a name that is free or holds the same image, and whether it is free."""
        name = os.path.basename(source)
        number = 1
        while True:
            target = os.path.join(folder, name if number == 1 else _numbered(name, number))
            occupant = self._planned.get(target, os.path.join(self._folder, target))
            if not os.path.lexists(occupant):
                return target, True
            if os.path.isfile(occupant) and same_content(source, occupant):
                return target, False
            number += 1


def _numbered(name: str, number: int) -> str:
    """Return ``a_2.jpg`` for ``a.jpg``; a name that would be too long for a file system loses the end of its stem."""
    stem, suffix = os.path.splitext(name)
    ending = f"_{number}{suffix}"
    while len(os.fsencode(stem + ending)) > _MOST_NAME_BYTES and stem:
        stem = stem[:-1]
    return stem + ending
