# SPDX-License-Identifier: Apache-2.0
"""ROS node that plays recorded motion on a skeleton topic, in real time.

``ros2 run motion_predictor replay --ros-args -p path:=walk.bvh`` or, without a ROS workspace,
``python -m motion_predictor.ros.replay --ros-args -p path:=walk.bvh``.

At the end of a recording that loops, everybody glides back to the first pose within ``blend_s``
(longer over longer distances, so that nobody moves faster than a walk). These frames are invented,
and each pass over the seam is logged and counted. With ``blend_s:=0.0`` people jump. Stamps
increase in both cases: they are the clock's, not the recording's.
"""

from __future__ import annotations

import array
from collections.abc import Callable
import contextlib
import sys
import threading
import time
from typing import Any

from geometry_msgs.msg import Point, Pose, PoseArray, Quaternion
import numpy as np
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import PointCloud2, PointField
from visualization_msgs.msg import Marker, MarkerArray

from motion_predictor.body.layout import FLOAT32_MOST
from motion_predictor.errors import ConfigError
from motion_predictor.recordings.open import open_recording
from motion_predictor.recordings.recording import Overrides, Recording
from motion_predictor.recordings.rosbag import BagInput, fields_of
from motion_predictor.recordings.scenes import with_seam
from motion_predictor.ros.messages import ns_to_stamp
from motion_predictor.ros.parameters.fields import replaced
from motion_predictor.ros.parameters.parameter import Parameter
from motion_predictor.ros.parameters.replay import REPLAY_PARAMETERS, ReplaySettings
from motion_predictor.ros.start import run_until_asked
from motion_predictor.sources.standard import KINECT_IDS_PER_PERSON

CLOUD_DTYPE = np.dtype(
    [('x', '<f4'), ('y', '<f4'), ('z', '<f4'), ('person', '<u4'), ('joint', '<u4')]
)
DELIVERY_S, DELIVERY_STEP_S = 10.0, 0.1
"""Longest time in seconds that the last message is waited for, and how often Ctrl-C is."""


def pose_array(people: list[np.ndarray]) -> PoseArray:
    """
    Return a message of consecutive blocks of J poses; NaN for a missing joint or person.

    :param people: ``(J, 3)``, metres, for each person. If all are missing, the message has no
        pose.
    """
    message = PoseArray()
    if any(np.isfinite(pose).any() for pose in people):
        message.poses = [
            Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(w=1.0))
            for x, y, z in np.concatenate(people).astype(float).tolist()
        ]
    return message


def marker_array(people: list[np.ndarray]) -> MarkerArray:
    """
    Return one sphere per joint, ``id = 100 * person + joint``; missing ones are left out.

    :param people: ``(J, 3)``, metres, for each person.
    """
    message = MarkerArray()
    for person, pose in enumerate(people):
        for joint, (x, y, z) in enumerate(pose.astype(float).tolist()):
            if not np.isfinite(x + y + z):
                continue
            marker = Marker(type=Marker.SPHERE, action=Marker.ADD)
            marker.id = KINECT_IDS_PER_PERSON * person + joint
            marker.pose = Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(w=1.0))
            marker.scale.x = marker.scale.y = marker.scale.z = 0.05
            marker.color.g = marker.color.a = 1.0
            marker.lifetime.nanosec = 250_000_000
            message.markers.append(marker)
    return message


def point_cloud(people: list[np.ndarray]) -> PointCloud2:
    """
    Return a cloud with fields x y z person joint; missing joints are left out.

    :param people: ``(J, 3)``, metres, for each person.
    """
    parts = []
    for person, pose in enumerate(people):
        seen = np.flatnonzero((np.abs(pose) <= FLOAT32_MOST).all(axis=-1))  # not NaN either
        rows = np.zeros(len(seen), CLOUD_DTYPE)
        rows['x'], rows['y'], rows['z'] = pose[seen].T
        rows['person'], rows['joint'] = person, seen
        parts.append(rows)
    rows = np.concatenate(parts)
    kinds = {'<f4': PointField.FLOAT32, '<u4': PointField.UINT32}
    fields = [
        PointField(name=name, offset=4 * index, datatype=kinds[CLOUD_DTYPE[index].str], count=1)
        for index, name in enumerate(CLOUD_DTYPE.names or ())
    ]
    message = PointCloud2(fields=fields, height=1, width=len(rows), is_dense=True)
    message.point_step, message.row_step = CLOUD_DTYPE.itemsize, rows.nbytes
    message.data = array.array('B', rows.tobytes())
    return message


ENCODERS: dict[str, tuple[type, Callable[[list[np.ndarray]], Any]]] = {
    'pose_array': (PoseArray, pose_array),
    'marker_array': (MarkerArray, marker_array),
    'point_cloud': (PointCloud2, point_cloud),
}


class ReplayNode(Node):
    """
    Publishes a recording until it ends, or for ever.

    A thread of its own plays the recording, so that parameters and services answer meanwhile.
    """

    def __init__(self, recording: Recording | None = None, **node_arguments: Any) -> None:
        """
        Read the recording and start to play.

        :param recording: the recording to play; None reads the one that the parameter ``path``
            names.
        :param node_arguments: passed on to :class:`rclpy.node.Node`.
        :raises MotionPredictorError: if a parameter or the recording is bad.
        """
        super().__init__('replay', **node_arguments)
        settings = replaced(
            ReplaySettings(), {p.name: self._declare(p) for p in REPLAY_PARAMETERS}
        )
        _require_playable(settings)
        if recording is None:
            recording = _recording_of(settings)
        recording = recording.crop(settings.start_s, settings.duration_s or None)
        if settings.rate_hz:
            recording = recording.resample(settings.rate_hz)
        self.real_frames = recording.num_frames
        if settings.loop:
            recording = with_seam(recording, settings.blend_s)
        self.recording = recording
        self.frame_id = settings.frame_id or recording.frame_id or 'map'
        self.published = self.skipped = self.loops = 0
        self.finished = threading.Event()
        self._settings = settings
        message_type, self._encode = ENCODERS[settings.type]
        reliability = (
            ReliabilityPolicy.RELIABLE if settings.reliable else ReliabilityPolicy.BEST_EFFORT
        )
        self._publisher = self.create_publisher(
            message_type, settings.topic, QoSProfile(depth=5, reliability=reliability)
        )
        self._clock_publisher = None
        if settings.publish_clock:
            self._clock_publisher = self.create_publisher(Clock, '/clock', 10)
        seam = recording.num_frames - self.real_frames
        self.get_logger().info(
            f'{recording.name}: {len(recording.persons)} of {recording.layout}, '
            f'{self.real_frames} frames at {recording.rate_hz:.4g} Hz from {recording.source}; '
            f'on {self._publisher.topic_name} as {settings.type}, '
            + (f'looping with {seam} made-up frames at the seam' if settings.loop else 'once')
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._play_until_shutdown, name='replay', daemon=True
        )
        self._thread.start()

    def _declare(self, parameter: Parameter) -> Any:
        """Declare a read-only parameter; a whole number is accepted for a float."""
        name, default = parameter.name, parameter.default
        descriptor = ParameterDescriptor(
            description=parameter.description, read_only=True, dynamic_typing=True
        )
        value = self.declare_parameter(name, default, descriptor).value
        if isinstance(default, float) and type(value) is int:
            value = float(value)
        if name == 'up' and value is True:
            value = 'y'  # a parser of YAML 1.1 reads a bare y as true
        if type(value) is not type(default):
            kind = {'str': 'string'}.get(type(default).__name__, type(default).__name__)
            raise ConfigError(f'{name}={value!r}: must be a {kind}')
        return value

    def destroy_node(self) -> None:
        """Stop playing, then destroy the node."""
        self._stop.set()
        self._thread.join()
        super().destroy_node()

    def _play_until_shutdown(self) -> None:
        try:
            self._play()
        except Exception:
            if self.context.ok():  # otherwise the context ended during publishing: Ctrl-C
                raise

    def _play(self) -> None:
        wanted = self._settings.wait_for_subscribers
        while self._publisher.get_subscription_count() < wanted:
            if self._stop.wait(0.02):
                return
        instants = self.recording.instants_s
        pass_s = float(instants[-1]) + 1.0 / self.recording.rate_hz
        people = list(self.recording.persons.values())
        speed = self._settings.speed
        began = time.monotonic()
        began_ns = self.get_clock().now().nanoseconds
        frame = 0
        while True:
            media_s = self.loops * pass_s + float(instants[frame])
            late_s = time.monotonic() - (began + media_s / speed)
            if late_s < 0.0 and self._stop.wait(-late_s):
                return
            if self._stop.is_set():
                return
            if late_s > 1.5 / (self.recording.rate_hz * speed):
                self.skipped += 1
            else:
                self._publish([poses[frame] for poses in people], began_ns + int(media_s * 1e9))
            frame += 1
            if frame == len(instants):
                if not self._settings.loop:
                    break
                frame, self.loops = 0, self.loops + 1
                self.get_logger().info(f'{self._progress()}; from the beginning again')
        # nobody is left: trackers say this when people have gone
        nobody = [np.full_like(poses[0], np.nan) for poses in people]
        self._publish(nobody, began_ns + int(pass_s * 1e9), count=False)
        self._wait_for_delivery()
        self.get_logger().info(f'{self._progress()}; finished')
        self.finished.set()

    def _wait_for_delivery(self) -> None:
        # A destroyed publisher sends nothing again, and without the end listeners wait for ever.
        waited = range(round(DELIVERY_S / DELIVERY_STEP_S))
        step = Duration(seconds=DELIVERY_STEP_S)
        with contextlib.suppress(RuntimeError):  # not every middleware can tell
            for _ in waited:
                if self._stop.is_set() or self._publisher.wait_for_all_acked(step):
                    return

    def _progress(self) -> str:
        return (
            f'{self.published} frames published, {self.skipped} skipped for being late, '
            f'{self.loops} loops'
        )

    def _publish(self, people: list[np.ndarray], media_ns: int, *, count: bool = True) -> None:
        message = self._encode(people)
        stamp_ns = self.get_clock().now().nanoseconds
        if self._clock_publisher is not None:
            stamp_ns = media_ns
            self._clock_publisher.publish(Clock(clock=ns_to_stamp(stamp_ns)))
        stamp = ns_to_stamp(stamp_ns)
        for stamped in message.markers if isinstance(message, MarkerArray) else (message,):
            stamped.header.stamp = stamp
            stamped.header.frame_id = self.frame_id
        self._publisher.publish(message)
        self.published += count


def _require_playable(settings: ReplaySettings) -> None:
    """
    Check the parameters of playing.

    :raises ConfigError: naming the one that cannot work.
    """
    if settings.type not in ENCODERS:
        raise ConfigError(f'type={settings.type!r}: must be one of {", ".join(ENCODERS)}')
    for name, low, high in (('speed', 0.01, 100.0), ('blend_s', 0.0, 60.0)):
        value = getattr(settings, name)
        if not low <= value <= high:
            raise ConfigError(f'{name}={value:g}: must lie in {low:g}..{high:g}')
    if not (settings.rate_hz == 0.0 or 1.0 <= settings.rate_hz <= 1000.0):
        raise ConfigError(f'rate_hz={settings.rate_hz:g}: must be 0 or lie in 1..1000')


def _recording_of(settings: ReplaySettings) -> Recording:
    """
    Return the recording that the parameters name.

    :raises MotionPredictorError: if they name none, or if it cannot be read.
    """
    if not settings.path:
        raise ConfigError('path is empty: give the recording to play, -p path:=FILE')
    return open_recording(
        settings.path,
        bag=BagInput(
            topic=settings.bag_topic,
            layout=settings.layout,
            pattern=settings.bag_pattern,
            fields=fields_of(settings.bag_fields),
            target_frame=settings.bag_target_frame,
        ),
        overrides=Overrides(
            units_scale=settings.units_scale,
            up=settings.up,
            mapping=settings.mapping,
            rate_hz=settings.recorded_rate_hz,
        ),
    )


def main(args: list[str] | None = None) -> int:
    """Run the node until Ctrl-C, or until the end of a recording that does not loop."""
    return run_until_asked(
        'replay', lambda asked: ReplayNode(), args, has_ended=lambda node: node.finished.is_set()
    )


if __name__ == '__main__':
    sys.exit(main())
