"""The lowest score at which an image gets a label: one threshold per label."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Union

import numpy as np

from mxml.errors import SettingError
from mxml.text import quoted, shown_labels

DEFAULT_THRESHOLD = 0.5

Threshold = Union[float, Sequence[float], Mapping[str, float]]
"""One number for every label, one number per label in their order, or numbers by label name."""


def resolve_thresholds(threshold: Threshold | None, label_names: Sequence[str], own: np.ndarray) -> np.ndarray:
    """Return one threshold per label, (C,) float64 in [0, 1]; ``own`` (C,) has the checkpoint's.

    A mapping leaves the labels that it does not name at ``own``; None leaves them all. Raises SettingError for a number
    outside of [0, 1], another count than that of the labels, or a name that is no label.
    """
    resolved = np.array(own, dtype=np.float64)
    if threshold is None:
        return resolved
    if isinstance(threshold, Mapping):
        positions = {name: position for position, name in enumerate(label_names)}
        for name, value in threshold.items():
            if name not in positions:
                raise SettingError("threshold", name, _wanted_name(name, label_names))
            resolved[positions[name]] = _number(value)
    elif np.ndim(threshold) == 0:
        resolved[:] = _number(threshold)
    else:
        values = list(threshold)  # type: ignore[arg-type]
        if len(values) != len(label_names):
            wanted = f"one number, or one for each of the {len(label_names)} labels, not {len(values)}"
            raise SettingError("threshold", tuple(values), wanted)
        resolved[:] = [_number(value) for value in values]
    return resolved


def _number(value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= 1:
        raise SettingError("threshold", value, "a number from 0 to 1")
    return number


def _wanted_name(name: str, label_names: Sequence[str]) -> str:
    near = difflib.get_close_matches(str(name), label_names, 1)
    return (
        f"the name of a label{f', such as {quoted(near[0])}' if near else ''}; labels are {shown_labels(label_names)}"
    )
