"""What the images in a RecordIO file are called: as the list beside it says, or by their ids."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mxml.data.image_list import ImageList
from mxml.data.lst_file import read_good_lines, read_lst
from mxml.data.record_file import ImageHeader, Record, RecordFile, record_place
from mxml.errors import SHOWN_FAULTS, Faults, ListError

_SUFFIXES = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"RIFF", ".webp"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"II+\0", ".tif"),
    (b"MM\0+", ".tif"),
)


@dataclass(frozen=True, eq=False)
class Listed:
    """The list beside a RecordIO file: ``position`` says where in ``images`` an id is."""

    path: Path
    images: ImageList
    position: dict[int, int]

    def locations(self, positions: np.ndarray) -> list[str]:
        """Return the lines that images are on."""
        lines = read_good_lines(self.path, allow_absolute=True, any_values=True).line_numbers
        return [f"{self.path}:{line}" for line in lines[positions].tolist()]


def read_listed(path: Path, allow_absolute: bool) -> Listed | None:
    """Read the NAME.lst beside NAME.rec, None if there is none; raise ListError for an index that appears twice."""
    file = path.with_suffix(".lst")
    if not os.path.lexists(file):
        return None
    images = read_lst(file, allow_absolute=allow_absolute, any_values=True)
    ids = images.index.tolist()
    listed = Listed(file, images, dict(zip(ids, range(len(ids)))))
    if len(listed.position) < len(ids):
        repeated = np.array([position for position, number in enumerate(ids) if listed.position[number] != position])
        locations = listed.locations(repeated[:SHOWN_FAULTS])
        numbers = images.index[repeated].tolist()
        faults = [
            f"{location}: the index {number} appears again further down, should be an id of one record in {path}"
            for location, number in zip(locations, numbers)
        ]
        raise ListError(faults, len(repeated))
    return listed


def named_records(file: RecordFile, listed: Listed | None, faults: Faults) -> Iterator[tuple[Record, ImageHeader, str]]:
    """Yield the records that can be named, each with its header and its image's name; add what is wrong to ``faults``.

    A fault in the file's structure ends it.
    """
    seen: dict[int, int] = {}
    try:
        for record in file:
            header = file.image_header(record)
            name = fault = ""
            first = seen.setdefault(header.id, record.number)
            if first != record.number:
                fault = f"has the id {header.id}, which record {first:,} has, should be its own"
            elif header.id >= 1 << 63:
                fault = f"has the id {header.id}, should be less than {1 << 63}"
            elif listed is None:
                name, fault = _number_name(file, record, header)
            elif header.id in listed.position:
                name = listed.images.name(listed.position[header.id])
            else:
                fault = f"has the id {header.id}, which no line of {listed.path} has as its index"
            if fault:
                faults.add(f"{record_place(file.path, record.number, record.offset)}: {fault}")
            else:
                yield record, header, name
    except ListError as error:
        faults.extend(error)
        return
    missing = [] if listed is None else [at for number, at in listed.position.items() if number not in seen]
    if listed and missing:
        messages = [
            f"{location}: has an index that is the id of no record in {file.path}; im2rec leaves out images that it "
            "cannot read: take the line out"
            for location in listed.locations(np.array(missing[:SHOWN_FAULTS]))
        ]
        faults.extend(ListError(messages, len(missing)))


def _number_name(file: RecordFile, record: Record, header: ImageHeader) -> tuple[str, str]:
    """Return what an image is called by its id and format; or, second, that it has none."""
    beginning = file.read(record, header.image_start, 16)
    for magic, suffix in _SUFFIXES:
        if beginning.startswith(magic):
            return f"{header.id:08d}{suffix}", ""
    return "", "holds no JPEG, PNG, WebP, BMP or TIFF image after its labels"
