# SPDX-License-Identifier: Apache-2.0
"""The observed window of one person of whom every joint was seen, which is the usual case."""

from __future__ import annotations

import numpy as np

from motion_predictor.model.config import WindowConfig
from motion_predictor.track.limits import HistoryLimits
from motion_predictor.track.window import grid_s, ObservedWindow
from motion_predictor.track.windows.kernels import Cubic, cubic_weights, LOW_PASS_FROM
from motion_predictor.track.windows.stored import StoredPoses

_NS = 1e-9


def window_of_whole_body(
    stored: StoredPoses, config: WindowConfig, limits: HistoryLimits
) -> ObservedWindow | None:
    """
    Return the window of one person if nothing is missing; it costs half of one of several people.

    :param stored: the person's poses.
    :param config: rate and number of the frames.
    :param limits: limits on gaps and on what is too short.
    :returns: what :func:`motion_predictor.track.windows.all_at_once.observed_windows` returns for
        the person; None if there is a gap, a joint that was not seen, or a source that is slow,
        fast or new.
    """
    stamps = stored.stamps[stored.start : stored.stop]
    count = len(stamps)
    if count < max(limits.min_poses, 3):
        return None
    newest = int(stamps[-1])
    times = (stamps - newest) * _NS
    steps = times[1:] - times[:-1]
    ordered = np.sort(steps)
    period = 0.5 * float(ordered[(count - 2) // 2] + ordered[(count - 1) // 2])
    fast = config.rate_hz * period * LOW_PASS_FROM < 1.0
    if fast or period > 1.0 / limits.min_source_rate_hz:
        return None
    late = float(ordered[-1]) > limits.max_joint_gap_s + 1.5 * period
    if late or -float(times[0]) < limits.min_observed_s - 1e-6:
        return None
    grid = grid_s(config)
    # Poses before the window matter only for the shape of the interpolation.
    cut = min(max(int(times.searchsorted(grid[0] - 2.5 * period)) - 1, 0), count - 3)
    if not stored.valid[stored.start + cut : stored.stop].all():
        return None
    times, xyz = times[cut:], stored.xyz[stored.start + cut : stored.stop]
    begin, padded = times[0], 0
    at = grid
    if grid[0] < begin:
        at, padded = np.maximum(grid, begin), int((grid < begin - 1e-6).sum())
    left = times.searchsorted(at, side='right') - 1
    curve = Cubic(*cubic_weights(times, at, left, 0, len(times) - 2, 0))
    origin = xyz[-1, 0]
    values = (xyz - origin).reshape(len(times), -1)
    poses = (curve.dense(len(times)) @ values).reshape(len(grid), *xyz.shape[1:])
    poses += origin
    return ObservedWindow(newest, poses, np.zeros(poses.shape[:2], dtype=bool), padded, period)
