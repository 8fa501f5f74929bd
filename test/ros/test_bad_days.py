# SPDX-License-Identifier: Apache-2.0
"""Node processes on bad days: signals at any moment, no room for logs, random transitions."""

from __future__ import annotations

from collections.abc import Iterator
import os
from pathlib import Path
import random
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter as RosParameter
from ros_harness import (
    Listener,
    PATIENCE_S,
    process,
    ROOT,
    ros_environment,
    Source,
    wait_until,
    walker_poses,
)
from sensor_msgs.msg import PointCloud2

from motion_predictor.ros.messages import decode_predictions
from motion_predictor.ros.replay import pose_array

NODE = 'motion_predictor'
pytestmark = pytest.mark.usefixtures('terminal')
MOUNT_FULL = 'mount -t tmpfs -o size=16k tmpfs "$1" && head -c 1M /dev/zero >"$1/full"'


@pytest.fixture(scope='module')
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


def output_until(node: Any, word: str) -> str:
    """Read what a process prints until a word comes, or it ends."""
    printed = ''
    for line in node.stdout:
        printed += line
        if word in line:
            return printed
    return printed


SAYS_WHERE_IT_IS = """
import os, signal, sys, threading, time, runpy

def until_a_signal(moment):
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    signal.set_wakeup_fd(theirs)
    print(moment, flush=True)
    os.read(ours, 1)

def tell():
    while 'torch' not in sys.modules:
        time.sleep(0.01)
    print('importing', flush=True)

if sys.argv[1] == 'importing':
    threading.Thread(target=tell, daemon=True).start()
if sys.argv[1] == 'configuring':
    import motion_predictor.model.weights as weights
    check = weights._check_size

    def told(path):
        until_a_signal('configuring')
        check(path)

    weights._check_size = told
if sys.argv[1] == 'warming up':
    from motion_predictor.predict.predictor import Predictor
    predict = Predictor.predict

    def at_work(self, *given, **named):
        until_a_signal('warming up')
        return predict(self, *given, **named)

    Predictor.predict = at_work
sys.argv = ['motion_predictor', *sys.argv[2:]]
runpy.run_module('motion_predictor', run_name='__main__')
"""


def ended_well(
    command: list[str], environment: dict[str, str], word: str, number: signal.Signals
) -> str:
    """Send a signal when a process prints a word; what it prints then, ending with code 0."""
    node = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        printed = output_until(node, word)
        assert word in printed, printed
        node.send_signal(number)
        rest, _ = node.communicate(timeout=PATIENCE_S)
    finally:
        node.kill()
    assert node.returncode == 0, printed + rest
    assert 'Traceback' not in rest, rest
    return rest


@pytest.mark.parametrize(
    'moment, number',
    [
        ('importing', signal.SIGINT),
        ('importing', signal.SIGTERM),
        ('importing', signal.SIGHUP),
        ('configuring', signal.SIGINT),
        ('configuring', signal.SIGTERM),
        ('configuring', signal.SIGHUP),
        ('warming up', signal.SIGTERM),
        ('warming up', signal.SIGHUP),
        ('warmed up', signal.SIGTERM),
        ('warmed up', signal.SIGHUP),
    ],
)
def test_a_signal_at_any_moment_ends_the_node_with_0_and_no_trace(
    weights: Path, moment: str, number: signal.Signals
) -> None:
    parameters = ['--ros-args', '-p', 'autostart:=true', '-p', f'model.path:={weights}']
    command = [sys.executable, '-u', '-c', SAYS_WHERE_IT_IS, moment, *parameters]
    rest = ended_well(command, ros_environment(), moment, number)
    if moment in ('configuring', 'warming up'):
        assert 'configure called off' in rest, 'what was begun was not finished first'
        assert 'warmed up' not in rest


TELLS_OF_TORCH = """
import builtins, os

real = builtins.__import__

def told(name, *given, **named):
    if name == 'torch' and not hasattr(builtins, 'told'):
        builtins.told = True
        os.write(1, b'importing\\n')
    return real(name, *given, **named)

builtins.__import__ = told
"""


@pytest.mark.parametrize('module', ['motion_predictor', 'motion_predictor.ros.node'])
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_either_module_may_be_asked_to_end_while_it_imports(
    tmp_path: Path, module: str, number: signal.Signals
) -> None:
    (tmp_path / 'sitecustomize.py').write_text(TELLS_OF_TORCH)
    environment = ros_environment()
    environment['PYTHONPATH'] = f'{tmp_path}{os.pathsep}{environment["PYTHONPATH"]}'
    ended_well([sys.executable, '-m', module], environment, 'importing', number)


ASKED_IN_A_CALLBACK = """
import os, runpy, signal, sys, weakref

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == 'motion_predictor.ros.node':
            thing = set()
            kept = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGTERM))
            del thing  # what its callback raises is printed and lost
            os._exit(3)

sys.meta_path.insert(0, Finder())
runpy.run_module('motion_predictor', run_name='__main__')
"""


def test_a_signal_in_a_callback_of_an_import_is_not_lost() -> None:
    words = [sys.executable, '-u', '-c', ASKED_IN_A_CALLBACK]
    ended = subprocess.run(
        words, cwd=ROOT, env=ros_environment(), capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, '', '')


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP])
def test_a_node_that_is_asked_to_end_takes_its_predictions_back(
    weights: Path, listener: Listener, number: signal.Signals
) -> None:
    clouds = listener.collect(PointCloud2, '/motion_predictor/predictions')
    source = Source(listener.node, PoseArray, '/skeleton')
    poses = iter(np.tile(walker_poses()[0], (20, 1, 1)))
    parameters = {'autostart': True, 'model.path': weights, 'samples': 3, 'stale_timeout_s': 60.0}
    with process(NODE, parameters) as node:
        wait_until(
            lambda: clouds and clouds[-1].width,
            lambda: (source.send(pose_array([next(poses)])), listener.spin())[0],
            'a prediction',
        )
        node.send_signal(number)
        listener.wait(lambda: not clouds[-1].width, 'the futures to be taken back')
        node.communicate(timeout=PATIENCE_S)
        assert node.returncode == 0


def test_a_node_that_outlives_its_terminal_does(weights: Path, listener: Listener) -> None:
    clouds = listener.collect(PointCloud2, '/motion_predictor/predictions')
    source = Source(listener.node, PoseArray, '/skeleton')
    poses = iter(np.tile(walker_poses()[0], (20, 1, 1)))
    parameters = ['-p', 'autostart:=true', '-p', f'model.path:={weights}', '-p', 'samples:=3']
    node = subprocess.Popen(
        ['nohup', sys.executable, '-m', NODE, '--ros-args', *parameters],
        cwd=ROOT,
        env=ros_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:

        def step() -> None:
            source.send(pose_array([next(poses)]))
            listener.spin()

        wait_until(lambda: clouds and clouds[-1].width, step, 'a prediction')
        node.send_signal(signal.SIGHUP)
        count = len(clouds)
        wait_until(lambda: len(clouds) > count + 10, step, 'predictions')
        assert clouds[-1].width
        assert node.poll() is None
    finally:
        node.terminate()
        assert node.wait(timeout=PATIENCE_S) == 0


def test_two_nodes_of_one_name_are_told_of(weights: Path, listener: Listener) -> None:
    diagnostics = listener.collect(DiagnosticArray, '/diagnostics')
    parameters = {'model.path': weights, 'diagnostics.period_s': 0.2}

    def told() -> list[str]:
        return [status.message for array in diagnostics[-4:] for status in array.status]

    with process(NODE, parameters) as one:
        alone = 'the first alone: DDS keeps one that was killed for a while'
        listener.wait(lambda: diagnostics and 'nodes are called' not in told()[-1], alone)
        with process(NODE, parameters):
            listener.wait(
                lambda: (
                    all(
                        '2 nodes are called /motion_predictor: give each its own name' in said
                        for said in told()
                    )
                    and len(told()) == 4
                ),
                'both to say so',
            )
        diagnostics.clear()
        listener.wait(
            lambda: diagnostics and 'nodes are called' not in told()[-1], 'only one to be left'
        )
        one.send_signal(signal.SIGTERM)
        printed, _ = one.communicate(timeout=PATIENCE_S)
    assert '2 nodes are called /motion_predictor' in printed


@pytest.mark.parametrize('trouble', ['not a folder', 'full'])
def test_a_node_runs_on_where_no_log_file_can_be_written(
    weights: Path, listener: Listener, tmp_path: Path, trouble: str
) -> None:
    command = [sys.executable, '-m', NODE, '--ros-args', '-p', 'autostart:=true']
    command += ['-p', f'model.path:={weights}', '-p', 'samples:=3']
    logs = tmp_path / 'logs'
    if trouble == 'full':
        # A file system of its own without a free block, which only this process sees.
        logs.mkdir()
        wrap = ['unshare', '--user', '--map-root-user', '--mount', 'sh', '-c']
        able = (
            shutil.which('unshare')
            and not subprocess.run(
                [*wrap, MOUNT_FULL + '; test -e "$1/full"', 'sh', str(logs)], capture_output=True
            ).returncode
        )
        if not able:
            pytest.skip('this system lets nobody mount a file system of their own')
        command = [*wrap, MOUNT_FULL + ' 2>/dev/null; shift; exec "$@"', 'sh', str(logs), *command]
    else:
        logs.write_text('')
    clouds = listener.collect(PointCloud2, '/motion_predictor/predictions')
    source = Source(listener.node, PoseArray, '/skeleton')
    poses = iter(np.tile(walker_poses()[0], (20, 1, 1)))
    node = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**ros_environment(), 'ROS_LOG_DIR': str(logs / 'here')},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        count = len(clouds)
        wait_until(
            lambda: len(clouds) > count + 5 or node.poll() is not None,
            lambda: (source.send(pose_array([next(poses)])), listener.spin())[0],
            'predictions',
        )
        node.send_signal(signal.SIGINT)
        printed, _ = node.communicate(timeout=PATIENCE_S)
    finally:
        node.kill()
    assert node.returncode == 0, printed
    assert 'Traceback' not in printed
    assert trouble == 'full' or 'no log files will be written' in printed


TRANSITIONS = {
    Transition.TRANSITION_CONFIGURE: (State.PRIMARY_STATE_UNCONFIGURED, 'inactive'),
    Transition.TRANSITION_CLEANUP: (State.PRIMARY_STATE_INACTIVE, 'unconfigured'),
    Transition.TRANSITION_ACTIVATE: (State.PRIMARY_STATE_INACTIVE, 'active'),
    Transition.TRANSITION_DEACTIVATE: (State.PRIMARY_STATE_ACTIVE, 'inactive'),
}


class Client:
    """Asks the node for its state and for changes, while a tracker goes on sending people."""

    def __init__(self, listener: Listener) -> None:
        make = listener.node.create_client
        self.listener = listener
        self.get = make(GetState, '/motion_predictor/get_state')
        self.change = make(ChangeState, '/motion_predictor/change_state')
        self.put = make(SetParameters, '/motion_predictor/set_parameters')
        self._source = Source(listener.node, PoseArray, '/skeleton')
        self._poses = iter(np.tile(walker_poses()[0], (40, 1, 1)))

    def send(self) -> None:
        self._source.send(pose_array([next(self._poses)]))
        self.listener.spin()

    def ask(self, client: Any, request: Any) -> Any:
        asked = client.call_async(request)
        what = f'an answer of {client.srv_name}'
        wait_until(asked.done, self.send, what)  # frames all the while
        return asked.result()

    def changed(self, transition: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition))
        return self.ask(self.change, request).success

    def state(self) -> State:
        # an answer can be lost where the server has not found the client's reader yet (discovery
        # has two ends, service_is_ready sees one): what changes nothing is asked again
        asked = [self.get.call_async(GetState.Request())]
        begun = time.monotonic()

        def answered() -> Any:
            if time.monotonic() - begun > 15.0 * len(asked):
                asked.append(self.get.call_async(GetState.Request()))
            return next((one for one in asked if one.done()), None)

        found = wait_until(answered, self.send, 'an answer of get_state')
        return found.result().current_state


def test_transitions_in_every_order_and_changes_meanwhile_leave_the_node_working(
    weights: Path, listener: Listener
) -> None:
    # A random walk over everything that a client may ask for, allowed or not.
    rng = random.Random(4)
    client = Client(listener)
    clouds = listener.collect(PointCloud2, '/motion_predictor/predictions')
    with process(NODE, {'model.path': weights, 'samples': 3}) as node:
        listener.wait(client.change.service_is_ready, 'the lifecycle services')
        listener.wait(client.get.service_is_ready, 'the lifecycle services')
        listener.wait(client.put.service_is_ready, 'the parameter services')
        visited = set()
        for _ in range(60):
            before = client.state()
            transition = rng.choice(list(TRANSITIONS))
            begin, end = TRANSITIONS[transition]
            allowed = before.id == begin
            assert client.changed(transition) == allowed
            assert client.state().label == (end if allowed else before.label)
            visited.add((before.label, transition))
            samples = RosParameter('samples', value=rng.randint(1, 9)).to_parameter_msg()
            topics = RosParameter('input.topics', value=['skeleton']).to_parameter_msg()
            request = SetParameters.Request(parameters=[samples, topics])
            results = client.ask(client.put, request).results
            assert results[0].successful
            assert results[1].successful == (client.state().label == 'unconfigured')
        assert len(visited) == 12, 'not everything was tried in every state'
        while client.state().label != 'active':
            wanted = {'unconfigured': Transition.TRANSITION_CONFIGURE}.get(
                client.state().label, Transition.TRANSITION_ACTIVATE
            )
            assert client.changed(wanted)
        count = len(clouds)
        wait_until(
            lambda: len(clouds) > count + 3 and clouds[-1].width, client.send, 'predictions'
        )
        assert np.isfinite(decode_predictions(clouds[-1]).futures).all()
        assert client.changed(Transition.TRANSITION_ACTIVE_SHUTDOWN)
        assert client.state().label == 'finalized'
        node.send_signal(signal.SIGINT)
        printed, _ = node.communicate(timeout=PATIENCE_S)
    assert node.returncode == 0, printed
    assert 'Traceback' not in printed, printed
