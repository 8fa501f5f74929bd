# SPDX-License-Identifier: Apache-2.0
"""Messages of recorded people, and bags of these messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores

STORE = get_typestore(Stores.ROS2_HUMBLE)


TYPES = STORE.types


BEGAN_NS = 1_700_000_000_000_000_000


STEP_NS = 33_333_333


def header(stamp_ns: int) -> Any:
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    stamp = TYPES['builtin_interfaces/msg/Time'](sec=sec, nanosec=nanosec)
    return TYPES['std_msgs/msg/Header'](stamp=stamp, frame_id='camera')


def pose(place: np.ndarray) -> Any:
    x, y, z = place.astype(float).tolist()
    return TYPES['geometry_msgs/msg/Pose'](
        position=TYPES['geometry_msgs/msg/Point'](x=x, y=y, z=z),
        orientation=TYPES['geometry_msgs/msg/Quaternion'](x=0.0, y=0.0, z=0.0, w=1.0),
    )


def pose_array(stamp_ns: int, people: dict[int, np.ndarray]) -> Any:
    poses = [pose(place) for places in people.values() for place in places]
    return TYPES['geometry_msgs/msg/PoseArray'](header=header(stamp_ns), poses=poses)


def marker_array(stamp_ns: int, people: dict[int, np.ndarray]) -> Any:
    none = TYPES['geometry_msgs/msg/Vector3'](x=0.1, y=0.1, z=0.1)
    markers = [
        TYPES['visualization_msgs/msg/Marker'](
            header=header(stamp_ns),
            ns='',
            id=100 * person + joint,
            type=2,
            action=0,
            pose=pose(place),
            scale=none,
            color=TYPES['std_msgs/msg/ColorRGBA'](r=1.0, g=1.0, b=1.0, a=1.0),
            lifetime=TYPES['builtin_interfaces/msg/Duration'](sec=0, nanosec=0),
            frame_locked=False,
            points=[],
            colors=[],
            texture_resource='',
            texture=TYPES['sensor_msgs/msg/CompressedImage'](
                header=header(0), format='', data=np.zeros(0, np.uint8)
            ),
            uv_coordinates=[],
            text='',
            mesh_resource='',
            mesh_file=TYPES['visualization_msgs/msg/MeshFile'](
                filename='', data=np.zeros(0, np.uint8)
            ),
            mesh_use_embedded_materials=False,
        )
        for person, places in people.items()
        for joint, place in enumerate(places)
    ]
    return TYPES['visualization_msgs/msg/MarkerArray'](markers=markers)


def point_cloud(stamp_ns: int, people: dict[int, np.ndarray]) -> Any:
    kind = np.dtype([('joint', 'u1'), ('x', '<f4'), ('y', '<f4'), ('z', '<f4'), ('person', '<u2')])
    rows = np.concatenate(
        [
            np.array([(joint, *place, person) for joint, place in enumerate(places)], kind)
            for person, places in people.items()
        ]
    )
    numbers = {'x': 7, 'y': 7, 'z': 7, 'joint': 2, 'person': 4}
    assert kind.fields is not None
    fields = [
        TYPES['sensor_msgs/msg/PointField'](
            name=name, offset=kind.fields[name][1], datatype=numbers[name], count=1
        )
        for name in kind.names or ()
    ]
    return TYPES['sensor_msgs/msg/PointCloud2'](
        header=header(stamp_ns),
        height=1,
        width=len(rows),
        fields=fields,
        is_bigendian=False,
        point_step=kind.itemsize,
        row_step=rows.nbytes,
        data=np.frombuffer(rows[::-1].tobytes(), np.uint8),
        is_dense=True,
    )


MESSAGES = {
    'pose_array': ('geometry_msgs/msg/PoseArray', pose_array),
    'marker_array': ('visualization_msgs/msg/MarkerArray', marker_array),
    'point_cloud': ('sensor_msgs/msg/PointCloud2', point_cloud),
}


def write_bag(
    path: Path, messages: list[tuple[int, Any]], kind: str, storage: StoragePlugin, topic: str
) -> Path:
    with Writer(path, version=9, storage_plugin=storage) as writer:
        connection = writer.add_connection(topic, kind, typestore=STORE)
        for received_ns, message in messages:
            writer.write(connection, received_ns, STORE.serialize_cdr(message, kind))
    return path
