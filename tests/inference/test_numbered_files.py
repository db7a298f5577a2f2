from __future__ import annotations

import pytest

from mxml.errors import StorageError
from mxml.inference.numbered_files import NumberedFiles, split_numbered


@pytest.mark.parametrize(
    ("pattern", "second"),
    [
        ("t/x_%i.jpg", "t/x_1.jpg"),
        ("t/%d.PNG", "t/1.PNG"),
        ("t/%03i_x.jpeg", "t/001_x.jpeg"),
        ("t/%2d.jpg", "t/ 1.jpg"),
    ],
)
def test_pictures_are_numbered_from_0(tmp_path, monkeypatch, pattern, second):
    monkeypatch.chdir(tmp_path)
    assert split_numbered(["a.jpg", pattern]) == (("a.jpg",), pattern)
    places = NumberedFiles(pattern)
    places.following("a.jpg")
    assert places.following("b.jpg") == second
    assert (tmp_path / "t").is_dir()


@pytest.mark.parametrize("last", ["b.jpg", "%s.jpg", "%i", "%i.txt", "%i/b.jpg", "50%.jpg"])
def test_any_other_last_input_is_an_image(last):
    assert split_numbered(["a.jpg", last]) == (("a.jpg", last), None)


def test_an_image_of_such_a_name_is_an_image(tmp_path):
    image = tmp_path / "%i.jpg"
    image.touch()
    assert split_numbered([str(image)]) == ((str(image),), None)


def test_images_that_are_called_like_the_pictures_are_not_replaced(tmp_path):
    places = NumberedFiles(f"{tmp_path}/x+%03i.jpg")
    for name in ("x+7.jpg", f"../{tmp_path.name}/x+001.jpg"):
        with pytest.raises(StorageError, match="is called like the pictures"):
            places.following(f"{tmp_path}/{name}")
    assert places.following(f"{tmp_path}/in/x+7.jpg") == f"{tmp_path}/x+000.jpg"
    assert places.following(f"{tmp_path}/xx7.jpg") == f"{tmp_path}/x+001.jpg"
