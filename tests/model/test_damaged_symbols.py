"""Symbol files that were damaged at random: each is refused or works, and none ends the process that reads it."""

from __future__ import annotations

import os

import damage_symbols


def test_no_damaged_symbol_ends_a_process(checkout, shared):
    """``MXML_DAMAGED_SYMBOLS=5000`` tries more of them than the usual, which take half a minute."""
    count = int(os.environ.get("MXML_DAMAGED_SYMBOLS", "600"))
    sources = [checkout / "models" / "sample-symbol.json", shared / "models" / "squeezenet_v1.0-symbol.json"]
    outcomes, fatal = damage_symbols.try_files(count, 20, sources)
    assert fatal == []
    assert sum(outcomes.values()) == count
    assert outcomes["refused"] > count / 4
    assert outcomes["runs"] > count / 20
