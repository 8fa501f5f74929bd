"""
How much each guess of a person's future counts, at each horizon: a small gate and evidence.

The gate is a network of one hidden layer, trained on people that the model has not seen; it is
told what the node knows at that moment: how fast the body moves, how noisy the input is, how far
the candidates are from each other, how near an earlier moment came. Evidence is what the
candidates then turned out to be worth (:mod:`motion_predictor.evidence`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from motion_predictor.candidates import CANDIDATES, knot_frames, MEMORY, Stance
from motion_predictor.config import WindowConfig
from motion_predictor.errors import ConfigError, ShapeError
from motion_predictor.evidence import MEMORIES
from motion_predictor.memory import Recall

VERSION = 1
"""Of what the gate is told; a gate of another version is refused."""
SEGMENTS = 4
"""Parts of the observed window whose speeds are told."""
COMMON = SEGMENTS + 5 + 3
"""Numbers that are the same for every horizon."""
BY_KNOT = 8
PAIRS = ((0, 1), (0, 2), (1, 2), (3, 0), (3, 1), (3, 2))
"""Candidates whose distances are told; those with the memory only where there is one."""
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
    features = np.zeros((persons, knots, COMMON + BY_KNOT + knots), dtype=np.float32)
    frames = np.rint(np.linspace(0, windows.shape[1] - 1, SEGMENTS + 1)).astype(np.int64)
    marks = windows[:, frames]
    lasted = (np.diff(frames) / rate_hz).astype(np.float32)[:, None, None]
    velocities = (marks[:, 1:] - marks[:, :-1]) / lasted
    speeds = _length(velocities).mean(axis=-1)  # (P, SEGMENTS)
    present = _length(now.velocity)  # (P, J)
    changed = _length(velocities[:, -1] - velocities[:, -2]).mean(axis=-1)
    told = [_log(speed, 0.02) for speed in speeds.T]
    told += [
        _log(present.max(axis=-1), 0.05),
        _log(present.mean(axis=-1), 0.02),
        _log(present[:, 0], 0.02),
        _log(changed, 0.05),
        _log(now.jitter, 0.0005),
        known,
        np.where(known, _log(np.where(known, recall.distance_m, 1.0), 0.01), 0.0),
        np.where(known, np.log1p(recall.alike), 0.0),
    ]
    features[..., :COMMON] = np.stack(told, axis=-1)[:, None]
    features[..., COMMON] = _log(model_spread, 0.005)
    features[..., COMMON + 1] = known[:, None] * _log(memory_spread, 0.005)
    one, other = np.array(PAIRS).T
    apart = _length(means[:, :, one] - means[:, :, other]).mean(axis=-1)  # (P, K, pairs)
    with_memory = (one == MEMORY) | (other == MEMORY)
    told_of = known[:, None, None] | ~with_memory
    features[..., COMMON + 2 : COMMON + BY_KNOT] = told_of * _log(apart, 0.005)
    features[..., COMMON + BY_KNOT :] = np.eye(knots, dtype=np.float32)
    available = np.ones((persons, len(CANDIDATES)), dtype=bool)
    available[:, MEMORY] = known
    return Described(features, means, available)


def _length(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(vectors).sum(axis=-1))


def _log(values: np.ndarray, floor: float) -> np.ndarray:
    return np.log(values + np.float32(floor))


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
        :param evidence: ``(P, K, E, C)``, from :mod:`motion_predictor.evidence`.
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
