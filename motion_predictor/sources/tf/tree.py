# SPDX-License-Identifier: Apache-2.0
"""The frames of TF over the last seconds, composed from the fields of messages; no ROS.

A transform takes points of a child frame into its parent: first rotation, then translation in
metres, as in ``geometry_msgs/msg/TransformStamped``.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
import math
import threading
from typing import Any, NamedTuple

import numpy as np

from motion_predictor.body.geometry import rotation_matrix
from motion_predictor.sources.observation import MAX_FRAME_NAME, stamp_to_ns
from motion_predictor.sources.tf.causes import (
    Cause,
    Missing,
    no_frame,
    not_connected,
    too_new,
    too_old,
)

KEEP_S = 3.0
"""Time in seconds for which transforms are kept. No observation may be later than this."""
RESTART_S = 0.5
"""A frame whose stamps fall back by more than this, in seconds, begins again (a looped recording).
"""
MAX_KEPT = 1_500
"""Greatest number of transforms of one frame: three seconds at 500 Hz."""
MAX_FRAMES = 5_000
"""Greatest number of moving frames, and of fixed ones. Beyond it, the frames are forgotten that
have been neither received nor asked for the longest."""
SILENT_AFTER = 4 * MAX_FRAMES
"""A frame is silent if it was not among the last transforms of this number."""
MAX_TRANSFORMS = 300_000
"""Greatest number of transforms of all frames, about 25 MB. Beyond it, every frame keeps fewer."""
MIN_KEPT = 8
"""Number of transforms that each frame keeps in any case."""
MAX_M = 1e8
"""Largest distance in metres that is accepted. From the middle of the earth (ECEF) it is 6.4e6."""
MAX_DEPTH = 200
MAX_AT_ONCE = 5_000
"""Number of transforms that are read of one message."""
HOLD_S = 0.05
"""Time in seconds for which a frame's last transform is used until the next one comes."""
_WIDTH = 7
_STAMPS = range(-(2**63), 2**63)

Pose = tuple[np.ndarray, np.ndarray]
"""Rotation (3, 3) and translation (3,) in metres, from a frame's points into another frame."""


@dataclass
class _Edge:
    """The transforms from one frame to its parents, by stamp."""

    stamps: array[int] = field(default_factory=lambda: array('q'))
    parents: list[str] = field(default_factory=list)
    values: array[float] = field(default_factory=lambda: array('d'))
    """Seven numbers per transform: the quaternion x y z w and the translation x y z."""
    static: bool = False
    noted: int = 0
    """Time when the frame was last received or asked for, by the tree's count of both events."""
    asked: bool = False
    orphan: bool = False
    """Whether it is fixed below a frame that was forgotten."""

    def put(self, stamp_ns: int, parent: str, value: Sequence[float]) -> int:
        """Insert a transform, or replace that of the same stamp; return how many were added."""
        at = bisect_left(self.stamps, stamp_ns)
        if at < len(self.stamps) and self.stamps[at] == stamp_ns:
            self.parents[at] = parent
            self.values[_WIDTH * at : _WIDTH * (at + 1)] = array('d', value)
            return 0
        self.stamps.insert(at, stamp_ns)
        self.parents.insert(at, parent)
        self.values[_WIDTH * at : _WIDTH * at] = array('d', value)
        return 1

    def drop(self, count: int) -> int:
        """Forget the oldest ``count`` transforms; return how many were forgotten."""
        del self.stamps[:count], self.parents[:count], self.values[: _WIDTH * count]
        return count

    def value(self, at: int) -> array[float]:
        """Return the seven numbers of one transform."""
        at %= len(self.stamps)
        return self.values[_WIDTH * at : _WIDTH * (at + 1)]


@dataclass(frozen=True)
class Placed:
    """The pose of a frame in another; ``lacking`` are frames that have no transform yet."""

    root: str
    rotation: np.ndarray
    translation: np.ndarray
    lacking: frozenset[str]


class _Step(NamedTuple):
    frame: str
    rotation: np.ndarray
    translation: np.ndarray
    lacking: frozenset[str]


_Known = dict[str, tuple[str, np.ndarray, np.ndarray, bool] | None]


class TransformTree:
    """
    The frames of TF over the last seconds; several threads may write and read.

    Memory is bounded whatever comes. A frame that is neither received nor asked for makes room for
    new ones. Fixed frames go last, because nobody sends them again.
    """

    def __init__(self) -> None:
        """Begin without frames."""
        self._edges: dict[str, _Edge] = {}
        self._lock = threading.Lock()
        self._counts = {False: 0, True: 0}  # number of frames, by whether they are fixed
        self._kept = 0
        self._clock = 0
        self.forgotten = 0
        """Frames that made room for others."""

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._edges)

    def add(self, transform: Any, static: bool) -> bool:
        """
        Add one ``TransformStamped``.

        :param transform: the message, or an object with its fields.
        :param static: True if it holds for all times.
        :returns: False if it cannot be used: a number that is not finite, no rotation, no name, a
            name that is too long, or a frame that is its own parent.
        """
        child, parent = frame_name(transform.child_frame_id), frame_name(transform.header.frame_id)
        value = _value(transform.transform)
        stamp_ns = stamp_to_ns(transform.header.stamp)
        named = child and parent and child != parent
        if value is None or not named or stamp_ns not in _STAMPS:
            return False
        if max(len(child), len(parent)) > MAX_FRAME_NAME:
            return False
        with self._lock:
            self._clock += 1
            edge = self._edges.get(child)
            if edge is None:
                self._make_room(static)
                edge = self._edges[child] = _Edge(static=static)
                self._counts[static] += 1
            edge.noted, edge.orphan = self._clock, False
            newest = edge.stamps[-1] if edge.stamps else stamp_ns
            if static or edge.static or newest - stamp_ns > RESTART_S * 1e9:
                self._kept -= edge.drop(len(edge.stamps))
                self._counts[edge.static] -= 1
                self._counts[static] += 1
                edge.static = static
            self._kept += edge.put(stamp_ns, parent, value)
            old = bisect_left(edge.stamps, edge.stamps[-1] - round(KEEP_S * 1e9))
            old = max(old, len(edge.stamps) - MAX_KEPT)
            if old > 64:  # many at once, because removing from the front of a list is slow
                self._kept -= edge.drop(old)
            if self._kept > MAX_TRANSFORMS:
                self._shorten()
        return True

    def newest_ns(self, frame: str) -> int:
        """Return the stamp of a frame's latest transform in nanoseconds; 0 if there is none."""
        with self._lock:
            edge = self._edges.get(frame)
            return edge.stamps[-1] if edge is not None and edge.stamps else 0

    def place(self, frames: Iterable[str], stamp_ns: int, target: str = '') -> dict[str, Placed]:
        """
        Return the poses of frames at a time.

        :param frames: their names.
        :param stamp_ns: the time, nanoseconds.
        :param target: the frame of the results; '' is the root of each frame's tree.
        :returns: the frames that can be placed. Between two stamps a transform is interpolated. Up
            to ``HOLD_S`` after its last stamp it is taken to be the same, and the frame is
            reported as lacking.
        """
        with self._lock:
            self._clock += 1
            known: _Known = {}
            placed: dict[str, Placed] = {}
            base = {step.frame: step for step in self._climb(target, stamp_ns, known)}
            for frame in frames:
                last = None
                for last in self._climb(frame, stamp_ns, known):
                    if target and last.frame in base:
                        placed[frame] = _seen_from(target, base[last.frame], last)
                        break
                if last is not None and not target and known.get(last.frame, last) is last:
                    placed[frame] = Placed(*last)
            return placed

    def explain(
        self, frame: str, stamp_ns: int, target: str, waited_s: float = 0.0
    ) -> Missing | None:
        """
        Return why a frame cannot be placed in another at some time.

        :param frame: the frame to place.
        :param stamp_ns: the time, nanoseconds.
        :param target: the frame to place it in.
        :param waited_s: time that was spent waiting, seconds.
        :returns: the reason; None if the frame can be placed.
        """
        with self._lock:
            if frame == target:
                return None
            for name, cause in ((frame, Cause.NO_FRAME), (target, Cause.NO_TARGET)):
                if name not in self._edges and name not in self._parents():
                    return no_frame(cause, name, self._names())
            up, down = self._latest_path(frame), self._latest_path(target)
            common = next((name for name in up if name in down), None)
            if common is None:
                return not_connected(frame, target, up[-1], down[-1])
            path = [*up[: up.index(common)], *down[: down.index(common)]]
            moving = [(name, self._edges[name]) for name in path if not self._edges[name].static]
            if not moving:
                return None
            oldest, late = max((edge.stamps[0], name) for name, edge in moving)
            if oldest - stamp_ns > HOLD_S * 1e9:
                return too_old(frame, target, late, (oldest - stamp_ns) * 1e-9)
            newest, slow = min((edge.stamps[-1], name) for name, edge in moving)
            if stamp_ns > newest:
                stamps = self._edges[slow].stamps
                period_s = (stamps[-1] - stamps[0]) * 1e-9 / max(1, len(stamps) - 1)
                lag_s = (stamp_ns - newest) * 1e-9
                return too_new(frame, target, slow, lag_s, waited_s, period_s)
            return None

    # The caller holds the lock.

    def _climb(self, frame: str, stamp_ns: int, known: _Known) -> Iterator[_Step]:
        # Yield the frame in itself, in its parent, and so on as far as that is known. In
        # ``known``, a frame without a parent is left out, and one whose parent is not known at
        # this time is None.
        step = _Step(frame, np.eye(3), np.zeros(3), frozenset())
        for _ in range(MAX_DEPTH):
            yield step
            edge = self._edges.get(step.frame)
            if edge is None:
                return
            if step.frame not in known:
                edge.noted, edge.asked = self._clock, True
                known[step.frame] = _at(edge, stamp_ns)
            there = known[step.frame]
            if there is None:
                return
            parent, rotation, translation, lacks = there
            step = _Step(
                parent,
                rotation @ step.rotation,
                rotation @ step.translation + translation,
                step.lacking | {step.frame} if lacks else step.lacking,
            )
        known[step.frame] = None  # a loop

    def _latest_path(self, frame: str) -> list[str]:
        path = [frame]
        while path[-1] in self._edges and len(path) <= MAX_DEPTH:
            path.append(self._edges[path[-1]].parents[-1])
        return path

    def _parents(self) -> set[str]:
        return {edge.parents[-1] for edge in self._edges.values()}

    def _names(self) -> list[str]:
        return sorted(self._edges.keys() | self._parents())

    def _make_room(self, static: bool) -> None:
        # Make room for one more frame; drop many at once, because they have to be sorted.
        if self._counts[static] < MAX_FRAMES:
            return
        least = sorted(
            (static and not self._hangs_at_gone(edge), static and edge.asked, edge.noted, name)
            for name, edge in self._edges.items()
            if edge.static == static
        )[: MAX_FRAMES // 8]
        gone = {name for *_, name in least}
        for name in gone:
            self._kept -= len(self._edges.pop(name).stamps)
        self._counts[static] -= len(gone)
        self.forgotten += len(gone)
        for edge in self._edges.values():
            edge.orphan |= edge.static and edge.parents[-1] in gone

    def _hangs_at_gone(self, edge: _Edge) -> bool:
        # Return whether a fixed frame hangs below a moving one that was forgotten or is silent.
        for _ in range(MAX_DEPTH):
            above = self._edges.get(edge.parents[-1])
            if above is None:
                return edge.orphan
            if not above.static:
                return above.noted < self._clock - SILENT_AFTER
            edge = above
        return True

    def _shorten(self) -> None:
        kept = max(MIN_KEPT, MAX_TRANSFORMS // (2 * len(self._edges)))
        for edge in self._edges.values():
            self._kept -= edge.drop(max(0, len(edge.stamps) - kept))


# Fields ----------------------------------------------------------------------------------------


def frame_name(name: str) -> str:
    """Return the name of a frame without the leading slash that old publishers send."""
    return str(name).lstrip('/')


def _value(transform: Any) -> tuple[float, ...] | None:
    # Return the quaternion of length 1 and the translation; None if they are not valid.
    shift, turn = transform.translation, transform.rotation
    x, y, z, w = turn.x, turn.y, turn.z, turn.w
    length = math.sqrt(x * x + y * y + z * z + w * w)
    near = all(-MAX_M < value < MAX_M for value in (shift.x, shift.y, shift.z))  # no NaN
    if not (near and 1e-3 < length < 1e3):
        return None
    return (x / length, y / length, z / length, w / length, shift.x, shift.y, shift.z)


def _at(edge: _Edge, stamp_ns: int) -> tuple[str, np.ndarray, np.ndarray, bool] | None:
    # Return the parent, the rotation, the translation, and whether the transform has not come yet.
    if edge.static:
        return edge.parents[-1], *_pose(edge.value(-1)), False
    right = bisect_right(edge.stamps, stamp_ns)
    if right == 0:
        held = edge.stamps[0] - stamp_ns <= HOLD_S * 1e9
        return (edge.parents[0], *_pose(edge.value(0)), False) if held else None
    left = right - 1
    if edge.stamps[left] == stamp_ns:
        return edge.parents[left], *_pose(edge.value(left)), False
    if right == len(edge.stamps):
        held = stamp_ns - edge.stamps[left] <= HOLD_S * 1e9
        return (edge.parents[left], *_pose(edge.value(left)), True) if held else None
    if edge.parents[left] != edge.parents[right]:
        return edge.parents[left], *_pose(edge.value(left)), False
    share = (stamp_ns - edge.stamps[left]) / (edge.stamps[right] - edge.stamps[left])
    before, after = np.array(edge.value(left)), np.array(edge.value(right))
    if before[:4] @ after[:4] < 0.0:  # the same rotation by the shorter way
        after[:4] *= -1.0
    mean = before + share * (after - before)
    mean[:4] /= max(float(np.linalg.norm(mean[:4])), 1e-9)
    return edge.parents[left], *_pose(mean.tolist()), False


def _pose(value: Sequence[float]) -> Pose:
    return rotation_matrix(value[:4]), np.array(value[4:])


def _seen_from(target: str, base: _Step, where: _Step) -> Placed:
    back = base.rotation.T
    return Placed(
        target,
        back @ where.rotation,
        back @ (where.translation - base.translation),
        base.lacking | where.lacking,
    )
