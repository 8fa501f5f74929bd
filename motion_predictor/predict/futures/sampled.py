# SPDX-License-Identifier: Apache-2.0
"""Sampled futures of several people, computed only at the requested frames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch


class Futures(ABC):
    """
    Futures of P people, S samples each, of T_fut frames and J joints, in metres.

    Frames that are not requested are not computed. Any thread may call every method.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int, int, int]:
        """Return (P, S, T_fut, J, 3)."""

    @property
    @abstractmethod
    def dtype(self) -> np.dtype:
        """Return float32, or float64 far from the origin of the frame."""

    @abstractmethod
    def at(self, frames: np.ndarray) -> np.ndarray:
        """
        Return every sample at some frames.

        :param frames: indices of the frames, (F,).
        :returns: metres, ``(P, S, F, J, 3)``.
        """

    def every(self) -> np.ndarray:
        """Return every sample at every frame, metres, ``(P, S, T_fut, J, 3)``."""
        return self.at(np.arange(self.shape[2]))

    def mean(self, weights: np.ndarray) -> np.ndarray:
        """
        Return the weighted mean of each person's samples.

        :param weights: ``(P, S)``; each row sums to one.
        :returns: metres, ``(P, T_fut, J, 3)``.
        """
        return _mean(self.every(), weights)

    def finite(self) -> np.ndarray:
        """Return for each person whether every number is finite, bool (P,)."""
        return np.isfinite(self.every()).all(axis=(1, 2, 3, 4))

    def apart(self) -> np.ndarray:
        """
        Return vectors whose distances are those between samples of one person.

        :returns: ``(P, S, N)``; the Euclidean distances equal those between whole futures.
        """
        every = self.every()
        return every.reshape(*every.shape[:2], -1)


def _mean(futures: np.ndarray, weights: np.ndarray) -> np.ndarray:
    # torch, which keeps to the threads it was given
    shares = torch.from_numpy(weights.astype(futures.dtype, copy=False))
    flat = torch.from_numpy(np.ascontiguousarray(futures)).flatten(2)
    with torch.inference_mode():
        return torch.bmm(shares[:, None], flat).view(len(futures), *futures.shape[2:]).numpy()


@dataclass(frozen=True, eq=False)
class Whole(Futures):
    """Futures that are computed at every frame, metres, ``(P, S, T_fut, J, 3)``."""

    values: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """See :class:`Futures`."""
        persons, samples, frames, joints, axes = self.values.shape
        return persons, samples, frames, joints, axes

    @property
    def dtype(self) -> np.dtype:
        """See :class:`Futures`."""
        return self.values.dtype

    def at(self, frames: np.ndarray) -> np.ndarray:
        """See :class:`Futures`."""
        return self.values[:, :, frames]

    def every(self) -> np.ndarray:
        """See :class:`Futures`."""
        return self.values


@dataclass(frozen=True, eq=False)
class _Changed(Futures):
    """Futures that are computed from other futures frame by frame."""

    of: Futures

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """See :class:`Futures`."""
        return self.of.shape

    @property
    def dtype(self) -> np.dtype:
        """See :class:`Futures`."""
        return self.of.dtype

    def finite(self) -> np.ndarray:
        """See :class:`Futures`."""
        return self.of.finite()


@dataclass(frozen=True, eq=False)
class Moved(_Changed):
    """Futures moved by metres, float64 ``(P, 3)``."""

    offset: np.ndarray

    @property
    def dtype(self) -> np.dtype:
        """See :class:`Futures`."""
        return np.result_type(self.of.dtype, self.offset.dtype)

    def at(self, frames: np.ndarray) -> np.ndarray:
        """See :class:`Futures`."""
        return self.of.at(frames) + self.offset[:, None, None, None]

    def every(self) -> np.ndarray:
        """See :class:`Futures`."""
        return self.of.every() + self.offset[:, None, None, None]

    def mean(self, weights: np.ndarray) -> np.ndarray:
        """See :class:`Futures`."""
        return self.of.mean(weights) + self.offset[:, None, None]

    def apart(self) -> np.ndarray:
        """See :class:`Futures`."""
        return self.of.apart()


@dataclass(frozen=True, eq=False)
class Turned(_Changed):
    """Futures turned by a matrix (3, 3): ``rotation @ point``."""

    rotation: np.ndarray

    def at(self, frames: np.ndarray) -> np.ndarray:
        """See :class:`Futures`."""
        return self.of.at(frames) @ self.rotation.T.astype(self.dtype)

    def every(self) -> np.ndarray:
        """See :class:`Futures`."""
        return self.of.every() @ self.rotation.T.astype(self.dtype)

    def apart(self) -> np.ndarray:
        """See :class:`Futures`."""
        return self.of.apart()


@dataclass(frozen=True, eq=False)
class Later(_Changed):
    """
    Futures as seen some frames later, ``lag_frames`` (P,), for people with older last poses.

    They are linear between frames, begin at the last poses ``last`` (P, J, 3), and repeat their
    last frame.
    """

    last: np.ndarray
    lag_frames: np.ndarray

    def at(self, frames: np.ndarray) -> np.ndarray:
        """See :class:`Futures`."""
        frames = np.asarray(frames)
        late = np.flatnonzero(self.lag_frames)
        end = self.shape[2]
        at = np.minimum(frames + 1 + self.lag_frames[late, None], end)  # (L, F)
        left = np.minimum(at.astype(np.int64), end - 1)  # of a path that begins at the last pose
        needed = np.unique(np.concatenate((frames, left.ravel(), left.ravel() - 1)))
        needed = needed[needed >= 0]
        found = self.of.at(needed)
        made = found[:, :, np.searchsorted(needed, frames)]
        for person, before, exact in zip(late, left, at, strict=True):
            share = (exact - before).astype(self.dtype)[:, None, None]
            begin = found[person][:, np.searchsorted(needed, np.maximum(before - 1, 0))]
            begin[:, before == 0] = self.last[person]
            ahead = found[person][:, np.searchsorted(needed, before)]
            made[person] = begin + share * (ahead - begin)
        return made


def as_futures(values: Futures | np.ndarray) -> Futures:
    """Return futures; an array of all frames, ``(P, S, T_fut, J, 3)``, is accepted too."""
    return values if isinstance(values, Futures) else Whole(values)
