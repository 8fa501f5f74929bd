# SPDX-License-Identifier: Apache-2.0
"""Put the stamps of a recorded topic in order; a faulty stamp only costs its own message."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

NEAR = 5
"""Number of messages on each side that define what is usual."""
JUMP_BACK_S = 0.5
"""If stamps fall back by more than this, in seconds, and stay there, a new clip begins, as with
``jump_back_s``."""
DISAGREE_S = 1.0
"""If a step of the stamps differs from that of the recording times by more than this, in seconds,
a clip ends."""
FEW = 3
"""Fewer consecutive messages than this with distant stamps are a fault of the clock,
not a clip."""


@dataclass(frozen=True)
class Ordered:
    """The messages of each clip, and the corrections that were made."""

    clips: tuple[np.ndarray, ...]
    """Indices of the messages of each clip, by increasing stamp."""
    stamps_ns: np.ndarray
    """Stamp of every message in nanoseconds, ``(N,)``; messages without a stamp got one from their
    arrival."""
    left_out: int
    """Number of messages in no clip: late, stamped twice, or stamped far from the others."""
    unstamped: int
    """Number of messages without a stamp among others with one."""
    all_alike: bool = False
    """Whether all messages have the same stamp, which says nothing, so that their
    arrival is used."""


def in_order(
    received_ns: np.ndarray, stamps_ns: np.ndarray, streams: np.ndarray | None = None
) -> Ordered:
    """
    Put recorded messages in the order of their stamps.

    A message without a stamp (0) is placed by its arrival and the usual lag of its neighbours, on
    the clock of the stamps. If no message has a stamp, or all have the same, messages are placed
    by their arrival. If stamps fall back and stay there, as in a loop, a new clip begins. Single
    stamps that lie elsewhere are left out.

    :param received_ns: recording time of each message, nanoseconds, int64 ``(N,)``.
    :param stamps_ns: stamps in nanoseconds, 0 for none, int64 ``(N,)``.
    :param streams: stream of each message, int ``(N,)``; the messages of one stream are in order,
        those of several need not be. None for one stream.
    """
    alike = len(stamps_ns) > 1 and stamps_ns[0] != 0 and bool((stamps_ns == stamps_ns[0]).all())
    alike = alike and bool((received_ns != received_ns[0]).any())
    if alike:
        stamps_ns = np.zeros_like(stamps_ns)
    stamps = _all_stamped(received_ns, stamps_ns)
    if streams is None:
        streams = np.zeros(len(stamps), dtype=np.int64)
    clips: list[np.ndarray] = []
    for part in np.split(np.arange(len(stamps)), _jumps_back(stamps)):
        part = part[_near_the_others(received_ns[part], stamps[part])]
        kept = [
            mine[_longest_increasing(stamps[mine])]
            for stream in np.unique(streams[part])
            for mine in [part[streams[part] == stream]]
        ]
        if kept:
            clips += _whole(received_ns, stamps, np.concatenate(kept))
    long = [clip for clip in clips if len(clip) >= FEW]
    clips = long or clips[:1]
    return Ordered(
        clips=tuple(clips),
        stamps_ns=stamps,
        left_out=len(stamps) - sum(len(clip) for clip in clips),
        unstamped=int((stamps_ns == 0).sum()) if (stamps_ns != 0).any() else 0,
        all_alike=alike,
    )


def _whole(received_ns: np.ndarray, stamps: np.ndarray, kept: np.ndarray) -> list[np.ndarray]:
    # Return the messages in the order of their stamps, cut where the stamps leap and the recording
    # times do not.
    kept = kept[np.argsort(stamps[kept], kind='stable')]
    steps_s = np.diff(stamps[kept]) * 1e-9
    leaps = np.abs(steps_s - np.diff(received_ns[kept]) * 1e-9) > DISAGREE_S
    return np.split(kept, np.flatnonzero(leaps & (steps_s > DISAGREE_S)) + 1)


def _near_the_others(received_ns: np.ndarray, stamps: np.ndarray) -> np.ndarray:
    # Return whether each message lags behind its recording about as much as its neighbours.
    count, width = len(stamps), 2 * NEAR + 1
    if count < width:
        return np.ones(count, dtype=bool)
    lags_s = (stamps - stamps[0]) * 1e-9 - (received_ns - received_ns[0]) * 1e-9
    middles = np.median(sliding_window_view(lags_s, width), axis=-1)
    beside = np.concatenate([np.full(NEAR, middles[0]), middles, np.full(NEAR, middles[-1])])
    return np.abs(lags_s - beside) <= DISAGREE_S


def _all_stamped(received_ns: np.ndarray, stamps_ns: np.ndarray) -> np.ndarray:
    stamped = np.flatnonzero(stamps_ns != 0)
    if not len(stamped):
        return received_ns.copy()
    stamps = stamps_ns.copy()
    lags = stamps_ns[stamped] - received_ns[stamped]
    for index in np.flatnonzero(stamps_ns == 0):
        at = int(np.searchsorted(stamped, index))
        near = lags[max(0, at - NEAR) : at + NEAR]
        stamps[index] = received_ns[index] + int(np.sort(near)[len(near) // 2])
    return stamps


def _jumps_back(stamps: np.ndarray) -> np.ndarray:
    # Cut where the median of the next few stamps lies before the median of the last few; no single
    # stamp can cause that.
    count = len(stamps)
    if count < 2 * FEW:
        return np.zeros(0, dtype=np.int64)
    first = np.full(NEAR, stamps[:FEW].min())
    last = np.full(NEAR, stamps[-FEW:].max())
    middles = np.sort(sliding_window_view(np.concatenate([first, stamps, last]), NEAR), axis=-1)
    middle = middles[:, NEAR // 2]  # of NEAR stamps from each position on
    before, after = middle[1:count], middle[NEAR + 1 :][: count - 1]
    back = before - after > JUMP_BACK_S * 1e9  # (count - 1,): before message 1, 2, ...
    steps = np.diff(stamps)
    found = []
    for run in np.split(np.arange(count - 1), np.flatnonzero(np.diff(back.astype(int))) + 1):
        if len(run) and back[run[0]]:
            found.append(int(run[np.argmin(steps[run])]) + 1)
    return np.array(found, dtype=np.int64)


def _longest_increasing(stamps: np.ndarray) -> np.ndarray:
    # Return the indices of the longest strictly increasing subsequence.
    tails: list[int] = []
    ends: list[int] = []
    before = np.full(len(stamps), -1, dtype=np.int64)
    for index, stamp in enumerate(stamps.tolist()):
        place = bisect_left(tails, stamp)
        before[index] = ends[place - 1] if place else -1
        if place == len(tails):
            tails.append(stamp)
            ends.append(index)
        else:
            tails[place], ends[place] = stamp, index
    kept = []
    index = ends[-1] if ends else -1
    while index >= 0:
        kept.append(index)
        index = int(before[index])
    return np.array(kept[::-1], dtype=np.int64)
