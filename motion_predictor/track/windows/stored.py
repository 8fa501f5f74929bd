# SPDX-License-Identifier: Apache-2.0
"""The stored poses of one person, and those of several people side by side in one array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

_NS = 1e-9
_BEFORE_S = 1e6  # seconds before the oldest pose: where places without a pose lie
_APART_S = 1.0  # seconds between such places


@dataclass
class StoredPoses:
    """Poses in the order of their stamps, in arrays that grow up to a limit."""

    joints: int
    limit: int
    stamps: np.ndarray = field(init=False)  # (room,) int64 ns
    xyz: np.ndarray = field(init=False)  # (room, J, 3)
    valid: np.ndarray = field(init=False)  # (room, J)
    start: int = 0
    stop: int = 0

    def __post_init__(self) -> None:
        self._make_room(64)

    def _make_room(self, room: int) -> None:
        old = (self.stamps, self.xyz, self.valid) if self.stop else None
        begin, end = self.start, self.stop
        self.stamps = np.empty(room, dtype=np.int64)
        self.xyz = np.zeros((room, self.joints, 3))
        self.valid = np.zeros((room, self.joints), dtype=bool)
        self.start, self.stop = 0, end - begin
        if old is not None:
            for new, kept in zip((self.stamps, self.xyz, self.valid), old):
                new[: self.stop] = kept[begin:end]

    def __len__(self) -> int:
        return self.stop - self.start

    def insert(self, place: int, stamp_ns: int, xyz: np.ndarray, valid: np.ndarray) -> None:
        """Insert a pose before the one at ``place``, counted from the oldest."""
        if self.stop == len(self.stamps):
            # If half is empty, move the poses to the front; otherwise grow.
            room = len(self.stamps)
            self._make_room(room if 2 * len(self) <= room else 2 * room)
        at = self.start + place
        if at == self.stop:  # as in most cases
            self.stamps[at], self.xyz[at], self.valid[at] = stamp_ns, xyz, valid
            self.stop += 1
            self.start += len(self) > self.limit
            return
        for array, value in ((self.stamps, stamp_ns), (self.xyz, xyz), (self.valid, valid)):
            if at < self.stop:
                array[at + 1 : self.stop + 1] = array[at : self.stop].copy()
            array[at] = value
        self.stop += 1
        if len(self) > self.limit:
            self.start += 1


@dataclass(frozen=True)
class SideBySide:
    """
    The poses of P people, each with the newest at the last of N places.

    A person with fewer than N poses has none at the first places. There ``times`` are far back and
    increase, ``valid`` is False, and ``xyz`` is zero.
    """

    times: np.ndarray
    """Time of each pose after the person's newest, seconds, increasing to 0, (P, N)."""
    xyz: np.ndarray
    """Metres, float64 (P, N, J, 3)."""
    valid: np.ndarray
    """Which joints were seen, bool (P, N, J)."""
    first: np.ndarray
    """Place of the first pose that counts, (P,)."""

    @property
    def there(self) -> np.ndarray:
        """Return which places hold a pose that counts, bool (P, N)."""
        return np.asarray(np.arange(self.times.shape[1]) >= self.first[:, None])

    def of(self, people: np.ndarray) -> SideBySide:
        """Return the poses of some people, by their indices, (P',)."""
        return SideBySide(
            self.times[people], self.xyz[people], self.valid[people], self.first[people]
        )

    def since(self, first: np.ndarray) -> SideBySide:
        """
        Return the poses from other places on; the arrays are cut to the earliest of these.

        :param first: for each person, the first place that counts, (P,).
        """
        cut = int(first.min())
        if not cut and not (first - self.first).any():
            return self  # as in most cases
        kept = SideBySide(self.times[:, cut:], self.xyz[:, cut:], self.valid[:, cut:], first - cut)
        gone = ~kept.there
        if not gone.any():
            return kept
        oldest = kept.times[np.arange(len(first)), kept.first][:, None]
        return replace(
            kept,
            times=np.where(gone, oldest - _far_back(kept.times.shape[1]), kept.times),
            valid=kept.valid & ~gone[..., None],
        )


def _far_back(count: int) -> np.ndarray:
    # Seconds before the oldest pose of places without a pose, decreasing, (N,).
    return np.asarray(_BEFORE_S + _APART_S * np.arange(count)[::-1])


def times_of(stored: Sequence[StoredPoses]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Return the times of several people's poses.

    :param stored: the poses of each person, at least one pose each.
    :returns: times as those of :class:`SideBySide`, (P, N); the first place with a pose, (P,); the
        newest stamps in nanoseconds, int64 (P,).
    """
    counts = np.array([len(each) for each in stored])
    most = int(counts.max())
    stamps = np.zeros((len(stored), most), dtype=np.int64)
    for row, each in zip(stamps, stored):
        row[most - len(each) :] = each.stamps[each.start : each.stop]
    newest = stamps[:, -1].copy()
    times = (stamps - newest[:, None]) * _NS
    first = most - counts
    if first.any():
        gone = np.arange(most) < first[:, None]
        oldest = times[np.arange(len(stored)), first][:, None]
        times = np.where(gone, oldest - _far_back(most), times)
    return times, first, newest


def valid_of(stored: Sequence[StoredPoses], places: int) -> np.ndarray:
    """
    Return which joints were seen in the newest poses of several people.

    :param stored: the poses of each person.
    :param places: number N of places.
    :returns: bool (P, N, J); False where there is no pose.
    """
    valid = np.zeros((len(stored), places, stored[0].joints), dtype=bool)
    for row, each in zip(valid, stored):
        count = min(len(each), places)
        row[places - count :] = each.valid[each.stop - count : each.stop]
    return valid


def xyz_of(stored: Sequence[StoredPoses], places: int) -> np.ndarray:
    """Return the same poses' joints, metres, (P, N, J, 3); zero where there is no pose."""
    xyz = np.zeros((len(stored), places, stored[0].joints, 3))
    for row, each in zip(xyz, stored):
        count = min(len(each), places)
        row[places - count :] = each.xyz[each.stop - count : each.stop]
    return xyz
