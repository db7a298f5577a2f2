"""Every form of labels to every other and back: nothing is lost, and what cannot be held is refused."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import string
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mxml.cli.source_options import FORMAT_NAMES
from mxml.data.formats import FORMATS, by_name, recognise
from mxml.data.formats.options import FormatOptions
from mxml.data.formats.sources import LabelSources
from mxml.data.image_list import ImageList
from mxml.data.labelled_images import LabelledImages
from mxml.errors import ListError
from mxml.prepare.convert import convert

# What a form's files are called, beside the forms that are folders.
SUFFIX = {
    "paddlex": ".txt",
    "coco": ".json",
    "mmpretrain": ".json",
    "jsonl": ".jsonl",
    "rec": ".rec",
    "single-lst": ".lst",
    "lst": ".lst",
    "tags": ".csv",
    "csv": ".csv",
}
# What each form cannot hold, as docs/formats.md says.
LACKS = {
    "paddlex": {"tab"},
    "rec": {"tab"},
    "single-lst": {"tab", "unknown", "several"},
    "lst": {"tab"},
    "text-files": {"unknown"},
    "folders": {"unknown", "odd label"},
}
UNORDERED = {"text-files", "folders"}
ODD = ",;|\t\"' \\#%&<>{}[]:=+-_.~éß日本 "

JPEG = cv2.imencode(".jpg", np.full((8, 8, 3), 200, np.uint8))[1].tobytes()


def words(alphabet):
    letters = st.sampled_from(string.ascii_letters + string.digits)
    inner = st.text(st.sampled_from(string.ascii_letters + alphabet), max_size=6)
    return st.builds(lambda first, middle, last: first + middle + last, letters, inner, letters)


@st.composite
def labelled_sets(draw, lacks):
    """Sets that hold everything but what ``lacks`` names; label and file names are as odd as may be."""
    letters = ODD.replace("\t", "") if "tab" in lacks else ODD
    label_letters = ODD.replace("_", "").replace("\t", "") if "odd label" in lacks else ODD + "/"
    label_names = draw(st.lists(words(label_letters), min_size=1, max_size=5, unique=True))
    folder_letters = letters.replace(".", "")
    folders = st.lists(words(folder_letters), max_size=2).map(lambda parts: "".join(part + "/" for part in parts))
    stems = draw(st.lists(words(letters), min_size=1, max_size=4, unique_by=str.casefold))
    names = [draw(folders) + stem + ".jpg" for stem in stems]
    if "several" in lacks:
        label_names += ["another"] if len(label_names) == 1 else []
        columns = [draw(st.integers(0, len(label_names) - 1)) for _ in names]
        table = np.eye(len(label_names), dtype=np.int8)[columns]
    else:
        values = st.sampled_from((0, 1) if "unknown" in lacks else (0, 1, -1))
        table = np.array([[draw(values) for _ in label_names] for _ in names], np.int8)
    return names, table, tuple(label_names)


def place(folder, form):
    return folder / form / f"set{SUFFIX.get(form, '')}"


def written(form, labelled, folder):
    target = place(folder, form)
    target.parent.mkdir()
    by_name(form).write(labelled, target, FormatOptions())
    return target


def contents(source, form, root):
    """Read a source of ``form``; return its label names and a row for each image, named as before folders."""
    labelled = by_name(form).read(source, source if form == "folders" else root, FormatOptions())
    names = labelled.images.names()
    if form == "folders":
        names = [str(Path(name).parent.parent / Path(name).name) for name in names]
    return labelled.label_names, [(name, tuple(row)) for name, row in zip(names, labelled.images.labels.tolist())]


def test_every_form_is_known_everywhere():
    assert tuple(form.NAME for form in FORMATS) == FORMAT_NAMES
    assert set(FORMAT_NAMES) == set(SUFFIX) | {"voc", "text-files", "folders"}


@pytest.mark.parametrize(("first", "second"), list(itertools.product(FORMAT_NAMES, FORMAT_NAMES)))
def test_nothing_is_lost_between_two_forms(first, second, tmp_path_factory, monkeypatch):
    # Hundreds of times the whole machine's disks are not what is tested here.
    monkeypatch.setattr(os, "sync", lambda: None)
    monkeypatch.setattr(os, "fsync", lambda handle: None)

    @settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(labelled_sets(LACKS.get(first, set()) | LACKS.get(second, set())))
    def round_trip(drawn):
        names, table, label_names = drawn
        folder = tmp_path_factory.mktemp("set")
        root = folder / "images"
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(JPEG)
        labelled = LabelledImages(ImageList.from_rows(names, table, root), label_names)
        source = written(first, labelled, folder)
        assert first == recognise(source).NAME
        rows = [(name, tuple(row)) for name, row in zip(names, table.tolist())]
        kept_names, kept = contents(source, first, root)
        assert kept_names == label_names
        assert (sorted(kept) if first in UNORDERED else kept) == (sorted(rows) if first in UNORDERED else rows)

        there = folder / "there" / place(folder, second).name
        done = convert(LabelSources((source,), source if first == "folders" else root), second, there)
        assert dict(done.files)[there] == "written"
        assert second == recognise(there).NAME
        back = folder / "back" / source.name
        # Folders hold the images themselves, under other names: those are then what the way back starts from.
        convert(LabelSources((there,), there if second == "folders" else Path(done.labelled.images.root)), first, back)
        again = by_name(first).read(back, back if first == "folders" else root, FormatOptions())
        assert again.label_names == label_names
        # An image whose folder says its labels already stays there, so they say them once.
        ways = int("folders" in (first, second))
        assert sorted(
            (without_label_folders(name, ways), tuple(row))
            for name, row in zip(again.images.names(), again.images.labels.tolist())
        ) == sorted(rows)
        if not UNORDERED & {first, second}:
            assert again.images.names() == names

    round_trip()


def without_label_folders(name, count):
    path = Path(name)
    for _ in range(count):
        path = path.parent.parent / path.name
    return str(path)


@pytest.mark.parametrize(
    ("lack", "names", "table", "label_names"),
    [
        ("tab", ["a\tb.jpg"], [[1, 0]], ("red", "hat")),
        ("unknown", ["a.jpg"], [[1, -1]], ("red", "hat")),
        ("several", ["a.jpg"], [[1, 1]], ("red", "hat")),
        ("several", ["a.jpg"], [[0, 0]], ("red", "hat")),
        ("odd label", ["a.jpg"], [[1]], ("a/b\t_",)),
    ],
)
def test_what_a_form_cannot_hold_is_refused_and_nothing_is_written(lack, names, table, label_names, tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    (root / names[0]).write_bytes(JPEG)
    source = written("jsonl", LabelledImages(ImageList.from_rows(names, table, root), label_names), tmp_path)
    refusing = {form for form in FORMAT_NAMES if lack in LACKS.get(form, ())}
    assert refusing
    for form in FORMAT_NAMES:
        out = tmp_path / "out" / f"x{SUFFIX.get(form, '')}"
        if form in refusing:
            with pytest.raises(ListError) as caught:
                convert(LabelSources((source,), root), form, out)
            assert "\n" not in str(caught.value)
            assert not (tmp_path / "out").exists()
        else:
            convert(LabelSources((source,), root), form, out)
            shutil.rmtree(tmp_path / "out")


# ---- the command


@pytest.fixture
def mxml(tmp_path, checkout):
    def run(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        command = [sys.executable, "-m", "mxml", "convert", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    return run


def test_the_command_converts_and_says_what_it_wrote(tmp_path, mxml):
    (tmp_path / "labels.csv").write_text("image,red,hat\na.jpg,1,0\nb.jpg,0,-1\n")
    done = mxml("labels.csv", "--to", "jsonl", "--out", "out/labels.jsonl")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "labels.csv: csv; 2 images, 2 labels",
        "out/labels.jsonl: written",
        "out/labels.txt: written",
    ]
    assert [json.loads(line) for line in (tmp_path / "out/labels.jsonl").read_text().splitlines()] == [
        {"image": "a.jpg", "labels": ["red"]},
        {"image": "b.jpg", "labels": [], "unknown": ["hat"]},
    ]
    again = mxml("labels.csv", "--to", "jsonl", "--out", "out/labels.jsonl", "--json")
    assert json.loads(again.stdout) == {
        "sources": ["labels.csv"],
        "formats": ["csv"],
        "to": "jsonl",
        "images": 2,
        "labels": ["red", "hat"],
        "files": {"out/labels.jsonl": "unchanged", "out/labels.txt": "unchanged"},
        "notes": [],
    }


def test_the_command_refuses_in_one_line(tmp_path, mxml):
    (tmp_path / "labels.csv").write_text("image,red,hat\na.jpg,1,0\n")
    (tmp_path / "more.csv").write_text("image,red,hat\na.jpg,0,1\n")
    done = mxml("labels.csv", "more.csv", "--to", "lst", "--out", "out/x.lst")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "mxml: more.csv: 'a.jpg' has: hat; in labels.csv it has: red; should have the same labels everywhere\n"
    )
    assert not (tmp_path / "out").exists()
    done = mxml("labels.csv", "--to", "jsonl", "--out", "out/labels.txt")
    assert done.stderr == "mxml: out/labels.txt: is where the label names go, should be called otherwise\n"
    assert not (tmp_path / "out").exists()
    done = mxml("labels.csv", "--to", "coco", "--out", "x.csv")
    assert done.stderr == "mxml: x.csv: should end in .json, as files of the format coco do\n"
    done = mxml("labels.csv", "--to", "tags", "--out", "./labels.csv", "--force")
    assert done.stderr == "mxml: labels.csv: is to be read, and would be written over; --out should name another file\n"
    assert not (tmp_path / "x.csv").exists()
    assert mxml("labels.csv", "--to", "nothing", "--out", "x").returncode == 2
    assert mxml("--to", "csv", "--out", "x").returncode == 2
    done = mxml("labels.csv", "--num-classes", "3", "--to", "lst", "--out", "x.lst")
    assert done.stderr == "mxml: labels.csv: has 2 labels, should be 3: red, hat\n"


def test_label_names_that_another_file_is_read_with_are_never_replaced(tmp_path, mxml):
    (tmp_path / "train.csv").write_text("image,red,hat\na.jpg,1,0\n")
    (tmp_path / "val.csv").write_text("image,hat,red\nb.jpg,1,0\n")
    assert mxml("train.csv", "--to", "lst", "--out", "o/train.lst").returncode == 0
    for force in ([], ["--force"]):
        done = mxml("val.csv", "--to", "lst", "--out", "o/val.lst", *force)
        assert (done.returncode, done.stderr) == (
            1,
            "mxml: o/labels.txt: names other labels, or in another order, and o/train.lst is read with it; --classes "
            "o/labels.txt writes these labels in the same order, and another folder keeps the two apart\n",
        )
        assert not (tmp_path / "o/val.lst").exists()
    assert mxml("val.csv", "--to", "lst", "--out", "o/val.lst", "--classes", "o/labels.txt").returncode == 0
    assert (tmp_path / "o/val.lst").read_text() == "0\t0.000000\t1.000000\tb.jpg\n"
    assert mxml("val.csv", "--to", "lst", "--out", "p/x.lst").returncode == 0
    assert mxml("train.csv", "--to", "lst", "--out", "p/x.lst", "--force").returncode == 0, "its own names may change"
