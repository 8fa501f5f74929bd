# SPDX-License-Identifier: Apache-2.0
"""People before a LivePredictor whose network continues the last motion."""

from __future__ import annotations

import numpy as np

from motion_predictor.body.skeleton import H36M17
from motion_predictor.model.config import WindowConfig
from motion_predictor.predict.live import LivePrediction, LivePredictor
from motion_predictor.predict.prediction import Prediction
from motion_predictor.sources.observation import Observation
from motion_predictor.track.messages import ObserveOutcome

SECOND = 1_000_000_000


START = 1_700_000_000 * SECOND


PERIOD = SECOND // 30


REST = np.array([
    [0.0, 0.0, 0.9], [0.0, -0.1, 0.9], [0.0, -0.1, 0.5], [0.0, -0.1, 0.1], [0.0, 0.1, 0.9],
    [0.0, 0.1, 0.5], [0.0, 0.1, 0.1], [0.0, 0.0, 1.13], [0.0, 0.0, 1.38], [0.05, 0.0, 1.54],
    [0.03, 0.0, 1.65], [0.0, 0.18, 1.34], [0.0, 0.18, 1.06], [0.0, 0.18, 0.81],
    [0.0, -0.18, 1.34], [0.0, -0.18, 1.06], [0.0, -0.18, 0.81],
])  # fmt: skip


class GoesOn:
    """A model in which everybody continues the motion of the last two frames."""

    window = WindowConfig()
    skeleton = H36M17

    def __init__(self) -> None:
        self.batches: list[int] = []

    def predict(
        self, observed: np.ndarray, *, samples: int, seed: int, seen: np.ndarray | None = None
    ) -> Prediction:
        """Continue straight on, the same in every sample."""
        self.batches.append(len(observed))
        step = observed[:, -1] - observed[:, -2]
        ahead = np.arange(1, self.window.future_frames + 1)[None, :, None, None] * step[:, None]
        futures = np.repeat((observed[:, -1, None] + ahead)[:, None], samples, axis=1)
        weights = np.full((len(observed), samples), 1.0 / samples, dtype=np.float32)
        return Prediction(futures.astype(np.float32), weights, self.window.rate_hz)


def pose_at(stamp_ns: int, place: float = 2.0, speed: float = 1.0) -> np.ndarray:
    """Return a person who slides along y at a constant speed, ``place`` metres ahead."""
    return REST + [place, speed * (stamp_ns - START) / SECOND, 0.0]


def see(
    online: LivePredictor,
    person: str,
    stamps: np.ndarray | range,
    *,
    place: float = 2.0,
    frame_id: str = 'map',
    now: bool = False,
) -> list[ObserveOutcome]:
    """Observe a person at every stamp."""
    return [
        online.observe(
            Observation(int(stamp), frame_id, person, pose_at(int(stamp), place)),
            int(stamp) if now else None,
        ).outcome
        for stamp in stamps
    ]


def stamps(first: int, last: int, offset: int = 0) -> range:
    """Return stamps of frames first..last - 1 at 30 Hz."""
    return range(START + first * PERIOD + offset, START + last * PERIOD + offset, PERIOD)


def online_with(**settings_: object) -> LivePredictor:
    """Return a live predictor with the model above."""
    return LivePredictor(GoesOn(), samples=2, **settings_)


def predicted(online: LivePredictor, now_ns: int | None = None) -> LivePrediction:
    """Predict after a change."""
    result = online.predict(now_ns)
    assert result is not None
    return result


def expected_futures(result: LivePrediction, place: float) -> np.ndarray:
    """Return the sliding person's positions at the output's times, (T_fut, J, 3)."""
    return np.stack([
        pose_at(result.stamp_ns + round((i + 1) * SECOND / 50), place) for i in range(100)
    ])  # fmt: skip
