# SPDX-License-Identifier: Apache-2.0
"""A prediction: sampled futures of several people, and the quantities that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from motion_predictor.model.calibration import Calibration
from motion_predictor.model.candidates import MODEL
from motion_predictor.predict.futures.sampled import as_futures, Futures
from motion_predictor.predict.mixture_forecast import Forecast
from motion_predictor.predict.moments import holding_radius, Moments, sample_moments
from motion_predictor.predict.place.mix import Mix, samples_of

UNSEEN_RADIUS_M = 0.15
"""Least radius of a joint that was never seen, metres."""


@dataclass(frozen=True)
class Prediction:
    """
    Sampled futures of P people, S samples each.

    ``sampled`` holds the futures in metres, in the frame of the input, and computes them at the
    frames that somebody asks for; an array of all, (P, S, T_fut, J, 3), is accepted too. Frame i
    is ``(i + 1) / rate_hz`` seconds after the last observed frame. ``weights`` is float32 (float64
    far from the origin of the frame), (P, S); every row sums to one. ``closed_form`` holds the
    moments of every frame if the model knows them better than its samples do (a mixture of
    Gaussians). ``calibration`` holds calibrated radii if the weights file has them.
    """

    sampled: Futures
    weights: np.ndarray
    rate_hz: float
    closed_form: Moments | Forecast | None = None
    calibration: Calibration | None = None
    radius_scale: float = 1.0
    """Factor on :meth:`radius` (:mod:`motion_predictor.predict.radius`)."""
    mix: Mix | None = None
    """How the samples of several candidates are combined; None: all samples are the model's."""
    hangs_on: np.ndarray | None = None
    """For each joint that was never seen, the seen joints from which it was completed, bool
    (P, J, J), see :func:`motion_predictor.body.completion.hangs_on`; None: all were seen."""

    def __post_init__(self) -> None:
        """Take an array of futures as well."""
        object.__setattr__(self, 'sampled', as_futures(self.sampled))

    @cached_property
    def futures(self) -> np.ndarray:
        """
        Return every sample at every frame; :meth:`futures_at` is faster where a few are wanted.

        :returns: float32 (float64 far from the origin of the frame), (P, S, T_fut, J, 3), metres.
        """
        return self.sampled.every()

    @cached_property
    def _made(self) -> dict[bytes, np.ndarray]:
        return {}

    def futures_at(self, frames: np.ndarray) -> np.ndarray:
        """
        Return every sample at some frames; those who ask for the same ones share the array.

        :param frames: indices, F of them.
        :returns: as :attr:`futures`, (P, S, F, J, 3); not to be changed.
        """
        key = np.asarray(frames, dtype=np.int64).tobytes()
        if key not in self._made:
            self._made[key] = self.sampled.at(np.asarray(frames))
        return self._made[key]

    @property
    def future_frames(self) -> int:
        """Return T_fut."""
        return self.sampled.shape[2]

    @property
    def candidate(self) -> np.ndarray:
        """Return the index in ``candidates.CANDIDATES`` of each sample's candidate, uint8 (S,)."""
        if self.mix is not None:
            return self.mix.candidate
        return np.zeros(self.sampled.shape[1], dtype=np.uint8)

    def weights_at(self, frames: np.ndarray) -> np.ndarray:
        """
        Return the weight of every sample at some frames; they sum to one over the samples.

        :param frames: indices of the frames, (F,).
        :returns: (P, S, F).
        """
        if self.mix is not None:
            return self.mix.weights_at(frames)
        return np.repeat(self.weights[:, :, None], len(frames), axis=2)

    def expected_at(self, frames: np.ndarray) -> np.ndarray:
        """
        Return :attr:`expected` at some frames.

        :param frames: indices, F of them.
        :returns: (P, F, J, 3).
        """
        return self.expected[:, frames] if self.mix is None else self.mix.expected(frames)

    @cached_property
    def expected(self) -> np.ndarray:
        """
        Return the one future with the least expected error, metres, float64 (P, T_fut, J, 3).

        It is the weighted mean of all samples on the person's own bones. Without a mix, it is the
        mean of the model's samples, and its bones are those of the samples.
        """
        if self.mix is not None:
            return self.mix.expected()
        start = self.futures[:, :1].astype(np.float64)
        shares = self.weights[:, :, None, None, None]
        return start[:, 0] + (shares * (self.futures - start)).sum(axis=1)

    @property
    def times_s(self) -> np.ndarray:
        """Return the seconds from the last observed frame to each future one, float64 (T_fut,)."""
        return np.arange(1, self.future_frames + 1) / self.rate_hz

    @cached_property
    def most_likely(self) -> np.ndarray:
        """
        Return the index of the sample to show as each person's trajectory, int64 (P,).

        It is the medoid: the sample with the least weighted distance to all others. Its expected
        error is the least if the samples cover what may happen. The heaviest of many experts is a
        corner of what may happen, and is further from what does happen (docs/results/moe.md, top 1
        and few 1).
        """
        compared = self.sampled.apart()
        persons = len(compared)
        chosen = np.empty(persons, dtype=np.int64)
        for person, flat in enumerate(compared):
            flat = flat - flat.mean(axis=0)
            square = (flat * flat).sum(axis=1)
            # torch keeps to the number of threads that it was given. NumPy's threads take every
            # core, and if others need the cores, this small product takes 100 ms instead of 1.
            inner = torch.from_numpy(np.ascontiguousarray(flat))
            gaps = square[:, None] + square[None] - 2.0 * (inner @ inner.T).numpy()
            expected = np.sqrt(np.maximum(gaps, 0.0)) @ self.weights[person]
            chosen[person] = int(expected.argmin())
        return chosen

    def moments(self, frames: np.ndarray | None = None) -> Moments:
        """
        Return mean and covariance of every joint: in closed form, or else of the weighted samples.

        :param frames: indices of the frames; the default is all.
        """
        chosen = np.arange(self.future_frames) if frames is None else frames
        if self.mix is None:
            if self.closed_form is not None:
                return self.closed_form.at(chosen)
            return sample_moments(self.futures_at(chosen), self.weights)
        own = samples_of(self.mix.candidate, MODEL)
        if self.closed_form is not None:
            model = self.closed_form.at(chosen)
        else:
            model = sample_moments(self.futures_at(chosen)[:, own], self.mix.within[:, own])
        return self.mix.moments(self.futures_at(chosen), chosen, model)

    def radius(self, coverage: float, moments: Moments, frames: np.ndarray) -> np.ndarray:
        """
        Return the radius about the mean within which each joint will be.

        If the weights file's calibration has a level at or above the share, its radius is taken:
        that share of real positions lay within it. Otherwise it is the ball that holds that share
        of the weighted samples. Either is multiplied by ``radius_scale``.

        A joint that was never seen has no smaller radius than the joints from which it was
        completed, and none below ``UNSEEN_RADIUS_M``: nothing was measured of it.

        :param coverage: the share, above 0 and at most 1.
        :param moments: from :meth:`moments` of the same frames.
        :param frames: indices of the frames.
        :returns: metres, (P, frames, J).
        """
        found = self._radius(coverage, moments, frames)
        if self.hangs_on is None:
            return found
        near = np.where(self.hangs_on[:, None], found[:, :, None], 0.0).max(axis=-1)
        least = np.maximum(near, UNSEEN_RADIUS_M)
        unseen = np.asarray(self.hangs_on.any(axis=-1))[:, None]
        return np.where(unseen, np.maximum(found, least), found)

    def _radius(self, coverage: float, moments: Moments, frames: np.ndarray) -> np.ndarray:
        if self.mix is not None:
            stated = self.mix.radius(coverage, frames)
            if stated is not None:
                return stated
        elif self.calibration is not None:
            level = self.calibration.level_for(coverage)
            if level is not None:
                stated = self.calibration.radius(level, moments.covariance, frames)
                return self.radius_scale * stated
        weights = self.weights if self.mix is None else self.weights_at(frames)
        ball = holding_radius(self.futures_at(frames), weights, moments.mean, coverage)
        return self.radius_scale * ball
