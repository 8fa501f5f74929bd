# SPDX-License-Identifier: Apache-2.0
"""The pushing task: its scripted experts, its physics, and a policy that copies them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

pytest.importorskip('pymunk', reason='the pushing task is simulated by pymunk')

from studies.behaviour.pushing import (
    BLOCKS_M,
    demonstrate,
    features_of,
    LONGEST_STEP_M,
    roll_out,
    Table,
    WAYS,
    ZONES_M,
)
from studies.behaviour.tasks import CHUNK, Demonstrations


@pytest.fixture(scope='module')
def shown() -> Demonstrations:
    return demonstrate(2, torch.Generator().manual_seed(0))


def test_experts_show_every_way_as_often(shown: Demonstrations) -> None:
    assert torch.bincount(shown.rollouts.way).tolist() == [2] * WAYS
    assert len(shown.observations) == len(shown.chunks) > 0
    assert shown.rollouts.entropy == pytest.approx(1.0)


def test_a_chunk_is_what_the_pusher_did_next(shown: Demonstrations) -> None:
    later = shown.observations[CHUNK, :2] - shown.observations[0, :2]
    assert torch.allclose(shown.chunks[0].sum(dim=0), later, atol=1e-6)


def test_a_block_moves_when_it_is_pushed_and_stays_when_it_is_not() -> None:
    table = Table(np.zeros(8))
    table.move(np.array([0.0, -0.01]))
    assert np.allclose(table.observe()[2:4], BLOCKS_M[0], atol=1e-6)
    for _ in range(12):
        table.move(np.array([-0.03, 0.0]))
    for _ in range(25):
        table.move(np.array([0.04, 0.04]) if table.observe()[0] < -0.21 else np.array([0.0, 0.02]))
    assert table.observe()[3] > BLOCKS_M[0, 1] + 0.05


def test_blocks_in_one_zone_are_not_done_and_in_two_are() -> None:
    table = Table(np.zeros(8))
    table.blocks[0].position = tuple(ZONES_M[0])
    table.blocks[1].position = tuple(ZONES_M[0])
    assert not table.done()
    table.blocks[1].position = tuple(ZONES_M[1])
    assert table.done()


def test_a_pusher_that_stands_still_or_goes_mad_fails() -> None:
    for value in (0.0, math.nan):
        rollouts = roll_out(
            lambda seen, generator, of=value: torch.full((len(seen), CHUNK, 2), of),
            2,
            torch.Generator().manual_seed(0),
        )
        assert rollouts.success_rate == 0.0
        assert rollouts.way.tolist() == [-1, -1]


def test_a_long_step_is_cut() -> None:
    table = Table(np.zeros(8))
    before = table.observe()[:2]
    table.move(np.array([0.0, -5.0]))
    assert np.linalg.norm(table.observe()[:2] - before) == pytest.approx(LONGEST_STEP_M)


def test_features_are_finite_and_tell_the_blocks_apart(shown: Demonstrations) -> None:
    seen = shown.observations[:3]
    swapped = torch.cat((seen[:, :2], seen[:, 6:10], seen[:, 2:6]), dim=1)
    assert features_of(seen).isfinite().all()
    assert not torch.allclose(features_of(seen), features_of(swapped), atol=0.1)
