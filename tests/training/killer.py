"""Runs ``mxml train`` over and over in processes of its own, and kills each at a chosen event.

As a program it reads one line of JSON after another from stdin, ``[folder, arguments, kill]``. For each it forks a
process that runs the command there, and prints the process's return code in a line. ``kill`` lists triples of an event,
a number and a signal: the signal is sent at the number-th occurrence of the event, and then the next triple counts:

- ``update``: a step's gradients are there, its update is not
- ``step``: a step has ended
- ``average``: an array of the averaged weights is about to take in the current ones
- ``parameters``: the averaged weights, or the current ones again, are about to be what the network computes with
- ``validation``: a batch of the validation is computed
- ``flush``: a file or folder is about to be flushed to disk
- ``rename PATTERN``, ``remove PATTERN``: a file whose name fits is about to appear, or to go

Nothing is replaced: MXNet's public functions and Python's are wrapped, and do what they do until the signal comes.
"""

from __future__ import annotations

import fnmatch
import json
import os
import signal
import sys


class Events:
    def __init__(self, kill):
        self.left = [list(entry) for entry in kill]

    def happen(self, event):
        if not self.left or not fnmatch.fnmatchcase(event, self.left[0][0]):
            return
        self.left[0][1] -= 1
        if not self.left[0][1]:
            _, _, number = self.left.pop(0)
            os.kill(os.getpid(), number)

    def before(self, event, function):
        def wrapped(*arguments, **named):
            self.happen(event)
            return function(*arguments, **named)

        return wrapped

    def after(self, event, function):
        def wrapped(*arguments, **named):
            result = function(*arguments, **named)
            self.happen(event)
            return result

        return wrapped

    def watch(self, mx):
        module = mx.mod.Module
        forward = module.forward

        def watched_forward(self_, batch, is_train=None):
            forward(self_, batch, is_train)
            if is_train is False:
                self.happen("validation")

        module.forward = watched_forward
        module.set_params = self.before("parameters", module.set_params)
        mx.nd.sgd_update = self.before("average", mx.nd.sgd_update)
        module.update = self.before("update", self.after("step", module.update))
        os.fsync = self.before("flush", os.fsync)
        sys.addaudithook(self.audit)

    def audit(self, event, arguments):
        if event in ("os.rename", "os.remove"):
            path = arguments[1] if event == "os.rename" else arguments[0]
            self.happen(f"{event[3:]} {os.path.basename(os.fspath(path))}")


def main():
    # Before the forks, and with what the command would import later: it takes longer than the runs do.
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401

    import mxml.cli.train
    import mxml.training.fit  # noqa: F401
    from mxml.cli import main as command
    from mxml.runtime.imports import load_mxnet

    mx = load_mxnet()
    for line in sys.stdin:
        folder, arguments, kill = json.loads(line)
        child = os.fork()
        if child == 0:
            os.chdir(folder)
            Events([[event, number, signal.Signals[name]] for event, number, name in kill]).watch(mx)
            os.dup2(os.open("output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
            os.dup2(1, 2)
            sys.argv = ["mxml", "train", *arguments]
            try:
                command()
            except SystemExit as error:
                sys.stdout.flush()
                os._exit(error.code if isinstance(error.code, int) else int(error.code is not None))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
