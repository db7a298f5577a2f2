"""Labels as PaddleX's multi-label lists: ``path TAB 0,1,0``, and a label.txt that numbers the labels."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from mxml.data.formats.options import OTHER_FORMATS, FormatOptions
from mxml.data.formats.rows import Rows
from mxml.data.label_names import label_name_faults
from mxml.data.labelled_images import LabelledImages, merge
from mxml.errors import Faults, ListError
from mxml.text import quoted
from mxml.text_lines import MAX_LINE_BYTES, read_lines

NAME = "paddlex"
TITLE = "PaddleX list with label.txt"
SUFFIXES: tuple[str, ...] = (".txt",)

_LABELS = "label.txt"
_LISTS = ("train.txt", "val.txt", "test.txt")
_MAX_LABELS = MAX_LINE_BYTES // 4
_BEGINNING = 1 << 16
_FIRST_LINE = re.compile(rb"[^\t]+\t *-?[0-9]+ *(, *(-?[0-9]+ *)?)*")
_LABEL_LINE = re.compile(r"[ \t]*([0-9]{1,9})[ \t]+(.+)")
_VALUES = ("0", "1", "-1")
_WANTED = "should be a path, a tab and the labels, such as: photos/1.jpg, a tab, 0,1,0"
_CACHED_CELLS = 4 << 20


def recognises(path: Path) -> bool:
    """Say whether ``path`` is a .txt file that begins with such a line, or a folder with label.txt and such a list."""
    if path.is_dir():
        return (path / _LABELS).is_file() and any(_is_list(path / name) for name in _LISTS)
    return path.suffix.lower() == ".txt" and _is_list(path)


def default_root(path: Path) -> Path:
    """Return the folder that the list is in."""
    return path if path.is_dir() else path.parent


def read(path: Path, root: Path, options: FormatOptions) -> LabelledImages:
    """Read a list, or the train.txt, val.txt and test.txt that are in a folder, as one set.

    Values are 0, 1 and -1 (unknown), one for each line of label.txt beside the list. Raises ListError with every fault
    of a file as ``file:line: what is wrong, what it should be``.
    """
    folder = default_root(path)
    label_names = _read_labels(folder / _LABELS)
    if not path.is_dir():
        return _read_list(path, root, label_names, options)
    lists = [folder / name for name in _LISTS if (folder / name).is_file()]
    if not lists:
        raise ListError(f"{path}: has none of {', '.join(_LISTS)}, should have one of them beside {_LABELS}")
    labelled = merge([(str(file), _read_list(file, root, label_names, options)) for file in lists])
    read_note = f"{path}: read {', '.join(file.name for file in lists)}"
    return LabelledImages(labelled.images, labelled.label_names, (read_note, *labelled.notes))


def write(labelled: LabelledImages, target: Path, options: FormatOptions) -> None:
    """Write the list, and label.txt beside it; raise ListError for a path that would not read back."""
    if target.name == _LABELS:
        raise ListError(f"{target.name}: is where the label names go; give the list another name, such as train.txt")
    names = labelled.images.names()
    if len(labelled.label_names) > _MAX_LABELS:
        raise ListError(f"{target.name}: cannot hold {len(labelled.label_names):,} labels per line; coco can")
    faults = Faults()
    for name in names:
        if "\t" in name or name.startswith("\ufeff"):
            faults.add(
                f"the path {quoted(name)} holds a tab or a byte order mark, which a PaddleX list cannot{OTHER_FORMATS}"
            )
    faults.raise_any()
    with open(target, "w", encoding="utf-8") as file:
        for name, row in zip(names, labelled.images.labels):
            file.write(f"{name}\t{','.join(map(str, row.tolist()))}\n")
    lines = (f"{number} {name}\n" for number, name in enumerate(labelled.label_names))
    target.with_name(_LABELS).write_bytes("".join(lines).encode())


def _is_list(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            beginning = file.read(_BEGINNING)
    except OSError:
        return False
    return _FIRST_LINE.fullmatch(beginning.partition(b"\n")[0].rstrip(b"\r-")) is not None


def _read_labels(path: Path) -> tuple[str, ...]:
    """Return the names in label.txt in the order of their numbers."""
    if not path.exists():
        raise ListError(f"{path}: does not exist, should have a number and a name for each label, such as: 0 red")
    numbered: dict[int, tuple[int, str]] = {}
    faults = Faults()
    for line, text in enumerate(read_lines(path), 1):
        if not text.strip():
            continue
        fields = _LABEL_LINE.fullmatch(text)
        if not fields:
            faults.add(f"{path}:{line}: is {quoted(text)}, should be a number, a blank and a name, such as: 0 red")
        elif int(fields[1]) in numbered:
            faults.add(f"{path}:{line}: the number {fields[1]} is already on line {numbered[int(fields[1])][0]}")
        else:
            numbered[int(fields[1])] = line, fields[2].strip()
    order = sorted(numbered)
    if not faults and order != list(range(len(order))):
        absent = next(number for number, found in enumerate(order) if number != found)
        faults.add(f"{path}: has no label {absent}, should have each number from 0 to {len(order) - 1} once")
    names = tuple(numbered[number][1] for number in order)
    for position, fault in label_name_faults(names):
        faults.add(f"{path}:{numbered[order[position - 1]][0]}: {fault}")
    faults.raise_any()
    if not names:
        raise ListError(f"{path}: holds no labels, should have a line such as: 0 red")
    return names


def _read_list(path: Path, root: Path, label_names: tuple[str, ...], options: FormatOptions) -> LabelledImages:
    rows = Rows(path, label_names, path.with_name(_LABELS), options.allow_absolute)

    # Most images have the labels of an earlier one.
    @lru_cache(maxsize=_CACHED_CELLS // len(label_names))
    def labels(text: str) -> tuple[list[str], list[str]] | str:
        values = [value.strip() for value in text.split(",")]
        if len(values) != len(label_names):
            return f"number of values is {len(values)}, should be {len(label_names)} as in {_LABELS}"
        odd = next((value for value in values if value not in _VALUES), None)
        if odd is not None:
            return f"has the value {quoted(odd)}, should be 0, 1 or -1 (unknown)"
        present, unknown = ([name for name, value in zip(label_names, values) if value == mark] for mark in ("1", "-1"))
        return present, unknown

    for line, text in enumerate(read_lines(path), 1):
        if not text.strip():
            continue
        name, tab, values = text.partition("\t")
        found = labels(values) if tab and "\t" not in values else _WANTED
        if isinstance(found, str):
            rows.fault(line, found)
        else:
            rows.add(line, name, *found)
    return rows.finish(root)
