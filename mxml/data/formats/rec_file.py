"""Labels and images in a RecordIO file, as im2rec packs them: ``NAME.rec``, with the names in ``NAME.lst``."""

from __future__ import annotations

import array
import os
import stat
from pathlib import Path

import numpy as np

from mxml.data.formats.numbered import class_table, column_names, holds_class_numbers, without_repeats
from mxml.data.formats.options import FormatOptions
from mxml.data.formats.rec_names import Listed, named_records, read_listed
from mxml.data.image_list import ImageList
from mxml.data.label_names import format_label_names, label_names_file
from mxml.data.labelled_images import LabelledImages
from mxml.data.lst_file import format_lst
from mxml.data.record_file import (
    MAX_LABELS,
    MAX_RECORD_BYTES,
    Record,
    RecordFile,
    pack_image,
    record_place,
)
from mxml.errors import SHOWN_FAULTS, Faults, ListError
from mxml.progress import SILENT, Progress
from mxml.text import counted

NAME = "rec"
TITLE = "RecordIO file of images and labels"
SUFFIXES: tuple[str, ...] = (".rec",)

_BLOCK_BYTES = 4 << 20


def recognises(path: Path) -> bool:
    """Say whether ``path`` is a file with the suffix of a RecordIO file."""
    return path.suffix.lower() == ".rec" and path.is_file()


# ---- reading


def read(path: Path, root: Path, options: FormatOptions) -> LabelledImages:
    """Read the labels in the records' headers, in the records' order; the images themselves are skipped.

    Several labels per record are columns of 1, 0 and -1, named as in a .lst; a single one is such a column, or a
    class number, as ``holds_class_numbers`` says. NAME.lst beside it gives the images' names, by the ids in its first
    column; without it they are named by id and format: 00000007.jpg. Raises one ListError with every fault.
    """
    faults = Faults()
    labels = _Labels(path, faults)
    ids = array.array("q")
    names: list[str] = []
    listed = read_listed(path, options.allow_absolute)
    with RecordFile(path) as file:
        for record, header, name in named_records(file, listed, faults):
            if labels.add(record, header.labels):
                ids.append(header.id)
                names.append(name)
    table = labels.finish()
    faults.raise_any()
    index = np.frombuffer(ids, np.int64)
    notes = _differences(table, index, listed, path)
    if labels.width == 1 and holds_class_numbers(path, float(np.fmax.reduce(table[:, 0])), options):
        table, label_names = class_table(path, table[:, 0], options, labels.locations)
    else:
        if labels.width == 1:
            labels.check(table, 0)
            faults.raise_any()
        label_names, more = column_names(path, labels.width, options)
        notes += more
    images = ImageList.from_rows(names, table, root, index)
    images, more = without_repeats(path, images, label_names, labels.locations)
    return LabelledImages(images, label_names, notes + more)


class _Labels:
    """Gathers the labels of records: single ones as they are, columns as int8, so that a large file fits in memory."""

    def __init__(self, path: Path, faults: Faults):
        self.width = 0
        self._path = path
        self._faults = faults
        self._numbers, self._offsets = array.array("q"), array.array("q")
        self._waiting = bytearray()
        self._blocks: list[np.ndarray] = []
        self._done = 0

    def add(self, record: Record, labels: bytes) -> bool:
        """Take a record's labels; say whether they are as many as the first record's."""
        width = len(labels) // 4
        self.width = self.width or width
        if width != self.width:
            location = record_place(self._path, record.number, record.offset)
            self._faults.add(
                f"{location}: has {counted(width, 'label')}, should be {self.width} like record {self._numbers[0]:,}"
            )
            return False
        self._numbers.append(record.number)
        self._offsets.append(record.offset)
        self._waiting += labels
        if len(self._waiting) > _BLOCK_BYTES:
            self._end_block()
        return True

    def finish(self) -> np.ndarray:
        """Return (N, C) labels: float32 where there is one per image, and int8 else; what is no label is a fault."""
        self._end_block()
        return np.concatenate(self._blocks) if self._blocks else np.zeros((0, 0), np.int8)

    def check(self, table: np.ndarray, first: int) -> None:
        """Add a fault for each row, of which the first is number ``first``, that holds anything but 0, 1 and -1."""
        good = (table == 0) | (table == 1) | (table == -1)
        if good.all():
            return
        rows = np.flatnonzero(~good.all(axis=1))
        columns = (~good[rows[:SHOWN_FAULTS]]).argmax(axis=1)
        messages = [
            f"{location}: label {column + 1} is {table[row, column]:g}, should be 0, 1 or -1 (unknown)"
            for location, row, column in zip(self.locations(first + rows[:SHOWN_FAULTS]), rows, columns)
        ]
        self._faults.extend(ListError(messages, len(rows)))

    def locations(self, positions: np.ndarray) -> list[str]:
        """Return which records the rows at ``positions`` are from."""
        return [
            record_place(self._path, self._numbers[position], self._offsets[position])
            for position in positions.tolist()
        ]

    def _end_block(self) -> None:
        if not self._waiting:
            return
        block = np.frombuffer(bytes(self._waiting), "<f4").reshape(-1, self.width)
        self._waiting.clear()
        if self.width > 1:
            self.check(block, self._done)
            with np.errstate(invalid="ignore"):
                block = block.astype(np.int8)
        self._blocks.append(block)
        self._done += len(block)


def _differences(table: np.ndarray, index: np.ndarray, listed: Listed | None, path: Path) -> tuple[str, ...]:
    """Return a note where the list beside has as many labels per image as the records, but others.

    Raises ListError where it has several and the records one: those are no class numbers, but lost labels.
    """
    if listed is None:
        return ()
    if listed.images.num_classes > table.shape[1] == 1:
        raise ListError(
            f"{path}: its records have 1 label, {listed.path.name} beside it {listed.images.num_classes:,}: packed "
            "without im2rec's option pack-label, it lost the others; use the .lst, or pack it again"
        )
    if listed.images.num_classes != table.shape[1]:
        return ()
    positions = [listed.position[number] for number in index.tolist()]
    count = int((listed.images.labels[positions] != table).any(axis=1).sum())
    if not count:
        return ()
    return (f"{listed.path}: {counted(count, 'image')} with other labels than in {path}; those in {path} are used",)


# ---- writing


def write(labelled: LabelledImages, target: Path, options: FormatOptions, progress: Progress = SILENT) -> None:
    """Pack the image files as they are, with all their labels, into NAME.rec; write NAME.idx, NAME.lst and labels.txt.

    The images' ids are their index where it can be that, and else count from 0. Raises ListError, before anything is
    written, for images that are missing or too large.
    """
    from mxml.images.decode import read_file
    from mxml.runtime.imports import load_mxnet, mxnet_message

    if target.suffix.lower() != ".rec":
        raise ListError(f"{target.name}: should end in .rec")
    images = labelled.images
    if images.num_classes > MAX_LABELS:
        raise ListError(
            f"{images.num_classes:,} labels are more than a .rec is read with, {MAX_LABELS:,}; csv, jsonl and coco "
            "hold them"
        )
    ids = record_ids(images)
    listed = format_lst(ImageList(ids, images.labels, images.root, images.name_bytes, images.name_offsets))
    names = format_label_names(labelled.label_names)
    _check_files(images, progress)
    mx = load_mxnet()
    try:
        progress.start(len(images), "packing images")
        writer = mx.recordio.MXIndexedRecordIO(str(target.with_suffix(".idx")), str(target), "w")
        try:
            for position, number in enumerate(ids.tolist()):
                record = pack_image(number, images.labels[position], read_file(images.path(position)))
                writer.write_idx(number, record)
                progress.advance()
        finally:
            writer.close()
    except mx.base.MXNetError as error:
        raise ListError(f"{target}: cannot be written: {mxnet_message(error)}") from error
    # MXNet does not look at what closing the file says.
    with RecordFile(target) as file:
        if sum(1 for _ in file) != len(images):
            raise ListError(f"{target}: could not be written whole; is the disk full?")
    target.with_suffix(".lst").write_bytes(listed)
    label_names_file(target).write_bytes(names)


def record_ids(images: ImageList) -> np.ndarray:
    """Return the ids that the images' records get: their index where it can be that, and else 0, 1, ..."""
    ids = images.index
    return ids if len(np.unique(ids)) == len(ids) and ids.min() >= 0 else np.arange(len(images))


def _check_files(images: ImageList, progress: Progress) -> None:
    """Raise ListError for image files that are missing, cannot be read or are too large to be packed."""
    from mxml.images.decode import Limits

    most = min(Limits().max_bytes, MAX_RECORD_BYTES - len(pack_image(0, images.labels[0], b"")))
    faults = Faults()
    progress.start(len(images), "looking for the images")
    for position in range(len(images)):
        progress.advance()
        path = images.path(position)
        try:
            status = os.stat(path)
        except OSError as error:
            faults.add(f"{path}: cannot be packed: {error.strerror or error}")
            continue
        if not stat.S_ISREG(status.st_mode) or not os.access(path, os.R_OK):
            faults.add(f"{path}: cannot be packed, should be a file that may be read")
        elif status.st_size > most:
            faults.add(f"{path}: holds {status.st_size:,} bytes, more than the {most:,} allowed")
    faults.raise_any()
