"""A bar on stderr that counts images."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def image_bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """Yield what takes how many more images are done, and of how many; the bar appears with the first."""
    from tqdm import tqdm

    bar: tqdm[Any] | None = None

    def advance(done: int, total: int) -> None:
        nonlocal bar
        if bar is None:
            bar = tqdm(desc=text, total=total, unit=" img", leave=False, file=sys.stderr, disable=None, mininterval=0.3)
        bar.update(done)

    try:
        yield advance
    finally:
        if bar is not None:
            bar.close()
