"""Labels that are probably one, spelt in two ways: ``Sea`` beside ``sea``, ``tress`` beside ``trees``."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator, Sequence

FEWEST_LETTERS = 4
"""A shorter word is too often one letter from another: cat and car, red and bed."""
FEW_IMAGES = 2
SMALL_SHARE = 0.01
"""Of two words one letter apart, one that is in more than FEW_IMAGES and this share of the other's is a word of its
own, such as coat beside boat."""

_LONGEST = 100  # characters; what is compared letter by letter takes time that grows with the square of a name's length
_SEPARATORS = re.compile(r"[\s_-]+")
_BESIDE_NO_DIGIT = re.compile(r"(?<!\d) | (?!\d)")


def look_alikes(label_names: Sequence[str], counts: Sequence[int]) -> list[tuple[str, str]]:
    """Return pairs of a name and the commoner one that it looks like, in the order of the first.

    ``counts`` says in how many images each of the different names occurs. Two names look alike that are the same but
    for case, blanks, hyphens and underscores; between digits these count. So do two with one letter inserted, dropped
    or changed, or two neighbours swapped (a Damerau-Levenshtein distance of 1), in a word of at least FEWEST_LETTERS,
    where the rarer name occurs, but in no more than FEW_IMAGES or SMALL_SHARE of the commoner's. Digits are no letters,
    nor are the signs of scripts without case. Each name is paired with the commonest that it looks like, the earlier
    one where two are as common. The time grows with the number of names, not with its square.
    """
    order = sorted(range(len(label_names)), key=lambda position: -counts[position])
    partner: dict[int, int] = {}
    first_of: dict[str, int] = {}  # each spelling's commonest name
    distinct: list[tuple[str, int]] = []  # commonest first
    for position in order:
        words = _words(label_names[position])
        commoner = first_of.setdefault(_BESIDE_NO_DIGIT.sub("", words) or words, position)
        if commoner == position:
            distinct.append((words, position))
        else:
            partner[position] = commoner
    for rarer, commoner in _one_letter_apart([words for words, _ in distinct]):
        here, there = distinct[rarer][1], distinct[commoner][1]
        if 0 < counts[here] <= max(FEW_IMAGES, SMALL_SHARE * counts[there]):
            partner[here] = there
    return [(label_names[here], label_names[there]) for here, there in sorted(partner.items())]


def _words(name: str) -> str:
    """Return a name in one case, with one blank between words."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return _SEPARATORS.sub(" ", folded).strip() or folded


def _one_letter_apart(names: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield for each of the different names, of which the first are preferred, its number and its best partner's.

    Nothing is yielded for a name without a partner before it. Two names that differ in one position are equal without
    that position; so each name is looked up without each of its letters, and never compared with all others.
    """
    best: dict[int, int] = {}

    def pair(one: int, other: int) -> None:
        earlier, later = sorted((one, other))
        best[later] = min(earlier, best.get(later, earlier))

    by_length: dict[int, list[int]] = {}
    for number, name in enumerate(names):
        if len(name) <= _LONGEST:
            by_length.setdefault(len(name), []).append(number)
    for length, numbers in by_length.items():
        shorter = {names[number]: number for number in by_length.get(length - 1, ())}
        same = {names[number]: number for number in numbers}
        run = {number: _word_lengths(names[number]) for number in numbers}
        for position in range(length):
            # One position at a time, so that what is remembered grows only with the number of names.
            without: dict[str, int] = {}
            for number in numbers:
                name = names[number]
                if run[number][position] < FEWEST_LETTERS:
                    continue
                rest = name[:position] + name[position + 1 :]
                first = without.setdefault(rest, number)
                if first != number:
                    pair(first, number)
                if run[number][position] > FEWEST_LETTERS and rest in shorter:
                    pair(shorter[rest], number)
                swapped = name[:position] + name[position + 1 : position + 2] + name[position] + name[position + 2 :]
                if swapped in same and swapped != name and run[number][position + 1]:
                    pair(same[swapped], number)
    yield from best.items()


def _word_lengths(name: str) -> list[int]:
    """Return for each character of a folded name how many letters its word has; 0 for what is no letter."""
    lengths: list[int] = []
    # Scripts without case have no lower case either: two of their signs are often a whole name.
    for are_letters, part in itertools.groupby(name, str.islower):
        length = len(list(part))
        lengths += [length if are_letters else 0] * length
    return lengths
