"""Labels from PASCAL VOC trees."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled_sets import image_names, label_names, labelled, labelled_sets, reread, said

from mxml.data.formats import voc_tree
from mxml.data.formats.options import FormatOptions
from mxml.errors import ListError

# As VOC2012 has it, with a part whose name is no label and an object that is difficult.
SAMPLE = """<annotation>
	<folder>VOC2012</folder>
	<filename>2008_000008.jpg</filename>
	<source><database>The VOC2008 Database</database><image>flickr</image></source>
	<size><width>500</width><height>442</height><depth>3</depth></size>
	<segmented>0</segmented>
	<object>
		<name>horse</name><pose>Left</pose><truncated>0</truncated><occluded>1</occluded>
		<bndbox><xmin>53</xmin><ymin>87</ymin><xmax>471</xmax><ymax>420</ymax></bndbox>
		<difficult>0</difficult>
	</object>
	<object>
		<name>person</name>
		<bndbox><xmin>158</xmin><ymin>44</ymin><xmax>289</xmax><ymax>167</ymax></bndbox>
		<part><name>head</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox></part>
		<difficult>1</difficult>
	</object>
	<object><name>horse</name><difficult>1</difficult></object>
</annotation>
"""


def annotation(*objects, filename=""):
    inner = "".join(f"<object><name>{name}</name><difficult>{mark}</difficult></object>" for name, mark in objects)
    return f"<annotation><filename>{filename}</filename>{inner}</annotation>"


@pytest.fixture
def tree(tmp_path):
    """Make a tree from its sets, annotations and images; the class files are sets too."""

    def write(sets, annotations=None, images=()):
        root = tmp_path / "VOC"
        files = {f"ImageSets/Main/{name}.txt": content for name, content in sets.items()}
        files.update({f"Annotations/{own}.xml": content for own, content in (annotations or {}).items()})
        files.update({f"JPEGImages/{name}": "" for name in images})
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return root

    return write


def read(path, root=None, **options):
    return said(voc_tree.read(path, root or path, FormatOptions(**options)))


def faults(path, root=None, **options):
    with pytest.raises(ListError) as caught:
        read(path, root, **options)
    return str(caught.value).replace(f"{path}/", "").replace(str(path), "VOC").split("\n")


def test_a_real_tree_is_read_with_difficult_objects_unknown(tree):
    path = tree(
        {"train": "2008_000008\n", "val": "2008_000015\n", "trainval": "2008_000008\n2008_000015\n", "test": "x\n"},
        {"2008_000008": SAMPLE, "2008_000015": annotation(("bottle", 0), ("bottle", 1), filename="2008_000015.jpg")},
        ["2008_000008.jpg", "2008_000015.jpg", "2008_000016.jpg"],
    )
    assert voc_tree.recognises(path)
    assert voc_tree.default_root(path) == path / "JPEGImages"
    found = voc_tree.read(path, path / "JPEGImages", FormatOptions())
    assert said(found) == (
        ["bottle", "horse", "person"],
        [("2008_000008.jpg", [0, 1, -1]), ("2008_000015.jpg", [1, 0, 0])],
    )
    assert found.notes == (
        f"{path}: read trainval.txt, not test.txt, train.txt, val.txt",
        f"{path}: 1 label of an image with only difficult objects, read as unknown",
    )
    assert read(path, difficult="present")[1][0] == ("JPEGImages/2008_000008.jpg", [0, 1, 1])
    assert read(path, difficult="absent") == (
        ["bottle", "horse"],
        [("JPEGImages/2008_000008.jpg", [0, 1]), ("JPEGImages/2008_000015.jpg", [1, 0])],
    )


def test_one_set_is_read_by_its_file(tree, monkeypatch):
    path = tree(
        {"train": "b 2\na\n\na\n", "val": "c\n", "red_train": "b 2  1\na -1\n"},
        {"a": annotation(("red", 0)), "b 2": annotation(("blue", 0))},
        ["a.jpg", "b 2.PNG"],
    )
    expected = (["blue", "red"], [("JPEGImages/b 2.PNG", [1, 0]), ("JPEGImages/a.jpg", [0, 1])])
    source = path / "ImageSets/Main/train.txt"
    assert voc_tree.recognises(source)
    assert voc_tree.default_root(source) == path / "JPEGImages"
    assert read(source, path) == expected
    assert faults(path)[0].startswith("ImageSets/Main/val.txt:1: names 'c', but Annotations/c.xml does not exist")
    assert "is what one label has in a set" in faults(path / "ImageSets/Main/red_train.txt")[0]
    monkeypatch.chdir(source.parent)
    assert read(type(path)("train.txt"), path) == expected


def test_without_trainval_all_sets_are_read_once(tree):
    path = tree(
        {"train": "a\nb\n", "test": "b\nc\n", "red_train": "a 1\nb -1\n"},
        {own: annotation(("red", 0)) for own in "abc"},
        ["a.jpg", "b.jpg", "c.jpg"],
    )
    found = voc_tree.read(path, path / "JPEGImages", FormatOptions())
    assert found.images.names() == ["b.jpg", "c.jpg", "a.jpg"]
    assert found.notes == (f"{path}: read test.txt, train.txt",)


def test_without_annotations_the_class_files_say_the_labels(tree):
    path = tree(
        {
            "trainval": "b 2\na\n",
            "red dress_trainval": "a  1\nb 2 -1\n",
            "hat_trainval": "b 2  0\na -1\n",
            "_x_trainval": "a -1\nb 2 -1\n",
            "hat_val": "z 1\n",
        },
        images=["a.jpg", "b 2.jpg"],
    )
    labels = ["_x", "hat", "red dress"]
    assert read(path) == (labels, [("JPEGImages/b 2.jpg", [0, -1, 0]), ("JPEGImages/a.jpg", [0, 0, 1])])
    assert read(path, difficult="absent") == (
        labels,
        [("JPEGImages/b 2.jpg", [0, 0, 0]), ("JPEGImages/a.jpg", [0, 0, 1])],
    )


def test_labels_txt_fixes_the_order_unless_other_classes_are_given(tree):
    path = tree({"train": "a\n"}, {"a": annotation(("red", 0), ("blue", 1))}, ["a.jpg"])
    (path / "labels.txt").write_text("red\nhat\nblue\n")
    assert read(path) == (["red", "hat", "blue"], [("JPEGImages/a.jpg", [1, 0, -1])])
    assert read(path, classes=("hat",)) == (["blue", "red"], [("JPEGImages/a.jpg", [-1, 1])])
    (path / "labels.txt").write_text("red\n")
    assert faults(path) == [
        "ImageSets/Main/train.txt:1: the label 'blue' is not in labels.txt; add it there, or give `classes_file`"
    ]


def test_where_images_are(tree, tmp_path):
    path = tree(
        {"train": "a\nb\nsub/c\nd\n"},
        {
            "a": annotation(("x", 0), filename="other.jpg"),
            "b": annotation(("x", 0), filename="b.png"),
            "sub/c": annotation(("x", 0)),
            "d": annotation(("x", 0), filename="else/d.webp"),
        },
        ["a.jpeg", "b.png", "b.jpg", "sub/c.jpg", "a.txt"],
    )
    names = ["a.jpeg", "b.png", "sub/c.jpg", "else/d.webp"]
    (tmp_path / "elsewhere").mkdir()
    for root, prefix in ((tmp_path, "VOC/JPEGImages/"), (path / "JPEGImages", ""), (tmp_path / "elsewhere", "")):
        assert [name for name, _ in read(path, root)[1]] == [prefix + name for name in names]


def test_without_images_the_annotations_name_them(tree, tmp_path):
    path = tree({"train": "a\n"}, {"a": annotation(("x", 0), filename="photos/a &amp; b.jpg")})
    assert str(voc_tree.default_root(path)) == "images"
    assert read(path, tmp_path)[1] == [("photos/a & b.jpg", [1])]


@settings(max_examples=60, deadline=None)
@given(drawn=labelled_sets(names=image_names.filter(voc_tree.in_xml), labels=label_names.filter(voc_tree.in_xml)))
def test_what_is_written_is_read_the_same_and_known_again(drawn, tmp_path_factory):
    images, labels, rows = drawn
    path = tmp_path_factory.mktemp("voc") / "tree"
    assert reread(voc_tree, labelled(images, labels, rows), path) == (labels, list(zip(images, rows)))


def test_what_is_written_is_what_voc_s_own_tools_expect(tmp_path):
    path = tmp_path / "tree"
    images = ["photos/b c.jpg", "a.jpg", "a.png", "000002.jpg", "000002.jpg.xml/d.jpg", "./e.jpg"]
    rows = [[1, 0, -1], [0, 0, 0], [1, 1, 1], [0, 0, 1], [0, 1, 0], [-1, -1, -1]]
    voc_tree.write(labelled(images, ["red", "a/b", "x" * 250], rows), path, FormatOptions())
    ids = ["photos/b c", "000002_", "000003", "000002", "000005", "000006"]
    assert (path / "ImageSets/Main/trainval.txt").read_text().splitlines() == ids
    assert (path / "ImageSets/Main/red_trainval.txt").read_text().splitlines() == [
        "photos/b c  1", "000002_ -1", "000003  1", "000002 -1", "000005 -1", "000006  0",
    ]  # fmt: skip
    assert sorted(file.name for file in (path / "ImageSets/Main").iterdir()) == ["red_trainval.txt", "trainval.txt"]
    assert (path / "labels.txt").read_text() == "red\na/b\n" + "x" * 250 + "\n"
    assert (path / "Annotations/photos/b c.xml").read_text() == (
        "<annotation>\n\t<filename>photos/b c.jpg</filename>\n"
        "\t<object>\n\t\t<name>red</name>\n\t\t<difficult>0</difficult>\n\t</object>\n"
        f"\t<object>\n\t\t<name>{'x' * 250}</name>\n\t\t<difficult>1</difficult>\n\t</object>\n</annotation>\n"
    )
    assert read(path, tmp_path)[1] == list(zip(images, rows))


@settings(max_examples=30, deadline=None)
@given(st.sampled_from("\x00\x01\x1f\x0b\ufffe\uffff"))
def test_characters_that_xml_cannot_hold_are_refused_before_anything_is_written(tmp_path_factory, sign):
    path = tmp_path_factory.mktemp("voc") / "tree"
    for images, labels in ((["a" + sign + "b.jpg"], ["red"]), (["a.jpg"], ["a" + sign + "b"])):
        with pytest.raises(ListError):
            voc_tree.write(labelled(images, labels, [[1]]), path, FormatOptions())
    assert not path.exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "ImageSets/Main/train.txt:1: names 'a', but Annotations/a.xml does not exist"),
        ("", "Annotations/a.xml:1: is not XML (no element found)"),
        ("<annotation>\n<object>\n</annotation>", "Annotations/a.xml:3: is not XML (mismatched tag)"),
        (b"<annotation><filename>caf\xe9</filename></annotation>", "Annotations/a.xml:1: is not XML (not well-formed"),
        ("<annotation>\0</annotation>", "Annotations/a.xml:1: is not XML (not well-formed"),
        ("<html></html>", "Annotations/a.xml: is <html>, should be <annotation>"),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', "Annotations/a.xml: is not XML that can be read ("),
        ('<?xml version="1.0" encoding="utf-7"?><annotation/>', "Annotations/a.xml: is not XML that can be read ("),
        (
            '<!DOCTYPE x [<!ENTITY a "b"><!ENTITY c SYSTEM "file:///etc/passwd">]><annotation>&c;</annotation>',
            "Annotations/a.xml: holds a DOCTYPE or entities, should be plain XML",
        ),
        ("<annotation><object></object></annotation>", "Annotations/a.xml: object 1 has no <name>"),
        (annotation(("red", 0), (" ", 1)), "Annotations/a.xml: object 2 has no <name>"),
        (annotation(("red", "maybe")), "Annotations/a.xml: object 1 has 'maybe' as <difficult>, should be 1 or 0"),
        (annotation(("re\nd", 0)), "ImageSets/Main/train.txt:1: the label name 're\\nd' holds a line end"),
        ("<annotation>" + " " * (4 << 20) + "</annotation>", "Annotations/a.xml: is larger than 4,194,304 bytes"),
    ],
)
def test_a_faulty_annotation_is_named(tree, content, expected):
    path = tree({"train": "a\nb\n"}, {"b": annotation(("red", 0)), **({"a": content} if content is not None else {})},
                ["a.jpg", "b.jpg"])  # fmt: skip
    found = faults(path)
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_an_annotation_in_latin_1_that_says_so_is_read(tree):
    content = '<?xml version="1.0" encoding="ISO-8859-1"?>\n' + annotation(("café", 0))
    path = tree({"train": "a\n"}, {"a": content.encode("latin-1")}, ["a.jpg"])
    assert read(path) == (["café"], [("JPEGImages/a.jpg", [1])])


def test_deep_annotations_are_passed_over(tree):
    deep = "<a>" * 100_000 + "</a>" * 100_000
    path = tree({"train": "a\n"}, {"a": f"<annotation>{deep}<object><name>x</name></object></annotation>"}, ["a.jpg"])
    assert read(path) == (["x"], [("JPEGImages/a.jpg", [1])])


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        (b"caf\xe9\n", "ImageSets/Main/train.txt:1: is not UTF-8 text"),
        ("a\n../../b\n", "ImageSets/Main/train.txt:2: the path '../../b' leaves the image root"),
        ("/a\n", "ImageSets/Main/train.txt:1: the path '/a' is absolute"),
        ("x" * 300 + "\n", "Annotations/" + "x" * 300 + ".xml: cannot be read: File name too long"),
        ("x" * 2_000_000, "ImageSets/Main/train.txt:1: is longer than 1,048,576 bytes"),
        ("", "VOC: holds no images"),
        ("b\n", "ImageSets/Main/train.txt:1: no image 'b' is in JPEGImages, and no annotation names its file"),
        ("c\n", "ImageSets/Main/train.txt:1: JPEGImages has 'c.jpg' and 'c.png', should have one of them"),
        ("d\n", "ImageSets/Main/train.txt:1: the path 'JPEGImages/../../d.jpg' leaves the image root"),
    ],
)
def test_a_faulty_set_is_named(tree, train, expected):
    annotations = {own: annotation(("red", 0)) for own in "abc"}
    annotations["d"] = annotation(("red", 0), filename="../../d.jpg")
    path = tree({"train": train}, annotations, ["a.jpg", "c.jpg", "c.png"])
    found = faults(path)
    assert len(found) == 1
    assert found[0].startswith(expected)


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        ({"train": "a\n"}, "VOC: has no Annotations, and no files such as ImageSets/Main/cat_train.txt"),
        ({"train": "a\nb\n", "cat_train": "a 1\n"}, "ImageSets/Main: the file of the label 'cat' does not name 'b'"),
        ({"train": "a\n", "cat_train": "a 1\nb 2\n"}, "ImageSets/Main/cat_train.txt:2: is 'b 2', should be an image's"),
        ({"train": "a\n", "cat_train": "a 1\na 0\n"}, "ImageSets/Main/cat_train.txt:2: 'a' is 0, was 1"),
        ({"train": "a\n", "_train": "a 1\n"}, "ImageSets/Main: the label name is empty"),
        ({"x": None}, "ImageSets/Main: holds no set of images, should hold trainval.txt, or train.txt or similar"),
    ],
)
def test_faulty_class_files_are_named(tree, sets, expected):
    path = tree({name: content for name, content in sets.items() if content is not None}, images=["a.jpg", "b.jpg"])
    (path / "ImageSets/Main").mkdir(parents=True, exist_ok=True)
    found = faults(path)
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_what_is_no_tree_is_not_taken_for_one(tmp_path):
    (tmp_path / "train.txt").write_text("a\n")
    assert not voc_tree.recognises(tmp_path)
    assert not voc_tree.recognises(tmp_path / "train.txt")
    assert faults(tmp_path / "train.txt")[0].endswith("should be a VOC tree, or a file in its ImageSets/Main")
    assert faults(tmp_path)[0].startswith("ImageSets/Main: holds no set of images")
