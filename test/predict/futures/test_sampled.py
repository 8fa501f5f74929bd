# SPDX-License-Identifier: Apache-2.0
"""Futures made at a few frames are those of every frame."""

from __future__ import annotations

import numpy as np
import pytest

from motion_predictor.predict.futures.sampled import as_futures, Futures, Later, Moved, Turned

P, S, T, J = 3, 4, 20, 5
FRAMES = np.array([0, 3, 4, 11, 19])
GENERATOR = np.random.default_rng(0)
VALUES = GENERATOR.standard_normal((P, S, T, J, 3)).astype(np.float32)
LAST = GENERATOR.standard_normal((P, J, 3))
WEIGHTS = GENERATOR.dirichlet(np.ones(S), P).astype(np.float32)
TURN = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
OFFSET = np.array([[200.0, 0.0, 1.0], [-300.0, 5.0, 0.0], [0.0, 0.0, 0.0]])
LAG = np.array([0.0, 1.5, 40.0])


def advanced(values: np.ndarray) -> np.ndarray:
    """Shift in time one number after another."""
    made = values.copy()
    for person, lag in enumerate(LAG):
        path = np.concatenate((np.repeat(LAST[person][None, None], S, 0), values[person]), axis=1)
        for frame in range(T):
            at = min(frame + 1 + lag, T)
            whole = min(int(at), T - 1)
            made[person][:, frame] = path[:, whole] + (at - whole) * (
                path[:, whole + 1] - path[:, whole]
            )
    return made


CASES = [
    (as_futures(VALUES), VALUES),
    (Moved(as_futures(VALUES), OFFSET), VALUES + OFFSET[:, None, None, None]),
    (Turned(as_futures(VALUES), TURN), VALUES @ TURN.T),
    (Later(as_futures(VALUES), LAST, LAG), advanced(VALUES)),
]


@pytest.mark.parametrize('made, expected', CASES, ids=lambda value: type(value).__name__)
def test_a_few_frames_are_those_of_all(made: Futures, expected: np.ndarray) -> None:
    assert made.shape == expected.shape
    assert made.every() == pytest.approx(expected, abs=1e-5)
    assert made.at(FRAMES) == pytest.approx(expected[:, :, FRAMES], abs=1e-5)
    assert made.at(FRAMES).dtype == made.dtype
    mean = np.einsum('ps,pstjd->ptjd', WEIGHTS, expected)
    assert made.mean(WEIGHTS) == pytest.approx(mean, abs=1e-4)


@pytest.mark.parametrize('made, expected', CASES, ids=lambda value: type(value).__name__)
def test_what_samples_are_compared_by_is_as_far_apart_as_they(
    made: Futures, expected: np.ndarray
) -> None:
    flat = expected.reshape(P, S, -1)
    gaps = np.linalg.norm(flat[:, :, None] - flat[:, None], axis=-1)
    compared = made.apart()
    found = np.linalg.norm(compared[:, :, None] - compared[:, None], axis=-1)
    assert found == pytest.approx(gaps, abs=1e-4)


def test_whoever_has_a_number_that_is_none_is_told() -> None:
    broken = VALUES.copy()
    broken[1, 2, 3, 4, 0] = np.nan
    broken[2, 0, 0, 0, 0] = np.inf
    assert Turned(as_futures(broken), TURN).finite().tolist() == [True, False, False]
    assert Moved(as_futures(broken), OFFSET).finite().tolist() == [True, False, False]
