"""Similar images that were found: in a list for an image, and two of a list."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from mxml.errors import ImageError
from mxml.text import printable


@dataclass(frozen=True)
class ListedImage:
    """An image of a list.

    Attributes
    ----------
    position : int
        Its place in the list, from 0.
    path : str
        Its file; of a ``.rec`` what messages call the record.
    label_names : tuple of str
        The labels that the list gives it.
    labelled : bool
        Whether the list says of any of the model's labels whether it has it.
    distance : float
        How far it is from the image that it was found for: 1 less the cosine, from 0 to 2.
    """

    position: int
    path: str
    label_names: tuple[str, ...]
    distance: float
    labelled: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return ``path``, ``distance`` (rounded to 5 decimals) and, where labelled, ``label_names`` for JSON."""
        path = os.fsencode(self.path).decode("utf-8", "replace")
        labels = {"label_names": list(self.label_names)} if self.labelled else {}
        return {"path": path, "distance": round(self.distance, 5), **labels}

    def __str__(self) -> str:
        return f"{self.distance:.3f}  {self.described}"

    @property
    def described(self) -> str:
        """The path and, where there are, the labels.

        Returns
        -------
        str
        """
        if not self.labelled:
            return printable(self.path)
        return f"{printable(self.path)}: {', '.join(map(printable, self.label_names)) or 'no label'}"


@dataclass(frozen=True)
class SimilarImages:
    """What was found for one image.

    Attributes
    ----------
    path : str
        The image's file; ``image 3`` for the fourth input where that is in memory.
    images : tuple of ListedImage
        The most similar images of the list, the nearest first.
    error : ImageError, optional
        Why the image could not be read.
    """

    path: str
    images: tuple[ListedImage, ...]
    error: ImageError | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return ``input_path`` and ``similar``, a list, or ``error`` in its place, as JSON holds them."""
        path = os.fsencode(self.path).decode("utf-8", "replace")
        if self.error is not None:
            return {"input_path": path, "error": self.error.reason}
        return {"input_path": path, "similar": [image.to_dict() for image in self.images]}

    def __str__(self) -> str:
        return "\n".join([f"{printable(self.path)}:", *(f"  {image}" for image in self.images)])


@dataclass(frozen=True)
class SimilarPair:
    """Two similar images of a list.

    Attributes
    ----------
    first, second : ListedImage
        In the list's order, with the distance between them.
    """

    first: ListedImage
    second: ListedImage

    def to_dict(self) -> dict[str, Any]:
        """Return ``distance`` and ``images``, two objects with ``path`` and ``label_names``, as JSON holds them."""
        first, second = self.first.to_dict(), self.second.to_dict()
        distance = first.pop("distance")
        del second["distance"]
        return {"distance": distance, "images": [first, second]}

    def __str__(self) -> str:
        return f"{self.first}\n       {self.second.described}"
