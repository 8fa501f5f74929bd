# SPDX-License-Identifier: Apache-2.0
"""Adapt a shipped student to your own people: python -m training finetune.

It reads any recording (a rosbag2, BVH, an npz in the cmu17 format, a store) and holds a part of it
back in whole blocks of time. It trains a copy of the student on the rest and stops when a second
part stops improving. It reports the errors before and after on the first part, which the student
never saw. Weights that got worse there are not written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
import hashlib
import json
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch

from motion_predictor.body.resampling import resample
from motion_predictor.common.whole_files import require_writable, write_whole
from motion_predictor.errors import ConfigError, MotionPredictorError
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.weights import file_digest, load_weights, LoadedWeights, save_weights
from training.common import provenance
from training.common.options import about, read_options
from training.common.stopping import GOES_ON
from training.data.windows import load_clips, short_clips
from training.engine.checkpoints import Kept
from training.engine.weights_file import card_text, golden_pair
from training.stages.adapt.adapting import adapt
from training.stages.adapt.comparison import compare, got_worse, score, table
from training.stages.adapt.held_back import cut_windows, Parts, take_apart
from training.stages.adapt.page import finetuned_card, report_text
from training.stages.adapt.recordings import digest_of, read_recordings
from training.stages.adapt.settings import FinetuneConfig, FinetuneOptions
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


@dataclass(frozen=True)
class Recorded:
    """The content of the recordings."""

    clips: int
    parts: Parts
    held: NDArray[np.float32]
    """Windows of the part that is held back, world metres, ``(N, T, J, 3)``."""
    blocks: NDArray[np.int64]
    """Number of each window's block of time, ``(N,)``."""
    seconds: Mapping[str, float]
    """Seconds of 'adapt', 'val' and 'held'."""

    @classmethod
    def read(
        cls, options: FinetuneOptions, config: FinetuneConfig, original: MotionModel
    ) -> Recorded:
        """
        Read the recordings, divide them, and print how much each part is.

        :raises MotionPredictorError: if one cannot be read, or if they are too short.
        """
        window = original.config.window
        clips = read_recordings(options.recording, window, original.skeleton, options)
        short = short_clips([len(c) / window.rate_hz for c in clips], window, '--recording')
        if short:
            print(short, file=sys.stderr)
        parts = take_apart(clips, window, config)
        held, blocks = cut_windows(parts.held, window)
        seconds = {
            name: sum(len(clip) for clip in getattr(parts, name)) / window.rate_hz
            for name in ('adapt', 'val', 'held')
        }
        print(
            f'{len(clips)} clips: {seconds["adapt"]:.0f} s to learn from, {seconds["val"]:.0f} s '
            f'to stop by, {seconds["held"]:.0f} s ({len(held)} windows) held back'
        )
        return cls(len(clips), parts, held, blocks, seconds)


def finetune(options: FinetuneOptions, words: Sequence[str]) -> int:
    """
    Run the verb.

    :param options: the options.
    :param words: words of the command line, to be recorded.
    :returns: 0, or 3 if weights that got worse were not written.
    :raises MotionPredictorError: if an argument cannot be used.
    """
    config, loaded = _checked(options)
    recorded = Recorded.read(options, config, loaded.model)
    if options.dry_run:
        for name, value in asdict(config).items():
            print(f'  {name}: {value}')
        return 0
    code = provenance.commit()  # now, because the running code is that of the start
    kept = _kept(options, config, recorded)
    begun, worked = time.perf_counter(), time.process_time()
    student, curve = adapt(loaded.model, recorded.parts, config, quiet=options.quiet, kept=kept)
    wall_s, cpu_s = time.perf_counter() - begun, time.process_time() - worked
    best = min(curve, key=lambda entry: entry['val'])
    print(
        f'adapted in {wall_s:.0f} s ({cpu_s:.0f} s of processor time); '
        f'best after {best["step"]:.0f} steps'
    )
    result = {
        'command': provenance.command_line('training finetune', words),
        **code,
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'machine': {**provenance.machine(), 'threads': torch.get_num_threads()},
        'settings': asdict(config),
        'weights': {'file': options.weights.name, 'sha256': file_digest(options.weights)},
        'seconds': {name: round(length, 1) for name, length in recorded.seconds.items()},
        'windows_held_back': len(recorded.held),
        'wall_s': round(wall_s, 1),
        'cpu_s': round(cpu_s, 1),
        'best_step': best['step'],
        **_scores(options, config, recorded, loaded.model, student),
        'validation': curve,
    }
    refused = _refusal(result) if not options.keep_anyway else ''
    if not refused:  # first, because they took the time
        _write_weights(options, loaded, student, recorded.parts, result)
    if options.json:
        provenance.write_json(options.json, result)
    if options.report:
        write_whole(options.report, report_text(result, options.recording))
        print(f'wrote {options.report}')
    kept.forget()
    if refused:
        print(
            f'not written: {refused}; record more, raise --stay, or write it with --keep-anyway',
            file=sys.stderr,
        )
        return 3
    return 0


def _checked(options: FinetuneOptions) -> tuple[FinetuneConfig, LoadedWeights]:
    """Return the settings and the student, after checking that the result can be written."""
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
    if loaded.model.config.role == 'teacher':
        raise ConfigError(f'{options.weights}: a many-step teacher; give a one-step student')
    return config, loaded


def _kept(options: FinetuneOptions, config: FinetuneConfig, recorded: Recorded) -> Kept:
    parts = recorded.parts
    facts = json.dumps(
        [
            asdict(config),
            [digest_of(path) for path in options.recording],
            [[len(clip) for clip in part] for part in (parts.adapt, parts.val, parts.held)],
            file_digest(options.weights),
        ]
    )
    return Kept(
        options.out.with_name(f'{options.out.name}.checkpoint'),
        hashlib.sha256(facts.encode()).hexdigest(),
        mended=True,
    )


def _scores(
    options: FinetuneOptions,
    config: FinetuneConfig,
    recorded: Recorded,
    original: MotionModel,
    student: MotionModel,
) -> dict[str, Any]:
    """Score both students on the held-back part and on other requested data; print the tables."""

    def both(windows: NDArray[np.float32], blocks: NDArray[np.int64]) -> dict[str, Any]:
        before, after = (
            score(model, windows, config.scored_samples, config.seed)
            for model in (original, student)
        )
        return compare(before, after, blocks)

    rows = both(recorded.held, recorded.blocks)
    print(f'held-back part, {config.scored_samples} samples:\n{table(rows)}')
    window, also = original.config.window, {}
    for path in options.also:
        clips = [
            resample(clip.positions, clip.rate_hz, window.rate_hz)
            for clip in load_clips(path, original.skeleton)
        ]
        name = f'{path.resolve().parent.name}/{path.stem}'
        also[name] = both(*cut_windows(clips, window))
        print(f'{name}, which is not in the recording:\n{table(also[name])}')
    return {'held_back': rows, 'also': also}


def _refusal(result: Mapping[str, Any]) -> str:
    """Return why weights are not worth writing; '' if they are."""
    if result['best_step'] == 0:
        return 'nothing tried was better on validation'
    worse = got_worse(result['held_back'])
    return f'{" and ".join(worse)} got worse on the held-back part' if worse else ''


def _write_weights(
    options: FinetuneOptions,
    loaded: LoadedWeights,
    student: MotionModel,
    parts: Parts,
    result: Mapping[str, Any],
) -> None:
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


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :param arguments: the words after ``python -m training finetune``.
    :returns: the exit code: 0; 2 if an argument cannot be used; 3 if the weights got worse and
        were not written; 130 if stopped.
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
