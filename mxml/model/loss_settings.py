"""The settings of the losses in ``mxml.model.losses``, what they may be, and their published values; without MXNet."""

from __future__ import annotations

from collections.abc import Mapping

from mxml.model.attributes import Float, Floats, Kind

SMOOTHING = "label_smoothing"
"""The setting that every loss has whose labels are decided one by one."""
LABEL_SMOOTHING = Float(0, 0.99)
"""What it may be."""

_GAMMA = Float(0, 20)

KINDS: Mapping[str, Mapping[str, Kind]] = {
    "bce": {"pos_weight": Floats(10_000, 0.001, 1000)},
    "asymmetric": {"gamma_pos": _GAMMA, "gamma_neg": _GAMMA, "margin": Float(0, 0.99)},
    "focal": {"gamma": _GAMMA, "alpha": Float(0.01, 0.99)},
}
"""The settings of each loss by its name."""

PUBLISHED: Mapping[str, float] = {"gamma_pos": 0.0, "gamma_neg": 4.0, "margin": 0.05, "gamma": 2.0}
"""What the papers recommend. ``pos_weight`` and ``alpha`` are not here: without them nothing is weighted."""
