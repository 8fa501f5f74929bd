# SPDX-License-Identifier: Apache-2.0
"""The table of how soon a speed limit ends; what is measured needs processes and time."""

from __future__ import annotations

import pytest

pytest.importorskip('rclpy')

from tools.measure.stop_time import MONITORS, report


def test_the_table_has_medians_and_a_ratio_to_the_alternative() -> None:
    first, last = MONITORS
    lines = report({first: [0.05, 0.07, 0.06], last: [0.3, 0.2, 0.4]})
    assert lines[2] == f'| {first} | 60 | 70 | 0.20 |'
    assert lines[3] == f'| {last} | 300 | 398 | 1.00 |'
