import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mxml.data.image_list import ImageList
from mxml.errors import ImageError, MxmlError
from mxml.images.decode import decode
from mxml.inference.input_names import Reading
from mxml.inference.inputs import InputStream

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
    assert [item.name for item in InputStream(inputs)] == [os.path.join("photos", name) for name in found]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("photos/*.gif", r"^photos/\*\.gif: no file matches"),
        ("empty", r"^empty: holds no image, should hold files that end in \.bmp, "),
    ],
)
def test_an_input_that_gives_no_image_is_refused(entry, message):
    with pytest.raises(MxmlError, match=message):
        InputStream(entry)


class Notes:
    """A progress that keeps its notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def start(self, total: int, what: str, done: int = 0) -> None:
        pass

    def advance(self, count: int = 1, detail: str = "") -> None:
        pass

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.mark.usefixtures("folder")
def test_what_a_folder_has_in_other_formats_is_told():
    Path("photos/x.HEIC").write_bytes(b"x")
    Path("photos/in/y.gif").write_bytes(b"y")
    told = Notes()
    Path("photos/z.MP4").write_bytes(b"z")
    assert InputStream("photos", Reading(progress=told)).count == 5
    assert told.notes == [
        "photos: 1 .gif, 1 .heic files are skipped: their formats are not read; "
        "1 video is skipped: name each to read it"
    ]


# ---- what the library takes


def names(inputs):
    return [item.name for item in InputStream(inputs)]


@pytest.mark.usefixtures("folder")
def test_names_stand_for_files_also_in_lists_and_generators_of_lists():
    below = ["photos/in/[1].jpg", "photos/in/c.png", "photos/in/deep/d.webp"]
    assert names("photos/in") == names(Path("photos/in")) == below
    assert names(["photos/b.jpg", Path("photos/in")]) == ["photos/b.jpg", *below]
    assert names(iter([["photos/*.jpg"], ("photos/in",)])) == ["photos/b.jpg", *below]
    assert names(["photos/none.jpg"]) == ["photos/none.jpg"], "whether it can be read shows when it is"
    assert names(ImageList.from_rows(["b.jpg", "in/c.png"], [[1], [0]], "photos")) == [
        "photos/b.jpg",
        "photos/in/c.png",
    ]


@pytest.mark.usefixtures("folder")
def test_how_many_images_there_are_is_known_where_nothing_has_to_be_read_for_it():
    assert InputStream("photos").count == 5
    assert InputStream(["photos", "photos/b.jpg", b"x", np.zeros((2, 2, 3), np.uint8)]).count == 8
    assert InputStream(ImageList.from_rows(["b.jpg"], [[1]], "photos")).count == 1
    assert InputStream([]).count == 0
    assert InputStream(iter(["photos"])).count is None
    assert InputStream([iter(["photos"])]).count is None


@pytest.mark.usefixtures("folder")
def test_a_folder_or_pattern_without_images_is_refused():
    for entry in ("empty", "photos/*.gif"):
        with pytest.raises(MxmlError, match=r"holds no image|no file matches"):
            InputStream([entry])


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("several", [list, tuple, iter, lambda entries: [entries[0], iter(entries[1:])]])
def test_among_several_inputs_one_without_images_is_a_fault_of_its_own(several):
    stream = InputStream(several(["photos/b.jpg", "empty", "photos/*.gif", "photos/in"]))

    items = list(stream)
    names = [item.name for item in items]
    faults = {place: item.content for place, item in enumerate(items) if isinstance(item.content, ImageError)}

    assert names[:4] == ["photos/b.jpg", "empty", "photos/*.gif", "photos/in/[1].jpg"] and len(names) == 6
    assert {position: fault.path for position, fault in faults.items()} == {1: "empty", 2: "photos/*.gif"}
    assert str(faults[1]).startswith("empty: holds no image, should hold files that end in ")


def test_images_in_memory_are_called_by_their_position():
    pixels = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    items = list(InputStream([b"abc", pixels[:, ::-1], bytearray(b"de"), Image.fromarray(pixels), [pixels, pixels]]))
    assert [item.name for item in items] == [f"image {position}" for position in range(6)]
    assert (items[0].content, items[2].content) == (b"abc", b"de")
    for position, wanted in ((1, pixels[:, ::-1]), (3, pixels)):
        content = items[position].content
        assert isinstance(content, np.ndarray)
        np.testing.assert_array_equal(content, wanted)
    assert names(np.zeros((3, 4, 5, 3), np.uint8)) == ["image 0", "image 1", "image 2"]


@pytest.mark.parametrize(
    ("image", "remedy"),
    [
        (np.zeros((4, 5, 3)), r"got 4x5x3 float64; numbers from 0 to 1 become that by \(255 \* array\)"),
        (np.zeros((3, 4, 5), np.uint8), r"got 3x4x5 uint8; channels come last: array.transpose\(1, 2, 0\)"),
        (np.zeros((4, 4, 4), np.uint8), "got 4x4x4 uint8$"),
        (np.zeros((0, 4, 3), np.uint8), "got 0x4x3 uint8$"),
        (np.zeros((4, 4), bool), "got 4x4 bool$"),
        (np.array(None), "got one number object$"),
    ],
)
def test_arrays_that_are_no_rgb_image_are_refused(image, remedy):
    with pytest.raises(TypeError, match=r"expected an array \(H, W, 3\) of uint8.*" + remedy):
        list(InputStream([image]))


class Tensor:
    """What other libraries' arrays have in common."""

    def __init__(self, values):
        self._values = np.asarray(values)
        self.ndim = self._values.ndim

    def __array__(self, dtype=None, copy=None):
        return self._values

    def __iter__(self):
        return iter(self._values)


def test_grey_images_and_arrays_of_other_libraries_are_images():
    grey = np.arange(20, dtype=np.uint8).reshape(4, 5)
    rgb = np.stack([grey] * 3, 2)
    items = list(InputStream([grey, grey[..., None], Tensor(rgb), Tensor(rgb[None])]))
    assert len(items) == 4
    for item in items:
        assert isinstance(item.content, np.ndarray)
        np.testing.assert_array_equal(item.content, rgb)


@pytest.mark.usefixtures("folder")
def test_a_column_of_a_table_is_a_list_of_names():
    assert names(np.array(["photos/b.jpg", "photos/in"])) == names(["photos/b.jpg", "photos/in"])
    assert names(Tensor(["photos/b.jpg"])) == ["photos/b.jpg"]


@pytest.mark.usefixtures("folder")
def test_dicts_as_paddlex_takes_them():
    assert names({"img": "photos/in"}) == names("photos/in")
    assert InputStream([{"img": "photos"}, {"img": b"x"}]).count == 6
    assert names({"img": ["photos/b.jpg", {"img": Path("photos/a.JPEG")}], "other": 3}) == [
        "photos/b.jpg",
        "photos/a.JPEG",
    ]
    with pytest.raises(MxmlError, match=r"^empty: holds no image"):
        InputStream({"img": "empty"})
    with pytest.raises(TypeError, match=r'expected a dict such as \{"img": "photo.jpg"\}, got one without "img"'):
        names({"image": "photos/b.jpg"})


def test_what_is_no_image_is_refused():
    wrong: tuple[Any, ...] = (3, [3], iter([None]))
    for inputs in wrong:
        with pytest.raises(TypeError, match="expected images, got "):
            list(InputStream(inputs))


def test_a_list_that_holds_itself_is_refused():
    inputs: list[Any] = [b"x"]
    inputs.append(inputs)
    with pytest.raises(MxmlError, match="nested more than 100 deep, or a list of them holds itself"):
        list(InputStream(inputs))


def pillow_images():
    generator = np.random.default_rng(4)
    colours = generator.integers(0, 256, (30, 20, 4), dtype=np.uint8)
    colours[:10, :, 3], colours[10:20, :, 3] = 0, 255
    yield "PNG", Image.fromarray(colours), {}
    yield "PNG", Image.fromarray(colours[..., :3]), {}
    yield "PNG", Image.fromarray(colours[..., 0]), {}
    yield "PNG", Image.fromarray(colours[..., :3]).convert("P"), {}
    yield "PNG", Image.fromarray(colours[..., 0]).convert("LA"), {}
    yield "PNG", Image.fromarray(generator.integers(0, 65536, (30, 20)).astype(np.uint16)), {}
    yield "PNG", Image.fromarray(colours[..., :3]).convert("P"), {"transparency": 3}
    exif = Image.Exif()
    exif[274] = 6
    yield "JPEG", Image.fromarray(colours[..., :3]), {"exif": exif, "quality": 100, "subsampling": 0}


@pytest.mark.parametrize(("form", "image", "options"), list(pillow_images()))
def test_an_image_of_pillow_becomes_what_its_file_decodes_to(form, image, options):
    file = io.BytesIO()
    image.save(file, form, **options)
    (item,) = InputStream(Image.open(file))
    decoded = decode(file.getvalue())
    assert isinstance(item.content, np.ndarray)
    assert item.content.shape == decoded.shape
    assert np.abs(item.content.astype(int) - decoded).max() <= (4 if form == "JPEG" else 1)


def test_an_image_of_pillow_that_cannot_be_loaded_is_reported_and_the_rest_goes_on():
    file = io.BytesIO()
    Image.effect_noise((64, 64), 80).save(file, "PNG")
    cut = Image.open(io.BytesIO(file.getvalue()[:1000]))
    stream = InputStream(image for image in (Image.open(file), cut, Image.open(file)))
    faults = [item.content for item in stream if isinstance(item.content, ImageError)]
    assert len(faults) == 1 and "Pillow cannot load it: " in faults[0].reason and faults[0].path == "image 1"
