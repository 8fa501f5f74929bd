# SPDX-License-Identifier: Apache-2.0
"""A complete model in torch: the codec and the network, from poses to futures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.model.codec import Codec, Context, Whitening
from motion_predictor.model.config import ModelConfig
from motion_predictor.model.networks.build import build_denoiser
from motion_predictor.model.networks.experts import MotionExperts
from motion_predictor.model.networks.flat_onnx import OnnxFlatDenoiser
from motion_predictor.model.networks.mixture import GaussianMixture
from motion_predictor.model.networks.mlp import FlatDenoiser
from motion_predictor.model.schedule import cosine_alpha_bar, to_x0

COARSE = 10
"""Futures are compared with each other at one of every this many frames."""


@dataclass(frozen=True)
class SharedNoise:
    """Noise that all people share, with all that does not depend on them, for a flat network."""

    x_t: Tensor
    """With the model's temperature, (1, S, K, D)."""
    embedded: Tensor
    """The network's first layer of it, (1, S, width)."""


class MotionModel(Codec):
    """A codec with the network that maps conditions and noise to states."""

    alpha_bar: Tensor

    def __init__(
        self,
        config: ModelConfig,
        skeleton: Skeleton,
        state: Whitening | None = None,
        condition: Whitening | None = None,
    ) -> None:
        """
        Make a model with fresh weights.

        :param config: settings of the model.
        :param skeleton: skeleton of the poses.
        :param state: whitening of the state, as for :class:`Codec`.
        :param condition: whitening of the condition, as for :class:`Codec`.
        :raises ConfigError: if the architecture does not fit the role.
        """
        super().__init__(config, skeleton, state, condition)
        self.denoiser = build_denoiser(config, skeleton.num_joints)
        alpha_bar = cosine_alpha_bar(config.diffusion_steps).float()
        self.register_buffer('alpha_bar', alpha_bar, persistent=False)

    def mixture(self, context: Context) -> GaussianMixture:
        """
        Return the mixture of experts over each person's future; only for role 'moe'.

        :param context: context of P windows.
        :returns: a mixture over N coordinates of the state, see :class:`MotionExperts`; the
            model's temperature and spread are applied.
        """
        mixture: GaussianMixture = self.denoiser(context.condition)
        if self.config.spread != 1.0:
            mixture = mixture.spread_out(self.config.spread)
        if self.config.temperature != 1.0:
            mixture = mixture.widened(self.config.temperature)
        return mixture

    def ranked(self, mixture: GaussianMixture, noise: Tensor) -> tuple[Tensor, Tensor]:
        """
        Return samples of a mixture in order of weight; only for role 'moe'.

        If there are at least as many samples as experts, the first E represent the whole density
        and are moved apart (``ModelConfig.apart``). If there are fewer, they are the experts whose
        futures are near most of the others.

        :param mixture: from :meth:`mixture`, of P people.
        :param noise: standard normal, ``(P, S, K, D)``.
        :returns: whitened states ``(P, S, K, D)`` and weights ``(P, S)``.
        """
        size, count = mixture.covariance.noise_size, noise.shape[1]
        assert isinstance(self.denoiser, MotionExperts)
        places = None
        if count < mixture.experts:  # distances between futures, in metres
            means = self.denoiser.decode(mixture.means, noise.shape[-1]) * self.state_scale
            places = (self.map_complete[COARSE - 1 :: COARSE] @ means).flatten(2)
        samples = mixture.ranked(noise.flatten(2)[..., :size], places, self.config.apart)
        white = self.denoiser.decode(samples.values, noise.shape[-1])
        return white, samples.weights

    def shared(self, noise: Tensor) -> SharedNoise | None:
        """
        Prepare noise that all people share; None if the network is not flat.

        :param noise: standard normal, ``(S, K, D)``.
        """
        denoiser = self.denoiser
        if not isinstance(denoiser, FlatDenoiser | OnnxFlatDenoiser):
            return None
        x_t = self.config.temperature * noise[None]
        return SharedNoise(x_t, denoiser.embedded(x_t.to(denoiser.noise.weight.dtype)))

    def one_step_of(self, noise: SharedNoise, condition: Tensor) -> Tensor:
        """
        Return what :meth:`one_step` returns for the same noise.

        :param noise: from :meth:`shared`.
        :param condition: whitened, ``(P, C, D)``.
        :returns: whitened x_0, ``(P, S, K, D)``.
        """
        denoiser = self.denoiser
        assert isinstance(denoiser, FlatDenoiser | OnnxFlatDenoiser)
        output = denoiser.of_embedded(noise.embedded, condition.to(noise.embedded.dtype)).float()
        output = output.view(len(condition), *noise.x_t.shape[1:])
        x_t = noise.x_t.expand(output.shape)
        return to_x0(self.config.prediction, output, x_t, self.alpha_bar[self.config.t_star])

    def one_step(self, noise: Tensor, condition: Tensor) -> Tensor:
        """
        Return the clean state x_0 from pure noise at ``t_star``, in one pass.

        :param noise: standard normal, ``(P * S, K, D)``, or ``(P, S, K, D)``; the model's
            temperature is applied here.
        :param condition: whitened, ``(P, C, D)``.
        :returns: whitened x_0, of the same shape as the noise.
        """
        # the flat network accepts noise that all people share (expanded from one person's)
        shared = noise.ndim == 4 and noise.stride(0) == 0
        x_t = self.config.temperature * (noise[:1] if shared else noise)
        x_t = x_t.expand(noise.shape)
        if self.config.denoiser.architecture != 'flat':
            x_t = x_t.reshape(-1, *noise.shape[-2:])
        step = torch.full((len(x_t),), self.config.t_star, device=x_t.device)
        dtype = next(self.denoiser.parameters()).dtype
        condition = condition.to(dtype)
        if self.config.denoiser.architecture == 'transfusion':
            condition = condition.repeat_interleave(len(x_t) // len(condition), dim=0)
        output = self.denoiser(x_t.to(dtype), condition, step).float()
        x_0 = to_x0(self.config.prediction, output, x_t, self.alpha_bar[self.config.t_star])
        return x_0.reshape(noise.shape)
