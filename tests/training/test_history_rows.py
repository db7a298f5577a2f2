"""The history: its rows, its CSV with a column per label, and the line per epoch."""

from __future__ import annotations

import csv
import dataclasses
import io
from typing import Any

import numpy as np
import pytest

from mxml.evaluation.metrics import multilabel_metrics
from mxml.model.sidecar import Epoch
from mxml.training.history import (
    COLUMNS,
    PER_CLASS,
    ap_column,
    best_epoch,
    epoch_line,
    history_rows,
    is_head_fit,
    label_columns,
    stored_metrics,
    thinned,
    to_csv,
    why_not_the_highest,
)

NAMES = ("red", "mAP", 'dark, "green"')


def epoch(number=1, **changes):
    """An epoch of three labels, of which the last never occurs."""
    scores = np.array([[0.9, 0.2, 0.1], [0.8, 0.7, 0.1], [0.3, 0.6, 0.2]])
    labels = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0]])
    metrics: dict[str, Any] = {
        "lr": 0.1,
        "train_loss": 0.5,
        "train_accuracy": 0.75,
        "seconds": 2.0,
        "images_per_second": 40.0,
    }
    metrics["val"] = stored_metrics(multilabel_metrics(scores, labels))
    return Epoch(number, 5, {**metrics, **changes}, {})


def test_the_csv_has_a_column_for_each_labels_ap():
    rows = list(csv.DictReader(io.StringIO(to_csv(history_rows([epoch(1), epoch(2)], NAMES)))))
    assert list(rows[0]) == [*COLUMNS, "AP red", "AP mAP", 'AP dark, "green"']
    # Red: right at ranks 1 and 3, (1 + 2/3) / 2. The second label is right at rank 1.
    assert [float(rows[1][f"AP {name}"]) for name in NAMES[:2]] == [pytest.approx(5 / 6, abs=1e-6), 1.0]
    assert rows[1]['AP dark, "green"'] == ""
    assert float(rows[1]["mAP"]) == pytest.approx((5 / 6 + 1) / 2)
    assert label_columns(rows[0]) == {ap_column(name): name for name in NAMES}


def test_a_sidecar_of_before_has_no_ap_and_is_read():
    old = epoch()
    val = {name: value for name, value in old.metrics["val"].items() if name not in PER_CLASS}
    (row,) = history_rows([Epoch(1, 5, {**old.metrics, "val": val}, {})], NAMES)
    assert [row[ap_column(name)] for name in NAMES] == [None] * 3
    assert row["mAP"] == old.metrics["val"]["mAP"]
    assert list(history_rows([old])[0]) == list(COLUMNS)


def test_the_metrics_of_labels_are_stored_rounded_and_the_others_exactly():
    val = epoch().metrics["val"]
    assert val["per_class"][0]["AP"] == 0.833333
    assert val["mAP"] == pytest.approx((5 / 6 + 1) / 2, rel=1e-12)
    assert val["per_class"][2]["AP"] is None


def per_label(epochs):
    """Return which metrics of labels each epoch has."""
    return [[name for name in PER_CLASS if name in entry.metrics["val"]] for entry in epochs]


def of_before(entry):
    """An epoch as earlier versions wrote it: its APs are in `per_class` alone."""
    val = {name: value for name, value in entry.metrics["val"].items() if name != "AP_per_class"}
    return dataclasses.replace(entry, metrics={**entry.metrics, "val": val})


def test_the_best_and_the_last_epoch_keep_all_metrics_of_labels_and_the_others_their_ap():
    whole = [epoch(number) for number in range(1, 5)]
    both, AP = ["per_class", "AP_per_class"], ["AP_per_class"]
    thin = thinned(whole, 2)
    assert per_label(thin) == [AP, both, AP, both]
    assert history_rows(thin, NAMES) == history_rows(whole, NAMES)
    assert (thin[1], thin[3]) == (whole[1], whole[3])
    # The last epoch has become the best, and is followed by another.
    assert per_label(thinned((*thin, epoch(5)), 4)) == [AP, AP, AP, both, both]
    mixed = [*map(of_before, whole), epoch(5)]
    assert per_label(thinned(mixed, 2)) == [AP, ["per_class"], AP, AP, both]
    assert history_rows(thinned(mixed, 2), NAMES) == history_rows(mixed, NAMES)
    val = {"loss": 0.1}
    without_labels = Epoch(1, 5, {"val": val}, {})
    assert thinned([without_labels, epoch(2)], None)[0] == without_labels


def test_of_very_many_labels_only_the_newest_epochs_and_the_best_keep_their_aps():
    def with_labels(count, number):
        per_class = [{"index": 0, "AP": 0.5}] * count
        return Epoch(number, 5, {"val": {"loss": 0.1, "per_class": per_class, "AP_per_class": [0.5] * count}}, {})

    AP = ["AP_per_class"]
    many = thinned([with_labels(1_000_000, number) for number in range(1, 6)], 1)
    assert per_label(many) == [AP, [], AP, AP, AP]
    assert per_label(thinned([with_labels(4_000_000, 1), with_labels(4_000_000, 2)], 2)) == [[], AP]


def test_an_epoch_that_only_fitted_the_head_has_no_training_loss():
    whole = epoch()
    fitted = Epoch(1, 0, {"val": whole.metrics["val"]}, {})
    (row,) = history_rows([fitted], NAMES)
    assert row["train_loss"] is row["lr"] is row["seconds"] is None
    assert is_head_fit(row) and not is_head_fit(history_rows([whole])[0])
    assert is_head_fit(next(csv.DictReader(io.StringIO(to_csv([row])))))
    assert epoch_line(row, 10, True).startswith("epoch 1/10: val loss 0.")
    assert epoch_line(row, 10, True).endswith(", acc 0.6667, best so far")


def test_the_line_says_how_long_the_rest_takes():
    (row,) = history_rows([epoch()])
    assert epoch_line(row, 3, False, "2 min 10 s left").endswith(", 40 img/s, 2 min 10 s left")
    assert epoch_line(row, 3, True).endswith(", 40 img/s, best so far")


def judged(*metrics, best_by="mAP"):
    """Epochs of 144 validation images, 1, 2 and so on: mAPs within 0.1 / 12 = 0.0083 are equal."""
    vals = [{best_by: value, "loss": loss, "samples": 144} for value, loss in metrics]
    return [Epoch(number, 5, {"val": val}, {}) for number, val in enumerate(vals, 1)]


def test_the_best_epoch_says_why_it_has_not_the_highest_metric():
    of_lower_loss = judged((0.91, 0.5), (0.936, 0.3), (0.9338, 0.2))
    assert best_epoch(of_lower_loss, "mAP") == 3
    assert why_not_the_highest(of_lower_loss, "mAP") == (
        "no worse than the 0.9360 of epoch 2 within 0.008, and of lower loss"
    )
    assert why_not_the_highest(judged((0.93, 0.2), (0.931, 0.19999)), "mAP").endswith("and of the same loss")
    # It has the highest one, the others are further off, nothing was measured, and hardly any Hamming loss is equal.
    assert why_not_the_highest(judged((0.9, 0.2), (0.95, 0.3)), "mAP") == ""
    assert why_not_the_highest([], "mAP") == why_not_the_highest(judged((None, 0.2)), "mAP") == ""
    assert why_not_the_highest(judged((0.1, 0.2), (0.101, 0.1), best_by="hamming"), "hamming") == ""
