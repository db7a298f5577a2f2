"""Where the feature vectors of the training images lie, and how far from there another image's is.

Vectors are brought to length 1, which leaves what an image shows and drops how strongly. Then a Gaussian is fitted
(Lee et al. 2018, without their classes: labels of one image are many), its covariance shrunk as Ledoit and Wolf (2004)
do. Only its 64 widest directions are kept, and one variance for all others, as probabilistic PCA has it (Tipping and
Bishop 1999): measured, that tells images apart as well as the whole matrix, which would take D^2 numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mxml.errors import ModelError

MOST_DIRECTIONS = 64
MARKED_SHARE = 0.05
"""The share of the validation images that is marked as unlike the training images, at most."""
# Of the mean variance: the least that a direction is taken to have.
_LEAST_VARIANCE = 1e-6


@dataclass(frozen=True, eq=False)
class FeatureDistribution:
    """A Gaussian of feature vectors of length 1, and the distance that few validation images exceed.

    Attributes
    ----------
    mean : ndarray of shape (D,)
        float32.
    directions : ndarray of shape (K, D)
        float32, rows of length 1 at right angles: where the vectors vary most.
    variances : ndarray of shape (K,)
        float32, above 0: how much they vary there.
    rest : float
        Their variance in each of the other D - K directions, above 0.
    threshold : float
        The Mahalanobis distance that counts as 1.
    marked : float
        The share of the validation images that are farther, 0.05 or less.
    train_images, val_images : int
        How many of each were taken.
    """

    mean: np.ndarray
    directions: np.ndarray
    variances: np.ndarray
    rest: float
    threshold: float
    marked: float
    train_images: int
    val_images: int

    @classmethod
    def of(cls, train: np.ndarray, validation: np.ndarray) -> FeatureDistribution:
        """Fit the Gaussian to training images, and set its threshold by validation images.

        Parameters
        ----------
        train : ndarray of shape (N, D)
            Feature vectors, finite.
        validation : ndarray of shape (M, D)
            Those of images that the network was not trained on.

        Returns
        -------
        FeatureDistribution

        Raises
        ------
        ModelError
            If there is no validation image, or the training images do not differ.
        """
        if not len(validation):
            raise ModelError("there is no validation image that sets the distance")
        vectors = unit_length(train)
        count, size = vectors.shape
        mean = vectors.mean(axis=0) if count else np.zeros(size)
        centred = vectors - mean
        values, directions = _principal(centred)
        average = values.sum() / size
        if min(count, size) < 2 or average <= np.finfo(np.float32).tiny:
            raise ModelError("the features of the training images do not differ")
        shrinkage = _shrinkage(centred, values)
        kept = min(MOST_DIRECTIONS, count - 1, size - 1)
        others = (values.sum() - values[:kept].sum()) / (size - kept)
        least = _LEAST_VARIANCE * average

        def shrunk(variance: np.ndarray) -> np.ndarray:
            return np.maximum((1 - shrinkage) * variance + shrinkage * average, least)

        found = cls(
            mean.astype(np.float32),
            directions[:kept].astype(np.float32),
            shrunk(values[:kept]).astype(np.float32),
            float(shrunk(others)),
            1.0,
            0.0,
            count,
            len(validation),
        )
        distances = found.distances(validation)
        # One of the distances themselves: no more than the share is above it, however few there are.
        threshold = float(np.quantile(distances, 1 - MARKED_SHARE, method="higher"))
        threshold = max(threshold, float(np.finfo(np.float32).tiny))
        marked = float((distances > threshold).mean())
        return cls(**{**vars(found), "threshold": threshold, "marked": marked})

    @property
    def size(self) -> int:
        """Return D."""
        return len(self.mean)

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Return how far images are from the training images.

        Parameters
        ----------
        features : ndarray of shape (N, D)
            Feature vectors.

        Returns
        -------
        ndarray of shape (N,)
            The Mahalanobis distance over the threshold, float64: above 1 for images unlike the training images. NaN
            for a vector that is not finite.
        """
        centred = unit_length(features) - self.mean
        inside = centred @ self.directions.T.astype(np.float64)
        # Rounding can leave less than nothing.
        outside = np.maximum((centred**2).sum(axis=1) - (inside**2).sum(axis=1), 0)
        distances: np.ndarray = np.sqrt((inside**2 / self.variances).sum(axis=1) + outside / self.rest)
        return distances / self.threshold


def unit_length(features: np.ndarray) -> np.ndarray:
    """Return vectors (N, D) float64 of length 1; those of zeros stay."""
    vectors = np.asarray(features, np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)


def _principal(centred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the variances (R,) along R = min(N, D) principal directions (R, D), widest first."""
    count, size = centred.shape
    if size <= count:
        values, columns = np.linalg.eigh(centred.T @ centred / count)
        directions = columns.T
    else:
        # The same but for zeros, of a smaller matrix.
        values, columns = np.linalg.eigh(centred @ centred.T / max(1, count))
        directions = columns.T @ centred
        directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return np.maximum(values[::-1], 0), directions[::-1]


def _shrinkage(centred: np.ndarray, values: np.ndarray) -> float:
    """Return Ledoit and Wolf's share of the mean variance, from 0 to 1, by the covariance's eigenvalues."""
    count, size = centred.shape
    squares = (values**2).sum()
    spread = squares / size - (values.sum() / size) ** 2
    noise = (((centred**2).sum(axis=1) ** 2).mean() - squares) / (count * size)
    return float(min(noise, spread) / spread) if spread > 0 else 0.0
