"""The file that names the machines of a run: one per line, as ssh knows them."""

from __future__ import annotations

import re
from pathlib import Path

from mxml.errors import Faults, ListError
from mxml.text import quoted

_LARGEST = 1 << 20
# Nothing that ssh takes for an option, and nothing that a shell reads.
_HOST = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}@)?[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


def read_hosts(path: str) -> tuple[str, ...]:
    """Return the machines that a file names; a machine that it names twice counts twice.

    Empty lines and what follows a # are ignored. Raises ListError for a file that cannot be read, and with every line
    that is not ``HOST`` or ``USER@HOST``.
    """
    try:
        content = Path(path).read_bytes()[: _LARGEST + 1]
        text = content.decode("utf-8")
    except OSError as error:
        raise ListError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ListError(f"{path}: is not UTF-8 text") from error
    if len(content) > _LARGEST:
        raise ListError(f"{path}: is larger than 1 MiB; a list of machines is not")
    hosts, faults = [], Faults()
    for number, line in enumerate(text.split("\n"), start=1):
        entry = line.partition("#")[0].strip()
        if entry and not _HOST.fullmatch(entry):
            faults.add(f"{path}:{number}: {quoted(entry)}: should be HOST or USER@HOST")
        elif entry:
            hosts.append(entry)
    faults.raise_any()
    if not hosts:
        raise ListError(f"{path}: names no machine")
    return tuple(hosts)
