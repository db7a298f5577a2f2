"""docs/architecture.md against the code: which module imports which, and what is loaded when."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest

# The foundation: every module may import these, so the table does not repeat them.
EVERYWHERE = {"atomic", "errors"}


def modules(checkout):
    """Map each module or subpackage of mxml to its files."""
    found = {}
    for path in sorted((checkout / "mxml").rglob("*.py")):
        name = path.relative_to(checkout / "mxml").parts[0].removesuffix(".py")
        if name not in ("__init__", "__main__"):
            found.setdefault(name, []).append(path)
    return found


def imported(path):
    """Yield the dotted name of everything that the file imports, in functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(name, files, known):
    """Return the other modules of mxml that a module imports."""
    parts = (dotted.split(".") for path in files for dotted in imported(path))
    return {part[1] for part in parts if part[0] == "mxml" and len(part) > 1 and part[1] in known} - {name}


def table(checkout):
    """Read the module table: module to the set that it may import, or None for anything."""
    text = (checkout / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z_0-9]+)/?` \|.*\| ([^|]*) \|$", text, re.MULTILINE)
    return {name: None if may == "anything" else set(re.findall(r"`([a-z_0-9]+)`", may)) for name, may in rows}


def test_the_table_names_every_module_and_no_other(checkout):
    assert sorted(table(checkout)) == sorted(modules(checkout))


def test_every_module_imports_what_the_table_says(checkout):
    found = modules(checkout)
    faults = []
    for name, may in table(checkout).items():
        if may is None:
            continue
        does = own_imports(name, found.get(name, []), found) - EVERYWHERE
        faults += [f"{name} imports {other}, which the table does not allow" for other in sorted(does - may)]
        faults += [f"{name} no longer imports {other}; take it out of the table" for other in sorted(may - does)]
    assert not faults, "\n".join(faults)


def test_no_two_modules_import_each_other(checkout):
    found = modules(checkout)
    imports = {name: own_imports(name, files, found) for name, files in found.items()}
    below = set()
    while len(below) < len(found):
        ready = {name for name, others in imports.items() if others <= below} - below
        assert ready, f"a circle of imports among {sorted(set(found) - below)}"
        below |= ready


@pytest.mark.parametrize(
    ("library", "owner"), [("mxnet", "runtime"), ("cv2", "runtime"), ("click", "cli"), ("tqdm", "cli")]
)
def test_a_library_with_side_effects_has_one_owner(checkout, library, owner):
    users = {
        name
        for name, files in modules(checkout).items()
        for path in files
        for dotted in imported(path)
        if dotted.split(".")[0] == library
    }
    assert users <= {owner}


def test_only_the_command_line_prints(checkout):
    for name, files in modules(checkout).items():
        for path in files if name != "cli" else ():
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


def test_every_public_name_loads():
    import mxml

    assert all(getattr(mxml, name) is not None for name in mxml.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        mxml.nonsense  # noqa: B018
