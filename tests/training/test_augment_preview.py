"""The picture of ``mxml augment-preview``: its cells against what training gets, and what each setting does to it."""

from __future__ import annotations

import re
from typing import Any

import cv2
import numpy as np
import pytest
import tiny
from PIL import Image

from mxml import cli
from mxml.cli.augment_preview import command
from mxml.data.batches import Batches
from mxml.data.formats import rec_file
from mxml.data.formats.options import DEFAULTS
from mxml.data.image_sources import ImageFiles
from mxml.data.labelled_images import LabelledImages
from mxml.data.lst_file import read_lst
from mxml.errors import ListError, SettingError
from mxml.images.decode import load
from mxml.training.augment_preview import augment_preview
from mxml.training.run_data import augment_of, mixing_of, preprocess_of
from mxml.training.settings.images import AUGMENT_SETTINGS

SIDE = 32
# 180 pixels at least: every pixel six times as large. Then the gap beside, and the titles above.
SCALE, GAP, TOP = 6, 8, 34


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("preview")
    tiny.make_data(folder, train=6)
    return folder


def preview(folder, images=3, copies=2, **given):
    given = {"image_shape": (3, SIDE, SIDE), **given}
    return augment_preview(folder / "lists" / "train.lst", folder / "images", given, images=images, copies=copies)


def first_row(picture, columns):
    """Return the pictures in the first row, at their own size."""
    lefts = [GAP + column * (SIDE * SCALE + GAP) for column in range(columns)]
    cells = [picture[TOP : TOP + SIDE * SCALE, left : left + SIDE * SCALE] for left in lefts]
    for cell in cells:
        assert np.array_equal(cell, np.repeat(np.repeat(cell[::SCALE, ::SCALE], SCALE, axis=0), SCALE, axis=1))
    return [cell[::SCALE, ::SCALE] for cell in cells]


@pytest.mark.parametrize("preset", ["original", "caffe"])
def test_the_first_column_is_plain_and_the_others_are_what_training_gets(folder, preset):
    given = {"rotate": 30.0, "jitter": 0.3, "cutout": 0.4, "mixup": 0.4, "seed": 3, "preset": preset}
    plain, first, second = first_row(preview(folder, images=6, **given), 3)
    listed = read_lst(folder / "lists" / "train.lst", folder / "images")
    image = load(listed.path(0))  # 40 x 44 pixels
    middle = cv2.resize(image, (35, 32), interpolation=cv2.INTER_CUBIC)[:, 1:33]
    assert np.abs(plain.astype(int) - middle).max() <= 1
    config = tiny.config(folder, image_shape=(3, SIDE, SIDE), **given)
    preprocess = preprocess_of(config)
    varied: dict[str, Any] = {"augment": augment_of(config), "mixing": mixing_of(config), "seed": 3}
    with Batches(ImageFiles(listed), preprocess, 6, labels=listed.labels, **varied) as batches:
        for epoch, shown in ((1, first), (2, second)):
            batches.set_epoch(epoch)
            row = batches.next().data[0].asnumpy()[0].transpose(1, 2, 0)
            pixels = np.clip(row * preprocess.std + preprocess.mean, 0, 255)
            pixels = pixels[:, :, ::-1] if preset == "caffe" else pixels
            assert np.abs(pixels - shown).max() <= 0.51


VARIED: dict[str, Any] = {
    "image_shape": (3, 24, 32),
    "fit": "letterbox",
    "preset": "imagenet",
    "rand_crop": False,
    "rand_mirror": False,
    "min_area": 0.3,
    "jitter": 0.5,
    "hue": 0.5,
    "pca_noise": 1.0,
    "rand_gray": 1.0,
    "vertical_flip": True,
    "rotate": 90.0,
    "shift": 0.5,
    "shear": 0.5,
    "zoom": 0.5,
    "rand_augment": (3, 9),
    "cutout": 0.5,
    "mixup": 1.0,
    "cutmix": 1.0,
    "seed": 1,
}


def test_every_setting_changes_the_picture(folder):
    assert set(VARIED) == set(AUGMENT_SETTINGS)
    before = preview(folder)
    assert np.array_equal(preview(folder, decode_threads=3), before)
    for name, value in VARIED.items():
        assert not np.array_equal(preview(folder, **{name: value}), before), name


def test_an_unreadable_image_is_shown_as_such_and_a_short_list_is_shown_whole(folder, tmp_path):
    lines = (folder / "lists" / "train.lst").read_text().splitlines()
    short = tmp_path / "short.lst"
    short.write_text("\n".join([lines[0], lines[1].rpartition("\t")[0] + "\tmissing.png"]) + "\n")
    picture = augment_preview(short, folder / "images", {"image_shape": (3, SIDE, SIDE)}, images=8, copies=1)
    assert picture.shape[0] < TOP + 3 * SIDE * SCALE and picture.shape[1] == GAP + 2 * (SIDE * SCALE + GAP)


def test_the_image_folder_is_the_remedy_only_where_no_image_is_there(folder, tmp_path):
    images = read_lst(folder / "lists" / "train.lst", folder / "images")
    (tmp_path / "train.lst").write_bytes((folder / "lists" / "train.lst").read_bytes())
    for position in range(len(images)):
        (tmp_path / images.name(position)).write_bytes(b"damaged")
    damaged = read_lst(tmp_path / "train.lst", tmp_path)
    rec_file.write(LabelledImages(damaged, tiny.LABELS), tmp_path / "train.rec", DEFAULTS)
    given = {"image_shape": (3, SIDE, SIDE)}
    for name, root in (("train.lst", tmp_path), ("train.rec", None)):
        with pytest.raises(ListError, match=r"none of its first 6 images can be read, such as (?!.*`root`)"):
            augment_preview(tmp_path / name, root, given)
    with pytest.raises(ListError, match=r"no such file.*; `root` says where they are$"):
        augment_preview(tmp_path / "train.lst", folder / "lists", given)


def test_wrong_numbers_are_named(folder):
    for name in ("images", "copies"):
        with pytest.raises(SettingError, match=f"`{name}` 0: should be 1 or more"):
            preview(folder, **{name: 0})
    with pytest.raises(SettingError, match="`images` 6: should be fewer"):
        preview(folder, images=6, copies=60, image_shape=(3, 512, 512 * 2))


def run(monkeypatch, capfd, *arguments):
    capfd.readouterr()
    monkeypatch.setattr("sys.argv", ["mxml", "augment-preview", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code, *capfd.readouterr()


def test_the_command_draws_the_committed_sample(checkout, tmp_path, monkeypatch, capfd):
    out = tmp_path / "grid.png"
    options = ["--data", checkout / "lists/train.lst", "--image-shape", "3,96,96", "--images", 2, "--copies", 3]
    options += ["--rotate", 25, "--rand-augment", "2,9", "--mixup", 0.4, "--out", out]
    assert run(monkeypatch, capfd, *options) == (0, f"{out}\n", "")
    with Image.open(out) as picture:
        assert (picture.format, picture.mode, picture.width) == ("PNG", "RGB", GAP + 4 * (192 + GAP))
    first = out.read_bytes()
    assert run(monkeypatch, capfd, *options, "--seed", 0)[0] == 0 and out.read_bytes() == first
    assert run(monkeypatch, capfd, *options, "--seed", 1)[0] == 0 and out.read_bytes() != first


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--zoom", "1"], 2, "--zoom 1: should be at least 0 and below 1"),
        (["--rand-augment", "9"], 2, "'9' has 1 numbers, should have 2"),
        (["--mixup", "0.001"], 2, "--mixup 0.001: should be 0, or 0.01 to 100"),
        (["--out", "missing/grid.png"], 1, "missing/grid.png: cannot be written"),
        (["--data", "missing.lst"], 1, "missing.lst"),
        (["--data", "images"], 1, "images: is a folder, should be an image list; mxml make-lst or mxml convert makes"),
        (["--data", "labels.csv"], 1, "labels.csv: is a table, should be an image list; mxml make-lst or mxml convert"),
        (
            ["--root", "lists"],
            1,
            "lists/train.lst: none of its first 6 images can be read, such as lists/1-0.png: no such",
        ),
        (["--labels", "two.txt"], 1, "two.txt: has 2 labels, should be 3"),
        (["--out", "grid.jpg"], 2, "--out grid.jpg: should be a file that ends in .png"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_a_line(folder, monkeypatch, capfd, options, code, said):
    monkeypatch.chdir(folder)
    (folder / "two.txt").write_text("red\ngreen\n")
    (folder / "labels.csv").write_text("image,red,blue\n1-0.png,1,0\n1-1.png,0,1\n")
    arguments = ["--data", "lists/train.lst", "--root", "images", "--image-shape", "3,32,32", "--out", "grid.png"]
    got, out, err = run(monkeypatch, capfd, *arguments, *options)
    assert (got, out) == (code, "") and said in err and err.count("\n") == 1


def test_only_the_list_has_to_be_named(folder, monkeypatch, capfd):
    monkeypatch.chdir(folder)
    code, out, err = run(monkeypatch, capfd, "--image-shape", "3,32,32")
    assert (code, out) == (2, "") and "Missing option '--data'" in err
    arguments = ["--data", "lists/train.lst", "--images", "1", "--copies", "1", "--image-shape", "3,32,32"]
    assert run(monkeypatch, capfd, *arguments) == (0, "augment-preview.png\n", "")
    with Image.open("augment-preview.png") as picture:
        assert picture.format == "PNG"


def test_the_help_names_no_option_that_the_command_lacks(monkeypatch, capfd):
    _, out, _ = run(monkeypatch, capfd, "--help")
    named = set(re.findall(r"--[a-z][a-z-]*", out))
    known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
    assert len(named) > 20 and named <= known | {"--help"}


def test_the_images_of_a_record_file_are_drawn_as_those_of_the_list(folder, tmp_path):
    images = read_lst(folder / "lists" / "train.lst", folder / "images")
    rec_file.write(LabelledImages(images, tiny.LABELS), tmp_path / "train.rec", DEFAULTS)
    given = {"image_shape": (3, SIDE, SIDE), "rotate": 30.0}
    packed = augment_preview(tmp_path / "train.rec", None, given, images=3, copies=2)
    assert np.array_equal(packed, preview(folder, rotate=30.0))
