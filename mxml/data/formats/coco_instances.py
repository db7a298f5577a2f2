"""Labels in COCO instances JSON: an image has the categories of its annotations."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mxml.data.formats.json_stream import is_whole_number, kind_of, outline, read_objects
from mxml.data.formats.options import FormatOptions
from mxml.data.formats.rows import Rows
from mxml.data.label_names import label_name_faults
from mxml.data.labelled_images import LabelledImages
from mxml.errors import Faults

NAME = "coco"
TITLE = "COCO instances JSON"
SUFFIXES: tuple[str, ...] = (".json",)

_LISTS = {
    "images": ("id", "file_name", "unknown_category_ids"),
    "annotations": ("id", "image_id", "category_id"),
    "categories": ("id", "name"),
}


def recognises(path: Path) -> bool:
    """Say whether ``path`` is a JSON file that begins with objects called images, annotations or categories."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    members = outline(path)
    return any(members.get(name) == ("start_array", "start_map") for name in _LISTS)


def read(path: Path, root: Path, options: FormatOptions) -> LabelledImages:
    """Read the categories of each image, in the order in which the file lists them.

    A crowd counts like a single object, and a category among an image's ``unknown_category_ids`` is unknown there. The
    file is read once, as a stream, its lists in any order; an annotation takes 24 bytes of memory. Raises one ListError
    with every fault, named by the ids of what is wrong.
    """
    instances = _Instances(path)
    for kind, number, entry in read_objects(path, _LISTS):
        instances.take(kind, number, entry)
    return instances.labelled(root, options)


def write(labelled: LabelledImages, target: Path, options: FormatOptions) -> None:
    """Write images and categories numbered from 1, and an annotation without a box for each label present."""
    labels = labelled.images.labels
    with open(target, "w", encoding="utf-8") as file:
        file.write('{"images": [')
        _write_items(file, (_image(i, name, labels[i]) for i, name in enumerate(labelled.images.names())))
        file.write('],\n"annotations": [')
        _write_items(file, _annotations(labels))
        file.write('],\n"categories": [')
        _write_items(file, ({"id": i, "name": name} for i, name in enumerate(labelled.label_names, 1)))
        file.write("]}\n")


def _write_items(file: Any, items: Iterator[dict[str, Any]]) -> None:
    for position, item in enumerate(items):
        file.write(("," if position else "") + "\n" + json.dumps(item, ensure_ascii=False))
    file.write("\n")


def _image(position: int, name: str, row: np.ndarray) -> dict[str, Any]:
    unknown = (np.flatnonzero(row == -1) + 1).tolist()
    return {"id": position + 1, "file_name": name, **({"unknown_category_ids": unknown} if unknown else {})}


def _annotations(labels: np.ndarray) -> Iterator[dict[str, Any]]:
    number = 0
    for position, row in enumerate(labels, 1):
        for column in np.flatnonzero(row == 1).tolist():
            number += 1
            yield {"id": number, "image_id": position, "category_id": column + 1, "iscrowd": 0}


class _Instances:
    """What is kept of a file while it is read, column by column, and the labels that it comes to."""

    def __init__(self, path: Path):
        self._path = path
        self._faults = Faults()
        self._image_ids = array("q")
        self._names: list[str] = []
        self._category_ids = array("q")
        self._label_names: list[str] = []
        # Images, categories, and what names the annotation in a fault: its id, or its number where it has none.
        self._present = (array("q"), array("q"), array("q"))
        self._unknown = (array("q"), array("q"))

    def take(self, kind: str, number: int, entry: dict[str, Any]) -> None:
        """Take the ``number``-th object of one of the three lists."""
        object_id: Any = entry.get("id", number if kind == "annotations" else None)
        if not is_whole_number(object_id):
            self._fault(f"{kind}: item {number:,}: {_wrong(entry, 'id', 'a whole number')}")
        elif kind == "images":
            self._take_image(object_id, entry)
        elif kind == "annotations":
            self._take_annotation(object_id, entry)
        elif not isinstance(entry.get("name"), str):
            self._fault(f"category {object_id}: {_wrong(entry, 'name', 'a text')}")
        else:
            self._category_ids.append(object_id)
            self._label_names.append(entry["name"])

    def _take_image(self, object_id: int, entry: dict[str, Any]) -> None:
        unknown = entry.get("unknown_category_ids", [])
        if not isinstance(entry.get("file_name"), str):
            self._fault(f"image {object_id}: {_wrong(entry, 'file_name', 'a text')}")
        elif not isinstance(unknown, list) or not all(map(is_whole_number, unknown)):
            self._fault(f'image {object_id}: "unknown_category_ids" should be a list of category ids')
        else:
            self._image_ids.append(object_id)
            self._names.append(entry["file_name"])
            self._unknown[0].extend([object_id] * len(unknown))
            self._unknown[1].extend(unknown)

    def _take_annotation(self, object_id: int, entry: dict[str, Any]) -> None:
        for key in ("image_id", "category_id"):
            if not is_whole_number(entry.get(key)):
                self._fault(f"annotation {object_id}: {_wrong(entry, key, 'a whole number')}")
                return
        for column, value in zip(self._present, (entry["image_id"], entry["category_id"], object_id)):
            column.append(value)

    def _fault(self, fault: str) -> None:
        self._faults.add(f"{self._path}: {fault}")

    def labelled(self, root: Path, options: FormatOptions) -> LabelledImages:
        """Return the labels of each image; raise ListError for faults in the objects and in what they refer to."""
        for position, fault in label_name_faults(self._label_names):
            self._fault(f"category {self._category_ids[position - 1]}: {fault}")
        for kind, ids in (("category", self._category_ids), ("image", self._image_ids)):
            values, times = np.unique(_column(ids), return_counts=True)
            for object_id in values[times > 1].tolist():
                self._fault(f"{kind} {object_id}: appears more than once, ids should be unique")
        annotations = self._present[2]
        present = self._cells(*self._present[:2], lambda i: f"annotation {annotations[i]}")
        unknown = self._cells(*self._unknown, lambda i: f"image {self._unknown[0][i]}")
        self._faults.raise_any()
        rows = Rows(self._path, fixed=self._label_names, allow_absolute=options.allow_absolute)
        for object_id, name, shows, masked in zip(self._image_ids, self._names, present, unknown):
            rows.add(f"{self._path}: image {object_id}", name, shows, masked)
        return rows.finish(root)

    def _cells(self, images: array[int], categories: array[int], location: Callable[[int], str]) -> Iterator[list[str]]:
        """Note references to nothing as faults; return what yields the label names of each image."""
        rows, columns = _positions(images, self._image_ids), _positions(categories, self._category_ids)
        for i in np.flatnonzero((rows < 0) | (columns < 0)).tolist():
            absent = f"image {images[i]}" if rows[i] < 0 else f"category {categories[i]}"
            self._fault(f"{location(i)}: refers to {absent}, which does not exist")
        return self._names_by_image(rows, columns)

    def _names_by_image(self, rows: np.ndarray, columns: np.ndarray) -> Iterator[list[str]]:
        width = max(1, len(self._label_names))
        cells = np.unique(rows * width + columns)
        ends = np.searchsorted(cells, np.arange(len(self._names) + 1) * width).tolist()
        for start, end in zip(ends, ends[1:]):
            yield [self._label_names[column] for column in (cells[start:end] % width).tolist()]


def _positions(wanted: array[int], ids: array[int]) -> np.ndarray:
    """Return where in ``ids`` each of ``wanted`` is, -1 for nowhere."""
    known, order = np.unique(_column(ids), return_index=True)
    if not len(known):
        return np.full(len(wanted), -1)
    values = _column(wanted)
    found = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.where(known[found] == values, order[found], -1)


def _column(numbers: array[int]) -> np.ndarray:
    return np.array(numbers, np.int64)


def _wrong(entry: dict[str, Any], key: str, expected: str) -> str:
    return f'"{key}" is {kind_of(entry[key])}, should be {expected}' if key in entry else f'has no "{key}"'
