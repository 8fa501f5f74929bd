# SPDX-License-Identifier: Apache-2.0
"""A frame that moves is told from one that stands or is corrected."""

from __future__ import annotations

import numpy as np
import pytest

from motion_predictor.body.geometry import rotation_matrix
from motion_predictor.sources.tf.frame_motion import FrameMotion


def watched(drive_m_s: float, turn_rad_s: float, jump_m: float = 0.0) -> str:
    """Look at a frame every second for 20 s; ``jump_m`` is one correction of it."""
    motion = FrameMotion('base_link')
    for second in range(20):
        place = np.array([drive_m_s * second + jump_m * (second >= 10), 0.0, 0.0])
        motion.note(float(second), 'odom', rotation_matrix([0.0, 0.0, turn_rad_s * second]), place)
    return motion.complaint


@pytest.mark.parametrize('drive_m_s,turn_rad_s', [(0.8, 0.0), (0.0, 0.5), (-0.2, 0.1)])
def test_a_frame_that_drives_or_turns_is_told(drive_m_s: float, turn_rad_s: float) -> None:
    told = watched(drive_m_s, turn_rad_s)
    for words in ("'base_link' moves in 'odom'", 'odom or map'):
        assert words in told


@pytest.mark.parametrize('jump_m', [0.0, 0.5])
def test_a_frame_that_stands_or_is_corrected_once_is_not(jump_m: float) -> None:
    assert watched(0.001, 0.001, jump_m) == ''


def test_another_root_begins_anew() -> None:
    motion = FrameMotion('base_link')
    for second in range(10):
        root = 'odom' if second % 2 else 'map'
        motion.note(float(second), root, np.eye(3), np.array([1.0 * second, 0.0, 0.0]))
    assert motion.complaint == ''
