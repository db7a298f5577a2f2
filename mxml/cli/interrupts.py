"""Ctrl-C as the end of what has no other."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator
from types import FrameType
from typing import TypeVar

Item = TypeVar("Item")


def until_interrupted(items: Iterator[Item]) -> Generator[Item, None, None]:
    """Yield items until Ctrl-C, which ends them as if there were no more; a second one interrupts as usual."""
    pressed = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(number, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, end)
    try:
        for item in items:
            yield item
            if pressed:
                return
    finally:
        signal.signal(signal.SIGINT, before)
