"""Images that were changed while a run was stopped: the resume says how many, names the first, and goes on."""

from __future__ import annotations

import json
import os
import shutil
import time

import numpy as np
import pytest
import tiny
from told import Told

from mxml.model import checkpoint
from mxml.model.sidecar import UsedList
from mxml.progress import SILENT
from mxml.training import fit as train
from mxml.training.changed_images import compare, note_changes
from mxml.training.run_data import open_data


def change(path):
    """Change what a file ends in, and not its size."""
    content = path.read_bytes()
    # Behind the end of the PNG: it can still be read.
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 0xFF]))


@pytest.fixture
def folder(folder):
    for path in (folder / "images").iterdir():
        path.write_bytes(path.read_bytes() + b"tail")
    return folder


def recorded(folder):
    return json.loads((folder / "run.json").read_text())["data"]


def about_changes(folder, changes=None):
    told = Told()
    result = train.resume(str(folder / "run"), changes, told)
    assert result.finished
    return told.about("images have changed") + told.about("may show something else")


def test_images_of_the_same_size_that_have_changed_are_counted_and_the_first_is_named(folder):
    train.fit(tiny.config(folder, num_epoch=1), SILENT)
    assert about_changes(folder) == []
    for name in ("1-31.png", "1-7.png", "1-8.png", "2-3.png"):
        change(folder / "images" / name)
    of_train, of_val = about_changes(folder, {"num_epoch": 2})
    begin = f"its images have changed since the run at {folder / 'run'} began"
    end = "it goes on with them, not exactly as it would have"
    first = folder / "images" / "1-7.png"
    assert of_train == f"{folder / 'lists' / 'train.lst'}: {begin} (3 of 40 images, the first is {first}): {end}"
    first = folder / "images" / "2-3.png"
    assert of_val == f"{folder / 'lists' / 'val.lst'}: {begin} (1 of 12 images, the first is {first}): {end}"
    # From now on these are the run's images.
    assert about_changes(folder, {"num_epoch": 3}) == []


def test_a_resume_with_nothing_left_to_do_keeps_what_is_recorded_of_the_images(folder):
    train.fit(tiny.config(folder, num_epoch=1), SILENT)
    before = recorded(folder)
    change(folder / "images" / "2-3.png")
    [note] = about_changes(folder)
    assert recorded(folder) == before
    # The run still has not seen them.
    assert about_changes(folder, {"num_epoch": 2}) == [note]
    assert about_changes(folder, {"num_epoch": 3}) == []


def test_a_change_under_the_old_time_is_found_and_a_copy_or_a_touch_is_none(folder):
    train.fit(tiny.config(folder, num_epoch=1), SILENT)
    (folder / "images").rename(folder / "before")
    shutil.copytree(folder / "before", folder / "images")
    os.utime(folder / "images" / "1-4.png")
    assert about_changes(folder, {"num_epoch": 2}) == []
    image = folder / "images" / "1-5.png"
    status = image.stat()
    change(image)
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    [note] = about_changes(folder, {"num_epoch": 3})
    assert f"(1 of 40 images, the first is {image})" in note


def test_a_folder_that_was_exchanged_for_an_older_one_is_found(folder):
    shutil.copytree(folder / "images", folder / "older")
    for path in (folder / "older").glob("1-*.png"):
        change(path)
    # The images that the run reads are newer than those that it will find.
    shutil.copytree(folder / "images", folder / "newer")
    shutil.rmtree(folder / "images")
    (folder / "newer").rename(folder / "images")
    train.fit(tiny.config(folder, num_epoch=1), SILENT)
    older = {"image_train": str(folder / "older"), "image_val": str(folder / "older"), "num_epoch": 2}
    [note] = about_changes(folder, older)
    assert f"(40 of 40 images, the first is {folder / 'older' / '1-0.png'})" in note


def test_a_sidecar_without_sums_gets_them_and_a_wrong_one_is_refused(folder):
    train.fit(tiny.config(folder, num_epoch=1), SILENT)
    path = folder / "run.json"
    sidecar = json.loads(path.read_text())
    for used in sidecar["data"].values():
        del used["image_sums"], used["images_changed_at"]
    path.write_text(json.dumps(sidecar))
    change(folder / "images" / "1-7.png")
    assert about_changes(folder, {"num_epoch": 2}) == []
    assert len(json.loads(path.read_text())["data"]["train"]["image_sums"]) == 40 * 8
    for wrong in ("0123456", "0123456X", "0" * (8 * 8192 + 8)):
        sidecar["data"]["train"]["image_sums"] = wrong
        path.write_text(json.dumps(sidecar))
        with pytest.raises(checkpoint.CheckpointError, match="image_sums"):
            checkpoint.read_sidecar(str(folder / "run"))


def test_a_link_that_is_pointed_at_an_older_file_counts_as_changed(folder):
    link, older = folder / "images" / "1-0.png", folder / "older.png"
    shutil.copy(link, older)
    link.rename(folder / "real.png")
    link.symlink_to(folder / "real.png")
    before = open_data(tiny.config(folder), SILENT).changed_at["train"].max()
    # The file system's clock may be a coarse one.
    while link.lstat().st_ctime_ns <= before:
        link.unlink()
        link.symlink_to(older)
    after = open_data(tiny.config(folder), SILENT).changed_at["train"]
    assert after[0] > before and after[1:].max() <= before


class Contents:
    """Images in memory, as a source that counts what is read of it."""

    def __init__(self, count):
        self.contents = [b"%d" % position for position in range(count)]
        self.read_positions = []

    def __len__(self):
        return len(self.contents)

    def name(self, position):
        return f"image {position}"

    def read(self, position, limits):
        self.read_positions.append(position)
        return self.contents[position]


def test_of_a_large_list_little_is_read_and_what_is_not_known_is_said_so():
    count = 50_000
    source, changed_at = Contents(count), np.arange(count) + 10**18
    used = UsedList("train.lst", ".", count, "0" * 64, count * 30_000)
    known, found = compare(None, used, source, changed_at, SILENT)
    assert len(source.read_positions) == 1024 and (found.changed, found.unknown) == ((), ())
    before = UsedList(*("train.lst", ".", count, "0" * 64, count * 30_000), None, known.sums.hex(), known.changed_at)
    assert known.changed_at == 10**18 + count - 1

    sampled = sorted(source.read_positions)[2]
    other = next(position for position in range(count) if position not in source.read_positions)
    source.read_positions.clear()
    changed_at[[sampled, other]] = 11 * 10**17
    source.contents[sampled] = b"another"
    now, found = compare(before, used, source, changed_at, SILENT)
    assert (found.changed, found.unknown, found.compared) == ((sampled,), (other,), 1024)
    assert len(source.read_positions) == 65 and now.changed_at == 11 * 10**17
    told = Told()
    note_changes(before, used, found, source, "P", told)
    assert told.notes == [
        "train.lst: its images have changed since the run at P began (1 of 1,024 images whose content is recorded, "
        f"the first is image {sampled}): it goes on with them, not exactly as it would have",
        f"train.lst: the file of 1 other image was written or moved since the run at P began, such as image {other}, "
        "and may show something else",
    ]

    # All of them were moved, and show the same.
    source.contents[sampled] = b"%d" % sampled
    now, found = compare(before, used, source, np.full(count, 12 * 10**17), SILENT)
    assert (now.sums, found.changed, len(found.unknown)) == (known.sums, (), count - 1024)
    told = Told()
    note_changes(before, used, found, source, "P", told)
    [note] = told.notes
    assert note.startswith("train.lst: the files of 48,976 images were written or moved since")
    assert note.endswith("and may show something else; the 1,024 whose content is recorded are the same")


def test_large_images_are_read_up_to_a_number_of_bytes():
    count = 500
    source = Contents(count)
    used = UsedList("train.lst", ".", count, "0" * 64, count * (1 << 20))
    known, _ = compare(None, used, source, np.zeros(count, np.int64), SILENT)
    assert len(source.read_positions) == 128 and len(known.sums) == 4 * 128


def test_a_file_from_the_future_hides_no_later_change():
    count = 5_000
    source, changed_at = Contents(count), np.full(count, 10**18)
    changed_at[7] = 4 * 10**18
    known, _ = compare(None, UsedList("train.lst", ".", count, "0" * 64, count), source, changed_at, SILENT)
    before = UsedList(*("train.lst", ".", count, "0" * 64, count), None, known.sums.hex(), known.changed_at)
    changed_at[source.read_positions[-100:]] = time.time_ns()
    for position in source.read_positions[-100:]:
        source.contents[position] = b"another"
    _, found = compare(before, before, source, changed_at, SILENT)
    assert len(found.changed) == 100
