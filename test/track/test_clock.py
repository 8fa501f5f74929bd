# SPDX-License-Identifier: Apache-2.0
"""Stamps in bursts, stamps of other clocks, and trackers that repeat themselves."""

from __future__ import annotations

from collections.abc import Sequence
import math

import numpy as np
import pytest

from motion_predictor.body.skeleton import H36M17
from motion_predictor.model.config import WindowConfig
from motion_predictor.predict.live import LivePredictor
from motion_predictor.predict.prediction import Prediction
from motion_predictor.recordings.walker import synthetic_walkers
from motion_predictor.sources.observation import Observation
from motion_predictor.track.checks.stamp_checks import SameStamps, stamp_complaints
from motion_predictor.track.clock import SourceClock
from motion_predictor.track.limits import PeopleLimits
from motion_predictor.track.states import PersonState, Refusal

SECOND = 1_000_000_000
WALK = synthetic_walkers(1, 10.0).persons['0'].astype(float)  # 50 Hz
Times = list[tuple[float, float]]


class Unasked:
    """A model that nobody asks."""

    window = WindowConfig()
    skeleton = H36M17

    def predict(
        self, observed: np.ndarray, *, samples: int, seed: int, seen: np.ndarray | None = None
    ) -> Prediction:
        """Fail: only the windows are looked at here."""
        raise AssertionError


def walker(at_s: float) -> np.ndarray:
    """Somebody who walks, at any instant, (J, 3)."""
    at = min(at_s * 50.0, len(WALK) - 1.001)
    frame = int(at)
    return WALK[frame] + (at - frame) * (WALK[frame + 1] - WALK[frame])


def in_bursts(size: int, apart_s: float, rate_hz: float = 30.0, seconds: float = 6.0) -> Times:
    """Times of exposure and of arrival, where so many messages arrive together."""
    return [
        (i / rate_hz, ((i // size) * size + size - 1) / rate_hz + 0.005 + (i % size) * apart_s)
        for i in range(int(seconds * rate_hz))
    ]


def held_up() -> Times:
    """Times of a fast source whose messages are held up now and then, as reported of mocap."""
    rng, free, times = np.random.default_rng(3), 0.0, []
    for i in range(600):
        free = max(i / 100.0, free)
        if rng.random() < 0.02:
            free += rng.uniform(0.05, 0.3)
        free += 0.00005
        times.append((i / 100.0, free))
    return times


BURSTS = {
    'of two': in_bursts(2, 0.002), 'of three': in_bursts(3, 0.002),
    'of three, at once': in_bursts(3, 0.0003), 'of six': in_bursts(6, 0.002),
    'held up': held_up(),
}  # fmt: skip


@pytest.mark.parametrize('times', BURSTS.values(), ids=BURSTS)
def test_stamps_in_bursts_become_even(times: Times) -> None:
    clock, lags = SourceClock(), []
    for exposure_s, arrival_s in times:
        stamp_ns = SECOND + round(arrival_s * SECOND)
        steady_ns = clock.steady(stamp_ns, '0')
        assert steady_ns <= stamp_ns, 'a pose cannot be taken after it arrives'
        assert clock.steady(stamp_ns, '1') == steady_ns, 'others of the same message'
        lags.append((steady_ns - SECOND) / SECOND - exposure_s)
    assert clock.in_bursts
    settled = np.array(lags[len(lags) // 3 :])
    assert np.ptp(settled) < 0.002, 'every pose is as late as every other'


def jittered(rng: np.random.Generator) -> Times:
    """Times of arrival that are uneven by 10 ms either way."""
    return [(i / 30.0, i / 30.0 + rng.uniform(0.0, 0.02)) for i in range(300)]


def dropped(rng: np.random.Generator) -> Times:
    """Times of a camera that drops a third of its frames."""
    return [(i / 30.0, i / 30.0) for i in range(300) if rng.random() > 0.33]


@pytest.mark.parametrize('rate_hz', [5.0, 15.0, 30.0, 100.0, 360.0])
def test_even_stamps_stay_as_they_are(rate_hz: float) -> None:
    clock = SourceClock()
    for frame in range(300):
        stamp_ns = SECOND + round(frame / rate_hz * SECOND)
        assert clock.steady(stamp_ns, '0') == stamp_ns
    assert clock.jitter_s < 1e-6


@pytest.mark.parametrize('make', [jittered, dropped])
def test_uneven_stamps_without_bursts_stay_as_they_are(make: object) -> None:
    clock = SourceClock()
    for _, arrival_s in make(np.random.default_rng(0)):
        stamp_ns = SECOND + round(arrival_s * SECOND)
        assert clock.steady(stamp_ns, '0') == stamp_ns
    assert clock.jitter_s > 0.002


@pytest.mark.parametrize('kept', [9, 12, 20])
def test_a_few_of_many_messages_after_all_of_them_stay_as_they_are(kept: int) -> None:
    """As from a full queue: those that waited in it come one after the other, then every fifth."""
    clock, rng = SourceClock(), np.random.default_rng(0)
    steps = [0.0215] * kept + rng.uniform(0.065, 0.13, 60).tolist()
    for arrival_s in np.cumsum(steps).tolist():
        stamp_ns = SECOND + round(arrival_s * SECOND)
        assert clock.steady(stamp_ns, '0') == stamp_ns


def test_people_with_their_own_stamps_are_no_burst() -> None:
    clock = SourceClock()
    for frame in range(100):
        for offset_ns, person in ((0, 'ada'), (1_000_000, 'bob')):
            stamp_ns = SECOND + frame * SECOND // 30 + offset_ns
            assert clock.steady(stamp_ns, person) == stamp_ns
    assert math.isnan(clock.jitter_s)


def windows_error(times: Times) -> tuple[float, LivePredictor]:
    """Mean distance of a window's poses from where the person was, but for one delay."""
    online, errors = LivePredictor(Unasked()), []
    for index, (exposure_s, arrival_s) in enumerate(times):
        stamp_ns = SECOND + round(arrival_s * SECOND)
        online.observe(Observation(stamp_ns, 'map', '0', walker(exposure_s)))
        snapshot = online.snapshot()
        if snapshot is not None and snapshot.windows and index > len(times) // 4:
            (window,) = snapshot.windows
            back_s = np.arange(1 - len(window.poses), 1) / 50.0
            real = np.stack([walker(exposure_s + each) for each in back_s])
            errors.append(np.linalg.norm(window.poses - real, axis=-1).mean())
    assert len(errors) > 0.7 * len(times)
    return float(np.mean(errors)), online


@pytest.mark.slow
@pytest.mark.parametrize('times', BURSTS.values(), ids=BURSTS)
def test_a_walk_stamped_in_bursts_is_seen_as_it_was(times: Times) -> None:
    error_m, online = windows_error(times)
    assert error_m < 0.005
    assert online.counters['observations_steadied'] > 0.3 * len(times)


def test_stamps_of_exposure_are_not_touched() -> None:
    error_m, online = windows_error([(i / 30.0, i / 30.0) for i in range(180)])
    assert error_m < 0.005
    assert online.counters['observations_steadied'] == 0
    assert online.stamp_jitters_s[''] < 1e-6


# Trackers that repeat themselves


def show(online: LivePredictor, poses: Sequence[np.ndarray], begin: int = 0) -> None:
    """Show one pose a frame at 30 Hz."""
    for frame, pose in enumerate(poses, begin):
        stamp_ns = SECOND + frame * SECOND // 30
        online.observe(Observation(stamp_ns, 'map', 'ada', pose), stamp_ns)


def test_a_frozen_tracker_is_not_motion_and_is_said_to_be_frozen() -> None:
    online = LivePredictor(Unasked())
    moving = [walker(frame / 30) for frame in range(40)]
    show(online, moving)
    show(online, [moving[-1]] * 6, 40)
    snapshot = online.snapshot(SECOND + 46 * SECOND // 30)
    assert snapshot is not None
    assert snapshot.windows[0].stamp_ns == SECOND + 39 * SECOND // 30, 'predicted from motion'
    show(online, [moving[-1]] * 9, 46)
    snapshot = online.snapshot(SECOND + 55 * SECOND // 30)
    assert snapshot is not None
    assert (snapshot.persons, snapshot.departed) == ((), ())
    assert snapshot.others['ada'].state is PersonState.SEEN
    assert snapshot.others['ada'].reason is Refusal.FROZEN
    assert online.counters['poses_frozen'] == 15
    show(online, [walker(1.8 + frame / 30) for frame in range(12)], 55)
    snapshot = online.snapshot(SECOND + 67 * SECOND // 30)
    assert snapshot is not None
    assert snapshot.persons == ('ada',)


def test_who_stays_in_one_pose_for_over_a_second_stands_still() -> None:
    online = LivePredictor(Unasked(), PeopleLimits(stale_timeout_s=1.0))
    moving = [walker(frame / 30) for frame in range(40)]
    show(online, [*moving, *[moving[-1]] * 60])
    snapshot = online.snapshot(SECOND + 100 * SECOND // 30)
    assert snapshot is not None
    assert snapshot.persons == ('ada',)
    assert np.ptp(snapshot.windows[0].poses[5:], axis=0).max() < 1e-9
    assert online.counters['poses_frozen'] == 60, 'it is still counted'


def test_who_stood_still_all_along_is_not_frozen() -> None:
    online = LivePredictor(Unasked())
    show(online, [walker(0.0)] * 60)
    counted = online.counters
    assert (counted['poses_frozen'], counted['poses_accepted']) == (0, 60)


def test_every_pose_sent_twice_is_seen_once() -> None:
    online = LivePredictor(Unasked())
    show(online, [walker(frame // 2 / 15) for frame in range(60)])
    snapshot = online.snapshot(SECOND + 60 * SECOND // 30)
    assert snapshot is not None
    (window,) = snapshot.windows
    real = np.stack([walker(29 / 15 + back / 50.0) for back in range(-24, 1)])
    assert np.linalg.norm(window.poses - real, axis=-1).max() < 0.02, 'the person stops and goes'
    assert online.counters['poses_frozen'] >= 29


# Words


@pytest.mark.parametrize(
    'lag_s,sim_time,clock_ns,words',
    [
        (3 * 365 * 86_400.0, False, SECOND, ['3.0 years behind']),
        (1.5, False, SECOND, ['1.50 s behind']),
        (-0.2, False, SECOND, ['0.20 s ahead', 'synchronize']),
        (0.12, False, SECOND, []),
        (None, True, 0, ['use_sim_time', '/clock']),
        (None, True, SECOND, []),
    ],
)
def test_clocks_that_are_off_are_told_from_latency(
    lag_s: float | None, sim_time: bool, clock_ns: int, words: list[str]
) -> None:
    found = stamp_complaints(lag_s, {}, sim_time=sim_time, clock_ns=clock_ns)
    assert len(found) == bool(words)
    assert all(word in found[0] for word in words)


def test_stamps_that_stand_still_or_come_in_bursts_are_named() -> None:
    still = {'poses_duplicate': 30, 'poses_accepted': 0}
    (found,) = stamp_complaints(0.0, still, sim_time=False, clock_ns=1)
    assert 'stand still' in found
    alike = {'messages_same_stamp': 30, 'messages': 31, 'messages_empty': 1}
    (found,) = stamp_complaints(0.0, alike, sim_time=False, clock_ns=1)
    assert found.startswith('every stamp is the same (30 messages')
    assert 'stamp each message anew' in found
    twice = {'messages_same_stamp': 30, 'messages': 60}
    assert stamp_complaints(0.0, twice, sim_time=False, clock_ns=1) == []
    half = {'poses_duplicate': 20, 'poses_accepted': 10}
    (found,) = stamp_complaints(0.0, half, sim_time=False, clock_ns=1)
    assert 'stand still' in found
    few = {'poses_duplicate': 1, 'poses_accepted': 29}
    assert stamp_complaints(0.0, few, sim_time=False, clock_ns=1) == []
    bursts = {'observations_steadied': 30}
    (found,) = stamp_complaints(0.0, bursts, sim_time=False, clock_ns=1)
    assert 'bursts' in found


def test_a_stamp_is_repeated_by_a_message_of_the_same_people_alone() -> None:
    stamps = SameStamps()
    assert not stamps.repeat('a', 7, ['0'])
    assert not stamps.repeat('b', 7, ['0']), 'another topic'
    assert not stamps.repeat('a', 7, ['1']), 'a message for each person'
    assert stamps.repeat('a', 7, ['0', '1'])
    assert not stamps.repeat('a', 8, ['0'])
    assert not stamps.repeat('a', 0, ['0'])
    assert not stamps.repeat('a', 0, ['0']), 'no stamp is no stamp'
