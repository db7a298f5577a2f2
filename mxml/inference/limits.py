"""How many images and threads a batch may have; needs no NumPy, so that the command line's help can say it."""

BATCH_SIZE = 32
MOST_BATCH_SIZE = 65536
MOST_THREADS = 256
