# SPDX-License-Identifier: Apache-2.0
"""Occupied voxels, against what can be worked out otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from motion_predictor.errors import ConfigError
from motion_predictor.predict.occupancy import Occupancy, occupancy

CHAIN = ((1, 0), (2, 1))
"""Bones of three joints in a row."""
VOXEL_M, BIN_S = 0.1, 0.5


def drawn(seed: int, shape: tuple[int, ...], scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, scale, shape).astype(np.float32)


def equal_weights(persons: int, samples: int) -> np.ndarray:
    return np.full((persons, samples), 1.0 / samples, dtype=np.float32)


def chain_futures(seed: int, persons: int = 1, samples: int = 5, frames: int = 6) -> np.ndarray:
    """Three joints 0.3 m apart that wander about (1, -2, 0.5)."""
    rng = np.random.default_rng(seed)
    root = np.cumsum(rng.normal(0.0, 0.05, (persons, samples, frames, 1, 3)), axis=2)
    ways = rng.normal(0.0, 1.0, (persons, samples, 1, 2, 3))
    ways *= 0.3 / np.linalg.norm(ways, axis=-1, keepdims=True)
    joints = np.concatenate([root, root + ways[..., :1, :], root + ways.sum(-2, keepdims=True)], 3)
    return (joints + [1.0, -2.0, 0.5]).astype(np.float32)


def occupied(futures: np.ndarray, **changed: float) -> Occupancy:
    persons, samples, frames = futures.shape[:3]
    times_s = (np.arange(frames) + 1) / 6.0  # three frames a bin of half a second
    sizes = {'voxel_m': VOXEL_M, 'bin_s': BIN_S, 'body_radius_m': 0.12, **changed}
    return occupancy(futures, equal_weights(persons, samples), times_s, CHAIN, **sizes)


def distances_to_voxels(futures: np.ndarray, index: np.ndarray, voxel_m: float) -> np.ndarray:
    """Distance of each sample (S, F, 3, 3) from each voxel (N, 3), by very many points: (S, N)."""
    share = np.linspace(0.0, 1.0, 200)[:, None]
    points = [
        (futures[:, :, None, a] + share * (futures[:, :, None, b] - futures[:, :, None, a]))
        for a, b in CHAIN
    ]
    flat = np.concatenate(points, axis=2).reshape(len(futures), -1, 3).astype(np.float64)
    low = index * voxel_m
    out = np.empty((len(futures), len(index)))
    for sample, cloud in enumerate(flat):
        for number, corner in enumerate(low):
            gap = np.maximum(np.maximum(corner - cloud, cloud - corner - voxel_m), 0.0)
            out[sample, number] = np.sqrt((gap * gap).sum(axis=1).min())
    return out


def all_voxels(futures: np.ndarray, voxel_m: float, margin: int = 3) -> np.ndarray:
    flat = futures.reshape(-1, 3)
    low = np.floor(flat.min(axis=0) / voxel_m).astype(int) - margin
    high = np.floor(flat.max(axis=0) / voxel_m).astype(int) + margin
    axes = [np.arange(a, b + 1) for a, b in zip(low, high)]
    return np.stack(np.meshgrid(*axes, indexing='ij'), axis=-1).reshape(-1, 3)


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(3))
def test_no_touched_voxel_is_missing_and_none_is_in_that_is_passed_at_a_distance(
    seed: int,
) -> None:
    futures = chain_futures(seed, samples=4)
    found = occupied(futures)
    index = all_voxels(futures, VOXEL_M)
    for number in (0, 1):
        apart = distances_to_voxels(futures[0][:, 3 * number : 3 * number + 3], index, VOXEL_M)
        least = (apart <= 0.12).mean(axis=0)
        most = (apart <= 0.12 + 0.9 * VOXEL_M).mean(axis=0)
        of_bin = found.bin == number
        stated = {tuple(i): p for i, p in zip(found.index[of_bin], found.probability[of_bin])}
        told = np.array([stated.get(tuple(i), 0.0) for i in index.tolist()])
        assert set(stated) <= {tuple(i) for i in index.tolist()}
        assert (told >= least - 1e-6).all()
        assert (told <= most + 1e-6).all()
        assert 0.0 < told.mean() < 1.0


def test_the_weight_of_a_sample_is_the_probability_of_what_it_alone_touches() -> None:
    futures = chain_futures(1, samples=2)
    futures[0, 1] += np.float32(5.0)
    weights = np.array([[0.7, 0.3]], dtype=np.float32)
    times_s = (np.arange(6) + 1) / 6.0
    sizes = {'voxel_m': VOXEL_M, 'bin_s': BIN_S, 'body_radius_m': 0.1}
    found = occupancy(futures, weights, times_s, CHAIN, **sizes)
    assert set(np.round(found.probability, 5)) == {0.7, 0.3}
    near = found.centres[:, 0] < 3.5
    np.testing.assert_allclose(found.probability[near], 0.7, rtol=1e-6)
    likely = occupancy(futures, weights, times_s, CHAIN, **sizes, min_probability=0.5)
    assert len(likely.bin) == near.sum()


def test_people_are_independent_of_each_other() -> None:
    futures = chain_futures(2, persons=2, samples=2)
    futures[1] = futures[0]
    alone, both = occupied(futures[:1]), occupied(futures)
    np.testing.assert_array_equal(
        np.sort(both.probability), np.sort(1.0 - (1.0 - alone.probability) ** 2)
    )


def test_more_samples_than_bits_and_a_hall_too_large_for_one_array_change_nothing() -> None:
    futures = chain_futures(3, samples=5)
    few = occupied(futures)
    many = occupied(np.repeat(futures, 30, axis=1))
    np.testing.assert_array_equal(many.index, few.index)
    np.testing.assert_allclose(many.probability, few.probability, rtol=1e-5)
    far = futures.copy()
    far[0, 0] += np.float32([4000.0, 3000.0, 20.0])
    apart = occupied(far)
    assert np.isclose(apart.probability.max(), few.probability.max(), atol=0.21)
    assert np.ptp(apart.centres[:, 0]) > 3900.0
    hall = futures[:, :1].copy()
    hall[:, :, :, 2] += np.float32([60.0, 60.0, 30.0])  # one sample whose body fills a hall
    stretched = occupied(hall)
    assert len(stretched.bin) > 3000
    np.testing.assert_allclose(stretched.probability, 1.0, rtol=1e-6)


def test_the_voxels_move_with_the_person_by_whole_voxels() -> None:
    futures = chain_futures(4)
    here, there = occupied(futures), occupied(futures + np.float32([3.0, -2.0, 1.0]))
    assert abs(len(here.bin) - len(there.bin)) <= 2  # rounding at a border
    assert np.allclose(here.centres.mean(axis=0) + [3.0, -2.0, 1.0], there.centres.mean(axis=0),
                       atol=1e-2)  # fmt: skip


def test_an_instant_on_the_border_of_two_bins_belongs_to_the_earlier() -> None:
    futures = chain_futures(5, frames=2)
    weights = equal_weights(1, 5)
    sizes = {'voxel_m': VOXEL_M, 'bin_s': BIN_S, 'body_radius_m': 0.1}
    found = occupancy(futures, weights, np.array([0.5, 1.0]), CHAIN, **sizes)
    assert set(found.bin) == {0, 1}
    nobody = occupancy(futures[:0], weights[:0], np.array([0.5, 1.0]), CHAIN, **sizes)
    assert not len(nobody.bin)


def test_sizes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match='voxel_m=0'):
        occupied(chain_futures(0), voxel_m=0.0)
