"""
Write the results page from JSON: python -m training report results.

Every number on the page comes out of those files, each with the command, the commit and the
weights that gave it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
import os
from pathlib import Path
import sys
from typing import Any

from motion_predictor.common.files import read_json
from motion_predictor.common.whole_files import write_whole
from motion_predictor.errors import ConfigError, MotionPredictorError
from training.common import provenance
from training.common.options import about, read_options
from training.judge import calibrate, evaluate, plots, temper
from training.judge.scoring import COMPARED
from training.judge.speed import benchmark

SPREAD = ('ade_median', 'ade_worst', 'fde_median', 'fde_worst')

EXAMPLE = """\
worked example, from the root of the source tree:
  python -m training report results \\
      --json docs/results/data/evaluation.json docs/results/data/benchmark.json --out
  docs/results/results.md
"""


@dataclass(frozen=True, kw_only=True)
class ResultsOptions:
    """What ``report results`` can be told."""

    json: tuple[Path, ...]
    """Of training evaluate and training benchmark."""
    out: Path
    """The page, in Markdown; figures go to images/ beside it."""
    dry_run: bool = False
    """Say what would be written."""


MEASURES = """\
`S` futures are sampled for each window of 0.5 s observed and 2 s to come, one window every half \
second of every clip; constant predictions give one. The **pose** is relative to the root, the \
root joint left out (16 joints); the **world** has the root's motion in (17 joints). A frame's \
error is the L2 norm of all its coordinates together, in metres (this field's habit; a quarter of \
a pose's error is the root mean square over its 16 joints).

- **APD**: mean distance between pairs of samples, over whole futures: how varied they are.
- **ADE**, **FDE**: error of the sample that is nearest to what happened, mean over the frames \
and at the last frame.
- **MMADE**, **MMFDE**: the same against every future that followed a last observed pose nearer \
than the threshold, own future included, among all windows of the set and split.
- **median**, **worst**: ADE or FDE of a window's median and worst sample: what to expect of a \
sample that nobody picked.

In brackets: 95 % interval, drawing whole clips with replacement (overlapping windows of one clip \
are not independent). Subjects are few, and the interval does not speak for other people."""


def evaluation_section(result: Mapping[str, Any], images: Path, page: Path) -> str:
    """
    Write the section of one evaluation.

    :param result: of ``training evaluate``.
    :param images: folder of the figures, already drawn.
    :param page: the page's path, from which the figures are linked.
    """
    settings = result['settings']
    parts = ['## Accuracy', _origin(result), MEASURES]
    if settings['limit'] is not None:
        parts.append(
            f'**A rough run: at most {settings["limit"]} windows of each file were scored.**'
        )
    parts.append(
        f'{settings["samples"]} samples, seed {settings["seed"]}, threshold '
        f'{settings["multimodal_threshold_m"]:g} m, {settings["rate_hz"]:g} Hz, '
        f'{settings["observed_frames"]} + {settings["future_frames"]} frames.'
    )
    parts.append(_data_table(result))
    parts.append(_models_table(result))
    for set_name, split in _ordered(result['rows']):
        rows = [r for r in result['rows'] if (r['set'], r['split']) == (set_name, split)]
        first = rows[0]
        parts.append(
            f'### {set_name}, {split}\n\n{first["windows"]} windows of {first["clips"]} clips.'
        )
        parts += [_pose_table(rows), _world_table(rows)]
        if any('against' in row for row in rows):
            parts.append(_ratio_table(rows))
        image = images / f'horizon_{set_name}_{split}.svg'
        link = Path(os.path.relpath(image, page.parent)).as_posix()
        parts.append(f'![Error over the horizon, {set_name}, {split}]({link})')
    parts.append('Errors by action are in the JSON (`rows[].actions`).')
    return '\n\n'.join(parts)


def benchmark_section(result: Mapping[str, Any], images: Path, page: Path) -> str:
    """
    Write the section of one benchmark.

    :param result: of ``training benchmark``.
    :param images: folder of the figures, already drawn.
    :param page: the page's path, from which the figures are linked.
    """
    settings = result['settings']
    rows = result['rows']
    references = list(dict.fromkeys(name for row in rows for name in row['times_faster_than']))
    head = ['model', 'weights', 'parameters', 'engine', 'device', 'threads', 'people', 'calls']
    head += ['median ms', 'p99 ms', *(f'times faster than {name}' for name in references)]
    body: list[list[str]] = []
    for row in rows:
        p99 = (
            f'{row["p99_ms"]:.1f}'
            if row['repetitions'] >= 100
            else (f'slowest {row["slowest_ms"]:.1f}')
        )
        cells = [
            plots.shown_name(row), row['weights'], f'{row["parameters"] / 1e6:.2f} M',
            row['engine'], row['device'], str(row['threads']), str(row['persons']),
            str(row['repetitions']), f'{row["median_ms"]:.1f}', p99,
        ]  # fmt: skip
        for name in references:
            ratio = row['times_faster_than'].get(name)
            cells.append('' if ratio is None else f'{ratio:.3g}')
        body.append(cells)
    load = result['machine'].get('load_before')
    parts = [
        '## Time',
        _origin(result),
        f'One call from NumPy poses to NumPy futures, {settings["samples"]} samples a person, all '
        'models taking turns in one run. A model too slow for '
        f'{settings["repetitions"]} calls in {settings["budget_s"]:g} s made fewer; under 100 '
        'calls the slowest stands in place of the p99.'
        + ('' if load is None else f' Load average before the run: {load:.2f}.'),
        markdown_table(head, body),
    ]
    if result.get('weighing'):
        parts += _weighing_table(result['weighing'])
    if result.get('node'):
        parts.append(
            '**In the node**, in the same run: a replay process, the node and a subscriber over '
            'DDS, one person at 30 Hz; from the stamp of a pose to the publication of its '
            'prediction. *Drift*: median of the last third of the run less that of the first, '
            'what a growing backlog would add.'
        )
        head = ['model', 'Hz in', 'Hz out', 'frames in', 'predictions out', 'median ms', 'p99 ms']
        head += ['one frame ms', 'drift ms']
        body = [
            [
                row['model'], f'{row["rate_in_hz"]:.1f}', f'{row["rate_out_hz"]:.1f}',
                str(row['frames_in']), str(row['predictions_out']), f'{row["median_ms"]:.1f}',
                f'{row["p99_ms"]:.1f}', f'{row["frame_period_ms"]:.1f}',
                f'{row["drift_ms"]:+.1f}',
            ]
            for row in result['node']
        ]  # fmt: skip
        parts.append(markdown_table(head, body))
    if result['unavailable']:
        parts.append('Not available here: ' + '; '.join(result['unavailable']) + '.')
    link = Path(os.path.relpath(images / 'latency.svg', page.parent)).as_posix()
    parts.append(f'![Time of one prediction]({link})')
    return '\n\n'.join(parts)


def _weighing_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    calls = {
        'model': 'the model alone',
        'weigh': 'weighing, all of it',
        'search': 'of it, finding the like and what followed',
    }
    head = ['model', 'call', 'people', 'minutes remembered', 'median ms', 'p99 ms', 'of the model']
    body = [
        [
            row['model'], calls[row['call']], str(row['persons']), f'{row["remembered_min"]:g}',
            f'{row["median_ms"]:.2f}', f'{row["p99_ms"]:.2f}', f'{row["of_model"]:.2f}',
        ]
        for row in rows
    ]  # fmt: skip
    text = (
        '**Weighing**, in the same run, on one thread: what is added to a call of the model, with '
        'so much of one person remembered, and its share of a call of the model alone.'
    )
    return [text, markdown_table(head, body)]


def calibration_section(result: Mapping[str, Any], images: Path, page: Path) -> str:
    """
    Write the section of one calibration.

    :param result: of ``training calibrate``.
    :param images: not used: tables alone.
    :param page: not used.
    """
    settings, rows = result['settings'], result['rows']
    fitted = ', '.join(f'`{name}`' for name in settings['fitted_on'])
    head = ['data', 'windows', 'asked', 'held', 'held, following', 'held, widening']
    head += ["held by the samples' own ball", 'median radius m', 'following m', 'widening m']
    head += ["of the samples' ball m"]
    body = [
        [
            row['data'].replace('/', ', '), str(row['windows']), f'{level["level"]:.1%}',
            f'{level["held"]:.1%}',
            *(f'{level["followed"][mode]["held"]:.1%}' for mode in ('both', 'widen')),
            f'{level["held_by_samples_ball"]:.1%}', f'{level["median_radius_m"]:.3f}',
            *(f'{level["followed"][mode]["median_radius_m"]:.3f}' for mode in ('both', 'widen')),
            f'{level["median_radius_of_samples_m"]:.3f}',
        ]
        for row in rows
        for level in row['levels']
    ]  # fmt: skip
    last = rows[-1]
    instants = list(last['levels'][0]['by_second'])
    over_time = [
        [f'{level["level"]:.1%}', *(f'{level["by_second"][s]:.1%}' for s in instants)]
        for level in last['levels']
    ]
    by_joint = [
        [joint, *(f'{level["by_joint"][number]:.1%}' for level in last['levels'])]
        for number, joint in enumerate(result['joints'])
    ]
    asked = [f'asked {level["level"]:.1%}' for level in last['levels']]
    by_subject = [
        [
            name, str(counted['windows']),
            *(
                f'{level["by_subject"][name][mode]:.1%}'
                for level in last['levels'] for mode in ('fixed', 'both', 'widen')
            ),
        ]
        for name, counted in last['levels'][0]['by_subject'].items()
    ]  # fmt: skip
    ways = [f'{one}, {way}' for one in asked for way in ('fixed', 'following', 'widening')]
    return '\n\n'.join(
        [
            '## Radii that hold',
            _origin(result),
            f'`{result["model"]}`, {settings["samples"]} samples, seed {settings["seed"]}. A real '
            'joint is *held* when it lies within the radius about the mean of the samples, in the '
            'world. The radius is a conformal factor for each joint and instant, fitted on '
            f'{fitted}, times a power of the spread of the samples '
            f'(`sqrt(trace of covariance + {settings["floor_m"]:g}^2) ^ {settings["power"]:g}`). '
            'Power and quantiles are those that, fitted on all subjects but one, held best and on '
            'average the stated share of that one. Beside it the ball that holds the same share '
            'of the samples, which is what they say uncalibrated. Windows overlap and subjects '
            'are few: what is held of other people may differ by more than the windows suggest.',
            'Therefore the node checks its radii against what the people who are there then do, '
            'and scales them until they hold what was asked (`moments.adapt`, by default `both`: '
            '*following*; `widen`: never narrower than fitted, *widening*). Here that was done '
            'over the windows of each file one after the other, a check counting when its instant '
            'has come, and each file begun anew; `predict/radius.py` does both.',
            markdown_table(head, body),
            f'By subject, {last["data"].replace("/", ", ")}:',
            markdown_table(['subject', 'windows', *ways], by_subject),
            f'By instant, seconds ahead, {last["data"].replace("/", ", ")}:',
            markdown_table(['asked', *instants], over_time),
            f'By joint, {last["data"].replace("/", ", ")}:',
            markdown_table(['joint', *asked], by_joint),
        ]
    )


def temperature_section(result: Mapping[str, Any], images: Path, page: Path) -> str:
    """
    Write the section of the choice of a temperature.

    :param result: of ``training choose-temperature``.
    :param images: not used: a table alone.
    :param page: not used.
    """
    settings = result['settings']
    fitted = ', '.join(f'`{name}`' for name in settings['fitted_on'])
    if 'nll' in result['rows'][0]:
        return _mixture_temperature(result, fitted)
    wanted = settings['teacher_apd']
    rule = (
        'that of the smallest error (mean of ADE, FDE, MMADE and MMFDE, each over its value '
        'at the first)'
        if wanted is None
        else f"the lowest at which the samples differ as much as the teacher's ({wanted:.3f} m)"
    )
    head = [*(name.split('.')[1].upper() for name in temper.MEASURES[:5]), 'world ADE']
    head = ['temperature', *head, 'world FDE', 'taken']
    body = [
        [
            f'{row["temperature"]:g}',
            *(f'{row[name]:.3f}' for name in temper.MEASURES),
            'yes' if row['temperature'] == result['chosen'] else '',
        ]
        for row in result['rows']
    ]
    return '\n\n'.join(
        [
            '## Temperature',
            _origin(result),
            f'`{result["model"]}`: deviation of the noise that its samples start from, chosen on '
            f'{fitted}, {settings["samples"]} samples, seed {settings["seed"]}: {rule}.',
            markdown_table(head, body),
        ]
    )


def _mixture_temperature(result: Mapping[str, Any], fitted: str) -> str:
    rows = {(row['temperature'], row['spread']): row['nll'] for row in result['rows']}
    temperatures = sorted({temperature for temperature, _ in rows})
    spreads = sorted({spread for _, spread in rows})
    taken = (result['chosen'], result['spread'])
    body = [
        [
            f'{t:g}',
            *(f'{rows[t, s]:.4f}' + (' (taken)' if (t, s) == taken else '') for s in spreads),
        ]
        for t in temperatures
    ]
    return '\n\n'.join(
        [
            '## Temperature and spread',
            _origin(result),
            f"`{result['model']}`: what its experts' deviations (temperature) and their means' "
            "distances from the mixture's mean (spread) are multiplied by, chosen on "
            f'{fitted}: those at which what really happened was the least unlikely (nats a '
            'coordinate).',
            markdown_table(['temperature', *(f'spread {s:g}' for s in spreads)], body),
            *_moved_apart(result),
        ]
    )


def _moved_apart(result: Mapping[str, Any]) -> list[str]:
    rows, settings = result.get('apart_rows', []), result['settings']
    if not rows:
        return []
    measures = [name for name in rows[0] if '.' in name]
    body = [
        [
            f'{row["apart"]:g}' + (' (taken)' if row['apart'] == result['apart'] else ''),
            *(f'{row[name]:.3f}' for name in measures),
        ]
        for row in rows
    ]
    return [
        'What the futures that stand for the experts are moved apart by beyond that, the density '
        f'staying as it is: {settings["samples"]} of them, metres; the smallest mean of ADE, FDE, '
        'MMADE and MMFDE, each over its value in the first row.',
        markdown_table(['apart', *measures], body),
    ]


def noise_section(results: Sequence[Mapping[str, Any]]) -> str:
    """
    Write the section of evaluations behind a noisy tracker.

    :param results: of ``training evaluate --tracker-noise``.
    """
    parts = [
        '## Behind a noisy tracker',
        'White noise of this deviation on every coordinate of every observed joint, at the '
        "model's rate; what then happens is scored without it. Depth cameras have about a "
        'centimetre, marker systems a millimetre.',
    ]
    names = (
        'pose.apd',
        'pose.ade',
        'pose.fde',
        'pose.mmade',
        'pose.mmfde',
        'world.ade',
        'world.fde',
    )
    for result in results:
        body = []
        for set_name, split in _ordered(result['rows']):
            if split != 'test':
                continue
            for row in result['rows']:
                if (row['set'], row['split']) == (set_name, split):
                    values = [row[part][name] for part, name in (n.split('.') for n in names)]
                    body.append(
                        [plots.shown_name(row), set_name, *(f'{value:.3f}' for value in values)]
                    )
        head = ['test', 'set', *(name.split('.')[1].upper() for name in names[:5])]
        parts += [
            f'### {1e3 * result["settings"]["tracker_noise_m"]:g} mm',
            _origin(result),
            markdown_table([*head, 'world ADE', 'world FDE'], body),
        ]
    return '\n\n'.join(parts)


SECTIONS: dict[str, Callable[[Mapping[str, Any], Path, Path], str]] = {
    evaluate.FORMAT: evaluation_section,
    temper.FORMAT: temperature_section,
    calibrate.FORMAT: calibration_section,
    benchmark.FORMAT: benchmark_section,
}


def write_page(results: Sequence[Mapping[str, Any]], page: Path, command: str) -> None:
    """
    Write the page and its figures.

    :param results: of evaluations and benchmarks; evaluations come first on the page, those
        behind a noisy tracker after the others.
    :param page: the Markdown file; figures go to ``images`` beside it.
    :param command: what made the page.
    """
    images = page.parent / 'images'
    order = list(SECTIONS)
    sections: list[str] = []
    behind_noise = [result for result in results if is_noisy(result)]
    plain = [result for result in results if not is_noisy(result)]
    for result in sorted(plain, key=lambda result: order.index(result['format'])):
        if result['format'] == evaluate.FORMAT:
            plots.draw_horizons(result, images)
        elif result['format'] == benchmark.FORMAT:
            plots.draw_latencies(result, images)
        section = SECTIONS[result['format']](result, images, page)
        if sum(other['format'] == result['format'] for other in plain) > 1 and 'model' in result:
            heading, rest = section.split('\n', 1)
            section = f'{heading}: {result["model"]}\n{rest}'
        sections.append(section)
        if result['format'] == evaluate.FORMAT and behind_noise:
            sections.append(noise_section(behind_noise))
    intro = (
        '# Results\n\n'
        'This page is written by a command; change the JSON behind it, not the page:\n\n'
        f'```\n{command}\n```'
    )
    page.parent.mkdir(parents=True, exist_ok=True)
    write_whole(page, '\n\n'.join([intro, *sections]) + '\n')


def is_noisy(result: Mapping[str, Any]) -> bool:
    """Tell whether a result is an evaluation behind a noisy tracker."""
    return bool(result.get('settings', {}).get('tracker_noise_m'))


def read_result(path: Path) -> dict[str, Any]:
    """
    Read the JSON of an evaluation, a temperature, a calibration or a benchmark.

    :raises ConfigError: if it is none of these.
    """
    result = read_json(path, ConfigError)
    if not isinstance(result, dict) or result.get('format') not in SECTIONS:
        raise ConfigError(
            f'{path}: not of training evaluate, temper, calibrate or benchmark; '
            f'"format" must be one of {", ".join(SECTIONS)}'
        )
    modules = (evaluate, temper, calibrate, benchmark)
    known = {module.FORMAT: module.VERSION for module in modules}
    if result.get('version') != known[result['format']]:
        raise ConfigError(
            f'{path}: version {result.get("version")}, this command reads '
            f'{known[result["format"]]}; run the command that made it again'
        )
    return result


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table: the first column to the left, numbers to the right."""
    lines = [f'| {" | ".join(head)} |', '|---' + '|---:' * (len(head) - 1) + '|']
    lines += [f'| {" | ".join(cell.replace("|", "/") for cell in row)} |' for row in rows]
    return '\n'.join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :param arguments: the words after ``python -m training report results``.
    :returns: the exit code: 0, or 2 when a file cannot be used.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = read_options(
        ResultsOptions, 'training report results', about(__doc__), EXAMPLE, words
    )
    try:
        results = [read_result(path) for path in options.json]
        counted = Counter(
            (result['format'], result.get('model')) for result in results if not is_noisy(result)
        )
        for (one, model), count in counted.items():
            if count > 1:
                of = f' of {model}' if model else ''
                raise ConfigError(f'--json: {count} files of format {one!r}{of}; give one of each')
        if any(map(is_noisy, results)) and all(
            result['format'] != evaluate.FORMAT or is_noisy(result) for result in results
        ):
            raise ConfigError('--json: an evaluation without --tracker-noise must be among them')
    except MotionPredictorError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    if options.dry_run:
        for path, result in zip(options.json, results, strict=True):
            print(f'{path}: {result["format"]}, {len(result["rows"])} rows')
        return 0
    write_page(results, options.out, provenance.command_line('training report results', words))
    print(f'written: {options.out}')
    return 0


def _origin(result: Mapping[str, Any]) -> str:
    machine = result['machine']
    where = f'{machine["processor"]}, {machine["cores"]} cores'
    if machine['accelerator']:
        where += f', {machine["accelerator"]}'
    if 'threads' in machine:
        where += f', {machine["threads"]} threads'
    commit = result['commit'] or 'unknown (no git checkout)'
    changed = ', with uncommitted changes' if result['modified'] else ''
    return (
        f'```\n{result["command"]}\n```\n\n'
        f'Commit `{commit}`{changed}, {result["date"]}; {where}; PyTorch {machine["torch"]}, '
        f'Python {machine["python"]}.'
    )


def _data_table(result: Mapping[str, Any]) -> str:
    rows: list[list[str]] = []
    for data in result['data']:
        label = f'{data["set"]}/{data["split"]}'
        sets = result['neighbours'][label]
        rows.append([
            f'`{data["file"]}`', data['set'], data['split'], str(data['scored']),
            str(data['clips']), str(len(data['subjects'])), f'{sets["mean"]:.1f}',
            f'{100.0 * sets["alone"]:.0f} %', f'`{data["sha256"][:12]}`',
        ])  # fmt: skip
    head = ['data', 'set', 'split', 'windows', 'clips', 'subjects', 'multimodal set, mean']
    return markdown_table([*head, 'alone in it', 'SHA-256'], rows)


def _models_table(result: Mapping[str, Any]) -> str:
    rows: list[list[str]] = []
    for model in result['models']:
        if model['role'] == 'baseline':
            continue
        commits = list(dict.fromkeys(c for p in model['predictions'] for c in p['commits']))
        rows.append([
            plots.shown_name(model), f'`{model["file"]}`', f'`{model["sha256"][:12]}`',
            f'{model["parameters"] / 1e6:.2f} M', f'{model["engine"]}, {model["device"]}',
            ', '.join(f'`{str(commit)[:12]}`' for commit in commits),
            f'{sum(p["wall_s"] for p in model["predictions"]):.0f} s',
        ])  # fmt: skip
    if not rows:
        return 'Baselines alone: no weights were given.'
    head = ['model', 'weights', 'SHA-256', 'parameters', 'engine', 'predicted at commit']
    table = markdown_table([*head, 'prediction took'], rows)
    older = {
        row['model']: row['taken_over_from'] for row in result['rows'] if 'taken_over_from' in row
    }
    for model, commit in older.items():
        table += (
            f'\n\nThe rows of `{model}` are taken over from the evaluation at commit '
            f'`{str(commit)[:12]}`: same weights, data and settings. Ratios to them have no '
            'interval.'
        )
    return table


def _pose_table(rows: Sequence[Mapping[str, Any]]) -> str:
    head = ['pose, m', 'APD', 'ADE', 'FDE', 'MMADE', 'MMFDE', 'ADE median', 'ADE worst']
    body = [
        [
            plots.shown_name(row),
            f'{row["pose"]["apd"]:.3f}',
            _with_interval(row, 'pose', 'ade'),
            _with_interval(row, 'pose', 'fde'),
            *(
                f'{row["pose"][name]:.3f}'
                for name in (
                    'mmade',
                    'mmfde',
                    'ade_median',
                    'ade_worst',
                    'fde_median',
                    'fde_worst',
                )
            ),
        ]
        for row in rows
    ]
    return markdown_table([*head, 'FDE median', 'FDE worst'], body)


def _world_table(rows: Sequence[Mapping[str, Any]]) -> str:
    head = ['world, m', 'ADE', 'FDE', 'ADE median', 'ADE worst', 'FDE median', 'FDE worst']
    body = [
        [
            plots.shown_name(row),
            _with_interval(row, 'world', 'ade'),
            _with_interval(row, 'world', 'fde'),
            *(f'{row["world"][name]:.3f}' for name in SPREAD),
        ]
        for row in rows
    ]
    return markdown_table(head, body)


def _with_interval(row: Mapping[str, Any], part: str, name: str) -> str:
    low, high = row['interval95'][f'{part}.{name}']
    return f'{row[part][name]:.3f} ({low:.3f} to {high:.3f})'


def _ratio_table(rows: Sequence[Mapping[str, Any]]) -> str:
    names = COMPARED
    head = ['error over that of the teacher']
    head += [f'{part} {measure.upper()}' for part, measure in (n.split('.') for n in names)]
    body: list[list[str]] = []
    for row in rows:
        if 'against' not in row:
            continue
        cells = [f'{plots.shown_name(row)} / {row["against"]["model"]}']
        for name in names:
            found = row['against'][name]
            text = f'{found["ratio"]:.3f}'
            if found['interval95'] is not None:
                low, high = found['interval95']
                text += f' ({low:.3f} to {high:.3f})'
            cells.append(text)
        body.append(cells)
    return markdown_table(head, body)


def _ordered(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Put test before the other splits, and all sets together before each alone."""
    return sorted(
        plots.sets_and_splits(rows),
        key=lambda pair: (pair[1] != 'test', pair[1], pair[0] not in ('both', 'all'), pair[0]),
    )
