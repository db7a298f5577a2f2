"""The recipe: what settings that were not given are, by those that were.

The values were found by experiment, and are the same for every network; benchmarks/RESULTS.md has the tables. The
original script's learning rate or momentum asks for its recipe: stochastic gradient descent on the whole network.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TypeVar

from mxml.errors import SettingError
from mxml.training.config import TrainConfig

_BY_GRADIENT_SIZE = ("sgd", "nag")

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
        asks_for_sgd = config.optimizer in _BY_GRADIENT_SIZE or (
            config.optimizer is None and (config.mom is not None or config.lr is not None)
        )
        method = config.method or ("finetune" if asks_for_sgd else "lp-ft")
        optimizer = config.optimizer or ("sgd" if asks_for_sgd and method == "finetune" else "adamw")
        by_gradient_size = optimizer in _BY_GRADIENT_SIZE
        if method == "features" and (config.loss != "bce" or config.pos_weight or config.label_smoothing):
            raise SettingError("method", method, "lp-ft or finetune with a loss of your own; features fits plain bce")
        return cls(
            method=method,
            optimizer=optimizer,
            lr=_given(config.lr, 0.01 if by_gradient_size else 0.0002),
            mom=_given(config.mom, 0.9),
            wd=_given(config.wd, 0.0001 if by_gradient_size else 0.01),
            warmup_epochs=_given(config.warmup_epochs, 0.0 if by_gradient_size else 1.0),
            head_lr_mult=_given(config.head_lr_mult, 10.0 if method == "finetune" else 1.0),
        )


def with_recipe(config: TrainConfig) -> TrainConfig:
    """Return the configuration with a value for every setting that the recipe decides."""
    return dataclasses.replace(config, **dataclasses.asdict(Recipe.of(config)))


def _given(value: Value | None, otherwise: Value) -> Value:
    return otherwise if value is None else value
