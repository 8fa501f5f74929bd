# SPDX-License-Identifier: Apache-2.0
"""Complete joints that were never seen by their usual positions relative to the seen body."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from motion_predictor.body.geometry import bone_lengths, lengths, MIN_LINE_M, turn
from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.errors import SkeletonError

_STANDING_M = np.array(
    [
        [0.0, 0.0, 0.0], [0.0, -0.091, 0.0], [-0.004, -0.098, -0.375], [-0.074, -0.106, -0.751],
        [0.0, 0.091, 0.0], [-0.004, 0.098, -0.375], [-0.074, 0.106, -0.751],
        [-0.015, 0.0, 0.238], [-0.014, 0.0, 0.476], [0.022, 0.0, 0.636], [0.054, 0.0, 0.733],
        [-0.017, 0.159, 0.482], [-0.028, 0.207, 0.217], [0.041, 0.214, 0.021],
        [-0.017, -0.159, 0.482], [-0.028, -0.207, 0.217], [0.041, -0.214, 0.021],
    ]
)  # fmt: skip
# The median pose of people who stand, of 48 people, mirrored and averaged; they face +x.
_SCALES = 0.5, 1.6  # of bodies beside it, smallest and largest


def can_complete(skeleton: Skeleton) -> bool:
    """Return whether this skeleton's usual joint positions are known: only people's are."""
    return skeleton.joints == H36M17.joints


def shows_torso(seen: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """
    Return whether enough of a body is seen to complete it: both shoulders, or hips and one.

    :param seen: which joints are seen, bool ``(..., J)``.
    :returns: bool ``(...)``; False for a skeleton that cannot be completed, unless all is seen.
    """
    whole: np.ndarray = np.asarray(seen.all(axis=-1))
    if not can_complete(skeleton) or skeleton.hips is None or skeleton.shoulders is None:
        return whole
    hips, shoulders = seen[..., skeleton.hips], seen[..., skeleton.shoulders]
    half = shoulders.all(axis=-1) | (hips.all(axis=-1) & shoulders.any(axis=-1))
    return np.asarray(whole | half)


def complete(poses: np.ndarray, seen: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """
    Put joints that were never seen where they are on a standing person of the same size.

    A joint is placed relative to the nearest seen joints along the bones, turned as the body is.
    It moves only with those: a leg behind a table does not walk. Seen joints stay.

    :param poses: z up, metres, ``(N, T, J, 3)``; joints that are not seen may hold any values.
    :param seen: which joints of each body are seen, bool ``(N, J)``; each body shows its torso,
        see :func:`shows_torso`.
    :param skeleton: skeleton of the poses.
    :returns: the same shape, finite where the seen joints are finite.
    :raises SkeletonError: if joints are not seen and the skeleton is not that of a person.
    """
    if seen.all():
        return poses
    if not can_complete(skeleton):
        raise SkeletonError(f'{skeleton.name}: nothing is known of where its joints usually are')
    completed = poses.copy()
    masks, mask_of = np.unique(seen, axis=0, return_inverse=True)
    for number, mask in enumerate(masks):
        if mask.all():
            continue
        bodies = np.flatnonzero(mask_of.reshape(-1) == number)
        known = np.where(mask[:, None], poses[bodies], 0.0)
        usual = turn(
            (_size(known, mask, skeleton)[:, None, None] * _STANDING_M)[:, None],
            _facing(known, mask, skeleton)[..., None, :],
        ).astype(poses.dtype)  # (n, T, J, 3)
        hang = _hangs_on(skeleton.parents, mask.tobytes()).astype(poses.dtype)
        hidden = np.flatnonzero(~mask)
        completed[np.ix_(bodies, np.arange(poses.shape[1]), hidden)] = usual[:, :, hidden] + hang[
            hidden
        ] @ (known - usual)
    return completed


def hangs_on(seen: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """
    Return from which seen joints each of the others is completed.

    :param seen: which joints of each body are seen, bool ``(N, J)``.
    :param skeleton: skeleton of the bodies.
    :returns: bool ``(N, J, J)``; the rows of joints that are seen are False.
    """
    found = np.stack([_hangs_on(skeleton.parents, mask.tobytes()) > 0.0 for mask in seen])
    return np.asarray(found & ~seen[:, :, None])


@lru_cache(maxsize=4096)
def _hangs_on(parents: tuple[int, ...], mask: bytes) -> np.ndarray:
    # For every joint the mean of the seen ones that are nearest along the bones: (J, J).
    seen = np.frombuffer(mask, dtype=bool)
    count = len(parents)
    steps = np.full((count, count), count)
    np.fill_diagonal(steps, 0)
    for child, parent in enumerate(parents):
        if parent >= 0:
            steps[child, parent] = steps[parent, child] = 1
    for middle in range(count):
        steps = np.minimum(steps, steps[:, middle, None] + steps[middle])
    steps[:, ~seen] = 2 * count
    nearest = (steps == steps.min(axis=1, keepdims=True)).astype(np.float64)
    return nearest / nearest.sum(axis=1, keepdims=True)


def _facing(poses: np.ndarray, mask: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    # Cosine and sine of where each body faces, by those of its lines that are seen: (n, T, 2).
    pairs = [
        pair for pair in (skeleton.hips, skeleton.shoulders) if pair and mask[list(pair)].all()
    ]
    left = sum(poses[..., to, :2] - poses[..., start, :2] for start, to in pairs)
    assert isinstance(left, np.ndarray)
    ahead = np.stack((left[..., 1], -left[..., 0]), axis=-1)
    long = np.sqrt((ahead * ahead).sum(axis=-1, keepdims=True))
    forward = np.array([1.0, 0.0], dtype=ahead.dtype)
    return np.where(long > MIN_LINE_M, ahead / np.maximum(long, MIN_LINE_M), forward)


def _size(poses: np.ndarray, mask: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    # How large each body is beside the one that stands, by the bones that are seen: (n,).
    bones = [(child, parent) for child, parent in skeleton.bones if mask[child] and mask[parent]]
    if not bones:
        return np.ones(len(poses))
    children = [child for child, _ in bones]
    found = bone_lengths(poses, skeleton)[:, children]
    usual = lengths(_STANDING_M[children] - _STANDING_M[[parent for _, parent in bones]])
    return np.clip(np.median(found / usual, axis=1), *_SCALES)
