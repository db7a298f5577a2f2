"""The stratified split against Sechidis' algorithm image by image, and what must hold for any labels."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mxml.splits import stratified_split

label_tables = hnp.arrays(
    np.int8, st.tuples(st.integers(1, 40), st.integers(1, 5)), elements=st.sampled_from([1, 0, 0, -1])
)
share_lists = st.lists(st.sampled_from([0.1, 0.2, 0.5, 0.8, 3.0]), min_size=1, max_size=4)


def rare_and_common(count, seed=0):
    """Eight labels that occur in 1 to 60 percent of the images, some of them together."""
    draw = np.random.RandomState(seed).rand(count, 8)
    labels = (draw < [0.6, 0.4, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01]).astype(np.int8)
    labels[:, 1] |= labels[:, 5]
    return labels


def one_image_at_a_time(labels, shares):
    """Follow the paper's pseudo-code literally; ties go to the first part."""
    wanted_images = [share * len(labels) for share in shares]
    wanted = [[share * total for total in (labels == 1).sum(axis=0)] for share in shares]
    left, parts = set(range(len(labels))), [[] for _ in shares]

    def give(image, scores):
        part = max(range(len(shares)), key=lambda j: scores[j])
        parts[part].append(image)
        left.discard(image)
        wanted_images[part] -= 1
        for label in np.flatnonzero(labels[image] == 1):
            wanted[part][label] -= 1

    while left:
        counts = {label: sum(labels[image, label] == 1 for image in left) for label in range(labels.shape[1])}
        counts = {label: count for label, count in counts.items() if count}
        if not counts:
            for image in sorted(left):
                give(image, wanted_images)
            break
        label = min(counts, key=lambda label: (counts[label], label))
        for image in [image for image in sorted(left) if labels[image, label] == 1]:
            give(image, [(wanted[j][label], wanted_images[j]) for j in range(len(shares))])
    return parts


@given(labels=label_tables, shares=share_lists, seed=st.integers(0, 2**64))
def test_every_image_is_in_one_part(labels, shares, seed):
    parts = stratified_split(labels, shares, seed)
    assert len(parts) == len(shares)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    assert all((np.diff(part) > 0).all() for part in parts)


@settings(max_examples=50)
@given(labels=label_tables, seed=st.integers(0, 1000))
def test_the_same_arguments_give_the_same_parts(labels, seed):
    first, second = stratified_split(labels, (0.8, 0.2), seed), stratified_split(labels.copy(), (8, 2), seed)
    assert [part.tolist() for part in first] == [part.tolist() for part in second]


def test_the_parts_are_the_same_on_every_machine():
    parts = stratified_split(rare_and_common(1000), (0.7, 0.2, 0.1), seed=7)
    text = ";".join(",".join(map(str, part.tolist())) for part in parts)
    assert hashlib.sha256(text.encode()).hexdigest()[:24] == "58029f4ba44a4784cdbf83ef"


def test_another_seed_gives_other_parts():
    labels = rare_and_common(1000)
    first, second = (set(stratified_split(labels, (0.8, 0.2), seed)[1].tolist()) for seed in (1, 2))
    # Chance puts a fifth of one validation part into the other.
    assert 20 <= len(first & second) <= 60


def test_each_label_has_its_share_of_each_part():
    labels = rare_and_common(2000)
    shares = (0.7, 0.2, 0.1)
    for share, part in zip(shares, stratified_split(labels, shares, seed=3)):
        assert np.abs(labels[part].sum(axis=0) - share * labels.sum(axis=0)).max() <= 3
        assert abs(len(part) - share * len(labels)) <= 3


def test_a_label_on_few_images_is_in_both_parts():
    labels = np.zeros((100, 2), np.int8)
    labels[:5, 0] = 1
    train, val = stratified_split(labels, (0.8, 0.2), seed=0)
    assert (labels[train, 0].sum(), labels[val, 0].sum()) == (4, 1)
    assert (len(train), len(val)) == (80, 20)


def test_unknown_counts_as_absent():
    labels = rare_and_common(300)
    unknown = np.where(labels == 0, -1, labels)
    for with_zero, with_unknown in zip(stratified_split(labels, (1, 1), 5), stratified_split(unknown, (1, 1), 5)):
        assert with_zero.tolist() == with_unknown.tolist()


@pytest.mark.parametrize("shares", [(0.8, 0.2), (0.7, 0.2, 0.1), (0.55, 0.45)])
def test_it_is_as_even_as_the_paper_s_algorithm(shares):
    labels = rare_and_common(600, seed=1)

    def deviation(parts):
        totals = labels.sum(axis=0)
        return max(np.abs(labels[part].sum(axis=0) / totals - share).max() for part, share in zip(parts, shares))

    assert deviation(stratified_split(labels, shares, 0)) <= deviation(one_image_at_a_time(labels, shares)) + 0.01


def test_when_nothing_ties_the_counts_are_those_of_the_paper_s_algorithm():
    # Disjoint labels: then which images of a label go where changes no count.
    labels = np.repeat(np.eye(4, dtype=np.int8), [7, 13, 29, 53], axis=0)
    shares = (0.62, 0.27, 0.11)
    ours, theirs = stratified_split(labels, shares, 0), one_image_at_a_time(labels, shares)
    assert [labels[part].sum(axis=0).tolist() for part in ours] == [
        labels[part].sum(axis=0).tolist() for part in theirs
    ]


@pytest.mark.parametrize("shares", [(), (0, 0), (0.5, -0.1), (float("nan"), 1)])
def test_shares_that_make_no_sense_are_refused(shares):
    with pytest.raises(ValueError, match="shares at least 0"):
        stratified_split(np.ones((4, 1), np.int8), shares, 0)
