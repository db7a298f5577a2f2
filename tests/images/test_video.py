"""Frames of videos: which they are, when they are, and what is said of files that are damaged or none."""

from __future__ import annotations

import math

import pytest
from videos import CODECS, make_video, number_in

from mxml.errors import ImageError
from mxml.images import video
from mxml.images.video import VideoInfo, camera_frames, video_frames, video_info


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return str(make_video(tmp_path_factory.mktemp("clip") / "clip.mp4"))


@pytest.mark.parametrize("suffix", CODECS)
def test_the_frames_of_every_kind_of_file(tmp_path, suffix):
    path = str(make_video(tmp_path / f"a{suffix}"))
    frames = list(video_frames(path, 1))
    assert [frame.number for frame in frames] == [number_in(frame.bgr) for frame in frames] == list(range(35))
    assert [frame.seconds for frame in frames] == pytest.approx([number / 10 for number in range(35)], abs=0.002)
    assert frames[0].bgr.shape == (48, 96, 3)
    assert video_info(path) == VideoInfo(96, 48, 10, 35)


def test_every_so_many_frames_or_one_of_each_second(clip):
    assert [frame.number for frame in video_frames(clip, 8)] == [0, 8, 16, 24, 32]
    assert [frame.number for frame in video_frames(clip)] == [0, 10, 20, 30]
    assert [number_in(frame.bgr) for frame in video_frames(clip)] == [0, 10, 20, 30]


@pytest.mark.parametrize(("fps", "numbers"), [(0.4, [0, 1, 2, 3]), (29.97, [0, 30, 60])])
def test_one_of_each_second_whatever_the_rate(tmp_path, fps, numbers):
    path = str(make_video(tmp_path / "a.avi", 4 if fps < 1 else 62, fps))
    assert [frame.number for frame in video_frames(path)] == numbers


@pytest.mark.parametrize("suffix", [".avi", ".mkv", ".webm"])
def test_of_a_video_that_is_cut_off_the_frames_before_count(tmp_path, suffix):
    path = make_video(tmp_path / f"a{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    frames = []
    with pytest.raises(ImageError, match=r"ends after (\d+) of about 35 frames; the file is cut off") as error:
        for frame in video_frames(str(path), 1):
            frames.append(number_in(frame.bgr))
    assert frames == list(range(len(frames))) and 5 < len(frames) < 32
    assert (error.value.path, error.value.kind) == (str(path), "truncated")


def test_a_video_without_its_table_of_frames_is_refused(tmp_path, capfd):
    path = make_video(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(ImageError, match="the video cannot be opened: it is cut off, damaged"):
        next(video_frames(str(path)))
    assert capfd.readouterr() == ("", ""), "FFmpeg says nothing of its own"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such file"),
        (b"", "the file is empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(500), "is not a video in a known format"),
        (b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "is not a video in a known format"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "is not a video in a known format"),
        (b"\x1a\x45\xdf\xa3" + bytes(5000), "the video cannot be opened"),
    ],
)
def test_what_is_no_video_is_not_opened(tmp_path, content, reason):
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)
    for read in (video_info, lambda path: next(video_frames(path))):
        with pytest.raises(ImageError) as error:
            read(str(path))
        assert error.value.reason.startswith(reason) and error.value.path == str(path)


def test_a_list_of_other_files_is_not_followed(tmp_path, clip):
    """FFmpeg would read both, whatever their names end in."""
    for text in (f"ffconcat version 1.0\nfile {clip}\n", f"#EXTM3U\n#EXTINF:3,\n{clip}\n#EXT-X-ENDLIST\n"):
        (tmp_path / "a.mp4").write_text(text)
        with pytest.raises(ImageError, match="is not a video in a known format"):
            video_info(str(tmp_path / "a.mp4"))


def test_frames_that_are_too_large_are_refused_by_the_header(clip, monkeypatch):
    monkeypatch.setattr(video, "_MOST_PIXELS", 96 * 48 - 1)
    with pytest.raises(ImageError, match="pixels, more than the 4,607 pixels allowed") as error:
        next(video_frames(clip))
    assert error.value.kind == "too_large"


class Header:
    """What OpenCV says of a video whose header is absurd, with frames that can be read."""

    def __init__(self, value):
        self.value = value
        self.left = 50

    def get(self, key):
        return 64.0 if key in (video.cv2.CAP_PROP_FRAME_WIDTH, video.cv2.CAP_PROP_FRAME_HEIGHT) else self.value

    def grab(self):
        self.left -= 1
        return self.left >= 0

    def retrieve(self):
        return True, video.np.zeros((64, 64, 3), "u1")

    def release(self):
        self.left = 0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, 0.0, 1e300])
def test_absurd_rates_times_and_counts_are_not_believed(monkeypatch, value):
    monkeypatch.setattr(video, "open_video", lambda path: Header(value))
    info = video_info("x.mp4")
    assert info.fps == 25 and (info.frames is None or info.frames <= 1 << 40)
    frames = list(video_frames("x.mp4", 5))
    assert [frame.number for frame in frames] == list(range(0, 50, 5))
    assert all(math.isfinite(frame.seconds) for frame in frames)
    assert [frame.seconds for frame in frames] == sorted(frame.seconds for frame in frames)


def test_a_camera_gives_all_frames_until_it_stops(clip):
    """A file stands for the camera, which no machine of tests has."""
    frames = []
    with pytest.raises(ImageError, match=r"clip\.mp4: gives no more frames after 35"):
        for frame in camera_frames(clip):
            frames.append(frame)
    assert [number_in(frame.bgr) for frame in frames] == list(range(35))
    assert frames[0].seconds <= frames[-1].seconds
    closed = camera_frames(clip, 3)
    assert [next(closed).number for _ in range(3)] == [0, 3, 6]
    closed.close()


def test_a_camera_that_is_not_there(capfd):
    with pytest.raises(ImageError, match=r"^camera 97: cannot be opened: there is none.*may not read /dev/video97$"):
        next(camera_frames(97))
    with pytest.raises(ImageError, match=r"^/dev/video97: cannot be opened"):
        next(camera_frames("/dev/video97"))
    assert capfd.readouterr() == ("", "")
