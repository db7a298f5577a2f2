"""Write the command reference, docs/cli.md and README.md's table of options, from the commands themselves.

python docs/generate_cli.py            write both
python docs/generate_cli.py --check    write nothing; exit 1 if one of them is not what would be written
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mxml.cli import group  # noqa: E402

BEGIN, END = "<!-- options: generated -->", "<!-- /options -->"
NOTE = "<!-- Written by docs/generate_cli.py from the code; change the code, then run it. -->"
IN_README = "train"
DEFAULT = re.compile(r"\s*\[default: (.*)\]\s*$")
TYPES = {"integer": "INT", "float": "FLOAT", "text": "TEXT", "path": "PATH", "filename": "PATH", "directory": "PATH"}


def commands(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """Yield a command and, under a group, its commands, each with a context that knows its full name."""
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from commands(below, click.Context(below, info_name=name, parent=context))


def reference(everything: list[tuple[click.Command, click.Context]]) -> str:
    """Return docs/cli.md."""
    parts = [f"# The commands\n\n{NOTE}\n"]
    for command, context in everything:
        usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
        parts.append(f"## {context.command_path}\n\n```text\n{usage}\n```\n\n{paragraphs(command.help)}\n")
        table = options_table(command, context)
        if table:
            parts.append(f"{table}\n")
        if command.epilog:
            parts.append(f"{paragraphs(command.epilog)}\n")
    return "\n".join(parts)


def summary(everything: list[tuple[click.Command, click.Context]]) -> str:
    """Return README.md's block: one line a command, then the options of the main one."""
    lines = ["| command | what it does |", "|---|---|"]
    for command, context in everything[1:]:
        name = context.command_path
        anchor = name.replace(" ", "-")
        lines.append(f"| [`{name}`](docs/cli.md#{anchor}) | {cell(command.get_short_help_str(200))} |")
    for command, context in everything[1:]:
        if context.info_name == IN_README:
            title = f"<summary>The options of <code>{context.command_path}</code></summary>"
            lines += ["", "<details>", title, "", options_table(command, context), "", "</details>"]
    return "\n".join(lines)


def options_table(command: click.Command, context: click.Context) -> str:
    """Return a Markdown table of the command's options and arguments; empty if it has none but ``--help``."""
    options = [param for param in command.params if isinstance(param, click.Option) and not param.hidden]
    if not options:
        return ""
    lines = ["| option | meaning | default |", "|---|---|---|"]
    lines += [f"| {names(param)} | {meaning(param)} | {default(param, context)} |" for param in options]
    return "\n".join(lines)


def names(option: click.Option) -> str:
    """Return the option's spellings and what it takes, as code."""
    if option.is_flag:
        return ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    value = cell(kind(option))
    *short, last = option.opts
    return ", ".join([*(f"`{name}`" for name in short), f"`{last} {value}`"])


def kind(option: click.Option) -> str:
    """Return the placeholder of the option's value; not click's own, whose wording differs between its versions."""
    if option.metavar:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return "|".join(str(getattr(choice, "value", choice)) for choice in option.type.choices)
    name = option.type.name.removesuffix(" range")
    return TYPES.get(name, name.upper())


def meaning(option: click.Option) -> str:
    """Return the option's help without the default that it may end in."""
    return cell(DEFAULT.sub("", option.help or ""))


def default(option: click.Option, context: click.Context) -> str:
    """Return the option's default; empty for none, an unset flag, or one computed at run time."""
    told = DEFAULT.search(option.help or "")
    if told:
        return cell(told[1])
    value: Any = option.get_default(context, call=False)
    # click 8.3 on marks a missing default with a sentinel of its own.
    missing = value is None or callable(value) or type(value).__module__.startswith("click")
    if missing or value is False or value in ((), ""):
        return ""
    return cell(",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value))


def paragraphs(text: str | None) -> str:
    """Return help text with click's layout marks removed and its wrapped lines joined."""
    blocks = (text or "").replace("\b", "").split("\f")[0].strip().split("\n\n")
    return "\n\n".join(" ".join(block.split()) for block in blocks)


def cell(text: str | None) -> str:
    """Return text that stays inside a table's cell."""
    return " ".join((text or "").split()).replace("|", "\\|")


def with_block(readme: str, block: str) -> str:
    """Return README.md with what stands between its marks replaced."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        sys.exit(f"README.md: the marks {BEGIN} and {END} are missing; put them where the options should stand")
    return f"{before}{BEGIN}\n{block}\n{END}{after}"


def main() -> None:
    """Write the two files, or with --check compare them."""
    everything = list(commands(group, click.Context(group, info_name="mxml")))
    readme = ROOT / "README.md"
    wanted = {
        ROOT / "docs" / "cli.md": reference(everything),
        readme: with_block(readme.read_text(encoding="utf-8"), summary(everything)),
    }
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv[1:]:
        if stale:
            listed = ", ".join(str(path.relative_to(ROOT)) for path in stale)
            sys.exit(f"{listed}: not what the code says now; run: python docs/generate_cli.py")
        return
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
