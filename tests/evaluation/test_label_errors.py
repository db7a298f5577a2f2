"""Likely wrong labels: by hand, by the paper's definition in plain loops, and found where labels are flipped."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mxml.data.image_list import ImageList
from mxml.evaluation.evaluation import Evaluation
from mxml.evaluation.label_errors import multilabel_errors, single_label_errors
from mxml.evaluation.scored_list import ScoredList
from mxml.evaluation.scores import Scores


def test_worked_out_by_hand():
    # present: 0.9, 0.8, 0.1, mean 0.6; absent: 1 - score 0.9, 0.8, 0.25, mean 0.65
    scores = np.array([[0.9, 0.8, 0.1, 0.1, 0.2, 0.75]], np.float32).T
    labels = np.array([[1, 1, 1, 0, 0, 0]], np.int8).T
    # 0.1 is present and 1 - 0.1 >= 0.65; 0.75 is absent and >= 0.6. The surer one comes first.
    assert multilabel_errors(scores, labels).tolist() == [[2, 0], [5, 0]]
    # What the model does not give an image is no label that the list lacks.
    assert multilabel_errors(scores, labels, thresholds=np.array([0.8])).tolist() == [[2, 0]]
    # An unknown value takes no part: without 0.1 the mean of the present ones is 0.85, which 0.75 does not reach.
    labels[2] = -1
    assert multilabel_errors(scores, labels).tolist() == []


def test_single_labels_by_hand():
    scores = np.array([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.15, 0.75, 0.1], [0.2, 0.2, 0.6]])
    given_labels = np.eye(3, dtype=np.int8)[[0, 0, 1, 0, 2]]
    # means: (0.7 + 0.5 + 0.15) / 3 = 0.45, 0.8, 0.6; the fourth image's 0.75 is below the mean of the second label
    assert single_label_errors(scores, given_labels).tolist() == []
    scores[3] = [0.1, 0.85, 0.05]
    assert single_label_errors(scores, given_labels).tolist() == [[3, 0, 1]]


def test_a_label_that_all_or_no_images_have_has_no_errors():
    scores = np.random.default_rng(1).random((30, 2))
    labels = np.stack([np.zeros(30), np.ones(30)], axis=1).astype(np.int8)
    labels[::3] = -1
    assert len(multilabel_errors(scores, labels)) == 0


def off_the_diagonal(scores, values, count):
    """Return what the paper's equations 1 and 2 count off the diagonal, as {row: likely value}; float64 loops."""
    means = {}
    for value in range(count):
        own = [scores[row][value] for row in range(len(values)) if values[row] == value]
        if own:
            means[value] = sum(own) / len(own)
    found = {}
    for row, value in enumerate(values):
        confident = [other for other in means if scores[row][other] >= means[other] - 1e-6]
        if confident:
            likely = max(confident, key=lambda other: scores[row][other])
            if likely != value:
                found[row] = likely
    return found


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(2, 5), st.booleans())
def test_it_is_the_papers_definition(seed, rows, classes, coarse):
    generator = np.random.default_rng(seed)
    scores = generator.dirichlet(np.ones(classes), rows)
    labels = generator.integers(-1, 2, (rows, classes))
    if coarse:
        scores = scores.round(1)
    for column in range(classes):
        known = np.flatnonzero(labels[:, column] >= 0)
        values, present = labels[known, column].tolist(), scores[known, column]
        expected = {
            int(known[row])
            for row in off_the_diagonal(np.stack([1 - present, present], axis=1).tolist(), values, 2)
            if (present[row] >= 0.5) != values[row]
        }
        found = multilabel_errors(scores[:, [column]], labels[:, [column]])
        assert set(found[:, 0].tolist()) == expected
    values = generator.integers(0, classes, rows)
    found = single_label_errors(scores, np.eye(classes, dtype=np.int8)[values])
    expected_values = {
        row: likely
        for row, likely in off_the_diagonal(scores.tolist(), values.tolist(), classes).items()
        if scores[row].argmax() != values[row]
    }
    assert {row: (own, likely) for row, own, likely in found.tolist()} == {
        row: (values[row], likely) for row, likely in expected_values.items()
    }


def flipped(seed, share, images=3000, classes=6):
    """Return logits of a fair model, right labels, and labels of which a share is flipped."""
    generator = np.random.default_rng(seed)
    labels = (generator.random((images, classes)) < np.linspace(0.05, 0.5, classes)).astype(np.int8)
    logits = (generator.normal(0, 1, labels.shape) + np.where(labels == 1, 3, -3)).astype(np.float32)
    flips = generator.random(labels.shape) < share
    return logits, labels, flips


def test_labels_that_were_flipped_are_found():
    logits, labels, flips = flipped(1, 0.05)
    scores = 1 / (1 + np.exp(-logits))
    found = multilabel_errors(scores, np.where(flips, 1 - labels, labels))
    right = np.count_nonzero(flips[tuple(found.T)])
    assert right / len(found) > 0.95
    assert right / flips.sum() > 0.75
    assert len(multilabel_errors(scores, labels)) < 0.01 * labels.size


def evaluation(scores, labels, bad=(), **settings):
    """Evaluate scores without a model."""
    images = ImageList.from_rows([f"{row}.jpg" for row in range(len(labels))], labels)
    logits = np.log(scores) if settings.get("single_label") else np.log(scores / (1 - scores))
    names = tuple("abcdef"[: labels.shape[1]])
    listed = ScoredList("val.lst", images, Scores(scores.astype(np.float32), logits.astype(np.float32), bad))
    return Evaluation.of("run", 3, names, listed, np.full(labels.shape[1], 0.5), **settings)


def test_an_evaluation_names_the_images_and_the_labels():
    scores = np.array([[0.9, 0.5], [0.8, 0.5], [0.1, 0.5], [0.1, 0.5], [0.2, 0.5], [0.75, 0.5]])
    labels = np.array([[1, -1], [1, -1], [1, -1], [0, -1], [0, -1], [0, -1]])
    first, second = evaluation(scores, labels).label_errors()
    assert (first.position, first.path, first.class_id, first.name, first.present) == (2, "2.jpg", 0, "a", True)
    assert (second.path, second.name, second.present, second.likely) == ("5.jpg", "a", False, None)
    assert evaluation(scores, labels).to_dict()["label_errors"][1] == {
        "path": "5.jpg", "name": "a", "present": False, "score": 0.75,
    }  # fmt: skip


def test_an_evaluation_of_single_labels_says_what_is_likely_instead():
    scores = np.array([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.1, 0.85, 0.05], [0.2, 0.2, 0.6]])
    labels = np.eye(3, dtype=np.int8)[[0, 0, 1, 0, 2]]
    (error,) = evaluation(scores, labels, single_label=True).label_errors()
    assert (error.path, error.name, error.likely) == ("3.jpg", "a", "b")
    assert error.to_dict()["likely"] == "b"
