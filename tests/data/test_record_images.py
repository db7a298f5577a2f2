"""Record files as a source: the images are those of the files, whatever the order, and nothing in them is believed."""

from __future__ import annotations

import gc
import struct
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxml.data.batches import Batches
from mxml.data.record_file import pack_image
from mxml.data.record_images import RecordImages
from mxml.errors import ImageError, ListError
from mxml.images.decode import Limits
from mxml.images.transforms import Preprocess
from mxml.runtime.imports import load_cv2, load_mxnet

mx = load_mxnet()
cv2 = load_cv2()
MAGIC = struct.pack("<I", 0xCED7230A)
LIMITS = Limits()


def write(folder, contents, keys=None):
    rec, idx = folder / "x.rec", folder / "x.idx"
    writer = mx.recordio.MXIndexedRecordIO(str(idx), str(rec), "w")
    for number, content in enumerate(contents):
        writer.write_idx(number if keys is None else keys[number], content)
    writer.close()
    return rec, idx


images = st.lists(st.sampled_from([MAGIC, b"abcd", b"x", b"\0" * 9]), max_size=8).map(b"".join)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(images, st.integers(0, 2**62), st.integers(-1, 1)), min_size=1, max_size=9), st.data())
def test_every_image_and_label_is_found(tmp_path_factory, records, data):
    """Also where the writer cut a record, whose image or labels hold the magic number, into parts."""
    folder = tmp_path_factory.mktemp("rec")
    packed = [pack_image(key, np.array([label, 1]), image) for image, key, label in records]
    rec, idx = write(folder, packed)
    with RecordImages(rec) as source:
        assert [source.read(i, LIMITS) for i in range(len(source))] == [image for image, *_ in records]
        assert source.keys.tolist() == [key for _, key, _ in records]
        assert source.labels.tolist() == [[label, 1] for *_, label in records]
    order = data.draw(st.permutations(range(len(records))).map(lambda all_: all_[: max(1, len(all_) - 2)]))
    lines = idx.read_text().splitlines()
    idx.write_text("".join(f"{lines[i]}\n" for i in order))
    with RecordImages(rec, idx) as source:
        assert source.keys.tolist() == list(order)
        assert [source.read(row, LIMITS) for row in range(len(source))] == [records[i][0] for i in order]
        assert source.labels[:, 0].tolist() == [records[i][2] for i in order]
        assert [source.name(row).split(" at ")[0] for row in range(len(source))] == [
            f"{rec}: record {i + 1}" for i in order
        ]


def test_threads_share_a_file(tmp_path):
    generator = np.random.default_rng(3)
    sizes = generator.integers(1, 9000, 200).tolist()
    contents = [generator.bytes(size) + (MAGIC if size % 4 == 0 else b"") for size in sizes]
    rec, _ = write(tmp_path, [pack_image(i, np.array([0]), content) for i, content in enumerate(contents)])
    order = generator.integers(0, 200, 3000).tolist()
    with RecordImages(rec) as source, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda i: source.read(i, LIMITS), order)) == [contents[i] for i in order]


def test_batches_of_records_skip_the_bad_ones(tmp_path):
    colours = [(10, 20, 30), (200, 100, 0), (0, 255, 9)]
    files = [cv2.imencode(".png", np.full((9, 9, 3), colour[::-1], np.uint8))[1].tobytes() for colour in colours]
    files[1] = files[1][:40]
    rec, _ = write(tmp_path, [pack_image(i, np.array([i % 2, 1]), file) for i, file in enumerate(files)])
    plain = Preprocess((8, 8), 8, (0, 0, 0), (1, 1, 1))
    with RecordImages(rec) as source, Batches(source, plain, 3, labels=source.labels, max_bad_share=0.5) as batches:
        batch = batches.next()
        assert batch.label[0].asnumpy().tolist() == [[0, 1], [-1, -1], [0, 1]]
        assert batch.data[0].asnumpy().mean(axis=(2, 3)).tolist() == [list(colours[i]) for i in (0, 2, 2)]
        [bad] = batches.bad
        offset = int((tmp_path / "x.idx").read_text().split()[3])
        assert bad.position == 1 and bad.path == f"{rec}: record 2 at byte {offset:,}"
        with pytest.raises(ImageError, match=r"record 1 at byte 0: holds \d+ bytes, more than the 10 allowed"):
            source.read(0, Limits(max_bytes=10))


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ("0\t0\n1\t7\n", "x.idx: key 1 is at byte 7, where no record of x.rec begins; make the index again"),
        ("0\t0\n1\t99999999999\n", "x.idx: key 1 is at byte 99,999,999,999, where no record"),
        ("0\t0\n0\t0\n", "x.idx:2: has the key 0 a second time"),
        ("0\t0\nnone\n", "x.idx:2: 'none' should be a whole number, a tab and a record's first byte"),
        ("0\t-4\n", "x.idx:1: '0\\t-4' should be"),
        ("99999999999999999999\t0\n", "x.idx:1: '99999999999999999999\\t0' should be"),
        ("", "x.idx: is empty, should have one line for each record"),
    ],
)
def test_an_index_of_another_file_is_refused(tmp_path, index, said):
    rec, idx = write(tmp_path, [pack_image(i, np.array([1]), b"image") for i in range(2)])
    idx.write_text(index)
    with pytest.raises(ListError) as caught:
        RecordImages(rec, idx)
    assert str(caught.value).replace(f"{tmp_path}/", "").startswith(said)


def test_faulty_labels_name_their_records(tmp_path):
    packed = [pack_image(i, np.array(labels), b"image") for i, labels in enumerate([[1, 0], [1], [np.nan, 0], [0, 1]])]
    rec, _ = write(tmp_path, [*packed, b"short"])
    with pytest.raises(ListError) as caught:
        RecordImages(rec)
    said = [fault.split("record ", 1)[1] for fault in caught.value.faults]
    assert [fault.split(":")[0].split(" at")[0] for fault in said] == ["2", "3", "5"]
    assert "has 1 label, should be 2 like the first record" in said[0]
    assert "has a label that is not a finite number" in said[1]
    assert "holds 5 bytes, should begin with MXNet's image header" in said[2]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 400), st.integers(0, 255), st.integers(0, 300))
def test_damage_is_an_error_or_another_image(tmp_path_factory, position, byte, cut):
    folder = tmp_path_factory.mktemp("rec")
    rec, idx = write(folder, [pack_image(i, np.array([1, 0]), bytes(range(60)) + MAGIC) for i in range(3)])
    content = bytearray(rec.read_bytes())
    content[position % len(content)] = byte
    rec.write_bytes(content[: len(content) - cut] if cut % 3 == 0 else content)
    try:
        with RecordImages(rec, idx) as source:
            for i in range(len(source)):
                source.read(i, LIMITS)
    except ListError as error:
        assert str(folder) in str(error)


def test_a_file_that_becomes_shorter_is_a_bad_image(tmp_path):
    rec, _ = write(tmp_path, [pack_image(i, np.array([1]), b"image" * 99) for i in range(2)])
    with RecordImages(rec) as source:
        rec.write_bytes(rec.read_bytes()[:600])
        assert source.read(0, LIMITS) == b"image" * 99
        with pytest.raises(ImageError, match=r"record 2 at byte .*became shorter while it was read"):
            source.read(1, LIMITS)


def test_a_forgotten_source_closes_its_file(tmp_path):
    rec, _ = write(tmp_path, [pack_image(0, np.array([1]), b"image")])
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        source = RecordImages(rec)
        file = source._file._file
        del source
        gc.collect()
        assert file.closed
