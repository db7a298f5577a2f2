"""Fonts that have the letters of a text: matplotlib's own, then those of the machine."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from mxml.text import printable

if TYPE_CHECKING:
    from PIL import ImageFont

# No picture has room for more; a name from a file may be as long as it likes, and laying it out takes time.
_MOST_LETTERS = 300


def drawable(text: str, replacement: str) -> str:
    """Return ``text``, or ``replacement`` where no font has its letters: boxes in place of a name would be useless."""
    text = printable(text[:_MOST_LETTERS])
    return replacement if font_file(text) is None else text


def font_for(text: str, size: int) -> ImageFont.FreeTypeFont:
    """Return a font that has every character of ``text``, which some font must have."""
    path = font_file(text)
    assert path is not None
    return _opened(path, size)


def shortened(text: str, size: int, room: float) -> str:
    """Return ``text``, which some font must have, cut to ``room`` pixels, with … at its end where it was cut."""
    font = font_for(text, size)
    if font.getlength(text) <= room:
        return text
    fits, cut = 0, len(text)
    while cut - fits > 1:
        middle = (fits + cut) // 2
        fits, cut = (middle, cut) if font.getlength(text[:middle] + "…") <= room else (fits, middle)
    return text[:fits].rstrip() + "…"


def font_file(text: str) -> str | None:
    """Return the path of a font that has every character of ``text``; None where no font of this machine has."""
    return _font_file(frozenset(text + "…"))


@functools.lru_cache(maxsize=64)
def _opened(path: str, size: int) -> ImageFont.FreeTypeFont:
    from PIL import ImageFont

    return ImageFont.truetype(path, size)


@functools.lru_cache(maxsize=1024)
def _font_file(characters: frozenset[str]) -> str | None:
    """Look in matplotlib's own DejaVu Sans, which is always there, then in the machine's upright sans-serif fonts."""
    import matplotlib
    from matplotlib import font_manager

    own = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
    if characters <= _coverage(own):
        return own
    entries = font_manager.fontManager.ttflist
    for entry in sorted(entries, key=lambda e: ("sans" not in e.name.lower(), e.style != "normal", str(e.weight))):
        # Last Resort has a box, the same for every letter of a script, where a glyph should be.
        if not entry.name.startswith("Last Resort") and characters <= _coverage(entry.fname):
            return str(entry.fname)
    return None


@functools.lru_cache(maxsize=256)
def _coverage(font_path: str) -> frozenset[str]:
    from matplotlib.ft2font import FT2Font
    from PIL import ImageFont

    try:
        ImageFont.truetype(font_path, 20)  # a bitmap font, of emoji for instance, has only sizes of its own
        return frozenset(map(chr, FT2Font(font_path).get_charmap()))
    except (OSError, RuntimeError):
        return frozenset()
