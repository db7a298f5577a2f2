"""What the pipeline is called; needs no NumPy, so that the command line's help can say it."""

PIPELINE_NAME = "multi_label_image_classification"
PIPELINE_NAMES = (PIPELINE_NAME, "image_multilabel_classification")
"""PaddleX's name of it, and that since its version 3.0."""
