# SPDX-License-Identifier: Apache-2.0
"""Recall what followed the earlier moments that are nearest to now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
import math
from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.model.config import WindowConfig
from motion_predictor.predict.place.candidates import believed, Stance
from motion_predictor.predict.place.memory.nearest import apart
from motion_predictor.predict.place.memory.pending import STEP_S, steps_of
from motion_predictor.predict.place.memory.slots import Slots

APART_S = 0.4
"""Moments of one person closer in time than this, in seconds, are one moment."""
OCCASION_S = 1.0
"""Moments of one person that follow each other within this time, in seconds, are one occasion."""
SOFTNESS_M = 0.03
"""A moment that is further away than the nearest by this, in metres per joint, has 1 / e of its
weight."""
CATCH_UP_S = 0.2
"""Time constant in seconds with which a difference in speed between now and the moment fades."""
SAME_POSE_M = 0.006
_NS = 1e-9
_SQRT2 = math.sqrt(2.0)


class Like(NamedTuple):
    """Moments in any order: stamps, int64 nanoseconds ``(N,)``, and tracks ``(N,)``."""

    stamps: np.ndarray
    tracks: np.ndarray


NOTHING_LIKE = Like(np.zeros(0, np.int64), np.zeros(0, np.int64))


def occasions(like: Like) -> int:
    """Return the number of occasions; moments within :data:`OCCASION_S` count once."""
    order = np.lexsort((like.stamps, like.tracks))
    gaps, others = np.diff(like.stamps[order]), np.diff(like.tracks[order])
    return len(order) - int(np.count_nonzero((others == 0) & (gaps < OCCASION_S / _NS)))


@dataclass(frozen=True, eq=False)
class Followed:
    """
    Displacements that followed N earlier moments for each of P people, every :data:`STEP_S`.

    ``pose`` float32 (P, J, 3) metres, from which they begin; ``paths`` float32
    (P, N, H + 2, J, 3), the last a velocity, zero where there is no moment; ``window`` of the
    model.
    """

    pose: np.ndarray
    paths: np.ndarray
    window: WindowConfig

    def at(self, frames: np.ndarray) -> np.ndarray:
        """
        Return the futures that they make at some frames.

        :param frames: indices, F of them.
        :returns: float32, metres in the frame of the pose, (P, N, F, J, 3).
        """
        persons, count, rows, joints = self.paths.shape[:4]
        between = _between(self.window, rows - 2)[frames]  # (F, H + 2)
        moved = between @ self.paths.reshape(persons, count, rows, 3 * joints)
        return self.pose[:, None, None] + moved.reshape(persons, count, len(frames), joints, 3)

    def mean(self, weights: np.ndarray) -> np.ndarray:
        """
        Return the weighted mean of each person's futures at every frame.

        :param weights: (P, N); rows sum to one.
        :returns: float32, metres, (P, T_fut, J, 3).
        """
        persons, count, rows, joints = self.paths.shape[:4]
        path = weights[:, None] @ self.paths.reshape(persons, count, rows * 3 * joints)
        moved = _between(self.window, rows - 2) @ path.reshape(persons, rows, 3 * joints)
        return self.pose[:, None] + moved.reshape(persons, -1, joints, 3)


@dataclass(frozen=True)
class Recall:
    """
    What followed the earlier moments nearest to now, N for each of P people.

    ``followed`` makes their futures; it is None if only the rest is needed. ``weights`` is (P, N);
    each row sums to one, or is zero if nothing is found. ``distance_m`` is (P,), the distance to
    the nearest moment in metres per joint, infinite if there is none. ``alike`` is int (P,): how
    many of the N are about as near as the nearest one. ``like`` holds all such moments of each
    person, for :func:`occasions`.
    """

    followed: Followed | None
    weights: np.ndarray
    distance_m: np.ndarray
    alike: np.ndarray
    like: list[Like] = field(default_factory=list)

    @property
    def futures(self) -> np.ndarray:
        """Return what followed at every frame, float32 (P, N, T_fut, J, 3), metres."""
        assert self.followed is not None
        return self.followed.at(np.arange(self.followed.window.future_frames))

    @property
    def known(self) -> np.ndarray:
        """Return whether anything was found for each person, bool (P,)."""
        return np.isfinite(self.distance_m)


def nothing_found(now: Stance, neighbours: int, window: WindowConfig) -> Recall:
    """
    Return the recall of an empty memory: everybody stays as they are.

    :param now: pose and velocity of P people.
    :param neighbours: N.
    :param window: the model's window.
    """
    persons, joints = now.pose.shape[:2]
    rows = steps_of(window) + 2
    paths = np.zeros((persons, neighbours, rows, joints, 3), dtype=np.float32)
    return Recall(
        Followed(now.pose, paths, window),
        np.zeros((persons, neighbours), dtype=np.float32),
        np.full(persons, np.inf, dtype=np.float32),
        np.zeros(persons, dtype=np.int64),
        [NOTHING_LIKE] * persons,
    )


@lru_cache(maxsize=8)
def _between(window: WindowConfig, steps: int) -> np.ndarray:
    # Matrix (T_fut, steps + 2) from poses every STEP_S, and the difference in speed, to
    # displacements at every frame of the future.
    times_s = np.arange(1, window.future_frames + 1) * window.period_s
    spline = CubicSpline(np.arange(steps + 1), np.eye(steps + 1))
    lasting = CATCH_UP_S * (1.0 - np.exp(-times_s / CATCH_UP_S))
    poses = spline(np.minimum(times_s / STEP_S, steps))
    return np.concatenate((poses, lasting[:, None]), axis=1).astype(np.float32)


def recalled(
    found: Recall,
    slots: Slots,
    skeleton: Skeleton,
    now: Stance,
    facing: np.ndarray,
    near: np.ndarray,
    distance: np.ndarray,
    pool: int,
) -> Recall:
    """
    Fill in what followed the nearest moments.

    :param found: from :func:`nothing_found`; it is changed.
    :param slots: the content of the memory.
    :param skeleton: the model's skeleton.
    :param now: pose and velocity of P people.
    :param facing: their headings, ``(P, 2)``.
    :param near: slots of moments for each person, unmirrored ones first, then mirrored, (P, M).
    :param distance: distances of these moments, metres per joint, (P, M).
    :param pool: number of unmirrored ones.
    :returns: ``found``.
    """
    persons, neighbours = found.weights.shape
    order = np.argsort(distance, axis=1, kind='stable')
    near = np.take_along_axis(near, order, axis=1)
    distance = np.take_along_axis(distance, order, axis=1)
    chosen = _choose(slots, found, near, distance, order >= pool, neighbours)
    who = np.repeat(np.arange(persons), [len(at) for at in chosen])
    if not len(who):
        return found
    ranks = np.concatenate(chosen).astype(np.int64)
    weights = np.concatenate([found.weights[i, : len(at)] for i, at in enumerate(chosen)])
    at, flipped = near[who, ranks], order[who, ranks] >= pool
    # (M, H + 2, J, 3), the last a velocity
    path = _followed(slots, skeleton.mirror, at, flipped, who, weights, facing[who])
    faster = now.velocity[who] - path[:, -1]
    path[:, -1] = believed(faster, (_SQRT2 * now.doubt)[who, None])
    assert found.followed is not None
    number = np.concatenate([np.arange(len(those)) for those in chosen])
    found.followed.paths[who, number] = path
    return found


def _choose(
    slots: Slots,
    found: Recall,
    near: np.ndarray,
    distance: np.ndarray,
    flipped: np.ndarray,
    wanted: int,
) -> list[list[int]]:
    # Return the rank of the nearest distinct moments of each person; their weights, distances and
    # number are written to `found`.
    chosen = []
    limit_ns = round(APART_S / _NS)
    for person, far in enumerate(distance):
        at = near[person, : np.searchsorted(far, np.inf)]
        stamps, tracks = slots.stamps[at], slots.tracks[at]
        ranks = apart(stamps, 2 * tracks + flipped[person, : len(at)], limit_ns, wanted)
        chosen.append(ranks)
        if not ranks:
            continue
        within = max(2.0 * far[0], 2.0 * SAME_POSE_M)
        weight = np.exp((far[0] - far[ranks]) / SOFTNESS_M)
        found.weights[person, : len(ranks)] = weight / weight.sum()
        found.distance_m[person] = far[0]
        found.alike[person] = np.count_nonzero(far[ranks] < within)
        close = int(np.searchsorted(far, within))
        found.like[person] = Like(stamps[:close], tracks[:close])
    return chosen


def _followed(
    slots: Slots,
    mirror: Sequence[int],
    chosen: np.ndarray,
    flipped: np.ndarray,
    who: np.ndarray,
    weights: np.ndarray,
    facing: np.ndarray,
) -> np.ndarray:
    # Return the displacements after each of M moments and, last, the velocity, rotated to the
    # heading of the person who is expected to repeat it, (M, H + 2, J, 3).
    at = slots.paths[chosen] % slots.capacity
    seen = slots.seen[at].all(axis=1)  # (M, J)
    path = np.empty((len(chosen), slots.steps + 2, *slots.poses.shape[1:]), dtype=np.float32)
    path[:, :-1] = slots.poses[at]
    path[:, :-1] -= path[:, :1].copy()
    path[:, -1] = slots.velocities[chosen]
    if flipped.any():
        path[flipped] = path[flipped][..., list(mirror), :]
        seen[flipped] = seen[flipped][:, list(mirror)]
    turned = _turns(slots.headings[chosen], facing, flipped)
    path = (path.reshape(len(chosen), -1, 3) @ turned).reshape(path.shape)
    if not seen.all():
        for person in np.unique(who[~seen.all(axis=1)]):
            of = who == person
            path[of] = _by_those_seen(path[of], seen[of], weights[of])
    return path


def _turns(then: np.ndarray, now: np.ndarray, flipped: np.ndarray) -> np.ndarray:
    # Return matrices (M, 3, 3), for ``points @ matrix``, from the frame of the room at the former
    # heading to the present heading, mirrored if flipped; headings are (M, 2).
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
    # Joints (N, J) that were not seen throughout move like those of the other moments, or with the
    # root if no moment has them, or with the joints that were seen if no moment has the root.
    shares = weights[:, None] * seen  # (N, J)
    total = shares.sum(axis=0)
    mean = np.einsum('nj,nhjd->hjd', shares, path) / np.maximum(total, 1e-9)[:, None]
    known = total > 0.0
    root = path[:1].mean(axis=0)[:, :1]
    if not seen[0, 0] and known.any():
        root = mean[:, :1] if known[0] else mean[:, known].mean(axis=1, keepdims=True)
    mean = np.where(known[:, None], mean, root)
    return np.where(seen[:, None, :, None], path, mean).astype(path.dtype)
