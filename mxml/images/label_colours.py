"""A colour for each label, the same in every picture and page of a model, and of other models with its labels."""

from __future__ import annotations

import functools
import hashlib

Colour = tuple[int, int, int]
"""Red, green and blue, from 0 to 255."""

# Both were searched for among colours with a contrast of 3:1 to white and to PANEL (WCAG 2.2, 1.4.11): these eight for
# the largest least difference in CIELAB, also as people without red or green cones see them (Machado et al. 2009) ...
_FIRST = ("0088dd", "ee6600", "119944", "bb4477", "5544ff", "cc0011", "bb0099", "4477ff")
# ... and each of these for the largest difference from all that come before it.
_MORE = (
    *("229999", "ee6655", "886622", "ff3399", "33aa00", "ff00cc", "cc0055", "9933dd"),
    *("0099cc", "117755", "dd7777", "dd33ff", "cc66ee", "ee55bb", "5566bb", "ee0044"),
    *("995533", "bb00bb", "999933", "ee5588", "bb4422", "cc2288", "4477aa", "ff0066"),
)

# A label called red in any other colour would be read wrongly.
_NAMED = {
    **{"blue": "0088dd", "orange": "ee6600", "green": "119944", "pink": "bb4477"},
    **{"violet": "5544ff", "red": "cc0011", "magenta": "bb0099", "purple": "5544ff"},
}

PANEL: Colour = (17, 24, 39)
"""What labels are drawn on in pictures."""


@functools.lru_cache(maxsize=16)
def label_colours(label_names: tuple[str, ...]) -> tuple[Colour, ...]:
    """Return a colour for each of a model's labels, whatever their order.

    Up to 8 labels have colours that a colour-blind reader can tell apart, up to 32 have colours of their own; with more
    they repeat. A label that is called like a colour has it. Any other has its favourite unless another name, which
    comes first by its digest, has it. So a label that is added changes few of the others.
    """
    digests = {name: hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest() for name in label_names}
    chosen = {name: _NAMED[name] for name in label_names if name in _NAMED}
    free, later = [colour for colour in _FIRST if colour not in chosen.values()], list(_MORE)
    for name in sorted(digests.keys() - chosen.keys(), key=digests.__getitem__):
        if not free:
            free, later = (later, []) if later else (list(_FIRST), list(_MORE))
        chosen[name] = _favourite(free, digests[name])
        free.remove(chosen[name])
    return tuple(_rgb(chosen[name]) for name in label_names)


def as_hex(colour: Colour) -> str:
    """Return a colour as web pages write it, ``#0088dd``."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _favourite(colours: list[str], digest: bytes) -> str:
    return max(colours, key=lambda colour: hashlib.sha256(digest + colour.encode()).digest())


def _rgb(text: str) -> Colour:
    red, green, blue = bytes.fromhex(text)
    return red, green, blue
