from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from mxml.data.image_list import ImageList
from mxml.images.decode import load
from mxml.prepare import duplicates
from mxml.prepare.duplicates import NEAR, NEAR_CHROMA, NEAR_LUMA, SURELY_FOUND, Duplicates, find_duplicates
from mxml.prepare.image_scan import ImageScan, scan_images
from mxml.runtime.imports import load_cv2

cv2 = load_cv2()


def scanned(hashes, digests=None, readable=None, colours=None) -> ImageScan:
    """A scan that has these hashes; every file's bytes differ unless ``digests`` says otherwise.

    ``colours`` are images' own Y, Cb and Cr, of all cells alike; without, all images are grey.
    """
    count = len(hashes)
    digest = np.zeros((count, 16), np.uint8)
    digest[:, :8] = (
        (np.arange(count) if digests is None else np.asarray(digests)).astype(np.int64)[:, None].view(np.uint8)
    )
    nothing = np.zeros(count, np.int64)
    mask = np.ones(count, bool) if readable is None else np.asarray(readable)
    plain = np.full((count, 3), 128) if colours is None else np.asarray(colours)
    grids = np.repeat(plain, 16, axis=1).astype(np.uint8)
    return ImageScan((), (), mask, nothing, nothing, nothing, nothing > 0, digest, hashes, grids)


def find_in(folder, names) -> Duplicates:
    return find_duplicates(scan_images(ImageList.from_rows(names, np.ones((len(names), 1)), folder)))


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


@pytest.mark.parametrize("by_keys", [False, True])
@pytest.mark.parametrize(("channel", "most"), [(0, NEAR_LUMA), (1, NEAR_CHROMA), (2, NEAR_CHROMA)])
def test_pairs_have_near_colours_in_every_cell(channel, most, by_keys, monkeypatch):
    if by_keys:
        monkeypatch.setattr(duplicates, "_COMPARE_ALL", 0)
    chance = np.random.default_rng(1)
    scan = scanned(random_hashes(chance, 60))
    scan.phash[10], scan.phash[20], scan.phash[21] = scan.phash[0], scan.phash[1], flipped(chance, scan.phash[1], 9)
    scan.colour[10, channel * 16 + 7] += most
    scan.colour[20, channel * 16 + 7] -= most + 1
    found = find_duplicates(scan)
    assert found.pairs.tolist() == [[0, 10], [1, 21]] and found.distance.tolist() == [0, 9]


def test_equal_files_are_copies_whatever_their_hash():
    hashes = random_hashes(np.random.default_rng(0), 1)[[0, 0, 0]]
    found = find_duplicates(scanned(hashes, [5, 6, 5], colours=[(0, 128, 128), (200, 128, 128), (0, 128, 128)]))
    assert found.pairs.tolist() == [[0, 2]] and found.distance.tolist() == [-1]


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
    colours = chance.integers(0, 256, (count, 3))
    for row in range(1, count):
        if chance.random() < planted:
            source = chance.integers(row)
            hashes[row] = flipped(chance, hashes[source], max(0, chance.integers(-20, 60)))
            colours[row] = np.clip(colours[source] + chance.integers(-25, 26, 3), 0, 255)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "_COMPARE_ALL", 0)
        if crowded:
            patch.setattr(duplicates, "_MOST_LINKS", 3)
        found = find_duplicates(scanned(hashes, colours=colours))
    true = distances(hashes)
    alike = (np.abs(colours[:, None] - colours) <= [NEAR_LUMA, NEAR_CHROMA, NEAR_CHROMA]).all(axis=2)
    assert np.array_equal(found.distance, true[found.pairs[:, 0], found.pairs[:, 1]])
    assert (found.distance <= NEAR).all() and (found.pairs[:, 0] < found.pairs[:, 1]).all()
    numbers = found.group_numbers(count)
    sure, near = (connected_components((true <= most) & alike)[1] for most in (SURELY_FOUND, NEAR))
    for group in range(sure.max() + 1):
        assert len(set(numbers[sure == group])) == 1
    assert len(found.pairs) == count - len(set(numbers.tolist()))
    for alike_images in found.groups():
        assert len(set(near[alike_images])) == 1


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


def test_a_crowd_of_one_shape_is_a_group_for_each_colour():
    """10,000 pictures of one shape, half of them with its very hash, in 600 colours that vary a little."""
    chance = np.random.default_rng(7)
    hashes = random_hashes(chance, 20_000)
    crowd = chance.permutation(20_000)[:10_000]
    centre = np.unpackbits(hashes[crowd[0]])
    hashes[crowd[:5_000]] = hashes[crowd[0]]
    hashes[crowd[5_000:]] = np.packbits(centre ^ (chance.random((5_000, 256)) < 0.01), axis=1)
    palette = np.stack(np.meshgrid([10, 55, 100, 145, 190, 235], *[range(8, 256, 26)] * 2), axis=-1).reshape(600, 3)
    kinds = chance.integers(0, 600, 10_000)
    colours = np.full((20_000, 3), 128)
    colours[crowd] = palette[kinds] + chance.integers(-2, 3, (10_000, 3))
    found = find_duplicates(scanned(hashes, colours=colours))
    kind_of = dict(zip(crowd.tolist(), kinds.tolist()))
    assert all(kind_of[first] == kind_of[second] for first, second in found.pairs.tolist())
    assert len(found.pairs) > 0.97 * (10_000 - 600)


def test_groups_of_given_pairs():
    found = Duplicates(np.array([[2, 9], [4, 5], [5, 7]]), np.array([3, -1, 0]))
    assert [group.tolist() for group in found.groups()] == [[2, 9], [4, 5, 7]]
    assert [len(set(found.group_numbers(10)[list(rows)])) for rows in ((2, 9), (4, 5, 7), (0, 2, 4))] == [1, 1, 3]


DRESS = np.array([(110, 50), (130, 70), (170, 70), (190, 50), (180, 190), (240, 370), (60, 370), (120, 190)])
COLOURS = {
    "black": (15, 15, 15),
    "grey": (128, 128, 128),
    "red": (30, 30, 200),
    "blue": (200, 60, 20),
    "green": (60, 150, 40),
    "yellow": (40, 220, 240),
    "pink": (190, 150, 240),
}


def test_one_dress_in_several_colours_is_not_one_picture(tmp_path):
    for name, colour in COLOURS.items():
        picture = cv2.fillPoly(np.full((400, 300, 3), 255, np.uint8), [DRESS], colour, lineType=cv2.LINE_AA)
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture)
        cv2.imwrite(str(tmp_path / f"{name}_small.jpg"), cv2.resize(picture, (150, 200), interpolation=cv2.INTER_AREA))
        cv2.imwrite(str(tmp_path / f"{name}_dark.jpg"), (picture * 0.85).astype(np.uint8))
    names = sorted(path.name for path in tmp_path.iterdir())
    found = find_in(tmp_path, names)
    assert partition(found.groups()) == partition([{i, i + 1, i + 2} for i in range(0, len(names), 3)])


def test_copies_of_photographs_are_found_and_recoloured_ones_are_not(shared, tmp_path):
    folder = shared / "data" / "miml-scene" / "images"
    chosen = sorted(folder.iterdir())[::40]
    for source in chosen:
        picture = load(source, channels="bgr")
        cv2.imwrite(str(tmp_path / f"{source.stem}.png"), picture)
        cv2.imwrite(
            str(tmp_path / f"{source.stem}_b.jpg"), np.clip(picture * 1.15, 0, 255), [cv2.IMWRITE_JPEG_QUALITY, 60]
        )
        cv2.imwrite(str(tmp_path / f"{source.stem}_swapped.png"), picture[:, :, [1, 2, 0]])
    names = sorted(path.name for path in tmp_path.iterdir())
    numbers = dict(zip(names, find_in(tmp_path, names).group_numbers(len(names)).tolist()))
    whole = [numbers[f"{source.stem}.png"] for source in chosen]
    assert whole == [numbers[f"{source.stem}_b.jpg"] for source in chosen]
    assert np.mean([numbers[f"{source.stem}_swapped.png"] != own for source, own in zip(chosen, whole)]) > 0.85


def test_photographs_that_miml_scene_holds_twice(shared):
    folder = shared / "data" / "miml-scene" / "images"
    names = sorted(path.name for path in folder.iterdir() if 379 <= int(path.stem) <= 400 or int(path.stem) <= 64)
    found = find_in(folder, names)
    same: list[tuple[int, ...]] = [
        (39, 43),
        (45, 389),
        (47, 387),
        (48, 381),
        (50, 397),
        (51, 388),
        (52, 395),
        (53, 393),
        (54, 392),
    ]
    same += [(55, 396, 400), (56, 383), (59, 385), (62, 391)]
    assert partition([{int(names[i][:-4]) for i in group} for group in found.groups()]) == partition(same)


def test_the_sample_has_none(checkout):
    names = sorted(path.name for path in (checkout / "images").glob("*.jpg"))
    scan = scan_images(ImageList.from_rows(names, np.ones((len(names), 1)), checkout / "images"))
    assert len(names) == 720 and scan.readable.all() and not len(find_duplicates(scan).pairs)
