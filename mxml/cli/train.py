"""``mxml train``."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from mxml import __version__
from mxml.cli.options import chosen_device, device_options
from mxml.cli.setting_options import option_name, setting_option
from mxml.cli.wording import with_options
from mxml.errors import Interrupted
from mxml.progress import ConsoleProgress
from mxml.training.config import TrainConfig, train_settings

Command = TypeVar("Command", bound=Callable[..., Any])


def _with_settings(command: Command) -> Command:
    """Add an option for each setting of TrainConfig but the device, which all commands have.

    The defaults are TrainConfig's and only shown here: an option that was not given stays unknown, so that a resumed
    run keeps its own.
    """
    for known in reversed(train_settings().values()):
        if known.name != "device":
            command = setting_option(known)(command)
    return command


@click.command(name="train")
@_with_settings
@device_options
@click.option(
    "--save-result", metavar="DIR", help="Folder of the run's files; used with --save-name in place of --prefix."
)
@click.option("--save-name", metavar="NAME", help="Name of the run's files within --save-result.")
@click.option(
    "--resume",
    is_flag=True,
    help="Continue exactly where the run at the prefix stopped; start a new run if there is none.",
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
    """Fine-tune a pretrained network on multi-hot lists, or train one from scratch.

    Begins at --model, whose classifier it replaces by a sigmoid head with one output per label, or with --network at
    random weights. Trains, validates after each epoch, and writes checkpoints, a sidecar PREFIX.json, a history and
    curves. Ctrl-C saves before it stops; continue with --resume.
    """
    from mxml.training.launching.environment import place, serve_if_asked

    # Before anything imports mxnet, which would be the scheduler or a server as it comes.
    serve_if_asked()
    from mxml.inference import checkpoint_data
    from mxml.model.run_files import RunFiles
    from mxml.training import fit
    from mxml.training.signals import StopRequest

    prefix = _prefix(prefix, save_result, save_name)
    settings["device"] = chosen_device(device, gpus)
    given = {name: value for name, value in settings.items() if value not in (None, ())}
    if resume and force:
        raise click.UsageError("--resume continues a run and --force replaces it; give only one of them")
    config = None if resume else TrainConfig.of({**given, "prefix": prefix})
    files, here = RunFiles(prefix), place()
    with ConsoleProgress(files.log if here.is_first else None, with_options) as progress, StopRequest() as stop:
        progress.log(f"mxml {__version__}: {shlex.join(['mxml', *sys.argv[1:]])}")
        try:
            if config is None:
                result = fit.resume(prefix, given, progress, stop=stop)
            else:
                result = fit.fit(config, progress, force=force, stop=stop)
        except Interrupted as error:
            if here.count > 1:
                raise  # `mxml launch` says what to type
            raise Interrupted(f"{error}: {resume_command(prefix)}", error.signal_number) from error
    if not here.is_first:
        return
    if as_json:
        click.echo(json.dumps({**dataclasses.asdict(result), "best": dict(result.best)}, indent=1))
        return
    metric = result.best["mAP"]
    reached = "" if metric is None else f", validation mAP {metric:.4f}"
    click.echo(f"best epoch: {result.best_epoch} (epochs trained: {result.epochs}){reached}")
    click.echo(f"checkpoint: {files.params(result.best_epoch)}, curves: {files.curves}")
    if not result.finished:
        click.echo(f"not finished; continue with: {resume_command(prefix)}")
    images = "" if checkpoint_data.tags_its_own_images(prefix) else " IMAGES"
    click.echo(f"next: mxml predict --prefix {shlex.quote(prefix)}{images}")


def resume_command(prefix: str) -> str:
    """Return what to type to go on, with the paths that a resume does not take from the sidecar."""
    from mxml.training.resuming import settings_to_name

    options = []
    for name, value in settings_to_name(prefix).items():
        options += [option_name(name)] if value is True else [option_name(name), shlex.quote(str(value))]
    return " ".join(["mxml train --prefix", shlex.quote(prefix), "--resume", *options])


def _prefix(prefix: str | None, save_result: str | None, save_name: str | None) -> str:
    if prefix is not None:
        if save_result is not None or save_name is not None:
            raise click.UsageError("--prefix means the same as --save-result with --save-name; give only one of these")
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
