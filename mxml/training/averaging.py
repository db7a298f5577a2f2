"""Averaged weights: an exponential moving average of what training changes, which one noisy step moves little.

Polyak & Juditsky 1992, in the form that Tarvainen & Valpola 2017 train their teachers with. An epoch's checkpoint holds
these weights or the current ones, whichever validate better, and its states hold the others, so that training goes on
from the current ones exactly.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping

from mxml.model import params_file
from mxml.runtime.imports import load_mxnet
from mxml.runtime.types import NDArray
from mxml.training.bound_module import BoundModule, mean_of

mx = load_mxnet()

# Later on an average of the weights after every fourth step is as good, and costs a quarter.
_FIRST_STEPS, _STEPS = 100, 4
_AVERAGE, _CURRENT = "average:", "current:"
_MARKS = tuple(f"{mark}{kind}:" for mark in (_AVERAGE, _CURRENT) for kind in ("arg", "aux"))


class WeightAverage:
    """The moving average of a module's parameters and BatchNorm statistics, on its first device.

    ``decay`` is what it keeps per step; after t steps at most (1 + t) / (4 + t), so that it soon forgets the weights
    that it began with. ``start`` continues an average that ``arrays`` gave.
    """

    def __init__(self, module: BoundModule, decay: float, start: Mapping[str, NDArray] | None = None):
        self._module = module
        self._decay = decay
        self._updated = _last_update(module.num_update)
        self._arrays: dict[str, NDArray] = {
            name: copies[0].astype("float32") for name, copies in module.trained().items()
        }
        for name, array in (start or {}).items():
            if name in self._arrays:
                array.copyto(self._arrays[name])

    def update(self) -> None:
        """Take in the module's weights; call it after each step."""
        step = _last_update(self._module.num_update)
        if step == self._updated:
            return
        keep = math.prod(min(self._decay, (1 + t) / (4 + t)) for t in range(self._updated + 1, step + 1))
        self._updated = step
        trained = self._module.trained()
        # Devices share the parameters, and have statistics of their own.
        statistics = {f"aux:{name}": copies for name, copies in self._module.statistics_of_all().items()}
        for name, copies in {**trained, **statistics}.items():
            average = self._arrays[name]
            difference = average - (
                mean_of([*map(_float32, copies)], average.context) if name in statistics else _float32(copies[0])
            )
            # What does not change stays as it is, to the last bit.
            mx.nd.sgd_update(average, difference, out=average, lr=1 - keep, wd=0.0)

    def arrays(self) -> dict[str, NDArray]:
        """Return the averaged weights as ``arg:NAME`` and ``aux:NAME``, on the CPU."""
        return {name: array.copyto(mx.cpu()) for name, array in self._arrays.items()}

    @contextlib.contextmanager
    def in_module(self) -> Iterator[None]:
        """Put the averaged weights into the module, and its own back at the end."""
        current = self._module.parameters()
        averaged = {**params_file.join_params(*current), **self.arrays()}
        self._module.set_parameters(*params_file.split_params(averaged))
        try:
            yield
        finally:
            self._module.set_parameters(*current)


def _last_update(step: int) -> int:
    return step if step < _FIRST_STEPS else step - step % _STEPS


def _float32(array: NDArray) -> NDArray:
    return array.astype("float32", copy=False)


def joined(
    current: Mapping[str, NDArray], average: Mapping[str, NDArray], states: Mapping[str, NDArray], averaged: bool
) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
    """Return what goes into the files of parameters and of states; ``averaged`` weights are the parameters, or not."""
    if averaged:
        return {**current, **average}, {**states, **{f"{_CURRENT}{name}": current[name] for name in average}}
    return dict(current), {**states, **{f"{_AVERAGE}{name}": array for name, array in average.items()}}


def parted(
    params: Mapping[str, NDArray], states: Mapping[str, NDArray] | None
) -> tuple[dict[str, NDArray], dict[str, NDArray] | None, dict[str, NDArray] | None]:
    """Undo ``joined``: return the current weights, the average or None, and the optimizer's states or None."""
    if states is None:
        return dict(params), None, None
    current, average = _marked(states, _CURRENT), _marked(states, _AVERAGE)
    others = {name: array for name, array in states.items() if not name.startswith(_MARKS)}
    if current:
        average = {name: params[name] for name in current if name in params}
    return {**params, **current}, average or None, others


def _marked(states: Mapping[str, NDArray], mark: str) -> dict[str, NDArray]:
    return {
        name[len(mark) :]: array for name, array in states.items() if name.startswith(mark) and name.startswith(_MARKS)
    }
