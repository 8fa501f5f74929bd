# SPDX-License-Identifier: Apache-2.0
"""Score weights files on recordings: python -m training evaluate.

For every weights file and for the baselines, it measures APD, ADE, FDE, MMADE and MMFDE of the
pose relative to the root, and ADE and FDE including the root's motion, on each file and on all
files of a split together. Futures are kept in the run folder, so a killed evaluation continues
where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import sys
from typing import Any

import torch
from tqdm import tqdm

from motion_predictor.common.whole_files import require_writable
from motion_predictor.errors import ConfigError, MotionPredictorError
from motion_predictor.model.config import WindowConfig
from training.common import provenance
from training.common.options import about, read_options
from training.data.bags import bag_reading
from training.judge import metrics, plots
from training.judge.accuracy import evaluate_hidden
from training.judge.accuracy.earlier import earlier_rows, ratios_of_means
from training.judge.accuracy.evaluate_options import check, EvaluateOptions, given_skeleton
from training.judge.accuracy.models import check_skeletons, FORMAT, given_models, Model, VERSION
from training.judge.accuracy.predicting import neighbours_futures, NEIGHBOURS_NAME, predict_futures
from training.judge.baselines import BASELINES
from training.judge.scoring import (
    Alternatives,
    baseline_futures,
    compare_with,
    DataFile,
    FileScores,
    find_alternatives,
    Futures,
    Group,
    group_clusters,
    group_values,
    load_data,
    make_groups,
    score_file,
    summarise,
)

Scored = list[tuple[Model, list[FileScores]]]
Taken = dict[str, dict[str, Any]]
EXAMPLE = """\
worked example, from the root of the source tree:
  python -m training evaluate \\
    --weights resource/weights/teacher.safetensors resource/weights/swiftdiff.safetensors \\
    --data ../shared/data/cmu17/val.npz ../shared/data/uiprmd17/val.npz \\
           ../shared/data/cmu17/test.npz ../shared/data/uiprmd17/test.npz \\
    --json docs/results/data/evaluation.json --plots docs/results/images
The files' names give the rows theirs: cmu17/test.npz is set cmu17, split test; files of one split
are also scored together ('both'), with multimodal sets over all of their windows.
The errors of the joints that are seen, while others are hidden:
  python -m training evaluate --weights resource/weights/swiftdiff.safetensors \\
    --data ../shared/data/cmu17/val.npz --hidden legs arm --json hidden.json
"""


def evaluate(options: EvaluateOptions, arguments: Sequence[str]) -> dict[str, Any]:
    """
    Run an evaluation.

    :param options: the options.
    :param arguments: the words that were parsed, to be recorded.
    :returns: the results, JSON-able.
    :raises MotionPredictorError: if a file cannot be used.
    """
    models, window = given_models(options)
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        raise ConfigError(f'--weights: two files of one name among {names}; rename one')
    files = load_data(
        options.data, window, options.limit, given_skeleton(options), bag_reading(options.bag)
    )
    check_skeletons(models, files)
    groups = make_groups(files)
    alternatives, neighbours = find_alternatives(files, groups)
    origin = provenance.origin(FORMAT, VERSION, 'training evaluate', arguments)
    result: dict[str, Any] = {
        **origin,
        'machine': {**origin['machine'], 'threads': torch.get_num_threads()},
        'settings': _settings(options, window),
        'data': [_facts_of_data(file) for file in files],
        'neighbours': neighbours,
        'models': [],
        'rows': [],
    }
    scored: Scored = []
    for model, futures, facts in _baselines(files, window, options):
        scored.append((model, _score(model, files, futures, alternatives, options.quiet)))
        result['models'].append(facts)
    taken: Taken = {}
    for model in models:
        found = earlier_rows(result, options.take_over, model) if options.take_over else None
        if found is not None:
            facts, rows = found
            taken[model.name] = {'role': model.role, 'rows': rows}
            result['rows'].extend(rows.values())
        elif model.path is None:
            raise ConfigError(
                f'--weights {model.name}: no such file, and the rows in {options.take_over} are '
                'of other data or settings'
            )
        else:
            futures, facts = predict_futures(model, files, window, options, origin['commit'])
            scored.append((model, _score(model, files, futures, alternatives, options.quiet)))
        result['models'].append(facts)
    times_s = [(frame + 1) / window.rate_hz for frame in range(window.future_frames)]
    result['rows'] += _rows(scored, taken, groups, files, times_s)
    order = [*BASELINES, NEIGHBOURS_NAME, *names]
    for entries in (result['rows'], result['models']):  # in the given order, taken over or not
        entries.sort(key=lambda entry: order.index(entry['model']))
    return result


def _settings(options: EvaluateOptions, window: WindowConfig) -> dict[str, Any]:
    return {
        'samples': options.samples,
        'seed': options.seed,
        'ddim_steps': options.ddim_steps,
        'limit': options.limit,
        'tracker_noise_m': options.tracker_noise,
        'multimodal_threshold_m': metrics.MULTIMODAL_THRESHOLD_M,
        'rate_hz': window.rate_hz,
        'observed_frames': window.observed_frames,
        'future_frames': window.future_frames,
    }


def _facts_of_data(file: DataFile) -> dict[str, Any]:
    return {
        'set': file.set_name,
        'split': file.split,
        'file': provenance.shown_path(file.path),
        'sha256': file.sha256,
        'windows': len(file.windows),
        'scored': len(file.chosen),
        'clips': len(file.windows.clips),
        'subjects': sorted(set(file.windows.subjects)),
    }


def _baselines(
    files: Sequence[DataFile], window: WindowConfig, options: EvaluateOptions
) -> Iterator[tuple[Model, list[Futures], dict[str, Any]]]:
    """Yield each baseline, its futures for every file, and its facts."""
    for name, (label, baseline) in BASELINES.items():
        model = Model(name, label, 'baseline', None, None, 0, window, {})
        futures = [
            baseline_futures(baseline, file, window, options.tracker_noise, options.seed)
            for file in files
        ]
        yield model, futures, {'model': name, 'label': label, 'role': 'baseline', 'samples': 1}
    if options.neighbours:
        yield neighbours_futures(files, window, options)


def _rows(
    scored: Scored,
    taken: Taken,
    groups: Sequence[Group],
    files: Sequence[DataFile],
    times_s: Sequence[float],
) -> Iterator[dict[str, Any]]:
    """Yield a row for each model and group of files; a student's is beside its teacher's."""
    teachers = [(model, scores) for model, scores in scored if model.role == 'teacher']
    for model, scores in scored:
        for group in groups:
            row: dict[str, Any] = {
                'model': model.name,
                'label': model.label,
                'role': model.role,
                **summarise(group, files, scores, times_s),
            }
            if len(teachers) == 1 and model.role in ('one_step', 'swiftdiff', 'moe'):
                teacher, teacher_scores = teachers[0]
                row['against'] = compare_with(
                    teacher.name,
                    group_values(group, scores),
                    group_values(group, teacher_scores),
                    group_clusters(group, files),
                )
            elif not teachers and model.role in ('one_step', 'swiftdiff'):
                for name, earlier in taken.items():
                    if earlier['role'] == 'teacher':
                        theirs = earlier['rows'][group.label]
                        row['against'] = ratios_of_means(name, row, theirs)
            yield row


def describe_plan(options: EvaluateOptions) -> str:
    """Return in words what an evaluation would do, without running a model."""
    models, window = given_models(options)
    files = load_data(
        options.data, window, options.limit, given_skeleton(options), bag_reading(options.bag)
    )
    check_skeletons(models, files)
    lines = [f'window: {window}']
    for group in make_groups(files):
        count = sum(len(files[i].chosen) for i in group.members)
        lines.append(f'{group.label}: {count} windows')
    for name, (label, _) in BASELINES.items():
        lines.append(f'{name}: {label}, 1 future a window')
    total = sum(len(file.chosen) for file in files)
    for model in models:
        passes = options.ddim_steps if model.role == 'teacher' else 1
        stored = total * options.samples * window.future_frames * (12 + 96) / 1e9
        lines.append(
            f'{model.name}: {model.label}, {model.parameters / 1e6:.2f} M parameters, '
            f'{passes * options.samples} passes a window, '
            f'{passes * options.samples * total:.3g} in all, {stored:.2f} GB in {options.runs}'
        )
    return '\n'.join(lines)


def table(result: Mapping[str, Any]) -> str:
    """Return the results as plain text."""
    head = ('APD', 'ADE', 'FDE', 'MMADE', 'MMFDE')
    columns = ''.join(f'{name:>8}' for name in (*head, 'ADE-med', 'ADE-max', 'wADE', 'wFDE'))
    lines = [f'{"set/split":<16}{"model":<34}{columns}']
    for row in sorted(result['rows'], key=lambda row: (row['split'], row['set'])):
        pose, world = row['pose'], row['world']
        numbers = [pose[name.lower()] for name in head]
        numbers += [pose['ade_median'], pose['ade_worst'], world['ade'], world['fde']]
        where = f'{row["set"]}/{row["split"]}'
        lines.append(
            f'{where:<16}{plots.shown_name(row):<34}'
            + ''.join(f'{value:8.3f}' for value in numbers)
        )
    return '\n'.join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :param arguments: the words after ``python -m training evaluate``.
    :returns: the exit code: 0, or 2 if an argument cannot be used, 130 if stopped.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = read_options(EvaluateOptions, 'training evaluate', about(__doc__), EXAMPLE, words)
    try:
        check(options)
        if options.dry_run:
            print(describe_plan(options))
            return 0
        require_writable(options.json)
        if options.hidden:
            result = evaluate_hidden.evaluate_hidden(options, words)
        else:
            result = evaluate(options, words)
    except MotionPredictorError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(str(error) or 'stopped; the same command goes on from here', file=sys.stderr)
        return 130
    provenance.write_json(options.json, result)
    print(evaluate_hidden.table(result) if options.hidden else table(result))
    print(f'written: {options.json}')
    if options.plots and not options.hidden:
        for path in plots.draw_horizons(result, options.plots):
            print(f'drawn: {path}')
    return 0


def _score(
    model: Model,
    files: Sequence[DataFile],
    futures: Sequence[Futures],
    alternatives: Sequence[Alternatives],
    quiet: bool,
) -> list[FileScores]:
    items = list(zip(files, futures, alternatives, strict=True))
    shown = tqdm(items, desc=f'score {model.name}', unit='file', disable=quiet, leave=False)
    return [score_file(file, read, sets) for file, read, sets in shown]
