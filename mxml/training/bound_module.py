"""A network bound for training on one or several devices: one step, its parameters, its optimizer's states.

All that touches private parts of MXNet's Module is here.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mxml.errors import MxmlError
from mxml.inference.mxnet_backend import as_float32, fixed_batch
from mxml.model import loss_operator, symbols
from mxml.model.graph import Graph, draws_random_numbers, freeze_batch_norm, moving_states, multi_label_end
from mxml.model.layers import Network
from mxml.model.precision import lower_precision
from mxml.model.training_graph import training_graph
from mxml.runtime.dtypes import FLOAT32
from mxml.runtime.imports import load_mxnet
from mxml.runtime.mxnet_errors import errors_named
from mxml.runtime.types import Context, DataBatch, DataDesc, NDArray, Symbol
from mxml.training import optimizers
from mxml.training.optimizers import OptimizerSettings
from mxml.training.workers import ALONE, Workers

mx = load_mxnet()

_STATISTICS = "statistics:"
_LOGITS = 1
# A GPU's kernel looks at no more arrays at once.
_MOST_ARRAYS = 200


class BoundModule:
    """An ``mx.mod.Module`` with an optimizer that lives here, so that its states can be saved and restored exactly.

    ``provide_data`` and ``provide_label`` describe a batch of inputs (B, 3, H, W) and of labels (B, C). Parameters that
    a shell pattern in ``freeze`` names stay as they are; with ``keeps_statistics`` so do the moving statistics of all
    BatchNorm layers, which then use them in place of a batch's. ``num_update`` counts the steps taken, those before a
    resume included; with ``seed`` it decides what dropout draws. ``dtype`` is what the network computes in; parameters
    and states are float32 with any. Use it from one thread.

    The module's outputs are the probabilities and, behind a BlockGrad, the logits, from which the loss is exact.

    Of several ``workers`` each has a module, and a batch's rows are shared out to them. All begin with the first one's
    parameters, and each step's gradient is that of the whole batch, so that parameters and states stay the same. They
    have to call the methods in the same order: those that take a step or look at the module wait for the others.
    """

    def __init__(
        self,
        symbol: Symbol,
        arg_params: Mapping[str, NDArray],
        aux_params: Mapping[str, NDArray],
        *,
        devices: Sequence[Context],
        provide_data: Sequence[DataDesc],
        provide_label: Sequence[DataDesc],
        optimizer: OptimizerSettings,
        freeze: Sequence[str] = (),
        keeps_statistics: bool = False,
        kv_store: str = "device",
        seed: int = 0,
        num_update: int = 0,
        dtype: str = FLOAT32,
        workers: Workers = ALONE,
    ):
        inputs = {entry.name for entry in [*provide_data, *provide_label]}
        self._frozen = frozen_parameters([name for name in symbol.list_arguments() if name not in inputs], freeze)
        self.batch_size: int = provide_data[0].shape[0]
        self.num_update = num_update
        self.workers = workers
        self._seed = seed if draws_random_numbers(Graph.of(symbol)) else None
        self._devices = tuple(devices)
        with errors_named(self.batch_size):
            data_shape = provide_data[0].shape[1:]
            # Frozen parameters of a BatchNorm keep its statistics, too.
            fixed = symbol.list_arguments() if keeps_statistics else self._frozen
            frozen = freeze_batch_norm(symbol, fixed)
            network = _network(frozen, self._devices, data_shape, self.batch_size)
            network = _outputs(_in_precision(network, dtype))
            self._module = mx.mod.Module(
                network,
                data_names=[entry.name for entry in provide_data],
                label_names=[entry.name for entry in provide_label],
                context=list(self._devices),
                fixed_param_names=sorted(self._frozen) or None,
            )
            self._module.bind(data_shapes=provide_data, label_shapes=provide_label, for_training=True)
            self._module.init_params(None, dict(arg_params), dict(aux_params), force_init=True)
            group = self._module._exec_group
            # What every device holds of each.
            self._args: dict[str, list[NDArray]] = dict(zip(group.param_names, group.param_arrays))
            self._aux: dict[str, list[NDArray]] = dict(zip(self._module._aux_names, group.aux_arrays))
            self._moving = {name: self._aux[name] for name in sorted(moving_states(frozen))}
            self._optimizer = optimizers.create_optimizer(
                optimizer,
                batch_size=self.batch_size * workers.count,
                num_update=num_update,
                index_to_name={
                    position * len(self._devices) + device: name
                    for position, name in enumerate(self._args)
                    for device in range(len(self._devices))
                },
            )
            with _update_here():
                self._module.init_optimizer(kvstore=workers.kvstore or kv_store, optimizer=self._optimizer)
            self._updater = self._module._updater
            if workers.kvstore is not None:
                self.set_parameters(*(self._of_first(held) for held in (self._args, self._aux)))

    @property
    def num_classes(self) -> int:
        """Return how many logits an image has."""
        shape: tuple[int, ...] = self._module.output_shapes[_LOGITS][1]
        return shape[1]

    def step(self, batch: DataBatch, lr: float) -> np.ndarray:
        """Take one optimizer step on a batch and return its logits (B, C) float32, from before the step.

        Where a logit is not finite the parameters are left as they were: ``not_finite`` then tells whether the step
        before has broken them, or only this batch's images are the cause. Where one of another worker is not finite,
        all are NaN here too.

        Returns as soon as the forward pass is done; the rest runs on while the caller prepares the next batch.
        """
        if self._seed is not None:
            # One seed per step, so that dropout after a resume goes on as it would have.
            sources = [self._seed, self.num_update, *([self.workers.rank] if self.workers.rank else [])]
            mx.random.seed(int(np.random.SeedSequence(sources).generate_state(1)[0] >> 1))
        self._optimizer.set_learning_rate(lr)
        with errors_named(self.batch_size):
            self._module.forward_backward(batch)
            logits, finite = self._agreed(self._logits())
            if finite:
                self._module.update()
                self.num_update += 1
        return logits

    def logits(self, data: np.ndarray | NDArray) -> np.ndarray:
        """Return the logits (N, C) float32 of inputs (N, 3, H, W) float32, N at most the batch size, without training.

        They come from the current parameters and the moving statistics, as whoever loads the checkpoint gets them.
        """
        with errors_named(self.batch_size):
            self._module.forward(mx.io.DataBatch([fixed_batch(data, self.batch_size)]), is_train=False)
            return self._agreed(self._logits()[: len(data)])[0]

    def _agreed(self, logits: np.ndarray) -> tuple[np.ndarray, bool]:
        """Return the logits, and whether they are finite: NaN where another worker's are not."""
        own = bool(np.isfinite(logits).all())
        finite = self.workers.vote(own)
        return (np.full_like(logits, np.nan) if own and not finite else logits), finite

    def _logits(self) -> np.ndarray:
        logits = as_float32(self._module.get_outputs()[_LOGITS])
        loss_operator.raise_failure()
        return logits

    def sync(self) -> None:
        """Wait until all steps have ended, and give every device the mean of BatchNorm's moving statistics over all.

        So validation evaluates what is saved, and a run resumed from here holds the same values as one that continues.
        """
        self._wait()
        for name, arrays in self.statistics_of_all().items():
            mean = mean_of(arrays, mx.cpu())
            for array in self._moving[name]:
                mean.copyto(array)

    def statistics_of_all(self) -> dict[str, list[NDArray]]:
        """Return what each device of each worker holds of each state that steps change, in the workers' order."""
        if self.workers.kvstore is None or not self._moving:
            return self._moving
        own = {
            (name, device): array.asnumpy()
            for name, arrays in self._moving.items()
            for device, array in enumerate(arrays)
        }
        everyone = self.workers.gather_arrays(list(own.values()))
        found: dict[str, list[NDArray]] = {name: [] for name in self._moving}
        for arrays in everyone:
            for (name, _), array in zip(own, arrays):
                found[name].append(mx.nd.array(array))
        return found

    def _of_first(self, held: Mapping[str, Sequence[NDArray]]) -> dict[str, NDArray]:
        arrays = self.workers.broadcast({name: copies[0].asnumpy() for name, copies in held.items()})
        return {name: mx.nd.array(array) for name, array in arrays.items()}

    def _wait(self) -> None:
        with errors_named(self.batch_size):
            mx.nd.waitall()
        loss_operator.raise_failure()

    def parameters(self) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
        """Return copies of the arguments, which all devices share, and of the mean auxiliary states, on the CPU."""
        self._wait()
        args, aux = (
            {name: arrays[0].copyto(mx.cpu()) for name, arrays in held.items()} for held in (self._args, self._aux)
        )
        return args, {**aux, **{name: mean_of(arrays, mx.cpu()) for name, arrays in self.statistics_of_all().items()}}

    def trained(self) -> dict[str, list[NDArray]]:
        """Return what steps change, as ``arg:NAME`` and ``aux:NAME``: each device's own arrays, not copies."""
        if self._moving:
            # BatchNorm's backward pass writes them, and MXNet's engine does not know that it does.
            self._wait()
        trained = {f"arg:{name}": arrays for name, arrays in self._args.items() if name not in self._frozen}
        return {**trained, **{f"aux:{name}": arrays for name, arrays in self._moving.items()}}

    def set_parameters(self, arg_params: Mapping[str, NDArray], aux_params: Mapping[str, NDArray]) -> None:
        """Give every device copies of these, all that ``parameters`` returns; the optimizer's states stay."""
        self._wait()
        self._module.set_params(dict(arg_params), dict(aux_params))

    def not_finite(self) -> tuple[str, ...]:
        """Return the names of the parameters and moving statistics that hold NaN or infinity, once all steps ended."""
        self._wait()
        arrays = [
            (name, array) for held in (self._args, self._aux) for name, copies in held.items() for array in copies
        ]
        found = [name for device in self._devices for name in _not_finite(arrays, device)]
        return tuple(dict.fromkeys(name for names in self.workers.gather(found) for name in names))

    def statistics(self) -> dict[str, NDArray]:
        """Return each device's own moving statistics, which differ between two calls of ``sync``, by name."""
        self._wait()
        return {
            f"{_STATISTICS}{name}:{device}": array.copyto(mx.cpu())
            for name, arrays in self.statistics_of_all().items()
            for device, array in enumerate(arrays)
        }

    def states(self) -> dict[str, NDArray]:
        """Return the optimizer's states as named arrays on the CPU."""
        self._wait()
        return optimizers.pack_states(self._updater.states, tuple(self._args), len(self._devices))

    def restore(self, states: Mapping[str, NDArray], path: str) -> None:
        """Take over what ``states`` gave, and ``statistics`` where it is among it, before the first step.

        Statistics of another number of devices are skipped: their mean came with the parameters. Raises
        CheckpointError, which names ``path``, where the states are another optimizer's.
        """
        statistics = {name: array for name, array in states.items() if name.startswith(_STATISTICS)}
        before = self.workers.rank * len(self._devices)
        targets = {
            f"{_STATISTICS}{name}:{before + device}": array
            for name, arrays in self._moving.items()
            for device, array in enumerate(arrays)
        }
        if targets.keys() <= statistics.keys() and len(statistics) == len(targets) * self.workers.count:
            for name, array in targets.items():
                statistics[name].copyto(array)
        self._updater.states = optimizers.unpack_states(
            {name: array for name, array in states.items() if name not in statistics},
            self._optimizer,
            {name: arrays for name, arrays in self._args.items() if name not in self._frozen},
            tuple(self._args),
            path,
        )
        self._updater.states_synced = dict.fromkeys(self._updater.states, True)


def _network(network: Symbol, devices: Sequence[Context], shape: tuple[int, ...], batch_size: int) -> Symbol:
    """Return the network in the form in which it is trained."""
    bound = Network(network, shape)
    on_cpu = all(device.device_type == "cpu" for device in devices)
    if on_cpu:
        bound.check_memory(batch_size, training=True)
    bound.check_batch(batch_size)
    if not on_cpu:
        return network
    return training_graph(bound)


def _in_precision(network: Symbol, dtype: str) -> Symbol:
    if dtype == FLOAT32:
        return network
    graph = Graph.of(network)
    # Logits decide by small differences, and the loss by large exponents.
    return lower_precision(network, dtype, kept={graph.nodes[multi_label_end(graph).classifier].name})


def _outputs(network: Symbol) -> Symbol:
    return mx.sym.Group([network, mx.sym.BlockGrad(symbols.logits_output(network))])


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


def mean_of(arrays: Sequence[NDArray], device: Context) -> NDArray:
    """Return the mean of what several devices hold, on ``device``; of equal arrays it is these, to the last bit."""
    first = arrays[0].copyto(device)
    if len(arrays) == 1:
        return first
    total = mx.nd.zeros_like(first)
    for array in arrays[1:]:
        total += array.as_in_context(device) - first
    return first + total / len(arrays)


def _not_finite(arrays: Sequence[tuple[str, NDArray]], device: Context) -> list[str]:
    here = [(name, array.astype(np.float32, copy=False)) for name, array in arrays if array.context == device]
    found = []
    for start in range(0, len(here), _MOST_ARRAYS):
        part = here[start : start + _MOST_ARRAYS]
        if not mx.nd.multi_all_finite(*(array for _, array in part), num_arrays=len(part)).asscalar():
            found += [name for name, array in part if not np.isfinite(array.asnumpy()).all()]
    return found


def frozen_parameters(parameters: Sequence[str], patterns: Sequence[str]) -> frozenset[str]:
    """Return the parameters that the shell patterns name. Raises MxmlError for a pattern that names none, or all."""
    frozen: set[str] = set()
    for pattern in patterns:
        found = fnmatch.filter(parameters, pattern)
        if not found:
            some = ", ".join(parameters[:6])
            raise MxmlError(f"`freeze` {pattern}: names no parameter; parameters are {some}, ...")
        frozen.update(found)
    if parameters and len(frozen) == len(parameters):
        raise MxmlError(f"`freeze` {' '.join(patterns)}: freezes every parameter; leave some to train")
    return frozenset(frozen)
