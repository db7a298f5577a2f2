"""Maps lie where the network looked, and nothing of them is lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxml.images.network_input import prepare, shown_part
from mxml.images.transforms import Preprocess
from mxml.inference.explain.placement import on_picture, spread, to_picture
from mxml.model.receptive_fields import CellGrid

PREPARED = [
    Preprocess((48, 64), 70),
    Preprocess((64, 48), None),
    Preprocess((48, 64), None, fit="letterbox"),
    Preprocess((48, 64), None, fit="stretch"),
]


def grid(start, step, variance):
    return CellGrid(np.array(start, float), np.array(step, float), np.array(variance, float))


@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(*[st.floats(-100, 100)] * 2),
    st.tuples(*[st.floats(0.5, 50)] * 2),
    st.tuples(*[st.floats(0, 1000)] * 2),
)
def test_spreading_keeps_the_sum_wherever_the_cells_are(area, size, start, step, variance):
    cells = np.random.default_rng(0).normal(0, 1, area)
    found = spread(cells, grid(start, step, variance), size)
    assert found.shape == size and np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(), cells.sum(), atol=1e-9)


def test_a_cell_is_spread_around_its_centre_as_far_as_it_sees():
    cells = np.zeros((3, 3))
    cells[1, 2] = 2.0
    found = spread(cells, grid((20, 10), (30, 20), (4, 9)), (100, 100))
    middles = np.arange(100) + 0.5
    y, x = found.sum(axis=1) / 2, found.sum(axis=0) / 2
    assert (y @ middles, x @ middles) == (pytest.approx(50), pytest.approx(50))
    assert y @ (middles - 50) ** 2 == pytest.approx(4 + 30**2 / 6, rel=1e-3)
    assert x @ (middles - 50) ** 2 == pytest.approx(9 + 20**2 / 6, rel=1e-3)


@pytest.mark.parametrize("preprocess", PREPARED, ids=["crop", "whole-crop", "letterbox", "stretch"])
@given(st.integers(40, 300), st.integers(40, 300), st.floats(0.1, 0.9), st.floats(0.1, 0.9))
def test_what_the_input_shows_is_put_back_where_it_is_in_the_picture(preprocess, width, height, across, down):
    shown = shown_part(preprocess, width, height)
    left, top, part_width, part_height = shown.region
    x, y = (left + across * part_width) * width, (top + down * part_height) * height
    # A soft spot, as large in the input whatever is done to the picture.
    scale = part_width * width / shown.box[2], part_height * height / shown.box[3]
    rows, columns = np.mgrid[:height, :width] + 0.5
    spot = np.exp(-(((columns - x) / scale[0]) ** 2 + ((rows - y) / scale[1]) ** 2) / 18)
    picture = np.repeat(np.rint(spot * 255)[..., None], 3, axis=2).astype(np.uint8)
    data = prepare(picture, preprocess).mean(axis=0)
    found = on_picture(data, shown, (width, height))
    assert found.shape == (height, width)
    seen = np.isfinite(found)
    at = np.unravel_index(np.nanargmax(found), found.shape)
    tolerance = 1.5 * max(*scale, 1)
    assert abs(at[1] + 0.5 - x) <= tolerance and abs(at[0] + 0.5 - y) <= tolerance
    # All of the picture is seen, unless it is cropped: then whole rows and columns of it.
    assert (seen == (seen.any(axis=1)[:, None] & seen.any(axis=0))).all()
    assert seen.mean() == pytest.approx(part_width * part_height, abs=2 / min(width, height))
    # A single place goes the same way.
    row, column = np.unravel_index(data.argmax(), data.shape)
    place = to_picture(column + 0.5, row + 0.5, shown, (width, height))
    assert np.hypot(place[0] - x, place[1] - y) <= 2 * tolerance
