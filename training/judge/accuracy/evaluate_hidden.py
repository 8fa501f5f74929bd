# SPDX-License-Identifier: Apache-2.0
"""Errors of the seen joints while others are hidden, beside the errors with all joints seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from motion_predictor.body.completion import complete
from motion_predictor.model.config import WindowConfig
from training.common import provenance
from training.data.bags import bag_reading
from training.engine.diffusion import Sampler, sampler_for
from training.judge.accuracy.evaluate_options import EvaluateOptions, given_skeleton
from training.judge.accuracy.models import check_skeletons, given_models, Model
from training.judge.hiding import Hidden, hidden_row, hidden_table, seen_errors, seen_joints
from training.judge.scoring import DataFile, load_data, make_groups, noisy
from training.judge.stream.stream_scores import energy_score
from training.judge.stream.streams import HORIZONS_S

FORMAT = 'motion_predictor evaluation of hidden joints'
VERSION = 1
TIMES_S = HORIZONS_S[1:]
"""Horizons in seconds at which errors are compared."""
_MASK_STREAM = 3 << 32
# added to the seed of the masks, so that they differ from the noise

Errors = dict[str, dict[str, NDArray[np.float64]]]


def evaluate_hidden(options: EvaluateOptions, arguments: Sequence[str]) -> dict[str, Any]:
    """
    Predict every window with all joints seen and with some of them never seen.

    The error is that of the mean future of a window in the world, of the seen joints alone.

    :param options: the options; :attr:`EvaluateOptions.hidden` names the parts.
    :param arguments: the words that were parsed, to be recorded.
    :returns: the results, JSON-able; in ``rows`` one for each model, part, file and split.
    :raises MotionPredictorError: if a file cannot be used.
    """
    models, window = given_models(options)
    files = load_data(
        options.data, window, options.limit, given_skeleton(options), bag_reading(options.bag)
    )
    check_skeletons(models, files)
    rows: list[dict[str, Any]] = []
    for model in models:
        assert model.path is not None  # it is at hand: rows are not taken over here
        sampler = sampler_for(
            model.path, device=options.device, ddim_steps=options.ddim_steps, engine=options.engine
        )
        scored = [_score(model, sampler, file, window, options) for file in files]
        for hidden in options.hidden:
            found = [of[hidden] for of in scored]
            for group in make_groups(files):
                errors, energy = (
                    {
                        name: np.concatenate([found[i][which][name] for i in group.members])
                        for name in found[0][which]
                    }
                    for which in ('error', 'energy')
                )
                rows.append(
                    {
                        'model': model.name,
                        'name': f'{model.name} on {group.label}',
                        'set': group.set_name,
                        'split': group.split,
                        'hidden': hidden,
                        'windows': len(errors['hidden']),
                        **hidden_row(errors, energy),
                    }
                )
    return {
        **provenance.origin(FORMAT, VERSION, 'training evaluate', arguments),
        'settings': {
            'samples': options.samples,
            'seed': options.seed,
            'limit': options.limit,
            'tracker_noise_m': options.tracker_noise,
            'times_s': list(TIMES_S),
        },
        'models': [
            {'model': model.name, 'sha256': model.sha256, 'parameters': model.parameters}
            for model in models
        ],
        'data': [{'data': file.label, 'sha256': file.sha256} for file in files],
        'rows': rows,
    }


def table(result: dict[str, Any]) -> str:
    """Return the results as plain text."""
    return hidden_table(result['rows'], TIMES_S)


def _score(
    model: Model, sampler: Sampler, file: DataFile, window: WindowConfig, options: EvaluateOptions
) -> dict[Hidden, Errors]:
    # Return the errors and the energy scores of the seen joints, metres (N, F), for each part.
    skeleton, observed = file.windows.skeleton, file.observed
    frames = np.rint(np.array(TIMES_S) * window.rate_hz).astype(np.int64) - 1
    truth = file.windows.poses[file.chosen][:, window.observed_frames + frames]
    masks = {hidden: _masks(hidden, file, options.seed) for hidden in options.hidden}
    parts: dict[Hidden, list[Errors]] = {hidden: [] for hidden in options.hidden}
    batch = options.batch or 20
    shown_as = {'desc': f'{model.name} on {file.label}', 'disable': options.quiet}
    for first in tqdm(range(0, len(observed), batch), **shown_as):
        chosen = slice(first, first + batch)
        shown = noisy(observed[chosen], options.tracker_noise, options.seed, first)
        still = np.repeat(shown[:, None, -1:], len(frames), axis=2)
        futures = {
            'all_seen': _sampled(sampler, shown, None, frames, first, options),
            'standing_still': (still, np.ones((len(shown), 1), dtype=np.float32)),
        }
        for hidden, of_file in masks.items():
            seen = of_file[chosen]
            standing_in = complete(shown, seen, skeleton)
            futures['hidden'] = _sampled(sampler, standing_in, seen, frames, first, options)
            parts[hidden].append(_errors(futures, truth[chosen], seen))
    return {hidden: _joined(of_part) for hidden, of_part in parts.items()}


def _masks(hidden: Hidden, file: DataFile, seed: int) -> NDArray[np.bool_]:
    # Return which joints of each window are seen, (N, J).
    generators = (
        np.random.Generator(np.random.Philox(key=[seed + _MASK_STREAM, index]))
        for index in range(len(file.chosen))
    )
    return np.stack([seen_joints(hidden, file.windows.skeleton, each) for each in generators])


def _joined(parts: Sequence[Errors]) -> Errors:
    return {
        which: {name: np.concatenate([part[which][name] for part in parts]) for name in of_first}
        for which, of_first in parts[0].items()
    }


def _sampled(
    sampler: Sampler,
    observed: NDArray[np.float32],
    seen: NDArray[np.bool_] | None,
    frames: NDArray[np.int64],
    first: int,
    options: EvaluateOptions,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    # Return samples at the judged frames, (n, S, F, J, 3), and their weights, (n, S).
    told = {'samples': options.samples, 'seed': options.seed, 'first_index': first}
    if sampler.predictor is None:
        futures = sampler.sample(observed, seen=seen, **told)
        return futures[:, :, frames], np.full(futures.shape[:2], 1.0 / options.samples)
    prediction = sampler.predict(observed, seen=seen, **told)
    return prediction.futures[:, :, frames], prediction.weights


def _errors(
    futures: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]],
    truth: NDArray[np.float32],
    seen: NDArray[np.bool_],
) -> Errors:
    found: Errors = {'error': {}, 'energy': {}}
    for name, (samples, weights) in futures.items():
        mean = np.einsum('ns,nsfjk->nfjk', weights, samples)
        found['error'][name] = seen_errors(np.linalg.norm(mean - truth, axis=-1), seen)
        found['energy'][name] = np.stack(
            [
                energy_score(
                    of[:, :, mask],
                    np.repeat(share[:, None], truth.shape[1], axis=1),
                    real[:, mask],
                )
                for of, share, real, mask in zip(samples, weights, truth, seen, strict=True)
            ]
        )
    return found
