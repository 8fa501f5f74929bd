"""
Messages that sum the futures up: ~/moments, ~/trajectory, ~/poses and ~/occupancy.

Every encoder makes one whole message from an :class:`Outlook`; the node builds those that somebody
listens to.
"""

from __future__ import annotations

import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from time import perf_counter
from typing import Any

from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Pose, PoseArray, Quaternion, Transform, Vector3
import numpy as np
from sensor_msgs.msg import PointCloud2, PointField
from trajectory_msgs.msg import MultiDOFJointTrajectory, MultiDOFJointTrajectoryPoint

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.common.background import Background, CancelledError, Stopped
from motion_predictor.errors import MessageError
from motion_predictor.predict.keyframes import keyframes, LAST_POSE, poses_at
from motion_predictor.predict.likely import likely_futures, TYPICAL
from motion_predictor.predict.live import LivePrediction
from motion_predictor.predict.moments import Moments
from motion_predictor.predict.occupancy import occupancy
from motion_predictor.predict.prediction import Prediction
from motion_predictor.ros.messages import MAX_ROWS, ns_to_stamp
from motion_predictor.ros.parameters import Settings
from motion_predictor.ros.publish.seen import places, seen_poses
from motion_predictor.sources.observation import stamp_to_ns
from motion_predictor.sources.point_cloud import read_cloud

OCCUPANCY_STEP_S = 0.08
"""Time between the instants at which bodies are looked at, in whole model frames."""

MOMENTS_DTYPE = np.dtype(
    {
        'names': [
            'x', 'y', 'z', 't', 'person', 'step', 'joint', 'cxx', 'cxy', 'cxz', 'cyy', 'cyz',
            'czz', 'radius',
        ],
        'formats': ['<f4'] * 4 + ['<u4', '<u2', 'u1'] + ['<f4'] * 7,
        'offsets': [0, 4, 8, 12, 16, 20, 22, 24, 28, 32, 36, 40, 44, 48],
        'itemsize': 52,
    }
)  # fmt: skip
"""One row of ~/moments; one byte of padding follows ``joint``."""

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


@dataclass(frozen=True)
class Outlook:
    """
    What the outputs are made from, in metres in the output frame: P people.

    ``prediction`` holds every frame of the model, ``last_poses`` (P, J, 3) what was observed
    last, ``numbers`` the people's numbers, ``frames`` the frames of ~/predictions.
    """

    stamp_ns: int
    frame_id: str
    numbers: tuple[int, ...]
    prediction: Prediction
    last_poses: np.ndarray
    frames: np.ndarray
    skeleton: Skeleton
    others: Sequence[np.ndarray] = ()
    """Last poses (J, 3) of everybody who is seen and not predicted."""

    @classmethod
    def of(
        cls,
        result: LivePrediction,
        numbers: Sequence[int],
        frames: np.ndarray,
        skeleton: Skeleton,
        turn: np.ndarray | None = None,
    ) -> Outlook:
        """
        Take a prediction of at least one person.

        :param numbers: of ``result.persons``.
        :param turn: matrix (3, 3) that turned the input level, to be undone; None for none.
        """
        assert result.prediction is not None
        prediction, poses = result.prediction, result.last_poses
        if turn is not None:
            prediction, poses = turned(prediction, turn.T), poses @ turn
        return cls(
            result.stamp_ns,
            result.frame_id,
            tuple(numbers),
            prediction,
            poses,
            frames,
            skeleton,
            places(result.others, turn),
        )

    @property
    def last_frame(self) -> int:
        """Give the last frame of the published horizon."""
        return int(self.frames[-1])

    @cached_property
    def most_likely(self) -> np.ndarray:
        """Return the most typical sample of each person, (P, T_fut, J, 3)."""
        return likely_futures(self.prediction, TYPICAL)

    def likely_poses(self, settings: Settings, horizons: str) -> tuple[np.ndarray, np.ndarray]:
        """
        Take the poses of the one future of each person at keyframes.

        :param horizons: the parameter with the seconds after the stamp; beyond the published
            horizon: its last.
        :returns: times in seconds (K,) and poses (P, K, J, 3).
        """
        rate_hz = self.prediction.rate_hz
        frames = keyframes(settings.numbers(horizons), rate_hz, self.last_frame + 1)
        typical = self.prediction.mix is None or settings.text('output.future') == TYPICAL
        likely = self.most_likely if typical else self.prediction.expected
        poses = poses_at(likely, self.last_poses, frames)
        return np.where(frames == LAST_POSE, 0.0, (frames + 1) / rate_hz), poses


def turned(prediction: Prediction, rotation: np.ndarray) -> Prediction:
    """Turn futures and moments by a matrix (3, 3): ``rotation @ point``."""
    stated = prediction.closed_form
    return replace(
        prediction,
        futures=prediction.futures @ rotation.T.astype(prediction.futures.dtype),
        closed_form=None if stated is None else stated.turned(rotation),
        mix=prediction.mix and prediction.mix.turned(rotation),
    )


# Encoders --------------------------------------------------------------------------------------


def encode_moments(outlook: Outlook, settings: Settings) -> PointCloud2:
    """
    Make the cloud of ~/moments: rows ordered (person, step, joint), the steps of ~/predictions.

    ``x y z`` is the mean, ``cxx`` to ``czz`` the covariance in square metres, ``radius`` the ball
    about ``x y z`` that will hold the joint: calibrated where the model states it, else the one
    that holds the share ``moments.coverage`` of the samples. Where candidates are weighed,
    ``x y z`` is the expected future: their mean on the person's own bones.
    """
    prediction, frames = outlook.prediction, outlook.frames
    moments = prediction.moments(frames)
    if prediction.mix is not None:
        moments = Moments(prediction.expected[:, frames], moments.covariance)
    radius = prediction.radius(settings.number('moments.coverage'), moments, frames)
    require_finite('~/moments', moments.mean, moments.covariance, radius)
    persons, steps, joints = radius.shape
    rows = np.zeros((persons, steps, joints), dtype=MOMENTS_DTYPE)
    rows['person'] = np.asarray(outlook.numbers, dtype=np.uint32)[:, None, None]
    rows['step'] = np.arange(steps)[:, None]
    rows['joint'] = np.arange(joints)
    rows['t'] = prediction.times_s[frames][:, None]
    rows['radius'] = radius
    for axis, name in enumerate('xyz'):
        rows[name] = moments.mean[..., axis]
        for other in range(axis, 3):
            rows[f'c{name}{"xyz"[other]}'] = moments.covariance[..., axis, other]
    return _cloud(outlook.stamp_ns, outlook.frame_id, rows.reshape(-1))


def encode_trajectory(outlook: Outlook, settings: Settings) -> MultiDOFJointTrajectory:
    """
    Make the message of ~/trajectory: the one future of each person at a few keyframes.

    It is the expected one, or the most typical sample, as ``output.future`` says.

    Joints are named ``<person>/<joint>``, the person by the number in ~/predictions. Trackers of
    joint positions know no orientations: they are the identity.
    """
    times_s, poses = outlook.likely_poses(settings, 'trajectory.horizons_s')
    require_finite('~/trajectory', poses)
    message = MultiDOFJointTrajectory()
    message.header.stamp = ns_to_stamp(outlook.stamp_ns)
    message.header.frame_id = outlook.frame_id
    message.joint_names = [
        f'{number}/{joint}' for number in outlook.numbers for joint in outlook.skeleton.joints
    ]
    level = Quaternion(w=1.0)
    for time_s, of_all in zip(times_s.tolist(), np.moveaxis(poses, 0, 1)):  # (P, J, 3)
        message.points.append(
            MultiDOFJointTrajectoryPoint(
                transforms=[
                    Transform(translation=Vector3(x=x, y=y, z=z), rotation=level)
                    for x, y, z in of_all.reshape(-1, 3).tolist()
                ],
                time_from_start=_duration(time_s),
            )
        )
    return message


def encode_poses(outlook: Outlook, settings: Settings) -> PoseArray:
    """
    Make the message of ~/poses: points ordered (person, horizon, joint), always finite.

    For monitors that keep a distance from points. With horizon 0, the default's first, the
    observed joints are among them, so that nobody is farther away here than where they are. After
    those who are predicted come those who are only seen, where they were last at every horizon.

    :raises MessageError: if a point is not finite.
    """
    times_s, poses = outlook.likely_poses(settings, 'poses.horizons_s')
    require_finite('~/poses', poses)
    message = PoseArray()
    message.header.stamp = ns_to_stamp(outlook.stamp_ns)
    message.header.frame_id = outlook.frame_id
    level = Quaternion(w=1.0)
    message.poses = [
        Pose(position=Point(x=x, y=y, z=z), orientation=level)
        for x, y, z in poses.reshape(-1, 3).tolist()
    ] + seen_poses(outlook.others, len(times_s))
    return message


def encode_occupancy(
    outlook: Outlook, settings: Settings, stopped: Stopped = lambda: False
) -> PointCloud2:
    """
    Make the cloud of ~/occupancy: voxel centres with probability, in order of time bin.

    See :func:`motion_predictor.predict.occupancy.occupancy` for what occupied means. ``t`` and
    ``t_end`` are the bin's limits in seconds after the stamp.

    :param stopped: whether the cloud is no longer wanted.
    :raises CancelledError: if it is not.
    :raises ConfigError: if there are too many voxels.
    """
    prediction = outlook.prediction
    stride = max(1, int(OCCUPANCY_STEP_S * prediction.rate_hz + 1e-6))
    frames = np.arange(stride - 1, outlook.last_frame + 1, stride)
    if not len(frames):
        frames = np.array([outlook.last_frame])
    found = occupancy(
        prediction.futures[:, :, frames],
        prediction.weights if prediction.mix is None else prediction.weights_at(frames),
        prediction.times_s[frames],
        outlook.skeleton.bones,
        voxel_m=settings.number('occupancy.voxel_m'),
        bin_s=settings.number('occupancy.bin_s'),
        body_radius_m=settings.number('occupancy.body_radius_m'),
        min_probability=settings.number('occupancy.min_probability'),
        stopped=stopped,
    )
    rows = np.zeros(len(found.bin), dtype=OCCUPANCY_DTYPE)
    rows['x'], rows['y'], rows['z'] = found.centres.T
    rows['probability'] = found.probability
    rows['t'], rows['t_end'] = found.bin * found.bin_s, (found.bin + 1) * found.bin_s
    rows['bin'] = np.minimum(found.bin, 2**16 - 1)
    return _cloud(outlook.stamp_ns, outlook.frame_id, rows)


def require_finite(output: str, *arrays: np.ndarray) -> None:
    """
    Check what is about to be published.

    :param output: its topic, for the error.
    :raises MessageError: if a number is NaN or infinite.
    """
    if not all(np.isfinite(array).all() for array in arrays):
        raise MessageError(f'{output}: holds NaN or infinity; check the weights and the device')


def no_moments(stamp_ns: int, frame_id: str) -> PointCloud2:
    """Make the empty cloud: nobody is predicted."""
    return _cloud(stamp_ns, frame_id, np.zeros(0, dtype=MOMENTS_DTYPE))


def no_trajectory(stamp_ns: int, frame_id: str) -> MultiDOFJointTrajectory:
    """Make the message without joints: nobody is predicted."""
    message = MultiDOFJointTrajectory()
    message.header.stamp, message.header.frame_id = ns_to_stamp(stamp_ns), frame_id
    return message


def no_poses(stamp_ns: int, frame_id: str) -> PoseArray:
    """Make the empty array: nobody is predicted."""
    message = PoseArray()
    message.header.stamp, message.header.frame_id = ns_to_stamp(stamp_ns), frame_id
    return message


def no_occupancy(stamp_ns: int, frame_id: str) -> PointCloud2:
    """Make the empty cloud: nobody is predicted."""
    return _cloud(stamp_ns, frame_id, np.zeros(0, dtype=OCCUPANCY_DTYPE))


@dataclass(frozen=True)
class Summary:
    """One output beside ~/predictions: its message type and how it is made."""

    message_type: type
    encode: Callable[..., Any]
    """Makes the message of an outlook and the settings; with a rate of its own it is also given
    whether to stop."""
    nobody: Callable[[int, str], Any]
    rate_parameter: str = ''
    """The parameter that limits its rate; '' for one message a prediction."""


SUMMARIES: Mapping[str, Summary] = {
    'poses': Summary(PoseArray, encode_poses, no_poses),  # first: somebody may have to brake
    'moments': Summary(PointCloud2, encode_moments, no_moments),
    'trajectory': Summary(MultiDOFJointTrajectory, encode_trajectory, no_trajectory),
    'occupancy': Summary(PointCloud2, encode_occupancy, no_occupancy, 'occupancy.rate_hz'),
}
"""By topic, in the order in which they are published."""


class SummaryPublishers:
    """Builds and publishes the summaries that somebody listens to, and takes them back."""

    def __init__(
        self,
        publishers: Mapping[str, Any],
        note: Callable[[str, float], None] = lambda name, seconds: None,
        failed: Callable[[str, Exception], None] = lambda name, error: None,
    ) -> None:
        """
        Begin with nobody shown.

        :param publishers: by name, of those among :data:`SUMMARIES` that are to be published.
        :param note: told how long each took.
        :param failed: told what went wrong with one that is made in the background.
        """
        self._note, self._failed = note, failed
        self._background = Background('occupancy')
        self._publishers = {name: publishers[name] for name in SUMMARIES if name in publishers}
        self._due_s = dict.fromkeys(SUMMARIES, 0.0)
        self._shown: set[str] = set()

    def wanted(self, settings: Settings, now_s: float) -> list[str]:
        """
        Name the outputs that somebody listens to and whose turn it is.

        :param now_s: reading of ``time.perf_counter``.
        """
        names = []
        for name, publisher in self._publishers.items():
            if not publisher.get_subscription_count():
                self._shown.discard(name)
                continue
            limit = SUMMARIES[name].rate_parameter
            if limit and self._background.busy:
                continue
            if limit:
                period_s = 1.0 / settings.number(limit)
                if now_s < self._due_s[name] - 0.1 * period_s:
                    continue
                self._due_s[name] = max(self._due_s[name], now_s - period_s) + period_s
            names.append(name)
        return names

    def publish(self, name: str, outlook: Outlook, settings: Settings) -> None:
        """
        Build one output and publish it.

        One with a rate of its own is built in a thread of its own, since it may take long, and
        that takes a quarter of the time at most, however many people there are: its next turn is
        put off.
        """
        begun_s, summary = perf_counter(), SUMMARIES[name]
        if not summary.rate_parameter:
            self._hand_over(name, summary.encode(outlook, settings), begun_s)
            return

        def make(stopped: Stopped) -> Any:
            try:
                return summary.encode(outlook, settings, stopped)
            except CancelledError:
                raise
            except Exception as error:
                self._failed(name, error)
                raise CancelledError from None
            finally:
                end_s = perf_counter()
                self._due_s[name] = max(self._due_s[name], end_s + 3.0 * (end_s - begun_s))

        def hand_over(made: Any) -> None:
            try:
                self._hand_over(name, made, begun_s)
            except Exception as error:  # the thread goes on
                self._failed(name, error)

        self._background.ask(make, hand_over)

    def _hand_over(self, name: str, message: Any, begun_s: float) -> None:
        self._publishers[name].publish(message)
        self._shown.add(name)
        self._note(name, perf_counter() - begun_s)

    def close(self, within_s: float) -> None:
        """
        Call off what is being built.

        :param within_s: how long to wait for the thread that builds it.
        """
        self._background.close(within_s)

    @property
    def busy(self) -> bool:
        """Whether something is being built in the background."""
        return self._background.busy

    def publish_nobody(
        self,
        stamp_ns: int,
        frame_id: str,
        *,
        asked: bool,
        others: Sequence[np.ndarray] = (),
        horizons: int = 1,
    ) -> None:
        """
        Take back what was shown, once; ~/poses goes on with whoever is seen.

        :param asked: whether the tracker has just said that nobody is there: then ~/poses says so
            each time, since a monitor may wait for a sign of life, and at no other time, since it
            would take that for an empty room.
        :param others: last poses (J, 3) of everybody who is seen and not predicted.
        :param horizons: how many keyframes ~/poses has.
        """
        self._background.call_off()
        for name, publisher in self._publishers.items():
            if name != 'poses':
                if name in self._shown:
                    publisher.publish(SUMMARIES[name].nobody(stamp_ns, frame_id))
            elif publisher.get_subscription_count() and (asked or others):
                message = no_poses(stamp_ns, frame_id)
                message.poses = seen_poses(others, horizons)
                publisher.publish(message)
        self._shown.clear()


# Reading them back -----------------------------------------------------------------------------


@dataclass(frozen=True)
class DecodedMoments:
    """
    A cloud of ~/moments as arrays.

    ``persons`` uint32 (P,), ``times_s`` float32 (T,) after the stamp, ``moments`` and
    ``radius_m`` float32 (P, T, J) in metres in ``frame_id``.
    """

    stamp_ns: int
    frame_id: str
    persons: np.ndarray
    times_s: np.ndarray
    moments: Moments
    radius_m: np.ndarray


def decode_moments(message: PointCloud2) -> DecodedMoments:
    """
    Read a message of ~/moments back into arrays; an empty cloud has zero persons.

    :raises MessageError: if the cloud is not laid out as documented.
    """
    rows = read_cloud(message, MAX_ROWS)
    if len(rows) and rows.dtype.names != MOMENTS_DTYPE.names:
        raise MessageError(f'fields: expected {MOMENTS_DTYPE.names}, got {rows.dtype.names}')
    if not len(rows):
        rows = np.zeros(0, dtype=MOMENTS_DTYPE)
    steps = int(rows['step'].max(initial=0)) + 1
    joints = int(rows['joint'].max(initial=0)) + 1
    if len(rows) % (steps * joints):
        raise MessageError(f'{len(rows)} rows: no multiple of {steps} steps, {joints} joints')
    grid = rows.reshape(-1, steps, joints)
    mean = np.stack([grid[axis] for axis in 'xyz'], axis=-1)
    names = [f'c{min(a, b)}{max(a, b)}' for a in 'xyz' for b in 'xyz']
    covariance = np.stack([grid[name] for name in names], axis=-1)
    return DecodedMoments(
        stamp_to_ns(message.header.stamp),
        message.header.frame_id,
        grid['person'][:, 0, 0].copy(),
        grid['t'][0, :, 0].copy() if len(grid) else np.zeros(0, dtype=np.float32),
        Moments(mean, covariance.reshape(*mean.shape, 3)),
        grid['radius'].copy(),
    )


def _cloud(stamp_ns: int, frame_id: str, rows: np.ndarray) -> PointCloud2:
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
    message = PointCloud2(fields=fields, is_dense=True, height=1, width=len(rows))
    message.header.stamp, message.header.frame_id = ns_to_stamp(stamp_ns), frame_id
    message.point_step, message.row_step = rows.dtype.itemsize, rows.nbytes
    data = array.array('B')
    if len(rows):
        data.frombytes(rows.view(np.uint8).data)
    message.data = data
    return message


def _duration(seconds: float) -> Duration:
    whole, part = divmod(round(seconds * 1e9), 1_000_000_000)
    return Duration(sec=whole, nanosec=part)
