# SPDX-License-Identifier: Apache-2.0
"""The output of a mixture of experts beyond its samples: moments in closed form, and surprise."""

from __future__ import annotations

from dataclasses import dataclass, replace
import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from motion_predictor.model.networks.covariance import Covariance
from motion_predictor.model.networks.experts import MotionExperts
from motion_predictor.model.networks.mixture import GaussianMixture
from motion_predictor.model.person_frame import to_features
from motion_predictor.predict.moments import Moments

if TYPE_CHECKING:
    from motion_predictor.model.codec import Context
    from motion_predictor.model.motion_model import MotionModel

CHECKED_S = (0.2, 0.5)
"""Horizons in seconds at which a prediction is compared with the real motion."""
FLOOR_M = 0.02
"""Standard deviation in metres of what the mixture does not model: a tracker's noise and small,
fast motion."""


@dataclass(frozen=True)
class Forecast:
    """
    The mixture over the futures of P people; only requested parts are computed.

    All steps from the coordinates to joint positions are linear, so the mixture of futures is also
    a mixture of Gaussians, and its moments need no samples.
    """

    model: MotionModel
    mixture: GaussianMixture
    context: Context
    rotation: np.ndarray | None = None
    """Rotation from the frame of the model's input to the frame of the output, (3, 3)."""
    offset: np.ndarray | None = None
    """Origin of the model's input in that frame, before the rotation, metres (P, 3)."""

    lag: np.ndarray | None = None
    """Number of frames by which each person's future is seen later, (P,), not negative."""

    def later(self, lag_frames: np.ndarray) -> Forecast:
        """
        Return the forecast as it is seen some frames later; beyond the last frame that is held.

        :param lag_frames: delay of each person's future in frames, (P,).
        """
        return replace(self, lag=lag_frames if self.lag is None else self.lag + lag_frames)

    def turned(self, rotation: np.ndarray) -> Forecast:
        """Return the forecast rotated by a matrix (3, 3): ``rotation @ point``."""
        before = np.eye(3) if self.rotation is None else self.rotation
        return replace(self, rotation=rotation @ before)

    def moved(self, offset: np.ndarray) -> Forecast:
        """
        Return the forecast moved before any rotation.

        :param offset: metres, broadcastable to (P, 1, 1, 3).
        """
        persons = len(self.mixture.means)
        return replace(self, offset=np.broadcast_to(offset, (persons, 1, 1, 3))[:, 0, 0])

    def _joints(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """
        Return the linear map from coordinates to joint positions in each person's own frame.

        :param frames: indices of future frames, (F,).
        :returns: the map ``(N, F, J, 3)``, the same for all people, and the offset ``(P, F, J,
            3)``.
        """
        model, context = self.model, self.context
        experts = model.denoiser
        assert isinstance(experts, MotionExperts)
        channels = model.state_scale.shape[-1]
        unit = experts.decoder.unflatten(-1, (-1, channels)) * model.state_scale  # (N, K, D)
        constant = model.state_mean.expand(len(context.padded), -1, -1)
        if model.config.residual:
            constant = constant + context.padded
        complete, recall = model.map_complete[frames], model.map_recall[frames]
        linear = (complete @ unit).unflatten(-1, (-1, 3))  # (N, F, J, 3)
        fixed = (complete @ constant + recall @ context.features).unflatten(-1, (-1, 3))
        return _to_joints(linear), _to_joints(fixed)

    def _delayed_joints(self, frames: np.ndarray) -> tuple[Tensor, Tensor]:
        # As _joints, of each person's delayed frames: then the map is (P, N, F, J, 3). A position
        # between two frames lies on the straight line between them, so that all stays linear.
        if self.lag is None:
            return self._joints(torch.from_numpy(frames))
        exact = np.minimum(frames + self.lag[:, None], len(self.model.map_complete) - 1)
        left, right = np.floor(exact).astype(np.int64), np.ceil(exact).astype(np.int64)
        used, place = np.unique(np.stack((left, right)), return_inverse=True)
        before, after = torch.from_numpy(place.reshape(2, *exact.shape))  # (P, F) each
        linear, fixed = self._joints(torch.from_numpy(used))
        share = torch.from_numpy((exact - left).astype(np.float32))[..., None, None]
        person = torch.arange(len(exact))[:, None]
        linear = torch.lerp(linear[:, before], linear[:, after], share)  # (N, P, F, J, 3)
        fixed = torch.lerp(fixed[person, before], fixed[person, after], share)
        return linear.movedim(0, 1), fixed

    def at(self, frames: np.ndarray) -> Moments:
        """
        Return the mean and covariance of every joint, as far as the mixture models them.

        :param frames: indices of future frames, (F,).
        """
        with torch.inference_mode():
            linear, fixed = self._delayed_joints(np.asarray(frames, dtype=np.int64))
            flat = linear.flatten(-3)  # ([P,] N, F 3J)
            mean = self.mixture.mean()
            mean = mean @ flat if self.lag is None else (mean[:, None] @ flat)[:, 0]
            mean = mean.view(-1, *linear.shape[-3:]) + fixed
            total = self.mixture.total_covariance().double()
            total.diagonal(dim1=-2, dim2=-1).add_(1e-9)
            factor = torch.linalg.cholesky(total).float()  # (P, N, N)
            spread = (factor.mT @ flat).unflatten(-1, linear.shape[-3:])  # (P, N, F, J, 3)
            covariance = torch.einsum('pnfji,pnfjk->pfjik', spread, spread)
            frame = self.context.frame
            mean = frame.leave(mean)
            turn = frame.rotation[:, None, None]
            covariance = turn @ covariance @ turn.mT
        moments = Moments(mean.double().cpu().numpy(), covariance.double().cpu().numpy())
        if self.offset is not None:
            moments = replace(moments, mean=moments.mean + self.offset[:, None, None])
        return moments if self.rotation is None else moments.turned(self.rotation)

    def surprise(self, person: int, poses: np.ndarray, frames: np.ndarray) -> float:
        """
        Return how unlikely the later motion of a person was.

        :param person: index among the P people.
        :param poses: observed poses at those frames, metres, in the frame of the model's input,
            (F, J, 3); a rotation or a delay is not undone.
        :param frames: indices of a few future frames, (F,).
        :returns: negative log density in nats, divided by the F * 3J coordinates.
        """
        if self.offset is not None:
            poses = poses - self.offset[person]
        index = torch.from_numpy(np.asarray(frames, dtype=np.int64))
        with torch.inference_mode():
            observed = torch.from_numpy(np.ascontiguousarray(poses, dtype=np.float32))[None, None]
            one = self._person(person)
            return float(one.surprises(observed[0], index)[0])

    def _person(self, person: int) -> Forecast:
        keep = slice(person, person + 1)
        context, mixture = self.context, self.mixture
        return Forecast(
            self.model,
            mixture.condition(keep),
            replace(
                context,
                frame=replace(
                    context.frame,
                    origin=context.frame.origin[keep],
                    rotation=context.frame.rotation[keep],
                ),
                features=context.features[keep],
                padded=context.padded[keep],
                condition=context.condition[keep],
            ),
        )

    def surprises(self, poses: Tensor, frames: Tensor) -> Tensor:
        """
        Return every person's surprise; see :meth:`surprise`.

        :param poses: metres, in the frame of the model's input, ``(P, F, J, 3)``.
        :param frames: indices of future frames, ``(F,)``.
        :returns: nats per coordinate, ``(P,)``.
        """
        linear, fixed = self._joints(frames)
        seen = _to_joints(to_features(self.context.frame.enter(poses)).unflatten(-1, (-1, 3)))
        target = (seen - fixed).flatten(1)  # (P, F 3J)
        flat = linear.flatten(1)  # (N, F 3J)
        size = flat.shape[1]
        found = []
        for number in range(len(target)):  # one person's experts at a time, to save memory
            mixture = self.mixture.condition(slice(number, number + 1))
            apart = target[number] - mixture.means[0] @ flat  # (E, F 3J)
            log_density = _log_densities(mixture.covariance, flat, apart)
            found.append(-torch.logsumexp(mixture.log_weights[0] + log_density, dim=-1) / size)
        return torch.stack(found)


def _log_densities(covariance: Covariance, flat: Tensor, apart: Tensor) -> Tensor:
    """
    Return the experts' log densities of joint positions, each with noise of FLOOR_M.

    :param covariance: covariances of one person's experts.
    :param flat: linear map from coordinates to positions, ``(N, M)``.
    :param apart: positions minus the experts' means, ``(E, M)``.
    :returns: ``(E,)``, nats.
    """
    gains = covariance.gains()
    if gains is None:
        spread = flat.T @ covariance.matrix()[0] @ flat
        spread.diagonal(dim1=-2, dim2=-1).add_(FLOOR_M**2)
        tril = torch.linalg.cholesky(spread)  # (E, M, M)
        white = torch.linalg.solve_triangular(tril, apart.unsqueeze(-1), upper=False).squeeze(-1)
        half = tril.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
    else:  # all covariances are multiples of the first: they share their principal axes
        first = covariance.select(torch.zeros(1, dtype=torch.long, device=flat.device))
        spread = flat.T @ first.matrix()[0, 0] @ flat
        values, axes = torch.linalg.eigh(spread)
        variance = gains[0, :, None].square() * values.clamp_min(0.0) + FLOOR_M**2  # (E, M)
        white = (apart @ axes) / variance.sqrt()
        half = 0.5 * variance.log().sum(dim=-1)
    return -0.5 * (white.square().sum(dim=-1) + len(flat.T) * math.log(2 * math.pi)) - half


def checked_frames(rate_hz: float) -> np.ndarray:
    """Return the indices of the future frames at :data:`CHECKED_S`."""
    return np.rint(np.array(CHECKED_S) * rate_hz).astype(np.int64) - 1


def _to_joints(features: Tensor) -> Tensor:
    """Combine the root and the joints relative to it, ``(..., J, 3)``; linear."""
    root = features[..., :1, :]
    return torch.cat((root, features[..., 1:, :] + root), dim=-2)
