"""
Score weights files on recordings: python -m training evaluate.

For every weights file and for the baselines: APD, ADE, FDE, MMADE and MMFDE of the root-relative
pose, and ADE and FDE with the root's motion in, on each file, and on all files of a split
together. Futures are kept in the run folder: a killed evaluation goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
import sys
import time
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
import torch
from tqdm import tqdm
import tyro

from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.body.skeleton_file import read_skeleton
from motion_predictor.common.whole_files import require_writable
from motion_predictor.errors import ConfigError, MotionPredictorError
from motion_predictor.model.config import WindowConfig
from motion_predictor.model.weights import file_digest, load_weights
from training.common import provenance
from training.common.options import about, read_options
from training.data.bags import bag_reading, BagOptions
from training.data.store import data_digest
from training.engine.diffusion import Sampler, sampler_for
from training.judge import metrics, plots
from training.judge.baselines import BASELINES
from training.judge.neighbours import load_neighbours
from training.judge.predictions import PredictionStore
from training.judge.scoring import (
    Alternatives,
    baseline_futures,
    compare_with,
    COMPARED,
    DataFile,
    FileScores,
    find_alternatives,
    Futures,
    group_clusters,
    group_values,
    load_data,
    make_groups,
    NoisyTracker,
    rounded,
    score_file,
    summarise,
)

FORMAT = 'motion_predictor evaluation'
VERSION = 1
NEIGHBOURS_NAME = 'neighbours'

EXAMPLE = """\
worked example, from the root of the source tree:
  python -m training evaluate \\
    --weights resource/weights/teacher.safetensors resource/weights/swiftdiff.safetensors \\
    --data ../shared/data/cmu17/val.npz ../shared/data/uiprmd17/val.npz \\
           ../shared/data/cmu17/test.npz ../shared/data/uiprmd17/test.npz \\
    --json docs/results/data/evaluation.json --plots docs/results/images
The files' names give the rows theirs: cmu17/test.npz is set cmu17, split test; files of one split
are also scored together ('both'), with multimodal sets over all of their windows.
"""


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """What ``evaluate`` can be told."""

    bag: tyro.conf.OmitArgPrefixes[BagOptions] = field(default_factory=BagOptions)
    weights: tuple[Path, ...] = ()
    """Weights files; none: the baselines alone."""
    data: tuple[Path, ...]
    """Stores, recordings in the cmu17 format, or bags (rosbag2)."""
    skeleton: Path | None = None
    """Skeleton file of recordings that are no person; stores know their own."""
    neighbours: tuple[Path, ...] = ()
    """Training recordings: also score what followed their most alike moments."""
    json: Path
    """Where to write the results."""
    samples: int = 50
    """Futures a window."""
    seed: int = 0
    """Of the noise."""
    ddim_steps: int = 100
    """Steps of a many-step teacher."""
    batch: int | None = None
    """Windows in one call (default 20, with CUDA 160)."""
    device: Literal['auto', 'cpu', 'cuda'] = 'auto'
    """CUDA where there is one, by default."""
    engine: str = 'auto'
    """Of one-step models, as Predictor.load takes it."""
    limit: int | None = None
    """Score N windows of each file, spread evenly: rough figures, soon."""
    tracker_noise: float = 0.0
    """Deviation of white noise on every observed joint, metres; what then happens is scored
    without it."""
    plots: Path | None = None
    """Draw the error over the horizon into this folder."""
    runs: Path = Path('runs/evaluate')
    """Predicted futures are kept here."""
    take_over: Path | None = None
    """Rows of the same weights, data and settings from this earlier evaluation, not predicted
    again; weights that are not at hand are looked for by name."""
    fresh: bool = False
    """Predict again what the run folder already holds."""
    dry_run: bool = False
    """Say what would be done, and how much."""
    quiet: bool = False
    """No progress bars."""


@dataclass(frozen=True)
class Model:
    """One row of the tables: a weights file, or a baseline."""

    name: str
    label: str
    role: str
    path: Path | None
    sha256: str | None
    parameters: int
    window: WindowConfig
    card: Mapping[str, Any]
    skeleton: Skeleton = H36M17


def describe_weights(path: Path, ddim_steps: int) -> Model:
    """
    Read what a weights file says about itself.

    :raises WeightsError: if it cannot be read.
    """
    loaded = load_weights(path)
    config = loaded.model.config
    labels = {
        'teacher': f'teacher, DDIM {ddim_steps}',
        'one_step': 'one-step teacher',
        'swiftdiff': 'SwiftDiff',
        'moe': 'mixture of experts',
    }
    return Model(
        name=path.stem,
        label=labels[config.role],
        role=config.role,
        path=path,
        sha256=file_digest(path),
        parameters=sum(p.numel() for p in loaded.model.denoiser.parameters()),
        window=config.window,
        card=loaded.card,
        skeleton=loaded.model.skeleton,
    )


def given_models(options: EvaluateOptions) -> tuple[list[Model], WindowConfig]:
    """
    Describe the weights that were named, and the window that they share.

    Those that are no longer at hand are as the earlier evaluation, of which rows are taken over,
    describes them; they have no path.

    :raises MotionPredictorError: if one cannot be read or is known to neither.
    """
    at_hand = {
        path: describe_weights(path, options.ddim_steps)
        for path in options.weights
        if path.is_file() or not options.take_over
    }
    window = common_window(list(at_hand.values()))
    models = []
    for path in options.weights:
        if path in at_hand:
            models.append(at_hand[path])
            continue
        assert options.take_over is not None  # or all would be at hand
        known = provenance.read_result(options.take_over, FORMAT, VERSION)['models']
        facts = {facts['model']: facts for facts in known if facts.get('sha256')}
        if path.stem not in facts:
            raise ConfigError(
                f'--weights {path}: no such file; {options.take_over} has rows of {sorted(facts)}'
            )
        said = {name: facts[path.stem][name] for name in ('label', 'role', 'sha256', 'parameters')}
        models.append(Model(name=path.stem, path=None, window=window, card={}, **said))
    return models, window


def check_skeletons(models: Sequence[Model], files: Sequence[DataFile]) -> Skeleton:
    """
    Give the joints that models and recordings share.

    :raises ConfigError: if a model predicts other joints than a file holds.
    """
    first = files[0].windows.skeleton
    for file in files:
        found = file.windows.skeleton
        if found.joints != first.joints:
            raise ConfigError(f'{file.path}: holds {found.name}, {files[0].path} {first.name}')
    for model in models:
        if model.path is not None and model.skeleton.joints != first.joints:
            raise ConfigError(
                f'{model.path}: predicts {model.skeleton.name}; the recordings hold {first.name}'
            )
    return first


def common_window(models: Sequence[Model]) -> WindowConfig:
    """
    Give the window that all models share.

    :raises ConfigError: if they do not share one.
    """
    windows = [model.window for model in models] or [WindowConfig()]
    for model, window in zip(models, windows, strict=False):
        first = windows[0]
        if (window.rate_hz, window.observed_frames, window.future_frames) != (
            first.rate_hz,
            first.observed_frames,
            first.future_frames,
        ):
            raise ConfigError(
                f'{model.path}: window {window} differs from {models[0].path}: {first}; '
                'evaluate them in separate runs'
            )
    return windows[0]


def evaluate(options: EvaluateOptions, arguments: Sequence[str]) -> dict[str, Any]:
    """
    Run an evaluation.

    :param options: what is asked for.
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
    times_s = [(frame + 1) / window.rate_hz for frame in range(window.future_frames)]
    alternatives, neighbours = find_alternatives(files, groups)
    facts_of_models: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    origin = provenance.origin(FORMAT, VERSION, 'training evaluate', arguments)
    result: dict[str, Any] = {
        **origin,
        'machine': {**origin['machine'], 'threads': torch.get_num_threads()},
        'settings': {
            'samples': options.samples,
            'seed': options.seed,
            'ddim_steps': options.ddim_steps,
            'limit': options.limit,
            'tracker_noise_m': options.tracker_noise,
            'multimodal_threshold_m': metrics.MULTIMODAL_THRESHOLD_M,
            'rate_hz': window.rate_hz,
            'observed_frames': window.observed_frames,
            'future_frames': window.future_frames,
        },
        'data': [
            {
                'set': file.set_name,
                'split': file.split,
                'file': provenance.shown_path(file.path),
                'sha256': file.sha256,
                'windows': len(file.windows),
                'scored': len(file.chosen),
                'clips': len(file.windows.clips),
                'subjects': sorted(set(file.windows.subjects)),
            }
            for file in files
        ],
        'neighbours': neighbours,
        'models': facts_of_models,
        'rows': rows,
    }
    scored: list[tuple[Model, list[FileScores]]] = []
    for name, (label, baseline) in BASELINES.items():
        model = Model(name, label, 'baseline', None, None, 0, window, {})
        futures = [
            baseline_futures(baseline, file, window, options.tracker_noise, options.seed)
            for file in files
        ]
        scored.append((model, _score(model, files, futures, alternatives, options.quiet)))
        facts_of_models.append({'model': name, 'label': label, 'role': 'baseline', 'samples': 1})
    if options.neighbours:
        model, futures, facts = _neighbours(files, window, options)
        scored.append((model, _score(model, files, futures, alternatives, options.quiet)))
        facts_of_models.append(facts)
    taken: dict[str, dict[str, Any]] = {}
    for model in models:
        found = earlier_rows(result, options.take_over, model) if options.take_over else None
        if found is not None:
            facts_of_models.append(found[0])
            taken[model.name] = {'role': model.role, 'rows': found[1]}
            rows.extend(found[1].values())
            continue
        if model.path is None:
            raise ConfigError(
                f'--weights {model.name}: no such file, and the rows in {options.take_over} are '
                'of other data or settings'
            )
        futures, facts = _predict(model, files, window, options, origin['commit'])
        scored.append((model, _score(model, files, futures, alternatives, options.quiet)))
        facts_of_models.append(facts)
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
            rows.append(row)
    order = [*BASELINES, NEIGHBOURS_NAME, *names]
    rows.sort(key=lambda row: order.index(row['model']))  # as given, taken over or not
    facts_of_models.sort(key=lambda facts: order.index(facts['model']))
    return result


def earlier_rows(
    result: Mapping[str, Any], path: Path, model: Model
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]] | None:
    """
    Find what an earlier evaluation measured of the same weights, on the same data, the same way.

    :param result: this evaluation so far: its settings and data.
    :param path: the JSON of the earlier one.
    :param model: looked up by the digest of its file.
    :returns: the model's facts with the commits of the earlier run, and its rows by group; None
        where anything that the figures depend on differs.
    :raises ConfigError: if the file holds no evaluation.
    """
    old = provenance.read_result(path, FORMAT, VERSION)
    facts = next((m for m in old['models'] if m.get('sha256') == model.sha256), None)
    same_data = [d['sha256'] for d in old['data']] == [d['sha256'] for d in result['data']]
    settings = {'tracker_noise_m': 0.0, **old['settings']}
    if facts is None or not same_data or settings != result['settings']:
        return None
    rows = {
        f'{row["set"]}/{row["split"]}': {**row, 'model': model.name, 'label': model.label}
        for row in old['rows']
        if row['model'] == facts['model']
    }
    for row in rows.values():
        row['taken_over_from'] = row.get('taken_over_from', old['commit'])
        row.pop('against', None)
    return {**facts, 'model': model.name, 'label': model.label}, rows


def ratios_of_means(
    reference: str, row: Mapping[str, Any], theirs: Mapping[str, Any]
) -> dict[str, Any]:
    """
    Give the ratios of mean errors to those of a row that was taken over.

    Its windows' own errors are not known any more, so that there is no interval.
    """
    found: dict[str, Any] = {'model': reference}
    for name in COMPARED:
        part, measure = name.split('.')
        ratio = rounded(row[part][measure] / theirs[part][measure])
        found[name] = {'ratio': ratio, 'interval95': None}
    return found


def given_skeleton(options: EvaluateOptions) -> Skeleton | None:
    """
    Read the skeleton file that was named, if any.

    :raises SkeletonError: if it cannot be read.
    """
    return read_skeleton(options.skeleton) if options.skeleton else None


def describe_plan(options: EvaluateOptions) -> str:
    """Say what an evaluation would do, without running a model."""
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
    """Write the results as plain text."""
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
    :returns: the exit code: 0, or 2 when something given cannot be used, 130 when stopped.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = read_options(EvaluateOptions, 'training evaluate', about(__doc__), EXAMPLE, words)
    try:
        _check_options(options)
        if options.dry_run:
            print(describe_plan(options))
            return 0
        require_writable(options.json)
        result = evaluate(options, words)
    except MotionPredictorError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(str(error) or 'stopped; the same command goes on from here', file=sys.stderr)
        return 130
    provenance.write_json(options.json, result)
    print(table(result))
    print(f'written: {options.json}')
    if options.plots:
        for path in plots.draw_horizons(result, options.plots):
            print(f'drawn: {path}')
    return 0


def engine_of(sampler: Sampler) -> str:
    """Name the arithmetic that a sampler runs its network in."""
    if sampler.predictor is not None:
        return sampler.predictor.engine
    dtype = next(sampler.model.denoiser.parameters()).dtype
    return 'bf16' if dtype == torch.bfloat16 else 'fp32'


def _check_options(options: EvaluateOptions) -> None:
    for name in ('samples', 'ddim_steps', 'batch'):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ConfigError(f'--{name.replace("_", "-")} {value}: must be at least 1')
    if not 0.0 <= options.tracker_noise <= 1.0:
        raise ConfigError(f'--tracker-noise {options.tracker_noise}: must lie in 0..1 metres')
    if options.seed < 0:
        raise ConfigError(f'--seed {options.seed}: must not be negative')
    if not options.data:
        raise ConfigError('--data: name at least one file of recordings')
    if options.device == 'cuda' and not torch.cuda.is_available():
        raise ConfigError('--device cuda: there is no CUDA device here; use cpu')


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


def _neighbours(
    files: Sequence[DataFile], window: WindowConfig, options: EvaluateOptions
) -> tuple[Model, list[Futures], dict[str, Any]]:
    """Predict by what followed in the training set, and say how."""
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


def _predict(
    model: Model,
    files: Sequence[DataFile],
    window: WindowConfig,
    options: EvaluateOptions,
    commit: str | None,
) -> tuple[list[Futures], dict[str, Any]]:
    """Predict what the run folder lacks of a model's futures, and say how they were made."""
    begun = time.perf_counter()
    assert model.path is not None
    where = options.device
    if where == 'auto':
        where = 'cuda' if torch.cuda.is_available() else 'cpu'
    batch = options.batch or (160 if where == 'cuda' else 20)
    # on a processor the sampler's own batch fits the caches
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
        store = PredictionStore(
            options.runs,
            key,
            len(file.chosen),
            options.samples,
            window,
            file.windows.skeleton.num_joints,
            fresh=options.fresh,
        )
        kept = store.done
        with tqdm(
            total=len(file.chosen),
            initial=kept,
            desc=f'{model.name} on {file.label}',
            unit='window',
            disable=options.quiet,
        ) as bar:
            store.fill(
                NoisyTracker(sampler, options.tracker_noise),
                file.observed,
                seed=options.seed,
                batch=batch,
                commit=commit,
                advance=bar.update,
            )
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
