"""What becomes of tuned thresholds when their run goes on, or is replaced."""

from __future__ import annotations

import numpy as np
import pytest
import tiny

from mxml import Classifier
from mxml.errors import MxmlError
from mxml.model import sidecar
from mxml.model.saved_tuning import save_tuning
from mxml.model.tuning_record import TuningRecord
from mxml.progress import SILENT
from mxml.training import fit as train


def read_sidecar(prefix):
    found = sidecar.read_sidecar(prefix)
    assert found is not None
    return found


def record(prefix, epoch):
    sha256 = read_sidecar(prefix).params_sha256(epoch)
    assert sha256 is not None
    thresholds = (0.25, 0.5, 0.75)
    return TuningRecord(
        epoch, sha256, "f1", "per-label", thresholds, None, 10, f"{prefix}.lst", sha256, 40, {}, {}, {}, {}, "0.1.0"
    )


def test_a_resumed_run_keeps_them_for_their_epoch_and_a_run_in_its_place_has_none(folder):
    prefix = str(folder / "run")
    train.fit(tiny.config(folder, num_epoch=1, keep="all"), SILENT)
    tuned = record(prefix, 1)
    save_tuning(prefix, tuned, SILENT)
    assert train.fit(tiny.config(folder, num_epoch=2, keep="all"), SILENT, resume=True).epochs == 2
    assert read_sidecar(prefix).tuning_of(1) == tuned
    assert Classifier.load(prefix, 1).thresholds.tolist() == list(tuned.thresholds)
    assert Classifier.load(prefix, 2).thresholds.tolist() == [0.5, 0.5, 0.5]

    train.fit(tiny.config(folder, num_epoch=1, seed=3), SILENT, force=True)
    assert read_sidecar(prefix).tuning is None
    # It was of the parameters of another run.
    with pytest.raises(MxmlError, match=r"run\.json: epoch 1 has been trained again since it was tuned; tune again"):
        save_tuning(prefix, tuned, SILENT)


def test_a_network_of_single_labels_is_not_tuned(folder):
    for path in sorted((folder / "lists").glob("*.lst")):
        rows = [line.split("\t") for line in path.read_text().splitlines()]
        one_hot = np.eye(3, dtype=int)[np.arange(len(rows)) % 3]
        path.write_text("".join("\t".join([row[0], *map(str, hot), row[-1]]) + "\n" for row, hot in zip(rows, one_hot)))
    train.fit(tiny.config(folder, num_epoch=1, single_label=True), SILENT)
    with pytest.raises(MxmlError, match=r"run-symbol\.json: is a network of single labels, which has no thresholds"):
        Classifier.load(folder / "run").tune()
