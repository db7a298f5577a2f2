"""Write constraints.txt from what environments hold, one for each Python: what was tried is what is pinned.

python scripts/write_constraints.py PYTHON...     such as build/python-*/mxml/.venv/bin/python .venv/bin/python
"""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

HEADER = "# What was tried with each Python; written by scripts/write_constraints.py from such environments.\n"
TARGET = Path(__file__).resolve().parent.parent / "constraints.txt"


def main(pythons: list[str]) -> None:
    """Merge the environments' packages: a pin that all of them share has no marker."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    versions = []
    for python in pythons:
        code = "import sys; print('.'.join(map(str, sys.version_info[:2])))"
        version = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        freeze = [python, "-m", "pip", "freeze", "--exclude-editable", "--disable-pip-version-check"]
        listed = subprocess.run(freeze, capture_output=True, text=True, check=True).stdout
        versions.append(version)
        for line in listed.splitlines():
            name, separator, pin = line.partition("==")
            if separator:
                found[name.lower().replace("_", "-")][f"{name}=={pin}"].append(version)
    lines = []
    for name in sorted(found):
        for pin, used_by in sorted(found[name].items()):
            if len(used_by) == len(versions):
                lines.append(pin)
            else:
                lines.extend(f'{pin}; python_version == "{version}"' for version in used_by)
    TARGET.write_text(HEADER + "".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main(sys.argv[1:])
