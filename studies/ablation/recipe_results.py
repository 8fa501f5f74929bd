"""
Write the pages of tuning and ablations from their JSON: python -m studies report recipe.

Every number and every verdict on the pages comes out of those files.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, MISSING, replace
from pathlib import Path
import sys
from typing import Any

import numpy as np

from motion_predictor.common.files import read_json
from motion_predictor.common.whole_files import write_whole
from motion_predictor.errors import ConfigError, MotionPredictorError
from studies.ablation import ablate, ablate_moe, ablate_teacher
from studies.ablation.rows import Study
from studies.tune import tune
from studies.tune.studies import completed, hypervolume
from training.common import provenance
from training.engine.config import as_plain, preset
from training.report.results import markdown_table

EXAMPLE = """\
worked example, from the root of the source tree:
  python -m studies report recipe --json docs/results/data/tuning.json --out docs/results/tuning.md
  python -m studies report recipe --json docs/results/data/ablations.json \\
      --out docs/results/ablations.md
  python -m studies report recipe --json docs/results/data/teacher_ablations.json \\
      --out docs/results/teacher_ablations.md
  python -m studies report recipe --json docs/results/data/moe_ablations.json \\
      --out docs/results/moe_ablations.md
"""
ERROR = (
    'The *error* is the mean, over ADE, FDE, MMADE and MMFDE of the root-relative pose and over '
    "the sets, of the ratio to the one-step teacher's on the same windows: below 1 is better than "
    'what the student was distilled from.'
)
AT_EQUAL_VARIETY = (
    '**At equal variety.** The best of many samples gains from their variety, and students differ '
    'in it. So every student is scored at the temperature at which its samples differ as much as '
    "the diffusion teacher's do (APD on windows of val, DDIM of 100 steps), which is also what "
    '`training choose-temperature` gives the student that is shipped.'
)
MEASURES = ('ade', 'fde', 'mmade', 'mmfde', 'apd')


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Something that one row being better than another would show."""

    text: str
    better: str
    worse: str


CLAIMS = (
    Claim(
        text='Two stages are better than one (the paper), the same number of fixed pairs each',
        better='pairs_one_step',
        worse='pairs_ddim_25',
    ),
    Claim(
        text='Two stages are better than one, as the second has new noise in every step',
        better='teacher_alone',
        worse='pairs_ddim_25',
    ),
    Claim(
        text="In the whole recipe too: the one-step teacher alone, the DDIM's pairs alone",
        better='base_two_stages',
        worse='base_one_stage',
    ),
    Claim(
        text='There, both together are better than the one-step teacher alone',
        better='base',
        worse='base_two_stages',
    ),
    Claim(
        text="... and than the DDIM's pairs alone",
        better='base',
        worse='base_one_stage',
    ),
    Claim(
        text='Mean square is better than KL (the paper), KL of softmaxes',
        better='teacher_alone',
        worse='kl_softmax',
    ),
    Claim(
        text='Mean square is better than KL (the paper), KL of Gaussians fitted to samples',
        better='mse_4',
        worse='kl_gaussian',
    ),
    Claim(
        text='A student that gives x0 is better than one of eps', better='base', worse='eps_991'
    ),
    Claim(
        text='A student of eps is better from less noise: t* 951 (the paper) against 991',
        better='eps_951',
        worse='eps_991',
    ),
    Claim(text='... t* 801 against 951', better='eps_801', worse='eps_951'),
    Claim(
        text="The DDIM's end point is a better target than the teacher's own x0",
        better='pairs_ddim_25',
        worse='pairs_x0',
    ),
    Claim(
        text='100 DDIM steps behind the target are better than 25',
        better='pairs_ddim_100',
        worse='pairs_ddim_25',
    ),
    Claim(text='25 DDIM steps are better than 5', better='pairs_ddim_25', worse='pairs_ddim_5'),
    Claim(
        text='The recipe is better than matching the teacher alone (the paper)',
        better='base',
        worse='teacher_alone',
    ),
    Claim(text='The best-of-S term on the real future helps', better='base', worse='no_real'),
    Claim(text='The energy score helps', better='base', worse='no_spread'),
    Claim(text='The teacher helps, beside the real futures', better='base', worse='no_match'),
    Claim(text='Twice the width is better', better='width_double', worse='base'),
    Claim(text='Half the width is worse', better='base', worse='width_half'),
    Claim(text='Depth 5 is better than 3', better='base', worse='depth_3'),
    Claim(text='Depth 1 is worse than 5', better='base', worse='depth_1'),
)


def verdict(better: Sequence[float], worse: Sequence[float]) -> str:
    """
    Judge by the seeds whether one thing's error is below another's.

    :param better: errors of what should be lower, one a seed.
    :param worse: of the other.
    :returns: 'holds', 'does not hold' or 'undecided': the seeds overlap, or are too few.
    """
    if min(len(better), len(worse)) < 2:
        return 'undecided (one seed)'
    if max(better) < min(worse):
        return 'holds'
    if min(better) > max(worse):
        return 'does not hold'
    return 'undecided (seeds overlap)'


def with_spread(values: Sequence[float], digits: int = 3) -> str:
    """Write a mean and half of the range of the seeds."""
    if len(values) < 2:
        return f'{values[0]:.{digits}f}'
    half = 0.5 * (max(values) - min(values))
    return f'{np.mean(values):.{digits}f} ± {half:.{digits}f}'


def tuning_page(result: Mapping[str, Any], command: str) -> str:
    """Write the page of ``studies tune``."""
    limits, summary = result['budget'], result['summary']
    trials = {row['number']: row for row in result['gp']}
    random = {row['number']: row for row in result['random']}
    asked = [row for row in result['gp'] if row['state'] in ('complete', 'pruned')]
    chosen_by_gp = max(0, len(completed(asked)) - limits['startup'])
    space = [
        [
            f'`swiftdiff.{one["name"]}`',
            f'{one["low"]:g} to {one["high"]:g}',
            f'steps of {one["step"]}' if one['step'] else 'log' if one['log'] else 'linear',
            shown(trials[result['default']]['params'][one['name']]),
            one['why'],
        ]
        for one in result['space']
    ]
    parts = [
        '# Bayesian optimisation of stage 2',
        f'This page is written by a command; change the JSON behind it, or '
        f'`studies/ablation/recipe_results.py`:\n\n```\n{command}\n```',
        origin(result),
        'The Gaussian-process sampler of Optuna (expected hypervolume improvement) with two '
        f'objectives, both to be small: the error on val ({", ".join(result["val"])}), and the '
        'time of one `Predictor` call, one person, one thread, on this device. ' + ERROR,
        AT_EQUAL_VARIETY,
        f'A time is the median of {limits["repetitions"]} calls, in processor time, taking turns '
        "with the default's network; the ratio to it counts, so that a busy hour is no slow "
        'network.' + quick_enough(limits),
        f'**Budget.** {limits["windows"]} windows a trial, so a larger batch means fewer steps, '
        f'from a pool of {limits["pool"]}; {limits["samples"]} samples for at most '
        f'{limits["limit"]} windows of each file. The default settings come first, then random '
        f'ones until {limits["startup"]} trials are complete, then the Gaussian process is asked; '
        'the control draws the same random ones and goes on drawing. **This is far less than '
        'a full training**: what is best after so few steps (a high learning rate, a small '
        'network) need not be best in the end.',
        f'**Pruning.** Optuna prunes by one objective alone (`should_prune` refuses two), so it '
        f'is done here: after {" and ".join(f"{one:.0%}" for one in limits["rungs"])} of a trial '
        f'it is given up unless its error is among the best {limits["keep"]:.0%} of the trials '
        f'that are no slower, once there are {limits["fewest"]}. The Gaussian process is told of '
        'such a trial what it would have ended with, by the median of how the complete ones went '
        'on: of what it is not told it asks again.',
        markdown_table(['setting', 'range', 'kind', 'default', 'why'], space),
        'Fixed: `real` = 1, to which the other weights are relative; the samples S; t* and what '
        'the network gives (see [ablations](ablations.md)); augmentation; dropout and weight '
        'decay, as what is trained for so short does not overfit. The architecture is the '
        "preset's.",
        '## What was found',
        markdown_table(
            ['study', 'trials', 'pruned', 'failed', 'lowest error', 'its ms', 'hypervolume'],
            [
                study_cells('Gaussian process', summary['gp'], trials),
                study_cells('random', summary['random'], random),
                [
                    'default, untuned', '1', '0', '0',
                    f'{trials[result["default"]]["error"]:.4f}',
                    f'{trials[result["default"]]["latency_ms"]:.2f}',
                    f'{hypervolume([trials[result["default"]]], result["worst"]):.4f}',
                ],
            ],
        ),
        f'Hypervolume below error {result["worst"][0]:.3f} and {result["worst"][1]:.2f} ms; more '
        f'is better. The Gaussian process chose {chosen_by_gp} of the completed trials itself.',
    ]  # fmt: skip
    parts.append('The front of the Gaussian process, from fast to slow:')
    head = ['trial', 'error', 'ms', *(f'`{one["name"]}`' for one in result['space'])]
    parts.append(
        markdown_table(
            head,
            [
                [
                    str(number), f'{trials[number]["error"]:.4f}',
                    f'{trials[number]["latency_ms"]:.2f}',
                    *(shown(value) for value in trials[number]['params'].values()),
                ]
                for number in summary['gp']['front']
            ],
        )
    )  # fmt: skip
    parts += confirmation(result, chosen_by_gp)
    parts.append(
        '## The two off the front of both studies\n\n`swiftdiff` is the lowest error of all that '
        'was tried, `swiftdiff_balance` the lowest error within '
        f'{result["balance"]:.0%} of its time. '
        '[training.md](../guide/training.md) says what they gave at '
        'full length.'
    )
    named = {'gp': 'Gaussian process', 'random': 'random'}
    parts.append(
        markdown_table(
            ['', 'study', 'trial', 'error', 'ms'],
            [
                [
                    f'`{role}`', named[row['study']], str(row['number']), f'{row["error"]:.4f}',
                    f'{row["latency_ms"]:.2f}',
                ]
                for role, row in result['deployed'].items()
            ],
        )
    )  # fmt: skip
    parts.append(
        '`python -m studies tune --export` prints the commands that train both at the full '
        'budget of the preset, from a run folder with the one-step teacher, and leaves their '
        'settings in the run folder; `python -m training export --only swiftdiff` then writes '
        'the weights file.'
    )
    scores = result['importance'][0]
    if scores:
        ordered = sorted(scores, key=lambda name: -scores[name])
        parts.append(
            '## Importance\n\nOptuna (PED-ANOVA), for a low error: '
            + ', '.join(f'`{name}` {scores[name]:.2f}' for name in ordered)
            + f'. Of {len(completed(result["gp"]))} completed trials, so roughly.'
        )
    titles = {
        'tuning_front_gp.svg': 'Pareto front, Gaussian process',
        'tuning_front_random.svg': 'Pareto front, random',
        'tuning_hypervolume_gp.svg': 'Hypervolume by trial, Gaussian process',
        'tuning_hypervolume_random.svg': 'Hypervolume by trial, random',
        'tuning_importance.svg': 'Importance for the error',
        'tuning_history.svg': 'Error by trial, both studies',
    }
    parts += [f'![{titles[name]}](images/{name})' for name in result['figures']]
    return '\n\n'.join(parts) + '\n'


def quick_enough(limits: Mapping[str, Any]) -> str:
    """Say from where on the sampler is told that faster is no better, where it is."""
    share = limits.get('enough', 0.0)
    if not share:
        return ''
    return (
        f" A network faster than {share:.0%} of the default's time is told to the sampler as one "
        'that takes that, in the hypervolume too: the times differ little, and a search for the '
        'fastest is no search for the best.'
    )


def study_cells(
    label: str, summary: Mapping[str, Any], rows: Mapping[int, Mapping[str, Any]]
) -> list[str]:
    """Write a study's line."""
    best = rows[summary['picked']['swiftdiff']]
    return [
        label,
        str(summary['trials']),
        str(summary['pruned']),
        str(summary['failed']),
        f'{best["error"]:.4f}',
        f'{best["latency_ms"]:.2f}',
        f'{summary["hypervolume"]:.4f}',
    ]


def confirmation(result: Mapping[str, Any], chosen_by_gp: int) -> list[str]:
    """Write what the candidates gave with fresh seeds, and the verdict."""
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for row in result['confirmed']:
        by_name.setdefault(row['candidate'], []).append(row)
    if not {'default', 'gp', 'random'} <= set(by_name):
        return [
            '## Verdict',
            'The candidates were not trained again (`--confirm`): the lowest of many noisy errors '
            'is too low to be believed, so nothing is claimed.',
        ]
    errors = {name: [row['error'] for row in rows] for name, rows in by_name.items()}
    labels = {
        'default': 'default, untuned',
        'gp': 'best of the Gaussian process',
        'random': 'best of random search',
        'balance': 'balance, of both studies',
    }
    files = list(by_name['default'][0]['scores'])
    body = [
        [
            labels[name], str(len(rows)), with_spread(errors[name], 4),
            f'{rows[0]["latency_ms"]:.2f}',
            with_spread([row['temperature'] for row in rows], 2),
            *(
                ' / '.join(
                    f'{np.mean([row["scores"][label][measure] for row in rows]):.3f}'
                    for measure in MEASURES
                )
                for label in files
            ),
        ]
        for name, rows in by_name.items()
    ]  # fmt: skip
    head = ['settings', 'seeds', 'error', 'ms', 'temperature']
    head += [f'{label}: ADE / FDE / MMADE / MMFDE / APD' for label in files]
    against_default = verdict(errors['gp'], errors['default'])
    against_random = verdict(errors['gp'], errors['random'])
    same = by_name['gp'][0]['params'] == by_name['random'][0]['params']
    lines = [
        f'Tuned below untuned: **{against_default}** '
        f'({gain(errors["gp"], errors["default"])} in the mean). '
        f'Tuned below the random control: **{against_random}** '
        f'({gain(errors["gp"], errors["random"])} in the mean).'
    ]
    if same:
        lines.append('Both studies ended with the same trial: one of their common first draws.')
    if against_default != 'holds' or against_random != 'holds':
        lines.append(
            f'Why not more can be said: the Gaussian process chose {chosen_by_gp} of its trials '
            f'in {len(result["space"])} dimensions, and seeds alone move the error by '
            f'{max(max(of) - min(of) for of in errors.values()):.4f}. More trials and longer ones '
            'are needed; the study goes on where it stopped.'
        )
    return [
        '## Verdict',
        'The lowest of many noisy errors is too low. So the candidates were trained again with '
        'seeds that chose nothing, at the same budget, and scored on '
        f'{result["confirmed_windows"]} windows of val, their samples brought to the APD of the '
        f"diffusion teacher's there, {result['confirmed_apd']:.3f} m:",
        markdown_table(head, body),
        ' '.join(lines),
    ]


def gain(mine: Sequence[float], others: Sequence[float]) -> str:
    """Write by how much one mean error is below another."""
    return f'{100.0 * (np.mean(mine) / np.mean(others) - 1.0):+.1f} %'


def shipped_sentence(
    result: Mapping[str, Any], by_row: Mapping[str, Sequence[Mapping[str, Any]]]
) -> str:
    """Say where a student of full length is, scored on the rows' windows, if there is one."""
    shipped = result.get('shipped')  # pages of before it was scored have none
    if not shipped:
        return ''
    parts = []
    for split, error in shipped['error'].items():
        means = [np.mean([found['error'][split] for found in of]) for of in by_row.values()]
        above = sum(mean > error for mean in means)
        parts.append(f'{error:.3f} on {split} (below {above} of the {len(means)} rows)')
    return (
        f' `{shipped["weights"]}`, trained in full, on the same windows: {", ".join(parts)}; '
        'that says more of the length of its training than of its recipe.'
    )


def ablations_page(result: Mapping[str, Any], command: str) -> str:
    """Write the page of ``studies ablate``."""
    limits = result['budget']
    by_row: dict[str, list[Mapping[str, Any]]] = {}
    for found in result['results']:
        by_row.setdefault(found['row'], []).append(found)
    files = list(result['reference'])
    seeds = sorted({found['seed'] for found in result['results']})
    base = result['base']
    beaten = sum(
        np.mean([found['error'].get('val', np.inf) for found in of_row]) < 1.0
        for of_row in by_row.values()
    )
    parts = [
        "# What the recipe's parts are worth",
        f'This page is written by a command; change the JSON behind it, or '
        f'`studies/ablation/recipe_results.py`:\n\n```\n{command}\n```',
        origin(result),
        f'Every row is a SwiftDiff trained on {" and ".join(result["data"])} with the settings of '
        f'preset `{result["preset"]}` but for what the row says, with {limits["windows"]} windows '
        f'({limits["windows"] // base["optim"]["batch"]} steps of '
        f'{base["optim"]["batch"]}), a pool of {limits["pool"]}, seeds '
        f'{", ".join(str(seed) for seed in seeds)}; scored with {limits["samples"]} samples on at '
        f'most {limits["limit"]} windows of each file, spread evenly. **This is a small part of a '
        'full training**: a row that learns slowly looks worse than it would end. ' + ERROR,
        AT_EQUAL_VARIETY + f' Here: {result["apd"]:.3f} m.'
        if result['apd'] is not None
        else 'Students are scored at the temperature that they were trained with, 1 (what is '
        'shipped: its own). Read with care: the error rewards the best of many samples, students '
        'of so few steps give too little variety to be brought to that of the teacher, and one '
        'whose samples all lie together can look good; APD says how varied they are.',
        f'{beaten} of the {len(by_row)} rows are below 1 on val after this budget.'
        + shipped_sentence(result, by_row),
        'In the table: mean over the seeds ± half of their range. Test is reported as it was used '
        'for nothing.',
        error_table(result, by_row),
        '## In words',
        f'*Holds*: every seed of the one row is below every seed of the other on val; with '
        f'{len(seeds)} seeds and so short a training that is a hint and no proof.',
        claims(by_row),
        'KL is not defined in what could be read of the paper: `kl_softmax` and `kl_gaussian` are '
        'two readings of it.',
    ]
    for label in files:
        parts += [f'### {label.replace("/", ", ")}', measures_table(result, by_row, label)]
    parts += [
        '## Time',
        'One `Predictor` call, one thread, processor time, medians, the networks taking turns; '
        'the teacher once.'
        if result['latency']
        else 'Nothing was timed in this run (`--no-times`).',
    ]
    if result['latency']:
        parts.append(latency_table(result))
    missing = [row['row'] for row in result['rows'] if row['row'] not in by_row]
    if missing:
        parts.append('Rows that were not run: ' + ', '.join(f'`{name}`' for name in missing) + '.')
    return '\n\n'.join(parts) + '\n'


def rows_page(result: Mapping[str, Any], command: str) -> str:
    """Write the page of ``studies ablate-teacher`` or ``studies ablate-mixture``."""
    limits = result['budget']
    by_row: dict[str, list[Mapping[str, Any]]] = {}
    for found in result['results']:
        by_row.setdefault(found['row'], []).append(found)
    seeds = sorted({found['seed'] for found in result['results']})
    title, what, how = {
        ablate_teacher.FORMAT: (
            "What the teacher's switches are worth",
            'diffusion teacher',
            f' of {limits.get("ddim_steps")} DDIM steps',
        ),
        ablate_moe.FORMAT: (
            "What the parts of the mixture's training are worth", 'mixture of experts', ''
        ),
    }[result['format']]  # fmt: skip
    parts = [
        f'# {title}',
        f'This page is written by a command; change the JSON behind it, or '
        f'`studies/ablation/recipe_results.py`:\n\n```\n{command}\n```',
        origin(result),
        f'Every row is a {what} trained on {" and ".join(result["data"])} with the '
        f'settings of preset `{result["preset"]}` but for what the row says, {limits["steps"]} '
        f'steps of {limits["batch"]}, a pool of {limits["pool"]}, seeds '
        f'{", ".join(str(seed) for seed in seeds)}; scored with {limits["samples"]} samples'
        f'{how} on at most {limits["limit"]} windows of each file, '
        'spread evenly. **This is a small part of a full training**: a row that learns slowly '
        'looks worse than it would end. The *error* is the mean, over ADE, FDE, MMADE and MMFDE '
        "of the root-relative pose and over the sets, of the ratio to the base's mean over seeds: "
        'below 1 is better than the base. Mean over the seeds ± half of their range.',
        error_table(result, by_row, what),
        *changes_since(result),
        '## In words',
        '*Holds*: every seed of the one is below every seed of the other. With few seeds and so '
        'short a training that is a hint and no proof.',
        '\n'.join(
            f'- {row["what"]} (`{row["row"]}`): better than the base **'
            f'{_split_verdict(by_row[row["row"]], by_row["base"])}**.'
            for row in result['rows']
            if row['row'] != 'base' and {'base', row['row']} <= set(by_row)
        ),
    ]
    if result['format'] == ablate_moe.FORMAT:
        parts.append(
            '*NLL*: mean negative log density of what really happened, nats a coordinate of the '
            'mixture. *USED*: the exponential of the entropy of how often each expert was the '
            'nearest.'
        )
    for label in result['reference']:
        parts += [
            f'### {label.replace("/", ", ")}',
            measures_table(result, by_row, label, 'base, mean over seeds'),
        ]
    return '\n\n'.join(parts) + '\n'


def _split_verdict(mine: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> str:
    split = 'val' if 'val' in mine[0]['error'] else next(iter(mine[0]['error']))
    first, second = ([found['error'][split] for found in of] for of in (mine, others))
    return f'{verdict(first, second)}, {gain(first, second)}'


def error_table(
    result: Mapping[str, Any],
    by_row: Mapping[str, Sequence[Mapping[str, Any]]],
    what: str = 'student',
) -> str:
    """Write the rows with their changes and errors."""
    splits = list(result['results'][0]['error'])
    tempered = 'temperature' in result['results'][0]
    body: list[list[str]] = []
    for row in result['rows']:
        found = by_row.get(row['row'])
        if not found:
            continue
        changes = ' '.join(f'`{name}={value}`' for name, value in row['changes'].items())
        body.append([
            row['what'], f'`{row["row"]}`', changes or '-',
            *(with_spread([one['error'][split] for one in found]) for split in splits),
            *([with_spread([one['temperature'] for one in found], 2)] if tempered else []),
            f'{np.mean([one["cpu_s"] for one in found]):.0f}', str(len(found)),
        ])  # fmt: skip
    head = [what, 'row', 'changed', *(f'error, {split}' for split in splits)]
    head += ['temperature'] if tempered else []
    return markdown_table([*head, 'processor s', 'seeds'], body)


def measures_table(
    result: Mapping[str, Any],
    by_row: Mapping[str, Sequence[Mapping[str, Any]]],
    label: str,
    first: str = 'one-step teacher',
) -> str:
    """
    Write the field's measures on one file.

    :param first: what the reference is.
    """
    reference = result['reference'][label]
    names = [*MEASURES, *(name for name in reference if name not in MEASURES)]
    body = [[first, *(f'{reference[name]:.3f}' for name in names)]]
    for name, found in by_row.items():
        body.append([
            f'`{name}`',
            *(
                with_spread([one['scores'][label][measure] for one in found])
                for measure in names
            ),
        ])  # fmt: skip
    return markdown_table(['row', *(name.upper() for name in names)], body)


def claims(by_row: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Write what the rows say of each claim that can be judged."""
    lines: list[str] = []
    for claim in CLAIMS:
        if not {claim.better, claim.worse} <= set(by_row):
            continue
        errors = {
            split: [
                [found['error'][split] for found in by_row[name]]
                for name in (claim.better, claim.worse)
            ]
            for split in by_row[claim.better][0]['error']
        }
        first, second = errors['val'] if 'val' in errors else next(iter(errors.values()))
        differences = ', '.join(
            f'{split} {gain(mine, others)}' for split, (mine, others) in errors.items()
        )
        signs = {np.sign(np.mean(mine) - np.mean(others)) for mine, others in errors.values()}
        judged = verdict(first, second)
        if len(signs) > 1 and not judged.startswith('undecided'):
            judged = 'undecided (the splits differ)'
        lines.append(
            f'- {claim.text}: **{judged}** (`{claim.better}` against '
            f'`{claim.worse}`: {differences}).'
        )
    return '\n'.join(lines)


def latency_table(result: Mapping[str, Any]) -> str:
    """Write the times, models by people."""
    people = sorted({row['persons'] for row in result['latency']})
    models: dict[str, dict[int, Mapping[str, Any]]] = {}
    for row in result['latency']:
        models.setdefault(row['model'], {})[row['persons']] = row
    body = [
        [
            name, f'{next(iter(of.values()))["parameters"] / 1e6:.2f} M',
            *(f'{of[count]["ms"]:.1f}' if count in of else 'not timed' for count in people),
        ]
        for name, of in models.items()
    ]  # fmt: skip
    return markdown_table(
        ['model', 'parameters', *(f'ms, batch {count}' for count in people)], body
    )


def shown(value: Any) -> str:
    """Write a setting."""
    return f'{value:.3g}' if isinstance(value, float) else str(value)


def changes_since(result: Mapping[str, Any]) -> list[str]:
    """
    Say which of the base's settings are no longer the preset's.

    :param result: JSON of an ablation by rows.
    :returns: one paragraph, or none where all are as they were.
    """
    study: Study = {s.form[0]: s for s in (ablate_teacher.STUDY, ablate_moe.STUDY)}[
        result['format']
    ]
    limits = replace(study.budget(result['preset']), **result['budget'])
    made = study.settings_of(study.rows[0], preset(result['preset']), limits, 0)
    changes = list(_changes(getattr(made, study.stage), result['base']))
    if not changes:
        return []
    return [
        '**These rows are of a former preset.** What it has changed in since, scaled to these '
        f'steps: {", ".join(changes)}.'
    ]


def _changes(config: Any, then: Mapping[str, Any], before: str = '') -> Iterator[str]:
    """Compare settings with what was written of them; what was not there had its default."""
    for name in sorted(then.keys() - {field.name for field in fields(config)}):
        yield f'`{before}{name}` {then[name]!r} -> no such setting'
    for field in fields(config):
        now, name = getattr(config, field.name), before + field.name
        default = field.default if field.default_factory is MISSING else field.default_factory()
        if is_dataclass(now):
            missing = as_plain(default) if is_dataclass(default) else {}
            yield from _changes(now, missing | then.get(field.name, {}), f'{name}.')
            continue
        was = then.get(field.name, None if default is MISSING else default)
        if was != now:
            yield f'`{name}` {was!r} -> {now!r}'


def origin(result: Mapping[str, Any]) -> str:
    """Write the command, commit and machine behind a result."""
    machine = result['machine']
    changed = ', with uncommitted changes' if result['modified'] else ''
    return (
        f'```\n{result["command"]}\n```\n\nCommit `{result["commit"]}`{changed}, '
        f'{result["date"]}; {machine["processor"]}, one thread; PyTorch {machine["torch"]}, '
        f'Python {machine["python"]}.'
    )


PAGES: dict[str, tuple[int, Callable[[Mapping[str, Any], str], str]]] = {
    tune.FORMAT: (tune.VERSION, tuning_page),
    ablate.FORMAT: (ablate.VERSION, ablations_page),
    ablate_teacher.FORMAT: (ablate_teacher.VERSION, rows_page),
    ablate_moe.FORMAT: (ablate_moe.VERSION, rows_page),
}


def read_result(path: Path) -> dict[str, Any]:
    """
    Read the JSON of ``studies tune --report`` or of one of the ablations.

    :raises ConfigError: if it is none of these.
    """
    result = read_json(path, ConfigError)
    form = result.get('format') if isinstance(result, dict) else None
    if form not in PAGES or result.get('version') != PAGES[form][0]:
        raise ConfigError(f'{path}: format {form!r}; must be one of {", ".join(PAGES)}')
    return result


def parser() -> argparse.ArgumentParser:
    """Make the command's parser."""
    made = argparse.ArgumentParser(
        prog='python -m studies report recipe',
        description=(__doc__ or '').split('\n\n', 1)[1],
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument('--json', type=Path, required=True, metavar='FILE',
                      help='of studies tune, or of an ablation')  # fmt: skip
    made.add_argument('--out', type=Path, required=True, metavar='PAGE', help='in Markdown')
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :returns: the exit code: 0, or 2 when a file cannot be used.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(words)
    try:
        result = read_result(options.json)
    except MotionPredictorError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    page = PAGES[result['format']][1](
        result, provenance.command_line('studies report recipe', words)
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(options.out, page)
    print(f'written: {options.out}')
    return 0
