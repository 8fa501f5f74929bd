"""
What people did in this place: moments that are over, found again when somebody does the like.

Nearest neighbours of the present pose and velocity among everything seen here, and what followed
them (compare motion attention, Mao et al., ECCV 2020). No training: it grows while it watches.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
import math
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline
import torch

from motion_predictor.body_geometry import back, heading, turn
from motion_predictor.candidates import believed, smoothed_window, Stance
from motion_predictor.config import WindowConfig
from motion_predictor.errors import ConfigError
from motion_predictor.history import ObservedWindow
from motion_predictor.skeleton import Skeleton

STEP_S = 0.1
"""Time between the poses that are remembered."""
NEIGHBOURS = 10
"""Earlier moments that make the candidate."""
APART_S = 0.4
"""Moments of one person nearer in time than this are one moment."""
VELOCITY_S = 0.4
"""A metre a second of velocity counts like so many metres of pose."""
SOFTNESS_M = 0.03
"""A moment that is so much farther than the nearest, a joint, has 1 / e of its weight."""
CATCH_UP_S = 0.2
"""For so long somebody goes on as much faster or slower than that moment as they are now."""
MOST_UNSEEN = 0.25
"""A pose of which more joints were not seen is not remembered; those few are never learnt from."""
COPIES = 5
"""So many moments as good as the same are kept, more are not."""
SAME_POSE_M = 0.006
SAME_FUTURE_M = 0.012
_POOL = 64  # nearest moments among which those apart in time are chosen
_NS = 1e-9
_SQRT2 = math.sqrt(2.0)
_BLOCK = 4096
_FEWEST_FRAMES = 4  # after the first, for a velocity
_FEW = 16_384  # keys are searched in one step
_ROWS = 16  # in which keys are searched in two steps
_MAX_TRACKS = 256
_COLUMNS = (
    '_poses', '_velocities', '_headings', '_seen', '_keys', '_norms', '_paths', '_stamps',
    '_tracks',
)  # fmt: skip


@dataclass(frozen=True)
class Recall:
    """
    What followed the earlier moments nearest to now, N of them for each of P people.

    ``futures`` float32 (P, N, T_fut, J, 3), displacements added to the present pose, in its frame;
    ``weights`` (P, N), rows sum to one, or zero where nothing is remembered; ``distance_m`` (P,)
    to the nearest, a joint, infinite where there is none; ``alike`` int (P,): moments about as
    near as the nearest is to now.
    """

    futures: np.ndarray
    weights: np.ndarray
    distance_m: np.ndarray
    alike: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """Tell of whom anything was found, bool (P,)."""
        return np.isfinite(self.distance_m)


@dataclass
class _Pending:
    """Poses of one track whose future is not over yet."""

    next_ns: int = 0
    origin: np.ndarray = field(default_factory=lambda: np.zeros(3))
    """Near to where these poses are: float32 is exact there, wherever that is."""
    stamps: list[int] = field(default_factory=list)
    poses: list[np.ndarray] = field(default_factory=list)
    velocities: list[np.ndarray] = field(default_factory=list)
    keys: list[np.ndarray] = field(default_factory=list)
    headings: list[np.ndarray] = field(default_factory=list)
    seen: list[np.ndarray] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)
    """Where they were stored, -1 for not yet."""

    def clear(self) -> None:
        for values in self._columns():
            values.clear()

    def drop_oldest(self) -> None:
        for values in self._columns():
            del values[0]

    def _columns(self) -> tuple[list[Any], ...]:
        return (
            self.stamps, self.poses, self.velocities, self.keys, self.headings, self.seen,
            self.slots,
        )  # fmt: skip


@lru_cache(maxsize=8)
def _between(window: WindowConfig, steps: int) -> np.ndarray:
    # (T_fut, steps + 2): poses every STEP_S, and what somebody is faster by, to displacements at
    # every frame of the future.
    times_s = np.arange(1, window.future_frames + 1) * window.period_s
    spline = CubicSpline(np.arange(steps + 1), np.eye(steps + 1))
    lasting = CATCH_UP_S * (1.0 - np.exp(-times_s / CATCH_UP_S))
    poses = spline(np.minimum(times_s / STEP_S, steps))
    return np.concatenate((poses, lasting[:, None]), axis=1).astype(np.float32)


def steps_of(window: WindowConfig) -> int:
    """Return how many poses every :data:`STEP_S` follow a moment."""
    return math.ceil(window.horizon_s / STEP_S - 1e-6)


class PlaceMemory:
    """
    Everything seen in one place, within a stated size; used by one thread.

    Poses of everybody are kept every tenth of a second; the oldest give way. A moment can be
    found once its future is over. What was filled in or padded is not learnt from, and of
    moments as good as the same only a few are kept, so that a person who stands for hours fills
    nothing.
    """

    def __init__(
        self,
        window: WindowConfig,
        skeleton: Skeleton,
        basis: np.ndarray | None = None,
        megabytes: float = 64.0,
    ) -> None:
        """
        Begin with nothing.

        :param window: of the model.
        :param skeleton: of the model.
        :param basis: columns that keys are projected on, ``(6 J, R)``, orthonormal; None: all.
        :param megabytes: at most so many are taken for what is remembered.
        :raises ConfigError: if the size cannot hold anything.
        """
        self.window, self.skeleton = window, skeleton
        self._basis = None if basis is None else np.ascontiguousarray(basis, dtype=np.float32)
        self._steps = steps_of(window)
        joints = skeleton.num_joints
        self._rank = 6 * joints if self._basis is None else self._basis.shape[1]
        self.slot_bytes = (
            4 * (6 * joints + self._rank + 1 + 2) + 8 * (self._steps + 1 + 2) + joints
        )
        self.capacity = int(megabytes * 1e6 / self.slot_bytes)
        if self.capacity < 4 * self._steps:
            raise ConfigError(f'memory.megabytes={megabytes}: must hold some seconds of motion')
        self.forget()

    def forget(self) -> None:
        """Forget everything."""
        joints = self.skeleton.num_joints
        self._poses = np.zeros((0, joints, 3), dtype=np.float32)
        self._velocities = np.zeros((0, joints, 3), dtype=np.float32)
        self._headings = np.zeros((0, 2), dtype=np.float32)
        self._seen = np.zeros((0, joints), dtype=bool)
        self._keys = np.zeros((0, self._rank), dtype=np.float32)
        self._norms = np.zeros(0, dtype=np.float32)
        self._paths = np.zeros((0, self._steps + 1), dtype=np.int64)
        self._stamps = np.zeros(0, dtype=np.int64)
        self._tracks = np.zeros(0, dtype=np.int64)
        self._head = 0
        self._pending: dict[int, _Pending] = {}
        self.moments = 0

    def forget_tracks(self, tracks: Collection[int]) -> int:
        """
        Forget some people's moments, and leave no trace of them; those of all others stay.

        :param tracks: numbers of their histories.
        :returns: how many moments are forgotten.
        """
        for track in tracks:
            if track in self._pending:
                self._pending[track].clear()  # what comes is learnt, what was is not learnt again
        first, last = self.span
        at = np.arange(first, last) % self.capacity
        kept = ~np.isin(self._tracks[at], list(tracks))
        if kept.all():
            return 0
        held, count = at[kept], int(kept.sum())
        moments = np.isfinite(self._norms[at])
        forgotten = int((moments & ~kept).sum())
        anew = np.cumsum(kept) - 1  # a path is of one person: all of its slots are kept or none
        former = np.where(moments[kept, None], self._paths[held], first)
        paths = np.where(moments[kept, None], anew[former - first], 0)
        for name in _COLUMNS:
            values = getattr(self, name)
            values[:count] = values[held]
            values[count:] = 0
        self._paths[:count] = paths
        self._norms[count:] = math.inf
        for pending in self._pending.values():
            pending.slots = [int(anew[slot - first]) if slot >= first else -1
                             for slot in pending.slots]  # fmt: skip
        self._head = count
        self.moments -= forgotten
        return forgotten

    @property
    def tracks(self) -> set[int]:
        """Return the numbers of the histories of whom anything is remembered, or soon is."""
        first, last = self.span
        at = np.arange(first, last) % self.capacity
        coming = (track for track, pending in self._pending.items() if pending.poses)
        return {*np.unique(self._tracks[at]).tolist(), *coming}

    @property
    def megabytes(self) -> float:
        """Return how much is taken now."""
        return len(self._poses) * self.slot_bytes / 1e6

    # Keeping

    @property
    def span(self) -> tuple[int, int]:
        """Return the first slot that is still held, and the one that comes next."""
        return max(self._head - self.capacity, 0), self._head

    def columns(self, first: int, last: int) -> dict[str, np.ndarray]:
        """
        Copy what some slots hold.

        :param first: a slot that is held.
        :param last: one past the last of them.
        :returns: ``poses`` and ``velocities`` float32 (N, J, 3), ``seen`` bool (N, J), ``stamps``
            int64 (N,), ``tracks`` int64 (N,), and ``paths`` int64 (N, H + 1): the slots of each
            moment and of what followed it, -1 where there is no moment.
        """
        at = np.arange(first, last) % self.capacity
        moment = np.isfinite(self._norms[at])[:, None]
        return {
            'poses': self._poses[at],
            'velocities': self._velocities[at],
            'seen': self._seen[at],
            'stamps': self._stamps[at],
            'tracks': self._tracks[at],
            'paths': np.where(moment, self._paths[at], -1),
        }

    def restore(self, columns: Mapping[str, np.ndarray]) -> None:
        """
        Hold what an earlier memory did, instead of what is held now.

        :param columns: as :meth:`columns` copies them, oldest first, slots counted from zero; of
            more than there is room for, the newest.
        """
        self.forget()
        first = max(len(columns['poses']) - self.capacity, 0)
        held = {name: values[first:] for name, values in columns.items()}
        self._head = count = len(held['poses'])
        while len(self._poses) < count:
            self._grow()
        for begin in range(0, count, _BLOCK):
            at = slice(begin, min(begin + _BLOCK, count))
            own, self._headings[at] = self.own(held['poses'][at], held['velocities'][at])
            self._keys[at] = self.keys(own)
        for name in ('poses', 'velocities', 'seen', 'stamps'):
            getattr(self, f'_{name}')[:count] = held[name]
        # Nobody who is here now: those numbers are given anew.
        self._tracks[:count] = -1 - np.unique(held['tracks'], return_inverse=True)[1]
        moment = held['paths'][:, 0] >= 0
        self._paths[:count] = np.maximum(held['paths'] - first, 0)
        norms = np.square(self._keys[:count]).sum(axis=1)
        self._norms[:count] = np.where(moment, norms, math.inf)
        self.moments = int(moment.sum())

    # Storing

    def remember(
        self, tracks: Sequence[int], windows: Sequence[ObservedWindow], jitter: np.ndarray
    ) -> None:
        """
        Take in what windows show that earlier ones did not.

        :param tracks: numbers of the people's histories.
        :param windows: theirs.
        :param jitter: of their input, metres, ``(P,)``.
        """
        for gone in set(self._pending) - set(tracks):
            if len(self._pending) > _MAX_TRACKS:
                del self._pending[gone]
        due: list[tuple[int, _Pending]] = []
        for number, (track, window) in enumerate(zip(tracks, windows, strict=True)):
            pending = self._pending.setdefault(track, _Pending())
            self._take(pending, window, float(jitter[number]))
            while len(pending.poses) > self._steps:
                due.append((track, pending))
                self._decide(track, pending)

    def _take(self, pending: _Pending, window: ObservedWindow, jitter: float) -> None:
        # New poses on the track's grid of STEP_S, each with the velocity around it.
        config = self.window
        last, step_ns = config.observed_frames - 1, round(STEP_S / _NS)
        period_ns = round(config.period_s / _NS)
        oldest_ns = window.stamp_ns - (last - window.padded_frames) * period_ns
        missed_ns = oldest_ns - pending.next_ns
        ahead = pending.next_ns - window.stamp_ns > 10 * step_ns  # time has begun anew
        if not pending.next_ns or missed_ns >= step_ns or ahead:
            pending.clear()
            pending.next_ns = oldest_ns
            pending.origin = window.poses[-1, 0].copy()
        elif missed_ns > period_ns // 2 and not pending.poses:
            pending.next_ns = oldest_ns
        count = (window.stamp_ns - pending.next_ns) // step_ns + 1
        if count < 1 or last - window.padded_frames < _FEWEST_FRAMES:
            return
        stamps = pending.next_ns + step_ns * np.arange(count)
        pending.next_ns = int(stamps[-1]) + step_ns
        at = np.clip(last - (window.stamp_ns - stamps) / period_ns, window.padded_frames, last)
        _, seen = window.between(at)
        at -= window.padded_frames  # nothing is learnt from what was made up before
        poses = (window.poses[window.padded_frames :] - pending.origin).astype(np.float32)
        smoothed, velocity = smoothed_window(poses, jitter, config.rate_hz)
        before = np.minimum(at.astype(np.int64), len(poses) - 2)
        share = (at - before).astype(np.float32)[:, None, None]
        pose, speed = (
            values[before] + share * (values[before + 1] - values[before])
            for values in (smoothed, velocity)
        )
        if oldest_ns - stamps[0] > period_ns // 2:
            # between two windows of somebody who is predicted a little too seldom
            apart_ns, way = oldest_ns - pending.stamps[-1], pose[0] - pending.poses[-1]
            speed[0] = way / np.float32(apart_ns * _NS)
            pose[0] -= speed[0] * np.float32((oldest_ns - stamps[0]) * _NS)
        own, facing = self.own(pose, speed)
        keys = self.keys(own)
        for index in range(count):
            if (~seen[index]).mean() > MOST_UNSEEN:
                pending.clear()
                continue
            pending.stamps.append(int(stamps[index]))
            pending.poses.append(pose[index])
            pending.velocities.append(speed[index])
            pending.keys.append(keys[index])
            pending.headings.append(facing[index])
            pending.seen.append(seen[index])
            pending.slots.append(-1)

    def own(self, pose: np.ndarray, velocity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        Express pose and velocity in each person's own frame: root at the origin, ahead is +x.

        :param pose: metres, ``(P, J, 3)``.
        :param velocity: metres a second, ``(P, J, 3)``.
        :returns: both, scaled so that a distance is metres a joint, ``(P, 2, J, 3)``, and the
            headings ``(P, 2)``.
        """
        facing = heading(pose, self.skeleton)
        both = np.stack((pose - pose[:, :1], velocity * np.float32(VELOCITY_S)), axis=1)
        both /= np.float32(math.sqrt(self.skeleton.num_joints))
        return turn(both, back(facing)[:, None, None]), facing

    def mirrored(self, own: np.ndarray) -> np.ndarray:
        """Mirror what :meth:`own` returned: left and right change places."""
        other = own[..., list(self.skeleton.mirror), :]
        other[..., 1] *= -1.0
        return other

    def keys(self, own: np.ndarray) -> np.ndarray:
        """
        Make what moments are compared by.

        :param own: from :meth:`own`, ``(P, 2, J, 3)``.
        :returns: ``(P, R)``, whose distances are metres a joint.
        """
        full = own.reshape(len(own), -1)
        return full if self._basis is None else full @ self._basis

    def _decide(self, track: int, pending: _Pending) -> None:
        # The oldest pending pose has its whole future now: a moment, unless it is known well.
        if not self._is_known(pending):
            for index in range(self._steps + 1):
                if pending.slots[index] < 0:
                    pending.slots[index] = self._store(track, pending, index)
            slot = pending.slots[0]
            if slot > self._head - len(self._poses):  # else it has just been overwritten
                at = slot % self.capacity
                self._paths[at] = pending.slots[: self._steps + 1]
                self._norms[at] = float(self._keys[at] @ self._keys[at])
                self.moments += 1
        pending.drop_oldest()

    def _is_known(self, pending: _Pending) -> bool:
        near, distance = self._search(pending.keys[0][None])
        same = near[0][distance[0] < SAME_POSE_M]
        if len(same) < COPIES:
            return False
        here = np.stack(pending.poses[: self._steps + 1]) - pending.poses[0]  # (H + 1, J, 3)
        here = turn(here, back(pending.headings[0]))
        path = self._poses[self._paths[same] % self.capacity]
        there = turn(path - path[:, :1], back(self._headings[same])[:, None, None])
        apart = np.sqrt(np.square(there - here).sum(axis=-1).mean(axis=(1, 2)))
        return int((apart < SAME_FUTURE_M).sum()) >= COPIES

    def _store(self, track: int, pending: _Pending, index: int) -> int:
        slot = self._head
        if len(self._poses) < self.capacity and slot >= len(self._poses):
            self._grow()
        at = slot % self.capacity
        if slot >= self.capacity and math.isfinite(self._norms[at]):
            self.moments -= 1
        self._poses[at] = pending.poses[index]
        self._velocities[at] = pending.velocities[index]
        self._headings[at] = pending.headings[index]
        self._seen[at] = pending.seen[index]
        self._keys[at] = pending.keys[index]
        self._norms[at] = math.inf  # no moment yet
        self._stamps[at] = pending.stamps[index]
        self._tracks[at] = track
        self._head += 1
        return slot

    def _grow(self) -> None:
        old = len(self._poses)
        room = min(max(_BLOCK, old + old // 2), self.capacity)
        for name in _COLUMNS:
            values = getattr(self, name)
            grown = np.zeros((room, *values.shape[1:]), dtype=values.dtype)
            grown[:old] = values
            setattr(self, name, grown)
        self._norms[old:] = math.inf

    # Finding

    def _search(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # Nearest moments (P, <= _POOL), nearest first, and how far they are (metres a joint).
        count = min(self._head, len(self._poses))
        if not self.moments:
            return np.zeros((len(keys), 0), np.int64), np.zeros((len(keys), 0), np.float32)
        # torch, which keeps to the threads it was given
        stored = torch.from_numpy(self._keys[:count])
        query = torch.from_numpy(np.ascontiguousarray(keys))
        squares = torch.addmm(torch.from_numpy(self._norms[:count]), query, stored.T, alpha=-2.0)
        values, indices = _least(squares, min(_POOL, count))
        own = np.square(keys).sum(axis=1, keepdims=True)
        distance = np.sqrt(np.maximum(values.numpy() + own, 0.0))
        return indices.numpy(), distance

    def recall(self, now: Stance, neighbours: int = NEIGHBOURS) -> Recall:
        """
        Find the earlier moments nearest to now, as they were or mirrored, and what followed.

        :param now: of P people, in the frame that futures are wanted in.
        :param neighbours: N, at most so many.
        """
        persons, joints = now.pose.shape[:2]
        frames = self.window.future_frames
        futures = np.repeat(now.pose[:, None, None], neighbours, axis=1)
        futures = np.repeat(futures, frames, axis=2)
        weights = np.zeros((persons, neighbours), dtype=np.float32)
        nearest = np.full(persons, np.inf, dtype=np.float32)
        alike = np.zeros(persons, dtype=np.int64)
        found = Recall(futures, weights, nearest, alike)
        if not self.moments:
            return found
        own, facing = self.own(now.pose, now.velocity)
        mirrored = self.mirrored(own) if self.skeleton.has_sides else own[:0]
        near, distance = self._search(self.keys(np.concatenate((own, mirrored))))
        pool = near.shape[1]
        if len(mirrored):
            near = np.concatenate((near[:persons], near[persons:]), axis=1)
            distance = np.concatenate((distance[:persons], distance[persons:]), axis=1)
        order = np.argsort(distance, axis=1, kind='stable')
        between = _between(self.window, self._steps)
        for person in range(persons):
            ranked = order[person]
            slots, far, flipped = near[person][ranked], distance[person][ranked], ranked >= pool
            at = self._apart(slots, far, flipped, neighbours)
            if not len(at):
                continue
            slots, far, count = slots[at], far[at], len(at)
            weight = np.exp((far[0] - far) / SOFTNESS_M)
            weight /= weight.sum()
            # (N, H + 2, J, 3), the last a velocity
            path = turn(self._followed(slots, flipped[at], weight), facing[person])
            faster = now.velocity[person] - path[:, -1]
            path[:, -1] = believed(faster, _SQRT2 * now.doubt[person])
            moved = between @ path.reshape(count, self._steps + 2, -1)
            futures[person, :count] += moved.reshape(count, frames, joints, 3)
            weights[person, :count] = weight
            nearest[person] = far[0]
            alike[person] = int((far < max(2.0 * far[0], 2.0 * SAME_POSE_M)).sum())
        return found

    def _followed(self, slots: np.ndarray, flipped: np.ndarray, weights: np.ndarray) -> np.ndarray:
        # Displacements after each moment and, last, its velocity, in the own frame of then.
        at = self._paths[slots] % self.capacity
        path = self._poses[at]  # (N, H + 1, J, 3)
        seen = self._seen[at].all(axis=1)  # (N, J)
        path = path - path[:, :1]
        path = np.concatenate((path, self._velocities[slots][:, None]), axis=1)
        path = turn(path, back(self._headings[slots])[:, None, None])
        if flipped.any():
            other = path[flipped][..., list(self.skeleton.mirror), :]
            other[..., 1] *= -1.0
            path[flipped] = other
            seen[flipped] = seen[flipped][:, list(self.skeleton.mirror)]
        return path if seen.all() else _by_those_seen(path, seen, weights)

    def _apart(
        self, slots: np.ndarray, distance: np.ndarray, flipped: np.ndarray, wanted: int
    ) -> np.ndarray:
        # Indices of the nearest moments that are not one moment of one person.
        left = np.isfinite(distance)
        stamps, tracks = self._stamps[slots], 2 * self._tracks[slots] + flipped
        limit_ns = round(APART_S / _NS)
        chosen: list[int] = []
        while len(chosen) < wanted:
            index = int(left.argmax())
            if not left[index]:
                break
            chosen.append(index)
            left &= (np.abs(stamps - stamps[index]) >= limit_ns) | (tracks != tracks[index])
        return np.array(chosen, dtype=np.int64)


def _least(values: torch.Tensor, wanted: int) -> tuple[torch.Tensor, torch.Tensor]:
    # The least of each row, rising, and where they are. Every one of them lies in one of the
    # columns of as many least minima: only those are searched.
    rows, count = values.shape
    columns = count // _ROWS
    if columns <= 2 * wanted or values.numel() < _FEW:
        found = torch.topk(values, wanted, dim=1, largest=False, sorted=True)
        return found.values, found.indices
    folded = values[:, : columns * _ROWS].view(rows, _ROWS, columns)
    best = torch.topk(folded.amin(dim=1), wanted, dim=1, largest=False, sorted=False).indices
    at = best[:, None] + columns * torch.arange(_ROWS)[:, None]  # (rows, _ROWS, wanted)
    rest = torch.arange(columns * _ROWS, count).expand(rows, -1)
    at = torch.cat((at.flatten(1), rest), dim=1)
    found = torch.topk(values.gather(1, at), wanted, dim=1, largest=False, sorted=True)
    return found.values, at.gather(1, found.indices)


def _by_those_seen(path: np.ndarray, seen: np.ndarray, weights: np.ndarray) -> np.ndarray:
    # Joints (N, J) that were not seen throughout move like those of the other moments, or with
    # the root where no moment saw them.
    shares = weights[:, None] * seen  # (N, J)
    total = shares.sum(axis=0)
    mean = np.einsum('nj,nhjd->hjd', shares, path) / np.maximum(total, 1e-9)[:, None]
    mean = np.where((total > 0.0)[:, None], mean, path[:1].mean(axis=0)[:, :1])
    return np.where(seen[:, None, :, None], path, mean).astype(path.dtype)
