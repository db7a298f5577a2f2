"""Lines for a person."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mxml.errors import ImageError
from mxml.inference.prediction import Prediction
from mxml.inference.results.rows import LineStream
from mxml.inference.results.terminal import AlignedLines, line_with_scores

NAMES = ("sea", "日本", "x" * 40)


def prediction(path, *scores, error=None):
    return Prediction(path, NAMES, np.array(scores or (np.nan,) * 3, np.float32), error=error)


PREDICTIONS = [
    prediction("a.jpg", 0.75, 0.625, 0),
    prediction("日.jpg", 0, 0.75, 0.625),
    prediction("bad.jpg", error=ImageError("broken")),
    prediction("longer.jpg", 0.25, 0, 0),
    prediction("a" * 99, 0.75, 0, 0),
]


def test_names_and_scores_stand_in_columns_also_below_wide_letters():
    name = "x" * 40
    assert list(AlignedLines(NAMES).lines(PREDICTIONS)) == [
        "a.jpg        sea                      0.75   日本                     0.62",
        f"日.jpg       日本                     0.75   {name} 0.62",
        "longer.jpg   no label reaches its threshold (best: sea 0.25)",
        f"{'a' * 99}   sea                      0.75",
    ]


@pytest.mark.parametrize("batch_size", [1, 2, 99])
def test_no_line_is_lost_at_the_end(batch_size):
    written: list[str] = []
    with LineStream(written.append, aligned=AlignedLines(NAMES), batch_size=batch_size) as stream:
        for one in PREDICTIONS:
            stream.write(one)
    assert "".join(written).count("\n") == 4


def test_a_line_can_have_all_scores():
    odd = Prediction("a.jpg", ("sea", "a, b", "c"), np.array((0.25, 0.5, 0.75), np.float32))
    assert line_with_scores(odd) == 'a.jpg: c 0.75, "a, b" 0.50, (sea 0.25)'


def test_an_image_unlike_the_training_images_says_so():
    far = dataclasses.replace(PREDICTIONS[0], distance=1.5)
    dropped = dataclasses.replace(far, path="b.jpg", is_dropped=True)
    unlike = "unlike the training images"
    assert list(AlignedLines(NAMES[:2]).lines([far, dropped])) == [
        f"a.jpg   sea  0.75   日本 0.62   {unlike}",
        f"b.jpg   {unlike}",
    ]
    scores = f"sea 0.75, 日本 0.62, ({'x' * 40} 0.00); {unlike}"
    assert line_with_scores(far) == f"a.jpg: {scores}"
