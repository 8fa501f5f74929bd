"""The gate, of one hidden layer: how much each guess of a future counts, at each horizon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from motion_predictor.errors import ConfigError, ShapeError
from motion_predictor.model.candidates import CANDIDATES, knot_frames, MEMORIES
from motion_predictor.model.config import WindowConfig

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

        :param described: from :func:`motion_predictor.predict.place.weighing.describe`.
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
