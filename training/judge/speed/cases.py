# SPDX-License-Identifier: Apache-2.0
"""The calls that a benchmark times: every model, engine and part, loaded and warmed up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch

from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import ConfigError
from motion_predictor.model.config import DenoiserConfig, ModelConfig, WindowConfig
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.weights import file_digest, load_weights
from motion_predictor.predict.predictor import Predictor
from training.engine.diffusion import sampler_for
from training.judge.accuracy.models import engine_of
from training.judge.speed.benchmark_options import BenchmarkOptions
from training.judge.speed.timing import Case

LABELS = {
    'one_step': 'one-step teacher',
    'swiftdiff': 'SwiftDiff',
    'moe': 'mixture of experts',
}


PAPER_SIZE = DenoiserConfig(architecture='mixer', width=768, depth=12, hidden_ratio=1.0)
"""SwiftDiff as published for Human3.6M."""


WARM_UP = 3


def walking_window(persons: int, window: WindowConfig) -> NDArray[np.float32]:
    """
    Return synthetic people who sway, as an input for predictions.

    :returns: metres, z up, ``(P, T_obs, 17, 3)``.
    """
    generator = np.random.default_rng(0)
    pose = generator.uniform(-0.5, 0.5, (persons, 1, H36M17.num_joints, 3))
    pose[..., 2] += 1.0
    time_s = np.arange(window.observed_frames)[None, :, None, None] / window.rate_hz
    sway = 0.1 * np.sin(2.0 * np.pi * time_s + generator.uniform(0.0, 6.0, pose.shape))
    return (pose + sway).astype(np.float32)


def paper_sized_model(window: WindowConfig) -> MotionModel:
    """Return SwiftDiff of the published size with random weights: its times are right."""
    torch.manual_seed(0)
    config = ModelConfig(role='swiftdiff', denoiser=PAPER_SIZE, window=window)
    return MotionModel(config, H36M17)


def cases_for(
    options: BenchmarkOptions, threads: int, persons: int, unavailable: list[str]
) -> list[Case]:
    """
    Load every model for one number of threads and people, and warm it up.

    :param options: options of the benchmark.
    :param threads: number of threads.
    :param persons: number of people.
    :param unavailable: receives a line for each engine that is not available here.
    """
    cases: list[Case] = []
    window = WindowConfig()
    asked = {'threads': threads, 'persons': persons, 'samples': options.samples}
    for path in options.weights:
        loaded = load_weights(path)
        config = loaded.model.config
        window = config.window
        untrained = str(loaded.card.get('what')).startswith('untrained')
        facts: dict[str, Any] = {
            'model': path.stem,
            'label': LABELS.get(config.role, config.role),
            'role': config.role,
            'weights': 'random' if untrained else 'trained',
            'sha256': file_digest(path),
            'parameters': sum(p.numel() for p in loaded.model.denoiser.parameters()),
            **asked,
        }
        if config.role == 'teacher':
            facts['label'] = f'teacher, DDIM {options.ddim_steps}'
            cases.append(_teacher_case(path, facts, window, options))
            continue
        cases += _engine_cases(partial(Predictor.load, path), facts, options, unavailable)
    if options.paper_size:
        model = paper_sized_model(window)
        facts = {
            'model': f'paper_size_{PAPER_SIZE.depth}x{PAPER_SIZE.width}',
            'label': f'SwiftDiff {PAPER_SIZE.depth} x {PAPER_SIZE.width}, random weights',
            'role': 'swiftdiff',
            'weights': 'random',
            'sha256': None,
            'parameters': sum(p.numel() for p in model.denoiser.parameters()),
            **asked,
        }

        def fresh(**how: Any) -> Predictor:
            return Predictor(paper_sized_model(window), {}, **how)

        cases += _engine_cases(fresh, facts, options, unavailable)
    return cases


def _engine_cases(
    load: Callable[..., Predictor],
    facts: Mapping[str, Any],
    options: BenchmarkOptions,
    unavailable: list[str],
) -> list[Case]:
    """Return a model's cases in each available engine."""
    cases: list[Case] = []
    for engine in options.engines:
        try:
            predictor = load(device=options.device, engine=engine)
        except ConfigError as error:
            note(unavailable, f'{facts["model"]}, engine {engine}: {error}')
            continue
        cases.append(_predictor_case(predictor, facts, options))
        if options.networks:
            cases.append(_network_case(predictor, facts, options))
    return cases


def _predictor_case(
    predictor: Predictor, facts: Mapping[str, Any], options: BenchmarkOptions
) -> Case:
    observed = walking_window(facts['persons'], predictor.window)

    def call() -> object:
        return predictor.predict(observed, samples=options.samples)

    for _ in range(WARM_UP):
        call()
    own = {'engine': predictor.engine, 'device': str(predictor.device)}
    return Case({**facts, **own}, call, 0, [])


def _network_case(
    predictor: Predictor, facts: Mapping[str, Any], options: BenchmarkOptions
) -> Case:
    model, device = predictor.model, predictor.device
    observed = torch.from_numpy(walking_window(facts['persons'], predictor.window)).to(device)
    shape = (options.samples, *model.state_scale.shape)
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal(shape, dtype=np.float32))
    noise = noise.to(device).expand(facts['persons'], *shape)  # as the Predictor does
    with torch.inference_mode():
        context = model.observe(observed)

    def call() -> object:
        with torch.inference_mode():
            if model.config.role == 'moe':
                white = model.ranked(model.mixture(context), noise)[0]
            else:
                white = model.one_step(noise, context.condition)
            return float(white[0, 0, 0, 0])  # this waits for a GPU

    for _ in range(WARM_UP):
        call()
    own = {'engine': predictor.engine, 'device': str(device), 'part': 'network'}
    return Case({**facts, **own}, call, 0, [])


def _teacher_case(
    path: Path, facts: Mapping[str, Any], window: WindowConfig, options: BenchmarkOptions
) -> Case:
    sampler = sampler_for(path, device=options.device, ddim_steps=options.ddim_steps)
    observed = walking_window(facts['persons'], window)
    short = replace(sampler, ddim_steps=2)
    short.sample(observed, samples=options.samples, seed=0)

    def call() -> object:
        return sampler.sample(observed, samples=options.samples, seed=0)

    own = {
        'engine': engine_of(sampler),
        'device': str(sampler.model.alpha_bar.device),
    }
    return Case({**facts, **own}, call, 0, [])


def note(lines: list[str], line: str) -> None:
    """Add a line that is not in the list yet."""
    if line not in lines:
        lines.append(line)
