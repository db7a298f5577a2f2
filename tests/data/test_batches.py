from __future__ import annotations

import gc
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxml.data.batches import Batches, mx
from mxml.data.image_list import ImageList
from mxml.data.image_sources import ImageFiles
from mxml.data.row_loader import TransformLoader
from mxml.errors import ImageError, MxmlError, SettingError, TrainingError
from mxml.images.decode import Limits, load
from mxml.images.network_input import prepare
from mxml.images.transforms import Augment, Preprocess
from mxml.runtime.imports import load_cv2
from mxml.runtime.types import NDArray

cv2 = load_cv2()
COUNT, SIDE = 23, 24
SMALL = Preprocess((SIDE, SIDE), SIDE)
VARIED = Augment(rand_crop=True, rand_mirror=True, brightness=0.2, contrast=0.2, saturation=0.2)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> ImageList:
    """23 small JPEGs with three labels each; the labels of image i are its last three bits."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    names = []
    for i in range(COUNT):
        picture = cv2.resize(random.integers(0, 256, (4, 6, 3)).astype(np.uint8), (30 + i, 40))
        names.append(f"{i}.jpg")
        cv2.imwrite(str(folder / names[-1]), picture)
    labels = np.array([[i & 1, i >> 1 & 1, i >> 2 & 1] for i in range(COUNT)])
    return ImageList.from_rows(names, labels, str(folder))


def with_bad(images: ImageList, *bad: int) -> ImageList:
    names = [f"missing-{i}.jpg" if i in bad else name for i, name in enumerate(images.names())]
    return ImageList.from_rows(names, images.labels, images.root)


def batches_of(images: ImageList, batch_size: int, **settings) -> Batches:
    return Batches(ImageFiles(images), SMALL, batch_size, labels=images.labels, **settings)


def contents(batches: Batches) -> list[tuple[np.ndarray, np.ndarray, int, list[int]]]:
    return [(b.data[0].asnumpy(), b.label[0].asnumpy(), b.pad, b.index.tolist()) for b in batches]


def same(ones, others) -> bool:
    return len(ones) == len(others) and all(
        np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1]) and a[2:] == b[2:] for a, b in zip(ones, others)
    )


def test_every_image_comes_once_with_its_label(images):
    with batches_of(images, 4, bad_images="error") as batches:
        got = contents(batches)
    assert [pad for *_, pad, _ in got] == [0, 0, 0, 0, 0, 1]
    assert [i for *_, index in got for i in index] == [*range(COUNT), 0]
    for data, labels, pad, index in got:
        assert data.dtype == labels.dtype == np.float32
        shown = len(index) - pad
        assert np.array_equal(labels[:shown], images.labels[index[:shown]]) and (labels[shown:] == -1).all()
        for row, position in enumerate(index):
            assert np.array_equal(data[row], prepare(load(images.path(position)), SMALL))


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 3), st.integers(0, 7), st.sampled_from(["pad", "discard", "roll_over"]), st.integers(1, 9))
def test_threads_and_prefetch_change_nothing(images, threads, prefetch, last_batch, batch_size):
    def run(threads, prefetch):
        arguments = {"augment": VARIED, "shuffle": True, "seed": 3, "last_batch": last_batch}
        with batches_of(images, batch_size, threads=threads, prefetch=prefetch, **arguments) as batches:
            epochs = []
            for _ in range(3):
                epochs.append(contents(batches))
                assert len(epochs[-1]) == batches.num_batches
                batches.reset()
            return epochs

    expected, got = run(1, 0), run(threads, prefetch)
    assert all(same(ones, others) for ones, others in zip(got, expected))
    assert not same(expected[0], expected[1])


def test_rolled_over_images_open_the_next_epoch_with_their_labels(images):
    with batches_of(images, 5, last_batch="roll_over", bad_images="error") as batches:
        epochs = []
        for _ in range(3):
            epochs.append(contents(batches))
            batches.reset()
        assert [len(epoch) for epoch in epochs] == [4, 5, 4] and all(pad == 0 for e in epochs for *_, pad, _ in e)
        data, labels, _, index = epochs[1][0]
        assert index == [20, 21, 22, 0, 1] and np.array_equal(labels, images.labels[index])
        assert np.array_equal(data[0], prepare(load(images.path(20)), SMALL))
        batches.set_epoch(1, 3)
        assert same(contents(batches), epochs[1][3:])
        assert np.bincount([i for e in epochs for *_, index in e for i in index], minlength=COUNT).min() >= 2


def test_without_labels_there_are_none(images):
    with Batches(ImageFiles(images), SMALL, 4) as batches:
        assert batches.provide_label == [] and batches.next().label == []


def test_what_cannot_make_batches_is_refused(images):
    with pytest.raises(ValueError, match=r"labels have the shape \(3, 2\), should be \(23, number of labels\)"):
        Batches(ImageFiles(images), SMALL, 4, labels=np.zeros((3, 2)))
    with pytest.raises(MxmlError, match="there are no images"):
        Batches(ImageFiles(ImageList.from_rows([], np.zeros((0, 2)))), SMALL, 4)
    for setting, value in (
        ("last_batch", "wrap"),
        ("threads", 0),
        ("prefetch", -1),
        ("bad_images", "ignore"),
        ("max_bad_share", 1.5),
        ("cache_bytes", -1),
    ):
        with pytest.raises(SettingError, match=f"`{setting}` {value}: should be"):
            batches_of(images, 4, **{setting: value})
    for last_batch in ("discard", "roll_over"):
        with pytest.raises(MxmlError, match="23 images make no full batch of 24"):
            batches_of(images, 24, last_batch=last_batch)


def test_seed_and_epoch_and_position_decide(images):
    def rows(seed, epoch, order=None, batch_size=4):
        listed = images if order is None else images.select(order)
        with batches_of(
            listed,
            batch_size,
            augment=VARIED,
            seed=seed,
            shuffle=order is None,
        ) as batches:
            batches.set_epoch(epoch)
            return {i: row for data, _, _, index in contents(batches) for i, row in zip(index, data)}

    base = rows(1, 5)
    again = rows(1, 5, batch_size=7)
    assert all(np.array_equal(base[i], again[i]) for i in range(COUNT))
    for seed, epoch in ((1, 6), (2, 5)):
        other = rows(seed, epoch)
        assert sum(not np.array_equal(base[i], other[i]) for i in range(COUNT)) > COUNT * 0.9


def test_any_place_can_be_gone_to(images):
    with batches_of(images, 4, augment=VARIED, shuffle=True) as batches:
        epochs = []
        for _ in range(3):
            epochs.append(contents(batches))
            batches.reset()
    with batches_of(images, 4, augment=VARIED, shuffle=True) as batches:
        batches.next()
        batches.set_epoch(1, 2)
        assert same(contents(batches), epochs[1][2:])
        batches.set_epoch(0, batches.num_batches)
        assert contents(batches) == []
        batches.reset()
        batches.next()
        batches.reset()
        assert batches.epoch == 2 and same(contents(batches), epochs[2])
        with pytest.raises(ValueError, match="6 batches"):
            batches.set_epoch(0, 7)


def test_batches_never_change_afterwards(images):
    with batches_of(images, 4, shuffle=True) as batches:
        kept: list[NDArray] = []
        copies: list[np.ndarray] = []
        for _ in range(3):
            for batch in batches:
                part = batch.data[0][1:3]
                kept.append(part if len(kept) % 2 else batch.data[0])
                copies.append(kept[-1].asnumpy())
                del batch, part
            batches.reset()
    gc.collect()
    assert all(np.array_equal(array.asnumpy(), copy) for array, copy in zip(kept, copies))


def test_memory_is_used_again(images):
    with batches_of(images, 4, prefetch=1) as batches:
        places = set()
        for _ in range(5):
            for batch in batches:
                places |= {job.data.ctypes.data for _, job in batches._jobs}
                del batch
                mx.nd.waitall()
            batches.reset()
        assert len(places) <= 3


def test_padding_is_reported_and_unlabelled(images):
    with batches_of(images, 10) as batches:
        data, labels, pad, index = contents(batches)[-1]
        assert pad == 7 and index == [20, 21, 22, 0, 1, 2, 3, 4, 5, 6]
        assert (labels[3:] == -1).all() and np.array_equal(labels[:3], images.labels[20:])
        assert np.array_equal(data[3], prepare(load(images.path(0)), SMALL))
    with batches_of(images, 10, last_batch="discard") as batches:
        assert [pad for *_, pad, _ in contents(batches)] == [0, 0]
    three = images.select([4, 5, 6])
    with batches_of(three, 8, bad_images="error") as batches:
        [(data, labels, pad, index)] = contents(batches)
        assert pad == 5 and index == [0, 1, 2, 0, 1, 2, 0, 1]
        assert np.array_equal(data[3:6], data[:3]) and np.array_equal(data[6:], data[:2])


def test_shards_cover_all_images_in_equal_batches(images):
    for num_parts in (2, 3, 5):
        seen, counts = [], set()
        for part in range(num_parts):
            with batches_of(images, 2, shuffle=True, part_index=part, num_parts=num_parts) as batches:
                got = contents(batches)
            counts.add(len(got))
            for _, labels, pad, index in got:
                seen += index[: len(index) - pad]
                assert (labels[len(index) - pad :] == -1).all()
        assert sorted(seen) == list(range(COUNT)) and len(counts) == 1
    pair = images.select([0, 1])
    with batches_of(pair, 2, part_index=0, num_parts=3) as batches:
        [(_, labels, pad, index)] = contents(batches)
        assert pad == 2 and index == [0, 0] and (labels == -1).all()


def test_bad_images_are_skipped_while_training(images):
    with batches_of(with_bad(images, 1, 3), 4, max_bad_share=0.1) as batches:
        data, labels, pad, index = contents(batches)[0]
        assert pad == 0 and index == [0, 1, 2, 3]
        assert (labels[[1, 3]] == -1).all() and np.array_equal(labels[[0, 2]], images.labels[[0, 2]])
        assert np.array_equal(data[1], data[2]) and np.array_equal(data[3], data[0])
        assert [(bad.position, bad.reason) for bad in batches.bad] == [(1, "no such file"), (3, "no such file")]
        assert batches.bad[0].path == f"{images.root}/missing-1.jpg"
        batches.reset()
        contents(batches)
        assert len(batches.bad) == 2


def test_too_many_bad_images_stop_the_run(images):
    with batches_of(
        with_bad(images, 0, 5, 6, 9, 10),
        4,
        max_bad_share=0.1,
    ) as batches:
        assert batches.next().index.tolist() == [0, 1, 2, 3]
        with pytest.raises(TrainingError, match=r"3 of 23 images cannot be read, more than the 0\.1 .*missing-5\.jpg"):
            batches.next()
    with (
        batches_of(with_bad(images, 0, 1), 2, max_bad_share=1) as batches,
    ):
        data, labels, *_ = contents(batches)[0]
        assert (data == 0).all() and (labels == -1).all()


def test_bad_images_are_errors_or_gaps_when_judging(images):
    listed = with_bad(images, 2, 6)
    with batches_of(listed, 4, bad_images="error") as batches:
        with pytest.raises(ImageError, match=r"missing-2\.jpg: no such file"):
            batches.next()
        with pytest.raises(ImageError, match=r"missing-6\.jpg"):
            batches.next()
        assert batches.next().index.tolist() == [8, 9, 10, 11]
    with batches_of(listed, 4, bad_images="report", max_bad_share=0) as batches:
        got = contents(batches)
        assert [bad.position for bad in batches.bad] == [2, 6]
        assert (got[0][0][2] == 0).all() and (got[0][1][2] == -1).all()
        assert np.array_equal(got[0][1][3], images.labels[3])


def test_limits_reach_the_decoder(images):
    with (
        batches_of(images, 4, bad_images="error", limits=Limits(max_pixels=1000)) as batches,
        pytest.raises(ImageError, match="more than the 1,000 pixels allowed"),
    ):
        batches.next()


@pytest.mark.parametrize("augment", [VARIED, Augment(rand_resized_crop=0.1, rand_mirror=True)])
def test_cache_changes_nothing_but_the_reading(images, tmp_path, augment):
    large = []
    for i in range(4):
        picture = cv2.resize(cv2.imread(images.path(i)), (100 + 40 * i, 120))
        cv2.imwrite(str(tmp_path / f"{i}.jpg"), picture)
        large.append(f"{i}.jpg")
    listed = ImageList.from_rows(large, images.labels[:4], str(tmp_path))

    def run(cache_bytes):
        got = []
        with batches_of(listed, 2, augment=augment, cache_bytes=cache_bytes) as batches:
            for _ in range(4):
                got += contents(batches)
                batches.reset()
            assert isinstance(batches._loader, TransformLoader)
            return got, batches._loader._cache._left

    expected, _ = run(0)
    for budget in (10_000, 1 << 20):
        got, left = run(budget)
        assert same(got, expected) and 0 <= left < budget


def test_cached_images_are_not_read_again(images, tmp_path):
    for i in range(4):
        shutil.copy(images.path(i), tmp_path / f"{i}.jpg")
    listed = ImageList.from_rows([f"{i}.jpg" for i in range(4)], images.labels[:4], str(tmp_path))
    with batches_of(listed, 4, cache_bytes=1 << 20, bad_images="error") as batches:
        first = contents(batches)
        for i in range(4):
            (tmp_path / f"{i}.jpg").unlink()
        batches.reset()
        assert same(contents(batches), first)


def decoders() -> int:
    return sum(thread.name.startswith("mxml-decode") for thread in threading.enumerate())


def test_threads_end(images):
    before = decoders()
    batches = batches_of(images, 4, threads=2)
    for _ in range(5):
        batches.next()
        batches.reset()
    assert decoders() == before + 2
    batches.close()
    batches.close()
    assert decoders() == before
    with pytest.raises(ValueError, match="closed"):
        batches.next()
    forgotten = batches_of(images, 4, threads=2)
    forgotten.next()
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("mxml-decode")]
    del forgotten
    gc.collect()
    for thread in threads:
        thread.join(10)
    assert decoders() == before


def test_a_programming_error_in_a_thread_is_raised(images, monkeypatch):
    with batches_of(images, 4) as batches:
        monkeypatch.setattr(batches._loader, "_limits", None)
        with pytest.raises(AttributeError):
            batches.next()


def test_a_process_may_end_while_batches_live(images, checkout):
    code = f"""
import gc
from mxml.data.batches import Batches, mx
from mxml.data.image_list import ImageList
from mxml.data.image_sources import ImageFiles
from mxml.images.transforms import Preprocess
images = ImageList.from_rows({images.names()!r}, {images.labels.tolist()!r}, {images.root!r})
batches = Batches(ImageFiles(images), Preprocess(({SIDE}, {SIDE}), {SIDE}), 4, labels=images.labels)
kept = [batch for batch in batches]
loop = [kept]
loop.append(loop)
pending = kept[0].data[0]
for _ in range(200):
    pending = pending * 1.0
batches.reset()
batches.next()
print("done")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_a_module_trains_on_it(images):
    data = mx.sym.FullyConnected(mx.sym.flatten(mx.sym.var("data")), num_hidden=3)
    symbol = mx.sym.LogisticRegressionOutput(data, mx.sym.var("softmax_label"))
    with batches_of(images, 5, shuffle=True, last_batch="discard") as batches:
        module = mx.mod.Module(symbol)
        module.fit(batches, num_epoch=2, eval_metric="mse", optimizer_params={"learning_rate": 1e-4})
        assert batches.epoch == 2
    with batches_of(images, 5, bad_images="error") as batches:
        assert module.predict(batches).shape == (COUNT, 3)
