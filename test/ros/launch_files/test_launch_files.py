# SPDX-License-Identifier: Apache-2.0
"""
The launch files under the real ``launch`` and ``launch_ros``: start, configure, activate, stop.

No wheel brings the two packages: where ROS is not installed these tests are skipped.
``scripts/test_launch`` runs them there too, on clones of both.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

pytest.importorskip('rclpy')
pytest.importorskip('launch_ros', reason='launch_ros is not installed')
pytest.importorskip('launch_ros.actions', reason='launch_ros lacks a package that it needs')

from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import GetParameters
from ros_harness import (
    Listener,
    PATIENCE_S,
    ROOT,
    ros_environment,
    wait_until,
    write_random_weights,
)

pytestmark = [pytest.mark.ros, pytest.mark.slow]

LAUNCH = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
arguments = [tuple(each.split(':=', 1)) for each in sys.argv[2:]]
source = PythonLaunchDescriptionSource(sys.argv[1])
included = IncludeLaunchDescription(source, launch_arguments=arguments)
service = LaunchService(argv=[])
service.include_launch_description(LaunchDescription([included]))
sys.exit(service.run())
"""
"""What ``ros2 launch FILE NAME:=VALUE ...`` does."""
CONFIG_OF_A_NODE = '/**/speed_and_separation:\n  ros__parameters:\n    period_s: 0.05\n'
PROGRAM = '#!{python}\nimport sys\nfrom {module} import main\nsys.exit(main())\n'
CONFIGURE, ACTIVATE, CLEAN_UP, DEACTIVATE = 1, 3, 2, 4
WHOLE = [
    ('predictor.launch.py', ['weights:={weights}'], ['motion_predictor']),
    ('demo.launch.py', ['weights:={weights}', 'clip:=synthetic'], ['motion_predictor', 'replay']),
    ('prescyent.launch.py', [], ['motion_predictor', 'prescyent_bridge']),
    (
        'nav2.launch.py',
        [],
        ['people_costs', 'people_list', 'speed_and_separation', 'nav2_speed_limit'],
    ),
    ('moveit2.launch.py', [], ['people_scene']),
    ('ros2_control.launch.py', [], ['speed_and_separation', 'speed_scaling']),
    ('speed_and_separation.launch.py', [], ['speed_and_separation']),
    (
        'consumers.launch.py',
        ['start:=nav2,ros2_control,moveit2'],
        ['people_costs', 'people_list', 'people_scene', 'speed_and_separation',
         'nav2_speed_limit', 'speed_scaling'],
    ),
]  # fmt: skip
"""Every launch file, arguments, and the names of the nodes that it starts."""


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_weights(tmp_path_factory.mktemp('weights') / 'tiny.safetensors')


@pytest.fixture(scope='module')
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay the package out as a build does: programs, launch files, the marker of the index."""
    prefix = tmp_path_factory.mktemp('install')
    marker = prefix / 'share' / 'ament_index' / 'resource_index' / 'packages'
    marker.mkdir(parents=True)
    (marker / 'motion_predictor').write_text('')
    share = prefix / 'share' / 'motion_predictor'
    share.mkdir()
    for folder in ('launch', 'config'):
        (share / folder).symlink_to(ROOT / folder)
    programs = prefix / 'lib' / 'motion_predictor'
    programs.mkdir(parents=True)
    for name, module in ros_run().items():
        path = programs / name
        path.write_text(PROGRAM.format(python=sys.executable, module=f'motion_predictor.{module}'))
        path.chmod(0o755)
    assert (programs / 'predictor').is_file()
    return prefix


def ros_run() -> dict[str, str]:
    """Return what ``ros2 run`` takes, by setup.py: names, and modules that have a ``main``."""
    for statement in ast.parse((ROOT / 'setup.py').read_text()).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == 'ROS_RUN':
            found: dict[str, str] = ast.literal_eval(statement.value)
            return found
    raise AssertionError('setup.py has no ROS_RUN')


class Launched:
    """A launch that runs, and what it says."""

    def __init__(self, process: Any, log: Path) -> None:
        self.process, self.log = process, log

    def text(self) -> str:
        return self.log.read_text(errors='replace')

    def children(self) -> list[int]:
        """Process ids of what the launch has started; they share its group."""
        found = subprocess.run(
            ['pgrep', '-g', str(self.process.pid)], capture_output=True, text=True
        )
        return [int(each) for each in found.stdout.split() if int(each) != self.process.pid]

    def stop(self) -> int:
        """Ask it to end as Ctrl-C does, and wait; its exit code."""
        return self.end(signal.SIGINT)

    def end(self, how: signal.Signals) -> int:
        """Signal its group, and wait; its exit code."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, how)
        return int(self.process.wait(PATIENCE_S))


@contextmanager
def launched(prefix: Path, folder: Path, name: str, *arguments: str) -> Iterator[Launched]:
    """Launch a file in a process group of its own."""
    log = folder / 'launch.log'
    environment = ros_environment()
    environment['AMENT_PREFIX_PATH'] = os.pathsep.join(
        filter(None, [str(prefix), environment.get('AMENT_PREFIX_PATH', '')])
    )
    environment['_ROS_WHEELS_BOOTSTRAP_COMPLETE'] = ''
    environment['ROS_LOG_DIR'] = str(folder)
    with log.open('w') as file:
        process = subprocess.Popen(
            [sys.executable, '-c', LAUNCH, str(ROOT / 'launch' / name), *arguments],
            cwd=folder,
            env={name: value for name, value in environment.items() if value},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    made = Launched(process, log)
    try:
        yield made
    finally:
        try:
            made.stop()
        finally:
            left = made.children()
            for each in left:
                os.kill(each, signal.SIGKILL)
        assert not left, f'left running: {left}\n{made.text()}'


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


def state_of(listener: Listener) -> str:
    """Ask the predictor for its state; '' where it does not answer."""
    client = listener.node.create_client(GetState, '/motion_predictor/get_state')
    try:
        if not client.wait_for_service(0.2):
            return ''
        return str(called(listener, client, GetState.Request()).current_state.label)
    finally:
        listener.node.destroy_client(client)


def change(listener: Listener, transition: int) -> bool:
    """Do as ``ros2 lifecycle set`` does."""
    client = listener.node.create_client(ChangeState, '/motion_predictor/change_state')
    request = ChangeState.Request()
    request.transition.id = transition
    try:
        wait_until(client.service_is_ready, listener.spin, 'the service')
        return bool(called(listener, client, request).success)
    finally:
        listener.node.destroy_client(client)


def called(listener: Listener, client: Any, request: Any) -> Any:
    future = client.call_async(request)
    listener.wait(future.done, 'an answer')
    return future.result()


def wait_for_state(listener: Listener, made: Launched, state: str) -> None:
    def step() -> None:
        listener.spin()
        assert made.process.poll() is None, made.text()

    wait_until(lambda: state_of(listener) == state, step, f'the state {state}')


def test_the_predictor_is_started_configured_activated_and_stopped(
    installed: Path, tmp_path: Path, weights: Path, listener: Listener
) -> None:
    with launched(installed, tmp_path, 'predictor.launch.py', f'weights:={weights}') as made:
        wait_for_state(listener, made, 'active')
        assert change(listener, DEACTIVATE)
        assert change(listener, CLEAN_UP)
        assert change(listener, CONFIGURE)
        for _ in range(50):  # an activation would have been asked for with the transition
            listener.spin()
        assert state_of(listener) == 'inactive', 'a manual configure activates'
        assert made.stop() == 0, made.text()
    assert 'Traceback' not in made.text()


def test_a_node_that_is_refused_stays_for_another_try_and_is_not_activated(
    installed: Path, tmp_path: Path, weights: Path, listener: Listener
) -> None:
    broken = tmp_path / 'broken.safetensors'
    broken.write_bytes(weights.read_bytes()[:-1000])
    with launched(installed, tmp_path, 'predictor.launch.py', f'weights:={broken}') as made:
        wait_until(lambda: 'was not configured' in made.text(), lambda: time.sleep(0.1), 'a word')
        broken.write_bytes(weights.read_bytes())
        assert change(listener, CONFIGURE)
        for _ in range(50):
            listener.spin()
        assert state_of(listener) == 'inactive'
        assert change(listener, ACTIVATE)
        assert made.stop() == 0, made.text()


@pytest.mark.parametrize(
    'name, argument, told',
    [
        ('predictor.launch.py', 'config:=/no/such.yaml', 'config:=/no/such.yaml'),
        ('predictor.launch.py', 'weights:=/no/such.safetensors', 'weights:=/no/such'),
        ('predictor.launch.py', 'rviz:=perhaps', 'perhaps'),
        ('consumers.launch.py', 'start:=nav', 'must be one or more of nav2'),
        ('demo.launch.py', 'clip:=no.bvh', 'clip:=no.bvh: there is no such file'),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_left_running(
    installed: Path, tmp_path: Path, name: str, argument: str, told: str
) -> None:
    with launched(installed, tmp_path, name, argument) as made:
        assert made.process.wait(PATIENCE_S) != 0, made.text()
        assert told in made.text()
        assert not made.children()


def test_rviz_that_is_not_installed_is_said_and_nothing_is_left_running(
    installed: Path, tmp_path: Path
) -> None:
    if shutil.which('rviz2'):
        pytest.skip('rviz2 is installed')
    with launched(installed, tmp_path, 'predictor.launch.py', 'rviz:=true') as made:
        assert made.process.wait(PATIENCE_S) != 0, made.text()
        assert 'rviz2 is not installed' in made.text()
        assert not made.children()


def test_a_consumer_is_started_with_its_parameters_and_stopped(
    installed: Path, tmp_path: Path, listener: Listener
) -> None:
    from std_msgs.msg import Bool

    config = tmp_path / 'mine.yaml'
    config.write_text(CONFIG_OF_A_NODE)
    heard = listener.collect(Bool, '/cell/speed_limit_predicted_valid')
    with launched(
        installed, tmp_path, 'speed_and_separation.launch.py', 'namespace:=cell',
        f'config:={config}',
    ) as made:  # fmt: skip
        wait_until(lambda: heard or made.process.poll() is not None, listener.spin, 'the consumer')
        assert heard, made.text()
        assert not heard[-1].data
        wait_until(
            lambda: '/cell/motion_predictor/poses' in made.text(), listener.spin, 'a reason'
        )
        request = GetParameters.Request(names=['period_s', 'full_speed_m_s'])
        client = listener.node.create_client(
            GetParameters, '/cell/speed_and_separation/get_parameters'
        )
        wait_until(client.service_is_ready, listener.spin, 'the service')
        found = called(listener, client, request).values
        assert [each.double_value for each in found] == [0.05, 1.0], 'the file is not read'
        assert made.stop() == 0, made.text()


def test_every_launch_file_is_tried() -> None:
    files = {path.name for path in (ROOT / 'launch').glob('*.launch.py')}
    assert {name for name, *_ in WHOLE} == files


@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGTERM], ids=['ctrl-c', 'terminated'])
@pytest.mark.parametrize('name, arguments, nodes', WHOLE, ids=[each[0] for each in WHOLE])
def test_every_node_of_a_launch_file_comes_and_none_is_left(
    installed: Path,
    tmp_path: Path,
    weights: Path,
    listener: Listener,
    path_of_packages: Path,
    name: str,
    arguments: list[str],
    nodes: list[str],
    how: signal.Signals,
) -> None:
    """A terminal interrupts the whole group, and a service manager terminates all of a service."""
    given = [each.format(weights=weights) for each in arguments]
    with launched(installed, tmp_path, name, *given) as made:

        def are_there() -> bool:
            assert made.process.poll() is None, made.text()
            return set(nodes) <= set(listener.node.get_node_names())

        wait_until(are_there, listener.spin, f'the nodes {nodes}')
        assert len(made.children()) >= len(nodes)
        made.end(how)  # a launch that is terminated does not wait for what it has started
        wait_until(lambda: not made.children(), listener.spin, 'the end of every process')
    assert 'Traceback' not in made.text()


def test_a_launch_ends_with_a_predictor_that_is_killed(
    installed: Path, tmp_path: Path, weights: Path, listener: Listener
) -> None:
    arguments = [f'weights:={weights}', 'clip:=synthetic']
    with launched(installed, tmp_path, 'demo.launch.py', *arguments) as made:
        wait_for_state(listener, made, 'active')
        (predictor,) = [each for each in made.children() if 'predictor' in command_of(each)]
        os.kill(predictor, signal.SIGKILL)
        made.process.wait(PATIENCE_S)
        assert made.children() == [], made.text()


def command_of(process: int) -> str:
    """Return the name of the program that a process runs."""
    words = Path(f'/proc/{process}/cmdline').read_bytes().split(b'\0')
    return words[1].decode().rpartition('/')[2]
