# SPDX-License-Identifier: Apache-2.0
"""The model's futures in the form of its states, which are decoded to the world on demand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from motion_predictor.model.codec import Context
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.predict.futures.sampled import Futures

_AT_ONCE = 4  # people whose numbers fit into a processor's cache
_LARGEST = 1e30  # a state below this is finite after decoding, too


@dataclass(frozen=True, eq=False)
class States(Futures):
    """
    Whitened states of P people's windows, S samples each.

    Joint positions are linear in them, so any frame, and the mean of all samples, can be computed
    without the others.
    """

    model: MotionModel
    context: Context
    """Context of the P windows."""
    white: Tensor
    """Whitened states, ``(P, S, K, 3 J)``."""

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """See :class:`Futures`."""
        persons, samples, _, channels = self.white.shape
        return persons, samples, self.model.config.window.future_frames, channels // 3, 3

    @property
    def dtype(self) -> np.dtype:
        """See :class:`Futures`."""
        return np.dtype(np.float32)

    @cached_property
    def _coefficients(self) -> Tensor:
        return self.model.coefficients(self.white, self.context)  # (P, S, K, D)

    @cached_property
    def _turn(self) -> Tensor:
        # Matrix (P, D, D) from the root and the joints relative to it to joints in the world,
        # without the origin: one product instead of many by a matrix of three.
        joints, turn = self.shape[3], self.context.frame.rotation.mT  # (P, 3, 3)
        found = turn.new_zeros(len(turn), joints, 3, joints, 3)
        found[:, 0] = turn[:, :, None]  # the root moves every joint
        every = torch.arange(1, joints)
        found[:, every, :, every] = turn
        return found.view(len(turn), 3 * joints, 3 * joints)

    @cached_property
    def _turned(self) -> Tensor:
        # The coefficients (P, S, K, D) of joints in the world, but for the origin and the past:
        # there are fewer of them than of frames, and every call uses them.
        found = torch.empty_like(self.white, memory_format=torch.contiguous_format)
        for begin in range(0, len(found), _AT_ONCE):
            few = slice(begin, begin + _AT_ONCE)
            torch.bmm(
                self._coefficients[few].flatten(1, 2),
                self._turn[few],
                out=found[few].flatten(1, 2),
            )
        return found

    @cached_property
    def _past(self) -> Tensor:
        # The part of every frame that no sample changes, (P, T_fut, D).
        origin = self.context.frame.origin.repeat(1, self.shape[3])[:, None]
        return torch.baddbmm(origin, self.model.map_recall @ self.context.features, self._turn)

    def _to_world(self, turned: Tensor, frames: Tensor) -> Tensor:
        # Return joint positions (P, S, F, J, 3) of turned coefficients (P, S, K, D).
        # One product for a few people: one for every sample takes twice as long, and the numbers
        # of many people do not stay in the cache until the past is added.
        over_time, past = self.model.map_complete[frames], self._past[:, None, frames]
        persons, samples, _, channels = turned.shape
        world = turned.new_empty(persons, samples, len(frames), channels)
        for begin in range(0, persons, _AT_ONCE):
            few = slice(begin, begin + _AT_ONCE)
            own = torch.einsum('fk,pskd->psfd', over_time, turned[few])
            torch.add(own, past[few], out=world[few])
        return world.unflatten(-1, (-1, 3))

    def at(self, frames: np.ndarray) -> np.ndarray:
        """See :class:`Futures`."""
        index = torch.from_numpy(np.ascontiguousarray(frames, dtype=np.int64))
        with torch.inference_mode():
            return self._to_world(self._turned, index).numpy()

    def every(self) -> np.ndarray:
        """See :class:`Futures`."""
        with torch.inference_mode():
            return self.model.decode(self.white, self.context).cpu().numpy()

    def mean(self, weights: np.ndarray) -> np.ndarray:
        """See :class:`Futures`."""
        shares = torch.from_numpy(np.ascontiguousarray(weights, dtype=np.float32))[:, None]
        with torch.inference_mode():
            middle = shares @ self._turned.flatten(2)  # (P, 1, K D)
            middle = middle.view(len(shares), 1, *self.white.shape[2:])
            return self._to_world(middle, torch.arange(self.shape[2]))[:, 0].numpy()

    def finite(self) -> np.ndarray:
        """See :class:`Futures`."""
        with torch.inference_mode():
            largest = self._coefficients.abs().flatten(1).amax(dim=1)  # NaN if any number is
            return (largest < _LARGEST).numpy()

    def apart(self) -> np.ndarray:
        """See :class:`Futures`."""
        with torch.inference_mode():
            # as long as the whole, whatever rank the map has: complete = Q factor
            factor = torch.linalg.qr(self.model.map_complete.double(), mode='r').R.float()
            channels = self.white.shape[-1]
            joints = factor @ (self._coefficients.view(-1, *self.white.shape[2:]))
            root = joints[..., :3].repeat(1, 1, channels // 3)
            root[..., :3] = 0.0
            return (joints + root).view(*self.white.shape[:2], -1).numpy()
