"""A whole model: canonical frame, DCT, whitening and denoiser, from poses to futures in torch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn, Tensor

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.model.config import ModelConfig
from motion_predictor.model.dct import WindowTransform
from motion_predictor.model.networks.denoiser import build_denoiser
from motion_predictor.model.networks.experts import MotionExperts
from motion_predictor.model.networks.mixture import GaussianMixture
from motion_predictor.model.normalization import from_features, PersonFrame, to_features, Whitening
from motion_predictor.model.schedule import cosine_alpha_bar, to_x0

COARSE = 10
"""Of how many future frames one is looked at where futures are compared with each other."""


@dataclass(frozen=True)
class History:
    """What a model knows of P observed windows, D = 3J."""

    frame: PersonFrame
    """The last observed pose's own frame."""
    features: Tensor
    """Root and pose in that frame, metres, (P, T_obs, D)."""
    padded: Tensor
    """Coefficients of the window padded with the last pose, metres, (P, K, D)."""
    condition: Tensor
    """Whitened condition for the denoiser, (P, C, D)."""


class MotionModel(nn.Module):
    """
    A denoiser with everything between it and joint positions in the input's frame.

    The state it diffuses is ``white = (coefficients - padded - mean) / scale`` when
    ``config.residual`` holds, else the same without ``padded``.
    """

    state_mean: Tensor
    state_scale: Tensor
    condition_mean: Tensor
    condition_scale: Tensor
    map_pad: Tensor
    map_observe: Tensor
    map_complete: Tensor
    map_recall: Tensor
    map_full: Tensor
    alpha_bar: Tensor

    def __init__(
        self,
        config: ModelConfig,
        skeleton: Skeleton,
        state: Whitening | None = None,
        condition: Whitening | None = None,
    ) -> None:
        super().__init__()
        channels = 3 * skeleton.num_joints
        self.config = config
        self.skeleton = skeleton
        self.denoiser = build_denoiser(config, skeleton.num_joints)
        state = state or Whitening.identity(config.window.dct_keep, channels)
        condition = condition or Whitening.identity(config.condition_rows, channels)
        self.register_buffer('state_mean', state.mean)
        self.register_buffer('state_scale', state.scale)
        self.register_buffer('condition_mean', condition.mean)
        self.register_buffer('condition_scale', condition.scale)
        maps = WindowTransform.build(config.window, config.condition_keep, config.join_s)
        for name in maps.__annotations__:
            self.register_buffer(f'map_{name}', getattr(maps, name), persistent=False)
        alpha_bar = cosine_alpha_bar(config.diffusion_steps).float()
        self.register_buffer('alpha_bar', alpha_bar, persistent=False)

    @property
    def maps(self) -> WindowTransform:
        """Give the window's linear maps, on this model's device."""
        names = WindowTransform.__annotations__
        return WindowTransform(*(getattr(self, f'map_{name}') for name in names))

    @property
    def state(self) -> Whitening:
        """Whitening of the diffused coefficients."""
        return Whitening(self.state_mean, self.state_scale)

    def observe(self, observed: Tensor) -> History:
        """
        Turn observed poses into what the denoiser is given.

        :param observed: metres, z up, any origin and heading, ``(P, T_obs, J, 3)``.
        """
        frame = PersonFrame.of(observed, self.skeleton)
        if self.config.heading == 'input':
            frame = frame.unturned()
        features = to_features(frame.enter(observed))  # (P, T_obs, D)
        padded = self.map_pad @ features  # (P, K, D)
        raw = padded if self.config.condition == 'padded' else self.map_observe @ features
        whitening = Whitening(self.condition_mean, self.condition_scale)
        return History(frame, features, padded, whitening.apply(raw))

    def encode(self, window: Tensor, history: History) -> Tensor:
        """
        Give the clean state x_0 of whole windows.

        :param window: metres, observed and future frames, ``(P, T, J, 3)``.
        :param history: from :meth:`observe` of their first T_obs frames.
        :returns: whitened, ``(P, K, D)``.
        """
        coefficients = self.map_full @ to_features(history.frame.enter(window))
        if self.config.residual:
            coefficients = coefficients - history.padded
        return self.state.apply(coefficients)

    def coefficients(self, white: Tensor, history: History) -> Tensor:
        """
        Return states to coefficients in metres.

        :param white: ``(P, S, K, D)``.
        :param history: of the P windows.
        """
        values = self.state.undo(white)
        return values + history.padded[:, None] if self.config.residual else values

    def decode_features(self, white: Tensor, history: History) -> Tensor:
        """
        Decode the future and join it to the history, in each person's own frame.

        :param white: whitened states, ``(P, S, K, D)``.
        :param history: of the P windows.
        :returns: root position and root-relative pose, metres, ``(P, S, T_fut, D)``.
        """
        return self.maps.future(self.coefficients(white, history), history.features[:, None])

    def decode(self, white: Tensor, history: History) -> Tensor:
        """
        Give futures in the frame of the input.

        :param white: whitened states, ``(P, S, K, D)``.
        :param history: of the P windows.
        :returns: joint positions in metres, ``(P, S, T_fut, J, 3)``.
        """
        # joints and turning in the K coefficients instead of the T_fut frames: all of it is linear
        turn = history.frame.rotation.mT  # (P, 3, 3)
        points = from_features(self.coefficients(white, history))  # (P, S, K, J, 3)
        turned = (points.flatten(1, 3) @ turn).view(*points.shape[:3], -1)
        past = from_features(self.map_recall @ history.features)  # (P, T_fut, J, 3)
        past = past @ turn[:, None] + history.frame.origin[:, None, None]
        futures = self.map_complete @ turned
        futures += past.flatten(2)[:, None]  # in place: a second array as large costs more
        return futures.unflatten(-1, (-1, 3))

    def mixture(self, history: History) -> GaussianMixture:
        """
        Give the mixture of experts over each person's future; role 'moe' alone.

        :param history: of P windows.
        :returns: over N coordinates of the state, see :class:`MotionExperts`; the model's
            temperature and spread are applied here.
        """
        mixture: GaussianMixture = self.denoiser(history.condition)
        if self.config.spread != 1.0:
            mixture = mixture.spread_out(self.config.spread)
        if self.config.temperature != 1.0:
            mixture = mixture.widened(self.config.temperature)
        return mixture

    def ranked(self, mixture: GaussianMixture, noise: Tensor) -> tuple[Tensor, Tensor]:
        """
        Take samples of a mixture in order of weight; role 'moe' alone.

        As many as there are experts stand for all of the density, and are moved apart
        (``ModelConfig.apart``); fewer: those whose futures are near to most of the others.

        :param mixture: from :meth:`mixture`, of P people.
        :param noise: standard normal, ``(P, S, K, D)``.
        :returns: whitened states ``(P, S, K, D)`` and weights ``(P, S)``.
        """
        size, count = mixture.covariance.noise_size, noise.shape[1]
        assert isinstance(self.denoiser, MotionExperts)
        places = None
        if count < mixture.experts:  # how far apart the futures are, in metres
            means = self.denoiser.decode(mixture.means, noise.shape[-1]) * self.state_scale
            places = (self.map_complete[COARSE - 1 :: COARSE] @ means).flatten(2)
        samples = mixture.ranked(noise.flatten(2)[..., :size], places, self.config.apart)
        white = self.denoiser.decode(samples.values, noise.shape[-1])
        return white, samples.weights

    def one_step(self, noise: Tensor, condition: Tensor) -> Tensor:
        """
        Go from pure noise at ``t_star`` to x_0 in one pass.

        :param noise: standard normal, ``(P * S, K, D)``, or ``(P, S, K, D)``; the model's
            temperature is applied here.
        :param condition: whitened, ``(P, C, D)``.
        :returns: whitened x_0, shaped as the noise.
        """
        # the flat network takes noise that people share (expanded from one person's) as it is
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
