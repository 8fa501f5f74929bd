"""
What the gate is told, to say how much each guess of a person's future counts at each horizon.

The gate (:mod:`motion_predictor.model.networks.gate`) is trained on people that the model has not
seen; it is told what the node knows at that moment: how fast the body moves, how noisy the input
is, how far the candidates are from each other, how near an earlier moment came. Evidence is what
the candidates then turned out to be worth (:mod:`motion_predictor.predict.place.evidence`).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from motion_predictor.body.body_geometry import lengths
from motion_predictor.model.candidates import CANDIDATES, MEMORY
from motion_predictor.model.networks.gate import BY_KNOT, COMMON, Described, PAIRS, SEGMENTS
from motion_predictor.predict.place.candidates import Stance
from motion_predictor.predict.place.memory import Recall

_PAIRS = np.array(PAIRS).T
_OF_MEMORY = np.array([False, True, *(MEMORY in pair for pair in PAIRS)])  # of BY_KNOT
_FLOORS = np.array(
    [0.02] * SEGMENTS + [0.05, 0.02, 0.02, 0.05, 0.0005, 0.01, 1.0], dtype=np.float32
)  # of the body's numbers before the logarithm


def describe(
    windows: np.ndarray,
    now: Stance,
    means: np.ndarray,
    model_spread: np.ndarray,
    memory_spread: np.ndarray,
    recall: Recall,
    rate_hz: float,
) -> Described:
    """
    Make what the gate is told; it does not change when people are turned, moved or mirrored.

    :param windows: metres, float32 ``(P, T_obs, J, 3)``.
    :param now: of these people.
    :param means: of each candidate at the knots, ``(P, K, C, J, 3)``.
    :param model_spread: of the model's samples, metres a joint, ``(P, K)``.
    :param memory_spread: of what is remembered, likewise.
    :param recall: what the memory found.
    """
    persons, knots = means.shape[:2]
    known = recall.known
    joints = windows.shape[2]
    features = np.empty((persons, knots, COMMON + BY_KNOT + knots), dtype=np.float32)
    frames, lasted = _segments(windows.shape[1], rate_hz)
    marks = windows[:, frames]
    velocities = (marks[:, 1:] - marks[:, :-1]) / lasted
    present = lengths(now.velocity)  # (P, J)
    # what is told as a logarithm, and then what is not
    body = np.empty((persons, COMMON - 1), dtype=np.float32)
    body[:, :SEGMENTS] = lengths(velocities).sum(axis=-1) / joints
    body[:, SEGMENTS] = present.max(axis=-1)
    body[:, SEGMENTS + 1] = present.sum(axis=-1) / joints
    body[:, SEGMENTS + 2] = present[:, 0]
    body[:, SEGMENTS + 3] = lengths(velocities[:, -1] - velocities[:, -2]).sum(axis=-1) / joints
    body[:, SEGMENTS + 4] = now.jitter
    body[:, SEGMENTS + 5] = np.where(known, recall.distance_m, 1.0)
    body[:, SEGMENTS + 6] = recall.alike
    body = np.log(body + _FLOORS)
    body[:, SEGMENTS + 5 :] *= known[:, None]
    features[..., : SEGMENTS + 5] = body[:, None, : SEGMENTS + 5]
    features[..., SEGMENTS + 5] = known[:, None]
    features[..., SEGMENTS + 6 : COMMON] = body[:, None, SEGMENTS + 5 :]
    by_knot = features[..., COMMON : COMMON + BY_KNOT]
    by_knot[..., 0], by_knot[..., 1] = model_spread, memory_spread
    apart = means[:, :, _PAIRS[0]] - means[:, :, _PAIRS[1]]
    by_knot[..., 2:] = lengths(apart).sum(axis=-1) / joints  # (P, K, pairs)
    np.log(by_knot + np.float32(0.005), out=by_knot)
    by_knot *= known[:, None, None] | ~_OF_MEMORY
    features[..., COMMON + BY_KNOT :] = np.eye(knots, dtype=np.float32)
    available = np.ones((persons, len(CANDIDATES)), dtype=bool)
    available[:, MEMORY] = known
    return Described(features, means, available)


@lru_cache(maxsize=8)
def _segments(observed: int, rate_hz: float) -> tuple[np.ndarray, np.ndarray]:
    # The frames at which the parts of a window meet, and how long each part lasts, (S, 1, 1).
    frames = np.rint(np.linspace(0, observed - 1, SEGMENTS + 1)).astype(np.int64)
    return frames, (np.diff(frames) / rate_hz).astype(np.float32)[:, None, None]
