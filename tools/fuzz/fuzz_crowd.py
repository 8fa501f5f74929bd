# SPDX-License-Identifier: Apache-2.0
"""One good person among bad ones: whatever the others send, the good one is served every time.

Up to 64 people come in each message. One walks near the robot and is sent as a tracker should. The
others hold NaN and extremes, joints that the layout lacks, names and frames of a megabyte, stamps
of tomorrow, or leap about. After one second of the good person, every message must be answered by
a prediction of that person, and no message may cost more time or memory than is stated here.
"""

from __future__ import annotations

import array
from dataclasses import dataclass
import resource
import time
import traceback
from typing import Any

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField

from motion_predictor.ros.intake.inbox import Arrival
from motion_predictor.ros.messages import decode_predictions, ns_to_stamp
from motion_predictor.ros.replay import marker_array, pose_array
from tools.fuzz.fuzz import Caught, Findings, node_in_process, SetClock
from tools.fuzz.fuzz_messages import EXTREMES, SECOND

PERIOD_NS = 33_000_000
WARM_MESSAGES = 30
"""Number of messages before the first required prediction: one second of the good person."""
NEAR_M = 0.5
KEPT_AWAY_M = 3.0
"""Least distance in metres of others from the good person; identity is not tested here."""
MAX_CPU_S = 2.0
"""Longest processor time in seconds for one message; the largest that is read has 100
000 points."""
MAX_GROWTH_MB = 400.0
LONG = 1_000_000
FLAWS = {
    'pose_array': ('none', 'extreme', 'nan', 'gone', 'leap', 'noise', 'scale'),
    'point_cloud': (
        'none', 'extreme', 'nan', 'gone', 'leap', 'noise', 'scale', 'joint', 'twice', 'renamed',
    ),
    'marker_array': (
        'none', 'extreme', 'nan', 'gone', 'leap', 'noise', 'scale', 'joint', 'twice', 'renamed',
        'name', 'frame', 'ahead', 'behind', 'no rotation',
    ),
}  # fmt: skip
"""Flaws of a person, by the kind of message that can express them."""


@dataclass
class Other:
    """A person beside the good one."""

    number: int
    place: np.ndarray
    flaw: str


class Crowd:
    """Makes the messages, from a seed."""

    def __init__(self, kind: str, poses: np.ndarray, seed: int) -> None:
        """
        Begin with the good person alone.

        :param kind: as ``input.type``.
        :param poses: recorded motion (T, 17, 3), metres.
        :param seed: seed of all randomness.
        """
        self.kind = kind
        self._rng = np.random.default_rng(seed)
        self._poses = poses - poses[:1, :1] * [1.0, 1.0, 0.0]
        self._others: list[Other] = []
        self._next = 1
        self.frame = 0

    @property
    def good(self) -> np.ndarray:
        """Return the good person's pose (17, 3) in metres; the motion goes back and forth."""
        last = len(self._poses) - 1
        return self._poses[last - abs(last - self.frame % (2 * last))].astype(np.float64)

    @property
    def flaws(self) -> list[str]:
        """Return the flaws of the people who were sent last."""
        return sorted({other.flaw for other in self._others})

    def message(self, stamp_ns: int) -> Any:
        """Make the next message; the good person is the first."""
        self.frame += 1
        self._change()
        numbers = [0, *(other.number for other in self._others)]
        people = [self.good, *(self._pose(other) for other in self._others)]
        if self.kind == 'pose_array':
            message: Any = pose_array(people)
        elif self.kind == 'point_cloud':
            message = self._cloud(numbers, people)
        else:
            message = self._markers(numbers, people, stamp_ns)
        for stamped in getattr(message, 'markers', [message]):
            if not stamped.header.frame_id:
                stamped.header.frame_id = 'map'
                stamped.header.stamp = ns_to_stamp(stamp_ns)
        return message

    def _change(self) -> None:
        rng = self._rng
        if self.frame == 1:
            self._others = [self._newcomer() for _ in range(40)]
        if rng.random() < 0.05:
            count = int(rng.choice([0, 1, 2, 5, 10, 33, 40, 64]))
            self._others = self._others[:count]
            while len(self._others) < count:
                self._others.append(self._newcomer())
        for other in self._others:
            if rng.random() < 0.1:
                other.flaw = str(rng.choice(FLAWS[self.kind]))
            if other.flaw == 'renamed':
                other.number, self._next = self._next, self._next + 1

    def _newcomer(self) -> Other:
        self._next += 1
        place = self._rng.uniform(KEPT_AWAY_M + 2.0, 30.0) * _direction(self._rng)
        return Other(self._next - 1, place, 'none')

    def _pose(self, other: Other) -> np.ndarray:
        rng = self._rng
        pose = self._poses[self.frame % len(self._poses)].astype(np.float64)
        if other.flaw == 'scale':
            pose = pose * 10.0 ** rng.uniform(-3, 1)
        elif other.flaw == 'noise':
            pose = pose + rng.normal(0.0, 0.5, pose.shape)
        if other.flaw == 'leap':
            other.place = rng.uniform(KEPT_AWAY_M + 2.0, 30.0) * _direction(rng)
        pose = pose - pose[:1] * [1.0, 1.0, 0.0] + other.place
        if other.flaw == 'extreme':
            for _ in range(int(rng.integers(1, 12))):
                pose[rng.integers(17), rng.integers(3)] = rng.choice(EXTREMES)
        elif other.flaw == 'nan':
            pose[rng.random(17) < rng.random()] = rng.choice([np.nan, 0.0])
        elif other.flaw == 'gone':
            pose[:] = rng.choice([np.nan, 0.0])
        return pose

    def _cloud(self, numbers: list[int], people: list[np.ndarray]) -> PointCloud2:
        rng = self._rng
        names = ['x', 'y', 'z', 'person', 'joint']
        rows = np.zeros((len(people), 17, 5))
        rows[..., :3] = np.stack(people)
        rows[..., 3] = np.array(numbers)[:, None]
        rows[..., 4] = np.arange(17)
        for index, other in enumerate(self._others, 1):
            if other.flaw == 'joint':
                rows[index, rng.integers(17), 4] = rng.choice([17, -1, 1e9, np.nan])
            elif other.flaw == 'twice':
                rows[index, :, 3] = numbers[1]
        flat = rows.reshape(-1, 5)
        message = PointCloud2(height=1, width=len(flat), point_step=40, row_step=40 * len(flat))
        message.fields = [
            PointField(name=name, offset=8 * at, datatype=PointField.FLOAT64, count=1)
            for at, name in enumerate(names)
        ]
        if rng.random() < 0.01:
            many = int(rng.choice([300, 3_000, 20_000]))
            message.fields = [
                *(PointField(name=f'f{i}', offset=0, datatype=7, count=1) for i in range(many)),
                *message.fields,
            ]
        message.data = array.array('B', flat.tobytes())
        return message

    def _markers(self, numbers: list[int], people: list[np.ndarray], stamp_ns: int) -> Any:
        message = marker_array(people)
        flaws = {0: 'none'} | {index: other.flaw for index, other in enumerate(self._others, 1)}
        for marker in message.markers:
            index, joint = divmod(marker.id, 100)
            flaw = flaws[index]
            marker.id = 100 * numbers[index] + joint
            if flaw == 'joint' and joint == 3:
                marker.id += 50
            elif flaw == 'twice':
                marker.id = 100 * numbers[1] + joint
            elif flaw == 'name':
                marker.ns = 'x' * (LONG if joint == 0 else 200)
            elif flaw == 'frame':
                marker.header.frame_id = 'y' * LONG if joint == 0 else 'elsewhere'
                marker.header.stamp = ns_to_stamp(stamp_ns)
            elif flaw in ('ahead', 'behind'):
                later = {'ahead': (0.45, 5.0, 1e6), 'behind': (-0.4, -5.0, -1e6)}[flaw]
                marker.header.frame_id = 'map'
                offset_ns = int(later[numbers[index] % 3] * SECOND)
                marker.header.stamp = ns_to_stamp(max(0, stamp_ns + offset_ns))
            elif flaw == 'no rotation':
                marker.type, marker.points = 7, [marker.pose.position] * 17
                marker.pose.orientation.x = float('nan')
        return message


def _direction(rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0.0, 2.0 * np.pi)
    return np.array([np.cos(angle), np.sin(angle), 0.0])


def fuzz_crowd(
    kind: str, poses: np.ndarray, messages: int, seed: int, weights: str, findings: Findings
) -> None:
    """
    Feed messages of a crowd into the node's code.

    :param kind: as ``input.type``.
    :param poses: recorded motion (T, 17, 3), metres.
    :param messages: number of messages.
    :param seed: seed of all randomness.
    :param weights: weights of the node.
    :param findings: receives the violations.
    """
    crowd = Crowd(kind, poses, seed)
    with node_in_process(kind, 'h36m17', weights) as node:
        worker, clock, caught = node._worker, SetClock(), Caught()
        assert worker is not None
        node.get_clock = lambda: clock  # type: ignore[assignment,method-assign,return-value]
        node._outputs.update(dict.fromkeys(node._outputs, caught))  # type: ignore[arg-type]
        before_mb = _peak_mb()
        for number in range(messages):
            clock.now_ns += PERIOD_NS
            message = crowd.message(clock.now_ns)
            findings.messages += 1
            findings.joints += 17 * (1 + len(crowd._others))
            begun_s = time.process_time()
            node._inbox.append(Arrival('skeleton', message, clock.now_ns, time.perf_counter()))
            try:
                worker.cycle(node._settings)
            except Exception:
                findings.add(f'{kind}, crowd, message {number}: {traceback.format_exc()}')
            spent_s = time.process_time() - begun_s
            findings.slowest_s = max(findings.slowest_s, spent_s)
            if spent_s > MAX_CPU_S:
                findings.add(f'{kind}, crowd, message {number}: {spent_s:.1f} s of a processor')
            if not _is_served(caught.messages, crowd.good, findings) and number > WARM_MESSAGES:
                findings.add(
                    f'{kind}, crowd, message {number}: the good person is not predicted beside '
                    f'{len(crowd._others)} others: {", ".join(crowd.flaws)}'
                )
            caught.messages.clear()
        findings.grown_mb = max(findings.grown_mb, _peak_mb() - before_mb)
        if findings.grown_mb > MAX_GROWTH_MB:
            findings.add(f'{kind}, crowd: {findings.grown_mb:.0f} MB more than at the start')
        for name in ('worker_errors', 'messages_malformed'):
            if node._counts.snapshot()[name]:
                findings.add(f'{kind}, crowd: {name} {node._counts.snapshot()[name]}')


def _is_served(published: list[Any], good: np.ndarray, findings: Findings) -> bool:
    served = False
    for cloud in published:
        if not hasattr(cloud, 'point_step') or {f.name for f in cloud.fields} & {
            'radius',
            't_end',
        }:
            continue
        decoded = decode_predictions(cloud)
        if not len(decoded.persons):
            continue
        findings.predictions += 1
        if not np.isfinite(decoded.futures).all():
            findings.add('NaN or infinity published')
        first = decoded.futures[:, :, 0].mean(axis=1)  # (P, J, 3)
        served |= bool((np.linalg.norm(first - good, axis=-1).mean(axis=-1) < NEAR_M).any())
    return served


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
