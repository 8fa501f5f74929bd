# SPDX-License-Identifier: Apache-2.0
"""The orthonormal DCT-II basis of a window, and the linear maps that follow from it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from motion_predictor.model.config import WindowConfig


def dct_matrix(frames: int) -> Tensor:
    """
    Return the orthonormal DCT-II basis; row k is the k-th temporal frequency.

    :param frames: length of the window, T.
    :returns: float64, shape ``(T, T)``; its inverse is its transpose.
    """
    n = torch.arange(frames, dtype=torch.float64)
    basis = torch.cos(torch.pi / frames * (n[None, :] + 0.5) * n[:, None])
    basis *= (2.0 / frames) ** 0.5
    basis[0] *= 0.5**0.5
    return basis


def encode(poses: Tensor, basis: Tensor, keep: int) -> Tensor:
    """
    Project poses on their lowest temporal frequencies.

    :param poses: joint positions in metres, shape ``(..., T, D)``.
    :param basis: from :func:`dct_matrix`, shape ``(T, T)``.
    :param keep: number of coefficients K, 1 <= K <= T.
    :returns: coefficients in metres, shape ``(..., K, D)``.
    """
    return basis[:keep].to(poses) @ poses


def decode(coefficients: Tensor, basis: Tensor) -> Tensor:
    """
    Return the smooth poses of coefficients; the inverse of :func:`encode`.

    :param coefficients: in metres, shape ``(..., K, D)``.
    :param basis: from :func:`dct_matrix`, shape ``(T, T)``.
    :returns: poses in metres, shape ``(..., T, D)``.
    """
    keep = coefficients.shape[-2]
    return basis[:keep].to(coefficients).transpose(-1, -2) @ coefficients


@dataclass(frozen=True)
class WindowTransform:
    """
    The linear maps of a window, computed once in float64 and stored as float32.

    ``pad``      (K, T_obs): observed frames -> coefficients, padded with the last pose.
    ``observe``  (C, T_obs): observed frames -> lowest C frequencies of that part alone.
    ``complete`` (T_fut, K): coefficients -> future, joined to the history.
    ``recall``   (T_fut, T_obs): the observed frames' own share in that future.
    ``full``     (K, T): a whole window -> coefficients.
    """

    pad: Tensor
    observe: Tensor
    complete: Tensor
    recall: Tensor
    full: Tensor

    @classmethod
    def build(
        cls, window: WindowConfig, observed_keep: int, join_s: float = 0.0
    ) -> WindowTransform:
        """
        Build the maps of a window.

        :param window: gives T_obs, T_fut and K.
        :param observed_keep: number of frequencies of the observed frames in the condition, C.
        :param join_s: 0 joins the future to the past by TransFusion's completion; above 0, the
            difference between the last observed pose and the decoded one fades as ``exp(-t /
            join_s)``.
        """
        past, keep = window.observed_frames, window.dct_keep
        low = dct_matrix(window.total_frames)[:keep]  # (K, T)
        pad = low[:, :past].clone()
        pad[:, -1] += low[:, past:].sum(dim=1)
        future = low[:, past:].T  # (T_fut, K)
        if join_s > 0.0:
            frame = torch.arange(1, window.future_frames + 1, dtype=torch.float64)
            fade = torch.exp(-frame / (join_s * window.rate_hz))[:, None]
            complete = future - fade * low[:, past - 1]
            recall = torch.zeros(window.future_frames, past, dtype=torch.float64)
            recall[:, -1:] = fade
        else:
            complete = future @ (future.T @ future)
            recall = future @ low[:, :past]
        return cls(
            pad=pad.float(),
            observe=dct_matrix(past)[:observed_keep].float(),
            complete=complete.float(),
            recall=recall.float(),
            full=low.float(),
        )

    def to(self, device: torch.device | str) -> WindowTransform:
        """Return a copy of the maps on a device."""
        return WindowTransform(*(getattr(self, name).to(device) for name in self.__annotations__))

    def future(self, coefficients: Tensor, observed: Tensor) -> Tensor:
        """
        Decode the future and join it to the observed past; see :meth:`build`.

        TransFusion's completion works as follows. It decodes the window and replaces its observed
        frames by the real ones. It encodes the result, decodes it again and keeps the future. Both
        ways of joining are linear.

        :param coefficients: K lowest frequencies of the whole window, ``(..., K, D)``.
        :param observed: the real observed frames, broadcastable to ``(..., T_obs, D)``.
        :returns: ``(..., T_fut, D)``.
        """
        return self.complete @ coefficients + self.recall @ observed
