"""ROS messages to arrays and back; the only module that knows message types."""

from __future__ import annotations

import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
import json
from typing import Any

from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point, PoseArray, Quaternion
import numpy as np
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import ColorRGBA, String
from visualization_msgs.msg import Marker, MarkerArray

from motion_predictor.decoded import DecodedPerson, InputFormat, MessageError
from motion_predictor.skeleton import Skeleton

KINECT_IDS_PER_PERSON = 100
MAX_POINTS = 100_000
MAX_ROWS = 2**31
"""Points of a cloud of our own."""
MAX_PEOPLE = 256
MAX_NAME = 128
JOINT_MARKERS = (Marker.SPHERE, Marker.CUBE, Marker.CYLINDER)
LIST_MARKERS = (Marker.SPHERE_LIST, Marker.POINTS, Marker.CUBE_LIST)

_FIELD_TYPES: Mapping[int, str] = {
    PointField.INT8: 'i1',
    PointField.UINT8: 'u1',
    PointField.INT16: 'i2',
    PointField.UINT16: 'u2',
    PointField.INT32: 'i4',
    PointField.UINT32: 'u4',
    PointField.FLOAT32: 'f4',
    PointField.FLOAT64: 'f8',
}

PREDICTION_DTYPE = np.dtype(
    {
        'names': ['x', 'y', 'z', 't', 'person', 'sample', 'step', 'joint', 'weight'],
        'formats': ['<f4', '<f4', '<f4', '<f4', '<u4', '<u2', '<u2', 'u1', '<f4'],
        'offsets': [0, 4, 8, 12, 16, 20, 22, 24, 28],
        'itemsize': 32,
    }
)
"""One row of ~/predictions; three bytes of padding follow ``joint``."""


@dataclass(frozen=True)
class DecodedPredictions:
    """
    A cloud of ~/predictions as arrays.

    ``persons`` uint32 (P,), ``times_s`` float32 (T,) after the stamp, ``futures`` float32
    (P, S, T, J, 3) in metres in ``frame_id``, ``weights`` float32 (P, S).
    """

    stamp_ns: int
    frame_id: str
    persons: np.ndarray
    times_s: np.ndarray
    futures: np.ndarray
    weights: np.ndarray


def stamp_to_ns(stamp: Time) -> int:
    """Convert a message's stamp to integer nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def ns_to_stamp(stamp_ns: int) -> Time:
    """Convert integer nanoseconds, not negative, to a message's stamp."""
    sec, nanosec = divmod(int(stamp_ns), 1_000_000_000)
    return Time(sec=sec, nanosec=nanosec)


def message_header(message: Any) -> tuple[int, str]:
    """Get stamp and frame of an input message; 0 and empty where it has none."""
    header = getattr(message, 'header', None)
    return (0, '') if header is None else (stamp_to_ns(header.stamp), header.frame_id)


# Input -----------------------------------------------------------------------------------------


def decode_pose_array(message: PoseArray, form: InputFormat) -> list[DecodedPerson]:
    """
    Read consecutive blocks of J poses, one block a person; no poses at all: nobody.

    :raises MessageError: if the number of poses is no multiple of the layout's joints.
    """
    _require_blocks('poses', len(message.poses), form.joints)
    positions = (pose.position for pose in message.poses)
    flat = chain.from_iterable((p.x, p.y, p.z) for p in positions)
    xyz = np.fromiter(flat, dtype=np.float64).reshape(-1, form.joints, 3)  # (P, J_in, 3)
    stamp_ns, frame = stamp_to_ns(message.header.stamp), message.header.frame_id
    unknown = np.full(form.joints, np.nan)
    return [
        DecodedPerson(stamp_ns, frame, str(person), pose, unknown)
        for person, pose in enumerate(xyz)
    ]


def decode_marker_array(message: MarkerArray, form: InputFormat) -> list[DecodedPerson]:
    """
    Read one marker a joint, ``id = 100 * person + joint``, or one list of points a person.

    Markers of other shapes (bones, labels) and deletions are passed over; an array without any
    joint: nobody. A namespace becomes part of the person's name.

    :raises MessageError: if an id or a list's length does not fit the layout.
    """
    people: dict[str, DecodedPerson] = {}
    for marker in message.markers:
        if marker.action != Marker.ADD:
            continue
        if marker.type in JOINT_MARKERS:
            person, joint = divmod(marker.id, KINECT_IDS_PER_PERSON)
            if person < 0 or joint >= form.joints:
                raise MessageError(
                    f'marker id {marker.id}: is joint {joint} of person {person}, but the layout '
                    f'has joints 0..{form.joints - 1} (id = 100 * person + joint)'
                )
            name = _marker_person(marker, person)
            if name not in people:
                people[name] = _empty_person(marker, name, form.joints)
            position = marker.pose.position
            people[name].xyz[joint] = (position.x, position.y, position.z)
        elif marker.type in LIST_MARKERS:
            name = _marker_person(marker, marker.id)
            if len(marker.points) != form.joints:
                raise MessageError(
                    f'marker {name!r}: expected {form.joints} points, one a joint, '
                    f'got {len(marker.points)}'
                )
            people[name] = _empty_person(marker, name, form.joints)
            people[name].xyz[:] = _marker_points(marker)
    return list(people.values())


def decode_point_cloud(message: PointCloud2, form: InputFormat) -> list[DecodedPerson]:
    """
    Read a cloud with x y z and, where it has them, person, joint and confidence.

    Without a joint field the points of a person come in the layout's order; without a person
    field as well, in consecutive blocks of J. No points at all: nobody.

    :raises MessageError: if fields are missing or sizes do not fit each other.
    """
    points = read_cloud(message)
    missing = {'x', 'y', 'z'} - set(points.dtype.names or ())
    if missing:
        raise MessageError(
            f'fields: expected x, y, z, missing {", ".join(sorted(missing))}; '
            f'the cloud has {", ".join(points.dtype.names or ("none",))}'
        )
    names = points.dtype.names or ()
    xyz = np.stack([points[axis].astype(np.float64) for axis in 'xyz'], axis=-1)  # (N, 3)
    confidence = np.full(len(points), np.nan)
    if form.confidence_field in names:
        confidence = points[form.confidence_field].astype(np.float64)
    has_person, has_joint = form.person_field in names, form.joint_field in names
    if not has_joint and not has_person:
        _require_blocks('points', len(points), form.joints)
    if has_person:
        person = points[form.person_field]
        if person.dtype.kind == 'f' and not np.isfinite(person).all():
            raise MessageError(f'field {form.person_field}: holds NaN or infinity')
        person = person.astype(np.int64)
    elif has_joint:
        person = np.zeros(len(points), dtype=np.int64)
    else:
        person = np.arange(len(points)) // form.joints
    joint = points[form.joint_field] if has_joint else None
    stamp_ns, frame = stamp_to_ns(message.header.stamp), message.header.frame_id
    numbers = dict.fromkeys(person.tolist())
    if len(numbers) > MAX_PEOPLE:
        raise MessageError(f'{len(numbers)} people: one message holds {MAX_PEOPLE} at most')
    people = []
    for number in numbers:
        rows = person == number
        placed = _place_joints(xyz[rows], confidence[rows], _rows(joint, rows), form, number)
        people.append(DecodedPerson(stamp_ns, frame, str(number), *placed))
    return people


DECODERS: Mapping[str, tuple[type, Callable[[Any, InputFormat], list[DecodedPerson]]]] = {
    'pose_array': (PoseArray, decode_pose_array),
    'point_cloud': (PointCloud2, decode_point_cloud),
    'marker_array': (MarkerArray, decode_marker_array),
}
"""Message type and decoder by ``input.type``."""


def require_plausible(people: Sequence[DecodedPerson]) -> None:
    """
    Refuse what no tracker sends, and what would only take time and memory.

    :raises MessageError: if there are too many people in one message, or names are too long.
    """
    if len(people) > MAX_PEOPLE:
        raise MessageError(f'{len(people)} people: one message holds {MAX_PEOPLE} at most')
    for person in people:
        if len(person.person) > MAX_NAME:
            raise MessageError(
                f'a person named {person.person[:20]}...: {len(person.person)} characters; at '
                f'most {MAX_NAME}'
            )


def read_cloud(message: PointCloud2, max_points: int = MAX_POINTS) -> np.ndarray:
    """
    View the points of a cloud as a structured array, fields by name.

    :param max_points: more are refused; our own clouds hold more than any tracker's.
    :returns: ``(N,)`` with one named column a field of a single element; no copy of the data
        where rows are not padded.
    :raises MessageError: if sizes contradict each other, or there are implausibly many points.
    """
    count = int(message.width) * int(message.height)
    names, formats, offsets = [], [], []
    order = '>' if message.is_bigendian else '<'
    for entry in message.fields:
        kind = _FIELD_TYPES.get(entry.datatype)
        if kind is None or entry.count > 1 or not entry.name or entry.name in names:
            continue
        if entry.offset + np.dtype(kind).itemsize > message.point_step:
            raise MessageError(
                f'field {entry.name}: at offset {entry.offset} it ends beyond '
                f'point_step={message.point_step}'
            )
        names.append(entry.name)
        formats.append(order + kind)
        offsets.append(int(entry.offset))
    if count == 0:
        return np.zeros(0, dtype=list(zip(names or ['x', 'y', 'z'], formats or ['<f4'] * 3)))
    if count > max_points:
        raise MessageError(f'{count} points: a cloud of joints has {max_points} at most')
    step, row = int(message.point_step), int(message.row_step)
    if step < 1 or row < step * message.width or len(message.data) < row * message.height:
        raise MessageError(
            f'data: {len(message.data)} bytes and row_step={row} do not hold '
            f'{message.height} x {message.width} points of {step} bytes'
        )
    layout = {'names': names, 'formats': formats, 'offsets': offsets, 'itemsize': step}
    raw = np.frombuffer(message.data, dtype=np.uint8, count=row * message.height)
    used = raw.reshape(message.height, row)[:, : step * message.width]
    rows = np.ascontiguousarray(used).reshape(-1)
    return rows.view(np.dtype(layout))  # type: ignore[call-overload]


def _require_blocks(what: str, count: int, joints: int) -> None:
    if count > MAX_POINTS:
        raise MessageError(f'{count} {what}: one message holds {MAX_POINTS} at most')
    if count % joints:
        raise MessageError(
            f'{what}: expected a multiple of {joints}, the joints of the layout, got {count}'
        )


def _place_joints(
    xyz: np.ndarray,
    confidence: np.ndarray,
    joint: np.ndarray | None,
    form: InputFormat,
    person: int,
) -> tuple[np.ndarray, np.ndarray]:
    if joint is None:
        if len(xyz) != form.joints:
            raise MessageError(
                f'person {person}: expected {form.joints} points, one a joint, got {len(xyz)}'
            )
        return xyz, confidence
    valid = np.isfinite(joint) & (joint >= 0) & (joint < form.joints)
    if not valid.all():
        raise MessageError(
            f'person {person}: joint {joint[~valid][0]} is not in the layout, which has '
            f'0..{form.joints - 1}'
        )
    index = joint.astype(np.int64)
    placed = np.full((form.joints, 3), np.nan)
    trusted = np.full(form.joints, np.nan)
    placed[index], trusted[index] = xyz, confidence
    return placed, trusted


def _rows(column: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if column is None else column[rows]


def _marker_person(marker: Marker, number: int) -> str:
    return f'{marker.ns}/{number}' if marker.ns else str(number)


def _empty_person(marker: Marker, name: str, joints: int) -> DecodedPerson:
    return DecodedPerson(
        stamp_to_ns(marker.header.stamp),
        marker.header.frame_id,
        name,
        np.full((joints, 3), np.nan),
        np.full(joints, np.nan),
    )


def _marker_points(marker: Marker) -> np.ndarray:
    points = np.array([(p.x, p.y, p.z) for p in marker.points], dtype=np.float64)
    turn, shift = marker.pose.orientation, marker.pose.position
    quaternion = np.array([turn.x, turn.y, turn.z, turn.w])
    if quaternion[:3].any():
        points = points @ rotation_matrix(quaternion).T
    return points + (shift.x, shift.y, shift.z)


def rotation_matrix(rotation: Sequence[float] | np.ndarray) -> np.ndarray:
    """
    Make the matrix of a rotation.

    :param rotation: quaternion ``x, y, z, w`` (of any positive length), or fixed-axis
        ``roll, pitch, yaw`` in radians.
    :returns: float64 (3, 3); ``R @ p`` turns the point p.
    :raises MessageError: if it has neither 3 nor 4 numbers or a quaternion of length zero.
    """
    values = np.asarray(rotation, dtype=np.float64)
    if values.shape == (3,):
        (cr, cp, cy), (sr, sp, sy) = np.cos(values), np.sin(values)
        return np.array(
            [
                [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
                [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
                [-sp, cp * sr, cp * cr],
            ]
        )
    length = float(np.linalg.norm(values))
    if values.shape != (4,) or not 0 < length < np.inf:
        raise MessageError(
            f'rotation {values.tolist()}: expected a quaternion or roll, pitch, yaw'
        )
    x, y, z, w = values / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


# Output ----------------------------------------------------------------------------------------


def _prediction_fields() -> list[PointField]:
    datatypes = {kind: number for number, kind in _FIELD_TYPES.items()}
    assert PREDICTION_DTYPE.fields is not None
    return [
        PointField(
            name=name,
            offset=offset,
            datatype=datatypes[kind.str.lstrip('<|')],
            count=1,
        )
        for name, (kind, offset) in (
            (name, PREDICTION_DTYPE.fields[name][:2]) for name in PREDICTION_DTYPE.names or ()
        )
    ]


class CloudEncoder:
    """Fills ~/predictions; keeps the columns that repeat from one message to the next."""

    def __init__(self) -> None:
        """Start with no columns prepared."""
        self._fields = _prediction_fields()
        self._key: tuple[Any, ...] = ()
        self._rows = np.zeros((0, 0, 0, 0), dtype=PREDICTION_DTYPE)

    def encode(
        self,
        stamp_ns: int,
        frame_id: str,
        persons: Sequence[int],
        futures: np.ndarray,
        weights: np.ndarray,
        times_s: np.ndarray,
    ) -> PointCloud2:
        """
        Make the cloud of a prediction; with no persons, the empty cloud.

        :param persons: their numbers, P of them.
        :param futures: (P, S, T, J, 3), metres in ``frame_id``.
        :param weights: (P, S).
        :param times_s: (T,), seconds after the stamp.
        """
        shape = tuple(futures.shape[:4])
        key = (shape, tuple(persons), np.asarray(times_s, dtype=np.float32).tobytes())
        if key != self._key:
            self._rows = self._template(shape, persons, times_s)
            self._key = key
        rows = self._rows  # (P, S, T, J)
        rows['x'], rows['y'], rows['z'] = futures[..., 0], futures[..., 1], futures[..., 2]
        rows['weight'] = weights[:, :, None, None]
        message = PointCloud2(fields=self._fields, is_dense=True, height=1, width=rows.size)
        message.header.stamp = ns_to_stamp(stamp_ns)
        message.header.frame_id = frame_id
        message.point_step = PREDICTION_DTYPE.itemsize
        message.row_step = rows.nbytes
        data = array.array('B')
        if rows.size:
            data.frombytes(rows.reshape(-1).view(np.uint8).data)
        message.data = data
        return message

    def nobody(self, stamp_ns: int, frame_id: str) -> PointCloud2:
        """Make the empty cloud that takes earlier predictions back."""
        nothing = np.zeros((0, 0, 0, 0, 3), dtype=np.float32)
        return self.encode(stamp_ns, frame_id, [], nothing, np.zeros((0, 0)), np.zeros(0))

    @staticmethod
    def _template(
        shape: tuple[int, ...], persons: Sequence[int], times_s: np.ndarray
    ) -> np.ndarray:
        rows = np.zeros(shape, dtype=PREDICTION_DTYPE)
        rows['person'] = np.asarray(persons, dtype=np.uint32)[:, None, None, None]
        rows['sample'] = np.arange(shape[1])[None, :, None, None]
        rows['step'] = np.arange(shape[2])[None, None, :, None]
        rows['joint'] = np.arange(shape[3])
        rows['t'] = np.asarray(times_s)[None, None, :, None]
        return rows


def decode_predictions(message: PointCloud2) -> DecodedPredictions:
    """
    Read a message of ~/predictions back into arrays; an empty cloud has zero persons.

    :raises MessageError: if the cloud is not laid out as documented.
    """
    rows = read_cloud(message, MAX_ROWS)
    stamp_ns, frame_id = stamp_to_ns(message.header.stamp), message.header.frame_id
    if not len(rows):
        nobody = np.zeros(0, dtype=np.uint32)
        futures = np.zeros((0, 0, 0, 0, 3), dtype=np.float32)
        none = np.zeros(0, dtype=np.float32)
        return DecodedPredictions(stamp_ns, frame_id, nobody, none, futures, none.reshape(0, 0))
    if rows.dtype.names != PREDICTION_DTYPE.names:
        raise MessageError(f'fields: expected {PREDICTION_DTYPE.names}, got {rows.dtype.names}')
    counts = [int(rows[name].max()) + 1 for name in ('sample', 'step', 'joint')]
    if len(rows) % int(np.prod(counts)):
        raise MessageError(f'{len(rows)} rows: no multiple of {counts} samples, steps and joints')
    grid = rows.reshape(-1, *counts)  # (P, S, T, J)
    futures = np.stack([grid[axis] for axis in 'xyz'], axis=-1)
    return DecodedPredictions(
        stamp_ns,
        frame_id,
        grid['person'][:, 0, 0, 0].copy(),
        grid['t'][0, 0, :, 0].copy(),
        futures,
        grid['weight'][:, :, 0, 0].copy(),
    )


def encode_model(
    skeleton: Skeleton,
    card: Mapping[str, Any],
    persons: Mapping[str, int],
    facts: Mapping[str, Any],
) -> String:
    """
    Describe the stream as JSON, so that a recorded bag explains itself.

    :param persons: number in ~/predictions by the tracker's name of the person.
    :param facts: rate, horizon, steps and whatever else is known of the running model.
    """
    content = {
        'units': 'm',
        'skeleton': skeleton.name,
        'joints': list(skeleton.joints),
        'parents': list(skeleton.parents),
        **facts,
        'persons': {str(number): name for name, number in persons.items()},
        'card': dict(card),
    }
    return String(data=json.dumps(content, default=str))


# Markers ---------------------------------------------------------------------------------------

_PALETTE = (
    (0.12, 0.47, 0.71), (0.84, 0.37, 0.00), (0.17, 0.63, 0.17), (0.80, 0.47, 0.74),
    (0.55, 0.34, 0.29), (0.09, 0.75, 0.81), (0.74, 0.74, 0.13), (0.50, 0.50, 0.50),
)  # fmt: skip
_POSE, _LIKELY, _SAMPLES = range(3)
MARKER_KEYFRAMES = 10


@dataclass(frozen=True)
class MarkerPerson:
    """
    What is drawn of one person, in metres in the output frame.

    ``pose`` (J, 3) last observed, ``likely`` (T, J, 3), ``samples`` (S, T, J, 3).
    """

    number: int
    pose: np.ndarray
    likely: np.ndarray
    samples: np.ndarray


@dataclass
class MarkerEncoder:
    """Draws people and their futures, and deletes the markers of those who have gone."""

    skeleton: Skeleton
    lifetime_s: float = 1.0
    _shown: set[int] = field(default_factory=set)

    def encode(self, stamp_ns: int, frame_id: str, people: Sequence[MarkerPerson]) -> MarkerArray:
        """Make the markers of everyone now here, and delete those of everyone else."""
        markers: list[Marker] = []
        gone = self._shown - {person.number for person in people}
        for number in sorted(gone):
            for kind in (_POSE, _LIKELY, _SAMPLES):
                markers.append(self._marker(stamp_ns, frame_id, number, kind, 0.0))
                markers[-1].action = Marker.DELETE
        for person in people:
            markers += self._draw(stamp_ns, frame_id, person)
        self._shown = {person.number for person in people}
        return MarkerArray(markers=markers)

    @property
    def shown(self) -> set[int]:
        """Numbers of those whose markers a later message must delete."""
        return set(self._shown)

    def _draw(self, stamp_ns: int, frame_id: str, person: MarkerPerson) -> list[Marker]:
        red, green, blue = _PALETTE[person.number % len(_PALETTE)]
        pose = self._marker(stamp_ns, frame_id, person.number, _POSE, 0.03)
        pose.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
        ends = np.array(self.skeleton.bones)  # (bones, 2)
        pose.points = _points(person.pose[ends])
        likely = self._marker(stamp_ns, frame_id, person.number, _LIKELY, 0.012)
        frames = _keyframes(len(person.likely))
        likely.points = _points(person.likely[frames][:, ends])  # (frames, bones, 2, 3)
        for alpha in np.linspace(0.8, 0.15, len(frames)):
            colour = ColorRGBA(r=red, g=green, b=blue, a=float(alpha))
            likely.colors += [colour] * (2 * len(ends))
        samples = self._marker(stamp_ns, frame_id, person.number, _SAMPLES, 0.004)
        samples.color = ColorRGBA(r=red, g=green, b=blue, a=0.35)
        if len(person.samples):
            traced = self._traced_joints()
            start = np.broadcast_to(person.pose[traced], (len(person.samples), 1, len(traced), 3))
            path = np.concatenate([start, person.samples[:, frames][:, :, traced]], axis=1)
            before, after = path[:, :-1], path[:, 1:]
            samples.points = _points(np.stack([before, after], axis=3))
        return [pose, likely, samples] if samples.points else [pose, likely]

    def _traced_joints(self) -> list[int]:
        parents = set(self.skeleton.parents)
        return [j for j in range(self.skeleton.num_joints) if j == 0 or j not in parents]

    def _marker(
        self, stamp_ns: int, frame_id: str, number: int, kind: int, width: float
    ) -> Marker:
        marker = Marker(ns=f'person_{number}', id=kind, type=Marker.LINE_LIST)
        marker.header.stamp = ns_to_stamp(stamp_ns)
        marker.header.frame_id = frame_id
        marker.pose.orientation = Quaternion(w=1.0)
        marker.scale.x = width
        whole, part = divmod(int(self.lifetime_s * 1e9), 1_000_000_000)
        marker.lifetime = Duration(sec=whole, nanosec=part)
        return marker


def _keyframes(steps: int) -> np.ndarray:
    return np.unique(np.linspace(0, steps - 1, min(steps, MARKER_KEYFRAMES)).round().astype(int))


def _points(xyz: np.ndarray) -> list[Point]:
    return [Point(x=x, y=y, z=z) for x, y, z in xyz.reshape(-1, 3).tolist()]
