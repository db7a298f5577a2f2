"""The ``mxml`` command: its subcommands, loaded when they are called, and the one place that catches errors."""

from __future__ import annotations

import importlib
import os
import sys

import click

from mxml import __version__
from mxml.errors import Interrupted, MxmlError

# Each command's module in this package, and the line that `mxml --help` shows without importing it.
COMMANDS = {
    "doctor": ("doctor", "Say what this installation can do, and what is wrong with it."),
    "make-lst": ("make_lst", "Turn labelled images into train and validation lists."),
    "train": ("train", "Fine-tune a pretrained network on multi-hot lists."),
    "evaluate": ("evaluate", "Judge a checkpoint on a list: mAP, F1s, Hamming and more."),
    "predict": ("predict", "Tag images with a checkpoint."),
}


class _LazyGroup(click.Group):
    """A group whose help needs no command's module, so that it answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"mxml.cli.{COMMANDS[cmd_name][0]}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="mxml")
def group() -> None:
    """Multi-label image classification on Apache MXNet: fine-tune, evaluate, predict."""


def main() -> None:
    """Run the command line; an MxmlError becomes one line on stderr and exit code 1, a bug keeps its traceback."""
    try:
        group(prog_name="mxml")
    except Interrupted as error:
        click.echo(f"mxml: {error}", err=True)
        sys.exit(128 + error.signal_number)
    except MxmlError as error:
        click.echo(f"mxml: {error}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        # The reader of stdout has gone, as `mxml predict | head` does; Python would complain again while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
