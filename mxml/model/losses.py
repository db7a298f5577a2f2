"""A registry of losses, which training minimises, each a custom operator at the end of a network.

A ``Loss`` is written in two formulas, its value and its gradient at the logits, for one entry of an image and a class;
``mxml.model.loss_formulas`` has those of the losses at the end of this module. The rest is the same for all of them:
for probabilities p = sigmoid(z), logits z and labels y of one shape (N, C),

- what is minimised is the sum over images and classes; Module's optimizer divides by the batch size. Labels may be soft
  (between 0 and 1). An entry whose label is negative (-1, unknown) adds nothing;
- with ``label_smoothing`` e the formulas get y (1 - e) + e / 2 for a known label y. This is done here, not where labels
  are read or mixed: those keep the values that accuracy and the mask of unknown labels need. Mixed labels lose nothing,
  since smoothing is the same before and after a weighted mean.

A loss with ``single_label`` is over whole rows: p = softmax(z), labels of a row are 0 but for one 1, or shares that add
up to 1, a row with a negative label adds nothing, and there is no smoothing.

``mxml.model.loss_operator`` computes it inside a network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Callable, cast

import numpy as np

from mxml.model import loss_formulas
from mxml.model.attributes import Bool, Kind, Value
from mxml.model.loss_formulas import smoothed
from mxml.model.loss_operator import register_operator
from mxml.model.loss_settings import KINDS, LABEL_SMOOTHING, SMOOTHING
from mxml.runtime.imports import load_mxnet
from mxml.runtime.types import NDArray, Symbol

mx = load_mxnet()

_WITH_LOGITS = "with_logits"

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
        return {**self.settings} if self.single_label else {SMOOTHING: LABEL_SMOOTHING, **self.settings}

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
        smoothing = cast(float, own.pop(SMOOTHING, 0))
        known = labels >= 0
        if self.single_label:
            known = known.all(axis=1)
            logits, labels = logits[known], labels[known]
            values = self.values(logits.astype(np.float64), labels.astype(np.float64), **own)
            return float(values.sum()), int(known.sum())
        labels = smoothed(np.where(known, labels, 0).astype(np.float64), smoothing)
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
    register_operator(loss)
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
