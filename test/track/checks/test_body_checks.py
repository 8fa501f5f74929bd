# SPDX-License-Identifier: Apache-2.0
"""What cannot be people in metres, upright, left being left, is said to be so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tracker_people import source_pose

from motion_predictor.body.layout_file import layout
from motion_predictor.body.skeleton import H36M17
from motion_predictor.recordings.npz_clips import read_npz
from motion_predictor.recordings.walker import synthetic_walkers
from motion_predictor.sources.observation import Observation
from motion_predictor.track.checks.body_checks import BodyChecks, fitting_layout, height_m

SECOND = 1_000_000_000
WALK = synthetic_walkers(1, 4.0, rate_hz=25.0).persons['0'].astype(float)
MIRROR = np.array(H36M17.mirror)
DATA = Path(__file__).resolve().parents[3] / 'shared' / 'data'
Change = Callable[[np.ndarray], np.ndarray]


def checked(change: Change, poses: np.ndarray = WALK) -> BodyChecks:
    """Look at somebody whose poses are changed."""
    checks = BodyChecks(layout('h36m17'))
    for frame, pose in enumerate(poses):
        stamps = np.array([SECOND + frame * SECOND // 25])
        seen = np.zeros((1, 17), dtype=bool)
        checks.note(['ada'], stamps, change(pose)[None], seen)
    return checks


def optical(pose: np.ndarray) -> np.ndarray:
    """Turn to x right, y down, z ahead."""
    return np.stack([-pose[:, 1], 1.2 - pose[:, 2], pose[:, 0]], axis=-1)


def y_up(pose: np.ndarray) -> np.ndarray:
    """Turn to y up."""
    return np.stack([pose[:, 0], pose[:, 2], -pose[:, 1]], axis=-1)


@pytest.mark.parametrize(
    'change,words',
    [
        (optical, ['ada along -y', '[-1.5708, 0.0, 0.0]']),
        (y_up, ['ada along y', '[1.5708, 0.0, 0.0]']),
        (lambda pose: pose * [1.0, -1.0, -1.0], ['ada along -z', '[3.1416, 0.0, 0.0]']),
        (lambda pose: 0.3 * pose, ['body height ada 0.', 'input.units_scale']),
        (lambda pose: 1.6 * pose, ['body height ada 2.', 'input.units_scale']),
        (lambda pose: 1000.0 * pose, ['body height ada 1', 'input.units_scale']),
        (lambda pose: pose[MIRROR], ['ada mirrored', 'left and right']),
        (lambda pose: pose * [1.0, -1.0, 1.0], ['ada mirrored', 'flipped']),
        (lambda pose: pose * [1.0, 0.0, 1.0], ['ada flat as an image']),
    ],
    ids=['optical', 'y up', 'z down', '0.3x', '1.6x', 'millimetres', 'sides', 'image', 'flat'],
)  # fmt: skip
def test_what_cannot_be_is_said_with_what_would_do(change: Change, words: list[str]) -> None:
    told = '; '.join(checked(change).complaints())
    for word in words:
        assert word in told


def test_the_rotation_that_is_named_sets_the_frame_right() -> None:
    from motion_predictor.body.geometry import rotation_matrix

    for change, rotation in (
        (optical, [-np.pi / 2, 0.0, 0.0]),
        (y_up, [np.pi / 2, 0.0, 0.0]),
        (lambda pose: pose[:, [2, 1, 0]] * [1.0, 1.0, -1.0], [0.0, -np.pi / 2, 0.0]),
        (lambda pose: pose[:, [2, 1, 0]] * [-1.0, 1.0, 1.0], [0.0, np.pi / 2, 0.0]),
    ):
        assert 'along' in checked(change).complaints()[0]
        turn = rotation_matrix(rotation)
        level = checked(lambda pose, change=change, turn=turn: change(pose) @ turn.T)
        assert level.complaints() == []


def test_good_people_of_any_size_raise_no_doubt() -> None:
    for scale in (0.6, 1.0, 1.15):
        checks = checked(lambda pose, scale=scale: scale * pose)
        assert checks.complaints() == []
        checks.look_at(0.0, [Observation(0, '', 'ada', scale * WALK[0])])
        assert not checks.has_doubts
    assert checks.heights_m == {
        'ada': pytest.approx(1.15 * (height_m(WALK[0]) - 0.08) + 0.08, abs=1e-3)
    }


@pytest.mark.parametrize('name,count', [('coco17', 1), ('zed34', 2), ('coco17', 3)])
def test_joints_of_another_layout_are_known_by_their_bones(name: str, count: int) -> None:
    sent = layout(name)
    points = np.concatenate([source_pose(sent, WALK[50])] * (1 if name == 'zed34' else count))
    read_as = points.reshape(-1, 17, 3)
    checks = BodyChecks(layout('h36m17'))
    for frame in range(60):
        checks.look_at(frame / 25.0, [Observation(0, '', 'ada', pose) for pose in read_as])
    assert f'{name} fits better (input.skeleton)' in '; '.join(checks.complaints())


def test_the_layout_that_is_right_is_not_doubted() -> None:
    points = np.concatenate([WALK[0], WALK[40] + 2.0])
    assert fitting_layout(points, np.ones(len(points), bool), layout('coco17')) == 'h36m17'


@pytest.mark.skipif(not DATA.is_dir(), reason='the recordings are not at hand')
@pytest.mark.parametrize('name', ['cmu17', 'rocketbox17', 'uiprmd17'])
def test_recorded_people_raise_no_complaint(name: str) -> None:
    file = DATA / name / 'test.npz'
    with np.load(file) as stored:
        clips = [str(clip) for clip in stored['names']][::4]
    for clip in clips:
        (poses,) = read_npz(file, clip).persons.values()
        checks = BodyChecks(layout('h36m17'))
        for frame in range(0, len(poses), 3):
            stamps = np.array([SECOND + frame * SECOND // 25])
            seen = np.zeros((1, 17), dtype=bool)
            checks.note([clip], stamps, poses[frame][None].astype(float), seen)
            checks.look_at(frame / 25.0, [Observation(0, '', clip, poses[frame].astype(float))])
            if frame % 24 == 0:
                assert checks.complaints() == []
