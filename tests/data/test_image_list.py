"""Lists in memory."""

from __future__ import annotations

import numpy as np
import pytest

from mxml.data.image_list import ImageList
from mxml.errors import ListError


def rows(images):
    return list(zip(images.index.tolist(), images.labels.tolist(), images.names()))


def test_select_keeps_index_labels_and_names():
    images = ImageList.from_rows(["a.jpg", "bb.jpg", "c.jpg"], [[1, 0], [0, 0], [-1, 1]], "r", [4, 5, 6])
    assert rows(images.select([2, 0, 2])) == [(6, [-1, 1], "c.jpg"), (4, [1, 0], "a.jpg"), (6, [-1, 1], "c.jpg")]
    assert images.select(np.array([1])).path(0) == "r/bb.jpg"
    assert len(images.select([])) == 0


def test_a_list_does_not_change():
    images = ImageList.from_rows(["a.jpg", "b.jpg"], [[1, 0], [-1, 1]])
    for column in (images.labels, images.index, images.select([0]).labels):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1


def test_rows_of_other_values_and_shapes():
    assert ImageList.from_rows(["a"], [[0.5, 1]]).labels.dtype == np.float32
    assert ImageList.from_rows(["a"], np.ones((1, 2))).labels.dtype == np.int8
    with pytest.raises(ListError, match="'b' are not finite"):
        ImageList.from_rows(["a", "b"], [[0.5], [np.nan]])
    with pytest.raises(ValueError, match=r"should be \(1, number of classes\)"):
        ImageList.from_rows(["a"], [0, 1])
