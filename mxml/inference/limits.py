"""What inference may be asked for; needs no NumPy, so that the command line's help can say it."""

BATCH_SIZE = 32
MOST_BATCH_SIZE = 65536
MOST_THREADS = 256

UNLIKE = ("mark", "drop", "off")
"""What is done with an image unlike the training images: marked, given no label, or not looked for."""
