from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from mxml import duplicates
from mxml.duplicates import NEAR, SURELY_FOUND, Duplicates, find_duplicates
from mxml.image_list import ImageList
from mxml.image_scan import ImageScan, scan_images


def scanned(hashes, digests=None, readable=None) -> ImageScan:
    """A scan that has these hashes; every file's bytes differ unless ``digests`` says otherwise."""
    count = len(hashes)
    digest = np.zeros((count, 16), np.uint8)
    digest[:, :8] = (
        (np.arange(count) if digests is None else np.asarray(digests)).astype(np.int64)[:, None].view(np.uint8)
    )
    nothing = np.zeros(count, np.int64)
    mask = np.ones(count, bool) if readable is None else np.asarray(readable)
    return ImageScan((), mask, nothing, nothing, nothing, nothing > 0, nothing.astype("U4"), digest, hashes)


def random_hashes(chance, count):
    return chance.integers(0, 256, (count, 32), dtype=np.uint8)


def flipped(chance, hash_, bits):
    changed = np.unpackbits(hash_)
    changed[chance.choice(256, bits, replace=False)] ^= 1
    return np.packbits(changed)


def distances(hashes):
    bits = np.unpackbits(hashes, axis=1).astype(np.int32)
    return (bits[:, None] != bits).sum(axis=2)


def partition(groups):
    return {frozenset(map(int, group)) for group in groups}


def test_pairs_and_their_distances_by_hand():
    chance = np.random.default_rng(0)
    hashes = random_hashes(chance, 8)
    hashes[5] = flipped(chance, hashes[1], 20)  # near
    hashes[7] = hashes[3]  # equal hashes of different files
    hashes[6] = hashes[2] = hashes[0]  # three equal files
    found = find_duplicates(scanned(hashes, digests=[9, 1, 9, 3, 4, 5, 9, 7]))
    assert found.pairs.tolist() == [[0, 2], [1, 5], [2, 6], [3, 7]]
    assert found.distance.tolist() == [-1, 20, -1, 0]
    assert [group.tolist() for group in found.groups()] == [[0, 2, 6], [1, 5], [3, 7]]
    numbers = found.group_numbers(8)
    assert numbers.dtype == np.int64 and len(set(numbers.tolist())) == 4
    assert numbers[0] == numbers[2] == numbers[6] and numbers[1] == numbers[5] and numbers[3] == numbers[7]


def test_nothing_is_found_where_nothing_is():
    chance = np.random.default_rng(0)
    for count in (0, 1, 50):
        found = find_duplicates(scanned(random_hashes(chance, count)))
        assert found.pairs.shape == (0, 2) and found.distance.shape == (0,) and found.groups() == ()
        assert sorted(found.group_numbers(count).tolist()) == list(range(count))


def test_void_hashes_and_unreadable_images_tell_nothing():
    chance = np.random.default_rng(0)
    hashes = random_hashes(chance, 7)
    hashes[:3] = 0
    hashes[6] = hashes[5]
    found = find_duplicates(scanned(hashes, [8, 1, 8, 3, 3, 5, 6], [True, True, True, True, False, True, False]))
    assert found.pairs.tolist() == [[0, 2]]


@pytest.mark.parametrize("by_keys", [False, True])
def test_pairs_are_near_up_to_the_limit(by_keys, monkeypatch):
    if by_keys:
        monkeypatch.setattr(duplicates, "_COMPARE_ALL", 0)
    chance = np.random.default_rng(1)
    hashes = random_hashes(chance, 60)
    high = np.unpackbits(hashes, axis=1)
    for number, bits in enumerate((NEAR, NEAR + 1)):  # changed in high frequencies alone, so that keys agree
        high[number + 2] = high[number]
        high[number + 2, 256 - bits :] ^= 1
    found = find_duplicates(scanned(np.packbits(high, axis=1)))
    assert found.pairs.tolist() == [[0, 2]] and found.distance.tolist() == [NEAR]


def test_a_group_is_tied_by_its_shortest_links():
    chance = np.random.default_rng(2)
    middle = random_hashes(chance, 1)[0]
    hashes = np.stack([flipped(chance, middle, 9), random_hashes(chance, 1)[0], middle, flipped(chance, middle, 3)])
    found = find_duplicates(scanned(hashes))
    assert found.pairs.tolist() == [[0, 2], [2, 3]] and found.distance.tolist() == [9, 3]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 120), st.floats(0, 1), st.booleans())
def test_search_by_keys_agrees_with_comparing_all(seed, count, planted, crowded):
    """Groups by links that are surely found are whole, and nothing is grouped that isn't linked by near hashes."""
    chance = np.random.default_rng(seed)
    hashes = random_hashes(chance, count)
    for row in range(1, count):
        if chance.random() < planted:
            hashes[row] = flipped(chance, hashes[chance.integers(row)], chance.integers(0, 60))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "_COMPARE_ALL", 0)
        if crowded:
            patch.setattr(duplicates, "_MOST_LINKS", 3)
        found = find_duplicates(scanned(hashes))
    true = distances(hashes)
    assert np.array_equal(found.distance, true[found.pairs[:, 0], found.pairs[:, 1]])
    assert (found.distance <= NEAR).all() and (found.pairs[:, 0] < found.pairs[:, 1]).all()
    numbers = found.group_numbers(count)
    sure, near = (connected_components(true <= most)[1] for most in (SURELY_FOUND, NEAR))
    for group in range(sure.max() + 1):
        assert len(set(numbers[sure == group])) == 1
    assert len(found.pairs) == count - len(set(numbers.tolist()))
    for group in found.groups():
        assert len(set(near[group])) == 1


def test_every_pair_that_is_surely_found_is_found_among_many():
    chance = np.random.default_rng(5)
    hashes = random_hashes(chance, 30_000)
    twins = chance.choice(30_000, (400, 2), replace=False)
    for first, second in twins:
        hashes[second] = flipped(chance, hashes[first], SURELY_FOUND)
    found = find_duplicates(scanned(hashes))
    assert {tuple(sorted(pair)) for pair in twins.tolist()} == {tuple(pair) for pair in found.pairs.tolist()}
    assert set(found.distance.tolist()) == {SURELY_FOUND}


def test_a_crowd_of_like_pictures_is_one_group():
    """20,000 files of one placeholder, 20,000 with one hash, and 6,000 hashes that differ from one in a few bits."""
    chance = np.random.default_rng(6)
    hashes = random_hashes(chance, 60_000)
    digests = np.arange(60_000)
    order = chance.permutation(60_000)
    copies, alike, cluster = order[:20_000], order[20_000:40_000], order[40_000:46_000]
    hashes[copies], digests[copies] = hashes[copies[0]], -1
    hashes[alike] = hashes[alike[0]]
    centre = np.unpackbits(hashes[cluster[0]])
    hashes[cluster] = np.packbits(centre ^ (chance.random((6_000, 256)) < 0.03), axis=1)
    found = find_duplicates(scanned(hashes, digests))
    assert partition(found.groups()) == partition([copies, alike, cluster])
    assert len(found.pairs) == 19_999 + 19_999 + 5_999


def test_groups_of_given_pairs():
    found = Duplicates(np.array([[2, 9], [4, 5], [5, 7]]), np.array([3, -1, 0]))
    assert [group.tolist() for group in found.groups()] == [[2, 9], [4, 5, 7]]
    assert [len(set(found.group_numbers(10)[list(rows)])) for rows in ((2, 9), (4, 5, 7), (0, 2, 4))] == [1, 1, 3]


def test_photographs_that_miml_scene_holds_twice(shared):
    folder = shared / "data" / "miml-scene" / "images"
    names = sorted(path.name for path in folder.iterdir() if 379 <= int(path.stem) <= 400 or int(path.stem) <= 64)
    found = find_duplicates(scan_images(ImageList.from_rows(names, np.ones((len(names), 1)), folder)))
    same = [(39, 43), (45, 389), (47, 387), (48, 381), (50, 397), (51, 388), (52, 395), (53, 393), (54, 392)]
    same += [(55, 396, 400), (56, 383), (59, 385), (62, 391)]
    assert partition([{int(names[i][:-4]) for i in group} for group in found.groups()]) == partition(same)


def test_the_sample_has_none(checkout):
    names = sorted(path.name for path in (checkout / "images").glob("*.jpg"))
    scan = scan_images(ImageList.from_rows(names, np.ones((len(names), 1)), checkout / "images"))
    assert len(names) == 720 and scan.readable.all() and not len(find_duplicates(scan).pairs)
