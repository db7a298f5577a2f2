"""Labels in a PASCAL VOC tree: an image has the names of the objects in its annotation."""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from mxml.data.formats.file_tree import file_fault, find_images, relative_to
from mxml.data.formats.options import DEFAULT_ROOT, OTHER_FORMATS, FormatOptions
from mxml.data.formats.rows import Rows
from mxml.data.formats.voc_sets import (
    ANNOTATIONS,
    SETS,
    TRAINVAL,
    is_in_sets,
    read_class_files,
    sets_to_read,
    tree_of,
)
from mxml.data.image_list import path_fault
from mxml.data.label_names import LABEL_NAMES_FILE, format_label_names, names_beside
from mxml.data.labelled_images import LabelledImages
from mxml.errors import Faults, ListError
from mxml.text import counted, quoted
from mxml.text_lines import read_lines

NAME = "voc"
TITLE = "PASCAL VOC tree"
SUFFIXES: tuple[str, ...] = ()

MAX_XML_BYTES = 4 << 20
"""Largest annotation that is read."""

_IMAGES = "JPEGImages"
_DIFFICULT = {"1": True, "true": True, "": False, "0": False, "false": False, "unspecified": False}
_CLASS_CODES = {1: "  1", 0: " -1", -1: "  0"}
_OUTSIDE_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MAX_ID_BYTES = 1000
_MAX_FILE_NAME_BYTES = 255


def recognises(path: Path) -> bool:
    """Say whether ``path`` is a folder with ImageSets/Main, or a .txt file in such a folder."""
    if path.is_dir():
        return (path / SETS).is_dir()
    return path.suffix.lower() == ".txt" and is_in_sets(path)


def default_root(path: Path) -> Path:
    """Return the tree's JPEGImages, or ``images`` where it has none."""
    folder = tree_of(path) / _IMAGES
    return folder if folder.is_dir() else DEFAULT_ROOT


def read(path: Path, root: Path, options: FormatOptions) -> LabelledImages:
    """Read the images of a tree, or of one of its sets, with the labels that their annotations say.

    A tree is read by its trainval.txt, or else by all of its sets. Without Annotations the labels are what the files
    CLASS_SET.txt say. ``options.difficult`` decides on labels whose only objects are difficult. Raises one ListError
    with every fault.
    """
    tree, sets, notes = sets_to_read(path)
    ids: dict[str, str] = {}
    for file in sets:
        for line, text in enumerate(read_lines(file), 1):
            if text.strip():
                ids.setdefault(text.strip(), f"{file}:{line}")
    beside = names_beside(tree) if options.classes is None else None
    fixed_by, fixed = beside or (None, None)
    by_class = None
    if not (tree / ANNOTATIONS).is_dir():
        by_class = read_class_files(sets)
        fixed = fixed or tuple(sorted(by_class.labels))
    rows = Rows(path, fixed, fixed_by, options.allow_absolute)
    images = _Images(tree, root)
    difficult = 0
    for image_id, location in ids.items():
        try:
            if path_fault(image_id):
                raise ListError(f"{location}: {path_fault(image_id)}")
            if by_class:
                annotation = _Annotation("", by_class.shown(image_id))
            else:
                annotation = _read_annotation(tree, image_id, location)
            name = images.name(image_id, annotation.filename, location)
        except ListError as error:
            rows.refuse(error)
            continue
        only_difficult = [label for label, is_difficult in annotation.labels.items() if is_difficult]
        difficult += len(only_difficult)
        shown = [label for label, is_difficult in annotation.labels.items() if not is_difficult]
        if options.difficult == "present":
            shown += only_difficult
        rows.add(location, name, shown, only_difficult if options.difficult == "unknown" else ())
    if difficult:
        labels = counted(difficult, "label of an image", "labels of images")
        notes.append(f"{path}: {labels} with only difficult objects, read as {options.difficult}")
    return rows.finish(root, notes)


def write(labelled: LabelledImages, target: Path, options: FormatOptions) -> None:
    """Write a tree without images: an object for each label present, a difficult one for each that is unknown.

    Annotations are called after the image where that makes a file name of its own, else by the image's number. Raises
    ListError for names that XML cannot hold.
    """
    names, labels = labelled.images.names(), labelled.images.labels
    label_file = format_label_names(labelled.label_names)
    faults = Faults()
    for what, texts in (("the path", names), ("the label", labelled.label_names)):
        for name in texts:
            if not in_xml(name):
                faults.add(f"{what} {quoted(name)} holds a control character, which XML cannot hold{OTHER_FORMATS}")
    faults.raise_any()
    ids = _ids(names)
    sets = target / SETS
    sets.mkdir(parents=True)
    (target / LABEL_NAMES_FILE).write_bytes(label_file)
    (sets / f"{TRAINVAL}.txt").write_text("".join(f"{image_id}\n" for image_id in ids), encoding="utf-8")
    for column, label in enumerate(labelled.label_names):
        file_name = f"{label}_{TRAINVAL}.txt"
        if "/" in file_name or len(file_name.encode()) > _MAX_FILE_NAME_BYTES:
            continue  # the annotations say it all
        lines = (f"{image_id}{_CLASS_CODES[value]}\n" for image_id, value in zip(ids, labels[:, column].tolist()))
        (sets / file_name).write_text("".join(lines), encoding="utf-8")
    folders = {target / ANNOTATIONS}
    (target / ANNOTATIONS).mkdir()
    for i, (image_id, name) in enumerate(zip(ids, names)):
        file = target / ANNOTATIONS / f"{image_id}.xml"
        if file.parent not in folders:
            file.parent.mkdir(parents=True, exist_ok=True)
            folders.add(file.parent)
        file.write_text(_format_annotation(name, labels[i], labelled.label_names), encoding="utf-8")


def in_xml(text: str) -> bool:
    """Say whether XML 1.0 can hold a text: it cannot hold most control characters."""
    return not _OUTSIDE_XML.search(text)


# ---- what an image shows


@dataclass(frozen=True)
class _Annotation:
    """What is known of an image: its file, and whether all objects of a label are difficult, label by label."""

    filename: str
    labels: dict[str, bool]


def _read_annotation(tree: Path, image_id: str, location: str) -> _Annotation:
    from xml.etree.ElementTree import ParseError

    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    path = tree / ANNOTATIONS / f"{image_id}.xml"
    # A pipe would be waited for.
    if os.path.exists(path) and not os.path.isfile(path):
        raise ListError(f"{path}: is not a regular file, should be one image's annotation")
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_XML_BYTES + 1)
    except FileNotFoundError:
        raise ListError(f"{location}: names {quoted(image_id)}, but {path} does not exist") from None
    except OSError as error:
        raise ListError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(content) > MAX_XML_BYTES:
        raise ListError(f"{path}: is larger than {MAX_XML_BYTES:,} bytes, should be one image's annotation")
    try:
        root = fromstring(content, forbid_dtd=True)
    except DefusedXmlException:
        raise ListError(f"{path}: holds a DOCTYPE or entities, should be plain XML") from None
    except ParseError as error:
        reason = str(error).partition(": line ")[0]
        raise ListError(f"{path}:{error.position[0]}: is not XML ({reason})") from None
    except (LookupError, ValueError) as error:
        raise ListError(f"{path}: is not XML that can be read ({error})") from None
    if root.tag != "annotation":
        raise ListError(f"{path}: is <{root.tag[:40]}>, should be <annotation>")
    labels: dict[str, bool] = {}
    for number, found in enumerate(root.iterfind("object"), 1):
        label = (found.findtext("name") or "").strip()
        mark = (found.findtext("difficult") or "").strip()
        if not label:
            raise ListError(f"{path}: object {number} has no <name>")
        if mark.lower() not in _DIFFICULT:
            raise ListError(f"{path}: object {number} has {quoted(mark)} as <difficult>, should be 1 or 0")
        labels[label] = labels.get(label, True) and _DIFFICULT[mark.lower()]
    return _Annotation((root.findtext("filename") or "").strip(), labels)


class _Images:
    """Where the images of a tree are, relative to the root."""

    def __init__(self, tree: Path, root: Path):
        self._folder = tree / _IMAGES
        self._prefix = ""
        self._by_id: dict[str, list[str]] = {}
        if not self._folder.is_dir():
            return
        with contextlib.suppress(ListError):  # images elsewhere, called as those in the tree are
            self._prefix = relative_to(self._folder, root)
        for name in find_images(self._folder):
            self._by_id.setdefault(posixpath.splitext(name)[0], []).append(name)

    def name(self, image_id: str, filename: str, location: str) -> str:
        """Return the image of an id: its file, or else what the annotation says; raise ListError for none or many."""
        files = self._by_id.get(image_id, [])
        if len(files) > 1 and filename not in files:
            raise ListError(
                f"{location}: {self._folder} has {' and '.join(map(quoted, files))}, should have one of them"
            )
        if not files and not filename:
            raise ListError(
                f"{location}: no image {quoted(image_id)} is in {self._folder}, and no annotation names its file"
            )
        return self._prefix + (files[0] if len(files) == 1 else filename)


# ---- writing


def _ids(names: Sequence[str]) -> list[str]:
    """Return what the images' annotations are called: the name without its suffix, or a number."""
    stems = [posixpath.splitext(name)[0] for name in names]
    times: dict[str, int] = {}
    for stem in stems:
        times[stem] = times.get(stem, 0) + 1
    taken = {stem for stem in times if times[stem] == 1 and _can_be_id(stem)}
    ids = []
    for number, stem in enumerate(stems, 1):
        image_id = stem
        if image_id not in taken:
            image_id = f"{number:06d}"
            while image_id in taken:
                image_id += "_"
        ids.append(image_id)
    return ids


def _can_be_id(stem: str) -> bool:
    return (
        stem.isprintable()
        and not path_fault(stem)
        and not file_fault(f"{stem}.xml")
        and ".xml/" not in stem
        and len(stem.encode()) <= _MAX_ID_BYTES
    )


def _format_annotation(name: str, row: np.ndarray, label_names: Sequence[str]) -> str:
    objects = "".join(
        f"\t<object>\n\t\t<name>{escape(label_names[column])}</name>\n"
        f"\t\t<difficult>{int(row[column] == -1)}</difficult>\n\t</object>\n"
        for column in np.flatnonzero(row).tolist()
    )
    return f"<annotation>\n\t<filename>{escape(name)}</filename>\n{objects}</annotation>\n"
