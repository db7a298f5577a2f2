"""Videos and cameras as inputs of a prediction."""

from __future__ import annotations

from pathlib import Path

import pytest
from videos import make_video, number_in

from mxml.data.image_stream import StreamItem
from mxml.errors import ImageError, MxmlError
from mxml.images.decode import Pixels
from mxml.inference.input_names import Camera, Reading
from mxml.inference.inputs import InputStream


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "clips").mkdir()
    make_video(tmp_path / "clips" / "a.mp4")
    (tmp_path / "clips" / "b.jpg").touch()
    monkeypatch.chdir(tmp_path)


def frame_numbers(items: list[StreamItem]) -> list[int]:
    return [number_in(item.content.bgr) for item in items if isinstance(item.content, Pixels)]


def test_a_video_gives_one_frame_of_each_second_unless_told():
    stream = InputStream("clips/a.mp4")
    items = list(stream)
    assert stream.count == 4 and not stream.live
    assert [(item.name, item.called, item.frame, item.seconds) for item in items] == [
        ("clips/a.mp4", f"clips/a.mp4#{number}", number, number / 10) for number in (0, 10, 20, 30)
    ]
    assert frame_numbers(items) == [0, 10, 20, 30]
    stream = InputStream(["clips/a.mp4", "clips/b.jpg"], Reading(every=12, frames=2))
    assert stream.count == 3
    assert [item.called for item in stream] == ["clips/a.mp4#0", "clips/a.mp4#12", "clips/b.jpg"]


def test_frames_wait_as_small_as_the_network_can_use_them():
    small, large = (
        next(iter(InputStream("clips/a.mp4", reading))).content
        for reading in (Reading(reduction=lambda *_: 4), Reading())
    )
    assert isinstance(small, Pixels) and isinstance(large, Pixels)
    assert (small.bgr.shape, small.size, small.reduction) == ((12, 24, 3), (96, 48), 4)
    assert (large.bgr.shape, large.size, large.reduction) == ((48, 96, 3), (96, 48), 1)


def test_videos_are_taken_where_they_are_named_and_not_of_a_folder():
    assert [item.called for item in InputStream("clips")] == ["clips/b.jpg"]
    assert [item.called for item in InputStream("clips/*")] == [
        *(f"clips/a.mp4#{number}" for number in (0, 10, 20, 30)),
        "clips/b.jpg",
    ]
    Path("clips/b.jpg").unlink()
    with pytest.raises(MxmlError, match=r"clips: holds no image.*; 1 video is skipped: name each to read it"):
        InputStream("clips")


def test_a_damaged_video_is_reported_after_what_could_be_read_and_the_rest_goes_on():
    cut = make_video(Path("cut.avi"))
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    Path("none.mp4").write_bytes(b"hello")
    items = list(InputStream(["none.mp4", "cut.avi", "clips/b.jpg", "missing.mp4"], Reading(every=1)))
    none, *frames, end, photo, missing = items
    assert isinstance(none.content, ImageError) and none.content.reason == "is not a video in a known format"
    assert frame_numbers(frames) == list(range(len(frames))) and len(frames) > 5
    assert isinstance(end.content, ImageError) and end.content.kind == "truncated" and end.frame is None
    assert (photo.name, missing.name, missing.content) == ("clips/b.jpg", "missing.mp4", None)
    with pytest.raises(MxmlError, match=r"^none\.mp4: is not a video"):
        InputStream("none.mp4")


def test_a_camera_is_live():
    stream = InputStream([Camera("clips/a.mp4")], Reading(frames=5))
    assert stream.live and stream.count == 5
    assert frame_numbers(list(stream)) == [0, 1, 2, 3, 4]
    assert InputStream("/dev/video93").live
    (gone,) = InputStream(Camera(93))
    assert gone.name == "camera 93" and isinstance(gone.content, ImageError)
