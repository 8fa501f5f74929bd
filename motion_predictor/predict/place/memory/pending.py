# SPDX-License-Identifier: Apache-2.0
"""The poses of one track whose future the memory is still waiting for."""

from __future__ import annotations

from dataclasses import dataclass, field
import math
from typing import Any, NamedTuple

import numpy as np

from motion_predictor.model.config import WindowConfig
from motion_predictor.predict.place.candidates import smoothed_window
from motion_predictor.track.window import ObservedWindow

STEP_S = 0.1
"""Time in seconds between remembered poses."""
MOST_UNSEEN = 0.25
"""Largest share of unseen joints in a remembered pose, not counting those that are unseen in the
whole window. Also the largest share, of the joints that a person shows, that a moment may lack to
help this person. Unseen joints themselves are never learnt."""
_NS = 1e-9
_FEWEST_FRAMES = 4  # poses after the first one, for a velocity


def steps_of(window: WindowConfig) -> int:
    """Return the number of poses, one every :data:`STEP_S`, that follow a moment."""
    return math.ceil(window.horizon_s / STEP_S - 1e-6)


class Taken(NamedTuple):
    """
    New poses of one track: stamps (N,), poses and velocities (N, J, 3), seen (N, J).

    ``shown`` is bool (J,), False for joints that are not seen in the whole window.
    """

    stamps: list[int]
    poses: np.ndarray
    velocities: np.ndarray
    seen: np.ndarray
    shown: np.ndarray


@dataclass
class Pending:
    """The poses of one track whose future is not complete."""

    next_ns: int = 0
    jitter: float = 0.0
    """Noise of the input, metres."""
    origin: np.ndarray = field(default_factory=lambda: np.zeros(3))
    """A point near to these poses, metres (3,); relative to it float32 is exact everywhere."""
    stamps: list[int] = field(default_factory=list)
    poses: list[np.ndarray] = field(default_factory=list)
    velocities: list[np.ndarray] = field(default_factory=list)
    keys: list[np.ndarray] = field(default_factory=list)
    headings: list[np.ndarray] = field(default_factory=list)
    seen: list[np.ndarray] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)
    """Slot of each stored pose; -1 if it is not stored yet."""

    def clear(self) -> None:
        """Drop all poses."""
        for values in self._columns():
            values.clear()

    def drop_oldest(self, count: int) -> None:
        """Drop the oldest poses, if there are any."""
        for values in self._columns():
            del values[: max(count, 0)]

    def add(self, new: Taken, keys: np.ndarray, headings: np.ndarray) -> None:
        """
        Add new poses; one with many joints filled in breaks the moments around it.

        :param new: the new poses.
        :param keys: keys of the poses, ``(N, R)``.
        :param headings: headings of the poses, ``(N, 2)``.
        """
        for index, seen in enumerate(new.seen):
            if np.count_nonzero(new.shown & ~seen) > MOST_UNSEEN * len(seen):
                self.clear()
                continue
            self.stamps.append(new.stamps[index])
            self.poses.append(new.poses[index])
            self.velocities.append(new.velocities[index])
            self.keys.append(keys[index])
            self.headings.append(headings[index])
            self.seen.append(seen)
            self.slots.append(-1)

    def _columns(self) -> tuple[list[Any], ...]:
        return (
            self.stamps, self.poses, self.velocities, self.keys, self.headings, self.seen,
            self.slots,
        )  # fmt: skip


def take(
    pending: Pending, window: ObservedWindow, jitter: float, config: WindowConfig
) -> Taken | None:
    """
    Return the new poses on a track's time grid of :data:`STEP_S`, each with its velocity.

    :param pending: pending poses of this track.
    :param window: present observed window of this track.
    :param jitter: noise of the input, metres.
    :param config: the model's window.
    :returns: None if there are none.
    """
    last, step_ns = config.observed_frames - 1, round(STEP_S / _NS)
    period_ns = round(config.period_s / _NS)
    pending.jitter = jitter
    oldest_ns = window.stamp_ns - (last - window.padded_frames) * period_ns
    missed_ns = oldest_ns - pending.next_ns
    ahead = pending.next_ns - window.stamp_ns > 10 * step_ns  # time has begun again
    if not pending.next_ns or missed_ns >= step_ns or ahead:
        pending.clear()
        pending.next_ns = oldest_ns
        pending.origin = window.poses[-1, 0].copy()
    elif missed_ns > period_ns // 2 and not pending.poses:
        pending.next_ns = oldest_ns
    count = (window.stamp_ns - pending.next_ns) // step_ns + 1
    if count < 1 or last - window.padded_frames < _FEWEST_FRAMES:
        return None
    stamps = pending.next_ns + step_ns * np.arange(count)
    pending.next_ns = int(stamps[-1]) + step_ns
    at = np.clip(last - (window.stamp_ns - stamps) / period_ns, window.padded_frames, last)
    _, seen = window.between(at)
    at -= window.padded_frames  # nothing is learnt from filled-in joints
    poses = (window.poses[window.padded_frames :] - pending.origin).astype(np.float32)
    smoothed, velocity = smoothed_window(poses, jitter, config.rate_hz)
    before = np.minimum(at.astype(np.int64), len(poses) - 2)
    share = (at - before).astype(np.float32)[:, None, None]
    pose, speed = (
        values[before] + share * (values[before + 1] - values[before])
        for values in (smoothed, velocity)
    )
    if oldest_ns - stamps[0] > period_ns // 2:
        # lost between two windows of a person who is predicted too rarely
        apart_ns, way = oldest_ns - pending.stamps[-1], pose[0] - pending.poses[-1]
        speed[0] = way / np.float32(apart_ns * _NS)
        pose[0] -= speed[0] * np.float32((oldest_ns - stamps[0]) * _NS)
    return Taken(stamps.tolist(), pose, speed, seen, window.seen)
