# SPDX-License-Identifier: Apache-2.0
"""Stamped poses in, evenly spaced windows out: by stamp, bounded, finite, and honest."""

from histories import (
    error_m,
    filled_history,
    GRID_S,
    quick,
    ready,
    SECOND,
    seconds,
    stamps_at,
    START,
    walker,
)
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from motion_predictor.errors import ConfigError, ShapeError
from motion_predictor.model.config import WindowConfig
from motion_predictor.track.history import AddOutcome, PoseHistory
from motion_predictor.track.limits import HistoryCounters, HistoryLimits
from motion_predictor.track.window import NotReady, ObservedWindow


@pytest.mark.parametrize(
    'rate_hz,within_m',
    [(5, 0.05), (10, 0.008), (15, 0.003), (30, 5e-4), (50, 2e-4), (60, 1e-4), (90, 5e-4),
     (120, 5e-4), (240, 5e-4), (360, 5e-4), (1000, 5e-4)],
)  # fmt: skip
def test_any_rate_gives_the_same_window(rate_hz: float, within_m: float) -> None:
    window = ready(filled_history(stamps_at(rate_hz)))
    assert window.stamp_ns == START + 2 * SECOND
    assert window.poses.shape == (25, 17, 3)
    assert error_m(window) < within_m
    assert window.padded_frames == 0
    assert not window.filled.any()
    assert window.source_period_s == pytest.approx(1.0 / rate_hz, rel=0.01)


@pytest.mark.slow
@quick
@given(
    rate_hz=st.floats(12.0, 360.0),
    jitter=st.floats(0.0, 0.3),
    seed=st.integers(0, 1000),
)
def test_any_rate_with_jitter_gives_the_same_window(
    rate_hz: float, jitter: float, seed: int
) -> None:
    stamps = stamps_at(rate_hz)
    noise = np.random.default_rng(seed).uniform(-jitter, jitter, len(stamps))
    noise[-1] = 0.0
    stamps = stamps + np.round(noise * SECOND / rate_hz).astype(np.int64)
    history = PoseHistory()
    for stamp, pose in zip(stamps, walker(seconds(stamps))):
        history.add(int(stamp), pose)
    assert error_m(ready(history)) < (0.012 if rate_hz < 25.0 else 2e-3)


def test_the_last_frame_is_the_newest_pose_when_the_source_is_slower() -> None:
    stamps = stamps_at(30)
    window = ready(filled_history(stamps))
    np.testing.assert_allclose(window.poses[-1], walker(seconds(stamps[-1:]))[0], atol=1e-9)


def test_a_fast_source_is_low_passed_and_a_slow_movement_is_not() -> None:
    def shaken(hertz: float) -> float:
        """Amplitude that is left of a shaking of 10 mm, away from the window's end."""
        stamps = stamps_at(360)
        history = PoseHistory()
        for stamp, pose in zip(stamps, walker(seconds(stamps))):
            shake = 0.01 * np.sin(2.0 * np.pi * hertz * (stamp - START) / SECOND)
            history.add(int(stamp), pose + [0.0, 0.0, shake])
        window = ready(history)
        truth = walker(seconds(window.stamp_ns) + GRID_S)
        return float(np.abs(window.poses - truth)[:20, :, 2].max())

    assert shaken(3.0) > 0.0095
    assert shaken(41.0) < 0.001  # would come back as 9 Hz
    assert shaken(100.0) < 0.001


def test_smoothing_does_not_lag() -> None:
    # Constant acceleration is kept exactly, also in the last frame.
    history = PoseHistory()
    stamps = stamps_at(240)
    rest = walker(np.zeros(1))[0]
    for stamp in stamps:
        t = float(seconds(stamp))
        history.add(int(stamp), rest + [1.5 * t + 2.0 * t * t, 0.0, 0.0])
    t = seconds(stamps[-1]) + GRID_S
    expected = 1.5 * t + 2.0 * t * t
    moved = ready(history).poses[:, 0, 0] - rest[0, 0]
    np.testing.assert_allclose(moved, expected, atol=1e-6)


def test_a_slow_source_with_one_lost_pose_still_gives_a_window() -> None:
    stamps = np.delete(stamps_at(10), -3)
    assert error_m(ready(filled_history(stamps))) < 0.03


def test_the_models_own_rate_and_length_are_kept() -> None:
    config = WindowConfig(rate_hz=25.0, observed_frames=10, future_frames=20, dct_keep=8)
    window = ready(filled_history(stamps_at(30), window=config))
    assert window.poses.shape == (10, 17, 3)
    truth = walker(2.0 + np.arange(-9, 1) / 25.0)
    np.testing.assert_allclose(window.poses, truth, atol=1e-3)


@quick
@given(
    shift=st.tuples(*[st.floats(-1e4, 1e4)] * 3),
    later=st.integers(-(10**18), 10**18),
    rate_hz=st.sampled_from([10.0, 30.0, 120.0]),
)
def test_moving_the_person_or_the_clock_moves_the_window(
    shift: tuple[float, float, float], later: int, rate_hz: float
) -> None:
    stamps = stamps_at(rate_hz)
    poses = walker(seconds(stamps))
    moved = PoseHistory()
    for stamp, pose in zip(stamps, poses):
        moved.add(int(stamp) + later, pose + np.array(shift))
    here, there = ready(filled_history(stamps)), ready(moved)
    assert there.stamp_ns == here.stamp_ns + later
    np.testing.assert_allclose(there.poses - np.array(shift), here.poses, atol=1e-6)


@quick
@given(seed=st.integers(0, 10_000), rate_hz=st.sampled_from([5.0, 15.0, 30.0, 90.0]))
def test_poses_late_by_under_two_periods_are_put_in_their_place(seed: int, rate_hz: float) -> None:
    stamps = stamps_at(rate_hz)
    delays = np.random.default_rng(seed).uniform(0.0, 1.9, len(stamps)) / rate_hz
    order = np.argsort(seconds(stamps) + delays, kind='stable')
    shuffled = filled_history(stamps[order])
    expected = ready(filled_history(stamps))
    window = ready(shuffled)
    assert window.stamp_ns == expected.stamp_ns
    np.testing.assert_array_equal(window.poses, expected.poses)
    np.testing.assert_array_equal(shuffled.stamps_ns[-5:], stamps[-5:])


def test_what_comes_too_late_is_dropped() -> None:
    stamps = stamps_at(30)
    history = filled_history(stamps)
    before = ready(history)
    pose = walker(seconds(stamps[-1:]))[0] + 1.0
    late = int(stamps[-1] - 2.5 * SECOND / 30)
    assert history.add(late, pose) is AddOutcome.TOO_LATE
    assert history.counters.poses_too_late == 1
    np.testing.assert_array_equal(ready(history).poses, before.poses)


def test_of_equal_stamps_the_first_is_kept() -> None:
    stamps = stamps_at(30)
    history = filled_history(stamps)
    before = ready(history)
    for stamp in stamps[-3:]:
        pose = walker(seconds(np.array([stamp])))[0] + 0.5
        assert history.add(int(stamp), pose) is AddOutcome.DUPLICATE
    assert history.counters.poses_duplicate == 3
    np.testing.assert_array_equal(ready(history).poses, before.poses)


@quick
@given(
    gaps_ms=st.lists(st.floats(0.01, 400.0), min_size=1, max_size=80),
    repeat=st.integers(1, 40),
)
def test_memory_is_bounded_whatever_the_stamps(gaps_ms: list[float], repeat: int) -> None:
    history = PoseHistory(limits=HistoryLimits(max_source_rate_hz=200.0))
    stamp, pose = START, walker(np.zeros(1))[0]
    for gap in gaps_ms * repeat:
        stamp += round(gap * 1e6)
        history.add(stamp, pose)
    stamps = history.stamps_ns
    assert (np.diff(stamps) > 0).all()
    assert stamps[-1] - stamps[0] <= 2.0 * SECOND
    assert len(history) <= 2 + 2.0 * 200.0
    assert len(history._poses.stamps) <= 2 * (2 + 2.0 * 200.0)


@pytest.mark.slow
def test_a_long_recording_takes_no_more_than_a_short_one() -> None:
    history = PoseHistory()
    for stamp in range(START, START + 60 * SECOND, SECOND // 60):
        history.add(stamp, walker(np.zeros(1))[0])
    assert len(history) < 60 * 2
    assert len(history._poses.stamps) <= 256


def test_someone_new_gets_a_window_soon_and_no_motion_is_made_up() -> None:
    history, reasons = PoseHistory(), []
    first_ready_s = None
    stamps = START + (np.arange(31) * SECOND / 30).astype(np.int64)
    poses = walker(seconds(stamps))
    for index, (stamp, pose) in enumerate(zip(stamps, poses)):
        history.add(int(stamp), pose)
        window = history.window()
        if isinstance(window, NotReady):
            reasons.append(window)
            continue
        if first_ready_s is None:
            first_ready_s = index / 30.0
            padded = window.padded_frames
            assert padded == pytest.approx(25 - 50 * first_ready_s, abs=1.0)
            np.testing.assert_allclose(
                window.poses[:padded], np.broadcast_to(poses[0], (padded, 17, 3)), atol=1e-9
            )
    assert first_ready_s == pytest.approx(0.25, abs=0.04)
    assert set(reasons) == {NotReady.TOO_FEW_POSES, NotReady.TOO_SHORT}
    assert ready(history).padded_frames == 0
    assert 0 < history.counters.windows_padded < 10


def test_an_empty_history_says_so() -> None:
    history = PoseHistory()
    assert history.window() is NotReady.NO_POSES
    assert history.newest_stamp_ns is None
    assert history.newest_root is None
    assert history.period_s is None


def test_a_source_too_slow_gives_no_window() -> None:
    assert filled_history(stamps_at(2, seconds=2.0)).window() is NotReady.SOURCE_TOO_SLOW


@pytest.mark.slow
@quick
@given(data=st.data())
def test_nothing_gives_nan(data: st.DataObject) -> None:
    history = PoseHistory()
    stamp = START
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    bad = data.draw(st.floats(0.0, 0.4))
    sources = (np.nan, 0.0, np.inf, 1e30, -4.0)
    for _ in range(data.draw(st.integers(3, 60))):
        stamp += int(rng.choice([3, 10, 33, 33, 33, 100, 300])) * 1_000_000
        pose = walker(seconds(np.array([stamp])))[0]
        for joint in np.flatnonzero(rng.random(17) < bad):
            pose[joint] = rng.choice(sources, 3) if rng.random() < 0.5 else rng.choice(sources)
        valid = rng.random(17) > 0.3 * bad
        history.add(stamp - int(rng.choice([0, 0, 0, 20, 60])) * 1_000_000, pose, valid)
        window = history.window()
        if isinstance(window, ObservedWindow):
            assert np.isfinite(window.poses).all()
            assert window.stamp_ns == history.newest_stamp_ns
            root = window.poses[:, :1]
            assert np.linalg.norm(window.poses - root, axis=-1).max() < 5.0


def test_absorbing_a_former_history_continues_it() -> None:
    stamps = stamps_at(30)
    former, present = filled_history(stamps[:-4]), filled_history(stamps[-4:])
    present.absorb(former)
    expected = ready(filled_history(stamps))
    np.testing.assert_allclose(ready(present).poses, expected.poses, atol=1e-12)


def test_clearing_forgets_poses_and_keeps_counters() -> None:
    history = filled_history(stamps_at(30))
    history.clear()
    assert len(history) == 0
    assert history.window() is NotReady.NO_POSES
    assert history.counters.poses_accepted == 46


@pytest.mark.parametrize(
    'name,value',
    [('max_joint_gap_s', -0.1), ('min_observed_s', float('nan')), ('min_poses', 1),
     ('max_bone_ratio', 1.0), ('min_source_rate_hz', 0.0), ('late_periods', -1.0)],
)  # fmt: skip
def test_limits_that_cannot_work_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f'{name}='):
        HistoryLimits(**{name: value})


def test_poses_of_another_shape_are_refused() -> None:
    with pytest.raises(ShapeError, match='xyz'):
        PoseHistory().add(START, np.zeros((16, 3)))
    with pytest.raises(ShapeError, match='valid'):
        PoseHistory().add(START, np.zeros((17, 3)), np.ones(16, dtype=bool))


def test_every_counter_is_given_by_its_name() -> None:
    names = set(HistoryCounters().as_dict())
    assert {'poses_accepted', 'poses_too_late', 'joints_off_body', 'windows_padded'} <= names
    assert all(value == 0 for value in HistoryCounters().as_dict().values())
