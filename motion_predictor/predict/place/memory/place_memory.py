# SPDX-License-Identifier: Apache-2.0
"""The memory of a place: complete moments, found again when somebody begins the same motion.

It finds the nearest neighbours of the present pose and velocity among everything seen here, and
returns what followed them (compare motion attention, Mao et al., ECCV 2020). It needs no training
and grows while it watches.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
import math

import numpy as np

from motion_predictor.body.geometry import back, heading, turn
from motion_predictor.body.skeleton import Skeleton
from motion_predictor.errors import ConfigError
from motion_predictor.model.config import WindowConfig
from motion_predictor.predict.place.candidates import NEIGHBOURS, Stance
from motion_predictor.predict.place.memory.nearest import nearest
from motion_predictor.predict.place.memory.pending import Pending, steps_of, take, Taken
from motion_predictor.predict.place.memory.recall import (
    nothing_found,
    Recall,
    recalled,
    SAME_POSE_M,
)
from motion_predictor.predict.place.memory.slots import BLOCK, lacks_much, Slots
from motion_predictor.track.window import ObservedWindow

VELOCITY_S = 0.4
"""Weight of velocity against pose in the distance: 1 m/s counts as this many metres."""
COPIES = 5
"""Number of practically equal moments that are kept."""
SAME_FUTURE_M = 0.012
NOISE_OF_POSE, NOISE_OF_FUTURE = 8.0, 3.0
"""Distance between two equal moments that one metre of jitter causes, in their beginning (over all
numbers; less over a part of them) and in what followed."""
_POOL = 64  # number of nearest moments among which those apart in time are chosen
_NS = 1e-9
_MAX_TRACKS = 256


class PlaceMemory:
    """
    Everything seen in one place, within a given size; one thread uses it.

    The poses of everybody are kept every tenth of a second, and the oldest are overwritten. A
    moment can be found once its future is complete. Filled-in joints and padded frames are not
    learnt. People of whom many joints are never seen are learnt from and helped, by moments that
    show as much as they do. Only a few of practically equal moments are kept, so that a person who
    stands for hours fills nothing. The noisier the input, the further apart equal moments may be.
    """

    def __init__(
        self,
        window: WindowConfig,
        skeleton: Skeleton,
        basis: np.ndarray | None = None,
        megabytes: float = 64.0,
    ) -> None:
        """
        Begin with an empty memory.

        :param window: the model's window.
        :param skeleton: the model's skeleton.
        :param basis: columns that keys are projected on, ``(6 J, R)``, orthonormal; None: all.
        :param megabytes: greatest size of the memory in megabytes.
        :raises ConfigError: if the size cannot hold anything.
        """
        self.window, self.skeleton = window, skeleton
        self._basis = None if basis is None else np.ascontiguousarray(basis, dtype=np.float32)
        self._steps, joints = steps_of(window), skeleton.num_joints
        self._rank = 6 * joints if self._basis is None else self._basis.shape[1]
        self.slot_bytes = Slots.bytes_of_one(joints, self._rank, self._steps)
        self.capacity = int(megabytes * 1e6 / self.slot_bytes)
        if self.capacity < 4 * self._steps:
            raise ConfigError(f'memory.megabytes={megabytes}: must hold some seconds of motion')
        self.slots = Slots(self.capacity, joints, self._rank, self._steps)
        self._pending: dict[int, Pending] = {}

    def forget(self) -> None:
        """Forget everything."""
        self.slots.clear()
        self._pending = {}

    def forget_tracks(self, tracks: Collection[int]) -> int:
        """
        Forget some people's moments without a trace; those of all others stay.

        :param tracks: numbers of their histories.
        :returns: the number of forgotten moments.
        """
        for track in tracks:
            if track in self._pending:
                self._pending[track].clear()  # earlier poses are not learnt again
        dropped = self.slots.drop(tracks)
        if dropped is None:
            return 0
        forgotten, anew = dropped
        for pending in self._pending.values():
            pending.slots = [anew(slot) for slot in pending.slots]
        return forgotten

    @property
    def tracks(self) -> set[int]:
        """Return the numbers of the histories with moments in the memory, or soon in it."""
        first, last = self.span
        at = np.arange(first, last) % self.capacity
        coming = (track for track, pending in self._pending.items() if pending.poses)
        return {*np.unique(self.slots.tracks[at]).tolist(), *coming}

    @property
    def megabytes(self) -> float:
        """Return the present size in megabytes."""
        return len(self.slots.poses) * self.slot_bytes / 1e6

    @property
    def moments(self) -> int:
        """Return the number of moments in the memory."""
        return self.slots.moments

    # Keeping

    @property
    def span(self) -> tuple[int, int]:
        """Return the first slot that is still held, and the next free one."""
        return self.slots.span

    def columns(self, first: int, last: int) -> dict[str, np.ndarray]:
        """Return a copy of the content of some slots; see :meth:`Slots.columns`."""
        return self.slots.columns(first, last)

    def restore(self, columns: Mapping[str, np.ndarray]) -> None:
        """
        Replace the content by that of an earlier memory.

        :param columns: as :meth:`columns` returns them, oldest first, slots counted from zero; if
            they do not fit, the newest are taken.
        """
        self.forget()
        first = max(len(columns['poses']) - self.capacity, 0)
        held = {name: values[first:] for name, values in columns.items()}
        self.slots.head = count = len(held['poses'])
        while len(self.slots.poses) < count:
            self.slots.grow()
        for begin in range(0, count, BLOCK):
            at = slice(begin, min(begin + BLOCK, count))
            own, self.slots.headings[at] = self.own(held['poses'][at], held['velocities'][at])
            self.slots.keys[at] = self.keys(own)
        for name in ('poses', 'velocities', 'seen', 'stamps'):
            getattr(self.slots, name)[:count] = held[name]
        # Nobody who is present now: those numbers are given again.
        self.slots.tracks[:count] = -1 - np.unique(held['tracks'], return_inverse=True)[1]
        whole = np.ones(self.skeleton.num_joints, dtype=bool)
        self.slots.half_seen = bool(lacks_much(self.slots.seen[:count], whole).any())
        moment = held['paths'][:, 0] >= 0
        self.slots.paths[:count] = np.maximum(held['paths'] - first, 0)
        norms = np.square(self.slots.keys[:count]).sum(axis=1)
        self.slots.norms[:count] = np.where(moment, norms, math.inf)
        self.slots.moments = int(moment.sum())

    # Storing

    def remember(
        self, tracks: Sequence[int], windows: Sequence[ObservedWindow], jitter: np.ndarray
    ) -> None:
        """
        Store what the windows show beyond earlier ones.

        :param tracks: numbers of the people's histories.
        :param windows: their observed windows.
        :param jitter: noise of their input, metres, ``(P,)``.
        """
        for gone in set(self._pending) - set(tracks):
            if len(self._pending) > _MAX_TRACKS:
                del self._pending[gone]
        taken: list[tuple[Pending, Taken]] = []
        for number, (track, window) in enumerate(zip(tracks, windows, strict=True)):
            pending = self._pending.get(track)
            if pending is None:
                pending = self._pending[track] = Pending()
            new = take(pending, window, float(jitter[number]), self.window)
            if new is not None:
                taken.append((pending, new))
        if not taken:
            return
        own, facing = self.own(
            np.concatenate([new.poses for _, new in taken]),
            np.concatenate([new.velocities for _, new in taken]),
        )
        keys, begin = self.keys(own), 0
        for pending, new in taken:
            end = begin + len(new.stamps)
            pending.add(new, keys[begin:end], facing[begin:end])
            begin = end
        self._decide(tracks)

    def own(self, pose: np.ndarray, velocity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        Return pose and velocity in each person's own frame: root at the origin, +x ahead.

        :param pose: metres, ``(P, J, 3)``.
        :param velocity: metres per second, ``(P, J, 3)``.
        :returns: both, scaled so that a distance is in metres per joint, ``(P, 2, J, 3)``, and the
            headings ``(P, 2)``.
        """
        facing = heading(pose, self.skeleton)
        both = np.stack((pose - pose[:, :1], velocity * np.float32(VELOCITY_S)), axis=1)
        both /= np.float32(math.sqrt(self.skeleton.num_joints))
        return turn(both, back(facing)[:, None, None]), facing

    def mirrored(self, own: np.ndarray) -> np.ndarray:
        """Return the result of :meth:`own` mirrored: left and right are exchanged."""
        other = own[..., list(self.skeleton.mirror), :]
        other[..., 1] *= -1.0
        return other

    def keys(self, own: np.ndarray) -> np.ndarray:
        """
        Return the keys by which moments are compared.

        :param own: from :meth:`own`, ``(P, 2, J, 3)``.
        :returns: ``(P, R)``; their distances are in metres per joint.
        """
        full = own.reshape(len(own), -1)
        return full if self._basis is None else full @ self._basis

    def _decide(self, tracks: Sequence[int]) -> None:
        # Pending poses with a complete future become moments, unless enough equal ones are known.
        due = [
            (track, pending, first)
            for track in tracks
            for pending in (self._pending[track],)
            for first in range(len(pending.poses) - self._steps)
        ]
        if not due:
            return
        keys = np.stack([pending.keys[first] for _, pending, first in due])
        shown = np.stack([pending.seen[first] for _, pending, first in due])
        near, distance = self._search(keys, shown)
        noise = NOISE_OF_POSE * math.sqrt(self._rank / (6 * self.skeleton.num_joints))
        limits = [math.hypot(SAME_POSE_M, noise * pending.jitter) for _, pending, _ in due]
        same = [at[far < limit].tolist() for at, far, limit in zip(near, distance, limits)]
        fresh: list[int] = []  # moments that were stored since then
        over: set[int] = set()  # the earlier content is no longer there
        for number, (track, pending, first) in enumerate(due):
            between = self.slots.keys[fresh] - keys[number]
            alike = np.flatnonzero((between * between).sum(axis=1) < limits[number] ** 2).tolist()
            known = [at for at in same[number] if at not in over] + [fresh[at] for at in alike]
            if self._is_known(pending, first, known):
                continue
            slots = range(first, first + self._steps + 1)
            for index in slots:
                if pending.slots[index] < 0:
                    pending.slots[index] = self.slots.store(track, pending, index)
                    over.add(pending.slots[index] % self.capacity)
            slot = pending.slots[first]
            if slot > self.slots.head - len(self.slots.poses):  # it may just be overwritten
                at = slot % self.capacity
                self.slots.paths[at] = pending.slots[first : first + self._steps + 1]
                self.slots.norms[at] = float(self.slots.keys[at] @ self.slots.keys[at])
                self.slots.moments += 1
                fresh.append(at)
        for track in set(tracks):
            self._pending[track].drop_oldest(len(self._pending[track].poses) - self._steps)

    def _is_known(self, pending: Pending, first: int, same: Sequence[int]) -> bool:
        # Return whether enough moments at these slots begin the same way and also continue the
        # same way.
        if len(same) < COPIES:
            return False
        here = np.stack(pending.poses[first : first + self._steps + 1])  # (H + 1, J, 3)
        here = turn(here - here[0], back(pending.headings[first]))
        path = self.slots.poses[self.slots.paths[same] % self.capacity]
        there = turn(path - path[:, :1], back(self.slots.headings[same])[:, None, None])
        apart = np.sqrt(np.square(there - here).sum(axis=-1).mean(axis=(1, 2)))
        limit = math.hypot(SAME_FUTURE_M, NOISE_OF_FUTURE * pending.jitter)
        return int((apart < limit).sum()) >= COPIES

    # Finding

    def _search(self, keys: np.ndarray, shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # Return the nearest moments (P, <= _POOL), nearest first, and their distances (metres per
        # joint). Moments that lack many of the joints that a person shows, (P, J), are left out:
        # the legs that were completed for them look like the legs of somebody who stands.
        count = min(self.slots.head, len(self.slots.poses))
        if not self.slots.moments:
            return np.zeros((len(keys), 0), np.int64), np.zeros((len(keys), 0), np.float32)
        stored, norms = self.slots.keys[:count], self.slots.norms[:count]
        if not self.slots.half_seen:
            return nearest(stored, norms, keys, _POOL)
        wanted = min(_POOL, count)
        near = np.zeros((len(keys), wanted), np.int64)
        distance = np.full((len(keys), wanted), np.inf, np.float32)
        masks, mask_of = np.unique(shown, axis=0, return_inverse=True)
        for number, mask in enumerate(masks):
            of = np.flatnonzero(mask_of.reshape(-1) == number)
            theirs = np.where(lacks_much(self.slots.seen[:count], mask), np.float32(np.inf), norms)
            near[of], distance[of] = nearest(stored, theirs, keys[of], _POOL)
        return near, distance

    def recall(
        self, now: Stance, neighbours: int = NEIGHBOURS, shown: np.ndarray | None = None
    ) -> Recall:
        """
        Find the earlier moments nearest to now, as they were or mirrored, and what followed.

        :param now: pose and velocity of P people, in the frame of the returned futures.
        :param neighbours: greatest number of moments, N.
        :param shown: which joints of these people are seen, bool (P, J); None: all.
        """
        persons = len(now.pose)
        found = nothing_found(now, neighbours, self.window)
        if not self.slots.moments:
            return found
        own, facing = self.own(now.pose, now.velocity)
        mirrored = self.mirrored(own) if self.skeleton.has_sides else own[:0]
        if shown is None:
            shown = np.ones(now.pose.shape[:2], dtype=bool)
        both = shown
        if len(mirrored):
            both = np.concatenate((shown, shown[:, list(self.skeleton.mirror)]))
        near, distance = self._search(self.keys(np.concatenate((own, mirrored))), both)
        pool = near.shape[1]
        if len(mirrored):
            near = np.concatenate((near[:persons], near[persons:]), axis=1)
            distance = np.concatenate((distance[:persons], distance[persons:]), axis=1)
        return recalled(found, self.slots, self.skeleton, now, facing, near, distance, pool)
