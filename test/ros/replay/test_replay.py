# SPDX-License-Identifier: Apache-2.0
"""The replay node: in a process of its own, heard over DDS."""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import os
from pathlib import Path
import signal
import subprocess
import sys
from typing import Any

from bvh_person import along_x, bvh_text, walking
import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy')

from geometry_msgs.msg import PoseArray  # noqa: E402
import replay_rig  # noqa: E402
from replay_rig import Listener, PATIENCE_S, stamp_ns, TYPES  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402

from motion_predictor.recordings.walker import synthetic_walkers  # noqa: E402
from motion_predictor.ros.messages import DECODERS, InputFormat  # noqa: E402

listener, replay = replay_rig.listener, replay_rig.replay


@pytest.mark.parametrize('kind', TYPES)
def test_two_people_are_published_frame_by_frame(
    kind: str, listener: Listener, replay: Callable[..., subprocess.Popen[str]]
) -> None:
    heard = listener.listen(TYPES[kind], '/people')
    process = replay(
        path='synthetic:2', topic='/people', type=kind, loop=False, duration_s=0.5, rate_hz=50,
        wait_for_subscribers=1, frame_id='room',
    )  # fmt: skip
    _, decode = DECODERS[kind]
    listener.wait_for(lambda: bool(heard) and not decode(heard[-1], InputFormat(joints=17)))
    assert process.wait(timeout=PATIENCE_S) == 0
    scene = synthetic_walkers(2)
    frames = [decode(message, InputFormat(joints=17)) for message in heard[:-1]]
    assert len(frames) >= 8  # of 26; a machine that stalls may skip some, never reorder
    at = -1
    for people in frames:
        assert [person.person for person in people] == ['0', '1']
        assert {person.frame_id for person in people} == {'room'}
        errors = np.abs(scene.persons['0'][:26] - people[0].xyz).max(axis=(1, 2))
        assert errors.argmin() > at
        at = int(errors.argmin())
        for index, person in enumerate(people):
            np.testing.assert_allclose(person.xyz, scene.persons[str(index)][at], atol=1e-5)
    stamps = [stamp_ns(message) for message in heard[:-1]]
    assert (np.diff(stamps) > 0).all()


@pytest.mark.parametrize('given', [{'up': 'y', 'units_scale': 0.01}, {'up': 'judged'}])
def test_a_bvh_is_played_as_its_overrides_say(
    given: dict[str, Any],
    tmp_path: Path,
    listener: Listener,
    replay: Callable[..., subprocess.Popen[str]],
) -> None:
    walk = walking()
    path = tmp_path / 'walk.bvh'
    path.write_text(bvh_text(along_x(walk)))
    heard = listener.listen(PoseArray, '/people')
    process = replay(
        path=path, topic='/people', loop=False, wait_for_subscribers=1, recorded_rate_hz=5.0,
        **{name: value for name, value in given.items() if value != 'judged'},
    )  # fmt: skip
    assert process.wait(timeout=PATIENCE_S) == 0
    assert process.stdout is not None
    said = process.stdout.read()
    assert ('unit 0.01 m as given' if 'units_scale' in given else 'unit cm, judged') in said
    assert ('y up as given' if 'units_scale' in given else 'y up, judged by the motion') in said
    assert '12 frames at 5 Hz' in said
    listener.wait_for(lambda: len(heard) >= 2)
    pose = DECODERS['pose_array'][1](heard[0], InputFormat(joints=17))[0].xyz
    assert np.abs(walk.truth() - pose).max(axis=(1, 2)).min() < 1e-4


def test_stamps_go_on_increasing_over_the_seam_and_ctrl_c_ends_it(
    listener: Listener, replay: Callable[..., subprocess.Popen[str]]
) -> None:
    heard = listener.listen(PoseArray, '/people')
    process = replay(path='synthetic', topic='/people', duration_s=0.2, blend_s=0.1, rate_hz=50)
    first = synthetic_walkers(1).persons['0'][0]

    def passes() -> int:
        return sum(
            bool(np.abs(people[0].xyz - first).max() < 1e-4)
            for people in (DECODERS['pose_array'][1](m, InputFormat(joints=17)) for m in heard)
        )

    listener.wait_for(lambda: passes() >= 3)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert 'Traceback' not in output
    assert 'made-up frames at the seam' in output
    assert 'from the beginning again' in output
    assert (np.diff([stamp_ns(message) for message in heard]) > 0).all()


@pytest.mark.usefixtures('terminal')
def test_it_ends_with_its_terminal(
    listener: Listener, replay: Callable[..., subprocess.Popen[str]]
) -> None:
    heard = listener.listen(PoseArray, '/people')
    process = replay(path='synthetic', topic='/people')
    listener.wait_for(lambda: bool(heard))
    process.send_signal(signal.SIGHUP)
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, output
    assert 'Traceback' not in output


def test_it_can_publish_the_clock_that_its_stamps_follow(
    listener: Listener, replay: Callable[..., subprocess.Popen[str]]
) -> None:
    heard = listener.listen(PoseArray, '/people')
    clock = listener.listen(Clock, '/clock')
    replay(
        path='synthetic', topic='/people', duration_s=1.0, rate_hz=25, speed=2, loop=False,
        publish_clock=True, wait_for_subscribers=1,
    )  # fmt: skip
    listener.wait_for(lambda: bool(heard) and not heard[-1].poses and bool(clock))
    stamps = np.array([stamp_ns(message) for message in heard])
    steps = np.diff(stamps) / 40_000_000  # of recording time, at whatever speed
    assert (np.abs(steps - np.round(steps)) < 1e-3).all()
    told = {m.clock.sec * 10**9 + m.clock.nanosec for m in clock}
    told = {at for at in told if at >= stamps[0]}  # discovery may lose us the first poses
    assert told
    assert told <= set(stamps.tolist())


@pytest.mark.parametrize(
    'parameters,complaint',
    [
        ({}, 'path is empty'),
        ({'path': 'nowhere.bvh'}, 'nowhere.bvh: no such file'),
        ({'path': 'synthetic', 'type': 'tf'}, "type='tf': must be one of pose_array"),
        ({'path': 'synthetic', 'speed': 0}, r'speed=0: must lie in 0.01..100'),
        ({'path': 'synthetic', 'rate_hz': 'fast'}, "rate_hz='fast': must be a float"),
    ],
)
def test_a_bad_setting_stops_the_start_and_says_why(
    parameters: dict[str, object],
    complaint: str,
    replay: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
) -> None:
    output, _ = (process := replay(**parameters)).communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert complaint in output
    assert 'Traceback' not in output


LISTENS_TO_THE_END = """
import rclpy
from geometry_msgs.msg import PoseArray
rclpy.init()
node, heard = rclpy.create_node('frozen'), []
node.create_subscription(PoseArray, '/people', heard.append, 100)
while not heard:
    rclpy.spin_once(node, timeout_sec=0.05)
print('hears', flush=True)
while heard[-1].poses:
    rclpy.spin_once(node, timeout_sec=0.05)
print('heard the end', flush=True)
"""


def test_the_end_is_heard_by_who_was_held_up(
    listener: Listener, replay: Callable[..., subprocess.Popen[str]]
) -> None:
    held_up = subprocess.Popen(
        [sys.executable, '-c', LISTENS_TO_THE_END],
        env=os.environ | replay_rig.ENVIRONMENT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert held_up.stdout is not None
    try:
        heard = listener.listen(PoseArray, '/people')
        process = replay(
            path='synthetic', topic='/people', loop=False, duration_s=3.0, wait_for_subscribers=2
        )
        assert held_up.stdout.readline() == 'hears\n'
        held_up.send_signal(signal.SIGSTOP)
        listener.wait_for(lambda: bool(heard) and not heard[-1].poses)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0)  # as one that waits for nobody would
        held_up.send_signal(signal.SIGCONT)
        assert held_up.communicate(timeout=PATIENCE_S)[0] == 'heard the end\n'
        assert process.wait(timeout=PATIENCE_S) == 0
    finally:
        held_up.kill()
        held_up.communicate()
