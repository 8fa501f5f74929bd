# SPDX-License-Identifier: Apache-2.0
"""Slips of a tracker within one body: sides that change places, joints that leap away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.model.config import WindowConfig
from motion_predictor.predict.live import LivePredictor
from motion_predictor.predict.prediction import Prediction
from motion_predictor.recordings.npz_clips import read_npz
from motion_predictor.recordings.walker import synthetic_walkers, walk
from motion_predictor.sources.observation import Observation
from motion_predictor.track.slips.body_motion import BodyMotion
from motion_predictor.track.slips.body_watch import BodyWatch
from motion_predictor.track.window import ObservedWindow

SECOND = 1_000_000_000
RATE_HZ = 30
MIRROR = np.array(H36M17.mirror)
WRIST = H36M17.index('RWrist')
LIMBS = [H36M17.index(joint) for joint in ('RWrist', 'LWrist', 'RAnkle', 'LAnkle')]
WALK = synthetic_walkers(1, 8.0, rate_hz=RATE_HZ).persons['0'].astype(float)
DATA = Path(__file__).resolve().parents[3] / 'shared' / 'data'
EVERY_JOINT = np.ones(17, dtype=bool)


class Unasked:
    """A model that nobody asks."""

    window = WindowConfig()
    skeleton: Skeleton = H36M17

    def predict(
        self, observed: np.ndarray, *, samples: int, seed: int, seen: np.ndarray | None = None
    ) -> Prediction:
        """Fail: only the windows are looked at here."""
        raise AssertionError


def windows(
    change: Callable[[np.ndarray, int], np.ndarray], poses: np.ndarray = WALK
) -> tuple[list[ObservedWindow], dict[str, int]]:
    """Show somebody whose poses are changed; every window there was, and the counters."""
    online, found = LivePredictor(Unasked()), []
    for frame, pose in enumerate(poses):
        stamp = SECOND + round(frame * SECOND / RATE_HZ)
        online.observe(Observation(stamp, 'map', 'ada', change(pose.copy(), frame)))
        snapshot = online.snapshot()
        assert snapshot is not None
        found += snapshot.windows
    return found, online.counters


def flipped(when: Callable[[int], bool]) -> Callable[[np.ndarray, int], np.ndarray]:
    """Exchange left and right of some frames."""
    return lambda pose, frame: pose[MIRROR] if when(frame) else pose


@pytest.mark.slow
@pytest.mark.parametrize(
    'when,count',
    [
        (lambda frame: frame % 30 == 29, 8),
        (lambda frame: frame % 30 >= 27, 24),
        (lambda frame: frame // 4 % 2 == 1, 120),
    ],
    ids=['one a second', 'three a second', 'half of them'],
)
def test_frames_with_left_and_right_exchanged_change_nothing(
    when: Callable[[int], bool], count: int
) -> None:
    expected, before = windows(lambda pose, frame: pose)
    found, counted = windows(flipped(when))
    assert (before['poses_exchanged'], counted['poses_exchanged']) == (0, count)
    assert len(found) == len(expected)
    for one, other in zip(found, expected):
        np.testing.assert_array_equal(one.poses, other.poses)
        assert not one.filled.any()


@pytest.mark.slow
@pytest.mark.parametrize('speed_m_s', [0.0, 2.0, 4.0])
@pytest.mark.parametrize('rate_hz', [5, 8, 25])
def test_exchanged_sides_are_known_at_any_rate_and_pace(rate_hz: int, speed_m_s: float) -> None:
    exchanged = missed = 0
    for seed in range(4):
        poses = walk(20.0, float(rate_hz), np.random.default_rng(seed)).astype(float)
        at_s = np.arange(len(poses)) / rate_hz
        poses[..., 0] += speed_m_s * np.sin(1.3 * at_s)[:, None] / 1.3
        watch = BodyWatch(H36M17)
        for frame, pose in enumerate(poses):
            flip = frame % 5 == 4
            stamp = SECOND + frame * SECOND // rate_hz
            mended = watch.mend(stamp, pose[MIRROR] if flip else pose, EVERY_JOINT)
            watch.note(stamp, mended.xyz, mended.seen)
            exchanged += flip
            missed += mended.exchanged is not flip
    assert exchanged >= 80
    assert missed == 0


def test_sides_that_stay_exchanged_are_believed_after_a_second_and_nothing_jumps() -> None:
    found, counted = windows(flipped(lambda frame: frame >= 60))
    assert counted['sides_believed'] == 1
    assert 30 <= counted['poses_exchanged'] <= 31
    expected, _ = windows(flipped(lambda frame: True))
    np.testing.assert_array_equal(found[-1].poses, expected[-1].poses)
    for window in found:
        speed = np.linalg.norm(np.diff(window.poses, axis=0), axis=-1).max() * 50.0
        assert speed < 8.0


@pytest.mark.slow
def test_a_nose_made_from_the_wrong_sides_is_not_believed() -> None:
    nose = H36M17.index('Nose')

    def behind(pose: np.ndarray, frame: int) -> np.ndarray:
        if frame % 30 != 29:
            return pose
        made = pose[MIRROR]
        made[nose] += [0.2, 0.2, 0.0]
        return made

    found, counted = windows(behind)
    expected, _ = windows(lambda pose, frame: pose)
    assert counted['poses_exchanged'] == 8
    worst = max(np.abs(one.poses - two.poses).max() for one, two in zip(found, expected))
    assert worst < 0.06, 'the nose behind the head was used'


@pytest.mark.slow
@pytest.mark.parametrize(
    'joints,share,depth_m',
    [([WRIST], 0.05, 0.5), ([WRIST], 0.2, 0.5), (LIMBS, 0.1, 0.4)],
    ids=['wrist, 5 %', 'wrist, 20 %', 'wrists and ankles, 10 %'],
)
def test_a_joint_that_takes_the_depth_of_the_wall_is_not_seen_there(
    joints: list[int], share: float, depth_m: float
) -> None:
    rng = np.random.default_rng(5)
    slips = rng.random((len(WALK), len(joints))) < share
    slips[:5] = False

    def change(pose: np.ndarray, frame: int) -> np.ndarray:
        pose[joints] += slips[frame, :, None] * np.array([0.0, depth_m, 0.0])
        return pose

    found, counted = windows(change)
    expected, _ = windows(lambda pose, frame: pose)
    assert counted['joints_leapt'] + counted['joints_off_body'] >= 0.95 * slips.sum()
    right = {window.stamp_ns: window.poses for window in expected}
    off = [np.abs(window.poses - right[window.stamp_ns]).max() for window in found]
    assert len(off) > 0.95 * len(expected)
    assert np.median(off) < 0.02  # of the worst joint of the worst frame of a window
    assert np.mean(off) < 0.15


def test_a_joint_that_stays_where_it_leapt_is_there() -> None:
    def change(pose: np.ndarray, frame: int) -> np.ndarray:
        if frame >= 100:  # the forearm turns half round
            pose[WRIST] = 2.0 * pose[H36M17.index('RElbow')] - pose[WRIST]
        return pose

    found, counted = windows(change)
    assert 2 <= counted['joints_leapt'] <= 3
    np.testing.assert_allclose(found[-1].poses[-1], change(WALK[-1].copy(), 239))


def test_most_joints_leaping_at_once_is_the_person() -> None:
    def change(pose: np.ndarray, frame: int) -> np.ndarray:
        return pose + [0.5, 0.0, 0.0] if frame >= 100 else pose

    _, counted = windows(change)
    assert counted['joints_leapt'] == 0


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason='the recordings are not at hand')
@pytest.mark.parametrize('step,noise_m', [(1, 0.0), (2, 0.0), (5, 0.0), (1, 0.02)])
def test_no_recorded_motion_however_fast_is_a_slip(step: int, noise_m: float) -> None:
    rng = np.random.default_rng(0)
    with np.load(DATA / 'cmu17' / 'test.npz') as stored:
        names = [str(name) for name in stored['names']]
    frames = 0
    for name in names:
        (poses,) = read_npz(DATA / 'cmu17' / 'test.npz', name).persons.values()
        watch = BodyWatch(H36M17)
        for frame, pose in enumerate(poses[::step].astype(float)):
            stamp = SECOND + frame * step * SECOND // 25
            pose = pose + noise_m * rng.standard_normal(pose.shape)
            found = watch.mend(stamp, pose, EVERY_JOINT)
            assert not found.exchanged
            assert not found.leapt.any()
            watch.note(stamp, found.xyz, found.seen)
            frames += 1
    assert frames > 9000 // step


def test_arms_of_robots_are_left_alone() -> None:
    arm = Skeleton('arm', ('base', 'elbow', 'hand'), (-1, 0, 1), (0, 1, 2), zero_is_missing=False)
    model = Unasked()
    model.skeleton = arm
    online = LivePredictor(model)
    pose = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.4], [0.3, 0.0, 0.4]])
    for frame in range(30):
        pose[2, 0] = 0.3 + 0.5 * (frame % 10 == 9)
        online.observe(Observation(SECOND + frame * SECOND // 30, 'base', 'arm', pose))
    counted = online.counters
    assert counted['joints_leapt'] == counted['poses_exchanged'] == 0
    assert counted['poses_accepted'] == 30


def test_whole_poses_are_expected_as_those_with_a_joint_that_nobody_sees() -> None:
    rng = np.random.default_rng(2)
    whole, masked = BodyMotion(17), BodyMotion(18)
    stamp, pose = SECOND, WALK[0]
    for frame in range(60):
        stamp += int(rng.choice([SECOND // 30, SECOND // 30, SECOND // 5, SECOND // 2]))
        pose = WALK[frame] + rng.normal(0.0, 0.02, (17, 3))
        seen = EVERY_JOINT if frame % 13 else rng.random(17) < 0.7
        for found, other in [(whole.expect(stamp), masked.expect(stamp))]:
            assert (found is None) == (other is None)
            if found is not None and other is not None:
                np.testing.assert_array_equal(found.with_body, other.with_body[:17])
                np.testing.assert_array_equal(found.on_its_own, other.on_its_own[:17])
                np.testing.assert_array_equal(found.gap_s, other.gap_s[:17])
        whole.note(stamp, pose, seen)
        masked.note(stamp, np.vstack([pose, np.zeros(3)]), np.append(seen, False))
        assert whole.speed_m_s == pytest.approx(masked.speed_m_s)
