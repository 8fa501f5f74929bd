# SPDX-License-Identifier: Apache-2.0
"""Write a bag as the driver of a depth camera would record it, as a stand-in for a camera.

    python -m tools.demo.camera_bag kinect_bag

The shipped recording of a person becomes the messages of an Azure Kinect's driver (or an Orbbec
Femto's): ``visualization_msgs/MarkerArray`` on ``/body_tracking_data``, 32 joints a body, in the
optical axes of a camera 2.5 m in front of the person. The joints that the recording lacks (eyes,
hands) are put where they do no harm. The bag is made from motion capture and has none of a
camera's noise and errors.
"""

from __future__ import annotations

from pathlib import Path
import sys
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores

from motion_predictor.body.geometry import heading_rad
from motion_predictor.body.layout import Layout
from motion_predictor.body.layout_file import layout
from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import MotionPredictorError, RecordingError
from tools.command import parser_of
from tools.demo.demo_clips import EXERCISE_FILE, whole_recording

TOPIC = '/body_tracking_data'
MESSAGE = 'visualization_msgs/msg/MarkerArray'
FRAME = 'depth_camera_link'
BEGAN_NS = 1_700_000_000_000_000_000
AWAY_M, HEIGHT_M = 2.5, 1.1
"""Position of the level camera: distance in front of the person and height, in metres."""
EAR_M = 0.07
SPHERE, ADD = 2, 0
NS = 1_000_000_000


def kinect_joints(pose: np.ndarray, joints: Layout) -> np.ndarray:
    """
    Return the 32 joints of the camera's body from the model's 17.

    :param pose: metres, (17, 3).
    :param joints: the layout ``k4a32``.
    :returns: metres, (32, 3); joints that the model needs are at their positions, the rest in the
        trunk.
    """
    at = dict(zip(H36M17.joints, pose))
    trunk = at['Thorax'] - at['Hip']
    across = at['LShoulder'] - at['RShoulder']
    skull = at['Thorax'] + 0.6 * (at['Head'] - at['Thorax'])
    found = np.tile(at['Hip'] + 0.3 * trunk, (joints.num_joints, 1))
    for joint in joints.head_towards:
        side = {'_l': 1.0, '_r': -1.0}.get(joint[-2:], 0.0)
        found[joints.index(joint)] = skull + side * EAR_M * across / np.linalg.norm(across)
    for joint, source in joints.mapping.items():
        for name in [source] if isinstance(source, str) else source:
            if name not in joints.head_towards:
                found[joints.index(name)] = at[joint]
    neck = joints.mapping['Thorax']
    if isinstance(neck, str):
        found[joints.index(neck)] -= joints.thorax_rise_m * trunk / np.linalg.norm(trunk)
    return found


def in_camera(poses: np.ndarray) -> np.ndarray:
    """
    Return level poses in the frame of a camera in front of the person.

    :param poses: metres, z up, (N, 17, 3).
    :returns: x right, y down, z ahead, (N, 17, 3).
    """
    facing = float(heading_rad(poses[0], H36M17))
    ahead = np.array([np.cos(facing), np.sin(facing), 0.0])  # where the person looks
    camera = poses[0, 0] * [1.0, 1.0, 0.0] + AWAY_M * ahead + [0.0, 0.0, HEIGHT_M]
    right = np.array([-ahead[1], ahead[0], 0.0])  # the camera looks back along `ahead`
    axes = np.stack([right, [0.0, 0.0, -1.0], -ahead])
    seen: np.ndarray = (poses - camera) @ axes.T
    return seen


def write_bag(path: Path) -> int:
    """
    Write the bag, mcap.

    :param path: folder to make.
    :returns: number of messages.
    :raises RecordingError: if the folder exists.
    """
    if path.exists():
        raise RecordingError(f'{path}: is there already; name another folder')
    recording = whole_recording(str(EXERCISE_FILE), 60.0, 30.0)
    joints = layout('k4a32')
    store = get_typestore(Stores.ROS2_HUMBLE)
    types: Any = store.types
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(TOPIC, MESSAGE, typestore=store)
        for index, pose in enumerate(in_camera(recording.persons['0'].astype(np.float64))):
            stamp_ns = BEGAN_NS + round(index * NS / recording.rate_hz)
            markers = [
                _marker(types, stamp_ns, 100 + number, place)
                for number, place in enumerate(kinect_joints(pose, joints))
            ]
            raw = store.serialize_cdr(types[MESSAGE](markers=markers), MESSAGE)
            writer.write(connection, stamp_ns + 40_000_000, raw)  # received a little later
    return recording.num_frames


def _marker(types: Any, stamp_ns: int, number: int, place: np.ndarray) -> Any:
    """Return a sphere, as the driver sends one for each joint."""

    def of(kind: str, *values: Any) -> Any:
        return types[kind.replace('/', '/msg/')](*values)

    instant = of('builtin_interfaces/Time', *divmod(stamp_ns, NS))
    pose = of(
        'geometry_msgs/Pose',
        of('geometry_msgs/Point', *map(float, place)),
        of('geometry_msgs/Quaternion', 0.0, 0.0, 0.0, 1.0),
    )
    return types['visualization_msgs/msg/Marker'](
        header=of('std_msgs/Header', instant, FRAME),
        ns='',
        id=number,
        type=SPHERE,
        action=ADD,
        pose=pose,
        scale=of('geometry_msgs/Vector3', 0.05, 0.05, 0.05),
        color=of('std_msgs/ColorRGBA', 0.0, 0.0, 1.0, 1.0),
        lifetime=of('builtin_interfaces/Duration', 0, 250_000_000),
        frame_locked=False,
        points=[],
        colors=[],
        texture_resource='',
        texture=of(
            'sensor_msgs/CompressedImage',
            of('std_msgs/Header', of('builtin_interfaces/Time', 0, 0), ''),
            '',
            np.zeros(0, np.uint8),
        ),
        uv_coordinates=[],
        text='',
        mesh_resource='',
        mesh_file=of('visualization_msgs/MeshFile', '', np.zeros(0, np.uint8)),
        mesh_use_embedded_materials=False,
    )


def main(arguments: list[str] | None = None) -> int:
    """Write the bag."""
    parser = parser_of('python -m tools.demo.camera_bag', __doc__, 'camera_bag kinect_bag')
    parser.add_argument('bag', type=Path, help='folder to make')
    options = parser.parse_args(arguments)
    try:
        count = write_bag(options.bag)
    except MotionPredictorError as error:
        print(f'camera_bag: {error}', file=sys.stderr)
        return 1
    print(f'{options.bag}: {count} messages of {MESSAGE} on {TOPIC}, 22 s of one person')
    return 0


if __name__ == '__main__':
    sys.exit(main())
