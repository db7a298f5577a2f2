"""Labels from COCO instances JSON."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from labelled_sets import labelled, labelled_sets, reread, said

from mxml.data.formats import coco_instances, mmpretrain_json
from mxml.data.formats.options import FormatOptions
from mxml.errors import ListError

OPTIONS = FormatOptions()

# As in instances_val2017.json: categories come last, their ids have gaps, and a crowd is run-length encoded.
SAMPLE = """{"info": {"description": "COCO 2017 Dataset","url": "http://cocodataset.org","version": "1.0","year": 2017},
"licenses": [{"url": "http://creativecommons.org/licenses/by-nc-sa/2.0/","id": 1,"name": "Attribution"}],
"images": [
{"license": 4,"file_name": "000000397133.jpg","height": 427,"width": 640,"date_captured": "2013-11-14","id": 397133},
{"license": 1,"file_name": "000000037777.jpg","height": 230,"width": 352,"date_captured": "2013-11-14","id": 37777},
{"license": 1,"file_name": "000000252219.jpg","height": 428,"width": 640,"date_captured": "2013-11-14","id": 252219}],
"annotations": [
{"segmentation": [[510.66,423.01,511.72,420.03]],"area": 702.1,"iscrowd": 0,"image_id": 397133,
 "bbox": [473.07,395.93,38.65,28.67],"category_id": 18,"id": 1768},
{"segmentation": [[1,2,3.5,4]],"area": 1e3,"iscrowd": 0,"image_id": 252219,"bbox": [1,2,3,4],"category_id": 1,"id": 9},
{"segmentation": [[1,2,3.5,4]],"area": 7,"iscrowd": 0,"image_id": 397133,"bbox": [1,2,3,4],"category_id": 18,"id": 10},
{"segmentation": {"counts": [272,2,4,4],"size": [427,640]},"area": 18419,"iscrowd": 1,"image_id": 397133,
 "bbox": [1,0,276,122],"category_id": 1,"id": 900100397133}],
"categories": [{"supercategory": "animal","id": 18,"name": "dog"},{"supercategory": "person","id": 1,"name": "person"},
{"supercategory": "food","id": 90,"name": "hot dog"}]}"""


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "a.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write


def read(path, **options):
    return said(coco_instances.read(path, path.parent, FormatOptions(**options)))


def faults(path):
    with pytest.raises(ListError) as caught:
        read(path)
    return [fault.replace(f"{path.parent}/", "") for fault in str(caught.value).split("\n")]


def instances(images=((1, "a.jpg"),), annotations=(), categories=((1, "red"), (2, "dress"))):
    return {
        "images": [{"id": own, "file_name": name} for own, name in images],
        "annotations": [{"id": i, "image_id": image, "category_id": c} for i, image, c in annotations],
        "categories": [{"id": own, "name": name} for own, name in categories],
    }


def test_the_real_form_is_read_with_categories_as_listed(file):
    path = file(SAMPLE)
    assert coco_instances.recognises(path)
    assert read(path) == (
        ["dog", "person", "hot dog"],
        [("000000397133.jpg", [1, 1, 0]), ("000000037777.jpg", [0, 0, 0]), ("000000252219.jpg", [0, 1, 0])],
    )


def test_the_lists_may_come_in_any_order(file):
    members = json.loads(SAMPLE)
    expected = read(file(SAMPLE))
    for order in (("annotations", "categories", "images"), ("categories", "annotations", "info", "images")):
        path = file({name: members[name] for name in order})
        assert coco_instances.recognises(path)
        assert not mmpretrain_json.recognises(path)
        assert read(path) == expected


def test_unknown_categories_of_an_image(file):
    members = instances([(5, "a.jpg"), (-3, "b/ä.jpg")], [(1, 5, 20)], [(20, "red"), (0, "dress"), (7, "hat")])
    members["images"][0]["unknown_category_ids"] = [7]
    members["images"][1]["unknown_category_ids"] = [0, 20, 0]
    assert read(file(members)) == (["red", "dress", "hat"], [("a.jpg", [1, 0, -1]), ("b/ä.jpg", [-1, -1, 0])])


def test_an_image_listed_twice_counts_once_where_its_labels_agree(file):
    path = file(instances([(1, "a.jpg"), (2, "a.jpg")], [(1, 1, 2), (2, 2, 2)]))
    labelled = coco_instances.read(path, path.parent, OPTIONS)
    assert said(labelled)[1] == [("a.jpg", [0, 1])]
    assert labelled.notes == (f"{path}: 1 image named again with the same labels, kept once",)
    assert faults(file(instances([(1, "a.jpg"), (2, "a.jpg")], [(1, 1, 2)]))) == [
        "a.json: image 2: 'a.jpg' has: no label; in a.json: image 1 it has: dress; "
        "should appear once, or with the same labels"
    ]


@settings(max_examples=60, deadline=None)
@given(drawn=labelled_sets())
def test_what_is_written_is_read_the_same_and_known_again(drawn, tmp_path_factory):
    images, labels, rows = drawn
    path = tmp_path_factory.mktemp("coco") / "a.json"
    assert reread(coco_instances, labelled(images, labels, rows), path) == (labels, list(zip(images, rows)))
    assert not mmpretrain_json.recognises(path)


def test_what_is_written_is_what_coco_s_own_tools_expect(tmp_path):
    path = tmp_path / "a.json"
    coco_instances.write(labelled(["b.jpg", "a.jpg"], ["red", "ü"], [[1, 1], [0, -1]]), path, OPTIONS)
    assert json.loads(path.read_bytes()) == {
        "images": [
            {"id": 1, "file_name": "b.jpg"},
            {"id": 2, "file_name": "a.jpg", "unknown_category_ids": [2]},
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0},
            {"id": 2, "image_id": 1, "category_id": 2, "iscrowd": 0},
        ],
        "categories": [{"id": 1, "name": "red"}, {"id": 2, "name": "ü"}],
    }


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"annotations": [{"id": 17, "image_id": 4, "category_id": 1}]},
            "annotation 17: refers to image 4, which does",
        ),
        ({"annotations": [{"id": 17, "image_id": 1, "category_id": 3}]}, "annotation 17: refers to category 3, which"),
        ({"annotations": [{"image_id": 1, "category_id": -1}]}, "annotation 1: refers to category -1, which does"),
        ({"annotations": [{"id": 17, "image_id": 1}]}, 'annotation 17: has no "category_id"'),
        (
            {"annotations": [{"id": 17, "image_id": True, "category_id": 1}]},
            'annotation 17: "image_id" is true or false, should be a whole number',
        ),
        ({"annotations": [{"id": 17, "image_id": 1.5, "category_id": 1}]}, 'annotation 17: "image_id" is 1.5, should'),
        ({"annotations": [{"id": "17"}]}, 'annotations: item 1: "id" is a text, should be a whole number'),
        ({"images": [{"id": 1}]}, 'image 1: has no "file_name"'),
        ({"images": [{"file_name": "a.jpg"}]}, 'images: item 1: has no "id"'),
        ({"images": [{"id": None, "file_name": "a.jpg"}]}, 'images: item 1: "id" is null, should be a whole number'),
        ({"images": [{"id": 1, "file_name": ["a.jpg"]}]}, 'image 1: "file_name" is a list, should be a text'),
        ({"images": [{"id": 1, "file_name": "../a.jpg"}]}, "image 1: the path '../a.jpg' leaves the image root"),
        ({"images": [{"id": 1, "file_name": "/a.jpg"}]}, "image 1: the path '/a.jpg' is absolute"),
        ({"images": [{"id": 1, "file_name": "a\0.jpg"}]}, "image 1: the path 'a\\x00.jpg' holds a line end or a NUL"),
        ({"images": [{"id": 1, "file_name": "a" * 9000}]}, "image 1: the path is 9,000 bytes long"),
        ({"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}]}, "image 1: appears more than once"),
        (
            {"images": [{"id": 1, "file_name": "a", "unknown_category_ids": "x"}]},
            'image 1: "unknown_category_ids" should be a list of category ids',
        ),
        (
            {"images": [{"id": 1, "file_name": "a", "unknown_category_ids": [4]}]},
            "image 1: refers to category 4, which does not exist",
        ),
        (
            {
                "images": [{"id": 1, "file_name": "a", "unknown_category_ids": [2]}],
                "annotations": [{"image_id": 1, "category_id": 2}],
            },
            "image 1: the label 'dress' of 'a' is both present and unknown",
        ),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}, "category 1: appears more than once"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 5, "name": "a"}]}, "category 5: the label name 'a' is already"),
        ({"categories": [{"id": 5, "name": ""}]}, "category 5: the label name is empty"),
        ({"categories": [{"id": 5, "name": 5}]}, 'category 5: "name" is 5, should be a text'),
        ({"categories": []}, "holds no labels"),
        ({"images": []}, "holds no images"),
        ({"images": {}}, '"images" is an object, should be a list'),
        ({"annotations": [[1, 2]]}, '"annotations": item 1 is a list, should be an object'),
    ],
)
def test_a_fault_is_named_by_its_id(file, change, expected):
    found = faults(file({**instances(), **change}))
    assert len(found) == 1
    assert found[0].startswith(f"a.json: {expected}")


def test_ids_have_64_bits(file):
    biggest = (1 << 63) - 1
    assert read(file(instances([(biggest, "a.jpg")], [(-biggest, biggest, 1)])))[1] == [("a.jpg", [1, 0])]
    assert len(faults(file(instances([(biggest + 1, "a.jpg")])))) == 1


def test_members_that_are_not_there_are_named(file):
    assert faults(file({"images": [], "info": 1})) == ['a.json: has no "annotations", "categories"']


def test_all_faults_are_counted(file):
    found = faults(file(instances(annotations=[(i, 9, 1) for i in range(50)])))
    assert found[0] == "a.json: annotation 0: refers to image 9, which does not exist"
    assert found[-1] == "... and 30 more faults like these"


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"images": ["a.jpg"]}', '{"image": "a.jpg", "labels": []}', "image,red\na.jpg,1\n", "\0\1",
     '{"metainfo": {"classes": []}, "data_list": [{}]}'],
)  # fmt: skip
def test_other_files_are_not_taken_for_this_form(file, content, tmp_path):
    assert not coco_instances.recognises(file(content))
    (tmp_path / "folder.json").mkdir()
    assert not coco_instances.recognises(tmp_path / "folder.json")


def test_a_large_file_needs_little_memory(tmp_path):
    path = tmp_path / "a.json"
    polygon = json.dumps([[float(i) + 0.25 for i in range(2000)]])
    with open(path, "w") as file:
        file.write('{"images": [{"id": 1, "file_name": "a.jpg"}], "categories": [{"id": 1, "name": "red"}],')
        file.write('"annotations": [{"image_id": 1, "category_id": 1}')
        for _ in range(1500):
            file.write(f', {{"segmentation": {polygon}, "image_id": 1, "category_id": 1}}')
        file.write("]}")
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from mxml.data.formats import coco_instances\n"
        "from mxml.data.formats.options import FormatOptions\n"
        "import ijson\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10\n"
        "before = peak()\n"
        "coco_instances.read(Path(sys.argv[1]), Path('.'), FormatOptions())\n"
        "print(peak() - before)"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert path.stat().st_size > 20e6
    assert int(run.stdout) < 12
