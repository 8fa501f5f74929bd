# SPDX-License-Identifier: Apache-2.0
"""Products of parameters that no robot has the memory or the time for are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from motion_predictor.common.background import CancelledError
from motion_predictor.errors import ConfigError
from motion_predictor.predict import occupancy as voxels
from motion_predictor.predict.occupancy import occupancy
from motion_predictor.ros.budget import prediction_bytes, require_budget
from motion_predictor.ros.parameters import Settings


def of(**values: Any) -> Settings:
    return Settings.from_values({name.replace('__', '.'): v for name, v in values.items()})


@pytest.mark.parametrize(
    'values',
    [
        {},
        {'samples': 1000},
        {'max_persons': 100},
        {'samples': 200, 'max_persons': 20},
        {'output__step_s': 0.02, 'samples': 200},
        {'occupancy__voxel_m': 0.05},
        {'occupancy__voxel_m': 0.02, 'max_persons': 2},
        {'occupancy__body_radius_m': 0.5},
        {'occupancy__bin_s': 0.1},
        {'occupancy__voxel_m': 0.02, 'occupancy__body_radius_m': 1.0, 'publish__occupancy': False},
    ],
)
def test_what_people_set_is_allowed(values: dict[str, Any]) -> None:
    require_budget(of(**values))


@pytest.mark.parametrize(
    'values, named',
    [
        ({'samples': 1000, 'max_persons': 100}, 'samples=1000, max_persons=100'),
        ({'samples': 1000, 'output__step_s': 0.02}, 'output.step_s=0.02'),
        ({'occupancy__voxel_m': 0.02, 'occupancy__body_radius_m': 1.0}, 'occupancy.voxel_m=0.02'),
        ({'occupancy__voxel_m': 0.02, 'occupancy__bin_s': 0.02}, 'occupancy.bin_s=0.02'),
        ({'occupancy__voxel_m': 0.03, 'samples': 800, 'max_persons': 16}, 'voxels and'),
    ],
)
def test_what_no_robot_can_do_is_refused(values: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named) as refused:
        require_budget(of(**values))
    assert 'at most' in str(refused.value)


def test_memory_grows_with_each_of_its_factors() -> None:
    def needed(**values: Any) -> float:
        return prediction_bytes(of(**values), rate_hz=50.0, future_frames=100, joints=17)

    usual = needed()
    assert 10e6 < usual < 100e6
    each = needed(samples=51) - usual
    assert each > 0.0
    assert needed(samples=500) - usual == pytest.approx(450 * each)
    assert needed(max_persons=16) == pytest.approx(2 * usual)
    assert needed(output__step_s=0.02) > 3 * usual
    assert needed(publish__predictions=False) < usual
    # damped velocity, standing still and ten earlier moments are futures like the model's
    assert usual == pytest.approx(62 * each)
    assert needed(memory__enabled=False) == pytest.approx(52 * each)
    assert needed(weighing__enabled=False) == pytest.approx(50 * each)


def spread(samples: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    futures = rng.normal(0.0, 0.5, (1, samples, 3, 3, 3)).astype(np.float32)
    return futures, np.full((1, samples), 1.0 / samples, np.float32), np.array([0.1, 0.2, 0.3])


def test_more_voxels_than_a_consumer_can_take_are_refused(monkeypatch: Any) -> None:
    monkeypatch.setattr(voxels, 'MAX_VOXELS', 1_000)
    with pytest.raises(ConfigError, match=r'more than 1000 voxels; raise occupancy\.voxel_m'):
        occupancy(*spread(4), ((0, 1), (1, 2)), voxel_m=0.05, bin_s=0.5, body_radius_m=0.2)


@pytest.mark.parametrize('samples, dense', [(4, 8_000_000), (1, 10)])
def test_what_is_no_longer_wanted_is_given_up(monkeypatch: Any, samples: int, dense: int) -> None:
    monkeypatch.setattr(voxels, '_DENSE_HALVES', dense)
    asked = 0

    def stopped() -> bool:
        nonlocal asked
        asked += 1
        return asked > 5

    with pytest.raises(CancelledError):
        occupancy(
            *spread(samples), ((0, 1), (1, 2)), voxel_m=0.05, bin_s=0.5, body_radius_m=0.2,
            stopped=stopped,
        )  # fmt: skip
    assert asked == 6


def test_a_body_listed_in_parts_is_the_same_body(monkeypatch: Any) -> None:
    def found() -> list[Any]:
        result = occupancy(*spread(1), ((0, 1), (1, 2)), voxel_m=0.1, bin_s=0.5, body_radius_m=0.2)
        return result.index.tolist()

    monkeypatch.setattr(voxels, '_DENSE_HALVES', 10)
    whole = found()
    monkeypatch.setattr(voxels, '_MAX_LISTED', 100)
    assert found() == whole
