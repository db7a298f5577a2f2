"""How far an image is from the training images: the numbers, against other implementations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import LedoitWolf

from mxml.errors import ModelError
from mxml.model.feature_distribution import MARKED_SHARE, FeatureDistribution


def vectors(count, size, seed, scale=0.4):
    """Return positive vectors, as features behind a ReLU are, that vary in some directions more than in others."""
    generator = np.random.default_rng(seed)
    common = np.random.default_rng(9).normal(0, scale, (6, size))
    return np.abs(2 + generator.normal(0, 1, (count, 6)) @ common + generator.normal(0, 0.1, (count, size)))


@pytest.mark.parametrize(("count", "size"), [(300, 20), (30, 50)])
def test_with_all_directions_it_is_the_mahalanobis_distance_of_ledoit_and_wolf(count, size):
    train, val, others = vectors(count, size, 1), vectors(40, size, 2), vectors(10, size, 3, scale=2)
    found = FeatureDistribution.of(train, val)

    def on_sphere(values):
        return values / np.linalg.norm(values, axis=1, keepdims=True)

    known = LedoitWolf().fit(on_sphere(train))
    expected = np.sqrt(known.mahalanobis(on_sphere(others)))
    assert found.distances(others) * found.threshold == pytest.approx(expected, rel=2e-3)


@settings(max_examples=12)
@given(
    count=st.integers(2, 90),
    size=st.integers(2, 90),
    val=st.integers(1, 60),
    factor=st.floats(1e-3, 1e3),
    seed=st.integers(0, 99),
)
def test_at_most_the_share_is_marked_and_a_vectors_length_plays_no_part(count, size, val, factor, seed):
    train, validation = vectors(count, size, seed), vectors(val, size, seed + 100)
    found = FeatureDistribution.of(train, validation)
    distances = found.distances(validation)
    assert np.isfinite(distances).all() and (distances >= 0).all()
    assert found.marked == (distances > 1).mean() <= MARKED_SHARE
    assert found.distances(validation * factor) == pytest.approx(distances, rel=1e-6, abs=1e-9)
    assert (found.train_images, found.val_images, found.size) == (count, val, size)


def test_what_lies_outside_of_the_training_images_directions_is_far():
    train = np.pad(vectors(400, 80, 1), ((0, 0), (0, 20)))
    val = np.pad(vectors(60, 80, 2), ((0, 0), (0, 20)))
    found = FeatureDistribution.of(train, val)
    assert found.directions.shape == (64, 100)
    odd = val.copy()
    odd[:, 80:] = 1
    assert (found.distances(odd) > 1).all()
    assert np.isnan(found.distances(np.full((1, 100), np.nan))).all()


def test_images_that_do_not_differ_or_no_validation_images_describe_nothing():
    same = np.ones((5, 4))
    for train, val in ((same, same), (same[:1], same), (same[:0], same)):
        with pytest.raises(ModelError, match="do not differ"):
            FeatureDistribution.of(train, val)
    with pytest.raises(ModelError, match="no validation image"):
        FeatureDistribution.of(vectors(9, 4, 1), same[:0])
