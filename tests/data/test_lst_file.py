"""List files against im2rec's and ImageIter's own reading, round trips, and every fault that one can have."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxml.data.image_list import MAX_PATH_BYTES, ImageList, path_fault
from mxml.data.lst_file import format_lst, read_lst, write_lst
from mxml.data.other_files import other_than_list
from mxml.errors import SHOWN_FAULTS, ListError
from mxml.runtime.imports import load_mxnet
from mxml.text_lines import MAX_LINE_BYTES

mx = load_mxnet()

GOOD = b"0\t1.000000\t0.000000\ta.jpg\n1\t-1.000000\t1.000000\tb/c d.jpg\n"

image_names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r\0"), min_size=1).filter(
    lambda name: name == name.strip()
)


@st.composite
def image_lists(draw):
    names = draw(st.lists(image_names, min_size=1, max_size=8))
    width = draw(st.integers(1, 5))
    row = st.lists(st.sampled_from([0, 1, -1]), min_size=width, max_size=width)
    labels = draw(st.lists(row, min_size=len(names), max_size=len(names)))
    index = draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=len(names), max_size=len(names)))
    return ImageList.from_rows(names, labels, index=index)


@pytest.fixture
def lst(tmp_path):
    def write(content):
        path = tmp_path / "train.lst"
        path.write_bytes(content)
        return path

    return write


def faults(path, *args, **options):
    with pytest.raises(ListError) as caught:
        read_lst(path, *args, **options)
    return [fault.replace(f"{path.parent}/", "") for fault in str(caught.value).split("\n")]


def rows(images):
    return list(zip(images.index.tolist(), images.labels.tolist(), images.names()))


def im2rec():
    spec = importlib.util.spec_from_file_location("im2rec", Path(mx.__file__).parent / "tools" / "im2rec.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- what is read


def test_columns_names_and_paths(lst):
    images = read_lst(lst(GOOD), "photos", 2)
    assert rows(images) == [(0, [1, 0], "a.jpg"), (1, [-1, 1], "b/c d.jpg")]
    assert (len(images), images.num_classes, images.path(1)) == (2, 2, "photos/b/c d.jpg")
    assert (images.labels.dtype, images.index.dtype) == (np.int8, np.int64)


@pytest.mark.parametrize(
    "content",
    [
        GOOD.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + GOOD,
        GOOD.rstrip(b"\n"),
        b"\n  \n" + GOOD.replace(b"\n", b"\n\t\n\n"),
        b"0\t1\t0\ta.jpg\n1\t-1\t1.0\tb/c d.jpg  \n",
        b"0  1 \t 0\ta.jpg\n1\t\t-1.0  +1e0 \t b/c d.jpg\n",
        b" 0\t1.000000\t0.000000\ta.jpg\t\n1\t-1.000000\t1.000000\tb/c d.jpg\r",
    ],
    ids=["CRLF", "BOM", "no last line end", "blank lines", "short numbers", "runs of blanks", "outer blanks"],
)
def test_other_forms_of_the_same_list(lst, content):
    assert rows(read_lst(lst(content))) == [(0, [1, 0], "a.jpg"), (1, [-1, 1], "b/c d.jpg")]


def test_fields_may_be_separated_by_blanks_alone(lst):
    assert rows(read_lst(lst(b"7 0 1 0 x.jpg\n9\t0\t1 1   y.jpg\n"))) == [
        (7, [0, 1, 0], "x.jpg"),
        (9, [0, 1, 1], "y.jpg"),
    ]


def test_names_in_any_script_and_images_named_twice(lst):
    images = read_lst(lst("3\t1\tÉté à la mer.jpg\n3\t0\t写真/1.jpg\n3\t1\t写真/1.jpg\n".encode()))
    assert rows(images) == [(3, [1], "Été à la mer.jpg"), (3, [0], "写真/1.jpg"), (3, [1], "写真/1.jpg")]


def test_other_values_only_where_asked_for(lst):
    path = lst(b"0\t0.25\t-3\ta.jpg\n1\t1.000000\t1e3\tb.jpg\n")
    images = read_lst(path, any_values=True)
    assert images.labels.dtype == np.float32
    assert images.labels.tolist() == [[0.25, -3.0], [1.0, 1000.0]]
    assert faults(path)[0] == "train.lst:1: label 1 is '0.25', should be 0, 1 or -1 (unknown)"


def test_a_list_of_many_blocks_equals_its_rows(tmp_path):
    numbers = np.arange(40_000)
    labels = (numbers[:, None] >> np.arange(8)) & 1
    images = ImageList.from_rows([f"folder/{number:07d}.jpg" for number in numbers], labels)
    path = tmp_path / "long.lst"
    write_lst(path, images)
    assert path.stat().st_size > 3 * MAX_LINE_BYTES
    again = read_lst(path, num_classes=8)
    assert (again.index == numbers).all()
    assert (again.labels == labels).all()
    assert again.names() == images.names()


def test_faults_in_late_blocks_have_their_line(tmp_path):
    path = tmp_path / "long.lst"
    path.write_bytes(b"0\t1.000000\tfolder/a.jpg\r\n" * 100_000 + b"0\t2\tb.jpg\r\n")
    assert faults(path)[0].startswith("long.lst:100001: label 1 is '2'")


def test_the_real_list_reads_as_mxnet_reads_it(shared):
    path = shared / "data/miml-scene/val.lst"
    images = read_lst(path, shared / "data/miml-scene/images", 5)
    expected = list(im2rec().read_list(str(path)))
    assert rows(images) == [(item[0], item[2:], item[1]) for item in expected]
    assert Path(images.path(0)).is_file()
    assert format_lst(images) == path.read_bytes()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MXNet's own use of SciPy
@settings(max_examples=40, deadline=None)
@given(images=image_lists())
def test_mxnet_reads_what_is_written_and_writes_the_same(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lists")
    path = folder / "ours.lst"
    write_lst(path, images)
    im2rec().write_list(
        folder / "theirs.lst",
        [[index, name, *labels] for index, labels, name in rows(images)],
    )
    assert path.read_bytes() == (folder / "theirs.lst").read_bytes()
    theirs = mx.image.ImageIter(1, (3, 8, 8), label_width=images.num_classes, path_imglist=str(path), path_root="x")
    assert theirs.seq == images.index.tolist()
    last = {index: (labels, name) for index, labels, name in rows(images)}
    assert {key: (label.asnumpy().tolist(), name) for key, (label, name) in theirs.imglist.items()} == last


@settings(deadline=None)
@given(images=image_lists())
def test_what_is_written_is_read_back(images, tmp_path_factory):
    path = tmp_path_factory.mktemp("lists") / "any.lst"
    longest = max(len(name.encode()) for name in images.names())
    assert longest <= MAX_PATH_BYTES
    write_lst(path, images)
    assert rows(read_lst(path, num_classes=images.num_classes, allow_absolute=True)) == rows(images)


# ---- what is refused


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"5\t1\t0\t1\tx.jpg", "has 3 labels, should be 2 like line 1"),
        (b"5\t1\tx.jpg", "has 1 label, should be 2 like line 1"),
        (b"5 1 x.jpg", "has 1 label, should be 2 like line 1"),
        (b"x.jpg", "is 'x.jpg', should be one line per image: index, one label per class, path, separated by tabs"),
        (b"5\t1\t0\t", "the path is empty, should name an image"),
        (b"x\t1\t0\tx.jpg", "the index is 'x', should be a whole number"),
        (b"1.5\t1\t0\tx.jpg", "the index is '1.5', should be a whole number"),
        (b"1_0\t1\t0\tx.jpg", "the index is '1_0', should be a whole number"),
        (b"9223372036854775808\t1\t0\tx.jpg", "the index is '9223372036854775808', should be a whole number"),
        (b"0" * 5000 + b"5\t1\t0\tx.jpg", f"the index is '{'0' * 57}...', should be a whole number"),
        (b"0" * 30 + b"9" * 30 + b"\t1\t0\tx.jpg", f"the index is '{'0' * 30}{'9' * 30}', should be a whole number"),
        (b"5\tinf\tx.jpg", "has 1 label, should be 2 like line 1"),
        (b"5\t1\t2\tx.jpg", "label 2 is '2', should be 0, 1 or -1 (unknown)"),
        (b"5\t1\tnan\tx.jpg", "label 2 is 'nan', should be 0, 1 or -1 (unknown)"),
        (b"5\tyes\t0\tx.jpg", "label 1 is 'yes', should be 0, 1 or -1 (unknown)"),
        (b"5\t1\t0\t../x.jpg", "the path '../x.jpg' leaves the image root, should stay under it"),
        (b"5\t1\t0\ta/../../x.jpg", "the path 'a/../../x.jpg' leaves the image root, should stay under it"),
        (b"5\t1\t0\t/etc/x.jpg", "the path '/etc/x.jpg' is absolute, should be relative to the image root"),
        (b"5\t1\t0\tx\0.jpg", "holds a NUL byte, should be plain text"),
        (b"5\t1\t0\tx\r5\t1\t0\ty.jpg", "holds a carriage return, should be one line per image"),
        ("5\t1\t0\tété.jpg".encode("latin-1"), "is not UTF-8 text (byte 0xe9 in column 7); save the file as UTF-8"),
        (b"5\t1\t0\t" + b"x" * 5000, "the path is 5,000 bytes long, should be at most 4,096"),
        (b"5\t1\t0\tx" + b"\t" * MAX_LINE_BYTES, f"is longer than {MAX_LINE_BYTES:,} bytes, should be a short line"),
    ],
)
def test_a_faulty_line_is_named(lst, line, fault):
    found = faults(lst(b"0\t1\t0\ta.jpg\n\n" + line + b"\n"))
    assert len(found) == 1
    assert found[0].startswith(f"train.lst:3: {fault}")


def test_values_that_are_not_finite_are_always_refused(lst):
    path = lst(b"0\tinf\t1e39\ta.jpg\n1\t1\t1e39\tb.jpg\n")
    assert faults(path, any_values=True) == [
        "train.lst:1: label 1 is 'inf', should be a finite number",
        "train.lst:2: label 2 is '1e39', should be a finite number",
    ]


def test_all_faults_are_counted_and_the_first_shown(lst):
    found = faults(lst(GOOD + b"2\t1\tshort.jpg\n" * 1500))
    assert found[:SHOWN_FAULTS] == [
        f"train.lst:{line}: has 1 label, should be 2 like line 1" for line in range(3, 3 + SHOWN_FAULTS)
    ]
    assert found[SHOWN_FAULTS:] == ["... and 1,480 more faults like these"]


def test_a_wrong_number_of_classes_is_said_once(lst):
    assert faults(lst(GOOD), num_classes=8) == [
        "train.lst: every line has 2 labels, should be 8: the list or the number of classes is wrong"
    ]


@pytest.mark.parametrize("lines", [b"a.jpg\nb.jpg\n", b"0\ta.jpg\n1\tb.jpg\n"])
def test_a_list_without_labels_is_said_once(lst, lines):
    first = repr(lines.decode().splitlines()[0])
    assert faults(lst(lines)) == [
        f"train.lst:1: is {first}, should be one line per image: index, one label per class, path, separated by tabs; "
        "no line has labels"
    ]


@pytest.mark.parametrize("num_classes", [None, 8])
def test_a_single_label_list_is_recognised(lst, num_classes):
    found = faults(lst(b"0\t0\ta.jpg\n1\t5\tb.jpg\n2\t7\tc.jpg\n"), num_classes=num_classes)
    assert [("single-label list" in fault) for fault in found] == [True] + [False] * (len(found) - 1)


def test_paths_may_lead_anywhere_where_that_is_allowed(lst):
    images = read_lst(lst(b"0\t1\t/etc/x.jpg\n1\t1\t../y.jpg\n2\t1\ta/../b..jpg\n"), "photos", allow_absolute=True)
    assert [images.path(i) for i in range(3)] == ["/etc/x.jpg", "photos/../y.jpg", "photos/a/../b..jpg"]
    assert path_fault("a/../b..jpg") is None


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_a_list_without_images_is_refused(lst, content):
    assert faults(lst(content))[0].startswith("train.lst: holds no images, should be one line per image")


def test_what_is_no_text_file_is_refused(lst, tmp_path):
    remedy = "should be an image list; mxml make-lst or mxml convert makes lists of labels in other formats"
    assert faults(tmp_path) == [f"{tmp_path.name}: is a folder, {remedy}"]
    table = tmp_path / "labels.csv"
    table.write_text("image,red,blue\n" + "a.jpg,1,0\n" * 30)
    assert faults(table) == [f"labels.csv: is a table, {remedy}"]
    # One good line shows that it is a list.
    table.write_text("0\t1\ta.jpg\nimage,red\n")
    assert faults(table)[0].startswith("labels.csv:2: ")
    assert faults(tmp_path / "none.lst") == ["none.lst: cannot be read: No such file or directory"]
    assert faults(lst("0\t1\ta.jpg\n".encode("utf-16"))) == ["train.lst:1: is UTF-16 text, should be UTF-8"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("image,red,blue\n" + "a b.jpg,1,0\n" * 900, "a table"),
        ('image;tags\r\n"a.jpg";red\r\n', "a table"),
        ("image\tred\na.png\t1\n", "a table"),
        ("photos/a.jpg\t0,1,0\n" * 900, "a PaddleX list"),
        ("a.jpg\t1, -1\r\n\nb.JPG\t0,1\r\n", "a PaddleX list"),
        ("a.jpg\t1\n" * 900, "a PaddleX list"),
        # Damaged lists: with decimal commas, or another number of labels.
        ("1\t0\ta.jpg\n" * 2 + "a,b\n", None),
        ("0\t1,000000\ta.jpg\n1\t0,000000\tb.jpg\n", None),
        ("0\t2\ta.jpg\n1\t2\tb.jpg\n", None),
        ("image\tred\n0\t1\n", None),
        ("0 1 a.jpg,b\n0 1 b.jpg,c\n", None),
        ("a.jpg\n", None),
    ],
)
def test_labels_in_another_format_are_told_from_a_damaged_list(tmp_path, content, what):
    (tmp_path / "labels.txt").write_bytes(content.encode())
    found = other_than_list(tmp_path / "labels.txt")
    remedy = "should be an image list; mxml make-lst or mxml convert makes lists of labels in other formats"
    assert found == (None if what is None else f"{what}, {remedy}")
    if what is not None:
        assert faults(tmp_path / "labels.txt") == [f"labels.txt: is {what}, {remedy}"]


@pytest.mark.parametrize(
    ("content", "separators"),
    [
        ("0,1,0,a.jpg\n1,0,1,b, c.jpg\n", "commas"),
        ("7;1.000000;-1;a.jpg\r\n" * 900, "semicolons"),
        ("0 | 1 | a.jpg\n", "bars"),
    ],
)
def test_a_list_without_tabs_is_one_line_that_says_so(tmp_path, content, separators):
    (tmp_path / "train.lst").write_bytes(content.encode())
    assert faults(tmp_path / "train.lst") == [
        f"train.lst: is a list with {separators} between its fields, should be an image list; put tabs in their place"
    ]


@pytest.mark.parametrize(
    ("line", "commas"),
    [
        ("a b.jpg,1,0", ""),
        ("photos/a.jpg\tred, blue", ""),
        # Also a list without its index.
        ("a.jpg\t1\t0", ""),
        ("a.jpg;red", ""),
        ("photos/a.jpg 3", " and commas between its columns"),
        ("a.jpg 1 0", " and commas between its columns"),
    ],
)
@pytest.mark.parametrize("count", [1, 900])
def test_a_table_without_column_names_is_one_line_that_says_so(tmp_path, line, commas, count):
    path = tmp_path / "train.txt"
    path.write_text(f"{line}\n" * count)
    assert faults(path) == [
        "train.txt: is a table without column names, should be an image list; with a first line such as "
        f"image,LABEL,LABEL{commas} mxml make-lst makes lists of it, with `format` csv, or tags where the second "
        "column names the labels"
    ]


def test_a_table_with_blanks_between_its_columns_is_one_line(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("image red blue\n" + "a.jpg 1 0\n" * 50)
    assert faults(path) == [
        "train.txt: is a table, should be an image list; with commas between its columns mxml make-lst or mxml convert "
        "makes lists of labels in other formats"
    ]


@settings(max_examples=300, deadline=None)
@given(
    content=st.lists(
        st.sampled_from([b"\t", b" ", b"\n", b"\r", b"0", b"1", b"-1.0", b"a.jpg", b"..", b"/", b"\xe9", b"\0"])
    )
)
def test_any_bytes_give_a_sound_list_or_named_faults(content, tmp_path_factory):
    path = tmp_path_factory.mktemp("lists") / "any.lst"
    path.write_bytes(b"".join(content))
    try:
        images = read_lst(path)
    except ListError as error:
        assert error.total >= 1
        assert all(fault.startswith(f"{path}:") for fault in error.faults)
    else:
        assert len(images) >= 1
        assert images.num_classes >= 1
        assert np.isin(images.labels, (0, 1, -1)).all()
        assert [name for name in images.names() if path_fault(name)] == []
        write_lst(path, images)
        assert rows(read_lst(path, num_classes=images.num_classes)) == rows(images)


@pytest.mark.parametrize(
    "name", ["a\tb.jpg", "a\nb.jpg", "a\rb.jpg", "a\0b.jpg", " a.jpg", "a.jpg\u3000", "", "\udce9.jpg"]
)
def test_names_that_no_list_can_hold_are_not_written(tmp_path, name):
    path = tmp_path / "out.lst"
    with pytest.raises(ListError, match="the path"):
        write_lst(path, ImageList.from_rows(["fine.jpg", name], [[1], [0]]))
    assert list(tmp_path.iterdir()) == []
