# SPDX-License-Identifier: Apache-2.0
"""Random and adversarial input messages: mutated recorded motion, and random messages."""

from __future__ import annotations

import array
from collections.abc import Iterator
from typing import Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose, PoseArray
import numpy as np
from sensor_msgs.msg import PointCloud2, PointField
from visualization_msgs.msg import Marker, MarkerArray

from motion_predictor.ros.messages import DECODERS
from motion_predictor.ros.replay import ENCODERS

SECOND = 1_000_000_000
EXTREMES = (
    np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-320, 1e-30, 1e9, -1e9, 1e20, 1e38, 3.5e38, 1e300,
    -1e308,
)  # fmt: skip
FRAMES = ('map', '', 'odom', 'käfig/µ', 'x' * 300, 'y' * 1_000_000)
NAMES = ('person', 'joint', 'confidence', 'x', 'y', 'z', 'rgb', '', 'é', 'x' * 100)
INTEGERS = {
    'boolean': (0, 1), 'octet': (0, 255), 'byte': (0, 255), 'char': (0, 255),
    'int8': (-(2**7), 2**7 - 1), 'uint8': (0, 2**8 - 1),
    'int16': (-(2**15), 2**15 - 1), 'uint16': (0, 2**16 - 1),
    'int32': (-(2**31), 2**31 - 1), 'uint32': (0, 2**32 - 1),
    'int64': (-(2**63), 2**63 - 1), 'uint64': (0, 2**64 - 1),
}  # fmt: skip
MAX_PEOPLE = 6
CROWD = 40
LONG = '9' * 1_000_000
MANY_FIELDS = 20_000


class Fuzzer:
    """Makes messages of one input type, from a seed."""

    def __init__(self, kind: str, joints: int, poses: np.ndarray, seed: int) -> None:
        """
        Choose the kind of message, the joints and the motion.

        :param kind: as ``input.type``.
        :param joints: number of the layout's joints.
        :param poses: recorded motion (T, joints, 3), metres.
        :param seed: seed of all randomness.
        """
        self.kind = kind
        self.joints = joints
        self.message_type = DECODERS[kind][0]
        self._poses = poses
        self._rng = np.random.default_rng(seed)
        self._frame = 0
        self._count = 1
        self._frame_id = FRAMES[0]

    def message(self, now_ns: int) -> Any:
        """
        Make the next message.

        :param now_ns: the receiver's clock, nanoseconds.
        """
        rng = self._rng
        if self.kind not in ENCODERS or rng.random() < 0.05:
            message = random_fields(self.message_type, rng)
        else:
            people = self._people()
            message = ENCODERS[self.kind][1](people) if people else self.message_type()
            if isinstance(message, PoseArray) and len(message.poses) and rng.random() < 0.05:
                message.poses = message.poses[: rng.integers(len(message.poses))]
            if isinstance(message, PoseArray) and rng.random() < 0.0003:
                message.poses = (list(message.poses) or [Pose()]) * 500
        if rng.random() < 0.003:
            self._frame_id = str(rng.choice(FRAMES))
        stamp_ns = self._stamp_ns(now_ns)
        frame_id = self._frame_id if rng.random() < 0.998 else str(rng.choice(FRAMES))
        for stamped in stamped_parts(message):
            stamped.header.stamp = stamp_of(stamp_ns)
            stamped.header.frame_id = frame_id
            if rng.random() < 0.002:
                stamped.header.stamp = stamp_of(self._stamp_ns(now_ns))
                stamped.header.frame_id = str(rng.choice(FRAMES))
        if isinstance(message, MarkerArray):
            self._mutate_markers(message)
        elif isinstance(message, PointCloud2):
            self._mutate_cloud(message)
        return message

    def _people(self) -> list[np.ndarray]:
        rng = self._rng
        self._frame = (self._frame + 1) % len(self._poses)
        if rng.random() < 0.01:
            self._frame = int(rng.integers(len(self._poses)))
        if rng.random() < 0.05:
            self._count = int(rng.choice([1, 1, 2, 2, 3, MAX_PEOPLE, 0]))
        if rng.random() < 0.002:
            self._count = CROWD
        people = []
        for index in range(self._count):
            pose = self._poses[self._frame].astype(np.float64) + [0.0, 1.5 * index, 0.0]
            chance = rng.random()
            if chance < 0.15:
                for _ in range(int(rng.integers(1, 12))):
                    pose[rng.integers(self.joints), rng.integers(3)] = rng.choice(EXTREMES)
            elif chance < 0.2:
                pose[rng.random(self.joints) < rng.random()] = rng.choice([np.nan, 0.0])
            elif chance < 0.22:
                pose *= 10.0 ** rng.uniform(-12, 30)
            elif chance < 0.24:
                pose += rng.normal(0.0, 10.0 ** rng.uniform(-3, 7), 3)
            elif chance < 0.25:
                pose = rng.normal(0.0, 10.0 ** rng.uniform(-3, 3), pose.shape)
            people.append(pose)
        if people and rng.random() < 0.02:
            rng.shuffle(people)
        return people

    def _stamp_ns(self, now_ns: int) -> int:
        rng = self._rng
        chance = rng.random()
        if chance < 0.94:
            return now_ns
        if chance < 0.98:
            return now_ns - int(rng.integers(0, SECOND // 2))
        return int(
            rng.choice([
                0, 1, -1, -SECOND, now_ns - 3600 * SECOND, now_ns - 2 * SECOND, now_ns + SECOND,
                now_ns + SECOND // 3, now_ns + 3600 * SECOND, (2**31 - 1) * SECOND,
                -(2**31) * SECOND,
            ])
        )  # fmt: skip

    def _mutate_markers(self, message: MarkerArray) -> None:
        rng = self._rng
        if rng.random() < 0.8:
            return
        for marker in message.markers:
            if rng.random() < 0.1:
                marker.id = int(rng.choice([0, -1, 16, 17, 99, 100, 3216, 2**31 - 1, -(2**31)]))
            if rng.random() < 0.05:
                marker.action = int(rng.choice([0, 1, 2, 3, -5]))
            if rng.random() < 0.05:
                marker.type = int(rng.choice([0, 2, 4, 6, 7, 8, 9, 11, -1]))
            if rng.random() < 0.05:
                marker.ns = str(rng.choice(['', 'a', '9' * 5000, 'ü/1', 'left/7', LONG]))
            if rng.random() < 0.02:
                marker.points = [marker.pose.position] * int(rng.choice([0, 1, 16, 17, 18]))
                turn = marker.pose.orientation
                turn.x, turn.y, turn.z, turn.w = rng.choice(EXTREMES, 4).tolist()
        if rng.random() < 0.1:
            message.markers += message.markers[: rng.integers(len(message.markers) + 1)]
        if rng.random() < 0.1:
            message.markers.append(random_fields(Marker, rng))

    def _mutate_cloud(self, message: PointCloud2) -> None:
        rng = self._rng
        if rng.random() < 0.7:
            return
        data = np.frombuffer(bytes(message.data), np.uint8).copy()
        for _ in range(int(rng.integers(1, 4))):
            what = int(rng.integers(9))
            if what == 0 and len(data):
                where = rng.integers(len(data), size=int(rng.integers(1, 20)))
                data[where] = rng.integers(256, size=len(where))
            elif what == 1:
                data = data[: rng.integers(len(data) + 1)]
            elif what == 2:
                message.width = int(rng.choice([0, 1, 17, 1000, 2**32 - 1]))
            elif what == 3:
                message.height = int(rng.choice([0, 1, 2, 2**32 - 1]))
            elif what == 4:
                message.point_step = int(rng.choice([0, 1, 4, 12, 20, 21, 64, 2**32 - 1]))
            elif what == 5:
                message.row_step = int(rng.choice([0, 1, 340, 2**32 - 1]))
            elif what == 6:
                message.is_bigendian = not message.is_bigendian
            elif what == 7 and message.fields:
                message.fields = list(message.fields)
                at = int(rng.integers(len(message.fields)))
                message.fields[at] = PointField(
                    name=str(rng.choice(NAMES)),
                    offset=int(rng.choice([0, 1, 4, 8, 12, 16, 19, 2**32 - 1])),
                    datatype=int(rng.integers(0, 11)),
                    count=int(rng.choice([0, 1, 1, 1, 3, 2**32 - 1])),
                )
            elif what == 8:
                extra = PointField(name='confidence', offset=0, datatype=7, count=1)
                many = MANY_FIELDS if rng.random() < 0.02 else 1
                message.fields = [extra] * (many - 1) + [*message.fields, extra]
        message.data = array.array('B', data.tobytes())


def random_fields(message_type: Any, rng: np.random.Generator, depth: int = 0) -> Any:
    """Fill a message of any type with random values, extreme ones among them."""
    message = message_type()
    for name, kind in message_type.get_fields_and_field_types().items():
        current = getattr(message, name)
        if isinstance(current, list | array.array) or '[' in kind or 'sequence' in kind:
            _fill_sequence(message, name, kind, rng, depth)
        else:
            value = _random_value(kind, current, rng, depth)
            if value is not None:
                setattr(message, name, value)
    return message


def _random_value(kind: str, current: Any, rng: np.random.Generator, depth: int) -> Any:
    base = kind.partition('<')[0]
    if base in ('string', 'wstring'):
        return str(rng.choice(['', 'map', 'ä', '0', 'x' * int(rng.integers(0, 200))]))
    if kind == 'boolean':
        return bool(rng.integers(2))
    if kind in ('double', 'float'):
        value = rng.choice(EXTREMES) if rng.random() < 0.3 else rng.normal(0.0, 3.0)
        finite_single = kind == 'double' or not np.isfinite(value) or abs(value) < 3.4e38
        return float(value) if finite_single else 3.4e38
    if kind in INTEGERS:
        low, high = INTEGERS[kind]
        if isinstance(current, bytes):
            return bytes([int(rng.integers(256))])
        if rng.random() < 0.3:
            return int((low, high, 0)[rng.integers(3)])
        return int(rng.integers(max(low, -100), min(high, 100) + 1))
    if depth < 6 and hasattr(type(current), 'get_fields_and_field_types'):
        return random_fields(type(current), rng, depth + 1)
    return None


def _fill_sequence(
    message: Any, name: str, kind: str, rng: np.random.Generator, depth: int
) -> None:
    current = getattr(message, name)
    if isinstance(current, np.ndarray):
        values = rng.normal(size=current.shape) * 10.0 ** rng.uniform(-3, 6)
        setattr(message, name, values.astype(current.dtype))
        return
    if isinstance(current, array.array):
        content = rng.integers(256, size=int(rng.integers(0, 60)) * current.itemsize)
        filled = array.array(current.typecode)
        filled.frombytes(content.astype(np.uint8).tobytes())
        setattr(message, name, filled)
        return
    element = kind.removeprefix('sequence<').rstrip('>').partition('[')[0].partition(',')[0]
    if isinstance(current, list) and current:  # of fixed length
        length = len(current)
    else:
        length = int(rng.choice([0, 1, 3, 17, 18]))
    cls = _class_of(element)
    if cls is not None:
        setattr(message, name, [random_fields(cls, rng, depth + 1) for _ in range(length)])
    elif element in ('string', 'wstring'):
        setattr(message, name, [str(rng.integers(100)) for _ in range(length)])


def _class_of(name: str) -> Any:
    # 'geometry_msgs/Point' is found where all generated Python messages are.
    package, _, message = name.partition('/')
    if not message:
        return None
    module = __import__(f'{package}.msg', fromlist=[message.rpartition('/')[2]])
    return getattr(module, message.rpartition('/')[2], None)


def stamped_parts(message: Any) -> Iterator[Any]:
    """Yield the message itself, and the parts in its lists, if they have a header."""
    if hasattr(message, 'header'):
        yield message
    for name in message.get_fields_and_field_types():
        value = getattr(message, name)
        if isinstance(value, list):
            yield from (each for each in value if hasattr(each, 'header'))


def stamp_of(stamp_ns: int) -> Time:
    """Return a stamp of any sign; its nanoseconds sometimes exceed a second."""
    sec, nanosec = divmod(int(stamp_ns), SECOND)
    if nanosec % 7 == 0 and sec > -(2**31) + 3:  # as a careless driver would write it
        sec, nanosec = sec - 3, nanosec + 3 * SECOND
    return Time(sec=int(np.clip(sec, -(2**31), 2**31 - 1)), nanosec=nanosec)


def given(message: Any) -> tuple[set[int], set[str]]:
    """Return every stamp in nanoseconds, and every frame, in a message."""
    parts = list(stamped_parts(message))
    stamps = {part.header.stamp.sec * SECOND + part.header.stamp.nanosec for part in parts}
    return stamps, {part.header.frame_id for part in parts}


def count_joints(message: Any, joints: int) -> int:
    """Return roughly the number of joints that a message holds or claims to hold."""
    if isinstance(message, PoseArray):
        return len(message.poses)
    if isinstance(message, MarkerArray):
        return sum(max(1, len(marker.points)) for marker in message.markers)
    if isinstance(message, PointCloud2):
        return len(message.data) // 20
    return joints
