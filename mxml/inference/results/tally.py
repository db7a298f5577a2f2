"""How many images were predicted, and how many could not be read."""

from __future__ import annotations

from dataclasses import dataclass

from mxml.errors import SHOWN_FAULTS, MxmlError
from mxml.inference.prediction import Prediction
from mxml.progress import Progress
from mxml.text import counted


@dataclass
class Tally:
    """Counts images; ``read`` could be, ``bad`` could not."""

    read: int = 0
    bad: int = 0
    missing: int = 0

    def add(self, readable: bool) -> None:
        """Count one image."""
        if readable:
            self.read += 1
        else:
            self.bad += 1

    def add_prediction(self, prediction: Prediction, progress: Progress) -> None:
        """Count the image of a prediction, with a note for each of the first that could not be read."""
        error = prediction.error
        self.add(error is None)
        if error is None:
            return
        self.missing += error.kind == "missing"
        if self.bad <= SHOWN_FAULTS:
            progress.note(f"left out, cannot be read: {prediction.called}: {error.reason}")
        elif self.bad == SHOWN_FAULTS + 1:
            progress.note("left out: more images that cannot be read, which are only counted from here on")

    def check(self, skip_bad: bool, of_list: bool = False) -> None:
        """Raise MxmlError where no image could be read, and unless ``skip_bad`` where one could not.

        ``of_list`` says that the images are those of a list, whose folder may be another.
        """
        if of_list and self.missing == self.bad > 1 and not self.read:
            raise MxmlError(
                f"none of the {self.bad:,} images is there; `root` says which folder the paths of a list are under"
            )
        if self.bad and not self.read:
            raise MxmlError("no image could be read; the lines above say why")
        if self.bad and not skip_bad:
            raise MxmlError(
                f"{counted(self.bad, 'image')} of {self.read + self.bad:,} cannot be read; give `skip_bad` for exit "
                "code 0 all the same"
            )
