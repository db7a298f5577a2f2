"""Descriptions of training images that were not made by mxml, though their sidecar names them."""

from __future__ import annotations

import dataclasses

import coloured
import numpy as np
import pytest

from mxml.errors import CheckpointError
from mxml.images.transforms import Preprocess
from mxml.model import checkpoint, described, params_file
from mxml.model.feature_distribution import FeatureDistribution
from mxml.model.run_files import RunFiles
from mxml.model.sidecar import Stamp
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()


def numbers(arrays, position, value):
    changed = arrays["numbers"].asnumpy()
    changed[position] = value
    return {**arrays, "numbers": mx.nd.array(changed, dtype=np.float64)}


FAULTS = {
    "another size": lambda arrays: {**arrays, "mean": mx.nd.zeros((5,))},
    "an array less": lambda arrays: {name: value for name, value in arrays.items() if name != "mean"},
    "a variance so small that distances are infinite": lambda arrays: numbers(arrays, 0, 1e-320),
    "a threshold so small that distances are infinite": lambda arrays: numbers(arrays, 1, 1e-320),
    "not finite": lambda arrays: numbers(arrays, 3, np.inf),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_crafted_description_is_not_used(tmp_path, fault):
    prefix = str(tmp_path / "colours")
    coloured.write(tmp_path / "colours", Preprocess((16, 16), 16))
    vectors = np.random.default_rng(1).random((20, 3)).astype(np.float32)
    described.save(prefix, 1, FeatureDistribution.of(vectors[:15], vectors[15:]))
    assert described.load(checkpoint.load(prefix)) is not None
    path = RunFiles(prefix).described
    params_file.write_params(path, FAULTS[fault](params_file.read_params(path)))
    sidecar = checkpoint.read_sidecar(prefix)
    assert sidecar is not None and sidecar.described is not None
    named = dataclasses.replace(sidecar.described, file=Stamp.of(path))
    checkpoint.save_sidecar(prefix, dataclasses.replace(sidecar, described=named))
    with pytest.raises(CheckpointError, match=r"colours-described\.params: cannot be used: it is damaged"):
        described.load(checkpoint.load(prefix))
