"""Time all metrics of a large list: mxml, and scikit-learn's functions for those that it has."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from typing import Callable

import harness
import numpy as np

PARTS = {
    "metrics": "all metrics",
    "rankings": "ranking loss, coverage, label ranking AP",
    "AP": "AP of each label",
    "counts": "precision, recall and F1, three ways",
    "loss": "cross-entropy",
    "intervals": "95 % intervals",
    "baseline": "baseline",
}
"""What is timed, by the name of its seconds."""


def main() -> None:
    arguments = _arguments()
    if arguments.of:
        print(json.dumps(_timed(arguments.of, arguments.images, arguments.labels)))
        return
    sizes = ["--images", str(arguments.images), "--labels", str(arguments.labels)]
    commands = {name: [sys.executable, __file__, "--of", name, *sizes] for name in ("mxml", "scikit-learn")}
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    results = harness.alternate(commands, arguments.rounds, one_thread)
    rows = []
    for part, text in PARTS.items():
        found = harness.median(results, part)
        ours, theirs = found.get("mxml"), found.get("scikit-learn")
        ratio = f"{theirs / ours:.1f}" if ours and theirs else "-"
        rows.append([text, *(harness.number(one) if one is not None else "-" for one in (ours, theirs)), ratio])
    print(harness.markdown_table(["work", "mxml, s", "scikit-learn, s", "scikit-learn to mxml"], rows))
    memory = harness.median(results, "peak_MiB")
    resamples = results["mxml"][0]["resamples"]
    print(
        f"\nProcessor time of one core, {arguments.images:,} images with {arguments.labels:,} labels, float32; "
        f"{arguments.rounds} rounds. {resamples:,} resamples for the intervals. Peak memory, with 9 bytes of labels, "
        f"scores and logits a cell: mxml {memory['mxml']:,.0f} MiB, scikit-learn {memory['scikit-learn']:,.0f} MiB."
    )
    print(f"{harness.machine()}\n\nRepeat with: `{harness.repeat_with()}`")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--labels", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--of", choices=["mxml", "scikit-learn"], help=argparse.SUPPRESS)
    return parser.parse_args()


def _timed(of: str, images: int, labels: int) -> dict[str, float]:
    random = np.random.default_rng(0)
    truth = (random.random((images, labels)) < 0.05).astype(np.int8)
    logits = (random.standard_normal(truth.shape, dtype=np.float32) + 2 * truth - 2).astype(np.float32)
    scores = 1 / (1 + np.exp(-logits))
    timed = (_mxml if of == "mxml" else _scikit_learn)(scores, truth, logits)
    return {**timed, "peak_MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def _mxml(scores: np.ndarray, truth: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    from mxml.evaluation.average_precision import average_precisions_of
    from mxml.evaluation.baseline import frequency_baseline
    from mxml.evaluation.bootstrap import resample_count
    from mxml.evaluation.decisions import Decisions
    from mxml.evaluation.intervals import bootstrap_intervals
    from mxml.evaluation.metrics import multilabel_metrics

    multilabel_metrics(scores[:100], truth[:100], logits=logits[:100])
    found = {
        "metrics": _seconds(lambda: multilabel_metrics(scores, truth, logits=logits)),
        "AP": _seconds(lambda: average_precisions_of(scores, truth == 1, truth >= 0)),
        "baseline": _seconds(lambda: frequency_baseline(truth)),
    }
    decisions = Decisions.of(scores, truth, 0.5, logits, False)
    found["intervals"] = _seconds(lambda: bootstrap_intervals(decisions))
    return {**found, "resamples": resample_count(*truth.shape)}


def _scikit_learn(scores: np.ndarray, truth: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    from sklearn import metrics

    called = scores >= 0.5

    def rankings() -> None:
        for one in (metrics.label_ranking_loss, metrics.coverage_error, metrics.label_ranking_average_precision_score):
            one(truth, scores)

    def counts() -> None:
        for average in (None, "macro", "micro"):
            metrics.precision_recall_fscore_support(truth, called, average=average, zero_division=0.0)
        metrics.hamming_loss(truth, called)
        metrics.accuracy_score(truth, called)

    found = {
        "rankings": _seconds(rankings),
        "AP": _seconds(lambda: metrics.average_precision_score(truth, scores, average=None)),
        "counts": _seconds(counts),
        "loss": _seconds(lambda: metrics.log_loss(truth.ravel(), scores.ravel().astype(np.float64))),
    }
    return {**found, "metrics": sum(found.values())}


def _seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    main()
