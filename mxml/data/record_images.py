"""The images of a RecordIO file, read in place: nothing is unpacked."""

from __future__ import annotations

import hashlib
import os
import weakref
from array import array
from types import TracebackType

import numpy as np

from mxml.data.record_file import ImageHeader, Record, RecordFile, record_place
from mxml.errors import Faults, ImageError, ListError
from mxml.images.decode import Limits
from mxml.text import counted, quoted
from mxml.text_lines import read_lines


class RecordImages:
    """Images that are records of a ``.rec``, as im2rec packs them; a source for ``Batches``.

    The file's whole structure is read and checked first, which takes a few reads for each record, and stays open until
    ``close``. Threads can share it.

    Parameters
    ----------
    path_imgrec : str or os.PathLike
        The RecordIO file.
    path_imgidx : str or os.PathLike, optional
        Its index file, with a line ``key<tab>first byte`` for each record that is wanted, in the order wanted. Without
        it, the images are all records in the file's order, and their keys are the ids in their headers.
    keep_damaged : bool
        Count a record that is damaged as an image that cannot be read, with labels of -1, and not as an error.

    Attributes
    ----------
    labels : numpy.ndarray
        The labels in the records, (N, C) float32.
    keys : numpy.ndarray
        The keys of the records, (N,) int64; an id above the largest int64 is negative.
    damaged : dict of int to str
        What is wrong with damaged records, by position.

    Raises
    ------
    ListError
        For files that cannot be read or are damaged, records whose labels are not as many as the first one's or not
        finite, and an index file that does not belong to the record file.
    """

    def __init__(
        self,
        path_imgrec: str | os.PathLike[str],
        path_imgidx: str | os.PathLike[str] | None = None,
        *,
        keep_damaged: bool = False,
    ):
        self._path = os.fspath(path_imgrec)
        self._file = RecordFile(path_imgrec)
        self._closing = weakref.finalize(self, self._file.close)
        try:
            self._read_structure(keep_damaged)
            if path_imgidx is not None:
                self._select(path_imgidx)
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self.keys)

    def __enter__(self) -> RecordImages:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def record_numbers(self) -> np.ndarray:
        """Return (N,) int64: which records of the file, counted from 1, the images are."""
        return self._numbers

    @property
    def digest(self) -> str:
        """Return the SHA-256 sum of the file's size, and of each record's place, size, key and labels."""
        digest = hashlib.sha256(str(self._file.size).encode())
        for column in (self._offsets, self._sizes, self.keys, self.labels):
            digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()

    def close(self) -> None:
        """Close the file; its images cannot be read afterwards."""
        self._closing()

    def name(self, position: int) -> str:
        """Return the file, the record's number and its first byte."""
        return record_place(self._path, int(self._numbers[position]), int(self._offsets[position]))

    def read(self, position: int, limits: Limits) -> bytes:
        """Return the image file in a record."""
        if position in self.damaged:
            raise ImageError(self.damaged[position], self.name(position))
        start, size = int(self._image_starts[position]), int(self._sizes[position])
        if size - start > limits.max_bytes:
            raise ImageError(
                f"holds {size - start:,} bytes, more than the {limits.max_bytes:,} allowed",
                self.name(position),
                "too_large",
            )
        number, offset = int(self._numbers[position]), int(self._offsets[position])
        parts = self._parted.get(number) or ((offset + 8, size),)
        try:
            return self._file.read(Record(number, offset, size, parts), start)
        except ListError as error:
            raise ImageError(str(error), self.name(position)) from None

    def _read_structure(self, keep_damaged: bool) -> None:
        """Note where each record is, in few bytes: there may be millions."""
        keys, offsets, sizes, image_starts = (array("q") for _ in range(4))
        self._parted: dict[int, tuple[tuple[int, int], ...]] = {}
        self.damaged: dict[int, str] = {}
        labels = bytearray()
        faults = Faults()
        width = 0
        for record, damage in self._file.with_damaged() if keep_damaged else ((record, "") for record in self._file):
            header = ImageHeader(-1, b"", 0)
            try:
                if not damage:
                    header = self._file.image_header(record)
            except ListError as error:
                if not keep_damaged:
                    faults.extend(error)
                    continue
                damage = str(error)
            if damage:
                self.damaged[len(keys)] = damage
            else:
                width = width or len(header.labels)
                fault = _label_fault(header, width)
                if fault:
                    faults.add(f"{record_place(self._path, record.number, record.offset)}: {fault}")
                labels += header.labels
            if faults:
                continue
            keys.append(header.id if header.id < 1 << 63 else header.id - (1 << 64))
            offsets.append(record.offset)
            sizes.append(record.size)
            image_starts.append(header.image_start)
            if len(record.parts) > 1:
                self._parted[record.number] = record.parts
        faults.raise_any()
        if not width:
            raise ListError(list(self.damaged.values()))
        self.keys, self._offsets, self._sizes, self._image_starts = (
            np.frombuffer(column, np.int64) for column in (keys, offsets, sizes, image_starts)
        )
        self._numbers = np.arange(1, len(keys) + 1)
        self.labels = np.full((len(keys), width // 4), -1, np.float32)
        whole = np.ones(len(keys), bool)
        whole[list(self.damaged)] = False
        self.labels[whole] = np.frombuffer(labels, "<f4").reshape(-1, width // 4)

    def _select(self, path_imgidx: str | os.PathLike[str]) -> None:
        """Take the records that an index file names, in its order."""
        wanted = _read_index(path_imgidx)
        offsets = np.fromiter(wanted.values(), np.int64, len(wanted))
        chosen = np.searchsorted(self._offsets, offsets)
        found = self._offsets[np.minimum(chosen, len(self._offsets) - 1)] == offsets
        if not found.all():
            faults = Faults()
            keys = list(wanted)
            for place in np.flatnonzero(~found).tolist():
                faults.add(
                    f"{os.fspath(path_imgidx)}: key {keys[place]} is at byte {offsets[place]:,}, where no record of "
                    f"{self._path} begins; make the index again"
                    if faults.has_room
                    else ""
                )
            raise faults.error()
        self.keys = np.fromiter(wanted, np.int64, len(wanted))
        self._numbers, self._offsets = self._numbers[chosen], offsets
        self._sizes, self._image_starts = self._sizes[chosen], self._image_starts[chosen]
        self.labels = self.labels[chosen]
        if self.damaged:
            places = {record: place for place, record in enumerate(chosen.tolist())}
            self.damaged = {places[at]: fault for at, fault in self.damaged.items() if at in places}


def _label_fault(header: ImageHeader, width: int) -> str:
    if len(header.labels) != width:
        return f"has {counted(len(header.labels) // 4, 'label')}, should be {width // 4} like the first record"
    if not np.isfinite(np.frombuffer(header.labels, "<f4")).all():
        return "has a label that is not a finite number"
    return ""


def _read_index(path: str | os.PathLike[str]) -> dict[int, int]:
    """Return the first bytes of records by their keys."""
    offsets: dict[int, int] = {}
    faults = Faults()
    for number, line in enumerate(read_lines(path), 1):
        cells = line.split("\t")
        try:
            key, offset = (int(cell) for cell in cells)
            if not (-(1 << 63) <= key < 1 << 63 and 0 <= offset < 1 << 63):
                raise ValueError
        except ValueError:
            faults.add(
                f"{os.fspath(path)}:{number}: {quoted(line)} should be a whole number, a tab and a record's first byte"
            )
            continue
        if key in offsets:
            faults.add(f"{os.fspath(path)}:{number}: has the key {key} a second time")
        offsets[key] = offset
    faults.raise_any()
    if not offsets:
        raise ListError(f"{os.fspath(path)}: is empty, should have one line for each record")
    return offsets
