# SPDX-License-Identifier: Apache-2.0
"""Feed mutated messages of one input type to a node in this process, or over DDS to another."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
import contextlib
from dataclasses import dataclass, field
from pathlib import Path
import tempfile
import time
import traceback
from typing import Any
import warnings

import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter as RosParameter
from rclpy.time import Time

from motion_predictor.body.layout_file import layout
from motion_predictor.errors import MotionPredictorError
from motion_predictor.recordings.walker import synthetic_walkers
from motion_predictor.ros.intake.inbox import Arrival
from motion_predictor.ros.messages import decode_predictions
from motion_predictor.ros.node import MotionPredictorNode
from tools.domain import Domain
from tools.fuzz.fuzz_messages import count_joints, Fuzzer, given
from tools.rig import Driver, Heard, NodeProcess

START_NS = 1_800_000_000 * 1_000_000_000
REMEMBERED = 20_000
MAX_FINDINGS = 20


@dataclass
class Findings:
    """The findings of a campaign, and the amount of data it used."""

    found: list[str] = field(default_factory=list)
    messages: int = 0
    joints: int = 0
    predictions: int = 0
    warned: dict[str, int] = field(default_factory=dict)
    slowest_s: float = 0.0
    """Longest processor time for one message, seconds."""
    grown_mb: float = 0.0
    """Largest growth of memory since the first message or file, megabytes."""
    read: int = 0
    """Number of damaged files that were read."""
    refused: int = 0
    """Number of damaged files that were refused by name."""

    def add(self, what: str) -> None:
        """Note a violation."""
        if len(self.found) < MAX_FINDINGS:
            self.found.append(what)


class SetClock:
    """Replaces the node's clock, so that days pass in minutes."""

    def __init__(self) -> None:
        """Begin at a fixed time."""
        self.now_ns = START_NS

    def now(self) -> Time:
        """Return the time that was set."""
        return Time(nanoseconds=self.now_ns)


class Caught:
    """Replaces a publisher: it keeps the messages instead of sending them over DDS."""

    def __init__(self) -> None:
        """Begin without messages."""
        self.messages: list[Any] = []

    def publish(self, message: Any) -> None:
        """Keep a message."""
        self.messages.append(message)

    def get_subscription_count(self) -> int:
        """Return 1, so that every output is built."""
        return 1


@contextlib.contextmanager
def node_in_process(
    kind: str, skeleton: str, weights: str, **parameters: Any
) -> Iterator[MotionPredictorNode]:
    """Yield a configured node in this process; its worker's code is called directly."""
    context = Context()
    domain = Domain()
    rclpy.init(context=context, domain_id=domain.number)
    values = {
        'model.path': weights, 'input.type': kind, 'samples': 2,
        'input.skeleton': skeleton, **parameters,
    }  # fmt: skip
    node = MotionPredictorNode(
        context=context,
        parameter_overrides=[RosParameter(name, value=v) for name, v in values.items()],
    )
    try:
        if node.trigger_configure() != TransitionCallbackReturn.SUCCESS:
            raise MotionPredictorError(f'{kind}: the node cannot be configured')
        yield node
    finally:
        node.destroy_node()
        rclpy.try_shutdown(context=context)
        domain.close()


def fuzz_in_process(
    kind: str,
    skeleton: str,
    poses: np.ndarray,
    joints: int,
    seed: int,
    weights: str,
    findings: Findings,
) -> None:
    """
    Feed messages of one input type into the node's code.

    :param skeleton: layout of the messages.
    :param poses: recorded motion (T, 17, 3), metres.
    :param joints: least number of joints.
    """
    fuzzer = _fuzzer(kind, skeleton, poses, seed)
    rng = np.random.default_rng(seed + 1)
    known = Known()
    enough = findings.joints + joints
    with (
        node_in_process(kind, skeleton, weights) as node,
        warnings.catch_warnings(record=True) as warned,
    ):
        warnings.simplefilter('always')
        worker, clock, caught = node._worker, SetClock(), Caught()
        assert worker is not None
        online = worker.session.online
        node.get_clock = lambda: clock  # type: ignore[assignment,method-assign,return-value]
        node._outputs.update(dict.fromkeys(node._outputs, caught))  # type: ignore[arg-type]
        while findings.joints < enough and len(findings.found) < MAX_FINDINGS:
            clock.now_ns += int(rng.choice([2, 8, 33, 33, 33, 33, 70, 400])) * 1_000_000
            if rng.random() < 0.0005:
                clock.now_ns += int(rng.choice([-3600, 5, 3600])) * 1_000_000_000
            message = fuzzer.message(clock.now_ns)
            known.note(message, clock.now_ns, clock.now_ns - (worker.intake.lag_ns or 0))
            findings.messages += 1
            findings.joints += count_joints(message, fuzzer.joints)
            arrival = Arrival('skeleton', message, clock.now_ns, time.perf_counter())
            node._inbox.append(arrival)
            # Sometimes the worker handles every message, otherwise several at once.
            if rng.random() > (0.7 if findings.messages // 500 % 10 == 0 else 0.1):
                continue
            _take_in(kind, node, findings)
            for cloud in caught.messages:
                if hasattr(cloud, 'point_step'):
                    _check_cloud(kind, cloud, known, findings)
                elif hasattr(cloud, 'markers'):
                    _check_markers(kind, cloud, findings)
            caught.messages.clear()
            if len(online.people._tracks.named) > 4 * online.max_persons:
                findings.add(f'{kind}: {len(online.people._tracks.named)} people are kept')
            if node._counts.snapshot()['worker_errors']:
                findings.add(f'{kind}: a worker error')
        for each in warned:
            text = f'{Path(each.filename).name}:{each.lineno}: {each.message}'
            findings.warned[text] = findings.warned.get(text, 0) + 1


class Known:
    """The stamps and frames of the last messages; a prediction may have no others."""

    def __init__(self) -> None:
        """Begin with the empty frame."""
        self.frames = {''}
        self.stamps: set[int] = set()
        self._order: deque[int] = deque(maxlen=REMEMBERED)

    def note(self, message: Any, *stamps_ns: int) -> None:
        """Add the stamps and frames of a message, and further stamps; the oldest are forgotten."""
        stamps, frames = given(message)
        self.frames |= frames
        for stamp in (*stamps, *stamps_ns):
            if len(self._order) == REMEMBERED:
                self.stamps.discard(self._order[0])
            self._order.append(stamp)
            self.stamps.add(stamp)


def _fuzzer(kind: str, skeleton: str, poses: np.ndarray, seed: int) -> Fuzzer:
    joints = layout(skeleton).num_joints
    shaped = poses if joints == poses.shape[1] else _stretched(poses, joints)
    return Fuzzer(kind, joints, shaped, seed)


def _take_in(kind: str, node: MotionPredictorNode, findings: Findings) -> None:
    # One round of the worker, called directly.
    assert node._worker is not None
    begun = time.process_time()
    try:
        node._worker.cycle(node._settings)
    except Exception:
        findings.add(f'{kind}, message {findings.messages}: {traceback.format_exc()}')
        node._inbox.clear()
    spent_s = time.process_time() - begun
    findings.slowest_s = max(findings.slowest_s, spent_s)
    if spent_s > 5.0:  # of several messages
        findings.add(f'{kind}, message {findings.messages}: {spent_s:.1f} s of a processor')


def _stretched(poses: np.ndarray, joints: int) -> np.ndarray:
    # Motion for another layout: its joints are some of ours, and points between them.
    index = np.linspace(0.0, poses.shape[1] - 1.0, joints)
    low = np.floor(index).astype(int)
    high = np.minimum(low + 1, poses.shape[1] - 1)
    share = (index - low)[:, None]
    return (1.0 - share) * poses[:, low] + share * poses[:, high]


def _check_cloud(kind: str, cloud: Any, known: Known, findings: Findings) -> None:
    decoded = decode_predictions(cloud)
    if not len(decoded.persons):
        return
    findings.predictions += 1
    if not (np.isfinite(decoded.futures).all() and np.isfinite(decoded.weights).all()):
        findings.add(f'{kind}, message {findings.messages}: NaN or infinity published')
    if decoded.stamp_ns not in known.stamps:
        findings.add(f'{kind}, message {findings.messages}: stamp {decoded.stamp_ns} not given')
    if decoded.frame_id not in known.frames:
        findings.add(f'{kind}, message {findings.messages}: frame {decoded.frame_id!r} not given')
    if len(set(decoded.persons.tolist())) != len(decoded.persons):
        findings.add(f'{kind}, message {findings.messages}: a number was given twice')


def _check_markers(kind: str, message: Any, findings: Findings) -> None:
    for marker in message.markers:
        if not all(np.isfinite((p.x, p.y, p.z)).all() for p in marker.points[:20]):
            findings.add(f'{kind}, message {findings.messages}: NaN in a marker')
            return


def fuzz_process(
    kind: str,
    skeleton: str,
    poses: np.ndarray,
    joints: int,
    seed: int,
    weights: str,
    findings: Findings,
) -> dict[str, int]:
    """
    Send messages over DDS to a node in a separate process.

    :returns: the node's counters at the end.
    """
    fuzzer = _fuzzer(kind, skeleton, poses, seed)
    heard: list[Heard] = []
    stamps: set[int] = set()
    frames = {''}
    unstamped = False
    with Domain() as domain, tempfile.TemporaryDirectory() as folder:
        parameters = {
            'model.path': weights, 'input.type': kind, 'samples': 2,
            'input.skeleton': layout(skeleton).name, 'diagnostics.period_s': 0.5,
        }  # fmt: skip
        node = NodeProcess(Path(folder) / 'node.log', domain, parameters)
        driver = Driver(domain, heard.append)
        counters: dict[str, int] = {}
        arrivals: list[tuple[int, int]] = []
        try:
            publisher = driver.publisher('/skeleton', fuzzer.message_type)
            enough = findings.joints + joints
            while findings.joints < enough and node.running:
                now_ns = driver.now_ns()
                message = fuzzer.message(now_ns)
                of_message, its_frames = given(message)
                stamps |= of_message
                frames |= its_frames
                unstamped |= any(stamp <= 0 for stamp in of_message) or not of_message
                publisher.publish(message)
                arrivals.append((now_ns, driver.now_ns() + 2_000_000_000))
                findings.messages += 1
                findings.joints += count_joints(message, fuzzer.joints)
                time.sleep(0.004)  # otherwise only the queues between the two are tested
            counters = driver.fresh_counters() if node.running else {}
        except MotionPredictorError as error:
            findings.add(f'{kind}, process: {error}')
        ended, code = not node.running, node.stop()
        driver.close()
        output = node.output()
    if ended or code:
        findings.add(f'{kind}, process: ended with code {code}: {output[-3000:]}')
    if 'Traceback' in output or counters.get('worker_errors', 0):
        findings.add(f'{kind}, process: a worker error: {output[-3000:]}')
    # A message without a stamp has that of its arrival, which only the node knows.
    arrived = range(arrivals[0][0], arrivals[-1][1] + 1) if unstamped and arrivals else range(0)
    _check_heard(kind, heard, stamps, arrived, frames, findings)
    for text in driver.broken:
        findings.add(f'{kind}, process: {text}')
    return counters


def _check_heard(
    kind: str,
    heard: list[Heard],
    stamps: set[int],
    arrived: range,
    frames: set[str],
    findings: Findings,
) -> None:
    findings.predictions += len(heard)
    for each in heard:
        known = each.stamp_ns in stamps or each.stamp_ns in arrived
        if not (each.finite and known and each.frame_id in frames):
            findings.add(f'{kind}, process: published {each}')


def walker() -> np.ndarray:
    """Return synthetic motion (T, 17, 3), metres, for the tests."""
    return next(iter(synthetic_walkers(1).persons.values()))
