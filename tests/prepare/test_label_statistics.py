"""Label statistics: counted by hand, against scikit-learn, and what guessing scores against multilabel_metrics."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies
from sklearn.metrics import average_precision_score

from mxml.data.image_list import ImageList
from mxml.data.lst_file import read_lst
from mxml.evaluation.metrics import multilabel_metrics
from mxml.prepare.label_statistics import label_statistics


def image_list(rows):
    rows = np.asarray(rows)
    return ImageList.from_rows([f"{number}.jpg" for number in range(len(rows))], rows)


def statistics(*tables, names=("black", "blue", "dress", "jeans")):
    lists = [image_list(table) for table in tables]
    return label_statistics(lists, [f"{number}.lst" for number in range(len(lists))], names[: lists[0].num_classes])


# The tutorial's: trained on black jeans, blue dresses and blue jeans, and then asked about a black dress.
TRAIN = [[1, 0, 0, 1], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1]]
VAL = [[1, 0, 1, 0], [1, 0, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]


def test_counts_are_those_counted_by_hand():
    train, val = statistics(TRAIN, VAL).lists
    assert train.images == 4 and val.images == 4
    assert train.present.tolist() == [2, 2, 1, 3] and train.absent.tolist() == [2, 2, 3, 1]
    assert train.shares.tolist() == [0.5, 0.5, 0.25, 0.75]
    assert train.label_counts.tolist() == [0, 0, 4] and val.label_counts.tolist() == [1, 0, 3]
    assert train.cooccurrence.tolist() == [[2, 0, 0, 2], [0, 2, 1, 1], [0, 1, 1, 0], [2, 1, 0, 3]]


def test_pairs_that_training_never_shows_come_most_frequent_first():
    found = statistics(TRAIN, [*VAL, [0, 0, 1, 1]])
    assert found.new_pairs[0].tolist() == []
    assert found.new_pairs[1].tolist() == [[0, 2], [2, 3]]
    # Black and blue both occur, and never together.
    assert found.absent_pairs.tolist() == [[0, 1]]


def test_labels_that_never_occur_form_no_pairs_without_example():
    assert statistics([[1, 0, 0], [0, 1, 0]]).absent_pairs.tolist() == [[0, 1]]


def test_unknown_labels_are_counted_neither_as_present_nor_as_absent():
    (counted,) = statistics([[1, -1], [-1, -1], [0, -1], [1, -1]]).lists
    assert counted.present.tolist() == [2, 0] and counted.absent.tolist() == [1, 0]
    assert counted.unknown.tolist() == [1, 4]
    assert counted.shares[0] == pytest.approx(2 / 3) and math.isnan(counted.shares[1])
    assert counted.label_counts.tolist() == [2, 2]
    assert counted.cooccurrence.tolist() == [[2, 0], [0, 0]]


def test_pos_weight_is_that_of_the_training_list():
    weights = statistics([[1, 0, -1], [0, 0, 1], [0, 0, 0], [0, 0, 0]], [[1, 1, 1]]).pos_weight
    assert weights[0] == 3 and math.isnan(weights[1]) and weights[2] == 2


def test_guessing_scores_what_is_worked_out_by_hand():
    # Shares 0.5, 0.5, 0.25, 0.75: predicted are black, blue and jeans. Val has 2, 1, 3 and 0 of 4 present.
    train, val = (counted.guessing for counted in statistics(TRAIN, VAL).lists)
    assert train.mAP == pytest.approx((0.5 + 0.5 + 0.25 + 0.75) / 4)
    assert train.hamming == pytest.approx((2 + 2 + 1 + 1) / 16)
    assert val.mAP == pytest.approx((0.5 + 0.25 + 0.75) / 3)
    assert val.hamming == pytest.approx((2 + 3 + 3 + 4) / 16)
    assert val.element_accuracy == pytest.approx(4 / 16)


def test_rare_labels_have_a_high_accuracy_and_a_low_map():
    rows = np.zeros((100, 3), int)
    rows[:2] = 1
    (counted,) = statistics(rows).lists
    assert counted.guessing.element_accuracy == pytest.approx(0.98)
    assert counted.guessing.mAP == pytest.approx(0.02)


label_tables = st.integers(1, 4).flatmap(
    lambda width: st.tuples(
        *[
            numpy_strategies.arrays(np.int8, st.tuples(st.integers(1, 12), st.just(width)), elements=st.integers(-1, 1))
            for _ in range(2)
        ]
    )
)


@settings(max_examples=60, deadline=None)
@given(label_tables)
def test_guessing_scores_what_the_metrics_say_of_constant_scores(tables):
    found = statistics(*tables)
    # A label that training knows nothing of has no share, and is guessed as absent.
    shares = np.nan_to_num(found.lists[0].shares)
    for table, counted in zip(tables, found.lists):
        judged = multilabel_metrics(np.broadcast_to(shares, table.shape), table)
        for name in ("mAP", "hamming", "element_accuracy"):
            assert getattr(counted.guessing, name) == pytest.approx(getattr(judged, name), nan_ok=True), name
    json.dumps(found.to_dict(), allow_nan=False)


def test_constant_scores_have_their_share_as_average_precision():
    rows = np.random.default_rng(3).integers(0, 2, (50, 1))
    (counted,) = statistics(rows, names=("red",)).lists
    assert counted.guessing.mAP == pytest.approx(average_precision_score(rows[:, 0], np.full(50, 0.3)))


def test_counts_over_many_blocks_agree_with_plain_sums():
    rows = np.random.default_rng(5).choice([-1, 0, 1], (150_000, 4), p=[0.1, 0.6, 0.3])
    (counted,) = statistics(rows).lists
    present = (rows == 1).astype(np.int64)
    assert (counted.cooccurrence == present.T @ present).all()
    assert counted.absent.tolist() == (rows == 0).sum(axis=0).tolist()
    assert counted.label_counts.tolist() == np.bincount(present.sum(axis=1)).tolist()


def test_a_list_without_images_has_no_figures():
    found = statistics(TRAIN, np.zeros((0, 4), np.int8))
    assert found.lists[1].images == 0 and math.isnan(found.lists[1].guessing.mAP)
    assert found.to_dict()["lists"][1]["guessing"] == {"mAP": None, "hamming": None, "element_accuracy": None}


def test_plain_values_hold_names_and_none_where_undefined():
    plain = statistics([[1, 0], [1, -1]], [[0, 1], [1, 1]], names=("red", "hat")).to_dict()
    assert plain["pos_weight"] == {"red": 0.0, "hat": None}
    assert plain["lists"][0]["labels"][1] == {"name": "hat", "present": 0, "absent": 1, "unknown": 1, "share": 0.0}
    assert plain["lists"][1]["pairs_not_in_training"] == [{"labels": ["red", "hat"], "images": 1}]
    assert plain["lists"][1]["images_per_label_count"] == [0, 1, 1]
    assert plain["pairs_without_example"] == []


def test_real_photographs_have_as_many_labels_as_their_set_is_published_with(shared):
    folder = shared / "data" / "miml-scene"
    lists = [read_lst(folder / name, folder / "images") for name in ("train.lst", "val.lst")]
    train, val = label_statistics(lists, ["train", "val"], ["desert", "mountains", "sea", "sunset", "trees"]).lists
    assert (train.images, val.images) == (1400, 200)
    # Zhou and Zhang (NIPS 2006): 1.24 labels an image, over all 2,000 of the set.
    assert (train.present.sum() + val.present.sum()) / 1600 == pytest.approx(1.24, abs=0.01)
    for counted in (train, val):
        assert np.arange(len(counted.label_counts)) @ counted.label_counts == counted.present.sum()
