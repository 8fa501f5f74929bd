# SPDX-License-Identifier: Apache-2.0
"""Settings are checked when made, and survive the way through plain values."""

import json
from typing import Any

import numpy as np
import pytest

from motion_predictor.common.shapes import require_shape
from motion_predictor.errors import ConfigError, ShapeError
from motion_predictor.model.config import (
    DenoiserConfig,
    from_dict,
    ModelConfig,
    to_dict,
    WindowConfig,
)

SIZE = DenoiserConfig(architecture='mixer', width=16, depth=2)


def test_a_window_knows_its_times() -> None:
    window = WindowConfig(rate_hz=50.0, observed_frames=25, future_frames=100)
    assert window.total_frames == 125
    assert window.horizon_s == pytest.approx(2.0)
    assert window.observed_s == pytest.approx(0.48)
    assert window.period_s == pytest.approx(0.02)


@pytest.mark.parametrize(
    'changes',
    [
        {'rate_hz': 0.0},
        {'rate_hz': float('nan')},
        {'observed_frames': 1},
        {'future_frames': 0},
        {'dct_keep': 0},
        {'dct_keep': 126},
    ],
)
def test_an_impossible_window_is_refused_by_name(changes: dict[str, Any]) -> None:
    (name,) = changes
    with pytest.raises(ConfigError, match=f'{name}=.*must'):
        WindowConfig(**changes)


@pytest.mark.parametrize(
    'changes',
    [
        {'role': 'pupil'},
        {'prediction': 'x1'},
        {'condition': 'none'},
        {'condition_keep': 26},
        {'diffusion_steps': 1},
        {'t_star': 1000},
        {'t_star': 0},
    ],
)
def test_an_impossible_model_is_refused_by_name(changes: dict[str, Any]) -> None:
    (name,) = changes
    with pytest.raises(ConfigError, match=f'{name}=.*must'):
        ModelConfig(**{'role': 'swiftdiff', 'denoiser': SIZE, **changes})


@pytest.mark.parametrize(
    'changes',
    [
        {'architecture': 'tree'},
        {'width': 4},
        {'depth': 0},
        {'heads': 3},
        {'hidden_ratio': 0.0},
        {'dropout': 1.0},
    ],
)
def test_an_impossible_network_is_refused_by_name(changes: dict[str, Any]) -> None:
    (name,) = changes
    with pytest.raises(ConfigError, match=f'{name}=.*must'):
        DenoiserConfig(**{'architecture': 'transfusion', 'width': 64, 'depth': 2, **changes})


def test_settings_survive_json() -> None:
    config = ModelConfig(
        role='one_step', denoiser=SIZE, window=WindowConfig(rate_hz=60.0), t_star=951
    )
    assert from_dict(ModelConfig, json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize(
    'values,message',
    [
        ({'role': 'teacher', 'denoiser': to_dict(SIZE), 'extra': 1}, 'unknown settings'),
        ({'role': 'teacher'}, 'denoiser'),
        ([], 'expected named values'),
        ({'role': 'teacher', 'denoiser': {'architecture': 'mixer', 'size': 3}}, 'unknown'),
    ],
)
def test_plain_values_that_do_not_fit_are_refused(values: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_dict(ModelConfig, values)


def test_a_shape_is_refused_with_what_was_expected_and_found() -> None:
    require_shape('poses', np.zeros((2, 17, 3)), ('T', 17, 3))
    with pytest.raises(ShapeError, match=r'poses: expected \(T, 17, 3\), got \(17, 3\)'):
        require_shape('poses', np.zeros((17, 3)), ('T', 17, 3))
    with pytest.raises(ShapeError, match=r'expected \(4,\), got \(\)'):
        require_shape('poses', 3.0, (4,))
