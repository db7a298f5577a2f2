"""What parts of a preprocessing, and the names of videos, can be; needs no NumPy, so that the help can say it."""

FITS = ("crop", "letterbox", "stretch")
CHANNELS = ("rgb", "bgr")

VIDEO_SUFFIXES = (
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts"),
    *(".webm", ".wmv"),
)
"""Suffixes of the files that are read as videos."""
