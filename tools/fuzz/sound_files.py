# SPDX-License-Identifier: Apache-2.0
"""Sound files of every kind, which the campaign then damages."""

from __future__ import annotations

import io
from pathlib import Path
import pickle
import zipfile

import numpy as np


def clips(poses: np.ndarray) -> bytes:
    """Return an npz of two clips."""
    target = io.BytesIO()
    np.savez_compressed(
        target,
        positions=np.rint(poses[:50] * 1000).astype(np.int16), offsets=np.array([0, 20, 50]),
        names=np.array(['a', 'b']), fps=np.array(50),
    )  # fmt: skip
    return target.getvalue()


def objects(poses: np.ndarray) -> bytes:
    """Return an object archive like that of Human3.6M."""
    content = {f'S{i}': {'Walking 1': poses[:20].astype(np.float32)} for i in range(2)}
    held = np.empty((), dtype=object)
    held[()] = content
    entry = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        entry, {'descr': '|O', 'fortran_order': False, 'shape': ()}
    )
    pickle.dump(held, entry, protocol=2)
    target = io.BytesIO()
    with zipfile.ZipFile(target, 'w') as archive:
        archive.writestr('positions_3d.npy', entry.getvalue())
    return target.getvalue()


def bvh(poses: np.ndarray) -> bytes:
    """Return a small BVH of a whole person."""
    bones = [
        ('Hips', (0, 90, 0), ['Spine', 'RightUpLeg', 'LeftUpLeg']),
        ('Spine', (0, 25, 0), ['Neck', 'RightArm', 'LeftArm']),
        ('Neck', (0, 25, 0), ['Head']), ('Head', (0, 12, 0), []),
    ]  # fmt: skip
    for side, x in (('Right', -10), ('Left', 10)):
        bones += [
            (f'{side}UpLeg', (x, 0, 0), [f'{side}Leg']),
            (f'{side}Leg', (0, -42, 0), [f'{side}Foot']), (f'{side}Foot', (0, -42, 0), []),
            (f'{side}Arm', (2 * x, 20, 0), [f'{side}ForeArm']),
            (f'{side}ForeArm', (0, -28, 0), [f'{side}Hand']), (f'{side}Hand', (0, -25, 0), []),
        ]  # fmt: skip
    known = {name: (offset, below) for name, offset, below in bones}
    order: list[str] = []

    def written(name: str, kind: str) -> str:
        order.append(name)
        offset, below = known[name]
        channels = '6 Xposition Yposition Zposition' if kind == 'ROOT' else '3'
        end = '' if below else 'End Site\n{\nOFFSET 0 -5 0\n}\n'
        return (
            f'{kind} {name}\n{{\nOFFSET {" ".join(map(str, offset))}\n'
            f'CHANNELS {channels} Zrotation Xrotation Yrotation\n'
            f'{"".join(written(each, "JOINT") for each in below)}{end}}}\n'
        )

    text = 'HIERARCHY\n' + written('Hips', 'ROOT')
    rows = [
        ' '.join(f'{value:.4f}' for value in (
            0.0, 90.0, 3.0 * frame, *(8.0 * np.sin(0.3 * frame + np.arange(3 * len(order)))),
        ))
        for frame in range(40)
    ]  # fmt: skip
    return (
        text + f'MOTION\nFrames: {len(rows)}\nFrame Time: 0.0333333\n' + '\n'.join(rows) + '\n'
    ).encode()


def bag(folder: Path, poses: np.ndarray, ending: str) -> bytes:
    """Write a bag of one person and return the content of its data file."""
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import get_typestore, Stores

    store = get_typestore(Stores.ROS2_HUMBLE)
    kind, kinds = 'geometry_msgs/msg/PoseArray', store.types
    plugin = {'db3': StoragePlugin.SQLITE3, 'mcap': StoragePlugin.MCAP}[ending]
    turned = kinds['geometry_msgs/msg/Quaternion'](x=0.0, y=0.0, z=0.0, w=1.0)
    with Writer(folder / ending, version=9, storage_plugin=plugin) as writer:
        topic = writer.add_connection('/skeleton', kind, typestore=store)
        for index in range(20):
            now_ns = 1_700_000_000 * 10**9 + index * 33_000_000
            stamp = kinds['builtin_interfaces/msg/Time'](
                sec=now_ns // 10**9, nanosec=now_ns % 10**9
            )
            message = kinds[kind](
                header=kinds['std_msgs/msg/Header'](stamp=stamp, frame_id='map'),
                poses=[
                    kinds['geometry_msgs/msg/Pose'](
                        position=kinds['geometry_msgs/msg/Point'](x=x, y=y, z=z),
                        orientation=turned,
                    )
                    for x, y, z in poses[index].astype(float).tolist()
                ],
            )
            writer.write(topic, now_ns, store.serialize_cdr(message, kind))
    return next((folder / ending).glob(f'*.{ending}')).read_bytes()
