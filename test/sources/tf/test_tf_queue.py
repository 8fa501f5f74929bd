# SPDX-License-Identifier: Apache-2.0
"""Observations that wait for their transform: in order, many deep, and nobody for anybody else."""

from __future__ import annotations

import numpy as np

from motion_predictor.sources.observation import Observation
from motion_predictor.sources.tf.queue import Held, MAX_HELD, Place, TransformQueue

SECOND = 1_000_000_000
IDENTITY = (np.eye(3), np.zeros(3))


class Known:
    """A look-up of transforms that are there up to some stamp."""

    def __init__(self) -> None:
        self.until_ns = 0
        self.asked = 0

    def __call__(self, frame_id: str, stamp_ns: int) -> tuple[np.ndarray, np.ndarray] | None:
        self.asked += 1
        return IDENTITY if frame_id == 'fixed' or stamp_ns <= self.until_ns else None


def message(stamp_ns: int, *frames: str, topic: str = 'skeleton') -> Held:
    held = Held(stamp_ns, topic, stamp_ns * 1e-9)
    for number, frame in enumerate(frames):
        person = Observation(stamp_ns, frame, str(number), np.zeros((17, 3)), np.zeros(17))
        held.groups.setdefault(Place(frame, stamp_ns), []).append(person)
    return held


def take(
    queue: TransformQueue, known: Known, now_ns: int, timeout_s: float = 0.3
) -> list[tuple[int, str, bool, bool]]:
    """Stamp, frame, whether a transform was found, whether the message is done with."""
    return [
        (
            each.held.arrival,
            each.place.frame_id if each.place else '',
            each.found is not None,
            each.last,
        )
        for each in queue.ready(known, now_ns * 1e-9, timeout_s)
    ]


def test_messages_several_deep_wait_for_transforms_that_come_late_and_keep_their_order() -> None:
    queue, known, found = TransformQueue(0.5), Known(), []
    for frame in range(30):
        now_ns = SECOND + frame * SECOND // 30
        queue.put(message(now_ns, 'camera'))
        known.until_ns = now_ns - 150_000_000
        found += take(queue, known, now_ns)
        assert len(queue) <= 6
    assert [stamp for stamp, *_ in found] == [SECOND + f * SECOND // 30 for f in range(25)]
    assert all(there and last for *_, there, last in found)


def test_who_has_waited_for_long_enough_is_answered_without_a_transform() -> None:
    queue, known = TransformQueue(0.5), Known()
    queue.put(message(SECOND, 'camera'))
    assert take(queue, known, SECOND + 290_000_000) == []
    assert take(queue, known, SECOND + 300_000_000) == [(SECOND, 'camera', False, True)]
    assert len(queue) == 0


def test_nobody_waits_for_anybody_of_another_frame_or_topic() -> None:
    queue, known = TransformQueue(0.5), Known()
    queue.put(message(SECOND, 'nowhere', 'fixed'))
    queue.put(message(SECOND + 1, 'fixed', topic='other'))
    queue.put(message(SECOND + 2, 'fixed'))
    assert take(queue, known, SECOND + 2) == [
        (SECOND, 'fixed', True, False),
        (SECOND + 1, 'fixed', True, True),
        (SECOND + 2, 'fixed', True, True),
    ]
    assert take(queue, known, 2 * SECOND) == [(SECOND, 'nowhere', False, True)]


def test_that_nobody_is_there_is_said_after_those_who_were_there_before() -> None:
    queue, known = TransformQueue(0.5), Known()
    queue.put(message(SECOND, 'camera'))
    queue.put(message(SECOND + 1))
    queue.put(message(SECOND + 2, topic='other'))
    assert take(queue, known, SECOND + 2) == [(SECOND + 2, '', False, True)]
    known.until_ns = SECOND
    assert take(queue, known, SECOND + 2) == [
        (SECOND, 'camera', True, True),
        (SECOND + 1, '', False, True),
    ]


def test_what_waits_is_bounded_and_asked_for_once_a_frame() -> None:
    queue, known = TransformQueue(0.5), Known()
    for index in range(MAX_HELD + 50):
        queue.put(message(SECOND + index, 'camera'))
    found = take(queue, known, SECOND + MAX_HELD)
    assert [stamp for stamp, *_ in found] == [SECOND + index for index in range(50)]
    assert len(queue) == MAX_HELD
    known.asked = 0
    assert take(queue, known, SECOND + MAX_HELD) == []
    assert known.asked == 1


def test_stamps_that_fall_back_in_several_messages_are_a_new_beginning() -> None:
    queue = TransformQueue(0.5)
    assert not queue.put(message(60 * SECOND, 'camera'))
    assert not queue.put(message(SECOND, 'camera')), 'a straggler'
    assert not queue.put(message(61 * SECOND, 'camera'))
    fell = [queue.put(message(SECOND + frame, 'camera')) for frame in range(6)]
    assert fell == [False, False, True, False, False, False]
