# SPDX-License-Identifier: Apache-2.0
"""Predict with a model or the nearest neighbours; futures are kept, so a killed run continues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch
from tqdm import tqdm

from motion_predictor.model.config import WindowConfig
from training.common import provenance
from training.data.store import data_digest
from training.engine.diffusion import sampler_for
from training.judge.accuracy.evaluate_options import EvaluateOptions, given_skeleton
from training.judge.accuracy.models import engine_of, Model
from training.judge.futures import PredictionStore
from training.judge.neighbours import load_neighbours
from training.judge.scoring import (
    baseline_futures,
    DataFile,
    Futures,
    NoisyTracker,
)

NEIGHBOURS_NAME = 'neighbours'


def neighbours_futures(
    files: Sequence[DataFile], window: WindowConfig, options: EvaluateOptions
) -> tuple[Model, list[Futures], dict[str, Any]]:
    """Return the futures of the nearest neighbours in the training set, with their facts."""
    digests = [file.sha256 for file in files]
    skeleton = given_skeleton(options)
    bank = load_neighbours(options.neighbours, window, skeleton, digests)

    def predict(
        observed: NDArray[np.float32], future_frames: int, rate_hz: float = window.rate_hz
    ) -> NDArray[np.float32]:
        return bank.futures(observed, count=options.samples)

    label = f'{options.samples} nearest neighbours'
    model = Model(NEIGHBOURS_NAME, label, 'baseline', None, None, 0, window, {})
    futures = [
        baseline_futures(predict, file, window, options.tracker_noise, options.seed)
        for file in files
    ]
    facts = {
        'model': NEIGHBOURS_NAME,
        'label': label,
        'role': 'baseline',
        'samples': options.samples,
        'windows': len(bank),
        'files': [
            {'file': provenance.shown_path(path), 'sha256': data_digest(path)}
            for path in options.neighbours
        ],
    }
    return model, futures, facts


def predict_futures(
    model: Model,
    files: Sequence[DataFile],
    window: WindowConfig,
    options: EvaluateOptions,
    commit: str | None,
) -> tuple[list[Futures], dict[str, Any]]:
    """Predict the futures that the run folder lacks, and return all of them with their facts."""
    begun = time.perf_counter()
    assert model.path is not None
    where = options.device
    if where == 'auto':
        where = 'cuda' if torch.cuda.is_available() else 'cpu'
    batch = options.batch or (160 if where == 'cuda' else 20)
    # on a processor the sampler's own batch fits into the caches
    large = {'batch': batch * options.samples} if where == 'cuda' else {}
    windows = sum(len(file.chosen) for file in files)
    sampler = sampler_for(
        model.path,
        device=where,
        ddim_steps=options.ddim_steps,
        engine=options.engine,
        compiled=windows * options.samples * options.ddim_steps > 1_000_000,
        **large,
    )
    facts: dict[str, Any] = {
        'model': model.name,
        'label': model.label,
        'role': model.role,
        'file': provenance.shown_path(model.path),
        'sha256': model.sha256,
        'parameters': model.parameters,
        'samples': options.samples,
        'device': where,
        'engine': engine_of(sampler),
        'card': dict(model.card),
        'predictions': [],
    }
    futures: list[Futures] = []
    for file in files:
        store = _store_of(model, file, window, options, facts)
        tracked = NoisyTracker(sampler, options.tracker_noise)
        _fill(model.name, store, tracked, file, options, batch, commit)
        if store.progress['commits'] != [commit]:
            print(
                f'note: {model.name} on {file.label}: futures from the run folder, predicted at '
                f'commit {", ".join(str(c) for c in store.progress["commits"])}; '
                '--fresh predicts again',
                file=sys.stderr,
            )
        facts['predictions'].append(
            {
                'data': file.label,
                'commits': store.progress['commits'],
                'wall_s': round(store.progress['wall_s'], 1),
            }
        )
        futures.append(store.read)
    facts['this_run_wall_s'] = round(time.perf_counter() - begun, 1)
    return futures, facts


def _store_of(
    model: Model,
    file: DataFile,
    window: WindowConfig,
    options: EvaluateOptions,
    facts: Mapping[str, Any],
) -> PredictionStore:
    """Open the folder of a model's futures for a file; its key is all that they depend on."""
    key = {
        'weights': model.sha256,
        'data': file.sha256,
        'limit': options.limit,
        'samples': options.samples,
        'seed': options.seed,
        'ddim_steps': options.ddim_steps if model.role == 'teacher' else None,
        'device': facts['device'],
        'engine': facts['engine'],
        'rate_hz': window.rate_hz,
        'observed_frames': window.observed_frames,
        'future_frames': window.future_frames,
    }
    if options.tracker_noise > 0.0:
        key['tracker_noise_m'] = options.tracker_noise
    return PredictionStore(
        options.runs,
        key,
        len(file.chosen),
        options.samples,
        window,
        file.windows.skeleton.num_joints,
        fresh=options.fresh,
    )


def _fill(
    name: str,
    store: PredictionStore,
    sampler: NoisyTracker,
    file: DataFile,
    options: EvaluateOptions,
    batch: int,
    commit: str | None,
) -> None:
    with tqdm(
        total=len(file.chosen),
        initial=store.done,
        desc=f'{name} on {file.label}',
        unit='window',
        disable=options.quiet,
    ) as bar:
        store.fill(
            sampler,
            file.observed,
            seed=options.seed,
            batch=batch,
            commit=commit,
            advance=bar.update,
        )
