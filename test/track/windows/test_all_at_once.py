# SPDX-License-Identifier: Apache-2.0
"""Windows of several people together are those of each person alone, on recorded motion."""

from pathlib import Path

from histories import SECOND, START
import numpy as np
import pytest

from motion_predictor.body.resampling import sampled_at
from motion_predictor.recordings.npz_clips import read_npz
from motion_predictor.track.history import PoseHistory, windows_of_histories
from motion_predictor.track.limits import HistoryCounters
from motion_predictor.track.window import NotReady, ObservedWindow

RECORDING = Path(__file__).parents[3] / 'resource' / 'recordings' / 'side_lunge.npz'
LEGS = [2, 3, 5, 6]


def recorded(instants_s: np.ndarray, begin_s: float) -> np.ndarray:
    """Return a recorded person at any instants, metres (N, 17, 3)."""
    recording = read_npz(RECORDING)
    (poses,) = recording.persons.values()
    frames = np.clip((begin_s + instants_s) * 25.0, 0.0, len(poses) - 1.0)
    return sampled_at(poses, frames).astype(np.float64)


def instants(rng: np.random.Generator) -> np.ndarray:
    """Return the times of a tracker's frames: even, uneven, with lost frames or with a gap."""
    rate_hz = float(rng.choice([5, 10, 25, 30, 30, 30, 60, 120]))
    times = np.arange(int(rng.choice([0.1, 0.3, 0.6, 2.0, 2.0]) * rate_hz) + 1) / rate_hz
    kind = rng.integers(4)
    if kind == 1:
        times = np.sort(times + rng.uniform(-0.45, 0.45, len(times)) / rate_hz)
    elif kind == 2:
        times = times[rng.random(len(times)) > 0.2]
    elif kind == 3:
        times = times + rng.uniform(0.2, 0.6) * (times > rng.random() * times[-1])
    return times


def hide(rng: np.random.Generator, seen: np.ndarray) -> None:
    """Hide joints: none, the legs, some for a while, at random, or some from or until a time."""
    frames, kind = len(seen), rng.integers(6)
    some = rng.choice(17, rng.integers(1, 7), replace=False)
    at = int(rng.integers(frames + 1))
    if kind == 1:
        seen[:, LEGS] = False
    elif kind == 2:
        seen[at : at + 8, some] = False
    elif kind == 3:
        seen &= rng.random(seen.shape) > 0.15
    elif kind == 4:
        seen[at:, some] = False
    elif kind == 5:
        seen[:at, some] = False


def history(rng: np.random.Generator, counters: HistoryCounters) -> PoseHistory:
    """Return the history of somebody who is seen somehow."""
    times, found = instants(rng), PoseHistory(counters=counters)
    poses = recorded(times, rng.uniform(0.0, 3.0)) + [*rng.normal(0.0, 30.0, 2), 0.0]
    seen = np.ones(poses.shape[:2], dtype=bool)
    hide(rng, seen)
    for time_s, pose, shown in zip(times, poses, seen):
        found.add(START + int(time_s * SECOND), pose, shown)
    return found


@pytest.mark.parametrize('seed', range(6))
def test_a_crowd_gets_the_windows_that_each_person_gets_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    counters = HistoryCounters()
    crowd = [history(rng, counters) for _ in range(40)]
    before = counters.as_dict()
    together = windows_of_histories(crowd)
    at_once = counters.as_dict()
    alone = [each.window() for each in crowd]
    both = counters.as_dict()
    for name in ('windows_filled', 'windows_half_seen', 'windows_padded'):
        assert at_once[name] - before[name] == both[name] - at_once[name], name
    kinds = {type(window) for window in alone}
    assert kinds == {ObservedWindow, NotReady}, 'both must occur'
    for one, other in zip(alone, together):
        if isinstance(one, NotReady):
            assert other is one
            continue
        assert isinstance(other, ObservedWindow)
        np.testing.assert_allclose(other.poses, one.poses, atol=1e-6)
        np.testing.assert_array_equal(other.filled, one.filled)
        assert (other.stamp_ns, other.padded_frames) == (one.stamp_ns, one.padded_frames)
        assert other.source_period_s == pytest.approx(one.source_period_s, abs=1e-12)


def test_nobody_gives_no_windows() -> None:
    assert windows_of_histories([]) == []
    empty = PoseHistory()
    assert windows_of_histories([empty, empty]) == [NotReady.NO_POSES] * 2
