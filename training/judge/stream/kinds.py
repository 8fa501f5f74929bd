# SPDX-License-Identifier: Apache-2.0
"""The kind of motion in which a prediction is counted, from what the person truly did.

The thresholds lie between the values of each kind in the recordings (medians over windows of .5
s). The mean speed of the joints over steps of .1 s is .01 m/s for people who wait, and .02 to .11
for hands at work, with a fastest joint of .2 to .5. It is .06 for the slowest exercise (a forearm
turned outwards), with a fastest joint of .9, .05 to .25 for gestures, and .5 or more for walking.
The distance travelled in the next two seconds is .01 m for waiting, up to .2 for work and
exercise, 1.0 for strolling, and 2.4 for walking. The height of the hips over the lowest ankle, in
lengths of the leg, is .93 to 1.0 for standing, .61 on a chair, .47 on a step, and .24 for
crouching; the slope of the thighs is .9, .26, 0 and .17. The hips rise or fall by .02 m in work
and walking, and by .3 m or more in standing up, on a ladder and on stairs.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

IDLE = 'idle'
ONSET = 'onset'
WALKING = 'walking'
WORK = 'work and exercise'
SEATED = 'seated'
CLIMBING = 'climbing and getting up'
KINDS = (IDLE, ONSET, WALKING, WORK, SEATED, CLIMBING)

STEP_S = 0.1
"""Time in seconds over which speeds are measured, so that a recording's noise is not motion."""
STILL_M_S = 0.05
"""Largest mean speed in m/s of the joints of a person who is still,"""
STILL_JOINT_M_S = 0.25
"""and largest speed in m/s of the fastest joint."""
MOVING_M_S = 0.12
"""Least mean speed in m/s, at one instant at least, of the joints of a person who has begun to
move,"""
MOVING_JOINT_M_S = 0.6
"""or least speed in m/s of one joint."""
TRAVEL_M_S = 0.35
"""Least speed in m/s of the root over the floor, from now to the end of the future, of a person
who walks."""
HEIGHT_M = 0.25
"""Change in metres of the root's height above which a person climbs or gets up."""
LOW_HIPS = 0.75
"""A person sits if the hips are lower over the ankles than this share of the leg's length,"""
LOW_THIGHS = 0.55
"""and the slope of the thighs (height over length) is below this."""

# Joints of Human3.6M: hips, knees, ankles.
_HIPS, _KNEES, _ANKLES = (1, 4), (2, 5), (3, 6)
_SAYS_SEATED = re.compile(r'^sit\b(?!.*\b(down|up|stand)\b)|\bseated\b|\bsitting\b')
_SAYS_CLIMBING = re.compile(r'climb|stair|steps|ladder|(sit|stand|get|lie)\b.*\b(up|down|stand)\b')
_SAYS_EXERCISE = re.compile(r'squat|lunge|jump|\bhop|dance|kick|cartwheel|basketball|boxing')


def kind_of(
    poses: NDArray[np.floating], observed_frames: int, rate_hz: float, action: str = ''
) -> str:
    """
    Return the kind of a motion.

    The rules apply in this order. A person who rises or falls by much climbs or gets up. Exercises
    that are named so are kept apart, and a person who stood still before is an onset. A person is
    seated if the action says so or if the hips stay low. A person who stands still is idle, or an
    onset if the next second holds motion. A person who travels walks. The rest is work and
    exercise.

    :param poses: true motion before and after, metres, z up, joints of Human3.6M, ``(T_obs +
        T_fut, 17, 3)``.
    :param observed_frames: T_obs.
    :param rate_hz: frames per second.
    :param action: the recording's name of the action.
    :returns: one of :data:`KINDS`.
    """
    words = action.lower()
    now = observed_frames - 1
    step = max(1, round(STEP_S * rate_hz))
    speeds = np.linalg.norm(poses[step:] - poses[:-step], axis=-1) * (rate_hz / step)  # (T', J)
    before = speeds[: max(1, now - step + 1)]
    still = before.mean() < STILL_M_S and before.mean(axis=0).max() < STILL_JOINT_M_S
    seated = bool(_SAYS_SEATED.search(words)) or _sits(poses)
    stands_still = still and not seated
    next_second = speeds[now : now + round(rate_hz)]
    moves = next_second.mean(axis=1).max() >= MOVING_M_S or next_second.max() >= MOVING_JOINT_M_S
    climbs = np.ptp(poses[:, 0, 2]) > HEIGHT_M and bool(
        _SAYS_CLIMBING.search(words) or not _SAYS_EXERCISE.search(words)
    )
    if stands_still:
        return ONSET if moves else IDLE
    if climbs:
        return CLIMBING
    if seated:
        return SEATED
    ahead_s = (len(poses) - observed_frames) / rate_hz
    travel_m_s = float(np.linalg.norm(poses[-1, 0, :2] - poses[now, 0, :2])) / ahead_s
    return WALKING if travel_m_s > TRAVEL_M_S else WORK


def _sits(poses: NDArray[np.floating]) -> bool:
    hips, knees, ankles = (poses[:, list(joints)] for joints in (_HIPS, _KNEES, _ANKLES))
    thigh = np.linalg.norm(hips - knees, axis=-1)  # (T, 2)
    leg = (thigh + np.linalg.norm(knees - ankles, axis=-1)).mean(axis=1)
    height = (poses[:, 0, 2] - ankles[..., 2].min(axis=1)) / np.maximum(leg, 1e-6)
    slope = ((hips - knees)[..., 2] / np.maximum(thigh, 1e-6)).mean(axis=1)
    return bool(np.median(height) < LOW_HIPS and np.median(slope) < LOW_THIGHS)
