# SPDX-License-Identifier: Apache-2.0
"""Convert ROS messages to arrays and back; only this module knows message types."""

from __future__ import annotations

import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
import json
import math
from typing import Any

from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point, PoseArray, Quaternion
import numpy as np
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import ColorRGBA, String
from visualization_msgs.msg import Marker, MarkerArray

from motion_predictor.body.geometry import rotation_matrix  # noqa: F401
from motion_predictor.body.skeleton import Skeleton
from motion_predictor.errors import MessageError
from motion_predictor.sources.observation import (  # noqa: F401  (names that lived here, for one release)
    DecodedPerson,
    InputFormat,
    message_header,
    stamp_to_ns,
)
from motion_predictor.sources.point_cloud import (  # noqa: F401
    decode_point_cloud,
    FIELD_TYPES,
    read_cloud,
)
from motion_predictor.sources.registry import Decoder, STANDARD
from motion_predictor.sources.standard import decode_marker_array, decode_pose_array  # noqa: F401

MAX_ROWS = 2**31
"""Greatest number of points in a cloud of the node."""

PREDICTION_DTYPE = np.dtype(
    {
        'names': [
            'x', 'y', 'z', 't', 'person', 'sample', 'step', 'joint', 'candidate', 'seen', 'weight',
        ],
        'formats': ['<f4'] * 4 + ['<u4', '<u2', '<u2', 'u1', 'u1', 'u1', '<f4'],
        'offsets': [0, 4, 8, 12, 16, 20, 22, 24, 25, 26, 28],
        'itemsize': 32,
    }
)  # fmt: skip
"""One row of ~/predictions; one byte of padding follows ``seen``."""
_LATER_FIELDS = ('candidate', 'seen')  # clouds from before 0.2 have none


@dataclass(frozen=True)
class DecodedPredictions:
    """
    A cloud of ~/predictions as arrays.

    ``persons`` is uint32 (P,). ``times_s`` is float32 (T,), seconds after the stamp. ``futures``
    is float32 (P, S, T, J, 3) in metres in ``frame_id``. ``weights`` is float32 (P, S), the
    weights of the samples over all steps; ``step_weights`` (P, S, T) are those at each step. Both
    sum to one over S. ``candidate`` is uint8 (S,), the index in
    :data:`motion_predictor.model.candidates.CANDIDATES` of each sample's candidate. ``seen`` is
    bool (P, J), True for joints that were measured last and not filled in.
    """

    stamp_ns: int
    frame_id: str
    persons: np.ndarray
    times_s: np.ndarray
    futures: np.ndarray
    weights: np.ndarray
    step_weights: np.ndarray
    candidate: np.ndarray
    seen: np.ndarray


def ns_to_stamp(stamp_ns: int) -> Time:
    """Return integer nanoseconds, not negative, as a message's stamp."""
    sec, nanosec = divmod(int(stamp_ns), 1_000_000_000)
    return Time(sec=sec, nanosec=nanosec)


DECODERS: Mapping[str, tuple[type, Decoder]] = {
    kind: (message_type, STANDARD[kind][1])
    for kind, message_type in (
        ('pose_array', PoseArray),
        ('point_cloud', PointCloud2),
        ('marker_array', MarkerArray),
    )
}
"""Message type and decoder by ``input.type``."""


def _prediction_fields() -> list[PointField]:
    datatypes = {kind: number for number, kind in FIELD_TYPES.items()}
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
    """Makes ~/predictions; keeps the columns that repeat from one message to the next."""

    def __init__(self) -> None:
        """Begin without prepared columns."""
        self._fields = _prediction_fields()
        self._key: tuple[Any, ...] = ()
        self._data = array.array('B')
        self._rows = np.zeros((0, 0, 0, 0), dtype=PREDICTION_DTYPE)

    def encode(
        self,
        stamp_ns: int,
        frame_id: str,
        persons: Sequence[int],
        futures: np.ndarray,
        weights: np.ndarray,
        times_s: np.ndarray,
        candidate: np.ndarray | None = None,
        seen: np.ndarray | None = None,
    ) -> PointCloud2:
        """
        Return the cloud of a prediction; with no persons, the empty cloud.

        The message uses the encoder's own memory: publish it before the next one is made.

        :param stamp_ns: stamp, nanoseconds.
        :param frame_id: frame of the futures.
        :param persons: numbers of the P people.
        :param futures: (P, S, T, J, 3), metres in ``frame_id``.
        :param weights: (P, S), or (P, S, T) if they differ in time.
        :param times_s: seconds after the stamp, (T,).
        :param candidate: candidate of each sample, uint8 (S,); None: all samples are the model's.
        :param seen: which joints were measured last, bool (P, J); None: all.
        """
        shape = tuple(futures.shape[:4])
        if candidate is None:
            candidate = np.zeros(shape[1], dtype=np.uint8)
        if seen is None:
            seen = np.ones((shape[0], shape[3]), dtype=bool)
        times = np.asarray(times_s, dtype=np.float32)
        key = (shape, tuple(persons), times.tobytes(), candidate.tobytes(), seen.tobytes())
        if key != self._key:
            self._rows, self._data = self._template(shape, persons, times_s)
            self._rows['candidate'] = candidate[:, None, None]
            self._rows['seen'] = seen[:, None, None]
            self._key = key
        rows = self._rows  # (P, S, T, J)
        numbers = rows.view('<f4').reshape(*shape, 8)  # x, y, z first and the weight last
        by_step = weights if weights.ndim == 3 else weights[:, :, None]
        for person in range(shape[0]):  # its rows stay in the cache from one column to the next
            for axis in range(3):  # a copy of rows of three numbers takes three times as long
                numbers[person, ..., axis] = futures[person, ..., axis]
            numbers[person, ..., -1] = by_step[person, ..., None]
        message = PointCloud2(fields=self._fields, is_dense=True, height=1, width=rows.size)
        message.header.stamp = ns_to_stamp(stamp_ns)
        message.header.frame_id = frame_id
        message.point_step = PREDICTION_DTYPE.itemsize
        message.row_step = rows.nbytes
        message.data = self._data
        return message

    def nobody(self, stamp_ns: int, frame_id: str) -> PointCloud2:
        """Return the empty cloud, which takes earlier predictions back."""
        nothing = np.zeros((0, 0, 0, 0, 3), dtype=np.float32)
        return self.encode(stamp_ns, frame_id, [], nothing, np.zeros((0, 0)), np.zeros(0))

    @staticmethod
    def _template(
        shape: tuple[int, ...], persons: Sequence[int], times_s: np.ndarray
    ) -> tuple[np.ndarray, array.array]:
        rows, data = empty_rows(shape, PREDICTION_DTYPE)
        rows['person'] = np.asarray(persons, dtype=np.uint32)[:, None, None, None]
        rows['sample'] = np.arange(shape[1])[None, :, None, None]
        rows['step'] = np.arange(shape[2])[None, None, :, None]
        rows['joint'] = np.arange(shape[3])
        rows['t'] = np.asarray(times_s)[None, None, :, None]
        return rows, data


def empty_rows(shape: tuple[int, ...], kind: np.dtype) -> tuple[np.ndarray, array.array]:
    """
    Make rows of zeros, and the same memory as what a cloud takes for its data: nothing is copied.

    :param shape: of the rows.
    :param kind: of one row.
    """
    data = array.array('B', bytes(math.prod(shape) * kind.itemsize))
    if not len(data):
        return np.zeros(shape, dtype=kind), data
    return np.frombuffer(data, dtype=kind).reshape(shape), data


def decode_predictions(message: PointCloud2) -> DecodedPredictions:
    """
    Return a message of ~/predictions as arrays; an empty cloud has zero persons.

    If a cloud was recorded before samples had a candidate, all samples are the model's.

    :raises MessageError: if the cloud does not have the documented layout.
    """
    rows = read_cloud(message, MAX_ROWS)
    stamp_ns, frame_id = stamp_to_ns(message.header.stamp), message.header.frame_id
    if not len(rows):
        nobody = np.zeros(0, dtype=np.uint32)
        futures = np.zeros((0, 0, 0, 0, 3), dtype=np.float32)
        none = np.zeros(0, dtype=np.float32)
        return DecodedPredictions(
            stamp_ns, frame_id, nobody, none, futures, none.reshape(0, 0), none.reshape(0, 0, 0),
            none.astype(np.uint8), none.reshape(0, 0).astype(bool),
        )  # fmt: skip
    names = PREDICTION_DTYPE.names or ()
    former = tuple(name for name in names if name not in _LATER_FIELDS)
    if rows.dtype.names not in (names, former):
        raise MessageError(f'fields: expected {names}, got {rows.dtype.names}')
    counts = [int(rows[name].max()) + 1 for name in ('sample', 'step', 'joint')]
    if len(rows) % int(np.prod(counts)):
        raise MessageError(f'{len(rows)} rows: no multiple of {counts} samples, steps and joints')
    grid = rows.reshape(-1, *counts)  # (P, S, T, J)
    futures = np.stack([grid[axis] for axis in 'xyz'], axis=-1)
    step_weights = grid['weight'][..., 0].copy()
    if rows.dtype.names == names:
        candidate, seen = grid['candidate'][0, :, 0, 0].copy(), grid['seen'][:, 0, 0] != 0
    else:
        candidate = np.zeros(counts[0], dtype=np.uint8)
        seen = np.ones((len(grid), counts[2]), dtype=bool)
    return DecodedPredictions(
        stamp_ns,
        frame_id,
        grid['person'][:, 0, 0, 0].copy(),
        grid['t'][0, 0, :, 0].copy(),
        futures,
        step_weights.mean(axis=2, dtype=np.float64).astype(np.float32),
        step_weights,
        candidate,
        seen,
    )


def encode_model(
    skeleton: Skeleton,
    card: Mapping[str, Any],
    persons: Mapping[str, int],
    facts: Mapping[str, Any],
) -> String:
    """
    Return a description of the stream as JSON, so that a recorded bag explains itself.

    :param skeleton: the model's skeleton.
    :param card: the model card.
    :param persons: number in ~/predictions of each person, by the tracker's name.
    :param facts: rate, horizon, steps and other facts of the running model.
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
_POSE, _LIKELY, _SAMPLES, _WORDS = range(4)
_LETTERS_M, _ABOVE_M = 0.1, 0.2  # size of the words, and their height above the person
_FAINT = 0.25  # opacity of bones to joints that were never seen
MARKER_KEYFRAMES = 10


@dataclass(frozen=True)
class MarkerPerson:
    """
    The drawing of one person, in metres in the output frame.

    ``pose`` (J, 3) is the last observed pose, ``likely`` (T, J, 3) the one future, ``samples`` (S,
    T, J, 3) the drawn samples. ``words`` are written above the person; '' for none. ``seen`` is
    bool (J,), False for joints that were never seen and are drawn faintly; None: all were seen.
    """

    number: int
    pose: np.ndarray
    likely: np.ndarray
    samples: np.ndarray
    words: str = ''
    seen: np.ndarray | None = None


@dataclass
class MarkerEncoder:
    """Draws people and their futures, and deletes the markers of people who have gone."""

    skeleton: Skeleton
    lifetime_s: float = 1.0
    _shown: set[int] = field(default_factory=set)
    _worded: set[int] = field(default_factory=set)

    def encode(self, stamp_ns: int, frame_id: str, people: Sequence[MarkerPerson]) -> MarkerArray:
        """Return the markers of everybody who is present, and delete those of everybody else."""
        markers: list[Marker] = []
        gone = self._shown - {person.number for person in people}
        worded = {person.number for person in people if person.words}
        for number in sorted(gone | (self._worded - worded)):
            kinds = (_POSE, _LIKELY, _SAMPLES) if number in gone else ()
            for kind in (*kinds, *((_WORDS,) if number in self._worded else ())):
                markers.append(self._marker(stamp_ns, frame_id, number, kind, 0.0))
                markers[-1].action = Marker.DELETE
        for person in people:
            markers += self._draw(stamp_ns, frame_id, person)
        self._shown, self._worded = {person.number for person in people}, worded
        return MarkerArray(markers=markers)

    @property
    def shown(self) -> set[int]:
        """Return the numbers of the people whose markers a later message must delete."""
        return set(self._shown)

    def _draw(self, stamp_ns: int, frame_id: str, person: MarkerPerson) -> list[Marker]:
        red, green, blue = _PALETTE[person.number % len(_PALETTE)]
        pose = self._marker(stamp_ns, frame_id, person.number, _POSE, 0.03)
        pose.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
        ends = np.array(self.skeleton.bones)  # (bones, 2)
        seen = np.ones(len(person.pose), dtype=bool) if person.seen is None else person.seen
        strength = np.where(seen[ends].all(axis=1), 1.0, _FAINT).repeat(2).tolist()
        if not seen.all():
            pose.colors = [ColorRGBA(r=red, g=green, b=blue, a=alpha) for alpha in strength]
        pose.points = _points(person.pose[ends])
        likely = self._marker(stamp_ns, frame_id, person.number, _LIKELY, 0.012)
        frames = _keyframes(len(person.likely))
        likely.points = _points(person.likely[frames][:, ends])  # (frames, bones, 2, 3)
        for alpha in np.linspace(0.8, 0.15, len(frames)):
            by_strength = {
                part: ColorRGBA(r=red, g=green, b=blue, a=float(alpha * part))
                for part in set(strength)
            }
            likely.colors += [by_strength[part] for part in strength]
        samples = self._marker(stamp_ns, frame_id, person.number, _SAMPLES, 0.004)
        samples.color = ColorRGBA(r=red, g=green, b=blue, a=0.35)
        if len(person.samples):
            traced = [joint for joint in self._traced_joints() if seen[joint]]
            start = np.broadcast_to(person.pose[traced], (len(person.samples), 1, len(traced), 3))
            path = np.concatenate([start, person.samples[:, frames][:, :, traced]], axis=1)
            before, after = path[:, :-1], path[:, 1:]
            samples.points = _points(np.stack([before, after], axis=3))
        drawn = [pose, likely, samples] if samples.points else [pose, likely]
        return [*drawn, self._write(stamp_ns, frame_id, person)] if person.words else drawn

    def _write(self, stamp_ns: int, frame_id: str, person: MarkerPerson) -> Marker:
        words = self._marker(stamp_ns, frame_id, person.number, _WORDS, 0.0)
        words.type, words.text = Marker.TEXT_VIEW_FACING, person.words
        words.scale.z = _LETTERS_M
        red, green, blue = _PALETTE[person.number % len(_PALETTE)]
        words.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
        x, y, z = person.pose[person.pose[:, 2].argmax()].tolist()
        words.pose.position = Point(x=x, y=y, z=z + _ABOVE_M)
        return words

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
