# SPDX-License-Identifier: Apache-2.0
"""The samples of all candidates side by side: their means and their spreads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from motion_predictor.body.geometry import squares
from motion_predictor.model.candidates import CANDIDATES, DAMPED, knot_frames, MEMORY, MODEL, STILL
from motion_predictor.model.config import WindowConfig
from motion_predictor.predict.futures.sampled import Futures
from motion_predictor.predict.place.candidates import damping, Stance

if TYPE_CHECKING:
    from motion_predictor.predict.place.memory.recall import Followed, Recall
    from motion_predictor.predict.prediction import Prediction


@lru_cache(maxsize=8)
def _lasting(window: WindowConfig) -> np.ndarray:
    # Distance covered at every frame per unit of velocity, seconds, (T_fut, 1).
    return damping(np.arange(1, window.future_frames + 1) * window.period_s)[:, None]


@dataclass(frozen=True, eq=False)
class Beside(Futures):
    """
    The model's samples and then those of the other candidates, in the frame of the model's.

    ``of`` are the model's futures, S for each of P people. ``damped``, float32 (P, T_fut, J, 3),
    and ``still`` (P, J, 3) are one sample each, in metres from ``origins`` (P, 3). ``followed``
    computes the memory's samples, N for each person, from the same origins.
    """

    of: Futures
    damped: np.ndarray
    still: np.ndarray
    followed: Followed
    origins: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """See :class:`Futures`."""
        persons, samples, *rest = self.of.shape
        frames, joints, axes = rest
        return persons, samples + 2 + self.followed.paths.shape[1], frames, joints, axes

    @property
    def dtype(self) -> np.dtype:
        """See :class:`Futures`."""
        return self.of.dtype

    def at(self, frames: np.ndarray) -> np.ndarray:
        """See :class:`Futures`."""
        return self._joined(self.of.at(frames), frames)

    def every(self) -> np.ndarray:
        """See :class:`Futures`."""
        return self._joined(self.of.every(), np.arange(self.shape[2]))

    def finite(self) -> np.ndarray:
        """See :class:`Futures`."""
        return self.of.finite()

    def _joined(self, own: np.ndarray, frames: np.ndarray) -> np.ndarray:
        persons, samples, _, joints, axes = own.shape
        made = np.empty((persons, self.shape[1], len(frames), joints * axes), own.dtype)
        # a pose is one row of numbers here: NumPy is slow over a last axis of three
        made[:, :samples] = own.reshape(persons, samples, len(frames), -1)
        here = np.tile(self.origins, joints)[:, None].astype(own.dtype)  # (P, 1, 3 J)
        damped = self.damped[:, frames].reshape(persons, len(frames), -1)
        np.add(damped, here, out=made[:, samples])
        np.add(self.still.reshape(persons, 1, -1), here, out=made[:, samples + 1])
        past = self.followed.at(frames)
        past = past.reshape(*past.shape[:2], len(frames), joints * axes)
        np.add(past, here[:, None], out=made[:, samples + 2 :])
        return made.reshape(*made.shape[:3], joints, axes)


def side_by_side(
    prediction: Prediction, now: Stance, recall: Recall, origins: np.ndarray, window: WindowConfig
) -> tuple[np.ndarray, np.ndarray, Beside]:
    """
    Put the other candidates beside the model's samples.

    :param prediction: prediction of the model, in the input's frame.
    :param now: pose and velocity of P people, from the origins.
    :param recall: result of the memory, from the origins.
    :param origins: metres, (P, 3).
    :param window: the model's window.
    :returns: means from the origins (P, T_fut, C, J, 3), spreads at the knots (P, K, C, J), and
        all samples, the model's first, in the input's frame (P, S + 2 + N, T_fut, J, 3).
    """
    assert recall.followed is not None
    knots = knot_frames(window)
    sampled = prediction.sampled
    persons, samples, frames, joints = sampled.shape[:4]
    # a pose is one row of numbers here: NumPy is slow over a last axis of three
    from_here = np.tile(origins, joints)[:, None]  # (P, 1, 3 J)
    still, velocity = (x.reshape(persons, 1, -1) for x in (now.still, now.velocity))
    means = np.empty((persons, frames, len(CANDIDATES), 3 * joints), dtype=np.float32)
    model = sampled.mean(prediction.weights).reshape(persons, frames, -1)
    means[:, :, MODEL] = model - from_here
    means[:, :, DAMPED] = now.pose.reshape(persons, 1, -1) + _lasting(window) * velocity
    means[:, :, STILL] = still
    means[:, :, MEMORY] = still
    if recall.known.any():
        past = recall.followed.mean(recall.weights).reshape(persons, frames, -1)
        means[recall.known, :, MEMORY] = past[recall.known]
    spreads = np.zeros((persons, len(knots), len(CANDIDATES), joints), np.float32)
    at_knots = means[:, knots]
    at = sampled.at(knots).reshape(persons, samples, len(knots), -1)
    here = from_here.astype(at.dtype)[:, None]
    for person in range(persons):  # whose numbers stay in the cache
        one = slice(person, person + 1)
        own = at[one] - here[one]
        spreads[one, :, MODEL] = _spread(own, prediction.weights[one], at_knots[one, :, MODEL])
    at = recall.followed.at(knots)
    at = at.reshape(*at.shape[:3], 3 * joints)
    spreads[:, :, MEMORY] = _spread(at, recall.weights, at_knots[:, :, MEMORY])
    means = means.reshape(persons, frames, len(CANDIDATES), joints, 3)
    beside = Beside(sampled, means[:, :, DAMPED], now.still, recall.followed, origins)
    return means, spreads, beside


def _spread(at: np.ndarray, weights: np.ndarray, mean: np.ndarray) -> np.ndarray:
    # Root mean square distance of (P, S, K, 3 J) from the mean, (P, K, J).
    persons, samples, knots, numbers = at.shape
    apart = at.astype(np.float32, copy=False) - mean[:, None]
    square = squares(apart.reshape(persons, samples, knots * numbers // 3, 3))
    whole = weights[:, None] @ square
    return np.sqrt(whole.reshape(persons, knots, numbers // 3))
