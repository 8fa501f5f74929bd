"""
What people did in this place: moments that are over, found again when somebody does the like.

Nearest neighbours of the present pose and velocity among everything seen here, and what followed
them (compare motion attention, Mao et al., ECCV 2020). No training: it grows while it watches.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
import math
from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline

from motion_predictor.body.geometry import back, heading, turn
from motion_predictor.body.skeleton import Skeleton
from motion_predictor.errors import ConfigError
from motion_predictor.model.config import WindowConfig
from motion_predictor.predict.place.candidates import believed, NEIGHBOURS, Stance
from motion_predictor.predict.place.nearest import apart, nearest
from motion_predictor.predict.place.pending import Pending, STEP_S, take, Taken
from motion_predictor.track.window import ObservedWindow

APART_S = 0.4
"""Moments of one person nearer in time than this are one moment."""
OCCASION_S = 1.0
"""Moments of one person that follow each other within less are of one occasion."""
VELOCITY_S = 0.4
"""A metre a second of velocity counts like so many metres of pose."""
SOFTNESS_M = 0.03
"""A moment that is so much farther than the nearest, a joint, has 1 / e of its weight."""
CATCH_UP_S = 0.2
"""For so long somebody goes on as much faster or slower than that moment as they are now."""
COPIES = 5
"""So many moments as good as the same are kept, more are not."""
SAME_POSE_M = 0.006
SAME_FUTURE_M = 0.012
NOISE_OF_POSE, NOISE_OF_FUTURE = 8.0, 3.0
"""A metre of jitter puts two moments that are the same so far apart, in their beginning (by all
numbers; less by a part of them) and in what followed."""
_POOL = 64  # nearest moments among which those apart in time are chosen
_NS = 1e-9
_SQRT2 = math.sqrt(2.0)
_BLOCK = 4096
_MAX_TRACKS = 256


class Like(NamedTuple):
    """Moments, in any order: when, int64 nanoseconds ``(N,)``, and of which track ``(N,)``."""

    stamps: np.ndarray
    tracks: np.ndarray


NOTHING_LIKE = Like(np.zeros(0, np.int64), np.zeros(0, np.int64))


def occasions(like: Like) -> int:
    """Count moments, those that follow each other within :data:`OCCASION_S` once."""
    order = np.lexsort((like.stamps, like.tracks))
    gaps, others = np.diff(like.stamps[order]), np.diff(like.tracks[order])
    return len(order) - int(np.count_nonzero((others == 0) & (gaps < OCCASION_S / _NS)))


@dataclass(frozen=True)
class Recall:
    """
    What followed the earlier moments nearest to now, N of them for each of P people.

    ``futures`` float32 (P, N, T_fut, J, 3), displacements added to the present pose, in its frame;
    ``weights`` (P, N), rows sum to one, or zero where nothing is remembered; ``distance_m`` (P,)
    to the nearest, a joint, infinite where there is none; ``alike`` int (P,): of the N, those
    about as near as the nearest is to now; ``like``: of each person all such moments, for
    :func:`occasions`.
    """

    futures: np.ndarray
    weights: np.ndarray
    distance_m: np.ndarray
    alike: np.ndarray
    like: Sequence[Like] = ()

    @property
    def known(self) -> np.ndarray:
        """Tell of whom anything was found, bool (P,)."""
        return np.isfinite(self.distance_m)


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
    nothing: the noisier the input, the farther apart two that are the same may be.
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
        joints, room = self.skeleton.num_joints, self.capacity
        # The system gives what is written to, and nothing before.
        self._room = {
            '_poses': np.zeros((room, joints, 3), dtype=np.float32),
            '_velocities': np.zeros((room, joints, 3), dtype=np.float32),
            '_headings': np.zeros((room, 2), dtype=np.float32),
            '_seen': np.zeros((room, joints), dtype=bool),
            '_keys': np.zeros((room, self._rank), dtype=np.float32),
            '_norms': np.zeros(room, dtype=np.float32),
            '_paths': np.zeros((room, self._steps + 1), dtype=np.int64),
            '_stamps': np.zeros(room, dtype=np.int64),
            '_tracks': np.zeros(room, dtype=np.int64),
        }
        self._hold(0)
        self._head = 0
        self._pending: dict[int, Pending] = {}
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
        for name in self._room:
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

    def _decide(self, tracks: Sequence[int]) -> None:
        # Pending poses that have their whole future now are moments, unless they are known well.
        due = [
            (track, pending, first)
            for track in tracks
            for pending in (self._pending[track],)
            for first in range(len(pending.poses) - self._steps)
        ]
        if not due:
            return
        keys = np.stack([pending.keys[first] for _, pending, first in due])
        near, distance = self._search(keys)
        noise = NOISE_OF_POSE * math.sqrt(self._rank / (6 * self.skeleton.num_joints))
        limits = [math.hypot(SAME_POSE_M, noise * pending.jitter) for _, pending, _ in due]
        same = [at[far < limit].tolist() for at, far, limit in zip(near, distance, limits)]
        fresh: list[int] = []  # where moments were stored since
        over: set[int] = set()  # what was there before is no more
        for number, (track, pending, first) in enumerate(due):
            between = self._keys[fresh] - keys[number]
            alike = np.flatnonzero((between * between).sum(axis=1) < limits[number] ** 2).tolist()
            known = [at for at in same[number] if at not in over] + [fresh[at] for at in alike]
            if self._is_known(pending, first, known):
                continue
            slots = range(first, first + self._steps + 1)
            for index in slots:
                if pending.slots[index] < 0:
                    pending.slots[index] = self._store(track, pending, index)
                    over.add(pending.slots[index] % self.capacity)
            slot = pending.slots[first]
            if slot > self._head - len(self._poses):  # else it has just been overwritten
                at = slot % self.capacity
                self._paths[at] = pending.slots[first : first + self._steps + 1]
                self._norms[at] = float(self._keys[at] @ self._keys[at])
                self.moments += 1
                fresh.append(at)
        for track in set(tracks):
            self._pending[track].drop_oldest(len(self._pending[track].poses) - self._steps)

    def _is_known(self, pending: Pending, first: int, same: Sequence[int]) -> bool:
        # Whether enough moments that begin the same way, at these places, also went on so.
        if len(same) < COPIES:
            return False
        here = np.stack(pending.poses[first : first + self._steps + 1])  # (H + 1, J, 3)
        here = turn(here - here[0], back(pending.headings[first]))
        path = self._poses[self._paths[same] % self.capacity]
        there = turn(path - path[:, :1], back(self._headings[same])[:, None, None])
        apart = np.sqrt(np.square(there - here).sum(axis=-1).mean(axis=(1, 2)))
        limit = math.hypot(SAME_FUTURE_M, NOISE_OF_FUTURE * pending.jitter)
        return int((apart < limit).sum()) >= COPIES

    def _store(self, track: int, pending: Pending, index: int) -> int:
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

    def _hold(self, count: int) -> None:
        self._poses = self._room['_poses'][:count]
        self._velocities = self._room['_velocities'][:count]
        self._headings = self._room['_headings'][:count]
        self._seen = self._room['_seen'][:count]
        self._keys = self._room['_keys'][:count]
        self._norms = self._room['_norms'][:count]
        self._paths = self._room['_paths'][:count]
        self._stamps = self._room['_stamps'][:count]
        self._tracks = self._room['_tracks'][:count]

    def _grow(self) -> None:
        old = len(self._poses)
        self._hold(min(old + _BLOCK, self.capacity))
        self._norms[old:] = math.inf

    # Finding

    def _search(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # Nearest moments (P, <= _POOL), nearest first, and how far they are (metres a joint).
        count = min(self._head, len(self._poses))
        if not self.moments:
            return np.zeros((len(keys), 0), np.int64), np.zeros((len(keys), 0), np.float32)
        return nearest(self._keys[:count], self._norms[:count], keys, _POOL)

    def recall(self, now: Stance, neighbours: int = NEIGHBOURS) -> Recall:
        """
        Find the earlier moments nearest to now, as they were or mirrored, and what followed.

        :param now: of P people, in the frame that futures are wanted in.
        :param neighbours: N, at most so many.
        """
        persons, joints = now.pose.shape[:2]
        frames = self.window.future_frames
        futures = np.empty((persons, neighbours, frames, joints, 3), dtype=np.float32)
        futures[:] = now.pose[:, None, None]
        like = [NOTHING_LIKE] * persons
        found = Recall(
            futures,
            np.zeros((persons, neighbours), dtype=np.float32),
            np.full(persons, np.inf, dtype=np.float32),
            np.zeros(persons, dtype=np.int64),
            like,
        )
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
        near = np.take_along_axis(near, order, axis=1)
        distance = np.take_along_axis(distance, order, axis=1)
        chosen = self._choose(found, like, near, distance, order >= pool, neighbours)
        who = np.repeat(np.arange(persons), [len(at) for at in chosen])
        if not len(who):
            return found
        ranks = np.concatenate(chosen).astype(np.int64)
        weights = np.concatenate([found.weights[i, : len(at)] for i, at in enumerate(chosen)])
        slots, flipped = near[who, ranks], order[who, ranks] >= pool
        # (M, H + 2, J, 3), the last a velocity
        path = self._followed(slots, flipped, who, weights, facing[who])
        faster = now.velocity[who] - path[:, -1]
        path[:, -1] = believed(faster, (_SQRT2 * now.doubt)[who, None])
        moved = _between(self.window, self._steps) @ path.reshape(len(who), self._steps + 2, -1)
        begin = 0
        for person, at in enumerate(chosen):
            end = begin + len(at)
            futures[person, : len(at)] += moved[begin:end].reshape(-1, frames, joints, 3)
            begin = end
        return found

    def _choose(
        self,
        found: Recall,
        like: list[Like],
        near: np.ndarray,
        distance: np.ndarray,
        flipped: np.ndarray,
        wanted: int,
    ) -> list[list[int]]:
        # The nearest moments of each person that are not one moment, by their rank; what they
        # weigh, how near and how many they are is put into `found`.
        chosen = []
        limit_ns = round(APART_S / _NS)
        for person, far in enumerate(distance):
            slots = near[person, : np.searchsorted(far, np.inf)]
            stamps, tracks = self._stamps[slots], self._tracks[slots]
            ranks = apart(stamps, 2 * tracks + flipped[person, : len(slots)], limit_ns, wanted)
            chosen.append(ranks)
            if not ranks:
                continue
            within = max(2.0 * far[0], 2.0 * SAME_POSE_M)
            weight = np.exp((far[0] - far[ranks]) / SOFTNESS_M)
            found.weights[person, : len(ranks)] = weight / weight.sum()
            found.distance_m[person] = far[0]
            found.alike[person] = np.count_nonzero(far[ranks] < within)
            close = int(np.searchsorted(far, within))
            like[person] = Like(stamps[:close], tracks[:close])
        return chosen

    def _followed(
        self,
        slots: np.ndarray,
        flipped: np.ndarray,
        who: np.ndarray,
        weights: np.ndarray,
        facing: np.ndarray,
    ) -> np.ndarray:
        # Displacements after each of M moments and, last, its velocity, turned to where the
        # person faces who is expected to do the like, (M, H + 2, J, 3).
        at = self._paths[slots] % self.capacity
        seen = self._seen[at].all(axis=1)  # (M, J)
        path = np.empty((len(slots), self._steps + 2, *self._poses.shape[1:]), dtype=np.float32)
        path[:, :-1] = self._poses[at]
        path[:, :-1] -= path[:, :1].copy()
        path[:, -1] = self._velocities[slots]
        if flipped.any():
            mirror = list(self.skeleton.mirror)
            path[flipped] = path[flipped][..., mirror, :]
            seen[flipped] = seen[flipped][:, mirror]
        turned = _turns(self._headings[slots], facing, flipped)
        path = (path.reshape(len(slots), -1, 3) @ turned).reshape(path.shape)
        if not seen.all():
            for person in np.unique(who[~seen.all(axis=1)]):
                of = who == person
                path[of] = _by_those_seen(path[of], seen[of], weights[of])
        return path


def _turns(then: np.ndarray, now: np.ndarray, flipped: np.ndarray) -> np.ndarray:
    # Matrices (M, 3, 3), for ``points @ matrix``, from the frame of the room to where somebody
    # faces now who faced elsewhere then, mirrored where flipped; headings are (M, 2).
    side = np.where(flipped, np.float32(-1.0), np.float32(1.0))
    found = np.zeros((len(then), 3, 3), dtype=np.float32)
    cos, sin = side * then[:, 0], side * then[:, 1]
    found[:, 0, 0] = now[:, 0] * then[:, 0] + now[:, 1] * sin
    found[:, 1, 0] = now[:, 0] * then[:, 1] - now[:, 1] * cos
    found[:, 0, 1] = now[:, 1] * then[:, 0] - now[:, 0] * sin
    found[:, 1, 1] = now[:, 1] * then[:, 1] + now[:, 0] * cos
    found[:, 2, 2] = 1.0
    return found


def _by_those_seen(path: np.ndarray, seen: np.ndarray, weights: np.ndarray) -> np.ndarray:
    # Joints (N, J) that were not seen throughout move like those of the other moments, or with
    # the root where no moment saw them.
    shares = weights[:, None] * seen  # (N, J)
    total = shares.sum(axis=0)
    mean = np.einsum('nj,nhjd->hjd', shares, path) / np.maximum(total, 1e-9)[:, None]
    mean = np.where((total > 0.0)[:, None], mean, path[:1].mean(axis=0)[:, :1])
    return np.where(seen[:, None, :, None], path, mean).astype(path.dtype)
