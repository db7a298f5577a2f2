from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxml.errors import SettingError
from mxml.inference.part import Part

COUNT = 16


@given(st.text(st.characters(codec="utf-8")), st.integers(1, 50))
def test_every_image_is_in_one_part(path, count):
    assert sum(Part(number, count).holds(path) for number in range(1, count + 1)) == 1


def test_the_parts_stay_the_same_and_are_about_as_large():
    paths = [f"photos/{number:05d}.jpg" for number in range(10_000)]
    sizes = [sum(map(Part(number, COUNT).holds, paths)) for number in range(1, COUNT + 1)]
    assert sum(sizes) == len(paths) and all(500 < size < 750 for size in sizes)
    # Machines with other versions share the work too: SHA-256, its first eight bytes, modulo the count.
    assert [Part(number, 4).holds("photos/a.jpg") for number in range(1, 5)].index(True) == 3


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "1/0", "-1/4", "1/1000001", "1/2/3", "a/b", "1 / 4"])
def test_what_names_no_part_is_refused(text):
    with pytest.raises(SettingError, match=r"should be K/N, part K of N, such as 3/16"):
        Part.parse(text)


def test_a_part_is_parsed():
    assert Part.parse("3/16") == Part(3, 16) and str(Part(3, 16)) == "3/16"
