"""What is wrong with the lines of checked lists, and with single images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mxml.prepare.checked_lists import CheckedList
from mxml.prepare.findings import MOST_ELONGATED, MOST_PIXELS, SMALLEST_SIDE, Finding, examples, finding
from mxml.prepare.image_scan import ImageScan
from mxml.text import counted

_CORRUPT = "Corrupt JPEG data: "


def image_findings(lists: Sequence[CheckedList], scan: ImageScan) -> Iterator[Finding]:
    """Yield what is wrong with each line, and with each single image."""
    yield from _line_findings(lists)
    yield from _fault_findings(lists, scan)
    yield from _damage_findings(lists, scan)
    yield from _size_findings(lists, scan)


def _line_findings(lists: Sequence[CheckedList]) -> Iterator[Finding]:
    for checked in lists:
        for fault in checked.line_faults:
            yield finding("faulty-line", fault)
        hidden = checked.line_fault_count - len(checked.line_faults)
        if hidden:
            yield finding("faulty-line", f"{checked.path}: {hidden:,} more lines are faulty")


def _fault_findings(lists: Sequence[CheckedList], scan: ImageScan) -> Iterator[Finding]:
    faults = {fault.position: fault for fault in scan.faults}
    for checked in lists:
        broken = [(position, faults[int(checked.rows[position])]) for position in np.flatnonzero(~checked.usable)]
        all_missing = len(broken) == len(checked.images) and all(fault.kind == "missing" for _, fault in broken)
        if all_missing:
            named = examples(checked.images, ~checked.usable)
            yield finding(
                "missing",
                f"{checked.path}: none of its {counted(len(broken), 'image')} is under "
                f"{checked.images.root or '.'}, such as {named[0]}; check the image root",
                named,
            )
        else:
            for position, fault in broken:
                location = checked.location(position)
                text = fault.reason if fault.reason.startswith(location) else f"{location}: {fault.reason}"
                yield finding(fault.kind.replace("_", "-"), text, [checked.images.name(position)])
        if len(broken) == len(checked.images):
            yield finding("no-image-left", f"{checked.path}: none of its images can be used")


def _damage_findings(lists: Sequence[CheckedList], scan: ImageScan) -> Iterator[Finding]:
    reasons = {damage.position: damage.reason for damage in scan.damages}
    for checked in lists:
        for position in np.flatnonzero(np.isin(checked.rows, list(reasons))).tolist():
            reason = reasons[int(checked.rows[position])]
            reason = reason[len(_CORRUPT) :] if reason.startswith(_CORRUPT) else reason
            text = f"{checked.location(position)}: is damaged inside: {reason}"
            yield finding("damaged", text, [checked.images.name(position)])


def _size_findings(lists: Sequence[CheckedList], scan: ImageScan) -> Iterator[Finding]:
    for checked in lists:
        width, height = scan.width[checked.rows].astype(np.int64), scan.height[checked.rows].astype(np.int64)
        short, long = np.minimum(width, height), np.maximum(width, height)
        for kind, found, what in (
            ("animated", scan.animated[checked.rows], "has several frames or pages; only the first is used"),
            ("too-small", short < SMALLEST_SIDE, "has {} x {} pixels"),
            ("larger-than-needed", width * height > MOST_PIXELS, "has {:,} x {:,} pixels"),
            ("elongated", (long > MOST_ELONGATED * short) & (short >= SMALLEST_SIDE), "has {} x {} pixels"),
        ):
            for position in np.flatnonzero(found & checked.usable).tolist():
                text = what.format(width[position], height[position])
                yield finding(kind, f"{checked.location(position)}: {text}", [checked.images.name(position)])
