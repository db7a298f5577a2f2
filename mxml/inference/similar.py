"""The images of a list that are most similar to others, by what the network's head works on.

Vectors are brought to length 1, standardised over the list, and compared by the cosine: measured, that finds copies
(another size, cut, mirrored, darker) and images with the same labels better than without either step.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import numpy as np

from mxml.data.image_list import ImageList
from mxml.data.record_list import RecordList, image_source
from mxml.errors import SHOWN_FAULTS, ListError, MxmlError, SettingError
from mxml.inference.any_images import read_any_images
from mxml.inference.classifier import Classifier
from mxml.inference.feature_cache import FeatureCache
from mxml.inference.feature_vectors import FeatureExtractor, FeatureNetwork
from mxml.inference.inputs import Inputs
from mxml.inference.limits import BATCH_SIZE
from mxml.inference.similar_images import ListedImage, SimilarImages, SimilarPair
from mxml.model import symbols
from mxml.model.feature_distribution import unit_length
from mxml.model.run_files import RunFiles
from mxml.progress import SILENT, Progress, note_reading
from mxml.text import counted

_ROWS = 512
_MOST_PAIRS = 1_000_000
_UNKNOWN = -1
# Of the largest spread: what varies less is the same for all images of the list.
_LEAST_SPREAD = 1e-6


class SimilarIndex:
    """The images of a list with their feature vectors, to look for similar ones.

    ``SimilarIndex.read(Classifier.load(prefix), data)`` makes one. The vectors are kept in ``features.sqlite``
    beside the checkpoint, by the images' content, so that the next one of these images is made without the network.

    Parameters
    ----------
    classifier : Classifier
        Whose network computes the vectors.
    images : ImageList or RecordList
        N images with labels.
    batch_size, threads, progress
        As for ``Classifier.predict``.

    Raises
    ------
    MxmlError
        If none of the images can be read.
    """

    def __init__(
        self,
        classifier: Classifier,
        images: ImageList | RecordList,
        *,
        batch_size: int = BATCH_SIZE,
        threads: int | None = None,
        progress: Progress = SILENT,
    ):
        self.classifier = classifier
        self.images = images
        model = classifier.checkpoint
        network = FeatureNetwork(symbols.features_output(model.symbol), model.arg_params, model.aux_params)
        with FeatureCache(RunFiles(model.prefix).features, progress) as cache:
            extractor = FeatureExtractor(
                network,
                classifier.preprocess,
                classifier.devices,
                cache,
                batch_size=batch_size,
                threads=threads,
                progress=progress,
            )
            vectors = extractor.vectors(image_source(images), "features of the list")
        for image in vectors.bad[:SHOWN_FAULTS]:
            progress.note(f"left out, cannot be read: {image.path}: {image.reason}")
        if len(vectors.bad) > SHOWN_FAULTS:
            progress.note(f"images left out because they cannot be read: {len(vectors.bad):,}")
        # Where in the list each row of vectors is.
        self._positions = np.flatnonzero(vectors.readable)
        if not len(self._positions):
            raise MxmlError("none of the list's images can be read")
        lengths = unit_length(vectors.plain[self._positions])
        self._mean, spread = lengths.mean(axis=0), lengths.std(axis=0)
        self._spread = np.where(spread > _LEAST_SPREAD * spread.max(), spread, 1)
        self._vectors = self._scaled(lengths)

    @classmethod
    def read(
        cls,
        classifier: Classifier,
        data: str | os.PathLike[str],
        root: str | os.PathLike[str] | None = None,
        *,
        allow_absolute: bool = False,
        batch_size: int = BATCH_SIZE,
        threads: int | None = None,
        progress: Progress = SILENT,
    ) -> SimilarIndex:
        """Read images and compute, or look up, their vectors.

        Parameters
        ----------
        classifier, root, allow_absolute, batch_size, threads, progress
            As for ``Classifier.evaluate``.
        data : str or path-like
            A ``.lst`` or ``.rec`` file, a ``.txt`` file with one path on each line, or a folder. No labels are needed;
            those that are not the model's are not looked at.

        Returns
        -------
        SimilarIndex

        Raises
        ------
        ListError
            If the list is wrong, or names no image.
        MxmlError
            If none of its images can be read.
        """
        note_reading(progress, data)
        images = read_any_images(data, root, classifier.num_classes, progress, allow_absolute=allow_absolute)
        return cls(classifier, images, batch_size=batch_size, threads=threads, progress=progress)

    def similar(
        self,
        inputs: Inputs,
        count: int = 10,
        *,
        batch_size: int = BATCH_SIZE,
        threads: int | None = None,
        progress: Progress = SILENT,
    ) -> Iterator[SimilarImages]:
        """Find the most similar images of the list for each input, in the order of the inputs.

        Parameters
        ----------
        inputs
            As for ``Classifier.predict``. A file that the list has, too, is not found for itself.
        count : int, default 10
            How many to find for each.
        batch_size, threads, progress
            As for ``Classifier.predict``.

        Returns
        -------
        iterator of SimilarImages

        Raises
        ------
        SettingError
            If ``count`` is less than 1.
        """
        _check_count(count)
        found = self.classifier.image_features(inputs, batch_size=batch_size, threads=threads, progress=progress)
        for image in found:
            if image.features is None:
                yield SimilarImages(image.path, (), image.error)
                continue
            distances = 1 - (self._vectors @ self._scaled(unit_length(image.features[None]))[0]).astype(np.float64)
            yield SimilarImages(image.path, tuple(self._nearest(image.path, distances, count)))

    def pairs(self, count: int = 10, per_image: int | None = None, *, progress: Progress = SILENT) -> list[SimilarPair]:
        """Find the pairs of most similar images with different labels: copies, and labels that are likely wrong.

        Parameters
        ----------
        count : int, default 10
            How many pairs at most. A label that is unknown of one of the images makes no difference.
        per_image : int, optional
            How many pairs at most have the same image, the nearest of it; by default any number.
        progress : Progress, optional
            Receives a note of how many nearer pairs ``per_image`` left out.

        Returns
        -------
        list of SimilarPair
            The nearest pair first.

        Raises
        ------
        SettingError
            If ``count`` or ``per_image`` is less than 1.
        ListError
            If the list has no labels of the model.
        """
        _check_count(count)
        if (self.images.labels == _UNKNOWN).all():
            raise ListError("pairs with different labels need a list with labels of the model")
        if per_image is None:
            best = self._nearest_pairs(count)
        else:
            best, left_out = self._few_per_image(count, per_image)
            if left_out:
                images = counted(per_image, "pair of an image is", "pairs of an image are")
                progress.note(f"at most {images} shown; left out between these: {left_out:,}")
        return [
            SimilarPair(self._listed(first, distance), self._listed(second, distance))
            for distance, first, second in best
        ]

    def _few_per_image(self, count: int, per_image: int) -> tuple[list[tuple[float, int, int]], int]:
        """Return the nearest pairs, at most so many of an image, and how many before the last were left out for it."""
        if per_image < 1:
            raise SettingError("per_image", per_image, "at least 1")
        looked_at = 10 * count
        while True:
            nearest = self._nearest_pairs(looked_at)
            kept: list[tuple[float, int, int]] = []
            used, last = Counter[int](), 0
            for place, (distance, first, second) in enumerate(nearest):
                if len(kept) < count and max(used[first], used[second]) < per_image:
                    used.update((first, second))
                    kept.append((distance, first, second))
                    last = place
            if len(kept) == count or len(nearest) < looked_at or looked_at >= _MOST_PAIRS:
                return kept, last + 1 - len(kept) if kept else 0
            looked_at = min(10 * looked_at, _MOST_PAIRS)

    def _nearest_pairs(self, count: int) -> list[tuple[float, int, int]]:
        """Return the distance and rows of the nearest pairs with different labels, at most so many."""
        labels = self.images.labels[self._positions]
        present, absent = (labels == 1).astype(np.float32), (labels == 0).astype(np.float32)
        best: list[tuple[float, int, int]] = []
        for start in range(0, len(labels), _ROWS):
            rows = slice(start, start + _ROWS)
            distances = 1 - self._vectors[rows] @ self._vectors[start:].T
            differ = present[rows] @ absent[start:].T + absent[rows] @ present[start:].T
            distances[(differ == 0) | ~np.triu(np.ones(distances.shape, bool), 1)] = np.inf
            flat = distances.ravel()
            for at in np.argpartition(flat, min(count, flat.size) - 1)[:count].tolist():
                row, column = divmod(at, distances.shape[1])
                if np.isfinite(flat[at]):
                    best.append((float(flat[at]), start + row, start + column))
            best = sorted(best)[:count]
        return best

    def _scaled(self, lengths: np.ndarray) -> np.ndarray:
        return unit_length((lengths - self._mean) / self._spread).astype(np.float32)

    def _nearest(self, path: str, distances: np.ndarray, count: int) -> Iterator[ListedImage]:
        order = np.argsort(distances, kind="stable")
        itself = os.path.realpath(path)
        for row in order.tolist():
            if count == 0:
                return
            listed = self._listed(row, float(distances[row]))
            if os.path.realpath(listed.path) != itself:
                count -= 1
                yield listed

    def _listed(self, row: int, distance: float) -> ListedImage:
        position = int(self._positions[row])
        present = np.flatnonzero(self.images.labels[position] == 1).tolist()
        names = tuple(self.classifier.label_names[column] for column in present)
        # Rounding can leave less than nothing.
        labelled = bool((self.images.labels[position] != _UNKNOWN).any())
        return ListedImage(position, self.images.path(position), names, max(0.0, distance), labelled)


def _check_count(count: int) -> None:
    if count < 1:
        raise SettingError("count", count, "at least 1")
