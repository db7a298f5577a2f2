"""Damaged symbol files, at random and one thing after another: each is refused or works, and none ends a process."""

from __future__ import annotations

import json
import os

import damage_symbols


def test_no_damaged_symbol_ends_a_process(checkout, shared):
    """``MXML_DAMAGED_SYMBOLS=5000`` tries more of them than the usual, which take half a minute."""
    count = int(os.environ.get("MXML_DAMAGED_SYMBOLS", "600"))
    sources = [checkout / "models" / "sample-symbol.json", shared / "models" / "squeezenet_v1.0-symbol.json"]
    outcomes, fatal = damage_symbols.try_files(damage_symbols.at_random(count, 20, sources))
    assert fatal == []
    assert sum(outcomes.values()) == count
    assert outcomes["refused"] > count / 4
    assert outcomes["runs"] > count / 20


def test_no_damage_to_an_operator_of_the_sample_ends_a_process(checkout):
    """Each input taken away, added, swapped and out of range; each attribute with every odd value."""
    sample = json.loads((checkout / "models" / "sample-symbol.json").read_text())
    documents = list(damage_symbols.each_damage(sample))
    damaged = [document["nodes"][-1]["op"] for document in documents]
    assert set(damaged) == {node["op"] for node in sample["nodes"]} - {"null"}
    outcomes, fatal = damage_symbols.try_files(documents)
    assert fatal == []
    assert sum(outcomes.values()) == len(documents) > 3000
    assert outcomes["refused"] > len(documents) * 3 / 4
    assert outcomes["runs"] > len(documents) / 20
