# SPDX-License-Identifier: Apache-2.0
"""Score a mixture of experts beyond its samples: python -m training evaluate-mixture.

It measures the log-likelihood; the best of the first ranked futures against as many samples of
another model; whether an expert of weight w is the nearest one in a share w of the cases; how many
experts are used; jitter; and how well surprise detects motion that the model never saw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import json
from pathlib import Path
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor
from tqdm import tqdm

from motion_predictor.common.whole_files import require_writable
from motion_predictor.errors import ConfigError, MotionPredictorError
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.networks.experts import MotionExperts
from motion_predictor.model.weights import file_digest, load_weights, LoadedWeights
from motion_predictor.predict.mixture_forecast import checked_frames, CHECKED_S, Forecast
from training.common import provenance
from training.common.options import about, read_options
from training.engine.diffusion import Sampler, sampler_for
from training.judge import metrics
from training.judge.scoring import DataFile, load_data, rounded

FORMAT = 'motion_predictor mixture evaluation'
VERSION = 2
RANKS = (1, 3, 5)
BATCH = 20
INSTANTS_S = (0.2, 0.5, 1.0, 1.5, 2.0)
"""Horizons in seconds at which the likelihood of the whole pose in the world is computed."""
QUANTILE = 0.95
"""Quantile of the surprises on the validation split above which motion counts as new."""
EXAMPLE = """\
worked example, from the root of the source tree:
  python -m training evaluate-mixture --weights runs/small/moe.safetensors \\
      --against resource/weights/swiftdiff.safetensors \\
      --data ../shared/data/cmu17/val.npz ../shared/data/uiprmd17/val.npz --json OUT.json
"""


@dataclass(frozen=True, kw_only=True)
class EvaluateMixtureOptions:
    """Options of ``evaluate-mixture``."""

    weights: tuple[Path, ...]
    """Weights files of role moe."""
    against: tuple[Path, ...] = ()
    """Other weights files, for the best of the first futures and jitter."""
    data: tuple[Path, ...]
    """Recordings in the cmu17 format; val.npz among them sets the threshold."""
    json: Path
    """File for the results."""
    samples: int = 50
    """Number of samples for the jitter."""
    held_out: str = ''
    """Actions that contain this text, in any case, were not trained on: compute their ROC."""
    take_over: Path | None = None
    """Earlier evaluation with rows of weights that are not available, found by name."""
    limit: int | None = None
    """Score N windows of each file, evenly spread."""
    dry_run: bool = False
    """Print what would be scored."""
    quiet: bool = False
    """Show no progress bars."""


def likelihoods(model: MotionModel, windows: Tensor) -> dict[str, Tensor]:
    """
    Compute the likelihoods of completely known windows under a mixture.

    :param model: a model of role 'moe'.
    :param windows: world metres, ``(N, T, J, 3)``.
    :returns: for each window: 'nll', nats for each of the mixture's coordinates; 'position_nll',
        nats for each coordinate of a joint in the world, for the whole pose at one of INSTANTS_S,
        averaged over these; 'surprise' of its first half second; 'weights' ``(N, E)``; 'nearest',
        the expert with the nearest representative.
    """
    past, rate = model.config.window.observed_frames, model.config.window.rate_hz
    frames = torch.from_numpy(checked_frames(rate))
    instants = [round(seconds * rate) - 1 for seconds in INSTANTS_S]
    experts = model.denoiser
    assert isinstance(experts, MotionExperts)
    found: dict[str, list[Tensor]] = {}
    with torch.inference_mode():
        for part in windows.split(BATCH):
            context = model.observe(part[:, :past])
            mixture = model.mixture(context)
            white = model.encode(part, context)
            coordinates = experts.encode(white)
            standing = experts.decode(mixture.representatives, white.shape[-1])
            futures = model.decode_features(standing, context)[..., 3:]  # (B, E, T_fut, D - 3)
            true = model.decode_features(white[:, None], context)[..., 3:]
            forecast = Forecast(model, mixture, context)
            at = [
                forecast.surprises(part[:, [past + frame]], torch.tensor([frame]))
                for frame in instants
            ]
            values = {
                'nll': -mixture.log_prob(coordinates) / mixture.size,
                'position_nll': torch.stack(at).mean(dim=0),
                'surprise': forecast.surprises(part[:, past + frames], frames),
                'weights': mixture.log_weights.exp(),
                'nearest': (futures - true).norm(dim=-1).mean(dim=-1).argmin(dim=1),
            }
            for name, value in values.items():
                found.setdefault(name, []).append(value)
    return {name: torch.cat(parts) for name, parts in found.items()}


def reliability(
    weights: NDArray[np.float64], nearest: NDArray[np.int64], bins: int = 10
) -> dict[str, Any]:
    """
    Return how often an expert of weight w is the nearest to the real future.

    :param weights: ``(N, E)``.
    :param nearest: number of the nearest expert, ``(N,)``.
    :param bins: number of bins.
    :returns: for each bin of weights the mean weight, how often those experts were the nearest,
        and their number; 'ece', the expected calibration error: the mean difference, bins weighed
        by the weight they hold.
    """
    won = np.zeros_like(weights)
    won[np.arange(len(nearest)), nearest] = 1.0
    edges = np.linspace(0.0, 1.0, bins + 1)
    which = np.clip(np.digitize(weights.ravel(), edges) - 1, 0, bins - 1)
    rows, gap = [], 0.0
    for number in range(bins):
        held = which == number
        if not held.any():
            continue
        said, was = weights.ravel()[held], won.ravel()[held]
        rows.append(
            {'said': rounded(said.mean()), 'was': rounded(was.mean()), 'experts': int(held.sum())}
        )
        gap += said.sum() * abs(said.mean() - was.mean())
    return {'bins': rows, 'ece': rounded(gap / weights.sum())}


def roc(
    ordinary: NDArray[np.float64], strange: NDArray[np.float64], points: int = 101
) -> dict[str, Any]:
    """
    Compare scores of ordinary and strange windows.

    :returns: 'auc', the share of pairs in which the strange window scores higher, and
        'false_alarms' and 'detected' along the curve.
    """
    order = np.sort(ordinary)
    below = np.searchsorted(order, strange, side='left') + np.searchsorted(
        order, strange, side='right'
    )
    auc = 0.5 * below.mean() / len(ordinary)
    thresholds = np.quantile(ordinary, np.linspace(1.0, 0.0, points))
    return {
        'auc': rounded(auc),
        'false_alarms': [rounded((ordinary > value).mean()) for value in thresholds],
        'detected': [rounded((strange > value).mean()) for value in thresholds],
    }


def ranked_errors(
    sampler: Sampler, file: DataFile, samples: int
) -> dict[str, NDArray[np.float64]]:
    """
    Return for every window the error of the best of a few futures, and jitter.

    :param sampler: the model.
    :param file: the recordings.
    :param samples: number of samples.
    :returns: 'pose.top5', 'world.top5', ..., metres: the best of the first 1, 3 and 5 futures of
        many, in a mixture the heaviest experts; 'pose.few5', ...: the best if only so many are
        requested, in a mixture those that represent all others, in other models the same;
        'jitter', the mean norm of the third difference of joints over samples, frames and joints,
        metres per cubed frame.
    """
    mixture = sampler.model.config.role == 'moe'
    found: dict[str, list[NDArray[np.float64]]] = {}
    past = file.observed_frames
    windows = file.windows.poses[file.chosen]
    for first in range(0, len(windows), BATCH):
        part = windows[first : first + BATCH]
        futures, error = _futures_and_errors(sampler, part, past, samples, first)
        for name, of in error.items():
            for rank in RANKS:
                found.setdefault(f'{name}.top{rank}', []).append(of[:, :rank].min(axis=1))
        for rank in RANKS:
            few = _futures_and_errors(sampler, part, past, rank, first)[1] if mixture else error
            for name, of in few.items():
                found.setdefault(f'{name}.few{rank}', []).append(of[:, :rank].min(axis=1))
        third = np.diff(futures, n=3, axis=2)
        jitter = np.linalg.norm(third, axis=-1).mean(axis=(1, 2, 3))
        found.setdefault('jitter', []).append(jitter)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _futures_and_errors(
    sampler: Sampler, windows: NDArray[np.float32], past: int, samples: int, first: int
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    futures = sampler.sample(windows[:, :past], samples=samples, seed=0, first_index=first).astype(
        np.float64
    )
    true = windows[:, None, past:].astype(np.float64)
    pose = (futures[..., 1:, :] - futures[..., :1, :]) - (true[..., 1:, :] - true[..., :1, :])
    return futures, {
        name: np.linalg.norm(apart.reshape(*apart.shape[:3], -1), axis=-1).mean(axis=-1)
        for name, apart in (('pose', pose), ('world', futures - true))
    }


def evaluate(options: EvaluateMixtureOptions, words: Sequence[str]) -> dict[str, Any]:
    """
    Run an evaluation.

    :param options: the options.
    :param words: the words that were parsed, to be recorded.
    :raises MotionPredictorError: if a file cannot be used.
    """
    rows: list[dict[str, Any]] = []
    models: list[dict[str, Any]] = []
    files: list[DataFile] = []
    at_hand = weights_at_hand(options)
    for path in [*at_hand, *options.against]:
        loaded = load_weights(path)
        role = loaded.model.config.role
        if not files:
            files = load_data(options.data, loaded.model.config.window, options.limit)
        models.append(_facts_of(path, loaded))
        sampler = sampler_for(path, device='cpu')
        surprises: dict[str, dict[str, NDArray[np.float64]]] = {}
        for file in tqdm(files, desc=path.stem, unit='file', disable=options.quiet):
            row: dict[str, Any] = {
                'model': models[-1]['model'],
                'role': role,
                'set': file.set_name,
                'split': file.split,
                'windows': len(file.chosen),
            }
            errors = ranked_errors(sampler, file, options.samples)
            row.update({name: rounded(value.mean()) for name, value in errors.items()})
            if role == 'moe':
                row.update(_mixture_row(loaded.model, file, surprises))
            rows.append(row)
        if role == 'moe':
            rows.extend(_surprise_rows(models[-1]['model'], surprises, options.held_out))
    result = {
        **provenance.origin(FORMAT, VERSION, 'training evaluate-mixture', words),
        'settings': {
            'samples': options.samples,
            'limit': options.limit,
            'checked_s': CHECKED_S,
            'instants_s': INSTANTS_S,
            'quantile': QUANTILE,
            'held_out': options.held_out,
            'multimodal_threshold_m': metrics.MULTIMODAL_THRESHOLD_M,
        },
        'models': models,
        'rows': rows,
    }
    for path in options.weights:
        if path not in at_hand:
            assert options.take_over is not None  # otherwise all weights would be available
            add_earlier(result, options.take_over, name_of(path), files)
    order = [name_of(path) for path in [*options.weights, *options.against]]
    for entries in (models, rows):  # in the given order, taken over or not
        entries.sort(key=lambda entry: order.index(entry['model']))
    return result


def _facts_of(path: Path, loaded: LoadedWeights) -> dict[str, Any]:
    config = loaded.model.config
    return {
        'model': name_of(path),
        'role': config.role,
        'sha256': file_digest(path),
        'what': loaded.card.get('what'),
        'temperature': config.temperature,
        'spread': config.spread,
        'apart': config.apart,
        'parameters': sum(p.numel() for p in loaded.model.denoiser.parameters()),
    }


def weights_at_hand(options: EvaluateMixtureOptions) -> list[Path]:
    """Return the weights to score: all except those whose rows an earlier run provides."""
    return [path for path in options.weights if path.is_file() or not options.take_over]


def name_of(path: Path) -> str:
    """Return the name of a weights file in the tables: with that of its folder."""
    return f'{path.parent.name}/{path.stem}'


def add_earlier(
    result: dict[str, Any], earlier: Path, name: str, files: Sequence[DataFile]
) -> None:
    """
    Add the rows of an earlier evaluation for weights that are not available.

    :param result: receives their facts and rows, with the commit of the earlier run.
    :param earlier: JSON of that evaluation.
    :param name: name in its tables.
    :param files: files that this evaluation scores.
    :raises ConfigError: if it has no rows of them with the same settings, on as many windows of
        the same sets and splits.
    """
    old = provenance.read_result(earlier, FORMAT, VERSION)
    rows = [dict(row) for row in old['rows'] if row['model'] == name]
    wanted = {(file.set_name, file.split, len(file.chosen)) for file in files}
    found = {(r['set'], r['split'], r['windows']) for r in rows if r['set'] != 'surprise'}
    settings = json.loads(json.dumps(result['settings']))  # tuples are lists there
    if found != wanted or old['settings'] != settings:
        raise ConfigError(
            f'--weights {name}: no such file, and {earlier} has no rows of it with these settings '
            'and recordings'
        )
    for row in rows:
        row['taken_over_from'] = row.get('taken_over_from', old['commit'])
    result['models'] += [facts for facts in old['models'] if facts['model'] == name]
    result['rows'] += rows


def perplexity(share: NDArray[np.float64]) -> float:
    """Return the exponential of the entropy of shares that sum to one: the effective number."""
    present = share[share > 0.0]
    return float(np.exp(-(present * np.log(present)).sum()))


def _mixture_row(
    model: MotionModel, file: DataFile, surprises: dict[str, dict[str, NDArray[np.float64]]]
) -> dict[str, Any]:
    found = likelihoods(model, torch.from_numpy(file.windows.poses[file.chosen]))
    weights = found['weights'].double().numpy()
    actions = np.array([file.windows.actions[int(i)] for i in file.chosen])
    surprise = found['surprise'].double().numpy()
    surprises[file.label] = {'values': surprise, 'actions': actions}
    nearest = found['nearest'].numpy()
    share = np.bincount(nearest, minlength=weights.shape[1]) / len(nearest)
    entropy = -(weights * np.log(np.maximum(weights, 1e-12))).sum(axis=1)
    return {
        'nll_per_coordinate': rounded(float(found['nll'].mean())),
        'position_nll': rounded(float(found['position_nll'].mean())),
        'coordinates': model.config.denoiser.latent,
        'surprise_median': rounded(np.median(surprise)),
        'experts': weights.shape[1],
        'experts_that_were_nearest': int((share > 0.0).sum()),
        'experts_used': rounded(perplexity(share)),
        'experts_a_window': rounded(np.exp(entropy).mean()),
        'reliability': reliability(weights, nearest),
    }


def _surprise_rows(
    model: str, surprises: Mapping[str, Mapping[str, NDArray[Any]]], held_out: str
) -> list[dict[str, Any]]:
    """Fit the threshold to validation windows; return alarms on the others and a held-out ROC."""
    ordinary: dict[str, list[NDArray[np.float64]]] = {}
    strange: dict[str, list[NDArray[np.float64]]] = {}
    for label, of_file in surprises.items():
        split = label.split('/')[-1]
        named = [str(action).lower() for action in of_file['actions']]
        held = np.array([bool(held_out) and held_out.lower() in name for name in named])
        ordinary.setdefault(split, []).append(of_file['values'][~held])
        strange.setdefault(split, []).append(of_file['values'][held])
    if 'val' not in ordinary:
        return []
    threshold = float(np.quantile(np.concatenate(ordinary['val']), QUANTILE))
    rows: list[dict[str, Any]] = []
    for split in ordinary:
        usual = np.concatenate(ordinary[split])
        row: dict[str, Any] = {
            'model': model,
            'role': 'moe',
            'set': 'surprise',
            'split': split,
            'windows': len(usual),
            'threshold': rounded(threshold),
            'false_alarms': rounded((usual > threshold).mean()),
        }
        new = np.concatenate(strange[split])
        if len(new):
            row.update(
                held_out=held_out,
                held_out_windows=len(new),
                detected=rounded((new > threshold).mean()),
                roc=roc(usual, new),
            )
        rows.append(row)
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = read_options(
        EvaluateMixtureOptions, 'training evaluate-mixture', about(__doc__), EXAMPLE, words
    )
    try:
        if options.samples < max(RANKS):
            raise ConfigError(f'--samples {options.samples}: must be at least {max(RANKS)}')
        at_hand = weights_at_hand(options)
        if not at_hand:
            raise ConfigError('--weights: none of the files is there')
        for path in at_hand:
            if load_weights(path).model.config.role != 'moe':
                raise ConfigError(f'--weights {path}: not of role moe; name it with --against')
        if options.dry_run:
            print(f'{len(options.weights)} mixtures, {len(options.data)} files')
            return 0
        require_writable(options.json)
        result = evaluate(options, words)
    except MotionPredictorError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    provenance.write_json(options.json, result)
    for row in result['rows']:
        print({k: v for k, v in row.items() if k not in ('reliability', 'roc')})
    print(f'written: {options.json}')
    return 0
