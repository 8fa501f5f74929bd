# SPDX-License-Identifier: Apache-2.0
"""The model's states, decoded at a few frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from motion_predictor.body.skeleton import H36M17
from motion_predictor.model.config import DenoiserConfig, ModelConfig
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.weights import weights_folders
from motion_predictor.predict.futures.states import States
from motion_predictor.predict.predictor import Predictor
from motion_predictor.recordings.walker import walk

FRAMES = np.array([0, 4, 12, 49, 99])


def joined_by_completion() -> Predictor:
    """Make a model with random weights whose map from states to frames has not the full rank."""
    torch.manual_seed(1)
    denoiser = DenoiserConfig(architecture='mixer', width=16, depth=1, dropout=0.0)
    model = MotionModel(ModelConfig(role='swiftdiff', denoiser=denoiser), H36M17)
    return Predictor(model, {}, device='cpu', engine='fp32')


@pytest.fixture(scope='module', params=['swiftdiff', 'moe', 'joined by completion'])
def states(request: pytest.FixtureRequest) -> States:
    """Return those of three people who walk, by two shipped models and one with random weights."""
    if request.param == 'joined by completion':
        predictor = joined_by_completion()
    else:
        path = weights_folders()[0] / f'{request.param}.safetensors'
        predictor = Predictor.load(path, device='cpu', engine='fp32')
    frames = predictor.window.observed_frames
    poses = walk(3.0, 50.0, np.random.default_rng(3))
    observed = np.stack([poses[at : at + frames] + [20.0 * at, -30.0, 0.0] for at in (0, 1, 4)])
    sampled = predictor.predict(observed, samples=6).sampled
    assert isinstance(sampled, States)
    return sampled


def test_a_few_frames_are_those_of_all_within_a_hundredth_of_a_millimetre(states: States) -> None:
    every = states.every()
    assert states.shape == every.shape
    assert np.abs(states.at(FRAMES) - every[:, :, FRAMES]).max() <= 1e-5
    assert states.at(FRAMES).dtype == states.dtype == every.dtype


def test_every_frame_is_what_the_model_decodes_bit_for_bit(states: States) -> None:
    with torch.inference_mode():
        decoded = states.model.decode(states.white, states.context).numpy()
    np.testing.assert_array_equal(states.every(), decoded)


def test_the_mean_needs_no_sample(states: States) -> None:
    weights = np.random.default_rng(1).dirichlet(np.ones(6), 3).astype(np.float32)
    mean = np.einsum('ps,pstjd->ptjd', weights, states.every())
    assert np.abs(states.mean(weights) - mean).max() <= 2e-5


def test_states_are_as_far_apart_as_their_futures(states: States) -> None:
    flat = states.every().reshape(3, 6, -1)
    gaps = np.linalg.norm(flat[:, :, None] - flat[:, None], axis=-1)
    compared = states.apart()
    found = np.linalg.norm(compared[:, :, None] - compared[:, None], axis=-1)
    assert found == pytest.approx(gaps, rel=1e-3, abs=1e-2)


def test_whose_states_are_no_numbers_is_told(states: States) -> None:
    white = states.white.clone()
    white[1, 2, 3, 4] = float('nan')
    white[2, 0, 0, 0] = float('inf')
    assert states.finite().all()
    assert replace(states, white=white).finite().tolist() == [True, False, False]
