"""Checked lists written again without what is broken."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mxml import atomic
from mxml.data.label_names import label_names_file, read_label_names, write_label_names
from mxml.data.list_root import RECORD, format_record
from mxml.data.lst_file import write_lst
from mxml.data.record_list import is_record_file
from mxml.errors import MxmlError, SettingError
from mxml.prepare.check import CheckReport
from mxml.prepare.checked_lists import CheckedList


@dataclass(frozen=True)
class FixedList:
    """What happened to the list at ``path``: ``images`` were written to ``out``, and ``left_out`` lines were not.

    Nothing is written where no image is left. ``label_names`` says of labels.txt beside ``out`` that it was
    ``written``, is ``there`` with these names or has ``others``; None where the labels have no names.
    ``root_recorded`` says that lists.json was written beside it.
    """

    path: str
    out: str
    images: int
    left_out: int
    label_names: str | None = None
    root_recorded: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain Python values that JSON can hold."""
        return {
            "list": self.path,
            "out": self.out,
            "images": self.images,
            "left_out": self.left_out,
            "label_names": self.label_names,
            "root_recorded": self.root_recorded,
        }


def require_outputs(
    lists: Sequence[str], labels: str | None = None, fixed: Sequence[str] = (), html: str | None = None
) -> None:
    """Refuse, before images are opened, what could not be written in the end or would replace what is read.

    ``lists`` and ``labels`` are read, the ``fixed`` lists and the page ``html`` are to be written. Raises SettingError
    for another number of ``fixed`` than of lists and for a file with two uses, StorageError for what cannot be written.
    """
    if fixed and len(fixed) != len(lists):
        raise SettingError("fixed", tuple(fixed), f"one name for each list, {len(lists)} in all")
    for path in filter(is_record_file, lists if fixed else ()):
        folder = f"mxml convert {shlex.quote(path)} `to` lst `unpack` `root` FOLDER `out` FOLDER/NAME.lst"
        wanted = f"left out: {path} is a record file, which has no lines; {folder} writes its images and a list of them"
        raise SettingError("fixed", tuple(fixed), wanted)
    inputs = [
        *lists,
        labels or label_names_file(lists[0]),
        *map(label_names_file, fixed),
        *map(_record_beside, lists),
    ]
    taken = {os.path.realpath(path): os.fspath(path) for path in inputs}
    for setting, out in [*(("fixed", out) for out in fixed), *([("html", html)] if html else [])]:
        if os.path.realpath(out) in taken:
            raise SettingError(setting, out, f"another file than {taken[os.path.realpath(out)]}")
        taken[os.path.realpath(out)] = out
        atomic.require_place(out)


def write_fixed(report: CheckReport, fixed: Sequence[str]) -> tuple[FixedList, ...]:
    """Write each list without what is broken, with label names and image folder where its folder has none.

    Raises StorageError for what cannot be written.
    """
    return tuple(_write(report, checked, out) for checked, out in zip(report.lists, fixed))


def _record_beside(path: str) -> str:
    return os.path.join(os.path.dirname(path), RECORD)


def _write(report: CheckReport, checked: CheckedList, out: str) -> FixedList:
    images = checked.fixed()
    if not len(images):
        return FixedList(checked.path, out, 0, checked.broken_lines)
    atomic.make_folder(os.path.dirname(out))
    write_lst(out, images)
    state = None
    if report.labels_file is not None:
        state = _state_of_names(label_names_file(out), report.label_names)
        if state == "written":
            write_label_names(label_names_file(out), report.label_names)
    recorded = _record_root(checked, out)
    return FixedList(checked.path, out, len(images), checked.broken_lines, state, recorded)


def _state_of_names(path: Path, label_names: Sequence[str]) -> str:
    """Say of a file of label names whether it has these (``there``), has others, or is still to be written."""
    if not os.path.lexists(path):
        return "written"
    try:
        return "there" if read_label_names(path) == list(label_names) else "others"
    except MxmlError:
        return "others"


def _record_root(checked: CheckedList, out: str) -> bool:
    folder, record = os.path.dirname(out), _record_beside(out)
    # In the list's own folder the record, or that there is none, is the person's choice.
    if os.path.realpath(folder) == os.path.realpath(os.path.dirname(checked.path)) or os.path.lexists(record):
        return False
    atomic.write_bytes(record, format_record(Path(checked.images.root), Path(folder)))
    return True
