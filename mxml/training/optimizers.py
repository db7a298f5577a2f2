"""Optimizers by name, their learning-rate schedules, and their states as plain arrays."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mxml.errors import CheckpointError
from mxml.runtime.imports import load_mxnet
from mxml.runtime.types import Context, NDArray

mx = load_mxnet()
# A parameter's size, for its step: biases are large beside weights of the same use, and a step is for both.
_LEAST_SIZE, _LARGEST_SIZE = 0.01, 0.05
_Optimizer: Any = mx.optimizer.Optimizer
Optimizer = Any
"""An ``mx.optimizer.Optimizer``."""
State = Any
"""What an optimizer keeps for one parameter: None, an array or a tuple of arrays."""


@dataclass(frozen=True)
class Schedule:
    """The learning rate as a pure function of the step, so that a resumed run needs no state for it.

    ``kind`` is constant, step (times ``factor`` at each of ``steps``, counted in epochs), cosine (Loshchilov & Hutter
    2017, SGDR, eq. 5 without restarts, down to zero) or inverse (Keras's ``decay``: 1 / (1 + ``decay`` n) at step n,
    counted from 0 where the warm-up ends). The first ``warmup_epochs`` rise linearly (Goyal et al.
    2017, section 2.2).
    """

    kind: str
    base_lr: float
    epochs: int
    steps_per_epoch: int
    steps: tuple[int, ...] = ()
    factor: float = 0.1
    warmup_epochs: float = 0.0
    decay: float = 0.0

    def lr(self, step: int) -> float:
        """Return the learning rate of the update number ``step``, counted from 0."""
        warmup = self.warmup_epochs * self.steps_per_epoch
        if step < warmup:
            return self.base_lr * (step + 1) / (warmup + 1)
        if self.kind == "step":
            return self.base_lr * self.factor ** sum(step >= epoch * self.steps_per_epoch for epoch in self.steps)
        if self.kind == "inverse":
            return self.base_lr / (1 + self.decay * (step - warmup))
        if self.kind == "cosine":
            total = max(1.0, self.epochs * self.steps_per_epoch - warmup)
            return self.base_lr * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / total)))
        return self.base_lr


class Nag(_Optimizer):
    """Stochastic gradient descent with Nesterov's momentum, in the form of Sutskever et al. 2013, eq. 3 and 4.

    ``m = momentum * m - lr * (gradient + wd * w)``, then ``w += momentum * m - lr * (gradient + wd * w)``
    """

    def __init__(self, momentum: float = 0.0, **rest: Any):
        super().__init__(**rest)
        self.momentum = momentum

    def create_state(self, index: int, weight: NDArray) -> NDArray:
        """Return a zeroed momentum in the shape of ``weight``."""
        return mx.nd.zeros_like(weight)

    def update(self, index: int, weight: NDArray, grad: NDArray, state: NDArray) -> None:
        """Update ``weight`` in place."""
        self._update_count(index)
        # The operator reads the weight again after it has written its output. MXNet's own NAG gives the weight
        # itself as the output, so that its momentum decays the new weight, except where a forward pass without
        # training has left a convolution's weight in another memory layout and MXNet works on copies.
        updated = mx.nd.nag_mom_update(
            weight,
            grad,
            state,
            lr=self._get_lr(index),
            wd=self._get_wd(index),
            momentum=self.momentum,
            rescale_grad=self.rescale_grad,
            clip_gradient=self.clip_gradient or -1.0,
        )
        updated.copyto(weight)


class AdamW(_Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2), on MXNet's own update operator.

    ``w -= lr * (sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + epsilon) + wd * w)``
    """

    def __init__(
        self, learning_rate: float = 0.001, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8, **rest: Any
    ):
        super().__init__(learning_rate=learning_rate, **rest)
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self._scale: dict[Context, NDArray] = {}

    def create_state(self, index: int, weight: NDArray) -> tuple[NDArray, NDArray]:
        """Return zeroed first and second moments in the shape of ``weight``."""
        return mx.nd.zeros_like(weight), mx.nd.zeros_like(weight)

    def update(self, index: int, weight: NDArray, grad: NDArray, state: tuple[NDArray, NDArray]) -> None:
        """Update ``weight`` in place."""
        self._update_count(index)
        lr = self._get_lr(index)
        t = self._index_update_count[index]
        # The operator takes the gradient's scale as an array, so that loss scaling can be decided on the device.
        if weight.context not in self._scale:
            self._scale[weight.context] = mx.nd.full((1,), self.rescale_grad, ctx=weight.context)
        mx.nd.contrib.adamw_update(
            weight,
            grad,
            state[0],
            state[1],
            self._scale[weight.context],
            out=weight,
            lr=lr * math.sqrt(1 - self.beta2**t) / (1 - self.beta1**t),
            eta=1.0,
            wd=lr * self._get_wd(index),
            beta1=self.beta1,
            beta2=self.beta2,
            epsilon=self.epsilon,
            clip_gradient=self.clip_gradient or -1.0,
        )


class ScaledAdamW(AdamW):
    """AdamW with smaller steps for parameters of smaller values, within bounds.

    A step is AdamW's times the root mean square of the parameter before it, which is taken as 0.01 at least (the
    relative step size of Shazeer & Stern 2018, Adafactor, section 8) and as 0.05 at most. Only between these bounds is
    it in proportion to the parameter.
    """

    def update(self, index: int, weight: NDArray, grad: NDArray, state: tuple[NDArray, NDArray]) -> None:
        """Update ``weight`` in place."""
        before = weight.copy()
        super().update(index, weight, grad, state)
        size = mx.nd.clip(before.norm() / math.sqrt(before.size), _LEAST_SIZE, _LARGEST_SIZE)
        (before + (weight - before) * size).copyto(weight)


@dataclass(frozen=True)
class OptimizerSettings:
    """Which optimizer, and what does not change from step to step.

    ``momentum`` is for sgd and nag. ``clip_gradient`` bounds each entry of a gradient of the mean over the batch, None
    leaves them as they are. ``lr_mult`` multiplies the learning rate of single parameters.
    """

    name: str
    momentum: float = 0.9
    wd: float = 0.0
    clip_gradient: float | None = None
    lr_mult: Mapping[str, float] = field(default_factory=dict)


_CLASSES = {"sgd": mx.optimizer.SGD, "nag": Nag, "adam": mx.optimizer.Adam, "adamw": AdamW, "scaled-adamw": ScaledAdamW}


def create_optimizer(
    settings: OptimizerSettings, *, batch_size: int, num_update: int, index_to_name: Mapping[int, str]
) -> Optimizer:
    """Return an MXNet optimizer that continues after ``num_update`` updates; its learning rate is set before each.

    Gradients are divided by ``batch_size``. Only parameters named ``*_weight`` decay: biases and BatchNorm's gamma and
    beta don't (He et al. 2019, Bag of Tricks, section 3.1).
    """
    more: dict[str, Any] = {"momentum": settings.momentum} if settings.name in ("sgd", "nag") else {}
    optimizer = _CLASSES[settings.name](
        wd=settings.wd,
        clip_gradient=settings.clip_gradient,
        rescale_grad=1.0 / batch_size,
        begin_num_update=num_update,
        param_idx2name=dict(index_to_name),
        **more,
    )
    optimizer.set_wd_mult({name: 0.0 for name in index_to_name.values() if not name.endswith("_weight")})
    optimizer.set_lr_mult(dict(settings.lr_mult))
    return optimizer


def pack_states(states: Mapping[int, State], param_names: Sequence[str], devices: int) -> dict[str, NDArray]:
    """Return the first device's optimizer states as ``{"PARAMETER:0": array, ...}``, in MXNet's index order."""
    packed = {}
    for position, name in enumerate(param_names):
        for part, array in enumerate(_parts(states.get(position * devices))):
            packed[f"{name}:{part}"] = array.copyto(mx.cpu())
    return packed


def unpack_states(
    packed: Mapping[str, NDArray],
    optimizer: Optimizer,
    weights: Mapping[str, Sequence[NDArray]],
    param_names: Sequence[str],
    path: str,
) -> dict[int, State]:
    """Return the states of every device from ``pack_states``'s arrays.

    ``weights`` has the device copies of each parameter that trains.

    Raises CheckpointError where a state is missing, too many, or of another shape than this optimizer's.
    """
    states: dict[int, State] = {}
    left = set(packed)
    for position, name in enumerate(param_names):
        for device, weight in enumerate(weights.get(name, ())):
            index = position * len(weights[name]) + device
            state = optimizer.create_state_multi_precision(index, weight)
            for part, array in enumerate(_parts(state)):
                saved = packed.get(f"{name}:{part}")
                if saved is None or saved.shape != array.shape:
                    raise CheckpointError(f"{path}: has no fitting state for {name}; it is of another optimizer or run")
                left.discard(f"{name}:{part}")
                saved.astype(array.dtype, copy=False).copyto(array)
            states[index] = state
    if left:
        raise CheckpointError(f"{path}: holds states that this run has no use for, such as {min(left)}")
    return states


def _parts(state: State) -> Iterable[NDArray]:
    if state is None:
        return ()
    return state if isinstance(state, (tuple, list)) else (state,)
