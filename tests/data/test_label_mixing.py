"""MixUp and CutMix by hand, as properties, and in batches."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxml.data import label_mixing
from mxml.data.batches import Batches
from mxml.data.image_list import ImageList
from mxml.data.image_sources import ImageFiles
from mxml.data.label_mixing import Mixing, drawn_pairs, mix_pairs, mixed_labels, swap_rectangles
from mxml.errors import SettingError
from mxml.images.transforms import Augment, Preprocess

COUNT, SIDE = 13, 16
SMALL = Preprocess((SIDE, SIDE), None, (0, 0, 0), (1, 1, 1), fit="stretch")
VARIED = Augment(rand_crop=True, rand_mirror=True, rotate=20, rand_augment=(2, 9), cutout=0.3)
BOTH = Mixing(mixup=0.4, cutmix=1.0)


def draws_for(*rows):
    """Return draws of rows, each (partner, kind, share, x, y)."""
    return np.array(rows, float)


def mix_rows(mixing, data, labels, draws):
    """Mix the rows that have a known label in pairs."""
    mix_pairs(mixing, data, labels, draws, drawn_pairs((labels >= 0).any(axis=1), draws))


def test_mixup_with_a_ratio_of_a_quarter():
    data = np.zeros((2, 3, 2, 2), np.float32)
    data[0], data[1] = 4, 8
    labels = np.array([[1, 0, 1, 0], [0, 1, 1, 0]], np.float32)
    # With alpha 1 the share is what is drawn. The first of a pair draws it, that is the one with the lower number.
    mix_rows(Mixing(mixup=1), data, labels, draws_for((0.1, 0.5, 0.25, 0, 0), (0.2, 0.5, 0.9, 0, 0)))
    assert (data[0] == 7).all() and (data[1] == 5).all()
    assert labels.tolist() == [[0.25, 0.75, 1, 0], [0.75, 0.25, 1, 0]]


def test_cutmix_swaps_a_quarter_in_the_middle():
    data = np.stack([np.full((3, 4, 8), 1.0), np.full((3, 4, 8), 2.0)]).astype(np.float32)
    labels = np.array([[1, 0], [0, 1]], np.float32)
    mix_rows(Mixing(cutmix=1), data, labels, draws_for((0.3, 0, 0.75, 0.5, 0.5), (0.6, 0, 0, 0, 0)))
    expected = [[1] * 8, [1, 1, 2, 2, 2, 2, 1, 1], [1, 1, 2, 2, 2, 2, 1, 1], [1] * 8]
    assert data[0].tolist() == [expected] * 3 and (data[1] == 3 - data[0]).all()
    assert labels.tolist() == [[0.75, 0.25], [0.25, 0.75]]


def test_a_rectangle_over_the_edge_counts_with_the_area_that_is_seen():
    one, other = np.zeros((3, 4, 4), np.float32), np.ones((3, 4, 4), np.float32)
    # 2 x 2 pixels around the upper left corner: one of 16 is inside.
    assert swap_rectangles(one, other, 0.75, 0.0, 0.0) == 1 - 1 / 16
    assert one.sum() == 3 and (one[:, 0, 0] == 1).all() and (other[:, 0, 0] == 0).all()


def test_a_label_unknown_in_either_image_is_unknown_in_the_mixture():
    own, partners = np.array([1.0, -1, 0, -1]), np.array([-1.0, 1, 1, -1])
    assert mixed_labels(own, partners, 0.25).tolist() == [-1, -1, 0.75, -1]
    # Of an image of which nothing is seen, nothing needs to be known.
    assert mixed_labels(own, partners, 1.0).tolist() == own.tolist()
    assert mixed_labels(own, partners, 0.0).tolist() == partners.tolist()


def test_rows_without_known_labels_are_mixed_with_none():
    data = np.arange(5, dtype=np.float32)[:, None, None, None] * np.ones((5, 3, 2, 2), np.float32)
    labels = np.array([[1, 0], [-1, -1], [0, 1], [-1, -1], [-1, -1]], np.float32)
    mix_rows(Mixing(mixup=1), data, labels, np.full((4, label_mixing.COLUMNS), 0.5))
    assert (data[:, 0, 0, 0] == [1, 1, 1, 3, 4]).all()
    assert labels.tolist() == [[0.5, 0.5], [-1, -1], [0.5, 0.5], [-1, -1], [-1, -1]]
    one = np.array([[1, 0], [-1, -1]], np.float32)
    mix_rows(Mixing(mixup=1), data[:2], one, np.full((2, label_mixing.COLUMNS), 0.5))
    assert one.tolist() == [[1, 0], [-1, -1]] and (data[:2, 0, 0, 0] == [1, 1]).all()


def test_shares_follow_the_beta_distribution():
    draws = (np.arange(2000) + 0.5) / 2000
    for alpha in (0.01, 0.2, 1, 8, 100):
        shares = np.array([label_mixing.beta_share(alpha, draw) for draw in draws])
        assert ((shares >= 0) & (shares <= 1)).all()
        assert abs(shares.mean() - 0.5) < 1e-3 and abs(shares.var() - 1 / (4 * (2 * alpha + 1))) < 1e-3


LABELS = st.sampled_from([0.0, 1.0, -1.0])


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 9).flatmap(
        lambda rows: st.tuples(
            st.lists(st.lists(LABELS, min_size=3, max_size=3), min_size=rows, max_size=rows),
            st.lists(st.lists(st.floats(0, 1, exclude_max=True), min_size=5, max_size=5), min_size=rows, max_size=rows),
        )
    ),
    st.sampled_from([Mixing(mixup=0.2), Mixing(cutmix=1), BOTH]),
)
def test_labels_are_mixed_as_pixels_are(given_rows, mixing):
    """Each image is of one colour of its own, so that the pixels tell how much of whom is in a row."""
    labels, draws = (np.array(part) for part in given_rows)
    rows = len(labels)
    data = np.zeros((rows, rows + 1, 6, 7), np.float32)
    data[np.arange(rows), np.arange(rows)] = 1
    before, mixed = labels.copy(), labels.astype(np.float32)
    mix_rows(mixing, data, mixed, draws)
    weights = data.mean(axis=(2, 3))[:, :rows].astype(float)
    assert np.allclose(weights.sum(axis=1), 1) and np.allclose(weights.sum(axis=0), 1)
    assert ((weights > 0).sum(axis=1) <= 2).all()
    counts = weights > 1e-6
    for row in range(rows):
        for label in range(3):
            parts = before[:, label]
            unknown = (parts[counts[row]] < 0).any()
            value = mixed[row, label]
            # A share too small to be seen may or may not make a label unknown.
            if not unknown and not (counts[row].sum() == 1 and value == -1):
                assert 0 <= value <= 1 and abs(value - weights[row] @ np.maximum(parts, 0)) < 1e-5
            elif unknown:
                assert value == -1
    untouched = (before < 0).all(axis=1)
    assert (weights[untouched][:, untouched].sum(axis=1) == 1).all() and (mixed[untouched] == -1).all()


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> ImageList:
    """13 small PNGs, each of one brightness, with four labels, the last of them unknown in every third image."""
    folder = tmp_path_factory.mktemp("images")
    names = [f"{i}.png" for i in range(COUNT)]
    for i, name in enumerate(names):
        cv2.imwrite(str(folder / name), np.full((20, 18, 3), 10 * i + 5, np.uint8))
    labels = np.array([[i & 1, i >> 1 & 1, i >> 2 & 1, -1 if i % 3 == 0 else 1] for i in range(COUNT)])
    return ImageList.from_rows(names, labels, str(folder))


def contents(batches):
    return [(batch.data[0].asnumpy(), batch.label[0].asnumpy(), batch.pad, batch.index.tolist()) for batch in batches]


def epochs_of(images, batch_size, count, **more):
    with Batches(ImageFiles(images), SMALL, batch_size, labels=images.labels, seed=5, **more) as batches:
        epochs = []
        for epoch in range(count):
            batches.set_epoch(epoch)
            epochs.append(contents(batches))
        return epochs


def same(ones, others):
    return all(
        np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1]) and a[2:] == b[2:]
        for one, other in zip(ones, others)
        for a, b in zip(one, other)
    )


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 4), st.integers(0, 5), st.sampled_from(["pad", "discard", "roll_over"]), st.integers(1, 14))
def test_threads_and_prefetch_change_nothing(images, threads, prefetch, last_batch, batch_size):
    more = {"augment": VARIED, "mixing": BOTH, "shuffle": True, "last_batch": last_batch}
    if batch_size > COUNT and last_batch != "pad":
        return
    expected = epochs_of(images, batch_size, 3, threads=1, prefetch=0, **more)
    assert same(epochs_of(images, batch_size, 3, threads=threads, prefetch=prefetch, **more), expected)
    for _, labels, pad, _ in (batch for epoch in expected for batch in epoch):
        assert (((labels >= 0) & (labels <= 1)) | (labels == -1)).all()
        assert (labels[len(labels) - pad :] == -1).all()


def test_going_to_a_batch_gives_it_as_before(images):
    arguments = {"augment": VARIED, "mixing": BOTH, "shuffle": True, "labels": images.labels, "seed": 1}
    with Batches(ImageFiles(images), SMALL, 4, **arguments) as batches:
        batches.set_epoch(2)
        expected = contents(batches)
        for first in range(4):
            batches.set_epoch(2, first)
            assert same([contents(batches)], [expected[first:]])


def test_epochs_mix_differently_and_seeds_too(images):
    first, second = epochs_of(images, 13, 2, mixing=Mixing(mixup=1))
    assert not np.array_equal(first[0][0], second[0][0]) and not np.array_equal(first[0][1], second[0][1])
    with Batches(ImageFiles(images), SMALL, 13, labels=images.labels, seed=6, mixing=Mixing(mixup=1)) as batches:
        assert not np.array_equal(contents(batches)[0][1], first[0][1])


def test_unreadable_images_are_mixed_into_no_other(images):
    names = ["missing.png" if i in (2, 7) else name for i, name in enumerate(images.names())]
    broken = ImageList.from_rows(names, images.labels, images.root)
    for bad_images in ("skip", "report"):
        more = {"bad_images": bad_images, "max_bad_share": 1.0, "mixing": Mixing(mixup=8)}
        (((data, labels, pad, index),),) = epochs_of(broken, 16, 1, **more)
        assert pad == 3 and index[13:] == [0, 1, 2]
        assert (labels[[2, 7, 13, 14, 15]] == -1).all()
        # The rows that fill the batch up show their images as they are, also what stands in for an unreadable one.
        plain = (5, 15, 35 if bad_images == "skip" else 0)
        assert [float(data[row].mean()) for row in (13, 14, 15)] == list(plain)
        readable = [i for i in range(COUNT) if i not in (2, 7)]
        # Pairs are mixed from readable images alone: their sum stays.
        assert abs(data[readable].mean(axis=(1, 2, 3)).sum() - sum(10 * i + 5 for i in readable)) < 1e-2


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 5),
    st.integers(1, 4),
    st.sampled_from(["pad", "discard", "roll_over"]),
    st.sets(st.integers(0, COUNT - 1), max_size=2),
    st.integers(1, 2),
)
def test_workers_mix_what_one_process_mixes(images, batch_size, num_parts, last_batch, unlabelled, threads):
    """Also with images that have no known label, and one that cannot be read."""
    labels = images.labels.copy()
    labels[list(unlabelled)] = -1
    names = ["missing.png" if i == 4 else name for i, name in enumerate(images.names())]
    listed = ImageList.from_rows(names, labels, images.root)
    more = {"augment": VARIED, "mixing": BOTH, "shuffle": True, "last_batch": last_batch, "bad_images": "report"}
    more.update(max_bad_share=1.0, threads=threads)
    if last_batch != "pad" and batch_size * num_parts > COUNT:
        return
    whole = epochs_of(listed, batch_size * num_parts, 3, **more)
    parts = [
        epochs_of(listed, batch_size, 3, split_batches=True, part_index=part, num_parts=num_parts, **more)
        for part in range(num_parts)
    ]
    for epoch, batches in enumerate(whole):
        for number, (data, mixed, _, index) in enumerate(batches):
            shares = [part[epoch][number] for part in parts]
            assert np.concatenate([share[3] for share in shares]).tolist() == index
            np.testing.assert_array_equal(np.concatenate([share[1] for share in shares]), mixed)
            np.testing.assert_array_equal(np.concatenate([share[0] for share in shares]), data)


def test_wrong_alphas_are_named():
    for name in ("mixup", "cutmix"):
        for value in (-1, 0.001, 101, float("nan")):
            with pytest.raises(SettingError, match=f"`{name}` .*: should be 0, or 0.01 to 100"):
                Mixing(**{name: value})


def test_there_is_nothing_to_mix_without_labels(images):
    with pytest.raises(ValueError, match="mixed together with their labels"):
        Batches(ImageFiles(images), SMALL, 4, mixing=BOTH)
