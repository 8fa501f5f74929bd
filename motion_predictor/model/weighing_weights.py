# SPDX-License-Identifier: Apache-2.0
"""The part of a weights file that weighs: the memory's basis, the gate, the radius network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.errors import ConfigError, ShapeError
from motion_predictor.model.candidates import CANDIDATES, knot_frames
from motion_predictor.model.config import WindowConfig
from motion_predictor.model.networks.gate import feature_count, Gate, VERSION
from motion_predictor.model.networks.radius_network import BY_JOINT, COMMON, RadiusNetwork

PREFIX = 'weighing.'
MAX_NUMBERS = 1_000_000
"""Greatest number of entries of one tensor; a gate is small."""


@dataclass(frozen=True, eq=False)
class WeighingWeights:
    """
    Everything fitted that the weighing of candidates needs.

    ``basis`` is float32 (6 J, R); keys of the memory are projected on its columns. ``gate`` is
    None while the gate is being fitted: then the model alone counts.
    """

    basis: np.ndarray
    gate: Gate | None = None
    radius: RadiusNetwork | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able facts: recordings and their digests, windows behind each level, settings."""

    def check(self, window: WindowConfig, skeleton: Skeleton) -> None:
        """
        Check that these weights fit a model.

        :raises ShapeError: if they do not.
        """
        joints, knots = skeleton.num_joints, len(knot_frames(window))
        rows, rank = self.basis.shape if self.basis.ndim == 2 else (0, 0)
        if rows != 6 * joints or not 1 <= rank <= rows:
            raise ShapeError(
                f'weighing basis: expected ({6 * joints}, 1..{6 * joints}), got {self.basis.shape}'
            )
        if not np.isfinite(self.basis).all():
            raise ShapeError('weighing basis: holds NaN or infinity')
        if self.gate is not None:
            expected = (feature_count(window), knots)
            found = (len(self.gate.mean), len(self.gate.trust))
            if found != expected:
                raise ShapeError(f'gate: expected features and knots {expected}, got {found}')
        if self.radius is not None:
            expected = (BY_JOINT + COMMON + knots + joints, knots)
            found = (len(self.radius.mean), self.radius.factor.shape[-1])
            if found != expected:
                raise ShapeError(f'radius: expected features and knots {expected}, got {found}')

    def tensors(self) -> dict[str, np.ndarray]:
        """Return all tensors by name; each name begins with :data:`PREFIX`."""
        found = {f'{PREFIX}basis': self.basis}
        for part in ('gate', 'radius'):
            numbers = getattr(self, part)
            if numbers is not None:
                found |= {f'{PREFIX}{part}.{k}': v for k, v in numbers.tensors().items()}
        return {name: np.ascontiguousarray(value, np.float32) for name, value in found.items()}

    def described(self) -> dict[str, Any]:
        """Return everything but the tensors as JSON-able values."""
        levels = None if self.radius is None else list(self.radius.levels)
        return {
            'version': VERSION,
            'candidates': list(CANDIDATES),
            'levels': levels,
            'facts': dict(self.facts),
        }

    @classmethod
    def read(
        cls,
        tensors: Mapping[str, np.ndarray],
        described: Mapping[str, Any],
        window: WindowConfig,
        skeleton: Skeleton,
    ) -> WeighingWeights:
        """
        Build it from the content of a file.

        :param tensors: as :meth:`tensors` returns them.
        :param described: as :meth:`described` returns it.
        :raises ConfigError: if the file is of another version.
        :raises ShapeError: if something is missing or does not fit the model.
        """
        if described.get('version') != VERSION or described.get('candidates') != list(CANDIDATES):
            raise ConfigError(
                f'weighing of version {described.get("version")!r:.40}; this release reads '
                f'{VERSION}: fit it again with python -m training weighing'
            )
        try:
            parts: dict[str, dict[str, np.ndarray]] = {'gate': {}, 'radius': {}}
            for name, value in tensors.items():
                part, dot, entry = name.removeprefix(PREFIX).partition('.')
                if dot:
                    parts[part][entry] = value
            gate = Gate.from_tensors(parts['gate']) if parts['gate'] else None
            radius = None
            if parts['radius']:
                levels = described.get('levels')
                radius = RadiusNetwork.from_tensors(parts['radius'], list(levels or ()))
            made = cls(tensors[f'{PREFIX}basis'], gate, radius, dict(described.get('facts') or {}))
        except (KeyError, TypeError, ValueError) as error:
            raise ShapeError(f'weighing: {error!r:.200}') from None
        made.check(window, skeleton)
        return made
