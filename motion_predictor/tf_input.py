"""
People from TF frames: a tree of transforms, and the poses of whose frames it holds.

Frames are read from the messages' fields, and the tree is composed here, so that this needs
``tf2_msgs`` alone: every transform is seen once as it arrives, which is when a pose may be
complete. Transforms take points of a child frame into its parent: rotation, then translation in
metres, as in ``geometry_msgs/msg/TransformStamped``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
import math
import threading
from typing import Any

import numpy as np

from motion_predictor.decoded import DecodedPerson
from motion_predictor.layouts import Layout
from motion_predictor.trackers import NamePattern, stamp_of

TF_MESSAGE = 'tf2_msgs/msg/TFMessage'
TF_TOPIC = '/tf'
TF_STATIC_TOPIC = '/tf_static'
TRACKED_TOPIC = '/humans/bodies/tracked'
"""Where REP-155 lists the bodies that are there."""
TRACKED_MESSAGE = 'hri_msgs/msg/IdsList'
KEEP_S = 3.0
"""How long transforms are kept: no observation may be so late."""
RESTART_S = 0.5
"""A frame whose stamps fall back by more begins anew (a recording's loop)."""
RECENT_S = 0.5
"""A frame that has not come for longer is not waited for."""
MAX_KEPT = 1_500
"""Of each frame: three seconds at 500 Hz."""
MAX_FRAMES = 5_000
MAX_M = 1e8
"""From the middle of the earth (ECEF) it is 6.4e6; further off is no place."""
MAX_PEOPLE = 256
MAX_DEPTH = 200
HOLD_S = 0.05
"""A transform that has not come yet is taken to be as it was, for so long."""
SAME_POSE_S = 0.005
"""Frames stamped this near to each other belong to one pose."""
MAX_WAITING = 8
"""Poses of one person that wait for a transform; the oldest then goes as it is."""
LEAST_SHARE = 0.5
"""Fewer of the joints that the model needs are no person: a robot has a head_link, too."""

Pose = tuple[np.ndarray, np.ndarray]
"""Rotation (3, 3) and translation (3,) in metres: of a frame's points into another frame."""


@dataclass
class _Edge:
    """Where one frame was in its parents, by stamp."""

    stamps: list[int] = field(default_factory=list)
    parents: list[str] = field(default_factory=list)
    values: list[tuple[float, ...]] = field(default_factory=list)  # quaternion x y z w, x y z
    static: bool = False


@dataclass(frozen=True)
class Placed:
    """A frame seen from the root of its tree; ``lacking`` frames had no transform yet."""

    root: str
    rotation: np.ndarray
    translation: np.ndarray
    lacking: frozenset[str]


class TransformTree:
    """The frames of TF over the last seconds; may be fed and asked by different threads."""

    def __init__(self) -> None:
        """Start without frames."""
        self._edges: dict[str, _Edge] = {}
        self._lock = threading.Lock()

    def add(self, transform: Any, static: bool) -> bool:
        """
        Take in one ``TransformStamped``.

        :param transform: the message, or something with its fields.
        :param static: whether it holds for all times.
        :returns: False if it cannot be used: not finite, no rotation, no name, its own parent.
        """
        child, parent = frame_name(transform.child_frame_id), frame_name(transform.header.frame_id)
        shift, turn = transform.transform.translation, transform.transform.rotation
        x, y, z, w = turn.x, turn.y, turn.z, turn.w
        length = math.sqrt(x * x + y * y + z * z + w * w)
        near = all(-MAX_M < value < MAX_M for value in (shift.x, shift.y, shift.z))  # no NaN
        if not (near and 1e-3 < length < 1e3 and child and parent and child != parent):
            return False
        value = (x / length, y / length, z / length, w / length, shift.x, shift.y, shift.z)
        stamp_ns = stamp_of(transform.header)
        with self._lock:
            if child not in self._edges and len(self._edges) >= MAX_FRAMES:
                return False
            edge = self._edges.setdefault(child, _Edge())
            newest = edge.stamps[-1] if edge.stamps else None
            if (
                static
                or edge.static
                or (newest is not None and newest - stamp_ns > RESTART_S * 1e9)
            ):
                edge.stamps, edge.parents, edge.values, edge.static = [], [], [], static
            at = bisect_left(edge.stamps, stamp_ns)
            if at < len(edge.stamps) and edge.stamps[at] == stamp_ns:
                edge.parents[at], edge.values[at] = parent, value
                return True
            edge.stamps.insert(at, stamp_ns)
            edge.parents.insert(at, parent)
            edge.values.insert(at, value)
            old = bisect_left(edge.stamps, edge.stamps[-1] - round(KEEP_S * 1e9))
            old = max(old, len(edge.stamps) - MAX_KEPT)
            if old > 64:  # many at once, since the front of a list is dear to remove
                del edge.stamps[:old], edge.parents[:old], edge.values[:old]
        return True

    def newest_ns(self, frame: str) -> int:
        """Stamp of a frame's latest transform; 0 where there is none."""
        with self._lock:
            edge = self._edges.get(frame)
            return edge.stamps[-1] if edge is not None and edge.stamps else 0

    def place(self, frames: Iterable[str], stamp_ns: int, target: str = '') -> dict[str, Placed]:
        """
        Find where frames were.

        :param frames: their names.
        :param stamp_ns: when.
        :param target: the frame to see them from; '' for the root of each one's tree.
        :returns: those that can be placed. Between two stamps a transform is interpolated; up to
            ``HOLD_S`` after the last one it is taken to be the same, and said to be lacking.
        """
        with self._lock:
            known: dict[str, Placed | None] = {}
            placed = {frame: self._from_root(frame, stamp_ns, known) for frame in frames}
            if target:
                base = self._from_root(target, stamp_ns, known)
                return {
                    frame: _seen_from(target, base, where)
                    for frame, where in placed.items()
                    if where is not None and base is not None and base.root == where.root
                }
            return {frame: where for frame, where in placed.items() if where is not None}

    def _from_root(
        self, frame: str, stamp_ns: int, known: dict[str, Placed | None], depth: int = 0
    ) -> Placed | None:
        if frame in known:
            return known[frame]
        if depth > MAX_DEPTH:  # a loop
            return None
        edge = self._edges.get(frame)
        if edge is None or not edge.stamps:
            known[frame] = Placed(frame, np.eye(3), np.zeros(3), frozenset())
            return known[frame]
        known[frame] = None
        there = _at(edge, stamp_ns)
        above = None if there is None else self._from_root(there[0], stamp_ns, known, depth + 1)
        if there is None or above is None:
            return None
        _, rotation, translation, lacks = there
        known[frame] = Placed(
            above.root,
            above.rotation @ rotation,
            above.rotation @ translation + above.translation,
            above.lacking | {frame} if lacks else above.lacking,
        )
        return known[frame]


def _at(edge: _Edge, stamp_ns: int) -> tuple[str, np.ndarray, np.ndarray, bool] | None:
    # Parent, rotation, translation, and whether the transform of that time has not come yet.
    if edge.static:
        return edge.parents[-1], *_pose(edge.values[-1]), False
    right = bisect_right(edge.stamps, stamp_ns)
    if right == 0:
        held = edge.stamps[0] - stamp_ns <= HOLD_S * 1e9
        return (edge.parents[0], *_pose(edge.values[0]), False) if held else None
    left = right - 1
    if edge.stamps[left] == stamp_ns:
        return edge.parents[left], *_pose(edge.values[left]), False
    if right == len(edge.stamps):
        held = stamp_ns - edge.stamps[left] <= HOLD_S * 1e9
        return (edge.parents[left], *_pose(edge.values[left]), True) if held else None
    if edge.parents[left] != edge.parents[right]:
        return edge.parents[left], *_pose(edge.values[left]), False
    share = (stamp_ns - edge.stamps[left]) / (edge.stamps[right] - edge.stamps[left])
    before, after = np.array(edge.values[left]), np.array(edge.values[right])
    if before[:4] @ after[:4] < 0.0:  # the same rotation, the shorter way
        after[:4] *= -1.0
    mean = before + share * (after - before)
    mean[:4] /= max(float(np.linalg.norm(mean[:4])), 1e-9)
    return edge.parents[left], *_pose(mean.tolist()), False


def _pose(value: Sequence[float]) -> Pose:
    x, y, z, w = value[:4]
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    return rotation, np.array(value[4:])


def _seen_from(target: str, base: Placed, where: Placed) -> Placed:
    back = base.rotation.T
    return Placed(
        target,
        back @ where.rotation,
        back @ (where.translation - base.translation),
        base.lacking | where.lacking,
    )


def frame_name(name: str) -> str:
    """Take off the slash that old publishers begin a frame's name with."""
    return str(name).lstrip('/')


@dataclass
class _Waiting:
    """A pose of which not every transform has come."""

    stamp_ns: int
    received_ns: int
    frames: set[str]
    closed: bool = False
    lacking: frozenset[str] = frozenset()


@dataclass
class _Person:
    """The frames of a person, and the poses that they are making up."""

    frames: dict[int, tuple[str, int]] = field(default_factory=dict)  # and last stamp, by joint
    waiting: list[_Waiting] = field(default_factory=list)
    newest_ns: int = 0
    given_ns: int = 0


class TfSource:
    """
    Everyone whose frames TF shows, by a pattern of their names.

    A pose is given as soon as all frames that this person has lately had have come with its
    stamp, and everything between them and the frame they are seen from is known for it; otherwise
    when ``wait_s`` is over, with what there is. Frames whose stamps differ a little (a driver that
    stamps each) are one pose, at the latest of the stamps; a frame that comes again begins the
    next. Frames of fixed joints, on ``/tf_static``, belong to every pose.
    """

    counted: tuple[str, ...] = (
        'tf_unusable', 'tf_too_few_joints', 'tf_not_placed', 'tf_not_complete', 'tf_late',
        'tf_too_many_people', 'tf_restarts',
    )  # fmt: skip

    def __init__(
        self, layout: Layout, pattern: str, target_frame: str = '', wait_s: float = 0.05
    ) -> None:
        """
        Start without frames.

        :param layout: whose joints the pattern names.
        :param pattern: such as '{joint}_{person}'.
        :param target_frame: frame to give the poses in; '' for the root of the tree.
        :param wait_s: how long a pose may wait for a transform.
        :raises ConfigError: if the pattern cannot tell joints.
        """
        self.layout = layout
        self.tree = TransformTree()
        self.counters: dict[str, int] = dict.fromkeys(self.counted, 0)
        self._pattern = NamePattern(pattern, layout.joints)
        self._target = frame_name(target_frame)
        self._wait_ns = round(wait_s * 1e9)
        self._people: dict[str, _Person] = {}
        self._fixed: dict[str, dict[int, str]] = {}  # frames on /tf_static
        self._needed = layout.used

    def may_give(self, name: str) -> bool:
        """Tell whether somebody of this name is wanted."""
        return True

    def decode(self, topic: str, message: Any, received_ns: int) -> list[DecodedPerson] | None:
        """
        Take in the transforms of one message of ``/tf`` or ``/tf_static``.

        :returns: poses that are complete now, None where there are none.
        """
        static = topic.rstrip('/').endswith('_static')
        arrived: set[str] = set()
        touched: set[str] = set()
        for transform in message.transforms:
            if not self.tree.add(transform, static):
                self.counters['tf_unusable'] += 1
                continue
            frame = frame_name(transform.child_frame_id)
            arrived.add(frame)
            found = self._pattern.read(frame)
            if found is None:
                continue
            if static:
                self._note_fixed(*found, frame)
            elif self.may_give(found[0]):
                stamp_ns = stamp_of(transform.header)
                if self._note(*found, frame, stamp_ns, received_ns):
                    touched.add(found[0])
        given = []
        for name, person in list(self._people.items()):
            if name in touched or any(
                pose.lacking & arrived or received_ns - pose.received_ns > self._wait_ns
                for pose in person.waiting
            ):
                given += self._give(name, person, received_ns)
        return given or None

    def _note_fixed(self, name: str, joint: int, frame: str) -> None:
        if name not in self._fixed and len(self._fixed) >= MAX_PEOPLE:
            del self._fixed[next(iter(self._fixed))]  # who came first
        self._fixed.setdefault(name, {})[joint] = frame

    def _note(self, name: str, joint: int, frame: str, stamp_ns: int, received_ns: int) -> bool:
        # Puts one frame into the pose that it belongs to.
        person = self._people.get(name)
        if person is None:
            if len(self._people) >= MAX_PEOPLE and not self._forget(stamp_ns):
                self.counters['tf_too_many_people'] += 1
                return False
            person = self._people[name] = _Person()
        if person.newest_ns - stamp_ns > RESTART_S * 1e9:
            self.counters['tf_restarts'] += 1
            person = self._people[name] = _Person()
        person.newest_ns = max(person.newest_ns, stamp_ns)
        again = stamp_ns > person.frames.get(joint, ('', -1))[1]
        if again:
            person.frames[joint] = (frame, stamp_ns)
        for pose in person.waiting:
            near = abs(pose.stamp_ns - stamp_ns) <= SAME_POSE_S * 1e9
            if pose.stamp_ns == stamp_ns or (near and frame not in pose.frames):
                pose.frames.add(frame)
                pose.stamp_ns = max(pose.stamp_ns, stamp_ns)
                return True
        if stamp_ns <= max([person.given_ns, *(pose.stamp_ns for pose in person.waiting)]):
            self.counters['tf_late'] += 1
            return False
        for pose in person.waiting:
            pose.closed = True
        person.waiting.append(_Waiting(stamp_ns, received_ns, {frame}))
        return True

    def _give(self, name: str, person: _Person, received_ns: int) -> list[DecodedPerson]:
        given = []
        while person.waiting:
            pose = person.waiting[0]
            frames = {
                joint: frame
                for joint, (frame, seen_ns) in person.frames.items()
                if pose.stamp_ns - seen_ns <= RECENT_S * 1e9
            }
            moving = pose.frames if pose.closed else {*frames.values()}
            frames |= self._fixed.get(name, {})
            placed = self.tree.place(frames.values(), pose.stamp_ns, self._target)
            absent = {frame for frame in moving if frame not in placed}
            # A frame that came a little before the others of its pose lacks nothing.
            lacking = {
                above for frame in moving - absent for above in placed[frame].lacking - pose.frames
            }
            exact = not absent and not lacking and (pose.closed or person.given_ns)
            overdue = received_ns - pose.received_ns > self._wait_ns
            if not exact and not overdue and len(person.waiting) <= MAX_WAITING:
                pose.lacking = frozenset(lacking | absent | {self._target})
                break
            person.waiting.pop(0)
            person.given_ns = pose.stamp_ns
            self.counters['tf_not_complete'] += int(not exact)
            found = self._person(name, pose.stamp_ns, frames, placed)
            given += [] if found is None else [found]
        return given

    def _person(
        self, name: str, stamp_ns: int, frames: Mapping[int, str], placed: Mapping[str, Placed]
    ) -> DecodedPerson | None:
        roots = [where.root for where in placed.values()]
        root = max(set(roots), key=roots.count) if roots else ''
        if not root or self._pattern.read(root) is not None:  # hangs in the air
            self.counters['tf_not_placed'] += 1
            return None
        xyz = np.full((self.layout.num_joints, 3), np.nan)
        for joint, frame in frames.items():
            if frame in placed and placed[frame].root == root:
                xyz[joint] = placed[frame].translation
        if np.isfinite(xyz[self._needed, 0]).sum() < LEAST_SHARE * len(self._needed):
            self.counters['tf_too_few_joints'] += 1
            return None
        return DecodedPerson(stamp_ns, root, name, xyz, np.full(len(xyz), np.nan))

    def _forget(self, stamp_ns: int) -> bool:
        old = [
            name
            for name, person in self._people.items()
            if stamp_ns - person.newest_ns > KEEP_S * 1e9
        ]
        for name in old:
            del self._people[name]
        return bool(old)


class HriSource(TfSource):
    """
    REP-155 (ROS4HRI): the bodies that ``/humans/bodies/tracked`` lists, by their TF frames.

    Frames of a body that is not listed are left out: its robot_state_publisher may outlive it. A
    list without bodies says that nobody is there.
    """

    counted = (*TfSource.counted, 'hri_bodies_gone')

    def __init__(
        self, layout: Layout, pattern: str, target_frame: str = '', wait_s: float = 0.05
    ) -> None:
        """Start without bodies."""
        super().__init__(layout, pattern, target_frame, wait_s)
        self._listed: frozenset[str] = frozenset()

    def may_give(self, name: str) -> bool:
        """Tell whether the body is listed."""
        return name in self._listed

    def decode(self, topic: str, message: Any, received_ns: int) -> list[DecodedPerson] | None:
        """Take in the list of bodies, or the transforms of one message."""
        if hasattr(message, 'transforms'):
            return super().decode(topic, message, received_ns)
        listed = frozenset(str(body) for body in message.ids)
        for gone in self._listed - listed:
            self.counters['hri_bodies_gone'] += 1
            self._people.pop(gone, None)
        self._listed = listed
        return None if listed else []
