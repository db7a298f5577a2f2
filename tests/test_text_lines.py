"""Lines in the order and with the numbers that an editor shows, and limits on what is taken."""

from __future__ import annotations

import random

import pytest

from mxml.errors import ListError
from mxml.text_lines import MAX_LINE_BYTES, read_blocks, read_lines


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("last_end", [True, False])
def test_blocks_hold_all_lines_with_their_numbers(tmp_path, line_end, last_end):
    draw = random.Random(5)
    lines = [b"%d " % i + b"x" * draw.choice([0, 10, 1000, 300_000]) for i in range(60)]
    lines[30:30] = [b"", b""]
    path = tmp_path / "long.txt"
    path.write_bytes(line_end.join(lines) + (line_end if last_end else b""))
    assert path.stat().st_size > 3 * MAX_LINE_BYTES
    numbered: dict[int, bytes] = {}
    for first, block in read_blocks(path):
        numbered.update(enumerate(block.split(b"\n"), first))
    assert numbered == dict(enumerate(lines, 1))


def test_the_longest_line_is_taken_and_a_longer_one_is_not(tmp_path):
    path = tmp_path / "long.txt"
    path.write_bytes(b"first\n" + b"x" * MAX_LINE_BYTES + b"\nlast\n")
    assert [len(line) for line in read_lines(path)] == [5, MAX_LINE_BYTES, 4]
    path.write_bytes(b"first\n" + b"x" * (MAX_LINE_BYTES + 1) + b"\nlast\n")
    with pytest.raises(ListError, match=r"long\.txt:2: is longer than 1,048,576 bytes"):
        list(read_lines(path))
    path.write_bytes(b"x" * (10 << 20))
    with pytest.raises(ListError, match=r"long\.txt:1: is longer"):
        list(read_lines(path))


def test_a_byte_order_mark_is_no_text(tmp_path):
    path = tmp_path / "bom.txt"
    path.write_bytes("\ufeffété\r\n\ufeffx".encode())
    assert list(read_lines(path)) == ["été", "\ufeffx"]


def test_the_line_that_is_no_utf8_is_named(tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes("fine\n\ncafé\n".encode("latin-1"))
    with pytest.raises(ListError, match=r"latin\.txt:3: is not UTF-8 text \(byte 0xe9 in column 4\); save the file"):
        list(read_lines(path))
