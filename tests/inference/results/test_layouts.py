"""The layouts that machines read, as their readers read them."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mxml.errors import ImageError
from mxml.inference.prediction import Prediction
from mxml.inference.results.layouts import guarded, layout, unguarded

NAMES = ("red", "=1+1", "labels")
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)


def prediction(path, scores=(0.75, 0.625, 0.125), error=None):
    scores = np.array(scores, np.float32) if error is None else np.full(3, np.nan, np.float32)
    return Prediction(path, NAMES, scores, error=error and ImageError(error, path))


def written(kind, predictions, **options):
    chosen = layout(kind, NAMES, **options)
    rows = [chosen.row(one, first=number == 0) for number, one in enumerate(predictions)]
    return chosen, "".join([chosen.head, *rows, chosen.tail])


def test_a_table_has_every_score_and_no_formula():
    _, text = written("csv", [prediction("a,b.jpg"), prediction("@x.jpg", error='no "file"')])
    head, first, bad = csv.reader(io.StringIO(text))
    assert head == ["path", "labels", "error", "red", "'=1+1", "labels score"]
    assert first == ["a,b.jpg", "red|=1+1", "", "0.75000", "0.62500", "0.12500"]
    assert bad == ["'@x.jpg", "", 'no "file"', "", "", ""]


def test_a_table_says_at_its_end_which_images_are_unlike_the_training_images():
    far, near = (dataclasses.replace(prediction("a.jpg"), distance=distance) for distance in (1.25, 0.5))
    chosen = layout("csv", ("red", "distance", "sea"), with_unlike=True)
    rows = [chosen.row(one, first=False) for one in (far, near, prediction("b.jpg", error="bad"))]
    head, *cells = csv.reader(io.StringIO("".join([chosen.head, *rows])))
    assert head == ["path", "labels", "error", "red", "distance score", "sea", "unlike", "distance"]
    assert [row[6:] for row in cells] == [["true", "1.25000"], ["false", "0.50000"], ["", ""]]
    assert [chosen.read_row(row) for row in rows] == [("a.jpg", True), ("a.jpg", True), ("b.jpg", False)]


@given(texts)
@example("'=a")
@example("''+")
@example("'")
def test_a_guarded_cell_is_no_formula_and_reads_back(cell):
    assert guarded(cell)[0] not in "=+-@\t\r"
    assert unguarded(guarded(cell)) == cell


@pytest.mark.parametrize("kind", ["json", "jsonl", "csv"])
@given(st.lists(st.tuples(texts, st.booleans()), max_size=4))
def test_a_row_says_whose_it_is(kind, images):
    chosen, _ = written(kind, [])
    for number, (path, readable) in enumerate(images):
        row = chosen.row(prediction(path, error=None if readable else "bad"), first=number == 0)
        assert chosen.read_row(row) == (path, readable) and row.endswith("\n")


def test_json_is_an_array_or_lines_and_has_all_scores_if_asked():
    predictions = [prediction("a.jpg"), prediction(os.fsdecode(b"\xff.jpg"), error="bad")]
    expected = [one.to_dict() for one in predictions]
    assert json.loads(written("json", predictions)[1]) == expected
    assert json.loads(written("json", [])[1]) == []
    assert [json.loads(line) for line in written("jsonl", predictions)[1].splitlines()] == expected
    first, bad = json.loads(written("json", predictions, with_scores=True)[1])
    assert first.pop("all_scores") == {"red": 0.75, "=1+1": 0.625, "labels": 0.125}
    assert [first, bad] == expected


@pytest.mark.parametrize("row", ['"a"b,c,,1,2\n', "a,b\n", "\n"])
def test_a_row_of_csv_that_somebody_has_damaged_is_no_row(row):
    with pytest.raises(ValueError):
        layout("csv", ("red", "green")).read_row(row)
