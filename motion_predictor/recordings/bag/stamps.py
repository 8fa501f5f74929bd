"""The stamps of a recorded topic put in order: what is odd costs itself, never the rest."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

NEAR = 5
"""Messages on each side that tell what is usual."""
JUMP_BACK_S = 0.5
"""Stamps that fall back by more, and stay there, begin a new clip: as ``jump_back_s``."""
DISAGREE_S = 1.0
"""A step of the stamps that differs by more from that of the times of recording ends a clip."""
FEW = 3
"""Fewer messages in a place of their own are a glitch of the clock, not a clip."""


@dataclass(frozen=True)
class Ordered:
    """Which messages make which clip, and what was done to get there."""

    clips: tuple[np.ndarray, ...]
    """Indices of the messages of each clip, by increasing stamp."""
    stamps_ns: np.ndarray
    """Of every message, ``(N,)``; those without a stamp got one from their arrival."""
    left_out: int
    """Messages that are in no clip: late, stamped twice, or stamped far from the others."""
    unstamped: int
    """Messages that had no stamp where others had one."""
    all_alike: bool = False
    """Every message has the same stamp, which says nothing: placed by their arrival."""


def in_order(
    received_ns: np.ndarray, stamps_ns: np.ndarray, streams: np.ndarray | None = None
) -> Ordered:
    """
    Put recorded messages in the order of their stamps.

    A message without a stamp (0) is placed by its arrival and the usual lag of those beside it,
    on the clock of the stamps; where none has one, or all have the same, by its arrival. Where
    stamps fall back and stay there, as in a loop, a new clip begins. Single stamps that lie
    elsewhere are left out.

    :param received_ns: when each was recorded, int64 ``(N,)``.
    :param stamps_ns: 0 where there is none, int64 ``(N,)``.
    :param streams: int ``(N,)``; the messages of one stream are in order, those of several need
        not be. None for one stream.
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
    # In the order of the stamps, cut where they leap and the times of recording do not.
    kept = kept[np.argsort(stamps[kept], kind='stable')]
    steps_s = np.diff(stamps[kept]) * 1e-9
    leaps = np.abs(steps_s - np.diff(received_ns[kept]) * 1e-9) > DISAGREE_S
    return np.split(kept, np.flatnonzero(leaps & (steps_s > DISAGREE_S)) + 1)


def _near_the_others(received_ns: np.ndarray, stamps: np.ndarray) -> np.ndarray:
    # Whether each message lags behind its recording about as much as those beside it do.
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
    # Where the middle of the next few lies before the middle of the last few: no single stamp,
    # however odd, does that.
    count = len(stamps)
    if count < 2 * FEW:
        return np.zeros(0, dtype=np.int64)
    first = np.full(NEAR, stamps[:FEW].min())
    last = np.full(NEAR, stamps[-FEW:].max())
    middles = np.sort(sliding_window_view(np.concatenate([first, stamps, last]), NEAR), axis=-1)
    middle = middles[:, NEAR // 2]  # of NEAR from each place on
    before, after = middle[1:count], middle[NEAR + 1 :][: count - 1]
    back = before - after > JUMP_BACK_S * 1e9  # (count - 1,): before message 1, 2, ...
    steps = np.diff(stamps)
    found = []
    for run in np.split(np.arange(count - 1), np.flatnonzero(np.diff(back.astype(int))) + 1):
        if len(run) and back[run[0]]:
            found.append(int(run[np.argmin(steps[run])]) + 1)
    return np.array(found, dtype=np.int64)


def _longest_increasing(stamps: np.ndarray) -> np.ndarray:
    # Indices of the longest strictly increasing subsequence.
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
