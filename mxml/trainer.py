"""A network bound for training on one or several devices: one step, its parameters, its optimizer's states."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mxml import losses, optimizers, symbols
from mxml.errors import MxmlError
from mxml.runtime import load_mxnet
from mxml.train_config import TrainConfig

mx = load_mxnet()


class Trainer:
    """An ``mx.mod.Module`` with an optimizer that lives here, so that its states can be saved and restored exactly.

    The module's outputs are the probabilities and, behind a BlockGrad, the logits, from which the loss is exact.
    """

    def __init__(
        self,
        symbol: Any,
        arg_params: Mapping[str, Any],
        aux_params: Mapping[str, Any],
        *,
        config: TrainConfig,
        devices: Sequence[Any],
        head_names: Sequence[str],
        provide_data: Any,
        provide_label: Any,
        num_update: int = 0,
        states: Mapping[str, Any] | None = None,
        states_path: str = "",
    ):
        data_names = {entry[0] for entry in [*provide_data, *provide_label]}
        parameters = [name for name in symbol.list_arguments() if name not in data_names]
        frozen = frozen_parameters(parameters, config.freeze)
        network = _freeze_batch_norm(symbol, frozen)
        self.symbol = symbol
        self.num_update = num_update
        self._seed = config.seed if _draws_random_numbers(symbol) else None
        self._module = mx.mod.Module(
            mx.sym.Group([network, mx.sym.BlockGrad(symbols.logits_output(network))]),
            data_names=[entry[0] for entry in provide_data],
            label_names=[entry[0] for entry in provide_label],
            context=list(devices),
            fixed_param_names=sorted(frozen) or None,
        )
        self._module.bind(data_shapes=provide_data, label_shapes=provide_label, for_training=True)
        self._module.init_params(None, arg_params=dict(arg_params), aux_params=dict(aux_params), force_init=True)
        self._param_names: list[str] = list(self._module._exec_group.param_names)
        count = len(devices)
        self._optimizer = optimizers.create_optimizer(
            config.optimizer,
            lr=config.lr,
            momentum=config.mom,
            wd=config.wd,
            clip_gradient=config.clip_gradient,
            batch_size=config.batch_size,
            num_update=num_update,
            index_to_name={
                position * count + device: name
                for position, name in enumerate(self._param_names)
                for device in range(count)
            },
            lr_mult=dict.fromkeys(head_names, config.head_lr_mult),
        )
        self._module.init_optimizer(kvstore=config.kv_store, optimizer=self._optimizer)
        if states is not None:
            arrays = dict(zip(self._param_names, self._module._exec_group.param_arrays))
            trained = {name: arrays[name] for name in self._param_names if name not in frozen}
            updater = self._module._updater
            updater.states = optimizers.unpack_states(states, self._optimizer, trained, self._param_names, states_path)
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

    def settle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Wait until all steps have ended, and return the module's own arguments and auxiliary states on the CPU.

        With several devices BatchNorm's moving statistics are averaged, and every device goes on from the average: so
        validation judges what is saved, and a run that goes on and one that is resumed from here hold the same numbers.
        """
        mx.nd.waitall()
        losses.raise_failure()
        arg_params, aux_params = self._module.get_params()
        if len(self._module._context) > 1:
            self._module.set_params(arg_params, aux_params)
        return arg_params, aux_params

    def parameters(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Settle, and return copies of the arguments and auxiliary states on the CPU."""
        arg_params, aux_params = self.settle()
        return (
            {name: array.copy() for name, array in arg_params.items()},
            {name: array.copy() for name, array in aux_params.items()},
        )

    def states(self) -> dict[str, Any]:
        """Return the optimizer's states as named arrays on the CPU."""
        return optimizers.pack_states(self._module._updater.states, self._param_names, len(self._module._context))


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


def _freeze_batch_norm(symbol: Any, frozen: set[str]) -> Any:
    """Let BatchNorm layers whose gamma or beta is frozen use and keep their moving statistics.

    A frozen parameter alone would still let the layer's statistics drift with every batch.
    """
    if not frozen:
        return symbol
    graph = json.loads(symbol.tojson())
    nodes = graph["nodes"]
    for node in nodes:
        if node["op"] == "BatchNorm" and frozen & {nodes[entry[0]]["name"] for entry in node["inputs"][1:3]}:
            node.setdefault("attrs", {})["use_global_stats"] = "True"
    return mx.sym.load_json(json.dumps(graph))


def _draws_random_numbers(symbol: Any) -> bool:
    operators = {node["op"].lower() for node in json.loads(symbol.tojson())["nodes"]}
    return any(word in operator for operator in operators for word in ("dropout", "random", "sample", "leakyrelu"))
