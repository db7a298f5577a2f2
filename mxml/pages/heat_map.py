"""Tables whose cells are shaded by how large their numbers are."""

from __future__ import annotations

import math
from collections.abc import Sequence


def step(share: float, highest: float) -> int:
    """Return which of ten shades a share above 0 has, in tenths of the ``highest``, rounded up."""
    return math.ceil(10 * share / highest)


def look(names: Sequence[str]) -> str:
    """Return the style classes of a table with these columns: how wide its cells are, and which way its heads run."""
    if len(names) > 16:
        return "dense upright"
    if max(map(len, names), default=0) > 10:
        return "upright"
    return "few" if len(names) <= 8 else ""
