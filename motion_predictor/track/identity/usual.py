# SPDX-License-Identifier: Apache-2.0
"""The usual sightings of a message: known bodies that moved as expected, all at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from motion_predictor.track.identity.assign import (
    CLEARLY_M,
    MAX_ERROR_M,
    MAX_SPEED_M_S,
    MIN_COMMON_JOINTS,
    Sighting,
    Track,
)
from motion_predictor.track.slips.body_watch import Watches

_MARGIN_M = 1e-6  # so that rounding decides nothing: at a limit each body is judged on its own


class UsualSightings:
    """
    The sightings about which nothing is to be decided.

    Such a sighting has the id of a body and is clearly where that body is expected; its pose is
    the body's newest one, not repeated, and no joint or side of it is suspected. All rules would
    let it pass unchanged, one by one. Whoever is at a limit of a rule is not among them.
    """

    def __init__(self, sightings: Sequence[Sighting], named: Mapping[str, Track]) -> None:
        """
        Find them; this changes nothing.

        :param sightings: people of one message.
        :param named: the known bodies by name.
        """
        self.count = len(sightings)
        self.owners: list[Track | None] = [None] * len(sightings)
        """For each sighting its body, if it is a usual one."""
        self._rows: list[int] = []
        self._tracks: list[Track] = []
        watches, shown = [], []
        for index, sighting in enumerate(sightings):
            track = named.get(sighting.person)
            if track is None or track.watch is None or track.frozen.shown is None:
                continue
            if track.history.follows(sighting.stamp_ns, track.watch.latest_ns):
                self._rows.append(index)
                self._tracks.append(track)
                watches.append(track.watch)
                shown.append(track.frozen.shown)
        self._usual = np.zeros(0, dtype=np.int64)
        if not self._rows:
            return
        self._stamp_ns = sightings[0].stamp_ns
        self._latest = [watch.latest_ns for watch in watches]
        self._xyz = np.array([sightings[index].xyz for index in self._rows])
        self._seen = np.array([sightings[index].seen for index in self._rows])
        self._watches = Watches(watches)
        usual = self._are_usual() & (self._xyz != np.array(shown)).any(axis=(1, 2))
        self._usual = np.flatnonzero(usual)
        for row in self._usual.tolist():
            self.owners[self._rows[row]] = self._tracks[row]

    def _are_usual(self) -> np.ndarray:
        apart, passed = self._watches.apart(self._stamp_ns, self._xyz, self._seen)
        count = apart.common.sum(axis=1)
        jump_m2 = (apart.jump_m2 * apart.common).max(axis=1)
        off = (apart.with_body_m * apart.common).sum(axis=1)
        clear = off <= (CLEARLY_M - _MARGIN_M) * count
        possible = jump_m2 <= (MAX_ERROR_M + MAX_SPEED_M_S * apart.step_s - _MARGIN_M) ** 2
        return np.asarray(passed & clear & possible & (count >= MIN_COMMON_JOINTS))

    def store(self) -> Iterator[tuple[int, Track]]:
        """
        Store the poses in the histories of their bodies; each sighting and its body is yielded.

        Nothing is stored if a body has got another pose since.
        """
        if not len(self._usual):
            return
        for row in self._usual.tolist():
            track, latest = self._tracks[row], self._latest[row]
            watch = track.watch
            if watch is None or watch.latest_ns != latest:
                return
            if not track.history.follows(self._stamp_ns, latest):
                return
        self._watches.note(self._stamp_ns, self._xyz, self._seen, self._usual)
        for row in self._usual.tolist():
            track, xyz = self._tracks[row], self._xyz[row]
            track.frozen.shown, track.frozen.since_ns = xyz, None
            track.history.append(self._stamp_ns, xyz, self._seen[row])
            yield self._rows[row], track
