"""The documents against the checkout: what they link to, and the commands that they tell people to type."""

from __future__ import annotations

import dataclasses
import re
import shlex
import subprocess
import sys

import click

from mxml.cli import group


def documents(checkout):
    found = [checkout / "README.md", checkout / "CHANGELOG.md", checkout / "benchmarks" / "RESULTS.md"]
    return [path for path in [*found, *sorted((checkout / "docs").glob("*.md"))] if path.exists()]


def shell_lines(checkout):
    """Yield the commands in the documents' shell blocks, continued lines joined and comments cut."""
    for path in documents(checkout):
        for block in re.findall(r"^ *```(?:sh|bash)\n(.*?)^ *```", path.read_text(encoding="utf-8"), re.M | re.S):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words:
                    yield path.name, words


def anchors(path):
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_command_reference_is_what_the_code_says(checkout):
    run = subprocess.run(
        [sys.executable, "docs/generate_cli.py", "--check"], capture_output=True, text=True, cwd=checkout
    )
    assert run.returncode == 0, run.stderr


def test_every_link_leads_somewhere(checkout):
    broken = []
    for path in documents(checkout):
        for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
            if re.match(r"[a-z]+:", link):
                continue
            name, _, anchor = link.partition("#")
            target = (path.parent / name) if name else path
            if not target.exists() or (anchor and anchor not in anchors(target)):
                broken.append(f"{path.name}: {link}")
    assert not broken


def test_every_command_that_the_documents_show_exists_with_its_options(checkout):
    context = click.Context(group)
    shown = 0
    for source, words in shell_lines(checkout):
        if words[0] != "mxml":
            continue
        shown += 1
        command = group.get_command(context, words[1]) if not words[1].startswith("-") else group
        assert command is not None, f"{source}: {' '.join(words)}"
        known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)} | {"--help"}
        # What follows is the command that `mxml launch` starts.
        words = words[: words.index("--")] if "--" in words else words
        unknown = {word.partition("=")[0] for word in words[1:] if re.match(r"--?[a-z]", word)} - known
        assert not unknown, f"{source}: {' '.join(words)}: no {unknown}"
    assert shown


def test_every_script_that_the_documents_show_exists(checkout):
    scripts = [words[1] for _, words in shell_lines(checkout) if words[0] in ("sh", "python", "python3")]
    missing = [script for script in scripts if not script.startswith("-") and not (checkout / script).exists()]
    assert "run_train.sh" in scripts and not missing


def test_the_readme_shows_the_fixed_commands(checkout):
    shown = [" ".join(words) for source, words in shell_lines(checkout) if source == "README.md"]
    for command in ("sh run_train.sh", "mxml make-lst --num-classes 8", "mxml predict --prefix model"):
        assert command in shown


def test_the_formats_page_names_every_field_and_column(checkout):
    from mxml.images import transforms
    from mxml.model import sidecar
    from mxml.training import history

    text = (checkout / "docs" / "formats.md").read_text(encoding="utf-8")
    kinds = (sidecar.Sidecar, sidecar.Epoch, sidecar.Pause, sidecar.UsedList, sidecar.Stamp, transforms.Preprocess)
    written = {field.name for kind in kinds for field in dataclasses.fields(kind)} | set(history.COLUMNS)
    assert not {name for name in written if f"`{name}`" not in text}


def test_python_in_the_documents_imports_what_exists(checkout):
    for path in documents(checkout):
        for block in re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S):
            compile(block, str(path), "exec")
            imports = re.findall(r"^(?:from mxml|import mxml).*$", block, re.M)
            exec("\n".join(imports), {})


def test_pictures_are_small(checkout):
    sizes = {path.name: path.stat().st_size for path in (checkout / "docs").glob("*.[pj][np]g")}
    assert not {name: size for name, size in sizes.items() if size > 150_000}
