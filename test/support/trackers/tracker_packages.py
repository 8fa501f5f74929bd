# SPDX-License-Identifier: Apache-2.0
"""Message packages of trackers, for tests on machines where those packages are not installed.

STAND-INS: the definitions below are our own, with only the names, fields and types of the
packages' messages. ``TYPE_HASHES`` are those of the real definitions, so that a stand-in with a
different field fails. From the definitions, real message classes are made with ROS 2's generators
and a compiler: a test publishes what the tracker's driver would send.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
import contextlib
import fcntl
import hashlib
import importlib
import io
import json
from pathlib import Path
import re
import shutil
import sys
import sysconfig
from types import SimpleNamespace
from typing import Any

import message_libraries
from message_libraries import (
    CannotBuildError,
    compile_package,
    DEPENDENCIES,
    FASTRTPS,
    INTROSPECTION,
    LOADER,
    share_of,
)

DEFINITIONS: Mapping[str, Mapping[str, str]] = {
    'tf2_msgs': {'TFMessage': 'geometry_msgs/TransformStamped[] transforms'},
    'zed_msgs': {
        'Keypoint2Di': 'uint32[2] kp',
        'Keypoint2Df': 'float32[2] kp',
        'Keypoint3D': 'float32[3] kp',
        'BoundingBox2Di': 'Keypoint2Di[4] corners',
        'BoundingBox2Df': 'Keypoint2Df[4] corners',
        'BoundingBox3D': 'Keypoint3D[8] corners',
        'Skeleton2D': 'Keypoint2Df[70] keypoints',
        'Skeleton3D': 'Keypoint3D[70] keypoints',
        'Object': """
            string label
            int16 label_id
            string sublabel
            float32 confidence
            float32[3] position
            float32[6] position_covariance
            float32[3] velocity
            bool tracking_available
            int8 tracking_state
            int8 action_state
            BoundingBox2Di bounding_box_2d
            BoundingBox3D bounding_box_3d
            float32[3] dimensions_3d
            bool skeleton_available
            int8 body_format
            BoundingBox2Df head_bounding_box_2d
            BoundingBox3D head_bounding_box_3d
            float32[3] head_position
            Skeleton2D skeleton_2d
            Skeleton3D skeleton_3d
            """,
        'ObjectsStamped': """
            std_msgs/Header header
            Object[] objects
            """,
    },
    'yolo_msgs': {
        'Point2D': 'float64 x\nfloat64 y',
        'Vector2': 'float64 x\nfloat64 y',
        'Pose2D': 'Point2D position\nfloat64 theta',
        'BoundingBox2D': 'Pose2D center\nVector2 size',
        'BoundingBox3D': """
            geometry_msgs/Pose center
            geometry_msgs/Vector3 size
            string frame_id
            """,
        'Mask': 'int32 height\nint32 width\nPoint2D[] data',
        'KeyPoint2D': 'int32 id\nPoint2D point\nfloat64 score',
        'KeyPoint2DArray': 'KeyPoint2D[] data',
        'KeyPoint3D': 'int32 id\ngeometry_msgs/Point point\nfloat64 score',
        'KeyPoint3DArray': 'KeyPoint3D[] data\nstring frame_id',
        'Detection': """
            int32 class_id
            string class_name
            float64 score
            string id
            BoundingBox2D bbox
            BoundingBox3D bbox3d
            Mask mask
            KeyPoint2DArray keypoints
            KeyPoint3DArray keypoints3d
            """,
        'DetectionArray': 'std_msgs/Header header\nDetection[] detections',
    },
    'nuitrack_msgs': {
        'JointInfo': """
            uint8 type
            float32 confidence
            float32[] real
            float32[] projection
            float32[] orientation
            """,
        'SkeletonInfo': 'int32 id\nJointInfo[] joints',
        'Skeletons': 'SkeletonInfo[] skeletons',
    },
    'hri_msgs': {'IdsList': 'std_msgs/Header header\nstring[] ids'},
    'mocap4r2_msgs': {
        'Marker': """
            int8 USE_NAME=0
            int8 USE_INDEX=1
            int8 USE_BOTH=2
            int8 id_type
            int32 marker_index
            string marker_name
            geometry_msgs/Point translation
            """,
        'Markers': 'std_msgs/Header header\nuint32 frame_number\nMarker[] markers',
        'RigidBody': 'string rigid_body_name\nMarker[] markers\ngeometry_msgs/Pose pose',
        'RigidBodies': 'std_msgs/Header header\nuint32 frame_number\nRigidBody[] rigidbodies',
    },
    'hiros_skeleton_msgs': {
        'KinematicState': """
            geometry_msgs/Pose pose
            geometry_msgs/Twist velocity
            geometry_msgs/Accel acceleration
            """,
        'Box': 'KinematicState center\nfloat64 height\nfloat64 length\nfloat64 width',
        'Marker': 'int32 id\nstring name\nfloat64 confidence\nKinematicState center',
        'Link': """
            int32 id
            string name
            int32 parent_marker
            int32 child_marker
            float64 confidence
            KinematicState center
            """,
        'Skeleton': """
            int32 id
            builtin_interfaces/Time src_time
            string src_frame
            uint32 max_markers
            uint32 max_links
            float64 confidence
            Box bounding_box
            Marker[] markers
            Link[] links
            """,
        'SkeletonGroup': 'std_msgs/Header header\nSkeleton[] skeletons',
    },
}
"""Our definitions: package, message, fields."""

TYPE_HASHES: Mapping[str, str] = {
    'tf2_msgs/msg/TFMessage': (
        'RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087'
    ),
    'zed_msgs/msg/ObjectsStamped': (
        'RIHS01_0945160ef044aa44b86c8b0e5ae4ed5a8823259eafb37d67e9809efd589d3952'
    ),
    'yolo_msgs/msg/DetectionArray': (
        'RIHS01_719290b4e201b2b6f9aa59f01215bc15b774e7b822f7f6d931d68e5ba6354a6a'
    ),
    'nuitrack_msgs/msg/Skeletons': (
        'RIHS01_ff7338493c2742d9d1b0154424740c042e3600b9bb33ddd811dd032865973a1d'
    ),
    'hri_msgs/msg/IdsList': (
        'RIHS01_7e0812d1ac945c98fd3e393568d581ad0ab567f37b24eff633eab778c1bfe62d'
    ),
    'mocap4r2_msgs/msg/Markers': (
        'RIHS01_36a59e85fa0dcebed1f0a91d748ca17e259b187f779e725af5c6701e8a03054a'
    ),
    'mocap4r2_msgs/msg/RigidBodies': (
        'RIHS01_1f2d74f2a1706c59639a2349b7be91e9e4d751fad6fc3048c59d8f1f0576ea70'
    ),
    'hiros_skeleton_msgs/msg/SkeletonGroup': (
        'RIHS01_c67adbc57f0a3095ec378923227ad9b404d3e7e5bbf0dcca7d9f732c73513730'
    ),
}
"""
Type hashes (REP-2016) of the real packages' messages, computed from their definitions: geometry2
1b005c6, zed-ros2-interfaces e970087, yolo_ros 2553d0a, ros2-nuitrack a9eaa99, hri_msgs
humble-devel, mocap4r2_msgs 58db978, hiros skeleton_msgs 66321d4. A hash covers the names and the
types of all fields, those of nested messages too.
"""

COMMON: Mapping[str, str] = {
    'builtin_interfaces/Time': 'int32 sec\nuint32 nanosec',
    'std_msgs/Header': 'builtin_interfaces/Time stamp\nstring frame_id',
    'geometry_msgs/Point': 'float64 x\nfloat64 y\nfloat64 z',
    'geometry_msgs/Vector3': 'float64 x\nfloat64 y\nfloat64 z',
    'geometry_msgs/Quaternion': 'float64 x\nfloat64 y\nfloat64 z\nfloat64 w',
    'geometry_msgs/Pose': 'geometry_msgs/Point position\ngeometry_msgs/Quaternion orientation',
    'geometry_msgs/Twist': 'geometry_msgs/Vector3 linear\ngeometry_msgs/Vector3 angular',
    'geometry_msgs/Accel': 'geometry_msgs/Vector3 linear\ngeometry_msgs/Vector3 angular',
    'geometry_msgs/Transform': (
        'geometry_msgs/Vector3 translation\ngeometry_msgs/Quaternion rotation'
    ),
    'geometry_msgs/TransformStamped': """
        std_msgs/Header header
        string child_frame_id
        geometry_msgs/Transform transform
        """,
}
"""Messages of ROS 2 that the above contain, for :func:`plain`."""

New = Callable[[str], Any]
"""A function that makes an empty message by ``package/Name``: :func:`plain` without ROS, or
:func:`real`."""


def plain(name: str) -> Any:
    """Return a STAND-IN of a message: an object with its fields and defaults, without ROS."""
    package, message = name.split('/')
    text = COMMON[name] if name in COMMON else DEFINITIONS[package][message]
    made = SimpleNamespace()
    for line in filter(None, map(str.strip, text.splitlines())):
        kind, field = line.split()
        if '=' in field:
            constant, value = field.split('=')
            setattr(made, constant, int(value))
            continue
        base, _, count = kind.partition('[')
        if base in ('string', 'bool') or re.fullmatch(r'u?int\d+|float\d+', base):
            default: Any = {'s': '', 'b': False, 'f': 0.0}.get(base[0], 0)
            one = lambda default=default: default  # noqa: E731
        else:
            nested = base if '/' in base else f'{package}/{base}'
            one = lambda nested=nested: plain(nested)  # noqa: E731
        size = count.rstrip(']')
        setattr(made, field, [one() for _ in range(int(size or 0))] if count else one())
    return made


def real(name: str) -> Any:
    """Return an empty message of an installed package, or of one that :func:`build` made."""
    package, message = name.split('/')
    return getattr(importlib.import_module(f'{package}.msg'), message)()


def build(
    folder: Path,
    definitions: Mapping[str, Mapping[str, str]] = DEFINITIONS,
    needs: Sequence[str] = DEPENDENCIES,
) -> dict[str, str]:
    """
    Make Python packages of messages, unless the folder already holds them.

    Of several processes that ask for them one makes them, and the others wait.

    :param folder: an existing folder for them; its ``python`` folder then goes on ``sys.path``.
    :param definitions: fields by message by package.
    :param needs: packages that these refer to: installed ones, or made in this folder before.
    :returns: REP-2016 type hashes by ``package/msg/Name``.
    :raises CannotBuildError: if something that this needs is missing.
    """
    with (folder / 'lock').open('w') as lock:  # closing it ends the lock
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _build(folder, definitions, needs)


def _build(
    folder: Path, definitions: Mapping[str, Mapping[str, str]], needs: Sequence[str]
) -> dict[str, str]:
    code = [Path(name).read_text() for name in (__file__, message_libraries.__file__)]
    text = json.dumps([definitions, sys.version, code], sort_keys=True)
    stamp, key = folder / f'{next(iter(definitions))}.json', hashlib.sha256(text.encode())
    if stamp.exists() and (built := json.loads(stamp.read_text()))['key'] == key.hexdigest():
        return built['hashes']
    if missing := [tool for tool in ('gcc', 'g++') if shutil.which(tool) is None]:
        raise CannotBuildError(f'{missing[0]} is not installed')
    if not (Path(sysconfig.get_paths()['include']) / 'Python.h').exists():
        raise CannotBuildError('Python.h is not installed (python3-dev)')
    hashes: dict[str, str] = {}
    with ThreadPoolExecutor(2) as pool:
        jobs = []
        for package, messages in definitions.items():  # the generators know one thread only
            try:
                hashes |= _generate(folder, package, messages, needs)
            except ImportError as error:
                raise CannotBuildError(f'a generator of ROS 2 is missing: {error}') from None
            jobs.append(pool.submit(compile_package, folder, package, needs))
    for job in jobs:
        job.result()
    stamp.write_text(json.dumps({'key': key.hexdigest(), 'hashes': hashes}))
    return hashes


def use(folder: Path, packages: Iterable[str] = DEFINITIONS) -> None:
    """Let this process import what :func:`build` made."""
    if str(folder / 'python') not in sys.path:
        sys.path.append(str(folder / 'python'))
    importlib.invalidate_caches()
    for package in packages:
        importlib.import_module(f'{package}.msg')


def _generate(
    folder: Path, package: str, messages: Mapping[str, str], needs: Sequence[str]
) -> dict[str, str]:
    from rosidl_generator_c import generate_c
    from rosidl_generator_py import generate_py
    from rosidl_generator_type_description import generate_type_hash
    from rosidl_typesupport_c import generate_c as generate_dispatch
    from rosidl_typesupport_fastrtps_c import generate_typesupport_fastrtps_c
    from rosidl_typesupport_introspection_c import generate_c as generate_introspection

    work = folder / 'work' / package
    shutil.rmtree(work, ignore_errors=True)
    sources, code = work / package, work / 'code'
    target = folder / 'python' / package
    shutil.rmtree(target, ignore_errors=True)
    _write_sources(sources, package, messages)
    idl = [f'{sources}:msg/{name}.idl' for name in messages]

    def arguments(generator: str, output: Path, **more: object) -> str:
        path = work / f'{generator}.json'
        content = {
            'package_name': package,
            'output_dir': str(output),
            'template_dir': str(share_of(generator) / 'resource'),
            'idl_tuples': idl,
            'ros_interface_dependencies': [],
            'target_dependencies': [],
            **more,
        }
        output.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        return str(path)

    described = code / package
    generate_type_hash(
        arguments(
            'rosidl_generator_type_description',
            described,
            include_paths=_described(folder, needs),
        )
    )
    descriptions = [f'msg/{name}.idl:{described}/msg/{name}.json' for name in messages]
    generate_c(
        arguments(
            'rosidl_generator_c',
            described,
            type_description_tuples=descriptions,
            ros_interface_files=[str(sources / 'msg' / f'{name}.msg') for name in messages],
        )
    )
    generate_typesupport_fastrtps_c(arguments(FASTRTPS, described))
    generate_introspection(arguments(INTROSPECTION, described))
    generate_dispatch(arguments('rosidl_typesupport_c', described), [FASTRTPS, INTROSPECTION])
    (target / 'msg').mkdir(parents=True)
    (target / '__init__.py').write_text(LOADER.format(package=package))
    generate_py(arguments('rosidl_generator_py', target), ['rosidl_typesupport_c'])
    _fill_templates(described / 'msg', package)
    told = [json.loads((described / 'msg' / f'{name}.json').read_text()) for name in messages]
    found = {each['type_name']: each['hash_string'] for one in told for each in one['type_hashes']}
    return {name: value for name, value in found.items() if name.startswith(f'{package}/')}


def _described(folder: Path, needs: Sequence[str]) -> list[str]:
    """Return where the descriptions of packages are: made in this folder, or installed."""
    made = {name: folder / 'work' / name / 'code' / name for name in needs}
    share = {name: path if path.is_dir() else share_of(name) for name, path in made.items()}
    return [f'{name}:{path}' for name, path in share.items()]


def _write_sources(sources: Path, package: str, messages: Mapping[str, str]) -> None:
    from rosidl_adapter.msg import convert_msg_to_idl

    (sources / 'msg').mkdir(parents=True)
    for name, fields in messages.items():
        lines = '\n'.join(line.strip() for line in fields.strip().splitlines())
        (sources / 'msg' / f'{name}.msg').write_text(lines + '\n')
        with contextlib.redirect_stdout(io.StringIO()):
            convert_msg_to_idl(sources, package, Path('msg') / f'{name}.msg', sources / 'msg')


def _fill_templates(folder: Path, package: str) -> None:
    for generator in ('rosidl_generator_c', FASTRTPS, INTROSPECTION):
        name = f'{generator}__visibility_control.h'
        template = (share_of(generator) / 'resource' / f'{name}.in').read_text()
        filled = template.replace('@PROJECT_NAME_UPPER@', package.upper())
        (folder / name).write_text(filled.replace('@PROJECT_NAME@', package))
