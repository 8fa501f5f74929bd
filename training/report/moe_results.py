"""
Write the page of the mixture of experts from its JSON: python -m training report mixture.

Every number on the page comes out of ``training evaluate``, ``training evaluate-mixture`` and
``training benchmark``, each with the command and the commit that gave it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import os
from pathlib import Path
from typing import Any

from motion_predictor.errors import ConfigError
from training.judge import calibrate, evaluate, evaluate_moe, plots, temper
from training.judge.evaluate_moe import QUANTILE, RANKS
from training.judge.speed import benchmark
from training.report.moe_plots import draw_reliability, draw_roc
from training.report.pages import write_page
from training.report.radii import calibration_section
from training.report.temperatures import temperature_section
from training.report.template import markdown_table

EXAMPLE = """\
worked example, from the root of the source tree:
  python -m training report mixture --json docs/results/data/moe_*.json --out docs/results/moe.md
"""
HEAD = """# A mixture of experts for motion

This page is written by a command; change the JSON behind it, or `training/report/moe_results.py`:

```
{command}
```

`python -m training train mixture` distils the diffusion teacher into a mixture of Gaussian experts
over a person's future ([vdd.md](vdd.md)); the weights have role `moe`, and `Predictor` and node
take them as any others. One branch of the network looks at the history, once; a second, narrow
one runs for every expert, told apart by a learned code. The mixture is over the main directions
of the whitened DCT coefficients, its covariances diagonal plus low rank: a scale for each expert,
one for each coordinate, and 32 loadings a coordinate that all experts share. All of that follows
the history.

Beyond the method of the paper the training has the log likelihood of the recordings, the distance
of the nearest expert from the real future (`moe.best`, and at the last instant `moe.best_end`), as
SwiftDiff's training has, dropout, and trackers' noise on half of the histories
(`moe.augmentation`). Afterwards the experts are widened by a temperature and their means moved
apart by a spread, by the likelihood on val; and the 50 futures that stand for the experts are
moved apart once more, by their errors on val, which leaves the density as it is
(`python -m training choose-temperature`).

It has four parts. The likelihood of the recordings comes first (`moe.likelihood_first`, 20 000
steps of 64): bound and nearest expert from the first step on put the means where they stay
behind. Covariances that follow the history and learn beside the means take over what the means
could tell, so they learn after them, alone (`moe.covariance_last`, 4000); before, their low-rank
part is the same under all histories. Then everything learns together, at a low rate, and that is
VDD's part (`moe.together_last`, 20 000): its bound, the recordings, and futures of each person by
a diffusion model that was trained on others (`moe.cross_fit`), as a teacher that is asked about
its own training gives back what it learnt there by heart. There each expert gets a point of its
own among the futures (`points_width`), which the nearest expert's term moves instead of the mean;
the points' gradient reaches the features that all share, not the means. In the end the points
learn on alone (`moe.points_last`, 15 000).

Controls, all with the same network (without points), windows, and dropout: `em_data`, maximum
likelihood on the recordings, in the same three parts of the density (20 000, 4000, 20 000);
`em_teacher`, on the one-step teacher's samples, without noise on histories; `winner`,
winner-takes-all: likelihood and nearest expert on the recordings, all to the expert whose mean is
nearest. These two are of the weights before: 10 000 steps together (`winner` with
`moe.best_end=0.5` and without fading in the first part, `moe.together_best=2`,
`moe.together_best_end=1.7` and `moe.together_fade=0.6` in the last). All have temperatures,
spreads and futures moved apart by the same rules. `consistency` is another student: the teacher's
own network in one step by consistency distillation (2000 steps of 64). `without_jump` was trained
as a former `moe`, for 5000 steps and 4000 of its covariances, without recordings whose action has
"jump", and has no temperature. [training.md](../guide/training.md) has what parts of the training
change, and what a second, better teacher does not; [moe_ablations.md](moe_ablations.md), of a
former preset, the number of experts, un-noised queries, a uniform gate and terms left out, after a
fortieth of a full training.

What this says: at equal steps VDD is ahead of maximum likelihood on recordings and on the
teacher's samples in all four best-of-50 errors, by the term of the nearest expert, and in the
likelihood of the coordinates, which is what all of them are trained by: on test .009 nats a
coordinate better than `em_data`, on both sets, .002 on val ([training.md](../guide/training.md):
runs that differ by nothing but the machine are up to .013 apart, so this is a pair of runs, not a
law). Of joints' positions in the world `em_data` is ahead, by .014 on test and .018 on val. ADE is
below SwiftDiff's, FDE and MMADE within 1 % of it, MMFDE within 3 %; in the world both are 3 and 5
% behind. Winner-takes-all on recordings is a little better in ADE and MMADE: where recordings of
the same kind are at hand, VDD's gain over it is a likelihood and the end of the future, not
accuracy on the way. The weights before, with means that the nearest expert moved and the teacher's
denoiser matched, were .033 nats worse on test, had the same errors within 2.5 % (the world's 4 %
better) and narrower radii (the medians .153 and .392 m on test for the shares of .9 and .99).
The heaviest future is a poor guess of what happens (top 1), the one that stands for all others a
better one (few 1); `~/trajectory` shows that.

```
python -m training train mixture --preset small --run runs/moe --data ...
python -m training choose-temperature --weights runs/moe/moe.safetensors --fit VAL... --json OUT
python -m training train mixture --preset small --run runs/em_data --data ... \\
    --set moe.method=em_data
# em_teacher with moe.augmentation.jitter_m=0; winner with moe.likelihood_first=0
# moe.vdd.steps=20000 moe.model.denoiser.points_width=0
```
"""
MEASURES = """APD, ADE, FDE, MMADE and MMFDE are those of [results.md](results.md), pose
relative to the root, of 50 futures. A mixture's 50 futures are its experts' means, or the points
that they have instead, moved apart, in order of weight."""
SAYS = """**nats a coordinate**: mean negative log density of what really happened, divided by
the number of the mixture's coordinates. These are products of the whitened state (each DCT
coefficient over its deviation on the training set) with orthonormal directions, the same for all
rows; lower is better.
**of a joint**: the same of where all joints were in the world, in metres, 0.2, 0.5, 1, 1.5 and 2 s
ahead: negative log density of the whole pose, with 2 cm of noise on it, divided by its 51
coordinates, mean over the five instants.
**top k**: ADE of the best of the k heaviest experts, of other models of the first k samples.
**few k**: where only k futures are asked for, of a mixture those that stand for all others
(greedy k-medoids by weight). **nearest**: experts that were the nearest of any window; **used**:
the exponential of the entropy of how often each was. **ECE**: gap between an expert's weight and
how often it was the nearest, in ten bins of weights: near zero by construction where all experts
weigh about the same, as one bin then holds them all. **jitter**: mean length of the third
difference of joints, mm a cubed frame. Means over both sets, by windows."""

SURPRISE = f"""Surprise is the negative log density, nats a coordinate, of where the joints were
0.2 and 0.5 s after a forecast. The threshold is the {100 * QUANTILE:g} % quantile over ordinary
windows of val; false alarms are counted on ordinary windows of each split."""


def accuracy_section(result: Mapping[str, Any]) -> str:
    """
    Write the section of the samples.

    :param result: of ``training evaluate``.
    """
    parts = ['## Accuracy of 50 futures', _origin(result), MEASURES]
    head = ['pose, m', 'APD', 'ADE', 'FDE', 'MMADE', 'MMFDE', 'world ADE', 'world FDE']
    for split in _splits(result['rows']):
        rows = [r for r in result['rows'] if r['split'] == split and r['set'] in ('both', 'all')]
        body = [
            [
                row['model'] if row['role'] == 'moe' else plots.shown_name(row),
                *(f'{row["pose"][n]:.3f}' for n in ('apd', 'ade', 'fde', 'mmade', 'mmfde')),
                *(f'{row["world"][n]:.3f}' for n in ('ade', 'fde')),
            ]
            for row in rows
            if row['role'] != 'baseline' or row['model'] == 'zero_velocity'
        ]
        if body:
            parts += [f'### {split}, {rows[0]["windows"]} windows', markdown_table(head, body)]
    return '\n\n'.join(parts)


def mixture_section(result: Mapping[str, Any], page: Path, images: Path) -> str:
    """
    Write the section of what the mixtures say beyond their samples.

    :param result: of ``training evaluate-mixture``.
    :param page: the page's path, from which the figures are linked.
    :param images: folder that gets them.
    """
    parts = ['## Weights and likelihood', _origin(result), SAYS]
    head = ['model', 'nats a coordinate', 'of a joint', *(f'top {k}' for k in RANKS)]
    head += [*(f'few {k}' for k in RANKS), 'experts', 'nearest', 'used', 'ECE', 'jitter']
    tempered = {
        entry['model']: ', '.join(
            f'{entry.get(name, 1.0):g}' for name in ('temperature', 'spread', 'apart')
        )
        for entry in result['models']
    }
    head.insert(1, 'temperature, spread, apart')
    scored = [row for row in result['rows'] if row['set'] != 'surprise']
    for split in _splits(scored):
        body: list[list[str]] = []
        models = dict.fromkeys(row['model'] for row in scored)
        for model in models:
            rows = [
                {**r, 'ece': r.get('reliability', {}).get('ece')}
                for r in scored
                if r['split'] == split and r['model'] == model
            ]
            if not rows:
                continue
            mixture = rows[0]['role'] == 'moe'
            body.append(
                [
                    model,
                    tempered[model] if mixture else '',
                    f'{_mean(rows, "nll_per_coordinate"):.3f}' if mixture else '',
                    f'{_mean(rows, "position_nll"):.3f}' if mixture else '',
                    *(f'{_mean(rows, f"pose.top{k}"):.3f}' for k in RANKS),
                    *(f'{_mean(rows, f"pose.few{k}"):.3f}' for k in RANKS),
                    str(rows[0]['experts']) if mixture else '',
                    f'{_mean(rows, "experts_that_were_nearest"):.0f}' if mixture else '',
                    f'{_mean(rows, "experts_used"):.1f}' if mixture else '',
                    f'{_mean(rows, "ece"):.3f}' if mixture else '',
                    f'{1000.0 * _mean(rows, "jitter"):.3f}',
                ]
            )
        parts += [f'### {split}', markdown_table(head, body)]
    first = next((row['model'] for row in scored if row['role'] == 'moe'), None)
    drawn = draw_reliability(
        [row for row in scored if row['model'] == first],
        images / f'reliability_{Path(str(first)).name}.svg',
    )
    parts.append(f'![How often experts of a weight were the nearest]({_link(drawn, page)})')
    surprises = [row for row in result['rows'] if row['set'] == 'surprise']
    if surprises:
        parts += ['### Threshold of surprise', SURPRISE, _surprise_table(surprises)]
    return '\n\n'.join(parts)


def surprise_section(result: Mapping[str, Any], page: Path, images: Path) -> str:
    """
    Write the section of who does what the model never saw; '' where nothing was measured.

    :param result: of ``training evaluate-mixture``.
    """
    rows = [row for row in result['rows'] if row['set'] == 'surprise']
    if not rows:
        return ''
    parts = [
        '## Motion that the model never saw',
        _origin(result),
        SURPRISE,
    ]
    parts.append(_surprise_table(rows))
    curves = [row for row in rows if 'roc' in row and row['split'] == 'test'] or [
        row for row in rows if 'roc' in row
    ]
    if curves:
        drawn = draw_roc(curves, images / 'moe_roc.svg')
        parts.append(f'![Detection over false alarms]({_link(drawn, page)})')
    return '\n\n'.join(parts)


def _surprise_table(rows: Sequence[Mapping[str, Any]]) -> str:
    head = ['model', 'split', 'threshold', 'false alarms', 'held out', 'its windows', 'detected']
    body = [
        [
            row['model'],
            row['split'],
            f'{row["threshold"]:.2f}',
            f'{100 * row["false_alarms"]:.1f} %',
            row.get('held_out', ''),
            str(row.get('held_out_windows', '')),
            f'{100 * row["detected"]:.1f} %' if 'detected' in row else '',
            f'{row["roc"]["auc"]:.3f}' if 'roc' in row else '',
        ]
        for row in rows
    ]
    return markdown_table([*head, 'AUC'], body)


def time_section(result: Mapping[str, Any]) -> str:
    """
    Write the section of times.

    :param result: of ``training benchmark``.
    """
    head = ['model', 'what', 'engine', 'threads', 'people', 'median, ms', 'p99, ms']
    names = list(dict.fromkeys(n for row in result['rows'] for n in row['times_faster_than']))
    body = [
        [
            row['model'],
            row.get('part', 'call'),
            row['engine'],
            str(row['threads']),
            str(row['persons']),
            f'{row["median_ms"]:.2f}',
            f'{row["p99_ms"]:.2f}',
            *(
                f'{row["times_faster_than"][n]:.2f}' if n in row['times_faster_than'] else ''
                for n in names
            ),
        ]
        for row in [*result['rows'], *result.get('networks', [])]
    ]
    parts = [
        '## Time',
        _origin(result),
        '**call**: `Predictor.predict`, 50 futures, NumPy to NumPy; **network**: from the '
        'embedded history to the states, without history and decoding. The last columns: how '
        'many times faster than those models. The machine was shared: load average before '
        f'{result["machine"]["load_before"]:.1f} on {result["machine"]["cores"]} cores.',
        markdown_table([*head, *(f'x {name}' for name in names)], body),
        outside_of_the_network(result, names),
    ]
    return '\n\n'.join(part for part in parts if part)


def outside_of_the_network(result: Mapping[str, Any], names: Sequence[str]) -> str:
    """
    Say what of a model's call is left if its network takes no time at all.

    :param result: of ``training benchmark --networks``.
    :param names: of the models that others are compared with.
    :returns: a paragraph; empty where no network was timed.
    """
    key = ('model', 'engine', 'threads', 'persons')
    networks = {tuple(r[k] for k in key): r['median_ms'] for r in result.get('networks', [])}
    found = []
    for row in result['rows']:
        at = tuple(row[k] for k in key)
        if row['model'] in names and at in networks:
            rest = row['median_ms'] - networks[at]
            if rest > 0.05 * row['median_ms']:  # below that the difference is noise
                found.append(
                    f'`{row["model"]}`, {row["threads"]} threads, {row["persons"]} people: '
                    f'{rest:.2f} of {row["median_ms"]:.2f} ms, {row["median_ms"] / rest:.1f} times'
                )
    if not found:
        return ''
    return (
        'Outside of the network (history, decoding of 50 futures), and how many times faster at '
        f'most a model with the same of both can be: {"; ".join(found)}.'
    )


def page_text(results: Sequence[Mapping[str, Any]], page: Path, images: Path, command: str) -> str:
    """
    Write the page.

    :raises ConfigError: if a result is of another command.
    """
    parts = [HEAD.format(command=command)]
    for result in results:
        kind = result.get('format')
        if kind == evaluate.FORMAT:
            parts.append(accuracy_section(result))
        elif kind == evaluate_moe.FORMAT:
            if result['settings']['held_out']:
                parts.append(surprise_section(result, page, images))
            elif result['version'] == evaluate_moe.VERSION:
                parts.append(mixture_section(result, page, images))
            else:
                raise ConfigError(
                    f'{result["command"]}: version {result["version"]}, must be '
                    f'{evaluate_moe.VERSION}; run it again'
                )
        elif kind == temper.FORMAT:
            parts.append(temperature_section(result, images, page))
        elif kind == calibrate.FORMAT:
            parts.append(calibration_section(result, images, page))
        elif kind == benchmark.FORMAT:
            parts.append(time_section(result))
        else:
            raise ConfigError(f'format {kind!r}: not of a command of this page')
    return '\n'.join(part.rstrip('\n') + '\n' for part in parts if part)


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    """Average over windows."""
    total = sum(row['windows'] for row in rows)
    return float(sum(row['windows'] * row[name] for row in rows) / total)


def _splits(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Give the splits, test first."""
    return sorted({row['split'] for row in rows}, key=lambda split: (split != 'test', split))


def _link(path: Path, page: Path) -> str:
    return Path(os.path.relpath(path, page.parent)).as_posix()


def _origin(result: Mapping[str, Any]) -> str:
    limit = result['settings'].get('limit')
    older = {
        row['model']: str(row['taken_over_from'])[:12]
        for row in result.get('rows', [])
        if 'taken_over_from' in row
    }
    names = ', '.join(f'`{name}` (commit `{commit}`)' for name, commit in older.items())
    return (
        f'```\n{result["command"]}\n```\n\nCommit `{str(result["commit"])[:12]}`'
        + (' with changes' if result['modified'] else '')
        + f', {result["date"]}.'
        + (f' **At most {limit} windows of each file.**' if limit else '')
        + (f' Taken over from an earlier evaluation: {names}.' if older else '')
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return write_page(
        'training report mixture',
        (__doc__ or '').split('\n\n', 1)[1],
        EXAMPLE,
        page_text,
        arguments,
    )
