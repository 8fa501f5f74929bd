# SPDX-License-Identifier: Apache-2.0
"""Layers of the demo's page: moments as ellipsoids, and occupancy, of the predictions it keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from motion_predictor.body.skeleton import H36M17
from motion_predictor.predict.likely import by_weight
from motion_predictor.predict.moments import sample_moments
from motion_predictor.predict.occupancy import occupancy
from tools.demo.demo_scores import Collection

MARKS_S = (0.5, 1.0, 1.5, 2.0)
"""Horizons of the ellipsoids in seconds; the occupancy's bins end at the last one too."""
BIN_S = 0.5
VOXEL_M = 0.12
BODY_RADIUS_M = 0.08
MIN_PROBABILITY = 0.1
OCCUPANCY_SAMPLES = 16
OCCUPANCY_ROWS = 250
"""Greatest number of predictions on a page with occupancy; more would take minutes and many
megabytes."""
_NONE_M2 = 1e-8  # so that a joint without spread has a factor too


@dataclass(frozen=True)
class Ellipsoids:
    """
    Mean and covariance of each joint at M instants of each of R predictions.

    ``values`` is int16 (R, M, J, 9), millimetres: the mean from the row's origin, then the lower
    triangle of the Cholesky factor of the covariance, row by row. ``marks_s`` is (M,).
    """

    values: np.ndarray
    marks_s: tuple[float, ...]


def ellipsoids(collection: Collection, rows: Sequence[int], origins: np.ndarray) -> Ellipsoids:
    """
    Estimate mean and covariance of every joint from all the futures of each prediction.

    :param rows: R rows of the collection.
    :param origins: metres, (R, 3).
    """
    marks = tuple(mark for mark in MARKS_S if mark <= collection.times_s[-1] + 1e-6)
    steps = [int(np.argmin(np.abs(collection.times_s - mark))) for mark in marks]
    joints = H36M17.num_joints
    values = np.zeros((len(rows), len(steps), joints, 9), np.int16)
    lower = np.tril_indices(3)
    for place, row in enumerate(rows):
        found = sample_moments(
            collection.futures[row][None][:, :, steps], collection.weights[row][None]
        )
        factor = np.linalg.cholesky(found.covariance[0] + _NONE_M2 * np.eye(3))  # (M, J, 3, 3)
        mean = found.mean[0] - origins[place]
        both = np.concatenate([mean, factor[..., lower[0], lower[1]]], axis=-1)
        values[place] = np.clip(np.rint(1000.0 * both), -32767, 32767)
    return Ellipsoids(values, marks)


@dataclass(frozen=True)
class Voxels:
    """
    Voxels that the body may touch, by prediction and time bin.

    ``values`` is uint8 (V, 4): the voxel's index from the row's origin plus 128 for each axis, and
    its probability in 255ths. The voxels of row r and bin b are ``first[r * bins + b]`` to
    ``first[r * bins + b + 1]``.
    """

    values: np.ndarray
    first: list[int]
    bins: int


def voxels(collection: Collection, rows: Sequence[int], origins: np.ndarray) -> Voxels:
    """
    Return the voxels that each prediction may touch, by half seconds.

    :param collection: the collection.
    :param rows: R rows of the collection; with too many, the result is empty.
    :param origins: metres, (R, 3).
    """
    bins = max(int(np.ceil(collection.times_s[-1] / BIN_S - 1e-6)), 1)
    parts, first = [np.zeros((0, 4), np.uint8)], [0]
    if len(rows) > OCCUPANCY_ROWS:
        return Voxels(parts[0], [], bins)
    for origin, row in zip(origins, rows):
        chosen = by_weight(collection.weights[row][None], OCCUPANCY_SAMPLES)[0]
        found = occupancy(
            collection.futures[row][chosen][None] - origin,
            np.full((1, OCCUPANCY_SAMPLES), 1.0 / OCCUPANCY_SAMPLES),
            collection.times_s,
            H36M17.bones,
            voxel_m=VOXEL_M,
            bin_s=BIN_S,
            body_radius_m=BODY_RADIUS_M,
            min_probability=MIN_PROBABILITY,
        )
        near = (np.abs(found.index) < 127).all(axis=1)
        share = np.rint(255.0 * found.probability)[:, None]
        packed = np.concatenate([found.index + 128, share], axis=1)
        for number in range(bins):
            parts.append(packed[near & (found.bin == number)].astype(np.uint8))
            first.append(first[-1] + len(parts[-1]))
    return Voxels(np.concatenate(parts), first, bins)
