"""How many images were predicted, and how many could not be read."""

from __future__ import annotations

from dataclasses import dataclass

from mxml.errors import MxmlError
from mxml.text import counted


@dataclass
class Tally:
    """Counts images; ``read`` could be, ``bad`` could not."""

    read: int = 0
    bad: int = 0

    def add(self, readable: bool) -> None:
        """Count one image."""
        if readable:
            self.read += 1
        else:
            self.bad += 1

    def check(self, skip_bad: bool) -> None:
        """Raise MxmlError where no image could be read, and unless ``skip_bad`` where one could not."""
        if self.bad and not self.read:
            raise MxmlError("no image could be read; the lines above say why")
        if self.bad and not skip_bad:
            raise MxmlError(
                f"{counted(self.bad, 'image')} of {self.read + self.bad:,} cannot be read; give `skip_bad` for exit "
                "code 0 all the same"
            )
