"""Start a run's scheduler, servers and workers, here or by ssh, and end all of them when one dies."""

from __future__ import annotations

import contextlib
import os
import queue
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from mxml.errors import SettingError, SetupError
from mxml.progress import Progress
from mxml.text import printable
from mxml.training.launching.addresses import LOOPBACK, is_loopback, private_address, reserved_port
from mxml.training.launching.environment import RESUMING
from mxml.training.launching.node import PASSED_ON, Start
from mxml.training.signals import StopRequest

if TYPE_CHECKING:
    _Events = queue.SimpleQueue["_Process | int"]

_NODE = "mxml.training.launching.node"
_ROLE = "mxml.training.launching.environment"
_SSH = ("ssh", "-T", "-o", "BatchMode=yes", "-o", "ServerAliveInterval=15")
_SHOWN_LINES = 20
# A worker that has ended by itself has told the others why, or they find the same fault: they may finish their files.
_SECONDS_TO_END = 10.0


@dataclass(frozen=True)
class Job:
    """What to start: ``command`` as every worker, on ``hosts`` in turn, or here if there are none.

    The scheduler runs here, and listens on ``interface``, a name or an address. ``resuming`` is what to type to go on.
    """

    command: tuple[str, ...]
    workers: int
    servers: int
    hosts: tuple[str, ...] = ()
    interface: str | None = None
    resuming: str = ""


def launch(job: Job, progress: Progress) -> int:
    """Run a job to its end, and return its exit status: 0, or that of the process that ended it.

    A signal goes to every worker, as StopRequest notes it; a second one ends all at once. Raises SettingError and
    SetupError for a job that cannot be started.
    """
    if job.hosts and job.interface is None:
        raise SettingError("interface", None, "given with `hosts`: the name or the private address that they reach")
    address = private_address(job.interface or LOOPBACK)
    if job.hosts and is_loopback(address):
        progress.note(f"{address}: other machines cannot reach it")
    with reserved_port(address) as keeper:
        processes = _processes(job, address, keeper.getsockname()[1])
        ended: _Events = queue.SimpleQueue()
        try:
            with _signals_into(ended):
                for process in processes:
                    process.start(ended)
                return _supervise(processes, ended, progress)
        finally:
            for process in processes:
                process.end()


@dataclass(eq=False)
class _Process:
    """One of the run's processes: its node's, which may be on another machine."""

    name: str
    host: str | None
    start_of: Start
    is_worker: bool
    shown: bool = False
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=_SHOWN_LINES))
    _node: subprocess.Popen[bytes] | None = None
    _status: int = 0

    def start(self, ended: _Events) -> None:
        """Start it; ``ended`` gets it at its end, or at once where it cannot start."""
        here = [sys.executable, "-m", _NODE]
        argv = here if self.host is None else [*_SSH, "--", self.host, _remote(self.start_of.folder, here)]
        output = None if self.shown else subprocess.PIPE
        try:
            self._node = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=output, stderr=output and subprocess.STDOUT, start_new_session=True
            )
        except OSError as error:
            raise SetupError(f"{argv[0]}: cannot be started: {error.strerror}") from error
        self.tell(self.start_of.to_line())
        threading.Thread(target=self._watch, args=(self._node, ended), daemon=True).start()

    def tell(self, line: bytes) -> None:
        """Send a line to the node."""
        if self._node is not None and self._node.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._node.stdin.write(line)
                self._node.stdin.flush()

    def _watch(self, node: subprocess.Popen[bytes], ended: _Events) -> None:
        if node.stdout is not None:
            self._read(node.stdout)
        self._status = node.wait()
        ended.put(self)

    def _read(self, stream: IO[bytes]) -> None:
        # A bar that redraws itself ends its lines with \r.
        for line in stream:
            text = line.decode(errors="replace").rstrip().rpartition("\r")[2]
            if text:
                self.last_lines.append(printable(text))

    @property
    def status(self) -> int:
        """Return its exit status, once it has ended."""
        return self._status if self._status >= 0 else 128 - self._status

    def end(self) -> None:
        """Kill it, if it still runs, and wait until it has gone."""
        node = self._node
        if node is None or node.stdin is None:
            return
        with contextlib.suppress(BrokenPipeError):
            # The node then kills what it has started.
            node.stdin.close()
        try:
            node.wait(timeout=_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            node.kill()
            node.wait()


def _processes(job: Job, address: str, port: int) -> list[_Process]:
    common = {
        "DMLC_PS_ROOT_URI": address,
        "DMLC_PS_ROOT_PORT": str(port),
        "DMLC_NUM_WORKER": str(job.workers),
        "DMLC_NUM_SERVER": str(job.servers),
        **{name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)},
    }
    role = (sys.executable, "-m", _ROLE)
    folder = os.getcwd()

    def host(number: int) -> str | None:
        return job.hosts[number % len(job.hosts)] if job.hosts else None

    def local(place: str | None) -> dict[str, str]:
        return {"DMLC_NODE_HOST": address} if place is None else {}

    scheduler = Start(role, folder, {**common, **local(None), "DMLC_ROLE": "scheduler"})
    processes = [_Process("the scheduler", None, scheduler, False)]
    for number in range(job.servers):
        variables = {**common, **local(host(number)), "DMLC_ROLE": "server"}
        processes.append(_Process(f"server {number}", host(number), Start(role, folder, variables), False))
    beside = Counter(host(number) for number in range(job.workers))
    for number in range(job.workers):
        place = host(number)
        variables = {**common, **local(place), "DMLC_ROLE": "worker", "DMLC_WORKER_ID": str(number)}
        variables[RESUMING] = job.resuming
        start = Start(job.command, folder, variables, beside[place])
        processes.append(_Process(f"worker {number}", place, start, True, shown=number == 0))
    return processes


def _remote(folder: str, argv: Sequence[str]) -> str:
    return f"cd {shlex.quote(folder)} && exec {shlex.join(argv)}"


def _supervise(processes: Sequence[_Process], ended: _Events, progress: Progress) -> int:
    """Wait for the job's end, and return its status."""
    workers = {process for process in processes if process.is_worker}
    first: _Process | None = None
    deadline: float | None = None
    asked = 0
    while workers:
        try:
            event = ended.get(timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        if isinstance(event, int):
            if asked:
                return 128 + event
            asked = event
            for process in workers:
                process.tell(b"signal %d\n" % event)
            continue
        workers.discard(event)
        if event.status == 0:
            # Servers and scheduler end so too, when all workers have left them.
            continue
        if first is None:
            first = event
            if not (asked and event.status == 128 + asked):
                _tell_end(event, progress)
            if not event.is_worker or (event.status > 128 and not asked):
                # It was killed, and the others wait for it in vain.
                break
            deadline = time.monotonic() + _SECONDS_TO_END
    return first.status if first is not None else 0


def _tell_end(process: _Process, progress: Progress) -> None:
    where = f" on {process.host}" if process.host else ""
    status = process.status
    name = f"signal {signal.Signals(status - 128).name}" if 128 < status < 160 else f"status {status}"
    progress.note(f"{process.name}{where} has ended with {name}; all others end")
    for line in process.last_lines:
        progress.note(f"{process.name}: {line}")
    if process.shown:
        progress.note(f"{process.name}: its last lines are above")


@contextlib.contextmanager
def _signals_into(ended: _Events) -> Iterator[None]:
    # A SimpleQueue's put may interrupt its get.
    before = {number: signal.signal(number, lambda number, _: ended.put(number)) for number in StopRequest.SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
