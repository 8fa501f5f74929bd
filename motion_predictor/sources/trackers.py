# SPDX-License-Identifier: Apache-2.0
"""Decode the messages of trackers by their fields alone; no message package is imported here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
import importlib
from itertools import count
from typing import Any

import numpy as np

from motion_predictor.body.layout import joints_there, Layout
from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import ConfigError, MessageError
from motion_predictor.sources.naming import NamePattern, NearestNames
from motion_predictor.sources.observation import DecodedPerson, require_people, stamp_to_ns
from motion_predictor.sources.source import Source

ZED_JOINTS = (18, 34, 38)
"""Number of joints of ``body_format`` 0, 1 and 2."""
ZED_OK = 1
ZED_SEARCHING = 2
ZED_PERSON = 'Person'
"""Label of a person found by the ZED's object detection, without a skeleton."""
MOCAP_BY_INDEX = 1
SAME_POINT_M = 1e-4
"""Joints of one person closer together than this, in metres, are one point and therefore invalid.
"""
BEYOND_REACH_M = 1.6
"""A joint further from the middle of the others than this, in metres, does not belong to the body.
"""


class TrackerSource:
    """Common part of the sources here: counters, and names by topic for people without ids."""

    counted: tuple[str, ...] = ()

    def __init__(self, layout: Layout, pattern: str) -> None:
        """
        Begin with nothing seen.

        :param layout: the tracker's joints.
        :param pattern: pattern of names; only for trackers that name joints.
        :raises ConfigError: if the layout or the pattern does not fit this tracker.
        """
        self.layout = layout
        self.counters: dict[str, int] = dict.fromkeys(self.counted, 0)
        self._nearest: dict[str, NearestNames] = {}

    def _count(self, what: str, times: int = 1) -> None:
        self.counters[what] += times

    def _empty(self) -> tuple[np.ndarray, np.ndarray]:
        joints = self.layout.num_joints
        return np.full((joints, 3), np.nan), np.full(joints, np.nan)

    def _named(
        self, topic: str, stamp_ns: int, people: list[tuple[str, str, np.ndarray, np.ndarray]]
    ) -> list[DecodedPerson]:
        # Name the people without a name; by their number in the message if no joint is there.
        nameless = [entry for entry in people if not entry[0]]
        middles = [_middle(xyz) for _, _, xyz, _ in nameless]
        placed = [middle for middle in middles if np.isfinite(middle).all()]
        names: list[str] = []
        if placed:
            nearest = self._nearest.setdefault(topic, NearestNames())
            names = nearest.name(stamp_ns, placed)
        given = iter(names)
        unplaced = (f'unplaced/{number}' for number in count())
        return [
            DecodedPerson(
                stamp_ns,
                frame_id,
                name or next(given if np.isfinite(_middle(xyz)).all() else unplaced),
                xyz,
                confidence,
            )
            for name, frame_id, xyz, confidence in people
        ]


class ZedSource(TrackerSource):
    """
    ``zed_msgs/msg/ObjectsStamped`` of the ZED wrapper's body tracking.

    ``label_id`` identifies people. Poses that the SDK made up are left out, because this package
    fills gaps itself and marks them. A person whom the SDK still searches for (SEARCHING) is
    present without joints. A body in another state (TERMINATE, OFF) is not present. The confidence
    of a body, 1 to 99, becomes that of its joints, which have none of their own.
    """

    counted = ('zed_searching', 'zed_not_tracked', 'zed_without_skeleton')

    def __init__(self, layout: Layout, pattern: str) -> None:
        """Check that the layout has as many joints as one of the body formats."""
        super().__init__(layout, pattern)
        if layout.num_joints not in ZED_JOINTS:
            raise ConfigError(
                f'input.type=zed: input.skeleton={layout.name} has {layout.num_joints} joints; '
                'a ZED sends zed18, zed34 or zed38'
            )

    def decode(self, topic: str, message: Any, received_ns: int) -> list[DecodedPerson]:
        """Read the bodies that were seen; objects of other kinds are ignored."""
        stamp_ns, frame_id = stamp_to_ns(message.header.stamp), str(message.header.frame_id)
        people = []
        require_people(len(message.objects))
        for body in message.objects:
            xyz, confidence = self._empty()
            if not body.skeleton_available:
                self._count('zed_without_skeleton')
                if body.label != ZED_PERSON:
                    continue
                xyz[:] = body.position  # as near as can be known: too small for a body
            elif body.tracking_available and body.tracking_state != ZED_OK:
                searching = body.tracking_state == ZED_SEARCHING
                self._count('zed_searching' if searching else 'zed_not_tracked')
                if not searching:
                    continue
            else:
                self._require_format(int(body.body_format))
                joints = self.layout.num_joints
                xyz = np.array(
                    [point.kp for point in body.skeleton_3d.keypoints[:joints]], dtype=np.float64
                )
                confidence[:] = float(body.confidence) / 100.0
            name = str(int(body.label_id)) if body.label_id >= 0 else ''
            people.append((name, frame_id, xyz, confidence))
        return self._named(topic, stamp_ns, people)

    def _require_format(self, body_format: int) -> None:
        known = 0 <= body_format < len(ZED_JOINTS)
        if known and ZED_JOINTS[body_format] == self.layout.num_joints:
            return
        sent = f'zed{ZED_JOINTS[body_format]}' if known else 'unknown'
        raise MessageError(
            f'body_format {body_format} is {sent}, but input.skeleton is {self.layout.name}; '
            + (f'set input.skeleton to {sent}' if known else 'known are 0, 1 and 2')
        )


class YoloSource(TrackerSource):
    """
    ``yolo_msgs/msg/DetectionArray`` of yolo_ros, its 3D detections.

    A detection lists the joints above its threshold, with ``id`` = index + 1. A joint without
    depth is sent at the camera's own position. Two joints at one position, or one out of reach of
    the others, are therefore invalid. The frame is that of the key points, not that of the header.
    """

    counted = (
        'yolo_joints_without_depth', 'yolo_joints_unknown', 'yolo_joints_repeated',
        'yolo_people_without_points',
    )  # fmt: skip

    def __init__(self, layout: Layout, pattern: str) -> None:
        """Begin without knowing the position of the camera."""
        super().__init__(layout, pattern)
        self._cameras: dict[str, np.ndarray] = {}

    def decode(self, topic: str, message: Any, received_ns: int) -> list[DecodedPerson]:
        """
        Read the detections of people.

        A person without key points in space is present without joints.
        """
        stamp_ns = stamp_to_ns(message.header.stamp)
        people = []
        require_people(len(message.detections))
        for detection in message.detections:
            frame_id = str(detection.keypoints3d.frame_id or message.header.frame_id)
            xyz, confidence = self._empty()
            if detection.keypoints3d.data:
                xyz, confidence = self._joints(detection.keypoints3d.data)
                self._drop_without_depth(topic, xyz)
            elif self._is_person(detection):
                self._count('yolo_people_without_points')
            else:
                continue
            people.append((str(detection.id), frame_id, xyz, confidence))
        return self._named(topic, stamp_ns, people)

    @staticmethod
    def _is_person(detection: Any) -> bool:
        # Return whether a model that finds people made this detection: a pose, or a class that
        # says so.
        points = getattr(getattr(detection, 'keypoints', None), 'data', None)
        return bool(points) or getattr(detection, 'class_name', '') == 'person'

    def _joints(self, points: Any) -> tuple[np.ndarray, np.ndarray]:
        xyz, confidence = self._empty()
        for entry in points:
            joint = int(entry.id) - 1
            if not 0 <= joint < self.layout.num_joints:
                self._count('yolo_joints_unknown')
            elif not np.isnan(confidence[joint]):
                self._count('yolo_joints_repeated')
            else:
                xyz[joint] = (entry.point.x, entry.point.y, entry.point.z)
                confidence[joint] = entry.score
        return xyz, confidence

    def _drop_without_depth(self, topic: str, xyz: np.ndarray) -> None:
        # In place. The position of the camera is learnt from joints that share one position.
        seen = np.flatnonzero(np.isfinite(xyz).all(axis=-1))
        if not len(seen):
            return
        points = xyz[seen]
        apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
        shared = (apart < SAME_POINT_M).sum(axis=1) > 1
        if shared.any():
            self._cameras[topic] = points[shared][0]
        bad = shared
        if topic in self._cameras:
            bad = bad | (np.linalg.norm(points - self._cameras[topic], axis=-1) < SAME_POINT_M)
        good = points[~bad]
        if len(good) > 2:
            bad |= np.linalg.norm(points - np.median(good, axis=0), axis=-1) > BEYOND_REACH_M
        self._count('yolo_joints_without_depth', int(bad.sum()))
        xyz[seen[bad]] = np.nan


class NuitrackSource(TrackerSource):
    """
    ``nuitrack_msgs/msg/Skeletons`` of ros2-nuitrack.

    Its axes are x right, y up, z ahead. They are LEFT-handed, so no rotation turns them into a ROS
    frame. They become x ahead, y left, z up, level if the sensor is level. There is no header: the
    stamp is the time of arrival, and the frame is that of ``input.frame_id``. Lengths stay in
    millimetres.
    """

    counted = ('nuitrack_joints_unknown', 'nuitrack_joints_without_place')

    def decode(self, topic: str, message: Any, received_ns: int) -> list[DecodedPerson]:
        """Read the skeletons; each joint has a type."""
        people = []
        require_people(len(message.skeletons))
        for skeleton in message.skeletons:
            xyz, confidence = self._empty()
            for entry in skeleton.joints:
                joint = int(entry.type)
                if not 0 <= joint < self.layout.num_joints:
                    self._count('nuitrack_joints_unknown')
                elif len(entry.real) != 3:
                    self._count('nuitrack_joints_without_place')
                else:
                    right, up, ahead = (float(value) for value in entry.real)
                    if right or up or ahead:
                        xyz[joint] = (ahead, -right, up)
                    confidence[joint] = entry.confidence
            people.append(DecodedPerson(0, '', str(int(skeleton.id)), xyz, confidence))
        return people


class MocapSource(TrackerSource):
    """
    ``mocap4r2_msgs/msg/Markers`` or ``RigidBodies`` of mocap4ros2 (Vicon, OptiTrack, Qualisys).

    Names are read with the pattern. Markers that have only an index are left out, because the
    index changes from frame to frame. A name that comes twice is left out, because nobody can tell
    to whom it belongs.
    """

    counted = ('mocap_unlabelled', 'mocap_other_names', 'mocap_ambiguous_names')

    def __init__(self, layout: Layout, pattern: str) -> None:
        """Prepare to read names."""
        super().__init__(layout, pattern)
        self._pattern = NamePattern(pattern, layout.joints)

    def decode(self, topic: str, message: Any, received_ns: int) -> list[DecodedPerson]:
        """Read every person who has a labelled marker or a rigid body."""
        if hasattr(message, 'rigidbodies'):
            entries = [(body.rigid_body_name, body.pose.position) for body in message.rigidbodies]
        else:
            entries = [
                ('' if marker.id_type == MOCAP_BY_INDEX else marker.marker_name,
                 marker.translation)
                for marker in message.markers
            ]  # fmt: skip
        stamp_ns, frame_id = stamp_to_ns(message.header.stamp), str(message.header.frame_id)
        people: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        placed: set[tuple[str, int]] = set()
        for label, place in entries:
            found = self._pattern.read(label) if label else None
            if found is None:
                self._count('mocap_other_names' if label else 'mocap_unlabelled')
                continue
            person, joint = found
            if person not in people:
                people[person] = self._empty()
                require_people(len(people))
            xyz, _ = people[person]
            if found in placed:
                self._count('mocap_ambiguous_names')
                xyz[joint] = np.nan
            else:
                placed.add(found)
                xyz[joint] = (place.x, place.y, place.z)
        return [
            DecodedPerson(stamp_ns, frame_id, person, xyz, confidence)
            for person, (xyz, confidence) in people.items()
        ]


class HirosSource(TrackerSource):
    """
    ``hiros_skeleton_msgs/msg/SkeletonGroup`` of Hi-ROS.

    A marker is the joint that its name says, otherwise the joint of its id in the layout's order.
    The stamp is that of the source, if there is one: the people of one group may come from several
    cameras.
    """

    counted = ('hiros_markers_unknown', 'hiros_markers_repeated')

    def __init__(self, layout: Layout, pattern: str) -> None:
        """Prepare to read names in upper or lower case."""
        super().__init__(layout, pattern)
        self._index = {joint.lower(): number for number, joint in enumerate(layout.joints)}

    def decode(self, topic: str, message: Any, received_ns: int) -> list[DecodedPerson]:
        """Read the skeletons of the group."""
        group_ns, frame_id = stamp_to_ns(message.header.stamp), str(message.header.frame_id)
        people = []
        require_people(len(message.skeletons))
        for skeleton in message.skeletons:
            source = skeleton.src_time
            stamp_ns = int(source.sec) * 1_000_000_000 + int(source.nanosec) or group_ns
            xyz, confidence = self._empty()
            placed: set[int] = set()
            for marker in skeleton.markers:
                joint = self._index.get(str(marker.name).lower(), int(marker.id))
                if not 0 <= joint < self.layout.num_joints:
                    self._count('hiros_markers_unknown')
                elif joint in placed:
                    self._count('hiros_markers_repeated')
                else:
                    placed.add(joint)
                    place = marker.center.pose.position
                    xyz[joint] = (place.x, place.y, place.z)
                    confidence[joint] = marker.confidence
            name = str(int(skeleton.id))
            people.append(DecodedPerson(stamp_ns, frame_id, name, xyz, confidence))
        return people


def _middle(xyz: np.ndarray) -> np.ndarray:
    seen = xyz[joints_there(xyz, H36M17)]
    return np.median(seen, axis=0) if len(seen) else np.full(3, np.nan)


@dataclass(frozen=True, kw_only=True)
class Tracker:
    """One value of ``input.type`` that needs a message package of its own."""

    message: str
    """Its message type, ``package/msg/Name``."""
    install: str
    """What to install to get the package."""
    source: Callable[[Layout, str], Source]
    layout: str
    """The layout that ``input.skeleton: auto`` means."""
    pattern: str = ''
    """The pattern that ``input.pattern: auto`` means; empty if the tracker names nothing."""


TRACKERS: Mapping[str, Tracker] = {
    'zed': Tracker(
        message='zed_msgs/msg/ObjectsStamped',
        install='zed_msgs (ros-$ROS_DISTRO-zed-msgs, or zed-ros2-interfaces from source)',
        source=ZedSource,
        layout='zed38',
    ),
    'yolo': Tracker(
        message='yolo_msgs/msg/DetectionArray',
        install='yolo_msgs (of yolo_ros, from source)',
        source=YoloSource,
        layout='coco17',
    ),
    'nuitrack': Tracker(
        message='nuitrack_msgs/msg/Skeletons',
        install='nuitrack_msgs (of ros2-nuitrack, from source)',
        source=NuitrackSource,
        layout='nuitrack',
    ),
    'mocap4r2': Tracker(
        message='mocap4r2_msgs/msg/Markers',
        install='mocap4r2_msgs (ros-$ROS_DISTRO-mocap4r2-msgs, or from source)',
        source=MocapSource,
        layout='h36m17',
        pattern='{joint}',
    ),
    'mocap4r2_bodies': Tracker(
        message='mocap4r2_msgs/msg/RigidBodies',
        install='mocap4r2_msgs (ros-$ROS_DISTRO-mocap4r2-msgs, or from source)',
        source=MocapSource,
        layout='h36m17',
        pattern='{person}.{joint}',
    ),
    'hiros': Tracker(
        message='hiros_skeleton_msgs/msg/SkeletonGroup',
        install='hiros_skeleton_msgs (of Hi-ROS skeleton_msgs, branch ros2-humble, from source)',
        source=HirosSource,
        layout='k4a32',
    ),
}
"""All trackers with messages of their own, by ``input.type``."""


def message_class(input_type: str, message: str, install: str) -> type:
    """
    Import the class of a message whose package may not be installed.

    :param input_type: the ``input.type`` that needs it.
    :param message: ``package/msg/Name``.
    :param install: what to install, for the error.
    :raises ConfigError: if the class cannot be imported; the error says what to install.
    """
    package, _, name = message.split('/')
    try:
        return getattr(importlib.import_module(f'{package}.msg'), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f'input.type={input_type}: needs {message}, which cannot be imported ({error}); '
            f'install {install} and source its workspace'
        ) from None
