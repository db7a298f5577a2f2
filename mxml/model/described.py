"""The description of a checkpoint's training images, ``PREFIX-described.params``, read and written.

It is a by-product: a checkpoint is whole without it. The sidecar names it with its stamp, and with the parameters that
computed the features: for those of another epoch, or of an epoch that was trained again, it does not count.
"""

from __future__ import annotations

import dataclasses
import os

import numpy as np

from mxml.errors import CheckpointError, MxmlError
from mxml.model import checkpoint, params_file, symbols
from mxml.model.checkpoint import Checkpoint
from mxml.model.feature_distribution import FeatureDistribution
from mxml.model.run_files import RunFiles
from mxml.model.sidecar import Described, Sidecar, Stamp
from mxml.runtime.imports import load_mxnet
from mxml.runtime.types import NDArray

mx = load_mxnet()

MOST_BYTES = 64 << 20
_ARRAYS = ("directions", "mean", "numbers", "variances")
_NUMBERS = ("rest", "threshold", "marked", "train_images", "val_images")


def named(sidecar: Sidecar | None, epoch: int) -> Described | None:
    """Return what the sidecar says of the description of an epoch's network; None where there is none of it."""
    found = None if sidecar is None else sidecar.described
    if sidecar is None or found is None or found.epoch != epoch:
        return None
    files = next((entry.files for entry in sidecar.epochs if entry.epoch == epoch), {})
    params = files.get("params")
    return found if params is not None and params.sha256 == found.params else None


def load(model: Checkpoint) -> FeatureDistribution | None:
    """Read the description of a checkpoint; None where there is none.

    Raises CheckpointError where it is not the one that the sidecar names, or is none.
    """
    found = named(model.sidecar, model.epoch)
    if found is None:
        return None
    path = RunFiles(model.prefix).described
    fault = f"cannot be used: it is damaged or not the run's; mxml describe `prefix` {model.prefix} makes it again"
    try:
        if os.path.getsize(path) > MOST_BYTES or Stamp.of(path) != found.file:
            raise CheckpointError(f"{path}: {fault}")
        distribution = _distribution(params_file.read_params(path))
        if distribution.size != model.arg_params[symbols.head_parameters(model.symbol)[0]].shape[1]:
            raise CheckpointError(f"{path}: {fault}")
    except (MxmlError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: {fault}") from error
    return distribution


def save(prefix: str, epoch: int, distribution: FeatureDistribution) -> None:
    """Write the description of an epoch's network, and then name it in the sidecar. Raises MxmlError."""
    sidecar = checkpoint.read_sidecar(prefix)
    files = next((entry.files for entry in sidecar.epochs if entry.epoch == epoch), {}) if sidecar else {}
    if sidecar is None or "params" not in files:
        raise CheckpointError(f"{RunFiles(prefix).sidecar}: names no parameters of epoch {epoch}")
    path = RunFiles(prefix).described
    params_file.write_params(path, _arrays(distribution))
    described = Described(epoch, files["params"].sha256, Stamp.of(path))
    checkpoint.save_sidecar(prefix, dataclasses.replace(sidecar, described=described))


def _arrays(distribution: FeatureDistribution) -> dict[str, NDArray]:
    numbers = np.array([getattr(distribution, name) for name in _NUMBERS])
    values = {name: getattr(distribution, name) for name in _ARRAYS if name != "numbers"}
    return {
        "numbers": mx.nd.array(numbers, dtype=np.float64),
        **{name: mx.nd.array(value, dtype=np.float32) for name, value in values.items()},
    }


def _distribution(arrays: dict[str, NDArray]) -> FeatureDistribution:
    """Return what the arrays hold. Raises ValueError where that is no distribution."""
    if tuple(sorted(arrays)) != _ARRAYS:
        raise ValueError("holds other arrays")
    dtypes = {name: np.float64 if name == "numbers" else np.float32 for name in _ARRAYS}
    if any(arrays[name].dtype != dtype for name, dtype in dtypes.items()):
        raise ValueError("holds arrays of another type")
    directions, mean, numbers, variances = (arrays[name].asnumpy() for name in _ARRAYS)
    shapes = [mean.ndim, directions.shape == (*variances.shape, *mean.shape), numbers.shape]
    if shapes != [1, True, (len(_NUMBERS),)] or variances.ndim != 1:
        raise ValueError("holds arrays of another shape")
    if not all(np.isfinite(values).all() for values in (directions, mean, numbers, variances)):
        raise ValueError("holds numbers that are not finite")
    rest, threshold, marked, train_images, val_images = numbers.tolist()
    # Smaller numbers would make distances infinite, which JSON does not have.
    least = np.finfo(np.float32).tiny
    if min(rest, threshold) < least or variances.min(initial=1) <= 0 or not 0 <= marked <= 1:
        raise ValueError("holds numbers out of their bounds")
    return FeatureDistribution(mean, directions, variances, rest, threshold, marked, int(train_images), int(val_images))
