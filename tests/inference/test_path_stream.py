"""The lines that a program sends, in the pieces in which they come."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from mxml.errors import MxmlError
from mxml.inference.path_stream import answers


class Recorded:
    """Stands for what computes: answers with the names, and how many images are computed at once."""

    def predict(self, items: Any, batch_size: int) -> Any:
        return [(item.name, len(items)) for item in items]


def answered(*pieces, batch_size=3):
    source, sink = os.pipe()

    def send():
        for piece in pieces:
            os.write(sink, piece)
        os.close(sink)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        return list(answers(Recorded(), source, batch_size=batch_size))  # type: ignore[arg-type]
    finally:
        sender.join()
        os.close(source)


def test_lines_may_come_in_pieces_and_need_no_last_end():
    found = answered(b"a.j", b"pg\nb", b".jpg\r", b"\n\xff.jpg\n\nlast", batch_size=99)
    assert [name for name, _ in found] == ["a.jpg", "b.jpg", os.fsdecode(b"\xff.jpg"), "", "last"]
    assert answered() == []


def test_a_batch_is_computed_only_where_a_whole_one_waits():
    found = answered(b"".join(b"%d\n" % number for number in range(8)))
    assert [name for name, _ in found] == [str(number) for number in range(8)]
    assert [count for _, count in found] == [3, 3, 3, 3, 3, 3, 1, 1]


def test_a_line_that_never_ends_is_refused():
    with pytest.raises(MxmlError, match="a line on stdin has more than 65,536 bytes, should be the path of one image"):
        answered(b"x" * 65_000, b"x" * 65_000)
