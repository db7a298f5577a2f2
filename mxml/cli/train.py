"""``mxml train``."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
from typing import Any

import click

from mxml.cli.options import Numbers, Text, chosen_device, device_options
from mxml.errors import SHOWN_FAULTS, CheckpointError, MxmlError
from mxml.training.config import BEST_BY, OPTIMIZERS, SCHEDULES, TrainConfig, resumed

# The settings' defaults are TrainConfig's; click only shows them, so that an option that was not given stays unknown
# and a resumed run keeps its own.
_OPTIONS: tuple[tuple[str, Any, str], ...] = (
    ("--model", Text("PREFIX"), "Prefix of the pretrained network: PREFIX-symbol.json and PREFIX-0000.params."),
    ("--epoch", int, "The pretrained network's epoch, the number in PREFIX-0000.params."),
    ("--data-train", Text("LST"), "List of the training images."),
    ("--image-train", Text("DIR"), "Folder that the training list's paths are under."),
    ("--data-val", Text("LST"), "List of the validation images."),
    ("--image-val", Text("DIR"), "Folder that the validation list's paths are under."),
    ("--num-classes", int, "Number of labels; checked against the lists.  [default: the list's]"),
    ("--labels", Text("FILE"), "Label names, one a line.  [default: labels.txt beside the training list]"),
    ("--num-epoch", int, "The last epoch's number, counted on from --epoch."),
    ("--batch-size", int, "Images a step, over all devices."),
    ("--image-shape", Numbers(int, 3), "Channels, height and width of the network's input."),
    ("--preset", Text("NAME"), "Preprocessing: original, imagenet or caffe."),
    ("--mean", Numbers(float, 3), "Channel means, 0 to 255, in the network's channel order.  [default: the preset's]"),
    ("--std", Numbers(float, 3), "Channel deviations, 0 to 255.  [default: the preset's]"),
    ("--channels", click.Choice(["rgb", "bgr"]), "The network's channel order.  [default: the preset's]"),
    ("--rand-crop/--no-rand-crop", bool, "Crop at a random place."),
    ("--rand-mirror/--no-rand-mirror", bool, "Mirror half of the images."),
    ("--min-area", float, "Crop a random part of at least this share of the image's area, and scale it."),
    ("--jitter", float, "Change brightness, contrast and saturation by up to this share."),
    ("--layer", Text("NAME"), "Layer to put the head on.  [default: the classifier's input]"),
    (
        "--freeze",
        Text("PATTERN"),
        "Leave parameters whose names match, such as 'conv0_*', as they are; may be repeated.",
    ),
    ("--optimizer", click.Choice(OPTIMIZERS), "Optimizer."),
    ("--lr", float, "Learning rate."),
    ("--head-lr-mult", float, "Multiplies the learning rate of the new head."),
    ("--lr-schedule", click.Choice(SCHEDULES), "How the learning rate falls."),
    ("--lr-steps", Numbers(int), "Epochs after which the step schedule lowers the learning rate."),
    ("--lr-factor", float, "What the step schedule multiplies the learning rate by."),
    ("--warmup-epochs", float, "Epochs over which the learning rate rises to --lr."),
    ("--mom", float, "Momentum of sgd and nag."),
    ("--wd", float, "Weight decay; biases and BatchNorm are spared."),
    ("--clip-gradient", float, "Clip each gradient element to this absolute value.  [default: no clipping]"),
    (
        "--best-by",
        click.Choice(BEST_BY),
        "Validation figure that picks the best epoch.",
    ),
    ("--patience", int, "Stop after so many epochs without a better one.  [default: never]"),
    ("--seed", int, "Seed of everything random."),
    ("--kv-store", Text("NAME"), "How several devices share gradients: device or local."),
    ("--decode-threads", int, "Decoding threads.  [default: physical cores]"),
    ("--cache-mb", int, "Megabytes of memory to keep decoded images in."),
    ("--max-bad-share", float, "Stop when more than this share of the images cannot be read."),
    ("--num-examples", int, "Accepted for the original script's sake; the list tells the number."),
    ("--allow-absolute", bool, "Let lists name images by absolute paths or outside their root."),
)


def _with_settings(command: Any) -> Any:
    fields = {field.name: field for field in dataclasses.fields(TrainConfig)}
    for declaration, kind, text in reversed(_OPTIONS):
        name = declaration.split("/")[0].strip("-").replace("-", "_")
        shown = "" if "[default" in text else _shown_default(fields[name].default)
        extra: dict[str, Any] = {"is_flag": True} if kind is bool else {"type": kind}
        if name == "freeze":
            extra["multiple"] = True
        command = click.option(declaration, name, default=None, help=text + shown, **extra)(command)
    return command


def _shown_default(value: Any) -> str:
    if value in (None, ()) or value is dataclasses.MISSING or value is False:
        return ""
    if value is True:
        return "  [default: yes]"
    shown = (
        ",".join(map(str, value)) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else value
    )
    return f"  [default: {shown}]"


@click.command(name="train")
@click.option("--prefix", metavar="PREFIX", help="Where the run's files go: PREFIX-0001.params and so on.")
@click.option("--save-result", metavar="DIR", help="Folder of the run's files; with --save-name the same as --prefix.")
@click.option("--save-name", metavar="NAME", help="Name of the run's files within --save-result.")
@_with_settings
@device_options
@click.option(
    "--resume", is_flag=True, help="Go on exactly where the run at the prefix stopped; start it if it never began."
)
@click.option("--force", is_flag=True, help="Replace the run that is at the prefix.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def command(
    prefix: str | None,
    save_result: str | None,
    save_name: str | None,
    device: str | None,
    gpus: str | None,
    resume: bool,
    force: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Fine-tune a pretrained network on multi-hot lists.

    Replaces its classifier by a sigmoid head with one output a label, trains, validates after each epoch, and leaves a
    checkpoint an epoch, a sidecar PREFIX.json, a history and curves. Ctrl-C saves before it stops; go on with --resume.
    """
    from mxml.cli.progress import ConsoleProgress
    from mxml.model.run_files import RunFiles
    from mxml.runtime.devices import default_device
    from mxml.training.fit import fit
    from mxml.training.signals import StopRequest

    given = {name: value for name, value in settings.items() if value not in (None, ())}
    given["prefix"] = _prefix(prefix, save_result, save_name)
    asked = chosen_device(device, gpus)
    if asked is not None:
        given["device"] = asked
    if resume and force:
        raise click.UsageError("--resume goes on with a run and --force replaces it; give one of them")
    config = _config(given, resume, asked or default_device())
    with ConsoleProgress(RunFiles(config.prefix).log, config.num_epoch) as progress, StopRequest() as stop:
        result = fit(config, progress, resume=resume, force=force, stop=stop)
        for image in result.bad[:SHOWN_FAULTS]:
            progress.note(f"skipped, cannot be read: {image.path}: {image.reason}")
        if result.bad:
            progress.note(f"images skipped because they cannot be read: {len(result.bad):,}")
    if as_json:
        value = {**dataclasses.asdict(result), "best": dict(result.best)}
        click.echo(json.dumps(value, indent=1))
        return
    figure = result.best["mAP"]
    files = RunFiles(result.prefix)
    judged = "" if figure is None else f", validation mAP {figure:.4f}"
    click.echo(f"best epoch: {result.best_epoch} of {result.epochs}{judged}")
    click.echo(f"checkpoint: {files.params(result.best_epoch)}, curves: {files.curves}")
    click.echo(f"next: mxml predict --prefix {shlex.quote(result.prefix)}")


def _prefix(prefix: str | None, save_result: str | None, save_name: str | None) -> str:
    if prefix is not None:
        if save_result is not None or save_name is not None:
            raise click.UsageError("--prefix says the same as --save-result and --save-name; give one or the others")
        return _named(prefix, "--prefix")
    if save_name is None:
        raise click.UsageError("say where the run's files go: --prefix PREFIX, or --save-result DIR --save-name NAME")
    return os.path.join(save_result or "", _named(save_name, "--save-name"))


def _named(prefix: str, option: str) -> str:
    if os.path.basename(prefix) in ("", ".", ".."):
        raise click.UsageError(
            f"{option} {prefix!r}: names no files; add a name, such as {os.path.join(prefix, 'model')}"
        )
    return prefix


def _config(given: dict[str, Any], resume: bool, device: str) -> Any:
    from mxml.model.checkpoint import read_sidecar
    from mxml.model.run_files import RunFiles

    sidecar = read_sidecar(given["prefix"]) if resume else None
    if sidecar is not None:
        try:
            saved = TrainConfig.from_dict(sidecar.config, os.path.dirname(given["prefix"]))
        except MxmlError as error:
            raise CheckpointError(f"{RunFiles(given['prefix']).sidecar}: {error}") from error
        return resumed(saved, given)
    needed = ("model", "data_train", "image_train", "data_val", "image_val")
    missing = [f"--{name.replace('_', '-')}" for name in needed if name not in given]
    if missing:
        nothing = f"; there is no run at {given['prefix']} to resume" if resume else ""
        raise click.UsageError(f"missing {', '.join(missing)}{nothing}")
    try:
        return TrainConfig(**{"device": device, **given})
    except MxmlError as error:
        raise click.UsageError(str(error)) from error
