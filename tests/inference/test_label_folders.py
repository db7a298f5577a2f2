from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxml.inference.label_folders import folder_names


@pytest.mark.parametrize(
    ("labels", "folders"),
    [
        (["red dress", "Düne", "日本"], ["red dress", "Düne", "日本"]),
        (["a/b", "..", "-rf", ".hidden", "c:", "end. "], ["a_b", "__", "_rf", "_hidden", "c_", "end__"]),
        (["Red", "red", "RED"], ["Red", "red_2", "RED_3"]),
        (["red", "red_2", "RED"], ["red", "red_2", "RED_3"]),
        (["CON", "con.txt", "console"], ["_CON", "_con.txt", "console"]),
        (["_none", "", "new\nline", "_Unlike"], ["_none_2", "_", "new_line", "_Unlike_2"]),
        (["e\u0301", "é"], ["é", "é_2"]),
    ],
)
def test_a_label_becomes_a_folder_of_its_own(labels, folders):
    assert list(folder_names(labels)) == folders


@given(st.lists(st.text(max_size=300), max_size=8))
def test_folders_differ_on_every_file_system_and_lead_nowhere_else(labels):
    folders = folder_names(labels)
    assert len({folder.casefold() for folder in folders}) == len(labels)
    for folder in folders:
        assert folder and "/" not in folder and folder[0] not in ".-" and folder[-1] not in ". "
        assert len(folder.encode()) < 255
