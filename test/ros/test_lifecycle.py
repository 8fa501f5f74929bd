# SPDX-License-Identifier: Apache-2.0
"""A transition that the state does not allow is refused, whatever this rclpy does with it."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip('rclpy')

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode
from ros_harness import Listener

from motion_predictor.ros.lifecycle import TolerantLifecycleNode


def changed(listener: Listener, transition: int) -> bool:
    """Ask the node for a change of its state, over DDS."""
    client = listener.node.create_client(ChangeState, '/tolerant/change_state')
    listener.wait(client.service_is_ready, 'the service')
    asked = client.call_async(ChangeState.Request(transition=Transition(id=transition)))
    listener.wait(asked.done, 'an answer')
    return bool(asked.result().success)


@pytest.mark.parametrize('raises', [False, True], ids=['as it is', 'as in Jazzy'])
def test_a_client_may_ask_for_what_is_not_allowed(
    listener: Listener, monkeypatch: pytest.MonkeyPatch, raises: bool
) -> None:
    # The second case stands in for rclpy up to Jazzy, where only one of the two is installed.
    name = '_LifecycleNodeMixin__on_change_state'
    theirs = getattr(LifecycleNode, name)

    def raising(self: Any, req: Any, resp: Any) -> Any:
        if req.transition.id == Transition.TRANSITION_ACTIVATE:
            raise rclpy_implementation.RCLError('Transition is not registered.')
        return theirs(self, req, resp)

    if raises:
        monkeypatch.setattr(LifecycleNode, name, raising)
    node = TolerantLifecycleNode('tolerant', context=listener.context)
    listener.executor.add_node(node)
    try:
        assert not changed(listener, Transition.TRANSITION_ACTIVATE)
        assert changed(listener, Transition.TRANSITION_CONFIGURE), 'it goes on'
    finally:
        listener.executor.remove_node(node)
        node.destroy_node()
