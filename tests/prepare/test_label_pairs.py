"""Pairs of labels that are always or never together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import hypergeom

from mxml.prepare.label_pairs import (
    FALSE_SHARE,
    _log_chance_of_none,
    always_together,
    count_pairs,
    exclusive_pairs,
    never_together,
)

# Photographs of clothes in folders named colour_garment: black occurs only with jeans.
NAMES = ("black", "blue", "red", "dress", "jeans", "shirt")
CLOTHES = {
    "black_jeans": 15,
    "blue_dress": 16,
    "blue_jeans": 15,
    "blue_shirt": 16,
    "red_dress": 15,
    "red_shirt": 16,
}


def clothes():
    rows = [
        [int(name in folder.split("_")) for name in NAMES] for folder, count in CLOTHES.items() for _ in range(count)
    ]
    return np.array(rows, np.int8)


def named(pairs):
    return [(NAMES[pair.first], NAMES[pair.second]) for pair in pairs]


def test_black_that_occurs_only_with_jeans_is_found_and_so_are_the_pairs_that_lack():
    counts = count_pairs(clothes())
    (pair,) = always_together(counts)
    assert (NAMES[pair.first], NAMES[pair.second], pair.images) == ("black", "jeans", 15)
    pairs = never_together(counts, clothes())
    assert set(named(pairs)) == {("black", "dress"), ("black", "shirt"), ("red", "jeans")}
    red_jeans = pairs[named(pairs).index(("red", "jeans"))]
    assert red_jeans.expected == pytest.approx(31 * 30 / 93)


def test_labels_of_which_every_image_has_one_exclude_each_other():
    exclusive = exclusive_pairs(clothes())
    found = {(NAMES[i], NAMES[j]) for i, j in np.argwhere(np.triu(exclusive))}
    assert found == {
        ("black", "blue"), ("black", "red"), ("blue", "red"), ("dress", "jeans"), ("dress", "shirt"), ("jeans", "shirt")
    }  # fmt: skip
    without_colour = clothes()
    without_colour[0, :3] = 0
    assert not exclusive_pairs(without_colour)[0, 1]
    unknown = clothes()
    unknown[:50, 0] = -1
    assert not exclusive_pairs(unknown).any(), "most images do not say"


def test_labels_that_are_one_are_one_pair():
    labels = np.repeat(np.array([[1, 1, 0], [0, 0, 1], [0, 0, 0]], np.int8), 20, axis=0)
    assert [(pair.first, pair.second) for pair in always_together(count_pairs(labels))] == [(0, 1)]


def test_a_label_that_every_image_has_says_nothing():
    labels = np.column_stack([np.ones(100, np.int8), np.arange(100) % 2]).astype(np.int8)
    assert always_together(count_pairs(labels)) == []


def test_real_photographs_have_no_pair_to_report(shared):
    rows = (shared / "data/miml-scene/labels.csv").read_text().splitlines()[1:]
    labels = np.array([row.split(",")[1:] for row in rows]).astype(np.int8)
    assert labels.shape == (1600, 5)
    counts = count_pairs(labels)
    assert (always_together(counts), never_together(counts, labels)) == ([], [])


def test_what_chance_explains_is_not_reported():
    found = 0
    for seed in range(20):
        labels = (np.random.default_rng(seed).random((300, 30)) < 0.06).astype(np.int8)
        counts = count_pairs(labels)
        found += len(always_together(counts)) + len(never_together(counts, labels))
    assert found <= 2


@given(arrays(np.int8, st.tuples(st.integers(0, 25), st.integers(1, 5)), elements=st.integers(-1, 1)))
def test_counts_and_chances_are_those_of_plain_loops(labels):
    counts = count_pairs(labels)
    width = labels.shape[1]
    for i in range(width):
        for j in range(width):
            both_known = [(row[i], row[j]) for row in labels if row[i] >= 0 and row[j] >= 0]
            assert counts.known[i, j] == len(both_known)
            assert counts.present[i, j] == sum(first == 1 for first, _ in both_known)
            assert counts.together[i, j] == sum(first == second == 1 for first, second in both_known)
    for pair in always_together(counts):
        rows = labels[(labels[:, pair.first] == 1) & (labels[:, pair.second] >= 0)]
        assert len(rows) == pair.images > 0 and (rows[:, pair.second] == 1).all()
        known, absent = counts.known[pair.first, pair.second], 0
        absent = known - counts.present[pair.second, pair.first]
        assert hypergeom.pmf(0, known, absent, pair.images) <= FALSE_SHARE
    for pair in never_together(counts, labels):
        assert not ((labels[:, pair.first] == 1) & (labels[:, pair.second] == 1)).any()


@given(st.integers(1, 60), st.data())
def test_the_chance_is_the_hypergeometric_one(images, data):
    some = data.draw(st.integers(0, images))
    others = data.draw(st.integers(0, images - some))
    known, first, second = (np.array([[value]]) for value in (images, some, others))
    chance = _log_chance_of_none(known, first, second, np.array([[0, 0]]))
    assert np.exp(chance[0]) == pytest.approx(hypergeom.pmf(0, images, some, others), rel=1e-6)


@given(arrays(bool, st.tuples(st.integers(1, 6), st.integers(2, 6))))
def test_groups_are_those_that_trying_all_finds(rows):
    labels = rows.astype(np.int8)
    width = labels.shape[1]
    expected = np.zeros((width, width), bool)
    for bits in range(1, 1 << width):
        group = [column for column in range(width) if bits >> column & 1]
        if (labels[:, group].sum(axis=1) == 1).all() and labels[:, group].any(axis=0).all():
            expected[np.ix_(group, group)] = True
    np.fill_diagonal(expected, False)
    assert exclusive_pairs(labels).tolist() == expected.tolist()
