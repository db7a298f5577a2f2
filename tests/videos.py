"""Small videos whose frames tell which they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mxml.runtime.imports import load_cv2

cv2 = load_cv2()
CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".avi": "MJPG", ".mkv": "mp4v", ".webm": "VP80"}


BARS = 6


def make_video(path: Path, frames: int = 35, fps: float = 10) -> Path:
    """Write a video of 96 x 48 pixels whose frame n shows n in bits, as black and white bars."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*CODECS[path.suffix]), fps, (96, 48))
    assert writer.isOpened()
    for number in range(frames):
        bits = [255 * (number >> bar & 1) for bar in range(BARS)]
        writer.write(np.broadcast_to(np.repeat(np.array(bits, np.uint8), 16)[:, None], (48, 96, 3)))
    writer.release()
    return path


def number_in(picture: np.ndarray) -> int:
    """Return which frame a picture is, whatever its size and order of channels."""
    middles = (np.arange(BARS) + 0.5) * picture.shape[1] / BARS
    return sum(1 << bar for bar, x in enumerate(middles.astype(int)) if picture[:, x].mean() > 127)
