"""Labels in the names of the folders that the images are in: ``red_dress/1.jpg`` shows red and dress."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import numpy as np

from mxml.errors import ListError
from mxml.image_list import ImageList, LabelledImages, label_name_faults, path_fault

NAME = "folder names split on _"

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def recognises(path: Path) -> bool:
    """Say whether ``path`` is a folder."""
    return path.is_dir()


def read(path: Path, root: Path) -> LabelledImages:
    """Read the images in the folders under ``path``; each has the labels in the name of the folder that it is in.

    Label names and images are sorted by their text. Raises one ListError with every fault.
    """
    prefix = _relative(path, root)
    names = [prefix + name for name in find_images(path)]
    if not names:
        raise ListError(f"{path}: holds no images, should hold folders of images (or labels.csv) named by their labels")
    faults = [f"{root}: {fault}" for fault in map(path_fault, names) if fault]
    shows: list[list[str]] = []
    for name in names:
        folder = name[len(prefix) :].rpartition("/")[0].rpartition("/")[2]
        shows.append([label for label in folder.split("_") if label])
        if not shows[-1]:
            faults.append(f"{root / name}: is in no labelled folder, should be in one like red_dress")
    label_names = tuple(sorted({label for labels in shows for label in labels}))
    faults += [f"{path}: {fault}" for _, fault in label_name_faults(label_names)]
    if faults:
        raise ListError(faults)
    column = {label: position for position, label in enumerate(label_names)}
    table = np.zeros((len(names), len(label_names)), np.int8)
    for row, labels in enumerate(shows):
        table[row, [column[label] for label in labels]] = 1
    return LabelledImages(ImageList.from_rows(names, table, root), label_names)


def find_images(folder: Path) -> list[str]:
    """Return the image files under ``folder``, by their suffix, relative to it with ``/`` between, sorted.

    Hidden files and folders are passed over, and links to folders are not followed. Raises ListError for a folder that
    cannot be read.
    """

    def refuse(error: OSError) -> NoReturn:
        raise ListError(f"{error.filename}: cannot be read: {error.strerror}")

    found = []
    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inner = os.path.relpath(place, folder).replace(os.sep, "/") + "/"
        inner = "" if inner == "./" else inner
        found += [inner + name for name in files if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")]
    return sorted(found)


def _relative(path: Path, root: Path) -> str:
    """Return what leads from ``root`` to ``path``, ready to be put before a name."""
    inner = os.path.relpath(path, root).replace(os.sep, "/")
    if inner.split("/")[0] == "..":
        raise ListError(f"{path}: is outside of the image root {root}, should be under it")
    return "" if inner == "." else f"{inner}/"
