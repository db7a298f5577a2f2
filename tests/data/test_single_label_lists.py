"""Lists for a softmax classifier: exactly one label per image."""

from __future__ import annotations

import pytest

from mxml.data.lst_file import read_lst
from mxml.data.single_label import require_single_labels
from mxml.errors import ListError


def check(tmp_path, *lines):
    path = tmp_path / "x.lst"
    path.write_text("".join(f"{line}\n" for line in lines))
    require_single_labels(path, read_lst(path), "training demands")


def test_one_label_on_each_line_is_accepted(tmp_path):
    check(tmp_path, "0\t1\t0\ta.jpg", "", "1\t0\t1\tb.jpg")


def test_every_other_line_is_named_by_its_number_in_the_file(tmp_path):
    lines = ["0\t1\t0\t0\ta.jpg", "", "1\t0\t0\t0\tb.jpg", "2\t1\t0\t1\tc.jpg", "", "3\t1\t-1\t-1\td.jpg"]
    with pytest.raises(ListError) as found:
        check(tmp_path, *lines)
    path = tmp_path / "x.lst"
    assert str(found.value).splitlines() == [
        f"{path}: training demands exactly one label of each image, and 3 of 4 have none, several, or unknown ones",
        f"{path}:3: 0 labels are 1, should be one, and the others 0",
        f"{path}:4: 2 labels are 1, should be one, and the others 0",
        f"{path}:6: 1 labels are 1 and 2 unknown, should be one, and the others 0",
    ]


def test_faults_beyond_the_first_twenty_are_counted(tmp_path):
    with pytest.raises(ListError, match=r"x.lst:19: .*\n\.\.\. and 6 more"):
        check(tmp_path, *(f"{number}\t0\t0\t{number}.jpg" for number in range(25)))


def test_a_list_of_one_label_has_nothing_to_choose(tmp_path):
    with pytest.raises(ListError, match="has one label; single labels are chosen from two or more"):
        check(tmp_path, "0\t1\ta.jpg")
