# SPDX-License-Identifier: Apache-2.0
"""The bodies that are followed, and their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
import math

import numpy as np

from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.track.history import AddOutcome, PoseHistory
from motion_predictor.track.identity.assign import (
    assign,
    clear_owner,
    free_name,
    second_name,
    Sighting,
    Track,
    TrackCounters,
    TrackRules,
)
from motion_predictor.track.identity.new_ids import returned
from motion_predictor.track.identity.room import LATELY_NS, Room
from motion_predictor.track.identity.usual import UsualSightings
from motion_predictor.track.slips.body_watch import BodyWatch
from motion_predictor.track.states import Refusal

_NS = 1e-9
_MAX_UNNAMED = 32
_RECALL_S = 5.0
_RECALL_M = 1.5
"""If a tracker without ids fell silent about several people, a person seen soon within this
distance, in metres, of the place where one of them departed gets that name."""


class Tracks:
    """
    All bodies that are followed. A body keeps its history whatever the tracker calls it.

    If the tracker gives ids, the outputs use them, and an id that passes to another body takes the
    name along. If it gives none (``pose_array``), a body keeps its first name, whatever the order
    of the people in a message. Not thread-safe.
    """

    def __init__(
        self,
        make_history: Callable[[], PoseHistory],
        skeleton: Skeleton,
        rules: TrackRules,
        reference_m: np.ndarray,
    ) -> None:
        """
        Begin without bodies.

        :param make_history: makes an empty history.
        :param skeleton: skeleton of the poses.
        :param rules: the caller's limits.
        :param reference_m: the people nearest to this point matter most, metres (3,).
        """
        self.named: dict[str, Track] = {}
        """Who is there, by name."""
        self.unnamed: list[Track] = []
        """Left behind by their ids, which another id may take over; or seen only once."""
        self.newest: dict[str, int] = {}
        """Newest stamp by source, of people and of empty messages."""
        self.departed: list[str] = []
        self.renamed: dict[str, str] = {}
        """New to former name of bodies, since the caller last emptied it."""
        self.refused: list[tuple[Sighting, Refusal]] = []
        """Whoever was seen and is not followed, since the caller last emptied it."""
        self.counters = TrackCounters()
        self.max_persons = 8
        self._make_history = make_history
        self._skeleton = skeleton
        self._rules = rules
        self.reference_m = reference_m
        self._tracks = 0
        self._begun: set[int] = set()  # of the message that is being stored
        self._stale: dict[str, Track] = {}  # by name, people who departed at once with others

    @property
    def newest_ns(self) -> int:
        """Return the newest stamp of all sources in nanoseconds; 0 before the first."""
        return max(self.newest.values(), default=0)

    @property
    def shared_ids(self) -> tuple[str, ...]:
        """Return the ids that two bodies have at once, as with two trackers on one topic."""
        return tuple(
            dict.fromkeys(
                track.person
                for name, track in self.named.items()
                if name != track.person and name == f'{track.person}/{name.rpartition("/")[2]}'
            )
        )

    def owner(self, sighting: Sighting) -> Track | None:
        """
        Return the body with the sighting's id, if the sighting is clearly where it is expected.

        :param sighting: the sighting.
        """
        return clear_owner(sighting, self.named, self._skeleton)

    def usual(self, sightings: Sequence[Sighting]) -> UsualSightings:
        """
        Return the sightings that clearly continue known bodies; this changes nothing.

        :param sightings: people of one message.
        """
        return UsualSightings(sightings, self.named)

    def whose(
        self, sightings: Sequence[Sighting], owners: Sequence[Track | None]
    ) -> list[Track | None]:
        """
        Return the bodies that a message shows; this changes nothing.

        :param sightings: all people of one message.
        :param owners: for each sighting, the result of :meth:`owner`.
        :returns: for each sighting its track; None if there is none.
        """
        return assign(sightings, owners, self.named, self.unnamed, self._skeleton, self._rules)

    def is_set_aside(self, sighting: Sighting, tracks: Sequence[Track | None]) -> bool:
        """
        Return whether a sighting without a body may be an error of the tracker.

        It may be one if its id is known elsewhere, or, without ids, if a known body is missing.

        :param sighting: a sighting that belongs to no body.
        :param tracks: the bodies that its message shows.
        """
        if sighting.identified:
            return sighting.person in self.named
        shown = {track.number for track in tracks if track is not None} | self._begun
        return any(
            track.number not in shown
            for track in self.named.values()
            if track.source == sighting.source
            and abs(sighting.stamp_ns - track.newest_stamp_ns) <= LATELY_NS
        )

    def take(
        self,
        sightings: Sequence[Sighting],
        tracks: Sequence[Track | None],
        usual: UsualSightings | None = None,
    ) -> list[AddOutcome | None]:
        """
        Store all people of one message.

        :param sightings: sightings of one source and stamp.
        :param tracks: from :meth:`whose`.
        :param usual: from :meth:`usual` for these sightings, if that is known.
        :returns: the outcome for each sighting; None for those set aside or crowded out.
        """
        pairs = list(zip(sightings, tracks, strict=True))
        outcomes: list[AddOutcome | None] = [None] * len(pairs)
        self._rename(pairs)
        left = dict.fromkeys(range(len(pairs)))
        if None not in tracks:
            for index, track in (usual or self.usual(sightings)).store():
                self._note_stored(track, sightings[index])
                outcomes[index] = AddOutcome.APPENDED
                del left[index]
        order = sorted(left, key=lambda i: sightings[i].distance_m(self.reference_m))
        for index in order:  # the nearest first, because they must not be crowded out
            sighting, body = pairs[index]
            if body is None:
                outcomes[index] = self._begin(sighting, tracks)
            else:
                outcomes[index] = self._add(body, sighting)
        self._begun.clear()
        self._evict()
        if any(track.may_be_known for track in self.named.values()):
            self.reassociate()
        return outcomes

    def _rename(self, pairs: list[tuple[Sighting, Track | None]]) -> None:
        # Name the bodies that ids passed to, or that were not shown before.
        moved = [
            (sighting, track, track.name)
            for sighting, track in pairs
            if track is not None
            and (
                not track.name
                or (sighting.identified and sighting.person not in (track.name, track.person))
            )
        ]
        for _, _, former in moved:
            self.named.pop(former, None)
        for sighting, track, former in moved:
            name = sighting.person if former else self._name_for(sighting, track)
            if name in self.named:
                self._leave_behind(self.named[name])
            if not track.tentative:
                self.counters.persons_switched += 1
            else:
                self.counters.persons_appeared += 1
            self.unnamed = [each for each in self.unnamed if each is not track]
            track.name, track.tentative = name, False
            self.named[name] = track
        for _, track, former in moved:
            if former and former not in self.named:
                self.renamed[track.name] = self.renamed.pop(former, former)
                self._depart(former)

    def _name_for(self, sighting: Sighting, track: Track) -> str:
        # Return the name of a body that was not shown before, or that lost its id.
        holder = self.named.get(sighting.person)
        if holder is None:
            return sighting.person
        if track.tentative:
            shared = holder.newest_stamp_ns > (track.history.oldest_stamp_ns or 0)
        else:  # its id continued elsewhere and came back: once may be an error
            shared = track.came_back and holder.newest_stamp_ns > track.newest_stamp_ns
            track.came_back = True
        if not shared:
            return sighting.person
        if not sighting.identified:
            return free_name(sighting.person, self.named)
        self.counters.persons_sharing_id += 1
        return second_name(sighting.person, self.named)

    def _leave_behind(self, track: Track) -> None:
        # Take the id from a body: another body has it now.
        self.counters.persons_replaced += 1
        self.drop(track.name)
        track.name = ''
        self.unnamed = [*self.unnamed[1 - _MAX_UNNAMED :], track]

    def _begin(self, sighting: Sighting, tracks: Sequence[Track | None]) -> AddOutcome | None:
        # Follow a new body.
        set_aside = self.is_set_aside(sighting, tracks)
        if set_aside:
            self.counters.observations_elsewhere += 1
        elif self._room.is_crowded_out(sighting):
            self.counters.observations_crowded_out += 1
            self.refused.append((sighting, Refusal.CROWDED_OUT))
            return None
        self._tracks += 1
        history, source = self._make_history(), sighting.source
        watch = BodyWatch(self._skeleton) if self._skeleton.joints == H36M17.joints else None
        track = Track(
            self._tracks, history, source, sighting.person, watch=watch, tentative=set_aside
        )
        outcome = self._add(track, sighting)
        if not outcome.accepted:
            return outcome
        if set_aside:
            self.unnamed = [*self.unnamed[1 - _MAX_UNNAMED :], track]
            self.refused.append((sighting, Refusal.ELSEWHERE))
            return None
        wanted = sighting.person if sighting.identified else self._former_name(sighting)
        track.name = free_name(wanted, self.named)
        self.counters.persons_appeared += 1
        self.named[track.name] = track
        self._begun.add(track.number)
        return outcome

    def _former_name(self, sighting: Sighting) -> str:
        # Return the name of a body that departed lately at this place, or the place in the
        # message.
        near = {
            name: sighting.distance_m(root)
            for name, track in self._stale.items()
            if track.source == sighting.source
            and name not in self.named
            and abs(sighting.stamp_ns - track.newest_stamp_ns) <= _RECALL_S / _NS
            and (root := track.history.newest_root) is not None
        }
        name = min(near, key=near.__getitem__, default='')
        return name if near.get(name, math.inf) <= _RECALL_M else sighting.person

    def _add(self, track: Track, sighting: Sighting) -> AddOutcome:
        if self._note_shown(track, sighting):
            return AddOutcome.FROZEN
        xyz, seen = self._mended(track, sighting)
        outcome = track.history.add_body(sighting.stamp_ns, xyz, seen)
        if not outcome.accepted:
            return outcome
        if track.watch is not None:
            track.watch.note(sighting.stamp_ns, xyz, seen)
        self._note_stored(track, sighting)
        return outcome

    def _note_stored(self, track: Track, sighting: Sighting) -> None:
        track.source, track.person = sighting.source, sighting.person
        self._note_seen(track, sighting)
        if sighting.arrival_ns is not None:
            track.leads_ns.append(sighting.stamp_ns - sighting.arrival_ns)

    def _note_seen(self, track: Track, sighting: Sighting) -> None:
        # Return when a body was seen: by the clock, and by the stamps of its source.
        track.arrival_ns = sighting.arrival_ns
        newest = self.newest.get(sighting.source, sighting.stamp_ns)
        self.newest[sighting.source] = max(newest, sighting.stamp_ns)
        track.newest_ns = self.newest_ns

    def is_frozen(self, track: Track, sighting: Sighting) -> bool:
        """
        Return whether a pose only repeats the one before exactly, although the person moved.

        Such a pose is not stored, until a person who really stopped would be forgotten.

        :param track: the body.
        :param sighting: the pose.
        """
        watch, newest_ns = track.watch, track.newest_stamp_ns
        if watch is None or sighting.stamp_ns <= newest_ns:
            return False
        longest_s = self._rules.stale_s
        return track.frozen.repeats(sighting.xyz, sighting.stamp_ns, newest_ns, watch, longest_s)

    def _note_shown(self, track: Track, sighting: Sighting) -> bool:
        # Note a pose that the tracker shows of a body; True if it must not be stored.
        newest_ns, frozen = track.newest_stamp_ns, self.is_frozen(track, sighting)
        if track.watch is None or sighting.stamp_ns <= newest_ns:
            return False
        self.counters.poses_frozen += track.frozen.note(sighting.xyz, newest_ns, frozen)
        if not frozen:
            return False
        self._note_seen(track, sighting)
        shown = replace(sighting, person=track.name or sighting.person, identified=True)
        self.refused.append((shown, Refusal.FROZEN))
        return True

    def restamp(self, source: str, stamps_ns: Mapping[int, int]) -> None:
        """
        Correct the stamps of all bodies of a source.

        :param source: name of the source.
        :param stamps_ns: correct stamps by the former ones, nanoseconds.
        """
        for track in (*self.named.values(), *self.unnamed):
            if track.source == source:
                track.history.restamp(stamps_ns)

    def _mended(self, track: Track, sighting: Sighting) -> tuple[np.ndarray, np.ndarray]:
        # Return the pose with corrected sides and without joints that leapt away.
        if track.watch is None:
            return sighting.xyz, sighting.seen
        found = track.watch.mend(sighting.stamp_ns, sighting.xyz, sighting.seen)
        self.counters.poses_exchanged += found.exchanged
        if found.believed:
            self.counters.sides_believed += 1
            track.history.swap(np.array(self._skeleton.mirror))
        if not track.history.body.is_body(found.seen):
            return found.xyz, found.seen | found.leapt
        self.counters.joints_leapt += int(found.leapt.sum())
        return found.xyz, found.seen

    # Leaving

    def drop(self, name: str) -> None:
        """Drop a body, which has then departed."""
        del self.named[name]
        self._depart(name)

    def _depart(self, name: str) -> None:
        self.departed.append(name)
        self.counters.persons_departed += 1

    def forget(self, sources: Iterable[str]) -> None:
        """
        Drop all bodies of these sources.

        :param sources: their names.
        """
        gone = set(sources)
        for source in gone:
            self.newest.pop(source, None)
        for name in [name for name, track in self.named.items() if track.source in gone]:
            self.drop(name)
        self.unnamed = [track for track in self.unnamed if track.source not in gone]
        self._stale = {n: track for n, track in self._stale.items() if track.source not in gone}

    def drop_stale(self, now_ns: int | None) -> None:
        """
        Drop the bodies that were not seen for too long.

        :param now_ns: the caller's clock, nanoseconds; None: by stamps alone.
        """
        timeout = round(self._rules.stale_s / _NS)
        gone: dict[str, Track] = {}
        for name, track in list(self.named.items()):
            if now_ns is not None and track.arrival_ns is not None:
                # By arrival, so that a tracker whose clock is wrong is not always stale.
                absent = now_ns - track.arrival_ns
                if absent < 0:  # the clock was set back: count from now on
                    track.arrival_ns = now_ns
            else:
                absent = self.newest_ns - track.newest_ns
            if absent > timeout:
                gone[name] = track
                self.drop(name)
        sources = Counter(track.source for track in gone.values())
        for name, track in gone.items():
            self._stale.pop(name, None)
            if sources[track.source] > 1:  # otherwise there is no other body to tell it from
                self._stale[name] = track
        self._stale = dict(list(self._stale.items())[-_MAX_UNNAMED:])

    @property
    def _room(self) -> Room:
        most = max(4 * self.max_persons, 16)
        return Room(self.named, self.newest, self.reference_m, most)

    def _evict(self) -> None:
        while (name := self._room.one_too_many) is not None:
            self.counters.persons_evicted += 1
            self.drop(name)

    def reassociate(self) -> None:
        """Let new ids that begin where and when others vanished take over their histories."""
        newcomers: list[Track] = []
        for track in self.named.values():
            begin = track.history.oldest_stamp_ns
            # The message that brought the newcomer may still be arriving: wait for the next one.
            complete = begin is not None and begin < self.newest.get(track.source, 0)
            if track.may_be_known and complete:
                track.may_be_known = False
                newcomers.append(track)
        others = [*self.named.values(), *(each for each in self.unnamed if not each.tentative)]
        for new, other in returned(newcomers, others, self._skeleton, self._rules):
            self._take_over(new, other)
        within_ns = round(self._rules.within_s / _NS)
        self.unnamed = [
            track
            for track in self.unnamed
            if self.newest.get(track.source, 0) - track.newest_stamp_ns <= 2 * within_ns
        ]

    def _take_over(self, new: Track, other: Track) -> None:
        if any(each.name and self.named.get(each.name) is not each for each in (new, other)):
            return  # it continued under another new id
        new.history.absorb(other.history)
        new.number = other.number
        if not other.name:  # the ids stay as the tracker has them now
            self.unnamed = [each for each in self.unnamed if each is not other]
            self.counters.persons_switched += 1
            return
        self.drop(other.name)
        self.renamed[new.name] = self.renamed.pop(other.name, other.name)
        self.counters.persons_reassociated += 1
