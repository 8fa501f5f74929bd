# SPDX-License-Identifier: Apache-2.0
"""
Message packages of consumers, for tests on machines where those packages are not installed.

STAND-INS: the definitions below are our own, with the names, fields and types of the packages'
messages and nothing else of theirs; ``TYPE_HASHES`` are those of the real definitions, so that a
stand-in that differs in a field fails. Real message classes are made from them, as ROS makes them.
"""

from __future__ import annotations

from collections.abc import Mapping
import importlib
from pathlib import Path

import tracker_packages

DEFINITIONS: Mapping[str, Mapping[str, str]] = {
    'tf2_msgs': tracker_packages.DEFINITIONS['tf2_msgs'],
    'nav2_msgs': {
        'SpeedLimit': """
            std_msgs/Header header
            bool percentage
            float64 speed_limit
            """,
    },
    'control_msgs': {'SpeedScalingFactor': 'float64 factor'},
    'people_msgs': {
        'Person': """
            string name
            geometry_msgs/Point position
            geometry_msgs/Point velocity
            float64 reliability
            string[] tagnames
            string[] tags
            """,
        'People': 'std_msgs/Header header\nPerson[] people',
    },
    'octomap_msgs': {
        'Octomap': """
            std_msgs/Header header
            bool binary
            string id
            float64 resolution
            int8[] data
            """,
        'OctomapWithPose': """
            std_msgs/Header header
            geometry_msgs/Pose origin
            Octomap octomap
            """,
    },
    'object_recognition_msgs': {'ObjectType': 'string key\nstring db'},
}
"""Our definitions: package, message, fields."""

MOVEIT: Mapping[str, Mapping[str, str]] = {
    'moveit_msgs': {
        'CollisionObject': """
            std_msgs/Header header
            geometry_msgs/Pose pose
            string id
            object_recognition_msgs/ObjectType type
            shape_msgs/SolidPrimitive[] primitives
            geometry_msgs/Pose[] primitive_poses
            shape_msgs/Mesh[] meshes
            geometry_msgs/Pose[] mesh_poses
            shape_msgs/Plane[] planes
            geometry_msgs/Pose[] plane_poses
            string[] subframe_names
            geometry_msgs/Pose[] subframe_poses
            byte ADD=0
            byte REMOVE=1
            byte APPEND=2
            byte MOVE=3
            byte operation
            """,
        'AttachedCollisionObject': """
            string link_name
            CollisionObject object
            string[] touch_links
            trajectory_msgs/JointTrajectory detach_posture
            float64 weight
            """,
        'RobotState': """
            sensor_msgs/JointState joint_state
            sensor_msgs/MultiDOFJointState multi_dof_joint_state
            AttachedCollisionObject[] attached_collision_objects
            bool is_diff
            """,
        'AllowedCollisionEntry': 'bool[] enabled',
        'AllowedCollisionMatrix': """
            string[] entry_names
            AllowedCollisionEntry[] entry_values
            string[] default_entry_names
            bool[] default_entry_values
            """,
        'LinkPadding': 'string link_name\nfloat64 padding',
        'LinkScale': 'string link_name\nfloat64 scale',
        'ObjectColor': 'string id\nstd_msgs/ColorRGBA color',
        'PlanningSceneWorld': """
            CollisionObject[] collision_objects
            octomap_msgs/OctomapWithPose octomap
            """,
        'PlanningScene': """
            string name
            RobotState robot_state
            string robot_model_name
            geometry_msgs/TransformStamped[] fixed_frame_transforms
            AllowedCollisionMatrix allowed_collision_matrix
            LinkPadding[] link_padding
            LinkScale[] link_scale
            ObjectColor[] object_colors
            PlanningSceneWorld world
            bool is_diff
            """,
    },
}
"""Likewise, of messages that are made of the above."""

INSTALLED = ('sensor_msgs', 'trajectory_msgs', 'shape_msgs')
"""What MoveIt's messages are made of beside."""

TYPE_HASHES: Mapping[str, str] = {
    'nav2_msgs/msg/SpeedLimit': (
        'RIHS01_83d8e4e842559f4d9a988b19d31b162216ec738536389f98438d1a166f91845a'
    ),
    'control_msgs/msg/SpeedScalingFactor': (
        'RIHS01_0c240f349f2b74e33e8741f83e0f196ddeb6585923663876ed3c1f51f0566037'
    ),
    'people_msgs/msg/People': (
        'RIHS01_9ea98a5e58f833a9532957bca23a6b8006a12885d5a16c8ca41dd901d10c33b6'
    ),
    'moveit_msgs/msg/PlanningScene': (
        'RIHS01_0f58540ad5eab4b9ea827d53b763c793d8cabd202b3b301fcee25afa4ce1bd80'
    ),
}
"""
Type hashes (REP-2016) of the real packages' messages, computed from their definitions: navigation2
b6c36c3, control_msgs 13dacdd, people 0ae47f6, moveit_msgs ec3ba4b.
"""


def build(folder: Path) -> dict[str, str]:
    """
    Make every package.

    :param folder: an existing folder to keep them in.
    :returns: type hashes by ``package/msg/Name``.
    :raises tracker_packages.CannotBuildError: if something that this needs is missing.
    """
    hashes = tracker_packages.build(folder, DEFINITIONS)
    for name in INSTALLED:
        try:
            importlib.import_module(f'{name}.msg')
        except ImportError as error:
            raise tracker_packages.CannotBuildError(f'{name} is not installed: {error}') from None
    needs = (
        *tracker_packages.DEPENDENCIES, *INSTALLED, 'octomap_msgs', 'object_recognition_msgs',
    )  # fmt: skip
    return hashes | tracker_packages.build(folder, MOVEIT, needs)
