"""The settings of a training run, as one value that is checked, written to the sidecar and read back."""

# No postponed annotations here: settings_of reads the types of the fields, also on Python 3.9.

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mxml.errors import CheckpointError, MxmlError, SettingError, as_text
from mxml.model.networks.catalogue import NETWORKS
from mxml.model.run_files import RunFiles
from mxml.text import can_be_path, path_from, printable
from mxml.training import chosen_loss
from mxml.training.setting import Setting, settings_of
from mxml.training.settings.data import Data
from mxml.training.settings.head import Head
from mxml.training.settings.images import Images
from mxml.training.settings.optimization import Optimization
from mxml.training.settings.run import Execution
from mxml.training.settings.start import Start

# What the machine, the recipe or the pretrained network decide where it is not given.
_DECIDED = ("device", "method", "preset", "optimizer", "lr", "head_lr_mult", "warmup_epochs", "mom", "wd")
# What is not known before lists were made of `data`.
_OF_LISTS = ("data_root", "data_train", "data_val", "image_train", "image_val")


# The fields of the last base come first.
@dataclass(frozen=True)
class TrainConfig(Execution, Optimization, Head, Images, Data, Start):
    """The settings of one training run, named as in the original script where it has them.

    Each field's metadata holds its help, its bounds, and whether a resumed run may change it; ``mxml train --help``
    shows them all.

    Parameters
    ----------
    prefix : str
        Path prefix of the run's files: ``PREFIX-0001.params`` and so on.
    model, epoch : str, int
        Prefix and epoch of the pretrained network. Epochs ``epoch + 1`` to ``num_epoch`` are run.
    network : str
        In place of ``model``, the name of a network to train from random weights; ``mxml networks`` lists them.
    single_label : bool
        Train a softmax classifier on lists in which every image has exactly one label.
    data, data_root : tuple of str, str
        Labelled images, as ``mxml make-lst`` takes them, and the folder that they are under. The run makes its lists of
        them, in ``PREFIX-lists``.
    data_train, data_val, image_train, image_val : str
        In place of ``data``: training and validation list, and the folders that their paths are under: by default what
        ``lists.json`` beside the list says, else ``images``, else the list's own folder.
    image_shape : tuple of int, optional
        (channels, height, width) of the network's input: for a ``network`` by default what it was designed for.
    fit : {"crop", "letterbox", "stretch"}
        How images of another shape fill the input; see ``Preprocess``, and ``Augment`` for what ``rand_crop`` and
        ``min_area`` (its ``rand_resized_crop``) then do.
    mean, std : tuple of float, optional
        Three numbers each, from 0 to 255, which replace the preset's.
    lr_steps : tuple of int
        Numbers of epochs since the beginning of the run, after which the step schedule lowers the rate. The epoch in
        which ``method`` lp-ft fits the head is one of them.
    warmup_epochs : float
        How many epochs the rate rises, without the one that fits the head.
    pos_weight : "auto" or tuple of float, optional
        Weight of present labels in ``loss`` bce: one number, or one per label. ``fit`` replaces auto by numbers.
    gamma_pos, gamma_neg, margin, gamma : float, optional
        None becomes the published value where the setting belongs to ``loss``.
    device : str, optional
        ``cpu``, ``gpu`` or ``gpu:0,1``; None takes a usable GPU, else the CPU.
    **settings
        All other settings: the options of ``mxml train``, with ``_`` for ``-``.

    Raises
    ------
    SettingError
        A setting has an invalid value; the message names the setting and its bounds.
    """

    def __post_init__(self) -> None:
        """Raise SettingError with the setting and its bounds where a value is invalid."""
        for name, known in train_settings().items():
            object.__setattr__(self, name, known.checked(getattr(self, name)))
        _check_paths(self.given())
        missing = _missing(self.given())
        if missing:
            raise MissingSettings(missing)
        self._check_start()
        self._fill_in()
        if self.best_by == "accuracy" and not self.single_label:
            raise SettingError("best_by", self.best_by, "another metric: only `single_label` has an accuracy")
        # Method features ends after its one epoch, whatever this number is.
        if self.method != "features" and self.num_epoch <= self.epoch:
            hint = f"from which epochs are counted: {self.epoch + 10} runs ten"
            raise SettingError("num_epoch", self.num_epoch, f"above `epoch` {self.epoch}, {hint}")

    def _fill_in(self) -> None:
        """Set what follows from other settings where it was not given."""
        if self.image_shape is None:
            shape = NETWORKS[self.network].image_shape if self.network is not None else (3, 224, 224)
            object.__setattr__(self, "image_shape", shape)
        if self.best_by is None:
            object.__setattr__(self, "best_by", "accuracy" if self.single_label else "mAP")
        if self.loss is None and not self.single_label:
            object.__setattr__(self, "loss", "bce")
        for name, value in chosen_loss.completed(self.given()).items():
            object.__setattr__(self, name, value)

    def _check_start(self) -> None:
        """Raise SettingError where a network to be made is given what belongs to a pretrained one."""
        if self.network is None:
            return
        if self.model is not None:
            raise SettingError("network", self.network, "left out: training begins at `model`; give only one of them")
        if self.epoch != 0:
            raise SettingError("epoch", self.epoch, "left out: it is a pretrained network's, and `network` begins anew")
        if self.layer is not None:
            raise SettingError("layer", self.layer, "left out: `network` knows where its head belongs")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "TrainConfig":
        """Return a configuration from settings by name.

        Parameters
        ----------
        given : mapping of str to object
            The settings; those without a default have to be among them.

        Returns
        -------
        TrainConfig

        Raises
        ------
        SettingError
            For a wrong value, and for missing settings, all of which the message names.
        """
        given = _with_named_epoch(given)
        missing = [name for name, known in train_settings().items() if known.required and name not in given]
        missing += _missing(given)
        if missing:
            raise MissingSettings(missing)
        return cls(**given)

    def given(self) -> dict[str, Any]:
        """Return all settings by name.

        Returns
        -------
        dict
            Without what is None and will be decided: by the machine, the recipe, or once lists are made of ``data``.
        """
        values = {name: getattr(self, name) for name in train_settings()}
        open_settings = (*_DECIDED, *(_OF_LISTS if self.data else ()))
        return {name: value for name, value in values.items() if value is not None or name not in open_settings}

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON holds them.

        Returns
        -------
        dict
            The settings by name; paths are relative to the prefix's folder.
        """
        values = _with_paths(self.given(), lambda path: os.path.relpath(path, self.folder or "."))
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @property
    def fits_head(self) -> bool:
        """Say whether the first epoch fits the head to feature vectors."""
        return self.method in ("lp-ft", "features")

    @property
    def last_epoch(self) -> int:
        """Return the number of the run's last epoch."""
        return self.epoch + 1 if self.method == "features" else self.num_epoch

    @property
    def lists(self) -> tuple[str, str]:
        """Return the paths of the training and the validation list, once there are such."""
        if self.data_train is None or self.data_val is None:
            raise MissingSettings(["data_train", "data_val"])
        return self.data_train, self.data_val

    @property
    def folder(self) -> str:
        """Return the folder of the prefix, which may be an empty text."""
        return os.path.dirname(self.prefix)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any], folder: str) -> "TrainConfig":
        """Read what ``to_dict`` returned.

        Parameters
        ----------
        value : mapping of str to object
            The settings by name.
        folder : str
            The folder that the prefix is in now; paths are relative to it.

        Returns
        -------
        TrainConfig

        Raises
        ------
        CheckpointError
            Names the first setting that is unknown, missing or wrong.
        """
        try:
            _check_paths(value)
        except SettingError as error:
            raise CheckpointError(f"config: {error}") from error
        value = _with_paths(value, lambda path: path_from(folder, path))
        unknown = sorted(set(value) - set(train_settings()))
        if unknown:
            raise CheckpointError(f"config: setting {unknown[0]!r} is unknown")
        if "optimizer" in value and "method" not in value:
            # The first sidecars have neither: there was one method, and no averaging.
            value.update(method="finetune", ema=0.0)
        try:
            return cls.of(value)
        except MxmlError as error:
            raise CheckpointError(f"config: {error}") from error


class MissingSettings(SettingError):
    """Settings that have no default were not given: ``names``."""

    def __init__(self, names: list[str], hint: str = ""):
        super().__init__(names[0], None, "given")
        self.names = names
        # Only one way to begin is needed, and one to say on what.
        texts = ["`model` or `network`" if name == "model" else f"`{name}`" for name in names]
        instead = " (or `data` in place of the lists)" if {"data_train", "data_val"} <= set(names) else ""
        self.args = ("missing " + ", ".join(texts) + instead + hint,)


class SmallerThanBefore(MxmlError):
    """A resume was given less of a setting that may only grow; ``given`` says which, and what."""

    def __init__(self, name: str, value: Any, before: Any):
        self.given = f"`{name}` {as_text(value)}"
        super().__init__(f"{self.given}: the run to resume has {as_text(before)}, and may only have more; leave it out")


@functools.cache
def train_settings() -> dict[str, Setting]:
    """Return the settings of TrainConfig by name, in the order of its fields."""
    return settings_of(TrainConfig)


def resumed(saved: TrainConfig, given: Mapping[str, Any]) -> TrainConfig:
    """Return ``saved`` with what ``given`` may change: a resumed run continues exactly as it was configured.

    What is not given keeps the run's own value. Raises MxmlError that names a setting which differs and may not, and
    SmallerThanBefore for one that may only grow.
    """
    changes = {}
    for name, value in _with_named_epoch(given).items():
        known, before = train_settings()[name], getattr(saved, name)
        value = known.checked(value)
        if value in known.words:
            # The run has numbers in its place; `fit` compares them with what the word stands for.
            continue
        if known.on_resume == "same" and value != before:
            raise MxmlError(
                f"`{name}` {as_text(value)}: the run to resume has {as_text(before)}, and has to continue with it; "
                "leave it out, or start a new run under another `prefix`"
            )
        if known.on_resume == "larger" and value < before:
            raise SmallerThanBefore(name, value, before)
        changes[name] = value
    return dataclasses.replace(saved, **changes)


def _missing(given: Mapping[str, Any]) -> list[str]:
    """Return what is missing of what can be given in two ways."""
    missing = ["model"] if given.get("model") is None and given.get("network") is None else []
    if given.get("data"):
        return missing
    return missing + [name for name in ("data_train", "data_val") if given.get(name) is None]


def _with_named_epoch(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return settings whose ``model`` is a prefix, also where it was one of the network's files."""
    model = given.get("model")
    if not isinstance(model, (str, os.PathLike)) or not can_be_path(os.fspath(model)):
        return given
    files, epoch = RunFiles.parse(os.fspath(model))
    if epoch is None:
        return {**given, "model": files.prefix}
    if given.get("epoch", epoch) != epoch:
        raise SettingError("epoch", given["epoch"], f"{epoch}, as {os.fspath(model)} says, or left out")
    return {**given, "model": files.prefix, "epoch": epoch}


def _check_paths(values: Mapping[str, Any]) -> None:
    """Raise SettingError for a path that no file can have."""
    for name, known in train_settings().items():
        value = values.get(name)
        for path in value if isinstance(value, (tuple, list)) else (value,):
            if known.path and isinstance(path, str) and not can_be_path(path):
                raise SettingError(name, printable(path), "a path that a file can have")


def _with_paths(values: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """Return settings with every path changed."""

    def changed(value: Any) -> Any:
        if isinstance(value, (tuple, list)):
            return tuple(change(part) if isinstance(part, str) else part for part in value)
        return change(value) if isinstance(value, str) else value

    known = train_settings()
    return {name: changed(value) if name in known and known[name].path else value for name, value in values.items()}
