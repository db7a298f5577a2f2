"""Labels from mmpretrain's JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from labelled_sets import labelled, labelled_sets, reread, said

from mxml.data.formats import coco_instances, mmpretrain_json
from mxml.data.formats.options import FormatOptions
from mxml.errors import ListError

OPTIONS = FormatOptions()

# As mmpretrain's documentation of MultiLabelDataset has it, with what its converters add.
SAMPLE = """{
    "metainfo": {"dataset_type": "multi_label", "classes": ["A", "B", "C and D"], "palette": [[1, 2], [3, 4]]},
    "data_list": [
        {"img_path": "test_img1.jpg", "gt_label": [0, 1], "img_id": 5, "gt_bboxes": [[1, 2, 3, 4]]},
        {"img_path": "sub/test img2.jpg", "gt_label": [2]},
        {"img_path": "test_img3.jpg", "gt_label": 1},
        {"img_path": "test_img4.jpg", "gt_label": []}
    ]
}"""


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "a.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write


def read(path):
    return said(mmpretrain_json.read(path, path.parent, OPTIONS))


def faults(path):
    with pytest.raises(ListError) as caught:
        read(path)
    return [fault.replace(f"{path.parent}/", "") for fault in str(caught.value).split("\n")]


def test_the_real_form_is_read(file):
    path = file(SAMPLE)
    assert mmpretrain_json.recognises(path)
    assert not coco_instances.recognises(path)
    assert read(path) == (
        ["A", "B", "C and D"],
        [
            ("test_img1.jpg", [1, 1, 0]),
            ("sub/test img2.jpg", [0, 0, 1]),
            ("test_img3.jpg", [0, 1, 0]),
            ("test_img4.jpg", [0, 0, 0]),
        ],
    )


def test_the_classes_may_come_after_the_images(file):
    members = json.loads(SAMPLE)
    path = file({"data_list": members["data_list"], "metainfo": members["metainfo"]})
    assert mmpretrain_json.recognises(path)
    assert read(path) == read(file(SAMPLE))


def test_unknown_labels(file):
    entries = [
        {"img_path": "a.jpg", "gt_label": [1], "unknown_label": [0, 2]},
        {"img_path": "b.jpg", "gt_label": [], "unknown_label": 1},
    ]
    path = file({"metainfo": {"classes": ["x", "y", "z"]}, "data_list": entries})
    assert read(path)[1] == [("a.jpg", [-1, 1, -1]), ("b.jpg", [0, -1, 0])]


@settings(max_examples=60, deadline=None)
@given(drawn=labelled_sets())
def test_what_is_written_is_read_the_same_and_known_again(drawn, tmp_path_factory):
    images, labels, rows = drawn
    path = tmp_path_factory.mktemp("mmpretrain") / "a.json"
    assert reread(mmpretrain_json, labelled(images, labels, rows), path) == (labels, list(zip(images, rows)))
    assert not coco_instances.recognises(path)


def test_what_is_written_is_what_mmpretrain_expects(tmp_path):
    path = tmp_path / "a.json"
    mmpretrain_json.write(labelled(["b.jpg", "a.jpg"], ["red", "ü"], [[1, 1], [0, -1]]), path, OPTIONS)
    assert json.loads(path.read_bytes()) == {
        "metainfo": {"classes": ["red", "ü"]},
        "data_list": [
            {"img_path": "b.jpg", "gt_label": [0, 1]},
            {"img_path": "a.jpg", "gt_label": [], "unknown_label": [1]},
        ],
    }


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"gt_label": [0]}, 'has no "img_path"'),
        ({"img_path": "b.jpg"}, 'has no "gt_label"'),
        ({"img_path": 3, "gt_label": [0]}, '"img_path" is 3, should be a text'),
        ({"img_path": "b.jpg", "gt_label": [2]}, "has the label 2, should be 0 to 1 for 2 classes"),
        ({"img_path": "b.jpg", "gt_label": [-1]}, "has the label -1, should be 0 to 1"),
        ({"img_path": "b.jpg", "gt_label": [], "unknown_label": [9]}, "has the label 9, should be 0 to 1"),
        ({"img_path": "b.jpg", "gt_label": [True]}, '"gt_label" has true or false, should be a list of class numbers'),
        ({"img_path": "b.jpg", "gt_label": "red"}, '"gt_label" has a text, should be a list of class numbers'),
        ({"img_path": "b.jpg", "gt_label": None}, '"gt_label" has null, should be a list of class numbers'),
        ({"img_path": "b.jpg", "gt_label": [0.5]}, '"gt_label" has 0.5, should be a list of class numbers'),
        ({"img_path": "b.jpg", "gt_label": [[0]]}, '"gt_label" has a list, should be a list of class numbers'),
        ({"img_path": "b.jpg", "gt_label": [0], "unknown_label": {}}, '"unknown_label" has an object, should be'),
        ({"img_path": "b.jpg", "gt_label": [0], "unknown_label": [0]}, "the label 'x' of 'b.jpg' is both present and"),
        ({"img_path": "../b.jpg", "gt_label": [0]}, "the path '../b.jpg' leaves the image root"),
        ({"img_path": "a.jpg", "gt_label": [1]}, "'a.jpg' has: y; in a.json: image 1 of data_list it has: x; should"),
    ],
)
def test_a_faulty_image_is_named_by_its_number(file, entry, expected):
    path = file({"data_list": [{"img_path": "a.jpg", "gt_label": [0]}, entry], "metainfo": {"classes": ["x", "y"]}})
    found = faults(path)
    assert len(found) == 1
    assert found[0].startswith(f"a.json: image 2 of data_list: {expected}")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"data_list": []}, 'has no "metainfo"'),
        ({"metainfo": {"classes": ["x"]}}, 'has no "data_list"'),
        ({"metainfo": {}, "data_list": []}, '"metainfo" should have "classes", a list of the classes\' names'),
        ({"metainfo": {"classes": "x"}, "data_list": []}, '"metainfo" should have "classes"'),
        ({"metainfo": {"classes": [1]}, "data_list": []}, '"metainfo" should have "classes"'),
        ({"metainfo": {"classes": ["x", "x"]}, "data_list": []}, "class 1: the label name 'x' is already"),
        ({"metainfo": {"classes": ["x"]}, "data_list": []}, "holds no images"),
        ({"metainfo": [], "data_list": []}, '"metainfo" is a list, should be an object'),
        ({"metainfo": {"classes": ["x"]}, "data_list": {}}, '"data_list" is an object, should be a list'),
    ],
)
def test_a_faulty_file_is_refused(file, content, expected):
    found = faults(file(content))
    assert len(found) == 1
    assert found[0].startswith(f"a.json: {expected}")


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"metainfo": []}', '{"data_list": 1}', '{"image": "a.jpg", "labels": []}', "image,red\n", "\0",
     '{"images": [{}], "categories": [{}]}'],
)  # fmt: skip
def test_other_files_are_not_taken_for_this_form(file, content, tmp_path):
    assert not mmpretrain_json.recognises(file(content))
    (tmp_path / "folder.json").mkdir()
    assert not mmpretrain_json.recognises(tmp_path / "folder.json")
