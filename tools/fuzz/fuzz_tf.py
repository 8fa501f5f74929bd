# SPDX-License-Identifier: Apache-2.0
"""A long-lived TF: people with ever new names, robots, floods, nonsense, and one good person.

Everything goes into the source with which the node reads TF, by the messages' fields. Every pose
of the good person must be given at the right place, and the kept data must stay bounded.
"""

from __future__ import annotations

import time
from types import SimpleNamespace as Fields
from typing import Any

import numpy as np

from motion_predictor.body.layout_file import layout
from motion_predictor.sources.tf.people import (
    HriSource,
    MAX_PEOPLE,
    TF_TOPIC,
    TfSource,
    TRACKED_TOPIC,
)
from motion_predictor.sources.tf.tree import MAX_FRAMES, MAX_TRANSFORMS
from tools.fuzz.fuzz import Findings, START_NS
from tools.fuzz.fuzz_messages import EXTREMES

PERIOD_NS = 33_000_000
WARM_MESSAGES = 3
MAX_CPU_S = 1.0
MOUNT = np.array([1.0, -2.0, 2.5])
"""Position of the camera in the hall, metres; it is sent once, as on ``/tf_static``."""
BODIES_PER_PERSON = 40
"""Number of messages in which another person is present."""


def transform(parent: str, child: str, place: np.ndarray, stamp_ns: int, w: float = 1.0) -> Fields:
    """Return a transform with the fields of ``geometry_msgs/msg/TransformStamped``."""
    sec, nanosec = divmod(int(stamp_ns), 1_000_000_000)
    x, y, z = (float(value) for value in place)
    return Fields(
        child_frame_id=child,
        header=Fields(frame_id=parent, stamp=Fields(sec=sec, nanosec=nanosec)),
        transform=Fields(
            translation=Fields(x=x, y=y, z=z), rotation=Fields(x=0.0, y=0.0, z=0.0, w=w)
        ),
    )


class Traffic:
    """Makes the messages of ``/tf``, from a seed."""

    def __init__(self, poses: np.ndarray, seed: int) -> None:
        """
        Begin without people.

        :param poses: motion of the layout's joints (T, J, 3), metres.
        :param seed: seed of all randomness.
        """
        self._rng = np.random.default_rng(seed)
        self._poses = poses
        self._joints = layout('hri').joints
        self._count = 0

    def pose(self, number: int) -> np.ndarray:
        """Return the good person's position in the hall in a message, (J, 3)."""
        return self._poses[number % len(self._poses)]

    def good(self, number: int, stamp_ns: int) -> list[Fields]:
        """Return the frames of the good person, below the camera."""
        return [
            transform('camera', f'{joint}_ana', place - MOUNT, stamp_ns)
            for joint, place in zip(self._joints, self.pose(number))
        ]

    def others(self, number: int, stamp_ns: int) -> list[Fields]:
        """Return some other frames."""
        rng = self._rng
        made = [
            transform('odom', name, rng.normal(size=3), stamp_ns)
            for name in ('base_link', 'head_pan_link', 'torso_lift_link', 'l_wrist_roll_link')
        ]
        body = number // BODIES_PER_PERSON
        made += [
            transform('camera', f'{joint}_id{body}', rng.normal(size=3), stamp_ns)
            for joint in self._joints
        ]
        if rng.random() < 0.02:  # a flood of new names
            made += [self._flood(stamp_ns) for _ in range(int(rng.choice([10, 500, 4_000])))]
        if rng.random() < 0.2:
            made.append(self._nonsense(stamp_ns))
        return made

    def _flood(self, stamp_ns: int) -> Fields:
        self._count += 1
        joint = f'{self._joints[self._count % len(self._joints)]}_'
        name = joint if self._rng.random() < 0.5 else ''
        return transform('camera', f'{name}flood{self._count}', np.zeros(3), stamp_ns)

    def _nonsense(self, stamp_ns: int) -> Fields:
        rng = self._rng
        names = ['', '/', 'x' * 1_000_000, 'odom', 'head_loop', 'torso_loop', 'camera_', 'ä' * 40]
        later = int(rng.choice([0, 1, -1, 400, -400, 10_000_000])) * 1_000_000_000
        place = rng.choice(EXTREMES, 3)
        return transform(
            str(rng.choice(names)), str(rng.choice(names)), place, max(0, stamp_ns + later),
            float(rng.choice([0.0, 1.0, np.nan, np.inf, 1e-9])),
        )  # fmt: skip


def fuzz_tf(kind: str, poses: np.ndarray, messages: int, seed: int, findings: Findings) -> None:
    """
    Feed messages of TF into the node's source.

    :param kind: 'tf' or 'hri'.
    :param poses: motion of the joints of layout hri (T, 17, 3), metres, of any body.
    :param messages: number of messages.
    :param seed: seed of all randomness.
    :param findings: receives the violations.
    """
    chosen = layout('hri')
    source = (TfSource if kind == 'tf' else HriSource)(chosen, '{joint}_{person}', 'hall')
    traffic = Traffic(poses, seed)
    mount = transform('hall', 'camera', MOUNT, 0)
    source.decode('/tf_static', Fields(transforms=[mount]), START_NS)
    if kind == 'hri':
        source.decode(TRACKED_TOPIC, Fields(ids=['ana']), START_NS)
    given: dict[int, Any] = {}
    for number in range(messages):
        stamp_ns = START_NS + number * PERIOD_NS
        sent = [*traffic.others(number, stamp_ns), *traffic.good(number, stamp_ns)]
        findings.messages += 1
        findings.joints += chosen.num_joints
        begun_s = time.process_time()
        people = source.decode(TF_TOPIC, Fields(transforms=sent), stamp_ns + 1_000_000) or []
        spent_s = time.process_time() - begun_s
        findings.slowest_s = max(findings.slowest_s, spent_s)
        if spent_s > MAX_CPU_S:
            findings.add(f'{kind}, message {number}: {spent_s:.1f} s of a processor')
        for person in people:
            if np.isinf(person.xyz).any():
                findings.add(f'{kind}, message {number}: {person.person} is at infinity')
            if person.person == 'ana':
                given[person.stamp_ns] = person.xyz
        found = given.pop(stamp_ns, None)
        if number < WARM_MESSAGES:
            continue
        if found is None:
            findings.add(f'{kind}, message {number}: the one person is not given')
        elif not np.allclose(found, traffic.pose(number), atol=1e-6):
            findings.add(f'{kind}, message {number}: the one person is elsewhere')
        findings.predictions += found is not None
        tree = source.tree
        if len(tree) > 2 * MAX_FRAMES or tree._kept > MAX_TRANSFORMS:
            findings.add(f'{kind}: {len(tree)} frames, {tree._kept} transforms are kept')
        if len(source._people) > MAX_PEOPLE:
            findings.add(f'{kind}: {len(source._people)} people are kept')
