"""Bars on stderr that count images."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm


def open_bar(text: str, total: int, done: int = 0) -> tqdm[Any]:
    """Return a bar that shows how many of ``total`` images are done, on a terminal only, and leaves nothing behind."""
    from tqdm import tqdm

    return tqdm(
        desc=text,
        total=total,
        initial=done,
        unit=" img",
        leave=False,
        file=sys.stderr,
        disable=None,
        mininterval=0.3,
        **_assumed_size(),
    )


@contextlib.contextmanager
def image_bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """Yield what takes how many more images are done, and of how many; the bar appears with the first call."""
    bar: tqdm[Any] | None = None

    def advance(done: int, total: int) -> None:
        nonlocal bar
        if bar is None:
            bar = open_bar(text, total)
        bar.update(done)

    try:
        yield advance
    finally:
        if bar is not None:
            bar.close()


def _assumed_size() -> dict[str, int]:
    """Return a size for terminals that say theirs is 0, as new pseudo-terminals do: tqdm would show nothing there."""
    with contextlib.suppress(OSError, ValueError):
        if 0 in os.get_terminal_size(sys.stderr.fileno()):
            return {"ncols": 80, "nrows": 24}
    return {}
