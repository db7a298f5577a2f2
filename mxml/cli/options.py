"""Groups of options that several commands share."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from mxml.cli.setting_options import setting_option
from mxml.cli.types import Thresholds
from mxml.inference.limits import BATCH_SIZE, MOST_BATCH_SIZE, MOST_THREADS
from mxml.progress import Progress
from mxml.training.config import train_settings

if TYPE_CHECKING:
    from mxml.inference.classifier import Classifier

Command = TypeVar("Command", bound=Callable[..., Any])


def threshold_option(command: Command) -> Command:
    """Add --threshold."""
    text = "Threshold of all labels, of each separated by commas, or of some by name.  [default: the checkpoint's]"
    return click.option("--threshold", type=Thresholds(), multiple=True, help=text)(command)


def merged_thresholds(given: Sequence[Any]) -> Any:
    """Return several --threshold values as one: all their pairs, or the only value; None without any."""
    if not given:
        return None
    if all(isinstance(value, dict) for value in given):
        return {name: number for value in given for name, number in value.items()}
    if len(given) > 1:
        raise click.UsageError("--threshold can be given several times only as NAME=NUMBER")
    return given[0]


def tta_option(command: Command) -> Command:
    """Add --tta."""
    text = (
        "Test-time augmentation: flip sees each image mirrored as well, multi-scale at 0.8 and 1.25 times the size, "
        "flip,multi-scale both; twice, three and six times the work."
    )
    return click.option("--tta", default="", metavar="WAY[,WAY]", callback=_parted, help=text)(command)


def _parted(context: click.Context, parameter: click.Parameter, text: str) -> tuple[str, ...]:
    return tuple(way.strip() for way in text.split(",") if way.strip())


def device_options(command: Command) -> Command:
    """Add --device and --gpus."""
    for option in (
        click.option(
            "--gpus", metavar="LIST", help="GPUs, such as 0,1; '' for the CPU; option of the original script."
        ),
        click.option("--device", metavar="NAME", help="cpu, gpu or gpu:0,1.  [default: a usable GPU, else cpu]"),
    ):
        command = option(command)
    return command


def chosen_device(device: str | None, gpus: str | None) -> str | None:
    """Return the device that --device or --gpus names; None where neither is given."""
    if gpus is None:
        return device
    context = click.get_current_context(silent=True)
    of_pipeline = context is not None and context.get_parameter_source("device") is ParameterSource.DEFAULT_MAP
    if device is not None and not of_pipeline:
        raise click.UsageError("--gpus and --device mean the same; give only one of them")
    numbers = gpus.replace(" ", "")
    if not re.fullmatch(r"(\d+(,\d+)*)?", numbers):
        raise click.UsageError(f"--gpus {gpus}: should be numbers of GPUs, such as 0,1, or '' for the CPU")
    return f"gpu:{numbers}" if numbers else "cpu"


def model_options(command: Command) -> Command:
    """Add the options that select a checkpoint, and that replace a missing sidecar."""
    options = (
        click.option(
            "--prefix",
            required=True,
            metavar="PREFIX",
            help="The checkpoint, as given to mxml train, or one of its files.",
        ),
        click.option(
            "--epoch",
            type=click.IntRange(min=0),
            help="The checkpoint's epoch.  [default: the best; without a sidecar the newest]",
        ),
        _batch_size_option,
        decode_threads_option,
        click.option(
            "--labels", "label_names", metavar="FILE", help="Label names, one per line.  [default: the sidecar's]"
        ),
        *(_of_training(name, default) for name, default in _PREPROCESSING.items()),
    )
    for option in reversed(options):
        command = option(command)
    return device_options(command)


# Settings of training that a checkpoint holds, and what they are where they are not given.
_PREPROCESSING = {
    "image_shape": "the sidecar's, else 3,224,224",
    "fit": "the preset's",
    "preset": "the sidecar's, else original",
    "mean": "the preset's",
    "std": "the preset's",
    "channels": "the preset's",
}


def _of_training(name: str, default_help: str) -> Callable[[Command], Command]:
    return setting_option(dataclasses.replace(train_settings()[name], default_help=default_help))


def list_options(default: str) -> Callable[[Command], Command]:
    """Return what adds --data, of that default, --root, --allow-absolute and --skip-bad."""

    def added(command: Command) -> Command:
        options = (
            click.option(
                "--data", metavar="LST", help=f"The list, or .rec file, of held-out images.  [default: {default}]"
            ),
            click.option(
                "--root",
                metavar="DIR",
                help="Image folder of the list.  "
                "[default: the sidecar's, else as lists.json says, else images or the list's folder]",
            ),
            click.option(
                "--allow-absolute",
                is_flag=True,
                help="Allow the list to name images by absolute paths or outside its image folder.",
            ),
            click.option("--skip-bad", is_flag=True, help="Leave out images that cannot be read."),
        )
        for option in reversed(options):
            command = option(command)
        return command

    return added


def computing_options(command: Command) -> Command:
    """Add --batch-size, --decode-threads and what says the device."""
    return _batch_size_option(decode_threads_option(device_options(command)))


def _batch_size_option(command: Command) -> Command:
    return click.option(
        "--batch-size",
        type=click.IntRange(1, MOST_BATCH_SIZE),
        default=BATCH_SIZE,
        show_default=True,
        help="Images per batch.",
    )(command)


def decode_threads_option(command: Command) -> Command:
    """Add --decode-threads."""
    text = "Decoding threads.  [default: physical cores]"
    return click.option("--decode-threads", type=click.IntRange(1, MOST_THREADS), help=text)(command)


def load_classifier(
    progress: Progress, *, prefix: str, epoch: int | None, device: str | None, gpus: str | None, **given: Any
) -> Classifier:
    """Load the checkpoint that ``model_options`` describe, and print the classifier's notes."""
    from mxml.inference.classifier import Classifier

    classifier = Classifier.load(prefix, epoch, device=chosen_device(device, gpus), **given)
    for note in classifier.notes:
        progress.note(f"note: {note}")
    return classifier
