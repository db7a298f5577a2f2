"""A change of variables with which the fit of a head takes fewer steps.

Feature vectors vary a thousand times more in some directions than in others, and the loss curves as much more there:
L-BFGS takes hundreds of steps. In the directions of most variance, which a randomized SVD finds, and in all the others
together, the weights are divided by the root of that curvature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mxml.runtime.threads import one_blas_thread

_DIRECTIONS = 64
_MOST_ROWS = 8000


@dataclass(frozen=True, eq=False)
class Directions:
    """``axes`` is (D, K) float32 with orthonormal columns, ``variances`` (K,) those of the vectors along them.

    ``rest`` is the mean variance along the other directions in which the vectors vary.
    """

    axes: np.ndarray
    variances: np.ndarray
    rest: float

    @classmethod
    def of(cls, vectors: np.ndarray) -> Directions:
        """Find those of standardised vectors (N, D) float32, N > 0; of many vectors some thousands are looked at."""
        from sklearn.utils.extmath import randomized_svd

        some = vectors[:: -(-len(vectors) // _MOST_ROWS)]
        rank = min(some.shape)
        # One iteration is enough to be near; Halko, Martinsson & Tropp 2011, section 1.6.
        with one_blas_thread():
            _, values, axes = randomized_svd(some, min(_DIRECTIONS, rank), n_iter=1, random_state=0)
        variances = values.astype(np.float64) ** 2 / len(some)
        left = float(np.einsum("nd,nd->n", some, some).sum(dtype=np.float64)) / len(some) - float(variances.sum())
        return cls(np.ascontiguousarray(axes.T), variances, max(0.0, left) / max(1, rank - len(values)))


class Preconditioner:
    """Turns variables into weights and biases, (D + 1, C), and back, for a loss that curves alike along all variables.

    ``curvatures`` (C,) is the second derivative of each label's loss by its logit, ``penalties`` (C,) that by a weight.
    """

    def __init__(self, directions: Directions, curvatures: np.ndarray, penalties: np.ndarray):
        self._axes = directions.axes.astype(np.float64)
        self._along = 1 / np.sqrt(directions.variances[:, None] * curvatures + penalties)
        self._rest = 1 / np.sqrt(directions.rest * curvatures + penalties)
        self._bias = 1 / np.sqrt(curvatures)

    def parameters(self, variables: np.ndarray) -> np.ndarray:
        """Return weights and biases; also, of the gradient by these, that by the variables."""
        return self._scaled(variables, self._along, self._rest, self._bias)

    def variables(self, parameters: np.ndarray) -> np.ndarray:
        """Return the variables of these weights and biases."""
        return self._scaled(parameters, 1 / self._along, 1 / self._rest, 1 / self._bias)

    def _scaled(self, values: np.ndarray, along: np.ndarray, rest: np.ndarray, bias: np.ndarray) -> np.ndarray:
        weights = values[:-1]
        scaled = np.empty(values.shape)
        scaled[:-1] = weights * rest + self._axes @ ((along - rest) * (self._axes.T @ weights))
        scaled[-1] = values[-1] * bias
        return scaled
