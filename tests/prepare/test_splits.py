"""The stratified split against Sechidis' algorithm image by image, and what must hold for any labels and groups."""

from __future__ import annotations

import csv
import hashlib
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mxml.prepare.splits import stratified_split

label_tables = hnp.arrays(
    np.int8, st.tuples(st.integers(1, 40), st.integers(1, 5)), elements=st.sampled_from([1, 0, 0, -1])
)
share_lists = st.lists(st.sampled_from([0.1, 0.2, 0.5, 0.8, 3.0]), min_size=1, max_size=4)


@st.composite
def grouped_tables(draw):
    """Labels with a group number an image, and the part that an image is in already, of four, or -1."""
    labels = draw(label_tables)
    numbers = st.sampled_from([-(2**63), -1, 0, 1, 2, 3, 5, 8, 2**63 - 1])
    groups = draw(hnp.arrays(np.int64, len(labels), elements=numbers))
    kept = draw(hnp.arrays(np.int64, len(labels), elements=st.sampled_from([-1, -1, -1, 0, 1, 2, 3])))
    return labels, groups, kept


def part_numbers(parts):
    """Return (N,): the part that each image is in."""
    numbers = np.full(sum(map(len, parts)), -1)
    for number, part in enumerate(parts):
        numbers[part] = number
    return numbers


def digest(parts):
    text = ";".join(",".join(map(str, part.tolist())) for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def share_deviation(labels, parts, shares):
    """Return how far the share of a label's images that a part holds lies from the part's own share, at most."""
    totals = labels.sum(axis=0)
    return max(np.abs(labels[part].sum(axis=0) / totals - share).max() for part, share in zip(parts, shares))


def counted(labels):
    """Return (N, C + 2) int64: what an image has: its labels, "no label" for a label, and being an image."""
    present = labels == 1
    return np.column_stack([present, ~present.any(axis=1), np.ones(len(labels), bool)]).astype(np.int64)


def chi_squared(held, numbers, shares):
    """Return the chi-squared of parts, ``held`` being counted(labels): a label weighs 1 / its images, sizes the sum."""
    totals = held.sum(axis=0)
    held, totals = held[:, totals > 0], totals[totals > 0]
    weights = 1 / totals
    weights[-1] = weights[:-1].sum()
    given = np.array([held[numbers == part].sum(axis=0) for part in range(len(shares))])
    shares = np.array(shares)[:, None] / sum(shares)
    return (weights * (given - shares * totals) ** 2 / shares).sum()


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
    left = set(range(len(labels)))
    parts: list[list[int]] = [[] for _ in shares]

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


@pytest.mark.parametrize(
    ("count", "width", "shares", "seed", "expected"),
    [
        (1, 1, (0.8, 0.2), 0, "f1ab6b1fa3e07be02cdd3816"),
        (257, 12, (0.8, 0.2), 42, "8a7fa2e509bfe739b64d1133"),
        (1000, 5, (1, 1, 1), 2**63 + 9, "60f4be3faed816a4dd482fa3"),
        (3000, 40, (0.8, 0.1, 0.1), 5, "11634675af2a17022c98369a"),
        (500, 3, (0.5, 0, 0.3, 0.2), 11, "648daa16465ffbcc1c4984dc"),
        (64, 0, (0.25, 0.75), 1, "32c51aeaadf84081a7e03793"),
    ],
)
def test_images_are_split_the_same_on_every_machine(count, width, shares, seed, expected):
    # Lists that were made once must come out again: with another version of NumPy, and on another processor.
    draw = np.random.RandomState(seed % 1000).rand(count, width)
    labels = np.where(draw < 0.6 / np.arange(1, width + 1), 1, np.where(draw > 0.97, -1, 0)).astype(np.int8)
    assert digest(stratified_split(labels, shares, seed)) == expected
    groups_of_one = np.random.RandomState(0).permutation(count) - 7
    assert digest(stratified_split(labels, shares, seed, groups_of_one, np.full(count, -1))) == expected


def test_groups_are_split_the_same_on_every_machine():
    groups = np.random.RandomState(1).randint(0, 300, 1000)
    kept = np.random.RandomState(2).choice([-1, -1, -1, 0, 1, 2], 1000)
    shares = (0.7, 0.2, 0.1)
    assert digest(stratified_split(rare_and_common(1000), shares, 7, groups)) == "a9b1e10333176291d6ea569e"
    assert digest(stratified_split(rare_and_common(1000), shares, 7, groups, kept)) == "53535e3c44db8e0650bd1033"


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


def test_images_without_labels_have_their_share_of_each_part():
    # Only "no label" and the sizes are there to go by for 30 images, 20 have the first label, 50 both.
    labels = np.repeat(np.array([[0, -1], [1, 0], [1, 1]], np.int8), [30, 20, 50], axis=0)
    parts = stratified_split(labels, (0.7, 0.2, 0.1), 0)
    assert [np.bincount(np.searchsorted([30, 50], part, "right")).tolist() for part in parts] == [
        [21, 14, 35],
        [6, 4, 10],
        [3, 2, 5],
    ]


@pytest.mark.parametrize("shares", [(0.8, 0.2), (0.8, 0.1, 0.1)])
def test_the_sample_is_split_to_the_image(shares):
    with open(Path(__file__).parents[2] / "images" / "labels.csv", newline="") as file:
        labels = np.array([row[1:] for row in csv.reader(file)][1:]).astype(np.int8)
    held = counted(labels)
    assert held[:, -2].sum() == 49
    for share, part in zip(shares, stratified_split(labels, shares, seed=42)):
        assert np.abs(held[part].sum(axis=0) - share * held.sum(axis=0)).max() < 1


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [200, 999, 5000])
def test_each_part_has_the_size_that_was_asked_for(count, seed):
    shares = np.array([0.71, 0.18, 0.11])
    sizes = [len(part) for part in stratified_split(rare_and_common(count, seed), shares.tolist(), seed)]
    assert np.abs(sizes - shares * count).max() < 1


def test_unknown_counts_as_absent():
    labels = rare_and_common(300)
    unknown = np.where(labels == 0, -1, labels)
    for with_zero, with_unknown in zip(stratified_split(labels, (1, 1), 5), stratified_split(unknown, (1, 1), 5)):
        assert with_zero.tolist() == with_unknown.tolist()


@pytest.mark.parametrize("shares", [(0.8, 0.2), (0.7, 0.2, 0.1), (0.55, 0.45)])
def test_it_is_as_even_as_the_paper_s_algorithm(shares):
    labels = rare_and_common(600, seed=1)
    ours, theirs = stratified_split(labels, shares, 0), one_image_at_a_time(labels, shares)
    assert share_deviation(labels, ours, shares) <= share_deviation(labels, theirs, shares) + 0.01


def test_when_nothing_ties_the_counts_are_those_of_the_paper_s_algorithm():
    # Disjoint labels: then which images of a label go where changes no count.
    labels = np.repeat(np.eye(4, dtype=np.int8), [7, 13, 29, 53], axis=0)
    shares = (0.62, 0.27, 0.11)
    ours, theirs = stratified_split(labels, shares, 0), one_image_at_a_time(labels, shares)
    assert [labels[part].sum(axis=0).tolist() for part in ours] == [
        labels[part].sum(axis=0).tolist() for part in theirs
    ]


@given(table=grouped_tables(), shares=share_lists, seed=st.integers(0, 1000))
def test_groups_stay_in_one_part(table, shares, seed):
    labels, groups, _ = table
    parts = stratified_split(labels, shares, seed, groups)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    assert all((np.diff(part) > 0).all() for part in parts)
    numbers = part_numbers(parts)
    assert all(len(set(numbers[groups == group])) == 1 for group in set(groups.tolist()))


@given(table=grouped_tables(), seed=st.integers(0, 1000), grouped=st.booleans())
def test_kept_images_stay_and_their_groups_follow(table, seed, grouped):
    labels, groups, kept = table
    numbers = part_numbers(stratified_split(labels, (5, 3, 2, 1), seed, groups if grouped else None, kept))
    assert (numbers >= 0).all()
    assert (numbers[kept >= 0] == kept[kept >= 0]).all()
    for group in set(groups.tolist()) if grouped else ():
        others = numbers[(groups == group) & (kept < 0)].tolist()
        votes = [int(((groups == group) & (kept == part)).sum()) for part in range(4)]
        assert others == [others[0]] * len(others) if not any(votes) else set(others) <= {votes.index(max(votes))}


@settings(max_examples=50)
@given(table=grouped_tables(), seed=st.integers(0, 1000))
def test_how_groups_are_numbered_does_not_matter(table, seed):
    labels, groups, kept = table
    _, renumbered = np.unique(groups[::-1], return_inverse=True)
    first = stratified_split(labels, (5, 3, 2, 1), seed, groups, kept)
    second = stratified_split(labels, (5, 3, 2, 1), seed, -3 * renumbered.reshape(-1)[::-1], kept.astype(np.int8))
    assert [part.tolist() for part in first] == [part.tolist() for part in second]


@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=40), shares=share_lists, seed=st.integers(0, 1000))
def test_no_part_exceeds_its_share_by_a_whole_group(sizes, shares, seed):
    # Labels come before sizes, so this can be held only without them.
    groups = np.repeat(np.arange(len(sizes)), sizes)
    parts = stratified_split(np.zeros((len(groups), 2), np.int8), shares, seed, groups)
    for share, part in zip(shares, parts):
        over = len(part) - share / sum(shares) * len(groups)
        assert -max(sizes) * (len(shares) - 1) - 1e-6 < over < max(sizes) + 1e-6


@given(table=grouped_tables(), seed=st.integers(0, 1000))
def test_a_part_of_share_0_gets_only_what_is_kept(table, seed):
    labels, groups, kept = table
    parts = stratified_split(labels, (5, 0, 2, 0), seed, None, kept)
    assert [len(parts[part]) for part in (1, 3)] == [int((kept == part).sum()) for part in (1, 3)]
    parts = stratified_split(labels, (5, 0, 2, 0), seed, groups)
    assert [len(parts[part]) for part in (1, 3)] == [0, 0]


def test_a_part_that_has_too_much_of_everything_gets_nothing():
    labels = rare_and_common(500)
    kept = np.where(np.arange(500) < 300, 1, -1)
    groups = np.where(np.arange(500) < 400, -np.arange(500), np.arange(500) // 5)
    assert (labels[:300].sum(axis=0) > 0.2 * labels.sum(axis=0)).all()
    train, val, test = stratified_split(labels, (0.6, 0.2, 0.2), 0, groups, kept)
    assert val.tolist() == list(range(300))
    # 200 images are left, of which the others want 300 and 100.
    assert (len(train), len(test)) == pytest.approx((150 + 50, 0), abs=60)
    assert not set(train) & set(test)


def test_added_images_fill_up_what_the_first_ones_left():
    labels, shares = rare_and_common(2000), (0.7, 0.2, 0.1)
    first = part_numbers(stratified_split(labels[:1500], shares, 3))
    kept = np.concatenate([first, np.full(500, -1)])
    parts = stratified_split(labels, shares, 3, kept=kept)
    assert (part_numbers(parts)[:1500] == first).all()
    for share, part in zip(shares, parts):
        assert np.abs(labels[part].sum(axis=0) - share * labels.sum(axis=0)).max() <= 3
        assert abs(len(part) - share * len(labels)) <= 3


def test_what_is_kept_is_made_up_for():
    # Of the first label validation has too much, of the second too little.
    labels = np.repeat(np.eye(2, dtype=np.int8), 100, axis=0)
    kept = np.full(200, -1)
    kept[:15] = 1
    kept[100:105], kept[105:145] = 1, 0
    train, val = stratified_split(labels, (0.8, 0.2), 0, kept=kept)
    assert labels[train].sum(axis=0).tolist() == [80, 80]
    assert labels[val].sum(axis=0).tolist() == [20, 20]
    kept[15:30] = 1
    train, val = stratified_split(labels, (0.8, 0.2), 0, kept=kept)
    # Of the second label it gets x too few, so that 2x^2 for it (1/T, 100 of 200) and 4(10 - x)^2 for the sizes, twice
    # as much as either label, become least: 7.
    assert labels[val].sum(axis=0).tolist() == [30, 13]


@pytest.mark.parametrize("seed", range(5))
def test_of_twin_groups_each_part_gets_one(seed):
    # The groups' numbers of images with and without the label are powers of two: only twins balance each other.
    with_label, without = [1, 0, 2, 4, 8], [16, 32, 1, 2, 4]
    labels = np.concatenate([np.arange(a + b) < a for a, b in zip(with_label, without)] * 2)[:, None].astype(np.int8)
    sizes = np.add(with_label, without)
    groups = np.repeat(np.arange(10), np.tile(sizes, 2))
    parts = stratified_split(labels, (1, 1), seed, groups)
    assert [sorted(set((groups[part] % 5).tolist())) for part in parts] == [list(range(5))] * 2
    assert [len(part) for part in parts] == [sizes.sum()] * 2


@settings(max_examples=60, deadline=None)
@given(table=grouped_tables(), seed=st.integers(0, 1000), grouped=st.booleans())
def test_no_move_and_no_swap_would_make_it_more_even(table, seed, grouped):
    labels, groups, kept = table
    shares, held = (5, 3, 2, 1), counted(labels)
    numbers = part_numbers(stratified_split(labels, shares, seed, groups if grouped else None, kept))
    items = [groups == group for group in np.unique(groups)] if grouped else list(np.eye(len(labels), dtype=bool))
    items = [item for item in items if (kept[item] < 0).all()]
    reached = chi_squared(held, numbers, shares)
    for first, second in product(items, [*items, None]):
        for part in range(4) if second is None else [numbers[second][0]]:
            changed = numbers.copy()
            if second is not None:
                changed[second] = numbers[first][0]
            changed[first] = part
            assert chi_squared(held, changed, shares) > reached - 1e-6


@pytest.mark.parametrize("seed", range(8))
def test_groups_are_at_least_as_even_as_each_dealt_to_the_least_chi_squared(seed):
    chance = np.random.RandomState(seed)
    sizes = np.append(chance.randint(2, 40, 400), 900)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    labels = (chance.rand(len(groups), 6) < chance.beta(0.3, 1, (len(sizes), 6))[groups]).astype(np.int8)
    shares = np.array([0.61, 0.28, 0.11])
    held = np.array([counted(labels[groups == group]).sum(axis=0) for group in range(len(sizes))])
    totals = held.sum(axis=0)
    wanted, dealt = np.outer(shares, totals), np.empty(len(sizes), int)
    for group in np.argsort(-(held**2 / totals).sum(axis=1)):
        after = np.repeat(wanted[None], 3, axis=0)
        after[range(3), range(3)] -= held[group]
        left = (after**2 / np.outer(shares, totals)).sum(axis=(1, 2))
        left[(wanted * held[group] / totals).sum(axis=1) <= 0] = np.inf
        dealt[group] = left.argmin()
        wanted = after[dealt[group]]
    numbers = part_numbers(stratified_split(labels, shares.tolist(), seed, groups))
    assert chi_squared(held, numbers[np.cumsum(sizes) - 1], shares) <= chi_squared(held, dealt, shares)


@pytest.mark.parametrize("size", [2, 5, 20])
def test_groups_are_split_more_evenly_than_at_random(size):
    shares = (0.7, 0.2, 0.1)
    chance = np.random.RandomState(size)
    groups = chance.permutation(np.repeat(np.arange(2000 // size), size))
    # The images of a group have most of their labels in common.
    of_group = rare_and_common(2000 // size, seed=size)[groups]
    labels = np.where(chance.rand(2000, 8) < 0.2, rare_and_common(2000, seed=9), of_group)
    bounds = np.cumsum(np.array(shares) * (2000 // size))[:-1].astype(int)

    def at_random(seed):
        order = np.random.RandomState(seed).permutation(2000 // size)
        return [np.flatnonzero(np.isin(groups, part)) for part in np.split(order, bounds)]

    ours = [share_deviation(labels, stratified_split(labels, shares, seed, groups), shares) for seed in range(5)]
    theirs = [share_deviation(labels, at_random(seed), shares) for seed in range(40)]
    assert max(ours) < min(theirs)


def test_no_images_and_nothing_left_to_deal():
    nothing = np.empty(0, np.int64)
    parts = stratified_split(np.zeros((0, 3), np.int8), (0.8, 0.2), 0, nothing, nothing)
    assert [part.tolist() for part in parts] == [[], []]
    parts = stratified_split(np.ones((3, 1), np.int8), (0.8, 0.2), 0, np.zeros(3, int), np.array([1, 0, 1]))
    assert [part.tolist() for part in parts] == [[1], [0, 2]]


@pytest.mark.parametrize("shares", [(), (0, 0), (0.5, -0.1), (float("nan"), 1), (float("inf"), 1)])
def test_shares_that_make_no_sense_are_refused(shares):
    with pytest.raises(ValueError, match="shares at least 0"):
        stratified_split(np.ones((4, 1), np.int8), shares, 0)


@pytest.mark.parametrize("name", ["groups", "kept"])
@pytest.mark.parametrize("numbers", [np.zeros(3, int), np.zeros((4, 1), int), np.zeros(4)])
def test_numbers_of_another_form_are_refused(name, numbers):
    with pytest.raises(ValueError, match=rf"{name} must be \(4,\) whole numbers"):
        stratified_split(np.ones((4, 1), np.int8), (0.8, 0.2), 0, **{name: numbers})


@pytest.mark.parametrize("part", [-2, 2])
def test_parts_that_there_are_not_are_refused(part):
    with pytest.raises(ValueError, match="kept must be -1 or a part, 0 to 1"):
        stratified_split(np.ones((2, 1), np.int8), (0.8, 0.2), 0, kept=np.array([0, part]))
