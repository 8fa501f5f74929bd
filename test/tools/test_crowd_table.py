# SPDX-License-Identifier: Apache-2.0
"""The tables of a crowd's figures."""

from __future__ import annotations

import json
from pathlib import Path
import subprocess
import sys
import threading
from typing import Any

import pytest

pytest.importorskip('rclpy')

from tools.measure.crowd import figures
from tools.measure.crowd_table import table
from tools.measure.timed_node import STAGES, Stopwatch, timed

ROOT = Path(__file__).resolve().parents[2]
ASK = """
import json
import motion_predictor.ros.node
from tools.measure.timed_node import instrument, Stopwatch
print(json.dumps(instrument(Stopwatch())))
"""


def row(checkout: str, persons: int, took_s: float) -> dict[str, Any]:
    frames = [{'model': [took_s, 0.5 * took_s], 'publish': [0.001, 0.001]}] * 4
    threads = {'worker': 4.0 * took_s, 'middleware': 0.004, 'executor': 0.002, 'others': 0.0}
    found = {'frames': frames, 'passed_s': 2.0, 'threads_s': threads, 'missing': []}
    numbers = figures(found, [0.02, 0.03, 0.04, 0.05], [persons] * 4, 60)
    return {'checkout': checkout, 'persons': persons, **numbers}


def test_figures_are_those_of_the_frames() -> None:
    found = row('this', 3, 0.010)
    assert found['stages']['model'] == {'wall_ms': 10.0, 'wall_p99_ms': 10.0, 'cpu_ms': 5.0}
    assert found['stages']['window']['cpu_ms'] == 0.0
    assert (found['in_hz'], found['out_hz'], found['people']) == (30.0, 2.0, 3.0)
    assert found['late_ms'] == 35.0
    assert found['process_cpu_ms'] == pytest.approx(11.5)
    assert found['ros_share'] == pytest.approx(2.5 / 11.5, abs=1e-3)


def test_two_checkouts_stand_beside_each_other_with_their_ratio() -> None:
    rows = [row('this', 1, 0.010), row('that', 1, 0.020), row('this', 1, 0.010)]
    commits = {'this': 'a' * 40, 'that': 'b' * 40}
    text = table({'rows': rows, 'commits': commits, 'settings': {'seconds': 2.0}})
    assert '| predictions measured | 8 / 4 |' in text
    assert 'Stages, ms a frame, that:' in text
    assert '| model | 20.00, 10.00 |' in text
    (line,) = [line for line in text.splitlines() if line.startswith("| the worker's frame")]
    assert '11.0 / 21.0 (0.52)' in line


def test_every_stage_is_there_in_this_checkout() -> None:
    done = subprocess.run(
        [sys.executable, '-c', ASK], cwd=ROOT, capture_output=True, text=True, check=True
    )
    missing = json.loads(done.stdout)  # in a process of its own, whose functions it changes
    assert missing == ['predict.place.candidates:side_by_side'], 'that of an older checkout'


def test_what_is_called_within_counts_for_itself_alone() -> None:
    watch = Stopwatch()
    inner = timed(lambda: sum(range(200_000)), 'memory', watch)
    outer = timed(inner, 'weighing', watch)

    def work() -> None:
        timed(outer, 'model', watch)()

    thread = threading.Thread(target=work, name='prediction worker')
    thread.start()
    thread.join()
    (frame,) = watch.frames
    assert set(frame) == {'memory', 'weighing', 'model'} <= set(STAGES)
    assert frame['memory'][1] > 10 * max(frame['weighing'][1], frame['model'][1])
