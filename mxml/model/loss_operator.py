"""The operator that a loss is in a network: it passes on the probabilities, and gives the gradient at the logits.

Its output is p, unchanged. It ends the graph: gradients from behind it are ignored.

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
from typing import TYPE_CHECKING, Any, Callable, cast

from mxml.errors import TrainingError
from mxml.model.loss_formulas import smoothed
from mxml.model.loss_settings import SMOOTHING
from mxml.runtime.imports import load_mxnet
from mxml.runtime.types import Context, NDArray

if TYPE_CHECKING:
    from mxml.model.losses import Loss, Settings

mx = load_mxnet()
_CustomOp: Any = mx.operator.CustomOp
_CustomOpProp: Any = mx.operator.CustomOpProp

# The smallest p (1 - p) divided by: the quotient, 1e37 at most, is still a float32 (up to 3.4e38).
_SMALLEST_SLOPE = 1e-37

# MXNet's worker threads call the operators, so there is no caller to raise to. deque.append and popleft are atomic.
_failures: collections.deque[tuple[str, Exception]] = collections.deque()
_MOST_FAILURES = 16


def register_operator(loss: Loss) -> None:
    """Register a loss with MXNet, under its ``op_type``."""

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

    mx.operator.register(loss.op_type)(Description)


def raise_failure() -> None:
    """Raise TrainingError for the first failure inside a loss operator since the last call; forget the others.

    A training loop calls it once per step, after it has waited for the step's outputs.
    """
    if _failures:
        where, error = _failures.popleft()
        _failures.clear()
        raise TrainingError(f"the loss failed in {where}: {type(error).__name__}: {_one_line(error)}") from error


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
        self.smoothing = cast(float, self.settings.pop(SMOOTHING, 0))

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
        gradient = self.loss.gradient(probabilities, smoothed(labels, self.smoothing), logits, **self.settings)
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
