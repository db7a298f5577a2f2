"""TIFF 6.0, section 2, and BigTIFF."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from mxml.images.headers.exif import checked_orientation
from mxml.images.headers.header import CutOff, Damaged, Header

_TIFF_TYPES = {1: "B", 2: "B", 3: "H", 4: "I", 16: "Q"}
# What a page is of another; width, height, bits, strips (where, rows, how long), orientation, samples, tiles (size,
# where, how long), extra and floating samples.
_TIFF_TAGS = frozenset((254, 256, 257, 258, 273, 274, 277, 278, 279, 322, 323, 324, 325, 338, 339))
_TILES_OF_ANY_IMAGE = 1 << 25  # pixels: tiles of 512 x 512 on the longest side
_MOST_ENTRIES = 0xFFFF  # what a directory that is no BigTIFF can have
_MOST_TIFF_VALUES = 1 << 20  # tiles of 16 x 16 pixels in the largest image that is read by default: 0.7 million


def parse_tiff(data: bytes) -> Header:
    """Read the first directory, and check that its strips or tiles lie inside the file."""
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    offset = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    tags = dict(_tiff_tags(data, order, big, offset))
    try:
        width, height = tags[256][0], tags[257][0]
        starts = tags[273] if 273 in tags else tags[324]
        lengths = tags[279] if 273 in tags else tags[325]
    except (KeyError, IndexError):
        raise Damaged("the TIFF file lacks the size or the place of its picture") from None
    if not starts or len(starts) != len(lengths):
        raise Damaged("the TIFF file lacks the place of its picture")
    if max(start + length for start, length in zip(starts, lengths)) > len(data):
        raise CutOff("TIFF", "its picture continues beyond its end")
    across, down = (max(tags.get(tag) or (0,)) for tag in (322, 323))
    tile = across * down
    if tile:
        tiled = tile * -(-width // across) * -(-height // down)
        if tiled > max(_TILES_OF_ANY_IMAGE, 4 * width * height):  # a decoder unpacks whole tiles
            raise Damaged(f"the TIFF file claims tiles of {tiled:,} pixels, many times its picture")
    bits = max(tags.get(258, ()) or (1,))
    if bits > 16 or max(tags.get(339, ()) or (1,)) == 3:
        raise Damaged(f"TIFF with {bits}-bit or floating-point samples is not supported; save it with 8 or 16 bits")
    orientation = tags[274][0] if tags.get(274) else 1
    has_alpha = bool(set(tags.get(338, ())) & {1, 2})
    has_pages = _has_second_page(data, order, big, offset)
    rows = min(height, (tags.get(278) or (height,))[0])
    # A decoder unpacks one whole strip or tile, and holds it again in four bytes per pixel.
    samples = (tags.get(277) or (1,))[0]
    scratch = max(tile, 0 if 322 in tags else width * rows) * (4 + samples * (2 if bits > 8 else 1))
    upright = checked_orientation(orientation)
    return Header("TIFF", width, height, upright, has_alpha, bits, has_pages, scratch, samples=samples)


def _has_second_page(data: bytes, order: str, big: bool, offset: int) -> bool:
    """Say whether another picture follows the directory at ``offset``: not a small copy or a mask of the first."""
    count = struct.unpack_from(order + ("Q" if big else "H"), data, offset)[0]
    end = offset + (8 + 20 * count if big else 2 + 12 * count)
    try:
        second = struct.unpack_from(order + ("Q" if big else "I"), data, end)[0]
        tags = dict(_tiff_tags(data, order, big, second)) if second else {}
    except (struct.error, OverflowError, Damaged):
        return False  # it is never decoded
    return 256 in tags and not (tags.get(254) or (0,))[0] & 0b101


def _tiff_tags(data: bytes, order: str, big: bool, offset: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Walk the whole-number tags of _TIFF_TAGS in one image file directory; where one is there twice, the first counts.

    So it does for libtiff, whatever the first one's type is: what is checked here must be what is decoded.
    """
    count = struct.unpack_from(order + ("Q" if big else "H"), data, offset)[0]
    offset += 8 if big else 2
    entry_size, room = (20, 8) if big else (12, 4)
    if count > _MOST_ENTRIES:
        raise Damaged(f"the TIFF file claims {count:,} tags")
    if offset + count * entry_size > len(data):
        raise CutOff("TIFF", "its directory continues beyond its end")
    seen = set()
    for entry in range(offset, offset + count * entry_size, entry_size):
        tag, kind, values = struct.unpack_from(order + ("HHQ" if big else "HHI"), data, entry)
        if tag not in _TIFF_TAGS or tag in seen:
            continue
        seen.add(tag)
        if kind in _TIFF_TYPES:
            if values > _MOST_TIFF_VALUES:
                raise Damaged(f"the TIFF file claims {values:,} values for one tag")
            start = entry + entry_size - room
            if values * struct.calcsize("=" + _TIFF_TYPES[kind]) > room:
                start = struct.unpack_from(order + ("Q" if big else "I"), data, start)[0]
            if start + values * struct.calcsize("=" + _TIFF_TYPES[kind]) > len(data):
                raise CutOff("TIFF", "its directory points beyond its end")
            yield tag, struct.unpack_from(f"{order}{values}{_TIFF_TYPES[kind]}", data, start)
