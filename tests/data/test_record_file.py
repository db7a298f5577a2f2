"""RecordIO files against MXNet's own reading and writing, and every way in which one can be broken."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxml.data.record_file import MAX_LABELS, RecordFile, pack_image
from mxml.errors import ListError
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()

MAGIC = struct.pack("<I", 0xCED7230A)


def part(content, kind=0):
    return MAGIC + struct.pack("<I", kind << 29 | len(content)) + content + b"\0" * (-len(content) % 4)


def written_by_mxnet(path, contents):
    writer = mx.recordio.MXRecordIO(str(path), "w")
    for content in contents:
        writer.write(content)
    writer.close()
    return path


def read(path):
    with RecordFile(path) as file:
        return [file.read(record) for record in file]


@pytest.fixture
def fault(tmp_path):
    def read_fault(content, headers=False):
        path = tmp_path / "x.rec"
        path.write_bytes(content)
        with pytest.raises(ListError) as caught, RecordFile(path) as file:
            for record in file:
                if headers:
                    file.image_header(record)
        return str(caught.value).replace(f"{tmp_path}/", "")

    return read_fault


# Contents in which the magic is at multiples of 4 bytes and elsewhere, at both ends and side by side.
contents = st.lists(st.sampled_from([MAGIC, b"abcd", b"x", MAGIC[:3], b"\0\0\0\0"]), min_size=1, max_size=8).map(
    b"".join
)


@settings(max_examples=100, deadline=None)
@given(st.lists(contents, min_size=1, max_size=5), st.data())
def test_what_mxnet_writes_is_read(tmp_path_factory, wanted, data):
    path = written_by_mxnet(tmp_path_factory.mktemp("rec") / "x.rec", wanted)
    assert read(path) == wanted
    with RecordFile(path) as file:
        for record, content in zip(file, wanted):
            assert record.size == len(content)
            start, size = data.draw(st.integers(0, len(content) + 2)), data.draw(st.integers(0, 40))
            assert file.read(record, start, size) == content[start : start + size]


def test_a_record_with_the_magic_in_it_is_in_parts(tmp_path):
    content = MAGIC + b"ab" + MAGIC + b"cd" + MAGIC + MAGIC
    path = written_by_mxnet(tmp_path / "x.rec", [content, b"next"])
    with RecordFile(path) as file:
        first, second = file
    assert (len(first.parts), len(second.parts)) == (4, 1)
    assert [first.number, second.number, first.offset] == [1, 2, 0]
    assert second.offset == path.stat().st_size - 12


def test_headers_by_mxnet_are_read(tmp_path):
    labels = np.array([1, 0, -1, 0.5], np.float32)
    packed = [
        mx.recordio.pack(mx.recordio.IRHeader(0, 7.0, 3, 0), b"image"),
        struct.pack("<IfQQ", 4, 0, 2**64 - 1, 9) + labels.tobytes(),
        # The magic among the labels and in the image.
        struct.pack("<IfQQ", 2, 0, 5, 0) + MAGIC + MAGIC + b"pict" + MAGIC,
    ]
    path = written_by_mxnet(tmp_path / "x.rec", packed)
    with RecordFile(path) as file:
        found = []
        for record in file:
            header = file.image_header(record)
            labels_read = np.frombuffer(header.labels, "<f4").tolist()
            found.append((header.id, labels_read, file.read(record, header.image_start)))
    magic = np.frombuffer(MAGIC, "<f4")[0]
    assert found == [(3, [7], b"image"), (2**64 - 1, labels.tolist(), b""), (5, [magic, magic], b"pict" + MAGIC)]


def test_packed_images_are_what_mxnet_unpacks():
    header, image = mx.recordio.unpack(pack_image(12, np.array([1, 0, -1], np.int8), b"image"))
    assert (header.flag, header.id, header.label.tolist(), image) == (3, 12, [1, 0, -1], b"image")
    header, image = mx.recordio.unpack(pack_image(0, np.array([1], np.int8), b""))
    assert (header.flag, header.label.tolist(), image) == (1, [1], b"")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xd8\xff\xe0JFIF", "record 1 at byte 0: begins with 0xe0ffd8ff, should begin with 0xced7230a"),
        (part(b"abc") + b"junkjunk", "record 2 at byte 12: begins with 0x6b6e756a, should"),
        (part(b"abc") + b"\n", "record 2 at byte 12: has no whole beginning: the file is cut off"),
        (part(b"abc") + part(b"abcdefgh")[:-1], "record 2 at byte 12: ends 1 bytes beyond the file's end"),
        (MAGIC + struct.pack("<I", (1 << 29) - 1), "record 1 at byte 0: ends 536,870,912 bytes beyond the file's end"),
        (part(b"", 2), "record 1 at byte 0: is of kind 2, should be 0 or 1"),
        (part(b"", 7), "record 1 at byte 0: is of kind 7, should be 0 or 1"),
        (part(b"ab", 1) + part(b"", 0), "record 1 at byte 0: its part 2 at byte 12 is of kind 0, should be 2 or 3"),
        (part(b"ab", 1), "record 1 at byte 0: its part 2 at byte 12 has no whole beginning: the file is cut off"),
        (part(b"ab", 1) + b"12345678", "record 1 at byte 0: its part 2 at byte 12 begins with 0x34333231"),
    ],
)
def test_a_broken_structure_names_its_record_and_byte(content, said, fault):
    assert fault(content).startswith(f"x.rec: {said}")


def test_no_record_is_in_a_million_parts(fault):
    content = part(b"", 1) + part(b"", 2) * 100_000 + part(b"", 3)
    assert fault(content) == "x.rec: record 1 at byte 0: is in more than 65,536 parts, which no image is"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"x" * 23, "holds 23 bytes, should begin with MXNet's image header of 24"),
        (struct.pack("<IfQQ", 2, 0, 0, 0) + b"x" * 7, "says that it has 2 labels, more than its 31 bytes hold"),
        (
            struct.pack("<IfQQ", 2**32 - 1, 0, 0, 0),
            "says that it has 4,294,967,295 labels, more than its 24 bytes hold",
        ),
        (
            struct.pack("<IfQQ", MAX_LABELS + 1, 0, 0, 0) + bytes(4 * MAX_LABELS + 4),
            "has 100,001 labels, should have at most 100,000",
        ),
    ],
)
def test_a_broken_image_header_names_its_record(content, said, fault):
    good = struct.pack("<IfQQ", 0, 1, 2, 3)
    assert fault(part(good) + part(content), headers=True) == f"x.rec: record 2 at byte 32: {said}"


def test_what_is_no_file_is_a_fault(tmp_path):
    (tmp_path / "folder.rec").mkdir()
    with pytest.raises(ListError, match=r"folder\.rec: is a folder"):
        RecordFile(tmp_path / "folder.rec")
    with pytest.raises(ListError, match=r"none\.rec: cannot be read: No such file"):
        RecordFile(tmp_path / "none.rec")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 200), st.integers(0, 255))
def test_damage_is_a_fault_or_harmless_but_nothing_else(tmp_path_factory, tail, position, byte):
    content = bytearray(part(struct.pack("<IfQQ", 2, 0, 1, 0) + bytes(20)) * 2 + part(b"a", 1) + part(b"b", 3) + tail)
    content[position % len(content)] = byte
    path = tmp_path_factory.mktemp("rec") / "x.rec"
    path.write_bytes(content)
    try:
        with RecordFile(path) as file:
            for record in file:
                file.read(record)
                file.image_header(record)
    except ListError as error:
        assert "x.rec: record " in str(error)
