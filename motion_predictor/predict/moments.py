# SPDX-License-Identifier: Apache-2.0
"""Summaries of where each joint will be: mean, covariance, and the ball that holds a share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from motion_predictor.common.shapes import require_shape
from motion_predictor.errors import ConfigError

_PAIRS = tuple((one, other) for one in range(3) for other in range(one, 3))
_AT_ONCE = 2  # people whose samples fit into a processor's cache


@dataclass(frozen=True)
class Moments:
    """
    Mean and covariance of each joint for P people at T instants.

    ``mean`` is float64 (P, T, J, 3) in metres. ``covariance`` is float64 (P, T, J, 3, 3) in square
    metres. Both are in the frame of the futures.
    """

    mean: np.ndarray
    covariance: np.ndarray

    def at(self, frames: np.ndarray) -> Moments:
        """Return the moments at some of the instants, by their indices."""
        return Moments(self.mean[:, frames], self.covariance[:, frames])

    def moved(self, offset: np.ndarray) -> Moments:
        """Return the moments moved by metres broadcastable to (P, 1, 1, 3)."""
        return Moments(self.mean + offset, self.covariance)

    def turned(self, rotation: np.ndarray) -> Moments:
        """Return the moments rotated by a matrix (3, 3): ``rotation @ point``."""
        return Moments(self.mean @ rotation.T, rotation @ self.covariance @ rotation.T)


def sample_moments(futures: np.ndarray, weights: np.ndarray) -> Moments:
    """
    Estimate mean and covariance from weighted samples.

    The covariance is the unbiased estimate for weights that state the importance of each sample:
    ``sum w d d' / (1 - sum w^2)``. For equal weights this is the familiar ``1 / (S - 1)``. A
    single sample, or a sample with all of the weight, has no spread: zero.

    :param futures: metres, (P, S, T, J, 3).
    :param weights: (P, S); every row sums to one.
    :raises ShapeError: if the arrays do not fit each other.
    """
    require_shape('futures', futures, ('P', 'S', 'T', 'J', 3))
    require_shape('weights', weights, futures.shape[:2])
    persons, samples, steps, joints = futures.shape[:4]
    flat = futures.reshape(persons, samples, 3 * steps * joints)
    start = flat[:, :1]
    mean = start[:, 0].astype(np.float64)
    spread = np.zeros((3, 3, persons, steps, joints))
    if samples > 1:
        share = np.asarray(weights, dtype=np.float64)
        free = 1.0 - (share * share).sum(axis=1)
        known = np.where(free > 1e-9, 1.0 / np.maximum(free, 1e-9), 0.0)
        for begin in range(0, persons, _AT_ONCE):
            at = slice(begin, begin + _AT_ONCE)
            middle, products = _centred_products(flat[at], start[at], share[at].astype(np.float32))
            mean[at] += middle
            for number, (one, other) in enumerate(_PAIRS):
                # a product of neighbouring numbers: coordinate `one` of a joint is every third
                of = products[number][:, one::3].reshape(-1, steps, joints)
                found = known[at, None, None] * of
                spread[one, other, at] = found
                spread[other, one, at] = found
    return Moments(mean.reshape(persons, steps, joints, 3), np.moveaxis(spread, (0, 1), (-2, -1)))


def _centred_products(
    flat: np.ndarray, start: np.ndarray, share: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    # Return the weighted mean of samples (P, S, N) from their start, (P, N), and for each pair of
    # coordinates the weighted sum of the centred numbers times those 0, 1 or 2 further on.
    # Differences from the start are small numbers, so that float32 is enough.
    apart = np.subtract(flat, start, dtype=flat.dtype).astype(np.float32, copy=False)
    middle = (share[:, None] @ apart)[:, 0]
    apart -= middle[:, None]
    apart *= np.sqrt(share)[:, :, None]
    ends = apart.shape[2]
    ahead = [
        np.einsum('psn,psn->pn', apart[:, :, : ends - by], apart[:, :, by:]) for by in range(3)
    ]
    return middle, [ahead[other - one] for one, other in _PAIRS]


def holding_radius(
    futures: np.ndarray, weights: np.ndarray, centre: np.ndarray, coverage: float
) -> np.ndarray:
    """
    Return the radius of the ball about each joint's mean that holds a share of the samples.

    :param futures: metres, (P, S, T, J, 3).
    :param weights: weights of the samples, (P, S), or (P, S, T) if they differ in time; they sum
        to one over S.
    :param centre: centres of the balls, metres, (P, T, J, 3).
    :param coverage: the share, above 0 and at most 1.
    :returns: metres, float64 (P, T, J): the distance of the sample that completes the share.
    :raises ConfigError: if the share cannot be reached.
    """
    if not 0.0 < coverage <= 1.0:
        raise ConfigError(f'coverage={coverage}: must be above 0 and at most 1')
    distance = np.linalg.norm(futures - centre[:, None], axis=-1)  # (P, S, T, J)
    samples = weights.shape[1]
    if weights.ndim == 2:
        weights = weights[:, :, None]
    if samples and (weights == weights[:, :1]).all():
        index = min(samples - 1, max(0, int(np.ceil(coverage * samples - 1e-6)) - 1))
        return np.partition(distance, index, axis=1)[:, index]
    order = np.argsort(distance, axis=1)
    share = np.asarray(weights, dtype=np.float64)[..., None]
    share = np.broadcast_to(share, distance.shape)
    held = np.cumsum(np.take_along_axis(share, order, axis=1), axis=1)
    index = (held >= coverage - 1e-6).argmax(axis=1)[:, None]  # the first that reaches the share
    return np.take_along_axis(np.take_along_axis(distance, order, axis=1), index, axis=1)[:, 0]
