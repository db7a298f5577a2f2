"""What ``mxml tune`` gains: every objective and calibration, on the validation lists of runs that exist.

python benchmarks/tuned_thresholds.py runs/features runs/tuned

Each row is what ``mxml tune --prefix P --objective O --calibrate C --dry-run`` shows; images are scored once per run.
"""

from __future__ import annotations

import argparse
import copy

import numpy as np
from harness import machine, markdown_table, repeat_with

from mxml import Classifier
from mxml.evaluation.bootstrap import Difference
from mxml.evaluation.objectives import Objective
from mxml.evaluation.tuning import tune_thresholds

OBJECTIVES = ("f1", "f-beta=0.5", "f-beta=2", "precision=0.9", "recall=0.95")
CALIBRATIONS = (None, "temperature", "platt")
HEAD = (
    "run", "objective", "calibration", "kind", "CF1 before", "on the list", "cross-fitted", "gain, 95 %",
    "OF1 gain, 95 %", "F gain, 95 %", "precision", "recall", "cross-entropy before", "cross-fitted",
)  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prefixes", nargs="+")
    rows = [row for prefix in parser.parse_args().prefixes for row in rows_of(prefix)]
    print(machine(), markdown_table(HEAD, rows), repeat_with(), sep="\n\n")


def rows_of(prefix: str) -> list[tuple[str, ...]]:
    """Return the rows of one run."""
    classifier = Classifier.load(prefix)
    plain = copy.copy(classifier)
    plain.calibration = None
    scored = plain.score_list(skip_bad=True)
    sidecar = classifier.checkpoint.sidecar
    assert sidecar is not None
    rows: list[tuple[str, ...]] = []
    for objective in OBJECTIVES:
        for calibrate in CALIBRATIONS:
            found = tune_thresholds(
                scored.logits,
                scored.labels,
                np.array(sidecar.thresholds),
                Objective.parse(objective),
                calibrate=calibrate,
            )
            fitted, gain = found.cross_fitted, found.cross_fitted.gain
            metrics = fitted.metrics
            used = "-" if calibrate is None else f"{calibrate}, refused" if found.refused else calibrate
            rows.append(
                (
                    prefix.rpartition("/")[2], objective, used, found.kind, f"{found.before.CF1:.4f}",
                    f"{found.after.CF1:.4f}", f"{metrics['CF1']:.4f}", interval(gain["CF1"]), interval(gain["OF1"]),
                    interval(gain["F"]), f"{metrics['CP']:.3f}", f"{metrics['CR']:.3f}", f"{found.before.loss:.4f}",
                    f"{metrics['loss']:.4f}",
                )
            )  # fmt: skip
    return rows


def interval(gain: Difference) -> str:
    """Write a gain with its interval."""
    return f"{gain.value:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})"


if __name__ == "__main__":
    main()
