"""Labels in a PASCAL VOC tree: an image has the names of the objects in its annotation."""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from mxml.data.formats.file_tree import file_fault, find_images, relative_to
from mxml.data.formats.options import FormatOptions
from mxml.data.formats.rows import Rows, labels_beside
from mxml.data.image_list import format_label_names, label_name_faults, path_fault
from mxml.data.labelled_images import LabelledImages
from mxml.errors import SHOWN_FAULTS, ListError
from mxml.text import quoted
from mxml.text_lines import read_lines

NAME = "voc"
TITLE = "PASCAL VOC tree"
SUFFIXES: tuple[str, ...] = ()

MAX_XML_BYTES = 4 << 20
"""Largest annotation that is read."""

_SETS = Path("ImageSets", "Main")
_ANNOTATIONS = "Annotations"
_IMAGES = "JPEGImages"
_TRAINVAL = "trainval"
_CLASS_LINES_SEEN = 100
_DIFFICULT = {"1": True, "true": True, "": False, "0": False, "false": False, "unspecified": False}
_CLASS_CODES = {1: "  1", 0: " -1", -1: "  0"}
_OUTSIDE_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MAX_ID_BYTES = 1000
_MAX_FILE_NAME_BYTES = 255


def recognises(path: Path) -> bool:
    """Say whether ``path`` is a folder with ImageSets/Main, or a .txt file in such a folder."""
    if path.is_dir():
        return (path / _SETS).is_dir()
    return path.suffix.lower() == ".txt" and _is_in_sets(path)


def default_root(path: Path) -> Path:
    """Return the tree's JPEGImages, or ``images`` where it has none."""
    folder = _tree(path) / _IMAGES
    return folder if folder.is_dir() else Path("images")


def read(path: Path, root: Path, options: FormatOptions) -> LabelledImages:
    """Read the images of a tree, or of one of its sets, with the labels that their annotations say.

    A tree is read by its trainval.txt, or else by all of its sets. Without Annotations the labels are what the files
    CLASS_SET.txt say. ``options.difficult`` decides on labels whose only objects are difficult. Raises one ListError
    with every fault.
    """
    tree, sets, notes = _sets_to_read(path)
    ids: dict[str, str] = {}
    for file in sets:
        for line, text in enumerate(read_lines(file), 1):
            if text.strip():
                ids.setdefault(text.strip(), f"{file}:{line}")
    beside = labels_beside(tree) if options.classes is None else None
    fixed_by, fixed = beside or (None, None)
    by_class = None
    if not (tree / _ANNOTATIONS).is_dir():
        by_class = _read_class_files(sets)
        fixed = fixed or tuple(sorted(by_class.labels))
    rows = Rows(path, fixed, fixed_by, options.allow_absolute)
    images = _Images(tree, root)
    difficult = 0
    for own, place in ids.items():
        try:
            if path_fault(own):
                raise ListError(f"{place}: {path_fault(own)}")
            annotation = by_class.annotation(own) if by_class else _read_annotation(tree, own, place)
            name = images.name(own, annotation.filename, place)
        except ListError as error:
            rows.refuse(error)
            continue
        only_difficult = [label for label, is_difficult in annotation.labels.items() if is_difficult]
        difficult += len(only_difficult)
        shown = [label for label, is_difficult in annotation.labels.items() if not is_difficult]
        if options.difficult == "present":
            shown += only_difficult
        rows.add(place, name, shown, only_difficult if options.difficult == "unknown" else ())
    if difficult:
        objects = "1 label has only objects" if difficult == 1 else f"{difficult:,} labels of images have only objects"
        notes.append(f"{path}: {objects} that are difficult, taken as {options.difficult}")
    return rows.finish(root, notes)


def write(labelled: LabelledImages, target: Path, options: FormatOptions) -> None:
    """Write a tree without images: an object for each label present, a difficult one for each that is unknown.

    Annotations are called after the image where that makes a file name of its own, else by the image's number. Raises
    ListError for names that XML cannot hold.
    """
    names, labels = labelled.images.names(), labelled.images.labels
    label_file = format_label_names(labelled.label_names)
    faults = [
        f"{what} {quoted(name)} holds a control character, which XML cannot hold; csv, jsonl and coco can"
        for what, texts in (("the path", names), ("the label", labelled.label_names))
        for name in texts
        if not in_xml(name)
    ]
    if faults:
        raise ListError(faults[:SHOWN_FAULTS], len(faults))
    ids = _ids(names)
    sets = target / _SETS
    sets.mkdir(parents=True)
    (target / "labels.txt").write_bytes(label_file)
    (sets / f"{_TRAINVAL}.txt").write_text("".join(f"{own}\n" for own in ids), encoding="utf-8")
    for column, label in enumerate(labelled.label_names):
        file_name = f"{label}_{_TRAINVAL}.txt"
        if "/" in file_name or len(file_name.encode()) > _MAX_FILE_NAME_BYTES:
            continue  # the annotations say it all
        lines = (f"{own}{_CLASS_CODES[value]}\n" for own, value in zip(ids, labels[:, column].tolist()))
        (sets / file_name).write_text("".join(lines), encoding="utf-8")
    folders = {target / _ANNOTATIONS}
    (target / _ANNOTATIONS).mkdir()
    for i, (own, name) in enumerate(zip(ids, names)):
        file = target / _ANNOTATIONS / f"{own}.xml"
        if file.parent not in folders:
            file.parent.mkdir(parents=True, exist_ok=True)
            folders.add(file.parent)
        file.write_text(_format_annotation(name, labels[i], labelled.label_names), encoding="utf-8")


def in_xml(text: str) -> bool:
    """Say whether XML 1.0 can hold a text: it has no place for most control characters."""
    return not _OUTSIDE_XML.search(text)


# ---- sets


def _is_in_sets(path: Path) -> bool:
    return path.absolute().parts[-3:-1] == _SETS.parts


def _tree(path: Path) -> Path:
    if path.is_dir():
        return path
    return path.parents[2] if len(path.parents) > 2 else path.absolute().parents[2]


def _sets_to_read(path: Path) -> tuple[Path, list[Path], list[str]]:
    """Return the tree, the files of the sets to read, and a note on which they are."""
    if not path.is_dir() and not _is_in_sets(path):
        raise ListError(f"{path}: should be a VOC tree, or a file in its {_SETS}")
    tree = _tree(path)
    if not path.is_dir():
        if _is_class_file(path, {file.stem for file in path.parent.glob("*.txt")}):
            raise ListError(f"{path}: is what one label has in a set, should be the set, such as {_TRAINVAL}.txt")
        return tree, [path], []
    folder = tree / _SETS
    files = sorted(file for file in folder.glob("*.txt") if file.is_file())
    stems = {file.stem for file in files}
    sets = [file for file in files if not _is_class_file(file, stems)]
    if not sets:
        raise ListError(f"{folder}: holds no set of images, should hold {_TRAINVAL}.txt, or train.txt and the like")
    chosen = [file for file in sets if file.stem == _TRAINVAL] or sets
    others = [file.name for file in sets if file not in chosen]
    note = f"{path}: read {', '.join(file.name for file in chosen)}"
    return tree, chosen, [f"{note}, not {', '.join(others)}" if others else note]


def _is_class_file(file: Path, sets: Container[str]) -> bool:
    """Say whether a file is called CLASS_SET.txt after one of the sets, and holds a 1, 0 or -1 for images."""
    if not _labels_in_name(file, sets):
        return False
    lines = [line for line in islice(read_lines(file), _CLASS_LINES_SEEN) if line.strip()]
    return not lines or any(map(_class_line, lines))


def _labels_in_name(file: Path, sets: Container[str]) -> list[str]:
    """Return each CLASS for which a file is called CLASS_SET.txt after one of the sets."""
    stem = file.stem
    return [stem[:i].strip() for i, sign in enumerate(stem) if sign == "_" and stem[i + 1 :] in sets]


def _class_line(text: str) -> tuple[str, str] | None:
    """Return the id, which may hold blanks, and the 1, 0 or -1 of a line; None where it has another form."""
    fields = text.strip().rsplit(None, 1)
    return (fields[0], fields[1]) if len(fields) == 2 and fields[1] in ("1", "0", "-1") else None


# ---- what an image shows


@dataclass(frozen=True)
class _Annotation:
    """What is known of an image: its file, and whether all objects of a label are difficult, label by label."""

    filename: str
    labels: dict[str, bool]


@dataclass(frozen=True)
class _ClassFiles:
    """What the files CLASS_SET.txt say: the labels, and 1, 0 or -1 of images, label by label."""

    labels: dict[str, dict[str, str]]
    folder: Path

    def annotation(self, own: str) -> _Annotation:
        """Return what an image shows; raise ListError where a file does not name it."""
        codes = {label: images.get(own) for label, images in self.labels.items()}
        absent = [label for label, code in codes.items() if code is None]
        if absent:
            raise ListError(f"{self.folder}: the file of the label {quoted(absent[0])} does not name {quoted(own)}")
        return _Annotation("", {label: code == "0" for label, code in codes.items() if code != "-1"})


def _read_class_files(sets: Sequence[Path]) -> _ClassFiles:
    folder = sets[0].parent
    stems = {file.stem for file in sets}
    labels: dict[str, dict[str, str]] = {}
    faults = []
    for file in sorted(folder.glob("*.txt")):
        if not _is_class_file(file, stems):
            continue
        for label in _labels_in_name(file, stems):
            codes = labels.setdefault(label, {})
            for line, text in enumerate(read_lines(file), 1):
                fields = _class_line(text)
                if fields:
                    own, code = fields
                    if codes.setdefault(own, code) != code:
                        faults.append(f"{file}:{line}: {quoted(own)} is {code}, was {codes[own]}")
                elif text.strip():
                    faults.append(f"{file}:{line}: is {quoted(text)}, should be an image's id and 1, -1 or 0")
    faults += [f"{folder}: {fault}" for _, fault in label_name_faults(list(labels))]
    if not labels:
        faults = [f"{folder.parents[1]}: has no {_ANNOTATIONS}, and no files such as {_SETS / 'cat'}_{sets[0].name}"]
    if faults:
        raise ListError(faults[:SHOWN_FAULTS], len(faults))
    return _ClassFiles(labels, folder)


def _read_annotation(tree: Path, own: str, place: str) -> _Annotation:
    from xml.etree.ElementTree import ParseError

    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    path = tree / _ANNOTATIONS / f"{own}.xml"
    # A pipe would be waited for.
    if os.path.exists(path) and not os.path.isfile(path):
        raise ListError(f"{path}: is no regular file, should be one image's annotation")
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_XML_BYTES + 1)
    except FileNotFoundError:
        raise ListError(f"{place}: names {quoted(own)}, but {path} is not there") from None
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

    def name(self, own: str, filename: str, place: str) -> str:
        """Return the image of an id: its file, or else what the annotation says; raise ListError for none or many."""
        files = self._by_id.get(own, [])
        if len(files) > 1 and filename not in files:
            raise ListError(f"{place}: {self._folder} has {' and '.join(map(quoted, files))}, should have one of them")
        if not files and not filename:
            raise ListError(f"{place}: no image {quoted(own)} is in {self._folder}, and no annotation names its file")
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
        own = stem
        if own not in taken:
            own = f"{number:06d}"
            while own in taken:
                own += "_"
        ids.append(own)
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
