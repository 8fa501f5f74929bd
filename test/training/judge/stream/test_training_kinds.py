# SPDX-License-Identifier: Apache-2.0
"""The kind of a motion is told from what the person truly did, and from its name."""

from collections import Counter

import numpy as np
import pytest
from random_models import walking

from motion_predictor.body.resampling import resample
from training.data.windows import load_clips, recordings_folder
from training.judge.stream.kinds import (
    CLIMBING,
    IDLE,
    kind_of,
    KINDS,
    ONSET,
    SEATED,
    WALKING,
    WORK,
)

RECORDINGS = recordings_folder()
FRAMES, OBSERVED, RATE_HZ = 125, 25, 50.0


def standing() -> np.ndarray:
    pose = np.zeros((17, 3))
    pose[[1, 2, 3], 1], pose[[4, 5, 6], 1] = -0.1, 0.1
    pose[[0, 1, 4], 2], pose[[2, 5], 2], pose[[3, 6], 2] = 0.95, 0.5, 0.05
    pose[7:, 2] = 1.3
    pose[[13, 16], 2] = 0.9
    return np.repeat(pose[None], FRAMES, axis=0)


def on_a_chair() -> np.ndarray:
    poses = standing()
    poses[:, [2, 5], 0] = 0.44  # knees before the hips, at their height
    poses[:, [3, 6], 0] = 0.44
    poses[:, [0, 1, 4], 2] = 0.52
    poses[:, 7:, 2] -= 0.43
    return poses


def waved(poses: np.ndarray, begin_frame: int) -> np.ndarray:
    poses = poses.copy()
    since = np.maximum(np.arange(FRAMES) - begin_frame, 0) / RATE_HZ
    poses[:, 15:, 2] += 0.25 * (1.0 - np.cos(2.0 * np.pi * since))[:, None]
    return poses


def risen(poses: np.ndarray, begin_frame: int) -> np.ndarray:
    poses = poses.copy()
    since = np.maximum(np.arange(FRAMES) - begin_frame, 0) / RATE_HZ
    poses[..., 2] += np.minimum(0.3 * since, 0.45)[:, None]
    return poses


@pytest.mark.parametrize(
    'poses, action, kind',
    [
        (standing(), 'idle, standing and waiting', IDLE),
        (waved(standing(), 110), 'wave', IDLE),  # after the next second
        (waved(standing(), 40), 'wave', ONSET),
        (risen(standing(), 40), 'climb ladder', ONSET),
        (waved(standing(), 0), 'wave', WORK),
        (walking(FRAMES), 'walk', WALKING),
        (on_a_chair(), 'hands at work', SEATED),
        (waved(on_a_chair(), 40), 'hands at work', SEATED),
        (standing(), 'sit table idle yawn', SEATED),
        (standing(), 'sit down chair left', IDLE),
        (standing(), 'seated, typing', SEATED),
        (risen(waved(standing(), 0), 0), 'up the stairs', CLIMBING),
        (risen(on_a_chair(), 30), 'sit stand up chair 01', CLIMBING),
        (risen(waved(standing(), 0), 0), '', CLIMBING),
        (risen(waved(standing(), 0), 0), 'deep squat', WORK),
    ],
)
def test_the_kind_of_a_motion(poses: np.ndarray, action: str, kind: str) -> None:
    assert kind_of(poses, OBSERVED, RATE_HZ, action) == kind
    turned = poses[..., [1, 0, 2]] * np.array([1.0, -1.0, 1.0]) + np.array([30.0, -20.0, 0.0])
    assert kind_of(turned, OBSERVED, RATE_HZ, action) == kind


if RECORDINGS is not None:

    @pytest.mark.parametrize(
        'name, action, kind, share',
        [
            ('reactidle17/val.npz', 'idle', IDLE, 0.8),
            ('rocketbox17/train.npz', 'sit table', SEATED, 1.0),
            ('rocketbox17/train.npz', 'sit chair', SEATED, 1.0),
            ('rocketbox17/chains_train.npz', 'walk fast', WALKING, 1.0),
            ('cmu17/val.npz', 'walk', WALKING, 0.6),  # over uneven ground, some of it
            ('cmu13more17/train.npz', 'climb ladder', CLIMBING, 0.8),
            ('cmu13more17/train.npz', 'boxing', WORK, 1.0),
            ('uiprmd17/val.npz', 'sit to stand', CLIMBING, 1.0),
            ('uiprmd17/val.npz', 'deep squat', WORK, 0.8),
        ],
    )
    def test_recordings_are_mostly_of_the_kind_that_they_say(
        name: str, action: str, kind: str, share: float
    ) -> None:
        found: Counter[str] = Counter()
        for clip in load_clips(RECORDINGS / name):
            if clip.action.startswith(action):
                poses = resample(clip.positions, clip.rate_hz, RATE_HZ)
                for begin in range(0, len(poses) - FRAMES + 1, 50):
                    window = poses[begin : begin + FRAMES]
                    found[kind_of(window, OBSERVED, RATE_HZ, clip.action)] += 1
        assert set(found) <= set(KINDS)
        assert found[kind] >= share * sum(found.values())
