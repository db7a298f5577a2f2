"""Which images checked lists name more than once, and which of them show the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mxml.prepare.checked_lists import CheckedList, DuplicateGroup, Entries, Entry, conflicting
from mxml.prepare.findings import EXAMPLES, Finding, finding
from mxml.prepare.image_scan import ImageScan
from mxml.text import shown

_SHOWN_LABELS = 8


def copy_findings(
    lists: Sequence[CheckedList],
    scan: ImageScan,
    entries: Entries,
    duplicates: Sequence[DuplicateGroup],
    label_names: Sequence[str],
) -> Iterator[Finding]:
    """Yield which images are named more than once, and which are duplicates of others."""
    names = [shown([name]) for name in label_names]
    yield from _repeat_findings(lists, entries, names)
    yield from _duplicate_findings(lists, scan, duplicates, names)


def _repeat_findings(lists: Sequence[CheckedList], entries: Entries, label_names: Sequence[str]) -> Iterator[Finding]:
    for row in entries.repeated():
        named = entries.of(row)
        mentions: dict[int, list[Entry]] = {}
        for entry in named:
            mentions.setdefault(entry[0], []).append(entry)
        for in_one_list in mentions.values():
            if len(in_one_list) > 1:
                yield _repeat("named-twice", "is named again in", lists, in_one_list)
        if len(mentions) > 1:
            yield _repeat("in-several-lists", "is also in", lists, [some[0] for some in mentions.values()])
        yield from _disagreement(lists, named, label_names, "named twice")


def _repeat(kind: str, how: str, lists: Sequence[CheckedList], named: Sequence[Entry]) -> Finding:
    first, *others = named
    elsewhere = _joined([_elsewhere(lists, first, entry) for entry in others])
    return finding(kind, f"{_location(lists, first)}: {how} {elsewhere}", [_name(lists, first)])


def _duplicate_findings(
    lists: Sequence[CheckedList], scan: ImageScan, duplicates: Sequence[DuplicateGroup], label_names: Sequence[str]
) -> Iterator[Finding]:
    for group in duplicates:
        for entries in _copies(lists, scan, group):
            yield _duplicates("exact-duplicates", lists, entries, "is the same file as")
        if not group.exact:
            bits = f" ({group.distance} of 256 bits differ)"
            yield _duplicates("near-duplicates", lists, group.entries, "looks like", bits)
        yield from _disagreement(lists, group.entries, label_names, "the same file" if group.exact else "alike")


def _copies(lists: Sequence[CheckedList], scan: ImageScan, group: DuplicateGroup) -> list[list[Entry]]:
    """Return the entries of a group in parts whose files hold the same bytes, where these are several files."""
    copies: dict[bytes, list[Entry]] = {}
    files: dict[bytes, set[int]] = {}
    for number, position in group.entries:
        row = int(lists[number].rows[position])
        digest = scan.digest[row].tobytes()
        copies.setdefault(digest, []).append((number, position))
        files.setdefault(digest, set()).add(row)
    return [copies[digest] for digest, rows in files.items() if len(rows) > 1]


def _duplicates(kind: str, lists: Sequence[CheckedList], entries: Sequence[Entry], how: str, bits: str = "") -> Finding:
    first, *others = entries
    across = any(entry[0] != first[0] for entry in others)
    if across:
        kind += "-across-lists"
        # What makes it a leak must not be lost where few are named.
        others.sort(key=lambda entry: entry[0] == first[0])
    named = [f"{_name(lists, entry)} ({_elsewhere(lists, first, entry)})" for entry in others]
    text = f"{_location(lists, first)}: {how} {_joined(named)}{bits}"
    return finding(kind, text, [_name(lists, entry) for entry in entries])


def _disagreement(
    lists: Sequence[CheckedList], entries: Sequence[Entry], label_names: Sequence[str], how: str
) -> Iterator[Finding]:
    conflict = conflicting(lists, entries)
    if conflict is None:
        return
    first, second = conflict
    here, there = (lists[number].images.labels[position] for number, position in conflict)
    yield finding(
        "labels-disagree",
        f"{_location(lists, first)}: has {_label_text(here, there, label_names)}; {_name(lists, second)} "
        f"({_elsewhere(lists, first, second)}), {how}, has {_label_text(there, here, label_names)}",
        [_name(lists, first), _name(lists, second)],
    )


# ---- words


def _name(lists: Sequence[CheckedList], entry: Entry) -> str:
    return lists[entry[0]].images.name(entry[1])


def _location(lists: Sequence[CheckedList], entry: Entry) -> str:
    return lists[entry[0]].location(entry[1])


def _elsewhere(lists: Sequence[CheckedList], here: Entry, entry: Entry) -> str:
    """Return the line of a entry, and its list where that is another than here."""
    checked = lists[entry[0]]
    line = checked.line_numbers[entry[1]]
    return f"line {line}" if entry[0] == here[0] else f"{checked.path}:{line}"


def _joined(parts: Sequence[str]) -> str:
    cut = [*parts[:EXAMPLES], f"{len(parts) - EXAMPLES:,} more"] if len(parts) > EXAMPLES else list(parts)
    return cut[0] if len(cut) == 1 else f"{', '.join(cut[:-1])} and {cut[-1]}"


def _label_text(labels: np.ndarray, others: np.ndarray, label_names: Sequence[str]) -> str:
    """Return the names of the labels, (C,), that are present; of many rather those that ``others``, (C,), has not."""
    columns = np.flatnonzero(labels == 1)
    if len(columns) > _SHOWN_LABELS:
        columns = columns[np.argsort(others[columns] == 1, kind="stable")]
    return shown([label_names[column] for column in columns], _SHOWN_LABELS) or "no label"
