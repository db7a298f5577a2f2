"""Feature vectors of images, kept on disk, and a linear head fitted to them."""
