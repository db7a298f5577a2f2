"""The file of feature vectors: what it gives back, and what becomes of a run where it cannot be used."""

import sqlite3
import subprocess
import sys

import numpy as np
import pytest
from told import Told

from mxml.progress import SILENT
from mxml.training.features import cache as cache_module
from mxml.training.features.cache import FeatureCache

SIZE = 5


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "features.sqlite")


def vectors(*names):
    return {name.encode(): np.arange(SIZE, dtype=np.float32) + len(name) for name in names}


def kept(path, source=b"source", names=("a", "bb", "ccc"), size=SIZE):
    with FeatureCache(path, SILENT) as cache:
        return cache.get(source, [name.encode() for name in names], size)


def keep(path, values, source=b"source"):
    with FeatureCache(path, SILENT) as cache:
        cache.put(source, values)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, vector in expected.items():
        assert found[name].dtype == np.float32
        assert np.array_equal(found[name], vector)


def test_vectors_come_back_under_their_source_and_image(path):
    keep(path, vectors("a", "bb"))
    keep(path, vectors("ccc"), b"another")

    assert_same(kept(path), vectors("a", "bb"))
    assert_same(kept(path, b"another"), vectors("ccc"))
    assert kept(path, b"third") == {}


def test_more_images_than_one_question_can_name_are_found(path):
    names = [f"{number:05d}" for number in range(1203)]
    keep(path, {name.encode(): np.full(SIZE, number, np.float32) for number, name in enumerate(names)})

    found = kept(path, names=names)

    assert [int(found[name.encode()][0]) for name in names] == list(range(1203))


def test_the_file_is_made_by_the_first_question_not_before(path, tmp_path):
    with FeatureCache(path, SILENT):
        assert list(tmp_path.iterdir()) == []
    kept(path)
    assert (tmp_path / "features.sqlite").exists()


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_vector_that_is_not_finite_is_not_given(path, wrong):
    keep(path, {**vectors("a"), b"bb": np.array([1, 2, wrong, 4, 5])})

    assert_same(kept(path), vectors("a"))


@pytest.mark.parametrize("stored", [b"", b"1234", bytes(4 * SIZE + 4), "x" * 4 * SIZE, 7, None])
def test_a_row_that_is_no_whole_vector_is_not_given(path, stored):
    keep(path, vectors("a"))
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("INSERT INTO vectors VALUES (?, ?, ?)", (b"source", b"bb", stored))
    connection.close()

    assert_same(kept(path), vectors("a"))
    keep(path, vectors("bb"))
    assert_same(kept(path), vectors("a", "bb"))


def test_vectors_of_another_length_are_not_given(path):
    keep(path, vectors("a"))

    assert kept(path, size=SIZE + 1) == {}


def damage_header(path):
    with open(path, "r+b") as file:
        file.write(b"no database at all, and never was")


def damage_pages(path):
    with open(path, "r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 4000)


def replace_table(path):
    connection = sqlite3.connect(path)
    connection.executescript("DROP TABLE vectors; CREATE TABLE vectors (other TEXT)")
    connection.close()


@pytest.mark.parametrize("damage", [damage_header, damage_pages, replace_table])
def test_a_damaged_file_is_said_once_and_costs_only_time(path, damage):
    keep(path, vectors("a"))
    damage(path)

    progress = Told()
    with FeatureCache(path, progress) as cache:
        assert cache.get(b"source", [b"a"], SIZE) == {}
        cache.put(b"source", vectors("a"))
        assert cache.get(b"source", [b"a"], SIZE) == {}

    (note,) = progress.notes
    assert note.startswith(f"{path}: cannot be used (")


def test_a_folder_that_does_not_exist_is_said(tmp_path):
    progress = Told()
    with FeatureCache(str(tmp_path / "nowhere" / "features.sqlite"), progress) as cache:
        assert cache.get(b"source", [b"a"], SIZE) == {}
        cache.put(b"source", vectors("a"))

    assert len(progress.notes) == 1


def test_a_file_that_another_process_holds_costs_what_it_holds(path, monkeypatch):
    monkeypatch.setattr(cache_module, "_WAIT_SECONDS", 0.05)
    keep(path, vectors("a"))
    holder = sqlite3.connect(path)
    holder.execute("BEGIN IMMEDIATE")

    progress = Told()
    with FeatureCache(path, progress) as cache:
        assert_same(cache.get(b"source", [b"a"], SIZE), vectors("a"))
        cache.put(b"source", vectors("bb"))
    holder.rollback()
    holder.close()

    (note,) = progress.notes
    assert "locked" in note
    assert_same(kept(path), vectors("a"))


WRITER = """
import os, sys
import numpy as np
from mxml.progress import SILENT
from mxml.training.features.cache import FeatureCache

path, name, count, kill = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "kill"
with FeatureCache(path, SILENT) as cache:
    for number in range(count):
        key = f"{name}{number}".encode()
        if kill and number == count - 1:
            # In the middle of a transaction, with pages written to the file already.
            cache._open().execute("PRAGMA cache_size = 1")
            cache._open().execute("BEGIN")
            for extra in range(3000):
                row = (b"source", b"lost%d" % extra, np.zeros(5, "<f4").tobytes())
                cache._open().execute("INSERT INTO vectors VALUES (?, ?, ?)", row)
            os.kill(os.getpid(), 9)
        cache.put(b"source", {key: np.full(5, number, np.float32)})
"""


def test_what_a_killed_process_had_put_is_there_and_what_it_was_writing_is_not(path):
    done = subprocess.run([sys.executable, "-c", WRITER, path, "a", "4", "kill"], timeout=120)

    assert done.returncode == -9
    found = kept(path, names=["a0", "a1", "a2", "a3", *(f"lost{number}" for number in range(3000))])
    assert {name: vector.tolist() for name, vector in found.items()} == {
        f"a{number}".encode(): [number] * 5 for number in range(3)
    }


def test_two_processes_write_at_the_same_time(path):
    names = "xy"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, name, "40", "whole"]) for name in names]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]

    assert len(kept(path, names=[f"{name}{number}" for name in names for number in range(40)])) == 80
