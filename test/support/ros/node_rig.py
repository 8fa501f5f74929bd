# SPDX-License-Identifier: Apache-2.0
"""Nodes in this process, made and destroyed, and their predictions."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter as RosParameter
from ros_harness import Listener, Source
from sensor_msgs.msg import PointCloud2

from motion_predictor.ros.messages import (
    decode_predictions,
)
from motion_predictor.ros.node import (
    MotionPredictorNode,
)
from motion_predictor.ros.replay import ENCODERS

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class Nodes:
    """Makes nodes in the listener's context and destroys them."""

    def __init__(self, listener: Listener, weights: Path) -> None:
        self.listener, self.weights = listener, weights
        self.made: list[MotionPredictorNode] = []

    def make(self, **parameters: Any) -> MotionPredictorNode:
        values = {'model.path': str(self.weights), 'samples': 4, **parameters}
        node = MotionPredictorNode(
            context=self.listener.context,
            parameter_overrides=[RosParameter(name, value=v) for name, v in values.items()],
        )
        self.made.append(node)
        self.listener.executor.add_node(node)
        return node

    def start(self, **parameters: Any) -> MotionPredictorNode:
        node = self.make(**parameters)
        assert node.trigger_configure() == SUCCESS
        assert node.trigger_activate() == SUCCESS
        return node

    def close(self) -> None:
        while self.made:
            node = self.made.pop()
            self.listener.executor.remove_node(node)
            node.destroy_node()
            del node
        # A lifecycle node stays in the graph until nothing refers to it, and others look there.
        gc.collect()


def predictions_of(
    listener: Listener, kind: str, people: list[np.ndarray], frame_id: str = 'map'
) -> Any:
    """Publish walking people in one form of message until they are predicted."""
    clouds = listener.collect(PointCloud2, '/motion_predictor/predictions')
    source = Source(listener.node, ENCODERS[kind][0], '/skeleton')
    for poses in zip(*people):
        source.send(ENCODERS[kind][1](list(poses)), frame_id)
        listener.spin()
        if clouds and len(decode_predictions(clouds[-1]).persons) == len(people):
            return decode_predictions(clouds[-1])
    raise AssertionError(f'{len(people)} people as {kind} were not predicted')
