"""Labels in a table with one column of tags: ``image,tags`` and below it ``photos/1.jpg,red|dress``."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from mxml.data.formats.csv_columns import VALUES
from mxml.data.formats.csv_table import TABLE_SUFFIXES, first_rows, is_table, read_rows, write_rows
from mxml.data.formats.options import FormatOptions
from mxml.data.formats.rows import rows_of_names
from mxml.data.label_names import format_label_names, label_names_file
from mxml.data.labelled_images import LabelledImages
from mxml.errors import ListError
from mxml.text import quoted

NAME = "tags"
TITLE = "CSV or TSV with one column of tags"
SUFFIXES = TABLE_SUFFIXES

SEPARATORS = "|;,"
"""The separators that are looked for where none is given; the first that occurs is taken."""

_TAG_HEADERS = ("tags", "labels", "label", "tag", "categories")
_UNKNOWN_HEADER = "unknown"
_QUOTED_TAG = re.compile(rf'(^|[{SEPARATORS}]) *"(?:[^"]|"")*"')
_NUMBER = re.compile(r"[+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?")


def recognises(path: Path) -> bool:
    """Say whether ``path`` is a table of two columns, or three with ``unknown``, that looks like tags.

    It does where the second column is called as tags are, unless it holds nothing but 0, 1 and the like, and under
    another header where it holds something, but neither these nor numbers.
    """
    rows = first_rows(path) if is_table(path) else []
    if not rows or not _is_header(rows[0]):
        return False
    cells = [row[1].strip() for row in rows[1:] if len(row) > 1]
    if rows[0][1].strip().lower() in _TAG_HEADERS:
        return not cells or any(not cell or cell.lower() not in VALUES for cell in cells)
    return any(cells) and not any(cell and (cell.lower() in VALUES or _NUMBER.fullmatch(cell)) for cell in cells)


def read(path: Path, root: Path, options: FormatOptions) -> LabelledImages:
    """Read a table whose first column names the image and whose second holds its tags.

    A third column, ``unknown``, holds tags of which it is unknown whether the image shows them. Between tags stands
    ``options.separator``, or the first of SEPARATORS that stands outside of quotes in any cell. The images keep the
    table's order. Raises one ListError with every fault.
    """
    table = read_rows(path)
    line, header = next(table, (1, []))
    if not _is_header(header):
        raise ListError(
            f"{path}:{line}: has the columns {quoted(','.join(header))}, should be a header like: image,tags "
            f"(or image,tags,{_UNKNOWN_HEADER})"
        )
    separator, notes = (options.separator, ()) if options.separator is not None else _find_separator(path)
    rows = rows_of_names(path, options)
    for line, row in table:
        if len(row) != len(header):
            hint = "; tags that are separated as the columns are belong in quotes" if len(row) > len(header) else ""
            rows.fault(line, f"has {len(row)} cells, should have {len(header)} like the header{hint}")
            continue
        try:
            rows.add(line, row[0].strip(), *(_tags(cell, separator) for cell in row[1:]))
        except csv.Error as error:
            rows.fault(line, f"the tags of {quoted(row[0])} hold a stray quote ({error}); double a quote within a tag")
    return rows.finish(root, notes)


def write(labelled: LabelledImages, target: Path, options: FormatOptions) -> None:
    """Write the table and labels.txt beside it, with ``options.separator`` or ``|`` between tags.

    The column ``unknown`` is there where some label is unknown. A tag with any separator or a quote in it, and one
    that would make a table with one column per label of this, is in quotes.
    """
    images = labelled.images
    separator = SEPARATORS[0] if options.separator is None else options.separator
    label_names_file(target).write_bytes(format_label_names(labelled.label_names))
    names = [_quoted_tag(name, separator) for name in labelled.label_names]
    marks = (1, -1) if (images.labels == -1).any() else (1,)
    lines = (
        [name, *(separator.join(tag for tag, value in zip(names, row) if value == mark) for mark in marks)]
        for name, row in zip(images.names(), images.labels.tolist())
    )
    header = ["image", "tags", _UNKNOWN_HEADER][: 1 + len(marks)]
    write_rows(target, (row for part in ([header], lines) for row in part))


def _is_header(header: list[str]) -> bool:
    return len(header) == 2 or (len(header) == 3 and header[2].strip().lower() == _UNKNOWN_HEADER)


def _find_separator(path: Path) -> tuple[str, tuple[str, ...]]:
    """Return what separates the tags of a table, and notes that say so."""
    examples: dict[str, str] = {}
    blanks = False
    table = read_rows(path)
    next(table, None)
    for _, row in table:
        for cell in row[1:]:
            bare = _QUOTED_TAG.sub(r"\1", cell) if '"' in cell else cell
            blanks = blanks or " " in cell.strip()
            for sign in SEPARATORS:
                if sign in bare:
                    examples.setdefault(sign, cell)
    found = [sign for sign in SEPARATORS if sign in examples]
    if not found:
        hint = "; `separator` ' ' parts them at blanks" if blanks else ""
        note = f"{path}: nothing of {' '.join(SEPARATORS)} separates tags, so each cell is one tag{hint}"
        return SEPARATORS[0], (note,)
    notes = [f"{path}: tags are separated by {found[0]}"]
    if len(found) > 1:
        notes.append(
            f"{path}: some tags hold {found[1]}, such as those in {quoted(examples[found[1]])}; "
            "`separator` says what separates tags, and quotes keep a tag together"
        )
    return found[0], tuple(notes)


def _tags(cell: str, separator: str) -> tuple[str, ...]:
    """Return the tags in a cell, which is one CSV record; raise csv.Error for a stray quote."""
    if '"' in cell:
        parts = next(csv.reader([cell], delimiter=separator, skipinitialspace=separator != " ", strict=True), [])
    else:
        parts = cell.split(separator)
    return tuple(filter(None, (part.strip() for part in parts)))


def _quoted_tag(tag: str, separator: str) -> str:
    if any(sign in tag for sign in (*SEPARATORS, separator, '"')) or tag.lower() in VALUES:
        tag = tag.replace('"', '""')
        return f'"{tag}"'
    return tag
