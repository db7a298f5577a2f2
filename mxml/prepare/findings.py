"""What can be wrong with checked lists, each thing in one line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mxml.data.image_list import ImageList
from mxml.prepare.checked_lists import CheckedList, DuplicateGroup, Place, Places, conflicting
from mxml.prepare.image_scan import ImageScan
from mxml.prepare.label_spelling import look_alikes
from mxml.prepare.label_statistics import LabelStatistics, ListStatistics
from mxml.text import quoted, shown

SMALLEST_SIDE = 32
"""Pixels; an image with a shorter side says next to nothing to a network that sees 224."""
MOST_PIXELS = 20_000_000
"""An image with more is slow to decode, and nothing of it is left once it is scaled to a network's input."""
MOST_ELONGATED = 5
"""Longer side over shorter; of an image beyond it, a square crop shows less than a fifth."""

ERRORS = {
    "faulty-line": "lines that cannot be read",
    "missing": "images that are not there",
    "unreadable": "images that cannot be decoded",
    "truncated": "images that are cut short",
    "empty": "images without a single byte",
    "too-large": "images over the size limit",
    "no-image-left": "lists without a usable image",
}
"""The kinds of findings that training would stop at or do without, and what they are about."""
WARNINGS = {
    "labels-disagree": "images that occur more than once, with different labels",
    "labels-look-alike": "labels that may be one, spelt in two ways",
    "in-several-lists": "images in more than one list: judging on them tells nothing",
    "exact-duplicates-across-lists": "the same file under other names in more than one list",
    "near-duplicates-across-lists": "images that look alike in more than one list",
    "damaged": "images that decode with damage",
    "named-twice": "images named more than once in one list",
    "exact-duplicates": "the same file under other names within a list",
    "near-duplicates": "images that look alike within a list",
    "label-not-in-training": "labels that the first list never shows",
    "pair-not-in-training": "pairs of labels that the first list never shows together",
    "label-never-occurs": "labels that no image of a list has",
    "label-always-occurs": "labels that every image of a list has",
    "share-differs": "labels with another share than in the first list",
    "images-without-label": "images with no label at all",
    "animated": "images of several frames or pages, of which only the first is used",
    "too-small": f"images with a side under {SMALLEST_SIDE} pixels",
    "larger-than-needed": f"images of more than {MOST_PIXELS // 1_000_000} million pixels: slow to decode",
    "elongated": f"images more than {MOST_ELONGATED} times as long as wide: a crop shows little of them",
}
"""The kinds of the other findings, and what they are about, the most harmful first."""

_EXAMPLES = 5
_CORRUPT = "Corrupt JPEG data: "
_SHOWN_LABELS = 8
# A share differs where chance explains it in one of 30,000 labels, and by a fifth, which a million images would not be
# needed to see.
_UNLIKELY_Z = 4.0
_NOTABLE_CHANGE = 0.2


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    ``severity`` is ``error`` (training would stop at it, or do without) or ``warning``; ``kind`` is one of ERRORS or
    WARNINGS; ``text`` is one line that opens with the list's path, or with the label names' where it is about these
    alone, and the line there if it is about one; ``images`` are the names of the images concerned, as the lists have
    them, at most a handful where it concerns a label or a whole list.
    """

    severity: str
    kind: str
    text: str
    images: tuple[str, ...] = ()


def find_all(
    lists: Sequence[CheckedList],
    scan: ImageScan,
    statistics: LabelStatistics,
    labels_file: str | None,
    places: Places,
    duplicates: Sequence[DuplicateGroup],
) -> tuple[Finding, ...]:
    """Return all that is wrong, in the order of ERRORS and WARNINGS.

    ``labels_file`` is the file that the names of the labels are from; None where they are only numbered.
    """
    names = [shown([name]) for name in statistics.label_names]
    findings = [
        *_line_findings(lists),
        *_fault_findings(lists, scan),
        *_damage_findings(lists, scan),
        *_size_findings(lists, scan),
        *_repeat_findings(lists, places, names),
        *_duplicate_findings(lists, scan, duplicates, names),
        *_spelling_findings(lists, statistics, labels_file),
        *_label_findings(lists, statistics, names),
        *_pair_findings(lists, statistics, names),
    ]
    order = {kind: number for number, kind in enumerate([*ERRORS, *WARNINGS])}
    return tuple(sorted(findings, key=lambda finding: order[finding.kind]))


def _finding(kind: str, text: str, images: Iterable[str] = ()) -> Finding:
    return Finding("error" if kind in ERRORS else "warning", kind, text, tuple(images))


def _line_findings(lists: Sequence[CheckedList]) -> Iterator[Finding]:
    for checked in lists:
        for fault in checked.line_faults:
            yield _finding("faulty-line", fault)
        hidden = checked.line_fault_count - len(checked.line_faults)
        if hidden:
            yield _finding("faulty-line", f"{checked.path}: {hidden:,} more lines are faulty like these")


def _fault_findings(lists: Sequence[CheckedList], scan: ImageScan) -> Iterator[Finding]:
    faults = {fault.position: fault for fault in scan.faults}
    for checked in lists:
        broken = [(position, faults[int(checked.rows[position])]) for position in np.flatnonzero(~checked.usable)]
        all_missing = len(broken) == len(checked.images) and all(fault.kind == "missing" for _, fault in broken)
        if all_missing:
            examples = [checked.images.name(position) for position in range(min(_EXAMPLES, len(checked.images)))]
            yield _finding(
                "missing",
                f"{checked.path}: none of its {_images(len(broken))} is under {checked.images.root or '.'}, such as "
                f"{examples[0]}; check the image root",
                examples,
            )
        else:
            for position, fault in broken:
                text = f"{checked.place(position)}: {fault.reason}"
                yield _finding(fault.kind.replace("_", "-"), text, [checked.images.name(position)])
        if len(broken) == len(checked.images):
            yield _finding("no-image-left", f"{checked.path}: none of its images can be used")


def _damage_findings(lists: Sequence[CheckedList], scan: ImageScan) -> Iterator[Finding]:
    reasons = {damage.position: damage.reason for damage in scan.damages}
    for checked in lists:
        for position in np.flatnonzero(np.isin(checked.rows, list(reasons))).tolist():
            reason = reasons[int(checked.rows[position])]
            reason = reason[len(_CORRUPT) :] if reason.startswith(_CORRUPT) else reason
            text = f"{checked.place(position)}: is damaged inside: {reason}"
            yield _finding("damaged", text, [checked.images.name(position)])


def _size_findings(lists: Sequence[CheckedList], scan: ImageScan) -> Iterator[Finding]:
    for checked in lists:
        width, height = scan.width[checked.rows].astype(np.int64), scan.height[checked.rows].astype(np.int64)
        short, long = np.minimum(width, height), np.maximum(width, height)
        for kind, found, what in (
            ("animated", scan.animated[checked.rows], "has several frames or pages, of which only the first is used"),
            ("too-small", short < SMALLEST_SIDE, "has {} x {} pixels"),
            ("larger-than-needed", width * height > MOST_PIXELS, "has {:,} x {:,} pixels"),
            ("elongated", (long > MOST_ELONGATED * short) & (short >= SMALLEST_SIDE), "has {} x {} pixels"),
        ):
            for position in np.flatnonzero(found & checked.usable).tolist():
                text = what.format(width[position], height[position])
                yield _finding(kind, f"{checked.place(position)}: {text}", [checked.images.name(position)])


def _repeat_findings(lists: Sequence[CheckedList], places: Places, label_names: Sequence[str]) -> Iterator[Finding]:
    for row in places.repeated():
        named = places.of(row)
        mentions: dict[int, list[Place]] = {}
        for place in named:
            mentions.setdefault(place[0], []).append(place)
        for own in mentions.values():
            if len(own) > 1:
                yield _repeat("named-twice", "is named again in", lists, own)
        if len(mentions) > 1:
            yield _repeat("in-several-lists", "is also in", lists, [own[0] for own in mentions.values()])
        yield from _disagreement(lists, named, label_names, "named twice")


def _repeat(kind: str, how: str, lists: Sequence[CheckedList], named: Sequence[Place]) -> Finding:
    first, *others = named
    elsewhere = _joined([_elsewhere(lists, first, place) for place in others])
    return _finding(kind, f"{_place(lists, first)}: {how} {elsewhere}", [_name(lists, first)])


def _duplicate_findings(
    lists: Sequence[CheckedList], scan: ImageScan, duplicates: Sequence[DuplicateGroup], label_names: Sequence[str]
) -> Iterator[Finding]:
    for group in duplicates:
        for places in _copies(lists, scan, group):
            yield _duplicates("exact-duplicates", lists, places, "is the same file as")
        if not group.exact:
            bits = f" ({group.distance} of 256 bits differ)"
            yield _duplicates("near-duplicates", lists, group.places, "looks like", bits)
        yield from _disagreement(lists, group.places, label_names, "the same file" if group.exact else "alike")


def _copies(lists: Sequence[CheckedList], scan: ImageScan, group: DuplicateGroup) -> list[list[Place]]:
    """Return the places of a group in parts whose files hold the same bytes, where these are several files."""
    copies: dict[bytes, list[Place]] = {}
    files: dict[bytes, set[int]] = {}
    for number, position in group.places:
        row = int(lists[number].rows[position])
        digest = scan.digest[row].tobytes()
        copies.setdefault(digest, []).append((number, position))
        files.setdefault(digest, set()).add(row)
    return [copies[digest] for digest, rows in files.items() if len(rows) > 1]


def _duplicates(kind: str, lists: Sequence[CheckedList], places: Sequence[Place], how: str, bits: str = "") -> Finding:
    first, *others = places
    across = any(place[0] != first[0] for place in others)
    if across:
        kind += "-across-lists"
        # What makes it a leak must not be lost where few are named.
        others.sort(key=lambda place: place[0] == first[0])
    named = [f"{_name(lists, place)} ({_elsewhere(lists, first, place)})" for place in others]
    text = f"{_place(lists, first)}: {how} {_joined(named)}{bits}"
    return _finding(kind, text, [_name(lists, place) for place in places])


def _disagreement(
    lists: Sequence[CheckedList], places: Sequence[Place], label_names: Sequence[str], how: str
) -> Iterator[Finding]:
    conflict = conflicting(lists, places)
    if conflict is None:
        return
    first, second = conflict
    here, there = (lists[number].images.labels[position] for number, position in conflict)
    yield _finding(
        "labels-disagree",
        f"{_place(lists, first)}: has {_label_text(here, there, label_names)}; {_name(lists, second)} "
        f"({_elsewhere(lists, first, second)}), {how}, has {_label_text(there, here, label_names)}",
        [_name(lists, first), _name(lists, second)],
    )


def _spelling_findings(
    lists: Sequence[CheckedList], statistics: LabelStatistics, labels_file: str | None
) -> Iterator[Finding]:
    if labels_file is None:
        return
    counts = np.sum([counted.present for counted in statistics.lists], axis=0).tolist()
    column = {name: number for number, name in enumerate(statistics.label_names)}
    for pair in look_alikes(statistics.label_names, counts):
        rarer, commoner = (column[name] for name in pair)
        here, there = map(quoted, pair)
        yield _finding(
            "labels-look-alike",
            f"{labels_file}:{rarer + 1}: {here} ({_images(counts[rarer])}) looks like {there} "
            f"(line {commoner + 1}, {_images(counts[commoner])})",
            [name for checked in lists for name in _examples(checked.images, checked.images.labels[:, rarer] == 1)][
                :_EXAMPLES
            ],
        )


def _label_findings(
    lists: Sequence[CheckedList], statistics: LabelStatistics, label_names: Sequence[str]
) -> Iterator[Finding]:
    train = statistics.lists[0]
    for number, (checked, own) in enumerate(zip(lists, statistics.lists)):
        columns = _columns(checked.images)
        for column, name in enumerate(label_names):
            if not own.present[column]:
                what = f"no image has {name}" if own.absent[column] else f"{name} is unknown in every image"
                yield _finding("label-never-occurs", f"{checked.path}: {what}{_but_unknown(own, column)}")
                continue
            if not own.absent[column]:
                what = f"every image has {name}{_but_unknown(own, column)}"
                yield _finding("label-always-occurs", f"{checked.path}: {what}")
            if number and not train.present[column]:
                yield _finding(
                    "label-not-in-training",
                    f"{checked.path}: {_images(own.present[column])} with {name}, and none in {train.name}",
                    _examples(checked.images, columns[column]),
                )
            elif number and _differs(train, own, column):
                yield _finding(
                    "share-differs",
                    f"{checked.path}: {own.shares[column]:.1%} of the images have {name}, "
                    f"{train.shares[column]:.1%} in {train.name}",
                )
        if own.label_counts[0]:
            without = ~columns.any(axis=0)
            unsure = np.count_nonzero((checked.images.labels[without] == -1).any(axis=1))
            yield _finding(
                "images-without-label",
                f"{checked.path}: {own.label_counts[0]:,} of {_images(own.images)} have no label"
                + (f", {unsure:,} of them with unknown ones" if unsure else ""),
                _examples(checked.images, without),
            )


def _but_unknown(own: ListStatistics, column: int) -> str:
    """Return in how many images a label is unknown, where it is known in others."""
    unknown = int(own.unknown[column])
    return f" (unknown in {unknown:,})" if 0 < unknown < own.images else ""


def _differs(train: ListStatistics, own: ListStatistics, column: int) -> bool:
    """Compare two shares by the two-proportion z-test with pooled variance, and by how far they are apart."""
    here, there = (int(counts.present[column] + counts.absent[column]) for counts in (own, train))
    pooled = (own.present[column] + train.present[column]) / (here + there)
    deviation = float(np.sqrt(pooled * (1 - pooled) * (1 / here + 1 / there)))
    difference = abs(own.shares[column] - train.shares[column])
    largest = max(own.shares[column], train.shares[column])
    return bool(difference > _UNLIKELY_Z * deviation and difference > _NOTABLE_CHANGE * largest)


def _pair_findings(
    lists: Sequence[CheckedList], statistics: LabelStatistics, label_names: Sequence[str]
) -> Iterator[Finding]:
    train = statistics.lists[0]
    for checked, own, pairs in zip(lists, statistics.lists, statistics.new_pairs):
        seen = [(i, j) for i, j in pairs.tolist() if train.present[i] and train.present[j]]
        columns = _columns(checked.images)
        for first, second in seen:
            names = f"{label_names[first]} and {label_names[second]}"
            count = _images(own.cooccurrence[first, second])
            yield _finding(
                "pair-not-in-training",
                f"{checked.path}: {count} with {names}, and none in {train.name}",
                _examples(checked.images, columns[first] & columns[second]),
            )


# ---- words


def _columns(images: ImageList) -> np.ndarray:
    """Return (C, N) bool which images have a label, each label's in one piece."""
    return np.ascontiguousarray((images.labels == 1).T)


def _examples(images: ImageList, chosen: np.ndarray) -> list[str]:
    return [images.name(position) for position in np.flatnonzero(chosen)[:_EXAMPLES].tolist()]


def _name(lists: Sequence[CheckedList], place: Place) -> str:
    return lists[place[0]].images.name(place[1])


def _place(lists: Sequence[CheckedList], place: Place) -> str:
    return lists[place[0]].place(place[1])


def _elsewhere(lists: Sequence[CheckedList], here: Place, place: Place) -> str:
    """Return the line of a place, and its list where that is another than here."""
    checked = lists[place[0]]
    line = checked.line_numbers[place[1]]
    return f"line {line}" if place[0] == here[0] else f"{checked.path}:{line}"


def _joined(parts: Sequence[str]) -> str:
    cut = [*parts[:_EXAMPLES], f"{len(parts) - _EXAMPLES:,} more"] if len(parts) > _EXAMPLES else list(parts)
    return cut[0] if len(cut) == 1 else f"{', '.join(cut[:-1])} and {cut[-1]}"


def _label_text(labels: np.ndarray, others: np.ndarray, label_names: Sequence[str]) -> str:
    """Return the names of the labels, (C,), that are present; of many rather those that ``others``, (C,), has not."""
    columns = np.flatnonzero(labels == 1)
    if len(columns) > _SHOWN_LABELS:
        columns = columns[np.argsort(others[columns] == 1, kind="stable")]
    return shown([label_names[column] for column in columns], _SHOWN_LABELS) or "no label"


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"
