"""Stamped poses in, evenly spaced windows out: by stamp, bounded, finite, and honest."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import ConfigError, ShapeError
from motion_predictor.model.config import WindowConfig
from motion_predictor.track.history import AddOutcome, PoseHistory
from motion_predictor.track.limits import HistoryCounters, HistoryLimits
from motion_predictor.track.window import NotReady, ObservedWindow

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND  # today's stamps do not fit into a float of seconds
GRID_S = np.arange(-24, 1) / 50.0
quick = settings(deadline=None, max_examples=25)


def walker(times_s: np.ndarray, hertz: float = 0.9) -> np.ndarray:
    """
    Return somebody who walks, as a smooth function of time with constant bone lengths.

    :param times_s: any times, shape (N,).
    :param hertz: steps of each leg in a second.
    :returns: metres, z up, shape (N, 17, 3).
    """
    times_s = np.atleast_1d(np.asarray(times_s, dtype=np.float64))
    phase = 2.0 * np.pi * hertz * times_s
    zero = np.zeros_like(times_s)

    def swing(length: float, angle: np.ndarray) -> np.ndarray:
        return length * np.stack((np.sin(angle), zero, -np.cos(angle)), axis=1)

    def at(x: float, y: float, z: float) -> np.ndarray:
        return np.stack((zero + x, zero + y, zero + z), axis=1)

    joints = {'Hip': at(0, 0, 0), 'Spine': at(0, 0, 0.23), 'Thorax': at(0.02, 0, 0.48)}
    joints['Nose'] = joints['Thorax'] + at(0.05, 0, 0.16)
    joints['Head'] = joints['Thorax'] + at(0.03, 0, 0.27)
    for side, left, shift in (('L', 1.0, 0.0), ('R', -1.0, np.pi)):
        stride = 0.4 * np.sin(phase + shift)
        joints[side + 'Hip'] = at(0, left * 0.1, 0)
        joints[side + 'Knee'] = joints[side + 'Hip'] + swing(0.43, stride)
        joints[side + 'Ankle'] = joints[side + 'Knee'] + swing(
            0.43, stride - 0.3 - 0.3 * np.sin(phase + shift + 1.0)
        )
        joints[side + 'Shoulder'] = joints['Thorax'] + at(0, left * 0.18, -0.04)
        joints[side + 'Elbow'] = joints[side + 'Shoulder'] + swing(0.28, -0.5 * stride)
        joints[side + 'Wrist'] = joints[side + 'Elbow'] + swing(0.25, 0.4 - 0.7 * stride)
    pose = np.stack([joints[joint] for joint in H36M17.joints], axis=1)
    pose[..., 0] += 1.2 * times_s[:, None] + 3.0
    pose[..., 1] += 0.3 * np.sin(0.7 * times_s)[:, None] - 2.0
    pose[..., 2] += 0.9 + 0.02 * np.sin(2.0 * phase)[:, None]
    return pose


def stamps_at(rate_hz: float, seconds: float = 1.5, start_ns: int = START) -> np.ndarray:
    """Stamps of a source, from the end backwards, so that every rate ends at the same one."""
    count = int(seconds * rate_hz) + 1
    end = start_ns + 2 * SECOND
    return end - np.round(np.arange(count)[::-1] * SECOND / rate_hz).astype(np.int64)


def seconds(stamps_ns: np.ndarray) -> np.ndarray:
    """Seconds since START, exact enough to be compared."""
    return (np.asarray(stamps_ns) - START) / SECOND


def filled_history(stamps_ns: np.ndarray, **settings_: object) -> PoseHistory:
    """History of the walker."""
    history = PoseHistory(**settings_)
    for stamp, pose in zip(stamps_ns, walker(seconds(stamps_ns))):
        assert history.add(int(stamp), pose).accepted
    return history


def ready(history: PoseHistory) -> ObservedWindow:
    """Window of a history that must have one."""
    window = history.window()
    assert isinstance(window, ObservedWindow), window
    return window


def error_m(window: ObservedWindow) -> float:
    """Largest distance of a joint from where the walker really was."""
    truth = walker(seconds(window.stamp_ns) + GRID_S)
    return float(np.linalg.norm(window.poses - truth, axis=-1).max())


# Resampling


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


# Order of arrival


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


# Memory


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


def test_a_long_recording_takes_no_more_than_a_short_one() -> None:
    history = PoseHistory()
    for stamp in range(START, START + 60 * SECOND, SECOND // 60):
        history.add(stamp, walker(np.zeros(1))[0])
    assert len(history) < 60 * 2
    assert len(history._poses.stamps) <= 256


# Someone who has just appeared


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


# Missing joints


def with_missing(
    joints: list[str], first: int, last: int, rate_hz: float = 30.0
) -> tuple[PoseHistory, np.ndarray]:
    """Walker whose joints are NaN from pose ``first`` to ``last``, counted from the end."""
    stamps = stamps_at(rate_hz)
    poses = walker(seconds(stamps))
    columns = [H36M17.index(joint) for joint in joints]
    rows = np.arange(len(stamps))[-first : len(stamps) - last]
    poses[np.ix_(rows, columns)] = np.nan
    history = PoseHistory()
    for stamp, pose in zip(stamps, poses):
        history.add(int(stamp), pose)
    return history, stamps


def bone_lengths(poses: np.ndarray) -> np.ndarray:
    """Lengths of all bones, (..., 16)."""
    child, parent = np.array(H36M17.bones).T
    return np.linalg.norm(poses[..., child, :] - poses[..., parent, :], axis=-1)


@pytest.mark.parametrize('joint', H36M17.joints)
@pytest.mark.parametrize('when', ['before', 'now'])
def test_a_short_gap_is_filled_with_bone_lengths_kept_and_marked(joint: str, when: str) -> None:
    history, _ = with_missing([joint], *((12, 6) if when == 'before' else (6, 0)))
    window = ready(history)
    assert error_m(window) < (0.03 if when == 'before' else 0.16)
    lengths = bone_lengths(walker(np.zeros(1)))
    np.testing.assert_allclose(bone_lengths(window.poses), lengths + np.zeros((25, 1)), atol=0.012)
    column = H36M17.index(joint)
    assert window.filled[:, column].sum() >= 9
    assert window.filled[-1, column] == (when == 'now')
    others = np.delete(window.filled, column, axis=1)
    assert not others.any()
    assert history.counters.joints_not_finite == 6
    assert history.counters.windows_filled == 1


def test_a_whole_arm_or_leg_can_be_missing_for_a_moment() -> None:
    history, _ = with_missing(['LShoulder', 'LElbow', 'LWrist', 'RKnee', 'RAnkle'], 12, 6)
    window = ready(history)
    assert error_m(window) < 0.06
    lengths = bone_lengths(walker(np.zeros(1)))
    np.testing.assert_allclose(bone_lengths(window.poses), lengths + np.zeros((25, 1)), atol=0.02)


def test_an_elbow_between_seen_joints_stays_between_them() -> None:
    history, _ = with_missing(['LElbow'], 6, 0)
    window = ready(history)
    np.testing.assert_allclose(
        bone_lengths(window.poses)[-1], bone_lengths(walker(np.zeros(1)))[0], atol=0.003
    )


def test_a_joint_missing_for_too_long_gives_no_window() -> None:
    history, _ = with_missing(['RWrist'], 12, 0)
    assert history.window() is NotReady.JOINT_MISSING
    never, _ = with_missing(['RWrist'], 46, 0)
    assert never.window() is NotReady.JOINT_MISSING


def test_after_a_long_gap_the_person_is_as_one_who_has_just_appeared() -> None:
    stamps = stamps_at(30)
    stamps = np.concatenate((stamps[:-25], stamps[-10:]))
    reasons = []
    history = PoseHistory()
    for stamp, pose in zip(stamps, walker(seconds(stamps))):
        history.add(int(stamp), pose)
        reasons.append(history.window())
    assert reasons[-10] is NotReady.GAP_TOO_LONG
    window = ready(history)
    assert window.padded_frames == 25 - 16
    first = walker(seconds(stamps[-10:-9]))[0]
    np.testing.assert_allclose(window.poses[0], first, atol=1e-9)


def test_a_joint_that_returns_after_too_long_starts_anew_too() -> None:
    just_back, _ = with_missing(['RWrist'], 24, 2)
    assert just_back.window() is NotReady.JOINT_MISSING
    back, _ = with_missing(['RWrist'], 24, 10)
    assert ready(back).padded_frames > 0


def test_a_joint_last_seen_before_another_returned_gives_no_window() -> None:
    stamps = stamps_at(60.0, 1.0)
    count = len(stamps)
    seen = np.ones((count, 17), dtype=bool)
    seen[count - 40 : count - 16, H36M17.index('RWrist')] = False
    seen[count - 16 :, H36M17.index('LWrist')] = False
    history = PoseHistory()
    for stamp, pose, valid in zip(stamps, walker(seconds(stamps)), seen):
        history.add(int(stamp), pose, valid)
    assert history.window() is NotReady.JOINT_MISSING


@pytest.mark.parametrize('joints', [['Head'], ['Nose'], ['Head', 'Nose'], ['Spine'],
                                    ['Head', 'Nose', 'Spine']])  # fmt: skip
@pytest.mark.parametrize('seen_before', [True, False])
def test_head_and_spine_follow_the_torso_for_as_long_as_needed(
    joints: list[str], seen_before: bool
) -> None:
    history, _ = with_missing(joints, 40 if seen_before else 46, 0)
    window = ready(history)
    assert error_m(window) < (0.01 if seen_before else 0.06)
    columns = [H36M17.index(joint) for joint in joints]
    assert window.filled[:, columns].all()


def test_a_thorax_and_spine_gone_together_are_filled_sensibly() -> None:
    history, _ = with_missing(['Spine', 'Thorax'], 12, 7)
    assert error_m(ready(history)) < 0.03


def test_joints_at_exactly_zero_are_missing() -> None:
    stamps = stamps_at(30)
    history = filled_history(stamps[:-1])
    pose = walker(seconds(stamps[-1:]))[0]
    pose[H36M17.index('LWrist')] = 0.0
    assert history.add(int(stamps[-1]), pose) is AddOutcome.APPENDED
    assert history.counters.joints_at_origin == 1
    assert ready(history).filled[-1, H36M17.index('LWrist')]
    assert error_m(ready(history)) < 0.05


@pytest.mark.parametrize('joint', H36M17.joints)
@pytest.mark.parametrize('place', [(0.1, 0.0, 1.2), (30.0, -2.0, 1.0), (5.0, -2.0, 3.6)])
def test_a_joint_off_the_body_is_missing_and_no_other(joint: str, place: tuple) -> None:
    stamps = stamps_at(30)
    history = filled_history(stamps[:-1])
    pose = walker(seconds(stamps[-1:]))[0]
    pose[H36M17.index(joint)] = place
    history.add(int(stamps[-1]), pose)
    window = ready(history)
    assert history.counters.joints_off_body == 1
    assert [H36M17.joints[j] for j in np.flatnonzero(window.filled[-1])] == [joint]
    assert error_m(window) < 0.06


def test_a_pose_without_a_body_is_refused() -> None:
    history = PoseHistory()
    rng = np.random.default_rng(0)
    nonsense = {
        'millimetres': 1000.0 * walker(np.zeros(1))[0],
        'one point': np.full((17, 3), 1.0) + 1e-3 * rng.normal(size=(17, 3)),
        'nothing': np.full((17, 3), np.nan),
        'zeros': np.zeros((17, 3)),
        'noise': 100.0 * rng.normal(size=(17, 3)),
    }
    for name, pose in nonsense.items():
        assert history.add(START, pose) is AddOutcome.WITHOUT_BODY, name
    assert history.counters.poses_without_body == len(nonsense)
    assert len(history) == 0


def test_people_of_any_size_have_a_body() -> None:
    pose = walker(np.zeros(1))[0]
    for size in (0.5, 1.0, 1.25):
        history = PoseHistory()
        assert history.add(START, size * (pose - pose[0]) + pose[0]).accepted
        assert history.counters.joints_off_body == 0


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


def test_another_skeleton_is_filled_by_its_own_bones() -> None:
    config = replace(
        H36M17, name='bare', joints=tuple(f'j{i}' for i in range(17)),
    )  # fmt: skip
    history = PoseHistory(skeleton=config)
    stamps = stamps_at(30)
    for index, (stamp, pose) in enumerate(zip(stamps, walker(seconds(stamps)))):
        if 36 <= index < 42:
            pose[3] = np.nan
        history.add(int(stamp), pose)
    assert error_m(ready(history)) < 0.05


# One person under a new name


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


# Settings


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


@pytest.mark.parametrize('scale', [30.0, 1e4, 1e9, 1e30, 1e200])
@pytest.mark.parametrize('turn', [1.0, -1.0])
def test_a_body_of_absurd_size_is_no_body(scale: float, turn: float) -> None:
    # All joints far apart, but many of them in the same direction.
    history = PoseHistory()
    pose = scale * turn * walker(np.zeros(1))[0]
    assert history.add(0, pose) is AddOutcome.WITHOUT_BODY
    assert history.counters.joints_off_body + history.counters.joints_not_finite > 0


def test_a_body_beyond_the_earth_is_no_body() -> None:
    history = PoseHistory()
    assert history.add(0, walker(np.zeros(1))[0] + 1e12) is AddOutcome.WITHOUT_BODY
    assert history.add(1, walker(np.zeros(1))[0] + 5e6).accepted
