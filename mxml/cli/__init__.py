"""The ``mxml`` command: its subcommands, imported when they are called, and the place that catches errors."""

from __future__ import annotations

import difflib
import errno
import importlib
import io
import os
import signal
import sys

import click

from mxml import __version__
from mxml.cli.paddlex_forms import routed
from mxml.cli.wording import with_options
from mxml.errors import Interrupted, ListError, MxmlError, SettingError
from mxml.text import printable

# Each command's module in this package, and the line that `mxml --help` shows without importing it.
COMMANDS = {
    "doctor": ("doctor", "Report what this installation can do, and what is wrong with it."),
    "make-lst": ("make_lst", "Turn labelled images into train and validation lists."),
    "convert": ("convert", "Write labels in another format, and refuse what it cannot hold."),
    "check": ("check", "Report what is wrong with lists and their images, and describe their labels."),
    "networks": ("networks", "List the networks that can be trained from scratch."),
    "train": ("train", "Fine-tune a pretrained network on multi-hot lists, or train one from scratch."),
    "launch": ("launch", "Train on several processes or machines."),
    "augment-preview": ("augment_preview", "Draw images of a list as training varies them."),
    "runs": ("runs", "Compare training runs in a table: their settings, best metrics and state."),
    "evaluate": ("evaluate", "Evaluate a checkpoint on a list: mAP, F1, Hamming loss and more."),
    "tune": ("tune", "Choose one threshold per label on held-out images, and calibrate scores."),
    "compare": ("compare", "Compare two checkpoints on a list: is the difference more than noise?"),
    "predict": ("predict", "Tag images with a checkpoint."),
    "get-pipeline-config": ("get_pipeline_config", "Write the configuration file of a pipeline, as PaddleX has it."),
    "sort": ("sort", "Sort photographs into folders by their labels."),
    "describe": ("describe", "Describe a checkpoint's training images, so that predict marks images unlike them."),
    "similar": ("similar", "Find the images of a list that are most similar to others."),
    "explain": ("explain", "Draw where in images their labels are seen: class activation maps and Grad-CAM."),
}

# What a full disk, a missing permission or too many open files raise, wherever it happens: no bug of ours.
_SURROUNDINGS = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE}
)


class _LazyGroup(click.Group):
    """A group whose help does not import the commands' modules, so that it is fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            near = difflib.get_close_matches(cmd_name, COMMANDS, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"No such command {cmd_name!r}{hint}", ctx)
        command: click.Command = importlib.import_module(f"mxml.cli.{COMMANDS[cmd_name][0]}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(
    cls=_LazyGroup,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="mxml")
@click.pass_context
def group(context: click.Context) -> None:
    """Multi-label image classification on Apache MXNet: fine-tune, evaluate, predict."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main() -> None:
    """Run the command line and exit: 0, or one line on stderr and 1 for an MxmlError, 2 for wrong usage.

    A signal exits with 128 and its number. A bug keeps its traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file name need not be text that the terminal's encoding has.
            stream.reconfigure(errors="backslashreplace")
    code = _run(routed(sys.argv[1:]))
    if code and os.environ.get("DMLC_ROLE") == "worker":
        # MXNet would wait for the other workers, who may wait for this one.
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    try:
        with group.make_context("mxml", arguments) as context:
            group.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "mxml"
        return _complain(f"{_one_line(error.format_message()).rstrip('.')}; see {command} --help", 2)
    except SettingError as error:
        return _complain(f"{_message(error, arguments)}; see mxml {arguments[0]} --help", 2)
    except ListError as error:
        return _complain("\n".join(map(printable, with_options(str(error), _called(arguments)).split("\n"))), 1)
    except Interrupted as error:
        return _complain(_message(error, arguments), 128 + error.signal_number)
    except KeyboardInterrupt:
        return _complain("interrupted", 128 + signal.SIGINT)
    except MxmlError as error:
        return _complain(_message(error, arguments), 1)
    except MemoryError:
        return _complain("there is not enough memory; a smaller --batch-size needs less", 1)
    except BrokenPipeError:
        # The reader of stdout has gone, as in `mxml predict | head`.
        _abandon_output()
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno not in _SURROUNDINGS:
            raise
        if error.filename is None:
            _abandon_output()
        return _complain(f"{printable(str(error.filename or 'the output'))}: {error.strerror}", 1)
    return 0


def _called(arguments: list[str]) -> click.Command | None:
    name = arguments[0] if arguments else ""
    return group.get_command(click.Context(group), name) if name in COMMANDS else None


def _message(error: MxmlError, arguments: list[str]) -> str:
    return printable(with_options(str(error), _called(arguments)))


def _complain(text: str, code: int) -> int:
    # The terminal has shown ^C where the cursor is.
    start = "\n" if code == 128 + signal.SIGINT and sys.stderr.isatty() else ""
    click.echo(f"{start}mxml: {text}", err=True)
    return code


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def _abandon_output() -> None:
    """Discard what is still to be written: Python would report the error again while it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
