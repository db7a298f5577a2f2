"""The sidecar: what it holds comes back, and what a stranger wrote into it is refused with the field's name."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import string
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxml.errors import CheckpointError, MxmlError
from mxml.images.transforms import Preprocess, preset
from mxml.model.sidecar import Epoch, Pause, Sidecar, Stamp, UsedList
from mxml.model.trusted_paths import lies_inside, require_trusted, trusted_list
from mxml.model.tuning_record import CalibrationRecord, TuningRecord
from mxml.progress import SILENT

DIGEST = "0123456789abcdef" * 4
STAMP = Stamp(12, DIGEST)
SIDECAR = Sidecar(
    label_names=("red", "dark, green"),
    preprocess=preset("imagenet", (96, 128)),
    thresholds=(0.5, 0.25),
    config={"lr": 0.1, "freeze": ["a", "b"], "labels": None},
    versions={"mxml": "0.1.0"},
    data={"val": UsedList("runs/lists/val.lst", "photos", 12, DIGEST)},
    symbol=STAMP,
    best_epoch=2,
    epochs=(Epoch(1, 5, {"val": {"mAP": None}}, {}), Epoch(2, 10, {"lr": 0.1}, {"params": STAMP, "states": STAMP})),
    pause=Pause(3, 4, 14, {"loss": 2.5}, {"params": STAMP}),
    tuning=TuningRecord(
        epoch=2,
        params_sha256=DIGEST,
        objective="f1",
        kind="shrunk",
        thresholds=(0.25, 0.75),
        calibration=CalibrationRecord("platt", (0.5, 2.0), (0.0, -1.5)),
        min_support=10,
        list_path="runs/lists/val.lst",
        list_sha256=DIGEST,
        images=12,
        before={"CF1": 0.5, "mAP": None},
        after={"CF1": 0.75},
        cross_fitted={"CF1": 0.625},
        gain={"CF1": {"value": 0.125, "low": -0.25, "high": None}},
        mxml="0.1.0",
    ),
)


def test_what_is_written_comes_back():
    assert Sidecar.from_json(SIDECAR.to_json("runs"), "runs") == SIDECAR


def test_lists_are_found_wherever_the_folder_is_moved_to():
    moved = Sidecar.from_json(SIDECAR.to_json("runs"), "elsewhere/deep")
    assert moved.data["val"] == UsedList("elsewhere/deep/lists/val.lst", "elsewhere/photos", 12, DIGEST)
    assert moved.tuning and moved.tuning.list_path == "elsewhere/deep/lists/val.lst"


def test_a_tuning_is_of_the_parameters_that_were_tuned():
    assert SIDECAR.tuning_of(2) is SIDECAR.tuning
    assert SIDECAR.tuning_of(1) is None
    trained_again = Epoch(2, 10, {}, {"params": Stamp(12, DIGEST[::-1])})
    assert dataclasses.replace(SIDECAR, epochs=(trained_again,)).tuning_of(2) is None
    assert dataclasses.replace(SIDECAR, epochs=(Epoch(2, 10, {}, {}),)).tuning_of(2) is None


names = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1).filter(
    lambda name: name == name.strip() and not name.startswith("\ufeff")
)


@given(
    st.lists(st.tuples(names, st.floats(0, 1)), min_size=1, unique_by=lambda pair: pair[0]),
    st.text(string.printable + "é\udcff", min_size=1).filter(lambda path: "/" not in path),
)
def test_names_thresholds_and_paths_of_any_kind_come_back(labels, name):
    data = {"val": UsedList(os.path.normpath(name), os.path.normpath(name), 1, DIGEST)}
    sidecar = dataclasses.replace(
        SIDECAR, label_names=tuple(n for n, _ in labels), thresholds=tuple(t for _, t in labels), data=data
    )
    sidecar = dataclasses.replace(sidecar, tuning=None)
    assert Sidecar.from_json(sidecar.to_json(""), "") == sidecar


def changed(**fields):
    value = json.loads(SIDECAR.to_json("runs"))
    for path, new in fields.items():
        *way, last = path.split("__")
        inner = value
        for step in way:
            inner = inner[int(step)] if isinstance(inner, list) else inner[step]
        if new is KeyError:
            del inner[last]
        else:
            inner[last] = new
    return json.dumps(value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format": "else"}, "is not a sidecar of mxml"),
        ({"version": 2}, "has version 2; this mxml reads 1: use a newer mxml"),
        ({"label_names": KeyError}, 'missing required field "label_names"'),
        ({"label_names": KeyError, "labels": ["a", "b"]}, "is of an mxml before its first release"),
        ({"label_names": ["red"]}, "has 1 label names and 2 thresholds; should be one each"),
        ({"label_names": [], "thresholds": []}, "has 0 label names"),
        ({"label_names": ["red", "red"]}, "number 2: the label name 'red' is already number 1"),
        ({"label_names": ["red", "a\nb"]}, "number 2: .*holds a line end"),
        ({"label_names": ["red", 3]}, r"label_names\[1\]"),
        ({"thresholds": [0.5, 1.5]}, r"<= 1\.0.*thresholds\[1\]"),
        ({"thresholds": [0.5, float("nan")]}, "is not JSON .*NaN"),
        ({"thresholds": [0.5, True]}, r"thresholds\[1\]"),
        ({"tuning__thresholds": [0.5, 1.5]}, r"<= 1\.0.*tuning\.thresholds"),
        ({"tuning__thresholds": [0.5]}, "has a tuning of other than its 2 labels"),
        ({"tuning__calibration__slopes": [1.0]}, "has a tuning of other than its 2 labels"),
        ({"tuning__calibration__slopes": [0.0, 1.0]}, r"tuning\.calibration\.slopes"),
        ({"tuning__calibration__slopes": [1.0, 1e9]}, r"tuning\.calibration\.slopes"),
        ({"tuning__calibration__intercepts": [1.0, -1e9]}, r"tuning\.calibration\.intercepts"),
        ({"tuning__params_sha256": "x"}, r"tuning\.params_sha256"),
        ({"tuning__objective": "f" * 41}, r"tuning\.objective"),
        ({"tuning__kind": "a\x1b[2J"}, r"tuning\.kind"),
        ({"tuning__list_path": ""}, r"tuning\.list_path"),
        ({"tuning__images": -1}, r"tuning\.images"),
        ({"tuning__gain__CF1": [1]}, r"tuning\.gain"),
        ({"tuning": 3}, r"\$\.tuning"),
        ({"symbol__size": -1}, r">= 0.*\$\.symbol\.size"),
        ({"symbol__sha256": "../../x"}, r"\$\.symbol\.sha256"),
        ({"epochs__1__epoch": -2}, r"epochs\[1\]\.epoch"),
        ({"epochs__1__epoch": 10**9}, r"epochs\[1\]\.epoch"),
        ({"epochs__1__epoch": True}, r"epochs\[1\]\.epoch"),
        ({"epochs__1__epoch": 1}, "epochs that are out of order or repeated"),
        ({"epochs__1__files__params__size": 1.5}, r"epochs\[1\]\.files"),
        ({"best_epoch": "2"}, "best_epoch"),
        ({"pause__batch": -1}, r"pause\.batch"),
        ({"pause__totals": {"loss": "x"}}, r"pause\.totals"),
        ({"data__val__path": "a\0b"}, r"data\[\.\.\.\]\.path"),
        ({"data__val__path": ""}, r"data\[\.\.\.\]\.path"),
        ({"data__val__images": -1}, r"data\[\.\.\.\]\.images"),
        ({"config": []}, r"config"),
        ({"finished": 1}, r"finished"),
    ],
)
def test_a_field_that_is_wrong_is_named(fields, message):
    with pytest.raises(CheckpointError, match=message) as raised:
        Sidecar.from_json(changed(**fields), "runs")
    assert "`" not in str(raised.value), "the command line would take it for one of its settings"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"format": 1e999}'])
def test_what_is_no_sidecar_is_refused(text):
    with pytest.raises(CheckpointError, match="is not"):
        Sidecar.from_json(text, "")


def test_a_number_that_could_not_be_written_again_is_refused():
    text = changed(tuning__before__CF1=0.123456789).replace("0.123456789", "1e999")
    with pytest.raises(CheckpointError, match="1e999 is too large a number"):
        Sidecar.from_json(text, "runs")


def test_the_preprocessing_is_held_to_its_own_bounds():
    with pytest.raises(MxmlError, match="size"):
        Sidecar.from_json(changed(preprocess={**Preprocess().to_dict(), "size": [10**9, 1]}), "runs")


# ---- paths


@pytest.fixture
def sent(tmp_path):
    """A folder that somebody sent, beside files of the reader's own."""
    folder = tmp_path / "sent"
    (folder / "lists").mkdir(parents=True)
    (folder / "lists" / "val.lst").write_text("own")
    (tmp_path / "mine.lst").write_text("mine")
    return folder


def test_inside_means_below_the_folder_with_links_followed(sent, tmp_path, monkeypatch):
    assert lies_inside(str(sent), str(sent))
    assert lies_inside(f"{sent}/lists/val.lst", str(sent))
    assert not lies_inside(f"{sent}/../mine.lst", str(sent))
    assert not lies_inside(f"{sent}-other/val.lst", str(sent))
    os.symlink(tmp_path, sent / "up")
    assert not lies_inside(f"{sent}/up/mine.lst", str(sent))
    os.symlink(sent, tmp_path / "link")
    assert lies_inside(f"{tmp_path}/link/lists/val.lst", str(sent))
    monkeypatch.chdir(sent)
    assert lies_inside("lists/val.lst", "")
    assert not lies_inside("../mine.lst", "")


def test_a_file_outside_is_read_only_with_the_recorded_content(sent, tmp_path):
    mine = f"{tmp_path}/mine.lst"
    require_trusted(mine, "the list", str(sent), Stamp.of(mine).sha256)
    for digest in (DIGEST, None):
        with pytest.raises(CheckpointError, match=r"mine\.lst: the list lies outside .* is not the file that the run"):
            require_trusted(mine, "the list", str(sent), digest)
    require_trusted(f"{sent}/lists/val.lst", "the list", str(sent), DIGEST)
    with pytest.raises(CheckpointError, match=r"none\.lst: the list does not exist"):
        require_trusted(f"{sent}/none.lst", "the list", str(sent), DIGEST)


@pytest.mark.parametrize("kind", ["pipe", "endless", "folder"])
def test_what_is_no_regular_file_is_not_even_opened(sent, tmp_path, kind):
    path = {"pipe": f"{tmp_path}/pipe", "endless": "/dev/zero", "folder": str(tmp_path)}[kind]
    if kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(CheckpointError, match="is not a regular file"):
        require_trusted(path, "the list", str(sent), DIGEST)


def test_images_outside_are_read_only_for_a_list_outside(sent, tmp_path):
    inside, outside = f"{sent}/lists/val.lst", f"{tmp_path}/mine.lst"
    images, mine = str(sent / "images"), str(tmp_path)
    own = UsedList(inside, images, 1, DIGEST)
    assert trusted_list(own, "the list", str(sent), SILENT) == own
    stranger = UsedList(inside, mine, 1, DIGEST)
    with pytest.raises(CheckpointError, match="the images of the list lie outside"):
        trusted_list(stranger, "the list", str(sent), SILENT)
    assert trusted_list(stranger, "the list", str(sent), SILENT, mine) == stranger
    reader = UsedList(outside, mine, 1, Stamp.of(outside).sha256)
    assert trusted_list(reader, "the list", str(sent), SILENT) == reader


def test_images_outside_are_read_for_a_list_inside_where_the_author_knew_all_of_them(sent, tmp_path):
    """The sum is worked out here by hand, as docs/formats.md says."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.jpg", "ü b.jpg"):
        (photos / name).write_bytes(name.encode())
    inside = sent / "lists" / "val.lst"
    inside.write_text("0\t1\ta.jpg\n1\t0\tü b.jpg\n2\t0\tgone.jpg\n")
    sums = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("a.jpg", "ü b.jpg")}
    lines = "".join(f"{sums.get(name, '-')} {name}\n" for name in ("a.jpg", "ü b.jpg", "gone.jpg"))
    size = sum((photos / name).stat().st_size for name in sums)
    used = UsedList(str(inside), str(photos), 3, DIGEST, size, hashlib.sha256(lines.encode()).hexdigest())
    assert trusted_list(used, "the list", str(sent), SILENT) == used

    def is_refused():
        with pytest.raises(CheckpointError, match="lie outside of the checkpoint's folder, and are not those that"):
            trusted_list(used, "the list", str(sent), SILENT)

    (photos / "gone.jpg").touch()
    is_refused()
    (photos / "gone.jpg").unlink()
    (photos / "a.jpg").write_bytes(b"b.jpg")
    is_refused()
    (photos / "a.jpg").write_bytes(b"a.jpg")
    # Another image that the list's author would like to see.
    with open(inside, "a") as file:
        file.write("3\t0\tsecret.jpg\n")
    is_refused()


def opened(path):
    """Return a list to which the files are added that are opened below ``path`` from now on."""
    found: list[str] = []
    sys.addaudithook(
        lambda event, args: found.append(args[0]) if event == "open" and str(args[0]).startswith(path) else None
    )
    return found


@pytest.fixture
def strangers(sent, tmp_path):
    """Return a function that makes a list of a stranger's, which names files elsewhere, with a sum that they chose."""
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(b"a" * 1000)

    def made(names, size, contents, root=photos):
        inside = sent / "lists" / "val.lst"
        inside.write_text("".join(f"{number}\t1\t{name}\n" for number, name in enumerate(names)))
        lines = "".join(f"{content} {name}\n" for name, content in zip(names, contents))
        return UsedList(str(inside), str(root), 1, DIGEST, size, hashlib.sha256(lines.encode()).hexdigest())

    return made


@pytest.mark.parametrize("size", [None, 0, 999, 1001, 2000])
def test_no_image_of_a_list_inside_is_opened_unless_its_author_knew_the_size_of_all(sent, tmp_path, strangers, size):
    used = strangers(["a.jpg"], size, [hashlib.sha256(b"a" * 1000).hexdigest()])
    found = opened(str(tmp_path / "photos"))
    with pytest.raises(CheckpointError, match="and are not those that"):
        trusted_list(used, "the list", str(sent), SILENT)
    assert found == []
    used = dataclasses.replace(used, image_bytes=1000)
    assert trusted_list(used, "the list", str(sent), SILENT) == used


def test_a_file_that_a_list_names_in_many_ways_is_read_once(sent, tmp_path, strangers):
    os.symlink("a.jpg", tmp_path / "photos" / "b.jpg")
    os.link(tmp_path / "photos" / "a.jpg", tmp_path / "photos" / "c.jpg")
    names = ["a.jpg", "b.jpg", "c.jpg", *("./" * count + "a.jpg" for count in range(1, 400))]
    used = strangers(names, 1000 * len(names), [hashlib.sha256(b"a" * 1000).hexdigest()] * len(names))
    found = opened(str(tmp_path / "photos"))
    assert trusted_list(used, "the list", str(sent), SILENT) == used
    assert len(found) == 1


def test_a_file_is_read_no_further_than_its_size(sent, strangers):
    """Files of /proc are regular, have content, and a size of 0."""
    used = strangers(["self/status"], 0, [hashlib.sha256().hexdigest()], "/proc")
    assert trusted_list(used, "the list", str(sent), SILENT) == used


def test_a_file_larger_than_an_image_may_be_is_not_read(sent, tmp_path, strangers):
    with open(tmp_path / "photos" / "large.jpg", "wb") as file:
        file.truncate((256 << 20) + 1)
    used = strangers(["large.jpg"], (256 << 20) + 1, ["-"])
    found = opened(str(tmp_path / "photos"))
    assert trusted_list(used, "the list", str(sent), SILENT) == used
    assert found == []


@pytest.mark.parametrize("path", ["a\0", "\ud800"])
def test_a_path_that_no_file_can_have_is_refused(tmp_path, path):
    with pytest.raises(CheckpointError, match="the list has a path that no file can have"):
        require_trusted(path, "the list", str(tmp_path), DIGEST)
    (tmp_path / "val.lst").touch()
    used = UsedList(str(tmp_path / "val.lst"), path, 1, Stamp.of(tmp_path / "val.lst").sha256)
    with pytest.raises(CheckpointError, match="the images of the list have a path that no folder can have"):
        trusted_list(used, "the list", str(tmp_path), SILENT)
