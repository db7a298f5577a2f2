"""Annotated videos: every frame is there, and has the labels of the last prediction until then."""

from __future__ import annotations

import dataclasses
import os
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from mxml.errors import ImageError, MxmlError, SettingError, StorageError
from mxml.images.drawing import row_height
from mxml.images.label_colours import label_colours
from mxml.inference.annotated_video import AnnotatedVideo
from mxml.inference.prediction import Prediction

NAMES = ("day", "night")
SIZE = (600, 400)


def frame_of(number):
    return np.full((SIZE[1], SIZE[0], 3), 20 * number, np.uint8)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A video of ten frames, each brighter than the one before."""
    path = str(tmp_path_factory.mktemp("clip") / "clip.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 5, SIZE)
    for number in range(10):
        writer.write(frame_of(number))
    writer.release()
    return path


def prediction(path, number, scores):
    return Prediction(
        path, NAMES, np.array(scores), pixels=frame_of(number or 0), frame=number,
        seconds=None if number is None else number / 5,
    )  # fmt: skip


def read(path):
    capture = cv2.VideoCapture(str(path))
    frames: list[np.ndarray] = []
    while True:
        found, frame = capture.read()
        if not found:
            return SimpleNamespace(frames=frames, fps=capture.get(cv2.CAP_PROP_FPS))
        frames.append(frame[..., ::-1])


def shown(frame):
    """Which label has the longest coloured bar in the panel: of the first row."""
    bar = frame[SIZE[1] + 33, 20:80].astype(int).mean(axis=0)
    distances = [np.abs(bar - colour).sum() for colour in label_colours(NAMES)]
    return NAMES[int(np.argmin(distances))] if min(distances) < 60 else None


@pytest.mark.parametrize("name", ["out/tagged.mp4", "tagged.avi", "tagged.mkv"])
def test_every_frame_is_written_with_the_labels_that_stand(tmp_path, clip, name):
    with AnnotatedVideo(tmp_path / name) as video:
        video.add(prediction(clip, 2, [0.9, 0.1]))
        video.add(prediction(clip, 6, [0.1, 0.9]))
    written = read(tmp_path / name)
    assert written.fps == 5
    assert [round(frame[:300].mean() / 20) for frame in written.frames] == list(range(10))
    assert list(map(shown, written.frames)) == [None] * 2 + ["day"] * 4 + ["night"] * 4
    assert os.listdir((tmp_path / name).parent) == [os.path.basename(name)]


def test_only_the_tagged_frames_keep_their_times(tmp_path, clip):
    with AnnotatedVideo(tmp_path / "x.mp4", tagged_only=True) as video:
        for number in (0, 4, 8):
            video.add(prediction(clip, number, [0.9, 0.1]))
    written = read(tmp_path / "x.mp4")
    assert [round(frame[:300].mean() / 20) for frame in written.frames] == [0, 4, 8]
    assert written.fps == pytest.approx(1.25)


def test_frames_that_cannot_be_read_again_and_images_are_written_as_they_come(tmp_path):
    for number in (None, 3):
        with AnnotatedVideo(tmp_path / "x.avi") as video:
            video.add(prediction("camera 0", number, [0.9, 0.1]))
            video.add(Prediction("camera 0", NAMES, np.full(2, np.nan), error=ImageError("torn"), frame=4))
        assert [shown(frame) for frame in read(tmp_path / "x.avi").frames] == ["day"]


def test_ctrl_c_keeps_what_there_is_and_an_error_leaves_nothing(tmp_path, clip):
    for error, kept in ((KeyboardInterrupt, 3), (RuntimeError, None)):
        path = tmp_path / f"{error.__name__}.avi"
        with pytest.raises(error), AnnotatedVideo(path) as video:
            video.add(prediction(clip, 2, [0.9, 0.1]))
            raise error
        assert (len(read(path).frames) if path.exists() else None) == kept
    assert len(os.listdir(tmp_path)) == 1


def test_a_frame_unlike_the_training_images_says_so_above_its_labels(tmp_path):
    near, far = (
        dataclasses.replace(prediction(f"{name}.jpg", None, (0.9, 0.8)), distance=distance)
        for name, distance in (("a", 0.5), ("b", 1.5))
    )
    with AnnotatedVideo(tmp_path / "out.avi") as video:
        video.add(near)
        video.add(far)
    first, second = (frame[SIZE[1] :].astype(int) for frame in read(tmp_path / "out.avi").frames)
    row = row_height(SIZE[0] // 30)
    # Both have two labels: in the second they are a row further down.
    assert np.abs(first[: 2 * row] - second[row : 3 * row]).mean() < 4
    assert np.ptp(first[2 * row + 8 :]) < 40 < np.ptp(second[2 * row + 8 :])


def test_odd_and_small_frames_are_made_to_fit(tmp_path):
    with AnnotatedVideo(tmp_path / "x.mp4") as video:
        video.add(Prediction("x", NAMES, np.array([0.9, 0.6]), pixels=np.zeros((97, 31, 3), np.uint8)))
    (frame,) = read(tmp_path / "x.mp4").frames
    assert frame.shape[1] == 360 and frame.shape[0] > 480 and frame.shape[0] % 2 == 0


def test_what_cannot_be_written_is_said(tmp_path, clip):
    with pytest.raises(SettingError, match=r"`save_video` x\.gif: should be a file that ends in \.mp4"):
        AnnotatedVideo("x.gif")
    with (
        pytest.raises(MxmlError, match=r"other\.avi needs a file of its own"),
        AnnotatedVideo(tmp_path / "x.avi") as video,
    ):
        video.add(prediction(clip, 0, [0.9, 0.1]))
        video.add(prediction("other.avi", 0, [0.9, 0.1]))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError), AnnotatedVideo(tmp_path / "file" / "x.avi") as video:
        video.add(prediction(clip, 0, [0.9, 0.1]))
