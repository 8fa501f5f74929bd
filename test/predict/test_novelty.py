# SPDX-License-Identifier: Apache-2.0
"""Who does what the model never saw is noticed, half a second later."""

import numpy as np
import pytest
import torch

from motion_predictor.body.skeleton import H36M17
from motion_predictor.model.config import DenoiserConfig, ModelConfig
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.predict.live import LivePredictor
from motion_predictor.predict.mixture_forecast import Forecast
from motion_predictor.predict.predictor import Predictor
from motion_predictor.recordings.walker import walk
from motion_predictor.sources.observation import Observation

SECOND = 10**9
FRAME_NS = SECOND // 50


@pytest.fixture(scope='module')
def predictor() -> Predictor:
    torch.manual_seed(0)
    size = DenoiserConfig(
        architecture='experts', width=16, depth=1, heads=1, experts=3, latent=5, rank=1
    )
    model = MotionModel(ModelConfig(role='moe', denoiser=size, join_s=0.3), H36M17)
    model.state_scale.fill_(0.05)
    return Predictor(model, {'surprise': {'threshold': 1.5}}, device='cpu')


POSE = walk(0.1, 50.0, np.random.default_rng(0))[0].astype(np.float64)


def standing(offset: float = 0.0) -> np.ndarray:
    return POSE + [offset, 0.0, 0.0]


def watch(predictor: Predictor, speed_after: float, seconds: float = 1.7) -> list[float]:
    """Stand still for a second, then glide off; give the surprise after each frame."""
    online = LivePredictor(predictor, samples=3)
    seen: list[float] = []
    for frame in range(round(seconds * 50)):
        gone = max(0.0, frame / 50.0 - 1.0) * speed_after
        online.observe(Observation(SECOND + frame * FRAME_NS, 'map', 'a', standing(gone)))
        result = online.predict()
        if result is not None and result.surprises is not None and len(result.surprises):
            seen.append(float(result.surprises[0]))
            assert np.isnan(seen[-1]) or online.surprises['a'] == seen[-1]
    return seen


def test_nothing_is_said_before_a_forecast_is_half_a_second_old(predictor: Predictor) -> None:
    seen = watch(predictor, 0.0, 1.6)
    known = np.flatnonzero(~np.isnan(seen))
    assert 23 <= known[0] <= 26
    assert len({value for value in seen if not np.isnan(value)}) <= 3  # checked twice a second


@pytest.mark.slow
def test_somebody_who_suddenly_rushes_off_surprises(predictor: Predictor) -> None:
    calm, rush = (watch(predictor, speed)[-1] for speed in (0.0, 6.0))
    assert rush > calm + 1.0


def test_after_time_has_begun_anew_nothing_is_known_at_first(predictor: Predictor) -> None:
    online = LivePredictor(predictor, samples=3)
    seen: dict[int, list[float]] = {}
    for begin in (100 * SECOND, SECOND):
        for frame in range(60):
            online.observe(Observation(begin + frame * FRAME_NS, 'map', 'a', standing()))
            result = online.predict()
            if result is not None and result.surprises is not None and len(result.surprises):
                seen.setdefault(result.stamp_ns // (50 * SECOND), []).append(result.surprises[0])
    assert not np.isnan(seen[2][-1])
    assert np.isnan(seen[0][0])
    assert not np.isnan(seen[0][-1])


def test_other_models_say_nothing_of_surprise(predictor: Predictor) -> None:
    assert predictor.surprise_threshold == 1.5
    assert isinstance(
        predictor.predict(np.repeat(standing()[None], 25, axis=0), samples=2).closed_form, Forecast
    )
    for card in ({}, {'surprise': 3}, {'surprise': {'threshold': 'high'}}):
        assert Predictor(predictor.model, card, device='cpu').surprise_threshold is None
