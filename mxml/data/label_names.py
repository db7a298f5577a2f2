"""The names of the labels, one per line in a file: ``labels.txt`` beside the lists that are read with it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from mxml import atomic
from mxml.errors import Faults, ListError
from mxml.text import counted, quoted, shown_labels
from mxml.text_lines import read_lines

LABEL_NAMES_FILE = "labels.txt"
"""What the file is called that names the labels of the lists beside it."""


def label_names_file(path: str | os.PathLike[str]) -> Path:
    """Return where the label names are of the lists in the folder ``path``, or of the file ``path``: in its folder."""
    path = Path(path)
    return (path if path.is_dir() else path.parent) / LABEL_NAMES_FILE


def names_beside(path: str | os.PathLike[str]) -> tuple[Path, tuple[str, ...]] | None:
    """Return ``label_names_file`` of ``path`` and the names in it; None where there is none."""
    file = label_names_file(path)
    return (file, tuple(read_label_names(file))) if file.is_file() else None


def read_label_names(path: str | os.PathLike[str], num_classes: int | None = None) -> list[str]:
    """Read the names of the labels, one per line in the order of the columns; blank lines at the end do not count.

    Raises ListError for names that are empty or given twice, and for another count than ``num_classes``.
    """
    return _checked(path, _lines(path), num_classes)


def _lines(path: str | os.PathLike[str]) -> list[str]:
    names = [line.strip() for line in read_lines(path)]
    while names and not names[-1]:
        names.pop()
    return names


def _checked(path: str | os.PathLike[str], names: list[str], num_classes: int | None) -> list[str]:
    faults = Faults()
    for line, fault in label_name_faults(names):
        faults.add(f"{os.fspath(path)}:{line}: {fault}")
    faults.raise_any()
    if not names:
        raise ListError(f"{os.fspath(path)}: holds no label names, should be one per line")
    if num_classes is not None and len(names) != num_classes:
        raise ListError(
            f"{os.fspath(path)}: has {counted(len(names), 'label')}, should be {num_classes}: {shown_labels(names)}"
        )
    return names


def read_output_names(path: str | os.PathLike[str], count: int) -> list[str]:
    """Read what the ``count`` outputs of a network are called, one name per line.

    A name that comes again gets its line's number, such as "crane (518)": ImageNet's own has two. Raises ListError as
    ``read_label_names`` does for anything else.
    """
    names = _lines(path)
    seen: set[str] = set()
    for position, name in enumerate(names):
        if name in seen:
            names[position] = f"{name} ({position + 1})"
        seen.add(name)
    return _checked(path, names, count)


def require_same_names(
    list_path: str | os.PathLike[str], names: Sequence[str], names_file: str | os.PathLike[str]
) -> None:
    """Raise ListError where a labels.txt beside a list names its columns otherwise than ``names``, from ``names_file``.

    The columns of the two lists then stand for different labels, and neither metrics nor training would be right.
    """
    beside = names_beside(list_path)
    if beside is None or beside[1] == tuple(names):
        return
    file, others = beside
    column = next((i for i, pair in enumerate(zip(others, names)) if pair[0] != pair[1]), min(len(others), len(names)))
    here, there = (quoted(some[column]) if column < len(some) else "nothing" for some in (others, names))
    raise ListError(
        f"{file}: names other labels than {os.fspath(names_file)}: number {column + 1} is {here} here and {there} "
        "there; make both lists with the same labels: mxml convert and mxml make-lst can take the names from a file"
    )


def format_label_names(names: Sequence[str]) -> bytes:
    """Return the names, one per line; raise ListError for names that could not be read back."""
    faults = Faults()
    for position, fault in label_name_faults(names):
        faults.add(f"label {position}: {fault}")
    faults.raise_any()
    return "".join(f"{name}\n" for name in names).encode()


def write_label_names(path: str | os.PathLike[str], names: Sequence[str]) -> None:
    """Write the names as format_label_names gives them, whole or not at all."""
    atomic.write_bytes(path, format_label_names(names))


def label_name_faults(names: Sequence[str]) -> list[tuple[int, str]]:
    """Return pairs of a position, counted from 1, and what is wrong with the label name there."""
    faults = []
    seen: dict[str, int] = {}
    for position, name in enumerate(names, 1):
        if not name:
            faults.append((position, "the label name is empty"))
        elif re.search(r"[\n\r\0\ud800-\udfff]", name) or name != name.strip():
            faults.append((position, f"the label name {quoted(name)} holds a line end, an outer blank or no UTF-8"))
        elif name.startswith("\ufeff"):
            faults.append(
                (position, f"the label name {quoted(name)} begins with a byte order mark, which is lost in files")
            )
        elif name in seen:
            faults.append((position, f"the label name {quoted(name)} is already number {seen[name]}, should be unique"))
        seen.setdefault(name, position)
    return faults
