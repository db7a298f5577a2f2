"""Whether a list is one that a run was trained on: what a model scores there says little about other images."""

from __future__ import annotations

from mxml.data.image_list import ImageList
from mxml.data.record_list import RecordList
from mxml.errors import CheckpointError
from mxml.model.sidecar import Sidecar, Stamp


def list_sha256(path: str, images: ImageList | RecordList) -> str:
    """Return the sum by which sidecars know a list: of its file, or of what a RecordIO file would hold as one."""
    if isinstance(images, RecordList):
        return images.digest
    try:
        return Stamp.of(path).sha256
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read again ({error.strerror})") from error


def was_trained_on(sidecar: Sidecar | None, path: str, images: ImageList | RecordList) -> bool:
    """Say whether a list is the training list of a run, by its content."""
    used = sidecar.data.get("train") if sidecar else None
    return used is not None and used.sha256 == list_sha256(path, images)
