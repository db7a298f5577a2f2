import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxml.errors import SettingError
from mxml.evaluation.thresholds import resolve_thresholds

NAMES = ("red", "dark, green", "blue")
OWN = np.array([0.2, 0.4, 0.6])


@pytest.mark.parametrize(
    ("threshold", "resolved"),
    [
        (None, [0.2, 0.4, 0.6]),
        (0.5, [0.5, 0.5, 0.5]),
        (0, [0, 0, 0]),
        (np.float32(0.25), [0.25, 0.25, 0.25]),
        ([0.1, 0.2, 1], [0.1, 0.2, 1]),
        (np.array([0.1, 0.2, 0.3]), [0.1, 0.2, 0.3]),
        ({"blue": 0.9, "dark, green": 0}, [0.2, 0, 0.9]),
        ({}, [0.2, 0.4, 0.6]),
    ],
)
def test_one_number_one_per_label_or_some_by_name(threshold, resolved):
    np.testing.assert_array_equal(resolve_thresholds(threshold, NAMES, OWN), resolved)
    np.testing.assert_array_equal(OWN, [0.2, 0.4, 0.6])


@given(st.dictionaries(st.sampled_from(NAMES), st.floats(0, 1)))
def test_labels_that_are_not_named_keep_their_own(threshold):
    resolved = resolve_thresholds(threshold, NAMES, OWN)
    assert list(resolved) == [threshold.get(name, own) for name, own in zip(NAMES, OWN)]


@pytest.mark.parametrize(
    ("threshold", "message"),
    [
        (1.5, r"`threshold` 1\.5: should be a number from 0 to 1"),
        (float("nan"), "`threshold` nan: should be a number from 0 to 1"),
        ("half", "`threshold` half: should be"),
        ([0.5, 0.5], r"`threshold` 0\.5,0\.5: should be one number, or one for each of the 3 labels, not 2"),
        ([0.5, 0.5, -1], "`threshold` -1: should be a number"),
        ([0.5, 0.5, None], "`threshold` none: should be a number"),
        ({"blue": 2}, "`threshold` 2: should be a number"),
        (
            {"blu": 0.5},
            "`threshold` blu: should be the name of a label, such as 'blue'; labels are red, \"dark, green\"",
        ),
        ({"xyz": 0.5}, "`threshold` xyz: should be the name of a label; labels are"),
    ],
)
def test_what_is_no_threshold_is_refused(threshold, message):
    with pytest.raises(SettingError, match=message):
        resolve_thresholds(threshold, NAMES, OWN)
