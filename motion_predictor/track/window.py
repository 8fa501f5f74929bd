"""The observed window: one person's poses, evenly spaced."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

import numpy as np

from motion_predictor.model.config import WindowConfig

_LOW_PASS_FROM = 1.5  # sources faster than the window by this factor are low-pass filtered
_LOW_PASS_REACH = 1.6  # half-width of the filter's kernel in periods of the window
_UNEVEN = 3.0  # neighbouring time steps whose lengths differ by more have no common slope


class NotReady(Enum):
    """Why there is no window."""

    NO_POSES = 'no_poses'
    TOO_FEW_POSES = 'too_few_poses'
    TOO_SHORT = 'too_short'
    """The person has been seen for less than min_observed_s."""
    GAP_TOO_LONG = 'gap_too_long'
    """The person was not seen for too long, and has not been seen long enough since."""
    JOINT_MISSING = 'joint_missing'
    """A joint was not seen for too long, and has not been seen long enough since."""
    SOURCE_TOO_SLOW = 'source_too_slow'


@dataclass(frozen=True)
class ObservedWindow:
    """
    The observed poses of one person, evenly spaced; the last frame is at ``stamp_ns``.

    ``poses`` is float64 (T_obs, J, 3), metres, in the source's frame, always finite. ``filled`` is
    bool (T_obs, J) and marks joints that were not seen and were filled in. The first
    ``padded_frames`` frames lie before the first observation and repeat the first pose; no motion
    is invented.
    """

    stamp_ns: int
    poses: np.ndarray
    filled: np.ndarray
    padded_frames: int
    source_period_s: float

    @property
    def seen(self) -> np.ndarray:
        """Return which joints were seen at all, bool (J,); the others are made up throughout."""
        return np.asarray(~self.filled.all(axis=0))

    def between(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        Return poses at instants between frames.

        :param frames: instants in units of frames, from 0 for the first to T_obs - 1 for the last,
            (N,).
        :returns: poses (N, J, 3), interpolated linearly between two frames; and which joints were
            seen in both frames, bool (N, J).
        """
        before = np.minimum(np.floor(frames).astype(np.int64), len(self.poses) - 2)
        share = (frames - before)[:, None, None]
        poses = self.poses[before] + share * (self.poses[before + 1] - self.poses[before])
        return poses, ~(self.filled[before] | self.filled[before + 1])


@lru_cache(maxsize=8)
def grid_s(config: WindowConfig) -> np.ndarray:
    """Return the instants of a window's frames, seconds before its last, float64 (T_obs,)."""
    found = np.arange(1 - config.observed_frames, 1) / config.rate_hz
    found.setflags(write=False)
    return found


def evenly_spaced(
    config: WindowConfig,
    newest_ns: int,
    times: np.ndarray,
    xyz: np.ndarray,
    valid: np.ndarray,
    period: float,
) -> ObservedWindow:
    """
    Resample poses to the window's frames.

    :param config: rate and number of the frames.
    :param newest_ns: stamp of the newest pose in nanoseconds, where the window ends.
    :param times: time of each pose after the newest, seconds, increasing to 0, (N,).
    :param xyz: without missing joints, metres, (N, J, 3).
    :param valid: which joints were seen, bool (N, J).
    :param period: period of the source, seconds.
    """
    grid = grid_s(config)
    padded = int((grid < times[0] - 1e-6).sum())
    at = np.maximum(grid, times[0])
    origin = xyz[-1, 0].copy()
    values = (xyz - origin).reshape(len(times), -1)  # (N, 3J)
    poses = hermite(times, values, at)
    if config.rate_hz * period * _LOW_PASS_FROM < 1.0:
        reach = _LOW_PASS_REACH * config.period_s
        _smooth(times, values, at, reach, period, poses)
    filled = np.zeros((len(grid), xyz.shape[1]), dtype=bool)
    if not valid.all():
        # A frame is filled if one of the neighbours that it is computed from is filled.
        right = np.clip(np.searchsorted(times, at - 1e-9), 0, len(times) - 1)
        left = np.clip(np.searchsorted(times, at + 1e-9, side='right') - 1, 0, right)
        filled = ~(valid[left] & valid[right])
    poses = poses.reshape(len(grid), -1, 3) + origin
    return ObservedWindow(newest_ns, poses, filled, padded, period)


def hermite(times: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """
    Interpolate by a cubic whose slopes are those of the parabola through three neighbours.

    :param times: increasing, (N,).
    :param values: ``(N, D)``.
    :param at: within ``times``, (T,).
    :returns: ``(T, D)``.
    """
    # On recorded motion it was measured to be as good as a spline at 10 to 120 Hz, and better at 5
    # Hz and with noise.
    steps = np.diff(times)
    slopes = np.diff(values, axis=0) / steps[:, None]
    tangents = np.empty_like(values)
    if len(times) > 2:
        share = (steps[1:] / (steps[1:] + steps[:-1]))[:, None]
        tangents[1:-1] = share * slopes[:-1] + (1.0 - share) * slopes[1:]
        tangents[0] = 2.0 * slopes[0] - tangents[1]
        tangents[-1] = 2.0 * slopes[-1] - tangents[-2]
    else:
        tangents[:] = slopes[0]
    left = np.clip(np.searchsorted(times, at, side='right') - 1, 0, len(times) - 2)
    width = steps[left]
    u = np.clip((at - times[left]) / width, 0.0, 1.0)
    v = 1.0 - u
    # Beside a much shorter step a slope says little: two poses at almost the same time and a
    # little apart must not throw the curve off. So the curve strays no further than such
    # neighbours are apart.
    chord = slopes[left]
    before = np.minimum(_UNEVEN * steps[np.maximum(left - 1, 0)] / width, 1.0)
    after = np.minimum(_UNEVEN * steps[np.minimum(left + 1, len(steps) - 1)] / width, 1.0)
    begin = (width * u * v * v * before)[:, None] * (tangents[left] - chord)
    end = (-width * u * u * v * after)[:, None] * (tangents[left + 1] - chord)
    return values[left] + (u * width)[:, None] * chord + begin + end


def _smooth(
    times: np.ndarray,
    values: np.ndarray,
    at: np.ndarray,
    reach: float,
    period: float,
    result: np.ndarray,
) -> None:
    # Where enough poses lie around, replace the result (T, D) by weighted local parabolas through
    # them: a low-pass filter without delay, which keeps any parabola, also at the end of the
    # window. Towards the end the kernel is one-sided and reaches further back, to as many poses.
    room = times[-1] - at
    reaches = reach + np.maximum(reach - room, 0.0)
    distance = (times - at[:, None]) / reaches[:, None]  # (T, N)
    weights = np.maximum(1.0 - distance * distance, 0.0) ** 2
    enough = (weights > 0.0).sum(axis=1) >= np.maximum(4, 0.4 * reach / period)
    # The powers of the distance under the weights give the normal equations of all frames at once.
    moments = np.empty((5, len(at)))
    columns = np.empty((3, *weights.shape))
    term = weights
    for power in range(5):
        if power < 3:
            columns[power] = term
        moments[power] = term.sum(axis=1)
        term = term * distance
    order = np.arange(3)
    normal = moments[order[:, None] + order].transpose(2, 0, 1).copy()  # (T, 3, 3)
    normal += 1e-9 * np.eye(3) * np.maximum(moments[0], 1.0)[:, None, None]
    first = np.zeros((len(at), 3, 1))
    first[:, 0] = 1.0
    solved = np.linalg.solve(normal, first)[..., 0]  # (T, 3)
    kernel = np.einsum('tp,ptn->tn', solved, columns)  # (T, N)
    # If all poses lie on one side, a parabola may amplify their noise: leave that frame alone.
    enough &= (kernel * kernel).sum(axis=1) <= 1.0
    result[enough] = (kernel @ values)[enough]
