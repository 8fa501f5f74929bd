# SPDX-License-Identifier: Apache-2.0
"""The window of one whole body is that of the rules for several people."""

from histories import SECOND, START
import numpy as np
import pytest

from motion_predictor.model.config import WindowConfig
from motion_predictor.recordings.walker import walk
from motion_predictor.track.history import PoseHistory, windows_of_histories
from motion_predictor.track.window import ObservedWindow
from motion_predictor.track.windows.one_whole import window_of_whole_body


def history(times_s: np.ndarray, hidden: bool = False) -> PoseHistory:
    """Return the history of somebody who walks; at last one joint may be hidden."""
    found = PoseHistory()
    poses = walk(float(times_s[-1]) + 1.0, 200.0, np.random.default_rng(3))
    for at_s in times_s.tolist():
        pose = poses[round(at_s * 200.0)].copy()
        if hidden and at_s == times_s[-1]:
            pose[4] = np.nan
        found.add(START + round(at_s * SECOND), pose)
    return found


def alone(found: PoseHistory) -> ObservedWindow | None:
    """Return the window by the shorter way."""
    return window_of_whole_body(found._poses, WindowConfig(), found.limits)


@pytest.mark.parametrize('rate_hz', [8.0, 12.0, 25.0, 30.0, 50.0, 60.0])
@pytest.mark.parametrize('seconds', [0.6, 3.0])
@pytest.mark.parametrize('uneven', [0.0, 0.4])
def test_it_is_the_window_beside_somebody(rate_hz: float, seconds: float, uneven: float) -> None:
    rng = np.random.default_rng(1)
    times_s = np.arange(round(seconds * rate_hz)) / rate_hz
    times_s = times_s + rng.uniform(0.0, uneven, len(times_s)) / rate_hz
    found, other = history(times_s), history(np.arange(40) / 20.0)
    window = alone(found)
    beside, _ = windows_of_histories([found, other])
    assert window is not None
    assert isinstance(beside, ObservedWindow)
    np.testing.assert_allclose(window.poses, beside.poses, atol=1e-11)
    assert window.filled.shape == beside.filled.shape
    assert not window.filled.any()
    assert window.stamp_ns == beside.stamp_ns
    assert window.padded_frames == beside.padded_frames
    assert window.source_period_s == beside.source_period_s


@pytest.mark.parametrize(
    'found',
    [
        history(np.arange(100) / 30.0, hidden=True),
        history(np.arange(200) / 100.0),
        history(np.arange(20) / 3.0),
        history(np.arange(5) / 30.0),
        history(np.r_[np.arange(40), np.arange(62, 75)] / 30.0),
    ],
    ids=['a joint is missing', 'fast', 'slow', 'new', 'a gap'],
)
def test_other_cases_are_left_to_the_rules(found: PoseHistory) -> None:
    assert alone(found) is None
