"""The pictures on the check page: samples of each label, groups of duplicates, and their thumbnails."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mxml.pages.thumbnails import Thumbnail, make_thumbnails
from mxml.prepare.check import CheckReport
from mxml.prepare.checked_lists import DuplicateGroup, Entry
from mxml.progress import SILENT, Progress

# What bounds the page; each limit that is reached is said on it.
SAMPLES = 400
SAMPLES_PER_LABEL = 8
GROUPS = 60
GROUP_IMAGES = 6
GROUP_COMPARED = 1_000


@dataclass(frozen=True)
class Card:
    """An image on the page: where it comes from and what it is labelled with.

    ``labels`` are the positions of the labels that are present; ``differing`` holds, for a duplicate, pairs of a label
    on which its group disagrees and this image's value of it.
    """

    entry: Entry
    name: str
    list_name: str
    line: int
    labels: tuple[int, ...]
    differing: tuple[tuple[int, int], ...] = ()


def label_samples(
    report: CheckReport, by_frequency: np.ndarray, list_names: Sequence[str]
) -> list[tuple[int, list[Card]]]:
    """Choose images of each label, spread evenly over the lists, in the order of the labels.

    The rarest label chooses first, and an image is shown a second time only where a label has no others.
    """
    # All of them or half: what the style sheet's rows of eight, four and two pictures are filled by.
    each = SAMPLES_PER_LABEL if SAMPLES_PER_LABEL * len(by_frequency) <= SAMPLES else SAMPLES_PER_LABEL // 2
    first = np.cumsum([0, *(len(checked.images) for checked in report.lists)])
    shown = np.zeros(first[-1], bool)
    chosen = []
    for label in by_frequency[: SAMPLES // each][::-1].tolist():
        has_label = [(checked.images.labels[:, label] == 1) & checked.usable for checked in report.lists]
        found = np.flatnonzero(np.concatenate(has_label))
        fresh, again = found[~shown[found]], found[shown[found]]
        picked = np.union1d(_spread(fresh, each), _spread(again, max(0, each - len(fresh))))
        shown[picked] = True
        lists = np.searchsorted(first, picked, side="right") - 1
        entries = zip(lists.tolist(), (picked - first[lists]).tolist())
        chosen.append((label, [_card(report, entry, list_names) for entry in entries]))
    return sorted(chosen, key=lambda sample: sample[0])


def _spread(values: np.ndarray, count: int) -> np.ndarray:
    """Return so many of the values, evenly spaced from the first to the last."""
    if len(values) <= count:
        return values
    return values[np.linspace(0, len(values) - 1, count).round().astype(np.int64)]


def _telling_first(groups: Iterable[DuplicateGroup]) -> list[DuplicateGroup]:
    """Order groups: those whose labels differ first, then those in several lists, then by how alike they are."""
    return sorted(groups, key=lambda group: (not group.labels_differ, not group.across_lists, group.distance))


def duplicate_groups(report: CheckReport, list_names: Sequence[str]) -> list[tuple[DuplicateGroup, list[Card]]]:
    """Choose the most informative groups, and images of each."""
    return [(group, _group_cards(report, group, list_names)) for group in _telling_first(report.duplicates)[:GROUPS]]


def _group_cards(report: CheckReport, group: DuplicateGroup, list_names: Sequence[str]) -> list[Card]:
    """Choose images of a group: of all labellings that it has, before more of the same."""
    entries = group.entries[:GROUP_COMPARED]
    values = np.array([report.lists[number].images.labels[position] for number, position in entries])
    differing = np.flatnonzero((values == 1).any(axis=0) & (values == 0).any(axis=0)).tolist()
    _, firsts = np.unique(values, axis=0, return_index=True)
    order = np.concatenate([np.sort(firsts), np.setdiff1d(np.arange(len(entries)), firsts)])
    chosen = np.sort(order[:GROUP_IMAGES]).tolist()
    return [_card(report, entries[i], list_names, differing) for i in chosen]


def _card(report: CheckReport, entry: Entry, list_names: Sequence[str], differing: Sequence[int] = ()) -> Card:
    number, position = entry
    checked = report.lists[number]
    labels = checked.images.labels[position]
    return Card(
        entry,
        checked.images.name(position),
        list_names[number],
        int(checked.line_numbers[position]),
        tuple(np.flatnonzero(labels == 1).tolist()),
        tuple((label, int(labels[label])) for label in differing),
    )


def thumbnails(report: CheckReport, cards: Iterable[Card], progress: Progress = SILENT) -> dict[Entry, Thumbnail]:
    """Return a small picture for each entry that is shown."""
    entries = sorted({card.entry for card in cards})
    return make_thumbnails({entry: (report.lists[entry[0]].source, entry[1]) for entry in entries}, progress)
