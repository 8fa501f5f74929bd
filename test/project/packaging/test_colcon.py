# SPDX-License-Identifier: Apache-2.0
"""A workspace that colcon has built: what it installs, and that the installed node predicts."""

from __future__ import annotations

import ast
from collections.abc import Iterator
import os
from pathlib import Path
import re
import shutil
import signal
import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip('rclpy')
pytest.importorskip('colcon_ros', reason='colcon is not installed')

from geometry_msgs.msg import PoseArray
from ros_harness import (
    Listener,
    PATIENCE_S,
    ROOT,
    ros_environment,
    Source,
    there_and_back,
    walker_poses,
    write_random_weights,
)
from sensor_msgs.msg import PointCloud2

from motion_predictor.ros.messages import decode_predictions
from motion_predictor.ros.replay import pose_array

pytestmark = [pytest.mark.ros, pytest.mark.slow]

LEFT_OUT = shutil.ignore_patterns('.*', '__pycache__', 'build', 'install', 'log', '*.egg-info')
NOT_SOURCE = {'demo_output', 'docs', 'runs', 'shared', 'studies', 'test'}
COLCON = 'import sys; from colcon_core.command import main; sys.exit(main())'


@pytest.fixture(scope='module')
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sources as README says, in a workspace of their own."""
    folder = tmp_path_factory.mktemp('ros2_ws')
    sources = folder / 'src' / 'motion_predictor'
    sources.mkdir(parents=True)
    for path in ROOT.iterdir():
        if path.name.startswith('.') or path.name in NOT_SOURCE | {'build', 'install', 'log'}:
            continue
        if path.is_dir():
            shutil.copytree(path, sources / path.name, ignore=LEFT_OUT)
        else:
            shutil.copy(path, sources)
    done = subprocess.run(
        [sys.executable, '-c', COLCON, 'build'],
        cwd=folder, env=without_sources(), capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def without_sources() -> dict[str, str]:
    """Return the environment of a process that must not find the package in the source tree."""
    return {
        **ros_environment(),
        'PYTHONPATH': os.environ.get('PYTHONPATH', ''),  # of a ROS that is sourced
        'COLCON_HOME': os.devnull,
    }


def in_workspace(workspace: Path, command: str, **how: Any) -> subprocess.Popen[str]:
    """Start a command as whoever has sourced the workspace does, from another folder."""
    script = f'. "{workspace}/install/setup.bash" && exec {command}'
    return subprocess.Popen(
        ['bash', '-c', script], cwd=workspace.parent, env=without_sources(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **how,
    )  # fmt: skip


@pytest.fixture(scope='module')
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


def test_everything_that_a_robot_needs_is_installed_where_ros_looks(workspace: Path) -> None:
    prefix = workspace / 'install' / 'motion_predictor'
    programs = {path.name for path in (prefix / 'lib' / 'motion_predictor').iterdir()}
    assert {'predictor', 'replay'} <= programs
    index = prefix / 'share' / 'ament_index' / 'resource_index' / 'packages'
    assert [path.name for path in index.iterdir()] == ['motion_predictor']
    share = prefix / 'share' / 'motion_predictor'
    for folder in ('launch', 'config'):
        kept = {path.name for path in (ROOT / folder).iterdir() if path.is_file()}
        assert kept == {path.name for path in (share / folder).iterdir() if path.is_file()}
    weights = {path.name for path in (ROOT / 'resource' / 'weights').iterdir()}
    assert weights == {path.name for path in (share / 'weights').iterdir()}
    assert not list(prefix.rglob('training'))


def test_the_sourced_workspace_gives_its_own_package_and_weights(workspace: Path) -> None:
    asks = (
        'import motion_predictor; from motion_predictor.model.weights import default_weights; '
        'print([motion_predictor.__file__, str(default_weights())])'
    )
    asked = in_workspace(workspace, f"'{sys.executable}' -c '{asks}'")
    said, _ = asked.communicate(timeout=PATIENCE_S)
    assert asked.returncode == 0, said
    for path in ast.literal_eval(said.splitlines()[-1]):
        assert Path(path).is_relative_to(workspace / 'install'), path
        assert Path(path).is_file()


def test_the_installed_node_predicts_and_ends_when_it_is_asked_to(
    workspace: Path, listener: Listener
) -> None:
    program = workspace / 'install' / 'motion_predictor' / 'lib' / 'motion_predictor' / 'predictor'
    weights = write_random_weights(workspace / 'tiny.safetensors')
    clouds = listener.collect(PointCloud2, '/motion_predictor/predictions')
    source = Source(listener.node, PoseArray, '/skeleton')
    (poses,) = walker_poses()
    told = f"'{program}' --ros-args -p autostart:=true -p model.path:='{weights}'"
    node = in_workspace(workspace, told)
    try:
        frames = iter(range(10_000_000))

        def predicted() -> bool:
            source.send(pose_array([there_and_back(poses, next(frames))]))
            return node.poll() is not None or any(cloud.width for cloud in clouds)

        listener.wait(predicted, 'a prediction of the installed node')
        assert node.poll() is None, node.communicate()[0]
        seen = decode_predictions(next(cloud for cloud in clouds if cloud.width))
        assert len(seen.persons) == 1
        node.send_signal(signal.SIGINT)
        said, _ = node.communicate(timeout=PATIENCE_S)
        assert node.returncode == 0, said
        assert 'Traceback' not in said
    finally:
        if node.poll() is None:
            node.kill()
            node.communicate()


def test_colcon_test_passes_where_packages_are_absent_and_names_them(workspace: Path) -> None:
    tests = workspace / 'src' / 'motion_predictor' / 'test'
    kept = ['conftest.py', 'body/test_skeleton.py', 'training/data/test_training_cmu.py']
    for name in kept:  # a small part of the tests, of which the last needs tyro
        (tests / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / 'test' / name, tests / name)
    shutil.copytree(ROOT / 'test' / 'support', tests / 'support', ignore=LEFT_OUT)
    absent = workspace / 'absent'
    absent.mkdir()
    text = "raise ModuleNotFoundError('as if it were not installed', name='tyro')\n"
    (absent / 'tyro.py').write_text(text)
    environment = without_sources() | {'MOTION_PREDICTOR_TEST_EVERYTHING': ''}
    before = environment['PYTHONPATH']
    environment['PYTHONPATH'] = os.pathsep.join(filter(None, [str(absent), before]))
    said = {}
    for words in (['test'], ['test-result', '--all', '--verbose']):
        done = subprocess.run(
            [sys.executable, '-c', COLCON, *words],
            cwd=workspace, env=environment, capture_output=True, text=True, timeout=PATIENCE_S,
        )  # fmt: skip
        said[words[0]] = done.stdout + done.stderr
        assert done.returncode == 0, said
    (tests_found, skipped), = re.findall(
        r'Summary: (\d+) tests, 0 errors, 0 failures, (\d+) skipped', said['test-result']
    )  # fmt: skip
    assert (int(tests_found) > 5, int(skipped)) == (True, 1), said
    report = workspace / 'build' / 'motion_predictor' / 'pytest.xml'
    assert 'test_training_cmu.py needs tyro, which is not installed' in report.read_text()
