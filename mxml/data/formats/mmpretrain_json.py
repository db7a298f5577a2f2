"""Labels in mmpretrain's JSON: the numbers of an image's classes, beside the classes' names."""

from __future__ import annotations

import json
from array import array
from pathlib import Path
from typing import Any

import numpy as np

from mxml.data.formats.json_stream import is_whole_number, kind_of, outline, read_objects
from mxml.data.formats.options import FormatOptions
from mxml.data.formats.rows import Rows
from mxml.data.label_names import label_name_faults
from mxml.data.labelled_images import LabelledImages
from mxml.errors import Faults, ListError

NAME = "mmpretrain"
TITLE = "mmpretrain JSON"
SUFFIXES: tuple[str, ...] = (".json",)

_IMAGE_KEYS = ("img_path", "gt_label", "unknown_label")


def recognises(path: Path) -> bool:
    """Say whether ``path`` is a JSON file that begins with ``metainfo`` or ``data_list``."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    members = outline(path)
    return members.get("data_list") == ("start_array", "start_map") or members.get("metainfo", ())[:1] == ("start_map",)


def read(path: Path, root: Path, options: FormatOptions) -> LabelledImages:
    """Read the classes of each image, in the order of ``metainfo.classes``; ``unknown_label`` lists unknown ones.

    The file is read once, as a stream; ``metainfo`` may follow ``data_list``. Raises one ListError with every fault,
    named by the image's number in ``data_list``, counted from 1.
    """
    classes: Any = None
    # Class numbers as int64: as objects they would take several times the file's size.
    entries: list[tuple[str, bytes, bytes] | str] = []
    shared: dict[bytes, bytes] = {}
    for kind, _, entry in read_objects(path, {"data_list": _IMAGE_KEYS}, {"metainfo": ("classes",)}):
        if kind == "metainfo":
            classes = entry.get("classes")
            continue
        fault = _entry_fault(entry)
        if fault:
            entries.append(fault)
        else:
            present, unknown = (array("q", _numbers(entry, key)).tobytes() for key in ("gt_label", "unknown_label"))
            entries.append(
                (entry["img_path"], shared.setdefault(present, present), shared.setdefault(unknown, unknown))
            )
    names = _label_names(path, classes)
    rows = Rows(path, fixed=names, allow_absolute=options.allow_absolute)
    for number, item in enumerate(entries, 1):
        location = f"{path}: image {number} of data_list"
        if isinstance(item, str):
            rows.fault(location, item)
            continue
        image = item[0]
        present, unknown = (np.frombuffer(numbers, np.int64).tolist() for numbers in item[1:])
        outside = [label for label in (*present, *unknown) if not 0 <= label < len(names)]
        if outside:
            rows.fault(
                location, f"has the label {outside[0]}, should be 0 to {len(names) - 1} for {len(names)} classes"
            )
        else:
            rows.add(location, image, [names[label] for label in present], [names[label] for label in unknown])
    return rows.finish(root)


def write(labelled: LabelledImages, target: Path, options: FormatOptions) -> None:
    """Write the classes' names, and a line of JSON for each image."""
    labels = labelled.images.labels
    with open(target, "w", encoding="utf-8") as file:
        metainfo = json.dumps({"classes": labelled.label_names}, ensure_ascii=False)
        file.write(f'{{"metainfo": {metainfo},\n"data_list": [')
        for position, name in enumerate(labelled.images.names()):
            entry = {"img_path": name, "gt_label": np.flatnonzero(labels[position] == 1).tolist()}
            unknown = np.flatnonzero(labels[position] == -1).tolist()
            if unknown:
                entry["unknown_label"] = unknown
            file.write(("," if position else "") + "\n" + json.dumps(entry, ensure_ascii=False))
        file.write("\n]}\n")


def _entry_fault(entry: dict[str, Any]) -> str | None:
    for key in ("img_path", "gt_label"):
        if key not in entry:
            return f'has no "{key}"'
    if not isinstance(entry["img_path"], str):
        return f'"img_path" is {kind_of(entry["img_path"])}, should be a text'
    for key in ("gt_label", "unknown_label"):
        odd = [number for number in _numbers(entry, key) if not is_whole_number(number)]
        if odd:
            return f'"{key}" has {kind_of(odd[0])}, should be a list of class numbers such as [0, 2]'
    return None


def _numbers(entry: dict[str, Any], key: str) -> tuple[Any, ...]:
    value = entry.get(key, [])
    return tuple(value) if isinstance(value, list) else (value,)


def _label_names(path: Path, classes: Any) -> list[str]:
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
        raise ListError(f'{path}: "metainfo" should have "classes", a list of the classes\' names')
    faults = Faults()
    for position, fault in label_name_faults(classes):
        faults.add(f"{path}: class {position - 1}: {fault}")
    faults.raise_any()
    return classes
