# SPDX-License-Identifier: Apache-2.0
"""The memory of one more person has a stated bound, and the cost of a frame is told by parts."""

import json
from pathlib import Path

from histories import SECOND, START, walker
import numpy as np
import pytest

from motion_predictor.track.history import PoseHistory
from tools.measure.growth import held_mb, main

HELD_MB = 0.25
"""As docs/results/many_people.md states it for a source of 30 Hz."""
HISTORY_MB = 2.0
"""The same for a history at the highest rate of a source, 1000 Hz."""


@pytest.mark.slow
def test_one_person_more_holds_at_most_the_stated_memory() -> None:
    few, many = (held_mb(people, frames=120, samples=50) for people in (1, 5))
    assert 0.02 < (many - few) / 4 < HELD_MB


def test_a_history_is_bounded_at_the_highest_rate() -> None:
    history = PoseHistory()
    poses = walker(np.arange(5000) / 1000.0)
    held = []
    for number, pose in enumerate(poses):
        history.add(START + number * SECOND // 1000, pose)
        if number % 500 == 499:
            stored = history._poses
            held.append(sum(a.nbytes for a in (stored.stamps, stored.xyz, stored.valid)) / 1e6)
    assert len(history) > 1000, 'it must hold a whole window of such a source'
    assert max(held) < HISTORY_MB
    assert held[-1] == held[4], 'it does not grow on'


@pytest.mark.slow
def test_the_cost_is_measured_along_every_axis_and_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    axes = ['--people', '1', '2', '--samples', '5', '--horizon-s', '1.0', '--joints', '7', '20']
    out = ['--json', str(tmp_path / 'growth.json'), '--plot', str(tmp_path / 'growth.svg')]
    assert main([*axes, '--frames', '3', '--rounds', '1', *out]) == 0
    found = json.loads((tmp_path / 'growth.json').read_text())
    assert [row['axis'] for row in found['rows']] == [
        'people', 'people', 'samples', 'horizon_s', 'joints', 'joints',
    ]  # fmt: skip
    for row in found['rows']:
        assert all(value > 0.0 for value in row['stages_ms'].values())
    assert found['peak_mb_a_person'] > found['mb_a_person'] > 0.0
    assert '| 20 joints |' in capsys.readouterr().out
    assert '<svg' in (tmp_path / 'growth.svg').read_text()
