"""Text for messages: cut, counted and safe to print."""

from __future__ import annotations

from mxml.text import counted, printable, quoted, shown


def test_names_in_messages_are_cut():
    assert shown(["red", "x" * 100]) == "red, " + "x" * 57 + "..."
    assert shown(["red", "hat", "tie"], most=2) == "red, hat and 1 more"
    assert quoted("a\nb") == r"'a\nb'"


def test_counts_agree_with_their_noun():
    assert [counted(count, "image") for count in (0, 1, 1000)] == ["0 images", "1 image", "1,000 images"]
    assert counted(2, "label of an image", "labels of images") == "2 labels of images"


def test_nothing_moves_the_cursor():
    assert printable("é\x1b[2J\n\udce9") == r"é\x1b[2J\n\udce9"
