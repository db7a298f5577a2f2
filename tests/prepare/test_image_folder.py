"""A set of images against the folder that they should be in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mxml.data.image_list import ImageList
from mxml.errors import ListError
from mxml.prepare.image_folder import compare_with_folder


@pytest.fixture
def images(tmp_path):
    """A folder called images, with three images."""
    for name in ("579.jpg", "sub/Car.JPG", "sub/x.png"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).write_bytes(b"")
    return tmp_path / "images"


def listed(root, *names):
    return ImageList.from_rows(names, np.ones((len(names), 1), np.int8), root)


def test_what_a_set_does_not_name_is_returned(images):
    assert compare_with_folder(listed(images, "./579.jpg"), [Path("s")]) == ("sub/Car.JPG", "sub/x.png")
    assert compare_with_folder(listed(images, "sub/x.png", "579.jpg", "sub/Car.JPG"), [Path("s")]) == ()
    assert compare_with_folder(listed(images, f"{images}/579.jpg"), [Path("s")]) == ("sub/Car.JPG", "sub/x.png")


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("sub\\x.png", "; paths have / between their parts"),
        ("images/579.jpg", "; the paths begin with images/, so `root` should be {above}"),
        ("579.JPG", "; '579.jpg' exists"),
        ("sub/car.jpg", "; 'sub/Car.JPG' exists"),
        ("579", "; '579.jpg' exists, and paths need their suffix"),
        ("x.png", "; 'sub/x.png' exists"),
        ("other.jpg", "; take it out there, or add the image"),
    ],
)
def test_a_missing_image_is_named_with_a_guess(images, name, guess):
    with pytest.raises(ListError) as caught:
        compare_with_folder(listed(images, "579.jpg", name), [Path("s.csv")])
    (fault,) = caught.value.faults
    assert fault == f"s.csv: names {name!r}, but {images / name} does not exist{guess.format(above=images.parent)}"


def test_a_missing_image_is_named_with_its_line(images, monkeypatch):
    monkeypatch.chdir(images.parent)
    Path("s.csv").write_text('image,red\n579.jpg,1\nmy579.jpg,0\n"a b,c.jpg",1\nmy579.jpg,0\n')
    with pytest.raises(ListError) as caught:
        compare_with_folder(listed("images", "579.jpg", "my579.jpg", "a b,c.jpg", "9.jpg"), [Path("t"), Path("s.csv")])
    assert [fault.partition(": ")[0] for fault in caught.value.faults] == ["s.csv:3", "s.csv:4", "t, s.csv"]


def test_where_nothing_is_there_it_is_said_once(images):
    with pytest.raises(ListError) as caught:
        compare_with_folder(listed(images, "images/579.jpg", "images/sub/x.png"), [Path("s.csv")])
    assert caught.value.faults == (
        f"s.csv: none of its 2 images exists, such as {images}/images/579.jpg; "
        f"the paths begin with images/, so `root` should be {images.parent}",
    )
    with pytest.raises(ListError, match=r"such as .*/a\.jpg; `root` names the folder that the paths are under$"):
        compare_with_folder(listed(images, "a.jpg", "b.jpg"), [Path("s.csv")])
    with pytest.raises(ListError, match=f"'sub/x.png' exists, so `root` should be {images}/sub$"):
        compare_with_folder(listed(images, "x.png", "Car.JPG"), [Path("s.csv")])
    with pytest.raises(ListError, match="none: is not a folder"):
        compare_with_folder(listed(images.parent / "none", "a.jpg"), [Path("s.csv")])


def test_the_folder_above_the_one_that_one_is_in_has_a_name(images, monkeypatch):
    monkeypatch.chdir(images)
    with pytest.raises(ListError, match=r"; the paths begin with images/, so `root` should be \.\.$"):
        compare_with_folder(listed(".", "images/579.jpg", "images/sub/x.png"), [Path("s.csv")])


def test_images_elsewhere_beside_their_table_are_hinted_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set/photos").mkdir(parents=True)
    (tmp_path / "set/photos/a.jpg").touch()
    (tmp_path / "set/labels.csv").touch()
    images = ImageList.from_rows(["a.jpg", "b.jpg"], np.ones((2, 1), np.int8), "images")
    for _ in range(2):
        with pytest.raises(ListError, match=r"'photos/a\.jpg' exists, so `root` should be set/photos$"):
            compare_with_folder(images, [Path("set/labels.csv")])
        # The same where there is such a folder, of other images.
        (tmp_path / "images").mkdir(exist_ok=True)
