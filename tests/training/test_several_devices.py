"""Several devices train as one does with the same batches."""

import needs
import numpy as np
import pytest
from bound import CLASSES, OPTIMIZERS, bind, pretrained, with_head, without_batch_norm

from mxml.runtime.imports import load_mxnet
from mxml.training.optimizers import OptimizerSettings

mx = load_mxnet()
SHAPE = (3, 16, 16)


def trained(network, devices, batch_size, optimizer="sgd", dtype="float32", steps=6):
    generator = np.random.default_rng(3)
    symbol, args, aux = with_head(network, SHAPE, generator)
    settings = OptimizerSettings(optimizer, 0.9, 0.01, 0.5)
    module = bind(symbol, args, aux, settings, (batch_size, *SHAPE), devices, dtype=dtype)
    lr = 0.05 if optimizer in ("sgd", "nag") else 0.002
    logits = []
    for _ in range(steps):
        data = mx.nd.array(generator.normal(0, 1, (batch_size, *SHAPE)))
        labels = generator.integers(-1, 2, (batch_size, CLASSES)).astype(np.float32)
        labels[-2:] = -1  # as where a batch is filled up
        logits.append(module.step(mx.io.DataBatch([data], [mx.nd.array(labels)]), lr))
    before = {name: array.asnumpy() for name, array in args.items()}
    after = {name: array.asnumpy() for name, array in module.parameters()[0].items()}
    return before, after, np.array(logits)


@pytest.mark.parametrize("batch_size", [8, 10, 7])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_four_devices_equal_one_also_where_their_shares_differ(optimizer, batch_size):
    before, one, logits_one = trained(without_batch_norm(), 1, batch_size, optimizer)
    _, four, logits_four = trained(without_batch_norm(), 4, batch_size, optimizer)
    assert max(np.abs(one[name] - before[name]).max() for name in one) > 1e-2
    for name, values in one.items():
        np.testing.assert_allclose(four[name], values, rtol=0, atol=1e-4, err_msg=name)
    np.testing.assert_allclose(logits_four, logits_one, rtol=0, atol=1e-4)


def test_batch_norm_normalises_each_device_by_its_own_images():
    """So with it devices differ from one: as in MXNet, PyTorch and others, its batch is a device's share."""
    _, one, _ = trained(pretrained(), 1, 8, steps=1)
    _, four, _ = trained(pretrained(), 4, 8, steps=1)
    # The head starts with features of either kind of normalisation.
    assert max(np.abs(one[name] - four[name]).max() for name in one) > 1e-4


@needs.bfloat16
@pytest.mark.parametrize("devices", [1, 4])
def test_in_bfloat16_parameters_move_as_in_float32(devices):
    before, whole, _ = trained(without_batch_norm(), devices, 8)
    _, low, logits = trained(without_batch_norm(), devices, 8, dtype="bfloat16")
    assert logits.dtype == np.float32
    assert {array.dtype for array in low.values()} == {np.dtype(np.float32)}
    for name, values in whole.items():
        moved = np.linalg.norm(values - before[name])
        assert 0 < np.linalg.norm(low[name] - values) < 0.1 * moved, name


@needs.bfloat16
def test_the_head_of_a_bfloat16_network_computes_in_float32():
    """Its logits are more than bfloat16 can tell apart."""
    _, _, logits = trained(without_batch_norm(), 1, 8, dtype="bfloat16")
    bits = logits.view(np.uint32) & 0xFFFF
    assert (bits != 0).mean() > 0.9
