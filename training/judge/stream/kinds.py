"""
What kind of motion a prediction is judged on, from what the person truly did.

The thresholds stand between what the recordings of each kind show (medians over windows of .5 s,
mean speed of the joints over steps of .1 s): people who wait .01 m/s, hands at work .02 to .11
with a fastest joint of .2 to .5, the slowest exercise (a forearm turned outwards) .06 with .9,
gestures .05 to .25, walking from .5 on. Travel in the next two seconds: waiting .01 m, work and
exercise up to .2, strolling 1.0, walking 2.4. Hips over the lowest ankle, in lengths of the leg:
standing .93 to 1.0, on a chair .61, on a step .47, crouching .24; the thighs' slope likewise .9,
.26, 0 and .17. Hips rise or fall by .02 m in work and walking, by .3 m or more in standing up,
on a ladder and on stairs.
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
"""Speeds are taken over so long, so that a recording's noise is not motion."""
STILL_M_S = 0.05
"""Mean speed of the joints of somebody who is still, at most."""
STILL_JOINT_M_S = 0.25
"""And speed of the fastest joint."""
MOVING_M_S = 0.12
"""Mean speed of the joints of somebody who has begun to move, at least at one instant."""
MOVING_JOINT_M_S = 0.6
"""Or speed of one joint."""
TRAVEL_M_S = 0.35
"""Speed of the root over the floor, from now to the end of the future, of somebody who walks."""
HEIGHT_M = 0.25
"""The root's height changes by more where somebody climbs or gets up."""
LOW_HIPS = 0.75
"""Hips lower over the ankles than this share of the leg's length ..."""
LOW_THIGHS = 0.55
"""... with thighs whose slope (height over length) is below this: somebody sits."""

# Joints of Human3.6M: hips, knees, ankles.
_HIPS, _KNEES, _ANKLES = (1, 4), (2, 5), (3, 6)
_SAYS_SEATED = re.compile(r'^sit\b(?!.*\b(down|up|stand)\b)|\bseated\b|\bsitting\b')
_SAYS_CLIMBING = re.compile(r'climb|stair|steps|ladder|(sit|stand|get|lie)\b.*\b(up|down|stand)\b')
_SAYS_EXERCISE = re.compile(r'squat|lunge|jump|\bhop|dance|kick|cartwheel|basketball|boxing')


def kind_of(
    poses: NDArray[np.floating], observed_frames: int, rate_hz: float, action: str = ''
) -> str:
    """
    Name the kind of a motion.

    In this order: whoever rises or falls by much climbs or gets up (exercises that are named as
    such apart, and who stands still before, which is an onset); whoever is named so or whose hips
    stay low is seated; whoever stands still is idle, or an onset where the next second holds
    motion; whoever travels walks; the rest is work and exercise.

    :param poses: what truly happened before and after, metres, z up, joints of Human3.6M,
        ``(T_obs + T_fut, 17, 3)``.
    :param observed_frames: T_obs.
    :param rate_hz: frames per second.
    :param action: what the recording says is done.
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
