"""Who is who: everyone of one message is assigned to the people known so far, all at once."""

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
"""Of most joints at once; who is further off is somebody else."""
MAX_ERROR_M = 0.3
"""A tracker's own, on top of that."""
MIN_COMMON_JOINTS = 4
"""With fewer joints seen in both poses, nothing tells one body from another."""
_CLEARLY_M = 0.15  # a body this near to where it is expected is looked for nowhere else
_STRANGER_SPEED_M_S = 5.0  # without an id to go by: as MAX_SPEED_M_S, of whoever was near
_STRANGER_M = 1.5  # and no further than this
_TRUST = 0.5  # distances from the owner of an id count this much,
_TRUST_M = 0.1  # less this much: ids are believed until joints clearly say otherwise
_FAR_JOINT_M = 1.0  # one joint far off must not decide
_NOBODY_M = 1.5  # to begin somebody new costs as much as this distance
_LATEST_LEADS = 30
_NS = 1e-9


@dataclass(frozen=True)
class Sighting:
    """
    One person of one message in the model's joints.

    ``xyz`` (J, 3) metres, ``seen`` bool (J,): joints that are there and of one body.
    """

    stamp_ns: int
    source: str
    person: str
    """The tracker's id of the person, or the place in the message."""
    identified: bool
    """Whether the tracker says who it is; else ``person`` is only a place in the message."""
    xyz: np.ndarray
    seen: np.ndarray
    arrival_ns: int | None = None
    """The caller's clock when it came."""

    def distance_m(self, point_m: np.ndarray) -> float:
        """
        Return how far the person is from a point, infinite where nothing tells.

        :param point_m: metres (3,).
        """
        if not self.seen.any():
            return math.inf
        root = self.xyz[0] if self.seen[0] else self.xyz[self.seen].mean(axis=0)
        with np.errstate(over='ignore'):
            return float(np.linalg.norm(root - point_m))


@dataclass(frozen=True)
class TrackRules:
    """What the caller allows: see :class:`motion_predictor.track.limits.PeopleLimits`."""

    within_m: float
    """An id may go over to a body this near; 0 for never. Says nothing of places in a message."""
    within_s: float
    """As long as that body was seen this short a time ago."""
    stale_s: float
    """Who was not seen for longer has departed."""


@dataclass
class TrackCounters:
    """How often each rule about who is who has acted."""

    persons_appeared: int = 0
    persons_departed: int = 0
    persons_evicted: int = 0
    """Dropped to make room: not seen lately, or farther off than the others."""
    persons_reassociated: int = 0
    persons_replaced: int = 0
    """An id went on elsewhere: it was given to somebody else, who begins anew."""
    persons_switched: int = 0
    """An id went over to the body that another id had."""
    persons_sharing_id: int = 0
    """Two bodies were seen in turn under one id: two trackers on one topic?"""
    poses_exchanged: int = 0
    """Left and right had changed places, and were put right."""
    sides_believed: int = 0
    """They stayed so for over a second: the poses before were exchanged instead."""
    poses_frozen: int = 0
    """The same as the one before to the bit, of somebody who moved: the tracker repeats itself."""
    joints_leapt: int = 0
    """Away from the body for a moment: a slip of the tracker, not seen."""
    observations_elsewhere: int = 0
    """Set aside, since nobody moves so far in the time; who is seen there again is somebody."""
    observations_crowded_out: int = 0
    """Dropped: as many people as are kept are nearer."""


@dataclass(eq=False)
class Track:
    """One body that is followed, under whatever id."""

    number: int
    """Of which no other track has the same."""
    history: PoseHistory
    source: str
    person: str
    """The tracker's latest id of it."""
    watch: BodyWatch | None = None
    """What tells slips of the tracker from motion; None for bodies other than people's."""
    name: str = ''
    """What it is called in the outputs; '' for one that is not shown (any more)."""
    tentative: bool = False
    """Seen once where nobody was expected: it may be a slip of the tracker."""
    arrival_ns: int | None = None
    """The caller's clock when its last pose came."""
    newest_ns: int = 0
    """The newest stamp of all when its last pose came: what tells time without a clock."""
    may_be_known: bool = True
    """Still to be compared with those who vanished."""
    leads_ns: deque[int] = field(default_factory=lambda: deque(maxlen=_LATEST_LEADS))
    """By how much the latest stamps were ahead of the clock at their arrival."""
    frozen: FrozenPose = field(default_factory=FrozenPose)
    """Whether the tracker only repeats what it showed of it."""
    came_back: bool = False
    """Its id went on elsewhere once, and came back."""

    @property
    def newest_stamp_ns(self) -> int:
        """Stamp of its newest pose, 0 where it has none."""
        return self.history.newest_stamp_ns or 0


@dataclass(frozen=True)
class Distances:
    """How far a sighting is from each of T bodies: from where they were, and are expected."""

    apart_s: np.ndarray
    """Time since the pose compared with; negative for a sighting that came late, (T,)."""
    jump_m: np.ndarray
    """Median over the joints from where they were; NaN where too few were seen in both, (T,)."""
    off_m: np.ndarray
    """Mean over the joints from where they are expected, each at most 1 m; likewise, (T,)."""

    @property
    def possible(self) -> np.ndarray:
        """Tell whether a body may have moved so far, bool (T,); True where nothing can be told."""
        limit = MAX_ERROR_M + MAX_SPEED_M_S * np.abs(self.apart_s)
        return np.isnan(self.jump_m) | (self.jump_m <= limit)


class Expected:
    """Where bodies were and are expected at one instant."""

    def __init__(self, tracks: Sequence[Track], stamp_ns: int, skeleton: Skeleton) -> None:
        """
        Look them up.

        :param tracks: T bodies, at least one.
        :param stamp_ns: the instant.
        :param skeleton: their joints.
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

        :param sighting: at that instant.
        """
        common = self._known & sighting.seen
        enough = common.sum(axis=1) >= MIN_COMMON_JOINTS
        jump = np.where(enough, _median(lengths(sighting.xyz - self._was), common), np.nan)
        off = np.where(enough, self._off(sighting.xyz, common), np.nan)
        if self._skeleton.has_sides and (off > _CLEARLY_M).any():
            # Left and right may have changed places.
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
    Return whoever has the sighting's id, if the sighting is clearly where they are expected.

    :param sighting: the sighting.
    :param named: who is known, by name.
    :param skeleton: the joints.
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
        if (off * common).sum() / count <= _CLEARLY_M and jump.max() <= limit:
            return owner  # as nearly always
    away = Expected([owner], sighting.stamp_ns, skeleton).distances(sighting)
    return None if not away.possible[0] or away.off_m[0] > _CLEARLY_M else owner


def assign(
    sightings: Sequence[Sighting],
    owners: Sequence[Track | None],
    named: Mapping[str, Track],
    unnamed: Sequence[Track],
    skeleton: Skeleton,
    rules: TrackRules,
) -> list[Track | None]:
    """
    Find out whom a message shows, everyone in it at once (Hungarian method, over joints).

    Whoever is clearly where their id was keeps it. The others are assigned so that the sum of
    distances is least. An id counts for something: only where the joints clearly say otherwise
    does it go to another body. Where the tracker gives no ids, distances alone decide.

    :param sightings: everyone of one message.
    :param owners: of each, from :func:`clear_owner`.
    :param named: who is known, by name.
    :param unnamed: others who were seen: left behind by their ids, or only once.
    :param skeleton: the joints.
    :param rules: what is allowed.
    :returns: for each the body it is, None where it is nobody of these.
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
            continue  # a new id: compared later, when all of its message have been seen
        away = expected.distances(sighting)
        costs[row, : len(tracks)] = _costs(sighting, away, owned, rules)
    for row, column in pair_up(costs, _NOBODY_M):
        if column < len(tracks):
            found[open_[row]] = tracks[column]
    return found


def _is_owner(track: Track, sighting: Sighting) -> bool:
    # Whether the sighting's id is this body's.
    if track.name == sighting.person:
        return True
    if track.tentative and sighting.stamp_ns <= track.newest_stamp_ns:
        return False  # stamps that stand still confirm nobody
    return (
        sighting.identified and track.person == sighting.person and track.source == sighting.source
    )


def _costs(
    sighting: Sighting, away: Distances, owned: np.ndarray, rules: TrackRules
) -> np.ndarray:
    # What it costs to say that this is each of the bodies, metres; _NOBODY_M where it cannot be.
    limit = _NOBODY_M - 0.01
    trust = _TRUST if sighting.identified else 1.0
    off = np.nan_to_num(away.off_m)  # nothing can be told: only the id counts
    of_owner = np.where(away.possible, np.minimum(trust * off - _TRUST_M, limit), _NOBODY_M)
    apart_s = np.abs(away.apart_s)
    allowed = (apart_s > 0.0) & ~np.isnan(away.jump_m)
    if sighting.identified:
        allowed &= (away.apart_s > 0.0) & (apart_s <= rules.within_s)
        allowed &= (off <= rules.within_m) & (rules.within_m > 0.0)
    else:  # a place in the message says too little to be believed alone, however long ago it was
        reach = np.minimum(MAX_ERROR_M + _STRANGER_SPEED_M_S * apart_s, _STRANGER_M)
        near = np.nan_to_num(away.jump_m) <= reach  # or nothing can be told
        of_owner = np.where(near, of_owner, np.maximum(of_owner, limit))
        allowed &= near
    of_other = np.where(allowed, np.minimum(off, limit), _NOBODY_M)
    return np.where(owned, of_owner, of_other)


def pair_up(costs: np.ndarray, limit: float) -> list[tuple[int, int]]:
    """
    Pair rows with columns so that the sum of costs is least.

    :param costs: (N, M), infinite where two cannot be paired.
    :param limit: larger than any cost that is not infinite.
    :returns: (row, column) pairs, in the order of rows.
    """
    rows, columns = linear_sum_assignment(np.minimum(costs, limit))
    pairs = zip(rows.tolist(), columns.tolist())
    return [(row, column) for row, column in pairs if costs[row, column] < limit]


def free_name(wanted: str, taken: Iterable[str]) -> str:
    """
    Find a name for somebody without an id of their own.

    :param wanted: taken as it is where it is free; else the number that it ends in is changed.
    :param taken: names of others.
    """
    taken = set(taken)
    if wanted not in taken:
        return wanted
    stem = wanted.rstrip('0123456789')
    return next(f'{stem}{n}' for n in range(len(taken) + 1) if f'{stem}{n}' not in taken)


def second_name(person: str, taken: Iterable[str]) -> str:
    """
    Name somebody whose id another has as well.

    :param person: the id.
    :param taken: names of others.
    """
    taken = set(taken)
    return next(f'{person}/{n}' for n in range(2, len(taken) + 3) if f'{person}/{n}' not in taken)


def _median(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    # Median of the chosen values of each row, (T, J) to (T,); infinite where none is.
    ordered = np.sort(np.where(chosen, values, np.inf), axis=1)
    last = chosen.sum(axis=1) - 1
    rows = np.arange(len(values))
    return 0.5 * (ordered[rows, last // 2] + ordered[rows, (last + 1) // 2])
