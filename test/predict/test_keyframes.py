# SPDX-License-Identifier: Apache-2.0
"""Keyframes lie on the model's frames."""

from __future__ import annotations

import numpy as np

from motion_predictor.predict.keyframes import keyframes, LAST_POSE, poses_at


def test_keyframes_lie_on_the_models_frames_and_zero_is_the_last_pose() -> None:
    assert keyframes([1.0, 0.0, 0.1, 0.02], 50.0, 100).tolist() == [LAST_POSE, 0, 4, 49]
    assert keyframes([3.0, 2.0, 60.0], 50.0, 100).tolist() == [99]
    rng = np.random.default_rng(9)
    futures, last = rng.normal(size=(2, 100, 3, 3)), rng.normal(size=(2, 3, 3))
    poses = poses_at(futures, last, np.array([LAST_POSE, 4]))
    np.testing.assert_array_equal(poses[:, 0], last)
    np.testing.assert_array_equal(poses[:, 1], futures[:, 4])
