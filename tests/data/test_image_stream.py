"""Streams of images: in order, as Batches gives them, read no further than needed, and no thread left behind."""

from __future__ import annotations

import gc
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxml.data.batches import Batches
from mxml.data.image_list import ImageList
from mxml.data.image_sources import ImageFiles
from mxml.data.image_stream import StreamItem, stream_batches
from mxml.errors import ImageError, SettingError
from mxml.images.decode import Limits, load
from mxml.images.network_input import prepare
from mxml.images.transforms import Preprocess
from mxml.runtime.imports import load_cv2

cv2 = load_cv2()
SIDE = 16
SMALL = Preprocess((SIDE, SIDE), SIDE)


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> list[str]:
    """Nine images of several sizes and formats; of the larger ones the decoder makes reduced ones."""
    folder = tmp_path_factory.mktemp("stream")
    random = np.random.default_rng(1)
    made = []
    for i in range(9):
        picture = cv2.resize(random.integers(0, 256, (5, 7, 3)).astype(np.uint8), (20 + 12 * i, 90))
        made.append(str(folder / f"{i}.{'png' if i % 3 == 2 else 'jpg'}"))
        cv2.imwrite(made[-1], picture)
    return made


def decoders() -> int:
    return sum(thread.name.startswith("mxml-decode") for thread in threading.enumerate())


def collected(items, batch_size=4, **arguments):
    """Return all rows, faults and pixels of a stream, copied."""
    rows: list[np.ndarray] = []
    faults: list[ImageError | None] = []
    pixels: list[np.ndarray | None] = []
    names: list[str] = []
    for batch in stream_batches(items, SMALL, batch_size, **arguments):
        assert batch.data.shape == (len(batch.items), 3, SIDE, SIDE) and batch.data.dtype == np.float32
        rows += list(batch.data.copy())
        faults += batch.faults
        pixels += batch.pixels
        names += [item.name for item in batch.items]
    return rows, faults, pixels, names


@settings(max_examples=25, deadline=None)
@given(
    order=st.lists(st.integers(0, 8), max_size=20),
    batch_size=st.integers(1, 7),
    threads=st.integers(1, 3),
    prefetch=st.integers(0, 3),
)
def test_a_stream_is_what_batches_of_the_same_images_are(paths, order, batch_size, threads, prefetch):
    chosen = [paths[i] for i in order]
    contents = [Path(path).read_bytes() if number % 2 else None for number, path in enumerate(chosen)]
    items = (StreamItem(path, content) for path, content in zip(chosen, contents))
    rows, faults, pixels, names = collected(items, batch_size, threads=threads, prefetch=prefetch)
    assert names == chosen and faults == pixels == [None] * len(chosen)
    if not chosen:
        return
    with Batches(ImageFiles(ImageList.from_rows(chosen, np.zeros((len(chosen), 1)))), SMALL, 3) as batches:
        wanted = [row for batch in batches for row in batch.data[0].asnumpy()[: 3 - batch.pad]]
    assert np.array_equal(rows, wanted)


class InMemory:
    """A source of one's own, as ImageSource describes it: the content of files, or pixels."""

    def __init__(self, contents):
        self.contents = contents

    def __len__(self):
        return len(self.contents)

    def name(self, position):
        return f"image {position}"

    def read(self, position, limits):
        return self.contents[position]


def test_arrays_are_rgb_images(paths):
    arrays = [load(path) for path in paths]
    rows, faults, _, _ = collected([StreamItem(str(i), array) for i, array in enumerate(arrays)])
    assert not any(faults)
    for row, array in zip(rows, arrays):
        assert np.array_equal(row, prepare(array, SMALL))
    with Batches(InMemory([*arrays, Path(paths[0]).read_bytes()]), SMALL, 10, bad_images="error") as batches:
        batch = batches.next()
        assert np.array_equal(batch.data[0].asnumpy()[:9], rows)
        assert batch.label == [] and batches.provide_label == []


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((8, 9), np.uint8), "8 x 9 uint8"),
        (np.zeros((8, 9, 4), np.uint8), "8 x 9 x 4 uint8"),
        (np.zeros((8, 9, 3), np.float32), "8 x 9 x 3 float32"),
        (np.zeros((0, 9, 3), np.uint8), "0 x 9 x 3 uint8"),
        (np.zeros((), np.uint8), "one number uint8"),
    ],
)
def test_an_array_that_is_no_image_is_named(array, said):
    good = np.full((20, 20, 3), 255, np.uint8)
    rows, faults, _, _ = collected([StreamItem("good", good), StreamItem("odd", array)])
    assert (
        faults[0] is None and str(faults[1]) == f"odd: is an array of {said}, should be (height, width, 3) uint8, RGB"
    )
    assert rows[0].any() and not rows[1].any()


def test_limits_hold_for_arrays_and_files(paths):
    items = [StreamItem(paths[0]), StreamItem("array", np.zeros((90, 20, 3), np.uint8))]
    _, faults, _, _ = collected(items, limits=Limits(max_pixels=1000))
    assert [(fault.kind, fault.path) for fault in faults] == [("too_large", paths[0]), ("too_large", "array")]


def test_bad_images_leave_zeros_and_their_reason(paths):
    items = [StreamItem(paths[0]), StreamItem("/nowhere/x.jpg"), StreamItem("bytes", b"none"), StreamItem(paths[1])]
    # The buffers have held other images before.
    rows, faults, _, _ = collected(items * 8, 4)
    for first in range(0, 32, 4):
        assert [fault is None for fault in faults[first : first + 4]] == [True, False, False, True]
        assert rows[first].any() and not rows[first + 1].any() and not rows[first + 2].any()
    assert str(faults[1]) == "/nowhere/x.jpg: no such file" and faults[2].path == "bytes"
    assert faults[1].__traceback__ is None and faults[1].__context__ is None


def test_kept_pixels_are_the_whole_image_and_what_the_network_saw(paths):
    rows, _, pixels, _ = collected([StreamItem(path) for path in paths], keep_pixels=True)
    for path, row, kept in zip(paths, rows, pixels):
        assert np.array_equal(kept, load(path))
        assert np.array_equal(row, prepare(kept, SMALL))


VIEWS = (
    SMALL,
    Preprocess((13, 13), 13),
    Preprocess((20, 30), 40, fit="crop"),
    Preprocess((9, 31), None, fit="letterbox"),
)


def test_each_of_several_views_is_what_it_is_alone(paths):
    """Whatever decoders make of images for the other views, which may want them reduced less."""
    items = [StreamItem(path) for path in paths] + [StreamItem("pixels", load(paths[8])), StreamItem("none", b"none")]
    alone = []
    for view in VIEWS:
        alone.append(np.concatenate([batch.data.copy() for batch in stream_batches(items, view, 4)]))
    found: list[list[np.ndarray]] = [[] for _ in VIEWS]
    for batch in stream_batches(items, VIEWS[0], 4, more_views=VIEWS[1:]):
        assert np.array_equal(batch.data, batch.views[0]) and len(batch.views) == len(VIEWS)
        for rows, data in zip(found, batch.views):
            rows.append(data.copy())
    for rows, wanted in zip(found, alone):
        assert np.array_equal(np.concatenate(rows), wanted)
        assert not wanted[-1].any() and wanted[:-1].any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("prefetch", [0, 2])
def test_items_are_read_only_as_far_as_needed_by_the_calling_thread(paths, prefetch):
    read = []

    def items():
        for i in range(40):
            read.append(threading.current_thread())
            yield StreamItem(paths[i % len(paths)])

    batches = stream_batches(items(), SMALL, 4, prefetch=prefetch)
    assert not read
    for number in range(3):
        next(batches)
        assert len(read) == 4 * (number + 1 + prefetch)
    batches.close()
    assert set(read) == {threading.current_thread()}


@pytest.mark.parametrize(("keep_pixels", "more_views"), [(False, ()), (True, ()), (False, VIEWS[1:])])
def test_memory_stays_flat_over_many_images(keep_pixels, more_views):
    """Only the images of the batches in the making and of the last one are held, and few batches' memory is used."""
    made: list[weakref.ref] = []

    def items():
        for i in range(1200):
            pixels = np.full((20, 20, 3), i % 256, np.uint8)
            made.append(weakref.ref(pixels))
            yield StreamItem(str(i), pixels)

    places, held = set(), []
    for batch in stream_batches(items(), SMALL, 8, prefetch=2, keep_pixels=keep_pixels, more_views=more_views):
        places.add(batch.data.ctypes.data)
        held.append(sum(ref() is not None for ref in made))
    assert len(held) == 150 and len(places) <= 4
    assert max(held) <= (4 if not keep_pixels else 2) * 8 + 1


def test_no_thread_is_left_behind(paths):
    before = decoders()
    items = [StreamItem(path) for path in paths] * 5
    for _ in stream_batches(items, SMALL, 4, threads=2):
        assert decoders() == before + 2
    assert decoders() == before

    closed = stream_batches(items, SMALL, 4, threads=2)
    next(closed)
    closed.close()
    assert decoders() == before

    forgotten = stream_batches(items, SMALL, 4, threads=2)
    next(forgotten)
    del forgotten
    gc.collect()
    assert decoders() == before

    for error in (OSError, KeyboardInterrupt):

        def broken(error=error):
            yield from items[:17]
            raise error

        with pytest.raises(error):
            collected(broken())
        assert decoders() == before


def test_wrong_settings_are_named(paths):
    with pytest.raises(SettingError, match="`batch_size` 0"):
        next(stream_batches([], SMALL, 0))
    with pytest.raises(SettingError, match="`prefetch` -1"):
        next(stream_batches([], SMALL, 1, prefetch=-1))
    assert list(stream_batches([], SMALL, 4)) == []
