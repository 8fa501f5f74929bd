# SPDX-License-Identifier: Apache-2.0
"""Motion at another rate: frames that are kept, a band that is narrowed, ends."""

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from motion_predictor.body.resampling import between, resample, sampled_at
from motion_predictor.errors import ConfigError


def test_doubling_the_rate_is_the_formula_that_comes_with_the_data() -> None:
    x = np.random.default_rng(0).normal(size=(153, 17, 3)).astype(np.float32)
    for frames in (2, 3, 7, 20, 153):
        part = x[:frames]
        reach = min(16, frames - 1)
        before, after = 2 * part[:1] - part[reach:0:-1], 2 * part[-1:] - part[-2 : -reach - 2 : -1]
        padded = np.concatenate([before, part, after])
        taps = np.sinc(np.arange(-reach, reach) + 0.5) * np.kaiser(2 * reach, 8.0)
        taps /= taps.sum()
        middle = sum(w * padded[i + 1 : i + frames] for i, w in enumerate(taps))
        doubled = resample(part, 25.0, 50.0)
        assert doubled.shape == (2 * frames - 1, 17, 3)
        np.testing.assert_array_equal(doubled[::2], part)
        np.testing.assert_allclose(doubled[1::2], middle, atol=2e-6)


@given(st.sampled_from([20.0, 25.0, 30.0, 60.0, 100.0, 120.0]), st.floats(0.2, 4.0))
@settings(max_examples=25, deadline=None)
def test_a_slow_sway_survives_any_change_of_rate(from_hz: float, sway_hz: float) -> None:
    def sway(rate_hz: float, frames: int) -> np.ndarray:
        return np.sin(2 * np.pi * sway_hz * np.arange(frames) / rate_hz).astype(np.float32)

    given_frames = int(4 * from_hz) + 1
    found = resample(sway(from_hz, given_frames)[:, None], from_hz, 50.0)[:, 0]
    assert len(found) == 201
    middle = slice(50, 150)  # a second away from the ends, where frames beyond are made up
    np.testing.assert_allclose(found[middle], sway(50.0, 201)[middle], atol=5e-3)


def test_too_fast_a_shake_is_removed_when_the_rate_goes_down() -> None:
    shake = np.sin(2 * np.pi * 45.0 * np.arange(481) / 120.0).astype(np.float32)
    found = resample(shake[:, None], 120.0, 50.0)[50:150]
    assert np.abs(found).max() < 0.01


def test_rates_that_are_none_are_refused() -> None:
    with pytest.raises(ConfigError, match='0'):
        resample(np.zeros((5, 3), np.float32), 0.0, 50.0)


def test_sampling_at_frames_gives_those_frames() -> None:
    poses = np.random.default_rng(1).normal(size=(40, 3, 3)).astype(np.float32)
    np.testing.assert_array_equal(sampled_at(poses, np.array([0.0, 7.0, 39.0])), poses[[0, 7, 39]])


def test_between_uneven_frames_lies_a_straight_line_and_nan_costs_its_neighbours_alone() -> None:
    poses = np.array([0.0, 1.0, np.nan, 4.0]).reshape(4, 1, 1)
    known = np.array([0.0, 0.1, 0.3, 0.4])
    found = between(poses, known, np.array([0.0, 0.05, 0.1, 0.2, 0.4]))[:, 0, 0]
    np.testing.assert_allclose(found, [0.0, 0.5, 1.0, np.nan, 4.0], atol=1e-6)
