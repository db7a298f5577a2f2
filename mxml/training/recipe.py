"""The recipe: what settings that were not given are, by those that were.

The values come from runs on two networks, SqueezeNet and the sample's, each on its own images; benchmarks/recipes.py
compares them with others on more. The original script's learning rate or momentum, without an optimizer or a method
that fits a head, asks for its recipe: stochastic gradient descent on the whole network.

A network from scratch has no features that a head could be fitted to: all of it is trained at one rate, which is a
common one of Adam's. Its preprocessing is a matter of choice.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TypeVar

from mxml.errors import SettingError
from mxml.model.graph import Graph
from mxml.training.config import TrainConfig

BY_GRADIENT_SIZE = ("sgd", "nag")
"""The optimizers whose steps are in proportion to the gradient."""

# Of scaled-adamw, with and without BatchNorm.
_NORMALISED_RATE, _PLAIN_RATE = 0.02, 0.01

Value = TypeVar("Value")


@dataclass(frozen=True)
class Recipe:
    """The settings of TrainConfig that have no fixed default, each with a value."""

    method: str
    optimizer: str
    lr: float
    mom: float
    wd: float
    warmup_epochs: float
    head_lr_mult: float

    @classmethod
    def of(cls, config: TrainConfig) -> Recipe:
        """Return the recipe of a configuration: what it says, and the rest to go with that."""
        from_scratch = config.network is not None
        asks_for_sgd = config.optimizer in BY_GRADIENT_SIZE or (
            config.optimizer is None and (config.mom is not None or (config.lr is not None and not from_scratch))
        )
        whole = asks_for_sgd or from_scratch or config.single_label
        method = config.method or ("finetune" if whole else "lp-ft")
        _check_method(config, method)
        # A head that begins at zero has no size that a step could be in proportion to.
        optimizer = config.optimizer or ("scaled-adamw" if method != "finetune" else "sgd" if asks_for_sgd else "adamw")
        by_gradient_size = optimizer in BY_GRADIENT_SIZE
        return cls(
            method=method,
            optimizer=optimizer,
            lr=_given(config.lr, _rate(optimizer, from_scratch)),
            mom=_given(config.mom, 0.9),
            wd=_given(config.wd, 0.01 if optimizer in ("adamw", "scaled-adamw") else 0.0001),
            warmup_epochs=_given(config.warmup_epochs, 0.0 if by_gradient_size else 1.0),
            head_lr_mult=_given(config.head_lr_mult, 1.0 if method != "finetune" or from_scratch else 10.0),
        )


def with_recipe(config: TrainConfig) -> TrainConfig:
    """Return the configuration with a value for every setting that the recipe decides.

    A preset is among them for a network from scratch alone; that of a pretrained network has to be found out. Where the
    optimizer is scaled-adamw, the learning rate is left to ``with_rate``. Raises SettingError for a momentum that the
    optimizer has no use for; it is not filled in there.
    """
    preset = "imagenet" if config.preset is None and config.network is not None else config.preset
    values = dataclasses.asdict(Recipe.of(config))
    if values["optimizer"] == "scaled-adamw":
        values["lr"] = config.lr
    if values["optimizer"] not in BY_GRADIENT_SIZE:
        if config.mom is not None:
            wanted = f"left out, or given with `optimizer` sgd or nag: {values['optimizer']} has none"
            raise SettingError("mom", config.mom, wanted)
        values["mom"] = None
    return dataclasses.replace(config, preset=preset, **values)


def with_rate(config: TrainConfig, graph: Graph) -> TrainConfig:
    """Return the configuration with a learning rate, which depends on the pretrained network.

    One with BatchNorm bears larger steps, also where its statistics are kept.
    """
    if config.lr is not None:
        return config
    normalised = any(node.is_batch_norm and not node.keeps_statistics for node in graph.nodes)
    return dataclasses.replace(config, lr=_NORMALISED_RATE if normalised else Recipe.of(config).lr)


def _rate(optimizer: str, from_scratch: bool) -> float:
    if optimizer == "scaled-adamw":
        return _PLAIN_RATE
    if optimizer in BY_GRADIENT_SIZE:
        return 0.01
    return 0.001 if from_scratch else 0.0002


def _check_method(config: TrainConfig, method: str) -> None:
    """Raise SettingError for a method that fits a head where that cannot be, or not to this loss."""
    if method == "finetune":
        return
    if config.network is not None:
        raise SettingError("method", method, "finetune or left out: `network` has no features yet to fit a head to")
    if config.single_label:
        raise SettingError("method", method, "finetune or left out with `single_label`: only sigmoids are fitted")
    if method == "features" and (config.loss != "bce" or config.pos_weight or config.label_smoothing):
        raise SettingError("method", method, "lp-ft or finetune with a loss of your own; features fits plain bce")


def _given(value: Value | None, otherwise: Value) -> Value:
    return otherwise if value is None else value
