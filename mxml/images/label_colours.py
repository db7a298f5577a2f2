"""A colour for each label, the same in every picture and page of a model, and of other models with its labels."""

from __future__ import annotations

import functools
import hashlib

Colour = tuple[int, int, int]
"""Red, green and blue, from 0 to 255."""

# Both were searched for among colours with a contrast of 3:1 to white and to PANEL (WCAG 2.2, 1.4.11): these eight for
# the largest least difference in CIELAB, also as people without red or green cones see them (Machado et al. 2009) ...
_FIRST = ("0088dd", "ee6600", "119944", "bb3366", "8811ff", "339999", "bb00aa", "5555dd")
# ... and each of these for the largest difference from all that come before it.
_MORE = (
    *("ff3344", "995500", "ff2299", "dd7777", "6688ff", "cc66bb", "ee44ff", "aa55cc"),
    *("bb8855", "6699cc", "8855ff", "bb3333", "889900", "bb2288", "339966", "aa11dd"),
    *("887722", "5566bb", "ff1166", "dd1111", "227788", "007766", "669933", "dd6688"),
)
# A label called red in any other colour would be read wrongly.
_NAMED = {
    **{"blue": "0088dd", "orange": "ee6600", "green": "119944", "pink": "ff2299", "brown": "995500"},
    **{"violet": "8811ff", "purple": "aa11dd", "magenta": "bb00aa", "red": "dd1111", "teal": "339999"},
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
    taken = set(chosen.values())
    free, later = ([colour for colour in colours if colour not in taken] for colours in (_FIRST, _MORE))
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
