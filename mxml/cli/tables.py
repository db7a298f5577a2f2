"""Tables on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from mxml.text import printable

_LONGEST_NAME = 40


def cut_name(name: str) -> str:
    """Return a label's name, cut where it would make a table wide."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 3]}..."


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, its head first: the first column aligned to the left, the others to the right."""
    from tabulate import tabulate

    cells = [[printable(cell) for cell in row] for row in rows]
    alignment = ["left", *["right"] * (len(cells[0]) - 1)]
    text = tabulate(cells, tablefmt="plain", colalign=alignment, disable_numparse=True)
    return [line.rstrip() for line in text.split("\n")]
