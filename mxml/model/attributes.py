"""What the attributes of a symbol file may hold: kinds of text, read by one strict grammar.

MXNet parses attributes leniently (``+5``, blanks, ``0x10``), and a parser that differs from the one that checked is a
hole. So a kind accepts a narrow form of text, and ``canonical`` writes it again for MXNet.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Union

Value = Union[int, float, bool, str, tuple[Union[int, None], ...], tuple[float, ...], None]
"""What an attribute's text stands for."""

_INT = re.compile(r"-?[0-9]{1,19}")
# Python 2 wrote the numbers of a shape with an L behind them.
_ENTRY = re.compile(r"(-?[0-9]{1,19})L?|None")
_TUPLE = re.compile(r"\(([^()\[\]]*)\)|\[([^()\[\]]*)\]")
_FLOAT = re.compile(r"-?[0-9]{1,40}(\.[0-9]{0,40})?([eE][+-]?[0-9]{1,3})?|-?\.[0-9]{1,40}")
_MOST_ENTRIES_TEXT = 1000
# Python writes a number in at most 24 signs, and a comma and a blank between two.
_MOST_FLOAT_TEXT = 32
_BOOLS = {"True": True, "true": True, "1": True, "False": False, "false": False, "0": False}


class Kind:
    """A kind of attribute: ``parse`` raises ValueError, which says what the text should be."""

    optional: bool = False

    def parse(self, text: str) -> Value:
        """Return what the text stands for."""
        raise NotImplementedError

    def canonical(self, text: str) -> str:
        """Return the text in the one form that is passed to MXNet."""
        return str(self.parse(text))


@dataclass(frozen=True)
class Int(Kind):
    """A whole number from ``low`` to ``high``; with ``optional`` also ``None``."""

    low: int
    high: int
    optional: bool = False

    def parse(self, text: str) -> int | None:
        """Return the number."""
        if self.optional and text == "None":
            return None
        if not _INT.fullmatch(text) or not self.low <= int(text) <= self.high:
            raise ValueError(f"a whole number from {self.low:,} to {self.high:,}")
        return int(text)


@dataclass(frozen=True)
class Float(Kind):
    """A finite number of at most ``bound`` in size; with ``optional`` also ``None``; with ``infinite`` also ``inf``."""

    low: float = -1e30
    high: float = 1e30
    optional: bool = False
    infinite: bool = False

    def parse(self, text: str) -> float | None:
        """Return the number."""
        if self.optional and text == "None":
            return None
        if self.infinite and text in ("inf", "-inf"):
            return float(text)
        if not _FLOAT.fullmatch(text) or not self.low <= float(text) <= self.high:
            raise ValueError(f"a number from {self.low:g} to {self.high:g}")
        number = float(text)
        # Below this MXNet's own parser takes some numbers for out of range.
        return number if abs(number) > 1e-37 else 0.0

    def canonical(self, text: str) -> str:
        """Return the text as it is: its digits are the same number to any parser."""
        number = self.parse(text)
        return "0" if number == 0 else text


@dataclass(frozen=True)
class Bool(Kind):
    """``True`` or ``False``, also in small letters or as 1 and 0; with ``optional`` also ``None``."""

    optional: bool = False

    def parse(self, text: str) -> bool | None:
        """Return the truth value."""
        if self.optional and text == "None":
            return None
        if text not in _BOOLS:
            raise ValueError("True or False")
        return _BOOLS[text]


@dataclass(frozen=True)
class Choice(Kind):
    """One of a few words."""

    words: tuple[str, ...]

    def parse(self, text: str) -> str:
        """Return the word."""
        if text not in self.words:
            raise ValueError(f"one of {', '.join(self.words)}")
        return text


@dataclass(frozen=True)
class Tuple(Kind):
    """``lengths`` (least, most) whole numbers from ``low`` to ``high`` in round or square brackets.

    A single number means a tuple of one. With ``optional`` ``None`` stands for no tuple at all, with ``gaps`` an
    entry may be ``None``.
    """

    lengths: tuple[int, int]
    low: int
    high: int
    optional: bool = False
    gaps: bool = False

    def parse(self, text: str) -> tuple[int | None, ...] | None:
        """Return the numbers."""
        if self.optional and text == "None":
            return None
        least, most = self.lengths
        entries = self._entries(text)
        if entries is None or not least <= len(entries) <= most:
            count = str(most) if least == most else f"{least} to {most}"
            raise ValueError(f"{count} whole numbers in brackets")
        if any(not self.gaps if entry is None else not self.low <= entry <= self.high for entry in entries):
            raise ValueError(f"whole numbers from {self.low:,} to {self.high:,}")
        return tuple(entries)

    @staticmethod
    def _entries(text: str) -> list[int | None] | None:
        if _INT.fullmatch(text):
            return [int(text)]
        match = _TUPLE.fullmatch(text) if len(text) <= _MOST_ENTRIES_TEXT else None
        if match is None:
            return None
        inner = (match.group(1) or match.group(2) or "").strip(" ")
        if not inner:
            return []
        parts = [_ENTRY.fullmatch(part.strip(" ")) for part in re.sub(", *$", "", inner).split(",")]
        if not all(parts):
            return None
        return [None if part.group(1) is None else int(part.group(1)) for part in parts if part]


@dataclass(frozen=True)
class Floats(Kind):
    """1 to ``most`` numbers from ``low`` to ``high`` in round or square brackets.

    A single number means a tuple of one.
    """

    most: int
    low: float
    high: float

    def parse(self, text: str) -> tuple[float, ...]:
        """Return the numbers."""
        wanted = f"1 to {self.most:,} numbers from {self.low:g} to {self.high:g} in brackets"
        if len(text) > self.most * _MOST_FLOAT_TEXT:
            raise ValueError(wanted)
        match = _TUPLE.fullmatch(text)
        inner = (match.group(1) or match.group(2) or "") if match else text
        parts = re.sub(", *$", "", inner).split(",")
        if len(parts) > self.most:
            raise ValueError(wanted)
        single = Float(self.low, self.high)
        try:
            return tuple(number for part in parts if (number := single.parse(part.strip(" "))) is not None)
        except ValueError:
            raise ValueError(wanted) from None


@dataclass(frozen=True)
class Permutation(Kind):
    """The numbers 0 to n - 1 in any order, each once, for an n of at most ``most``; or no number at all."""

    most: int

    def parse(self, text: str) -> tuple[int | None, ...]:
        """Return the numbers."""
        axes = Tuple((0, self.most), 0, self.most - 1).parse(text) or ()
        if set(axes) != set(range(len(axes))):
            raise ValueError(f"each of 0 to {max(len(axes) - 1, 0)} once, in brackets")
        return axes


@dataclass(frozen=True)
class Label(Kind):
    """A short word of letters, digits and a few signs, which MXNet does not interpret."""

    def parse(self, text: str) -> str:
        """Return the word."""
        if not re.fullmatch(r"[A-Za-z0-9_.:/()-]{0,64}", text):
            raise ValueError("a short word")
        return text
