"""What a file is if it is not an image, or not in a format that is read."""

from __future__ import annotations

_OTHERS = (
    (b"GIF8", "GIF"),
    (b"8BPS", "Photoshop"),
    (b"%PDF", "PDF"),
    (b"\0\0\1\0", "icon"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"\x1f\x8b", "gzip"),
    (b"PK\3\4", "zip"),
)


def what_else(data: bytes) -> str:
    """Say what a file is that has none of FORMATS."""
    wanted = "convert it to JPEG, PNG, WebP, BMP or TIFF"
    if not data:
        return "the file is empty"
    for magic, name in _OTHERS:
        if data.startswith(magic):
            return f"unsupported format ({name}); {wanted}"
    if data[4:8] == b"ftyp":
        name = "AVIF" if data[8:12] in (b"avif", b"avis") else "HEIC or video"
        return f"unsupported format ({name}); {wanted}"
    beginning = data[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if beginning.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "the file is a web page, not an image (perhaps the result of a failed download)"
    if beginning.startswith((b"<svg", b"<?xml")):
        return f"unsupported format (SVG or XML); {wanted}"
    if beginning.startswith(b"version https://git-lfs"):
        return "the file is a Git LFS pointer, not the image; fetch it with: git lfs pull"
    if not data.strip(b"\0"):
        return "the file holds nothing but zeros"
    return f"not an image in a known format; {wanted}"
