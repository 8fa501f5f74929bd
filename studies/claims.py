# SPDX-License-Identifier: Apache-2.0
"""Write docs/results/claims.md, one row a claim of the papers: python -m studies report claims.

Every figure comes from the JSON of the studies, and every verdict from an interval of 95 %.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import beta
from scipy.stats import t as student_t

from motion_predictor.errors import ConfigError
from studies.common.verdicts import TEMPLATES
from training.report.page import markdown_table, render, write_page

EXAMPLE = """\
worked example, from the root of the source tree:
  python -m studies report claims --json docs/results/data/ablations.json \\
      docs/results/data/teacher_ablations.json docs/results/data/moe_ablations.json \\
      docs/results/data/avoiding.json docs/results/data/toy_vdd.json \\
      docs/results/data/tuning.json docs/results/data/evaluation_neighbours.json \\
      docs/results/data/benchmark.json --out docs/results/claims.md
"""
COVERAGE = 0.95
LEAST_SEEDS = 3
MAY_MISS = 0.1
"""Share of the runs in which a method that 'loses no mode' may lose one."""
SWIFTDIFF, TRANSFUSION, VDD = 'SwiftDiff', 'TransFusion', 'VDD'
NOT_MEASURED = 'not measured'
FORMATS = {
    'motion_predictor ablations': 'ablations',
    'motion_predictor teacher ablations': 'teacher_ablations',
    'motion_predictor mixture ablations': 'moe_ablations',
    'motion_predictor avoiding task': 'avoiding',
    'motion_predictor toy densities': 'toy_vdd',
    'motion_predictor tuning': 'tuning',
    'motion_predictor evaluation': 'evaluation_neighbours',
    'motion_predictor benchmark': 'benchmark',
}
"""Names of the studies by the format of their JSON."""
Results = Mapping[str, Mapping[str, Any]]
"""Results of the studies by their names."""


@dataclass(frozen=True)
class Found:
    """What was measured about a claim."""

    figures: str
    low: float
    high: float
    """Interval of a difference; the claim says that it is below 0."""

    @property
    def shown(self) -> str:
        """Return the interval as text."""
        return f'{self.low:+.3g} to {self.high:+.3g}' if np.isfinite(self.low) else 'too few seeds'

    @property
    def verdict(self) -> str:
        """Return what the interval says about the claim."""
        if self.high < 0.0:
            return 'holds'
        return 'does not hold' if self.low > 0.0 else 'undecided'


@dataclass(frozen=True)
class Claim:
    """One claim or open question, and how it is judged; without ``judge`` it was not measured."""

    source: str
    text: str
    file: str = ''
    judge: Callable[[Results], Found] | None = None
    page: str = ''


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """
    Return the interval of the mean of paired differences, by Student's t.

    :param differences: one for each seed.
    :returns: low and high; infinite below :data:`LEAST_SEEDS`, which decide nothing.
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < LEAST_SEEDS:
        return -np.inf, np.inf
    half = student_t.ppf(0.5 + 0.5 * COVERAGE, len(values) - 1)
    half *= values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def rows_differ(file: str, better: str, worse: str) -> Callable[[Results], Found]:
    """Return a judge of two rows of an ablation: the error on val, seed by seed."""

    def judge(results: Results) -> Found:
        errors = {
            name: {
                found['seed']: found['error']['val']
                for found in results[file]['results']
                if found['row'] == name
            }
            for name in (better, worse)
        }
        seeds = sorted(errors[better].keys() & errors[worse].keys())
        if not seeds:
            raise ConfigError(f'{file}: no seed has the rows {better!r} and {worse!r}')
        ratios = [errors[better][seed] / errors[worse][seed] - 1.0 for seed in seeds]
        low, high = interval(ratios)
        told = f'{100.0 * np.mean(ratios):+.1f} % of the error, {len(seeds)} seeds'
        return Found(f'`{better}` against `{worse}`: {told}', low, high)

    return judge


def policies_differ(
    better: str, worse: str, measure: str = 'success_rate'
) -> Callable[[Results], Found]:
    """Return a judge of two policies of the avoiding task, seed by seed; more is better."""

    def judge(results: Results) -> Found:
        rates = {
            name: {
                row['seed']: row[measure]
                for row in results['avoiding']['rows']
                if row['method'] == name
            }
            for name in (better, worse)
        }
        seeds = sorted(rates[better].keys() & rates[worse].keys())
        low, high = interval([rates[worse][seed] - rates[better][seed] for seed in seeds])
        means = [float(np.mean([of[seed] for seed in seeds])) for of in rates.values()]
        what = measure.replace('_', ' ')
        return Found(
            f'{what} {means[0]:.3f} against {means[1]:.3f}, {len(seeds)} seeds', low, high
        )

    return judge


def all_modes_found(results: Results) -> Found:
    """Judge by the toy densities whether VDD finds every mode: Clopper and Pearson's interval."""
    rows = [row for row in results['toy_vdd']['rows'] if row['method'] == 'vdd']
    whole = sum(row['found'] == row['modes'] for row in rows)
    missed = len(rows) - whole
    low = beta.ppf(0.5 - 0.5 * COVERAGE, missed, whole + 1) if missed else 0.0
    high = beta.ppf(0.5 + 0.5 * COVERAGE, missed + 1, whole) if whole else 1.0
    told = f'all modes found in {whole} of {len(rows)} runs; {MAY_MISS:.0%} may miss one'
    return Found(told, float(low) - MAY_MISS, float(high) - MAY_MISS)


def densities_differ(better: str, worse: str) -> Callable[[Results], Found]:
    """Return a judge of two methods on the toy densities: KL(q, p), on every density by itself."""

    def judge(results: Results) -> Found:
        of = {
            method: {
                (row['density'], row['seed']): row['kl_q_p']
                for row in results['toy_vdd']['rows']
                if row['method'] == method
            }
            for method in (better, worse)
        }
        names = sorted({density for density, _ in of[better]})
        differences = [
            [of[better][pair] - of[worse][pair] for pair in sorted(of[better]) if pair[0] == name]
            for name in names
        ]
        bounds = [interval(each) for each in differences]
        told = ', '.join(f'{n} {np.mean(each):+.4f}' for n, each in zip(names, differences))
        low, high = min(low for low, _ in bounds), max(high for _, high in bounds)
        return Found(f'`{better}` against `{worse}`, KL(q, p) in nats: {told}', low, high)

    return judge


def student_keeps_accuracy(results: Results) -> Found:
    """Judge by ADE on val whether SwiftDiff is as good as its teacher; clips were resampled."""
    (row,) = (
        row
        for row in results['evaluation_neighbours']['rows']
        if (row['set'], row['split'], row['model']) == ('both', 'val', 'swiftdiff')
    )
    against = row['against']['pose.ade']
    low, high = against['interval95']
    told = f'{100.0 * (against["ratio"] - 1.0):+.1f} % of the ADE, val, one training'
    return Found(told, low - 1.0, high - 1.0)


def search_differs(results: Results) -> Found:
    """Judge by the hypervolume of one study each; one of each decides nothing."""
    volumes = [results['tuning']['summary'][name]['hypervolume'] for name in ('gp', 'random')]
    told = f'hypervolume {volumes[0]:.3f} against {volumes[1]:.3f}, one study each'
    return Found(told, *interval([volumes[1] - volumes[0]]))


def one_call_is_fast(results: Results) -> Found:
    """Judge by the benchmark whether a call of one person takes under 20 ms, on one core."""
    (row,) = (
        row
        for row in results['benchmark']['rows']
        if (row['model'], row['engine'], row['persons'], row['threads'])
        == ('swiftdiff', 'fp32', 1, 1)
    )
    told = f'median {row["median_ms"]:.1f} ms, p99 {row["p99_ms"]:.1f} ms on one CPU core'
    return Found(told, row['fastest_ms'] - 20.0, row['slowest_ms'] - 20.0)


ABLATIONS, MOE, TEACHER = 'ablations', 'moe_ablations', 'teacher_ablations'


def _row(source: str, text: str, file: str, better: str, worse: str) -> Claim:
    return Claim(source, text, file, rows_differ(file, better, worse), f'{file}.md')


def _policy(text: str, worse: str, measure: str = 'success_rate', better: str = 'vdd') -> Claim:
    judge = policies_differ(better, worse, measure)
    return Claim(f'{VDD}, experiments', text, 'avoiding', judge, 'behaviour.md')


CLAIMS = (
    Claim(
        SWIFTDIFF, 'One step loses no accuracy against the diffusion teacher',
        'evaluation_neighbours', student_keeps_accuracy, 'results.md',
    ),
    Claim(
        SWIFTDIFF, 'A prediction takes under 20 ms (the paper: on an RTX 3080)',
        'benchmark', one_call_is_fast, 'results.md',
    ),
    _row(SWIFTDIFF, 'Two distillations are better than one', ABLATIONS,
         'pairs_one_step', 'pairs_ddim_25'),
    _row(SWIFTDIFF, 'In the whole recipe, two distillations are better than one', ABLATIONS,
         'base_two_stages', 'base_one_stage'),
    _row(SWIFTDIFF, 'Mean square is better than KL (of softmaxes)', ABLATIONS,
         'teacher_alone', 'kl_softmax'),
    _row(SWIFTDIFF, 'Mean square is better than KL (of Gaussians)', ABLATIONS,
         'mse_4', 'kl_gaussian'),
    _row(SWIFTDIFF, 'A student of eps starts best from t* 951, not from 991', ABLATIONS,
         'eps_951', 'eps_991'),
    _row('open question', 'A student that gives x0 is better than one that gives eps', ABLATIONS,
         'base', 'eps_951'),
    _row('open question', 'A term on the real future helps the student', ABLATIONS,
         'base', 'no_real'),
    _row('open question', 'The teacher helps, beside the real futures', ABLATIONS,
         'base', 'no_match'),
    Claim(
        SWIFTDIFF, 'Bayesian optimisation finds better settings than random search',
        'tuning', search_differs, 'tuning.md',
    ),
    Claim(SWIFTDIFF, 'The MLP is as good as attention, recurrence or a graph network'),
    Claim(SWIFTDIFF, 'It needs less memory and time than its rivals on a GPU'),
    _row(TRANSFUSION, 'The published encoding and target are better than ours', TEACHER,
         'paper', 'base'),
    _row(TRANSFUSION, 'A teacher of eps is better than one of v', TEACHER, 'eps', 'base'),
    _policy('VDD as published succeeds as often as its diffusion teacher or more', 'teacher',
            better='vdd_paper'),
    _policy('VDD as published keeps as many ways as its teacher or more', 'teacher', 'entropy',
            'vdd_paper'),
    _policy('VDD with our additions succeeds as often as its teacher or more', 'teacher'),
    _policy('VDD with our additions keeps more ways than as published', 'vdd_paper', 'entropy'),
    _policy('VDD with our additions keeps more ways than the bound alone', 'vdd_bound',
            'entropy'),
    _policy('VDD succeeds more often than EM on the demonstrations', 'em'),
    _policy("VDD succeeds more often than EM on the teacher's samples", 'em_teacher'),
    _policy('VDD succeeds more often than IMC', 'imc'),
    _policy('VDD succeeds more often than consistency distillation', 'consistency'),
    _policy('VDD succeeds more often than consistency trajectories, CTM', 'ctm'),
    _policy('VDD succeeds more often than one step of the teacher', 'teacher_one'),
    _policy('VDD keeps more ways than consistency distillation', 'consistency', 'entropy'),
    Claim(f'{VDD}, toy', 'VDD loses no mode', 'toy_vdd', all_modes_found, 'vdd.md'),
    Claim(
        f'{VDD}, toy', 'VDD with the exact score is nearer than EM on data', 'toy_vdd',
        densities_differ('vdd_exact', 'em_data'), 'vdd.md',
    ),
    Claim(
        f'{VDD}, toy', "VDD with the paper's settings is nearer than with ours", 'toy_vdd',
        densities_differ('vdd_paper', 'vdd'), 'vdd.md',
    ),
    _row(f'{VDD}, motion', "VDD's bound helps a mixture of motion", MOE, 'base', 'no_score'),
    _row(f'{VDD}, motion', 'Un-noised queries (the paper) are better than noised ones', MOE,
         'unnoised', 'base'),
    _row(f'{VDD}, motion', 'A learnt gate is better than equal weights', MOE,
         'base', 'uniform_gate'),
    _row(f'{VDD}, motion', '100 experts are better than 50', MOE, 'experts_100', 'base'),
    Claim(f'{VDD}, experiments', 'The ranking holds in other tasks (pushing, stacking)'),
    Claim('check', 'The chain works for bodies that are not human'),
)  # fmt: skip
"""Claims and open questions of arXiv 2409.12456, 2307.16106 and 2406.12538, and our checks."""


def claims_page(results: Results, command: str) -> str:
    """
    Return the page.

    :param results: contents of the JSON files, by the names of the files.
    :param command: the command that makes the page.
    :raises ConfigError: if a file is missing.
    """
    body: list[list[str]] = []
    for claim in CLAIMS:
        if claim.file and claim.file not in results:
            raise ConfigError(f'--json: {claim.file}.json is missing; {claim.text!r} needs it')
        row = [claim.source, claim.text]
        if claim.judge is None:
            body.append([*row, '', '', f'**{NOT_MEASURED}**', ''])
            continue
        found = claim.judge(results)
        link = f'[{claim.page.removesuffix(".md")}]({claim.page})'
        body.append([*row, found.figures, found.shown, f'**{found.verdict}**', link])
    head = ['from', 'claim', 'measured here', 'interval', 'verdict', 'study']
    table = markdown_table(head, body).replace('---:', '---')
    return render('claims.md', TEMPLATES, command=command, table=table, results=results)


def _page(results: Sequence[Mapping[str, Any]], page: Path, images: Path, command: str) -> str:
    known = {FORMATS.get(str(result.get('format'))): result for result in results}
    if None in known:
        raise ConfigError(f'format {known[None].get("format")!r}: must be of {", ".join(FORMATS)}')
    return claims_page({name: known[name] for name in known if name}, command) + '\n'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    return write_page('studies report claims', __doc__ or '', EXAMPLE, _page, arguments)
