# SPDX-License-Identifier: Apache-2.0
"""The probability that bodies touch each voxel, from sampled futures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

from motion_predictor.common.background import CancelledError
from motion_predictor.common.shapes import require_shape
from motion_predictor.errors import ConfigError

MAX_VOXELS = 5_000_000
"""Greatest number of voxels in one cloud of ~/occupancy: 140 MB."""
_MAX_LISTED = 4_000_000
_DENSE_HALVES = 8_000_000  # number of half voxels in one array of 64-bit words, 64 MB
_KEY_BITS = 21  # bits of a voxel's index along one axis, in a key of 63 bits
_KEY_LIMIT = 2 ** (_KEY_BITS - 1)


@dataclass(frozen=True)
class Occupancy:
    """
    N voxels that somebody may touch, in order of time bin.

    ``index`` is int64 (N, 3): the voxel extends from ``index * voxel_m`` to ``(index + 1) *
    voxel_m``. ``bin`` is int64 (N,): it extends from ``bin * bin_s`` to ``(bin + 1) * bin_s``
    seconds after the stamp. ``probability`` is float64 (N,).
    """

    index: np.ndarray
    bin: np.ndarray
    probability: np.ndarray
    voxel_m: float
    bin_s: float

    @property
    def centres(self) -> np.ndarray:
        """Return the centres of the voxels, metres, (N, 3)."""
        return (self.index + 0.5) * self.voxel_m


def occupancy(
    futures: np.ndarray,
    weights: np.ndarray,
    times_s: np.ndarray,
    bones: Sequence[tuple[int, int]],
    *,
    voxel_m: float,
    bin_s: float,
    body_radius_m: float,
    min_probability: float = 0.0,
    stopped: Callable[[], bool] = lambda: False,
) -> Occupancy:
    """
    Return the probability that each voxel is touched in each time bin.

    A body is everything within ``body_radius_m`` of its joints and of the bones between them. A
    sample touches a voxel in a bin if some point of the voxel, not only its centre, lies in the
    body at one of the sample's instants in the bin. The probability of a voxel is the weight of
    the samples that touch it. People are independent of each other, as in the model: ``1 - prod(1
    - p)``.

    Bodies are divided into half voxels, and each counts as a whole. So no touched voxel is ever
    left out, and some voxels are included that a body passes at less than 0.9 voxels.

    :param futures: metres, (P, S, T, J, 3), finite.
    :param weights: (P, S), or (P, S, T) if they differ in time; they sum to one over S.
    :param times_s: seconds after the stamp, increasing, (T,); the first bin begins at 0.
    :param bones: pairs of joint indices.
    :param voxel_m: edge of a voxel, metres; voxels are aligned with the origin of the frame.
    :param bin_s: length of a time bin, seconds; an instant on the border belongs to the earlier
        bin.
    :param body_radius_m: metres.
    :param min_probability: voxels of lower probability are left out.
    :param stopped: returns whether the result is no longer wanted.
    :raises CancelledError: if the result is no longer wanted.
    :raises ConfigError: if a size is not positive, or if there are more than ``MAX_VOXELS``.
    :raises ShapeError: if the arrays do not fit each other.
    """
    if not (voxel_m > 0.0 and bin_s > 0.0 and body_radius_m >= 0.0):
        raise ConfigError(
            f'voxel_m={voxel_m}, bin_s={bin_s}, body_radius_m={body_radius_m}: must be positive'
        )
    require_shape('futures', futures, ('P', 'S', 'T', 'J', 3))
    if weights.ndim == 2:
        weights = np.repeat(weights[:, :, None], futures.shape[2], axis=2)
    require_shape('weights', weights, futures.shape[:3])
    require_shape('times_s', times_s, (futures.shape[2],))
    bins = np.maximum(np.ceil(np.asarray(times_s) / bin_s - 1e-6).astype(np.int64) - 1, 0)
    paths = list(zip(bones, _bone_shares(futures, bones, 0.5 * voxel_m)))
    radius = float(np.hypot(body_radius_m, 0.25 * voxel_m)) / voxel_m  # half a step to each side
    found = _of_each(futures, weights, bins, voxel_m, radius, paths, stopped)
    keys, bin_of, probability = _of_all(found, len(futures))
    kept = probability >= max(min_probability - 1e-6, 1e-9)
    return Occupancy(_from_keys(keys[kept]), bin_of[kept], probability[kept], voxel_m, bin_s)


def _of_each(
    futures: np.ndarray,
    weights: np.ndarray,
    bins: np.ndarray,
    voxel_m: float,
    radius: float,
    bones: list[tuple[tuple[int, int], np.ndarray]],
    stopped: Callable[[], bool],
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    # Yield the keys, bins and probabilities of each person in each bin; the radius is in voxels.
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    count = 0
    for person in range(len(futures)):
        for number in np.unique(bins):
            inside = bins == number
            frames = futures[person][:, inside] / np.float64(voxel_m)  # (S, F, J, 3)
            share = weights[person][:, inside].mean(axis=1)
            keys, probability = _touched(frames, share, radius, bones, stopped)
            count += len(keys)
            require_voxels(count)
            found.append((keys, np.full(len(keys), number), probability))
    return found


def _of_all(
    found: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], people: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # Combine the keys, bins and probabilities of all people: every voxel once per bin.
    keys = np.concatenate([each[0] for each in found]) if found else np.zeros(0, np.int64)
    bin_of = np.concatenate([each[1] for each in found]) if found else np.zeros(0, np.int64)
    free = 1.0 - np.concatenate([each[2] for each in found]) if found else np.zeros(0)
    if people > 1:  # several people may touch a voxel
        order = np.lexsort((keys, bin_of))
        keys, bin_of, free = keys[order], bin_of[order], free[order]
        first = np.ones(len(keys), dtype=bool)
        first[1:] = (np.diff(keys) != 0) | (np.diff(bin_of) != 0)
        free = np.multiply.reduceat(free, np.flatnonzero(first)) if len(keys) else free
        keys, bin_of = keys[first], bin_of[first]
    return keys, bin_of, 1.0 - free


def require_voxels(count: int) -> None:
    """
    Check that a cloud is not larger than any consumer can take.

    :raises ConfigError: if it is.
    """
    if count > MAX_VOXELS:
        raise ConfigError(
            f'~/occupancy: more than {MAX_VOXELS} voxels; raise occupancy.voxel_m or '
            'occupancy.bin_s, or lower max_persons'
        )


def _bone_shares(
    futures: np.ndarray, bones: Sequence[tuple[int, int]], step_m: float
) -> list[np.ndarray]:
    # For each bone, the positions between its two joints that are checked.
    shares = []
    for one, other in bones:
        length = np.linalg.norm(futures[..., one, :] - futures[..., other, :], axis=-1)
        longest = float(length.max()) if length.size else 0.0
        steps = min(max(1, int(np.ceil(longest / step_m))), 1000)
        shares.append(np.linspace(0.0, 1.0, steps + 1, dtype=np.float32))
    return shares


def _body_points(
    frames: np.ndarray, bones: list[tuple[tuple[int, int], np.ndarray]]
) -> np.ndarray:
    # Return the points on joints and bones, (S, N, 3), of joints (S, F, J, 3).
    samples, count, joints = frames.shape[:3]
    inner = sum(len(share) - 2 for _, share in bones)
    points = np.empty((samples, count, joints + inner, 3), dtype=frames.dtype)
    points[:, :, :joints] = frames
    at = joints
    for (one, other), share in bones:
        end = at + len(share) - 2
        way = (frames[:, :, other] - frames[:, :, one])[:, :, None]
        points[:, :, at:end] = frames[:, :, one, None] + share[1:-1, None] * way
        at = end
    return points.reshape(samples, -1, 3)


def _touched(
    frames: np.ndarray,
    weights: np.ndarray,
    radius: float,
    bones: list[tuple[tuple[int, int], np.ndarray]],
    stopped: Callable[[], bool],
) -> tuple[np.ndarray, np.ndarray]:
    # Return the keys of the voxels touched by joints (S, F, J, 3) within a radius in voxels, and
    # their probability. Each sample is one bit of a word, so that one operation serves up to 64
    # samples. A point counts as the whole half voxel that contains it.
    samples = len(frames)
    reach = int(radius) + 1
    joints = frames.reshape(-1, 3)
    low = np.floor(joints.min(axis=0)).astype(np.int64) - reach
    size = np.floor(joints.max(axis=0)).astype(np.int64) + reach + 1 - low
    too_many = 8.0 * float(np.prod(size.astype(np.float64))) > _DENSE_HALVES
    if samples > 1 and (samples > 64 or too_many):
        half = samples // 2
        parts = [
            _touched(frames[part], weights[part], radius, bones, stopped)
            for part in (slice(None, half), slice(half, None))
        ]
        keys, inverse = np.unique(np.concatenate([p[0] for p in parts]), return_inverse=True)
        return keys, np.bincount(inverse, np.concatenate([p[1] for p in parts]), len(keys))
    if too_many:  # one sample spread over a whole hall: list the voxels that it touches
        halves = np.floor(2.0 * _body_points(frames, bones)[0]).astype(np.int64)
        keys = _touched_by_one(np.unique(halves, axis=0), radius, reach, stopped)
        return keys, np.full(len(keys), float(weights[0]))
    near = (2.0 * (frames - low)).astype(np.float32)  # from the corner of the box: small numbers
    halves = _body_points(near, bones).astype(np.int32)  # (S, N, 3)
    x, y, z = (halves[..., axis] for axis in range(3))
    flat = (x * np.int32(2 * size[1]) + y) * np.int32(2 * size[2]) + z  # (S, N)
    filled = np.zeros(int(8 * np.prod(size)), dtype=np.uint64)
    for sample in range(samples):
        filled[flat[sample]] |= np.uint64(1 << sample)
    filled = filled.reshape(*(2 * size))
    touched = np.zeros(size, dtype=np.uint64)
    for corner, offsets in _stencils(radius, reach):
        part = np.ascontiguousarray(filled[corner[0] :: 2, corner[1] :: 2, corner[2] :: 2])
        inner = part[reach:-reach, reach:-reach, reach:-reach]  # outside there is only margin
        for i, j, k in offsets + reach:
            _require_wanted(stopped)
            block = touched[i : i + inner.shape[0], j : j + inner.shape[1], k : k + inner.shape[2]]
            np.bitwise_or(block, inner, out=block)
    index = np.argwhere(touched)
    words = touched[tuple(index.T)]
    bits = (words[:, None] >> np.arange(samples, dtype=np.uint64)) & np.uint64(1)
    return _keys(index + low), bits.astype(np.float64) @ np.asarray(weights, dtype=np.float64)


@lru_cache(maxsize=16)
def _stencils(radius: float, reach: int) -> list[tuple[tuple[int, ...], np.ndarray]]:
    # For each of the eight half voxels of a voxel, by its corner: the offsets (N, 3) of the voxels
    # within the radius of it.
    steps = np.arange(-reach, reach + 1)
    gaps = [np.maximum(np.maximum(steps - 0.5 * (a + 1), 0.5 * a - steps - 1), 0) for a in (0, 1)]
    stencils = []
    for corner in product((0, 1), repeat=3):
        x, y, z = (gaps[a] ** 2 for a in corner)
        inside = x[:, None, None] + y[:, None] + z <= radius * radius + 1e-9
        stencils.append((corner, np.argwhere(inside) - reach))
    return stencils


def _require_wanted(stopped: Callable[[], bool]) -> None:
    if stopped():
        raise CancelledError


def _touched_by_one(
    halves: np.ndarray, radius: float, reach: int, stopped: Callable[[], bool]
) -> np.ndarray:
    # Return the keys of the voxels within the radius of the half voxels (N, 3) of one sample.
    found, listed = [np.zeros(0, dtype=np.int64)], 0
    for corner, offsets in _stencils(radius, reach):
        base = halves[((halves & 1) == corner).all(axis=1)] >> 1
        for offset in offsets:
            _require_wanted(stopped)
            found.append(_keys(base + offset))
            listed += len(base)
            if listed > _MAX_LISTED:
                found, listed = [np.unique(np.concatenate(found))], 0
                require_voxels(len(found[0]))
    return np.unique(np.concatenate(found))


def _keys(index: np.ndarray) -> np.ndarray:
    # Voxels further than a million from the origin along an axis are moved to that limit.
    shifted = np.clip(index + _KEY_LIMIT, 0, 2 * _KEY_LIMIT - 1)
    return (shifted[:, 0] << 2 * _KEY_BITS) | (shifted[:, 1] << _KEY_BITS) | shifted[:, 2]


def _from_keys(keys: np.ndarray) -> np.ndarray:
    mask = 2 * _KEY_LIMIT - 1
    columns = [keys >> 2 * _KEY_BITS, (keys >> _KEY_BITS) & mask, keys & mask]
    return np.stack(columns, axis=-1) - _KEY_LIMIT
