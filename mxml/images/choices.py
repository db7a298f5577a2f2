"""What some parts of a preprocessing can be; needs no NumPy, so that the command line's help can say it."""

FITS = ("crop", "letterbox", "stretch")
CHANNELS = ("rgb", "bgr")
