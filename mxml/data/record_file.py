"""RecordIO files (``.rec``) of images, whose structure is checked before anything in them is believed.

A record is one part or several, each of them::

    magic 0xced7230a | kind (3 bits), length (29 bits) | content | zeros up to a multiple of 4 bytes

in little-endian order. Where the content holds the magic at a multiple of 4 bytes, the writer cuts it there and leaves
the magic out: the kind says whether a part is whole, first, middle or last. An image's record begins with MXNet's
IRHeader: flag, label, id, id2. A flag of 0 means one label, that one; a larger one that as many float32 labels follow.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple

import numpy as np

from mxml.errors import ListError
from mxml.text import counted

MAX_RECORD_BYTES = (1 << 29) - 1
"""Longest record that MXNet writes."""

MAX_LABELS = 100_000
"""Most labels that an image's record is read with."""

_MAGIC = 0xCED7230A
_MAGIC_BYTES = struct.pack("<I", _MAGIC)
_PART = struct.Struct("<II")
_IMAGE_HEADER = struct.Struct("<IfQQ")
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_BLOCK_BYTES = 1 << 20  # a multiple of 4
# An image holds the magic about once in 16 GiB; a file could say that it does so all the time.
_MAX_PARTS = 1 << 16


class Record(NamedTuple):
    """Where a record is.

    ``number`` counts from 1, ``offset`` is its first byte, ``size`` the bytes of its content, and ``parts`` has the
    place and the length of each of its parts' content.
    """

    number: int
    offset: int
    size: int
    parts: tuple[tuple[int, int], ...]


class ImageHeader(NamedTuple):
    """What a record says of its image: its id, its labels as little-endian float32, and where its file begins."""

    id: int
    labels: bytes
    image_start: int


class RecordFile:
    """A RecordIO file that is open for reading: iterate over its records, and read from them what is wanted.

    Only the records' places and what is asked for is read, so that labels don't cost reading the images. Reading moves
    nothing, so that threads can share it. Faults are ListErrors that name the file, the record and its first byte. Use
    it as a context manager, or close it.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = os.fspath(path)
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                kind = "a folder" if os.path.isdir(path) else "no regular file"
                raise ListError(f"{self.path}: is {kind}, should be a RecordIO file")
            # The object is the context manager, and closes it.
            self._file = open(path, "rb", buffering=0)  # noqa: SIM115
            self._size = os.fstat(self._file.fileno()).st_size
        except OSError as error:
            raise ListError(f"{self.path}: cannot be read: {error.strerror or error}") from error

    def __enter__(self) -> RecordFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def size(self) -> int:
        """Return how many bytes the file holds."""
        return self._size

    def __iter__(self) -> Iterator[Record]:
        self._require_content()
        number = end = 0
        while end < self._size:
            number += 1
            record, end = self._record(number, end)
            yield record

    def with_damaged(self) -> Iterator[tuple[Record, str]]:
        """Iterate over the records, each with what is wrong with it, or an empty text; a damaged one is without parts.

        After a damaged one the next is looked for: the writer lets the magic of a record's beginning stand nowhere else
        at a multiple of 4 bytes.
        """
        self._require_content()
        number = end = 0
        while end < self._size:
            number += 1
            start = end
            try:
                record, end = self._record(number, start)
            except ListError as error:
                yield Record(number, start, 0, ()), str(error)
                end = self._next_beginning(start + len(_MAGIC_BYTES))
                continue
            if not self._begins_record(end):
                following = self._next_beginning(start + len(_MAGIC_BYTES))
                if following < end:
                    fault = self.fault(number, start, "reaches into the next record")
                    yield Record(number, start, 0, ()), str(fault)
                    end = following
                    continue
            yield record, ""

    def _require_content(self) -> None:
        if not self._size:
            raise ListError(f"{self.path}: is empty, should hold records")

    def _begins_record(self, offset: int) -> bool:
        return offset >= self._size or (
            offset + _PART.size <= self._size and self._read_at(offset, len(_MAGIC_BYTES)) == _MAGIC_BYTES
        )

    def _next_beginning(self, offset: int) -> int:
        """Return where a record begins at ``offset`` or after it; the file's size where none does."""
        while offset < self._size:
            block = self._read_at(offset, min(_BLOCK_BYTES, self._size - offset))
            words = np.frombuffer(block, "<u4", len(block) // 4)
            for place in np.flatnonzero(words[:-1] == _MAGIC).tolist():
                if words[place + 1] >> 29 in (_WHOLE, _FIRST):
                    return offset + 4 * place
            offset += max(len(block) - 4, 4)
        return self._size

    def _record(self, number: int, start: int) -> tuple[Record, int]:
        """Return the record that begins at ``start``, and where it ends."""
        end, kind, size = start, _FIRST, -len(_MAGIC_BYTES)
        parts: list[tuple[int, int]] = []
        while kind in (_FIRST, _MIDDLE):
            kind, length = self._part(number, start, end, len(parts))
            parts.append((end + _PART.size, length))
            size += len(_MAGIC_BYTES) + length
            end += _PART.size + (length + 3 & ~3)
            if end > self._size:
                raise self.fault(
                    number, start, f"ends {end - self._size:,} bytes beyond the file's end: the file is cut off"
                )
        return Record(number, start, size, tuple(parts)), end

    def _part(self, number: int, start: int, offset: int, before: int) -> tuple[int, int]:
        """Return the kind and the length of a part, of which ``before`` are before it in its record."""
        part = "" if not before else f"its part {before + 1} at byte {offset:,} "
        if offset + _PART.size > self._size:
            raise self.fault(number, start, f"{part}has no whole beginning: the file is cut off")
        magic, kind_and_length = _PART.unpack(self._read_at(offset, _PART.size))
        if magic != _MAGIC:
            raise self.fault(
                number,
                start,
                f"{part}begins with 0x{magic:08x}, should begin with 0x{_MAGIC:08x}: "
                "the file is not a RecordIO file, or is damaged here or just before",
            )
        kind, length = kind_and_length >> 29, kind_and_length & (1 << 29) - 1
        wanted = (_MIDDLE, _LAST) if before else (_WHOLE, _FIRST)
        if kind not in wanted:
            raise self.fault(number, start, f"{part}is of kind {kind}, should be {wanted[0]} or {wanted[1]}")
        if before == _MAX_PARTS:
            raise self.fault(number, start, f"is in more than {_MAX_PARTS:,} parts, which no image is")
        return kind, length

    def read(self, record: Record, start: int = 0, size: int | None = None) -> bytes:
        """Return ``size`` bytes of a record's content from ``start``, or those that there are; all where it is None."""
        stop = record.size if size is None else min(start + size, record.size)
        if len(record.parts) == 1:
            return self._read_at(record.parts[0][0] + start, max(0, stop - start))
        pieces, position = [], 0
        for part, (place, length) in enumerate(record.parts):
            if part:
                pieces.append(_MAGIC_BYTES[max(0, start - position) : max(0, stop - position)])
                position += len(_MAGIC_BYTES)
            first, last = max(0, start - position), min(length, stop - position)
            if first < last:
                pieces.append(self._read_at(place + first, last - first))
            position += length
        return b"".join(pieces)

    def image_header(self, record: Record) -> ImageHeader:
        """Return what a record says of its image; raise ListError where it is too short, or has too many labels."""
        if record.size < _IMAGE_HEADER.size:
            raise self.fault(
                record.number,
                record.offset,
                f"holds {record.size} bytes, should begin with MXNet's image header of {_IMAGE_HEADER.size}",
            )
        header = self.read(record, 0, _IMAGE_HEADER.size)
        flag, _, number, _ = _IMAGE_HEADER.unpack(header)
        if not flag:
            return ImageHeader(number, header[4:8], _IMAGE_HEADER.size)
        image_start = _IMAGE_HEADER.size + 4 * flag
        if image_start > record.size:
            raise self.fault(
                record.number,
                record.offset,
                f"says that it has {counted(flag, 'label')}, more than its {record.size:,} bytes hold",
            )
        if flag > MAX_LABELS:
            raise self.fault(
                record.number, record.offset, f"has {counted(flag, 'label')}, should have at most {MAX_LABELS:,}"
            )
        return ImageHeader(number, self.read(record, _IMAGE_HEADER.size, 4 * flag), image_start)

    def fault(self, number: int, offset: int, text: str) -> ListError:
        """Return the error that something is wrong with a record."""
        return ListError(f"{record_place(self.path, number, offset)}: {text}")

    def _read_at(self, offset: int, size: int) -> bytes:
        try:
            data = os.pread(self._file.fileno(), size, offset)
            while 0 < len(data) < size:  # some network file systems return less than they could
                more = os.pread(self._file.fileno(), size - len(data), offset + len(data))
                if not more:
                    break
                data += more
        except OSError as error:
            raise ListError(f"{self.path}: cannot be read: {error.strerror or error}") from error
        if len(data) < size:
            raise ListError(f"{self.path}: became shorter while it was read")
        return data


def record_place(path: str | os.PathLike[str], number: int, offset: int) -> str:
    """Return how messages name a record."""
    return f"{os.fspath(path)}: record {number:,} at byte {offset:,}"


def pack_image(number: int, labels: np.ndarray, image: bytes) -> bytes:
    """Return the content of a record: the id, (C,) labels as many float32, and an image file."""
    return _IMAGE_HEADER.pack(len(labels), 0, number, 0) + labels.astype("<f4").tobytes() + image
