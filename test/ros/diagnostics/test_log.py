# SPDX-License-Identifier: Apache-2.0
"""What a node process says in its log of what it waits for."""

from __future__ import annotations

from pathlib import Path
import signal
import threading
import time

import pytest

pytest.importorskip('rclpy')

from ros_harness import PATIENCE_S, process, wait_until

pytestmark = pytest.mark.ros


@pytest.mark.slow
@pytest.mark.parametrize(
    'parameters, told',
    [
        ({}, ['ros2 lifecycle set /motion_predictor configure']),
        (
            {'autostart': True},
            ['waits for geometry_msgs/msg/PoseArray on /people', 'no input on /people'],
        ),
    ],
)
def test_a_node_says_what_it_waits_for(
    weights: Path, parameters: dict[str, object], told: list[str]
) -> None:
    lines: list[str] = []
    values = {'model.path': weights, 'model.threads': 1, **parameters}
    with process('motion_predictor', values, {'skeleton': '/people'}) as node:
        reader = threading.Thread(target=lambda: lines.extend(iter(node.stdout.readline, '')))
        reader.start()
        try:
            wait_until(
                lambda: all(any(words in line for line in lines) for words in told),
                lambda: time.sleep(0.05),
                f'{told} in the log',
            )
        finally:
            node.send_signal(signal.SIGINT)
            node.wait(PATIENCE_S)
            reader.join()
    counts = [sum(words in line for line in lines) for words in told]
    assert counts == [1] * len(told), 'once is enough'
