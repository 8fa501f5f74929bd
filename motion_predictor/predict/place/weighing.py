"""
How much each guess of a person's future counts, at each horizon: a small gate and evidence.

The gate is a network of one hidden layer, trained on people that the model has not seen; it is
told what the node knows at that moment: how fast the body moves, how noisy the input is, how far
the candidates are from each other, how near an earlier moment came. Evidence is what the
candidates then turned out to be worth (:mod:`motion_predictor.predict.place.evidence`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np

from motion_predictor.body.body_geometry import lengths
from motion_predictor.errors import ConfigError, ShapeError
from motion_predictor.model.config import WindowConfig
from motion_predictor.predict.place.candidates import CANDIDATES, knot_frames, MEMORY, Stance
from motion_predictor.predict.place.evidence import MEMORIES
from motion_predictor.predict.place.memory import Recall

VERSION = 1
"""Of what the gate is told; a gate of another version is refused."""
SEGMENTS = 4
"""Parts of the observed window whose speeds are told."""
COMMON = SEGMENTS + 5 + 3
"""Numbers that are the same for every horizon."""
BY_KNOT = 8
PAIRS = ((0, 1), (0, 2), (1, 2), (3, 0), (3, 1), (3, 2))
"""Candidates whose distances are told; those with the memory only where there is one."""
_PAIRS = np.array(PAIRS).T
_OF_MEMORY = np.array([False, True, *(MEMORY in pair for pair in PAIRS)])  # of BY_KNOT
_FLOORS = np.array(
    [0.02] * SEGMENTS + [0.05, 0.02, 0.02, 0.05, 0.0005, 0.01, 1.0], dtype=np.float32
)  # of the body's numbers before the logarithm
_NEVER = -1e4  # logit of a candidate that there is not


@dataclass(frozen=True)
class Described:
    """
    What the node knows of P people at K horizons.

    ``features`` float32 (P, K, F); ``means`` float32 (P, K, C, J, 3), each candidate's mean in
    metres from each person's own origin; ``available`` bool (P, C).
    """

    features: np.ndarray
    means: np.ndarray
    available: np.ndarray


def feature_count(window: WindowConfig) -> int:
    """Return how many numbers the gate is told of one horizon."""
    return COMMON + BY_KNOT + len(knot_frames(window))


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


@dataclass(frozen=True, eq=False)
class Gate:
    """
    The gate's numbers, float32.

    F features, H hidden units, C candidates, K knots, E memories of evidence.
    """

    mean: np.ndarray
    """(F,)"""
    scale: np.ndarray
    """(F,)"""
    hidden: np.ndarray
    """(F, H)"""
    hidden_bias: np.ndarray
    """(H,)"""
    output: np.ndarray
    """(H, C)"""
    output_bias: np.ndarray
    """(C,)"""
    trust: np.ndarray
    """How much evidence counts, (K, E), not negative."""

    def __post_init__(self) -> None:
        count, hidden = self.hidden.shape if self.hidden.ndim == 2 else (0, 0)
        shapes = {
            'mean': (count,), 'scale': (count,), 'hidden_bias': (hidden,),
            'output': (hidden, len(CANDIDATES)), 'output_bias': (len(CANDIDATES),),
            'trust': (self.trust.shape[0], len(MEMORIES)),
        }  # fmt: skip
        for name, shape in shapes.items():
            found = getattr(self, name).shape
            if found != shape:
                raise ShapeError(f'gate {name}: expected {shape}, got {found}')
        for entry in fields(self):
            if not np.isfinite(getattr(self, entry.name)).all():
                raise ConfigError(f'gate {entry.name}: holds NaN or infinity')
        if (self.scale <= 0.0).any() or (self.trust < 0.0).any():
            raise ConfigError('gate: scale must be positive and trust not negative')

    def weights(self, described: Described, evidence: np.ndarray) -> np.ndarray:
        """
        Weigh the candidates.

        :param described: from :func:`describe`.
        :param evidence: ``(P, K, E, C)``, from :mod:`motion_predictor.predict.place.evidence`.
        :returns: ``(P, K, C)``, rows sum to one.
        """
        told = (described.features - self.mean) / self.scale
        hidden = np.tanh(told @ self.hidden + self.hidden_bias)
        logits = hidden @ self.output + self.output_bias
        logits = logits - (self.trust[:, :, None] * evidence).sum(axis=2)
        logits = np.where(described.available[:, None], logits, _NEVER)
        shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return shares / shares.sum(axis=-1, keepdims=True)

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the numbers by name, as :meth:`from_tensors` takes them."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Any]) -> Gate:
        """
        Make a gate of numbers that were stored.

        :raises ShapeError: if they do not fit each other.
        :raises ConfigError: if they are not finite.
        """
        return cls(**{entry.name: np.asarray(tensors[entry.name]) for entry in fields(cls)})
