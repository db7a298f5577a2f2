"""``mxml make-lst`` as a user runs it, and the files that it leaves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mxml.data.label_names import read_label_names
from mxml.data.lst_file import read_lst
from mxml.errors import ListError
from mxml.prepare.make_lists import make_lists

TABLE = "image,red,dress\n" + "".join(f"{i}.jpg,{i % 2},{int(i % 3 == 0)}\n" for i in range(30))


def write_picture(path, seed, quality=95):
    """Write a JPEG of its own coarse pattern: another seed looks nothing like it, another quality just like it."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    picture = cv2.resize(coarse, (96, 96), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, quality])


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


def written(place):
    return {path.name: path.read_bytes() for path in sorted((place / "lists").iterdir())}


def test_the_lists_hold_every_image_once_with_its_labels(place):
    made = make_lists(num_classes=2)
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
    assert made.parts["train"].names() == train.names()
    assert {path.name: state for path, state in made.files} == dict.fromkeys(
        ("train.lst", "val.lst", "labels.txt"), "written"
    )


def test_a_second_time_changes_nothing(place):
    make_lists()
    before = {path: path.stat().st_mtime_ns for path in (place / "lists").iterdir()}
    assert make_lists().unchanged
    assert {path: path.stat().st_mtime_ns for path in (place / "lists").iterdir()} == before


def test_lists_with_other_content_stay_unless_forced(place):
    make_lists(seed=1)
    before = written(place)
    with pytest.raises(ListError, match=r"^lists/train.lst, lists/val.lst: already there with other content; nothing"):
        make_lists(seed=2, new_split=True)
    assert written(place) == before
    made = make_lists(seed=2, new_split=True, force=True)
    assert {path.name: state for path, state in made.files} == {
        "train.lst": "replaced",
        "val.lst": "replaced",
        "labels.txt": "unchanged",
    }
    assert make_lists(seed=2, new_split=True).unchanged


# ---- sides


def sides(place):
    lists = sorted((place / "lists").glob("*.lst"))
    return {name: path.stem for path in lists for name in read_lst(path).names()}


def add_images(place, numbers, row="{},1,0\n"):
    for i in numbers:
        write_picture(place / "images" / f"{i}.jpg", i)
    table = place / "images/labels.csv"
    head, rest = table.read_text().split("\n", 1)
    # In front, so that every image has another position than before.
    table.write_text(head + "\n" + "".join(row.format(f"{i}.jpg") for i in numbers) + rest)


def test_a_file_keeps_its_side_when_images_are_added(place):
    make_lists(split=(0.6, 0.2, 0.2))
    before = sides(place)
    assert sorted(before.values()) == ["test"] * 6 + ["train"] * 18 + ["val"] * 6
    add_images(place, range(30, 60))
    made = make_lists(split=(0.6, 0.2, 0.2))  # what only adds needs no force
    after = sides(place)
    assert {name: after[name] for name in before} == before
    assert {part: len(images) for part, images in made.parts.items()} == {"train": 36, "val": 12, "test": 12}
    assert (made.kept, len(after)) == (30, 60)
    make_lists(split=(0.6, 0.2, 0.2), force=True, new_split=True)
    assert {name: sides(place)[name] for name in before} != before


def test_lists_that_lose_images_or_change_labels_need_force(place):
    make_lists()
    before = written(place)
    table = place / "images/labels.csv"
    whole = table.read_text()
    table.write_text(whole.replace("9.jpg,1,1\n", "", 1))
    with pytest.raises(ListError, match=r"^images/labels.csv: lacks 1 of the images .* or --force leaves them out$"):
        make_lists()
    assert (
        "1 image of the lists that were there is not in images/labels.csv, and left out" in make_lists(force=True).notes
    )
    table.write_text(whole)
    make_lists()
    table.write_text("".join(line for line in whole.splitlines(keepends=True) if "5.jpg" not in line))
    assert (
        "3 images of the lists that were there are not in images/labels.csv, and left out"
        in make_lists(force=True).notes
    )
    table.write_text(whole)
    assert make_lists().label_names == ("red", "dress")
    assert set(sides(place)) == {f"{i}.jpg" for i in range(30)}
    table.write_text(whole.replace("1.jpg,1,0", "1.jpg,0,0", 1))
    with pytest.raises(ListError, match="--force replaces them"):
        make_lists()
    table.write_text(whole.replace("red,dress", "blue,dress"))
    with pytest.raises(ListError, match="--force replaces them"):
        make_lists()
    assert before.keys() == written(place).keys()


def test_lists_of_other_images_are_no_sides_to_keep(place):
    make_lists()
    before = written(place)
    with pytest.raises(
        ListError, match=r"^lists: has lists that name none of these images.* the --root that they were"
    ):
        table = (place / "images/labels.csv").read_text()
        (place / "labels.csv").write_text("\n".join(f"images/{line}" for line in table.splitlines()))
        make_lists([Path("labels.csv")], root=Path("."), force=True)
    assert written(place) == before


def test_another_split_than_the_lists_have_is_noted(place):
    make_lists()
    made = make_lists(split=(0.6, 0.4))
    assert made.unchanged
    assert made.notes == (
        "train.lst has 80.0% of the images, and 60.0% were asked for: 30 images kept their side; "
        "--new-split deals all of them out anew",
    )


def test_a_list_is_not_read_and_written_at_once(place):
    make_lists()
    before = written(place)
    with pytest.raises(ListError, match=r"^lists/train.lst: is to be read, and would be written over; --out names"):
        make_lists([Path("lists/train.lst")], force=True)
    assert written(place) == before


def test_groups_too_large_for_a_part_are_said_to_be(place):
    for i in range(30):
        write_picture(place / "images" / f"{i}.jpg", 1, quality=50 + i)
    with pytest.raises(
        ListError, match=r"^30 images, in 1 group that stays together, are too few .* val\.lst; --ignore-duplicates"
    ):
        make_lists()
    with pytest.raises(
        ListError, match=r"in 1 group that stays together, .* val\.lst; another --group-by finds smaller"
    ):
        make_lists(group_by="jpg", near_duplicates=False)
    assert not (place / "lists").exists()
    assert len(make_lists(near_duplicates=False).parts["val"]) == 6


def test_a_third_part_that_no_image_is_left_for_is_said_to_be_empty(place):
    make_lists()
    with pytest.raises(ListError) as caught:
        make_lists(split=(0.8, 0.1, 0.1))
    assert caught.value.faults == (
        "test.lst would be empty, as 30 of 30 images keep their side in the lists that are there; "
        "--new-split deals all of them out anew",
    )
    assert len(make_lists(split=(0.8, 0.1, 0.1), new_split=True, force=True).parts["test"]) == 3


@pytest.mark.parametrize("out", ["images", "images/lists"])
def test_lists_inside_the_folder_of_labelled_folders_are_no_other_labels(place, out):
    (place / "images/labels.csv").unlink()
    for i in range(30):
        (place / f"images/{i % 3}").mkdir(exist_ok=True)
        os.rename(place / f"images/{i}.jpg", place / f"images/{i % 3}/{i}.jpg")
    assert make_lists(out=Path(out)).formats == ("folders",)
    assert make_lists(out=Path(out)).unchanged
    with pytest.raises(ListError, match=rf"^images: holds {out}/train\.lst, which looks like labels of the format lst"):
        make_lists()


def test_another_seed_moves_nothing_that_is_in_a_list(place):
    make_lists(seed=1)
    assert make_lists(seed=2).unchanged


def test_a_list_that_would_be_left_over_is_refused(place):
    make_lists(split=(0.6, 0.2, 0.2))
    before = written(place)
    for new_split in (False, True):
        with pytest.raises(ListError, match=r"^lists/test.lst: is there from a split into 3, and would be left over"):
            make_lists(force=True, new_split=new_split)
    assert written(place) == before


def test_lists_that_share_an_image_are_no_sides_to_keep(place):
    make_lists()
    name = read_lst("lists/train.lst").name(0)
    with open("lists/val.lst", "a") as file:
        file.write(f"9\t1\t0\t{name}\n")
    with pytest.raises(ListError, match=f"^lists/val.lst: has '{name}', which train.lst beside it has too"):
        make_lists(force=True)
    assert make_lists(force=True, new_split=True).kept == 0


def test_near_duplicates_stay_on_one_side(place):
    for copy in range(8):
        write_picture(place / "images" / f"copy{copy}.jpg", 3, quality=40 + 5 * copy)
    table = place / "images/labels.csv"
    table.write_text(table.read_text() + "".join(f"copy{copy}.jpg,1,1\n" for copy in range(8)))
    copies = ["3.jpg", *(f"copy{copy}.jpg" for copy in range(8))]
    for seed in range(4):
        made = make_lists(seed=seed, new_split=True, force=True, split=(0.5, 0.5))
        assert len({sides(place)[name] for name in copies}) == 1
    assert [note for note in made.notes if note.startswith("9 images are duplicates or near-duplicates of others")]
    parted = 0
    for seed in range(4):
        made = make_lists(seed=seed, new_split=True, force=True, split=(0.5, 0.5), near_duplicates=False)
        parted += len({sides(place)[name] for name in copies}) == 2
    assert parted, "without it they are dealt out"
    assert not made.notes


def test_groups_by_name_stay_on_one_side_together_with_near_duplicates(place):
    write_picture(place / "images" / "copy.jpg", 7, quality=50)
    table = place / "images/labels.csv"
    table.write_text(table.read_text() + "copy.jpg,1,1\n")
    make_lists(group_by=r"^\d?(\d)\.", split=(0.5, 0.5))
    side = sides(place)
    for last in range(10):
        assert len({side[f"{i}.jpg"] for i in range(30) if i % 10 == last}) == 1
    assert side["copy.jpg"] == side["7.jpg"] == side["17.jpg"]
    assert len(set(side.values())) == 2


def test_duplicates_that_lists_part_stay_there_and_are_noted(place):
    make_lists()
    side = sides(place)
    first, second = (next(name for name in side if side[name] == part) for part in ("train", "val"))
    shutil.copy(place / "images" / first, place / "images" / second)
    made = make_lists()
    assert made.unchanged
    assert made.notes[-1] == (
        "1 group of images is on several sides, as in the lists that were there; --new-split brings each to one side"
    )


def test_images_that_cannot_be_used_are_noted(place):
    (place / "images/3.jpg").write_bytes(b"")
    (note,) = make_lists().notes
    assert note.startswith("1 of 30 images cannot be used, such as '3.jpg' (")
    assert note.endswith("); mxml check lists them all")


def test_a_file_that_cannot_be_written_leaves_all_as_they_were(place):
    (place / "lists/val.lst").mkdir(parents=True)
    with pytest.raises(ListError, match=r"lists/val\.lst: is a folder"):
        make_lists(force=True)
    assert [path.name for path in (place / "lists").iterdir()] == ["val.lst"]
    shutil.rmtree(place / "lists")
    (place / "lists").write_text("a file")
    with pytest.raises(ListError, match="cannot be written"):
        make_lists(force=True)


def test_images_that_are_missing_are_named(place):
    (place / "images/3.jpg").unlink()
    (place / "images/7.jpg").unlink()
    with pytest.raises(ListError) as caught:
        make_lists()
    assert list(caught.value.faults) == [
        f"images/labels.csv: names '{i}.jpg', but images/{i}.jpg is not there" for i in (3, 7)
    ]
    assert not (place / "lists").exists()


def test_another_number_of_labels_is_refused_with_their_names(place):
    with pytest.raises(ListError, match=r"^images/labels.csv: has 2 labels, should be 8: red, dress$"):
        make_lists(num_classes=8)
    assert not (place / "lists").exists()


def test_too_few_images_and_senseless_shares_are_refused(place):
    with pytest.raises(ListError, match=r"30 images are too few for a share of 0\.001 in val\.lst"):
        make_lists(split=(0.999, 0.001))
    for split in ((1, 0), (0.5, 0.6), (1,), (0.25,) * 4, (0.5, float("nan"))):
        with pytest.raises(ListError, match="should be two or three shares that add up to 1"):
            make_lists(split=split)
    with pytest.raises(ListError, match="none: is not there"):
        make_lists(root=Path("none"))
    with pytest.raises(ListError, match="none: is no folder"):
        make_lists([Path("images/labels.csv")], root=Path("none"))
    assert not (place / "lists").exists()


def test_folders_are_read_where_there_is_no_table(place):
    (place / "images/labels.csv").unlink()
    for i in range(30):
        folder = place / "images" / ("red_dress" if i % 2 else "hat")
        folder.mkdir(exist_ok=True)
        (place / "images" / f"{i}.jpg").rename(folder / f"{i}.jpg")
    made = make_lists(num_classes=3)
    assert made.label_names == ("dress", "hat", "red")
    assert made.parts["val"].labels.sum(axis=0).tolist() == [3, 3, 3]
    train = made.parts["train"]
    assert all((place / train.path(i)).is_file() for i in range(len(train)))


# ---- sources and labels


def test_classes_fix_the_labels_and_their_order(place):
    (place / "classes.txt").write_text("dress\nhat\n")
    with pytest.raises(ListError, match=r"^classes.txt: lacks the label 'red' of 15 images, the first '1.jpg'"):
        make_lists(classes_file=Path("classes.txt"))
    assert not (place / "lists").exists()
    made = make_lists(classes_file=Path("classes.txt"), ignore_unknown=True, num_classes=2)
    assert read_label_names("lists/labels.txt") == ["dress", "hat"]
    assert made.parts["train"].labels.sum(axis=0).tolist() == [8, 0]


def test_labels_that_look_alike_are_noted(place):
    table = (place / "images/labels.csv").read_text().splitlines()
    (place / "images/labels.csv").write_text(
        "\n".join([f"{table[0]},dresss", *(f"{row},0" for row in table[1:30]), f"{table[30]},1"])
    )
    made = make_lists()
    assert made.notes == ("labels that look alike, perhaps one label each: 'dresss' and 'dress'",)


def test_several_sources_are_one_set(place):
    (place / "more.csv").write_text("image,hat,red\n1.jpg,0,1\nx.jpg,1,0\n")
    write_picture(place / "images/x.jpg", 99)
    made = make_lists([Path("images/labels.csv"), Path("more.csv")])
    assert made.label_names == ("red", "dress", "hat")
    assert sum(map(len, made.parts.values())) == 31
    (place / "more.csv").write_text("image,hat,red\n1.jpg,1,0\n")
    with pytest.raises(ListError, match=r"^more.csv: '1.jpg' has: hat; in images/labels.csv it has: red; should have"):
        make_lists([Path("images/labels.csv"), Path("more.csv")], force=True)


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
    assert again.stdout.splitlines()[-1] == "The lists are unchanged."
    add_images(place, [40])
    more = mxml()
    assert more.stdout.splitlines()[-1] == "30 images kept their side; --new-split deals all of them out anew."


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
        "files": {f"other/place/{name}": "written" for name in ("labels.txt", "test.lst", "train.lst", "val.lst")},
        "unchanged": False,
        "unlisted": [],
        "notes": [],
    }


def test_another_spelling_of_the_paths_changes_nothing(place):
    make_lists(seed=1)
    table = TABLE.replace("\n", "\n./").removesuffix("./")
    (place / "images" / "labels.csv").write_text(table)
    made = make_lists(seed=2, force=True)
    assert (made.kept, made.unlisted) == (30, ())


def test_the_command_refuses_in_one_line(place, mxml):
    make_lists(seed=1)
    before = written(place)
    done = mxml("--seed", "2", "--new-split")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "lists/train.lst, lists/val.lst: already there with other content" in done.stderr
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
        ["--from", "nothing"],
    ):
        done = mxml(*wrong)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), wrong
    done = mxml("--group-by", "(")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_the_shipped_lists_are_what_the_command_makes(checkout, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    command = [sys.executable, "-m", "mxml", "make-lst", "--num-classes", "8"]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "The lists are unchanged."
    made = make_lists(root=checkout / "images", out=tmp_path)
    assert len(made.label_names) == 8
    assert not made.notes, "no picture of the sample looks like another"
    for name in ("train.lst", "val.lst", "labels.txt"):
        assert (tmp_path / name).read_bytes() == (checkout / "lists" / name).read_bytes()


def test_images_are_added_by_giving_all_sources(place, mxml):
    make_lists()
    before = sides(place)
    write_picture(place / "images/new.jpg", 50)
    (place / "new.csv").write_text("image,red,dress\nnew.jpg,1,1\n1.jpg,1,0\n")
    done = mxml("new.csv")
    assert done.returncode == 1
    assert done.stderr == (
        "mxml: new.csv: lacks 29 of the images that the lists in lists have; give their sources as well to add to "
        "them, or --force leaves them out\n"
    )
    assert mxml("images/labels.csv", "new.csv").returncode == 0
    assert {name: side for name, side in sides(place).items() if name != "new.jpg"} == before


def test_a_seed_that_changes_nothing_is_said_to(place, mxml):
    make_lists()
    done = mxml("--seed", "7")
    assert done.stdout.splitlines()[-1] == "The lists are unchanged."
    assert done.stderr.startswith("note: --seed deals out only images that are in none of these lists yet")
    assert mxml().stderr == ""
