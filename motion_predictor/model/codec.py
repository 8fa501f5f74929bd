# SPDX-License-Identifier: Apache-2.0
"""The codec between poses and a network's input and output: own frame, DCT and whitening."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn, Tensor

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.model.config import ModelConfig
from motion_predictor.model.dct import WindowTransform
from motion_predictor.model.person_frame import from_features, PersonFrame, to_features


@dataclass(frozen=True)
class Whitening:
    """
    Shift and scale of each coefficient: ``white = (x - mean) / scale``.

    Both have the shape ``(rows, 3J)`` and are in metres; mean 0 and scale 1 are the identity.
    """

    mean: Tensor
    scale: Tensor

    @classmethod
    def identity(cls, rows: int, channels: int) -> Whitening:
        """Return the whitening that changes nothing (the choice of the papers)."""
        return cls(torch.zeros(rows, channels), torch.ones(rows, channels))

    @classmethod
    def fit(cls, values: Tensor, floor_m: float = 1e-3) -> Whitening:
        """
        Fit a whitening to a training set.

        :param values: ``(windows, rows, 3J)``, metres.
        :param floor_m: smallest scale, metres.
        """
        return cls(values.mean(dim=0), values.std(dim=0).clamp_min(floor_m))

    def apply(self, values: Tensor) -> Tensor:
        """Return whitened values: ``(..., rows, 3J)``, from metres to unit variance."""
        return (values - self.mean) / self.scale

    def undo(self, white: Tensor) -> Tensor:
        """Return values in metres; the inverse of :meth:`apply`."""
        return white * self.scale + self.mean


@dataclass(frozen=True)
class Context:
    """The codec's view of P observed windows, D = 3J."""

    frame: PersonFrame
    """The person's own frame at the last observed pose."""
    features: Tensor
    """Root and pose in that frame, metres, (P, T_obs, D)."""
    padded: Tensor
    """Coefficients of the window that is padded with the last pose, metres, (P, K, D)."""
    condition: Tensor
    """Whitened condition of the network, (P, C, D)."""


class Codec(nn.Module):
    """
    Encodes poses into whitened coefficients and decodes futures in the frame of the input.

    A state is ``white = (coefficients - padded - mean) / scale`` if ``config.residual`` holds,
    otherwise the same without ``padded``. Nothing here is trained. The whitening is fitted once to
    the teacher's windows, and is stored in the weights file with the network.
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

    def __init__(
        self,
        config: ModelConfig,
        skeleton: Skeleton,
        state: Whitening | None = None,
        condition: Whitening | None = None,
    ) -> None:
        """
        Make a codec.

        :param config: its window, condition, heading, residual and join_s define the encoding.
        :param skeleton: skeleton of the poses.
        :param state: whitening of the coefficients (K, D); None leaves them in metres.
        :param condition: whitening of the network's condition (C, D); None leaves it in metres.
        """
        super().__init__()
        channels = 3 * skeleton.num_joints
        self.config = config
        self.skeleton = skeleton
        state = state or Whitening.identity(config.window.dct_keep, channels)
        condition = condition or Whitening.identity(config.condition_rows, channels)
        self.register_buffer('state_mean', state.mean)
        self.register_buffer('state_scale', state.scale)
        self.register_buffer('condition_mean', condition.mean)
        self.register_buffer('condition_scale', condition.scale)
        maps = WindowTransform.build(config.window, config.condition_keep, config.join_s)
        for name in maps.__annotations__:
            self.register_buffer(f'map_{name}', getattr(maps, name), persistent=False)

    @property
    def maps(self) -> WindowTransform:
        """Return the linear maps of the window, on the device of this codec."""
        names = WindowTransform.__annotations__
        return WindowTransform(*(getattr(self, f'map_{name}') for name in names))

    @property
    def state(self) -> Whitening:
        """Return the whitening of the diffused coefficients."""
        return Whitening(self.state_mean, self.state_scale)

    @property
    def condition(self) -> Whitening:
        """Return the whitening of the network's condition."""
        return Whitening(self.condition_mean, self.condition_scale)

    def observe(self, observed: Tensor, seen: Tensor | None = None) -> Context:
        """
        Turn observed poses into the network's condition.

        :param observed: metres, z up, with any origin and heading, ``(P, T_obs, J, 3)``; joints
            that were never seen are completed.
        :param seen: which joints were seen at all, bool ``(P, J)``; None: all. A model without a
            mask treats completed joints as seen.
        """
        frame = PersonFrame.of(observed, self.skeleton)
        if self.config.heading == 'input':
            frame = frame.unturned()
        features = to_features(frame.enter(observed))  # (P, T_obs, D)
        padded = self.map_pad @ features  # (P, K, D)
        raw = padded if self.config.condition == 'padded' else self.map_observe @ features
        if self.config.mask:
            raw = torch.cat((raw, self._mask_row(observed, seen)), dim=1)
        return Context(frame, features, padded, self.condition.apply(raw))

    def _mask_row(self, observed: Tensor, seen: Tensor | None) -> Tensor:
        # 1 in the channels of joints that were never seen: (P, 1, D).
        row = observed.new_zeros(len(observed), 1, 3 * observed.shape[2])
        if seen is not None:
            row[:, 0] = (~seen).to(row).repeat_interleave(3, dim=1)
        return row

    def encode(self, window: Tensor, context: Context) -> Tensor:
        """
        Return the clean state x_0 of whole windows.

        :param window: observed and future frames, metres, ``(P, T, J, 3)``.
        :param context: from :meth:`observe`, called with their first T_obs frames.
        :returns: whitened, ``(P, K, D)``.
        """
        coefficients = self.map_full @ to_features(context.frame.enter(window))
        if self.config.residual:
            coefficients = coefficients - context.padded
        return self.state.apply(coefficients)

    def coefficients(self, white: Tensor, context: Context) -> Tensor:
        """
        Return the coefficients of states, in metres, ``(P, S, K, D)``.

        :param white: ``(P, S, K, D)``.
        :param context: context of the P windows.
        """
        values = self.state.undo(white)
        return values + context.padded[:, None] if self.config.residual else values

    def decode_features(self, white: Tensor, context: Context) -> Tensor:
        """
        Decode the future and join it to the observed past, in each person's own frame.

        :param white: whitened states, ``(P, S, K, D)``.
        :param context: context of the P windows.
        :returns: root position and pose relative to the root, metres, ``(P, S, T_fut, D)``.
        """
        return self.maps.future(self.coefficients(white, context), context.features[:, None])

    def decode(self, white: Tensor, context: Context) -> Tensor:
        """
        Return futures in the frame of the input.

        :param white: whitened states, ``(P, S, K, D)``.
        :param context: context of the P windows.
        :returns: joint positions in metres, ``(P, S, T_fut, J, 3)``.
        """
        # Join and turn the K coefficients instead of the T_fut frames: all of it is linear.
        turn = context.frame.rotation.mT  # (P, 3, 3)
        points = from_features(self.coefficients(white, context))  # (P, S, K, J, 3)
        turned = (points.flatten(1, 3) @ turn).view(*points.shape[:3], -1)
        past = from_features(self.map_recall @ context.features)  # (P, T_fut, J, 3)
        past = past @ turn[:, None] + context.frame.origin[:, None, None]
        futures = self.map_complete @ turned
        futures += past.flatten(2)[:, None]  # in place: a second array as large costs more
        return futures.unflatten(-1, (-1, 3))
