# SPDX-License-Identifier: Apache-2.0
"""The faults of the soak, one function per kind: of trackers, networks, people and systems."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import rclpy
from rclpy.publisher import Publisher

from tools.rig import Driver, NodeProcess

SECOND = 1_000_000_000
FRAME = 'hall'
LEFT_WRIST, RIGHT_WRIST, LEFT_ANKLE, RIGHT_ANKLE = 13, 16, 6, 3
BESIDE_M = np.array([0.0, 2.5, 0.0])


class Stage(Protocol):
    """The interface of a run that a fault may use."""

    driver: Driver
    node: NodeProcess
    rng: np.random.Generator
    main: Publisher
    second: Publisher
    unstamped: list[tuple[int, int]]

    def pose(self) -> np.ndarray:
        """Return the moving person's next pose, (17, 3) metres."""

    def send(
        self,
        people: list[np.ndarray],
        stamp_ns: int | None = None,
        frame_id: str = FRAME,
        publisher: Publisher | None = None,
    ) -> int:
        """Publish people, stamped with the due time unless a stamp is given; return the stamp."""

    def pace(self, rate_hz: float = 30.0) -> None:
        """Wait until the next frame of this rate is due."""

    def stream(
        self, seconds: float, change: Callable[[np.ndarray], list[np.ndarray]] | None = None
    ) -> None:
        """Publish at 30 Hz as a tracker does, with each pose changed by a function."""

    def stream_beside(
        self, seconds: float, change: Callable[[np.ndarray], list[np.ndarray]]
    ) -> None:
        """Publish as :meth:`stream`; the first person is good and must be served."""

    def pause(self, seconds: float) -> None:
        """Publish nothing."""

    def recreate_main(self, pause_s: float) -> None:
        """Destroy the tracker's publisher, and make another after some time."""

    def inactive_stream(self, seconds: float) -> None:
        """Publish while the node is not active: it must neither answer nor count this."""

    def resume(self) -> None:
        """Wait until the node subscribes again."""


@dataclass(frozen=True)
class Fault:
    """
    One kind of fault.

    ``named`` are counters in /diagnostics of which at least one must have grown when the fault is
    over. A fault without any drops nothing.
    """

    name: str
    about: str
    inject: Callable[[Stage], None]
    named: tuple[str, ...] = field(default=())


def _joints(value: float | tuple[float, float, float], *which: int) -> Callable[[Stage], None]:
    def change(pose: np.ndarray) -> list[np.ndarray]:
        changed = pose.copy()
        changed[list(which)] = value
        return [changed]

    return lambda stage: stage.stream(0.3, change)


def _hide_legs(stage: Stage) -> None:
    def change(pose: np.ndarray) -> list[np.ndarray]:
        changed = pose.copy()
        changed[[LEFT_ANKLE, RIGHT_ANKLE]] = np.nan
        return [changed]

    stage.stream(1.0, change)


def _twice(stage: Stage) -> None:
    for _ in range(5):
        pose = stage.pose()
        stamp_ns = stage.send([pose])
        stage.send([pose], stamp_ns)
        stage.pace()


def _swap_order(stage: Stage) -> None:
    for _ in range(4):
        early, late = stage.pose(), stage.pose()
        begun_ns = stage.driver.now_ns()
        stage.pace()
        stage.send([late])
        stage.send([early], begun_ns)
        stage.pace()


def _late(stage: Stage) -> None:
    # With the pose of its own stamp: one of now would be somebody who stood elsewhere then.
    for _ in range(5):
        pose, begun_ns = stage.pose(), stage.driver.now_ns()
        stage.pace()
        stage.stream(0.25)
        stage.send([pose], begun_ns)


def _without_stamp(stage: Stage) -> None:
    # The node takes their arrival as their stamp.
    now_ns = stage.driver.now_ns()
    stage.unstamped.append((now_ns, now_ns + 3 * SECOND))
    for _ in range(15):
        stage.send([stage.pose()], 0)
        stage.pace()


def _future(stage: Stage) -> None:
    for _ in range(5):
        stage.send([stage.pose()], stage.driver.now_ns() + 60 * SECOND)
        stage.stream(0.1)


def _jump_back(stage: Stage) -> None:
    for _ in range(45):
        stage.send([stage.pose()], stage.driver.now_ns() - 20 * SECOND)
        stage.pace()


def _other_frame(stage: Stage) -> None:
    for _ in range(20):
        stage.send([stage.pose()], frame_id='elsewhere')
        stage.pace()


def _without_frame(stage: Stage) -> None:
    for _ in range(15):
        stage.send([stage.pose()], frame_id='')
        stage.pace()


def _hiccup(stage: Stage) -> None:
    held = []
    for _ in range(30):
        held.append((stage.pose(), stage.driver.now_ns()))
        stage.pace()
    for pose, stamp_ns in held:
        stage.send([pose], stamp_ns)


def _flood(stage: Stage) -> None:
    pose, stamp_ns = stage.pose(), stage.driver.now_ns()
    for index in range(700):
        stage.send([pose], stamp_ns + index * 1000)


def _at_360_hz(stage: Stage) -> None:
    # A person in exactly the same pose is a tracker's repetition, which is not predicted again.
    pose = stage.pose()
    for index in range(360):
        stage.send([pose + 0.05 * np.sin(2.0 * np.pi * index / 360.0)])
        stage.pace(360.0)


def _at_3_hz(stage: Stage) -> None:
    for _ in range(9):
        stage.send([stage.pose()])
        for _ in range(9):
            stage.pose()
        stage.pace(3.0)


def _swap_ids(stage: Stage) -> None:
    stage.stream(0.7, lambda pose: [pose, pose + BESIDE_M])
    stage.stream(0.5, lambda pose: [pose + BESIDE_M, pose])


def _slip(stage: Stage) -> None:
    for _ in range(3):
        stage.send([stage.pose() + [6.0, 0.0, 0.0]])
        stage.pace()
        stage.stream(0.2)


def _change_parameters(stage: Stage) -> None:
    changes: list[dict[str, object]] = [
        {'samples': 7, 'output__step_s': 0.2},
        {'rate_limit_hz': 10.0, 'horizon_s': 1.0},
        {'samples': 50, 'output__step_s': 0.1, 'rate_limit_hz': 0.0, 'horizon_s': 2.0},
    ]
    for change in changes:
        refused = [reason for reason in stage.driver.set_parameters(**change) if reason]
        if refused:
            raise RuntimeError(f'a good change of parameters was refused: {refused}')
        stage.stream(0.4)


def _bad_parameters(stage: Stage) -> None:
    for change in ({'samples': 0}, {'model__device': 'cuda'}, {'output__step_s': float('nan')}):
        if not all(stage.driver.set_parameters(**change)):
            raise RuntimeError(f'a bad change of parameters was accepted: {change}')
        stage.stream(0.2)


def _transitions(stage: Stage, *there_and_back: str) -> None:
    stage.pause(0.4)
    for transition in there_and_back:
        if transition == 'send':
            stage.inactive_stream(0.4)
        elif not stage.driver.change_state(transition):
            raise RuntimeError(f'the transition {transition} failed')
    stage.resume()


def _freeze_node(stage: Stage) -> None:
    stage.node.freeze(True)
    stage.stream(1.2)
    stage.node.freeze(False)
    stage.stream(0.5)


def _slow_subscriber(stage: Stage) -> None:
    # A reliable reader that never takes anything, while another continues.
    idle = stage.driver.idle_subscriber()
    stage.stream(2.0)
    idle.destroy_node()
    rclpy.try_shutdown(context=idle.context)


def _second_clock_behind(stage: Stage) -> None:
    for _ in range(30):
        stage.send([stage.pose()])
        stage.send(
            [stage.pose() + BESIDE_M], stage.driver.now_ns() - 3 * SECOND, publisher=stage.second
        )
        stage.pace()


def _second_in_another_frame(stage: Stage) -> None:
    for _ in range(30):
        stage.send([stage.pose()])
        stage.send([stage.pose() + BESIDE_M], frame_id='cell', publisher=stage.second)
        stage.pace()


def _noise(stage: Stage) -> None:
    rng = stage.rng
    for _ in range(30):
        stage.stream(1.0 / 30.0)
        pose = stage.pose().astype(float)
        for _ in range(int(rng.integers(1, 20))):
            extreme = (np.nan, np.inf, -np.inf, 0.0, 1e308, -1e30, 1e-300, 5.0)
            pose[rng.integers(17), rng.integers(3)] = rng.choice(extreme)
        people = [pose[: rng.integers(1, 18)] if rng.random() < 0.3 else pose]
        stage.send(people * int(rng.integers(1, 4)))


FAULTS = (
    Fault('NaN joints', 'both wrists NaN for 0.3 s', _joints(np.nan, LEFT_WRIST, RIGHT_WRIST),
          ('joints_not_finite',)),
    Fault('zero joints', 'a wrist at exactly (0, 0, 0) for 0.3 s', _joints(0.0, LEFT_WRIST),
          ('joints_at_origin',)),
    Fault('infinite joints', 'a wrist at infinity for 0.3 s', _joints(np.inf, LEFT_WRIST),
          ('joints_not_finite',)),
    Fault('huge joints', 'a wrist at 1e30 m for 0.3 s', _joints(1e30, RIGHT_WRIST),
          ('joints_off_body',)),
    Fault('joint off the body', 'a wrist 40 m away for 0.3 s',
          _joints((40.0, 40.0, 40.0), LEFT_WRIST), ('joints_off_body',)),
    Fault('legs hidden', 'both ankles unseen for 1 s', _hide_legs, ('windows_half_seen',)),
    Fault('nobody', 'empty arrays for 0.5 s', lambda stage: stage.stream(0.5, lambda pose: []),
          ('messages_empty',)),
    Fault('all NaN', 'nothing but NaN for 0.5 s',
          lambda stage: stage.stream(0.5, lambda pose: [np.full((17, 3), np.nan)]),
          ('left_out_no_joints',)),
    Fault('all in one point', 'every joint at the same place for 0.3 s',
          lambda stage: stage.stream(0.3, lambda pose: [np.ones((17, 3))]),
          ('poses_without_body',)),
    Fault('wrong number of joints', 'twelve joints instead of 17 for 0.3 s',
          lambda stage: stage.stream(0.3, lambda pose: [pose[:12]]), ('messages_malformed',)),
    Fault('equal stamps', 'five frames sent twice', _twice, ('poses_duplicate',)),
    Fault('out of order', 'four times two frames in the wrong order', _swap_order,
          ('poses_inserted_late',)),
    Fault('late', 'five frames late by 0.25 s', _late, ('poses_too_late', 'poses_inserted_late')),
    Fault('no stamp', 'stamps of zero for 0.5 s', _without_stamp, ('messages_without_stamp',)),
    Fault('from the future', 'five frames stamped a minute ahead', _future,
          ('observations_far_future',)),
    Fault('clock set back', 'all stamps 20 s back for 1.5 s, then right again', _jump_back,
          ('resets_jump_back',)),
    Fault('another frame', 'frame_id changes for 0.7 s', _other_frame, ('resets_frame_change',)),
    Fault('no frame', 'frame_id is empty for 0.5 s', _without_frame,
          ('messages_without_frame',)),
    Fault('source silent', 'nothing for 1.8 s', lambda stage: stage.pause(1.8),
          ('persons_departed',)),
    Fault('source restarted', 'the publisher goes, and another comes after 1.5 s',
          lambda stage: stage.recreate_main(1.5), ('persons_departed',)),
    Fault('network hiccup', 'a second of frames arrives at once', _hiccup,
          ('frames_skipped', 'messages_lost', 'messages_overdue')),
    Fault('flood', '700 messages at once', _flood,
          ('messages_lost', 'messages_overflowed', 'messages_overdue', 'poses_duplicate',
           'frames_skipped')),
    Fault('360 Hz', '360 frames in a second', _at_360_hz,
          ('frames_skipped', 'messages_lost', 'messages_overdue')),
    Fault('3 Hz', 'three frames a second for 3 s', _at_3_hz,
          ('left_out_gap_too_long', 'left_out_source_too_slow', 'left_out_too_few_poses')),
    Fault('places swapped', 'two people change places in the message', _swap_ids),
    Fault('slip', 'three times one pose 6 m away', _slip, ('observations_elsewhere',)),
    Fault('second person', 'somebody comes for 1 s and goes',
          lambda stage: stage.stream(1.0, lambda pose: [pose, pose + BESIDE_M]),
          ('persons_appeared',)),
    Fault('parameters changed', 'samples, step, horizon and rate while running',
          _change_parameters),
    Fault('bad parameters', 'three changes that must be refused', _bad_parameters),
    Fault('deactivated', 'deactivate and activate, frames meanwhile',
          lambda stage: _transitions(stage, 'deactivate', 'send', 'activate')),
    Fault('configured anew', 'deactivate, clean up, configure, activate',
          lambda stage: _transitions(
              stage, 'deactivate', 'cleanup', 'send', 'configure', 'activate')),
    Fault('node frozen', 'SIGSTOP for 1.2 s', _freeze_node,
          ('frames_skipped', 'messages_lost', 'messages_overdue')),
    Fault('slow subscriber', 'a reliable reader that takes nothing for 2 s comes and goes',
          _slow_subscriber),
    Fault('second clock behind', 'a second tracker whose clock is 3 s behind',
          _second_clock_behind, ('left_out_source_behind',)),
    Fault('second frame', 'a second tracker in another frame', _second_in_another_frame,
          ('observations_other_frame',)),
    Fault('noise', 'random numbers, extreme ones, in random places', _noise,
          ('joints_not_finite', 'messages_malformed', 'joints_off_body')),
)  # fmt: skip
"""All kinds, in the order of docs/results/soak.md."""


def shuffled(rng: np.random.Generator, faults: Sequence[Fault] = FAULTS) -> list[Fault]:
    """Return every kind once, in random order."""
    return [faults[index] for index in rng.permutation(len(faults))]


def stamp_is_known(stamp_ns: int, sent: Collection[int], unstamped: list[tuple[int, int]]) -> bool:
    """Return whether a prediction's stamp was sent, or lies where stamps were zero."""
    return stamp_ns in sent or any(begin <= stamp_ns <= end for begin, end in unstamped)
