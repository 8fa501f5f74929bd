# SPDX-License-Identifier: Apache-2.0
"""The path of a frame through the node for a few people and a crowd, for training benchmark."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
import subprocess
import sys
import tempfile
from typing import Any

from training.judge.speed.benchmark_options import BenchmarkOptions
from training.judge.speed.cases import note


def crowd(options: BenchmarkOptions, unavailable: list[str]) -> dict[str, Any] | None:
    """
    Run ``python -m tools.measure.crowd``, which times every stage of a frame in the real node.

    :param unavailable: receives a line if ROS 2 is missing or the node failed.
    :returns: its figures, with its tables as ``text``; None if it is left out or failed.
    """
    if options.crowd_seconds <= 0.0 or not options.crowd:
        return None
    if importlib.util.find_spec('rclpy') is None:
        note(unavailable, 'a crowd: rclpy is not installed; source a ROS 2 or run scripts/prepare')
        return None
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / 'crowd.json'
        words = ['--persons', *map(str, options.crowd), '--seconds', str(options.crowd_seconds)]
        words += ['--samples', str(options.samples), '--json', str(out)]
        done = subprocess.run(
            [sys.executable, '-m', 'tools.measure.crowd', *words],
            cwd=Path(__file__).resolve().parents[3],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ['no message'])[-1]
            note(unavailable, f'a crowd: {last}')
            return None
        found: dict[str, Any] = json.loads(out.read_text())
    return {**found, 'text': done.stdout.strip()}
