"""What a checkpoint says about its data, and what is assumed if it has no sidecar."""

from __future__ import annotations

import os
from collections.abc import Sequence

from mxml.errors import CheckpointError, SettingError
from mxml.images.transforms import Preprocess, preset
from mxml.model import checkpoint
from mxml.model.checkpoint import Checkpoint
from mxml.model.run_files import RunFiles
from mxml.model.sidecar import UsedList
from mxml.model.trusted_paths import can_be_trusted, trusted_list
from mxml.progress import Progress
from mxml.text import quoted, shown_labels

_SHOWN_NAMES = 3


def own_preprocess(model: Checkpoint) -> Preprocess:
    """Return the sidecar's preprocessing; without one, what the original script does for 224 x 224."""
    return model.sidecar.preprocess if model.sidecar else preset("original", (224, 224))


def assumptions(
    model: Checkpoint, *, preprocess_assumed: bool, names_assumed: Sequence[str], softmax_assumed: bool
) -> tuple[str, ...]:
    """Say what is assumed for a checkpoint without a sidecar: with wrong preprocessing its tags are wrong.

    ``names_assumed`` are the label names that are used where none were given; ``softmax_assumed`` says that the network
    ends in its logits.
    """
    notes = _assumed_end(model) if softmax_assumed else ()
    if model.sidecar is not None:
        return notes
    assumed, settings = [], []
    if preprocess_assumed:
        assumed.append("images of 224 x 224 pixels, prepared as the original script does")
        settings += ["`preset`", "`image_shape`"]
    if names_assumed:
        assumed.append(f"the label names {shown_labels(names_assumed, _SHOWN_NAMES)}")
        settings.append("`label_names`")
    if not assumed:
        return notes
    return (
        *notes,
        f"{RunFiles(model.prefix).sidecar}: does not exist, so mxml assumes {' and '.join(assumed)}; "
        f"copy that file beside the checkpoint, or set {', '.join(settings)}",
    )


def replaced_names(model: Checkpoint, names: Sequence[str]) -> tuple[str, ...]:
    """Say which of the sidecar's label names others replace: those of another model would be given to all images."""
    own = () if model.sidecar is None else model.sidecar.label_names
    changed = [f"{quoted(old)} is now {quoted(new)}" for old, new in zip(own, names) if old != new]
    if not changed:
        return ()
    some = "; ".join(changed[:_SHOWN_NAMES]) + (
        f"; and {len(changed) - _SHOWN_NAMES:,} more" if len(changed) > _SHOWN_NAMES else ""
    )
    return (f"{RunFiles(model.prefix).sidecar}: {len(changed):,} of {len(own):,} label names are replaced: {some}",)


def _assumed_end(model: Checkpoint) -> tuple[str, ...]:
    return (
        f"{RunFiles(model.prefix).symbol}: ends without a softmax or a sigmoid, so mxml assumes a softmax: one label "
        "per image",
    )


def tolerated_bad_share(model: Checkpoint) -> float:
    """Return which share of its own images the model's run let be unreadable; 0 where it does not say."""
    share = model.sidecar.config.get("max_bad_share") if model.sidecar else None
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
        return 0.0
    return float(share)


def tags_its_own_images(prefix: str) -> bool:
    """Say whether a prediction that names no images finds those of the run's validation list."""
    sidecar = checkpoint.read_sidecar(prefix)
    used = None if sidecar is None else sidecar.data.get("val")
    return used is not None and can_be_trusted(used, RunFiles(prefix).folder)


def validation_list(
    model: Checkpoint,
    setting: str,
    wanted: str,
    remedy: str,
    progress: Progress,
    root: str | os.PathLike[str] | None = None,
) -> UsedList:
    """Return the list that the model's run validated on, with its image root or the one given, once both may be used.

    Raises SettingError, saying that ``setting`` should be what is ``wanted``, for a checkpoint that names no list, and
    CheckpointError, with the ``remedy``, for a list that does not exist or may not be trusted.
    """
    used = model.sidecar.data.get("val") if model.sidecar else None
    if used is None:
        raise SettingError(setting, None, f"{wanted}: this checkpoint names no validation list")
    folder = RunFiles(model.prefix).folder
    try:
        named = None if root is None else os.fspath(root)
        return trusted_list(used, "the run's validation list", folder, progress, named)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; {remedy}") from error
