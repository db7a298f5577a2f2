"""What the user may say about preprocessing where the sidecar has nothing, or something else."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from mxml.errors import SettingError
from mxml.images.choices import FITS
from mxml.images.transforms import PRESETS, Preprocess
from mxml.images.transforms import preset as preset_named


def changed_preprocess(
    kept: Preprocess,
    *,
    image_shape: Sequence[int] | None = None,
    fit: str | None = None,
    preset: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    channels: str | None = None,
) -> Preprocess:
    """Return ``kept`` with what is given in its place; ``preset`` replaces all of it but the size.

    Another ``image_shape``, (3, height, width), shows as much of an image as before. ``fit`` "letterbox" or "stretch"
    drops the short side; "crop" in place of these has one as long as the crop's longer side, as the original script
    does. Raises SettingError for a preset, a fit or a shape that cannot be.
    """
    size = kept.size
    if image_shape is not None:
        if len(image_shape) != 3 or image_shape[0] != 3:
            raise SettingError("image_shape", tuple(image_shape), "3,HEIGHT,WIDTH")
        size = (image_shape[1], image_shape[2])
    if fit not in (None, *FITS):
        raise SettingError("fit", fit, "one of " + ", ".join(FITS))
    if preset is None:
        base = _fitted(_resized(kept, size), fit or kept.fit)
    elif preset in PRESETS:
        base = preset_named(preset, size, fit or "crop")
    else:
        raise SettingError("preset", preset, "one of " + ", ".join(PRESETS))
    changes: dict[str, Any] = {"mean": mean, "std": std, "channels": channels}
    return dataclasses.replace(base, **{name: value for name, value in changes.items() if value is not None})


def _resized(preprocess: Preprocess, size: tuple[int, int]) -> Preprocess:
    short_side = preprocess.short_side
    if short_side is not None:
        short_side = round(short_side * min(size) / min(preprocess.size))
    return dataclasses.replace(preprocess, size=size, short_side=short_side)


def _fitted(preprocess: Preprocess, fit: str) -> Preprocess:
    if fit == preprocess.fit:
        return preprocess
    return dataclasses.replace(preprocess, fit=fit, short_side=max(preprocess.size) if fit == "crop" else None)
