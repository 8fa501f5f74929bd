# SPDX-License-Identifier: Apache-2.0
"""The kernels of the resampling keep what they must keep, beside NumPy's own interpolation."""

import numpy as np
import pytest

from motion_predictor.track.windows.kernels import between_seen, cubic, local_parabolas

TIMES = np.array([[-0.52, -0.4, -0.33, -0.2, -0.12, 0.0], [-9e5, -9e4, -0.3, -0.21, -0.1, 0.0]])
FIRST = np.array([0, 2])
AT = np.array([np.linspace(-0.5, 0.0, 26), np.linspace(-0.29, 0.0, 26)])


def parabola(times: np.ndarray) -> np.ndarray:
    """Return two polynomials of time, (..., 2)."""
    return np.stack((3.0 - 2.0 * times + 5.0 * times**2, 1.0 + times), axis=-1)


def test_the_cubic_keeps_parabolas_and_ignores_places_without_a_pose() -> None:
    values = parabola(TIMES)
    values[1, :2] = 1e3
    curve = cubic(TIMES, FIRST, AT)
    np.testing.assert_allclose(curve.of(values), parabola(AT), atol=1e-9)
    dense = curve.dense(TIMES.shape[1])
    assert not dense[1, :, :2].any()
    np.testing.assert_allclose(dense.sum(axis=2), 1.0)
    np.testing.assert_allclose(dense @ values, parabola(AT), atol=1e-9)


def test_the_cubic_stays_where_it_begins_and_ends_and_is_straight_between_two_poses() -> None:
    values = parabola(TIMES)
    outside = cubic(TIMES, FIRST, np.array([[-0.9, 0.3]] * 2)).of(values)
    np.testing.assert_allclose(outside[:, 0], values[[0, 1], FIRST])
    np.testing.assert_allclose(outside[:, 1], values[:, -1])
    two = cubic(TIMES, np.array([4, 4]), np.array([[-0.06], [-0.05]])).of(values)
    np.testing.assert_allclose(two[:, 0], values[:, 4:].mean(axis=1))


def test_the_places_of_the_instants_may_be_given() -> None:
    values = parabola(TIMES)
    left = np.stack([np.searchsorted(t, at, side='right') - 1 for t, at in zip(TIMES, AT)])
    np.testing.assert_array_equal(
        cubic(TIMES, FIRST, AT, left).of(values), cubic(TIMES, FIRST, AT).of(values)
    )


def test_a_pose_at_almost_the_same_time_does_not_throw_the_cubic_off() -> None:
    times = np.array([[-0.3, -0.2, -0.1001, -0.1, 0.0, 0.1]])
    values = np.array([[[0.0], [0.0], [0.0], [0.01], [0.01], [0.01]]])
    found = cubic(times, np.array([0]), np.linspace(-0.2, 0.0, 50)[None]).of(values)
    assert found.min() > -0.02
    assert found.max() < 0.03


def test_local_parabolas_keep_a_parabola_also_at_the_end() -> None:
    times = np.linspace(-0.6, 0.0, 73)[None]
    at = np.linspace(-0.48, 0.0, 25)[None]
    kernel, enough = local_parabolas(times, at, 0.032, np.array([1 / 120]))
    assert enough.all()
    np.testing.assert_allclose(kernel @ parabola(times), parabola(at), atol=1e-6)
    noise = np.random.default_rng(0).standard_normal((1, 73, 200))
    assert (kernel @ noise)[0, 5:20].std() < 0.8, 'it smooths'


@pytest.mark.parametrize('seed', range(3))
def test_what_was_not_seen_lies_between_as_numpy_interpolates(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, seen = rng.normal(size=(2, 6, 4, 1)), rng.random((2, 6, 4)) > 0.5
    seen[:, rng.integers(6)] = True
    found = between_seen(TIMES, values, seen)
    for person in range(2):
        for thing in range(4):
            known = seen[person, :, thing]
            wanted = np.interp(
                TIMES[person], TIMES[person, known], values[person, known, thing, 0]
            )
            np.testing.assert_allclose(found[person, :, thing, 0], wanted, atol=1e-9)
