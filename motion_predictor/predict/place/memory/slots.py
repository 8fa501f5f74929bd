# SPDX-License-Identifier: Apache-2.0
"""A ring of slots for remembered poses, in arrays that grow up to a given size."""

from __future__ import annotations

from collections.abc import Callable, Collection
import math

import numpy as np

from motion_predictor.predict.place.memory.pending import MOST_UNSEEN, Pending

BLOCK = 4096
"""Number of slots that are added at a time."""


def lacks_much(seen: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """
    Return whether moments lack too much of what a person shows to say what follows.

    :param seen: which joints of each moment were seen, bool ``(..., J)``.
    :param shown: which joints of the person are seen, bool ``(J,)``.
    :returns: bool ``(...)``.
    """
    return np.asarray((shown & ~seen).sum(axis=-1) > MOST_UNSEEN * seen.shape[-1])


class Slots:
    """
    The poses of everybody, oldest first. A slot keeps its number; the oldest are overwritten.

    Slot i lies at ``i % capacity`` of the arrays. ``poses`` and ``velocities`` are float32 (N, J,
    3), ``headings`` float32 (N, 2), ``seen`` bool (N, J), ``keys`` float32 (N, R). ``norms`` (N,)
    are the squared lengths of the keys, infinite if there is no moment. ``paths`` is int64 (N, H +
    1), the slots of each moment and of what followed it. ``stamps`` and ``tracks`` are int64 (N,).
    """

    def __init__(self, capacity: int, joints: int, rank: int, steps: int) -> None:
        """
        Begin without poses.

        :param capacity: greatest number of slots.
        :param joints: number of joints, J.
        :param rank: length of a key, R.
        :param steps: number of poses that follow a moment, H.
        """
        self.capacity, self.joints, self.rank, self.steps = capacity, joints, rank, steps
        self.clear()

    @staticmethod
    def bytes_of_one(joints: int, rank: int, steps: int) -> int:
        """Return the size of one slot in bytes; parameters as for :meth:`__init__`."""
        return 4 * (6 * joints + rank + 1 + 2) + 8 * (steps + 1 + 2) + joints

    def clear(self) -> None:
        """Drop all slots."""
        joints, room = self.joints, self.capacity
        # The system allocates only memory that is written to.
        self._room = {
            'poses': np.zeros((room, joints, 3), dtype=np.float32),
            'velocities': np.zeros((room, joints, 3), dtype=np.float32),
            'headings': np.zeros((room, 2), dtype=np.float32),
            'seen': np.zeros((room, joints), dtype=bool),
            'keys': np.zeros((room, self.rank), dtype=np.float32),
            'norms': np.zeros(room, dtype=np.float32),
            'paths': np.zeros((room, self.steps + 1), dtype=np.int64),
            'stamps': np.zeros(room, dtype=np.int64),
            'tracks': np.zeros(room, dtype=np.int64),
        }
        self._hold(0)
        self.head = 0
        self.moments = 0
        self.half_seen = False
        """True if the slots may hold a person of whom many joints were never seen."""

    @property
    def span(self) -> tuple[int, int]:
        """Return the first slot that is still held, and the next free one."""
        return max(self.head - self.capacity, 0), self.head

    def columns(self, first: int, last: int) -> dict[str, np.ndarray]:
        """
        Return a copy of the content of some slots.

        :param first: the first slot, which must be held.
        :param last: one past the last slot.
        :returns: ``poses`` and ``velocities`` float32 (N, J, 3), ``seen`` bool (N, J), ``stamps``
            int64 (N,), ``tracks`` int64 (N,), and ``paths`` int64 (N, H + 1): the slots of each
            moment and of what followed it, -1 if there is no moment.
        """
        at = np.arange(first, last) % self.capacity
        moment = np.isfinite(self.norms[at])[:, None]
        return {
            'poses': self.poses[at],
            'velocities': self.velocities[at],
            'seen': self.seen[at],
            'stamps': self.stamps[at],
            'tracks': self.tracks[at],
            'paths': np.where(moment, self.paths[at], -1),
        }

    def drop(self, tracks: Collection[int]) -> tuple[int, Callable[[int], int]] | None:
        """
        Drop the slots of some people without a trace; those of others get new numbers.

        :param tracks: numbers of their histories.
        :returns: the number of dropped moments, and a function from a slot's former number to its
            new one, -1 if it is no longer held; None if nothing was dropped.
        """
        first, last = self.span
        at = np.arange(first, last) % self.capacity
        kept = ~np.isin(self.tracks[at], list(tracks))
        if kept.all():
            return None
        held, count = at[kept], int(kept.sum())
        moments = np.isfinite(self.norms[at])
        forgotten = int((moments & ~kept).sum())
        anew = np.cumsum(kept) - 1  # a path is of one person: all of its slots are kept or none
        former = np.where(moments[kept, None], self.paths[held], first)
        paths = np.where(moments[kept, None], anew[former - first], 0)
        for name in self._room:
            values = getattr(self, name)
            values[:count] = values[held]
            values[count:] = 0
        self.paths[:count] = paths
        self.norms[count:] = math.inf
        self.head = count
        self.moments -= forgotten
        return forgotten, lambda slot: int(anew[slot - first]) if slot >= first else -1

    def store(self, track: int, pending: Pending, index: int) -> int:
        """
        Store a pose that is not a moment yet.

        :param track: number of the person's history.
        :param pending: pending poses of that track.
        :param index: index of the pose in them.
        :returns: its slot.
        """
        slot = self.head
        if len(self.poses) < self.capacity and slot >= len(self.poses):
            self.grow()
        at = slot % self.capacity
        if slot >= self.capacity and math.isfinite(self.norms[at]):
            self.moments -= 1
        self.poses[at] = pending.poses[index]
        self.velocities[at] = pending.velocities[index]
        self.headings[at] = pending.headings[index]
        self.seen[at] = pending.seen[index]
        self.half_seen |= bool(lacks_much(pending.seen[index], np.ones(self.joints, dtype=bool)))
        self.keys[at] = pending.keys[index]
        self.norms[at] = math.inf  # no moment yet
        self.stamps[at] = pending.stamps[index]
        self.tracks[at] = track
        self.head += 1
        return slot

    def _hold(self, count: int) -> None:
        self.poses = self._room['poses'][:count]
        self.velocities = self._room['velocities'][:count]
        self.headings = self._room['headings'][:count]
        self.seen = self._room['seen'][:count]
        self.keys = self._room['keys'][:count]
        self.norms = self._room['norms'][:count]
        self.paths = self._room['paths'][:count]
        self.stamps = self._room['stamps'][:count]
        self.tracks = self._room['tracks'][:count]

    def grow(self) -> None:
        """Add a block of slots, within the capacity."""
        old = len(self.poses)
        self._hold(min(old + BLOCK, self.capacity))
        self.norms[old:] = math.inf
