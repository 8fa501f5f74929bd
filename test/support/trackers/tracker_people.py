# SPDX-License-Identifier: Apache-2.0
"""People as each tracker would send them: the messages that its driver makes of a pose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tracker_packages import New

from motion_predictor.body.layout import Layout
from motion_predictor.body.skeleton import H36M17

NS = 1_000_000_000
ZED_SLOTS = 70
BESIDE_HEAD_M = 0.07


def source_pose(layout: Layout, pose: np.ndarray) -> np.ndarray:
    """
    Return a tracker's joints of a person, from the model's.

    :param layout: layout of the tracker.
    :param pose: (17, 3) metres.
    :returns: (J_in, 3) metres: a joint that the model uses lies at the model's joint, ears are
        beside the head, and joints that the model does not need are in the middle of the body.
    """
    at = dict(zip(H36M17.joints, pose))
    left = at['LShoulder'] - at['RShoulder']
    left = left / np.linalg.norm(left)
    share = np.linspace(0.2, 0.4, layout.num_joints)[:, None]
    found = at['Hip'] + share * (at['Thorax'] - at['Hip'])
    up = (at['Thorax'] - at['Hip']) / np.linalg.norm(at['Thorax'] - at['Hip'])
    skull = at['Thorax'] + 0.6 * (at['Head'] - at['Thorax'])
    for joint in layout.head_towards:
        side = 1.0 if joint.endswith('_l') else -1.0 if joint.endswith('_r') else 0.0
        found[layout.index(joint)] = skull + side * BESIDE_HEAD_M * left
    single = {j: s for j, s in layout.mapping.items() if isinstance(s, str)}
    for joint, source in single.items():
        found[layout.index(source)] = at[joint]
        if joint == 'Thorax':
            found[layout.index(source)] -= layout.thorax_rise_m * up
    for joint, parts in layout.mapping.items():
        if not isinstance(parts, str):
            for source in set(parts) - set(single.values()) - set(layout.head_towards):
                found[layout.index(source)] = at[joint]
    if layout.name == 'nuitrack':
        found[layout.index('none')] = 0.0
    return found


def stamp(message: Any, stamp_ns: int) -> None:
    """Set a ``builtin_interfaces/Time``."""
    message.sec, message.nanosec = divmod(stamp_ns, NS)


def header(message: Any, stamp_ns: int, frame_id: str) -> None:
    """Set a ``std_msgs/Header``."""
    stamp(message.stamp, stamp_ns)
    message.frame_id = frame_id


def place(point: Any, xyz: np.ndarray) -> None:
    """Set a point or a vector."""
    point.x, point.y, point.z = (float(value) for value in xyz)


def zed(new: New, layout: Layout, people: Sequence[np.ndarray], stamp_ns: int = 7) -> Any:
    """Make ObjectsStamped of the ZED wrapper, ids from 3 on."""
    message = new('zed_msgs/ObjectsStamped')
    header(message.header, stamp_ns, 'zed_left_camera_frame')
    bodies = []
    for number, pose in enumerate(people):
        body = new('zed_msgs/Object')
        body.label, body.label_id = f'Body_{number + 3}', number + 3
        body.confidence = 80.0
        body.tracking_available, body.tracking_state = True, 1
        body.skeleton_available = True
        body.body_format = {18: 0, 34: 1, 38: 2}[layout.num_joints]
        for keypoint, xyz in zip(body.skeleton_3d.keypoints, source_pose(layout, pose)):
            for axis in range(3):
                keypoint.kp[axis] = float(xyz[axis])
        bodies.append(body)
    message.objects = bodies
    return message


def yolo(new: New, layout: Layout, people: Sequence[np.ndarray], stamp_ns: int = 7) -> Any:
    """Make DetectionArray of yolo_ros: target_frame base_link, a chair among the people."""
    message = new('yolo_msgs/DetectionArray')
    header(message.header, stamp_ns, 'camera_color_optical_frame')
    chair = new('yolo_msgs/Detection')
    chair.class_id, chair.class_name, chair.id = 56, 'chair', '1'
    detections = [chair]
    for number, pose in enumerate(people):
        detection = new('yolo_msgs/Detection')
        detection.class_name, detection.id, detection.score = 'person', str(number + 3), 0.9
        detection.keypoints3d.frame_id = 'base_link'
        points = []
        for joint, xyz in enumerate(source_pose(layout, pose)):
            point = new('yolo_msgs/KeyPoint3D')
            point.id, point.score = joint + 1, 0.8
            place(point.point, xyz)
            points.append(point)
        detection.keypoints3d.data = points
        detections.append(detection)
    message.detections = detections
    return message


def nuitrack(new: New, layout: Layout, people: Sequence[np.ndarray], stamp_ns: int = 7) -> Any:
    """Make Skeletons of ros2-nuitrack: no header; millimetres, x right, y up, z ahead."""
    message = new('nuitrack_msgs/Skeletons')
    skeletons = []
    for number, pose in enumerate(people):
        skeleton = new('nuitrack_msgs/SkeletonInfo')
        skeleton.id = number + 3
        joints = []
        for kind, (ahead, left, up) in enumerate(source_pose(layout, pose)):
            joint = new('nuitrack_msgs/JointInfo')
            joint.type, joint.confidence = kind, 0.75
            joint.real = [float(1e3 * value) for value in (-left, up, ahead)]
            joint.projection = [0.5, 0.5, float(1e3 * ahead)]
            joint.orientation = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
            joints.append(joint)
        skeleton.joints = joints
        skeletons.append(skeleton)
    message.skeletons = skeletons
    return message


def mocap4r2(new: New, layout: Layout, people: Sequence[np.ndarray], stamp_ns: int = 7) -> Any:
    """Make Markers of mocap4ros2: one subject, labelled as Vicon does, and a stray marker."""
    message = new('mocap4r2_msgs/Markers')
    header(message.header, stamp_ns, 'vicon_world')
    stray = new('mocap4r2_msgs/Marker')
    stray.id_type, stray.marker_index = 1, 4
    markers = [stray]
    for pose in people:
        for joint, xyz in zip(layout.joints, source_pose(layout, pose)):
            marker = new('mocap4r2_msgs/Marker')
            marker.id_type, marker.marker_name = 0, joint
            place(marker.translation, xyz)
            markers.append(marker)
    message.markers = markers
    return message


def mocap4r2_bodies(
    new: New, layout: Layout, people: Sequence[np.ndarray], stamp_ns: int = 7
) -> Any:
    """Make RigidBodies of mocap4ros2, named subject.segment, subjects from 3 on."""
    message = new('mocap4r2_msgs/RigidBodies')
    header(message.header, stamp_ns, 'vicon_world')
    bodies = []
    for number, pose in enumerate(people):
        for joint, xyz in zip(layout.joints, source_pose(layout, pose)):
            body = new('mocap4r2_msgs/RigidBody')
            body.rigid_body_name = f'{number + 3}.{joint}'
            place(body.pose.position, xyz)
            bodies.append(body)
    message.rigidbodies = bodies
    return message


def hiros(new: New, layout: Layout, people: Sequence[np.ndarray], stamp_ns: int = 7) -> Any:
    """Make SkeletonGroup of Hi-ROS, markers by id."""
    message = new('hiros_skeleton_msgs/SkeletonGroup')
    header(message.header, stamp_ns + 5_000_000, 'world')
    skeletons = []
    for number, pose in enumerate(people):
        skeleton = new('hiros_skeleton_msgs/Skeleton')
        skeleton.id, skeleton.src_frame = number + 3, 'kinect_2'
        stamp(skeleton.src_time, stamp_ns)
        skeleton.max_markers = layout.num_joints
        markers = []
        for joint, xyz in enumerate(source_pose(layout, pose)):
            marker = new('hiros_skeleton_msgs/Marker')
            marker.id, marker.confidence = joint, 0.9
            place(marker.center.pose.position, xyz)
            markers.append(marker)
        skeleton.markers = markers
        skeletons.append(skeleton)
    message.skeletons = skeletons
    return message


MAKERS = {
    'zed': zed,
    'yolo': yolo,
    'nuitrack': nuitrack,
    'mocap4r2': mocap4r2,
    'mocap4r2_bodies': mocap4r2_bodies,
    'hiros': hiros,
}
"""The functions by ``input.type``."""


def transform(
    new: New,
    parent: str,
    child: str,
    xyz: Sequence[float] | np.ndarray,
    stamp_ns: int,
    turn: Sequence[float] = (0.0, 0.0, 0.0, 1.0),
) -> Any:
    """Make a TransformStamped."""
    message = new('geometry_msgs/TransformStamped')
    header(message.header, stamp_ns, parent)
    message.child_frame_id = child
    place(message.transform.translation, np.asarray(xyz))
    rotation = message.transform.rotation
    rotation.x, rotation.y, rotation.z, rotation.w = (float(value) for value in turn)
    return message


def tf(new: New, transforms: Sequence[Any]) -> Any:
    """Make a TFMessage."""
    message = new('tf2_msgs/TFMessage')
    message.transforms = list(transforms)
    return message
