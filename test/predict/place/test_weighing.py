# SPDX-License-Identifier: Apache-2.0
"""The gate: weights that sum to one and follow evidence, whichever way people face."""

from dataclasses import replace

import numpy as np
from place_people import KNOTS, swinging, weights_of, WINDOW
import pytest

from motion_predictor.errors import ConfigError, ShapeError
from motion_predictor.model.candidates import CANDIDATES, MEMORIES, MEMORY
from motion_predictor.model.networks.gate import Described, Gate
from motion_predictor.predict.place.candidates import stance
from motion_predictor.predict.place.memory.recall import Recall
from motion_predictor.predict.place.weighing import describe

K, C, E = len(KNOTS), len(CANDIDATES), len(MEMORIES)
POSES = swinging(1.0)
SEEN = np.stack([POSES[:25], POSES[20:45]]).astype(np.float32)
NO_EVIDENCE = np.zeros((2, K, E, C), np.float32)


def recall(known: bool = True) -> Recall:
    none = np.zeros((2, 0), np.float32)
    distance = np.full(2, 0.02 if known else np.inf, np.float32)
    return Recall(None, none, distance, np.full(2, 3 * known))


def told(seen: np.ndarray = SEEN, known: bool = True, turn: np.ndarray | None = None) -> Described:
    generator = np.random.default_rng(0)
    means = seen[:, None, None, -1] + 0.1 * generator.standard_normal((2, K, C, 17, 3))
    spread, other = generator.uniform(0.01, 0.1, (2, 2, K))
    if turn is not None:
        seen, means = seen @ turn.T, means @ turn.T
    now = stance(seen.astype(np.float32), np.zeros(2), WINDOW.rate_hz)
    return describe(seen, now, means, spread, other, recall(known), WINDOW.rate_hz)


def gate(seed: int = 0) -> Gate:
    made = weights_of(seed=seed, depends=0.5).gate
    assert made is not None
    return made


@pytest.mark.parametrize('known', [False, True])
def test_weights_sum_to_one_and_a_memory_of_nothing_has_none(known: bool) -> None:
    weights = gate().weights(told(known=known), NO_EVIDENCE)
    assert weights.shape == (2, K, C)
    assert weights.sum(axis=-1) == pytest.approx(1.0, abs=1e-5)
    assert ((weights[..., MEMORY] > 0.0) == known).all()
    assert (weights[..., :MEMORY] > 0.0).all()


def test_what_is_told_is_finite_and_the_same_whichever_way_people_face() -> None:
    angle = np.array([[0.6, -0.8, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0]])
    mirror = np.diag([1.0, -1.0, 1.0])
    found = told().features
    assert np.isfinite(found).all()
    assert np.isfinite(told(known=False).features).all()
    for turn in (angle, mirror):
        assert told(turn=turn).features == pytest.approx(found, abs=2e-3)


def test_what_the_memory_says_is_not_told_where_there_is_none() -> None:
    first = told(known=False).features
    generator = np.random.default_rng(5)
    now = stance(SEEN, np.zeros(2), WINDOW.rate_hz)
    means = SEEN[:, None, None, -1] + 0.1 * np.random.default_rng(0).standard_normal(
        (2, K, C, 17, 3)
    )
    spread = np.random.default_rng(1).uniform(0.01, 0.1, (2, K))
    args = (SEEN, now, means, spread, 0.0 * spread, recall(False), WINDOW.rate_hz)
    before = describe(*args).features
    means = means.copy()
    means[:, :, MEMORY] += generator.standard_normal(means[:, :, MEMORY].shape)
    after = describe(SEEN, now, means, spread, spread, recall(False), WINDOW.rate_hz).features
    assert (before == after).all()
    assert before.shape == first.shape


def test_evidence_counts_as_the_docstring_of_evidence_says() -> None:
    made, described = gate(), told()
    prior = made.weights(described, NO_EVIDENCE)
    evidence = np.random.default_rng(2).uniform(-1.0, 2.0, NO_EVIDENCE.shape)
    expected = prior * np.exp(-(made.trust[:, :, None] * evidence).sum(axis=2))
    expected /= expected.sum(axis=-1, keepdims=True)
    assert made.weights(described, evidence) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize('wrong', range(C))
def test_who_was_wrong_counts_less_and_never_breaks_the_sum(wrong: int) -> None:
    evidence = NO_EVIDENCE.copy()
    evidence[..., wrong] = 2.0
    weights = gate().weights(told(), evidence)
    assert (weights[..., wrong] < gate().weights(told(), NO_EVIDENCE)[..., wrong]).all()
    assert weights.sum(axis=-1) == pytest.approx(1.0, abs=1e-5)
    evidence[...] = 1e6
    evidence[..., wrong] = -1e6
    assert gate().weights(told(), evidence)[..., wrong] == pytest.approx(1.0)


@pytest.mark.parametrize(
    'name, value, message',
    [
        ('hidden_bias', np.zeros(3, np.float32), 'hidden_bias'),
        ('output', np.full((8, C), np.nan, np.float32), 'output: holds NaN'),
        ('trust', np.full((K, E), -1.0, np.float32), 'trust not negative'),
        ('trust', np.zeros((K, E + 1), np.float32), 'trust'),
    ],
)
def test_a_gate_that_cannot_be_is_refused_by_name(
    name: str, value: np.ndarray, message: str
) -> None:
    with pytest.raises((ConfigError, ShapeError), match=message):
        replace(gate(), **{name: value})
