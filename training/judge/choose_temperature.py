# SPDX-License-Identifier: Apache-2.0
"""Choose the temperature of a one-step model's samples: python -m training choose-temperature.

The samples of a student with the best-of-S loss differ less than people do. Larger noise in the
prediction corrects this at no cost. This verb scores several temperatures on people outside of the
training, chooses one, and writes it into the weights file. A mixture of experts is too certain
about people that it was not trained on: its temperature widens the experts, and its spread moves
their means apart. Then a separate factor moves the futures that represent the experts apart, which
leaves the density as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import copy
from dataclasses import dataclass, replace
import itertools
from pathlib import Path
import sys
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from motion_predictor.common.files import read_json
from motion_predictor.common.whole_files import require_writable
from motion_predictor.errors import ConfigError, MotionPredictorError
from motion_predictor.model.config import ModelConfig
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.networks.experts import MotionExperts
from motion_predictor.model.weights import file_digest, load_weights, LoadedWeights
from motion_predictor.predict.predictor import Predictor
from training.common import provenance
from training.common.options import about, read_options
from training.engine.diffusion import Sampler
from training.engine.weights_file import golden_pair, rewrite
from training.judge.accuracy.models import FORMAT as EVALUATION
from training.judge.scoring import (
    Alternatives,
    DataFile,
    find_alternatives,
    Futures,
    group_values,
    load_data,
    make_groups,
    rounded,
    score_file,
)
from training.judge.temperature import temperature_for

FORMAT = 'motion_predictor temperature'
VERSION = 1
TEMPERATURES = (1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.2)
OF_A_MIXTURE = (1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6)
"""Temperatures for a mixture of experts."""
SPREADS = (1.0, 1.05, 1.1, 1.15, 1.2, 1.3)
"""Factors on the distances of a mixture's means from their mean."""
APART = (1.0, 1.1, 1.2, 1.3, 1.4, 1.5)
"""Further factors by which the futures that represent a mixture's experts are moved apart."""
ERRORS = ('pose.ade', 'pose.fde', 'pose.mmade', 'pose.mmfde')
MEASURES = ('pose.apd', *ERRORS, 'world.ade', 'world.fde')
BATCH = 20

EXAMPLE = """\
worked example: the lowest temperature at which the samples differ as much as the teacher's do:
  python -m training choose-temperature --weights resource/weights/swiftdiff.safetensors \\
      --fit ../shared/data/cmu17/val.npz ../shared/data/uiprmd17/val.npz \\
      --as-varied-as docs/results/data/evaluation.json --json docs/results/data/temperature.json
It is looked for in hundredths between the temperatures given. Without --as-varied-as: the
temperature of the smallest error, the mean of ADE, FDE, MMADE and MMFDE, each over its value at
temperature 1. A mixture takes the temperature and the spread at which what really happened was the
least unlikely, then moves its futures apart by the factor of the smallest error. A calibration in
the file is dropped, as it held for the former samples alone, and so is a mixture's threshold of
surprise: run training calibrate, and training evaluate-mixture and training export --surprise,
afterwards.
"""


@dataclass(frozen=True, kw_only=True)
class TemperOptions:
    """Options of ``choose-temperature``."""

    weights: Path
    """A one-step model; the temperature is written into this file."""
    fit: tuple[Path, ...]
    """Recordings to choose on: neither used in training nor reported as a test."""
    as_varied_as: Path | None = None
    """Evaluation with the teacher's rows for the same recordings; samples then differ as much as
    the teacher's."""
    temperatures: tuple[float, ...] | None = None
    """Factors on the noise, or on a mixture's experts; the default is 1 to 2.2, for a mixture 1 to
    1.6."""
    spreads: tuple[float, ...] | None = None
    """Spreads of a mixture; the default is 1 to 1.3."""
    apart: tuple[float, ...] | None = None
    """Further factors by which a mixture's futures are moved apart; the default is 1 to 1.5."""
    samples: int = 50
    seed: int = 0
    """Seed of the noise."""
    limit: int | None = None
    """Score N windows of each file: rough figures in a short time."""
    device: Literal['auto', 'cpu', 'cuda'] = 'auto'
    json: Path
    """File for the report."""
    keep_file: bool = False
    """Only report; leave the weights as they are."""
    quiet: bool = False
    """Show no progress bar."""


def score(
    sampler: Sampler,
    files: Sequence[DataFile],
    alternatives: Sequence[Alternatives],
    samples: int,
    seed: int,
) -> dict[str, float]:
    """
    Score a model on all files together.

    :returns: metres by :data:`MEASURES`, over all windows.
    """
    group = make_groups(files)[-1]
    scores = []
    for file, sets in zip(files, alternatives, strict=True):
        scores.append(score_file(file, _futures(sampler, file, samples, seed), sets))
    values = group_values(group, scores)
    return {name: rounded(values[name].mean()) for name in MEASURES}


def _futures(sampler: Sampler, file: DataFile, samples: int, seed: int) -> Futures:
    observed = file.observed

    def read(first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        part = observed[first:last]
        futures = sampler.sample(part, samples=samples, seed=seed, first_index=first)
        root = futures[..., :1, :]
        return futures[..., 0, :] - part[:, None, None, -1, 0], futures[..., 1:, :] - root

    return read


def unlikeliness(
    model: MotionModel,
    files: Sequence[DataFile],
    temperatures: Sequence[float],
    spreads: Sequence[float],
    quiet: bool = True,
) -> list[dict[str, float]]:
    """
    Return how unlikely the real futures were under a mixture, by temperature and spread.

    :param model: a model of role 'moe'; its own temperature and spread have no effect.
    :param files: the recordings.
    :param temperatures: temperatures to try.
    :param spreads: spreads to try.
    :param quiet: whether to show no progress bar.
    :returns: a row per pair: 'temperature', 'spread', and 'nll', the mean negative log density
        over all windows in nats per coordinate.
    """
    plain = copy.copy(model)
    pairs = list(itertools.product(temperatures, spreads))
    made = [replace(model.config, temperature=t, spread=s) for t, s in pairs]  # this checks them
    plain.config = replace(model.config, temperature=1.0, spread=1.0)
    experts = model.denoiser
    assert isinstance(experts, MotionExperts)
    found: list[Tensor] = []
    for file in tqdm(files, unit='file', disable=quiet):
        for part in torch.from_numpy(file.windows.poses[file.chosen]).split(BATCH):
            with torch.inference_mode():
                context = plain.observe(part[:, : file.observed_frames])
                mixture = plain.mixture(context)
                true = experts.encode(plain.encode(part, context))
                density = [
                    mixture.spread_out(c.spread).widened(c.temperature).log_prob(true)
                    for c in made
                ]
            found.append(-torch.stack(density, dim=1) / mixture.size)  # (B, pairs)
    mean = torch.cat(found).mean(dim=0).tolist()
    return [
        {'temperature': t, 'spread': s, 'nll': rounded(nll)}
        for (t, s), nll in zip(pairs, mean, strict=True)
    ]


def choose(rows: Sequence[Mapping[str, float]], apd: float | None) -> Mapping[str, float]:
    """
    Return the row to take.

    :param rows: scores of increasing temperatures; the first is the one to compare with.
    :param apd: least average pairwise distance of samples, metres; None takes the smallest error.
    :returns: the last row if no row reaches that distance; of a mixture's rows, which have 'nll',
        the one with the smallest.
    """
    if 'nll' in rows[0]:
        return min(rows, key=lambda row: row['nll'])
    if apd is None:
        first = rows[0]
        return min(rows, key=lambda row: sum(row[name] / first[name] for name in ERRORS))
    return next((row for row in rows if row['pose.apd'] >= apd), rows[-1])


def with_exact(
    rows: Sequence[dict[str, float]],
    apd: float,
    row_at: Callable[[float], dict[str, float]],
) -> list[dict[str, float]]:
    """
    Add the row at which the samples differ as requested, if it lies between two of the rows.

    :param rows: scores of increasing temperatures.
    :param apd: requested average pairwise distance, metres.
    :param row_at: scores a temperature.
    :returns: rows of increasing temperature; the new temperature is a multiple of 0.01.
    """
    after = next((i for i, row in enumerate(rows) if row['pose.apd'] >= apd), 0)
    if after == 0:
        return list(rows)
    known = {row['temperature']: row for row in rows}

    def apd_at(temperature: float) -> float:
        if temperature not in known:
            known[temperature] = row_at(temperature)
        return known[temperature]['pose.apd']

    low, high = (rows[i]['temperature'] for i in (after - 1, after))
    found = known[temperature_for(apd_at, apd, low, high)]
    return sorted([*rows, *([] if found in rows else [found])], key=lambda r: r['temperature'])


def teacher_apd(evaluation: Path, files: Sequence[DataFile]) -> float:
    """
    Return the average pairwise distance of the teacher's samples on the same files.

    :param evaluation: JSON of ``training evaluate``.
    :param files: the recordings.
    :raises ConfigError: if it has no teacher's row for them, or scored other recordings.
    """
    try:
        result = read_json(evaluation, ConfigError)
        if result['format'] != EVALUATION:
            raise ValueError(f'format {result["format"]!r}')
        known = {entry['sha256'] for entry in result['data']}
        group = make_groups(files)[-1]
        found = [
            float(row['pose']['apd'])
            for row in result['rows']
            if row['role'] == 'teacher'
            and (row['set'], row['split']) == (group.set_name, group.split)
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f'--as-varied-as {evaluation}: no evaluation: {error}') from None
    missing = [file.label for file in files if file.sha256 not in known]
    if missing or len(found) != 1:
        raise ConfigError(
            f'--as-varied-as {evaluation}: {len(found)} rows of a teacher on {group.label}'
            + (f', and other recordings than {", ".join(missing)}' if missing else '')
        )
    return found[0]


def temper(options: TemperOptions, arguments: Sequence[str]) -> dict[str, Any]:
    """
    Score the temperatures, write the chosen one into the weights file, and report.

    :returns: the report, JSON-able.
    :raises MotionPredictorError: if a file cannot be used.
    """
    loaded = load_weights(options.weights)
    config = loaded.model.config
    _check_options(options, config)
    mixture = config.role == 'moe'
    temperatures = sorted(options.temperatures or (OF_A_MIXTURE if mixture else TEMPERATURES))
    files = load_data(options.fit, config.window, options.limit, loaded.model.skeleton)
    wanted = teacher_apd(options.as_varied_as, files) if options.as_varied_as else None
    alternatives = find_alternatives(files, make_groups(files))[0]

    def scores_of(tried: ModelConfig) -> dict[str, float]:
        loaded.model.config = tried
        predictor = Predictor(loaded.model, loaded.card, device=options.device)
        sampler = Sampler(loaded.model, predictor, loaded.card, 1, BATCH, 'clean')
        return score(sampler, files, alternatives, options.samples, options.seed)

    def row_at(of: float) -> dict[str, float]:
        return {'temperature': of, **scores_of(replace(config, temperature=of))}

    if mixture:
        spreads = sorted(options.spreads or SPREADS)
        rows = unlikeliness(loaded.model, files, temperatures, spreads, options.quiet)
    else:
        bar = tqdm(temperatures, unit='run', disable=options.quiet)
        rows = [row_at(temperature) for temperature in bar]
    if wanted is not None:
        rows = with_exact(rows, wanted, row_at)
    chosen = choose(rows, wanted)
    tempered = {'temperature': chosen['temperature'], 'spread': chosen.get('spread', 1.0)}
    taken = replace(config, temperature=tempered['temperature'], spread=tempered['spread'])
    apart_rows = []
    if mixture:
        apart_rows = [
            {'apart': factor, **tempered, **scores_of(replace(taken, apart=factor))}
            for factor in tqdm(sorted(options.apart or APART), unit='run', disable=options.quiet)
        ]
    apart = choose(apart_rows, None)['apart'] if apart_rows else 1.0
    if not options.keep_file:
        _write(options.weights, loaded, replace(taken, apart=apart))
    return {
        **provenance.origin(FORMAT, VERSION, 'training choose-temperature', arguments),
        'model': options.weights.stem,
        'sha256': file_digest(options.weights),
        'settings': _settings(options, files, wanted),
        'chosen': tempered['temperature'],
        'spread': tempered['spread'],
        'apart': apart,
        'rows': rows,
        'apart_rows': apart_rows,
    }


def _settings(
    options: TemperOptions, files: Sequence[DataFile], wanted: float | None
) -> dict[str, Any]:
    return {
        'samples': options.samples,
        'seed': options.seed,
        'fitted_on': {f'{f.set_name}/{f.path.name}': f.sha256 for f in files},
        'teacher_apd': wanted,
    }


def _check_options(options: TemperOptions, config: ModelConfig) -> None:
    mixture = config.role == 'moe'
    if not mixture and config.role not in ('one_step', 'swiftdiff'):
        raise ConfigError(
            f'{options.weights}: of role {config.role!r}; models that start from noise in one '
            'step (one_step, swiftdiff) and mixtures (moe) have a temperature'
        )
    if mixture and options.as_varied_as:
        raise ConfigError(
            f'--as-varied-as: the temperature of a mixture ({options.weights}) is chosen by its '
            'likelihood; leave the option out'
        )
    for name in ('spreads', 'apart'):
        if getattr(options, name) and not mixture:
            raise ConfigError(
                f'--{name}: {options.weights} is no mixture of experts; leave it out'
            )


def _write(path: Path, loaded: LoadedWeights, config: ModelConfig) -> None:
    """Write a model over its file; measurements of the former model are left out."""
    loaded.model.config = config
    card = {name: fact for name, fact in loaded.card.items() if name != 'surprise'}
    golden = golden_pair(loaded.model)
    rewrite(path, replace(loaded, card=card, golden=golden, calibration=None))


def _print(rows: Sequence[Mapping[str, float]], first: str, taken: tuple[float, float]) -> None:
    others = [name for name in rows[0] if name != first]
    print(f'{first:>11}' + ''.join(f'{name:>12}' for name in others))
    for row in rows:
        mark = '*' if (row[first], row.get('spread', 1.0)) == taken else ' '
        print(f'{row[first]:10.2f}{mark}' + ''.join(f'{row[name]:12.3f}' for name in others))


def shown(numbers: Sequence[float]) -> str:
    """Return numbers as the command line takes them."""
    return ' '.join(f'{number:g}' for number in numbers)


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :returns: the exit code: 0, or 2 if an argument cannot be used.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = read_options(
        TemperOptions, 'training choose-temperature', about(__doc__), EXAMPLE, words
    )
    try:
        if options.samples < 2:
            raise ConfigError(f'--samples {options.samples}: a spread needs two or more')
        require_writable(options.json)
        result = temper(options, words)
    except MotionPredictorError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    provenance.write_json(options.json, result)
    _print(result['rows'], 'temperature', (result['chosen'], result['spread']))
    if result['apart_rows']:
        _print(result['apart_rows'], 'apart', (result['apart'], result['spread']))
    wanted, last = result['settings']['teacher_apd'], result['rows'][-1]
    if wanted is not None and last['pose.apd'] < wanted:
        print(
            f'--temperatures: at the highest the samples differ by {last["pose.apd"]:.3f} m, the '
            f"teacher's by {wanted:.3f} m; try higher ones"
        )
    print(f'written: {options.json}')
    return 0
