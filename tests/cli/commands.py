"""Whole commands in processes of their own, and the original script's command line as one types it."""

from __future__ import annotations

import signal
import subprocess
import sys

ORIGINAL = (
    "--model net --gpus '' --batch-size 16 --epoch 0 --image-shape 3,32,32 --data-train lists/train.lst "
    "--image-train images --data-val lists/val.lst --image-val images --num-classes 3 --lr 0.001 --num-epoch 2 "
    "--kv-store device --save-result saved --num-examples 40 --mom 0.9 --wd 0.0001 --save-name multi"
)


def process(folder, *arguments, **streams):
    return subprocess.Popen(
        [sys.executable, "-m", "mxml", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        # A shell's background jobs, and what they start, would ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **streams,
    )


def snapshot(folder):
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
