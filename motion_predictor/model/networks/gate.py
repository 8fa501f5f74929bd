# SPDX-License-Identifier: Apache-2.0
"""The gate: a network of one hidden layer that weighs the candidate futures at each horizon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from motion_predictor.errors import ConfigError, ShapeError
from motion_predictor.model.candidates import CANDIDATES, knot_frames, MEMORIES
from motion_predictor.model.config import WindowConfig

VERSION = 1
"""Version of the gate's inputs; a gate of another version is refused."""
SEGMENTS = 4
"""Number of parts of the observed window whose speeds are inputs."""
COMMON = SEGMENTS + 5 + 3
"""Number of inputs that are the same for every horizon."""
BY_KNOT = 8
PAIRS = ((0, 1), (0, 2), (1, 2), (3, 0), (3, 1), (3, 2))
"""Pairs of candidates whose distances are inputs; pairs with the memory count only if there is
one."""
_NEVER = -1e4  # logit of a candidate that is not available


@dataclass(frozen=True)
class Described:
    """
    The inputs of the gate for P people at K horizons.

    ``features`` is float32 (P, K, F). ``means`` is float32 (P, K, C, J, 3), the mean of each
    candidate in metres from each person's own origin. ``available`` is bool (P, C).
    """

    features: np.ndarray
    means: np.ndarray
    available: np.ndarray


def feature_count(window: WindowConfig) -> int:
    """Return the number of the gate's inputs at one horizon, F."""
    return COMMON + BY_KNOT + len(knot_frames(window))


@dataclass(frozen=True, eq=False)
class Gate:
    """
    The parameters of the gate, float32.

    The axes are F features, H hidden units, C candidates, K knots and E memories of evidence.
    """

    mean: np.ndarray
    """Mean of each feature, (F,)."""
    scale: np.ndarray
    """Scale of each feature, (F,)."""
    hidden: np.ndarray
    """Weights of the hidden layer, (F, H)."""
    hidden_bias: np.ndarray
    """Biases of the hidden layer, (H,)."""
    output: np.ndarray
    """Weights of the output layer, (H, C)."""
    output_bias: np.ndarray
    """Biases of the output layer, (C,)."""
    trust: np.ndarray
    """Weight of the evidence, (K, E), not negative."""

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
        Return the weights of the candidates.

        :param described: from :func:`motion_predictor.predict.place.weighing.describe`.
        :param evidence: ``(P, K, E, C)``, from :mod:`motion_predictor.predict.place.evidence`.
        :returns: ``(P, K, C)``; each row sums to one.
        """
        told = (described.features - self.mean) / self.scale
        hidden = np.tanh(told @ self.hidden + self.hidden_bias)
        logits = hidden @ self.output + self.output_bias
        logits = logits - (self.trust[:, :, None] * evidence).sum(axis=2)
        logits = np.where(described.available[:, None], logits, _NEVER)
        shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return shares / shares.sum(axis=-1, keepdims=True)

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the parameters by name, in the form that :meth:`from_tensors` takes."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Any]) -> Gate:
        """
        Build a gate from stored parameters.

        :raises ShapeError: if they do not fit each other.
        :raises ConfigError: if they are not finite.
        """
        return cls(**{entry.name: np.asarray(tensors[entry.name]) for entry in fields(cls)})
