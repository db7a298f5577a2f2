"""A run's lists, made of labelled images and kept beside its prefix, and what is wrong with them in a few lines."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mxml.data.batches import BadImage, too_many_bad
from mxml.data.formats import by_name
from mxml.data.formats.options import FormatOptions
from mxml.data.formats.sources import LabelSources
from mxml.data.image_list import plain_path
from mxml.data.labelled_images import LEFT_OUT
from mxml.data.list_root import DEFAULT_ROOT, may_be_followed
from mxml.errors import CheckpointError, ListError, MxmlError, SettingError, StorageError, as_text
from mxml.model import checkpoint
from mxml.model.run_files import RunFiles
from mxml.model.trusted_paths import lies_inside
from mxml.prepare.check import CheckReport, check_made
from mxml.prepare.findings import headlines
from mxml.prepare.make_lists import MadeLists, make_lists
from mxml.prepare.subsets import SUBSETS
from mxml.progress import Progress
from mxml.text import counted, shown
from mxml.training import waiting_lists
from mxml.training.config import TrainConfig, train_settings
from mxml.training.prefix import holds_a_run

_MOST_HEADLINES = 4
# What the notes of `make_lists` have said already.
_SAID = frozenset({"labels-look-alike", "exact-duplicates", "near-duplicates"})
_FEW_IMAGES = 5
_FEW_TO_VALIDATE = 20
# A setting of `make_lists`, and what a run calls it.
_RENAMED = {"root": "data_root", "classes_file": "labels"}
_OWN_SETTINGS = frozenset({*train_settings(), "force"})


def with_lists(config: TrainConfig, progress: Progress, *, force: bool) -> TrainConfig:
    """Return the settings of a new run with the lists that are made of its ``data``; without that, as they are.

    The lists are split as ``make_lists`` does by default, which keeps the split of those that are there. ``force``
    lets lists be replaced from which images are gone, or whose labels have changed. Where a run will be replaced, the
    new lists wait until it is: ``files_of_lists`` says where. Raises ListError for a source that has faults, for lists
    that cannot be trained on, and what else ``make_lists`` does.
    """
    if not config.data:
        return config
    files = RunFiles(config.prefix)
    waits = _wait(config, force)
    into = Path(files.next_lists) if waits else None
    sources = LabelSources(
        tuple(map(Path, config.data)),
        None if config.data_root is None else Path(config.data_root),
        classes_file=None if config.labels is None else Path(config.labels),
        num_classes=config.num_classes,
        options=FormatOptions(allow_absolute=config.allow_absolute),
    )
    try:
        made = make_lists(
            sources,
            Path(files.lists),
            force=force,
            into=into,
            refuse=lambda made: _refuse_untrainable(made, config.max_bad_share),
            progress=progress,
        )
    except ListError as error:
        raise ListError([_as_said_here(fault) for fault in error.faults], error.total) from error
    except StorageError as error:
        raise StorageError(_as_said_here(str(error))) from error
    report = check_made(made, into=into, allow_absolute=config.allow_absolute)
    for line in _summary(made, report, waits):
        progress.note(line)
    return _with_lists_in(config, files.lists, made.root)


def files_of_lists(config: TrainConfig, *, force: bool) -> tuple[str, str]:
    """Return where the lists of a new run are until it begins: from then on they are where ``config`` says."""
    if not _wait(config, force):
        return config.lists
    train, val = (os.path.join(RunFiles(config.prefix).next_lists, os.path.basename(path)) for path in config.lists)
    return train, val


def _wait(config: TrainConfig, force: bool) -> bool:
    """Say whether the lists of a new run wait until it has replaced the one that is at the prefix."""
    return bool(config.data) and force and holds_a_run(config.prefix)


def with_lists_of_run(config: TrainConfig, progress: Progress) -> TrainConfig:
    """Return the settings with the lists of the run at the prefix, which stay as they are; ``with_lists`` without one.

    Raises MxmlError where the run's lists are not made of this ``data``.
    """
    files = RunFiles(config.prefix)
    waiting_lists.settle(config.prefix)
    sidecar = checkpoint.read_sidecar(config.prefix) if config.data else None
    if sidecar is None:
        return with_lists(config, progress, force=False)
    try:
        saved = TrainConfig.from_dict(sidecar.config, files.folder)
    except MxmlError as error:
        raise CheckpointError(f"{files.sidecar}: {error}") from error
    root = saved.data_root
    if not _are_same(config.data, saved.data) or root is None:
        what = f"lists made of {as_text(saved.data)}" if saved.data else "lists of its own"
        raise MxmlError(
            f"`data` {as_text(config.data)}: the run at {config.prefix} has {what}, which stay; choose another `prefix`"
        )
    if config.data_root is not None and os.path.realpath(config.data_root) != os.path.realpath(root):
        raise SettingError("data_root", config.data_root, f"{root}, as of the run there, or with another `prefix`")
    if config.data_root is None and not _is_under(root, config.data):
        raise CheckpointError(f"{files.sidecar}: its images are in {root}, outside of `data`; name it as `data_root`")
    progress.note(f"{files.lists}: the lists of the run at {config.prefix}, as they are")
    return _with_lists_in(config, files.lists, root)


def _with_lists_in(config: TrainConfig, folder: str, root: str) -> TrainConfig:
    return dataclasses.replace(
        config,
        data_root=root,
        data_train=os.path.join(folder, "train.lst"),
        data_val=os.path.join(folder, "val.lst"),
        image_train=root,
        image_val=root,
    )


def named_by_source(saved: TrainConfig, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a person gave to resume a run, with the image folders that they named by naming ``data``.

    A run that made its lists goes on with these, and does not read ``data`` again; giving it says who labelled the
    images, and so that they may be read where they are under it. Raises MxmlError where it is not the run's own.
    """
    named = dict(given)
    data = named.pop("data", None)
    if data and not _are_same(data, saved.data):
        made_of = f"lists made of {as_text(saved.data)}" if saved.data else "lists of its own"
        raise MxmlError(
            f"`data` {as_text(tuple(data))}: the run to resume has {made_of}, and has to continue with them; leave it "
            "out, or start a new run with `force`, which keeps the split of the images that it has, or under another "
            "`prefix`"
        )
    root = named.get("data_root")
    if root is None and data and saved.data_root is not None and _is_under(saved.data_root, data):
        root = saved.data_root
    if root is not None:
        named["data_root"] = root
        named.setdefault("image_train", root)
        named.setdefault("image_val", root)
    return named


def _are_same(data: Sequence[str], other: Sequence[str]) -> bool:
    return list(map(os.path.realpath, data)) == list(map(os.path.realpath, other))


def _is_under(root: str, sources: tuple[str, ...]) -> bool:
    """Say whether a folder is one of the sources, beside one of them, or below these, or the default folder."""
    folders = [source if os.path.isdir(source) else os.path.dirname(source) for source in sources]
    return any(lies_inside(root, folder) for folder in (*folders, DEFAULT_ROOT))


def _refuse_untrainable(made: MadeLists, max_bad_share: float) -> None:
    """Raise ListError for what training would stop at."""
    assert made.scanned is not None, "a run's lists are made without ignoring duplicates"
    names = made.scanned.images.names()
    reasons = {plain_path(names[fault.position]): fault.reason for fault in made.scanned.scan.faults}
    for subset, images in made.subsets.items():
        path = made.paths[subset]
        bad = [
            BadImage(position, images.path(position), reasons[plain_path(name)])
            for position, name in enumerate(images.names())
            if plain_path(name) in reasons
        ]
        if len(bad) > max_bad_share * len(images):
            raise ListError(f"{path}: {too_many_bad(bad, len(images), max_bad_share)}")
        if subset == SUBSETS[0] and not (images.labels == 1).any():
            raise ListError(f"{path}: none of its images has a label, so nothing can be learned from them")


def _summary(made: MadeLists, report: CheckReport, waits: bool) -> list[str]:
    """Return what was read, where the lists are, or will be if they wait, and what a person should look at."""
    sizes = " and ".join(f"{counted(len(images), 'image')} in {subset}.lst" for subset, images in made.subsets.items())
    kept = f", {made.kept:,} of them where earlier lists had them" if made.kept else ""
    formats = ", ".join(by_name(name).TITLE for name in dict.fromkeys(made.formats))
    lines = [
        f"{', '.join(map(str, made.sources))}: {formats}; images under {made.root}",
        f"{made.folder}: {sizes}{kept}",
        *map(_as_said_here, made.notes),
    ]
    if made.unlisted:
        lines.append(
            f"{counted(len(made.unlisted), 'image')} under {made.root} not in the labels, such as {made.unlisted[0]}"
        )
    return [*lines, *_on_few_images(made), *_on_findings(made, report, waits)]


def _on_few_images(made: MadeLists) -> list[str]:
    counts = {name: sum(by_subset) for name, by_subset in zip(made.label_names, made.label_counts)}
    few = [f"{name} {count}" for name, count in counts.items() if count < _FEW_IMAGES]
    lines = []
    if few:
        lines.append(
            f"labels with fewer than {_FEW_IMAGES} images: {shown(few, 5)}; too few to learn, or to measure how well"
        )
    validated = len(made.subsets["val"])
    if validated < _FEW_TO_VALIDATE:
        verb = "are" if validated > 1 else "is"
        lines.append(f"{counted(validated, 'image')} to validate on {verb} too few to compare models by")
    return lines


def _on_findings(made: MadeLists, report: CheckReport, waits: bool) -> list[str]:
    if not report.findings:
        return []
    lines = headlines([found for found in report.warnings if found.kind not in _SAID])
    hidden = len(lines) - _MOST_HEADLINES
    more = f"{hidden:,} more kinds of warnings, and all of each" if hidden > 0 else "all of it"
    root = "" if may_be_followed(made.folder, made.root) else f" `root` {shlex.quote(made.root)}"
    paths = " ".join(shlex.quote(str(path)) for path in made.paths.values())
    when = ", once the run has begun" if waits else ""
    return [*lines[:_MOST_HEADLINES], f"{more}{when}: mxml check {paths}{root}"]


def _as_said_here(text: str) -> str:
    """Return what ``make_lists`` says with the names of a run's settings; what a run has not, mxml make-lst has."""
    text = text.replace(LEFT_OUT, "train on lists of mxml make-lst, whose `ignore_unknown` leaves it out")
    text = re.sub(r"`([a-z_]+)`", lambda match: f"`{_RENAMED.get(match[1], match[1])}`", text)
    others = [name for name in dict.fromkeys(re.findall(r"`([a-z_]+)`", text)) if name not in _OWN_SETTINGS]
    if not others or "mxml make-lst" in text:
        return text
    settings = ", ".join(f"`{name}`" for name in others)
    return f"{text} (mxml make-lst has {settings}; then train with `data_train` and `data_val`)"
