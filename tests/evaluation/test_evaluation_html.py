"""An evaluation in a notebook: its tables, escaped and of bounded size."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np

from mxml.cli.evaluate import _SHOWN
from mxml.data.image_list import ImageList
from mxml.evaluation.evaluation import Evaluation
from mxml.evaluation.scored_list import ScoredList
from mxml.evaluation.scores import Scores


class Cells(HTMLParser):
    def __init__(self):
        super().__init__()
        self.rows = []
        self.tags = set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])

    def handle_data(self, data):
        if self.rows and data.strip():
            self.rows[-1].append(data.strip())


def evaluated(names, scores, labels):
    images = ImageList.from_rows([f"{number}.jpg" for number in range(len(labels))], labels, root="images")
    scored = ScoredList("lists/<i>.lst", images, Scores(scores, np.log(scores / (1 - scores)), ()))
    return Evaluation.of("runs/x", 3, names, scored, np.full(len(names), 0.5))


def test_a_notebook_shows_the_metrics_of_the_list_and_of_each_label():
    scores = np.array([[0.9, 0.2], [0.8, 0.7], [0.3, 0.6]], np.float32)
    labels = np.array([[1, 0], [0, 1], [1, 0]], np.int8)
    shown = Cells()
    evaluation = evaluated(("<script>", "b"), scores, labels)
    shown.feed(evaluation._repr_html_())
    headlines, values, columns, first, second = shown.rows
    assert "script" not in shown.tags and "i" not in shown.tags
    assert float(values[headlines.index("mAP")]) == round(evaluation.metrics.mAP, 3)
    assert columns == ["label", "AP", "precision", "recall", "F1", "present", "predicted", "threshold"]
    assert "exact match" in headlines and set(headlines) <= {text for _, text in _SHOWN}
    # Class 0 ranks 0.9+ 0.8- 0.3+: (1/1 + 2/3) / 2; class 1 ranks 0.7+ first.
    assert first == ["<script>", "0.833", "0.500", "0.500", "0.500", "2", "2", "0.500"]
    assert second[:4] == ["b", "1.000", "0.500", "1.000"]


def test_a_terminal_shows_an_evaluation_in_one_short_line():
    scores = np.array([[0.9, 0.2], [0.8, 0.7], [0.3, 0.6]], np.float32)
    evaluation = evaluated(("a", "b"), scores, np.array([[1, 0], [0, 1], [1, 0]], np.int8))
    # AP 5/6 and 1; precision 1/2 and 1/2, recall 1/2 and 1: CF1 is 2 * 0.5 * 0.75 / 1.25.
    assert repr(evaluation) == "<Evaluation mAP 0.9167, CF1 0.6000, 3 images of lists/<i>.lst>"


def test_thousands_of_labels_are_cut():
    names = tuple(f"label {number}" for number in range(1000))
    scores = np.random.default_rng(0).uniform(0.1, 0.9, (3, 1000)).astype(np.float32)
    shown = evaluated(names, scores, (scores > 0.4).astype(np.int8))._repr_html_()
    assert "… and 800 more" in shown and "label 199" in shown and "label 200" not in shown
