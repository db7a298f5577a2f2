"""The file of feature vectors: what it gives back, and what becomes of a run where it cannot be used."""

import contextlib
import os
import sqlite3
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from told import Told

from mxml.inference import feature_cache as cache_module
from mxml.inference.feature_cache import FeatureCache
from mxml.progress import SILENT

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


def changed_by(statements):
    def change(path):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executescript(statements)

    return change


@pytest.mark.parametrize(
    "damage",
    [
        damage_header,
        damage_pages,
        changed_by("DROP TABLE vectors; CREATE TABLE vectors (other TEXT)"),
        changed_by("DROP TABLE vectors; CREATE TABLE vectors (source BLOB, image BLOB, vector BLOB)"),
    ],
)
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
    assert note.endswith(f"; without {path}* the next run makes a new one")


# As docs/formats.md has it, and as the first version of mxml wrote it.
TABLE = "CREATE TABLE vectors (source BLOB, image BLOB, vector BLOB, PRIMARY KEY (source, image)) WITHOUT ROWID"


def make_table(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(TABLE)


def assert_refused(path, why):
    """Assert that a run gets and keeps nothing, and says why once."""
    progress = Told()
    with FeatureCache(path, progress) as cache:
        assert cache.get(b"s", [b"i"], SIZE) == {}
        cache.put(b"s", {b"i": np.zeros(SIZE, np.float32)})
        assert not cache.is_usable
    (note,) = progress.notes
    assert note.startswith(f"{path}: cannot be used ({why})")


def test_a_file_of_an_earlier_version_is_read(path):
    make_table(path)
    vector = np.arange(SIZE, dtype="<f4")
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO vectors VALUES (?, ?, ?)", (b"source", b"a", vector.tobytes()))

    assert_same(kept(path), {b"a": vector})


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"


@pytest.mark.parametrize(
    "schema",
    [
        f"CREATE VIEW vectors AS {ENDLESS} "
        "SELECT x'73' AS source, x'69' AS image, zeroblob(i * 0 + 7) AS vector FROM n",
        f"{TABLE}; CREATE TABLE filled (x); CREATE TRIGGER fill AFTER INSERT ON vectors BEGIN "
        "INSERT INTO filled VALUES (zeroblob(100000)); END",
        f"{TABLE}; CREATE TRIGGER empty AFTER INSERT ON vectors BEGIN DELETE FROM vectors; END",
        f"{TABLE}; CREATE INDEX more ON vectors (vector)",
        f"{TABLE}; CREATE VIEW other AS SELECT 1",
    ],
)
def test_a_file_that_holds_more_than_the_table_is_left_as_it_is(path, schema):
    changed_by(schema)(path)
    before = Path(path).read_bytes()

    assert_refused(path, "holds other tables than mxml's")
    assert Path(path).read_bytes() == before


PAGE = 4096


def index_page(record, child):
    """Return a page of a table without row ids: as many of one short record as fit, each beside the page ``child``.

    Without a child it is a leaf.
    """
    link = b"" if child is None else struct.pack(">I", child)
    cell = link + bytes([len(record)]) + record
    count = 100
    head = struct.pack(">BHHHB", 10 if child is None else 2, 0, count, PAGE - count * len(cell), 0) + link
    head += b"".join(struct.pack(">H", PAGE - (number + 1) * len(cell)) for number in range(count))
    return head.ljust(PAGE - count * len(cell), b"\0") + cell * count


def write_pages(path, pages):
    """Put pages in the place of the table's own, which is the second of the file."""
    with open(path, "r+b") as file:
        file.seek(PAGE)
        file.write(b"".join(pages))
        count = file.tell() // PAGE
        file.seek(28)
        file.write(struct.pack(">I", count))


@pytest.mark.parametrize("vector", [b"", bytes(4 * SIZE)], ids=["other size", "right size"])
def test_pages_that_lead_through_the_same_rows_without_an_end_are_given_up(path, vector, monkeypatch):
    monkeypatch.setattr(cache_module, "_ANSWER_SECONDS", 0.2)
    make_table(path)
    record = bytes([4, 14, 14, 12 + 2 * len(vector)]) + b"si" + vector
    depth = 12
    write_pages(path, [*(index_page(record, 3 + level) for level in range(depth)), index_page(record, None)])

    progress = Told()
    with FeatureCache(path, progress) as cache:
        # Of one image alone SQLite knows that it has one row.
        cache.get(b"s", [b"i", b"j"], SIZE)
        assert not cache.is_usable
    (note,) = progress.notes
    assert note.startswith(f"{path}: cannot be used (reading it takes over 0.2 seconds)")


def test_a_row_that_says_it_has_two_gigabytes_costs_only_time(path):
    make_table(path)
    # The first bytes are on the page, the others on a page that goes on in itself.
    start = bytes([4, 14, 14, 12]) + b"si"
    cell = bytes([0x87, 0xFF, 0xFF, 0xFE, 0x00]) + start.ljust(513, b"\0") + struct.pack(">I", 3)
    head = struct.pack(">BHHHBH", 10, 0, 1, PAGE - len(cell), 0, PAGE - len(cell))
    write_pages(path, [head.ljust(PAGE - len(cell), b"\0") + cell, struct.pack(">I", 3).ljust(PAGE, b"\0")])
    pages = 0x80001
    with open(path, "r+b") as file:
        file.truncate(pages * PAGE)
        file.seek(28)
        file.write(struct.pack(">I", pages))

    assert_refused(path, "not enough memory")


def journal_that_names(victim, path):
    """Return a hot journal with nothing to roll back, of a transaction that other databases were part of."""
    magic = bytes.fromhex("d9d505f920a163d7")
    name = str(victim).encode()
    head = magic + struct.pack(">IIIII", 0, 1, os.path.getsize(path) // PAGE, 512, PAGE)
    record = struct.pack(">I", 0x40000000 // PAGE + 1) + name + struct.pack(">II", len(name), sum(name)) + magic
    return head.ljust(512, b"\0") + record


def test_a_journal_that_names_a_file_removes_nothing(path, tmp_path):
    make_table(path)
    victim = tmp_path / "thesis.txt"
    victim.write_text("work\n")
    journal = journal_that_names(victim, path)
    Path(f"{path}-journal").write_bytes(journal)

    assert_refused(path, "features.sqlite-journal names another file")
    assert victim.read_text() == "work\n"

    # SQLite alone would remove it; else this test shows nothing.
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("SELECT * FROM vectors").fetchall()
    assert not victim.exists()


@pytest.mark.parametrize("end", ["-wal", "-shm"])
@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_files_of_another_mode_of_sqlite_are_not_followed(path, tmp_path, end, kind):
    make_table(path)
    if kind == "file":
        Path(path + end).write_bytes(bytes(100))
    else:
        os.symlink(tmp_path / "made", path + end)

    assert_refused(path, f"features.sqlite{end} is not mxml's")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("end", ["", "-journal"])
@pytest.mark.parametrize("content", [None, b""])
def test_a_link_is_not_followed(path, tmp_path, end, content):
    target = tmp_path / "target"
    if content is not None:
        target.write_bytes(content)
    if end:
        make_table(path)
    os.symlink(target, path + end)

    assert_refused(path, f"features.sqlite{end} is a link, or no file")
    assert (target.read_bytes() if target.exists() else None) == content


@pytest.mark.parametrize("end", ["", "-journal"])
def test_a_pipe_is_not_waited_for(path, end):
    if end:
        make_table(path)
    os.mkfifo(path + end)

    assert_refused(path, f"features.sqlite{end} is a link, or no file")


def test_a_folder_that_does_not_exist_is_said(tmp_path):
    progress = Told()
    with FeatureCache(str(tmp_path / "nowhere" / "features.sqlite"), progress) as cache:
        assert cache.get(b"source", [b"a"], SIZE) == {}
        cache.put(b"source", vectors("a"))

    (note,) = progress.notes
    assert note.endswith("; feature vectors are computed and not kept")


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

    held = "another process has held it for 0.05 seconds; feature vectors are computed and not kept"
    assert progress.notes == [f"{path}: {held}; a later run can use it again"]
    assert_same(kept(path), vectors("a"))


WRITER = """
import os, sys
import numpy as np
from mxml.progress import SILENT
from mxml.inference.feature_cache import FeatureCache

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
    assert os.path.getsize(f"{path}-journal") > 0
    found = kept(path, names=["a0", "a1", "a2", "a3", *(f"lost{number}" for number in range(3000))])
    assert {name: vector.tolist() for name, vector in found.items()} == {
        f"a{number}".encode(): [number] * 5 for number in range(3)
    }


def test_two_processes_write_at_the_same_time(path):
    names = "xy"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, name, "40", "whole"]) for name in names]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]

    assert len(kept(path, names=[f"{name}{number}" for name in names for number in range(40)])) == 80
