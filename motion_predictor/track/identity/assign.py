# SPDX-License-Identifier: Apache-2.0
"""Assign all people of one message to the bodies known so far, all at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
import math

import numpy as np
from scipy.optimize import linear_sum_assignment

from motion_predictor.body.geometry import lengths
from motion_predictor.body.skeleton import Skeleton
from motion_predictor.track.history import PoseHistory
from motion_predictor.track.slips.body_watch import BodyWatch
from motion_predictor.track.slips.frozen_pose import FrozenPose

MAX_SPEED_M_S = 10.0
"""Largest speed of most joints at once, in m/s; whoever is further away is somebody else."""
MAX_ERROR_M = 0.3
"""Error of a tracker in metres that is allowed in addition."""
MIN_COMMON_JOINTS = 4
"""With fewer joints seen in both poses, nothing tells one body from another."""
CLEARLY_M = 0.15
"""A body this near to where it is expected, in metres, is not compared with others."""
_STRANGER_SPEED_M_S = 5.0  # as MAX_SPEED_M_S, for people without ids: that of the nearest body
_STRANGER_M = 1.5  # largest distance for people without ids
_TRUST = 0.5  # factor on the distances from the owner of an id,
_TRUST_M = 0.1  # and reduction: an id is believed until the joints clearly contradict it
_FAR_JOINT_M = 1.0  # largest distance of one joint, so that one joint cannot decide
_NOBODY_M = 1.5  # distance that the start of a new body costs
_LATEST_LEADS = 30
_NS = 1e-9


@dataclass(frozen=True)
class Sighting:
    """
    One person of one message in the model's joints.

    ``xyz`` is (J, 3), metres. ``seen`` is bool (J,), True for joints that are present and belong
    to one body.
    """

    stamp_ns: int
    source: str
    person: str
    """The tracker's id of the person, or the position in the message."""
    identified: bool
    """Whether the tracker gives this person an id. If not, ``person`` is only a position in the
    message."""
    xyz: np.ndarray
    seen: np.ndarray
    arrival_ns: int | None = None
    """The caller's clock when it came, nanoseconds."""

    def distance_m(self, point_m: np.ndarray) -> float:
        """
        Return the distance of the person from a point, metres; infinite if it is not known.

        :param point_m: metres (3,).
        """
        if not self.seen.any():
            return math.inf
        root = self.xyz[0] if self.seen[0] else self.xyz[self.seen].mean(axis=0)
        with np.errstate(over='ignore'):
            return float(np.linalg.norm(root - point_m))


@dataclass(frozen=True)
class TrackRules:
    """The caller's limits; see :class:`motion_predictor.track.limits.PeopleLimits`."""

    within_m: float
    """Largest distance in metres over which an id may pass to another body; 0 for never. It does
    not apply to positions in a message."""
    within_s: float
    """Longest time in seconds since that other body was seen."""
    stale_s: float
    """A person who was not seen for longer than this, in seconds, has departed."""


@dataclass
class TrackCounters:
    """Counters of the rules about identity."""

    persons_appeared: int = 0
    persons_departed: int = 0
    persons_evicted: int = 0
    """People dropped to make room, because they were not seen lately or were farther away."""
    persons_reassociated: int = 0
    persons_replaced: int = 0
    """Cases of an id that continued elsewhere: it was given to another person, who
    begins again."""
    persons_switched: int = 0
    """Cases of an id that passed to the body that had another id."""
    persons_sharing_id: int = 0
    """Cases of two bodies seen in turn under one id: perhaps two trackers on one topic."""
    poses_exchanged: int = 0
    """Poses whose left and right were exchanged and were corrected."""
    sides_believed: int = 0
    """Cases in which the sides stayed exchanged for over a second, so that the earlier poses were
    exchanged instead."""
    poses_frozen: int = 0
    """Poses that equal the one before exactly although the person was moving: the tracker repeats
    itself."""
    joints_leapt: int = 0
    """Joints that leapt away from the body for a moment; such errors count as not seen."""
    observations_elsewhere: int = 0
    """Observations that were set aside, because nobody moves so far in the time. Whoever is seen
    there again is a new person."""
    observations_crowded_out: int = 0
    """Observations that were dropped, because as many people as are kept are nearer."""


@dataclass(eq=False)
class Track:
    """One body that is followed, under any id."""

    number: int
    """A number that no other track has."""
    history: PoseHistory
    source: str
    person: str
    """The tracker's latest id of the body."""
    watch: BodyWatch | None = None
    """Tells errors of the tracker from motion; None for bodies that are not people's."""
    name: str = ''
    """Its name in the outputs; '' for a body that is not shown, or no longer."""
    tentative: bool = False
    """Whether it was seen only once, where nobody was expected: it may be an error of
    the tracker."""
    arrival_ns: int | None = None
    """The caller's clock when its last pose came, nanoseconds."""
    newest_ns: int = 0
    """The newest stamp of all people when its last pose came; it tells the time if there is no
    clock."""
    may_be_known: bool = True
    """Whether it must still be compared with the people who vanished."""
    leads_ns: deque[int] = field(default_factory=lambda: deque(maxlen=_LATEST_LEADS))
    """Lead of the latest stamps over the clock at their arrival, nanoseconds."""
    frozen: FrozenPose = field(default_factory=FrozenPose)
    """Detects that the tracker only repeats its last pose."""
    came_back: bool = False
    """Whether its id continued elsewhere once and came back."""

    @property
    def newest_stamp_ns(self) -> int:
        """Return the stamp of its newest pose in nanoseconds; 0 if it has none."""
        return self.history.newest_stamp_ns or 0


@dataclass(frozen=True)
class Distances:
    """Distances of a sighting from T bodies: from their last and from their expected poses."""

    apart_s: np.ndarray
    """Time since the pose compared with, seconds; negative for a sighting that came late, (T,)."""
    jump_m: np.ndarray
    """Median over the joints of the distance from the last pose, metres; NaN if too few joints
    were seen in both, (T,)."""
    off_m: np.ndarray
    """Mean over the joints of the distance from the expected pose, metres, each at most 1 m; NaN
    as above, (T,)."""

    @property
    def possible(self) -> np.ndarray:
        """Return whether each body may have moved so far, bool (T,); True if that is not known."""
        limit = MAX_ERROR_M + MAX_SPEED_M_S * np.abs(self.apart_s)
        return np.isnan(self.jump_m) | (self.jump_m <= limit)


class Expected:
    """The last and the expected poses of bodies at one instant."""

    def __init__(self, tracks: Sequence[Track], stamp_ns: int, skeleton: Skeleton) -> None:
        """
        Compute the poses.

        :param tracks: T bodies, at least one.
        :param stamp_ns: the instant, nanoseconds.
        :param skeleton: their skeleton.
        """
        found = [track.history.expected(stamp_ns) for track in tracks]
        self._was = np.array([entry[0] for entry in found])  # (T, J, 3)
        self._moved = np.array([entry[1] for entry in found])
        self._known = np.array([entry[2] for entry in found])  # (T, J)
        self._apart_s = np.array([stamp_ns - entry[3] for entry in found]) * _NS
        self._skeleton = skeleton
        self._mirror = np.array(skeleton.mirror)

    def distances(self, sighting: Sighting) -> Distances:
        """
        Compare a sighting with each of these bodies.

        :param sighting: a sighting of that instant.
        """
        common = self._known & sighting.seen
        enough = common.sum(axis=1) >= MIN_COMMON_JOINTS
        jump = np.where(enough, _median(lengths(sighting.xyz - self._was), common), np.nan)
        off = np.where(enough, self._off(sighting.xyz, common), np.nan)
        if self._skeleton.has_sides and (off > CLEARLY_M).any():
            # Left and right may be exchanged.
            both = self._known & common[:, self._mirror] & enough[:, None]
            swapped = self._off(sighting.xyz[self._mirror], both)
            off = np.where(both.sum(axis=1) >= MIN_COMMON_JOINTS, np.fmin(off, swapped), off)
        return Distances(self._apart_s, jump, off)

    def _off(self, xyz: np.ndarray, common: np.ndarray) -> np.ndarray:
        off = np.minimum(lengths(xyz - self._moved), _FAR_JOINT_M)
        return (off * common).sum(axis=1) / np.maximum(common.sum(axis=1), 1)


def clear_owner(
    sighting: Sighting, named: Mapping[str, Track], skeleton: Skeleton
) -> Track | None:
    """
    Return the body with the sighting's id, if the sighting is clearly where it is expected.

    :param sighting: the sighting.
    :param named: the known bodies by name.
    :param skeleton: the skeleton.
    """
    owner = named.get(sighting.person)
    if owner is None:
        return None
    was, moved, known, stamp_ns = owner.history.expected(sighting.stamp_ns)
    common = known & sighting.seen
    count = int(np.count_nonzero(common))
    if count >= MIN_COMMON_JOINTS:
        off = np.minimum(lengths(sighting.xyz - moved), _FAR_JOINT_M)
        limit = MAX_ERROR_M + MAX_SPEED_M_S * abs(sighting.stamp_ns - stamp_ns) * _NS
        jump = np.where(common, lengths(sighting.xyz - was), 0.0)
        if (off * common).sum() / count <= CLEARLY_M and jump.max() <= limit:
            return owner  # as in most cases
    away = Expected([owner], sighting.stamp_ns, skeleton).distances(sighting)
    return None if not away.possible[0] or away.off_m[0] > CLEARLY_M else owner


def assign(
    sightings: Sequence[Sighting],
    owners: Sequence[Track | None],
    named: Mapping[str, Track],
    unnamed: Sequence[Track],
    skeleton: Skeleton,
    rules: TrackRules,
) -> list[Track | None]:
    """
    Return the body of each sighting of a message (Hungarian method on the joints' distances).

    A body that is clearly where its id was keeps the id. The others are assigned so that the sum
    of distances is least. An id has some weight: it passes to another body only if the joints
    clearly say so. If the tracker gives no ids, the distances alone decide.

    :param sightings: all people of one message.
    :param owners: for each sighting, the result of :func:`clear_owner`.
    :param named: the known bodies by name.
    :param unnamed: other bodies that were seen: those that lost their ids, or were seen once.
    :param skeleton: the skeleton.
    :param rules: the caller's limits.
    :returns: for each sighting its body; None if it is none of these.
    """
    found = list(owners)
    taken = {owner.number for owner in owners if owner is not None}
    open_ = [index for index, owner in enumerate(owners) if owner is None]
    sources = {sightings[index].source for index in open_}
    names = {sightings[index].person for index in open_}
    tracks = [
        track
        for track in (*named.values(), *unnamed)
        if track.number not in taken and (track.source in sources or track.name in names)
    ]
    if not open_ or not tracks:
        return found
    expected = Expected(tracks, sightings[open_[0]].stamp_ns, skeleton)
    costs = np.full((len(open_), len(tracks) + len(open_)), _NOBODY_M)
    for row, index in enumerate(open_):
        sighting = sightings[index]
        owned = np.array([_is_owner(track, sighting) for track in tracks])
        if sighting.identified and sighting.person not in named and not owned.any():
            continue  # a new id: it is compared later, when the whole message has been seen
        away = expected.distances(sighting)
        costs[row, : len(tracks)] = _costs(sighting, away, owned, rules)
    for row, column in pair_up(costs, _NOBODY_M):
        if column < len(tracks):
            found[open_[row]] = tracks[column]
    return found


def _is_owner(track: Track, sighting: Sighting) -> bool:
    # Return whether the sighting's id is this body's.
    if track.name == sighting.person:
        return True
    if track.tentative and sighting.stamp_ns <= track.newest_stamp_ns:
        return False  # stamps that stand still confirm no identity
    return (
        sighting.identified and track.person == sighting.person and track.source == sighting.source
    )


def _costs(
    sighting: Sighting, away: Distances, owned: np.ndarray, rules: TrackRules
) -> np.ndarray:
    # Return the cost of taking each body, metres; _NOBODY_M if it cannot be that one.
    limit = _NOBODY_M - 0.01
    trust = _TRUST if sighting.identified else 1.0
    off = np.nan_to_num(away.off_m)  # nothing is known: only the id counts
    of_owner = np.where(away.possible, np.minimum(trust * off - _TRUST_M, limit), _NOBODY_M)
    apart_s = np.abs(away.apart_s)
    allowed = (apart_s > 0.0) & ~np.isnan(away.jump_m)
    if sighting.identified:
        allowed &= (away.apart_s > 0.0) & (apart_s <= rules.within_s)
        allowed &= (off <= rules.within_m) & (rules.within_m > 0.0)
    else:  # a position in the message alone is weak evidence, however long ago it was
        reach = np.minimum(MAX_ERROR_M + _STRANGER_SPEED_M_S * apart_s, _STRANGER_M)
        near = np.nan_to_num(away.jump_m) <= reach  # or nothing is known
        of_owner = np.where(near, of_owner, np.maximum(of_owner, limit))
        allowed &= near
    of_other = np.where(allowed, np.minimum(off, limit), _NOBODY_M)
    return np.where(owned, of_owner, of_other)


def pair_up(costs: np.ndarray, limit: float) -> list[tuple[int, int]]:
    """
    Pair rows with columns so that the sum of costs is least.

    :param costs: (N, M), infinite for pairs that are not allowed.
    :param limit: a number larger than any finite cost.
    :returns: (row, column) pairs in the order of the rows.
    """
    rows, columns = linear_sum_assignment(np.minimum(costs, limit))
    pairs = zip(rows.tolist(), columns.tolist())
    return [(row, column) for row, column in pairs if costs[row, column] < limit]


def free_name(wanted: str, taken: Iterable[str]) -> str:
    """
    Return a name for a person without an id.

    :param wanted: taken as it is if it is free, otherwise the number at its end is changed.
    :param taken: names of others.
    """
    taken = set(taken)
    if wanted not in taken:
        return wanted
    stem = wanted.rstrip('0123456789')
    return next(f'{stem}{n}' for n in range(len(taken) + 1) if f'{stem}{n}' not in taken)


def second_name(person: str, taken: Iterable[str]) -> str:
    """
    Return a name for a person whose id another person has as well.

    :param person: the id.
    :param taken: names of others.
    """
    taken = set(taken)
    return next(f'{person}/{n}' for n in range(2, len(taken) + 3) if f'{person}/{n}' not in taken)


def _median(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    # Return the median of the chosen values of each row, (T, J) to (T,); infinite if there is
    # none.
    ordered = np.sort(np.where(chosen, values, np.inf), axis=1)
    last = chosen.sum(axis=1) - 1
    rows = np.arange(len(values))
    return 0.5 * (ordered[rows, last // 2] + ordered[rows, (last + 1) // 2])
