"""
Adapt a shipped student to your own people: python -m training finetune.

Reads any recording (a rosbag2, BVH, an npz in the cmu17 format, a store), holds a part of it back
in whole blocks of time, teaches a copy of the student the rest, stops when a second part gets no
better, and says what the first part, which it never saw, makes of it before and after. Weights
that got worse there are not written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
import hashlib
import json
from pathlib import Path
import sys
import time
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor
import tyro

from motion_predictor.body.resampling import resample
from motion_predictor.body.skeleton import Skeleton
from motion_predictor.common.whole_files import require_writable, write_whole
from motion_predictor.errors import ConfigError, MotionPredictorError, RecordingError
from motion_predictor.model.config import WindowConfig
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.weights import file_digest, load_weights, save_weights
from motion_predictor.predict.predictor import Predictor
from training.common import provenance
from training.common.options import about, read_options
from training.common.stopping import GOES_ON
from training.data.bags import bag_input, BagOptions, read_bags, rotation_of
from training.data.readers.bvh_folder import read_bvh_folder
from training.data.readers.source import load_at, Source
from training.data.store import data_digest, is_store
from training.data.windows import load_clips, short_clips
from training.engine.checkpoints import Kept
from training.engine.diffusion import window_noise
from training.engine.weights_file import card_text, golden_pair
from training.judge import metrics
from training.judge.scoring import bootstrap_interval
from training.stages.adapting import (
    adapt,
    cut_windows,
    FinetuneConfig,
    take_apart,
)
from training.stages.weigh.refit_weighing import refit

EXAMPLE = """\
worked example, a rosbag2 of a tracker (Azure Kinect's joints, camera looking ahead):
  python -m training finetune --recording my_bag --topic /skeleton --layout k4a32 \\
      --rotation -1.5708 0 0 --weights resource/weights/swiftdiff.safetensors \\
      --out my.safetensors
worked example, one subject that the shipped weights were not trained on:
  python -m training finetune --recording ../shared/data/uiprmd17/val.npz \\
      --weights resource/weights/swiftdiff.safetensors --out /tmp/u10.safetensors
then: ros2 launch motion_predictor predictor.launch.py weights:=$PWD/my.safetensors
"""


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions:
    """What ``finetune`` can be told."""

    bag: tyro.conf.OmitArgPrefixes[BagOptions] = field(default_factory=BagOptions)
    recording: tuple[Path, ...]
    """A rosbag2, .bvh or a folder of them, .npz (cmu17 format), or a store."""
    weights: Path
    """Student to begin with."""
    out: Path
    """Weights file to write; its card goes beside it."""
    hold_back: Literal['end', 'clips'] = 'end'
    """The end of every clip, or whole clips."""
    steps: int = FinetuneConfig.steps
    """At most."""
    batch: int = FinetuneConfig.batch
    """Windows a step."""
    samples: int = FinetuneConfig.samples
    """Futures tried for each window."""
    learning_rate: float = FinetuneConfig.learning_rate
    stay: float = FinetuneConfig.stay
    """How much it stays near the original."""
    seed: int = 0
    """Of windows and noise."""
    mapping: Path | None = None
    """Of BVH: mapping file."""
    up: str = ''
    """Of BVH: vertical axis: x, y, z, or --up=-z; judged by people's motion by default."""
    recorded_rate: float = 0.0
    """Of BVH: frames per second in place of the files' own."""
    also: tuple[Path, ...] = ()
    """Score this before and after, too: what is lost elsewhere."""
    keep_anyway: bool = False
    """Write weights even if they got worse."""
    json: Path | None = None
    """Write the figures."""
    report: Path | None = None
    """Write them as a page."""
    dry_run: bool = False
    """Say what would be held back, and the settings."""
    quiet: bool = False
    """No progress bar."""


MEASURES = ('pose.ade', 'pose.fde', 'world.ade', 'world.fde', 'pose.apd')
TOLERANCE = 1e-9
LEAST_HZ = 10.0
"""People hold still between the frames of a slower recording: it shows no motion of limbs."""


def read_recordings(
    paths: Sequence[Path], window: WindowConfig, skeleton: Skeleton, options: FinetuneOptions
) -> list[NDArray[np.float32]]:
    """
    Read recordings of any kind, at the model's rate.

    :param paths: each a rosbag2, a .bvh or a folder of them, an npz, or a store.
    :param window: gives the rate.
    :param skeleton: the model's joints.
    :param options: what is asked for.
    :returns: clips, metres, z up, ``(T, J, 3)``.
    :raises MotionPredictorError: if one cannot be read or holds other joints.
    """
    clips: list[NDArray[np.float32]] = []
    for path in paths:
        source = None
        if not path.exists():
            raise RecordingError(f'--recording {path}: no such file or folder')
        if is_store(path) or path.suffix == '.npz':
            clips += [
                resample(clip.positions, clip.rate_hz, window.rate_hz)
                for clip in load_clips(path, skeleton)
            ]
        elif path.suffix.lower() == '.bvh' or (
            path.is_dir() and any(path.rglob('*.[bB][vV][hH]'))
        ):
            source = read_bvh_folder(
                path,
                mapping=options.mapping,
                skeleton=skeleton,
                units_scale=options.bag.units_scale,
                up=options.up,
                rate_hz=options.recorded_rate,
            )
        else:
            source = _bags(path, skeleton, options)
        if source is not None:
            clips += _at_rate(source, window.rate_hz)
            for remark in (*source.remarks, *source.judgements()):
                print(remark)
    return clips


def _bags(path: Path, skeleton: Skeleton, options: FinetuneOptions) -> Source:
    return read_bags(
        [path],
        bag_input(options.bag),
        skeleton=skeleton,
        units_scale=options.bag.units_scale,
        rotation=rotation_of(options.bag.rotation),
    )


def _at_rate(source: Source, rate_hz: float) -> list[NDArray[np.float32]]:
    loaded = [load_at(clip, rate_hz, least_hz=LEAST_HZ) for clip in source.clips]
    slowest = min(found_hz for _, found_hz in loaded)
    if slowest < rate_hz / 2.0:
        print(
            f'{source.root.name}: recorded at {slowest:.3g} Hz; the frames between, up to the '
            f"model's {rate_hz:g} Hz, are interpolated"
        )
    return [positions for positions, _ in loaded]


def score(
    model: MotionModel, windows: NDArray[np.float32], samples: int, seed: int
) -> dict[str, NDArray[np.float64]]:
    """
    Score a student as it is deployed, on windows that it did not learn from.

    :param windows: world metres, ``(N, T, J, 3)``.
    :returns: for each of :data:`MEASURES` its value for every window, metres, ``(N,)``.
    """
    past = model.config.window.observed_frames
    predictor = Predictor(model, {}, device='cpu', engine='auto')
    found: dict[str, list[Tensor]] = {name: [] for name in MEASURES}
    for first in range(0, len(windows), 20):
        last = min(first + 20, len(windows))
        observed, future = windows[first:last, :past], torch.from_numpy(windows[first:last, past:])
        noise = window_noise(model, seed, first, last - first, samples)
        futures = torch.from_numpy(predictor.predict(observed, noise=noise).futures)
        origin = torch.from_numpy(observed[:, -1, :1])  # (n, 1, 3): as evaluate measures
        world = metrics.world_metrics(futures - origin[:, None, None], future - origin[:, None])
        pose = metrics.pose_metrics(metrics.root_relative(futures), metrics.root_relative(future))
        for name in MEASURES:
            part, measure = name.split('.')
            found[name].append((pose if part == 'pose' else world)[measure])
    return {name: torch.cat(values).double().numpy() for name, values in found.items()}


def compare(
    before: Mapping[str, NDArray[np.float64]],
    after: Mapping[str, NDArray[np.float64]],
    blocks: NDArray[np.int64],
) -> dict[str, dict[str, Any]]:
    """Give means before and after, and their ratio with its 95 % interval over blocks of time."""
    rows = {}
    for name in MEASURES:
        ratio = after[name].mean() / max(before[name].mean(), TOLERANCE)
        low, high = bootstrap_interval(after[name], np.maximum(before[name], TOLERANCE), blocks)
        rows[name] = {
            'before': round(float(before[name].mean()), 4),
            'after': round(float(after[name].mean()), 4),
            'ratio': round(float(ratio), 4),
            'interval95': [round(low, 4), round(high, 4)],
        }
    return rows


def got_worse(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Name the errors (ADE, of pose and in the world) that are larger than before."""
    return [name for name in ('pose.ade', 'world.ade') if rows[name]['ratio'] > 1.0]


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Write a comparison as a table in Markdown that reads as plain text too."""
    names = {
        'pose.ade': 'ADE',
        'pose.fde': 'FDE',
        'world.ade': 'world ADE',
        'world.fde': 'world FDE',
        'pose.apd': 'APD (variety)',
    }
    lines = ['| metres | before | after | after / before | 95 % |', '|---|---|---|---|---|']
    for name, row in rows.items():
        low, high = row['interval95']
        lines.append(
            f'| {names[name]} | {row["before"]:.3f} | {row["after"]:.3f} | {row["ratio"]:.3f} '
            f'| {low:.3f} to {high:.3f} |'
        )
    return '\n'.join(lines)


def finetune(options: FinetuneOptions, words: Sequence[str]) -> int:
    """
    Run the verb.

    :param options: what is asked for.
    :param words: of the command line, to be recorded.
    :returns: 0, or 3 where weights that got worse were not written.
    :raises MotionPredictorError: if something given cannot be used.
    """
    config = FinetuneConfig(
        **{name: getattr(options, name) for name in FinetuneConfig.__dataclass_fields__
           if hasattr(options, name)}
    )  # fmt: skip
    if options.out.suffix != '.safetensors':
        raise ConfigError(f'--out {options.out}: a weights file ends in .safetensors')
    if not options.dry_run:
        for place in filter(None, (options.out, options.json, options.report)):
            require_writable(place)
    loaded = load_weights(options.weights)
    original = loaded.model
    if original.config.role == 'teacher':
        raise ConfigError(f'{options.weights}: a many-step teacher; give a one-step student')
    window = original.config.window
    clips = read_recordings(options.recording, window, original.skeleton, options)
    short = short_clips([len(c) / window.rate_hz for c in clips], window, '--recording')
    if short:
        print(short, file=sys.stderr)
    parts = take_apart(clips, window, config)
    held, blocks = cut_windows(parts.held, window)
    lengths = {
        name: sum(len(clip) for clip in getattr(parts, name)) / window.rate_hz
        for name in ('adapt', 'val', 'held')
    }
    print(
        f'{len(clips)} clips: {lengths["adapt"]:.0f} s to learn from, {lengths["val"]:.0f} s to '
        f'stop by, {lengths["held"]:.0f} s ({len(held)} windows) held back'
    )
    if options.dry_run:
        for name, value in asdict(config).items():
            print(f'  {name}: {value}')
        return 0
    code = provenance.commit()  # now: what runs is what was there at the start
    begun, worked = time.perf_counter(), time.process_time()
    digests = [_digest(path) for path in options.recording]
    clips_seen = [[len(clip) for clip in part] for part in (parts.adapt, parts.val, parts.held)]
    facts = json.dumps([asdict(config), digests, clips_seen, file_digest(options.weights)])
    kept = Kept(
        options.out.with_name(f'{options.out.name}.checkpoint'),
        hashlib.sha256(facts.encode()).hexdigest(),
        mended=True,
    )
    student, curve = adapt(original, parts, config, quiet=options.quiet, kept=kept)
    wall_s, cpu_s = time.perf_counter() - begun, time.process_time() - worked
    rows = compare(
        score(original, held, config.scored_samples, config.seed),
        score(student, held, config.scored_samples, config.seed),
        blocks,
    )
    best = min(curve, key=lambda entry: entry['val'])
    print(
        f'adapted in {wall_s:.0f} s ({cpu_s:.0f} s of processor time); '
        f'best after {best["step"]:.0f} steps'
    )
    print(f'held-back part, {config.scored_samples} samples:\n{table(rows)}')
    also = {}
    for path in options.also:
        other, of_block = cut_windows(
            [resample(c.positions, c.rate_hz, window.rate_hz)
             for c in load_clips(path, original.skeleton)],
            window,
        )  # fmt: skip
        name = f'{path.resolve().parent.name}/{path.stem}'
        also[name] = compare(
            score(original, other, config.scored_samples, config.seed),
            score(student, other, config.scored_samples, config.seed),
            of_block,
        )
        print(f'{name}, which is not in the recording:\n{table(also[name])}')
    result = {
        'command': provenance.command_line('training finetune', words),
        **code,
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'machine': {**provenance.machine(), 'threads': torch.get_num_threads()},
        'settings': asdict(config),
        'weights': {'file': options.weights.name, 'sha256': file_digest(options.weights)},
        'seconds': {name: round(length, 1) for name, length in lengths.items()},
        'windows_held_back': len(held),
        'wall_s': round(wall_s, 1),
        'cpu_s': round(cpu_s, 1),
        'best_step': best['step'],
        'held_back': rows,
        'also': also,
        'validation': curve,
    }
    worse = got_worse(rows)
    unchanged = best['step'] == 0
    refused = (worse or unchanged) and not options.keep_anyway
    if not refused:  # first: they are what took the time
        card = finetuned_card(loaded.card, options, result)
        weighing, moments = refit(student, loaded.weighing, [*parts.val, *parts.held])
        if loaded.weighing is not None:
            print(
                f'gate and radii: fitted anew on {moments} moments that it has not learnt from'
                if moments
                else 'gate and radii: those of the original, as too little was held back'
            )
        save_weights(options.out, student, card, golden_pair(student), weighing=weighing)
        print(f'wrote {options.out}')
        write_whole(options.out.with_suffix('.md'), card_text(options.out, student, card))
    if options.json:
        provenance.write_json(options.json, result)
    if options.report:
        write_whole(options.report, report_text(result, options.recording))
        print(f'wrote {options.report}')
    kept.forget()
    if refused:
        why = 'nothing tried was better on validation' if unchanged else (
            f'{" and ".join(worse)} got worse on the held-back part'
        )  # fmt: skip
        print(
            f'not written: {why}; record more, raise --stay, or write it with --keep-anyway',
            file=sys.stderr,
        )
        return 3
    return 0


def finetuned_card(
    card: Mapping[str, Any], options: FinetuneOptions, result: Mapping[str, Any]
) -> dict[str, Any]:
    """Carry the original's card on: what it was adapted to, and how that went."""
    recordings = {
        f'{path.resolve().parent.name}/{path.name}': _digest(path) for path in options.recording
    }
    data = card.get('data')
    means = {
        when: {name: row[when] for name, row in result['held_back'].items()}
        for when in ('before', 'after')
    }
    return {
        **{name: value for name, value in card.items() if name != 'scores'},
        'what': f'{card.get("what", "A student")}; fine-tuned on a user\'s recording',
        'data': {**(data if isinstance(data, dict) else {}), **recordings},
        'scores': {f'held-back part of the recording, {w}': means[w] for w in means},
        'finetuned': {
            'recordings': recordings,
            **{
                name: result[name]
                for name in ('command', 'commit', 'settings', 'weights', 'seconds', 'best_step',
                             'held_back')
            },
        },
    }  # fmt: skip


def _digest(path: Path) -> str:
    if path.is_dir() and not is_store(path):
        files = sorted(entry for entry in path.rglob('*') if entry.is_file())
        return ' '.join(file_digest(entry)[:16] for entry in files[:8])
    return data_digest(path)


def report_text(result: Mapping[str, Any], recordings: Sequence[Path]) -> str:
    """Write what happened as a page."""
    seconds, settings, machine = result['seconds'], result['settings'], result['machine']
    names = ', '.join(f'`{p.resolve().parent.name}/{p.name}`' for p in recordings)
    lines = [
        '# Fine-tuning on a recording of your own',
        '',
        'Written by the command below, every figure measured by it; the training page says how '
        'fine-tuning works.',
        '',
        '```sh',
        result['command'],
        '```',
        '',
        f'- Commit {result["commit"]}{" (changed)" if result["modified"] else ""}, '
        f'{result["date"]}; {machine["processor"]}, {machine["cores"]} cores, '
        f'{machine["threads"]} thread(s), torch {machine["torch"]}.',
        f'- Recording: {names}: {seconds["adapt"]:.0f} s to learn from, {seconds["val"]:.0f} s to '
        f'stop by, {seconds["held"]:.0f} s ({result["windows_held_back"]} windows) held back '
        f'(hold_back={settings["hold_back"]}).',
        f'- Adapted in {result["wall_s"]:.0f} s of wall time, '
        f'{result["cpu_s"]:.0f} s of processor time; best on validation after '
        f'{result["best_step"]:.0f} steps.',
        '',
        f'## Held-back part, {settings["scored_samples"]} samples',
        '',
        table(result['held_back']),
        '',
        'Intervals: blocks of 10 s drawn with replacement.',
        '',
    ]
    for name, rows in result['also'].items():
        lines += [f'## {name}, which is not in the recording', '', table(rows), '']
    lines += ['## Validation', '', '| step | error (m) |', '|---|---|']
    lines += [f'| {entry["step"]:.0f} | {entry["val"]:.4f} |' for entry in result['validation']]
    return '\n'.join(lines) + '\n'


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :param arguments: the words after ``python -m training finetune``.
    :returns: the exit code: 0; 2 when something given cannot be used; 3 when the weights got
        worse and were not written; 130 when stopped.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = read_options(FinetuneOptions, 'training finetune', about(__doc__), EXAMPLE, words)
    try:
        return finetune(options, words)
    except MotionPredictorError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(str(error) or GOES_ON, file=sys.stderr)
        return 130
