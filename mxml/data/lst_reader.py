"""The lines of a list file (``.lst``): parsed block by block, with every fault."""

from __future__ import annotations

import array
import re

import numpy as np

from mxml.data.image_list import MAX_PATH_BYTES, ImageList, path_fault
from mxml.errors import SHOWN_FAULTS, Faults, ListError
from mxml.text import counted, quoted
from mxml.text_lines import decode_line

_LINE = "one line per image: index, one label per class, path, separated by tabs"
_LABEL_BYTES = {b"0.000000": 0, b"1.000000": 1, b"-1.000000": 255, b"0": 0, b"1": 1, b"-1": 255}
_BLANKS = re.compile(r"[ \t]+")
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]+")
_LARGEST_LABEL = float(np.finfo(np.float32).max)
_CACHE_BYTES = 16 << 20
_CONTROL = bytes(byte for byte in range(32) if byte not in b"\t\n")


class LstReader:
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
        self.index = array.array("q")
        self.labels = bytearray()
        self.names = bytearray()
        self.name_lengths = array.array("q")
        # Most lines repeat the labels of an earlier one: the text of all of them together is looked up first.
        self.known_labels: dict[bytes, bytes] = {}
        self.known_bytes = 0
        # The numbers of the lines that are blank or faulty.
        self.skipped = array.array("q")
        self.faults = Faults(kept_faults)
        self.wrong_widths: dict[int, int] = {}
        self.without_labels = 0
        self.hint = ""

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
                    self.faults.add(str(error))
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
        """Parse a line however it is written; return its index, its labels and its name, or None for a blank line."""
        text = decode_line(line, f"{self.path}:{number}")
        stripped = text.strip()
        if not stripped:
            return None
        if "\r" in stripped:
            raise self._fault(number, "holds a carriage return, should be one line per image")
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
            self.without_labels += 1
            raise self._fault(number, f"is {quoted(text)}, should be {_LINE}")
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
                "mxml make-lst makes them from a list of the format single-lst"
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
        if len(self.faults) > 1 and not self.index and list(self.wrong_widths.values()) == [len(self.faults)]:
            found = next(iter(self.wrong_widths))
            hint = f"; {self.hint}" if self.hint else ""
            return ListError(
                f"{self.path}: every line has {counted(found, 'label')}, should be {self.num_classes}: "
                f"the list or the number of classes is wrong{hint}"
            )
        if len(self.faults) > 1 and self.faults.messages and self.without_labels == len(self.faults):
            return ListError(f"{self.faults.messages[0]}; no line has labels")
        if self.faults:
            return self.faults.error()
        return ListError(f"{self.path}: holds no images, should be {_LINE}")

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
    """Say, by a few searches through all lines at once, that no name in them needs a check of its own."""
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
