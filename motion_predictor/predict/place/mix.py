# SPDX-License-Identifier: Apache-2.0
"""The futures of several candidates as one whole: weights by horizon, mean, moments, radii."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from motion_predictor.body.geometry import with_bones
from motion_predictor.body.skeleton import Skeleton
from motion_predictor.model.candidates import CANDIDATES
from motion_predictor.predict.moments import Moments, sample_moments

_TOLERANCE = 1e-6
_FIRM_M = 0.003


def firmness(jitter: np.ndarray) -> np.ndarray:
    """
    Return how far a mean is adjusted to the observed bones.

    :param jitter: noise of the input, metres, ``(P,)``.
    :returns: float32 ``(P,)``: 1 for a clean input, a half at 2 mm of jitter.
    """
    return (1.0 / (1.0 + np.square(jitter / (_FIRM_M / 1.33)))).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Mix:
    """
    How the samples of P people's futures are combined.

    ``candidate`` is uint8 (S,), the candidate of each sample, never falling. ``within`` is float32
    (P, S), the sample's weight among those of its candidate, which sum to one. ``shares`` is (P,
    T_fut, C), the weight of each candidate at each frame; each row sums to one. ``bones_m`` is
    float32 (P, J), the lengths of the person's bones. ``firmness`` (P,) is how far a mean is
    adjusted to them: 1 for a clean input; noise on both ends of a bone would otherwise be put into
    the mean. ``means`` is float32 (P, T_fut, C, J, 3), the mean of each candidate, metres from
    ``origin`` float64 (P, 3), in the frame of the futures. ``radii`` is float32 (L, P, T_fut, J),
    metres about the expected future, one for each of ``levels``; None if there are none.
    """

    candidate: np.ndarray
    within: np.ndarray
    shares: np.ndarray
    bones_m: np.ndarray
    firmness: np.ndarray
    means: np.ndarray
    origin: np.ndarray
    skeleton: Skeleton
    levels: tuple[float, ...] = ()
    radii: np.ndarray | None = None

    def weights_at(self, frames: np.ndarray) -> np.ndarray:
        """Return every sample's weight at some frames, ``(P, S, F)``; they sum to one over S."""
        shares = np.moveaxis(self.shares[:, frames][..., self.candidate], 1, 2)  # (P, S, F)
        return self.within[:, :, None] * shares

    def expected(self, frames: np.ndarray | slice = slice(None)) -> np.ndarray:
        """
        Return the weighted mean of the candidates on the person's own bones.

        :param frames: indices of the frames, F of them; the default is all.
        :returns: metres, float64 ``(P, F, J, 3)``.
        """
        shares = self.shares[:, frames, :, None, None]
        mean = (shares * self.means[:, frames]).sum(axis=2)
        boned = with_bones(mean, self.bones_m[:, None], self.skeleton)
        mean = mean + self.firmness[:, None, None, None] * (boned - mean)
        return mean + self.origin[:, None, None]

    def moments(self, futures: np.ndarray, frames: np.ndarray, model: Moments) -> Moments:
        """
        Return mean and covariance of the weighted whole.

        :param futures: futures of all samples at these frames, metres, ``(P, S, F, J, 3)``.
        :param frames: indices of the frames, F of them.
        :param model: moments of the model's part alone at these frames.
        """
        parts = [model]
        for number in range(1, len(CANDIDATES)):
            of = samples_of(self.candidate, number)
            if of.stop == of.start:
                parts.append(model)  # its share is zero
                continue
            within = self.within[:, of].astype(np.float64)
            parts.append(sample_moments(futures[:, of], within))
        shares = np.moveaxis(self.shares[:, frames], -1, 0).astype(np.float64)[..., None]
        start = np.moveaxis(parts[0].mean, -1, 0)  # (3, P, F, J): numbers of a kind in a row
        apart = np.stack([np.moveaxis(part.mean, -1, 0) for part in parts], axis=1)
        apart -= start[:, None]  # (3, C, P, F, J)
        middle = (shares * apart).sum(axis=1)
        apart -= middle[:, None]
        spread = np.empty((3, 3, *middle.shape[1:]))
        for one in range(3):
            weighed = shares * apart[one]
            for other in range(one, 3):
                found = (weighed * apart[other]).sum(axis=0)
                for share, part in zip(shares, parts):
                    found += share * part.covariance[..., one, other]
                spread[one, other] = spread[other, one] = found
        mean = np.ascontiguousarray(np.moveaxis(start + middle, 0, -1))
        return Moments(mean, np.moveaxis(spread, (0, 1), (-2, -1)))

    def radius(self, coverage: float, frames: np.ndarray) -> np.ndarray | None:
        """
        Return the radius about the expected future, of the lowest level at or above a share.

        :param coverage: the share, 0..1.
        :param frames: indices of the frames, F of them.
        :returns: metres, ``(P, F, J)``; None if no level reaches the share.
        """
        if self.radii is None:
            return None
        for index, level in enumerate(self.levels):
            if level >= coverage - _TOLERANCE:
                return self.radii[index][:, frames]
        return None

    def later(self, lag_frames: np.ndarray) -> Mix:
        """
        Return the mix for futures that begin later.

        Weights and radii are those of the next later frame; means lie between the two frames.

        :param lag_frames: delay of each person's future in frames, ``(P,)``.
        """
        frames = self.shares.shape[1]
        exact = np.minimum(lag_frames[:, None] + np.arange(frames), frames - 1)
        at, before = (round_to(exact).astype(np.int64) for round_to in (np.ceil, np.floor))
        people = np.arange(len(at))[:, None]
        share = (exact - before).astype(np.float32)[..., None, None, None]
        means = self.means[people, before]
        means = means + share * (self.means[people, at] - means)
        radii = None if self.radii is None else self.radii[:, people, at]
        return replace(self, shares=self.shares[people, at], means=means, radii=radii)

    def turned(self, rotation: np.ndarray) -> Mix:
        """Return the mix rotated by a matrix (3, 3): ``rotation @ point``."""
        means = self.means @ rotation.T.astype(np.float32)
        return replace(self, means=means, origin=self.origin @ rotation.T)

    def moved(self, offset: np.ndarray) -> Mix:
        """Return the mix moved by metres, ``(P, 3)``."""
        return replace(self, origin=self.origin + offset)


def samples_of(candidate: np.ndarray, number: int) -> slice:
    """Return where the samples of a candidate lie, (S,); all of one follow each other."""
    first, last = np.searchsorted(candidate, (number, number + 1))
    return slice(int(first), int(last))


def overall(shares: np.ndarray, within: np.ndarray, candidate: np.ndarray) -> np.ndarray:
    """Return the weight of every sample over all frames together, ``(P, S)``; rows sum to one."""
    return within * shares.mean(axis=1)[:, candidate]
