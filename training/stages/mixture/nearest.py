# SPDX-License-Identifier: Apache-2.0
"""The term that draws the nearest expert to the real future."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.networks.experts import MotionExperts
from motion_predictor.model.networks.mixture import GaussianMixture
from training.stages.losses import displacement_errors
from training.stages.mixture.vdd import Batch

ROOT = 0.5
"""Weight of the root's path beside the pose, as SwiftDiff's."""
FRAME_STRIDE = 4
"""The term uses every so many future frames, always with the last one."""


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """Weights of the term, and its measure."""

    best: float
    """Weight of the nearest expert's distance from the real future, by its mean over time."""
    end: float
    """Weight of the distance at the last instant, for the expert that is nearest there."""
    fade: float
    """Share of itself to which the term falls linearly until the last step."""
    everyone: float = 0.05
    """Share of ``best`` for all experts, so that none is left without gradient."""


class NearestExpert:
    """
    The distance of the nearest expert from the real future, as ADE and FDE measure it.

    All experts get a small share (relaxed winner-takes-all; Rupprecht et al., 2017).
    """

    def __init__(self, weights: Nearest, student: MotionModel) -> None:
        """
        Prepare the maps from coordinates to metres.

        :param weights: weights of the term and its parts.
        :param student: the student, with its directions set.
        """
        assert isinstance(student.denoiser, MotionExperts)
        self.weights = weights
        self.scale = student.state_scale
        self.decoder = student.denoiser.decoder.clone()
        self.frames = student.map_complete.flip(0)[::FRAME_STRIDE].flip(0)
        channels = torch.ones_like(self.scale[0])
        channels[:3] = ROOT**0.5
        unit = self.decoder.unflatten(-1, self.scale.shape) * self.scale * channels
        futures = (self.frames @ unit).flatten(1)  # (N, F D)
        gram = (futures @ futures.T).double() / len(self.frames)
        values, vectors = torch.linalg.eigh(gram)
        self.metric = (vectors * values.clamp_min(0.0).sqrt()).float()  # (N, N)
        self.to_end = (self.frames[-1:] @ unit).flatten(1)  # (N, D), the root weighed

    def __call__(self, mixture: GaussianMixture, batch: Batch, progress: float) -> Tensor:
        """
        Return the term.

        :param batch: ``whole`` are the real states, ``real`` their coordinates.
        :param progress: 0 at the first step, 1 at the last.
        """
        assert batch.real is not None
        assert batch.whole is not None
        apart = mixture.representatives - batch.real[0][:, None]
        distance = ((apart @ self.metric).square().sum(dim=-1) + 1e-6).sqrt()  # rms over time
        nearest = self._error(mixture, batch.whole, distance, self.frames)
        term = self.weights.best * (nearest + self.weights.everyone * distance.mean())
        if self.weights.end > 0.0:
            at_end = (apart @ self.to_end).square().sum(dim=-1)
            nearest = self._error(mixture, batch.whole, at_end, self.frames[-1:])
            term = term + self.weights.end * nearest
        return term * (1.0 - progress * (1.0 - self.weights.fade))

    def _error(
        self, mixture: GaussianMixture, whole: Tensor, distance: Tensor, frames: Tensor
    ) -> Tensor:
        """Return the error at some frames of the experts that are the nearest, ``(B, E)``."""
        rows = torch.arange(len(distance), device=distance.device)
        won = mixture.representatives[rows, distance.argmin(dim=1)] @ self.decoder
        difference = (won.view_as(whole) - whole) * self.scale
        pose, root = displacement_errors(frames @ difference)
        return (pose + ROOT * root).mean()
