# SPDX-License-Identifier: Apache-2.0
"""Moments and radii of samples, against what can be worked out otherwise."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from motion_predictor.errors import ConfigError, ShapeError
from motion_predictor.predict.moments import holding_radius, Moments, sample_moments
from motion_predictor.predict.prediction import Prediction


def drawn(seed: int, shape: tuple[int, ...], scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, scale, shape).astype(np.float32)


def equal_weights(persons: int, samples: int) -> np.ndarray:
    return np.full((persons, samples), 1.0 / samples, dtype=np.float32)


def test_moments_are_those_of_numpy_where_weights_are_equal() -> None:
    futures = drawn(0, (2, 40, 3, 5, 3)) + np.float32(7.0)
    found = sample_moments(futures, equal_weights(2, 40))
    np.testing.assert_allclose(found.mean, futures.mean(axis=1), atol=1e-5)
    for joint in range(5):
        expected = np.cov(futures[1, :, 2, joint].astype(np.float64).T)
        np.testing.assert_allclose(found.covariance[1, 2, joint], expected, rtol=1e-5, atol=1e-8)


def test_weights_count_as_repeated_samples_do() -> None:
    futures = drawn(1, (1, 3, 2, 4, 3))
    weights = np.array([[0.5, 0.25, 0.25]], dtype=np.float32)
    found = sample_moments(futures, weights)
    repeated = futures[:, [0, 0, 1, 2]]
    np.testing.assert_allclose(found.mean, repeated.mean(axis=1), atol=1e-6)
    spread = np.cov(repeated[0, :, 1, 2].astype(np.float64).T, bias=True) / (1.0 - 0.375)
    np.testing.assert_allclose(found.covariance[0, 1, 2], spread, rtol=1e-5)


def test_one_sample_has_no_spread_and_one_with_all_the_weight_neither() -> None:
    futures = drawn(2, (1, 4, 2, 3, 3))
    assert not sample_moments(futures[:, :1], equal_weights(1, 1)).covariance.any()
    weights = np.array([[0.0, 1.0, 0.0, 0.0]], dtype=np.float32)
    found = sample_moments(futures, weights)
    np.testing.assert_allclose(found.mean, futures[:, 1], atol=1e-6)
    assert np.abs(found.covariance).max() < 1e-9


def test_far_from_the_origin_the_spread_stays_the_same() -> None:
    futures = drawn(3, (1, 50, 2, 3, 3), 0.05)
    near = sample_moments(futures, equal_weights(1, 50))
    far = sample_moments(futures + np.float32(500.0), equal_weights(1, 50))
    # float32 places points 500 m away to 0.03 mm
    np.testing.assert_allclose(far.covariance, near.covariance, atol=1e-5)
    assert np.linalg.eigvalsh(far.covariance).min() > -1e-12


def test_turning_the_moments_is_taking_the_moments_of_what_is_turned() -> None:
    futures = drawn(4, (2, 30, 2, 3, 3))
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    weights = equal_weights(2, 30)
    expected = sample_moments(futures @ turn.T.astype(np.float32), weights)
    found = sample_moments(futures, weights).turned(turn)
    np.testing.assert_allclose(found.mean, expected.mean, atol=1e-5)
    np.testing.assert_allclose(found.covariance, expected.covariance, atol=1e-5)


@given(
    samples=st.integers(1, 40),
    coverage=st.floats(0.01, 1.0),
    uneven=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_the_radius_holds_what_it_states_and_is_the_smallest_to_do_so(
    samples: int, coverage: float, uneven: bool, seed: int
) -> None:
    futures = drawn(seed, (2, samples, 2, 3, 3))
    weights = equal_weights(2, samples)
    if uneven:
        raw = np.random.default_rng(seed).uniform(0.1, 3.0, (2, samples))
        weights = (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)
    centre = sample_moments(futures, weights).mean
    radius = holding_radius(futures, weights, centre, coverage)
    distance = np.linalg.norm(futures - centre[:, None], axis=-1)
    share = weights[:, :, None, None]
    held = (share * (distance <= radius[:, None] + 1e-9)).sum(axis=1)
    assert (held >= coverage - 1e-5).all()
    without_the_last = (share * (distance < radius[:, None] - 1e-9)).sum(axis=1)
    assert (without_the_last < coverage + 1e-5).all()


def test_a_coverage_that_cannot_be_is_refused() -> None:
    futures = drawn(5, (1, 3, 1, 1, 3))
    with pytest.raises(ConfigError, match=r'coverage=1\.5'):
        holding_radius(futures, equal_weights(1, 3), futures[:, 0], 1.5)
    with pytest.raises(ShapeError, match='weights'):
        sample_moments(futures, equal_weights(1, 4))


def test_a_prediction_gives_the_moments_its_model_states_before_those_of_its_samples() -> None:
    futures = drawn(6, (1, 8, 10, 3, 3))
    weights = equal_weights(1, 8)
    frames = np.array([1, 9])
    sampled = Prediction(futures, weights, 50.0)
    moments = sampled.moments(frames)
    np.testing.assert_allclose(moments.mean, futures[:, :, frames].mean(axis=1), atol=1e-5)
    stated = Moments(drawn(7, (1, 10, 3, 3)), drawn(8, (1, 10, 3, 3, 3)))
    model = Prediction(futures, weights, 50.0, stated)
    np.testing.assert_array_equal(model.moments(frames).mean, stated.mean[:, frames])
    np.testing.assert_array_equal(model.moments(frames).covariance, stated.covariance[:, frames])
    assert sampled.radius(0.9, moments, frames).shape == (1, 2, 3)


def test_moments_of_a_crowd_are_those_of_each_coordinate_and_person_alone() -> None:
    rng = np.random.default_rng(8)
    futures = rng.normal(scale=0.5, size=(5, 40, 3, 4, 3)).astype(np.float32)
    futures += rng.normal(scale=20.0, size=(5, 1, 1, 4, 3)).astype(np.float32)
    weights = rng.dirichlet(np.ones(40), size=5)
    found = sample_moments(futures, weights)
    for person, step, joint in np.ndindex(5, 3, 4):
        points = futures[person, :, step, joint].astype(np.float64)
        np.testing.assert_allclose(
            found.mean[person, step, joint], weights[person] @ points, atol=1e-5
        )
        expected = np.cov(points.T, aweights=weights[person])
        np.testing.assert_allclose(found.covariance[person, step, joint], expected, atol=1e-5)
    assert sample_moments(futures[:0], weights[:0]).mean.shape == (0, 3, 4, 3)
