"""Label names that look alike: against comparing each with each, and on the names of real data sets."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxml.prepare.label_spelling import look_alikes

VOC = {
    "aeroplane": 738, "bicycle": 681, "bird": 1042, "boat": 646, "bottle": 920, "bus": 512, "car": 1530,
    "cat": 1356, "chair": 1506, "cow": 381, "diningtable": 689, "dog": 1614, "horse": 589, "motorbike": 656,
    "person": 5227, "pottedplant": 685, "sheep": 392, "sofa": 775, "train": 663, "tvmonitor": 730,
}  # fmt: skip
COCO = [
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis",
    "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich",
    "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed",
    "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven",
    "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
]  # fmt: skip


@pytest.mark.parametrize(
    ("names", "counts", "found"),
    [
        (["sea", "Sea"], [400, 300], [("Sea", "sea")]),
        (["Sea", "sea"], [0, 0], [("sea", "Sea")]),
        (["red dress", "red_dress", "Red-Dress"], [5, 9, 3], [("red dress", "red_dress"), ("Red-Dress", "red_dress")]),
        (["tress", "trees"], [2, 3], [("tress", "trees")]),  # changed
        (["tres", "trees"], [2, 3], [("tres", "trees")]),  # dropped
        (["treees", "trees"], [2, 3], [("treees", "trees")]),  # inserted
        (["teres", "trees"], [2, 3], [("teres", "trees")]),  # swapped
        (["blue jaens", "blue jeans"], [1, 50], [("blue jaens", "blue jeans")]),
        (["Mountians", "mountains"], [1, 50], [("Mountians", "mountains")]),
        (["bäume", "baume"], [1, 50], [("bäume", "baume")]),
        (["trees", "treees"], [1, 1], [("treees", "trees")]),
        (["goat", "boat"], [10, 1000], [("goat", "boat")]),
        (["goat", "boat"], [11, 1000], []),
        (["goat", "boat"], [3, 4], []),
        (["goat", "boat"], [0, 1000], []),  # occurs in no image: nobody has mistyped it
        (["goat", "coat", "boat"], [1, 50, 400], [("goat", "boat")]),
        (["car", "cat"], [1, 1000], []),
        (["cars", "car"], [1, 1000], []),
        (["model s", "model x"], [1, 1000], []),
        (["class_1", "class_2", "class_10"], [1, 1000, 1000], []),
        (["2-1", "21", "2 1"], [1, 5, 9], [("2-1", "2 1")]),
        (["黑色裙子", "红色裙子"], [1, 1000], []),
        (["tree", "trees", "trains"], [1, 1, 900], [("trees", "tree")]),
        (["-", "_", "+"], [1, 1, 900], []),
        (["caf\u00e9", "cafe\u0301"], [7, 2], [("cafe\u0301", "caf\u00e9")]),
        ([], [], []),
    ],
)
def test_what_looks_alike(names, counts, found):
    assert look_alikes(names, counts) == found


@pytest.mark.parametrize("scale", [1, 0.01])
def test_real_label_sets_have_none(scale):
    assert look_alikes(list(VOC), [round(scale * count) for count in VOC.values()]) == []
    assert look_alikes(COCO, [max(1, round(scale * 2000 / (1 + rank % 40))) for rank in range(80)]) == []
    assert look_alikes(["cat", "car", "bear", "pear", "goat", "coat"], [200, 300, 40, 60, 50, 500]) == []


def distance(one, other):
    """Return the Damerau-Levenshtein distance in which no part is edited twice, by its table."""
    table = {(i, 0): i for i in range(len(one) + 1)} | {(0, j): j for j in range(len(other) + 1)}
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            changed = table[i - 1, j - 1] + (one[i - 1] != other[j - 1])
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, changed)
            if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
                table[i, j] = min(table[i, j], table[i - 2, j - 2] + 1)
    return table[len(one), len(other)]


def one_letter_apart(one, other):
    """Say whether two names differ in one word of letters, by one of them."""
    parts = [re.findall("[a-z]+|[^a-z]", re.sub("[ _]+", " ", name.lower()).strip()) for name in (one, other)]
    differing = [pair for pair in zip(*parts) if pair[0] != pair[1]]
    if len(parts[0]) != len(parts[1]) or len(differing) != 1:
        return False
    return all(len(word) >= 4 for word in differing[0]) and distance(*differing[0]) == 1


def by_comparing_all(names, counts):
    order = sorted(range(len(names)), key=lambda number: (-counts[number], number))
    chosen: list[int] = []
    pairs: dict[int, int] = {}
    for number in order:
        same = [other for other in chosen if bare(names[other]) == bare(names[number])]
        if same:
            pairs[number] = same[0]
            continue
        alike = [other for other in chosen if one_letter_apart(names[number], names[other])]
        if alike and 0 < counts[number] <= max(2, counts[alike[0]] / 100):
            pairs[number] = alike[0]
        chosen.append(number)
    return [(names[number], names[pairs[number]]) for number in sorted(pairs)]


def bare(name):
    return re.sub("[ _]+", "", name).lower() or name


words = st.text(st.sampled_from("aabbc"), min_size=3, max_size=6)
label = st.lists(st.one_of(words, words, st.sampled_from(["1", "a", "_", "A"])), min_size=1, max_size=3).flatmap(
    lambda parts: st.sampled_from([" ".join(parts), "_".join(parts), "".join(parts), parts[0]])
)


@st.composite
def families(draw):
    """Return names and others that were made of them by an edit or two."""
    names = draw(st.lists(label, min_size=1, max_size=8))
    for _ in range(draw(st.integers(0, 20))):
        name = draw(st.sampled_from(names))
        place = draw(st.integers(0, len(name) - 1))
        before, here, behind = name[:place], name[place], name[place + 1 :]
        edited = [before + behind, before + draw(st.sampled_from("abc_1")) + behind, f"{before}a{here}{behind}"]
        names.append(draw(st.sampled_from([*edited, before + behind[:1] + here + behind[1:]])) or "a")
    # Blanks between digits count, and so do names of nothing but blanks; comparing each with each is simpler without.
    return list(
        dict.fromkeys(name for name in names if re.search("[a-zA-Z1]", name) and not re.search("1[ _]+1", name))
    )


@settings(max_examples=300, deadline=None)
@given(families(), st.data())
def test_the_same_pairs_as_by_comparing_each_with_each(names, data):
    counts = data.draw(st.lists(st.sampled_from([0, 1, 2, 3, 200, 400]), min_size=len(names), max_size=len(names)))
    assert look_alikes(names, counts) == by_comparing_all(names, counts)


def test_a_hundred_thousand_labels_and_a_very_long_one_are_no_trouble():
    names = [f"label {number:06d} {'x' * 20}" for number in range(50_000)]
    # All alike in all but one letter: each is paired once, not with each of the others.
    names += [f"house{chr(0x400 + number % 256)}{chr(0x400 + number // 256)}".lower() for number in range(0x30, 0x50)]
    names += ["y" * 1_000_000, "y" * 999_999]
    pairs = look_alikes(names, [1] * len(names))
    assert len(pairs) == len({rarer for rarer, _ in pairs}) == 31
