"""What this process is in a run of several: read from the variables that MXNet's ps-lite reads, and checked.

``DMLC_ROLE`` is scheduler, server or worker; ``DMLC_NUM_WORKER`` and ``DMLC_NUM_SERVER`` count these,
``DMLC_PS_ROOT_URI`` and ``DMLC_PS_ROOT_PORT`` are the scheduler's address. ``DMLC_WORKER_ID``, from 0, is mxml's own:
it numbers the workers, where ps-lite's numbers depend on ports.
"""

from __future__ import annotations

import os
import pickle
import sys
import time
from dataclasses import dataclass
from typing import NoReturn

from mxml.errors import SetupError
from mxml.training.launching.addresses import address_towards, private_address, require_private, resolved

RESUMING = "MXML_RESUMING"
"""The variable in which ``mxml launch`` tells its workers what to type to go on with the run."""

# A cluster may start a process before it knows the scheduler's name.
_SECONDS_FOR_A_NAME = 120
_NUMBERS = {
    "DMLC_NUM_WORKER": (1, 4096),
    "DMLC_NUM_SERVER": (1, 4096),
    "DMLC_PS_ROOT_PORT": (1, 65535),
    "DMLC_WORKER_ID": (0, 4095),
}


@dataclass(frozen=True)
class Place:
    """Which worker this process is, from 0, and of how many."""

    rank: int
    count: int

    @property
    def is_first(self) -> bool:
        """Say whether this is the worker that writes the run's files."""
        return self.rank == 0


ALONE = Place(0, 1)


def place() -> Place:
    """Return which worker this process is; ``ALONE`` outside of a run of several. Raises SetupError."""
    if os.environ.get("DMLC_ROLE") != "worker":
        return ALONE
    count, rank = _number("DMLC_NUM_WORKER"), _number("DMLC_WORKER_ID")
    if rank >= count:
        raise SetupError(f"DMLC_WORKER_ID is {rank}: should be below DMLC_NUM_WORKER, which is {count}")
    return Place(rank, count)


def is_worker() -> bool:
    """Say whether this process is a worker, be it the only one."""
    return os.environ.get("DMLC_ROLE") == "worker"


def resuming_all() -> str:
    """Return what to type so that all workers go on with the run; an empty text where nobody has said it."""
    return os.environ.get(RESUMING, "")


def serve_if_asked() -> None:
    """Be the scheduler or a server, where the environment says so, until the run ends; then exit."""
    role = os.environ.get("DMLC_ROLE")
    if role in ("scheduler", "server"):
        serve()
    if role not in (None, "worker"):
        raise SetupError(f"DMLC_ROLE is {role}: should be scheduler, server or worker")


def serve() -> NoReturn:
    """Be the scheduler or a server until the run ends, and exit."""
    use_private_addresses()
    # MXNet's servers unpickle what a message of one kind brings, which runs any code that it holds. mxml sends none:
    # its optimizers are in the workers.
    pickle.loads = _no_pickles
    from mxml.runtime.imports import load_mxnet

    load_mxnet()  # returns at the end of the run only, by SystemExit
    sys.exit(0)


def use_private_addresses() -> None:
    """Let ps-lite listen only on one private address, towards the scheduler; set what it reads. Raises SetupError."""
    for name in _NUMBERS:
        if name != "DMLC_WORKER_ID":
            _number(name)
    host = os.environ.get("DMLC_PS_ROOT_URI", "")
    if not host:
        raise SetupError("DMLC_PS_ROOT_URI is not set: it should be the scheduler's address")
    root = require_private(_resolved_in_time(host), host)
    own = os.environ.get("DMLC_NODE_HOST") or os.environ.get("DMLC_INTERFACE")
    os.environ["DMLC_PS_ROOT_URI"] = root
    os.environ["DMLC_NODE_HOST"] = private_address(own) if own else require_private(address_towards(root), "this host")
    # With it the scheduler would listen on every interface.
    os.environ.pop("DMLC_USE_KUBERNETES", None)


def _resolved_in_time(host: str) -> str:
    end = time.monotonic() + _SECONDS_FOR_A_NAME
    while True:
        try:
            return resolved(host)
        except SetupError:
            if time.monotonic() > end:
                raise
            time.sleep(1)


def _number(name: str) -> int:
    text = os.environ.get(name, "")
    low, high = _NUMBERS[name]
    if not (text.isascii() and text.isdigit() and len(text) < 9 and low <= int(text) <= high):
        shown = f"is {text!r}" if text else "is not set"
        raise SetupError(f"{name} {shown}: should be a whole number from {low} to {high}")
    return int(text)


def _no_pickles(*_: object, **__: object) -> NoReturn:
    raise pickle.UnpicklingError("a server of a run reads no pickles")


if __name__ == "__main__":
    try:
        serve()
    except SetupError as fault:
        sys.exit(f"mxml: {fault}")
