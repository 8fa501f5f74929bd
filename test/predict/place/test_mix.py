# SPDX-License-Identifier: Apache-2.0
"""Futures of several candidates as one whole."""

import numpy as np
from place_people import KNOTS, LEVELS, swinging, WINDOW
import pytest

from motion_predictor.body.geometry import bone_lengths
from motion_predictor.body.skeleton import H36M17
from motion_predictor.model.candidates import CANDIDATES, DAMPED, MEMORY, MODEL, STILL
from motion_predictor.predict.moments import sample_moments
from motion_predictor.predict.place.mix import firmness, Mix, overall

P, S, T, C = 2, 9, WINDOW.future_frames, len(CANDIDATES)
CANDIDATE = np.array([MODEL] * 3 + [DAMPED, STILL] + [MEMORY] * 4, np.uint8)
ORIGIN = np.array([[3.0, -2.0, 1.0], [500.0, 20.0, 1.0]])
EVERY = np.arange(T)


def people(seed: int = 0, firm: float = 1.0) -> tuple[Mix, np.ndarray]:
    """Return a mix and its samples (P, S, T, J, 3)."""
    generator = np.random.default_rng(seed)
    body = swinging(0.02)[0] - swinging(0.02)[0, 0]
    paths = np.cumsum(0.01 * generator.standard_normal((P, S, T, 17, 3)), axis=2)
    futures = ORIGIN[:, None, None, None] + body + paths
    within = generator.uniform(0.2, 1.0, (P, S))
    means = np.zeros((P, T, C, 17, 3))
    for candidate in range(C):
        of = candidate == CANDIDATE
        within[:, of] /= within[:, of].sum(axis=1, keepdims=True)
        means[:, :, candidate] = np.einsum('ps,pstjd->ptjd', within[:, of], futures[:, of])
    means -= ORIGIN[:, None, None, None]
    shares = generator.dirichlet(np.ones(C), (P, T)).astype(np.float32)
    radii = np.sort(generator.uniform(0.01, 0.5, (len(LEVELS), P, T, 17)), axis=0)
    bones = bone_lengths(np.broadcast_to(body, (P, 3, 17, 3)), H36M17)
    mix = Mix(
        CANDIDATE, within.astype(np.float32), shares, bones.astype(np.float32),
        np.full(P, firm, np.float32), means.astype(np.float32), ORIGIN, H36M17, LEVELS,
        radii.astype(np.float32),
    )  # fmt: skip
    return mix, futures


def weighted(mix: Mix, futures: np.ndarray, frames: np.ndarray) -> np.ndarray:
    return np.einsum('psf,psfjd->pfjd', mix.weights_at(frames), futures[:, :, frames])


def test_weights_sum_to_one_at_every_frame_and_over_all() -> None:
    mix, _ = people()
    weights = mix.weights_at(EVERY)
    assert weights.shape == (P, S, T)
    assert weights.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    joint = overall(mix.shares, mix.within, mix.candidate)
    assert joint.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert joint == pytest.approx(weights.mean(axis=2), abs=1e-5)


def test_every_candidate_has_its_share_among_the_samples() -> None:
    mix, _ = people()
    weights = mix.weights_at(KNOTS)
    for candidate in range(C):
        of = weights[:, candidate == CANDIDATE].sum(axis=1)
        assert of == pytest.approx(mix.shares[:, KNOTS, candidate], abs=1e-5)


def test_moments_are_those_of_the_weighted_samples() -> None:
    mix, futures = people()
    of = CANDIDATE == MODEL
    model = sample_moments(futures[:, of][:, :, KNOTS], mix.within[:, of].astype(np.float64))
    found = mix.moments(futures[:, :, KNOTS], KNOTS, model)
    weights = mix.weights_at(KNOTS).astype(np.float64)[..., None, None]  # (P, S, F, 1, 1)
    at = futures[:, :, KNOTS] - ORIGIN[:, None, None, None]
    mean = (weights * at).sum(axis=1)
    assert found.mean - ORIGIN[:, None, None] == pytest.approx(mean, abs=1e-5)
    total = np.zeros((P, len(KNOTS), 17, 3, 3))
    for candidate in range(C):
        chosen = np.flatnonzero(candidate == CANDIDATE)
        within = mix.within[:, chosen].astype(np.float64)
        share = mix.shares[:, KNOTS, candidate][..., None, None, None]
        middle = np.einsum('ps,psfjd->pfjd', within, at[:, chosen])
        apart = at[:, chosen] - middle[:, None]
        spread = np.einsum('ps,psfji,psfjk->pfjik', within, apart, apart)
        free = 1.0 - np.square(within).sum(axis=1)  # few samples show too little spread
        spread /= np.where(free > 1e-6, free, 1.0)[:, None, None, None, None]
        beside = middle - mean
        total += share * (spread + beside[..., :, None] * beside[..., None, :])
    assert found.covariance == pytest.approx(total, abs=1e-6)


def test_the_expected_future_is_the_mean_and_has_the_persons_own_bones() -> None:
    mix, futures = people()
    noisy, _ = people(firm=0.0)
    assert noisy.expected() == pytest.approx(weighted(mix, futures, EVERY), abs=1e-4)
    expected = mix.expected()
    assert bone_lengths(expected[:, -1:], H36M17) == pytest.approx(mix.bones_m, abs=1e-5)
    assert expected[:, :, 0] == pytest.approx(noisy.expected()[:, :, 0], abs=1e-5)
    assert mix.expected(KNOTS) == pytest.approx(expected[:, KNOTS])


def test_noise_is_not_put_into_the_bones_of_a_mean() -> None:
    assert firmness(np.array([0.0])) == pytest.approx(1.0)
    assert 0.4 < firmness(np.array([0.002]))[0] < 0.6
    assert firmness(np.array([0.03]))[0] < 0.02


def test_a_radius_is_that_of_the_least_level_that_reaches_the_share() -> None:
    mix, _ = people()
    for coverage, level in ((0.3, 0), (0.5, 0), (0.51, 1), (0.9, 1), (0.95, 2), (0.99, 2)):
        found = mix.radius(coverage, KNOTS)
        assert mix.radii is not None
        assert found == pytest.approx(mix.radii[level][:, KNOTS])
    assert mix.radius(0.999, KNOTS) is None


@pytest.mark.parametrize('lag', [[0.0, 0.0], [2.0, 0.0], [0.5, 3.25]])
def test_later_is_the_weighted_mean_of_the_samples_later(lag: list[float]) -> None:
    mix, futures = people(firm=0.0)
    later = mix.later(np.array(lag))
    for person in range(P):
        at = np.minimum(EVERY + lag[person], T - 1)
        left = np.floor(at).astype(int)
        right, share = np.ceil(at).astype(int), (at - left)[:, None, None]
        moved = futures[person][:, left]
        moved = moved + share * (futures[person][:, right] - moved)
        real = np.einsum('st,stjd->tjd', later.weights_at(EVERY)[person], moved)
        assert later.expected()[person] == pytest.approx(real, abs=1e-4)
    assert later.weights_at(EVERY).sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert later.radii is not None
    assert later.radii.shape == (len(LEVELS), P, T, 17)


def test_no_lag_changes_nothing() -> None:
    mix, _ = people()
    assert (mix.later(np.zeros(P)).expected() == mix.expected()).all()


def test_turning_and_moving_the_whole_turns_and_moves_the_expected_future() -> None:
    mix, _ = people()
    rotation = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    offset = np.array([[1.0, 2.0, 3.0], [-4.0, 0.0, 0.5]])
    found = mix.turned(rotation).moved(offset).expected()
    assert found == pytest.approx(mix.expected() @ rotation.T + offset[:, None, None], abs=1e-4)
    assert (mix.turned(rotation).weights_at(KNOTS) == mix.weights_at(KNOTS)).all()
