"""Skeleton topics of rosbag2 recordings, read without ROS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from motion_predictor import layouts
from motion_predictor.errors import RecordingError
from motion_predictor.recording import Recording

MAX_GAP_S = 10.0  # a longer silence in a bag is cut short to this, and said


def read_rosbag(
    path: Path, *, topic: str = '', layout: str | layouts.Layout = 'h36m17'
) -> Recording:
    """
    Read a skeleton topic from a rosbag2, mcap or sqlite3, without ROS.

    Frames keep their own instants: the messages' stamps, or the times of recording where stamps
    are zero. Layout, units and frame of reference stay as recorded.

    :param path: the bag's folder, or its .mcap or .db3 file.
    :param topic: a PoseArray, MarkerArray or PointCloud2 topic; empty takes the only one.
    :param layout: the joint layout or its name, which is written into the recording.
    :raises RecordingError: if the bag cannot be read, or has no or several such topics.
    """
    try:
        from rosbags.highlevel import AnyReader, AnyReaderError
        from rosbags.typesys import get_typestore, Stores
    except ImportError:
        raise RecordingError(
            f'{path}: reading a rosbag2 needs the Python package rosbags: pip install rosbags'
        ) from None
    decoders: dict[str, Callable[[Any, int], dict[str, np.ndarray]]] = {
        'geometry_msgs/msg/PoseArray': _decode_pose_array,
        'visualization_msgs/msg/MarkerArray': _decode_marker_array,
        'sensor_msgs/msg/PointCloud2': _decode_point_cloud,
    }
    if isinstance(layout, str):
        layout = layouts.layout(layout)
    joints = layout.num_joints
    frames: list[tuple[int, dict[str, np.ndarray]]] = []
    frame_id = ''
    try:
        with AnyReader([path], default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as reader:
            usable = [entry for entry in reader.connections if entry.msgtype in decoders]
            chosen = [entry for entry in usable if not topic or entry.topic == topic]
            if len({entry.topic for entry in chosen}) != 1:
                listed = ', '.join(sorted({f'{c.topic} ({c.msgtype})' for c in usable})) or 'none'
                raise RecordingError(
                    f'{path}: topic={topic!r} does not name one skeleton topic of this bag; '
                    f'of the readable types it has {listed}'
                )
            for connection, received_ns, raw in reader.messages(connections=chosen):
                message = reader.deserialize(raw, connection.msgtype)
                header = _header(message)
                stamp_ns = received_ns
                if header is not None:
                    frame_id = frame_id or header.frame_id
                    own_ns = header.stamp.sec * 1_000_000_000 + header.stamp.nanosec
                    stamp_ns = own_ns or received_ns
                frames.append((stamp_ns, decoders[connection.msgtype](message, joints)))
    except (AnyReaderError, OSError) as error:
        raise RecordingError(f'{path}: not a readable rosbag2: {error}') from None
    return _from_frames(path, layout.name, joints, frames, frame_id)


def _from_frames(
    path: Path,
    layout: str,
    joints: int,
    frames: list[tuple[int, dict[str, np.ndarray]]],
    frame_id: str,
) -> Recording:
    people = sorted({person for _, poses in frames for person in poses})
    if not people:
        raise RecordingError(f'{path}: nobody in its {len(frames)} messages')
    increasing: list[tuple[int, dict[str, np.ndarray]]] = []
    for stamp_ns, poses in frames:  # what comes late or twice is left out
        if not increasing or stamp_ns > increasing[-1][0]:
            increasing.append((stamp_ns, poses))
    stamps = np.array([stamp_ns for stamp_ns, _ in increasing], np.int64)
    steps_s = np.diff(stamps) * 1e-9
    cut = int((steps_s > MAX_GAP_S).sum())
    times_s = np.concatenate([[0.0], np.cumsum(np.minimum(steps_s, MAX_GAP_S))])
    absent = np.full((joints, 3), np.nan, np.float32)
    persons = {
        person: np.stack([poses.get(person, absent) for _, poses in increasing])
        for person in people
    }
    rate_hz = 1.0 / float(np.median(steps_s)) if len(steps_s) else 30.0
    left_out = len(frames) - len(increasing)
    remarks = [f'{left_out} messages out of order left out'] if left_out else []
    remarks += [f'{cut} silences cut to {MAX_GAP_S:g} s'] if cut else []
    return Recording(
        name=path.stem,
        layout=layout,
        rate_hz=float(np.clip(rate_hz, 1.0, 1000.0)),
        persons=persons,
        source=f'rosbag2 {path.name}' + ''.join(f'; {remark}' for remark in remarks),
        times_s=times_s,
        frame_id=frame_id,
    )


def _header(message: Any) -> Any | None:
    """Give the header of a message, or of its first marker."""
    header = getattr(message, 'header', None)
    if header is None and len(getattr(message, 'markers', ())):
        header = message.markers[0].header
    return header


def _decode_pose_array(message: Any, joints: int) -> dict[str, np.ndarray]:
    places = np.array(
        [[pose.position.x, pose.position.y, pose.position.z] for pose in message.poses],
        np.float32,
    ).reshape(-1, 3)
    whole = len(places) // joints
    if whole * joints != len(places):
        raise RecordingError(
            f'a PoseArray of {len(places)} poses does not hold whole people of {joints} joints; '
            f'name the right layout'
        )
    return {str(index): block for index, block in enumerate(places.reshape(whole, joints, 3))}


def _decode_marker_array(message: Any, joints: int) -> dict[str, np.ndarray]:
    """One marker a joint, ``id = 100 * person + joint``; or one list of points a person."""
    people: dict[str, np.ndarray] = {}
    for marker in message.markers:
        if marker.action != 0:  # not ADD
            continue
        if len(marker.points) == joints:
            people[str(marker.id)] = np.array(
                [[point.x, point.y, point.z] for point in marker.points], np.float32
            )
            continue
        person, joint = divmod(int(marker.id), 100)
        if joint < joints and not len(marker.points):
            pose = people.setdefault(str(person), np.full((joints, 3), np.nan, np.float32))
            place = marker.pose.position
            pose[joint] = place.x, place.y, place.z
    return people


_POINT_FIELD_TYPES = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 8: 'f8'}


def _decode_point_cloud(message: Any, joints: int) -> dict[str, np.ndarray]:
    """Fields x y z and, where there are any, person and joint; otherwise blocks of J rows."""
    order = '>' if message.is_bigendian else '<'
    rows = np.frombuffer(
        np.asarray(message.data, np.uint8).tobytes(),
        np.dtype(
            {
                'names': [entry.name for entry in message.fields],
                'formats': [
                    order + _POINT_FIELD_TYPES[entry.datatype] for entry in message.fields
                ],
                'offsets': [entry.offset for entry in message.fields],
                'itemsize': message.point_step,
            }
        ),
        count=int(message.width) * int(message.height),
    )
    names = rows.dtype.names or ()
    if not {'x', 'y', 'z'} <= set(names):
        raise RecordingError(f'a PointCloud2 without fields x, y, z: it has {", ".join(names)}')
    places = np.stack([rows['x'], rows['y'], rows['z']], axis=-1).astype(np.float32)
    blocks = np.arange(len(rows))
    person = rows['person'].astype(int) if 'person' in names else blocks // joints
    joint = rows['joint'].astype(int) if 'joint' in names else blocks % joints
    people: dict[str, np.ndarray] = {}
    for who in np.unique(person):
        mine = (person == who) & (joint >= 0) & (joint < joints)
        pose = np.full((joints, 3), np.nan, np.float32)
        pose[joint[mine]] = places[mine]
        people[str(who)] = pose
    return people
