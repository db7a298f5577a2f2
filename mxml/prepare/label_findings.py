"""What is wrong with the labels of checked lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mxml.data.image_list import ImageList
from mxml.prepare.checked_lists import CheckedList
from mxml.prepare.findings import EXAMPLES, Finding, examples, finding
from mxml.prepare.label_pairs import always_together, count_pairs, never_together
from mxml.prepare.label_spelling import look_alikes
from mxml.prepare.label_statistics import LabelStatistics, ListStatistics
from mxml.text import counted, quoted, shown

# A share differs where chance explains it in one of 30,000 labels, and by a fifth, which a million images would not be
# needed to see.
_UNLIKELY_Z = 4.0
_NOTABLE_CHANGE = 0.2
_MOST_PAIRS = 5


def label_findings(
    lists: Sequence[CheckedList], statistics: LabelStatistics, labels_file: str | None
) -> Iterator[Finding]:
    """Yield what is wrong with the labels' names, with how often each occurs, and with which occur together.

    ``labels_file`` is the file that the names are from; None where labels are only numbered.
    """
    names = [shown([name]) for name in statistics.label_names]
    yield from _spelling_findings(lists, statistics, labels_file)
    yield from _frequency_findings(lists, statistics, names)
    yield from _new_pair_findings(lists, statistics, names)
    yield from _training_pair_findings(lists[0], statistics, names)


def _spelling_findings(
    lists: Sequence[CheckedList], statistics: LabelStatistics, labels_file: str | None
) -> Iterator[Finding]:
    if labels_file is None:
        return
    counts = np.sum([stats.present for stats in statistics.lists], axis=0).tolist()
    column = {name: number for number, name in enumerate(statistics.label_names)}
    for pair in look_alikes(statistics.label_names, counts):
        rarer, commoner = (column[name] for name in pair)
        here, there = map(quoted, pair)
        yield finding(
            "labels-look-alike",
            f"{labels_file}:{rarer + 1}: {here} ({counted(counts[rarer], 'image')}) looks like {there} "
            f"(line {commoner + 1}, {counted(counts[commoner], 'image')})",
            [name for checked in lists for name in examples(checked.images, checked.images.labels[:, rarer] == 1)][
                :EXAMPLES
            ],
        )


def _frequency_findings(
    lists: Sequence[CheckedList], statistics: LabelStatistics, label_names: Sequence[str]
) -> Iterator[Finding]:
    train = statistics.lists[0]
    for number, (checked, stats) in enumerate(zip(lists, statistics.lists)):
        columns = _columns(checked.images)
        for column, name in enumerate(label_names):
            if not stats.present[column]:
                what = f"no image has {name}" if stats.absent[column] else f"{name} is unknown in every image"
                yield finding("label-never-occurs", f"{checked.path}: {what}{_but_unknown(stats, column)}")
                continue
            if not stats.absent[column]:
                what = f"every image has {name}{_but_unknown(stats, column)}"
                yield finding("label-always-occurs", f"{checked.path}: {what}")
            if number and not train.present[column]:
                yield finding(
                    "label-not-in-training",
                    f"{checked.path}: {counted(stats.present[column], 'image')} with {name}, and none in {train.name}",
                    examples(checked.images, columns[column]),
                )
            elif number and _differs(train, stats, column):
                yield finding(
                    "share-differs",
                    f"{checked.path}: {stats.shares[column]:.1%} of the images have {name}, "
                    f"{train.shares[column]:.1%} in {train.name}",
                )
        if stats.label_counts[0]:
            without = ~columns.any(axis=0)
            unsure = np.count_nonzero((checked.images.labels[without] == -1).any(axis=1))
            yield finding(
                "images-without-label",
                f"{checked.path}: {stats.label_counts[0]:,} of {counted(stats.images, 'image')} have no label"
                + (f", {unsure:,} of them with unknown ones" if unsure else ""),
                examples(checked.images, without),
            )


def _but_unknown(stats: ListStatistics, column: int) -> str:
    """Return in how many images a label is unknown, where it is known in others."""
    unknown = int(stats.unknown[column])
    return f" (unknown in {unknown:,})" if 0 < unknown < stats.images else ""


def _differs(train: ListStatistics, stats: ListStatistics, column: int) -> bool:
    """Compare two shares by the two-proportion z-test with pooled variance, and by how far they are apart."""
    here, there = (int(its.present[column] + its.absent[column]) for its in (stats, train))
    pooled = (stats.present[column] + train.present[column]) / (here + there)
    deviation = float(np.sqrt(pooled * (1 - pooled) * (1 / here + 1 / there)))
    difference = abs(stats.shares[column] - train.shares[column])
    largest = max(stats.shares[column], train.shares[column])
    return bool(difference > _UNLIKELY_Z * deviation and difference > _NOTABLE_CHANGE * largest)


def _new_pair_findings(
    lists: Sequence[CheckedList], statistics: LabelStatistics, label_names: Sequence[str]
) -> Iterator[Finding]:
    train = statistics.lists[0]
    for checked, stats, pairs in zip(lists, statistics.lists, statistics.new_pairs):
        seen = [(i, j) for i, j in pairs.tolist() if train.present[i] and train.present[j]]
        columns = _columns(checked.images)
        for first, second in seen:
            names = f"{label_names[first]} and {label_names[second]}"
            count = counted(int(stats.cooccurrence[first, second]), "image")
            yield finding(
                "pair-not-in-training",
                f"{checked.path}: {count} with {names}, and none in {train.name}",
                examples(checked.images, columns[first] & columns[second]),
            )


def _training_pair_findings(
    train: CheckedList, statistics: LabelStatistics, label_names: Sequence[str]
) -> Iterator[Finding]:
    labels = train.images.labels
    counts = count_pairs(labels)
    always = always_together(counts)
    for pair in always[:_MOST_PAIRS]:
        first, second = label_names[pair.first], label_names[pair.second]
        yield finding(
            "label-always-with-another",
            f"{train.path}: every image with {first} ({pair.images:,}) has {second}; add images with {first} "
            f"and without {second}, or a network may learn the two as one",
            examples(train.images, labels[:, pair.first] == 1),
        )
    yield from _more("label-always-with-another", train, len(always))
    in_no_list = set(map(tuple, statistics.absent_pairs.tolist()))
    never = [pair for pair in never_together(counts, labels) if (pair.first, pair.second) in in_no_list]
    for pair in never[:_MOST_PAIRS]:
        yield finding(
            "pair-never-occurs",
            f"{train.path}: no image has both {label_names[pair.first]} and {label_names[pair.second]}, where chance "
            f"would give about {pair.expected:.0f}; if there are such images, add some",
        )
    yield from _more("pair-never-occurs", train, len(never))


def _more(kind: str, train: CheckedList, pairs: int) -> Iterator[Finding]:
    if pairs > _MOST_PAIRS:
        yield finding(kind, f"{train.path}: {counted(pairs - _MOST_PAIRS, 'more pair')} of labels like these")


def _columns(images: ImageList) -> np.ndarray:
    """Return (C, N) bool which images have a label, each label's in one piece."""
    return np.ascontiguousarray((images.labels == 1).T)
