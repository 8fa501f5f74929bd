# SPDX-License-Identifier: Apache-2.0
"""A snapshot of one instant: who is predicted, from which poses, and who else is present."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
import math

import numpy as np

from motion_predictor.body.geometry import squares
from motion_predictor.track.clock import stamped_ahead, SteadyStamps, Timing
from motion_predictor.track.history import PoseHistory, windows_of_histories
from motion_predictor.track.identity.assign import Track
from motion_predictor.track.identity.tracks import Tracks
from motion_predictor.track.observed_pose import measured_pose
from motion_predictor.track.refusals import RefusedPeople
from motion_predictor.track.states import Excluded, HalfSeen, OtherPerson, PersonState, Reason
from motion_predictor.track.window import NotReady, ObservedWindow

_NS = 1e-9


@dataclass(frozen=True)
class Snapshot:
    """
    Everything that one prediction needs, taken at one instant; do not change it.

    ``persons`` are the P people who can be predicted, in order of distance.
    """

    stamp_ns: int
    """Stamp of the newest observation used, nanoseconds; if nobody is predicted, of the newest of
    all."""
    frame_id: str
    persons: tuple[str, ...]
    windows: tuple[ObservedWindow, ...]
    unpredicted: Mapping[str, NotReady | Excluded]
    departed: tuple[str, ...]
    """People whose histories were dropped since the last snapshot."""
    reassociated: Mapping[str, str]
    """New ids, each with the former id whose history it took over (the former id has departed)."""
    tracks: tuple[int, ...]
    """For each person, a number that stays while the history continues, under any id."""
    others: Mapping[str, OtherPerson] = field(default_factory=dict)
    """Everybody else who is seen, or was until lately: the people of ``unpredicted``, and those
    whose latest observation was refused."""
    nobody: bool = False
    """Whether the latest message of every source says that nobody is present."""
    arrival_ns: int | None = None
    """The caller's clock when the newest observation used came, nanoseconds."""

    half_seen: Mapping[str, HalfSeen] = field(default_factory=dict)
    """The people of ``persons`` of whom joints were not seen and are completed."""

    @cached_property
    def stamps_ns(self) -> np.ndarray:
        """Return the stamp of each person's newest observation, nanoseconds, int64 (P,)."""
        return np.array([window.stamp_ns for window in self.windows], dtype=np.int64)

    @cached_property
    def last_poses(self) -> np.ndarray:
        """Return the observed pose of each person at ``stamps_ns``, metres, float64 (P, J, 3)."""
        found = [window.poses[-1] for window in self.windows]
        return np.stack(found) if found else np.zeros((0, 0, 3))

    @cached_property
    def last_filled(self) -> np.ndarray:
        """Return the joints of ``last_poses`` that were not seen but filled in, bool (P, J)."""
        found = [window.filled[-1] for window in self.windows]
        return np.stack(found) if found else np.zeros((0, 0), dtype=bool)

    @property
    def padded_frames(self) -> np.ndarray:
        """Return the number of observed frames that repeat the first pose, int64 (P,)."""
        return np.array([window.padded_frames for window in self.windows], dtype=np.int64)


@dataclass(frozen=True)
class Frame:
    """What is known of the sources of a snapshot."""

    frame_id: str
    """The frame of all observations."""
    stamps: SteadyStamps
    shows_people: Mapping[str, bool]
    """By source, whether its latest message shows anybody."""


def snapshot_of(
    tracks: Tracks,
    refused: RefusedPeople,
    frame: Frame,
    max_persons: int,
    max_gap_s: float,
    now_ns: int | None,
) -> tuple[Snapshot, list[Reason]]:
    """
    Return a snapshot of all people, and take from the tracks who has departed.

    :param tracks: the bodies that are followed.
    :param refused: the people whose latest observation was refused.
    :param frame: what is known of the sources.
    :param max_persons: as for :func:`windows_of`.
    :param max_gap_s: as for :func:`windows_of`.
    :param now_ns: as for :func:`windows_of`.
    :returns: the snapshot, and the reason for each person who is not predicted.
    """
    windows, unpredicted = windows_of(tracks, max_persons, max_gap_s, now_ns)
    departed = tuple(name for name in tracks.departed if name not in tracks.named)
    renamed = {new: old for new, old in tracks.renamed.items() if new in tracks.named}
    tracks.departed, tracks.renamed = [], {}
    others = others_of(tracks, unpredicted, max_gap_s, frame.shows_people)
    refusals = refused.add_to(others, windows, unseen_of(tracks, windows))
    newest = max((window.stamp_ns for window in windows.values()), default=None)
    if newest is None:
        seen = [o.stamp_ns for o in others.values() if o.state is PersonState.SEEN]
        newest = max(seen, default=tracks.newest_ns)
    snapshot = Snapshot(
        frame.stamps.given(newest),
        frame.frame_id,
        tuple(windows),
        tuple(windows.values()),
        unpredicted,
        tuple(dict.fromkeys(departed)),
        renamed,
        tuple(tracks.named[name].number for name in windows),
        others,
        bool(frame.shows_people) and not any(frame.shows_people.values()),
        arrival_of(tracks, windows),
        half_seen_of(tracks, windows),
    )
    return snapshot, [*unpredicted.values(), *refusals]


def windows_of(
    tracks: Tracks, max_persons: int, max_gap_s: float, now_ns: int | None
) -> tuple[dict[str, ObservedWindow], dict[str, NotReady | Excluded]]:
    """
    Return the windows of the people who can be predicted, the nearest first.

    :param tracks: the bodies that are followed.
    :param max_persons: greatest number of people to predict.
    :param max_gap_s: longest time in seconds, beyond the source's own period, that a joint may be
        missing.
    :param now_ns: the caller's clock, nanoseconds; None if there is none.
    :returns: windows by name; and for each of the other followed people the reason for having
        none.
    """
    reasons: dict[str, NotReady | Excluded] = {}
    ahead = _stamped_ahead(tracks, max_gap_s)
    newest_of = _newest_without(tracks, ahead, now_ns)
    nearest = _nearest_first(tracks)
    wanted: list[str] = []
    for name in nearest:
        track = tracks.named[name]
        age_s = (newest_of.get(track.source, 0) - track.newest_stamp_ns) * _NS
        if name in ahead:
            reasons[name] = Excluded.STAMPED_AHEAD
        elif _is_too_old(track.history, age_s):
            reasons[name] = Excluded.NOT_SEEN_LATELY
        else:
            wanted.append(name)
    windows: dict[str, ObservedWindow] = {}
    while wanted and len(windows) < max_persons:
        now, wanted = wanted[: max_persons - len(windows)], wanted[max_persons - len(windows) :]
        for name, found in zip(now, _windows([tracks.named[name].history for name in now])):
            if isinstance(found, ObservedWindow):
                windows[name] = found
            else:
                reasons[name] = found
    reasons.update(dict.fromkeys(wanted, Excluded.TOO_MANY_PERSONS))
    unpredicted = {name: reasons[name] for name in nearest if name in reasons}
    newest = max((window.stamp_ns for window in windows.values()), default=0)
    for name, window in list(windows.items()):
        if _is_too_old(tracks.named[name].history, (newest - window.stamp_ns) * _NS):
            unpredicted[name] = Excluded.SOURCE_BEHIND
            del windows[name]
    return windows, unpredicted


def _nearest_first(tracks: Tracks) -> list[str]:
    # Return the names of all bodies, those nearest to the reference point first.
    if len(tracks.named) < 2:
        return list(tracks.named)
    unknown = np.full(3, np.inf)
    roots = (track.history.newest_root for track in tracks.named.values())
    places = np.array([unknown if root is None else root for root in roots])
    names, apart = list(tracks.named), squares(places - tracks.reference_m)
    return [names[index] for index in np.argsort(apart, kind='stable')]


def _is_too_old(history: PoseHistory, age_s: float) -> bool:
    # In most cases the person was seen just now; then no period is needed.
    return age_s > history.limits.max_joint_gap_s and age_s > history.longest_gap_s


def _windows(histories: Sequence[PoseHistory]) -> list[ObservedWindow | NotReady | Excluded]:
    try:
        return [*windows_of_histories(histories)]
    except (ArithmeticError, ValueError, np.linalg.LinAlgError):
        return [_window(history) for history in histories]


def _window(history: PoseHistory) -> ObservedWindow | NotReady | Excluded:
    try:
        return history.window()
    except (ArithmeticError, ValueError, np.linalg.LinAlgError):
        return Excluded.WINDOW_FAILED  # of this person alone: the others are predicted


def _stamped_ahead(tracks: Tracks, max_gap_s: float) -> dict[str, float]:
    people = tracks.named
    stamps = [track.newest_stamp_ns for track in people.values()]
    if not stamps or (max(stamps) - min(stamps)) * _NS <= max_gap_s:
        return {}  # as in most cases; then no period is needed
    times = {
        name: Timing(
            track.source,
            track.newest_stamp_ns,
            max(track.leads_ns, default=math.nan) * _NS,
        )
        for name, track in people.items()
    }
    gaps = (track.history.longest_gap_s for track in people.values())
    return stamped_ahead(times, min(gaps, default=0.0))


def _newest_without(
    followed: Tracks, ahead: Mapping[str, float], now_ns: int | None
) -> dict[str, int]:
    # Return the newest stamp by source, without the people who are stamped ahead: those present,
    # and, as far as the clock allows it, those departed or refused.
    newest = dict(followed.newest)
    there: dict[str, list[Track]] = {}
    for name, track in followed.named.items():
        tracks = there.setdefault(track.source, [])
        if name not in ahead:
            tracks.append(track)
    skewed = {followed.named[name].source for name in ahead}
    for source, tracks in there.items():
        stamps = [track.newest_stamp_ns for track in tracks]
        leads = [lead_ns for track in tracks for lead_ns in track.leads_ns]
        if source in skewed:
            newest[source] = max(stamps, default=0)
        elif now_ns is not None and leads and source in newest:
            newest[source] = max(min(newest[source], now_ns + max(leads)), *stamps)
    return newest


def others_of(
    tracks: Tracks,
    unpredicted: Mapping[str, NotReady | Excluded],
    max_gap_s: float,
    shows_people: Mapping[str, bool],
) -> dict[str, OtherPerson]:
    """
    Return the state and the last position of the people who are followed but not predicted.

    :param tracks: the bodies that are followed.
    :param unpredicted: from :func:`windows_of`.
    :param max_gap_s: as for :func:`windows_of`.
    :param shows_people: by source, whether its latest message shows anybody.
    """
    told = Excluded.STAMPED_AHEAD in unpredicted.values()
    ahead = _stamped_ahead(tracks, max_gap_s) if told else {}
    others: dict[str, OtherPerson] = {}
    for name, reason in unpredicted.items():
        track = tracks.named[name]
        others[name] = other_person(
            track.history,
            reason,
            longest_s=track.history.longest_gap_s,
            arrival_ns=track.arrival_ns,
            ahead_s=ahead.get(name),
            denied=not shows_people.get(track.source, True),
        )
    return others


def arrival_of(tracks: Tracks, windows: Mapping[str, ObservedWindow]) -> int | None:
    """
    Return when the newest of the observations in these windows came, nanoseconds.

    :param tracks: the bodies that are followed.
    :param windows: windows of the people who are predicted, by name.
    """
    if not windows:
        return None
    newest = max(windows, key=lambda name: windows[name].stamp_ns)
    return tracks.named[newest].arrival_ns


def unseen_of(tracks: Tracks, windows: Mapping[str, ObservedWindow]) -> Counter[str]:
    """
    Return, by source, the number of predicted people whom its latest message did not show.

    :param tracks: the bodies that are followed.
    :param windows: windows of the people who are predicted, by name.
    """
    return Counter(
        tracks.named[name].source
        for name, window in windows.items()
        if window.stamp_ns < tracks.newest.get(tracks.named[name].source, 0)
    )


def half_seen_of(tracks: Tracks, windows: Mapping[str, ObservedWindow]) -> dict[str, HalfSeen]:
    """
    Return the predicted people of whom joints were not seen and are completed.

    :param tracks: the bodies that are followed.
    :param windows: windows of the people who are predicted, by name.
    """
    found: dict[str, HalfSeen] = {}
    for name, window in windows.items():
        unseen = np.flatnonzero(~window.seen)
        if len(unseen):
            history = tracks.named[name].history
            seen_ns = history.joints_seen_ns[unseen]
            names = tuple(history.skeleton.joints[joint] for joint in unseen)
            found[name] = HalfSeen(names, _since(names, window.stamp_ns, seen_ns))
    return found


def _since(names: tuple[str, ...], stamp_ns: int, seen_ns: np.ndarray) -> str:
    # Return the joints in words, with the longest time since one of them was seen.
    once = seen_ns[seen_ns >= 0]
    age_s = (stamp_ns - int(once.min())) * _NS if len(once) else math.inf
    known = math.isfinite(age_s) and age_s > 0.0
    since = f'not seen for {age_s:.1f} s' if known else 'not seen for long enough'
    return f'{", ".join(names)} {since if len(once) else "never seen"}'


def missing_joints(history: PoseHistory, longest_s: float) -> tuple[tuple[str, ...], str]:
    """
    Return the joints that a window lacks.

    :param history: a history that gives no window because of missing joints.
    :param longest_s: longest time in seconds that a joint may be missing.
    :returns: their names, and in words the time since they were seen; empty if all have come back.
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
    Return the state of a person who has a history and is not predicted.

    :param history: the person's history, not empty.
    :param reason: why the person is not predicted.
    :param longest_s: longest time in seconds that a joint may be missing.
    :param arrival_ns: the clock when the person was last seen, nanoseconds; None if there is none.
    :param ahead_s: lead in seconds of the person's stamps over everybody else's; None if there is
        none.
    :param denied: whether the tracker says by now that nobody is present.
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


def unpredicted_of(snapshot: Snapshot, which: np.ndarray, reason: Excluded) -> Snapshot:
    """
    Return the snapshot with some people seen but no longer predicted.

    :param snapshot: the snapshot.
    :param which: the people to take out of the predicted ones, bool (P,).
    :param reason: why they are not predicted.
    """
    kept = np.flatnonzero(~which)
    gone = [(snapshot.persons[i], snapshot.windows[i]) for i in np.flatnonzero(which)]
    others = {
        name: OtherPerson(PersonState.SEEN, reason, window.stamp_ns, window.poses[-1])
        for name, window in gone
    }
    return replace(
        snapshot,
        persons=tuple(snapshot.persons[i] for i in kept),
        windows=tuple(snapshot.windows[i] for i in kept),
        tracks=tuple(snapshot.tracks[i] for i in kept),
        unpredicted={**snapshot.unpredicted, **dict.fromkeys(others, reason)},
        others={**others, **snapshot.others},
    )
