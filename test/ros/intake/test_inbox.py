# SPDX-License-Identifier: Apache-2.0
"""What waits for the worker, and what is dropped of it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('rclpy')

from node_rig import Nodes, SUCCESS
from ros_harness import Listener

from motion_predictor.ros.intake.inbox import Arrival


def test_a_full_inbox_keeps_the_newest_and_counts_what_it_dropped(
    listener: Listener, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = nodes.make()
    monkeypatch.setattr('motion_predictor.ros.intake.inbox.INBOX_SIZE', 8)
    store = node._inbox.store('skeleton')
    for number in range(20):
        store(number, {'publication_sequence_number': number, 'publisher_gid': {'data': b'a'}})
    assert [arrival.message for arrival in node._inbox] == list(range(12, 20))
    assert node._counts.snapshot()['messages_overflowed'] == 12


def test_of_a_flood_as_many_messages_as_can_be_read_are_taken_evenly(nodes: Nodes) -> None:
    node = nodes.make()
    assert node.trigger_configure() == SUCCESS
    assert node._session is not None
    for index in range(500):
        node._inbox.append(Arrival('skeleton', index, 0, index / 1000.0))
    subscriptions = node._session.input.subscriptions
    taken = [
        arrival.message for arrival in node._inbox.take_timely(subscriptions, len(node._inbox))
    ]
    assert len(taken) == 50
    assert (taken[0], taken[-1]) == (0, 499)
    assert max(np.diff(taken)) <= 11
    assert node._counts.snapshot()['messages_overdue'] == 450
