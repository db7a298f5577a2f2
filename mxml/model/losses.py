"""A registry of losses, which training minimises, each a custom operator at the end of a network.

A ``Loss`` is written in two formulas, its value and its gradient at the logits, for one entry of an image and a class;
``mxml.model.loss_formulas`` has those of the losses at the end of this module. The rest is the same for all of them:
for probabilities p = sigmoid(z), logits z and labels y of one shape (N, C),

- the operator's output is p, unchanged;
- what it minimises is the sum over images and classes; Module's optimizer divides by the batch size. Labels may be soft
  (between 0 and 1). An entry whose label is negative (-1, unknown) adds nothing. The operator ends the graph:
  gradients from behind it are ignored;
- with ``label_smoothing`` e the formulas get y (1 - e) + e / 2 for a known label y. This is done here, not where labels
  are read or mixed: those keep the values that accuracy and the mask of unknown labels need. Mixed labels lose nothing,
  since smoothing is the same before and after a weighted mean.

A loss with ``single_label`` is over whole rows: p = softmax(z), labels of a row are 0 but for one 1, or shares that add
up to 1, a row with a negative label adds nothing, and there is no smoothing.

``Custom(data=p, label=y, logits=z, with_logits=True)`` is the form that mxml builds. The gradient is passed to z
directly, while p receives zero. Nothing is divided, so it stays exact to float32's rounding at any logit.

``Custom(data=p, label=y)`` is the form of the original multilabel-MXNet checkpoints, for losses with
``from_probabilities``. The gradient has to travel through the sigmoid's own backward step, which multiplies it by
p (1 - p), so p receives it divided by that very float32 product: what reaches z is right to float32's rounding for
logits from about -80 to 16. From 17 on float32 knows no p between 0.9999999 and 1, the sigmoid's factor is 0, and
nothing reaches z; below -85 the quotient is capped so that it cannot overflow, and what reaches z shrinks with p.
Rebuild the head (``mxml.model.symbols``) to be free of both.

Callbacks use only NDArray operations, since waiting for a value inside one stalls MXNet's engine. An exception that
left a callback would hang or kill the process; so it is kept for ``raise_failure`` and the results become NaN.
"""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Callable

import numpy as np

from mxml.errors import TrainingError
from mxml.model import loss_formulas
from mxml.model.attributes import Bool, Kind, Value
from mxml.model.loss_settings import KINDS, LABEL_SMOOTHING
from mxml.runtime.imports import load_mxnet
from mxml.runtime.types import Context, NDArray, Symbol

mx = load_mxnet()
_CustomOp: Any = mx.operator.CustomOp
_CustomOpProp: Any = mx.operator.CustomOpProp

_WITH_LOGITS = "with_logits"
_SMOOTHING = "label_smoothing"

# The smallest p (1 - p) divided by: the quotient, 1e37 at most, is still a float32 (up to 3.4e38).
_SMALLEST_SLOPE = 1e-37

# MXNet's worker threads call the operators, so there is no caller to raise to. deque.append and popleft are atomic.
_failures: collections.deque[tuple[str, Exception]] = collections.deque()
_MOST_FAILURES = 16

Settings = Mapping[str, Value]
Values = Callable[..., np.ndarray]
Gradient = Callable[..., NDArray]


@dataclass(frozen=True)
class Loss:
    """A loss, under ``name`` in mxml and under ``op_type`` in symbol files.

    Parameters
    ----------
    name, op_type : str
        Both are unique in the registry.
    values : callable
        ``values(logits, labels, **settings)`` returns the loss of each entry; arrays are float64, (N, C). What it
        gives for unknown labels, which it sees as 0, is dropped.
    gradient : callable
        ``gradient(probabilities, labels, logits, **settings)`` returns d loss / d logit of each entry, by NDArray
        operations alone. ``logits`` is None in the form without them. What it gives for unknown labels is dropped.
    settings : mapping of str to Kind
        The attributes that a node may have beside ``with_logits`` and ``label_smoothing``. Both functions are given
        those that it has; a tuple, one number per class, arrives at ``gradient`` as an NDArray (1, C).
    from_probabilities : bool
        Whether the form without logits exists.
    single_label : bool
        Whether an image has exactly one label: the probabilities are then the softmax of the logits, ``values`` takes
        whole rows and returns one loss for each, and a row with a negative label is unknown.
    """

    name: str
    op_type: str
    values: Values
    gradient: Gradient
    settings: Mapping[str, Kind] = field(default_factory=dict)
    from_probabilities: bool = False
    single_label: bool = False

    @property
    def attributes(self) -> Mapping[str, Kind]:
        """Return the kinds of all attributes that a node in a file may have, but ``op_type``."""
        return {_WITH_LOGITS: Bool(), **self._kinds}

    @property
    def _kinds(self) -> dict[str, Kind]:
        # Smoothing towards 1/2 is for labels that are decided one by one.
        return {**self.settings} if self.single_label else {_SMOOTHING: LABEL_SMOOTHING, **self.settings}

    def inputs(self, attributes: Mapping[str, str]) -> int:
        """Return how many inputs a node with these attributes has."""
        return 3 if attributes.get(_WITH_LOGITS) == "True" or not self.from_probabilities else 2

    def attach(
        self, probabilities: Symbol, logits: Symbol, label: Symbol, name: str, settings: Settings | None = None
    ) -> Symbol:
        """Return the network that ends in this loss, as a node called ``name``.

        Settings that are None are left out. Raises ValueError for one that is wrong: an operator would ignore it.
        """
        return mx.sym.Custom(
            data=probabilities,
            label=label,
            logits=logits,
            op_type=self.op_type,
            with_logits=True,
            name=name,
            **self._texts(settings or {}),
        )

    def value(self, logits: np.ndarray, labels: np.ndarray, settings: Settings | None = None) -> tuple[float, int]:
        """Sum the loss over the known entries, in float64.

        Parameters
        ----------
        logits, labels : numpy.ndarray, (N, C)
            Labels are from 0 to 1, or negative where they are unknown.

        Returns
        -------
        total : float
            The sum over the known entries.
        known : int
            How many there are; for a loss of single labels, how many rows.
        """
        own = dict(settings or {})
        smoothing = own.pop(_SMOOTHING, 0)
        known = labels >= 0
        if self.single_label:
            known = known.all(axis=1)
            logits, labels = logits[known], labels[known]
            values = self.values(logits.astype(np.float64), labels.astype(np.float64), **own)
            return float(values.sum()), int(known.sum())
        labels = _smoothed(np.where(known, labels, 0).astype(np.float64), smoothing)
        values = self.values(np.where(known, logits, 0).astype(np.float64), labels, **own)
        return float(values[known].sum()), int(known.sum())

    def parse(self, attributes: Mapping[str, str]) -> dict[str, Value]:
        """Return the settings that a node's attributes hold. Raises ValueError for one that is wrong."""
        return {name: kind.parse(attributes[name]) for name, kind in self._kinds.items() if name in attributes}

    def _texts(self, settings: Settings) -> dict[str, str]:
        kinds, texts = self._kinds, {}
        for name, value in settings.items():
            if name not in kinds:
                raise ValueError(f"the loss {self.name!r} has no setting {name!r}")
            if value is None:
                continue
            try:
                texts[name] = kinds[name].canonical(str(value))
            except ValueError as error:
                raise ValueError(f"{name!r} of the loss {self.name!r} is {value}, should be {error}") from None
        return texts


_by_name: dict[str, Loss] = {}
_by_op_type: dict[str, Loss] = {}


def register(loss: Loss) -> Loss:
    """Register a loss: with MXNet, for the check of symbol files, and for reading graphs."""
    if loss.name in _by_name or loss.op_type in _by_op_type:
        raise ValueError(f"a loss {loss.name!r} or an op_type {loss.op_type!r} is already registered")
    mx.operator.register(loss.op_type)(_operator_description(loss))
    _by_name[loss.name] = _by_op_type[loss.op_type] = loss
    return loss


def all_losses() -> tuple[Loss, ...]:
    """Return the registered losses."""
    return tuple(_by_name.values())


def of_name(name: str) -> Loss:
    """Return the loss that is registered under a name."""
    return _by_name[name]


def of_node(op: str, attributes: Mapping[str, str]) -> Loss | None:
    """Return the loss that a node of a graph is, if it is one."""
    return _by_op_type.get(attributes.get("op_type", "")) if op == "Custom" else None


def raise_failure() -> None:
    """Raise TrainingError for the first failure inside a loss operator since the last call; forget the others.

    A training loop calls it once per step, after it has waited for the step's outputs.
    """
    if _failures:
        where, error = _failures.popleft()
        _failures.clear()
        raise TrainingError(f"the loss failed in {where}: {type(error).__name__}: {_one_line(error)}") from error


def _smoothed(labels: Any, smoothing: Any) -> Any:
    """Move labels, of NumPy or MXNet, towards 1/2."""
    return labels * (1 - smoothing) + smoothing / 2 if smoothing else labels


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


class _LossOperator(_CustomOp):
    """A loss inside MXNet's callbacks: failures are kept, not raised."""

    def __init__(self, loss: Loss, with_logits: bool, settings: Settings):
        super().__init__()
        self.loss = loss
        self.with_logits = with_logits
        # Here, since making an array from numbers waits for it, which a callback must not do.
        self.settings = {
            name: mx.nd.array([value]) if isinstance(value, tuple) else value for name, value in settings.items()
        }
        self.smoothing = self.settings.pop(_SMOOTHING, 0)

    def forward(
        self, is_train: bool, req: list[str], in_data: list[NDArray], out_data: list[NDArray], aux: list[NDArray]
    ) -> None:
        """Return the probabilities unchanged; NaN where that fails."""
        self._fill("forward", req, out_data, lambda: in_data[:1])

    def backward(
        self,
        req: list[str],
        out_grad: list[NDArray],
        in_data: list[NDArray],
        out_data: list[NDArray],
        in_grad: list[NDArray],
        aux: list[NDArray],
    ) -> None:
        """Fill the gradients of probabilities, labels and, with logits, of these; NaN where that fails."""
        self._fill("backward", req, in_grad, lambda: self._gradients(*in_data))

    def _gradients(self, probabilities: NDArray, labels: NDArray, logits: NDArray | None = None) -> list[NDArray]:
        for name, value in self.settings.items():
            if isinstance(value, mx.nd.NDArray):
                self.settings[name] = value.as_in_context(labels.context).astype(labels.dtype, copy=False)
        gradient = self.loss.gradient(probabilities, _smoothed(labels, self.smoothing), logits, **self.settings)
        known = labels >= 0
        if self.loss.single_label:
            known = mx.nd.broadcast_like(mx.nd.min(known, axis=1, keepdims=True), labels)
        # Not a product: what an unknown entry gives may be NaN or infinite.
        gradient = mx.nd.where(known, gradient, mx.nd.zeros_like(labels))
        if self.with_logits:
            return [0, 0, gradient]
        slope = mx.nd.maximum(probabilities * (1 - probabilities), _SMALLEST_SLOPE)
        return [gradient / slope, 0]

    def _fill(self, where: str, req: list[str], targets: list[NDArray], compute: Callable[[], list[NDArray]]) -> None:
        try:
            for target, request, values in zip(targets, req, compute()):
                self.assign(target, request, values)
        except Exception as error:
            if len(_failures) < _MOST_FAILURES:
                _failures.append((f"{self.loss.op_type}.{where}", error))
            with contextlib.suppress(Exception):
                for target, request in zip(targets, req):
                    self.assign(target, request, float("nan"))


def _operator_description(loss: Loss) -> type:
    """Return the class that describes a loss's operator to MXNet."""

    class Description(_CustomOpProp):
        """The operator's inputs and outputs; attributes arrive as text."""

        def __init__(self, **attributes: str):
            # MXNet passes every attribute of the node, and an exception here would end the process. So what is
            # unknown or wrong is ignored; mxml.model.symbol_file refuses a file that holds such a thing.
            super().__init__(need_top_grad=False)
            self.with_logits = loss.inputs(attributes) == 3
            try:
                self.settings = loss.parse(attributes)
            except ValueError:
                self.settings = {}

        def list_arguments(self) -> list[str]:
            return ["data", "label", "logits"] if self.with_logits else ["data", "label"]

        def list_outputs(self) -> list[str]:
            return ["output"]

        def infer_shape(self, in_shape: list[list[int]]) -> tuple[list[list[int]], list[list[int]], list[list[int]]]:
            # MXNet refuses labels of another shape at bind.
            shape = in_shape[0] or in_shape[-1]
            return [shape] * len(in_shape), [shape], []

        def infer_type(self, in_type: list[type]) -> tuple[list[type], list[type], list[type]]:
            return [in_type[0]] * len(in_type), [in_type[0]], []

        def declare_backward_dependency(
            self, out_grad: list[int], in_data: list[int], out_data: list[int]
        ) -> list[int]:
            return in_data

        def create_operator(self, ctx: Context, in_shapes: list[list[int]], in_dtypes: list[type]) -> _LossOperator:
            return _LossOperator(loss, self.with_logits, self.settings)

    return Description


BINARY_CROSS_ENTROPY = register(
    Loss(
        "bce",
        "CrossEntropyLoss",
        loss_formulas.cross_entropy,
        loss_formulas.cross_entropy_gradient,
        KINDS["bce"],
        from_probabilities=True,
    )
)
"""Binary cross-entropy, under the op_type that the original multilabel-MXNet checkpoints name."""
register(
    Loss(
        "asymmetric", "AsymmetricLoss", loss_formulas.asymmetric, loss_formulas.asymmetric_gradient, KINDS["asymmetric"]
    )
)
register(Loss("focal", "FocalLoss", loss_formulas.focal, loss_formulas.focal_gradient, KINDS["focal"]))

SOFTMAX_CROSS_ENTROPY = register(
    Loss(
        "softmax",
        "SoftmaxCrossEntropyLoss",
        loss_formulas.softmax_cross_entropy,
        loss_formulas.softmax_cross_entropy_gradient,
        single_label=True,
    )
)
"""The sum over images of -log p of their one label, for p the softmax of the logits."""
