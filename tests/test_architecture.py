"""What import-linter does not hold: who may import which library, who prints, and what is loaded when."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest


def modules(checkout):
    """Map the dotted name of each module below mxml to its file."""
    files = sorted((checkout / "mxml").rglob("*.py"))
    return {".".join(file.relative_to(checkout / "mxml").with_suffix("").parts): file for file in files}


def imported(path):
    """Yield the dotted name of everything that the file imports, in functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_document_names_every_package_and_no_other(checkout):
    text = (checkout / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `([a-z]+)/` \|", text, re.MULTILINE)
    packages = sorted(path.parent.name for path in (checkout / "mxml").glob("*/__init__.py"))
    assert sorted(named) == packages


@pytest.mark.parametrize(
    ("library", "owner"), [("mxnet", "runtime"), ("cv2", "runtime"), ("click", "cli"), ("tqdm", "progress")]
)
def test_a_library_with_side_effects_has_one_owner(checkout, library, owner):
    users = {
        name.partition(".")[0]
        for name, path in modules(checkout).items()
        for dotted in imported(path)
        if dotted.split(".")[0] == library
    }
    assert users == {owner}


def texts(tree):
    """Yield the texts of a module with their lines, but for docstrings."""
    with_docstring = (ast.Module, ast.ClassDef, ast.FunctionDef)
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, with_docstring) and node.body]
    docstrings = {id(body[0].value) for body in bodies if isinstance(body[0], ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def test_only_the_command_line_speaks_of_options(checkout):
    """The library names settings, and mxml.cli.wording turns them into options."""
    for name, path in modules(checkout).items():
        if name.startswith("cli."):
            continue
        for line, text in texts(ast.parse(path.read_text("utf-8"))):
            option = re.search(r"(?<![\w-])--[a-z][a-z-]+", text)
            assert option is None or "pip install" in text, f"{path}:{line}: {option.group()}"


def test_only_the_command_line_prints(checkout):
    for name, path in modules(checkout).items():
        if name.startswith("cli."):
            continue
        calls = [node.func for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
        printing = [call.lineno for call in calls if isinstance(call, ast.Name) and call.id == "print"]
        assert not printing, f"{path}:{printing[0]}: prints"


@pytest.mark.parametrize(
    "script", ["import mxml; dir(mxml)", "from mxml.cli import group; group(['--help'], standalone_mode=False)"]
)
def test_nothing_heavy_is_loaded_before_it_is_needed(checkout, script):
    heavy = {"mxnet", "cv2", "numpy", "sklearn", "matplotlib", "PIL"}
    code = f"import sys\n{script}\nsys.exit(str(sorted({heavy!r} & set(sys.modules))))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=checkout)
    assert run.stderr == "[]\n"


def test_a_training_is_described_without_numpy_or_mxnet(checkout):
    code = "import sys\nfrom mxml import TrainConfig\nsys.exit(str({'mxnet', 'numpy', 'cv2'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=checkout)
    assert run.stderr == "set()\n"


def test_every_public_name_loads():
    import mxml

    assert all(getattr(mxml, name) is not None for name in mxml.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        mxml.nonsense  # noqa: B018
