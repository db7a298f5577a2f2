"""``mxml train``."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mxml import __version__
from mxml.cli.options import chosen_device, device_options
from mxml.cli.setting_options import option_name, setting_option
from mxml.cli.tables import table
from mxml.cli.wording import with_options
from mxml.errors import Interrupted, OutOfTime
from mxml.progress import ConsoleProgress
from mxml.training.config import TrainConfig, train_settings

if TYPE_CHECKING:
    from mxml.training.result import TrainResult

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
@click.option(
    "--folds",
    type=int,
    metavar="K",
    help="Only cross-validate the head of --method features, in K folds over the images of both lists: mean and spread "
    "of the AP per label; in fewer folds where a label has too few images. Writes no checkpoint.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def command(
    prefix: str | None,
    save_result: str | None,
    save_name: str | None,
    device: str | None,
    gpus: str | None,
    resume: bool,
    force: bool,
    folds: int | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Fine-tune a pretrained network on multi-hot lists, or train one from scratch.

    Begins at --model, whose classifier it replaces by a sigmoid head with one output per label, or with --network at
    random weights. Trains, validates after each epoch, and writes checkpoints, a sidecar PREFIX.json, a history and
    curves. Ctrl-C saves before it stops; continue with --resume.
    """
    from mxml.training.launching.environment import is_worker, place, serve_if_asked

    # Before anything imports mxnet, which would be the scheduler or a server as it comes.
    serve_if_asked()
    from mxml.inference import checkpoint_data
    from mxml.model.run_files import RunFiles
    from mxml.training import fit
    from mxml.training.signals import AnsweredStop, StopRequest

    prefix = _prefix(prefix, save_result, save_name)
    settings["device"] = chosen_device(device, gpus)
    given = {name: value for name, value in settings.items() if value not in (None, ())}
    if resume and force:
        raise click.UsageError("--resume continues a run and --force replaces it; give only one of them")
    if folds is not None:
        if resume or force:
            raise click.UsageError("--folds trains nothing that --resume or --force could mean; leave these out")
        if place().count > 1:
            raise click.UsageError("--folds works in one process; start it without mxml launch")
        _cross_validate(TrainConfig.of({"method": "features", **given, "prefix": prefix}), folds, as_json)
        return
    config = None if resume else TrainConfig.of({**given, "prefix": prefix})
    files, here = RunFiles(prefix), place()
    with (
        ConsoleProgress(files.log if here.is_first else None, with_options) as progress,
        AnsweredStop(progress.say) if here.is_first else StopRequest() as stop,
    ):
        progress.log(f"mxml {__version__}: {shlex.join(['mxml', *sys.argv[1:]])}")
        try:
            if config is None:
                result = fit.resume(prefix, given, progress, stop=stop)
            else:
                result = fit.fit(config, progress, force=force, stop=stop)
        except Interrupted as error:
            if is_worker() or not error.can_resume:
                raise  # `mxml launch` says what to type, or the message does
            raise Interrupted(f"{error}: {resume_command(prefix)}", error.signal_number) from error
        except OutOfTime as error:
            # As after an epoch: nothing is wrong.
            progress.note(str(error))
            result = None
    if not here.is_first:
        return
    if result is None:
        if as_json:
            none: dict[str, Any] = {
                "prefix": prefix,
                "best_epoch": None,
                "best": {},
                "epochs": 0,
                "finished": False,
                "bad": [],
            }
            click.echo(json.dumps(none, indent=1))
        else:
            click.echo(_how_to_go_on(prefix))
        return
    if as_json:
        click.echo(json.dumps({**dataclasses.asdict(result), "best": dict(result.best)}, indent=1))
        return
    click.echo(f"best epoch: {result.best_epoch} (epochs trained: {result.epochs}){_reached(result)}")
    click.echo(f"checkpoint: {files.params(result.best_epoch)}, curves: {files.curves}")
    if not result.finished:
        click.echo(_how_to_go_on(prefix))
    images = "" if checkpoint_data.tags_its_own_images(prefix) else " IMAGES"
    click.echo(f"next: mxml predict --prefix {shlex.quote(prefix)}{images}")


def _how_to_go_on(prefix: str) -> str:
    from mxml.training.launching.environment import is_worker, resuming_all

    together = resuming_all() or "the same command and --resume, for every worker"
    return f"not finished; continue with: {together if is_worker() else resume_command(prefix)}"


def _reached(result: TrainResult) -> str:
    """Return the best epoch's metrics in words, with why it is the best where a higher value was seen."""
    from mxml.model.sidecar import read_sidecar
    from mxml.training.history import why_not_the_highest

    if result.best["mAP"] is None:
        return ""
    reached = f", validation mAP {result.best['mAP']:.4f}"
    sidecar = read_sidecar(result.prefix)
    why = why_not_the_highest(sidecar.epochs, sidecar.best_by) if sidecar is not None else ""
    if sidecar is None or not why:
        return reached
    judged_by = "" if sidecar.best_by == "mAP" else f", {sidecar.best_by} {result.best[sidecar.best_by]:.4f}"
    return f"{reached}{judged_by} ({why})"


def _cross_validate(config: TrainConfig, folds: int, as_json: bool) -> None:
    from mxml.training.features.folds import cross_validate_folds

    with ConsoleProgress(wording=with_options) as progress:
        found = cross_validate_folds(config, folds, progress)
        for image in found.bad:
            progress.note(f"left out, cannot be read: {image.path}: {image.reason}")
    if as_json:
        click.echo(json.dumps(found.to_dict()))
        return
    rows = [("label", "present", "folds", "AP", "spread")]
    for name, positives, spread in (
        *((label.name, f"{label.positives:,}", label.AP) for label in found.per_class),
        ("mean", "", found.mAP),
    ):
        defined = sum(value is not None for value in spread.folds)
        rows.append((name, positives, str(defined), _number(spread.mean), _number(spread.std)))
    click.echo("\n".join(table(rows)))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def resume_command(prefix: str) -> str:
    """Return what to type to go on, with the paths that a resume does not take from the sidecar."""
    from mxml.training.resuming import settings_to_name

    options = []
    for name, value in settings_to_name(prefix).items():
        options += [option_name(name)] if value is True else [option_name(name), shlex.quote(str(value))]
    return " ".join(["mxml train --prefix", shlex.quote(prefix), "--resume", *options])


def prefix_to_train(options: Sequence[str]) -> tuple[str | None, bool]:
    """Return the prefix that these options name, None where they name none, and whether a run there may be replaced."""
    context = command.make_context("train", list(options), resilient_parsing=True)
    given = context.params
    force = bool(given.get("force"))
    try:
        return _prefix(given.get("prefix"), given.get("save_result"), given.get("save_name")), force
    except click.UsageError:
        return None, force


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
