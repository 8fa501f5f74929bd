"""Who is seen and not predicted, why, and where they were last: the states of people; no ROS."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from itertools import count
import math

import numpy as np

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.track.history import PoseHistory
from motion_predictor.track.window import NotReady

_NS = 1e-9
_BEYOND_M = 1e6  # from the frame's origin: no place where anybody is
_MAX_REFUSED = 512
_MAX_QUOTED = 40


class PersonState(Enum):
    """What is known of a person's future."""

    PREDICTED = 'predicted'
    SEEN = 'seen only'
    """The tracker shows them, and the model does not predict them."""
    LOST = 'lost'
    """The tracker no longer shows them, and they are not forgotten yet."""


class Excluded(Enum):
    """Why a person with a history was left out, beside :class:`NotReady`."""

    NOT_SEEN_LATELY = 'not_seen_lately'
    """Others were seen since, for longer than a gap may last."""
    TOO_MANY_PERSONS = 'too_many_persons'
    """max_persons others are nearer to the reference point."""
    SOURCE_BEHIND = 'source_behind'
    """Another source's stamps are ahead by longer than a gap may last: its clock, or this one's
    source's, is off."""
    STAMPED_AHEAD = 'stamped_ahead'
    """Stamped ahead of everybody else by longer than a gap may last."""
    WINDOW_FAILED = 'window_failed'
    """What was observed cannot be resampled."""
    NOT_FINITE = 'not_finite'
    """The model gave NaN or infinity."""
    PREDICTION_FAILED = 'prediction_failed'
    """The model could not be run."""


class Refusal(Enum):
    """Why what a message says of a person did not become part of their history."""

    NO_JOINTS = 'no_joints'
    NO_BODY = 'no_body'
    MALFORMED = 'malformed'
    FAR_FUTURE = 'far_future'
    TOO_LATE = 'too_late'
    ELSEWHERE = 'elsewhere'
    FROZEN = 'frozen'
    CROWDED_OUT = 'crowded_out'
    OTHER_FRAME = 'other_frame'
    NO_TRANSFORM = 'no_transform'
    FAILED = 'failed'


Reason = NotReady | Excluded | Refusal

_WORDS: Mapping[Reason, str] = {
    NotReady.NO_POSES: 'has just appeared',
    NotReady.TOO_FEW_POSES: 'has just appeared',
    NotReady.TOO_SHORT: 'has just appeared: seen for less than min_observed_s',
    NotReady.GAP_TOO_LONG: 'was out of sight, and seen for less than min_observed_s since',
    NotReady.JOINT_MISSING: 'joints were missing, and not seen for min_observed_s since',
    NotReady.SOURCE_TOO_SLOW: 'comes too seldom to tell a motion',
    Excluded.NOT_SEEN_LATELY: 'is no longer shown',
    Excluded.TOO_MANY_PERSONS: 'is farther away than max_persons others',
    Excluded.SOURCE_BEHIND: "its stamps are behind another topic's: synchronize their clocks",
    Excluded.STAMPED_AHEAD: 'is stamped ahead of everybody else: check its clock',
    Excluded.WINDOW_FAILED: 'what was observed cannot be resampled',
    Excluded.NOT_FINITE: 'the model gave NaN or infinity: check the weights and the device',
    Excluded.PREDICTION_FAILED: 'the model failed: see the log',
    Refusal.NO_JOINTS: 'has no joint in space',
    Refusal.NO_BODY: 'has too few joints that belong to one body',
    Refusal.MALFORMED: 'is malformed',
    Refusal.FAR_FUTURE: "is stamped ahead of the node's clock by more than max_future_s",
    Refusal.TOO_LATE: 'is stamped long before what is known already',
    Refusal.ELSEWHERE: 'leaps farther than anybody moves',
    Refusal.FROZEN: 'is shown in the same pose to the bit: does the tracker still run?',
    Refusal.CROWDED_OUT: 'is farther away than all who are followed: raise max_persons',
    Refusal.OTHER_FRAME: "is in another topic's frame: set target_frame",
    Refusal.NO_TRANSFORM: 'has no transform into target_frame',
    Refusal.FAILED: 'could not be read: see the log',
}


@dataclass(frozen=True)
class OtherPerson:
    """
    Somebody who is not predicted.

    ``pose`` float64 (J, 3), metres, in the frame of the snapshot: every joint at a place that was
    measured last, its own or, of a joint that was not seen, that of the nearest joint which was.
    None where it is not known where they are.
    """

    state: PersonState
    reason: Reason
    stamp_ns: int
    pose: np.ndarray | None = None
    joints: tuple[str, ...] = ()
    """Joints that were not seen and would be needed."""
    detail: str = ''
    """What is to be said instead of the reason's own words."""

    @property
    def words(self) -> str:
        """Say why they are not predicted."""
        return self.detail or _WORDS[self.reason]


@dataclass(frozen=True)
class Refused:
    """What a message says of somebody whose history did not take it up."""

    refusal: Refusal
    source: str
    stamp_ns: int
    arrival_ns: int | None
    pose: np.ndarray | None
    detail: str = ''
    newest_ns: int = 0
    """The newest stamp of all when it came: what tells time without a clock."""
    identified: bool = True
    """Whether the name is the tracker's, and not only the place in its message."""
    message_ns: int = 0
    """Stamp of the message, as it came."""


class RefusedPeople:
    """Everybody of whom the latest word was refused, by name; at most a few hundred."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._people: dict[str, Refused] = {}

    def __len__(self) -> int:
        return len(self._people)

    def add_to(
        self, others: dict[str, OtherPerson], predicted: Container[str], unseen: Mapping[str, int]
    ) -> list[Refusal]:
        """
        Add everybody who is not predicted, with their last known place, to those who are seen.

        :param others: by name; added to.
        :param predicted: names of those who are predicted.
        :param unseen: by source, how many of those the latest message did not show: somebody
            without an id of their own who was refused in it may be one of them.
        :returns: why each of those added was refused.
        """
        reasons, left = [], dict(unseen)
        for name, refused in self._people.items():
            if not refused.identified and left.get(refused.source, 0) > 0:
                left[refused.source] -= 1
                continue
            if name in predicted:
                if refused.identified:
                    continue
                name = self._another_name(name, others, predicted)
            pose = refused.pose
            if pose is None and name in others:
                pose = others[name].pose
            reasons.append(refused.refusal)
            others[name] = OtherPerson(
                PersonState.SEEN, refused.refusal, refused.stamp_ns, pose, (), refused.detail
            )
        return reasons

    def _another_name(self, name: str, others: Container[str], predicted: Container[str]) -> str:
        stem = name.rstrip('0123456789')
        numbered = (f'{stem}{number}' for number in count())
        return next(
            each
            for each in numbered
            if each not in self._people and each not in others and each not in predicted
        )

    def begin(self, source: str, stamp_ns: int) -> None:
        """
        Forget those of earlier messages who have no id: places of the next are others' places.

        :param source: of the message that begins.
        :param stamp_ns: its stamp.
        """
        old = [
            name
            for name, refused in self._people.items()
            if not refused.identified
            and refused.source == source
            and refused.message_ns != stamp_ns
        ]
        for name in old:
            del self._people[name]

    def note(self, name: str, refused: Refused) -> None:
        """Take in what was refused; of too many people the one heard of longest ago goes."""
        self._people.pop(name, None)
        self._people[name] = refused
        if len(self._people) > _MAX_REFUSED:
            del self._people[next(iter(self._people))]

    def taken(self, name: str) -> None:
        """Note that somebody's latest word was taken."""
        self._people.pop(name, None)

    def forget(self, sources: Iterable[str] | None = None) -> None:
        """Forget everybody of these sources, or everybody."""
        gone = None if sources is None else set(sources)
        kept = {} if gone is None else self._people
        self._people = {name: r for name, r in kept.items() if r.source not in (gone or ())}

    def drop_stale(self, now_ns: int | None, newest_ns: int, timeout_ns: int) -> bool:
        """
        Forget who was not shown for a time.

        :param now_ns: the clock; None where time is told by ``newest_ns``, the newest stamp.
        :param timeout_ns: after so long.
        :returns: whether somebody was forgotten.
        """

        def is_stale(refused: Refused) -> bool:
            if now_ns is None or refused.arrival_ns is None:
                return newest_ns - refused.newest_ns > timeout_ns
            return abs(now_ns - refused.arrival_ns) > timeout_ns

        kept = {name: refused for name, refused in self._people.items() if not is_stale(refused)}
        changed = len(kept) != len(self._people)
        self._people = kept
        return changed


def measured_pose(xyz: np.ndarray, seen: np.ndarray, skeleton: Skeleton) -> np.ndarray | None:
    """
    Put joints that were not seen to the nearest one along the bones that was.

    So the points of a person are as many as the joints, and each of them was measured.

    :param xyz: metres, (J, 3).
    :param seen: which of them were measured, bool (J,).
    :returns: (J, 3); None when no joint was seen.
    """
    usable = seen & (np.abs(np.where(seen[:, None], xyz, 0.0)) < _BEYOND_M).all(axis=1)
    if not usable.any():
        return None
    order = _nearest_joints(skeleton)  # (J, J)
    first = usable[order].argmax(axis=1)
    return np.asarray(xyz, dtype=np.float64)[order[np.arange(len(order)), first]]


def points_as_pose(points: np.ndarray, seen: np.ndarray, skeleton: Skeleton) -> np.ndarray | None:
    """
    Give measured points that are no joint of the model's the form of a pose: repeated, or cut.

    :param points: metres, (N, 3), of whatever layout.
    :param seen: which of them were measured, bool (N,).
    :param skeleton: the model's.
    :returns: (J, 3); None when none of them is there.
    """
    there = seen & (np.abs(np.where(seen[:, None], points, 0.0)) < _BEYOND_M).all(axis=1)
    if not there.any():
        return None
    return np.resize(points[there], (skeleton.num_joints, 3)).astype(np.float64)


@lru_cache(maxsize=8)
def _nearest_joints(skeleton: Skeleton) -> np.ndarray:
    # Of each joint all joints in the order of the bones between them: (J, J).
    count = skeleton.num_joints
    apart = np.full((count, count), count)
    np.fill_diagonal(apart, 0)
    for child, parent in skeleton.bones:
        apart[child, parent] = apart[parent, child] = 1
    for middle in range(count):
        apart = np.minimum(apart, apart[:, middle, None] + apart[middle])
    return np.argsort(apart, axis=1, kind='stable')


def missing_joints(history: PoseHistory, longest_s: float) -> tuple[tuple[str, ...], str]:
    """
    Tell which joints a window lacks.

    :param history: that gives no window because of them.
    :param longest_s: for how long a joint may be missing.
    :returns: their names, and how long they have not been seen, in words; nothing where all of
        them have come back.
    """
    newest = history.newest_stamp_ns
    if newest is None:
        return (), ''
    seen_ns = history.joints_seen_ns
    ages_s = np.where(seen_ns < 0, math.inf, (newest - seen_ns) * _NS)
    wanted = [joint for joint in range(len(ages_s)) if joint not in history.following_joints]
    missing = [joint for joint in wanted if ages_s[joint] > longest_s]
    names = tuple(history.skeleton.joints[joint] for joint in missing)
    if not names:
        return (), ''
    known = [float(ages_s[joint]) for joint in missing if math.isfinite(ages_s[joint])]
    since = f'not seen for {max(known):.1f} s' if known else 'never seen'
    return names, f'{", ".join(names)} {since}'


def other_person(
    history: PoseHistory,
    reason: NotReady | Excluded,
    *,
    longest_s: float,
    arrival_ns: int | None,
    ahead_s: float | None = None,
    denied: bool = False,
) -> OtherPerson:
    """
    Describe somebody who has a history and is not predicted.

    :param history: theirs, not empty.
    :param reason: why they are not predicted.
    :param longest_s: for how long a joint may be missing.
    :param arrival_ns: the clock when they were last seen, None without one.
    :param ahead_s: by how much they are stamped ahead of everybody else, None where they are not.
    :param denied: whether the tracker says by now that nobody is there.
    """
    joints: tuple[str, ...] = ()
    detail = ''
    lost = reason is Excluded.NOT_SEEN_LATELY
    if reason is NotReady.JOINT_MISSING:
        joints, detail = missing_joints(history, longest_s)
    elif ahead_s is not None:
        detail = f'is stamped {ahead_s:.2f} s ahead of everybody else: check its clock'
    pose = None if lost and denied else measured_pose(*history.newest_pose, history.skeleton)
    stamp_ns = history.newest_stamp_ns or 0
    if arrival_ns is not None:
        stamp_ns = min(stamp_ns, arrival_ns)
    state = PersonState.LOST if lost else PersonState.SEEN
    return OtherPerson(state, reason, stamp_ns, pose, joints, detail)


@dataclass(frozen=True)
class Timing:
    """
    When somebody was last seen, by their own stamp, and how far their stamps are ahead.

    ``lead_s`` is the most that a stamp was lately ahead of the clock at its arrival, since what
    waits on its way is later than its stamp says; NaN without a clock.
    """

    source: str
    stamp_ns: int
    lead_s: float


_AHEAD_OF_CLOCK_S = 0.02


def stamped_ahead(people: Mapping[str, Timing], apart_s: float) -> dict[str, float]:
    """
    Find people whose stamps are so far ahead that everybody else would look out of date.

    Somebody is at fault whose stamps, beside the clock at their arrival, are ahead of those of
    others, if these are at least as many; and then only if the stamps are ahead of the clock too,
    or those of one person of a source ahead of most others of it. Else it is the others who are
    behind, or no longer seen, which is for the caller to judge.

    :param people: everybody's newest observation.
    :param apart_s: stamps of one instant are no further apart.
    :returns: by how many seconds each of those at fault is ahead of the rest.
    """
    found: dict[str, float] = {}
    rest = dict(people)
    while len(rest) > 1:
        newest = max(timing.stamp_ns for timing in rest.values())
        near = {n: t for n, t in rest.items() if (newest - t.stamp_ns) * _NS <= apart_s}
        lead_s = min(timing.lead_s for timing in near.values())
        behind = [
            timing
            for name, timing in rest.items()
            if name not in near and not lead_s - timing.lead_s <= apart_s  # without a clock too
        ]
        if not behind or len(near) > len(behind):
            return found
        fewer_of_one = len(near) < len(behind) and (
            len({timing.source for timing in [*near.values(), *behind]}) == 1
        )
        if not (lead_s > _AHEAD_OF_CLOCK_S or fewer_of_one):
            return found
        reference = max(timing.stamp_ns for timing in behind)
        for name in near:
            found[name] = (rest.pop(name).stamp_ns - reference) * _NS
    return found


def short(name: str) -> str:
    """Cut a name that somebody else has made up to what can be read."""
    return name if len(name) <= _MAX_QUOTED else f'{name[:_MAX_QUOTED]}...'


def sentence(others: Mapping[str, OtherPerson], most: int = 6) -> str:
    """
    Say who is seen and not predicted, and why; '' when nobody is.

    :param others: by name.
    :param most: so many are named, the others counted.
    """
    seen = {name: other for name, other in others.items() if other.state is PersonState.SEEN}
    if not seen:
        return ''
    named = [f'{short(name)} ({other.words})' for name, other in list(seen.items())[:most]]
    more = f' and {len(seen) - most} more' if len(seen) > most else ''
    return f'seen and not predicted: {", ".join(named)}{more}'
