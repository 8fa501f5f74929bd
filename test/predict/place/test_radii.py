# SPDX-License-Identifier: Apache-2.0
"""Radii for each joint, horizon and level: they rise, follow, and are never below the noise."""

from dataclasses import replace

import numpy as np
from place_people import KNOTS, LEVELS, swinging, weights_of, WINDOW
import pytest

from motion_predictor.errors import ConfigError, ShapeError
from motion_predictor.model.candidates import CANDIDATES
from motion_predictor.model.networks.radius_network import noise_radii, RadiusNetwork, stands_still
from motion_predictor.predict.place.candidates import jitter_m, stance
from motion_predictor.predict.place.memory.recall import Recall
from motion_predictor.predict.place.weighing import tell

K, C = len(KNOTS), len(CANDIDATES)
POSES = swinging(1.0)
SEEN = np.stack([POSES[:25], POSES[20:45]]).astype(np.float32)
NOTHING = Recall(
    None, np.zeros((2, 0), np.float32), np.full(2, np.inf, np.float32), np.zeros(2, np.int64),
)  # fmt: skip


def network(seed: int = 0) -> RadiusNetwork:
    made = weights_of(seed=seed, depends=0.5).radius
    assert made is not None
    return made


def told(seen: np.ndarray = SEEN, rotation: np.ndarray | None = None) -> np.ndarray:
    generator = np.random.default_rng(0)
    means = seen[:, None, None, -1] + 0.1 * generator.standard_normal((2, K, C, 17, 3))
    weights = generator.dirichlet(np.ones(C), (2, K)).astype(np.float32)
    spreads = generator.uniform(0.01, 0.1, (2, K, C, 17)).astype(np.float32)
    if rotation is not None:
        seen, means = seen @ rotation.T, means @ rotation.T
    now = stance(seen.astype(np.float32), np.zeros(2), WINDOW.rate_hz)
    return tell(seen, now, means, weights, spreads, NOTHING, WINDOW.rate_hz)


@pytest.mark.parametrize('seed', range(4))
def test_radii_rise_with_the_level(seed: int) -> None:
    radii = network(seed).radii(told(), np.zeros(2))
    assert radii.shape == (len(LEVELS), 2, K, 17)
    assert (np.diff(radii, axis=0) > 0.0).all()
    assert radii.min() > 0.0


def test_turning_people_does_not_change_their_radii() -> None:
    turned = np.array([[0.6, -0.8, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0]])
    assert network().radii(told(rotation=turned), np.zeros(2)) == pytest.approx(
        network().radii(told(), np.zeros(2)), rel=1e-3
    )


@pytest.mark.parametrize('noise_m', [0.01, 0.02, 0.03])
def test_noise_alone_stays_within_the_least_radius_as_often_as_was_asked(noise_m: float) -> None:
    generator = np.random.default_rng(0)
    seen = np.repeat(SEEN[:1, -1:], 25, axis=1)
    windows = np.repeat(seen, 40, axis=0)
    noisy = windows + noise_m * generator.standard_normal(windows.shape)
    jitter = np.full(1, jitter_m(noisy.astype(np.float32)).mean())
    least = noise_radii(LEVELS, jitter)[:, 0]
    off = np.linalg.norm(noise_m * generator.standard_normal((40_000, 3)), axis=-1)
    for level, radius in zip(LEVELS, least, strict=True):
        assert (off <= radius).mean() >= level - 0.005


def test_noise_raises_radii_and_no_radius_is_below_it() -> None:
    jitter = np.array([0.02, 0.3])
    small = replace(network(), factor=np.full((len(LEVELS), K), 1e-3, np.float32))
    radii = small.radii(told(), jitter)
    assert radii == pytest.approx(
        np.broadcast_to(noise_radii(LEVELS, jitter)[:, :, None, None], radii.shape)
    )
    assert (network().radii(told(), jitter) >= network().radii(told(), np.zeros(2))).all()


def test_a_network_goes_through_a_file_unchanged() -> None:
    made = network()
    read = RadiusNetwork.from_tensors(made.tensors(), list(made.levels))
    assert (read.radii(told(), np.zeros(2)) == made.radii(told(), np.zeros(2))).all()


@pytest.mark.parametrize(
    'name, value, message',
    [
        ('second', np.zeros((3, 3), np.float32), 'second'),
        ('output_bias', np.full(3, np.nan, np.float32), 'output_bias: holds NaN'),
        ('factor', np.zeros((3, K), np.float32), 'factor must be positive'),
        ('levels', (0.9, 0.5, 0.99), 'must rise'),
        ('levels', (0.5, 0.9, 1.0), 'must rise'),
    ],
)
def test_a_network_that_cannot_be_is_refused_by_name(
    name: str, value: object, message: str
) -> None:
    with pytest.raises((ConfigError, ShapeError), match=message):
        replace(network(), **{name: value})


def test_whoever_stands_still_is_given_more_and_whoever_moves_is_not() -> None:
    standing = np.repeat(SEEN[:, -1:], 25, axis=1)
    more = np.ones((len(LEVELS), K), np.float32)
    more[-1] = 1.7
    plain, made = network(), replace(network(), still=more)
    noise = np.zeros(2)
    for seen, factor in ((standing, 1.7), (SEEN, 1.0)):
        assert stands_still(told(seen)).tolist() == [[factor > 1.0]] * 2
        before, after = (each.radii(told(seen), noise) for each in (plain, made))
        np.testing.assert_array_equal(after[:-1], before[:-1])
        np.testing.assert_allclose(after[-1], factor * before[-1], rtol=1e-6)


def test_more_for_who_stands_still_is_stored_and_checked() -> None:
    more = np.full((len(LEVELS), K), 1.25, np.float32)
    made = replace(network(), still=more)
    read = RadiusNetwork.from_tensors(made.tensors(), LEVELS)
    np.testing.assert_array_equal(read.still, more)
    assert RadiusNetwork.from_tensors(network().tensors(), LEVELS).still is None
    with pytest.raises(ShapeError, match='radius still: expected'):
        replace(made, still=more[:, :-1])
    with pytest.raises(ConfigError, match='radius still: must be 1 or more'):
        replace(made, still=more - 0.5)
    with pytest.raises(ConfigError, match='radius still: holds NaN'):
        replace(made, still=more * np.nan)
