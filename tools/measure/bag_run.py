# SPDX-License-Identifier: Apache-2.0
"""Record replayed motion into a rosbag2, and play a rosbag2 through the real node, frame by frame.

    python -m tools.measure.bag_run --clip walk --seconds 20 --bag walk.bag

Both ends are real. The bag holds the replay node's messages over DDS, with its /clock. The node is
a separate process that takes the time from the bag's /clock (``use_sim_time``). The player waits
for the answer to each frame before it sends the next, so the result does not depend on the speed
of this machine. The duration of each answer is printed, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
import sys
import tempfile
import time
from typing import Any, Literal

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray
import numpy as np
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rosbags.highlevel import AnyReader
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import PointCloud2

from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import MotionPredictorError
from motion_predictor.model.config import WindowConfig
from motion_predictor.recordings.recording import Recording
from motion_predictor.ros.messages import (
    decode_predictions,
    DecodedPredictions,
    ns_to_stamp,
    stamp_to_ns,
)
from motion_predictor.ros.publish.outputs import decode_moments, DecodedMoments
from motion_predictor.sources.observation import InputFormat
from motion_predictor.sources.standard import decode_pose_array
from tools.demo.demo import DemoError, Stage
from tools.demo.demo_clips import demo_recording
from tools.measure.bag_record import (
    BagRunError,
    CLOCK,
    on_stage,
    Participant,
    record,
    SKELETON,
    TYPES,
)
from training.common.options import read_options

OBSERVED_S = WindowConfig().observed_s


@dataclass
class BagRun:
    """The input and the output of a run, matched by stamp, for one or more people."""

    stamps_ns: list[int] = field(default_factory=list)
    """Stamp of every frame in the bag with at least one person, nanoseconds."""
    observed: list[np.ndarray] = field(default_factory=list)
    """The people of each frame, metres, (P, 17, 3)."""
    asked_ns: list[int] = field(default_factory=list)
    """Stamps of the frames that had to be answered, nanoseconds."""
    predictions: dict[int, DecodedPredictions] = field(default_factory=dict)
    moments: dict[int, DecodedMoments] = field(default_factory=dict)
    poses: dict[int, np.ndarray] = field(default_factory=dict)
    """Points of ~/poses by stamp, metres, (N, 3)."""
    repeated: int = 0
    """Number of predictions that came twice for a stamp."""
    diagnostics: dict[str, str] = field(default_factory=dict)
    """The last diagnostics."""
    counted: list[int] = field(default_factory=list)
    """Number of messages that each diagnostics message has counted."""
    ahead: int = 0
    """Number of those that went ahead of the bag, with nobody in them."""
    answered_s: list[float] = field(default_factory=list)
    """Duration of each answer by the player's stopwatch, seconds."""


def play(
    bag: Path, *, weights: str | Path = 'swiftdiff', parameters: Mapping[str, object] | None = None
) -> BagRun:
    """
    Play a bag with /clock through the node, and wait for the answer to each frame.

    A frame must be answered when its person has been observed for ``min_observed_s``.

    :param bag: from :func:`record`, or any with the topics ``/skeleton`` and ``/clock``.
    :param weights: weights of the node.
    :param parameters: further parameters of the node.
    :raises BagRunError: if the node fails or does not answer.
    """
    settings: dict[str, object] = {
        'autostart': 'true',
        'use_sim_time': 'true',
        'model.path': weights,
        'diagnostics.period_s': 0.2,
        'min_observed_s': 0.25,
        **(parameters or {}),
    }
    run = BagRun()
    with on_stage('player') as (stage, player, _folder):
        _collect(player, run)
        publishers = _connected(player, stage, settings)
        messages = list(_messages(bag))
        _until_heard(player, stage, publishers, run, messages)
        first_ns = None
        for topic, message in messages:
            publishers[topic].publish(message)
            decoded = deserialize_message(message, TYPES[topic])
            if topic != SKELETON or not decoded.poses:
                continue
            stamp_ns = stamp_to_ns(decoded.header.stamp)
            people = decode_pose_array(decoded, InputFormat(joints=H36M17.num_joints))
            run.stamps_ns.append(stamp_ns)
            run.observed.append(np.stack([person.xyz for person in people]))
            first_ns = stamp_ns if first_ns is None else first_ns
            if stamp_ns - first_ns < float(str(settings['min_observed_s'])) * 1e9:
                continue
            sent_s = time.monotonic()
            run.asked_ns.append(stamp_ns)
            answers = (run.predictions, run.moments, run.poses)
            player.wait(
                lambda: all(run.asked_ns[-1] in found for found in answers),  # noqa: B023
                f'an answer to frame {len(run.stamps_ns)}',
                stage,
            )
            run.answered_s.append(time.monotonic() - sent_s)
        wanted = str(len(run.asked_ns))
        player.wait(
            lambda: run.diagnostics.get('predictions') == wanted, 'the last diagnostics', stage
        )
    return run


def _connected(
    player: Participant, stage: Stage, settings: Mapping[str, object]
) -> dict[str, Any]:
    # Start the node, and return the publishers by topic as soon as it subscribes to all of them.
    publishers = {
        topic: player.node.create_publisher(
            kind, topic, QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
        )
        for topic, kind in TYPES.items()
    }
    arguments = ['--ros-args']
    for name, value in settings.items():
        arguments += ['-p', f'{name}:={value}']
    stage.start('node', 'motion_predictor.ros.node', arguments)
    player.wait(
        lambda: all(publisher.get_subscription_count() for publisher in publishers.values()),
        'waiting for the node',
        stage,
    )
    counted = player.node.count_publishers
    player.wait(lambda: counted('/motion_predictor/poses'), 'waiting for its topics', stage)
    return publishers


def _until_heard(
    player: Participant,
    stage: Stage,
    publishers: Mapping[str, Any],
    run: BagRun,
    messages: Sequence[tuple[str, bytes]],
) -> None:
    # A subscription in the graph does not mean that the node knows this publisher, and earlier
    # messages are lost, because the input is best-effort. So frames with nobody in them go ahead,
    # one second before the bag, until /diagnostics says that the node has received one. Its
    # outputs know this player then too, which subscribed to /diagnostics last.
    clocks = (message for topic, message in messages if topic == CLOCK)
    first = deserialize_message(next(clocks), Clock).clock
    ahead = PoseArray()
    ahead.header.stamp = ns_to_stamp(stamp_to_ns(first) - 1_000_000_000)

    def heard() -> bool:
        publishers[CLOCK].publish(Clock(clock=ahead.header.stamp))
        publishers[SKELETON].publish(ahead)
        return run.diagnostics.get('input age (s)', 'never') != 'never'

    player.wait(heard, 'waiting until the node hears the bag', stage)
    begun = len(run.counted)

    def settled() -> bool:
        since = run.counted[begun:]
        return len(since) > 2 and since[-1] == since[-2]

    player.wait(settled, 'waiting until what went ahead is counted', stage)
    run.ahead = run.counted[-1]


def _messages(bag: Path) -> Iterator[tuple[str, bytes]]:
    # At equal times the clock comes first: messages from the future are not tested here.
    with AnyReader([bag]) as reader:
        held: list[tuple[int, bool, str, bytes]] = []
        for connection, at_ns, data in reader.messages():
            if connection.topic not in TYPES:
                continue
            held.append((at_ns, connection.topic != CLOCK, connection.topic, bytes(data)))
        for _, _, topic, message in sorted(held, key=lambda each: each[:2]):
            yield topic, message


def _collect(player: Participant, run: BagRun) -> None:
    def on_predictions(message: PointCloud2) -> None:
        decoded = decode_predictions(message)
        if len(decoded.persons):
            run.repeated += decoded.stamp_ns in run.predictions
            run.predictions[decoded.stamp_ns] = decoded

    def on_moments(message: PointCloud2) -> None:
        decoded = decode_moments(message)
        if len(decoded.persons):
            run.moments[decoded.stamp_ns] = decoded

    def on_poses(message: PoseArray) -> None:
        if message.poses:
            points = [(p.position.x, p.position.y, p.position.z) for p in message.poses]
            run.poses[stamp_to_ns(message.header.stamp)] = np.array(points)

    def on_diagnostics(message: DiagnosticArray) -> None:
        run.diagnostics = {entry.key: entry.value for entry in message.status[0].values}
        run.counted.append(int(run.diagnostics.get('messages', 0)))

    profile = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
    for kind, topic, callback in (
        (PointCloud2, '/motion_predictor/predictions', on_predictions),
        (PointCloud2, '/motion_predictor/moments', on_moments),
        (PoseArray, '/motion_predictor/poses', on_poses),
        (DiagnosticArray, '/diagnostics', on_diagnostics),
    ):
        player.node.create_subscription(kind, topic, callback, profile)


@dataclass(frozen=True)
class Held:
    """How often a joint really was within the radius that ~/moments had stated."""

    times_s: np.ndarray
    """Horizons in seconds, (T,)."""
    share: np.ndarray
    """Share of the frames whose future is in the bag, (T,)."""
    radius_m: np.ndarray
    """Median of the stated radii, metres, (T,)."""
    frames: int


def share_held(
    run: BagRun,
    joint: str = 'RWrist',
    person: int = 0,
    played: Recording | None = None,
) -> Held:
    """
    Compare the radii in ~/moments with the later positions of the joint.

    :param run: the run.
    :param joint: name of the joint.
    :param person: index of the person in the input, and number in the outputs.
    :param played: the recording in the bag: its invented frames are not used.
    :raises BagRunError: if no frame's whole future is in the bag.
    """
    index = H36M17.index(joint)
    known_s = np.array(run.stamps_ns, dtype=np.int64)
    places = np.stack([people[person, index] for people in run.observed])  # (N, 3)
    inside, radii, times = [], [], np.zeros(0)
    made_up_s = np.zeros(0) if played is None else played.instants_s[played.invented]
    for stamp_ns, decoded in run.moments.items():
        times = decoded.times_s.astype(np.float64)
        at_ns = stamp_ns + np.rint(times * 1e9)
        row = np.flatnonzero(decoded.persons == person)
        if at_ns[-1] > known_s[-1] or not len(row):
            continue
        if made_up_s[
            (made_up_s >= (stamp_ns - known_s[0]) * 1e-9 - OBSERVED_S)
            & (made_up_s <= (at_ns[-1] - known_s[0]) * 1e-9)
        ].size:
            continue
        origin = known_s[0]
        actual = np.stack(
            [np.interp(at_ns - origin, known_s - origin, places[:, a]) for a in range(3)], axis=-1
        )
        apart = np.linalg.norm(actual - decoded.moments.mean[row[0], :, index], axis=-1)
        inside.append(apart <= decoded.radius_m[row[0], :, index])
        radii.append(decoded.radius_m[row[0], :, index])
    if not inside:
        raise BagRunError('no frame has its whole future in the bag: it is too short')
    return Held(times, np.mean(inside, axis=0), np.median(radii, axis=0), len(inside))


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``tools.measure.bag_run``."""

    clip: str = 'walk'
    """Motion that is recorded, as for scripts/demo."""
    seconds: float = 20.0
    """Duration of the motion, s."""
    rate: float = 30.0
    """Frame rate, Hz."""
    weights: str = 'swiftdiff'
    """Name of a shipped model, or a weights file."""
    storage: Literal['mcap', 'sqlite3'] = 'mcap'
    """Storage of the bag."""
    bag: Path | None = None
    """Folder for the bag; the default keeps none."""


def main(arguments: list[str] | None = None) -> int:
    """Record, play and print the result."""
    options = read_options(Options, 'tools.measure.bag_run', __doc__, '', arguments)
    try:
        recording = demo_recording(options.clip, options.seconds, options.rate)
        with tempfile.TemporaryDirectory() as folder:
            bag = options.bag or Path(folder) / 'bag'
            written = record(recording, bag, storage=options.storage, speed=2.0)
            print(f'{recording.source}; recorded {written}', flush=True)
            run = play(bag, weights=options.weights)
        held = share_held(run, played=recording)
    except (BagRunError, DemoError, MotionPredictorError) as error:
        print(f'bag_run: {error}', file=sys.stderr)
        return 1
    p50, p99 = (1e3 * np.percentile(run.answered_s, percent) for percent in (50, 99))
    print(
        f'{len(run.stamps_ns)} frames, {len(run.asked_ns)} asked, {len(run.predictions)} '
        f'predicted; answered in p50/p99 {p50:.1f}/{p99:.1f} ms'
    )
    print('RWrist within the radius that ~/moments states (0.9 asked):')
    for time_s, share, radius in zip(held.times_s, held.share, held.radius_m):
        print(f'  {time_s:.1f} s: radius {radius:.3f} m, held {share:.2f} of {held.frames}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
