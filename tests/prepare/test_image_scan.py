from __future__ import annotations

import hashlib
import os
import threading

import numpy as np
import pytest
from PIL import Image

from mxml.data.image_list import ImageList
from mxml.images.decode import Limits
from mxml.prepare.image_scan import scan_images


def listed(names, root) -> ImageList:
    return ImageList.from_rows([str(name) for name in names], np.ones((len(names), 1)), root)


def picture(seed: int = 0, width: int = 90, height: int = 60) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


class Told:
    """Holds what a scan said of its progress."""

    total = done = 0

    def start(self, total: int, what: str, done: int = 0) -> None:
        self.total = total

    def advance(self, count: int = 1, detail: str = "") -> None:
        self.done += count

    def note(self, text: str) -> None:
        raise AssertionError(text)


COLUMNS = ("readable", "width", "height", "size", "animated", "digest", "phash", "colour")


def assert_same(scan, other):
    assert scan.faults == other.faults
    for column in COLUMNS:
        assert np.array_equal(getattr(scan, column), getattr(other, column)), column


def test_columns_say_what_the_files_are(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(0).save(tmp_path / "turned.jpg", exif=exif)
    picture(1).save(tmp_path / "b.png")
    picture(2).save(tmp_path / "c.webp")
    picture(3).save(tmp_path / "d.bmp")
    picture(4, 70, 300).save(tmp_path / "e.tiff")
    names = ["turned.jpg", "b.png", "c.webp", "d.bmp", "e.tiff"]
    scan = scan_images(listed(names, tmp_path))
    assert scan.faults == () and scan.readable.all() and len(scan) == 5
    assert scan.width.tolist() == [60, 90, 90, 90, 70]
    assert scan.height.tolist() == [90, 60, 60, 60, 300]
    assert scan.size.tolist() == [os.path.getsize(tmp_path / name) for name in names]
    for name, digest in zip(names, scan.digest):
        assert digest.tobytes() == hashlib.blake2b((tmp_path / name).read_bytes(), digest_size=16).digest()
    assert len({row.tobytes() for row in scan.phash}) == 5
    for name, colour in zip(names, scan.colour):
        with Image.open(tmp_path / name) as image:
            image.load()
            upright = image.transpose(Image.Transpose.ROTATE_270) if name == "turned.jpg" else image
            small = upright.resize((4, 4), Image.Resampling.BOX).convert("YCbCr")
            assert np.abs(np.asarray(small).reshape(16, 3).T.ravel().astype(int) - colour).max() <= 3, name
    assert not scan.animated.any()


def test_each_kind_of_fault(tmp_path):
    picture().save(tmp_path / "good.jpg")
    whole = (tmp_path / "good.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "folder.jpg").mkdir()
    picture().save(tmp_path / "moving.gif")
    picture(0, 400, 400).save(tmp_path / "wide.png")
    (tmp_path / "long.bmp").write_bytes(bytes(300_000))
    names = ["good.jpg", "cut.jpg", "gone.jpg", "empty.jpg", "text.jpg", "folder.jpg", "moving.gif", "good.jpg/x.jpg"]
    names += ["wide.png", "long.bmp"]
    scan = scan_images(listed(names, tmp_path), limits=Limits(max_pixels=100_000, max_bytes=200_000))
    kinds = {fault.position: fault.kind for fault in scan.faults}
    assert kinds == {
        1: "truncated",
        2: "missing",
        3: "empty",
        4: "unreadable",
        5: "unreadable",
        6: "unreadable",
        7: "missing",
        8: "too_large",
        9: "too_large",
    }
    reasons = {fault.position: fault.reason for fault in scan.faults}
    assert "GIF" in reasons[6] and "160,000" not in reasons[8] and "400 x 400" in reasons[8]
    assert "folder" in reasons[5] and str(tmp_path) not in "".join(reasons.values())
    assert scan.readable.tolist() == [True] + [False] * 9
    assert scan.size[:4].tolist() == [len(whole), len(whole) // 2, 0, 0]
    assert not any(getattr(scan, column)[1:].any() for column in ("width", "phash", "colour", "digest"))


def test_animations_are_marked(tmp_path):
    frames = [picture(seed) for seed in range(3)]
    for name in ("moving.webp", "moving.png", "pages.tiff"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        frames[0].save(tmp_path / f"still_{name}")
    names = ["moving.webp", "still_moving.webp", "moving.png", "still_moving.png", "pages.tiff", "still_pages.tiff"]
    scan = scan_images(listed(names, tmp_path))
    assert scan.readable.all()
    assert scan.animated.tolist() == [True, False] * 3


def test_an_image_that_is_listed_often_is_read_once(tmp_path, monkeypatch):
    picture(0).save(tmp_path / "a.png")
    picture(1).save(tmp_path / "b.png")
    names = ["b.png", "gone.png", "a.png", "b.png", "gone.png", "b.png"]
    opened = []
    real = os.open

    def recorded(path, *rest):
        opened.append(path)
        return real(path, *rest)

    monkeypatch.setattr(os, "open", recorded)
    told = Told()
    scan = scan_images(listed(names, tmp_path), threads=1, progress=told)
    assert sorted(map(os.path.basename, opened)) == ["a.png", "b.png", "gone.png"]
    assert (told.total, told.done) == (6, 6)
    assert scan.readable.tolist() == [True, False, True, True, False, True]
    assert [fault.position for fault in scan.faults] == [1, 4]
    assert np.array_equal(scan.phash[0], scan.phash[5]) and not np.array_equal(scan.phash[0], scan.phash[2])


def test_threads_change_nothing(tmp_path):
    for seed in range(150):
        picture(seed, 20, 17).save(tmp_path / f"{seed}.png")
    names = [f"{number}.png" for number in range(300)]
    alone, together = (scan_images(listed(names, tmp_path), threads=threads) for threads in (1, 5))
    assert [fault.position for fault in alone.faults] == list(range(150, 300))
    assert_same(alone, together)
    assert_same(alone.select(np.arange(300)), alone)


def test_select_takes_faults_along(tmp_path):
    picture().save(tmp_path / "a.png")
    scan = scan_images(listed(["a.png", "gone.png"], tmp_path)).select([1, 0, 1])
    assert [(fault.position, fault.kind) for fault in scan.faults] == [(0, "missing"), (2, "missing")]
    assert scan.readable.tolist() == [False, True, False]


def test_jpegs_that_decode_with_damage_are_named(tmp_path, shared):
    whole = (shared / "data/miml-scene/images/1.jpg").read_bytes()
    (tmp_path / "whole.jpg").write_bytes(whole)
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2] + b"\xff\xd9")
    (tmp_path / "hole.jpg").write_bytes(whole[: len(whole) // 2] + whole[len(whole) // 2 + 200 :])
    Image.open(tmp_path / "whole.jpg").convert("CMYK").save(tmp_path / "print.jpg")
    printed = (tmp_path / "print.jpg").read_bytes()
    (tmp_path / "hole_in_print.jpg").write_bytes(printed[: len(printed) // 2] + printed[len(printed) // 2 + 200 :])
    Image.open(tmp_path / "whole.jpg").convert("L").save(tmp_path / "grey.jpg", progressive=True)
    names = ["whole.jpg", "half.jpg", "hole.jpg", "print.jpg", "grey.jpg", "hole_in_print.jpg"]
    scan = scan_images(listed(names, tmp_path))
    assert [(fault.position, fault.kind) for fault in scan.faults] == [(1, "truncated")]
    assert [(damage.position, damage.kind) for damage in scan.damages] == [(2, "damaged"), (5, "damaged")]
    assert scan.damages[0].reason.startswith("Corrupt JPEG data: ")
    assert [damage.position for damage in scan.select([2, 0, 2]).damages] == [0, 2]


def test_an_interrupt_ends_it_and_its_threads(tmp_path):
    picture(0, 30, 30).save(tmp_path / "a.png")
    for number in range(2000):
        os.link(tmp_path / "a.png", tmp_path / f"{number}.png")

    class Interrupted(Told):
        def advance(self, count: int = 1, detail: str = "") -> None:
            super().advance(count)
            raise KeyboardInterrupt

    told = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        scan_images(listed([f"{number}.png" for number in range(2000)], tmp_path), progress=told)
    assert 0 < told.done < told.total
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mxml-scan")]


def test_photographs_are_all_readable(shared):
    folder = shared / "data" / "miml-scene" / "images"
    names = sorted(path.name for path in folder.iterdir())[::8]
    scan = scan_images(listed(names, folder))
    assert scan.readable.all() and scan.phash.any(axis=1).all()
    for name, width, height in zip(names, scan.width, scan.height):
        with Image.open(folder / name) as image:
            assert image.size == (width, height)
