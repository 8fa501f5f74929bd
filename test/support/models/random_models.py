# SPDX-License-Identifier: Apache-2.0
"""Tiny models with random weights, and synthetic recordings, for tests."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from motion_predictor.body.skeleton import H36M17
from motion_predictor.model.candidates import CANDIDATES, knot_frames, MEMORIES
from motion_predictor.model.config import DenoiserConfig, ModelConfig, WindowConfig
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.networks.experts import MotionExperts
from motion_predictor.model.networks.gate import feature_count, Gate
from motion_predictor.model.networks.radius_network import BY_JOINT, COMMON, RadiusNetwork
from motion_predictor.model.weighing_weights import WeighingWeights
from motion_predictor.model.weights import save_weights
from motion_predictor.recordings.walker import walk

ARCHITECTURES = {'teacher': 'transfusion', 'one_step': 'transfusion', 'swiftdiff': 'mixer'}


def random_model(
    role: str = 'swiftdiff',
    seed: int = 0,
    architecture: str = '',
    deviation: float = 0.2,
    **settings: Any,
) -> MotionModel:
    """Return a model whose output depends on all of its input; `deviation`: of its weights."""
    denoiser = DenoiserConfig(
        architecture=architecture or ARCHITECTURES[role],
        width=16,
        depth=2,
        heads=2,
        hidden_ratio=1.0,
        condition_width=16,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = MotionModel(ModelConfig(role=role, denoiser=denoiser, **settings), H36M17)
        for parameter in model.denoiser.parameters():
            torch.nn.init.normal_(parameter, std=deviation)
    model.state_scale.fill_(0.1)
    return model.eval().requires_grad_(False)


def save_random(path: Path, role: str = 'swiftdiff', seed: int = 0, **settings: Any) -> Path:
    """Write such a model to a weights file."""
    card = {'what': 'untrained weights, for tests'}
    save_weights(path, random_model(role, seed, **settings), card)
    return path


def save_weighed(path: Path) -> Path:
    """Write such a model with a weighing to a weights file."""
    card = {'what': 'untrained weights, for tests'}
    save_weights(path, random_model(deviation=0.02), card, weighing=random_weighing())
    return path


def walking(frames: int, seed: int = 0, rate_hz: float = 50.0) -> np.ndarray:
    """Return a walking person, (frames, 17, 3), metres."""
    return walk(frames / rate_hz, rate_hz, np.random.default_rng(seed))


def observed_people(persons: int, window: WindowConfig | None = None) -> np.ndarray:
    """Return observed windows of several people, (P, T_obs, 17, 3), metres."""
    frames = (window or WindowConfig()).observed_frames
    return np.stack([walking(frames, seed) for seed in range(persons)])


def save_recording(path: Path, clip_frames: tuple[int, ...], seed: int = 0) -> Path:
    """Write walks at 25 Hz as a file in the cmu17 format."""
    clips = [walking(frames, seed + i, 25.0) for i, frames in enumerate(clip_frames)]
    count = len(clips)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path,
        positions=np.rint(1000.0 * np.concatenate(clips)).astype(np.int16),
        offsets=np.cumsum([0, *clip_frames]),
        names=np.array([f'w{i}_1' for i in range(count)]),
        subjects=np.array([f'w{i}' for i in range(count)]),
        actions=np.array(['walk' if i % 2 else 'stroll' for i in range(count)]),
        skeletons=np.array(['asf'] * count),
        source_fps=np.array([120] * count, dtype=np.int16),
        fps=np.int16(25),
    )
    return path


def save_random_mixture(path: Path, threshold: float | None = None) -> Path:
    """Write a mixture of four experts of different weights, with random weights of the network."""
    size = DenoiserConfig(
        architecture='experts', width=16, depth=1, heads=1, condition_width=16, experts=4,
        latent=6, rank=2,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MotionModel(ModelConfig(role='moe', denoiser=size, join_s=0.3), H36M17)
        experts = model.denoiser
        assert isinstance(experts, MotionExperts)
        encoder = torch.linalg.qr(torch.randn(model.state_scale.numel(), size.latent))[0]
        with torch.no_grad():
            experts.set_directions(encoder, encoder.T)
            experts.network.gate_bias.copy_(torch.tensor([0.0, 1.0, 2.0, -1.0]))
    card = {} if threshold is None else {'surprise': {'threshold': threshold}}
    save_weights(path, model, {'what': 'untrained weights, for tests', **card})
    return path


def random_weighing(seed: int = 0, levels: tuple[float, ...] = (0.9, 0.99)) -> WeighingWeights:
    """Return a gate and a radius network of random numbers, for the joints of ``h36m17``."""
    window, joints = WindowConfig(), H36M17.num_joints
    rng = np.random.default_rng(seed)
    knots, features, hidden = len(knot_frames(window)), feature_count(window), 6

    def drawn(*shape: int) -> np.ndarray:
        return (0.3 * rng.standard_normal(shape)).astype(np.float32)

    def ones(*shape: int) -> np.ndarray:
        return np.ones(shape, dtype=np.float32)

    gate = Gate(
        drawn(features), ones(features), drawn(features, hidden), drawn(hidden),
        drawn(hidden, len(CANDIDATES)), drawn(len(CANDIDATES)), ones(knots, len(MEMORIES)),
    )  # fmt: skip
    told = BY_JOINT + COMMON + knots + joints
    radius = RadiusNetwork(
        drawn(told), ones(told), drawn(told, hidden), drawn(hidden), drawn(hidden, hidden),
        drawn(hidden), drawn(hidden, len(levels)), drawn(len(levels)) - 1.0,
        ones(len(levels), knots), levels,
    )  # fmt: skip
    basis = np.linalg.qr(rng.standard_normal((6 * joints, 12)))[0].astype(np.float32)
    return WeighingWeights(basis, gate, radius, {'about': 'random numbers of a test'})
