"""What is wrong with image lists, their images and their labels, as one report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mxml.data.image_list import plain_path
from mxml.data.label_names import label_names_file
from mxml.data.list_root import image_root, under_found_root
from mxml.data.record_list import is_record_file
from mxml.errors import SettingError
from mxml.prepare.checked_lists import (
    CheckedList,
    DuplicateGroup,
    Entries,
    OpenedList,
    distinct_images,
    group_duplicates,
    read_lists,
)
from mxml.prepare.copy_findings import copy_findings
from mxml.prepare.duplicates import Duplicates, find_duplicates
from mxml.prepare.findings import Finding, in_order
from mxml.prepare.image_findings import image_findings
from mxml.prepare.image_scan import ImageScan, scan_images
from mxml.prepare.label_findings import label_findings
from mxml.prepare.label_statistics import LabelStatistics, label_statistics
from mxml.prepare.make_lists import MadeLists
from mxml.progress import SILENT, Progress, note_reading


@dataclass(frozen=True, eq=False)
class CheckReport:
    """The result of checking some lists; the first is the one to train on.

    ``labels_file`` is the file that the names of the labels are from; None where they are only numbered. ``scan`` has
    one row for each different path that the lists name; image i of list k is row ``lists[k].rows[i]``.
    ``statistics`` count all good lines, whether their images can be read or not. ``duplicates`` groups different
    files; a file that is named twice is only a finding. ``findings`` are in the order of
    ``findings.ERRORS`` and ``findings.WARNINGS``.
    """

    lists: tuple[CheckedList, ...]
    label_names: tuple[str, ...]
    labels_file: str | None
    scan: ImageScan
    statistics: LabelStatistics
    duplicates: tuple[DuplicateGroup, ...]
    findings: tuple[Finding, ...]

    @property
    def root(self) -> str | None:
        """Return the image folder; None where the lists have different ones."""
        roots = {checked.images.root for checked in self.lists}
        return roots.pop() if len(roots) == 1 else None

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Return the findings that training would stop at or do without."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Return the other findings."""
        return tuple(finding for finding in self.findings if finding.severity == "warning")

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain Python values that JSON can hold."""
        return {
            "root": self.root,
            "errors": len(self.errors),
            "warnings": len(self.warnings),
            "label_names": list(self.label_names),
            "lists": [
                {
                    "list": checked.path,
                    "root": checked.images.root,
                    "images": len(checked.images),
                    "faulty_lines": checked.line_fault_count,
                    "broken_images": int(np.count_nonzero(~checked.usable)),
                    **_sizes(self.scan, checked),
                }
                for checked in self.lists
            ],
            "findings": [
                {
                    "severity": finding.severity,
                    "kind": finding.kind,
                    "text": finding.text,
                    "images": list(finding.images),
                }
                for finding in self.findings
            ],
            "duplicates": [
                {
                    "exact": group.exact,
                    "distance": group.distance,
                    "labels_differ": group.labels_differ,
                    "across_lists": group.across_lists,
                    "images": [
                        {
                            "list": self.lists[number].path,
                            "line": int(self.lists[number].line_numbers[position]),
                            "image": self.lists[number].images.name(position),
                            **_names_of(self.lists[number].images.labels[position], self.label_names),
                        }
                        for number, position in group.entries
                    ],
                }
                for group in self.duplicates
            ],
            "statistics": self.statistics.to_dict(),
        }


def check_lists(
    paths: Sequence[str | os.PathLike[str]],
    root: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    labels: str | os.PathLike[str] | None = None,
    *,
    allow_absolute: bool = False,
    threads: int | None = None,
    progress: Progress = SILENT,
) -> CheckReport:
    """Read the lists, open every image once, and say what is wrong.

    The first of ``paths`` is the list to train on; the others are compared with it and must have as many labels. A
    RecordIO file may be in a list's place.
    ``root`` is the image folder of all lists, or a sequence of one or of one for each; by default each list's own, as
    ``lists.json`` beside it says, else as ``found_root`` finds it. ``labels`` is the file of the labels' names;
    labels.txt beside the first list unless given, and class_0 and so on where there is none. Raises SettingError for
    another number of roots, and ListError where a list has no good line or the label names are not as many as the
    labels.
    """
    for path in paths:
        note_reading(progress, path)
    read, label_names, labels_file = _read_under_roots(paths, root, labels, allow_absolute, progress)
    images, rows = distinct_images(read, paths)
    scan = scan_images(images, threads=threads, progress=progress)
    return _report(paths, read, rows, label_names, labels_file, scan, find_duplicates(scan, progress))


def check_made(made: MadeLists, *, into: Path | None = None, allow_absolute: bool = False) -> CheckReport:
    """Check lists that were just made, by what making them has found: no image is opened a second time.

    Making them has to have opened every image, to find near-duplicates. ``into`` is the folder that the files are in,
    if it was given to ``make_lists``; the report names them as they will be.
    """
    assert made.scanned is not None
    paths = tuple(made.paths.values())
    files = [(into or made.folder) / path.name for path in paths]
    read, _, _ = read_lists(files, [made.root] * len(files), None, allow_absolute)
    row_of = {plain_path(name): row for row, name in enumerate(made.scanned.images.names())}
    rows = [np.array([row_of[plain_path(name)] for name in lines.images.names()], np.int64) for lines in read]
    scan, duplicates = made.scanned.scan, made.scanned.duplicates
    labels_file = os.fspath(label_names_file(made.folder))
    return _report(paths, read, rows, made.label_names, labels_file, scan, duplicates)


def _report(
    paths: Sequence[str | os.PathLike[str]],
    read: Sequence[OpenedList],
    rows: Sequence[np.ndarray],
    label_names: Sequence[str],
    labels_file: str | None,
    scan: ImageScan,
    found: Duplicates,
) -> CheckReport:
    """Return what is wrong with lists that were read; image i of list k is row ``rows[k][i]`` of the scan."""
    broken = np.zeros(len(scan), bool)
    broken[[fault.position for fault in scan.faults]] = True
    lists = tuple(
        CheckedList(
            os.fspath(path),
            lines.images,
            lines.line_numbers,
            its_rows,
            ~broken[its_rows],
            lines.faults,
            lines.fault_count,
            lines.source,
        )
        for path, lines, its_rows in zip(paths, read, rows)
    )
    statistics = label_statistics(
        [checked.images for checked in lists], [checked.path for checked in lists], label_names
    )
    entries = Entries(lists, len(scan))
    duplicates = group_duplicates(lists, entries, scan, found)
    findings = in_order(
        [
            *image_findings(lists, scan),
            *copy_findings(lists, scan, entries, duplicates, label_names),
            *label_findings(lists, statistics, labels_file),
        ]
    )
    return CheckReport(lists, tuple(label_names), labels_file, scan, statistics, duplicates, findings)


def _read_under_roots(
    paths: Sequence[str | os.PathLike[str]],
    root: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None,
    labels: str | os.PathLike[str] | None,
    allow_absolute: bool,
    progress: Progress,
) -> tuple[list[OpenedList], list[str], str | None]:
    """Read the lists as ``read_lists`` does, each under its image folder, also where that has to be found."""
    read, label_names, labels_file = read_lists(paths, _roots(paths, root), labels, allow_absolute)
    for number, path in enumerate(paths):
        if root is None and read[number].records is None:
            images, note = under_found_root(read[number].images, path, None)
            read[number] = replace(read[number], images=images)
            if note:
                progress.note(note)
    return read, label_names, labels_file


def _roots(
    paths: Sequence[str | os.PathLike[str]],
    root: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None,
) -> list[str]:
    """Return the image folder of each list."""
    if root is None:
        return ["" if is_record_file(path) else image_root(path) for path in paths]
    roots = [root] if isinstance(root, (str, os.PathLike)) else list(root)
    if len(roots) not in (1, len(paths)):
        wanted = f"one folder for all lists, or one for each of them, {len(paths)} in all"
        raise SettingError("root", tuple(map(os.fspath, roots)), wanted)
    return [os.fspath(folder) for folder in (roots * len(paths) if len(roots) == 1 else roots)]


def _names_of(labels: np.ndarray, label_names: Sequence[str]) -> dict[str, list[str]]:
    """Return the names of the labels that are present, and of those that are unknown."""
    return {
        what: [label_names[column] for column in np.flatnonzero(labels == value)]
        for what, value in (("labels", 1), ("unknown", -1))
    }


def _sizes(scan: ImageScan, checked: CheckedList) -> dict[str, dict[str, int] | None]:
    """Return the smallest, median and largest side and file of a list's usable images."""
    rows = checked.rows[checked.usable]
    return {
        what: {"min": int(values.min()), "median": int(np.median(values)), "max": int(values.max())}
        if len(values)
        else None
        for what, values in (("width", scan.width[rows]), ("height", scan.height[rows]), ("bytes", scan.size[rows]))
    }
