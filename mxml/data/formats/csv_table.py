"""Tables of text: comma- and tab-separated files as users and spreadsheets write them."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mxml.data.formats.file_tree import IMAGE_SUFFIXES
from mxml.errors import ListError
from mxml.text import quoted
from mxml.text_lines import MAX_LINE_BYTES, read_lines

TABLE_SUFFIXES: tuple[str, ...] = (".csv", ".tsv", ".tab")

_BEGINNING = 64 << 10
_MAX_FIELD = csv.field_size_limit()


def is_table(path: Path) -> bool:
    """Say whether ``path`` is a file with the suffix of CSV or TSV."""
    return path.suffix.lower() in TABLE_SUFFIXES and not path.is_dir()


def read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, the header first, each with the number of the line on which it starts.

    Fields lie between tabs in ``.tsv`` and ``.tab`` files, else between commas, or what spreadsheets write
    instead: the tabs or semicolons of a header without a comma. Raises ListError for a stray quote, for a first line
    that is an image's, and for a table without any row.
    """
    lines = read_lines(path)
    first = next(lines, "")
    declared = _declared_delimiter(first)
    above = 1 if declared else 0
    if declared:
        first = next(lines, "")
    reader = csv.reader(_ended(first, lines), delimiter=declared or delimiter_of(path, first), strict=True)
    is_header = True
    while True:
        line = reader.line_num + 1 + above
        try:
            row = next(reader, None)
        except csv.Error as error:
            if "new-line character" in str(error):
                raise ListError(f"{path}:{line}: holds a carriage return, should have LF or CRLF line ends") from None
            raise ListError(f"{path}:{line}: is not CSV from here on ({error}); look for a stray quote") from None
        if row is None:
            if is_header:
                raise ListError(f"{path}: is empty, should be a table with a header like image,red,dress or image,tags")
            return
        # Spreadsheets write empty rows at the end as only separators.
        if not any(row):
            continue
        if is_header and row[0].strip().lower().endswith(IMAGE_SUFFIXES):
            raise ListError(f"{path}:{line}: is an image's line ({quoted(row[0])}), should be a header above the first")
        is_header = False
        yield line, row


def first_rows(path: Path) -> list[list[str]]:
    """Return the rows that are whole in the first 64 KiB, of whatever is in the file; none where it cannot be read."""
    try:
        with open(path, "rb") as file:
            beginning = file.read(_BEGINNING + 1)
    except OSError:
        return []
    text = beginning.decode("utf-8-sig", "replace")
    if len(beginning) > _BEGINNING:
        text = text[: text.rfind("\n") + 1]
    declared = _declared_delimiter(text.partition("\n")[0].rstrip("\r"))
    if declared:
        text = text.partition("\n")[2]
    delimiter = declared or delimiter_of(path, text.partition("\n")[0])
    rows: list[list[str]] = []
    with contextlib.suppress(csv.Error):
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            rows += [row] if any(row) else []
    return rows


def _declared_delimiter(line: str) -> str | None:
    """Return what Excel's line ``sep=;`` above a header says; None for any other line."""
    return line[4] if len(line) == 5 and line.lower().startswith("sep=") and line[4] in ",;\t|" else None


def delimiter_of(path: Path, header: str) -> str:
    """Return what separates the fields of a table with this header line."""
    if path.suffix.lower() in (".tsv", ".tab"):
        return "\t"
    return next((sign for sign in ",\t;" if sign in header), ",")


def separators_of(path: Path) -> str:
    """Say in words what may separate the fields of a table."""
    return "tabs" if path.suffix.lower() in (".tsv", ".tab") else "commas, tabs or semicolons"


def write_rows(target: Path, rows: Iterable[Sequence[str]]) -> None:
    """Write a table whose suffix says what stands between its fields; raise ListError for what read_rows refuses."""
    with open(target, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter_of(target, ","), lineterminator="\n")
        for row in rows:
            # No character takes more than eight bytes, quotes and what separates the fields included.
            if max(map(len, row)) > _MAX_FIELD or 8 * (sum(map(len, row)) + len(row)) > MAX_LINE_BYTES:
                _refuse_long(target, row)
            writer.writerow(row)


def _refuse_long(target: Path, row: Sequence[str]) -> None:
    size = sum(len(field.encode()) + field.count('"') + 3 for field in row)
    if max(map(len, row)) > _MAX_FIELD or size > MAX_LINE_BYTES:
        raise ListError(f"{target.name}: the line of {quoted(row[0])} would be too long for a table; jsonl holds more")


def _ended(first: str, rest: Iterable[str]) -> Iterator[str]:
    yield f"{first}\n"
    for line in rest:
        yield f"{line}\n"
