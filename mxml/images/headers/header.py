"""The result of every parser, and the faults that it may find."""

from __future__ import annotations

from dataclasses import dataclass

FORMATS = ("JPEG", "PNG", "WebP", "BMP", "TIFF")


@dataclass(frozen=True)
class JpegCoding:
    """How a JPEG is coded: the last byte of its frame's marker, each component's sampling factors, and its scans.

    ``scans`` counts them where their number matters: 1 where all of the picture is in the first.
    """

    frame: int
    sampling: tuple[tuple[int, int], ...]
    scans: int


@dataclass(frozen=True)
class Header:
    """What the header of an image says.

    ``width`` and ``height`` are pixels as stored; ``orientation`` is EXIF's, 1 to 8; ``has_alpha`` tells whether the
    file carries transparency; ``bits`` is the depth of one sample; ``animated`` tells whether more pictures follow the
    first: the frames of a PNG or WebP animation, the pages of a TIFF. ``scratch`` is the most bytes that a decoder
    needs beside the pixels that it returns. ``jpeg`` is there for a JPEG only; ``samples``, of a pixel, is told of a
    TIFF only.
    """

    format: str
    width: int
    height: int
    orientation: int = 1
    has_alpha: bool = False
    bits: int = 8
    animated: bool = False
    scratch: int = 0
    jpeg: JpegCoding | None = None
    samples: int = 3

    @property
    def pixels(self) -> int:
        """Return how many pixels the picture has."""
        return self.width * self.height

    @property
    def shown_size(self) -> tuple[int, int]:
        """Return (width, height) as a viewer shows the picture, its orientation applied."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


class Damaged(Exception):
    """A fault of the file, without its path."""

    kind = "unreadable"


class CutOff(Damaged):
    """The end of the file is missing."""

    kind = "truncated"

    def __init__(self, format: str, lacks: str):
        super().__init__(f"the {format} file is cut off: {lacks}")


class TooLarge(Damaged):
    """Reading the file would take too much time."""

    kind = "too_large"
