# SPDX-License-Identifier: Apache-2.0
"""Decode PoseArray and MarkerArray by their fields alone: messages of rclpy and from a bag."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

from motion_predictor.body.geometry import rotation_matrix
from motion_predictor.errors import MessageError
from motion_predictor.sources.observation import (
    DecodedPerson,
    InputFormat,
    MAX_NAME,
    require_blocks,
    require_count,
    require_people,
    require_somebody,
    stamp_to_ns,
)

KINECT_IDS_PER_PERSON = 100
ADD = 0
CUBE, SPHERE, CUBE_LIST, SPHERE_LIST, POINTS = 1, 2, 6, 7, 8
JOINT_MARKERS = (SPHERE, CUBE)
"""Marker types that show joints, the likelier first. If an array has spheres, its cubes show
something else. Cylinders are bones."""
BONE_MARKERS = (0, 3, 4, 5)
"""Marker types that show bones: arrows, cylinders, line strips and line lists."""
LIST_MARKERS = (SPHERE_LIST, POINTS, CUBE_LIST)
"""Marker types that hold lists of points, constants of ``visualization_msgs/msg/Marker``."""


class BonesError(MessageError):
    """A MarkerArray shows bones but no joints: people are present, but cannot be placed."""


@dataclass(frozen=True, eq=False)
class Positions:
    """The header of a PoseArray and its positions as one array, (N, 3)."""

    header: Any
    xyz: np.ndarray


def decode_pose_array(message: Any, form: InputFormat) -> list[DecodedPerson]:
    """
    Read consecutive blocks of J poses, one block per person; no poses mean nobody.

    :param message: a PoseArray, or its :class:`Positions`.
    :param form: the layout of the sender.
    :raises MessageError: if the number of poses is no multiple of the layout's joints.
    """
    if isinstance(message, Positions):
        flat = message.xyz
        require_blocks('poses', len(flat), form.joints)
    else:
        require_blocks('poses', len(message.poses), form.joints)
        positions = (pose.position for pose in message.poses)
        numbers = chain.from_iterable((p.x, p.y, p.z) for p in positions)
        flat = np.fromiter(numbers, dtype=np.float64)
    xyz = flat.reshape(-1, form.joints, 3)  # (P, J_in, 3)
    stamp_ns, frame = stamp_to_ns(message.header.stamp), message.header.frame_id
    unknown = np.full(form.joints, np.nan)
    return [
        DecodedPerson(stamp_ns, frame, str(person), pose, unknown, identified=False)
        for person, pose in enumerate(xyz)
    ]


def decode_marker_array(message: Any, form: InputFormat) -> list[DecodedPerson]:
    """
    Read one marker per joint, ``id = 100 * person + joint``, or one list of points per person.

    Joints are spheres, or cubes if there are no spheres. Markers of other shapes (bones as
    cylinders, labels) and deletions are ignored. An array without joints shows nobody, unless it
    holds bones. A namespace becomes part of the person's name. A person whose id or list does not
    fit the layout has a flaw.

    :raises BonesError: if there are bones but no joints.
    :raises MessageError: if everybody has a flaw, or if there are too many people or markers.
    """
    require_count('markers', len(message.markers))
    people: dict[str, DecodedPerson] = {}
    flaws: dict[str, str] = {}
    shapes = {marker.type for marker in message.markers if marker.action == ADD}
    joint_shape = next((shape for shape in JOINT_MARKERS if shape in shapes), None)
    if joint_shape is None and shapes.isdisjoint(LIST_MARKERS) and shapes & {*BONE_MARKERS}:
        raise BonesError(
            'bones alone (lines, cylinders or arrows), and bones are no joints: somebody may be '
            'there; have the tracker draw joints too, as spheres (id = 100 * person + joint) or '
            'as one SPHERE_LIST or POINTS a person, or name the topic that has them'
        )
    frame: str | None = None
    for marker in message.markers:
        if marker.action != ADD or marker.type not in (joint_shape, *LIST_MARKERS):
            continue
        frame = marker.header.frame_id if frame is None else frame
        name, flaw = _take_in(marker, people, form.joints, frame, marker.type == joint_shape)
        if flaw:
            flaws[name] = flaw
    found = [replace(person, flaw=flaws.get(name, '')) for name, person in people.items()]
    require_somebody(found)
    return found


def _take_in(
    marker: Any, people: dict[str, DecodedPerson], joints: int, frame: str, is_joint: bool
) -> tuple[str, str]:
    # Put one marker (a joint or a list of all joints) into its person; return that person and the
    # flaw.
    flaw = ''
    if marker.header.frame_id != frame:
        name = _marker_person(marker, _number(marker))
        people.setdefault(name, _empty_person(marker, name, joints))
        flaw = (
            f'is in frame {marker.header.frame_id[:40]!r}, others of the message are '
            f'in {frame[:40]!r}: one message is of one frame'
        )
    elif is_joint:
        person, joint = divmod(marker.id, KINECT_IDS_PER_PERSON)
        name = _marker_person(marker, person)
        if name not in people:
            people[name] = _empty_person(marker, name, joints)
        if person < 0 or joint >= joints:
            return name, (
                f'marker id {marker.id}: is joint {joint} of person {person}, but the layout '
                f'has joints 0..{joints - 1} (id = 100 * person + joint)'
            )
        position = marker.pose.position
        people[name].xyz[joint] = (position.x, position.y, position.z)
    else:
        name = _marker_person(marker, marker.id)
        people[name] = _empty_person(marker, name, joints)
        if len(marker.points) != joints:
            return name, (
                f'marker {name[:MAX_NAME]!r}: expected {joints} points, one a joint, '
                f'got {len(marker.points)}'
            )
        points, flaw = _marker_points(marker)
        people[name].xyz[:] = points
    require_people(len(people))
    return name, flaw


def _number(marker: Any) -> int:
    return marker.id if marker.type in LIST_MARKERS else marker.id // KINECT_IDS_PER_PERSON


def _marker_person(marker: Any, number: int) -> str:
    return f'{marker.ns}/{number}' if marker.ns else str(number)


def _empty_person(marker: Any, name: str, joints: int) -> DecodedPerson:
    return DecodedPerson(
        stamp_to_ns(marker.header.stamp),
        marker.header.frame_id,
        name,
        np.full((joints, 3), np.nan),
        np.full(joints, np.nan),
    )


def _marker_points(marker: Any) -> tuple[np.ndarray, str]:
    # Return the points in the frame of the marker's header, and the reason if they cannot be
    # placed.
    points = np.array([(p.x, p.y, p.z) for p in marker.points], dtype=np.float64)
    turn, shift = marker.pose.orientation, marker.pose.position
    quaternion = np.array([turn.x, turn.y, turn.z, turn.w])
    if quaternion[:3].any():
        try:
            points = points @ rotation_matrix(quaternion).T
        except MessageError as error:
            return points, f'marker id {marker.id}: {error}'
    return points + (shift.x, shift.y, shift.z), ''
