"""Labels in a table with one column per label: ``image,red,dress`` and below it ``photos/1.jpg,1,0``."""

from __future__ import annotations

from pathlib import Path

from mxml.data.formats.csv_table import TABLE_SUFFIXES, is_table, read_rows, separators_of, write_rows
from mxml.data.formats.options import FormatOptions
from mxml.data.formats.rows import Rows
from mxml.data.label_names import label_name_faults
from mxml.data.labelled_images import LabelledImages
from mxml.errors import Faults, ListError
from mxml.text import quoted

NAME = "csv"
TITLE = "CSV or TSV with one column per label"
SUFFIXES = TABLE_SUFFIXES

VALUES = {
    **dict.fromkeys(("", "0", "0.0", "false"), 0),
    **dict.fromkeys(("1", "1.0", "true"), 1),
    **dict.fromkeys(("-1", "-1.0"), -1),
}
"""What a cell may hold, in small letters and without outer blanks, and the label that it stands for."""

_CACHED_CELLS = 4 << 20


def recognises(path: Path) -> bool:
    """Say whether ``path`` is a file with the suffix of CSV or TSV; the format tags is tried before."""
    return is_table(path)


def read(path: Path, root: Path, options: FormatOptions) -> LabelledImages:
    """Read a table whose first column names the image and whose other columns, by their header, hold its labels.

    Values are 0, 1, -1 (unknown), true and false, whatever their case; an empty one is 0. The images keep the table's
    order. Raises one ListError with every fault as ``file:line: what is wrong, what it should be``.
    """
    table = read_rows(path)
    line, header = next(table, (1, []))
    label_names = tuple(name.strip() for name in header[1:])
    if not label_names:
        raise ListError(
            f"{path}:{line}: has no label columns, should be a header like: image,red,dress; columns lie between "
            f"{separators_of(path)}"
        )
    faults = Faults()
    for column, fault in label_name_faults(label_names):
        faults.add(f"{path}:{line}: column {column + 1}: {fault}")
    faults.raise_any()
    rows = Rows(path, label_names, path, options.allow_absolute)
    # Most rows repeat the values of an earlier one.
    known: dict[tuple[str, ...], tuple[list[str], list[str]]] = {}
    for line, row in table:
        values = tuple(row[1:])
        labels = known.get(values)
        if labels is None:
            row_fault = _row_fault(row, label_names)
            if row_fault:
                rows.fault(line, row_fault)
                continue
            labels = _labels(values, label_names)
            if (len(known) + 1) * len(values) <= _CACHED_CELLS:
                known[values] = labels
        rows.add(line, row[0].strip(), *labels)
    return rows.finish(root)


def write(labelled: LabelledImages, target: Path, options: FormatOptions) -> None:
    """Write the table; ``.tsv`` and ``.tab`` files have tabs between their cells, others commas."""
    images = labelled.images
    lines = ([name, *map(str, row)] for name, row in zip(images.names(), images.labels.tolist()))
    write_rows(target, (row for part in ([["image", *labelled.label_names]], lines) for row in part))


def _row_fault(row: list[str], label_names: tuple[str, ...]) -> str | None:
    if len(row) - 1 != len(label_names):
        return f"has {len(row) - 1} labels, should be {len(label_names)} like the header"
    for name, value in zip(label_names, row[1:]):
        if value.strip().lower() not in VALUES:
            return f"label {quoted(name)} is {quoted(value)}, should be 0, 1, -1 (unknown), true, false or empty"
    return None


def _labels(values: tuple[str, ...], label_names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Return the labels that are present, and those that are unknown."""
    marks = [VALUES[value.strip().lower()] for value in values]
    present, unknown = ([name for name, found in zip(label_names, marks) if found == mark] for mark in (1, -1))
    return present, unknown
