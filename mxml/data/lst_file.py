"""List files (``.lst``): read, checked and written.

A line is what MXNet's im2rec writes: ``index TAB label TAB ... label TAB path``, one float with six decimals for each
class, here 1 (present), 0 (absent) or -1 (unknown).
"""

from __future__ import annotations

import array
import os
import re
from dataclasses import dataclass

import numpy as np

from mxml import atomic
from mxml.data.image_list import MAX_PATH_BYTES, ImageList, path_fault
from mxml.errors import SHOWN_FAULTS, ListError
from mxml.text import counted, quoted
from mxml.text_lines import decode_line, read_blocks

_FORM = "one line an image: index, one label a class, path, separated by tabs"
_LABEL_BYTES = {b"0.000000": 0, b"1.000000": 1, b"-1.000000": 255, b"0": 0, b"1": 1, b"-1": 255}
_BLANKS = re.compile(r"[ \t]+")
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]+")
_LARGEST_LABEL = float(np.finfo(np.float32).max)
_CACHE_BYTES = 16 << 20
_MOST_KEPT_FAULTS = 10_000
_CONTROL = bytes(byte for byte in range(32) if byte not in b"\t\n")


def read_lst(
    path: str | os.PathLike[str],
    root: str | os.PathLike[str] = "",
    num_classes: int | None = None,
    *,
    allow_absolute: bool = False,
    any_values: bool = False,
) -> ImageList:
    """Read and check a ``.lst`` file.

    Also takes any run of tabs and blanks between fields where paths hold none, CRLF, blank lines, a byte order mark and
    a missing last line end. The number of labels is ``num_classes``, or what the first line has. Labels are 0, 1 and -1
    unless ``any_values`` asks for float32. Names stay under ``root`` (by their text alone; links are not followed)
    unless ``allow_absolute`` lets them lead anywhere. Raises one ListError with every fault as
    ``file:line: what is wrong, what it should be``.
    """
    reader = _Reader(os.fspath(path), num_classes, allow_absolute, any_values)
    try:
        for first, block in read_blocks(path):
            reader.add_block(first, block)
    except ListError as error:
        reader.add_fault(str(error))
    if reader.fault_count or not reader.index:
        raise reader.error()
    return reader.images(os.fspath(root))


@dataclass(frozen=True, eq=False)
class GoodLines:
    """What could be read of a list, and what not.

    ``line_numbers`` (N,) int64 says which line, counted from 1, each of the images is from. ``fault_count`` other lines
    are not blank; ``faults`` has one ``file:line: what is wrong, what it should be`` for each, at most 10,000.
    """

    images: ImageList
    line_numbers: np.ndarray
    faults: tuple[str, ...]
    fault_count: int


def read_good_lines(
    path: str | os.PathLike[str],
    root: str | os.PathLike[str] = "",
    num_classes: int | None = None,
    *,
    allow_absolute: bool = False,
    any_values: bool = False,
) -> GoodLines:
    """Read a ``.lst`` file as read_lst does, but leave out the faulty lines instead of raising them.

    Raises ListError only for a file that is not there or is no text, for a line over the limit, and where no line is
    good.
    """
    reader = _Reader(os.fspath(path), num_classes, allow_absolute, any_values, kept_faults=_MOST_KEPT_FAULTS)
    last = 0
    for first, block in read_blocks(path):
        reader.add_block(first, block)
        last = first + block.count(b"\n")
    if not reader.index:
        raise reader.error()
    numbers = np.delete(np.arange(1, last + 1), np.array(reader.skipped, np.int64) - 1)
    return GoodLines(reader.images(os.fspath(root)), numbers, tuple(reader.faults), reader.fault_count)


def format_lst(images: ImageList) -> bytes:
    """Return the list exactly as im2rec writes it: ``%d``, tab, ``%f`` and tab for each label, path, ``\\n``.

    Raises ListError for paths that no list can hold: with a tab or a line end, with blanks at an end, or not UTF-8.
    """
    if not images.num_classes:
        raise ListError("the images have no labels, should have one a class")
    known: dict[bytes, bytes] = {}
    lines, faults = [], []
    for number, row, name in zip(images.index.tolist(), images.labels, images.names()):
        fault = path_fault(name, allow_absolute=True)
        if "\t" in name:
            fault = f"the path {quoted(name)} holds a tab, which separates the fields of a .lst; rename the file"
        if fault:
            faults.append(fault)
            continue
        key = row.tobytes()
        section = known.get(key)
        if section is None:
            section = known[key] = b"".join(b"%f\t" % value for value in row.tolist())
        lines.append(b"%d\t%b%b\n" % (number, section, name.encode()))
    if faults:
        raise ListError(faults)
    return b"".join(lines)


def write_lst(path: str | os.PathLike[str], images: ImageList) -> None:
    """Write the list as format_lst gives it, whole or not at all."""
    atomic.write_bytes(path, format_lst(images))


class _Reader:
    """Gathers the rows and the faults of one list."""

    def __init__(
        self,
        path: str,
        num_classes: int | None,
        allow_absolute: bool,
        any_values: bool,
        kept_faults: int = SHOWN_FAULTS,
    ):
        self.path = path
        self.num_classes = num_classes
        self.width = num_classes
        self.width_line = 0
        self.allow_absolute = allow_absolute
        self.any_values = any_values
        self.kept_faults = kept_faults
        self.index = array.array("q")
        self.labels = bytearray()
        self.names = bytearray()
        self.name_lengths = array.array("q")
        # Most lines repeat the labels of an earlier one: the text of all of them together is looked up first.
        self.known_labels: dict[bytes, bytes] = {}
        self.known_bytes = 0
        # The numbers of the lines that are blank or faulty.
        self.skipped = array.array("q")
        self.faults: list[str] = []
        self.fault_count = 0
        self.wrong_widths: dict[int, int] = {}
        self.hint = ""

    def add_fault(self, fault: str) -> None:
        """Count a fault, and keep its message while there is room to show it."""
        self.fault_count += 1
        if len(self.faults) < self.kept_faults:
            self.faults.append(fault)

    def add_block(self, first: int, block: bytes) -> None:
        """Take whole lines, of which the first has the number ``first``."""
        safe = _holds_no_odd_name(block)
        index, labels, names = [], [], []
        for number, line in enumerate(block.split(b"\n"), first):
            head, _, name = line.rpartition(b"\t")
            key, _, section = head.partition(b"\t")
            row = self.known_labels.get(section) or self._plain_row(section)
            plain = row and name and key.isdigit() and len(key) <= 18 and len(name) <= MAX_PATH_BYTES
            if not plain or not (safe or self._may_be_used(name)):
                try:
                    parsed = self._parse(number, line)
                except ListError as error:
                    self.add_fault(str(error))
                    parsed = None
                if parsed is None:
                    self.skipped.append(number)
                    continue
                key, row, name = parsed
            index.append(int(key))
            labels.append(row)
            names.append(name)
        self.index.extend(index)
        self.labels += b"".join(labels)  # type: ignore[arg-type]
        self.names += b"".join(names)
        self.name_lengths.extend(map(len, names))

    def _plain_row(self, section: bytes) -> bytes | None:
        """Return the row of labels that are all 0, 1 or -1 between single tabs, and of the known number."""
        if self.any_values:
            return None
        values = section.split(b"\t")
        if len(values) != self.width:
            return None
        try:
            row = bytes(map(_LABEL_BYTES.__getitem__, values))
        except KeyError:
            return None
        self._remember(section, row)
        return row

    def _may_be_used(self, name: bytes) -> bool:
        try:
            text = name.decode("utf-8")
        except UnicodeDecodeError:
            return False
        return path_fault(text, self.allow_absolute) is None

    def _parse(self, number: int, line: bytes) -> tuple[bytes, bytes, bytes] | None:
        """Parse a line of any form; return its index, its labels and its name, or None for a blank line."""
        text = decode_line(line, f"{self.path}:{number}")
        stripped = text.strip()
        if not stripped:
            return None
        if "\r" in stripped:
            raise self._fault(number, "holds a carriage return, should be one line an image")
        key, values, name = self._split(number, stripped, ends_in_tab=text.rstrip(" ").endswith("\t"))
        # Python refuses to convert thousands of digits.
        if not _WHOLE_NUMBER.fullmatch(key) or len(key) > 30 or not -(2**63) <= int(key) < 2**63:
            raise self._fault(number, f"the index is {quoted(key)}, should be a whole number")
        section = "\t".join(values).encode()
        row = self.known_labels.get(section)
        if row is None:
            row = self._label_row(number, values)
            self._remember(section, row)
        fault = path_fault(name, self.allow_absolute)
        if fault:
            raise self._fault(number, fault)
        return key.encode(), row, name.encode()

    def _split(self, number: int, text: str, ends_in_tab: bool) -> tuple[str, list[str], str]:
        head, _, name = text.rpartition("\t")
        fields = _BLANKS.split(head.strip())
        if len(fields) < 2 or (self.width is not None and len(fields) != self.width + 1):
            # Without a tab that ends the labels, blanks separate the fields and the path holds none.
            blank_fields = _BLANKS.split(text)
            if len(fields) < 2 or len(blank_fields) - 2 == self.width:
                fields, name = blank_fields[:-1], blank_fields[-1]
        found = len(fields) - 1
        if found < 1:
            raise self._fault(number, f"is {quoted(text)}, should be {_FORM}")
        if self.width is None:
            self.width, self.width_line = found, number
        if ends_in_tab and (found != self.width or _number(name) is not None):
            raise self._fault(number, "the path is empty, should name an image")
        if found != self.width:
            self.wrong_widths[found] = self.wrong_widths.get(found, 0) + 1
            if found == 1:
                self._look_for_class_number(fields[1])
            like = f" like line {self.width_line}" if self.width_line else ""
            raise self._fault(number, f"has {counted(found, 'label')}, should be {self.width}{like}")
        return fields[0], fields[1:], name.strip()

    def _label_row(self, number: int, values: list[str]) -> bytes:
        """Return one line's labels as the bytes of its int8 or float32 row."""
        row = []
        for column, value in enumerate(values, 1):
            label = _number(value)
            if label is None or not (abs(label) <= _LARGEST_LABEL if self.any_values else label in (0, 1, -1)):
                wanted = "a finite number" if self.any_values else "0, 1 or -1 (unknown)"
                if len(values) == 1:
                    self._look_for_class_number(value)
                hint = f"; {self.hint}" if self.hint and not self.faults else ""
                raise self._fault(number, f"label {column} is {quoted(value)}, should be {wanted}{hint}")
            row.append(label)
        return np.array(row, np.float32 if self.any_values else np.int8).tobytes()

    def _look_for_class_number(self, value: str) -> None:
        label = _number(value)
        if label is not None and label > 1 and label.is_integer():
            self.hint = (
                "if that is a class number, this is a single-label list, and each class needs its own column: "
                "mxml make-lst --from single-lst makes them"
            )

    def _fault(self, number: int, fault: str) -> ListError:
        return ListError(f"{self.path}:{number}: {fault}")

    def _remember(self, section: bytes, row: bytes) -> None:
        self.known_bytes += len(section) + len(row)
        if self.known_bytes > _CACHE_BYTES:
            self.known_labels.clear()
            self.known_bytes = 0
        self.known_labels[section] = row

    def error(self) -> ListError:
        """Return what was found wrong."""
        if self.fault_count > 1 and not self.index and list(self.wrong_widths.values()) == [self.fault_count]:
            found = next(iter(self.wrong_widths))
            hint = f"; {self.hint}" if self.hint else ""
            return ListError(
                f"{self.path}: every line has {counted(found, 'label')}, should be {self.num_classes}: "
                f"the list or the number of classes is wrong{hint}"
            )
        if self.fault_count:
            return ListError(self.faults, self.fault_count)
        return ListError(f"{self.path}: holds no images, should be {_FORM}")

    def images(self, root: str) -> ImageList:
        """Return the good lines."""
        offsets = np.zeros(len(self.index) + 1, np.int64)
        np.cumsum(np.frombuffer(self.name_lengths, np.int64), out=offsets[1:])
        labels = np.frombuffer(self.labels, np.float32 if self.any_values else np.int8)
        return ImageList(
            np.frombuffer(self.index, np.int64),
            labels.reshape(len(self.index), -1),
            root,
            bytes(self.names),
            offsets,
        )


def _holds_no_odd_name(block: bytes) -> bool:
    """Say, by a few searches through all lines at once, that no name in them needs to be looked at for itself."""
    return (
        block.isascii()
        and len(block.translate(None, _CONTROL)) == len(block)
        and not block.endswith(b" ")
        and not any(odd in block for odd in (b"..", b"\t/", b"\t ", b" \n"))
    )


def _number(text: str) -> float | None:
    """Return the number that is written in plain ASCII, also nan and inf; None for anything else."""
    if not text.isascii() or "_" in text:
        return None
    try:
        return float(text)
    except ValueError:
        return None
