# SPDX-License-Identifier: Apache-2.0
"""A managed node that survives a transition which its state does not allow."""

from __future__ import annotations

from typing import Any

from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode

_ASKED = '_LifecycleNodeMixin__on_change_state'
"""rclpy's own callback of ``~/change_state``."""


class TolerantLifecycleNode(LifecycleNode):
    """
    A managed node that answers every request for a change of its state.

    Up to ROS 2 Jazzy, rclpy raises an error in the service's callback when a client asks for a
    transition that the present state does not allow, which ends the process. Later releases
    answer that it failed; here all of them do.
    """

    def _LifecycleNodeMixin__on_change_state(self, req: Any, resp: Any) -> Any:  # noqa: N802
        try:
            return getattr(super(), _ASKED)(req, resp)
        except rclpy_implementation.RCLError as error:
            self.get_logger().error(f'transition {req.transition.id} refused: {error}')
            resp.success = False
            return resp
