"""``mxml similar``: the images of a list that look like others."""

from __future__ import annotations

import json
import os
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from mxml import Classifier
from mxml.data.image_list import ImageList
from mxml.data.lst_file import read_lst, write_lst
from mxml.errors import SettingError
from mxml.inference.similar import SimilarIndex

SIMILAR = ("similar", "--prefix", "saved/multi", "--data", "lists/val.lst", "--root", "images")


@pytest.fixture
def index(folder):
    return SimilarIndex.read(Classifier.load("saved/multi"), "lists/val.lst", "images")


def test_a_copy_is_found_first_and_a_file_not_for_itself(folder, mxml):
    picture = cv2.imread("images/2-5.png")
    assert cv2.imwrite("copy.jpg", picture)
    code, out, err = mxml(*SIMILAR, "copy.jpg", "images/2-5.png", "nowhere.jpg", "--count", "3", "--out", "sheet.jpg")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0] == "copy.jpg:" and "  images/2-5.png: " in lines[1]
    assert lines[4] == "images/2-5.png:" and len(lines) == 8
    assert not any("2-5.png" in line for line in lines[5:])
    assert "left out, cannot be read: nowhere.jpg: no such file" in err
    with Image.open("sheet.jpg") as sheet:
        # Two rows of the image and three that are similar.
        assert sheet.width > 4 * 180 and sheet.height > 2 * 180

    code, out, err = mxml(*SIMILAR, "copy.jpg", "nowhere.jpg", "--count", "2", "--json")
    copy, bad = map(json.loads, out.splitlines())
    assert copy["similar"][0]["path"] == "images/2-5.png" and copy["similar"][0]["distance"] < 0.1
    assert bad == {"input_path": "nowhere.jpg", "error": "no such file"}
    distances = [found["distance"] for found in copy["similar"]]
    assert distances == sorted(distances)
    assert mxml(*SIMILAR, "nowhere.jpg")[0] == 1


def test_distances_are_those_of_standardised_vectors_of_length_one(folder, index):
    classifier = index.classifier
    images = read_lst("lists/val.lst", "images")
    features = classifier.features(images).astype(np.float64)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    spread = features.std(axis=0)
    # One of the random network's filters answers to no image.
    standard = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1)
    standard /= np.linalg.norm(standard, axis=1, keepdims=True)
    expected = 1 - standard @ standard[3]
    (found,) = index.similar((folder / "images" / "2-3.png").read_bytes(), 12)
    order = np.argsort(expected, kind="stable")
    assert [image.position for image in found.images] == order.tolist()
    assert [image.distance for image in found.images] == pytest.approx(np.maximum(expected[order], 0), abs=1e-4)


def test_the_nearest_pair_with_different_labels_is_the_copy_with_a_wrong_label(folder, mxml):
    images = read_lst("lists/val.lst", "images")
    names = [*images.names(), "copy.png", "copy-unknown.png"]
    for name in names[-2:]:
        (folder / "images" / name).write_bytes((folder / "images" / "2-7.png").read_bytes())
    wrong, unknown = images.labels[7].copy(), images.labels[7].copy()
    wrong[0], unknown[0] = 1 - wrong[0], -1
    write_lst("lists/more.lst", ImageList.from_rows(names, np.vstack([images.labels, wrong, unknown]), "images"))
    command = ("similar", "--prefix", "saved/multi", "--data", "lists/more.lst", "--root", "images", "--pairs")
    code, out, err = mxml(*command, "--count", "2", "--json", "--out", "pairs.png")
    assert code == 0, err
    pair, second = map(json.loads, out.splitlines())
    assert {image["path"] for image in second["images"]} != {"images/2-7.png", "images/copy-unknown.png"}
    assert [image["path"] for image in pair["images"]] == ["images/2-7.png", "images/copy.png"]
    assert pair["distance"] < 1e-5 < second["distance"]
    assert pair["images"][0]["label_names"] != pair["images"][1]["label_names"]
    code, out, err = mxml(*command, "--count", "1")
    assert out.splitlines()[0].startswith("0.000  images/2-7.png: ")
    with Image.open("pairs.png") as sheet:
        assert sheet.format == "PNG"


def test_all_pairs_are_found_in_their_order(index):
    labels = index.images.labels
    known = {
        (image.position, query): image.distance
        for query in range(len(labels))
        for found in index.similar((index.images.path(query),), len(labels))
        for image in found.images
    }
    expected = sorted(
        (known[first, second], first, second)
        for first in range(len(labels))
        for second in range(first + 1, len(labels))
        if (labels[first] != labels[second]).any()
    )
    found = [(pair.first.distance, pair.first.position, pair.second.position) for pair in index.pairs(1000)]
    assert [pair[1:] for pair in found] == [pair[1:] for pair in expected]
    assert [pair[0] for pair in found] == pytest.approx([pair[0] for pair in expected], abs=1e-5)


def test_few_pairs_of_an_image_are_the_nearest_that_are_left(index):
    from told import Told

    progress = Told()
    every = [(pair.first.position, pair.second.position) for pair in index.pairs(1000)]
    expected: list[tuple[int, int]] = []
    for pair in every:
        used = [position for kept in expected for position in kept]
        expected += [pair] if max(map(used.count, pair)) < 1 else []
    found = index.pairs(3, 1, progress=progress)
    assert [(pair.first.position, pair.second.position) for pair in found] == expected[:3]
    left_out = every.index(expected[2]) - 2
    assert len(progress.notes) == (left_out > 0) and (not left_out or f" {left_out:,}" in progress.notes[0])
    with pytest.raises(SettingError, match="per_image"):
        index.pairs(3, 0)


def test_images_need_no_labels_to_be_looked_through(folder, mxml):
    images = read_lst("lists/val.lst", "images")
    paths = [images.path(position) for position in range(len(images))]
    other = ImageList.from_rows(images.names(), np.full((len(images), 2), 7), "images")
    write_lst("lists/other.lst", other)
    (folder / "some").mkdir()
    for path in paths:
        shutil.copy(path, "some")
    (folder / "paths.txt").write_text("\n".join(paths) + "\n\n")
    (folder / "names.txt").write_text("\n".join(images.names()))
    find = ("similar", "--prefix", "saved/multi", "--json", "--count", "2", "images/1-3.png", "--data")
    code, out, err = mxml(*find, "lists/val.lst", "--root", "images")
    assert code == 0, err
    expected = [os.path.basename(found["path"]) for found in json.loads(out)["similar"]]
    for data, root in (("lists/other.lst", "images"), ("some", None), ("paths.txt", None), ("names.txt", "images")):
        code, out, err = mxml(*find, data, *(["--root", root] if root else []))
        assert code == 0, err
        similar = json.loads(out)["similar"]
        assert [os.path.basename(found["path"]) for found in similar] == expected
        assert all(os.path.isfile(found["path"]) and "label_names" not in found for found in similar)
        assert ("its labels are not those of the model" in err) == (data == "lists/other.lst")
    code, out, err = mxml("similar", "--prefix", "saved/multi", "--data", "some", "images/1-3.png", "--count", "1")
    assert code == 0 and out.splitlines()[1].endswith(f"  some/{expected[0]}")
    code, out, err = mxml("similar", "--prefix", "saved/multi", "--data", "some", "--pairs")
    assert code == 1 and "pairs with different labels need a list with labels of the model" in err


def test_the_second_search_computes_no_image_of_the_list(folder, mxml):
    from told import Told

    classifier = Classifier.load("saved/multi")
    for done in (0, 12):
        progress = Told()
        SimilarIndex.read(classifier, "lists/val.lst", "images", progress=progress)
        assert progress.parts == [("features of the list", 12, done)]


def test_features_have_a_row_per_image_and_nan_where_it_cannot_be_read(folder):
    classifier = Classifier.load("saved/multi")
    found = classifier.features(["images/2-0.png", "nowhere.png", "images/2-1.png"], batch_size=2)
    assert found.shape == (3, 8) and found.dtype == np.float32
    assert np.isfinite(found[[0, 2]]).all() and np.isnan(found[1]).all()
    assert classifier.features([]).shape == (0, 0)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "give images to look for, or --pairs"),
        (("--pairs", "images/2-0.png"), 2, "give images to look for, or --pairs, not both"),
        (("images/2-0.png", "--out", "images/2-0.png", "--force"), 1, "images/2-0.png: is one of the inputs"),
        (("images/2-0.png", "--out", "images/2-1.png"), 1, "images/2-1.png: is one of the inputs"),
        (("images/2-0.png", "--out", "sheet.gif"), 2, "--out sheet.gif: should be a file that ends in .jpg"),
        (("images/2-0.png", "--count", "0"), 2, "--count"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(folder, mxml, arguments, code, message):
    found, _out, err = mxml(*SIMILAR, *arguments)
    assert found == code and message in err and len(err.splitlines()) == 1
