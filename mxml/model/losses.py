"""The ``CrossEntropyLoss`` operator, under the op_type that the original multilabel-MXNet checkpoints name.

What it computes, for probabilities p = sigmoid(z), logits z and multi-hot labels y of one shape (N, C):

- its output is p, unchanged;
- what it minimises is the sum over images and classes of -y log p - (1 - y) log(1 - p), the binary cross-entropy;
  Module's optimizer divides by the batch size. Labels may be soft (between 0 and 1). An entry whose label is
  negative (-1, unknown) adds nothing. The operator ends the graph: gradients from behind it are ignored.

Two forms:

- ``Custom(data=p, label=y, logits=z, with_logits=True)`` is what mxml builds. d loss / d z = p - y (Bishop, Pattern
  Recognition and Machine Learning, 2006, section 4.3.2), and it is handed to z directly, while p receives zero.
  Nothing is divided, so it stays exact to float32's rounding at any logit; p - y does not vanish where p is 1.
- ``Custom(data=p, label=y)`` is the original's. The gradient has to travel through the sigmoid's own backward step,
  which multiplies it by p (1 - p), so p receives (p - y) / (p (1 - p)), divided by that very float32 product: what
  reaches z is p - y to float32's rounding for logits from about -80 to 16. From 17 on float32 knows no p between
  0.9999999 and 1, the sigmoid's factor is 0, and nothing reaches z; below -85 the quotient is capped so that it
  cannot overflow, and what reaches z shrinks with p. Rebuild the head (``mxml.model.symbols``) to be free of both.

Callbacks use NDArray operations alone, since waiting for a value inside one stalls MXNet's engine. An exception that
left a callback would hang or kill the process; so it is kept for ``raise_failure`` and the results become NaN.
"""

from __future__ import annotations

import collections
import contextlib
from typing import Any, Callable

from mxml.errors import TrainingError
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()
_CustomOp: Any = mx.operator.CustomOp
_CustomOpProp: Any = mx.operator.CustomOpProp

OP_TYPE = "CrossEntropyLoss"

# The smallest p (1 - p) divided by: the quotient, 1e37 at most, is still a float32 (up to 3.4e38).
_SMALLEST_SLOPE = 1e-37

# MXNet's worker threads call the operators, so there is no caller to raise to. deque.append and popleft are atomic.
_failures: collections.deque[tuple[str, Exception]] = collections.deque()
_MOST_FAILURES = 16


def raise_failure() -> None:
    """Raise TrainingError for the first failure inside a loss operator since the last call; forget the others.

    A training loop calls it once a step, after it has waited for the step's outputs.
    """
    if _failures:
        where, error = _failures.popleft()
        _failures.clear()
        raise TrainingError(f"the loss failed in {where}: {type(error).__name__}: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


class LossOperator(_CustomOp):
    """Run a loss inside MXNet's callbacks: give it ``output`` and ``gradients``, and failures are kept, not raised."""

    def output(self, inputs: list[Any]) -> Any:
        """Return the operator's output for its inputs."""
        raise NotImplementedError

    def gradients(self, inputs: list[Any]) -> list[Any]:
        """Return one gradient an input; a number stands for an array filled with it."""
        raise NotImplementedError

    def forward(self, is_train: bool, req: list[str], in_data: list[Any], out_data: list[Any], aux: list[Any]) -> None:
        """Fill the output; with NaN where that fails."""
        self._fill("forward", req, out_data, lambda: [self.output(in_data)])

    def backward(
        self,
        req: list[str],
        out_grad: list[Any],
        in_data: list[Any],
        out_data: list[Any],
        in_grad: list[Any],
        aux: list[Any],
    ) -> None:
        """Fill the gradients; with NaN where that fails."""
        self._fill("backward", req, in_grad, lambda: self.gradients(in_data))

    def _fill(self, where: str, req: list[str], targets: list[Any], compute: Callable[[], list[Any]]) -> None:
        try:
            for target, request, values in zip(targets, req, compute()):
                self.assign(target, request, values)
        except Exception as error:
            if len(_failures) < _MOST_FAILURES:
                _failures.append((f"{type(self).__name__}.{where}", error))
            with contextlib.suppress(Exception):
                for target, request in zip(targets, req):
                    self.assign(target, request, float("nan"))


class CrossEntropyLoss(LossOperator):
    """Binary cross-entropy on a sigmoid's output, as the module's docstring states it."""

    def __init__(self, with_logits: bool):
        super().__init__()
        self.with_logits = with_logits

    def output(self, inputs: list[Any]) -> Any:
        """Return the probabilities as they came."""
        return inputs[0]

    def gradients(self, inputs: list[Any]) -> list[Any]:
        """Return the gradients of probabilities, labels and, in the three-input form, logits."""
        probabilities, labels = inputs[:2]
        difference = (probabilities - labels) * (labels >= 0)
        if self.with_logits:
            return [0, 0, difference]
        slope = mx.nd.maximum(probabilities * (1 - probabilities), _SMALLEST_SLOPE)
        return [difference / slope, 0]


@mx.operator.register(OP_TYPE)
class CrossEntropyLossProp(_CustomOpProp):
    """Describe the operator to MXNet; attributes arrive as text, ``with_logits`` as ``'True'`` or ``'False'``."""

    def __init__(self, with_logits: str = "False", **attributes: str):
        # MXNet hands over every attribute of the node, and an exception here would end the process: the rest is
        # ignored, and mxml.model.symbols refuses a file whose node holds anything unknown.
        super().__init__(need_top_grad=False)
        self.with_logits = with_logits == "True"

    def list_arguments(self) -> list[str]:
        """Name the inputs."""
        return ["data", "label", "logits"] if self.with_logits else ["data", "label"]

    def list_outputs(self) -> list[str]:
        """Name the output."""
        return ["output"]

    def infer_shape(self, in_shape: list[list[int]]) -> tuple[list[list[int]], list[list[int]], list[list[int]]]:
        """Give every input the shape of the probabilities; MXNet refuses labels of another shape at bind."""
        shape = in_shape[0] or in_shape[-1]
        return [shape] * len(in_shape), [shape], []

    def infer_type(self, in_type: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """Give every input the type of the probabilities."""
        return [in_type[0]] * len(in_type), [in_type[0]], []

    def declare_backward_dependency(self, out_grad: list[int], in_data: list[int], out_data: list[int]) -> list[int]:
        """Keep the probabilities and the labels for the backward step, and nothing else."""
        return in_data[:2]

    def create_operator(self, ctx: Any, in_shapes: Any, in_dtypes: Any) -> CrossEntropyLoss:
        """Make the operator of one executor."""
        return CrossEntropyLoss(self.with_logits)
