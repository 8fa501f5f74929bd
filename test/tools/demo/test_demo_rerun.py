# SPDX-License-Identifier: Apache-2.0
"""The demo's recording for Rerun, where its SDK is installed; without it, what is said."""

from __future__ import annotations

from pathlib import Path
import subprocess
import sys

from demo_runs import collection_of, RATE_HZ
import numpy as np
import pytest

pytest.importorskip('scipy')

from motion_predictor.recordings.walker import synthetic_walkers
from tools.demo.demo_rerun import import_rerun, RerunError, write_rerun
from tools.demo.demo_scores import Collection, score


def collection() -> Collection:
    """Two people who walk for a second, and three predictions of each."""
    walkers = list(synthetic_walkers(2, 4.0).persons.values())
    frames = np.arange(0, 50, 2)
    poses = np.stack([walk[frames] for walk in walkers], axis=1)  # (N, 2, 17, 3)
    stamps = frames / 50.0
    rng = np.random.default_rng(0)
    futures = np.stack(
        [walkers[person][last + 5 : last + 105 : 5] for last in (30, 40, 48) for person in (0, 1)]
    )
    spread = rng.normal(0.0, 0.1, (6, 4, 20, 1, 3))
    shown = np.array([15, 20, 24])
    return Collection(
        stamps, poses, stamps[shown], stamps[shown], stamps[shown],
        0.1 * np.arange(1, 21), np.repeat([0, 1, 2], 2), np.tile([0, 1], 3),
        np.full((6, 4), 0.25, np.float32), (futures[:, None] + spread).astype(np.float32),
        futures.astype(np.float32),
    )  # fmt: skip


def test_without_rerun_the_demo_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'rerun', None)
    with pytest.raises(RerunError, match=r'pip install .*rerun-sdk'):
        import_rerun()


def test_everybody_and_their_futures_are_in_the_recording(tmp_path: Path) -> None:
    pytest.importorskip('rerun')
    path = write_rerun(tmp_path / 'demo.rrd', collection(), 'two people')
    assert path.read_bytes()[:3] == b'RRF'
    shown = subprocess.run(
        [sys.executable, '-m', 'rerun', 'rrd', 'print', '-v', str(path)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert shown.returncode == 0, shown.stderr
    for person in (0, 1):
        for what in ('observed', 'expected', 'samples', 'occupied_at_the_end'):
            assert f'/world/person_{person}/{what}' in shown.stdout, shown.stdout[-2000:]
    assert '/latency/publication' in shown.stdout


def test_errors_are_beside_the_people_and_occupancy_is_hidden(tmp_path: Path) -> None:
    pytest.importorskip('rerun')
    known = collection_of(synthetic_walkers(1, 4.0, RATE_HZ), samples=2)
    path = write_rerun(tmp_path / 'demo.rrd', known, 'somebody', score(known))
    shown = subprocess.run(
        [sys.executable, '-m', 'rerun', 'rrd', 'print', '-v', str(path)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert shown.returncode == 0, shown.stderr
    for name in ('expected_future', 'damped_velocity', 'standing_still'):
        assert f'/error/{name}' in shown.stdout
    assert 'EntityBehavior' in shown.stdout
    assert 'occupied_at_the_end' in shown.stdout
