import os

import pytest

from mxml.errors import MxmlError
from mxml.inference.inputs import expand_inputs

FILES = ("b.jpg", "a.JPEG", "notes.txt", "in/c.png", "in/deep/d.webp", "in/[1].jpg", ".hidden.jpg", ".thumbs/e.jpg")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in FILES:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("inputs", "found"),
    [
        (["photos/b.jpg", "photos/a.JPEG"], ["b.jpg", "a.JPEG"]),
        (["photos/b.jpg", "photos/b.jpg"], ["b.jpg", "b.jpg"]),
        (["photos/notes.txt"], ["notes.txt"]),
        (["photos"], ["a.JPEG", "b.jpg", "in/[1].jpg", "in/c.png", "in/deep/d.webp"]),
        (["photos/in/"], ["in/[1].jpg", "in/c.png", "in/deep/d.webp"]),
        (["photos/*.jpg"], ["b.jpg"]),
        (["photos/*"], ["a.JPEG", "b.jpg", "notes.txt"]),
        (["photos/**/*.[pw]*"], ["in/c.png", "in/deep/d.webp"]),
        (["photos/in/[1].jpg"], ["in/[1].jpg"]),
        (["photos/in", "photos/b.jpg"], ["in/[1].jpg", "in/c.png", "in/deep/d.webp", "b.jpg"]),
    ],
)
def test_files_folders_and_patterns_give_images_in_the_order_named(inputs, found):
    assert expand_inputs(inputs) == [os.path.join("photos", name) for name in found]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("photos/none.jpg", r"^photos/none\.jpg: is not there, should be an image, a folder or a pattern"),
        ("photos/*.gif", r"^photos/\*\.gif: no file matches"),
        ("empty", r"^empty: holds no image, should hold files that end in \.bmp, "),
        ("", r"^'': is not there"),
    ],
)
def test_an_input_that_gives_no_image_is_refused(entry, message):
    with pytest.raises(MxmlError, match=message):
        expand_inputs(["photos/b.jpg", entry])
