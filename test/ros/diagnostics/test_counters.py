# SPDX-License-Identifier: Apache-2.0
"""Every counter that the pages name is counted."""

from __future__ import annotations

from pathlib import Path
import re

import pytest

pytest.importorskip('rclpy')

from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter as RosParameter
from ros_harness import Listener, ROOT

from motion_predictor.ros.node import MotionPredictorNode


def test_every_counter_that_the_page_on_bad_days_names_is_counted(
    weights: Path, listener: Listener
) -> None:
    page = (ROOT / 'docs' / 'design' / 'robustness.md').read_text()
    named = set(re.findall(r'`((?:messages|frames|joints|poses|observations|persons|resets|windows'
                           r'|left_out|device|worker)[a-z_]*)`', page))  # fmt: skip
    node = MotionPredictorNode(
        context=listener.context,
        parameter_overrides=[
            RosParameter('model.path', value=str(weights)),
            RosParameter('input.type', value='marker_array'),
        ],
    )
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        session = node._session
        assert session is not None
        known = {*node._counts.snapshot(), *session.online.counters}
        known |= set(session.input.source.counters)
    finally:
        node.destroy_node()
    assert len(named) > 30
    assert named <= known, 'the page names what is not counted'
