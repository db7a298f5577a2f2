"""What the predictions in a file were made with: the record beside it, so that no other model goes on with it."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mxml
from mxml import atomic
from mxml.errors import MxmlError, StorageError
from mxml.evaluation.thresholds import Threshold, resolve_thresholds
from mxml.inference.classifier import Classifier
from mxml.model import described
from mxml.model.checkpoint import Checkpoint
from mxml.model.run_files import RunFiles
from mxml.model.sidecar import Stamp

_FORMAT = "mxml-predictions"
_MOST_BYTES = 64 << 20
# They say where a file comes from; it may be continued with a copy of the checkpoint, and by another version.
_FOR_PEOPLE = ("mxml", "prefix")


@dataclass(frozen=True)
class MadeWith:
    """The network, its names and thresholds, and all settings that change what is predicted or written.

    ``settings`` holds what JSON holds.
    """

    settings: Mapping[str, Any]

    @classmethod
    def of(cls, classifier: Classifier, threshold: Threshold | None, top_k: int, **others: Any) -> MadeWith:
        """Return the record of predictions that this classifier makes with these arguments.

        ``others`` are further settings that change what is written, such as the part. Raises SettingError for a
        threshold that ``predict`` refuses, and StorageError where the checkpoint can no longer be read.
        """
        model = classifier.checkpoint
        files = RunFiles(model.prefix)
        thresholds = resolve_thresholds(threshold, classifier.label_names, classifier.thresholds)
        return cls(
            {
                "format": _FORMAT,
                "mxml": mxml.__version__,
                "prefix": model.prefix,
                "epoch": model.epoch,
                "symbol_sha256": _sum_of(files.symbol),
                "params_sha256": _sum_of(files.params(model.epoch)),
                "preprocess": _as_json(dataclasses.asdict(classifier.preprocess)),
                "label_names": list(classifier.label_names),
                "thresholds": thresholds.tolist(),
                "threshold_given": threshold is not None,
                "calibration": _as_json(classifier.calibration and dataclasses.asdict(classifier.calibration)),
                "described_sha256": _description_of(model),
                "top_k": top_k,
                **others,
            }
        )

    @classmethod
    def read(cls, path: str) -> MadeWith:
        """Read a record. Raises MxmlError for a file that is not one."""
        fault = f"{path}: is not a record that mxml predict wrote beside its output"
        try:
            with open(path, "rb") as file:
                content = file.read(_MOST_BYTES + 1)
            settings = json.loads(content) if len(content) <= _MOST_BYTES else None
        except OSError as error:
            raise MxmlError(f"{path}: cannot be read: {error.strerror or error}") from error
        except (ValueError, RecursionError) as error:
            raise MxmlError(fault) from error
        if not isinstance(settings, dict) or settings.get("format") != _FORMAT:
            raise MxmlError(fault)
        return cls(settings)

    def write(self, path: str) -> None:
        """Write the record as one step. Raises StorageError where it cannot be written."""
        lines = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in self.settings.items())
        atomic.write_text(path, "{" + ",\n ".join(lines) + "}\n")

    def differences(self, other: MadeWith) -> list[str]:
        """Return in words what is not the same here and in ``other``; empty where ``other`` may be continued."""
        names = {**self.settings, **other.settings}
        return [
            _difference(name, other.settings.get(name), self.settings.get(name))
            for name in names
            if name not in _FOR_PEOPLE and self.settings.get(name) != other.settings.get(name)
        ]


def _difference(name: str, before: Any, now: Any) -> str:
    simple = all(
        value is None or (isinstance(value, (str, int, float)) and len(str(value)) < 20) for value in (before, now)
    )
    return f"{name} ({_shown(before)}, now {_shown(now)})" if simple else name


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)


def _sum_of(path: str) -> str:
    try:
        return Stamp.of(path).sha256
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error


def _description_of(model: Checkpoint) -> str | None:
    """Return the sum of the description that tells images unlike the training images, where there is one."""
    found = described.named(model.sidecar, model.epoch)
    return None if found is None else found.file.sha256


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def record_path(path: str | os.PathLike[str]) -> str:
    """Return where the record of a file of predictions is: ``predictions.csv.made-with.json`` beside it."""
    return f"{os.fspath(path)}.made-with.json"
