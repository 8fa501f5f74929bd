# SPDX-License-Identifier: Apache-2.0
"""Run predictor nodes, one for each entry of a JSON object {name: parameters}, in one process."""

from __future__ import annotations

import json
import sys

import rclpy
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from motion_predictor.ros.node import MotionPredictorNode


def main() -> int:
    """Configure and activate all nodes, report it, and spin until interrupted."""
    rclpy.init()
    executor = MultiThreadedExecutor(2)
    nodes = []
    for name, values in json.loads(sys.argv[1]).items():
        overrides = [Parameter(key, value=value) for key, value in values.items()]
        node = MotionPredictorNode(name, parameter_overrides=overrides)
        nodes.append(node)
        for transition in (node.trigger_configure, node.trigger_activate):
            if transition() != TransitionCallbackReturn.SUCCESS:
                print(f'{name} does not start', flush=True)
                return 1
        executor.add_node(node)
    print('ready', flush=True)
    try:
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        for node in nodes:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
