from __future__ import annotations

import io

import jpegs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mxml.data.batches import Batches
from mxml.data.image_list import ImageList
from mxml.data.image_sources import ImageFiles
from mxml.data.image_stream import StreamItem, stream_batches
from mxml.errors import ImageError
from mxml.images.decode import Limits, decode, decode_reduced, read_header
from mxml.images.jpeg import turbojpeg_decodes
from mxml.images.transforms import preset
from mxml.runtime.imports import load_cv2

cv2 = load_cv2()

OPENCV_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def by_opencv(data: bytes, reduction: int = 1) -> np.ndarray:
    """Decode by OpenCV alone, sides rounded down."""
    flags = OPENCV_FLAGS[reduction] | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    header = read_header(data)
    return image[: max(1, header.height // reduction), : max(1, header.width // reduction)]


@pytest.fixture(scope="module")
def photo(shared) -> np.ndarray:
    """(H, W, 3) BGR."""
    return cv2.imread(str(shared / "data" / "photos" / "dog_0.jpg"))


@settings(max_examples=300, deadline=None)
@given(
    width=st.integers(1, 150),
    height=st.integers(1, 150),
    left=st.integers(0, 200),
    sampling=st.sampled_from([*jpegs.SAMPLINGS, "grey"]),
    progressive=st.booleans(),
    quality=st.integers(1, 100),
    restart=st.integers(0, 3),
    reduction=st.sampled_from([1, 2, 4, 8]),
)
def test_both_decoders_give_the_same_pixels(
    photo, width, height, left, sampling, progressive, quality, restart, reduction
):
    part = np.ascontiguousarray(photo[left : left + height, left : left + width])
    if sampling == "grey":
        file = io.BytesIO()
        Image.fromarray(part[:, :, 0]).save(file, "JPEG", quality=quality, progressive=progressive)
        data = file.getvalue()
    else:
        data = jpegs.encoded(part, sampling, progressive=progressive, quality=quality, restart=restart)
    assert turbojpeg_decodes(read_header(data), 1)
    assert turbojpeg_decodes(read_header(data), reduction) or max(width, height) < 16
    decoded = decode_reduced(data, lambda *_: reduction)
    assert decoded.damage is None
    assert np.array_equal(decoded.bgr, by_opencv(data, reduction))


def test_other_kinds_are_left_to_opencv(photo):
    colours = Image.fromarray(photo[:50, :70, ::-1])
    grey = jpegs.encoded(np.full((8, 24, 3), 128, np.uint8), "4:4:4")
    frame = grey.index(b"\xff\xc0")
    files = {"CMYK": io.BytesIO(), "CMYK, progressive": io.BytesIO()}
    colours.convert("CMYK").save(files["CMYK"], "JPEG")
    colours.convert("CMYK").save(files["CMYK, progressive"], "JPEG", progressive=True)
    samples = {name: file.getvalue() for name, file in files.items()}
    for name, data in samples.items():
        assert not turbojpeg_decodes(read_header(data), 1), name
        assert np.array_equal(decode(data, channels="bgr"), by_opencv(data)), name
    for at, value in ((1, 0xC9), (1, 0xC3), (11, 0x31), (14, 0x21), (11, 0x14)):
        changed = bytearray(grey)
        changed[frame + at] = value
        assert not turbojpeg_decodes(read_header(bytes(changed)), 1), (at, value)


@pytest.mark.parametrize("kind", ["baseline", "progressive", "restarts", "grey", "CMYK", "CMYK, progressive"])
@pytest.mark.parametrize("reduction", [1, 8])
def test_a_jpeg_that_was_cut_off_and_closed_is_truncated(photo, kind, reduction):
    part = np.ascontiguousarray(photo[:300, :400])
    file = io.BytesIO()
    if kind == "grey":
        Image.fromarray(part[:, :, 0]).save(file, "JPEG", quality=90)
    elif kind.startswith("CMYK"):
        Image.fromarray(part).convert("CMYK").save(file, "JPEG", progressive="progressive" in kind)
    else:
        file.write(jpegs.encoded(part, progressive=kind == "progressive", restart=int(kind == "restarts")))
    data = file.getvalue()
    decode(data, reduction=reduction)
    first, last = jpegs.scans(data)[0] + 20, len(data) - len(data) // 4
    if "progressive" in kind:  # in its last scan, only some coefficients' last bit is missing
        last = jpegs.scans(data)[-1]
    for length in np.linspace(first, last, 12).astype(int).tolist():
        whole = data[:length].rstrip(b"\xff")
        with pytest.raises(ImageError, match=r"a\.jpg: the JPEG file is cut off: ") as caught:
            decode(whole + b"\xff\xd9", reduction=reduction, path="a.jpg")
        assert caught.value.kind == "truncated"


def filled(data: bytes, kept: float, first: int, byte: bytes = b"\0") -> bytes:
    """Keep a share of the bytes from ``first`` on; the rest, up to the end marker, becomes another byte."""
    length = first + int((len(data) - 2 - first) * kept)
    return data[:length] + byte * (len(data) - 2 - length) + b"\xff\xd9"


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("byte", [b"\0", b"\x55"])
@pytest.mark.parametrize("reduction", [1, 8])
def test_a_jpeg_whose_rest_is_filling_is_truncated(shared, kept, byte, reduction):
    """A download into a file of full length that was interrupted, then closed."""
    photos = {path.name: path.read_bytes() for path in (shared / "data/photos").glob("*.jpg")}
    photos = {name: data for name, data in photos.items() if len(jpegs.scans(data)) == 1}
    assert len(photos) > 10
    for name, data in photos.items():
        first = jpegs.scans(data)[-1] + 20  # before it, there may be a thumbnail's
        with pytest.raises(ImageError, match="cut off") as caught:
            decode(filled(data, kept, first, byte), reduction=reduction, path=name)
        assert caught.value.kind == "truncated"


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("markers", [10, 2000])
@pytest.mark.parametrize("fill", [b"", b"\xff"])
def test_restart_markers_do_not_stand_for_data(photo, kept, markers, fill):
    data = jpegs.encoded(np.ascontiguousarray(photo[:300, :400]), restart=1)
    assert decode_reduced(data, lambda *_: 1).damage is None
    cut = data[: int(len(data) * kept)].rstrip(b"\xff")
    cut += b"".join(bytes((0xFF, 0xD0 + position % 8)) + fill for position in range(markers))
    with pytest.raises(ImageError, match="cut off") as caught:
        decode(cut + b"\xff\xd9")
    assert caught.value.kind == "truncated"


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_a_progressive_jpeg_cut_off_in_its_last_scan_is_truncated(photo, kept):
    data = jpegs.encoded(np.ascontiguousarray(photo[:300, :400]), progressive=True)
    first = jpegs.scans(data)[-1] + 20
    cut = data[: first + int((len(data) - first) * kept)].rstrip(b"\xff") + b"\xff\xd9"
    for damaged in (cut, filled(data, kept, first)):
        with pytest.raises(ImageError, match="cut off") as caught:
            decode(damaged)
        assert caught.value.kind == "truncated"


@pytest.mark.parametrize("coding", ["baseline", "CMYK"])
def test_filling_is_noticed_in_colours_that_only_opencv_decodes_and_below_plain_rows(photo, coding):
    page = np.full((400, 400, 3), 255, np.uint8)
    page[:200] = photo[:200, :400]
    file = io.BytesIO()
    Image.fromarray(page).convert("CMYK" if coding == "CMYK" else "RGB").save(file, "JPEG", quality=90, optimize=True)
    data = file.getvalue()
    for kept in (0.3, 0.6):
        with pytest.raises(ImageError, match="cut off") as caught:
            decode(filled(data, kept, jpegs.scans(data)[0] + 20))
        assert caught.value.kind == "truncated"


@pytest.mark.parametrize("byte", [b"\0", b"\x55", b"\xff"])
@pytest.mark.parametrize("progressive", [False, True])
def test_filling_behind_a_whole_picture_is_harmless(photo, byte, progressive):
    data = jpegs.encoded(np.ascontiguousarray(photo[:300, :400]), progressive=progressive)
    padded = data[:-2] + byte * 20_000 + data[-2:]
    assert np.array_equal(decode(padded), decode(data))
    assert np.array_equal(decode(data + byte * 20_000 + data[-2:]), decode(data))


def test_zeros_that_code_a_plain_lower_end_are_no_filling(photo):
    for width in range(100, 200):
        page = np.full((1200, 800, 3), 255, np.uint8)
        page[:100, :width] = photo[:100, :width]
        file = io.BytesIO()
        Image.fromarray(page).save(file, "JPEG", quality=90, optimize=True)
        data = file.getvalue()
        zeros = len(data) - 2 - len(data[:-2].rstrip(b"\0"))
        if zeros > len(data) // 2:  # of most, the last byte ends in ones
            break
    else:
        pytest.fail("no picture ends in zeros")
    first = jpegs.scans(data)[0] + 20
    told = truncated = 0
    for position in range(first, len(data) - 2 - zeros, 20):
        damaged = bytearray(data)
        damaged[position] ^= 0x41
        try:
            told += decode_reduced(bytes(damaged), lambda *_: 1).damage is not None
        except ImageError:
            truncated += 1
    assert told > 10
    assert truncated <= 4


@pytest.mark.parametrize("kind", ["baseline", "progressive", "restarts"])
def test_a_wrong_byte_truncates_nothing(photo, kind):
    data = jpegs.encoded(
        np.ascontiguousarray(photo[:300, :400]), progressive=kind == "progressive", restart=int(kind == "restarts")
    )
    random = np.random.default_rng(1)
    first = jpegs.scans(data)[-1] + 20
    truncated = told = 0
    for position in random.integers(first, len(data) - 2, 200).tolist():
        damaged = bytearray(data)
        damaged[position] ^= int(random.integers(1, 256))
        try:
            told += decode_reduced(bytes(damaged), lambda *_: 1).damage is not None
        except ImageError:
            truncated += 1
    assert told > 10
    assert truncated <= 4  # some make an end marker


def test_training_and_prediction_take_no_jpeg_that_was_cut_off_and_closed(tmp_path, shared):
    whole = (shared / "data/miml-scene/images/1.jpg").read_bytes()
    (tmp_path / "whole.jpg").write_bytes(whole)
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2] + b"\xff\xd9")
    images = ImageList.from_rows(["whole.jpg", "half.jpg"], np.ones((2, 1)), tmp_path)
    with (
        Batches(ImageFiles(images), preset("original", 32), 2, bad_images="error") as batches,
        pytest.raises(ImageError, match=r"half\.jpg: the JPEG file is cut off"),
    ):
        batches.next()
    (batch,) = stream_batches([StreamItem(images.path(position)) for position in (0, 1)], preset("original", 32), 2)
    assert [fault and fault.kind for fault in batch.faults] == [None, "truncated"]


def test_each_missing_scan_of_a_progressive_jpeg_is_noticed(photo):
    data = jpegs.encoded(photo[:100, :100], progressive=True)
    starts = jpegs.scans(data)
    coding = read_header(data).jpeg
    assert coding and coding.scans == len(starts) > 5
    for start in starts[1:]:
        with pytest.raises(ImageError, match="its last scans are missing") as caught:
            decode(data[:start] + b"\xff\xd9")
        assert caught.value.kind == "truncated"


def test_damage_inside_is_told_and_decodes_as_with_opencv(photo):
    data = jpegs.encoded(np.ascontiguousarray(photo[:300, :400]))
    middle = len(data) // 2
    told = []
    for hole in (50, 100, 200, 300, 400):  # with some, the rest happens to make sense
        damaged = data[:middle] + data[middle + hole :]
        decoded = decode_reduced(damaged, lambda *_: 1)
        assert np.array_equal(decoded.bgr, by_opencv(damaged))
        told.append(decoded.damage)
    assert "Corrupt JPEG data: premature end of data segment" in told
    assert decode_reduced(data, lambda *_: 1).damage is None


def test_damage_is_not_printed(photo, capfd):
    data = jpegs.encoded(np.ascontiguousarray(photo[:300, :400]))
    damages = [
        decode_reduced(data[:20_000] + data[20_000 + hole :], lambda *_: 1).damage for hole in range(50, 500, 50)
    ]
    assert any(damages)
    assert capfd.readouterr() == ("", "")


def test_a_jpeg_of_very_many_scans_is_refused():
    for data in (jpegs.of_many_scans(512, 60_000), jpegs.of_many_scans(64, 60_000, progressive=False)):
        with pytest.raises(ImageError, match="more than the 100 scans allowed") as caught:
            read_header(data)
        assert caught.value.kind == "too_large"
    for data in (jpegs.of_many_scans(64, 99), jpegs.of_many_scans(64, 98, progressive=False)):
        coding = read_header(data).jpeg
        assert coding and coding.scans == (100 if b"\xff\xc2" in data else 99)
        assert np.array_equal(decode(data), np.full((64, 64, 3), 128, np.uint8))


def test_many_scans_of_a_large_picture_are_refused():
    data = jpegs.of_many_scans(1024, 30)
    assert decode(data, reduction=8).shape == (128, 128, 3)
    with pytest.raises(ImageError, match="1,024 x 1,024 pixels in 31 scans, too many for a picture so large") as caught:
        decode(data, reduction=8, limits=Limits(max_pixels=1024 * 1024))
    assert caught.value.kind == "too_large"
    assert decode(jpegs.of_many_scans(1024, 20), limits=Limits(max_pixels=1024 * 1024)).shape == (1024, 1024, 3)


def test_a_scan_whose_header_lies_beyond_the_end_is_truncated(photo):
    data = jpegs.encoded(photo[:100, :100], progressive=True)
    with pytest.raises(ImageError, match="cut off inside its header") as caught:
        decode(data[:-2] + b"\xff\xda\0\x0c\xff\xd9", path="a.jpg")
    assert caught.value.kind == "truncated"


@pytest.mark.parametrize("filling", [b"\xff\x01", b"\xff\xd0", b"\xff\xfe\0\2"])
def test_segments_without_end_are_refused(photo, filling):
    data = jpegs.encoded(photo[:20, :20])
    assert decode(data[:2] + filling * 1000 + data[2:]).shape == (20, 20, 3)
    with pytest.raises(ImageError, match="more than 65,536 segments"):
        read_header(data[:2] + filling * 70_000 + data[2:])
    progressive = jpegs.encoded(photo[:20, :20], progressive=True)
    with pytest.raises(ImageError, match="more than 65,536 segments"):
        read_header(progressive[:-2] + b"\xff\xfe\0\2" + filling * 70_000 + b"\xff\xd9")


def test_headers_of_progressive_pictures_count_their_coefficients(photo):
    part = np.ascontiguousarray(photo[:64, :64])
    for sampling, samples in (("4:4:4", 3), ("4:2:0", 1.5), ("4:1:1", 1.5), ("4:2:2", 2)):
        assert read_header(jpegs.encoded(part, sampling, progressive=True)).scratch == 2 * samples * 64 * 64
        assert read_header(jpegs.encoded(part, sampling)).scratch == 0
