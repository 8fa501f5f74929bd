# SPDX-License-Identifier: Apache-2.0
"""Damped velocity and standing still, from poses as noisy as trackers send them."""

from functools import partial

import numpy as np
from place_people import KNOTS, swinging, WINDOW
import pytest

from motion_predictor.body.skeleton import H36M17
from motion_predictor.model.candidates import CANDIDATES, DAMPED, KNOTS_S, MEMORY, MODEL, STILL
from motion_predictor.predict.place.candidates import (
    at_every_frame,
    believed,
    damped_velocity,
    DAMPING_S,
    jitter_m,
    smoothed_window,
    stance,
    standing_still,
)

TIMES = np.arange(1, WINDOW.future_frames + 1) * WINDOW.period_s
POSES = swinging(2.0)
WINDOWS = np.stack([POSES[start : start + 25] for start in (0, 30, 60)]).astype(np.float32)
RATE = WINDOW.rate_hz


def noisy(noise_m: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(WINDOWS.shape)
    return (WINDOWS + noise_m * noise).astype(np.float32)


def test_the_numbers_of_the_candidates_are_those_of_the_interface() -> None:
    assert (MODEL, DAMPED, STILL, MEMORY) == (0, 1, 2, 3)
    assert CANDIDATES[DAMPED] == 'damped velocity'
    assert CANDIDATES[STILL] == 'standing still'


def test_the_knots_are_the_horizons_that_are_judged() -> None:
    assert pytest.approx(KNOTS_S) == (KNOTS + 1) / RATE
    assert len({*KNOTS}) == len(KNOTS)


def test_weights_between_the_knots_sum_to_one_and_are_those_of_the_knots_there() -> None:
    weights = np.random.default_rng(0).dirichlet(np.ones(4), (3, len(KNOTS)))
    every = at_every_frame(weights.astype(np.float32), WINDOW)
    assert every.shape == (3, WINDOW.future_frames, 4)
    assert every.sum(axis=-1) == pytest.approx(1.0, abs=1e-5)
    assert every[:, KNOTS] == pytest.approx(weights, abs=1e-5)
    assert every.min() >= 0.0


@pytest.mark.parametrize('noise_m', [0.003, 0.01, 0.03])
def test_the_noise_of_the_input_is_found_whatever_the_body_does(noise_m: float) -> None:
    found = jitter_m(noisy(noise_m))
    assert found == pytest.approx(noise_m, rel=0.35)


def test_a_clean_body_has_next_to_no_noise() -> None:
    assert jitter_m(WINDOWS).max() < 5e-4


def test_a_clean_pose_is_taken_as_it_is() -> None:
    now = stance(WINDOWS, np.zeros(3), RATE)
    assert now.pose == pytest.approx(WINDOWS[:, -1], abs=1e-6)
    assert now.still == pytest.approx(WINDOWS[:, -1], abs=1e-6)
    real = (WINDOWS[:, -1] - WINDOWS[:, -5]) * (RATE / 4.0)
    assert np.abs(now.velocity - real).max() < 0.02


@pytest.mark.parametrize('noise_m', [0.01, 0.02, 0.03])
def test_noise_shrinks_velocities_and_smoothing_brings_poses_nearer_to_the_truth(
    noise_m: float,
) -> None:
    stood = np.repeat(WINDOWS[:, -1:], 25, axis=1)
    noise = np.random.default_rng(1).standard_normal(stood.shape)
    seen = (stood + noise_m * noise).astype(np.float32)
    now = stance(seen, jitter_m(seen), RATE)
    crude = (seen[:, -1] - seen[:, -5]) * (RATE / 4.0)
    assert (
        np.linalg.norm(now.velocity, axis=-1).mean() < 0.1 * np.linalg.norm(crude, axis=-1).mean()
    )
    off = np.linalg.norm(now.still - stood[:, -1], axis=-1).mean()
    assert off < 0.6 * np.linalg.norm(seen[:, -1] - stood[:, -1], axis=-1).mean()
    assert now.doubt.min() > 0.0


def test_a_velocity_far_beyond_its_doubt_is_believed_and_one_within_it_is_not() -> None:
    fast, slow = np.array([[2.0, 0.0, 0.0]]), np.array([[0.1, 0.0, 0.0]])
    assert believed(fast, np.array([0.1])) == pytest.approx(fast, rel=0.02)
    assert believed(slow, np.array([0.1])) == pytest.approx(0.0)
    assert believed(np.zeros((1, 3)), np.array([0.0])) == pytest.approx(0.0)


def test_damped_velocity_starts_as_fast_as_now_and_comes_to_rest() -> None:
    now = stance(WINDOWS, np.zeros(3), RATE)
    futures = damped_velocity(now, TIMES)
    begun = (futures[:, 0] - now.pose) * RATE
    assert begun == pytest.approx(now.velocity * 0.95, rel=0.02, abs=1e-3)
    end = now.pose + DAMPING_S * now.velocity
    assert futures[:, -1] == pytest.approx(end, abs=1e-4)
    assert futures.shape == (3, WINDOW.future_frames, 17, 3)


def test_who_stands_still_stays_where_they_are() -> None:
    now = stance(WINDOWS, np.zeros(3), RATE)
    futures = standing_still(now, TIMES)
    assert (futures == now.still[:, None]).all()


@pytest.mark.parametrize('guess', [damped_velocity, standing_still])
@pytest.mark.parametrize('noise_m', [0.0, 0.01])
def test_turning_moving_and_mirroring_people_does_the_same_to_the_guesses(
    guess: partial, noise_m: float
) -> None:
    turned = np.array([[0.6, -0.8, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0]])
    seen = noisy(noise_m)
    jitter = jitter_m(seen)
    futures = guess(stance(seen, jitter, RATE), TIMES)
    moved = (seen @ turned.T + [1.0, 2.0, 0.5]).astype(np.float32)
    assert jitter_m(moved) == pytest.approx(jitter, rel=0.05, abs=1e-6)
    there = guess(stance(moved, jitter, RATE), TIMES)
    assert there == pytest.approx(futures @ turned.T + [1.0, 2.0, 0.5], abs=2e-5)
    mirror = np.array([1.0, -1.0, 1.0])
    other = np.ascontiguousarray(seen[:, :, list(H36M17.mirror)] * mirror, dtype=np.float32)
    there = guess(stance(other, jitter, RATE), TIMES)
    assert there == pytest.approx(futures[:, :, list(H36M17.mirror)] * mirror, abs=2e-5)


def test_a_window_that_is_over_is_smoothed_to_nearer_the_truth_than_it_was_seen() -> None:
    seen = noisy(0.01)[0]
    pose, velocity = smoothed_window(seen, 0.01, RATE)
    truth = np.gradient(WINDOWS[0].astype(np.float64), 1.0 / RATE, axis=0)
    middle = slice(6, -6)
    assert (
        np.abs(pose - WINDOWS[0])[middle].mean() < 0.7 * np.abs(seen - WINDOWS[0])[middle].mean()
    )
    crude = np.gradient(seen.astype(np.float64), 1.0 / RATE, axis=0)
    assert np.abs(velocity - truth).mean() < 0.4 * np.abs(crude - truth).mean()
    same, _ = smoothed_window(WINDOWS[0], 0.0, RATE)
    assert same == pytest.approx(WINDOWS[0], abs=1e-6)
