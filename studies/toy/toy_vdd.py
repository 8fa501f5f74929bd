# SPDX-License-Identifier: Apache-2.0
"""VDD on two-dimensional densities: python -m studies toy.

For each density, points are drawn and a diffusion teacher is trained on them. Then, for each seed,
mixtures with the same number of experts are fitted by VDD to the teacher, by EM to the points and
by EM to the teacher's samples. Quadrature gives the modes found and both Kullback-Leibler
divergences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import hashlib
import json
from pathlib import Path
import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from motion_predictor.common.whole_files import require_writable
from motion_predictor.model.networks.mixture import GaussianMixture
from studies.common.covariances import Full
from studies.toy.fitting import distil_toy, expectation_maximisation, METHODS, vdd_settings
from studies.toy.picture import draw
from studies.toy.teachers import DensityTeacher, ToyTeacher
from studies.toy.toy_densities import DENSITIES, Density, Quadrature
from training.common import provenance
from training.common.options import about, read_options
from training.stages.mixture.vdd import ScoreTeacher

FORMAT = 'motion_predictor toy densities'
VERSION = 2
EXAMPLE = """\
worked example, from the root of the source tree:
  python -m studies toy --json docs/results/data/toy_vdd.json --plots docs/results/images
"""


@dataclass(frozen=True, kw_only=True)
class ToyOptions:
    """The options of ``toy``."""

    json: Path
    """File for the results."""
    densities: tuple[str, ...] = tuple(DENSITIES)
    """Names of the densities to learn."""
    seeds: int = 10
    runs: Path = Path('runs/toy_vdd')
    """Folder that keeps the result of each density."""
    points: int = 20000
    """Points drawn from each density."""
    samples: int = 20000
    """Samples of the teacher."""
    steps: int = 6000
    """Steps of the distillation."""
    teacher_steps: int = 32000
    width: int = 256
    """Width of the teacher's layers."""
    plots: Path | None = None
    """Folder for a plot of the first seed."""
    dry_run: bool = False
    """Print the settings and stop."""
    quiet: bool = False
    """Show no progress bar."""


def train_teacher(density: Density, options: ToyOptions) -> tuple[ToyTeacher, Tensor]:
    """
    Train the teacher of a density.

    :returns: the teacher and the points that it was trained on, ``(N, 2)``.
    """
    points = density.sample(options.points, torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    return ToyTeacher(options.width).fit(points, options.teacher_steps, 0), points


def run_density(
    density: Density, seeds: Sequence[int], options: ToyOptions
) -> tuple[dict[str, GaussianMixture], list[dict[str, Any]], dict[str, Any]]:
    """
    Fit every method to one density with every seed.

    :returns: the first seed's mixtures by method, one row of figures for each method and seed,
        and the teacher's own figures.
    """
    teacher, points = train_teacher(density, options)
    count = density.experts
    drawn = torch.stack(
        [
            teacher.sample(options.samples, torch.Generator().manual_seed(seed + 1))
            for seed in seeds
        ],
        dim=1,
    )
    exact = DensityTeacher(density)
    true = torch.stack(
        [
            density.sample(options.samples, torch.Generator().manual_seed(1000 + seed))
            for seed in seeds
        ],
        dim=1,
    )
    asked: dict[str, tuple[ScoreTeacher, Tensor, bool]] = {
        'vdd': (teacher, drawn, True),
        'vdd_paper': (teacher, drawn, False),
        'vdd_exact': (exact, true, True),
    }
    mixtures = {
        name: distil_toy(of, its, count, vdd_settings(options.steps, noised), seeds)
        for name, (of, its, noised) in asked.items()
    }
    mixtures['em_data'] = [expectation_maximisation(points, count, seed) for seed in seeds]
    mixtures['em_teacher'] = [
        expectation_maximisation(drawn[:, i], count, seed) for i, seed in enumerate(seeds)
    ]
    rows = _figures(density, seeds, mixtures)
    own = _figures_of_teacher(density, teacher, points, drawn)
    return {name: of_seeds[0] for name, of_seeds in mixtures.items()}, rows, own


def _figures(
    density: Density, seeds: Sequence[int], mixtures: Mapping[str, Sequence[GaussianMixture]]
) -> list[dict[str, Any]]:
    """Return a row for each method and seed: modes found, and both divergences."""
    quadrature = Quadrature.over_the_plane()
    log_p = density.log_prob(quadrature.points)
    modes = int(density.owner.max()) + 1
    rows = []
    for method, of_seeds in mixtures.items():
        for seed, mixture in zip(seeds, of_seeds, strict=True):
            log_q = mixture.log_prob(quadrature.points[:, None])[:, 0]
            rows.append(
                {
                    'density': density.name,
                    'seed': seed,
                    'method': method,
                    'experts': density.experts,
                    'modes': modes,
                    'found': quadrature.modes_found(density, log_q),
                    'kl_q_p': round(quadrature.divergence(log_q, log_p), 5),
                    'kl_p_q': round(quadrature.divergence(log_p, log_q), 5),
                }
            )
    return rows


def _figures_of_teacher(
    density: Density, teacher: ToyTeacher, points: Tensor, drawn: Tensor
) -> dict[str, Any]:
    """Return the likelihood of the data and of the teacher's samples, and the teacher's error."""
    coarse = Quadrature.over_the_plane(100)
    log_p, log_t = density.log_prob(coarse.points), teacher.log_prob(coarse.points)
    return {
        'density': density.name,
        'log_p_of_data': round(float(density.log_prob(points).mean()), 4),
        'log_p_of_teacher_samples': round(float(density.log_prob(drawn.flatten(0, 1)).mean()), 4),
        'kl_teacher_p': round(coarse.divergence(log_t, log_p), 5),
        'kl_p_teacher': round(coarse.divergence(log_p, log_t), 5),
        'fitted_at': provenance.commit(),
    }


def kept_density(
    density: Density, seeds: Sequence[int], options: ToyOptions
) -> tuple[dict[str, GaussianMixture], list[dict[str, Any]], dict[str, Any]]:
    """Read the results of an earlier call, or run a density and keep its results."""
    facts = [
        density.name, list(seeds), options.points, options.samples, options.steps,
        options.teacher_steps, options.width,
        *(str(vdd_settings(options.steps, noised)) for noised in (True, False)),
    ]  # fmt: skip
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
    path = options.runs / f'{density.name}_{digest}.json'
    if not path.is_file():
        mixtures, rows, own = run_density(density, seeds, options)
        parts = {
            name: [
                part.tolist()
                for part in (mixture.log_weights, mixture.means, mixture.covariance.matrix())
            ]
            for name, mixture in mixtures.items()
        }
        provenance.write_json(path, {'mixtures': parts, 'rows': rows, 'teacher': own})
    kept = json.loads(path.read_text())
    pictured = {
        name: GaussianMixture(
            torch.tensor(log_weights),
            torch.tensor(means),
            Full(torch.linalg.cholesky(torch.tensor(covariance).view(1, -1, 2, 2))),
        )
        for name, (log_weights, means, covariance) in kept['mixtures'].items()
    }
    return pictured, kept['rows'], kept['teacher']


def summarise(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the medians over seeds of each method, and how often it found all modes."""
    found: list[dict[str, Any]] = []
    for density in dict.fromkeys(row['density'] for row in rows):
        paired = {row['seed']: row for row in _of(rows, density, 'em_data')}
        for method in METHODS:
            of = _of(rows, density, method)
            found.append(
                {
                    'density': density,
                    'method': method,
                    'experts': of[0]['experts'],
                    'seeds': len(of),
                    'all_modes_found': sum(row['found'] == row['modes'] for row in of),
                    **{
                        f'{name}_{what}': round(float(function([row[name] for row in of])), 5)
                        for name in ('kl_q_p', 'kl_p_q')
                        for what, function in (('median', np.median), ('worst', np.max))
                    },
                    'closer_than_em_data': sum(
                        row['kl_q_p'] < paired[row['seed']]['kl_q_p'] for row in of
                    ),
                }
            )
    return found


def _of(rows: Sequence[Mapping[str, Any]], density: str, method: str) -> list[Mapping[str, Any]]:
    return [row for row in rows if (row['density'], row['method']) == (density, method)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = read_options(ToyOptions, 'studies toy', about(__doc__), EXAMPLE, words)
    if options.dry_run:
        print(vars(options))
        print(vdd_settings(options.steps, True))
        return 0
    require_writable(options.json)
    rows: list[dict[str, Any]] = []
    teachers: list[dict[str, Any]] = []
    pictured: dict[str, Mapping[str, GaussianMixture]] = {}
    seeds = range(options.seeds)
    for name in tqdm(options.densities, unit='density', disable=options.quiet):
        pictured[name], found, own = kept_density(DENSITIES[name](), seeds, options)
        rows += found
        teachers.append(own)
    result = {
        **provenance.origin(FORMAT, VERSION, 'studies toy', words),
        'settings': {
            'points': options.points,
            'samples': options.samples,
            'steps': options.steps,
            'teacher_steps': options.teacher_steps,
            'width': options.width,
        },
        'teachers': teachers,
        'rows': rows,
        'summary': summarise(rows),
    }
    provenance.write_json(options.json, result)
    for row in result['summary']:
        print(row)
    print(f'written: {options.json}')
    if options.plots:
        print(f'drawn: {draw(pictured, options.plots)}')
    return 0
