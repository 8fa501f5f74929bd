# SPDX-License-Identifier: Apache-2.0
"""People from TF: frames whose names fit a pattern become poses as they arrive.

The fields of the messages are read and the tree is composed here
(:mod:`motion_predictor.sources.tf.tree`), so this module needs only ``tf2_msgs``. It sees every
transform once, when it arrives, and that is when a pose may become complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from motion_predictor.body.layout import Layout
from motion_predictor.sources.naming import NamePattern
from motion_predictor.sources.observation import DecodedPerson, stamp_to_ns
from motion_predictor.sources.tf.causes import Cause, cut
from motion_predictor.sources.tf.tree import (
    frame_name,
    KEEP_S,
    MAX_AT_ONCE,
    Placed,
    RESTART_S,
    TransformTree,
)

TF_MESSAGE = 'tf2_msgs/msg/TFMessage'
TF_TOPIC = '/tf'
TF_STATIC_TOPIC = '/tf_static'
TRACKED_TOPIC = '/humans/bodies/tracked'
"""Topic on which REP-155 lists the bodies that are present."""
TRACKED_MESSAGE = 'hri_msgs/msg/IdsList'
RECENT_S = 0.5
"""A frame that has not come for longer than this, in seconds, is not waited for."""
MAX_PEOPLE = 256
JOINT_WAIT_S = 0.05
"""Longest time in seconds to wait for a frame of the person's own, such as that of a hidden joint.
"""
SAME_POSE_S = 0.005
"""Frames whose stamps differ by at most this, in seconds, belong to one pose."""
MAX_WAITING = 8
"""Number of poses of one person that wait for a transform; beyond it the oldest is given as it is.
"""
SAMPLES = 3
"""Number of names that a complaint quotes."""
LEAST_SHARE = 0.5
"""Least share of the joints which the model needs. Whoever shows fewer is present but not whole,
and the status says so."""
LEAST_JOINTS = 4
"""Whoever shows fewer joints than this is not counted as a person, because a robot has a
head_link, too. A person who was whole before, or who is listed, needs only one joint."""


@dataclass
class _Waiting:
    """A pose that still lacks some of its transforms."""

    stamp_ns: int
    received_ns: int
    frames: set[str]
    closed: bool = False
    lacking: frozenset[str] = frozenset()


@dataclass
class _Person:
    """The frames of a person and the poses that they form."""

    frames: dict[int, tuple[str, int]] = field(default_factory=dict)  # and last stamp, by joint
    waiting: list[_Waiting] = field(default_factory=list)
    newest_ns: int = 0
    given_ns: int = 0
    heard_ns: int = 0
    """The node's clock when the last frame came, nanoseconds."""
    whole: bool = False
    """Whether a pose with enough joints was given before."""


@dataclass
class _Report:
    """What came since the last call of :meth:`TfSource.complaints`."""

    transforms: int = 0
    strangers: dict[str, None] = field(default_factory=dict)
    """Some frames that do not fit the pattern."""
    matched: bool = False
    unlisted: dict[str, None] = field(default_factory=dict)
    given: bool = False
    adrift: dict[str, str] = field(default_factory=dict)
    """The reason why frames could not be placed, by person."""
    sparse: dict[str, list[str]] = field(default_factory=dict)
    """The missing joints of people who have too few, by person."""


class TfSource:
    """
    The people whose frames TF shows, found by a pattern of names.

    A pose is given as soon as all frames that this person has recently had have come with its
    stamp, and all transforms from them to the frame of the result are known for that stamp.
    Otherwise it is given after ``wait_s`` with the joints that have come. Frames whose stamps
    differ a little (some drivers stamp each frame) form one pose, which has the latest of the
    stamps. A frame that comes again begins the next pose. Frames of fixed joints, on
    ``/tf_static``, belong to every pose.
    """

    counted: tuple[str, ...] = (
        'tf_unusable', 'tf_too_few_joints', 'tf_not_placed', 'tf_not_complete', 'tf_late',
        'tf_too_many_people', 'tf_restarts', 'tf_frames_forgotten',
    )  # fmt: skip
    least_joints = LEAST_JOINTS

    def __init__(
        self, layout: Layout, pattern: str, target_frame: str = '', wait_s: float = 0.05
    ) -> None:
        """
        Begin without frames.

        :param layout: its joints are those that the pattern names.
        :param pattern: for example '{joint}_{person}'.
        :param target_frame: frame of the returned poses; '' is the root of the tree.
        :param wait_s: longest time in seconds that a pose waits for a transform.
        :raises ConfigError: if the pattern cannot tell which joint a name means.
        """
        self.layout = layout
        self.tree = TransformTree()
        self.counters: dict[str, int] = dict.fromkeys(self.counted, 0)
        self._pattern = NamePattern(pattern, layout.joints)
        self._form = pattern
        self._report = _Report()
        self._target = frame_name(target_frame)
        self._wait_ns = round(wait_s * 1e9)
        self._joint_wait_ns = round(min(wait_s, JOINT_WAIT_S) * 1e9)
        self._people: dict[str, _Person] = {}
        self._fixed: dict[str, dict[int, str]] = {}  # frames on /tf_static
        self._needed = layout.used

    def may_give(self, name: str) -> bool:
        """Return whether a person of this name is wanted."""
        return True

    def decode(self, topic: str, message: Any, received_ns: int) -> list[DecodedPerson] | None:
        """
        Read the transforms of one message of ``/tf`` or ``/tf_static``.

        :returns: the poses that are complete now; None if there are none.
        """
        static = topic.rstrip('/').endswith('_static')
        arrived: set[str] = set()
        touched: set[str] = set()
        report = self._report
        report.transforms += len(message.transforms)
        self.counters['tf_unusable'] += max(0, len(message.transforms) - MAX_AT_ONCE)
        for transform in message.transforms[:MAX_AT_ONCE]:
            if not self.tree.add(transform, static):
                self.counters['tf_unusable'] += 1
                continue
            frame = frame_name(transform.child_frame_id)
            arrived.add(frame)
            found = self._pattern.read(frame)
            if found is None:
                if len(report.strangers) < SAMPLES:
                    report.strangers[frame] = None
                continue
            report.matched = True
            if static:
                self._note_fixed(*found, frame)
            elif not self.may_give(found[0]):
                if len(report.unlisted) < SAMPLES:
                    report.unlisted[found[0]] = None
            else:
                stamp_ns = stamp_to_ns(transform.header.stamp)
                if self._note(*found, frame, stamp_ns, received_ns):
                    touched.add(found[0])
        given = []
        for name, person in list(self._people.items()):
            if name in touched or any(
                pose.lacking & arrived or received_ns - pose.received_ns > self._joint_wait_ns
                for pose in person.waiting
            ):
                given += self._give(name, person, received_ns)
        self.counters['tf_frames_forgotten'] = self.tree.forgotten
        return given or None

    def complaints(self) -> list[str]:
        """
        Return what is wrong with the frames that came since the last call.

        :returns: one sentence for each person whose frames nothing connects. If nobody could be
            given, also why: no frame fits the pattern, or too few joints came. Empty if no
            transform came at all, or if all is well.
        """
        report, self._report = self._report, _Report()
        found = [f'{cut(name)!r}: {why}' for name, why in list(report.adrift.items())]
        if report.given or not report.transforms or found:
            return found
        for name, missing in list(report.sparse.items()):
            found.append(
                f'{cut(name)!r} lacks too many joints: {", ".join(missing[:8])}'
                + (', ...' if len(missing) > 8 else '')
            )
        if not report.matched:
            example = self._form.replace('{joint}', self.layout.joints[0])
            names = ', '.join(repr(cut(name)) for name in report.strangers)
            found.append(
                f'{report.transforms} transforms, but no frame is named as input.pattern='
                f'{self._form!r} and the joints of {self.layout.name} say, such as '
                f'{example.replace("{person}", "1")!r}; there are {names}'
            )
        return found

    def _note_fixed(self, name: str, joint: int, frame: str) -> None:
        if name not in self._fixed and len(self._fixed) >= MAX_PEOPLE:
            del self._fixed[next(iter(self._fixed))]  # the first who came
        self._fixed.setdefault(name, {})[joint] = frame

    def _note(self, name: str, joint: int, frame: str, stamp_ns: int, received_ns: int) -> bool:
        # Put one frame into the pose that it belongs to.
        person = self._people.get(name)
        if person is None:
            if len(self._people) >= MAX_PEOPLE and not self._make_room(received_ns):
                self.counters['tf_too_many_people'] += 1
                return False
            person = self._people[name] = _Person()
        person.heard_ns = received_ns
        if person.newest_ns - stamp_ns > RESTART_S * 1e9:
            self.counters['tf_restarts'] += 1
            person = self._people[name] = _Person(heard_ns=received_ns)
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
            # A frame that came a little before the others of its pose is complete.
            lacking = {
                above for frame in moving - absent for above in placed[frame].lacking - pose.frames
            }
            exact = not absent and not lacking and (pose.closed or person.given_ns)
            own = {*frames.values()} - pose.frames
            wait_ns = self._wait_ns if (absent | lacking) - own else self._joint_wait_ns
            overdue = received_ns - pose.received_ns > wait_ns
            if not exact and not overdue and len(person.waiting) <= MAX_WAITING:
                pose.lacking = frozenset(lacking | absent | {self._target})
                break
            person.waiting.pop(0)
            person.given_ns = pose.stamp_ns
            self.counters['tf_not_complete'] += int(not exact)
            found = self._person(name, pose.stamp_ns, frames, placed)
            self._note_adrift(name, pose.stamp_ns, frames, placed)
            if found is None:
                continue
            told, count = found
            whole = count >= LEAST_SHARE * len(self._needed)
            if whole or person.whole or count >= self.least_joints:
                person.whole |= whole
                self._report.given |= whole
                given.append(told)
        return given

    def _note_adrift(
        self, name: str, stamp_ns: int, frames: Mapping[int, str], placed: Mapping[str, Placed]
    ) -> None:
        # Note frames that no transform connects; frames that are only late are no complaint.
        noted = self._report.adrift
        if name in noted or len(noted) >= SAMPLES:
            return
        hanging = (w.root for w in placed.values() if self._pattern.read(w.root) is not None)
        below = next(hanging, '')
        if below:
            noted[name] = f'frames hang below {cut(below)!r}, which no transform places'
        absent = next((frame for frame in frames.values() if frame not in placed), '')
        if self._target and absent:
            missing = self.tree.explain(absent, stamp_ns, self._target)
            late = placed and missing and missing.cause is not Cause.NOT_CONNECTED
            if missing and not late:
                noted[name] = missing.text

    def _person(
        self, name: str, stamp_ns: int, frames: Mapping[int, str], placed: Mapping[str, Placed]
    ) -> tuple[DecodedPerson, int] | None:
        # Return the person that these frames show, and the number of needed joints that are there.
        roots = [where.root for where in placed.values()]
        roots = [root for root in roots if self._pattern.read(root) is None]
        root = max(set(roots), key=roots.count) if roots else ''
        if not root:
            self.counters['tf_not_placed'] += 1
            return None
        xyz = np.full((self.layout.num_joints, 3), np.nan)
        for joint, frame in frames.items():
            if frame in placed and placed[frame].root == root:
                xyz[joint] = placed[frame].translation
        seen = np.isfinite(xyz[self._needed, 0])
        if seen.sum() < LEAST_SHARE * len(self._needed):
            self.counters['tf_too_few_joints'] += 1
            if len(self._report.sparse) < SAMPLES:
                missing = np.asarray(self._needed)[~seen]
                self._report.sparse[name] = [self.layout.joints[joint] for joint in missing]
        told = DecodedPerson(stamp_ns, root, name, xyz, np.full(len(xyz), np.nan))
        return told, int(seen.sum())

    def _make_room(self, received_ns: int) -> bool:
        # Make room for one more person: drop those who have left, otherwise the one who has been
        # silent longest among those who never had a whole pose (a flood of names).
        old = [
            name
            for name, person in self._people.items()
            if abs(received_ns - person.heard_ns) > KEEP_S * 1e9
        ]
        if not old:
            poseless = [name for name, person in self._people.items() if not person.whole]
            if not poseless:
                return False
            self.counters['tf_too_many_people'] += 1
            old = [min(poseless, key=lambda name: self._people[name].heard_ns)]
        for name in old:
            del self._people[name]
        return True


class HriSource(TfSource):
    """
    REP-155 (ROS4HRI): the bodies that ``/humans/bodies/tracked`` lists, by their TF frames.

    Frames of a body that is not listed are ignored, because its robot_state_publisher may outlive
    it. An empty list means that nobody is present.
    """

    counted = (*TfSource.counted, 'hri_bodies_gone')
    least_joints = 0

    def __init__(
        self, layout: Layout, pattern: str, target_frame: str = '', wait_s: float = 0.05
    ) -> None:
        """Begin without bodies."""
        super().__init__(layout, pattern, target_frame, wait_s)
        self._listed: frozenset[str] = frozenset()
        self._heard = False

    def may_give(self, name: str) -> bool:
        """Return whether the body is listed."""
        return name in self._listed

    def decode(self, topic: str, message: Any, received_ns: int) -> list[DecodedPerson] | None:
        """Read the list of bodies, or the transforms of one message."""
        if hasattr(message, 'transforms'):
            return super().decode(topic, message, received_ns)
        self._heard = True
        listed = frozenset(str(body) for body in message.ids[:MAX_PEOPLE])
        for gone in self._listed - listed:
            self.counters['hri_bodies_gone'] += 1
            self._people.pop(gone, None)
        self._listed = listed
        return None if listed else []

    def complaints(self) -> list[str]:
        """Return what is wrong with the frames and the list of bodies."""
        report = self._report
        if self._heard and not self._listed:
            return []
        found = super().complaints()
        if found and report.matched:
            return found
        if report.given:
            return found
        bodies = ', '.join(repr(cut(body)) for body in report.unlisted)
        frames = f', though there are frames of {bodies}' if bodies else ''
        if not self._heard:
            return [f'nothing came on {TRACKED_TOPIC}{frames}', *found]
        if bodies:
            named = ', '.join(repr(cut(body)) for body in sorted(self._listed)[:SAMPLES])
            found.append(f'{TRACKED_TOPIC} lists {named}{frames}')
        return found
