"""Which images belong together, so that a split does not part them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence

import numpy as np

from mxml.errors import MxmlError


def group_by_pattern(names: Sequence[str], pattern: str) -> np.ndarray:
    """Return (N,) int64: one number for all names in which a regular expression finds the same text.

    The text is what the expression's groups match, or all of the match where it has none. A name without a match is
    a group of its own. Raises MxmlError for what is no regular expression, and for one that finds nothing in any name.
    """
    try:
        with warnings.catch_warnings():
            # What a later Python may read otherwise is no matter for the person at the command line.
            warnings.simplefilter("ignore", FutureWarning)
            expression = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise MxmlError(f"--group-by {pattern}: is no regular expression: {error}") from None
    numbers: dict[object, int] = {}
    found = np.empty(len(names), np.int64)
    matches = 0
    for position, name in enumerate(names):
        match = expression.search(name)
        matches += match is not None
        key = position if match is None else (match.groups() or match.group())
        found[position] = numbers.setdefault(key, len(numbers))
    if not matches:
        raise MxmlError(f"--group-by {pattern}: finds nothing in any name, such as {names[0]!r}")
    return found


def join_groups(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return (N,) int64: the groups that result when images together in either grouping (N,) stay together."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    left = np.unique(first, return_inverse=True)[1]
    right = np.unique(second, return_inverse=True)[1]
    size = int(left.max(initial=-1)) + 1
    nodes = size + int(right.max(initial=-1)) + 1
    edges = coo_array((np.ones(len(left), np.int8), (left, right + size)), shape=(nodes, nodes))
    return connected_components(edges, directed=False)[1][left].astype(np.int64)
