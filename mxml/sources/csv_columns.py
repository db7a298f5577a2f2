"""Labels in a CSV table with one column a label: ``image,red,dress`` and below it ``photos/1.jpg,1,0``."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mxml.errors import SHOWN_FAULTS, ListError
from mxml.image_list import ImageList, LabelledImages, label_name_faults, path_fault
from mxml.text_lines import read_lines

NAME = "CSV with one column a label"

_VALUES = {
    **dict.fromkeys(("", "0", "0.0", "false"), 0),
    **dict.fromkeys(("1", "1.0", "true"), 1),
    **dict.fromkeys(("-1", "-1.0"), -1),
}


def recognises(path: Path) -> bool:
    """Say whether ``path`` is a file that calls itself CSV."""
    return path.suffix.lower() == ".csv" and not path.is_dir()


def read(path: Path, root: Path) -> LabelledImages:
    """Read a table whose first column names the image and whose other columns, by their header, hold its labels.

    Values are 0, 1, -1 (unknown), true and false, whatever their case; an empty one is 0. The images keep the table's
    order. Raises one ListError with every fault as ``file:line: what is wrong, what it should be``.
    """
    rows = _rows(path)
    line, header = next(rows, (1, []))
    label_names = tuple(name.strip() for name in header[1:])
    if not label_names:
        raise ListError(f"{path}:{line}: has no label columns, should be a header like: image,red,dress")
    faults = [f"{path}:{line}: column {column + 1}: {fault}" for column, fault in label_name_faults(label_names)]
    if faults:
        raise ListError(faults)
    lines: dict[str, int] = {}
    labels = bytearray()
    fault_count = 0
    for line, row in rows:
        name = row[0].strip()
        fault = _row_fault(row, label_names) or path_fault(name)
        if not fault and name in lines:
            fault = f"the image {name!r} is already on line {lines[name]}, should be there once"
        if fault:
            fault_count += 1
            faults = [*faults, f"{path}:{line}: {fault}"][:SHOWN_FAULTS]
            continue
        lines[name] = line
        labels += bytes(_VALUES[value.strip().lower()] & 0xFF for value in row[1:])
    if fault_count:
        raise ListError(faults, fault_count)
    if not lines:
        raise ListError(f"{path}: holds no images, should have one line an image below its header")
    table = np.frombuffer(labels, np.int8).reshape(len(lines), -1)
    return LabelledImages(ImageList.from_rows(list(lines), table, root), label_names)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, each with the number of the line on which it starts."""
    reader = csv.reader((f"{line}\n" for line in read_lines(path)), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise ListError(f"{path}:{line}: is not CSV from here on ({error}); look for a stray quote") from None
        if row is None:
            return
        if row:
            yield line, row


def _row_fault(row: list[str], label_names: tuple[str, ...]) -> str | None:
    if len(row) - 1 != len(label_names):
        return f"has {len(row) - 1} labels, should be {len(label_names)} like the header"
    for name, value in zip(label_names, row[1:]):
        if value.strip().lower() not in _VALUES:
            return f"label {name!r} is {value[:60]!r}, should be 0, 1, -1 (unknown), true, false or empty"
    return None
