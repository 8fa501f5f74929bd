# SPDX-License-Identifier: Apache-2.0
"""One prediction in the form from which the outputs are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.predict.futures.sampled import Turned
from motion_predictor.predict.keyframes import keyframes, LAST_POSE, or_last_pose
from motion_predictor.predict.likely import likely_futures
from motion_predictor.predict.live import LivePrediction
from motion_predictor.predict.prediction import Prediction
from motion_predictor.ros.parameters import Settings
from motion_predictor.ros.publish.seen import places


@dataclass(frozen=True)
class Shown:
    """The published frames of a prediction, and the numbers of its people."""

    result: LivePrediction
    numbers: Sequence[int]
    """Numbers of ``result.persons``."""
    frames: np.ndarray
    """Indices of the model's frames, (T,)."""
    turn: np.ndarray | None = None
    """Matrix (3, 3) that turned the input level, to be undone; None for none."""

    @cached_property
    def futures(self) -> np.ndarray:
        """Return the futures of every sample in the output frame, metres, (P, S, T, J, 3)."""
        assert self.result.prediction is not None
        futures = self.result.prediction.futures_at(self.frames)
        return futures if self.turn is None else futures @ self.turn.astype(futures.dtype)


@dataclass(frozen=True)
class Outlook:
    """
    The content of the outputs for P people, in metres in the output frame.

    ``prediction`` holds all frames of the model. ``last_poses`` (P, J, 3) are the last observed
    poses, ``numbers`` the people's numbers, and ``frames`` the frames of ~/predictions.
    """

    stamp_ns: int
    frame_id: str
    numbers: tuple[int, ...]
    prediction: Prediction
    last_poses: np.ndarray
    frames: np.ndarray
    skeleton: Skeleton
    seen: np.ndarray = field(default_factory=lambda: np.ones((1, 1), dtype=bool))
    """Which joints were measured in the newest pose, bool (P, J), or broadcastable to it."""
    others: Sequence[np.ndarray] = ()
    """Last poses (J, 3), metres, of everybody who is seen but not predicted."""

    @classmethod
    def of(
        cls,
        result: LivePrediction,
        numbers: Sequence[int],
        frames: np.ndarray,
        skeleton: Skeleton,
        turn: np.ndarray | None = None,
    ) -> Outlook:
        """
        Return the outlook of a prediction of at least one person.

        :param result: the prediction.
        :param numbers: numbers of ``result.persons``.
        :param frames: indices of the published frames.
        :param skeleton: the model's skeleton.
        :param turn: matrix (3, 3) that made the input level and is undone here; None for none.
        """
        assert result.prediction is not None
        prediction, poses = result.prediction, result.last_poses
        if turn is not None:
            prediction, poses = turned(prediction, turn.T), poses @ turn
        return cls(
            result.stamp_ns,
            result.frame_id,
            tuple(numbers),
            prediction,
            poses,
            frames,
            skeleton,
            ~result.last_filled,
            places(result.others, turn),
        )

    @property
    def last_frame(self) -> int:
        """Return the last frame of the published horizon."""
        return int(self.frames[-1])

    def likely_poses(
        self, settings: Settings, horizons_s: Sequence[float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """
        Return the poses of each person's one future at keyframes.

        :param settings: the node's parameters.
        :param horizons_s: keyframes in seconds after the stamp; one beyond the published horizon
            means its last frame.
        :returns: times in seconds (K,) and poses in metres (P, K, J, 3).
        """
        rate_hz = self.prediction.rate_hz
        frames = keyframes(horizons_s, rate_hz, self.last_frame + 1)
        at = np.maximum(frames, 0)
        likely = likely_futures(self.prediction, settings.output.future, at)
        poses = or_last_pose(likely, self.last_poses, frames)
        return np.where(frames == LAST_POSE, 0.0, (frames + 1) / rate_hz), poses


def turned(prediction: Prediction, rotation: np.ndarray) -> Prediction:
    """Return futures and moments rotated by a matrix (3, 3): ``rotation @ point``."""
    stated = prediction.closed_form
    return replace(
        prediction,
        sampled=Turned(prediction.sampled, rotation),
        closed_form=None if stated is None else stated.turned(rotation),
        mix=prediction.mix and prediction.mix.turned(rotation),
    )
