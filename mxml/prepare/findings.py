"""What can be wrong with checked lists: the kinds of findings, and what each of them says."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mxml.data.image_list import ImageList

SMALLEST_SIDE = 32
"""Pixels; an image with a shorter side says next to nothing to a network that sees 224."""
MOST_PIXELS = 20_000_000
"""An image with more is slow to decode, and nothing of it is left once it is scaled to a network's input."""
MOST_ELONGATED = 5
"""Longer side over shorter; of an image beyond it, a square crop shows less than a fifth."""
EXAMPLES = 5
"""How many images a finding about many of them names."""

ERRORS = {
    "faulty-line": "lines that cannot be read",
    "missing": "images that do not exist",
    "unreadable": "images that cannot be decoded",
    "truncated": "images that are cut short",
    "empty": "images with empty files",
    "too-large": "images over the size limit",
    "no-image-left": "lists without a usable image",
}
"""The kinds of findings that training would stop at or do without, and what they are about."""
WARNINGS = {
    "labels-disagree": "images that occur more than once, with different labels",
    "labels-look-alike": "labels that may be the same, spelt in two ways",
    "in-several-lists": "images in more than one list: metrics on them mean nothing",
    "exact-duplicates-across-lists": "the same file under other names in more than one list",
    "near-duplicates-across-lists": "images that look alike in more than one list",
    "damaged": "images that are damaged but can be decoded",
    "named-twice": "images named more than once in one list",
    "exact-duplicates": "the same file under other names within a list",
    "near-duplicates": "images that look alike within a list",
    "label-not-in-training": "labels that the first list never shows",
    "pair-not-in-training": "pairs of labels that the first list never shows together",
    "label-always-with-another": "labels that the first list shows only together with another one",
    "pair-never-occurs": "pairs of frequent labels that no image shows together",
    "label-never-occurs": "labels that no image of a list has",
    "label-always-occurs": "labels that every image of a list has",
    "share-differs": "labels with another share than in the first list",
    "images-without-label": "images with no label at all",
    "animated": "images with several frames or pages; only the first is used",
    "too-small": f"images with a side under {SMALLEST_SIDE} pixels",
    "larger-than-needed": f"images of more than {MOST_PIXELS // 1_000_000} million pixels: slow to decode",
    "elongated": f"images more than {MOST_ELONGATED} times as long as wide: a crop shows only a small part",
}
"""The kinds of the other findings, and what they are about, the most harmful first."""


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


def finding(kind: str, text: str, images: Iterable[str] = ()) -> Finding:
    """Return a finding with the severity of its kind."""
    return Finding("error" if kind in ERRORS else "warning", kind, text, tuple(images))


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings in the order of ERRORS and WARNINGS."""
    order = {kind: number for number, kind in enumerate([*ERRORS, *WARNINGS])}
    return tuple(sorted(findings, key=lambda found: order[found.kind]))


def headlines(findings: Sequence[Finding]) -> list[str]:
    """Return a line per kind of finding, which says how many there are, and the first of them."""
    lines = []
    for kind, same in itertools.groupby(findings, key=lambda found: found.kind):
        texts = [found.text for found in same]
        about = {**ERRORS, **WARNINGS}[kind]
        lines.append(f"{about} ({len(texts):,}), such as {texts[0]}")
    return lines


def examples(images: ImageList, chosen: np.ndarray) -> list[str]:
    """Return the names of the first images that are chosen, (N,) bool."""
    return [images.name(position) for position in np.flatnonzero(chosen)[:EXAMPLES].tolist()]
