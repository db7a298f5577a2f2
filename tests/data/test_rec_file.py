"""Labels and images in RecordIO files, against MXNet's own packing and reading."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from labelled_sets import file_names, labelled, labelled_sets, reread, said

from mxml.data.formats import rec_file, recognise
from mxml.data.formats.options import FormatOptions
from mxml.data.image_list import ImageList
from mxml.data.labelled_images import LabelledImages
from mxml.data.lst_file import read_lst
from mxml.errors import ListError
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()

OPTIONS = FormatOptions()
MAGIC = struct.pack("<I", 0xCED7230A)


def picture(suffix=".jpg", grey=200):
    return cv2.imencode(suffix, np.full((8, 10, 3), grey, np.uint8))[1].tobytes()


def packed(number, labels, image=b"\xff\xd8\xff"):
    """Pack as mx.recordio.pack does: a number has flag 0, an array as many as it holds."""
    if np.isscalar(labels):
        return mx.recordio.pack(mx.recordio.IRHeader(0, labels, number, 0), image)
    return struct.pack(f"<IfQQ{len(labels)}f", len(labels), 0, number, 0, *labels) + image


@pytest.fixture
def rec(tmp_path):
    def write(records, listed=None, names=None):
        path = tmp_path / "x.rec"
        writer = mx.recordio.MXRecordIO(str(path), "w")
        for record in records:
            writer.write(record)
        writer.close()
        if listed is not None:
            (tmp_path / "x.lst").write_text(listed)
        if names is not None:
            (tmp_path / "labels.txt").write_text("".join(f"{name}\n" for name in names))
        return path

    return write


def read(path, options=OPTIONS):
    return rec_file.read(path, path.parent / "images", options)


def faults(path, options=OPTIONS):
    with pytest.raises(ListError) as caught:
        read(path, options)
    return str(caught.value).replace(f"{path.parent}/", "").split("\n")


# ---- reading


def test_label_vectors_are_columns_and_the_list_has_the_names(rec):
    path = rec(
        [packed(9, [1, 0, -1]), packed(4, [0, 1, 1])],
        "4\t0\t1\t1\tb.jpg\n9\t1\t0\t-1\ta/a.jpg\n",
        ["red", "hat", "tie"],
    )
    assert recognise(path) is rec_file
    found = read(path)
    assert said(found) == (["red", "hat", "tie"], [("a/a.jpg", [1, 0, -1]), ("b.jpg", [0, 1, 1])])
    assert found.images.index.tolist() == [9, 4]
    assert found.images.path(1) == str(path.parent / "images" / "b.jpg")
    assert found.notes == ()


def test_without_a_list_images_are_called_by_their_id_and_format(rec):
    records = [
        packed(number, [number % 2, 1], picture(suffix))
        for number, suffix in enumerate([".jpg", ".png", ".bmp", ".tiff", ".webp"], 99_999_998)
    ]
    assert said(read(rec(records)))[1] == [
        ("99999998.jpg", [0, 1]),
        ("99999999.png", [1, 1]),
        ("100000000.bmp", [0, 1]),
        ("100000001.tif", [1, 1]),
        ("100000002.webp", [0, 1]),
    ]
    assert read(rec([packed(7, [0, 1])])).images.names() == ["00000007.jpg"]
    assert faults(rec([packed(7, [0, 1]), packed(8, [0, 1], b"<html>")])) == [
        "x.rec: record 2 at byte 44: holds no JPEG, PNG, WebP, BMP or TIFF image after its labels"
    ]


def test_pictures_are_passed_over(rec, monkeypatch):
    path = rec([packed(number, [1, 0], b"\xff\xd8\xff" + bytes(3_000_000)) for number in range(3)])
    code = (
        "import resource, sys; from pathlib import Path; from mxml.data.formats import rec_file\n"
        "from mxml.data.formats.options import FormatOptions\n"
        "read = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = read(); found = rec_file.read(Path(sys.argv[1]), Path('images'), FormatOptions())\n"
        "print(len(found.images), read() - before < 2_000, 'cv2' in sys.modules, 'mxnet' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == "3 True False False\n"


@pytest.mark.parametrize("pack", [lambda number: float(number), lambda number: [float(number)]])
def test_a_single_label_is_a_class_number_where_one_is_larger_than_1(pack, rec):
    found = read(rec([packed(0, pack(1)), packed(1, pack(0)), packed(2, pack(3))]))
    assert said(found) == (
        ["class_0", "class_1", "class_2", "class_3"],
        [("00000000.jpg", [0, 1, 0, 0]), ("00000001.jpg", [1, 0, 0, 0]), ("00000002.jpg", [0, 0, 0, 1])],
    )


@pytest.mark.parametrize("pack", [lambda number: float(number), lambda number: [float(number)]])
def test_a_single_label_of_0_or_1_is_a_class_number_where_several_classes_are_named(pack, rec):
    records = [packed(0, pack(1)), packed(1, pack(0))]
    alone = read(rec(records))
    assert (alone.label_names, alone.images.labels.tolist()) == (("class_0",), [[1], [0]])
    assert "class number" in alone.notes[0]
    named = read(rec(records), FormatOptions(classes=("x", "y")))
    assert (named.label_names, named.images.labels.tolist(), named.notes) == (("x", "y"), [[0, 1], [1, 0]], ())
    beside = read(rec(records, names=["red", "hat", "tie"]))
    assert (beside.label_names, beside.images.labels.tolist()) == (("red", "hat", "tie"), [[0, 1, 0], [1, 0, 0]])
    one = read(rec(records, names=["red"]), FormatOptions(classes=("x", "y")))
    assert (one.label_names, one.images.labels.tolist(), one.notes) == (("red",), [[1], [0]], ())
    assert read(rec([packed(0, pack(-1))])).images.labels.tolist() == [[-1]]


def test_numbers_that_are_no_classes_are_faults(rec):
    records = [packed(0, 2.0), packed(1, -1.0), packed(2, 0.5), packed(3, float("nan")), packed(4, 2e9)]
    assert faults(rec(records)) == [
        "x.rec: record 2 at byte 36: the class number is -1, should be 0 or more; "
        "unknown (-1) belongs in lists with one column per class",
        "x.rec: record 3 at byte 72: the class number is 0.5, should be a whole number from 0",
        "x.rec: record 4 at byte 108: the class number is nan, should be a whole number from 0",
        "x.rec: record 5 at byte 144: the class number is 2e+09, should be at most 100,000",
    ]
    assert faults(rec([packed(0, 1.0), packed(1, float("nan")), packed(2, 0.5)])) == [
        "x.rec: record 2 at byte 36: label 1 is nan, should be 0, 1 or -1 (unknown)",
        "x.rec: record 3 at byte 72: label 1 is 0.5, should be 0, 1 or -1 (unknown)",
    ]


def test_values_that_are_no_labels_are_faults(rec):
    records = [packed(0, [0, 1]), packed(1, [1, float("nan")]), packed(2, [7, 0.25]), packed(3, [float("-inf"), 0])]
    assert faults(rec(records)) == [
        "x.rec: record 2 at byte 44: label 2 is nan, should be 0, 1 or -1 (unknown)",
        "x.rec: record 3 at byte 88: label 1 is 7, should be 0, 1 or -1 (unknown)",
        "x.rec: record 4 at byte 132: label 1 is -inf, should be 0, 1 or -1 (unknown)",
    ]


def test_many_faults_are_counted(rec):
    assert faults(rec([packed(number, [5, 5]) for number in range(70)]))[-1] == "... and 50 more faults like these"


def test_another_number_of_labels_and_ids_that_are_there_twice_are_faults(rec):
    records = [packed(0, [0, 1]), packed(1, [1]), packed(0, [1, 1]), packed(2, 1.0), packed(2**63, [0, 1])]
    assert faults(rec(records)) == [
        "x.rec: record 2 at byte 44: has 1 label, should be 2 like record 1",
        "x.rec: record 3 at byte 84: has the id 0, which record 1 has, should be its own",
        "x.rec: record 4 at byte 128: has 1 label, should be 2 like record 1",
        f"x.rec: record 5 at byte 164: has the id {2**63}, should be less than {2**63}",
    ]


def test_lines_and_records_without_each_other_are_faults(rec):
    path = rec([packed(5, [0, 1]), packed(7, [0, 1])], "\n6\t0\t1\ta.jpg\n5\t0\t1\tb.jpg\n\n-1\t0\t1\tc.jpg\n")
    assert faults(path) == [
        "x.rec: record 2 at byte 44: has the id 7, which no line of x.lst has as its index",
        *(
            f"x.lst:{line}: has an index that is the id of no record in x.rec; "
            "im2rec leaves out images that it cannot read: take the line out"
            for line in (2, 5)
        ),
    ]
    path = rec([packed(5, [0, 1])], "5\t0\t1\ta.jpg\n\n5\t0\t1\tb.jpg\n")
    assert faults(path) == ["x.lst:1: the index 5 appears again further down, should be an id of one record in x.rec"]


def test_the_labels_of_the_records_count(rec):
    found = read(rec([packed(5, [0, 1]), packed(6, [1, 1])], "5\t0\t1\ta.jpg\n6\t0\t0\tb.jpg\n"))
    assert found.images.labels.tolist() == [[0, 1], [1, 1]]
    assert found.notes[0].replace(str(rec([]).parent), "") == (
        "/x.lst: 1 image with other labels than in /x.rec; those in /x.rec are used"
    )
    other_kind = read(rec([packed(5, [0, 1]), packed(6, [1, 1])], "5\t3.5\ta.jpg\n6\t1\tb.jpg\n"))
    assert other_kind.images.labels.tolist() == [[0, 1], [1, 1]]
    assert not any("other labels" in note for note in other_kind.notes)


def test_labels_that_im2rec_lost_are_a_fault(rec):
    path = rec([packed(5, 0.0), packed(6, 1.0)], "5\t0\t1\ta.jpg\n6\t1\t0\tb.jpg\n", ["red", "hat"])
    assert faults(path) == [
        "x.rec: its records have 1 label, x.lst beside it 2: packed without im2rec's option pack-label, it lost the "
        "others; use the .lst, or pack it again"
    ]


def test_the_same_name_for_several_records(rec):
    same = "0\t1\t0\ta.jpg\n1\t1\t0\ta.jpg\n"
    found = read(rec([packed(0, [1, 0]), packed(1, [1, 0])], same))
    assert found.images.names() == ["a.jpg"]
    assert found.notes[-1].endswith("named again with the same labels, kept once")
    assert faults(rec([packed(0, [1, 0]), packed(1, [0, 1])], same)) == [
        "x.rec: record 2 at byte 44: 'a.jpg' has: class_1; at x.rec: record 1 at byte 0 it has: class_0; "
        "should appear once, or with the same labels"
    ]


def test_names_that_leave_the_root_need_leave(rec):
    path = rec([packed(0, [1, 0]), packed(1, [1, 0])], "0\t1\t0\t/a.jpg\n1\t1\t0\t../b.jpg\n")
    assert [fault.split(": ")[0] for fault in faults(path)] == ["x.lst:1", "x.lst:2"]
    assert read(path, FormatOptions(allow_absolute=True)).images.names() == ["/a.jpg", "../b.jpg"]


def test_other_files_are_faults(tmp_path):
    path = tmp_path / "x.rec"
    path.write_bytes(b"")
    assert faults(path) == ["x.rec: is empty, should hold records"]
    path.write_bytes(b"\x89PNG\r\n\x1a\n")
    assert faults(path)[0].startswith("x.rec: record 1 at byte 0: begins with 0x474e5089")
    path.write_bytes(b"")
    (tmp_path / "x.lst").mkdir()
    assert len(faults(path)) == 1 and faults(path)[0].startswith("x.lst: is a folder, should be an image list; ")
    assert rec_file.recognises(path)
    path.unlink()
    path.mkdir()
    assert not rec_file.recognises(path)


def test_a_cut_file_is_a_fault_beside_those_found_before(rec):
    path = rec([packed(0, [0, 1]), packed(1, [1, 4]), packed(2, [1, 0])], "0\t0\t1\ta\n1\t0\t1\tb\n2\t0\t1\tc\n")
    path.write_bytes(path.read_bytes()[:-4])
    assert faults(path) == [
        "x.rec: record 3 at byte 88: ends 4 bytes beyond the file's end: the file is cut off",
        "x.rec: record 2 at byte 44: label 2 is 4, should be 0, 1 or -1 (unknown)",
    ]


def test_many_labels_are_read_block_by_block(rec, monkeypatch):
    monkeypatch.setattr(rec_file, "_BLOCK_BYTES", 100)
    rows = np.random.default_rng(0).integers(-1, 2, (50, 7))
    path = rec([packed(number, row.tolist()) for number, row in enumerate(rows)])
    assert read(path).images.labels.tolist() == rows.tolist()
    records = [packed(number, row.tolist()) for number, row in enumerate(rows)]
    records[41] = packed(41, [1, 1, 1, 1, 1, 1, 3])
    assert faults(rec(records)) == [
        f"x.rec: record 42 at byte {41 * 64:,}: label 7 is 3, should be 0, 1 or -1 (unknown)"
    ]


# ---- MXNet's own packing, and its reading


@pytest.fixture
def photos(tmp_path):
    """Three images under ``images``, one of which holds the magic at a multiple of 4 bytes wherever it is packed."""
    root = tmp_path / "images"
    (root / "ü b").mkdir(parents=True)
    (root / "a.jpg").write_bytes(picture(".jpg", 20))
    (root / "ü b" / "c #1.png").write_bytes(picture(".png", 120))
    image = picture(".jpg", 220)
    (root / "magic.jpg").write_bytes(image + bytes(-len(image) % 4) + MAGIC + b"xyz" + MAGIC + MAGIC + b"x")
    return root


NAMES = ["a.jpg", "ü b/c #1.png", "magic.jpg"]
ROWS = [[1, 0, 1, 0], [0, 0, -1, 0], [1, 1, 1, 0]]


def test_what_im2rec_packs_is_read(photos, tmp_path):
    columns = ["".join(f"{value}.000000\t" for value in row) for row in ROWS]
    (tmp_path / "set.lst").write_text(
        "".join(f"{i}\t{row}{name}\n" for i, (row, name) in enumerate(zip(columns, NAMES)))
    )
    code = (
        "import runpy, sys, warnings; warnings.simplefilter('ignore')\n"
        "from mxml.runtime.imports import load_mxnet; load_mxnet()\n"
        "sys.argv[0] = sys.argv[1]; del sys.argv[1]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    script = Path(mx.__file__).parent / "tools" / "im2rec.py"
    arguments = [str(script), str(tmp_path / "set"), str(photos), "--pack-label", "--pass-through"]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, timeout=60)
    assert said(read(tmp_path / "set.rec"))[1] == list(zip(NAMES, ROWS))


@pytest.mark.filterwarnings("ignore:tostring:DeprecationWarning")
def test_what_pack_img_packs_is_read(tmp_path):
    writer = mx.recordio.MXIndexedRecordIO(str(tmp_path / "x.idx"), str(tmp_path / "x.rec"), "w")
    for number in (3, 1, 2):
        image = np.full((8, 8, 3), number, np.uint8)
        suffix = ".png" if number == 1 else ".jpg"
        record = mx.recordio.pack_img(mx.recordio.IRHeader(0, float(number), number, 0), image, img_fmt=suffix)
        writer.write_idx(number, record)
    writer.close()
    found = read(tmp_path / "x.rec")
    assert found.images.names() == ["00000003.jpg", "00000001.png", "00000002.jpg"]
    assert found.images.labels.argmax(axis=1).tolist() == [3, 1, 2]


@pytest.fixture
def written(photos, tmp_path):
    target = tmp_path / "ö ?#" / "set.rec"
    target.parent.mkdir()
    names = ("red", "hat", "tie, wide", "never")
    rec_file.write(LabelledImages(ImageList.from_rows(NAMES, ROWS, photos, [5, 0, 12]), names), target, OPTIONS)
    return target


def test_mxnet_reads_what_is_written(written, photos):
    assert sorted(path.name for path in written.parent.iterdir()) == ["labels.txt", "set.idx", "set.lst", "set.rec"]
    reader = mx.recordio.MXIndexedRecordIO(str(written.with_suffix(".idx")), str(written), "r")
    assert reader.keys == [5, 0, 12]
    for number, name, row in zip((5, 0, 12), NAMES, ROWS):
        header, image = mx.recordio.unpack(reader.read_idx(number))
        assert (header.flag, header.id, header.label.tolist()) == (4, number, row)
        assert image == (photos / name).read_bytes()
    reader.close()
    listed = read_lst(written.with_suffix(".lst"))
    assert (listed.index.tolist(), listed.names(), listed.labels.tolist()) == ([5, 0, 12], NAMES, ROWS)
    assert said(read(written)) == (["red", "hat", "tie, wide", "never"], list(zip(NAMES, ROWS)))


def test_image_iter_reads_what_is_written(written):
    batches = mx.image.ImageIter(
        3, (3, 8, 8), 4, path_imgrec=str(written), path_imgidx=str(written.with_suffix(".idx"))
    )
    batch = batches.next()
    assert batch.label[0].asnumpy().tolist() == ROWS
    assert batch.data[0].asnumpy().mean(axis=(1, 2, 3)).round(-1).tolist() == [20, 120, 220]


def test_image_record_iter_reads_what_is_written(written, tmp_path):
    plain = tmp_path / "plain.rec"  # it takes ? and # in a path for something else
    plain.write_bytes(written.read_bytes())
    batches = mx.io.ImageRecordIter(
        path_imgrec=str(plain), data_shape=(3, 8, 8), batch_size=3, label_width=4, preprocess_threads=1
    )
    batch = batches.next()
    assert batch.label[0].asnumpy().tolist() == ROWS
    assert batch.data[0].asnumpy().mean(axis=(1, 2, 3)).round(-1).tolist() == [20, 120, 220]


# ---- writing


@settings(max_examples=30, deadline=None)
@given(labelled_sets(names=file_names.filter(lambda name: "\t" not in name)))
def test_nothing_is_lost(tmp_path_factory, drawn):
    folder = tmp_path_factory.mktemp("set")
    images, names, rows = drawn
    for number, name in enumerate(images):
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "images" / name).write_bytes(picture(".jpg", number))
    written = labelled(images, names, rows, folder / "images")
    assert reread(rec_file, written, folder / "x.rec") == (names, list(zip(images, rows)))


def test_one_class_is_a_vector_of_one(photos, tmp_path):
    found = reread(rec_file, labelled(["a.jpg"], ["red"], [[0]], photos), tmp_path / "x.rec")
    assert found == (["red"], [("a.jpg", [0])])
    reader = mx.recordio.MXRecordIO(str(tmp_path / "x.rec"), "r")
    assert mx.recordio.unpack(reader.read())[0].flag == 1
    reader.close()


@pytest.mark.parametrize("index", [[3, 3], [-1, 0]])
def test_an_index_that_is_no_id_is_counted_anew(index, photos, tmp_path):
    images = ImageList.from_rows(NAMES[:2], ROWS[:2], photos, index)
    rec_file.write(LabelledImages(images, tuple("abcd")), tmp_path / "x.rec", OPTIONS)
    assert read(tmp_path / "x.rec").images.index.tolist() == [0, 1]
    assert read_lst(tmp_path / "x.lst").index.tolist() == [0, 1]


def test_what_cannot_be_packed_is_refused_before_anything_is_written(photos, tmp_path):
    (photos / "folder.jpg").mkdir()
    out = tmp_path / "out"
    out.mkdir()
    with open(photos / "huge.jpg", "wb") as file:
        file.truncate((256 << 20) + 1)
    names = ["a.jpg", "none.jpg", "folder.jpg", "huge.jpg"]
    with pytest.raises(ListError) as caught:
        rec_file.write(labelled(names, ["red"], [[1]] * 4, photos), out / "x.rec", OPTIONS)
    assert str(caught.value).replace(f"{photos}/", "").split("\n") == [
        "none.jpg: cannot be packed: No such file or directory",
        "folder.jpg: cannot be packed, should be a file that may be read",
        "huge.jpg: holds 268,435,457 bytes, more than the 268,435,456 allowed",
    ]
    (photos / "a\tb.jpg").write_bytes(picture())
    with pytest.raises(ListError, match="holds a tab"):
        rec_file.write(labelled(["a\tb.jpg"], ["red"], [[1]], photos), out / "x.rec", OPTIONS)
    with pytest.raises(ListError, match=r"set\.lst: should end in \.rec"):
        rec_file.write(labelled(["a.jpg"], ["red"], [[1]], photos), out / "set.lst", OPTIONS)
    many = labelled(["a.jpg"], [f"{i}" for i in range(100_001)], np.ones((1, 100_001)), photos)
    with pytest.raises(ListError, match="100,001 labels are more than"):
        rec_file.write(many, out / "x.rec", OPTIONS)
    assert not list(out.iterdir())
