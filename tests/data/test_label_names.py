"""Label name files: what is read, what is written, and which files belong together."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxml.data.label_names import read_label_names, read_output_names, require_same_names, write_label_names
from mxml.errors import ListError

one_line_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\0"), min_size=1).filter(
    lambda text: text == text.strip()
)


@settings(max_examples=50, deadline=None)
@given(names=st.lists(one_line_texts.filter(lambda name: name[0] != "\ufeff"), min_size=1, unique=True))
def test_label_names_are_read_back(names, tmp_path_factory):
    path = tmp_path_factory.mktemp("labels") / "labels.txt"
    write_label_names(path, names)
    assert read_label_names(path, len(names)) == names


def test_label_names_in_other_forms(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_bytes("\ufeffrobe d'été\r\nred\r\n\r\n".encode())
    assert read_label_names(path) == ["robe d'été", "red"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"red\n\nblue\n", r":2: the label name is empty"),
        (b"red\nblue\nred\n", r":3: the label name 'red' is already number 1, should be unique"),
        (b"red\nblue\n", r": has 2 labels, should be 3: red, blue"),
        (b"\n", r": holds no label names"),
        (b"caf\xe9\n", r":1: is not UTF-8 text"),
    ],
)
def test_faulty_label_names_are_refused(tmp_path, content, fault):
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(ListError, match=r"labels\.txt" + fault):
        read_label_names(path, 3)


@pytest.mark.parametrize("names", [["a\nb"], ["a", "a"], [""], [" a"], ["\udce9"]])
def test_label_names_that_could_not_be_read_back_are_not_written(tmp_path, names):
    with pytest.raises(ListError, match=r"label [12]: "):
        write_label_names(tmp_path / "labels.txt", names)
    assert list(tmp_path.iterdir()) == []


def test_lists_with_other_label_names_beside_them_are_refused(tmp_path):
    (tmp_path / "labels.txt").write_text("red\nhat\n")
    require_same_names(tmp_path / "val.lst", ["red", "hat"], "train/labels.txt")
    require_same_names(tmp_path / "none" / "val.lst", ["x"], "train/labels.txt")
    with pytest.raises(ListError) as caught:
        require_same_names(tmp_path / "val.lst", ["red", "tie"], "train/labels.txt")
    assert str(caught.value) == (
        f"{tmp_path}/labels.txt: names other labels than train/labels.txt: number 2 is 'hat' here and 'tie' there; "
        "make both lists with the same labels: mxml convert and mxml make-lst can take the names from a file"
    )
    with pytest.raises(ListError, match="number 2 is 'hat' here and nothing there"):
        require_same_names(tmp_path / "val.lst", ["red"], "train/labels.txt")


def test_outputs_of_one_name_are_told_apart_by_their_line(tmp_path):
    path = tmp_path / "imagenet.txt"
    path.write_text("crane\nlimpkin, Aramus pictus\ncrane\n")
    assert read_output_names(path, 3) == ["crane", "limpkin, Aramus pictus", "crane (3)"]
    path.write_text("crane\ncrane (3)\ncrane\n")
    with pytest.raises(ListError, match=r":3: the label name 'crane \(3\)' is already number 2"):
        read_output_names(path, 3)
    path.write_text("crane\nlimpkin, Aramus pictus\n")
    with pytest.raises(ListError, match=r'has 2 labels, should be 4: crane, "limpkin, Aramus pictus"$'):
        read_output_names(path, 4)
