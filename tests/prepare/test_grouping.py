"""Images that a split keeps together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxml.errors import MxmlError
from mxml.prepare.grouping import group_by_pattern, join_groups


def test_names_with_the_same_text_are_one_group():
    names = ["p1_a.jpg", "p2_a.jpg", "p1_b.jpg", "other.jpg", "another.jpg"]
    groups = group_by_pattern(names, r"^(p\d+)_")
    assert groups[0] == groups[2]
    assert len(set(groups.tolist())) == 4, "names without a match are alone"
    assert len(set(group_by_pattern(names, r"^p\d+_").tolist())) == 4, "without groups the whole match counts"
    assert len(set(group_by_pattern(names, r"^(p)(\d+)_").tolist())) == 4, "all groups together count"


def test_expressions_that_cannot_be_meant_are_refused():
    with pytest.raises(MxmlError, match=r"`group_by` \(: should be a regular expression: missing"):
        group_by_pattern(["a"], "(")
    with pytest.raises(MxmlError, match=r"should be a regular expression: unterminated"):
        group_by_pattern(["a"], "[[")
    with pytest.raises(MxmlError, match=r"should be a regular expression: the repetition number is too large"):
        group_by_pattern(["a"], "a{99999999999999999999}")
    with pytest.raises(MxmlError, match="`group_by` x: finds nothing in any name, such as 'a'"):
        group_by_pattern(["a", "b"], "x")


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(-3, 6)), max_size=30))
def test_joined_groups_are_the_finest_that_hold_both(pairs):
    first, second = (np.array([pair[which] for pair in pairs], np.int64) for which in (0, 1))
    joined = join_groups(first, second).tolist()
    # Plain union by repeated relabelling.
    expected = list(range(len(pairs)))
    for _ in pairs:
        for i in range(len(pairs)):
            for j in range(len(pairs)):
                if pairs[i][0] == pairs[j][0] or pairs[i][1] == pairs[j][1]:
                    expected[i] = expected[j] = min(expected[i], expected[j])
    same = [[a == b for b in joined] for a in joined]
    assert same == [[a == b for b in expected] for a in expected]
