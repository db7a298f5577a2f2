"""The optimizers' published rules in NumPy's float64, by which the real ones are judged."""

from __future__ import annotations

import math

import numpy as np


class Float64Optimizer:
    """One parameter's optimizer: ``update`` changes ``weight``, ``states`` are what MXNet keeps, in its order.

    sgd and nag: Sutskever et al. 2013, equations 1 to 4. adam: Kingma & Ba 2015, end of section 2, where the learning
    rate takes the bias corrections. adamw: Loshchilov & Hutter 2019, algorithm 2. scaled-adamw: its step times the
    weight's root mean square, held to 0.01 to 0.05 (Shazeer & Stern 2018, section 8). In the others decay is a part of
    the gradient; MXNet's adam adds it before it clips, the rest after.
    """

    def __init__(self, name, weight, *, wd=0.0, clip=None, momentum=0.9):
        self.name, self.wd, self.clip, self.momentum = name, wd, clip, momentum
        self.weight = weight.astype(np.float64)
        count = 1 if name in ("sgd", "nag") else 2
        self.states = [np.zeros_like(self.weight) for _ in range(count)]
        self.steps = 0
        self.decoupled = name in ("adamw", "scaled-adamw")

    def update(self, grad, lr):
        self.steps += 1
        grad = grad.astype(np.float64)
        if self.name == "adam":
            grad = self._clipped(grad + self.wd * self.weight)
        else:
            grad = self._clipped(grad)
            if not self.decoupled:
                grad = grad + self.wd * self.weight
        if self.name in ("sgd", "nag"):
            self.states[0] = self.momentum * self.states[0] - lr * grad
            change = self.states[0] if self.name == "sgd" else self.momentum * self.states[0] - lr * grad
        else:
            self.states[0] = 0.9 * self.states[0] + 0.1 * grad
            self.states[1] = 0.999 * self.states[1] + 0.001 * grad**2
            corrected = lr * math.sqrt(1 - 0.999**self.steps) / (1 - 0.9**self.steps)
            change = -corrected * self.states[0] / (np.sqrt(self.states[1]) + 1e-8)
            if self.decoupled:
                change -= lr * self.wd * self.weight
            if self.name == "scaled-adamw":
                change *= np.clip(np.sqrt((self.weight**2).mean()), 0.01, 0.05)
        self.weight = self.weight + change

    def _clipped(self, grad):
        return grad if self.clip is None else np.clip(grad, -self.clip, self.clip)
