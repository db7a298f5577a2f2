"""``mxml make-lst`` as a user runs it, and the files that it leaves."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mxml.data.formats.sources import LabelSources
from mxml.data.label_names import read_label_names
from mxml.data.lst_file import read_lst
from mxml.errors import ListError, SettingError, StorageError
from mxml.prepare.make_lists import make_lists
from mxml.prepare.subsets import Split

SETTINGS = {"--new-split": "`new`", "--seed": "`seed`"}
TABLE = "image,red,dress\n" + "".join(f"{i}.jpg,{i % 2},{int(i % 3 == 0)}\n" for i in range(30))


def write_picture(path, seed, quality=95):
    """Write a JPEG of its own coarse pattern: another seed looks nothing like it, another quality just like it."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    picture = cv2.resize(coarse, (96, 96), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, quality])


def make(
    *paths, root=None, classes_file=None, ignore_unknown=False, num_classes=None, out="lists", force=False, **split
):
    sources = LabelSources(paths, root, None, classes_file, ignore_unknown, num_classes)
    return make_lists(sources, Path(out), Split(**split), force=force)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with thirty images and their table."""
    (tmp_path / "images").mkdir()
    for i in range(30):
        write_picture(tmp_path / "images" / f"{i}.jpg", i)
    (tmp_path / "images" / "labels.csv").write_text(TABLE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def mxml(place, checkout):
    def run(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        return subprocess.run(
            [sys.executable, "-m", "mxml", "make-lst", *arguments],
            cwd=place,
            env=environment,
            capture_output=True,
            text=True,
        )

    return run


def said(done):
    """Return what the command printed, without the commands to type next."""
    text, _, following = done.stdout.partition("\n\nnext: mxml check ")
    assert following
    return text.splitlines()


def written(place):
    return {path.name: path.read_bytes() for path in sorted((place / "lists").iterdir())}


def test_the_lists_hold_every_image_once_with_its_labels(place):
    made = make(num_classes=2)
    train, val = (read_lst(f"lists/{part}.lst", "images", 2) for part in ("train", "val"))
    assert (len(train), len(val)) == (24, 6)
    assert train.index.tolist() == list(range(24))
    assert val.index.tolist() == list(range(6))
    for images in (train, val):
        numbers = [int(name[:-4]) for name in images.names()]
        assert numbers == sorted(numbers), "the table's order is kept"
        assert images.labels.tolist() == [[i % 2, int(i % 3 == 0)] for i in numbers]
    assert sorted(train.names() + val.names()) == sorted(f"{i}.jpg" for i in range(30))
    assert read_label_names("lists/labels.txt") == ["red", "dress"]
    assert val.labels.sum(axis=0).tolist() == [3, 2]
    assert made.subsets["train"].names() == train.names()
    assert {path.name: state for path, state in made.files} == dict.fromkeys(
        ("train.lst", "val.lst", "labels.txt", "lists.json"), "written"
    )


def test_a_second_time_changes_nothing(place):
    make()
    before = {path: path.stat().st_mtime_ns for path in (place / "lists").iterdir()}
    assert make().unchanged
    assert {path: path.stat().st_mtime_ns for path in (place / "lists").iterdir()} == before


def test_lists_with_other_content_stay_unless_forced(place):
    make(seed=1)
    before = written(place)
    with pytest.raises(StorageError, match=r"^lists/train.lst, lists/val.lst: already exist with other content"):
        make(seed=2, new=True)
    assert written(place) == before
    made = make(seed=2, new=True, force=True)
    assert {path.name: state for path, state in made.files} == {
        "train.lst": "replaced",
        "val.lst": "replaced",
        "labels.txt": "unchanged",
        "lists.json": "unchanged",
    }
    assert make(seed=2, new=True).unchanged


# ---- subsets that are kept


def subsets(place):
    lists = sorted((place / "lists").glob("*.lst"))
    return {name: path.stem for path in lists for name in read_lst(path).names()}


def add_images(place, numbers, row="{},1,0\n"):
    for i in numbers:
        write_picture(place / "images" / f"{i}.jpg", i)
    table = place / "images/labels.csv"
    head, rest = table.read_text().split("\n", 1)
    # In front, so that every image has another position than before.
    table.write_text(head + "\n" + "".join(row.format(f"{i}.jpg") for i in numbers) + rest)


def test_an_image_keeps_its_subset_when_images_are_added(place):
    make(shares=(0.6, 0.2, 0.2))
    before = subsets(place)
    assert sorted(before.values()) == ["test"] * 6 + ["train"] * 18 + ["val"] * 6
    add_images(place, range(30, 60))
    made = make(shares=(0.6, 0.2, 0.2))  # what only adds needs no force
    after = subsets(place)
    assert {name: after[name] for name in before} == before
    assert {part: len(images) for part, images in made.subsets.items()} == {"train": 36, "val": 12, "test": 12}
    assert (made.kept, len(after)) == (30, 60)
    make(shares=(0.6, 0.2, 0.2), force=True, new=True)
    assert {name: subsets(place)[name] for name in before} != before


def test_lists_that_lose_images_or_change_labels_need_force(place):
    make()
    before = written(place)
    table = place / "images/labels.csv"
    whole = table.read_text()
    table.write_text(whole.replace("9.jpg,1,1\n", "", 1))
    with pytest.raises(ListError, match=r"^images/labels.csv: lacks 1 of the images .* or `force` leaves them out$"):
        make()
    assert "1 image of the existing lists is not in images/labels.csv, and left out" in make(force=True).notes
    table.write_text(whole)
    make()
    table.write_text("".join(line for line in whole.splitlines(keepends=True) if "5.jpg" not in line))
    assert "3 images of the existing lists are not in images/labels.csv, and left out" in make(force=True).notes
    table.write_text(whole)
    assert make().label_names == ("red", "dress")
    assert set(subsets(place)) == {f"{i}.jpg" for i in range(30)}
    table.write_text(whole.replace("1.jpg,1,0", "1.jpg,0,0", 1))
    with pytest.raises(StorageError, match="`force` replaces them"):
        make()
    table.write_text(whole.replace("red,dress", "blue,dress"))
    with pytest.raises(StorageError, match="`force` replaces them"):
        make()
    assert before.keys() == written(place).keys()


def test_lists_of_other_images_are_no_subsets_to_keep(place):
    make()
    before = written(place)
    with pytest.raises(
        ListError, match=r"^lists: has lists that contain none of these images.* the `root` that they were"
    ):
        table = (place / "images/labels.csv").read_text()
        (place / "labels.csv").write_text("\n".join(f"images/{line}" for line in table.splitlines()))
        make(Path("labels.csv"), root=Path("."), force=True)
    assert written(place) == before


def test_another_split_than_the_lists_have_is_noted(place):
    make()
    made = make(shares=(0.6, 0.4))
    assert made.unchanged
    assert made.notes == (
        "train.lst has 80.0% of the images, and 60.0% were asked for: 30 images stayed in their subset; "
        "`new` splits all of them again",
    )


def test_a_list_is_not_read_and_written_at_once(place):
    make()
    before = written(place)
    with pytest.raises(ListError, match=r"^lists/train.lst: is a source and would be overwritten; `out`"):
        make(Path("lists/train.lst"), force=True)
    assert written(place) == before


def test_groups_too_large_for_a_part_are_said_to_be(place):
    for i in range(30):
        write_picture(place / "images" / f"{i}.jpg", 1, quality=50 + i)
    with pytest.raises(
        ListError,
        match=r"^30 images, in 1 group that stays together, are too few .* val\.lst; with `ignore_duplicates`",
    ):
        make()
    with pytest.raises(
        ListError, match=r"in 1 group that stays together, .* val\.lst; another `group_by` finds smaller"
    ):
        make(group_by="jpg", ignore_duplicates=True)
    assert not (place / "lists").exists()
    assert len(make(ignore_duplicates=True).subsets["val"]) == 6


def test_a_third_part_that_no_image_is_left_for_is_said_to_be_empty(place):
    make()
    with pytest.raises(ListError) as caught:
        make(shares=(0.8, 0.1, 0.1))
    assert caught.value.faults == (
        "test.lst would be empty, as 30 of 30 images stay in their subset in the existing lists; "
        "`new` splits all of them again",
    )
    assert len(make(shares=(0.8, 0.1, 0.1), new=True, force=True).subsets["test"]) == 3


@pytest.mark.parametrize("out", ["images", "images/lists"])
def test_lists_inside_the_folder_of_labelled_folders_are_no_other_labels(place, out):
    (place / "images/labels.csv").unlink()
    for i in range(30):
        (place / f"images/{i % 3}").mkdir(exist_ok=True)
        os.rename(place / f"images/{i}.jpg", place / f"images/{i % 3}/{i}.jpg")
    assert make(out=Path(out)).formats == ("folders",)
    assert make(out=Path(out)).unchanged
    with pytest.raises(ListError, match=rf"^images: holds lists that are split already, {out}/train\.lst and "):
        make()


def test_another_seed_moves_nothing_that_is_in_a_list(place):
    make(seed=1)
    assert make(seed=2).unchanged


def test_a_list_that_would_be_left_over_is_refused(place):
    make(shares=(0.6, 0.2, 0.2))
    before = written(place)
    for new_split in (False, True):
        with pytest.raises(ListError, match=r"^lists/test.lst: is left from a split into 3, and would not belong"):
            make(force=True, new=new_split)
    assert written(place) == before


def test_lists_that_share_an_image_are_no_subsets_to_keep(place):
    make()
    name = read_lst("lists/train.lst").name(0)
    with open("lists/val.lst", "a") as file:
        file.write(f"9\t1\t0\t{name}\n")
    with pytest.raises(ListError, match=f"^lists/val.lst: has '{name}', which train.lst beside it has too"):
        make(force=True)
    assert make(force=True, new=True).kept == 0


def test_near_duplicates_stay_in_one_subset(place):
    for copy in range(8):
        write_picture(place / "images" / f"copy{copy}.jpg", 3, quality=40 + 5 * copy)
    table = place / "images/labels.csv"
    table.write_text(table.read_text() + "".join(f"copy{copy}.jpg,1,1\n" for copy in range(8)))
    copies = ["3.jpg", *(f"copy{copy}.jpg" for copy in range(8))]
    for seed in range(4):
        made = make(seed=seed, new=True, force=True, shares=(0.5, 0.5))
        assert len({subsets(place)[name] for name in copies}) == 1
    assert [note for note in made.notes if note.startswith("9 images are duplicates or near-duplicates of others")]
    parted = 0
    for seed in range(4):
        made = make(seed=seed, new=True, force=True, shares=(0.5, 0.5), ignore_duplicates=True)
        parted += len({subsets(place)[name] for name in copies}) == 2
    assert parted, "without it they are split up"
    assert not made.notes


def test_groups_by_name_stay_in_one_subset_together_with_near_duplicates(place):
    write_picture(place / "images" / "copy.jpg", 7, quality=50)
    table = place / "images/labels.csv"
    table.write_text(table.read_text() + "copy.jpg,1,1\n")
    make(group_by=r"^\d?(\d)\.", shares=(0.5, 0.5))
    subset = subsets(place)
    for last in range(10):
        assert len({subset[f"{i}.jpg"] for i in range(30) if i % 10 == last}) == 1
    assert subset["copy.jpg"] == subset["7.jpg"] == subset["17.jpg"]
    assert len(set(subset.values())) == 2


def test_duplicates_that_lists_part_stay_there_and_are_noted(place):
    make()
    subset = subsets(place)
    first, second = (next(name for name in subset if subset[name] == part) for part in ("train", "val"))
    shutil.copy(place / "images" / first, place / "images" / second)
    made = make()
    assert made.unchanged
    assert made.notes[-1] == (
        "1 group of images is in several subsets, as in the existing lists; `new` puts each into one subset"
    )


def test_images_that_cannot_be_used_are_noted(place):
    (place / "images/3.jpg").write_bytes(b"")
    (note,) = make().notes
    assert note.startswith("1 of 30 images cannot be read, such as '3.jpg' (")
    assert note.endswith("); mxml check lists them all")


def test_a_file_that_cannot_be_written_leaves_all_as_they_were(place):
    (place / "lists/val.lst").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"lists/val\.lst: is a folder"):
        make(force=True)
    assert [path.name for path in (place / "lists").iterdir()] == ["val.lst"]
    shutil.rmtree(place / "lists")
    (place / "lists").write_text("a file")
    with pytest.raises(StorageError, match="cannot be written"):
        make(force=True)


def test_images_that_are_missing_are_named(place):
    (place / "images/3.jpg").unlink()
    (place / "images/7.jpg").unlink()
    with pytest.raises(ListError) as caught:
        make()
    assert list(caught.value.faults) == [
        f"images/labels.csv:{i + 2}: names '{i}.jpg', but images/{i}.jpg does not exist; take it out there, or add the "
        "image"
        for i in (3, 7)
    ]
    assert not (place / "lists").exists()


def test_another_number_of_labels_is_refused_with_their_names(place):
    with pytest.raises(ListError, match=r"^images/labels.csv: has 2 labels, should be 8: red, dress$"):
        make(num_classes=8)
    assert not (place / "lists").exists()


def test_too_few_images_and_senseless_shares_are_refused(place):
    with pytest.raises(ListError, match=r"30 images are too few for a share of 0\.001 in val\.lst"):
        make(shares=(0.999, 0.001))
    for split in ((1, 0), (0.5, 0.6), (1,), (0.25,) * 4, (0.5, float("nan"))):
        with pytest.raises(SettingError, match="should be two or three shares that add up to 1"):
            make(shares=split)
    with pytest.raises(ListError, match="none: does not exist"):
        make(root=Path("none"))
    with pytest.raises(ListError, match="none: is not a folder"):
        make(Path("images/labels.csv"), root=Path("none"))
    assert not (place / "lists").exists()


def test_a_folder_with_labels_csv_is_that_table_and_its_images(place):
    (place / "images").rename("photos")
    made = make(Path("photos"))
    assert (made.sources, made.formats, made.root) == ((Path("photos/labels.csv"),), ("csv",), "photos")
    by_root = make(root=Path("photos"), out="by_root")
    assert [images.names() for images in made.subsets.values()] == [
        images.names() for images in by_root.subsets.values()
    ]
    # Subfolders in it are no labels then, as without a source.
    (place / "photos/red").mkdir()
    (place / "photos/1.jpg").rename("photos/red/1.jpg")
    (place / "photos/labels.csv").write_text(TABLE.replace("\n1.jpg", "\nred/1.jpg"))
    assert make(Path("photos"), out="again").label_names == ("red", "dress")
    # Where the labels are somewhere else, the folder of the images may be, too.
    shutil.copytree("photos", "others")
    with pytest.raises(ListError, match="the images are under others and photos; `root` says where all are"):
        make(Path("photos"), Path("others"), out="both")
    (place / "red").mkdir()
    with pytest.raises(ListError, match="the images are under photos and red; `root` says where all are"):
        make(Path("photos"), Path("red"), out="both")
    with pytest.raises(ListError, match=r"^photos/2\.jpg: is an image, should be a file of labels or a folder of"):
        make(Path("photos/2.jpg"), out="image")


def test_folders_are_read_where_there_is_no_table(place):
    (place / "images/labels.csv").unlink()
    for i in range(30):
        folder = place / "images" / ("red_dress" if i % 2 else "hat")
        folder.mkdir(exist_ok=True)
        (place / "images" / f"{i}.jpg").rename(folder / f"{i}.jpg")
    made = make(num_classes=3)
    assert made.label_names == ("dress", "hat", "red")
    assert made.subsets["val"].labels.sum(axis=0).tolist() == [3, 3, 3]
    train = made.subsets["train"]
    assert all((place / train.path(i)).is_file() for i in range(len(train)))


def edit(path, change):
    """Let ``change`` rearrange the lines of a list."""
    lines = path.read_text().splitlines()
    path.write_text("".join(f"{line}\n" for line in change(lines)))


def renumbered(lines):
    return [f"{7 * number + 100}\t{line.partition(chr(9))[2]}" for number, line in enumerate(lines)]


@pytest.mark.parametrize("change", [lambda lines: lines[::-1], renumbered, lambda lines: renumbered(lines)[::-1]])
def test_a_list_in_an_order_and_with_numbers_of_its_own_stays_as_it_is(place, change):
    make()
    for name in ("train", "val"):
        edit(place / f"lists/{name}.lst", change)
    before = written(place)
    made = make()
    assert made.unchanged
    assert written(place) == before
    assert made.subsets["train"].names() == read_lst("lists/train.lst").names()

    add_images(place, range(30, 40))
    made = make()
    after = written(place)
    for name in ("train.lst", "val.lst"):
        assert after[name].startswith(before[name])
        images = read_lst(place / "lists" / name)
        earlier = len(before[name].splitlines())
        added = images.select(range(earlier, len(images)))
        assert added.index.tolist() == list(range(max(images.index[:earlier]) + 1, max(images.index) + 1))
        numbers = [int(file[:-4]) for file in added.names()]
        assert numbers == sorted(numbers) and min(numbers) >= 30
        assert made.subsets[name[:-4]].index.tolist() == images.index.tolist()
        assert made.subsets[name[:-4]].labels.tolist() == images.labels.tolist()
    assert make().unchanged


def test_lines_that_are_written_otherwise_stay_byte_for_byte(place):
    make()
    path = place / "lists/train.lst"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b".000000", b"").replace(b"\n", b"\r\n").rstrip())
    before = path.read_bytes()
    assert make().unchanged
    add_images(place, range(30, 60))
    make()
    assert path.read_bytes().startswith(before + b"\n24\t")
    assert len(read_lst(path)) == 48


def test_an_image_that_a_list_names_twice_keeps_both_lines(place):
    make()
    edit(place / "lists/train.lst", lambda lines: [*lines, lines[0]])
    before = written(place)
    assert make().unchanged
    assert written(place) == before


def test_force_changes_labels_and_drops_lines_in_an_order_that_stays(place):
    make()
    edit(place / "lists/train.lst", lambda lines: renumbered(lines)[::-1])
    earlier = read_lst("lists/train.lst")
    first, second, *rest = earlier.names()
    table = place / "images/labels.csv"
    lines = [line for line in table.read_text().splitlines() if not line.startswith(f"{first},")]
    table.write_text("".join(f"{second},1,1\n" if line.startswith(f"{second},") else f"{line}\n" for line in lines))
    before = written(place)
    with pytest.raises(ListError, match="lacks 1 of the images"):
        make()
    assert written(place) == before
    make(force=True)
    now = read_lst("lists/train.lst")
    assert now.names() == [second, *rest]
    assert now.index.tolist() == earlier.index.tolist()[1:]
    assert now.labels[0].tolist() == [1, 1]


def test_index_numbers_without_room_for_more_are_refused(place):
    make()
    edit(place / "lists/train.lst", lambda lines: [f"{2**63 - 1}\t{lines[0].partition(chr(9))[2]}", *lines[1:]])
    assert make().unchanged
    add_images(place, range(30, 40))
    with pytest.raises(ListError, match=r"^lists/train\.lst: has the index number 9223372036854775807, above which"):
        make()


# ---- the image folder, and what to type next


def test_the_lists_remember_their_image_folder(place, mxml):
    (place / "images").rename(place / "my photos")
    done = mxml("my photos/labels.csv", "--root", "my photos")
    assert json.loads((place / "lists/lists.json").read_text()) == {"root": "../my photos"}
    check, train = done.stdout.splitlines()[-2:]
    assert check == "next: mxml check lists/train.lst lists/val.lst"
    assert train.endswith("--data-train lists/train.lst --data-val lists/val.lst")
    checked = run(place, check.removeprefix("next: "))
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "no errors" in checked.stdout
    os.rename(place / "my photos", place / "images")
    moved = mxml()
    assert moved.returncode == 0, "another root needs no force where no line changes"
    assert "lists/lists.json: replaced" in moved.stdout


def test_a_folder_elsewhere_is_named_in_what_to_type_next(place, mxml):
    done = mxml("--out", "deep/my lists")
    check = done.stdout.splitlines()[-2]
    assert check == "next: mxml check 'deep/my lists/train.lst' 'deep/my lists/val.lst' --root images"
    assert run(place, check.removeprefix("next: ")).returncode == 0
    refused = run(place, "mxml check 'deep/my lists/train.lst'")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert f"says that the images are under '{place}/images'" in refused.stderr
    assert "--root says where the images are" in refused.stderr


def run(place, line):
    program, *arguments = shlex.split(line)
    assert program == "mxml"
    command = [sys.executable, "-m", "mxml", *arguments]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=120)


# ---- sources and labels


def test_classes_fix_the_labels_and_their_order(place):
    (place / "classes.txt").write_text("dress\nhat\n")
    with pytest.raises(ListError, match=r"^classes.txt: lacks the label 'red' of 15 images, the first '1.jpg'"):
        make(classes_file=Path("classes.txt"))
    assert not (place / "lists").exists()
    made = make(classes_file=Path("classes.txt"), ignore_unknown=True, num_classes=2)
    assert read_label_names("lists/labels.txt") == ["dress", "hat"]
    assert made.subsets["train"].labels.sum(axis=0).tolist() == [8, 0]


def test_labels_that_look_alike_are_noted(place):
    table = (place / "images/labels.csv").read_text().splitlines()
    (place / "images/labels.csv").write_text(
        "\n".join([f"{table[0]},dresss", *(f"{row},0" for row in table[1:30]), f"{table[30]},1"])
    )
    made = make()
    assert made.notes == ("labels that look alike and may be the same: 'dresss' and 'dress'",)


def test_several_sources_are_one_set(place):
    (place / "more.csv").write_text("image,hat,red\n1.jpg,0,1\nx.jpg,1,0\n")
    write_picture(place / "images/x.jpg", 99)
    made = make(Path("images/labels.csv"), Path("more.csv"))
    assert made.label_names == ("red", "dress", "hat")
    assert sum(map(len, made.subsets.values())) == 31
    (place / "more.csv").write_text("image,hat,red\n1.jpg,1,0\n")
    with pytest.raises(ListError, match=r"^more.csv: '1.jpg' has: hat; in images/labels.csv it has: red; should have"):
        make(Path("images/labels.csv"), Path("more.csv"), force=True)


# ---- the command


def test_the_command_says_what_it_did(place, mxml):
    write_picture(place / "images/extra.png", 99)
    done = mxml("--num-classes", "2")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "images/labels.csv: csv; 30 images, 2 labels"
    assert ["red", "12", "3"] in [line.split() for line in done.stdout.splitlines()]
    assert "lists/train.lst: written" in done.stdout
    assert done.stderr == "note: 1 image under images is not in images/labels.csv: extra.png\n"
    again = mxml("--num-classes", "2")
    assert again.returncode == 0
    assert said(again)[-1] == "The lists are unchanged."
    add_images(place, [40])
    more = mxml()
    assert said(more)[-1] == "30 images stayed in their list; --new-split splits all of them again."


def test_the_command_s_json(place, mxml):
    done = mxml("--json", "--out", "other/place", "--split", "0.5,0.3,0.2")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {
        "sources": ["images/labels.csv"],
        "formats": ["csv"],
        "train": 15,
        "val": 9,
        "test": 6,
        "labels": [
            {"name": "red", "train": 7, "val": 5, "test": 3},
            {"name": "dress", "train": 5, "val": 3, "test": 2},
        ],
        "kept": 0,
        "files": {
            f"other/place/{name}": "written"
            for name in ("labels.txt", "lists.json", "test.lst", "train.lst", "val.lst")
        },
        "unchanged": False,
        "unlisted": [],
        "notes": [],
    }


def test_the_library_gives_what_the_command_prints(place, mxml):
    """Twice: lists that are made, and lists that stay and take up more images; with notes, and an image left out."""
    write_picture(place / "images" / "extra.jpg", 77)
    for more, options, split in (
        ([], ("--group-by", "[0-9]", "--split", "0.5,0.3,0.2"), Split((0.5, 0.3, 0.2), group_by="[0-9]")),
        ([40, 41], ("--seed", "7", "--split", "0.8,0.1,0.1"), Split((0.8, 0.1, 0.1), seed=7)),
    ):
        add_images(place, more)
        done = mxml("--json", "--out", "command/lists", "--num-classes", "2", *options)
        assert done.returncode == 0, done.stderr
        made = make_lists(LabelSources((), num_classes=2), Path("library/lists"), split)
        command, library = (
            {path.name: path.read_bytes() for path in (place / name / "lists").iterdir()}
            for name in ("command", "library")
        )
        assert command == library and len(command) == 5
        printed, returned = json.loads(done.stdout), made.to_dict()
        assert printed.pop("files") == {f"command/lists/{Path(p).name}": s for p, s in returned.pop("files").items()}
        # The command names the options of the settings that a note names.
        printed["notes"] = [re.sub("--[a-z-]+", lambda found: SETTINGS[found[0]], note) for note in printed["notes"]]
        assert printed == returned
        assert returned["unlisted"] == ["extra.jpg"]
        assert (returned["kept"], len(returned["notes"])) == ((30, 2) if more else (0, 0))


def test_another_spelling_of_the_paths_changes_nothing(place):
    make(seed=1)
    table = TABLE.replace("\n", "\n./").removesuffix("./")
    (place / "images" / "labels.csv").write_text(table)
    made = make(seed=2, force=True)
    assert (made.kept, made.unlisted) == (30, ())


def test_the_command_refuses_in_one_line(place, mxml):
    make(seed=1)
    before = written(place)
    done = mxml("--seed", "2", "--new-split")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "lists/train.lst, lists/val.lst: already exist with other content" in done.stderr
    assert written(place) == before
    assert mxml("--seed", "2", "--new-split", "--force").returncode == 0
    for wrong in (
        ["--val-share", "1"],
        ["--split", "0.5,0.6"],
        ["--split", "0.8,0.2", "--val-share", "0.2"],
        ["--ignore-unknown"],
        ["--root", "images", "--root", "images"],
        ["--unpack"],
        ["--separator", ""],
        ["--group-by", "("],
        ["--from", "nothing"],
    ):
        done = mxml(*wrong)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), wrong
    done = mxml("--group-by", "cat")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_the_shipped_lists_are_what_the_command_makes(checkout, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    command = [sys.executable, "-m", "mxml", "make-lst", "--num-classes", "8"]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert said(done)[-1] == "The lists are unchanged."
    made = make(root=checkout / "images", out=tmp_path)
    assert len(made.label_names) == 8
    assert not made.notes, "no picture of the sample looks like another"
    for name in ("train.lst", "val.lst", "labels.txt"):
        assert (tmp_path / name).read_bytes() == (checkout / "lists" / name).read_bytes()


def test_images_are_added_by_giving_all_sources(place, mxml):
    make()
    before = subsets(place)
    write_picture(place / "images/new.jpg", 50)
    (place / "new.csv").write_text("image,red,dress\nnew.jpg,1,1\n1.jpg,1,0\n")
    done = mxml("new.csv")
    assert done.returncode == 1
    assert done.stderr == (
        "mxml: new.csv: lacks 29 of the images that the lists in lists have; give their sources as well to add to "
        "them, or --force leaves them out\n"
    )
    assert mxml("images/labels.csv", "new.csv").returncode == 0
    assert {name: subset for name, subset in subsets(place).items() if name != "new.jpg"} == before


def test_a_seed_that_changes_nothing_is_said_to(place, mxml):
    make()
    done = mxml("--seed", "7")
    assert said(done)[-1] == "The lists are unchanged."
    assert done.stderr.startswith("note: --seed applies only to images that are not in these lists yet")
    assert mxml().stderr == ""


def test_images_beside_their_table_are_found_by_every_command(place, checkout):
    """And each says so in a line."""
    os.rename(place / "images", place / "photos")

    def mxml(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        command = [sys.executable, "-m", "mxml", *arguments]
        return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)

    told = "labels.csv: takes the images under photos, since none of them is under images"
    done = mxml("make-lst", "photos/labels.csv")
    assert (done.returncode, done.stderr) == (0, f"note: photos/{told}\n")
    assert read_lst("lists/train.lst", "photos").root == "photos"
    assert json.loads((place / "lists/lists.json").read_text()) == {"root": "../photos"}
    done = mxml("convert", "photos/labels.csv", "--to", "lst", "--out", "photos/all.lst")
    assert (done.returncode, done.stderr) == (0, f"note: photos/{told}\n")
    os.remove(place / "photos/lists.json")
    done = mxml("check", "photos/all.lst")
    assert (done.returncode, done.stderr) == (0, f"photos/{told.replace('labels.csv', 'all.lst')}\n")
