"""The benchmarks' scripts: runs of hours are kept, and kept as what they were."""

from __future__ import annotations

import subprocess
import sys

import pytest


def test_a_run_that_was_cut_short_in_its_file_is_left_out_and_spoils_no_other(checkout, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(checkout / "benchmarks")
    from kept_runs import KeptRuns

    path, run = tmp_path / "runs.jsonl", {"mAP": 0.5, "seconds": 1.0}
    kept = KeptRuns([path], "recipe", "seed")
    kept.add(("fast", 0), run)
    kept.add(("fast", 1), run)
    path.write_bytes(path.read_bytes()[:-9])
    kept = KeptRuns([path], "recipe", "seed")
    assert list(kept) == [("fast", 0)] and f"{path}:2: is cut short" in capsys.readouterr().err
    kept.add(("fast", 2), run)
    assert list(KeptRuns([path], "recipe", "seed")) == [("fast", 0), ("fast", 2)]


@pytest.mark.parametrize("given", ["--seed", "--seed=3", "--prefix", "--force", "--resume"])
def test_the_table_of_losses_takes_no_option_that_makes_its_rows_something_else(checkout, given):
    script = [sys.executable, "benchmarks/loss_table.py", "--table", "--image-shape", "3,160,160", given]
    done = subprocess.run(script, capture_output=True, text=True, cwd=checkout)
    assert done.returncode == 2 and f"{given}: is given by this script" in done.stderr
