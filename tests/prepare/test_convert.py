"""Every format of labels to every other: nothing is lost, and what cannot be held is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import string
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mxml.cli.source_options import FORMAT_NAMES
from mxml.data.formats import FORMATS, by_name, recognise
from mxml.data.formats.options import FormatOptions
from mxml.data.formats.sources import LabelSources
from mxml.data.image_list import ImageList
from mxml.data.labelled_images import LabelledImages
from mxml.errors import ListError
from mxml.prepare.convert import convert

# What a format's files are called, beside the formats that are folders.
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
# What each format cannot hold, as docs/formats.md says.
LACKS = {
    "paddlex": {"tab"},
    "rec": {"tab"},
    "single-lst": {"tab", "unknown", "several"},
    "lst": {"tab"},
    "text-files": {"unknown"},
    "folders": {"unknown", "odd label"},
}
UNORDERED = {"text-files", "folders"}
INDEXED = {"lst", "single-lst", "rec"}
ODD = ",;|\t\"' \\#%&<>{}[]:=+-_.~éß日本 "

JPEG = cv2.imencode(".jpg", np.full((8, 8, 3), 200, np.uint8))[1].tobytes()


def words(alphabet):
    letters = st.sampled_from(string.ascii_letters + string.digits)
    inner = st.text(st.sampled_from(string.ascii_letters + alphabet), max_size=6)
    return st.builds(lambda first, middle, last: first + middle + last, letters, inner, letters)


@dataclass(frozen=True)
class Drawn:
    """A set as it was drawn, with names as odd as may be, and what of it some formats can hold."""

    names: list[str]
    index: list[int]
    table: np.ndarray
    label_names: tuple[str, ...]

    def fitted(self, lacks):
        """Return the nearest set that formats with what ``lacks`` names can hold."""
        names, table, label_names = self.names, self.table.copy(), self.label_names
        if "tab" in lacks:
            names = [name.replace("\t", "~") for name in names]
        if "odd label" in lacks:
            label_names = tuple(re.sub("[/_\t]", "~", label) for label in label_names)
        if "unknown" in lacks:
            table[table == -1] = 0
        if "several" in lacks:
            if len(label_names) == 1:
                label_names, table = (*label_names, "another"), np.c_[table, np.zeros_like(table)]
            table = np.eye(len(label_names), dtype=np.int8)[table.argmax(axis=1)]
        return Drawn(names, self.index, table, label_names)

    def rows(self):
        return [(name, tuple(row)) for name, row in zip(self.names, self.table.tolist())]


@st.composite
def labelled_sets(draw):
    # The numbers keep the names apart, whatever a format makes of the letters before them.
    label_names = tuple(
        f"{label}{i}" for i, label in enumerate(draw(st.lists(words(ODD + "/"), min_size=1, max_size=5)))
    )
    folders = st.lists(words(ODD.replace(".", "")), max_size=2).map(lambda parts: "".join(part + "/" for part in parts))
    stems = draw(st.lists(words(ODD), min_size=1, max_size=4))
    names = [f"{draw(folders)}{stem}{i}.jpg" for i, stem in enumerate(stems)]
    numbers = st.integers(0, (1 << 63) - 1)
    index = draw(st.lists(numbers, min_size=len(names), max_size=len(names), unique=True))
    values = st.sampled_from((0, 1, -1))
    table = np.array([[draw(values) for _ in label_names] for _ in names], np.int8)
    return Drawn(names, index, table, label_names)


def place(folder, format):
    return folder / format / f"set{SUFFIX.get(format, '')}"


def written(format, labelled, folder):
    target = place(folder, format)
    target.parent.mkdir()
    by_name(format).write(labelled, target, FormatOptions())
    return target


def contents(source, format, root):
    """Read a source of ``format``; return its label names and a row for each image, named as before folders."""
    labelled = by_name(format).read(source, source if format == "folders" else root, FormatOptions())
    names = labelled.images.names()
    if format == "folders":
        names = [str(Path(name).parent.parent / Path(name).name) for name in names]
    return labelled.label_names, [(name, tuple(row)) for name, row in zip(names, labelled.images.labels.tolist())]


def test_every_format_is_known_everywhere():
    assert tuple(format.NAME for format in FORMATS) == FORMAT_NAMES
    assert set(FORMAT_NAMES) == set(SUFFIX) | {"voc", "text-files", "folders"}


@pytest.mark.parametrize("first", FORMAT_NAMES)
def test_nothing_is_lost_on_the_way_to_any_format(first, tmp_path_factory, monkeypatch):
    # Hundreds of times the whole machine's disks are not what is tested here.
    monkeypatch.setattr(os, "sync", lambda: None)
    monkeypatch.setattr(os, "fsync", lambda handle: None)

    # What fails is small as it is, and making it smaller takes minutes.
    phases = [Phase.generate]

    @settings(max_examples=20, phases=phases, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(labelled_sets())
    def to_every_format(drawn):
        folder = tmp_path_factory.mktemp("sets")
        sources: dict[frozenset[str], tuple[Path, Path]] = {}
        for second in FORMAT_NAMES:
            lacks = frozenset(LACKS.get(first, set()) | LACKS.get(second, set()))
            if lacks not in sources:
                sources[lacks] = source_of(drawn.fitted(lacks), first, folder / str(len(sources)))
            source, root = sources[lacks]
            require_same(drawn.fitted(lacks), first, second, source, root, folder / "out" / place(folder, second).name)
            shutil.rmtree(folder / "out")
        shutil.rmtree(folder)

    to_every_format()


def source_of(drawn, format, folder):
    """Write a set with its images in a format; return the source and the image root."""
    root = folder / "images"
    for name in drawn.names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(JPEG)
    labelled = LabelledImages(ImageList.from_rows(drawn.names, drawn.table, root, drawn.index), drawn.label_names)
    source = written(format, labelled, folder)
    assert format == recognise(source).NAME
    label_names, rows = contents(source, format, root)
    assert (label_names, sorted(rows)) == (drawn.label_names, sorted(drawn.rows()))
    return source, root


def require_same(drawn, first, second, source, root, out):
    """Convert a set, and check that it says the same; where both formats can, in the same order and with its index."""
    done = convert(LabelSources((source,), source if first == "folders" else root), second, out)
    assert dict(done.files)[out] == "written"
    assert second == recognise(out).NAME
    read = by_name(second).read(out, out if second == "folders" else root, FormatOptions())
    assert read.label_names == drawn.label_names
    # An image whose folder says its labels already stays there, so folders say them once.
    ways = int("folders" in (first, second))
    found = [
        (without_label_folders(name, ways), tuple(row))
        for name, row in zip(read.images.names(), read.images.labels.tolist())
    ]
    if UNORDERED & {first, second}:
        assert sorted(found) == sorted(drawn.rows())
    else:
        assert found == drawn.rows()
    kept = {first, second} <= INDEXED
    assert read.images.index.tolist() == (drawn.index if kept else list(range(len(found))))
    noted = any("the index numbers" in note for note in done.notes)
    assert noted == (first in INDEXED and second not in INDEXED and drawn.index != list(range(len(found))))


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
def test_what_a_format_cannot_hold_is_refused_and_nothing_is_written(lack, names, table, label_names, tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    (root / names[0]).write_bytes(JPEG)
    source = written("jsonl", LabelledImages(ImageList.from_rows(names, table, root), label_names), tmp_path)
    refusing = {format for format in FORMAT_NAMES if lack in LACKS.get(format, ())}
    assert refusing
    for format in FORMAT_NAMES:
        out = tmp_path / "out" / f"x{SUFFIX.get(format, '')}"
        if format in refusing:
            with pytest.raises(ListError) as caught:
                convert(LabelSources((source,), root), format, out)
            assert "\n" not in str(caught.value)
            assert not (tmp_path / "out").exists()
        else:
            convert(LabelSources((source,), root), format, out)
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


def test_the_library_gives_what_the_command_prints(tmp_path, mxml, monkeypatch):
    (tmp_path / "x.lst").write_text("7\t1\t0\ta.jpg\n9\t0\t1\tb.jpg\n-3\t0\t1\tc.jpg\n")
    (tmp_path / "more.csv").write_text("image,class_0,class_1\nd.jpg,1,-1\n")
    done = mxml("x.lst", "more.csv", "--to", "csv", "--out", "command/all.csv", "--root", "photos", "--json")
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(tmp_path)
    sources = LabelSources((Path("x.lst"), Path("more.csv")), Path("photos"))
    converted = convert(sources, "csv", Path("library/all.csv"))
    # The command names the options of the settings that a note names.
    printed = done.stdout.replace("command/", "library/").replace("--classes", "`classes_file`")
    assert json.loads(printed) == converted.to_dict()
    assert converted.formats == ("lst", "csv") and len(converted.notes) == 2
    assert "beside it or with --classes" in done.stdout and "`" not in done.stdout + done.stderr
    command, library = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("command", "library")
    )
    assert command == library and list(command) == ["all.csv"]


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
    assert done.stderr == "mxml: out/labels.txt: is where the label names go, should have another name\n"
    assert not (tmp_path / "out").exists()
    done = mxml("labels.csv", "--to", "coco", "--out", "x.csv")
    assert done.stderr == "mxml: x.csv: should end in .json, as files of the format coco do\n"
    done = mxml("labels.csv", "--to", "tags", "--out", "./labels.csv", "--force")
    assert done.stderr == "mxml: labels.csv: is a source and would be overwritten; --out should name another file\n"
    assert not (tmp_path / "x.csv").exists()
    assert mxml("labels.csv", "--to", "nothing", "--out", "x").returncode == 2
    assert mxml("--to", "csv", "--out", "x").returncode == 2
    done = mxml("labels.csv", "--num-classes", "3", "--to", "lst", "--out", "x.lst")
    assert done.stderr == "mxml: labels.csv: has 2 labels, should be 3: red, hat\n"


def test_the_command_says_where_index_numbers_are_not_kept(tmp_path, mxml):
    (tmp_path / "x.lst").write_text("7\t1\t0\ta.jpg\n7\t0\t1\tb.jpg\n-3\t0\t1\tc.jpg\n")
    (tmp_path / "labels.txt").write_text("red\nhat\n")
    done = mxml("x.lst", "--to", "lst", "--out", "o/x.lst")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "o/x.lst").read_text() == (
        "7\t1.000000\t0.000000\ta.jpg\n7\t0.000000\t1.000000\tb.jpg\n-3\t0.000000\t1.000000\tc.jpg\n"
    )
    done = mxml("x.lst", "--to", "csv", "--out", "o/x.csv", "--json")
    note = "o/x.csv: the index numbers of the list cannot be held by the format csv, so the images count from 0"
    assert (done.stderr, json.loads(done.stdout)["notes"]) == (f"note: {note}\n", [note])
    (tmp_path / "images").mkdir()
    for name in "abc":
        (tmp_path / "images" / f"{name}.jpg").write_bytes(JPEG)
    done = mxml("x.lst", "--to", "rec", "--out", "r/x.rec")
    # A slow machine says before it how far the packing is.
    assert done.stderr.endswith(
        "note: r/x.rec: the index numbers of the list cannot be ids of records, so the images count from 0\n"
    )


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
