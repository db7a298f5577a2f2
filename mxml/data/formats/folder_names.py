"""Labels in the names of the folders that the images are in: ``red_dress/1.jpg`` shows red and dress."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mxml.data.formats.file_tree import (
    IMAGE_SUFFIXES,
    blocked_files,
    file_fault,
    look_for_images,
    relative_to,
)
from mxml.data.formats.options import OTHER_FORMATS, FormatOptions
from mxml.data.formats.rows import rows_of_names
from mxml.data.image_list import path_fault
from mxml.data.label_names import LABEL_NAMES_FILE, format_label_names, names_beside
from mxml.data.labelled_images import LabelledImages
from mxml.errors import Faults, ListError
from mxml.progress import SILENT, Progress
from mxml.text import counted, quoted, shown

NAME = "folders"
TITLE = "folders named by their labels"
SUFFIXES: tuple[str, ...] = ()


def recognises(path: Path) -> bool:
    """Say whether ``path`` is a folder; the other formats that are folders are asked before."""
    return path.is_dir()


def default_root(path: Path) -> Path:
    """Return the folder itself."""
    return path


def read(path: Path, root: Path, options: FormatOptions) -> LabelledImages:
    """Read the images in the folders under ``path``; each has the labels in the name of the folder that it is in.

    Labels stand between ``options.split_char``; with ``options.nested`` every folder below ``path`` on the way to an
    image gives labels. A folder whose name is only split characters gives none. Images are sorted by their text.
    Raises one ListError with every fault.
    """
    if not path.is_dir():
        raise ListError(f"{path}: is a file, should be a folder with folders of images named by their labels")
    prefix = relative_to(path, root)
    names, others, _ = look_for_images(path)
    if not names:
        but = f" but {others} files, which are skipped;" if others else ","
        raise ListError(
            f"{path}: holds no images{but} should hold folders of images named by their labels, or labels.csv"
        )
    notes = [f"{path}: {others} files are skipped: images end in {' '.join(IMAGE_SUFFIXES)}"] if others else []
    beside = None if options.classes is not None else names_beside(path)
    if beside is not None:
        _refuse_other_folders(path, names, beside, options)
    rows = rows_of_names(path, options)
    for name in names:
        if "/" in name:
            rows.add(str(path / name), prefix + name, _labels_of(name, options))
    loose = [name for name in names if "/" not in name]
    if loose:
        rows.fault(
            str(path),
            f"holds {counted(len(loose), 'image')} in no labelled folder, such as {quoted(loose[0])}, should be in a "
            "folder such as red_dress; if a table or file has the labels, give that as the source",
        )
    return rows.finish(root, notes)


def write(labelled: LabelledImages, target: Path, options: FormatOptions, progress: Progress = SILENT) -> None:
    """Make the folders under ``target`` and put the images there, as hard links where possible, else as copies.

    The image ``a/b.jpg`` with the labels red and dress goes to ``a/red_dress/b.jpg``, one without labels to
    ``a/_/b.jpg``; an image whose folder says its labels already keeps its name. Raises ListError, before anything is
    made, for unknown labels, for labels and images that folders cannot hold, and for images that do not exist.
    """
    images = labelled.images
    label_file = format_label_names(labelled.label_names)
    faults = Faults()
    name_at: dict[str, str] = {}
    progress.start(len(images), "looking for the images")
    for i, name in enumerate(images.names()):
        progress.advance()
        row = images.labels[i]
        labels = [labelled.label_names[column] for column in np.flatnonzero(row == 1)]
        target_name, fault = _labelled_name(name, labels, options)
        if (row == -1).any():
            fault = f"{quoted(name)} has unknown labels, which a folder's name cannot hold{OTHER_FORMATS}"
        elif not fault and target_name in name_at:
            fault = f"{quoted(name_at[target_name])} and {quoted(name)} would both be {quoted(target_name)}; rename one"
        elif not fault and not os.path.isfile(images.path(i)):
            fault = f"{images.path(i)}: does not exist, should be an image to put into its labels' folder"
        if fault:
            faults.add(fault)
        else:
            name_at[target_name] = name
    for name in blocked_files([*name_at, LABEL_NAMES_FILE]):
        faults.add(f"{quoted(name)} would be a file where other images need a folder{OTHER_FORMATS}")
    faults.raise_any()
    target.mkdir()
    (target / LABEL_NAMES_FILE).write_bytes(label_file)
    progress.start(len(name_at), "putting images into folders")
    for target_name, name in name_at.items():
        progress.advance()
        _link(os.path.join(images.root, name), target / target_name)


def _refuse_other_folders(
    path: Path, names: Sequence[str], fixed: tuple[Path, tuple[str, ...]], options: FormatOptions
) -> None:
    """Raise ListError where no folder is named by any of the fixed labels: the folders' names are then no labels."""
    file, known = fixed
    labels = dict.fromkeys(label for name in names for label in _labels_of(name, options))
    if labels and not set(labels) & set(known):
        raise ListError(
            f"{path}: nothing says which image has which label: it has no labels.csv, and its folders are named "
            f"{shown(list(labels), 3)}, which {file} does not have; give a table or file of the labels"
        )


def _labels_of(name: str, options: FormatOptions) -> list[str]:
    """Return the labels that the folders of an image say."""
    folders = name.split("/")[:-1]
    parts: list[str] = []
    for folder in folders if options.nested else folders[-1:]:
        parts += folder.split(options.split_char) if options.split_char else [folder]
    return [part.strip() for part in parts if part.strip()]


def _labelled_name(name: str, labels: Sequence[str], options: FormatOptions) -> tuple[str, str | None]:
    """Return where an image with these labels goes, and why it cannot."""
    fault = path_fault(name) or file_fault(name)
    if not fault and not name.lower().endswith(IMAGE_SUFFIXES):
        fault = f"the name {quoted(name)} does not end as an image's does: {', '.join(IMAGE_SUFFIXES)}"
    if fault:
        return name, f"{fault}, so folders cannot hold it{OTHER_FORMATS}"
    if "/" in name and set(_labels_of(name, options)) == set(labels):
        return name, None
    split = options.split_char
    if not split and len(labels) != 1:
        return name, f"{quoted(name)} has {len(labels)} labels, should have 1 where folder names are not split"
    for label in labels:
        held = next((sign for sign in ("/", split) if sign and sign in label), None)
        if held:
            return (
                name,
                f"the label {quoted(label)} of {quoted(name)} holds {held!r}, which separates labels"
                f"{' unless `split_char` is another' if held == split else ''}{OTHER_FORMATS}",
            )
    above, slash, file = name.rpartition("/")
    target_name = f"{above}{slash}{split.join(labels) or split}/{file}"
    fault = path_fault(target_name) or file_fault(target_name)
    if fault:
        return target_name, f"{fault}, so folders cannot hold the labels of {quoted(name)}{OTHER_FORMATS}"
    back = _labels_of(target_name, options)
    if set(back) != set(labels):
        return (
            target_name,
            f"the labels of {quoted(name)} would be read as {shown(back)}, given its folders{OTHER_FORMATS}",
        )
    return target_name, None


def _link(source: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # A link to a link would lead nowhere from its new folder.
    real = os.path.realpath(source)
    try:
        os.link(real, target)
    except FileExistsError:
        raise ListError(f"{target}: appears twice, as this file system ignores case") from None
    except OSError:
        # Another file system, or one without hard links.
        shutil.copyfile(real, target)
