# SPDX-License-Identifier: Apache-2.0
"""Encode and decode the summaries of futures: ~/moments, ~/trajectory, ~/poses and ~/occupancy.

Every encoder makes one whole message from an :class:`Outlook`. The node builds only messages with
subscribers.
"""

from __future__ import annotations

import array
from collections.abc import Sequence
from dataclasses import dataclass

from geometry_msgs.msg import PoseArray
import numpy as np
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import PointCloud2, PointField
from trajectory_msgs.msg import MultiDOFJointTrajectory

from motion_predictor.common.background import Stopped
from motion_predictor.errors import MessageError
from motion_predictor.predict.moments import Moments
from motion_predictor.predict.occupancy import occupancy
from motion_predictor.ros.messages import empty_rows, MAX_ROWS, ns_to_stamp
from motion_predictor.ros.parameters import Settings
from motion_predictor.ros.publish.outlook import Outlook
from motion_predictor.ros.publish.points import pose_array_bytes, trajectory_bytes
from motion_predictor.ros.publish.seen import seen_points
from motion_predictor.sources.observation import stamp_to_ns
from motion_predictor.sources.point_cloud import read_cloud

OCCUPANCY_STEP_S = 0.08
"""Time in seconds between the instants at which bodies are checked, a multiple of the model's
frame."""

MOMENTS_DTYPE = np.dtype(
    {
        'names': [
            'x', 'y', 'z', 't', 'person', 'step', 'joint', 'seen', 'cxx', 'cxy', 'cxz', 'cyy',
            'cyz', 'czz', 'radius',
        ],
        'formats': ['<f4'] * 4 + ['<u4', '<u2', 'u1', 'u1'] + ['<f4'] * 7,
        'offsets': [0, 4, 8, 12, 16, 20, 22, 23, 24, 28, 32, 36, 40, 44, 48],
        'itemsize': 52,
    }
)  # fmt: skip
"""One row of ~/moments; ``seen`` lies where there was padding before 0.2."""

OCCUPANCY_DTYPE = np.dtype(
    {
        'names': ['x', 'y', 'z', 'probability', 't', 't_end', 'bin'],
        'formats': ['<f4'] * 6 + ['<u2'],
        'offsets': [0, 4, 8, 12, 16, 20, 24],
        'itemsize': 28,
    }
)
"""One row of ~/occupancy; two bytes of padding follow ``bin``."""

_FIELD_TYPES = {
    'f4': PointField.FLOAT32,
    'u4': PointField.UINT32,
    'u2': PointField.UINT16,
    'u1': PointField.UINT8,
}


# Encoders --------------------------------------------------------------------------------------


def encode_moments(outlook: Outlook, settings: Settings) -> PointCloud2:
    """
    Return the cloud of ~/moments: rows ordered (person, step, joint), steps as in ~/predictions.

    ``x y z`` is the mean. ``cxx`` to ``czz`` are the covariance in square metres. ``radius`` is
    the ball about ``x y z`` that will hold the joint: calibrated if the model states it, otherwise
    the ball that holds the share ``moments.coverage`` of the samples. If candidates are weighed,
    ``x y z`` is the expected future: their mean on the person's own bones. ``seen`` is 1 for a
    joint that was measured in the newest pose.
    """
    prediction, frames = outlook.prediction, outlook.frames
    moments = prediction.moments(frames)
    if prediction.mix is not None:
        moments = Moments(prediction.expected_at(frames), moments.covariance)
    radius = prediction.radius(settings.moments.coverage, moments, frames)
    require_finite('~/moments', moments.mean, moments.covariance, radius)
    persons, steps, joints = radius.shape
    rows, data = empty_rows((persons, steps, joints), MOMENTS_DTYPE)
    rows['person'] = np.asarray(outlook.numbers, dtype=np.uint32)[:, None, None]
    rows['step'] = np.arange(steps)[:, None]
    rows['joint'] = np.arange(joints)
    rows['t'] = prediction.times_s[frames][:, None]
    rows['radius'] = radius
    rows['seen'] = outlook.seen[:, None]
    for axis, name in enumerate('xyz'):
        rows[name] = moments.mean[..., axis]
        for other in range(axis, 3):
            rows[f'c{name}{"xyz"[other]}'] = moments.covariance[..., axis, other]
    return _cloud(outlook.stamp_ns, outlook.frame_id, rows, data)


def pack_trajectory(outlook: Outlook, settings: Settings) -> bytes:
    """
    Return ~/trajectory as bytes: the one future of each person at a few keyframes.

    It is the expected future or the most typical sample, as ``output.future`` says.

    Joints are named ``<person>/<joint>``, where the person is the number in ~/predictions.
    Trackers of joint positions measure no orientations, so these are the identity.
    """
    times_s, poses = outlook.likely_poses(settings, settings.trajectory.horizons_s)
    require_finite('~/trajectory', poses)
    names = tuple(
        f'{number}/{joint}' for number in outlook.numbers for joint in outlook.skeleton.joints
    )
    points = np.moveaxis(poses, 0, 1).reshape(len(times_s), len(names), 3)
    return trajectory_bytes(outlook.stamp_ns, outlook.frame_id, names, times_s.tolist(), points)


def pack_poses(outlook: Outlook, settings: Settings) -> bytes:
    """
    Return ~/poses as bytes: points ordered (person, horizon, joint), always finite.

    It is meant for monitors that keep a distance from points. With horizon 0, the first of the
    default, the observed joints are among the points, so nobody is further away here than in
    reality. After the predicted people come those who are only seen, at their last position for
    every horizon.

    :raises MessageError: if a point is not finite.
    """
    times_s, poses = outlook.likely_poses(settings, settings.poses.horizons_s)
    require_finite('~/poses', poses)
    seen = seen_points(outlook.others, len(times_s))
    points = np.concatenate((poses.reshape(-1, 3), seen))
    return pose_array_bytes(outlook.stamp_ns, outlook.frame_id, points)


def encode_trajectory(outlook: Outlook, settings: Settings) -> MultiDOFJointTrajectory:
    """Return :func:`pack_trajectory` as a message."""
    return deserialize_message(pack_trajectory(outlook, settings), MultiDOFJointTrajectory)


def encode_poses(outlook: Outlook, settings: Settings) -> PoseArray:
    """Return :func:`pack_poses` as a message."""
    return deserialize_message(pack_poses(outlook, settings), PoseArray)


def encode_occupancy(
    outlook: Outlook, settings: Settings, stopped: Stopped = lambda: False
) -> PointCloud2:
    """
    Return the cloud of ~/occupancy: voxel centres with probability, in order of time bin.

    :func:`motion_predictor.predict.occupancy.occupancy` defines what occupied means. ``t`` and
    ``t_end`` are the limits of the bin in seconds after the stamp.

    :param outlook: the prediction.
    :param settings: the node's parameters.
    :param stopped: returns whether the cloud is no longer wanted.
    :raises CancelledError: if the cloud is no longer wanted.
    :raises ConfigError: if there are too many voxels.
    """
    prediction = outlook.prediction
    stride = max(1, int(OCCUPANCY_STEP_S * prediction.rate_hz + 1e-6))
    frames = np.arange(stride - 1, outlook.last_frame + 1, stride)
    if not len(frames):
        frames = np.array([outlook.last_frame])
    found = occupancy(
        prediction.futures_at(frames),
        prediction.weights if prediction.mix is None else prediction.weights_at(frames),
        prediction.times_s[frames],
        outlook.skeleton.bones,
        voxel_m=settings.occupancy.voxel_m,
        bin_s=settings.occupancy.bin_s,
        body_radius_m=settings.occupancy.body_radius_m,
        min_probability=settings.occupancy.min_probability,
        stopped=stopped,
    )
    rows, data = empty_rows((len(found.bin),), OCCUPANCY_DTYPE)
    rows['x'], rows['y'], rows['z'] = found.centres.T
    rows['probability'] = found.probability
    rows['t'], rows['t_end'] = found.bin * found.bin_s, (found.bin + 1) * found.bin_s
    rows['bin'] = np.minimum(found.bin, 2**16 - 1)
    return _cloud(outlook.stamp_ns, outlook.frame_id, rows, data)


def require_finite(output: str, *arrays: np.ndarray) -> None:
    """
    Check numbers before they are published.

    :param output: the topic, for the error.
    :param arrays: the numbers.
    :raises MessageError: if a number is NaN or infinite.
    """
    if not all(np.isfinite(array).all() for array in arrays):
        raise MessageError(f'{output}: holds NaN or infinity; check the weights and the device')


def no_moments(stamp_ns: int, frame_id: str) -> PointCloud2:
    """Return the empty cloud: nobody is predicted."""
    return _cloud(stamp_ns, frame_id, *empty_rows((0,), MOMENTS_DTYPE))


def no_trajectory(stamp_ns: int, frame_id: str) -> MultiDOFJointTrajectory:
    """Return the message without joints: nobody is predicted."""
    message = MultiDOFJointTrajectory()
    message.header.stamp, message.header.frame_id = ns_to_stamp(stamp_ns), frame_id
    return message


def no_poses(
    stamp_ns: int, frame_id: str, others: Sequence[np.ndarray] = (), horizons: int = 1
) -> bytes:
    """
    Return ~/poses as bytes if nobody is predicted.

    :param stamp_ns: stamp, nanoseconds.
    :param frame_id: frame of the points.
    :param others: last poses of everybody who is seen, metres, (J, 3) each.
    :param horizons: number of keyframes of ~/poses.
    """
    return pose_array_bytes(stamp_ns, frame_id, seen_points(others, horizons))


def no_occupancy(stamp_ns: int, frame_id: str) -> PointCloud2:
    """Return the empty cloud: nobody is predicted."""
    return _cloud(stamp_ns, frame_id, *empty_rows((0,), OCCUPANCY_DTYPE))


# Reading them back -----------------------------------------------------------------------------


@dataclass(frozen=True)
class DecodedMoments:
    """
    A cloud of ~/moments as arrays.

    ``persons`` is uint32 (P,). ``times_s`` is float32 (T,), seconds after the stamp. ``moments``
    and ``radius_m``, float32 (P, T, J), are in metres in ``frame_id``. ``seen`` is bool (P, J),
    True for joints that were measured last and not filled in.
    """

    stamp_ns: int
    frame_id: str
    persons: np.ndarray
    times_s: np.ndarray
    moments: Moments
    radius_m: np.ndarray
    seen: np.ndarray


def decode_moments(message: PointCloud2) -> DecodedMoments:
    """
    Return a message of ~/moments as arrays; an empty cloud has zero persons.

    If a cloud was recorded before joints were marked as seen, all were seen.

    :raises MessageError: if the cloud does not have the documented layout.
    """
    rows = read_cloud(message, MAX_ROWS)
    names = MOMENTS_DTYPE.names or ()
    former = tuple(name for name in names if name != 'seen')
    if len(rows) and rows.dtype.names not in (names, former):
        raise MessageError(f'fields: expected {MOMENTS_DTYPE.names}, got {rows.dtype.names}')
    if not len(rows):
        rows = np.zeros(0, dtype=MOMENTS_DTYPE)
    steps = int(rows['step'].max(initial=0)) + 1
    joints = int(rows['joint'].max(initial=0)) + 1
    if len(rows) % (steps * joints):
        raise MessageError(f'{len(rows)} rows: no multiple of {steps} steps, {joints} joints')
    grid = rows.reshape(-1, steps, joints)
    mean = np.stack([grid[axis] for axis in 'xyz'], axis=-1)
    marked = 'seen' in (rows.dtype.names or ())
    seen = grid['seen'][:, 0] != 0 if marked else np.ones((len(grid), joints), dtype=bool)
    entries = [f'c{min(a, b)}{max(a, b)}' for a in 'xyz' for b in 'xyz']
    covariance = np.stack([grid[name] for name in entries], axis=-1)
    return DecodedMoments(
        stamp_to_ns(message.header.stamp),
        message.header.frame_id,
        grid['person'][:, 0, 0].copy(),
        grid['t'][0, :, 0].copy() if len(grid) else np.zeros(0, dtype=np.float32),
        Moments(mean, covariance.reshape(*mean.shape, 3)),
        grid['radius'].copy(),
        seen,
    )


def _cloud(stamp_ns: int, frame_id: str, rows: np.ndarray, data: array.array) -> PointCloud2:
    assert rows.dtype.fields is not None
    fields = [
        PointField(
            name=name,
            offset=rows.dtype.fields[name][1],
            datatype=_FIELD_TYPES[rows.dtype.fields[name][0].str.lstrip('<|')],
            count=1,
        )
        for name in rows.dtype.names or ()
    ]
    message = PointCloud2(fields=fields, is_dense=True, height=1, width=rows.size)
    message.header.stamp, message.header.frame_id = ns_to_stamp(stamp_ns), frame_id
    message.point_step, message.row_step = rows.dtype.itemsize, rows.nbytes
    message.data = data
    return message
