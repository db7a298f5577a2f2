"""JPEG: ITU T.81, annex B.

The coded data of a picture are walked only where it can have many scans: a decoder goes over the whole picture once
for each, so that a small file of many scans takes it hours.
"""

from __future__ import annotations

import re
import struct

from mxml.images.headers.exif import exif_orientation
from mxml.images.headers.header import CutOff, Damaged, Header, JpegCoding, TooLarge

# libtiff allows the JPEGs inside its files as many. Encoders write about 10; libjpeg-turbo's fuzzers stop at 500.
MOST_SCANS = 100
_MOST_SEGMENTS = 1 << 16  # the colour profile of the largest file that is read takes 4,096

_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_LONE_MARKERS = frozenset((0x01, *range(0xD0, 0xD8)))
_START_OF_SCAN, _END = 0xDA, 0xD9

# Decoders skip what stands between segments, so these do, too.
_MARKER = re.compile(rb"\xff[^\x00\xff]")
_MARKER_BEHIND_DATA = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


def parse_jpeg(data: bytes) -> Header:
    """Read the header; walk the scans of a picture that is not all in the first."""
    position, width, height, orientation = 2, 0, 0, 1
    frame = 0
    names: bytes = b""
    factors: tuple[tuple[int, int], ...] = ()
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.search(data, position)
        if found is None:
            raise CutOff("JPEG", "it ends before its picture begins")
        position = found.start()
        marker = data[position + 1]
        if marker in _LONE_MARKERS:
            position += 2
            continue
        if marker == _END:
            raise Damaged("the JPEG file holds no picture")
        start = position + 4
        length = (data[position + 2] << 8) | data[position + 3]
        if marker in _FRAME_MARKERS:
            bits, height, width, components = struct.unpack_from(">BHHB", data, start)
            if bits != 8:
                raise Damaged(f"JPEG with {bits} bits per sample is not supported; save it with 8")
            if components not in (1, 3, 4):
                raise Damaged(f"JPEG with {components} colour components is not supported; save it as RGB")
            frame = marker
            names = data[start + 6 : start + 6 + 3 * components : 3]
            factors = tuple((both >> 4, both & 15) for both in data[start + 7 : start + 6 + 3 * components : 3])
        elif marker == 0xE1 and data.startswith(b"Exif\0\0", start):
            orientation = exif_orientation(data[start + 6 : position + 2 + length])
        elif marker == _START_OF_SCAN:
            break
        position += 2 + length
    else:
        raise TooLarge(f"the JPEG file has more than {_MOST_SEGMENTS:,} segments before its picture")
    if not width:
        raise Damaged("the JPEG file has no frame header before its picture")
    if data.rfind(b"\xff\xd9", position) < 0:  # inside the coded data this pair cannot occur
        raise CutOff("JPEG", "its end marker is missing")
    if frame not in _PROGRESSIVE and data[position + 4] == len(factors):
        return Header("JPEG", width, height, orientation, jpeg=JpegCoding(frame, factors, 1))
    scans = _walk_scans(data, position, frame in _PROGRESSIVE, names)
    # Until its last scan a decoder holds all coefficients, of two bytes each.
    widest, highest = (max(1, *(factor[axis] for factor in factors)) for axis in (0, 1))
    scratch = 2 * width * height * sum(across * down for across, down in factors) // (widest * highest)
    return Header("JPEG", width, height, orientation, scratch=scratch, jpeg=JpegCoding(frame, factors, scans))


def last_scan(data: bytes) -> tuple[int, int]:
    """Return where the last scan's header begins and where its coded data end; (0, 0) where there is no scan.

    For files that ``parse_jpeg`` has read.
    """
    begin = end = 0
    position = 2
    in_data = False
    for _ in range(_MOST_SEGMENTS):
        found = (_MARKER_BEHIND_DATA if in_data else _MARKER).search(data, position)
        if found is None:
            break
        start = found.start()
        if in_data:
            end = start
        marker = data[start + 1]
        if marker == _END:
            break
        in_data = marker == _START_OF_SCAN
        if in_data:
            begin = start
        position = start + 2
        if marker not in _LONE_MARKERS:
            position += int.from_bytes(data[start + 2 : start + 4], "big")
    return begin, end


def _walk_scans(data: bytes, position: int, progressive: bool, components: bytes) -> int:
    """Count the scans from the one at ``position`` on; raise CutOff where the last ones are missing.

    Those of a cut file are missing where a component has none, or where one of its coefficients that came with fewer
    bits at first has not got the rest.
    """
    missing_bits = {component: [0] * 64 for component in components}
    unseen = set(components)
    scans = 0
    for _ in range(_MOST_SEGMENTS):
        marker = data[position + 1]
        if marker == _END:
            break
        if marker in _LONE_MARKERS:
            stop = position + 2
        else:
            stop = position + 2 + struct.unpack_from(">H", data, position + 2)[0]
        if marker == _START_OF_SCAN:
            scans += 1
            if scans > MOST_SCANS:
                raise TooLarge(f"the JPEG file has more than the {MOST_SCANS} scans allowed; save it again")
            count = data[position + 4]
            first, last, bits = struct.unpack_from(">3B", data, position + 5 + 2 * count)
            for component in data[position + 5 : position + 5 + 2 * count : 2]:
                if first == 0:
                    unseen.discard(component)
                if progressive and component in missing_bits:
                    last = min(last, 63)
                    missing_bits[component][first : last + 1] = [bits & 15] * max(0, last + 1 - first)
        behind = _MARKER_BEHIND_DATA if marker == _START_OF_SCAN else _MARKER
        found = behind.search(data, stop)
        if found is None:
            raise CutOff("JPEG", "its end marker is missing")
        position = found.start()
    else:
        raise TooLarge(f"the JPEG file has more than {_MOST_SEGMENTS:,} segments")
    if unseen or any(any(bits) for bits in missing_bits.values()):
        raise CutOff("JPEG", "its last scans are missing")
    return scans
