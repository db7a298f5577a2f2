from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from mxml.errors import ImageError
from mxml.images.decode import Limits, decode, decode_reduced, load, read_header
from mxml.runtime.imports import load_cv2

cv2 = load_cv2()


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """60 x 40 RGB, smooth, no two corners alike, so that any turn or swap of channels shows."""
    rows, columns = np.mgrid[0:40, 0:60]
    planes = [200 - 3 * columns, 30 + 5 * rows, 40 + columns + rows]
    return np.stack(planes, axis=2).clip(0, 255).astype(np.uint8)


def encode(picture: np.ndarray, extension: str, *flags: int) -> bytes:
    bgr = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return cv2.imencode(extension, bgr, flags)[1].tobytes()


def exif(orientation: int, order: str = "<") -> bytes:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, bits: int, colour: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)), *chunks]
    parts += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, content) for kind, content in parts)


def with_orientation(data: bytes, orientation: int) -> bytes:
    if data.startswith(b"\xff\xd8"):
        block = b"Exif\0\0" + exif(orientation, ">")
        return data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]
    if data.startswith(b"\x89PNG"):
        return data[:33] + png_chunk(b"eXIf", exif(orientation)) + data[33:]
    side = struct.unpack_from("<I", data, 21)[0]
    width, height = side & 0x3FFF, side >> 14 & 0x3FFF
    extended = struct.pack("<I", 8) + width.to_bytes(3, "little") + height.to_bytes(3, "little")
    body = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + extended + data[12:]
    body += b"EXIF" + struct.pack("<I", len(exif(orientation))) + exif(orientation)
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("extension", [".png", ".bmp", ".tiff", ".webp"])
def test_lossless_formats_come_back_exactly(picture, extension):
    data = encode(picture, extension, *((cv2.IMWRITE_WEBP_QUALITY, 101) if extension == ".webp" else ()))
    assert np.array_equal(decode(data), picture)
    assert np.array_equal(decode(data, channels="bgr"), picture[:, :, ::-1])


def test_jpeg_comes_back_nearly(picture):
    assert np.abs(decode(encode(picture, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 98)).astype(int) - picture).max() <= 6


# What a viewer shows, by EXIF 2.32's table of orientations, written with NumPy alone.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp"])
def test_orientation_is_applied(picture, extension, orientation):
    flags = (cv2.IMWRITE_WEBP_QUALITY, 101) if extension == ".webp" else ()
    plain = encode(picture, extension, *flags)
    turned = with_orientation(plain, orientation)
    expected = UPRIGHT[orientation](decode(plain))
    assert np.array_equal(decode(turned), expected)
    assert read_header(turned).shown_size == (expected.shape[1], expected.shape[0])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_orientation_of_tiff_is_applied(picture, orientation, dtype):
    data = bytearray(encode(picture.astype(dtype) * (257 if dtype == np.uint16 else 1), ".tiff"))
    offset = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, offset)[0]
    entries = [bytes(data[offset + 2 + 12 * i : offset + 14 + 12 * i]) for i in range(count)]
    entries = [entry for entry in entries if entry[:2] != struct.pack("<H", 274)]
    entries.append(struct.pack("<HHIHH", 274, 3, 1, orientation, 0))
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry)[0])
    struct.pack_into("<I", data, 4, len(data))
    data += struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    assert np.array_equal(decode(bytes(data)), UPRIGHT[orientation](picture))


def test_grey_and_palette_and_sixteen_bits_become_rgb(picture):
    grey = picture[:, :, 0]
    grey_as_rgb = np.repeat(grey[:, :, None], 3, axis=2)
    for extension in (".png", ".bmp", ".tiff"):
        assert np.array_equal(decode(encode(grey, extension)), grey_as_rgb)
    deep = picture.astype(np.uint16) * 256 + 77
    for extension in (".png", ".tiff"):
        assert np.array_equal(decode(encode(deep, extension)), picture)
        assert np.array_equal(decode(encode(deep[:, :, 0], extension)), grey_as_rgb)
    palette = bytes([255, 0, 0, 0, 0, 255])
    data = png(2, 1, 8, 3, b"\0\0\1", (b"PLTE", palette))
    assert decode(data).tolist() == [[[255, 0, 0], [0, 0, 255]]]


def test_transparent_pixels_lie_over_white(picture):
    alpha = np.full((40, 60, 1), 255, np.uint8)
    alpha[0, :3] = [[0], [51], [102]]
    data = cv2.imencode(".png", np.dstack([picture[:, :, ::-1], alpha]))[1].tobytes()
    image = decode(data)
    assert image[0, 0].tolist() == [255, 255, 255]
    assert np.abs(image[0, 1] - (picture[0, 1] * 0.2 + 255 * 0.8)).max() < 1
    assert np.abs(image[0, 2] - (picture[0, 2] * 0.4 + 255 * 0.6)).max() < 1
    assert np.array_equal(image[1:], picture[1:])
    grey_and_alpha = png(2, 1, 8, 4, b"\0\x64\xff\x64\x00")
    assert decode(grey_and_alpha).tolist() == [[[100] * 3, [255] * 3]]
    palette = png(2, 1, 8, 3, b"\0\0\1", (b"PLTE", bytes([255, 0, 0, 0, 0, 255])), (b"tRNS", b"\xff\0"))
    assert decode(palette).tolist() == [[[255, 0, 0], [255, 255, 255]]]


def test_cmyk_jpeg_and_other_pillow_files(picture):
    source = Image.fromarray(picture)

    def saved(picture, format, **options) -> bytes:
        file = io.BytesIO()
        picture.save(file, format, **options)
        return file.getvalue()

    cmyk = saved(source.convert("CMYK"), "JPEG", quality=98)
    assert np.abs(decode(cmyk).astype(int) - np.asarray(Image.open(io.BytesIO(cmyk)).convert("RGB"))).max() <= 2
    turned = source.rotate(180)
    for data in (
        saved(source, "WEBP", lossless=True, save_all=True, append_images=[turned]),
        saved(source, "PNG", save_all=True, append_images=[turned]),
        saved(source, "TIFF", save_all=True, append_images=[turned]),
        saved(source, "TIFF", compression="tiff_lzw"),
        saved(source, "TIFF", big_tiff=True),
    ):
        assert np.array_equal(decode(data), picture)


def test_real_photographs_decode_as_opencv_decodes_them(shared):
    for path in sorted((shared / "data" / "photos").iterdir())[:12]:
        assert np.array_equal(load(path, channels="bgr"), cv2.imread(str(path))), path


@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_reduced_images_are_smaller_averages(shared, reduction):
    path = shared / "data" / "photos" / "dog_0.jpg"
    data = path.read_bytes()
    full = load(path)
    reduced = decode(data, reduction=reduction)
    assert reduced.shape[:2] == tuple(side // reduction for side in full.shape[:2])
    as_png = decode(encode(full, ".png"), reduction=reduction)
    assert as_png.shape == reduced.shape
    rows, columns = (side // reduction * reduction for side in full.shape[:2])
    blocks = full[:rows, :columns].reshape(rows // reduction, reduction, columns // reduction, reduction, 3)
    mean = blocks.mean(axis=(1, 3))
    assert np.abs(as_png - mean).max() <= 0.5
    assert np.abs(reduced - mean).mean() < 2.5


@pytest.mark.parametrize("extension", [".jpg", ".png", ".bmp", ".tiff", ".webp"])
def test_every_truncation_is_noticed(picture, extension):
    data = encode(picture, extension)
    for length in range(len(data)):
        if extension == ".png" and length >= len(data) - 4:
            continue  # only IEND's own checksum is missing
        with pytest.raises(ImageError, match="some name") as caught:
            decode(data[:length], path="some name")
        assert caught.value.kind == "truncated" or length < 12  # fewer bytes don't tell a format


def test_truncation_after_a_thumbnail_is_noticed(picture):
    thumbnail = encode(picture[:8, :8], ".jpg")
    block = b"Exif\0\0" + thumbnail
    data = encode(picture, ".jpg")
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]
    assert decode(data).shape == (40, 60, 3)
    with pytest.raises(ImageError, match="end marker is missing"):
        decode(data[:-30])


@pytest.mark.parametrize("extension", [".jpg", ".png", ".bmp", ".tiff", ".webp"])
@pytest.mark.parametrize("rest", [b"\0" * 4096, b"\n", b"camera maker's own data" * 100])
def test_what_follows_the_end_is_no_fault(picture, extension, rest):
    data = encode(picture, extension)
    assert np.array_equal(decode(data + rest), decode(data))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>404</html>", "web page"),
        (b"\n  <html><body>not found", "web page"),
        (b"GIF89a" + bytes(40), "unsupported format .GIF."),
        (b"\0\0\0\x20ftypheic" + bytes(40), "HEIC"),
        (b"\0\0\0\x20ftypavif" + bytes(40), "AVIF"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (bytes(5000), "zeros"),
        (b"hello there", "not an image"),
        (b"\xff\xd8\xff\xd9", "cut off|no picture"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "not an image"),
    ],
)
def test_other_files_are_called_what_they_are(data, reason):
    with pytest.raises(ImageError, match=reason) as caught:
        decode(data, path="a/b.jpg")
    assert caught.value.path == "a/b.jpg"
    assert "\n" not in str(caught.value)


def test_a_jpeg_with_rare_subsampling_is_not_damaged():
    grey = np.full((8, 24, 3), 128, np.uint8)
    data = bytearray(encode(grey, ".jpg", cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444))
    data[data.index(b"\xff\xc0") + 11] = 0x31  # luma three times as wide as colour
    scan = data.index(b"\xff\xda")
    start = scan + 2 + int.from_bytes(data[scan + 2 : scan + 4], "big")
    # By the standard's Huffman codes: three empty blocks of luma (00 1010 each), two of colour (00 00 each), padding.
    data[start:] = b"\x28\xa2\x80\x3f\xff\xd9"
    assert np.array_equal(decode(bytes(data)), grey)
    assert decode_reduced(bytes(data), lambda *_: 1).damage is None


def test_damaged_pixels_are_an_error(picture):
    data = bytearray(encode(picture, ".png"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(ImageError, match="damaged") as caught:
        decode(bytes(data))
    assert caught.value.kind == "unreadable"


def pillow_file(format: str, frames: list[np.ndarray], **options) -> bytes:
    file = io.BytesIO()
    first, *rest = map(Image.fromarray, frames)
    first.save(file, format, save_all=True, append_images=rest, **options)
    return file.getvalue()


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_more_than_one_picture_is_told(picture, format):
    frames = [picture, picture[::-1].copy(), picture[:, ::-1].copy()]
    several, one = pillow_file(format, frames, lossless=True), pillow_file(format, frames[:1], lossless=True)
    assert read_header(several).animated and not read_header(one).animated
    assert np.array_equal(decode(several), picture)


def test_small_copies_and_masks_in_a_tiff_are_no_pages(picture):
    data = bytearray(pillow_file("TIFF", [picture, picture[::2, ::2].copy()], tiffinfo={254: 0}))
    assert read_header(bytes(data)).animated
    entry = struct.pack("<HHII", 254, 4, 1, 0)
    second = data.rindex(entry)
    for use, animated in ((1, False), (4, False), (2, True)):
        data[second + 8] = use
        assert read_header(bytes(data)).animated is animated


def test_limits_hold_before_anything_is_decoded():
    bomb = png(60_000, 60_000, 8, 2, b"")
    with pytest.raises(ImageError, match=r"60,000 x 60,000 pixels, more than the 178,956,970") as caught:
        decode(bomb)
    assert caught.value.kind == "too_large"
    with pytest.raises(ImageError, match="no side may have more than 65,500"):
        decode(png(70_000, 1, 8, 2, b""))
    small = png(3, 2, 8, 0, bytes(8))
    assert decode(small, limits=Limits(max_pixels=6)).shape == (2, 3, 3)
    with pytest.raises(ImageError, match="3 x 2 pixels, more than the 5"):
        decode(small, limits=Limits(max_pixels=5))
    with pytest.raises(ImageError, match="0x2 pixels"):
        decode(png(0, 2, 8, 2, b""))


def with_tiff_tags(data: bytes, *, lies: dict[int, int], kind: int = 4) -> bytes:
    """Put a second entry with another value behind each tag in ``lies``; the first gets the type ``kind``."""
    start = struct.unpack_from("<I", data, 4)[0]
    entries = []
    for i in range(struct.unpack_from("<H", data, start)[0]):
        tag, _, count, value = struct.unpack_from("<HHII", data, start + 2 + 12 * i)
        if tag in lies:
            entries += [struct.pack("<HHII", tag, kind, count, value), struct.pack("<HHII", tag, 4, 1, lies[tag])]
        else:
            entries.append(data[start + 2 + 12 * i : start + 14 + 12 * i])
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + directory


def test_limits_hold_for_headers_that_give_two_sizes(picture):
    small = Limits(max_pixels=100)
    tiff = encode(picture, ".tiff")
    assert read_header(with_tiff_tags(tiff, lies={256: 9, 257: 9})).shown_size == (60, 40)
    for kind in (4, 9):  # unsigned, and signed, which libtiff takes as well
        with pytest.raises(ImageError, match=r"pixels allowed|lacks the size"):
            decode(with_tiff_tags(tiff, lies={256: 9, 257: 9}, kind=kind), limits=small)
    webp = encode(picture, ".webp") + b"VP8X" + struct.pack("<II", 10, 0) + bytes([8, 0, 0, 8, 0, 0])
    with pytest.raises(ImageError, match="60 x 40 pixels, more than the 100"):
        decode(webp[:4] + struct.pack("<I", len(webp) - 8) + webp[8:], limits=small)


def test_what_a_tiff_directory_claims_costs_nothing():
    body = bytes(200_000)
    entries = b"".join(struct.pack("<HHII", tag, 1, len(body), 8) for tag in range(1000, 3000))
    head = b"II*\0" + struct.pack("<I", 8 + len(body))
    tracemalloc.start()
    with pytest.raises(ImageError, match="lacks the size"):
        read_header(head + body + struct.pack("<H", 2000) + entries + bytes(4))
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    tiled = {256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 277: 1, 322: 16_000, 323: 16_000, 324: 8, 325: 256}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tiled.items())
    with pytest.raises(ImageError, match="claims tiles of 256,000,000 pixels, many times its picture"):
        decode(b"II*\0" + struct.pack("<I", 264) + bytes(256) + struct.pack("<H", 10) + entries + bytes(4))
    many = struct.pack("<HHII", 258, 1, 1 << 21, 8)
    with pytest.raises(ImageError, match="claims 2,097,152 values"):
        read_header(b"II*\0" + struct.pack("<I", 8 + (1 << 21)) + bytes(1 << 21) + b"\1\0" + many + bytes(4))


def test_one_tile_that_a_narrow_tiff_repeats_costs_nothing():
    """A line of 65,500 pixels in tiles of 16 x 1,048,576, all of them the same 16 KB of the file: minutes to unpack."""
    width, across, down = 65_500, 16, 1 << 20
    count = -(-width // across)
    tile = zlib.compress(bytes(across * down), 9)
    places = struct.pack(f"<{count}I", *[8] * count) + struct.pack(f"<{count}I", *[len(tile)] * count)
    start = 8 + len(tile)
    tags = {256: (1, width), 257: (1, 1), 258: (1, 8), 259: (1, 8), 262: (1, 1), 277: (1, 1), 322: (1, across)}
    tags.update({323: (1, down), 324: (count, start), 325: (count, start + 4 * count)})
    entries = b"".join(struct.pack("<HHII", tag, 4, values, value) for tag, (values, value) in tags.items())
    data = b"II*\0" + struct.pack("<I", start + len(places)) + tile + places
    with pytest.raises(ImageError, match=r"claims tiles of 68,[\d,]+ pixels, many times its picture"):
        decode(data + struct.pack("<H", len(tags)) + entries + bytes(4))


@pytest.mark.parametrize("place", [1 << 40, 1 << 63, (1 << 64) - 1])
def test_a_big_tiff_may_point_anywhere(picture, place):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "TIFF", big_tiff=True)
    data = bytearray(file.getvalue())
    directory = struct.unpack_from("<Q", data, 8)[0]
    count = struct.unpack_from("<Q", data, directory)[0]
    struct.pack_into("<Q", data, directory + 8 + 20 * count, place)
    assert not read_header(bytes(data)).animated
    struct.pack_into("<Q", data, 8, place)
    with pytest.raises(ImageError, match="cut off inside its header"):
        read_header(bytes(data))


def test_files_that_cannot_be_read_are_named(tmp_path, picture):
    whole = tmp_path / "gänse 1.jpg"
    whole.write_bytes(encode(picture, ".jpg"))
    assert load(whole).shape == (40, 60, 3)
    with pytest.raises(ImageError, match=r"gänse 1\.jpg: holds [\d,]+ bytes, more than the 100 allowed") as caught:
        load(whole, limits=Limits(max_bytes=100))
    assert caught.value.kind == "too_large"
    for missing in (tmp_path / "none.jpg", whole / "none.jpg"):
        with pytest.raises(ImageError, match=r"none\.jpg: no such file") as caught:
            load(missing)
        assert caught.value.kind == "missing"
    with pytest.raises(ImageError, match="is a folder, not an image"):
        load(tmp_path)
    with pytest.raises(ImageError, match="file name"):
        load("a\0b")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageError, match="not a regular file"):
        load(tmp_path / "pipe")


def test_random_damage_never_crashes(picture):
    random = np.random.default_rng(0)
    for extension in (".jpg", ".png", ".bmp", ".tiff", ".webp"):
        whole = encode(picture, extension)
        for _ in range(150):
            data = bytearray(whole)
            for place in random.integers(0, len(data), 3):
                data[place] = random.integers(0, 256)
            try:
                image = decode(bytes(data), limits=Limits(max_pixels=10_000_000))
            except ImageError as error:
                assert str(error)
            else:
                assert image.dtype == np.uint8 and image.ndim == 3


def test_memory_is_counted_before_anything_is_decoded():
    bomb = png(13_376, 13_376, 16, 6, b"")  # it needs no pixels: it is refused by its header
    with pytest.raises(
        ImageError, match=r"takes 2,862,678,016 bytes to decode, more than the 1,073,741,824 "
    ) as caught:
        decode(bomb)
    assert caught.value.kind == "too_large"
    # The largest picture that is allowed may have 8 bits and three colours, and be turned.
    with pytest.raises(ImageError, match="damaged"):
        decode(png(13_376, 13_376, 8, 2, b"", (b"eXIf", exif(6))))
    small = png(30, 20, 16, 6, bytes(20 * (1 + 8 * 30)))
    assert decode(small, limits=Limits(max_memory=30 * 20 * 16)).shape == (20, 30, 3)
    with pytest.raises(ImageError, match="takes 9,600 bytes to decode, more than the 9,599 allowed"):
        decode(small, limits=Limits(max_memory=30 * 20 * 16 - 1))


def test_memory_of_deep_tiffs_goes_by_their_samples(picture):
    deep = picture.astype(np.uint16) * 257
    for stored, bytes_a_pixel in ((deep, 12 + 10), (deep[:, :, 0], 6 + 2)):
        data = encode(stored, ".tiff")  # of one strip, which the decoder unpacks
        assert decode(data, limits=Limits(max_memory=bytes_a_pixel * picture[:, :, 0].size)).shape == picture.shape
        with pytest.raises(ImageError, match="bytes to decode"):
            decode(data, limits=Limits(max_memory=5 * picture[:, :, 0].size))


DECODE_IN_LITTLE_MEMORY = """
import resource, sys
import numpy as np
from mxml.images.decode import decode

decode(open(sys.argv[1], "rb").read())  # a small one, so that all is loaded
data = open(sys.argv[2], "rb").read()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[3]),) * 2)
image = decode(data)
print(image.shape, image.min(), image.max())
"""


def decode_in(memory: int, small: bytes, large: bytes, folder) -> str:
    """Decode both files in a process that may take so many bytes more for the second; return what it says."""
    paths = [folder / "small", folder / "large"]
    for path, data in zip(paths, (small, large)):
        path.write_bytes(data)
    command = [sys.executable, "-c", DECODE_IN_LITTLE_MEMORY, *map(str, paths), str(memory)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "MALLOC_ARENA_MAX": "1"})
    return done.stdout + done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process")
@pytest.mark.parametrize(
    ("bits", "colour", "bytes_a_pixel"), [(8, 2, 6), (16, 2, 6), (8, 6, 8), (16, 4, 16), (16, 6, 16)]
)
def test_a_png_takes_no_more_memory_than_is_counted(tmp_path, bits, colour, bytes_a_pixel):
    side, samples = 3000, {2: 3, 4: 2, 6: 4}[colour] * bits // 8
    large = png(side, side, bits, colour, bytes(side * (1 + samples * side)))
    small = png(8, 8, bits, colour, bytes(8 * (1 + samples * 8)))
    little = 12 << 20  # the file, strips that are converted, and what a heap rounds up
    said = decode_in(bytes_a_pixel * side * side + little, small, large, tmp_path)
    assert said == f"({side}, {side}, 3) {'255 255' if colour > 2 else '0 0'}\n"
    assert decode(small, limits=Limits(max_memory=64 * bytes_a_pixel)).shape == (8, 8, 3)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process")
def test_texts_in_a_png_are_not_unpacked(tmp_path):
    text = png_chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(b"a" * 7_900_000, 9))
    small = png(4, 4, 8, 2, bytes(4 * 13))
    large = small[:33] + text * 100 + small[33:-12] + text * 100 + small[-12:]
    assert decode_in(50 << 20, small, large, tmp_path) == "(4, 4, 3) 0 0\n"


def test_chunks_without_end_are_refused(picture):
    data = encode(picture, ".png")
    with pytest.raises(ImageError, match="more than 262,144 chunks") as caught:
        read_header(data[:33] + png_chunk(b"IDAT", b"") * 270_000 + data[33:])
    assert caught.value.kind == "too_large"
    data = encode(picture, ".webp")
    more = data + b"JUNK\0\0\0\0" * 70_000
    with pytest.raises(ImageError, match="more than 65,536 chunks"):
        read_header(more[:4] + struct.pack("<I", len(more) - 8) + more[8:])
    directory = b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 70_000)
    with pytest.raises(ImageError, match="claims 70,000 tags"):
        read_header(directory + bytes(20 * 70_000))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_large_pictures_are_converted_as_small_ones_are(dtype):
    """More than one strip, and a last one that is not whole."""
    chance = np.random.default_rng(0)
    bgra = chance.integers(0, np.iinfo(dtype).max + 1, (1111, 333, 4)).astype(dtype)
    bgra[:, :, 3][chance.random((1111, 333)) < 0.3] = np.iinfo(dtype).max
    colour, alpha = np.split((bgra >> (8 if dtype == np.uint16 else 0)).astype(float), [3], axis=2)
    expected = np.floor((colour * alpha + 255 * (255 - alpha) + 127) / 255).astype(np.uint8)
    data = cv2.imencode(".png", bgra)[1].tobytes()
    assert np.array_equal(decode(data, channels="bgr"), expected)
