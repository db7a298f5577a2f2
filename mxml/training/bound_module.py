"""A network bound for training on one or several devices: one step, its parameters, its optimizer's states."""

from __future__ import annotations

import contextlib
import fnmatch
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mxml.errors import MxmlError
from mxml.model import losses, symbols
from mxml.model.graph import Graph, draws_random_numbers, freeze_batch_norm
from mxml.model.layers import Network
from mxml.model.training_graph import training_graph
from mxml.runtime.imports import load_mxnet
from mxml.training import optimizers
from mxml.training.config import TrainConfig
from mxml.training.starting_point import StartingPoint

mx = load_mxnet()

_STATISTICS = "statistics:"


class BoundModule:
    """An ``mx.mod.Module`` with an optimizer that lives here, so that its states can be saved and restored exactly.

    The module's outputs are the probabilities and, behind a BlockGrad, the logits, from which the loss is exact.
    """

    def __init__(
        self,
        point: StartingPoint,
        config: TrainConfig,
        devices: Sequence[Any],
        provide_data: Any,
        provide_label: Any,
    ):
        symbol = point.symbol
        data_names = {entry[0] for entry in [*provide_data, *provide_label]}
        parameters = [name for name in symbol.list_arguments() if name not in data_names]
        frozen = frozen_parameters(parameters, config.freeze)
        network = freeze_batch_norm(symbol, frozen)
        if all(device.device_type == "cpu" for device in devices):
            network = training_graph(Network(network, config.image_shape))
        self.num_update = point.num_update
        self._seed = config.seed if draws_random_numbers(Graph.of(symbol)) else None
        self._module = mx.mod.Module(
            mx.sym.Group([network, mx.sym.BlockGrad(symbols.logits_output(network))]),
            data_names=[entry[0] for entry in provide_data],
            label_names=[entry[0] for entry in provide_label],
            context=list(devices),
            fixed_param_names=sorted(frozen) or None,
        )
        self._module.bind(data_shapes=provide_data, label_shapes=provide_label, for_training=True)
        self._module.init_params(
            None, arg_params=dict(point.arg_params), aux_params=dict(point.aux_params), force_init=True
        )
        self._param_names: list[str] = list(self._module._exec_group.param_names)
        count = len(devices)
        self._optimizer = optimizers.create_optimizer(
            config.optimizer,
            lr=config.lr,
            momentum=config.mom,
            wd=config.wd,
            clip_gradient=config.clip_gradient,
            batch_size=config.batch_size,
            num_update=point.num_update,
            index_to_name={
                position * count + device: name
                for position, name in enumerate(self._param_names)
                for device in range(count)
            },
            lr_mult=dict.fromkeys(point.head_names, config.head_lr_mult),
        )
        with _update_here():
            self._module.init_optimizer(kvstore=config.kv_store, optimizer=self._optimizer)
        if point.states is not None:
            self._restore(point.states, frozen, point.states_path)

    def _restore(self, states: Mapping[str, Any], frozen: set[str], path: str) -> None:
        statistics = {name: array for name, array in states.items() if name.startswith(_STATISTICS)}
        group = self._module._exec_group
        for name, arrays in zip(self._module._aux_names, group.aux_arrays):
            for device, array in enumerate(arrays):
                saved = statistics.get(f"{_STATISTICS}{name}:{device}")
                if saved is not None and len(statistics) == len(group.aux_arrays) * len(arrays):
                    saved.copyto(array)
        updater = self._module._updater
        updater.states = optimizers.unpack_states(
            {name: array for name, array in states.items() if name not in statistics},
            self._optimizer,
            {name: arrays for name, arrays in zip(self._param_names, group.param_arrays) if name not in frozen},
            self._param_names,
            path,
        )
        updater.states_synced = dict.fromkeys(updater.states, True)

    def step(self, batch: Any, lr: float) -> np.ndarray:
        """Take one optimizer step on a batch and return its logits (B, C) float32, from before the step.

        Returns as soon as the forward pass is done; the rest runs on while the caller prepares the next batch.
        """
        if self._seed is not None:
            # One seed a step, so that dropout after a resume goes on as it would have.
            mx.random.seed(int(np.random.SeedSequence([self._seed, self.num_update]).generate_state(1)[0] >> 1))
        self._optimizer.set_learning_rate(lr)
        self._module.forward_backward(batch)
        self._module.update()
        self.num_update += 1
        logits: np.ndarray = self._module.get_outputs()[1].asnumpy()
        losses.raise_failure()
        return logits

    @property
    def module(self) -> Any:
        """Return the bound module, for a forward pass with the current parameters."""
        return self._module

    def sync(self) -> None:
        """Wait until all steps have ended, and give every device the mean of BatchNorm's moving statistics.

        So validation judges what is saved, and a run that goes on and one that is resumed from here hold the same.
        """
        mx.nd.waitall()
        losses.raise_failure()
        for arrays in self._module._exec_group.aux_arrays:
            mean = _mean(arrays)
            for array in arrays:
                mean.copyto(array)

    def parameters(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return copies of the arguments, which all devices share, and of the mean auxiliary states, on the CPU."""
        mx.nd.waitall()
        losses.raise_failure()
        group = self._module._exec_group
        return (
            {name: arrays[0].copyto(mx.cpu()) for name, arrays in zip(self._param_names, group.param_arrays)},
            {name: _mean(arrays) for name, arrays in zip(self._module._aux_names, group.aux_arrays)},
        )

    def statistics(self) -> dict[str, Any]:
        """Return each device's own auxiliary states, which differ between two calls of ``sync``, by name."""
        return {
            f"{_STATISTICS}{name}:{device}": array.copyto(mx.cpu())
            for name, arrays in zip(self._module._aux_names, self._module._exec_group.aux_arrays)
            for device, array in enumerate(arrays)
        }

    def states(self) -> dict[str, Any]:
        """Return the optimizer's states as named arrays on the CPU."""
        return optimizers.pack_states(self._module._updater.states, self._param_names, len(self._module._context))


@contextlib.contextmanager
def _update_here() -> Iterator[None]:
    """Keep the optimizer of several devices in this process, where its states can be saved."""
    before = os.environ.get("MXNET_UPDATE_ON_KVSTORE")
    os.environ["MXNET_UPDATE_ON_KVSTORE"] = "0"
    try:
        yield
    finally:
        del os.environ["MXNET_UPDATE_ON_KVSTORE"]
        if before is not None:
            os.environ["MXNET_UPDATE_ON_KVSTORE"] = before


def _mean(arrays: Sequence[Any]) -> Any:
    total = arrays[0].copyto(mx.cpu())
    for array in arrays[1:]:
        total += array.as_in_context(mx.cpu())
    return total / len(arrays) if len(arrays) > 1 else total


def frozen_parameters(parameters: Sequence[str], patterns: Sequence[str]) -> set[str]:
    """Return the parameters that the shell patterns name. Raises MxmlError for a pattern that names none, or all."""
    frozen = set()
    for pattern in patterns:
        found = fnmatch.filter(parameters, pattern)
        if not found:
            some = ", ".join(parameters[:6])
            raise MxmlError(f"--freeze {pattern}: names no parameter; parameters are {some}, ...")
        frozen.update(found)
    if parameters and len(frozen) == len(parameters):
        raise MxmlError(f"--freeze {' '.join(patterns)}: freezes every parameter; leave some to train")
    return frozen
