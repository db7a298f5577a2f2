"""What mxml check finds in folders that are spoilt on purpose, in real photographs, and in the sample."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import shlex
import shutil
import struct
import subprocess
import sys
import termios
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from mxml.cli.check import GUESSED_WELL
from mxml.data.formats import rec_file
from mxml.data.formats.options import DEFAULTS
from mxml.data.image_list import ImageList
from mxml.data.labelled_images import LabelledImages
from mxml.data.lst_file import format_lst, read_good_lines, read_lst, write_lst
from mxml.errors import ListError, SettingError
from mxml.prepare.check import check_lists
from mxml.prepare.findings import ERRORS, WARNINGS
from mxml.prepare.fixed_lists import write_fixed
from mxml.progress import SILENT
from mxml.training.config import TrainConfig
from mxml.training.run_data import open_data

NAMES = ("black", "blue", "dress", "jeans")
# Every label in some images and not in others, in about equal parts; every pair but black and blue, dress and jeans.
BALANCED = [[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1]]


def picture(seed, width=96, height=80):
    """Return a picture like no other: random blocks, the same for the same seed at any size."""
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return cv2.resize(blocks, (width, height), interpolation=cv2.INTER_NEAREST)


class Folder:
    """Lists and images of a test, under one folder."""

    def __init__(self, path):
        self.path = path
        self.root = path / "images"
        self.root.mkdir()
        (path / "labels.txt").write_text("\n".join(NAMES) + "\n")
        self.seed = 0

    def image(self, name, seed=None, width=96, height=80, **options):
        if seed is None:
            self.seed += 1
            seed = 1000 + self.seed
        Image.fromarray(picture(seed, width, height)).save(self.root / name, **options)
        return name

    def list(self, name, rows):
        """Write a list of (image, labels); images that do not exist are made."""
        for image, _ in rows:
            if not (self.root / image).exists():
                self.image(image)
        path = self.path / name
        write_lst(path, ImageList.from_rows([image for image, _ in rows], [labels for _, labels in rows]))
        return path

    def sound(self, name, prefix, count=4, labels=BALANCED):
        """Write a list of images with nothing wrong."""
        return self.list(name, [(f"{prefix}{i}.png", labels[i % len(labels)]) for i in range(count)])

    def check(self, *names, **options):
        return check_lists([self.path / name for name in names], self.root, **options)

    def mxml(self, *arguments):
        return subprocess.run(
            [sys.executable, "-m", "mxml", "check", "--root", "images", *arguments],
            cwd=self.path,
            capture_output=True,
            text=True,
            timeout=120,
        )


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def kinds(report):
    return {finding.kind for finding in report.findings}


def texts(report, kind):
    """Return what is said of a kind, without the folder that the lists lie in."""
    folder = os.path.dirname(report.lists[0].path)
    return [finding.text.replace(f"{folder}/", "") for finding in report.findings if finding.kind == kind]


# ---- nothing wrong


def test_sound_lists_have_no_findings(folder):
    folder.sound("train.lst", "t", 8)
    folder.sound("val.lst", "v")
    report = folder.check("train.lst", "val.lst")
    assert report.findings == () and report.duplicates == ()
    assert report.label_names == NAMES
    assert [checked.usable.all() for checked in report.lists] == [True, True]
    assert report.scan.width.tolist() == [96] * 12


def test_each_kind_is_an_error_or_a_warning():
    assert not set(ERRORS) & set(WARNINGS)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", kind) for kind in [*ERRORS, *WARNINGS])


def test_every_kind_and_every_key_is_documented(folder, checkout):
    spoil(folder)
    (folder.root / "v0.png").write_bytes((folder.root / "t0.png").read_bytes())
    text = (checkout / "docs" / "formats.md").read_text().partition("## Reports of `mxml check`")[2]
    documented = set(re.findall(r"`([a-zA-Z_-]+)`", text))
    assert documented >= {*ERRORS, *WARNINGS}

    def keys(value):
        if isinstance(value, list):
            return set().union(*map(keys, value))
        return set(value).union(*map(keys, value.values())) if isinstance(value, dict) else set()

    done = folder.mxml("train.lst", "val.lst", "--json", "--fix", "a.lst", "--fix", "b.lst")
    assert documented >= keys(json.loads(done.stdout)) - set(NAMES)


# ---- lines


def test_faulty_lines_are_findings_and_the_good_ones_are_still_checked(folder):
    path = folder.sound("train.lst", "t")
    good = path.read_bytes().split(b"\n")
    lines = [b"x\t1\t0\t0\t1\ta.jpg", good[0], b"", b"1\t1\t0\tb.jpg", *good[1:4], b"9\t1\t7\t0\t0\tc.jpg"]
    path.write_bytes(b"\n".join(lines))
    report = folder.check("train.lst")
    assert texts(report, "faulty-line") == [
        "train.lst:1: the index is 'x', should be a whole number",
        "train.lst:4: has 2 labels, should be 4",
        "train.lst:8: label 2 is '7', should be 0, 1 or -1 (unknown)",
    ]
    assert kinds(report) == {"faulty-line"}
    (checked,) = report.lists
    assert checked.images.names() == ["t0.png", "t1.png", "t2.png", "t3.png"]
    assert checked.line_numbers.tolist() == [2, 5, 6, 7]
    assert checked.broken_lines == 3 and checked.fixed().names() == checked.images.names()


def test_good_lines_alone_are_those_that_a_list_without_the_others_has(folder):
    path = folder.sound("train.lst", "t", 40)
    whole = read_lst(path)
    lines = path.read_bytes().split(b"\n")
    for number in (30, 12, 0):
        lines.insert(number, b"no list line")
    path.write_bytes(b"\r\n".join(lines))
    read = read_good_lines(path, num_classes=4)
    assert format_lst(read.images) == format_lst(whole)
    assert read.fault_count == 3 and [fault.split(":")[1] for fault in read.faults] == ["1", "14", "33"]
    assert sorted({*range(1, 44)} - set(read.line_numbers.tolist())) == [1, 14, 33]


def test_of_very_many_faults_the_first_are_kept_and_all_counted(folder):
    path = folder.sound("train.lst", "t")
    path.write_bytes(path.read_bytes() + b"no list line\n" * 10_005)
    report = folder.check("train.lst")
    assert report.lists[0].line_fault_count == 10_005
    assert len(texts(report, "faulty-line")) == 10_001
    assert texts(report, "faulty-line")[-1] == "train.lst: 5 more lines are faulty"


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "train.lst: cannot be read: No such file or directory"),
        (b"", "train.lst: holds no images, should be"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0", "train.lst: is not a text file, should be an image list"),
        (b"0\t1\t0\t0\t1\tcaf\xe9.png\n", "train.lst:1: is not UTF-8 text (byte 0xe9 in column 14)"),
        ("0\t1\t0\t0\t1\ta.png\n".encode("utf-16"), "train.lst:1: is UTF-16 text, should be UTF-8"),
        (b"0\t1\t0\t0\t1\t" + b"a" * (1 << 20), "train.lst:1: is longer than 1,048,576 bytes"),
        (b"0\t1\t0\ta.png\n1\t0\t1\tb.png\n", "labels.txt: has 4 labels, should be 2: black, blue, dress, jeans"),
    ],
)
def test_a_list_that_cannot_be_read_as_such_ends_the_check(folder, content, message):
    if content is not None:
        (folder.path / "train.lst").write_bytes(content)
    with pytest.raises(ListError, match=re.escape(message)):
        folder.check("train.lst")


def test_a_folder_in_place_of_a_list_is_one_clear_line(folder):
    for path in (".", "images", "images/"):
        done = folder.mxml(path)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            f"mxml: {path}: is a folder, should be an image list; mxml make-lst or mxml convert makes lists of labels "
            "in other formats\n"
        )


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("labels.csv", b"image,red,blue\na.jpg,1,0\nb.jpg,0,1\n", "a table"),
        ("labels.TSV", b"image\tred\tblue\na.jpg\t1\t0\nb.jpg\t0\t1\n", "a table"),
        ("instances.json", b'{\n"images": [],\n"annotations": []\n}\n', "a JSON file"),
        ("labels.jsonl", b'{"image": "a.jpg", "labels": ["red"]}\n' * 2, "a JSON Lines file"),
    ],
)
def test_labels_in_another_form_are_one_line_that_leads_to_make_lst(folder, name, content, what):
    folder.sound("train.lst", "t")
    (folder.path / name).write_bytes(content)
    for lists in ([name], ["train.lst", name]):
        with pytest.raises(ListError) as caught:
            folder.check(*lists)
        assert str(caught.value) == (
            f"{folder.path / name}: is {what}, should be an image list; mxml make-lst or mxml convert makes lists of "
            "labels in other formats"
        )


def test_records_are_checked_as_the_files_that_they_hold(folder):
    folder.sound("train.lst", "t")
    folder.sound("val.lst", "v")
    shutil.copy(folder.root / "t0.png", folder.root / "v1.png")
    (folder.root / "v2.png").write_bytes((folder.root / "v2.png").read_bytes()[:200])
    of_files = folder.check("train.lst", "val.lst")
    for name in ("train", "val"):
        listed = read_lst(folder.path / f"{name}.lst", str(folder.root))
        rec_file.write(LabelledImages(listed, NAMES), folder.path / f"{name}.rec", DEFAULTS)
    shutil.rmtree(folder.root)

    of_records = check_lists([folder.path / "train.rec", folder.path / "val.rec"])
    counts = [[stats.present.tolist() for stats in report.statistics.lists] for report in (of_records, of_files)]
    assert counts[0] == counts[1]
    assert [found.kind for found in of_records.findings] == [found.kind for found in of_files.findings]
    for column in ("readable", "width", "height", "size", "digest", "phash", "colour"):
        np.testing.assert_array_equal(getattr(of_records.scan, column), getattr(of_files.scan, column))
    groups = [[group.entries for group in report.duplicates] for report in (of_records, of_files)]
    assert groups[0] == groups[1] and ((0, 0), (1, 1)) in groups[0]
    [cut] = of_records.errors
    assert cut.text.startswith(f"{folder.path / 'val.rec'}: record 3 at byte ") and cut.kind == "truncated"

    # Records of one file in two lists are the same images.
    twice = check_lists([folder.path / "train.rec", folder.path / "train.rec"])
    assert len(twice.scan) == 4 and "in-several-lists" in [found.kind for found in twice.findings]


def test_a_damaged_record_is_an_error_and_a_page_shows_the_others(folder):
    listed = read_lst(folder.sound("train.lst", "t"), str(folder.root))
    path = folder.path / "train.rec"
    rec_file.write(LabelledImages(listed, NAMES), path, DEFAULTS)
    content = bytearray(path.read_bytes())
    second = int(path.with_suffix(".idx").read_text().splitlines()[1].split()[1])
    content[second] ^= 0xFF
    path.write_bytes(content)
    done = folder.mxml("train.rec", "--html", "page.html")
    assert done.returncode == 1
    assert f"  train.rec: record 2 at byte {second}: begins with 0x" in done.stdout
    page = (folder.path / "page.html").read_text()
    assert page.count("data:image/jpeg;base64,") >= 3

    done = folder.mxml("train.rec", "--fix", "fixed.lst")
    assert done.returncode == 2 and "--fix fixed.lst: should be left out: train.rec is a record file" in done.stderr
    typed = done.stderr.partition("; mxml ")[2].partition(" writes its images and a list of them")[0]
    arguments = shlex.split(typed.replace("FOLDER", "unpacked").replace("NAME", "train"))
    assert arguments[:3] == ["convert", "train.rec", "--to"]


def test_a_list_may_be_called_as_it_likes(folder):
    folder.sound("train.lst", "t").rename(folder.path / "train.tsv")
    assert folder.check("train.tsv").findings == ()
    with pytest.raises(ListError, match=r"gone\.csv: cannot be read: No such file"):
        folder.check("gone.csv")


def test_lists_with_other_numbers_of_labels_end_the_check(folder):
    folder.sound("train.lst", "t")
    folder.sound("val.lst", "v", labels=[[1, 0, 1], [0, 1, 0]])
    with pytest.raises(ListError, match=r"val\.lst: every line has 3 labels, should be 4"):
        folder.check("train.lst", "val.lst")


def test_an_odd_first_line_does_not_decide_the_number_of_labels(folder):
    path = folder.sound("train.lst", "t")
    path.write_bytes(b"0\t1\t0\ta.png\n" + path.read_bytes())
    assert texts(folder.check("train.lst"), "faulty-line") == ["train.lst:1: has 2 labels, should be 4"]


def test_label_names_come_from_the_file_beside_the_list_or_a_given_one(folder):
    folder.sound("train.lst", "t")
    other = folder.path / "other.txt"
    other.write_text("a\nb\nc\nd\n")
    assert folder.check("train.lst", labels=other).label_names == ("a", "b", "c", "d")
    (folder.path / "labels.txt").unlink()
    assert folder.check("train.lst").label_names == ("class_0", "class_1", "class_2", "class_3")
    other.write_text("a\nb\n")
    with pytest.raises(ListError, match=r"other\.txt: has 2 labels, should be 4: a, b"):
        folder.check("train.lst", labels=other)


def test_absolute_paths_are_faults_unless_they_are_allowed(folder):
    path = folder.sound("train.lst", "t")
    lines = path.read_bytes().split(b"\n")
    lines[0] = lines[0].replace(b"t0.png", bytes(folder.root / "t0.png"))
    path.write_bytes(b"\n".join(lines))
    assert kinds(folder.check("train.lst")) >= {"faulty-line"}
    assert folder.check("train.lst", allow_absolute=True).findings == ()


# ---- files


def test_each_broken_image_is_found_by_name(folder):
    folder.sound("train.lst", "t", 12)
    whole = (folder.root / "t4.png").read_bytes()
    (folder.root / "t1.png").unlink()
    (folder.root / "t2.png").write_bytes(b"")
    (folder.root / "t3.png").write_bytes(b"plainly no image, but some text")
    (folder.root / "t4.png").write_bytes(whole[: len(whole) // 2])
    (folder.root / "t6.png").unlink()
    (folder.root / "t6.png").mkdir()
    report = folder.check("train.lst")
    (checked,) = report.lists
    assert np.flatnonzero(~checked.usable).tolist() == [1, 2, 3, 4, 6]
    assert {finding.kind: finding.images for finding in report.errors if finding.kind != "unreadable"} == {
        "missing": ("t1.png",),
        "truncated": ("t4.png",),
        "empty": ("t2.png",),
    }
    assert {image for finding in report.errors if finding.kind == "unreadable" for image in finding.images} == {
        "t3.png",
        "t6.png",
    }
    assert texts(report, "missing")[0].startswith("train.lst:2: t1.png: ")
    assert checked.fixed().index.tolist() == [0, 5, 7, 8, 9, 10, 11]


def test_an_image_that_claims_to_be_huge_is_too_large(folder):
    folder.sound("train.lst", "t", 8)
    header = cv2.imencode(".png", picture(1))[1].tobytes()
    # Width and height in a PNG's header, with the checksum that they need.
    body = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + header[24:29]
    (folder.root / "t5.png").write_bytes(header[:12] + body + zlib.crc32(body).to_bytes(4, "big") + header[33:])
    report = folder.check("train.lst")
    assert [finding.images for finding in report.findings if finding.kind == "too-large"] == [("t5.png",)]


def test_a_jpeg_that_is_damaged_inside_is_a_warning_and_stays_in_the_list(folder):
    folder.sound("train.lst", "t", 8)
    folder.list("val.lst", [(f"v{i}.jpg", row) for i, row in enumerate(BALANCED)])
    whole = (folder.root / "v1.jpg").read_bytes()
    (folder.root / "v1.jpg").write_bytes(whole[:-20] + b"\xff\xd9")
    report = folder.check("train.lst", "val.lst")
    assert texts(report, "damaged") == ["val.lst:2: v1.jpg: is damaged inside: premature end of data segment"]
    assert [(finding.severity, finding.images) for finding in report.findings] == [("warning", ("v1.jpg",))]
    assert report.lists[1].fixed().names() == report.lists[1].images.names()


def test_a_wrong_root_is_said_once_and_not_for_each_image(folder):
    folder.sound("train.lst", "t", 30)
    (folder.path / "elsewhere").mkdir()
    report = check_lists([folder.path / "train.lst"], folder.path / "elsewhere")
    (missing,) = texts(report, "missing")
    assert re.fullmatch(
        r"train\.lst: none of its 30 images is under .*elsewhere, .* t0\.png; check the image root", missing
    )
    assert texts(report, "no-image-left") == ["train.lst: none of its images can be used"]


def test_unusual_images_are_warnings(folder):
    folder.sound("train.lst", "t", 12)
    folder.image("t1.png", width=31, height=40)
    folder.image("t2.png", width=600, height=100)
    folder.image("t3.png", width=5001, height=4000)
    frames = [Image.fromarray(picture(seed)) for seed in (1, 2)]
    frames[0].save(folder.root / "t4.webp", save_all=True, append_images=frames[1:])
    rows = read_lst(folder.path / "train.lst")
    names = [name.replace("t4.png", "t4.webp") for name in rows.names()]
    write_lst(folder.path / "train.lst", ImageList.from_rows(names, rows.labels))
    report = folder.check("train.lst")
    assert report.errors == ()
    assert {finding.kind: finding.images for finding in report.findings} == {
        "animated": ("t4.webp",),
        "too-small": ("t1.png",),
        "larger-than-needed": ("t3.png",),
        "elongated": ("t2.png",),
    }
    assert texts(report, "larger-than-needed") == ["train.lst:4: t3.png: has 5,001 x 4,000 pixels"]


# ---- roots


def test_each_list_can_have_a_root_of_its_own(folder):
    for prefix in ("train", "val"):
        (folder.root / prefix).mkdir()
        folder.list(f"{prefix}.lst", [(f"{prefix}/{i}.png", row) for i, row in enumerate(BALANCED)])
        path = folder.path / f"{prefix}.lst"
        path.write_bytes(path.read_bytes().replace(f"{prefix}/".encode(), b""))
    (folder.root / "val" / "2.png").unlink()
    roots = [folder.root / "train", folder.root / "val"]
    report = check_lists([folder.path / "train.lst", folder.path / "val.lst"], roots)
    assert texts(report, "missing") == ["val.lst:3: 2.png: no such file"]
    assert kinds(report) == {"missing"} and report.duplicates == ()
    plain = report.to_dict()
    assert plain["root"] is None and [entry["root"] for entry in plain["lists"]] == [str(root) for root in roots]
    with pytest.raises(
        SettingError, match=r"`root` .*: should be one folder for all lists, or one for each of them, 2"
    ):
        check_lists([folder.path / "train.lst", folder.path / "val.lst"], [*roots, folder.root])


def test_a_file_reached_through_two_roots_is_one(folder):
    (folder.root / "part").mkdir()
    folder.list("train.lst", [(f"part/{i}.png", row) for i, row in enumerate(BALANCED)])
    (folder.path / "link").symlink_to(folder.root / "part")
    folder.list("val.lst", [(f"v{i}.png", row) for i, row in enumerate(BALANCED)])
    val = folder.path / "val.lst"
    val.write_bytes(val.read_bytes().replace(b"v2.png", b"./2.png"))
    for other in (folder.root / "part", folder.path / "link", f"{folder.root}/part/../part/"):
        for i in (0, 1, 3):
            (folder.root / f"v{i}.png").replace(folder.root / "part" / f"v{i}.png")
        report = check_lists([folder.path / "train.lst", val], [folder.root, other])
        assert texts(report, "in-several-lists") == ["train.lst:3: part/2.png: is also in val.lst:3"]
        assert kinds(report) == {"in-several-lists"} and len(report.scan) == 7
        for i in (0, 1, 3):
            (folder.root / "part" / f"v{i}.png").replace(folder.root / f"v{i}.png")


def test_roots_are_given_once_or_once_for_each_list(folder):
    folder.sound("train.lst", "t")
    folder.sound("val.lst", "v")
    (folder.path / "other").symlink_to("images")
    done = folder.mxml("val.lst", "--root", "other")  # Folder.mxml gives a root, too
    assert done.returncode == 2 and done.stderr == (
        "mxml: --root images,other: should be one folder for all lists, or one for each of them, 1 in all; "
        "see mxml check --help\n"
    )
    done = folder.mxml("train.lst", "val.lst", "--root", "other", "--html", "page.html")
    assert done.returncode == 0 and "broken images\ntrain.lst       4             0              0\n" in done.stdout
    assert "in <bdi>val.lst</bdi> under <bdi>other</bdi>" in (folder.path / "page.html").read_text()


# ---- the same image more than once


def test_an_image_named_twice_is_found_also_when_it_is_spelt_otherwise(folder):
    folder.list(
        "train.lst",
        [*zip(("a.png", "b.png", "c.png", "d.png"), BALANCED), ("./a.png", BALANCED[0]), ("b.png", BALANCED[3])],
    )
    report = folder.check("train.lst")
    assert report.errors == () and report.duplicates == ()
    assert texts(report, "named-twice") == [
        "train.lst:1: a.png: is named again in line 5",
        "train.lst:2: b.png: is named again in line 6",
    ]
    assert texts(report, "labels-disagree") == [
        "train.lst:2: b.png: has black, jeans; b.png (line 6), named twice, has blue, jeans"
    ]
    assert len(report.scan.readable) == 4


def test_a_detour_is_followed_as_training_follows_it(folder):
    folder.sound("train.lst", "t", 8)
    elsewhere = folder.path / "elsewhere" / "folder"
    elsewhere.mkdir(parents=True)
    (folder.root / "link").symlink_to(elsewhere)
    folder.image("t8.png")
    (folder.root / "t8.png").rename(elsewhere.parent / "t0.png")
    names = ["no folder/../t1.png", "link/../t0.png", *read_lst(folder.path / "train.lst").names()]
    write_lst(folder.path / "train.lst", ImageList.from_rows(names, [BALANCED[0], *BALANCED, *BALANCED, BALANCED[1]]))
    report = folder.check("train.lst")
    assert [finding.images for finding in report.errors] == [("no folder/../t1.png",)]
    assert report.lists[0].fixed().names() == names[1:]
    assert "named-twice" not in kinds(report) and report.duplicates == ()


def test_an_absolute_path_is_the_same_as_one_under_the_root(folder, monkeypatch):
    folder.sound("train.lst", "t", 4)
    folder.list("val.lst", [(f"v{i}.png", row) for i, row in enumerate(BALANCED)] + [("t3.png", BALANCED[3])])
    path = folder.path / "val.lst"
    path.write_bytes(path.read_bytes().replace(b"t3.png", bytes(folder.root / "t3.png")))
    monkeypatch.chdir(folder.path)
    report = check_lists(["train.lst", "val.lst"], "images", allow_absolute=True)
    assert kinds(report) == {"in-several-lists"}


def test_an_unknown_label_disagrees_with_none(folder):
    folder.list("train.lst", [(f"t{i}.png", row) for i, row in enumerate(BALANCED)] + [("t0.png", [-1, 0, 1, -1])])
    assert kinds(folder.check("train.lst")) == {"named-twice"}


def test_an_image_in_two_lists_is_a_leak(folder):
    folder.sound("train.lst", "t", 8)
    folder.list("val.lst", [(f"v{i}.png", row) for i, row in enumerate(BALANCED)] + [("t3.png", BALANCED[3])])
    report = folder.check("train.lst", "val.lst")
    assert texts(report, "in-several-lists") == ["train.lst:4: t3.png: is also in val.lst:5"]
    assert report.errors == ()


def test_copies_are_found_within_and_across_lists(folder):
    folder.sound("train.lst", "t", 8)
    folder.sound("val.lst", "v", 8)
    content = (folder.root / "t0.png").read_bytes()
    (folder.root / "t4.png").write_bytes(content)
    (folder.root / "v1.png").write_bytes((folder.root / "t1.png").read_bytes())
    (folder.root / "v6.png").write_bytes((folder.root / "t3.png").read_bytes())
    report = folder.check("train.lst", "val.lst")
    assert kinds(report) == {"exact-duplicates", "exact-duplicates-across-lists", "labels-disagree"}
    assert texts(report, "exact-duplicates") == ["train.lst:1: t0.png: is the same file as t4.png (line 5)"]
    assert {
        group.entries: (group.exact, group.distance, group.labels_differ, group.across_lists)
        for group in report.duplicates
    } == {
        ((0, 0), (0, 4)): (True, 0, False, False),
        ((0, 1), (1, 1)): (True, 0, False, True),
        ((0, 3), (1, 6)): (True, 0, True, True),
    }
    (disagreement,) = (finding for finding in report.findings if finding.kind == "labels-disagree")
    assert disagreement.images == ("t3.png", "v6.png")
    assert "has blue, jeans; v6.png" in disagreement.text and disagreement.text.endswith("has blue, dress")


def test_the_same_picture_saved_otherwise_is_a_near_duplicate(folder):
    folder.sound("train.lst", "t", 8)
    folder.sound("val.lst", "v", 4)
    smooth = cv2.GaussianBlur(picture(77, 320, 240), (0, 0), 8)
    for name, size in (("t2.png", (320, 240)), ("v2.png", (240, 180))):
        Image.fromarray(cv2.resize(smooth, size, interpolation=cv2.INTER_AREA)).save(folder.root / name)
    report = folder.check("train.lst", "val.lst")
    assert kinds(report) == {"near-duplicates-across-lists"}
    (group,) = report.duplicates
    assert group.entries == ((0, 2), (1, 2)) and not group.exact and group.across_lists and not group.labels_differ


def test_copies_in_a_group_that_looks_alike_are_found_as_copies(folder):
    folder.sound("train.lst", "t", 8)
    folder.sound("val.lst", "v", 4)
    smooth = cv2.GaussianBlur(picture(77, 320, 240), (0, 0), 8)
    Image.fromarray(smooth).save(folder.root / "t0.png")
    Image.fromarray(cv2.resize(smooth, (240, 180), interpolation=cv2.INTER_AREA)).save(folder.root / "t4.png")
    (folder.root / "v0.png").write_bytes((folder.root / "t0.png").read_bytes())
    report = folder.check("train.lst", "val.lst")
    assert kinds(report) == {"exact-duplicates-across-lists", "near-duplicates-across-lists"}
    assert texts(report, "exact-duplicates-across-lists") == [
        "train.lst:1: t0.png: is the same file as v0.png (val.lst:1)"
    ]
    (group,) = report.duplicates
    assert group.entries == ((0, 0), (0, 4), (1, 0)) and not group.exact


def test_of_many_copies_those_in_the_other_list_are_named(folder):
    folder.sound("train.lst", "t", 8)
    folder.sound("val.lst", "v", 4)
    for name in [*(f"t{i}.png" for i in range(1, 8)), "v0.png"]:
        (folder.root / name).write_bytes((folder.root / "t0.png").read_bytes())
    (text,) = texts(folder.check("train.lst", "val.lst"), "exact-duplicates-across-lists")
    assert text == (
        "train.lst:1: t0.png: is the same file as v0.png (val.lst:1), t1.png (line 2), t2.png (line 3), "
        "t3.png (line 4), t4.png (line 5) and 3 more"
    )


def test_of_many_labels_those_that_disagree_are_named(folder):
    (folder.path / "labels.txt").unlink()
    labels = np.ones((2, 14), int)
    labels[0, [0, 12]] = 0
    labels[1, 13] = 0
    folder.image("a.png")
    folder.list("train.lst", [("a.png", labels[0].tolist()), ("a.png", labels[1].tolist())])
    (text,) = texts(folder.check("train.lst"), "labels-disagree")
    here, there = text.split("; ")
    assert "class_13" in here and "and 4 more" in here
    assert "class_0, class_12" in there and "class_13" not in there and "and 5 more" in there


# ---- labels


def test_labels_that_never_or_always_occur_are_found(folder):
    folder.list("train.lst", [(f"t{i}.png", [1, 0, i % 2, -1]) for i in range(8)])
    report = folder.check("train.lst")
    assert texts(report, "label-always-occurs") == ["train.lst: every image has black"]
    assert texts(report, "label-never-occurs") == [
        "train.lst: no image has blue",
        "train.lst: jeans is unknown in every image",
    ]


def test_what_is_unknown_is_not_said_of_every_image(folder):
    rows = [[1, 0, 1, 0], [-1, -1, 0, 1], [1, 0, -1, 0], [-1, -1, -1, -1]]
    folder.list("train.lst", [(f"t{i}.png", row) for i, row in enumerate([*rows, [0, 0, 0, 0], [0, -1, 0, 0]])])
    folder.list("val.lst", [(f"v{i}.png", row) for i, row in enumerate(rows)])
    report = folder.check("train.lst", "val.lst")
    assert "val.lst: every image has black (unknown in 2)" in texts(report, "label-always-occurs")
    assert "val.lst: no image has blue (unknown in 2)" in texts(report, "label-never-occurs")
    assert texts(report, "images-without-label") == [
        "train.lst: 3 of 6 images have no label, 2 of them with unknown ones",
        "val.lst: 1 of 4 images have no label, 1 of them with unknown ones",
    ]


def test_a_black_dress_that_training_never_shows_is_found(folder):
    folder.list("train.lst", [(f"t{i}.png", row) for i, row in enumerate(BALANCED[1:])])
    folder.list("val.lst", [(f"v{i}.png", row) for i, row in enumerate(BALANCED)])
    report = folder.check("train.lst", "val.lst")
    (finding,) = (finding for finding in report.findings if finding.kind == "pair-not-in-training")
    assert "val.lst: 1 image with black and dress, and none in " in finding.text
    assert finding.images == ("v0.png",)


def test_black_that_is_always_jeans_is_found_and_the_pairs_that_lack_are_named(tmp_path):
    """Photographs in folders named colour_garment: a network cannot know what a black dress is."""
    folder = Folder(tmp_path)
    names = ("black", "blue", "red", "dress", "jeans", "shirt")
    (tmp_path / "labels.txt").write_text("".join(f"{name}\n" for name in names))
    counts = {"black_jeans": 15, "blue_dress": 16, "blue_jeans": 15, "blue_shirt": 16, "red_dress": 15, "red_shirt": 16}
    rows = [
        (f"{which}{i}.png", [int(name in which.split("_")) for name in names])
        for which, count in counts.items()
        for i in range(count)
    ]
    folder.list("train.lst", rows)
    report = folder.check("train.lst")
    assert kinds(report) == {"label-always-with-another", "pair-never-occurs"}
    assert texts(report, "label-always-with-another") == [
        "train.lst: every image with black (15) has jeans; add images with black and without jeans, or a network may "
        "learn the two as one"
    ]
    ending = "if there are such images, add some"
    assert texts(report, "pair-never-occurs") == [
        f"train.lst: no image has both red and jeans, where chance would give about 10; {ending}",
        f"train.lst: no image has both black and shirt, where chance would give about 5; {ending}",
        f"train.lst: no image has both black and dress, where chance would give about 5; {ending}",
    ]
    assert report.findings[0].images == tuple(f"black_jeans{i}.png" for i in range(5))
    folder.list("val.lst", [("new0.png", [0, 0, 1, 0, 1, 0]), ("new1.png", [0, 1, 0, 1, 0, 0])])
    report = folder.check("train.lst", "val.lst")
    assert len(texts(report, "pair-never-occurs")) == 2, "red jeans are shown by the other list, which is said instead"
    assert len(texts(report, "pair-not-in-training")) == 1


def test_of_many_pairs_the_first_are_named_and_the_others_counted(folder):
    rows = [(f"{i}.png", [int(i % 4 == column) for column in range(4)]) for i in range(100)]
    folder.list("train.lst", [*rows, ("none.png", [0] * 4)])
    *named, rest = texts(folder.check("train.lst"), "pair-never-occurs")
    assert len(named) == 5
    assert rest == "train.lst: 1 more pair of labels like these"


def test_a_label_that_training_never_shows_is_found_and_its_pairs_are_not(folder):
    folder.list("train.lst", [(f"t{i}.png", [i % 2, 1 - i % 2, 0, 0]) for i in range(6)])
    folder.list("val.lst", [(f"v{i}.png", row) for i, row in enumerate(BALANCED)])
    report = folder.check("train.lst", "val.lst")
    assert len(texts(report, "label-not-in-training")) == 2
    assert texts(report, "pair-not-in-training") == []


def test_shares_that_differ_beyond_chance_are_found(folder):
    folder.list("train.lst", [(f"t{i}.png", BALANCED[i % 4]) for i in range(80)])
    folder.list("val.lst", [(f"v{i}.png", BALANCED[2 + i % 2]) for i in range(39)] + [("v39.png", BALANCED[0])])
    found = texts(folder.check("train.lst", "val.lst"), "share-differs")
    assert [text.partition(" in ")[0] for text in found] == [
        "val.lst: 2.5% of the images have black, 50.0%",
        "val.lst: 97.5% of the images have blue, 50.0%",
    ]


def test_images_without_a_label_are_counted(folder):
    folder.list("train.lst", [(f"t{i}.png", BALANCED[i % 4] if i < 8 else [0, 0, 0, 0]) for i in range(15)])
    (finding,) = folder.check("train.lst").findings
    assert finding.kind == "images-without-label" and finding.text.endswith("7 of 15 images have no label")
    assert finding.images == tuple(f"t{i}.png" for i in range(8, 13))


def test_labels_that_look_alike_are_counted_over_all_lists(folder):
    names = ["black", "jeans", "Black", "jaens"]
    (folder.path / "labels.txt").write_text("\n".join(names) + "\n")
    folder.list("train.lst", [(f"t{i}.png", [i % 2, 1 - i % 2, 0, int(i == 3)]) for i in range(8)])
    folder.list("val.lst", [(f"v{i}.png", [0, i % 2, 1 - i % 2, int(i == 0)]) for i in range(4)])
    report = folder.check("train.lst", "val.lst")
    assert texts(report, "labels-look-alike") == [
        "labels.txt:3: 'Black' (2 images) looks like 'black' (line 1, 4 images)",
        "labels.txt:4: 'jaens' (2 images) looks like 'jeans' (line 2, 6 images)",
    ]
    assert [finding.images for finding in report.findings if finding.kind == "labels-look-alike"] == [
        ("v0.png", "v2.png"),
        ("t3.png", "v0.png"),
    ]
    (folder.path / "labels.txt").unlink()
    assert texts(folder.check("train.lst", "val.lst"), "labels-look-alike") == []


def test_long_label_names_are_cut(folder):
    names = ["a" * 300, "b" * 300, "c" * 300, "d" * 300]
    (folder.path / "labels.txt").write_text("\n".join(names) + "\n")
    rows = [[1, 0, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0]]
    folder.list("train.lst", [*((f"t{i}.png", row) for i, row in enumerate(rows)), ("t0.png", rows[1])])
    folder.list("val.lst", [("v0.png", [1, 1, 0, 0]), ("v1.png", [1, 0, 0, 1])])
    report = folder.check("train.lst", "val.lst")
    assert kinds(report) >= {
        "labels-disagree", "label-never-occurs", "label-always-occurs", "label-not-in-training", "pair-not-in-training"
    }  # fmt: skip
    assert not [finding.text for finding in report.findings if re.search(r"(.)\1{57}", finding.text)]
    assert f"val.lst: every image has {'a' * 57}..." in texts(report, "label-always-occurs")


# ---- the command


def spoil(folder):
    """Write train.lst and val.lst with a faulty line, a missing image and a leak."""
    path = folder.sound("train.lst", "t", 8)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\nnot a line\n", 1))
    (folder.root / "t5.png").unlink()
    folder.list("val.lst", [(f"v{i}.png", row) for i, row in enumerate(BALANCED)] + [("t3.png", BALANCED[3])])


def test_errors_exit_with_1_and_warnings_with_0(folder):
    spoil(folder)
    both = folder.mxml("train.lst", "val.lst")
    assert both.returncode == 1 and both.stderr == ""
    assert "error: lines that cannot be read (faulty-line, 1)\n  train.lst:2: " in both.stdout
    assert "  train.lst:7: t5.png: " in both.stdout
    assert both.stdout.splitlines()[-1].startswith("2 errors, 1 warning: training would stop at these or skip them; ")
    assert "--fix OUT.lst" in both.stdout.splitlines()[-1]
    val = folder.mxml("val.lst")
    assert val.returncode == 0 and val.stdout.splitlines()[-1] == "no errors, no warnings: the lists can be trained on"


def test_wrong_usage_exits_with_2_before_anything_is_written(folder):
    spoil(folder)
    before = {path: path.read_bytes() for path in folder.path.glob("*.*")}
    for arguments, message in (
        ((), "Missing argument"),
        (("train.lst", "val.lst", "--fix", "a.lst"), "--fix a.lst: should be one name for each list, 2 in all"),
        (("train.lst", "--fix", "./train.lst"), "--fix ./train.lst: should be another file than train.lst"),
        (("train.lst", "--fix", "a.lst", "--html", "a.lst"), "--html a.lst: should be another file than a.lst"),
        (("train.lst", "--html", "labels.txt"), "--html labels.txt: should be another file than labels.txt"),
        (("train.lst", "--html", "lists.json"), "--html lists.json: should be another file than lists.json"),
        (("train.lst", "--fix", "new/a.lst", "--html", "new/labels.txt"), "another file than new/labels.txt"),
    ):
        done = folder.mxml(*arguments)
        assert done.returncode == 2 and message in done.stderr and done.stdout == ""
    done = folder.mxml("train.lst", "--fix", "labels.txt/new/a.lst")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"mxml: labels.txt/new/a.lst: cannot be written: {folder.path}/labels.txt is a file, should be a folder\n"
    )
    assert {path: path.read_bytes() for path in folder.path.glob("*.*")} == before


def test_a_fixed_list_has_the_other_lines_unchanged_and_passes(folder):
    spoil(folder)
    done = folder.mxml("train.lst", "val.lst", "--fix", "train2.lst", "--fix", "val2.lst")
    assert done.returncode == 1
    assert "train2.lst: written without 2 of 9 lines" in done.stdout
    assert "val2.lst: written without 0 of 5 lines" in done.stdout
    lines = (folder.path / "train.lst").read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if line != b"not a line\n" and b"t5.png" not in line]
    assert (folder.path / "train2.lst").read_bytes() == b"".join(kept)
    assert (folder.path / "val2.lst").read_bytes() == (folder.path / "val.lst").read_bytes()
    again = folder.mxml("train2.lst", "val2.lst")
    assert again.returncode == 0 and again.stdout.splitlines()[-1].startswith("no errors, 1 warning")


def test_fixed_lists_keep_their_label_names_in_new_folders(folder):
    spoil(folder)
    done = folder.mxml("train.lst", "val.lst", "--fix", "new/sub/a.lst", "--fix", "new/b.lst", "--html", "pages/a.html")
    lines = done.stdout.splitlines()
    at = lines.index("new/sub/a.lst: written without 2 of 9 lines")
    assert lines[at + 1 : at + 7] == [
        "new/sub/labels.txt: written, the label names of labels.txt",
        "new/sub/lists.json: written, the image folder of train.lst",
        "new/b.lst: written without 0 of 5 lines",
        "new/labels.txt: written, the label names of labels.txt",
        "new/lists.json: written, the image folder of val.lst",
        "pages/a.html: written",
    ]
    config = TrainConfig(
        model="net",
        prefix="run",
        data_train=str(folder.path / "new/sub/a.lst"),
        image_train=str(folder.root),
        data_val=str(folder.path / "new/b.lst"),
        image_val=str(folder.root),
    )
    assert open_data(config, SILENT).label_names == NAMES
    again = folder.mxml("train.lst", "--fix", "new/sub/a.lst", "--json")
    assert json.loads(again.stdout)["fixed"][0]["label_names"] == "there"
    assert check_lists([folder.path / "new/b.lst"]).root == str(folder.root)


def test_other_label_names_beside_a_fixed_list_are_kept_and_said(folder):
    spoil(folder)
    (folder.path / "labels.txt").rename(folder.path / "names.txt")
    (folder.path / "new").mkdir()
    (folder.path / "new" / "labels.txt").write_text("a\nb\nc\nd\n")
    fix = ("train.lst", "--fix", "new/a.lst")
    done = folder.mxml(*fix, "--labels", "names.txt")
    assert (
        "new/labels.txt: has other label names; to train on new/a.lst, give mxml train --labels names.txt\n"
        in done.stdout
    )
    assert (folder.path / "new" / "labels.txt").read_text() == "a\nb\nc\nd\n"
    # Without names there are none to lose.
    assert json.loads(folder.mxml(*fix, "--json").stdout)["fixed"][0]["label_names"] is None


def test_nothing_is_written_of_a_list_without_a_usable_image(folder):
    folder.sound("train.lst", "t")
    for path in folder.root.iterdir():
        path.unlink()
    done = folder.mxml("train.lst", "--fix", "new/fixed.lst")
    assert done.returncode == 1 and "new/fixed.lst: not written, no good line among the 4 lines" in done.stdout
    assert not (folder.path / "new").exists()


def test_json_holds_what_the_text_says(folder):
    spoil(folder)
    done = folder.mxml("train.lst", "val.lst", "--json", "--fix", "a.lst", "--fix", "b.lst")
    plain = json.loads(done.stdout)
    assert done.returncode == 1 and (plain["errors"], plain["warnings"]) == (2, 1)
    assert [finding["kind"] for finding in plain["findings"]] == ["faulty-line", "missing", "in-several-lists"]
    train = plain["lists"][0]
    assert (train["images"], train["faulty_lines"], train["broken_images"]) == (8, 1, 1)
    assert train["width"] == {"min": 96, "median": 96, "max": 96}
    assert plain["fixed"][0] == {
        "list": "train.lst",
        "out": "a.lst",
        "images": 7,
        "left_out": 2,
        "label_names": "there",
        "root_recorded": False,
    }
    assert plain["statistics"]["lists"][1]["guessing"]["mAP"] == pytest.approx((0.4 + 0.6 + 0.4 + 0.6) / 4)
    text = folder.mxml("train.lst", "val.lst").stdout
    for finding in plain["findings"]:
        assert finding["kind"] in text and finding["text"] in text
    # Of a label that half of the images have, guessing has both figures right: there is nothing to warn of.
    assert GUESSED_WELL not in text


def test_the_library_gives_what_the_command_prints(folder, monkeypatch):
    spoil(folder)
    monkeypatch.chdir(folder.path)
    plain = json.loads(folder.mxml("train.lst", "val.lst", "--json", "--fix", "a.lst", "--fix", "b.lst").stdout)
    report = check_lists(["train.lst", "val.lst"], "images")
    before = {path: path.read_bytes() for path in folder.path.glob("[ab].lst")}
    for path in before:
        path.unlink()
    fixed = write_fixed(report, ["a.lst", "b.lst"])
    assert plain == {**report.to_dict(), "fixed": [fix.to_dict() for fix in fixed], "html": None}
    assert len(before) == 2 and before == {path: path.read_bytes() for path in before}


def test_a_high_accuracy_that_guessing_has_is_called_so(folder):
    folder.list("train.lst", [(f"t{i}.png", [int(i == label) for label in range(4)]) for i in range(10)])
    done = folder.mxml("train.lst")
    assert f"guessing already has element accuracy 0.900 on train.lst, but mAP 0.100: {GUESSED_WELL}\n" in done.stdout
    folder.list("train.lst", [(f"t{i}.png", [-1, -1, -1, -1]) for i in range(2)])
    assert GUESSED_WELL not in folder.mxml("train.lst").stdout


def test_a_thousand_labels_do_not_flood_the_terminal(folder):
    (folder.path / "labels.txt").unlink()
    rng = np.random.default_rng(2)
    rows = [(f"t{i}.png", row) for i, row in enumerate((rng.random((30, 1000)) < 0.05).astype(int).tolist())]
    folder.list("train.lst", rows)
    done = folder.mxml("train.lst")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) < 80
    assert "... and 970 labels that occur less often; --json has all" in done.stdout
    assert len(json.loads(folder.mxml("train.lst", "--json").stdout)["statistics"]["lists"][0]["labels"]) == 1000


def test_the_weights_are_explained(folder):
    folder.sound("train.lst", "t")
    explained = "images without the label for each with it in train.lst, as PyTorch's BCEWithLogitsLoss takes it"
    assert f"\npos_weight: {explained}\n" in folder.mxml("train.lst").stdout


@pytest.mark.parametrize("size", [(0, 0), (24, 80)])
def test_a_terminal_sees_how_far_it_is_from_the_start(folder, size):
    folder.sound("train.lst", "t", 12)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    command = [sys.executable, "-m", "mxml", "check", "--root", "images", "train.lst"]
    done = subprocess.run(command, cwd=folder.path, stdout=subprocess.PIPE, stderr=theirs, timeout=120)
    os.close(theirs)
    with open(ours, "rb", buffering=0) as terminal:
        shown = b""
        with contextlib.suppress(OSError):  # what a terminal says at its end
            while part := terminal.read(1 << 16):
                shown += part
    assert done.returncode == 0
    first, *_, last, rest = shown.decode().split("\r")[1:]
    assert first.startswith("opening images:   0%|")
    assert last.strip() == rest == ""  # nothing of it is left


def test_a_page_is_written(folder):
    spoil(folder)
    done = folder.mxml("train.lst", "val.lst", "--html", "page.html")
    page = (folder.path / "page.html").read_text()
    assert done.returncode == 1 and "page.html: written" in done.stdout
    assert page.lstrip().lower().startswith("<!doctype html>") and "t3.png: is also in val.lst:5" in page


# ---- real lists


def test_the_sample_has_nothing_that_would_break_training(checkout):
    lists = [str(checkout / "lists" / name) for name in ("train.lst", "val.lst")]
    done = subprocess.run(
        [sys.executable, "-m", "mxml", "check", *lists, "--root", str(checkout / "images"), "--json"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    plain = json.loads(done.stdout)
    assert done.returncode == 0 and plain["errors"] == 0
    assert sum(entry["images"] for entry in plain["lists"]) == 720


def test_the_real_photographs_are_checked(shared):
    folder = shared / "data" / "miml-scene"
    report = check_lists([folder / "train.lst", folder / "val.lst"], folder / "images")
    assert report.errors == ()
    assert len(report.scan.readable) == 1600 and report.scan.readable.all()
    # Found alike by eye, too: the same photographs from two web sites, some in both lists, some with other labels.
    pairs = {frozenset(report.lists[k].images.name(i) for k, i in group.entries) for group in report.duplicates}
    assert pairs >= {frozenset(pair) for pair in (("39.jpg", "43.jpg"), ("47.jpg", "387.jpg"), ("385.jpg", "59.jpg"))}
    disagreeing = {finding.images for finding in report.findings if finding.kind == "labels-disagree"}
    assert disagreeing >= {("47.jpg", "387.jpg"), ("385.jpg", "59.jpg")}
    assert ("39.jpg", "43.jpg") not in disagreeing
    assert kinds(report) == {"labels-disagree", "near-duplicates-across-lists", "near-duplicates"}


def test_lists_whose_columns_have_other_names_are_not_compared(folder):
    other = folder.path / "other"
    other.mkdir()
    (folder.path / "train.lst").write_text("0\t1\t0\t0\t0\ta.png\n")
    (other / "val.lst").write_text("0\t1\t0\t0\t0\ta.png\n")
    (other / "labels.txt").write_text("\n".join(reversed(NAMES)) + "\n")
    with pytest.raises(ListError, match=r"other/labels\.txt: names other labels than .*labels\.txt: number 1 is"):
        check_lists([folder.path / "train.lst", other / "val.lst"], folder.path)
