"""The direction of dependencies, read from the sources."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / 'motion_predictor'
ROS = {
    'ament_index_python', 'builtin_interfaces', 'diagnostic_msgs', 'geometry_msgs', 'launch',
    'launch_ros', 'lifecycle_msgs', 'rcl_interfaces', 'rclpy', 'rosgraph_msgs', 'sensor_msgs',
    'std_msgs', 'tf2_ros', 'trajectory_msgs', 'visualization_msgs',
}  # fmt: skip
ROS_MODULES = {
    '__main__.py', 'inputs.py', 'memory_services.py', 'messages.py', 'monitoring.py', 'node.py',
    'outputs.py', 'qos.py',
    'replay.py', 'seen.py', 'transforms.py',
}  # fmt: skip
NEED_ROS = {f'motion_predictor.{name[:-3]}' for name in ROS_MODULES}


def imported_names(path: Path) -> set[str]:
    """Top-level packages, and this package's modules by full name, late imports too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path.name}:{node.lineno}: a relative import'
            names.add(node.module or '')
            names |= {f'{node.module}.{alias.name}' for alias in node.names}
    return names | {name.split('.')[0] for name in names}


@pytest.mark.parametrize('path', sorted(CORE.rglob('*.py')), ids=lambda path: path.name)
def test_the_core_imports_neither_training_nor_ros(path: Path) -> None:
    banned = {'training', 'scripts'}
    if path.name not in ROS_MODULES:
        banned |= ROS | NEED_ROS
    assert not imported_names(path) & banned


@pytest.mark.parametrize(
    'path', sorted((ROOT / 'training').rglob('*.py')), ids=lambda path: path.name
)
def test_training_does_not_import_ros(path: Path) -> None:
    assert not imported_names(path) & (ROS | NEED_ROS)


def test_modules_of_arithmetic_do_not_import_the_network() -> None:
    for name in (
        'errors',
        'shapes',
        'config',
        'skeleton',
        'layouts',
        'geometry',
        'history',
        'recording',
        'recordings',
        'bvh',
        'bvh_file',
        'bvh_joints',
        'deepmimic',
        'files',
        'npz',
        'walker',
        'point_cloud',
        'rosbag',
        'standard',
        'summaries',
    ):
        assert 'torch' not in imported_names(CORE / f'{name}.py'), name
