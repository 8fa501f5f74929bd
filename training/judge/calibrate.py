# SPDX-License-Identifier: Apache-2.0
"""Fit and report how often people really are within a radius: python -m training calibrate.

The method is split conformal prediction on recordings that the model was not trained on. The score
is the distance of every real joint from the mean of the samples, over a power of the samples'
spread. For each joint and instant one quantile of the scores goes into the weights file. It is
chosen so that, when fitted on all subjects but one, it holds on average the stated share of that
one. On other recordings the share that is really held is counted. Beside it stand the share of the
ball that holds the share of the samples, and that of radii which follow, as in the node, what
people really did so far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
import sys
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from motion_predictor.common.whole_files import require_writable
from motion_predictor.errors import ConfigError, MotionPredictorError
from motion_predictor.model.calibration import Calibration, spread_m
from motion_predictor.model.weights import file_digest, load_weights
from motion_predictor.predict.moments import holding_radius
from motion_predictor.predict.radius import checked_instants, RadiusScale
from training.common import provenance
from training.common.options import about, read_options
from training.engine.diffusion import Sampler, sampler_for
from training.engine.weights_file import rewrite
from training.judge.scoring import DataFile, load_data

FORMAT = 'motion_predictor calibration'
VERSION = 2
LEVELS = (0.9, 0.99)
FLOOR_M = 0.02
"""Distance in metres that is added to the spread in square: samples that agree to the millimetre
are no more certain."""
POWERS = (1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5)
FEWEST = 30
"""Least number of a subject's windows for the choice of the power."""
BATCH = 20

EXAMPLE = """\
worked example, from the root of the source tree: fit on the val subjects, report on test too:
  python -m training calibrate --weights resource/weights/swiftdiff.safetensors \\
      --fit ../shared/data/cmu17/val.npz ../shared/data/uiprmd17/val.npz \\
      --report ../shared/data/cmu17/test.npz ../shared/data/uiprmd17/test.npz \\
      --json docs/results/data/calibration.json
"""


@dataclass(frozen=True, kw_only=True)
class CalibrateOptions:
    """Options of ``calibrate``."""

    weights: Path
    """A one-step model; the calibration is written into this file."""
    fit: tuple[Path, ...]
    """Recordings to fit on: neither used in training nor reported as a test."""
    report: tuple[Path, ...] = ()
    """Further recordings to report."""
    levels: tuple[float, ...] = LEVELS
    samples: int = 50
    seed: int = 0
    """Seed of the noise."""
    device: Literal['auto', 'cpu', 'cuda'] = 'auto'
    json: Path
    """File for the report."""
    keep_file: bool = False
    """Only report; leave the weights as they are."""
    dry_run: bool = False
    """Print what would be done."""
    quiet: bool = False
    """Show no progress bars."""


def fit_factor(scores: NDArray[np.float64], levels: Sequence[float]) -> NDArray[np.float32]:
    """
    Return conformal quantiles over windows: the ``ceil((N + 1) level)``-th smallest score.

    :param scores: distance over spread, ``(N, T_fut, J)``.
    :param levels: shares to hold.
    :returns: ``(levels, T_fut, J)``; the largest score if N is too small for a level.
    """
    ordered = np.sort(scores, axis=0)
    count = len(ordered)
    ranks = [min(count, int(np.ceil((count + 1) * level - 1e-9))) for level in levels]
    factor = np.stack([ordered[rank - 1] for rank in ranks])
    return np.nextafter(factor.astype(np.float32), np.float32(np.inf))  # never rounded down


def hold_the_left_out(
    distance: NDArray[np.float64],
    spread: NDArray[np.float64],
    subjects: NDArray[np.str_],
    levels: Sequence[float],
) -> tuple[float, tuple[float, ...], list[dict[str, Any]]]:
    """
    Choose the power of the spread, and the quantiles to take, by leaving out each subject.

    People differ more than the windows of one person, so quantiles fitted on some people hold less
    of another than they state. The chosen quantiles are those that, fitted on all subjects but
    one, hold the requested share on average over the subjects. The chosen power is, among those
    whose largest scores hold every level, the one with which the shares of single subjects are
    nearest to the lowest level.

    :param distance: distance of real joints from the mean, metres, ``(N, T_fut, J)``.
    :param spread: spread of the samples, metres, ``(N, T_fut, J)``.
    :param subjects: subject of each window, ``(N,)``; those with fewer than :data:`FEWEST` windows
        are fitted on but not left out.
    :param levels: shares to hold.
    :returns: the power; the quantile for each level; and for each power and level the share held
        of every subject. With fewer than two subjects: 1, the levels, and nothing.
    """
    names, counts = np.unique(subjects, return_counts=True)
    chosen = names[counts >= FEWEST].tolist()
    if len(chosen) < 2:
        return 1.0, tuple(levels), []
    tried: list[dict[str, Any]] = []
    for power in POWERS:
        scores = distance / spread**power
        parts = {name: (np.sort(scores[subjects != name], axis=0), scores[subjects == name])
                 for name in chosen}  # fmt: skip

        def held(quantile: float, parts: Any = parts) -> dict[str, float]:
            shares = {}
            for name, (ordered, mine) in parts.items():
                rank = int(np.ceil((len(ordered) + 1) * quantile - 1e-9))
                shares[name] = float((mine <= ordered[min(rank, len(ordered)) - 1]).mean())
            return shares

        for level in levels:
            low, high = level, 1.0
            for _ in range(12):
                middle = 0.5 * (low + high)
                enough = np.mean(list(held(middle).values())) >= level
                low, high = (low, middle) if enough else (middle, high)
            quantile = level if np.mean(list(held(level).values())) >= level else high
            shares = {name: round(share, 4) for name, share in held(quantile).items()}
            off = float(np.mean([abs(share - level) for share in shares.values()]))
            tried.append({'power': power, 'level': level, 'quantile': round(quantile, 5),
                          'off': round(off, 4), 'held': shares})  # fmt: skip
    short = {row['power'] for row in tried if np.mean(list(row['held'].values())) < row['level']}
    lowest = [row for row in tried if row['level'] == levels[0]]
    able = [row for row in lowest if row['power'] not in short] or lowest
    power = min(able, key=lambda row: row['off'])['power']
    return power, tuple(row['quantile'] for row in tried if row['power'] == power), tried


@dataclass(frozen=True)
class Measured:
    """The samples' statements on the windows of one file, and what then happened."""

    distance: NDArray[np.float64]
    """Distance of real joints from the mean of the samples, in the world, metres, ``(N, T_fut,
    J)``."""
    spread: NDArray[np.float64]
    """Spread of the samples, metres, ``(N, T_fut, J)``."""
    ball: NDArray[np.float64]
    """Radius that holds each level's share of the samples, metres, ``(levels, N, T_fut, J)``."""
    subjects: NDArray[np.str_]
    """Subject of each window, ``(N,)``."""
    clip: NDArray[np.int64]
    """Number of the clip of each window, ``(N,)``."""
    start: NDArray[np.int64]
    """First frame of each window in its clip, ``(N,)``."""


def measure(
    sampler: Sampler, file: DataFile, levels: Sequence[float], options: CalibrateOptions
) -> Measured:
    """Predict the windows of a file and compare with what then happened, in the world."""
    parts: dict[str, list[NDArray[np.float64]]] = {'distance': [], 'spread': [], 'ball': []}
    observed_frames = file.observed.shape[1]
    assert sampler.predictor is not None
    for first in tqdm(
        range(0, len(file.chosen), BATCH), desc=file.label, unit='batch', disable=options.quiet
    ):
        chosen = file.chosen[first : first + BATCH]
        poses = file.windows.poses[chosen]
        observed, real = poses[:, :observed_frames], poses[:, observed_frames:]
        prediction = sampler.predict(
            observed, samples=options.samples, seed=options.seed, first_index=first
        )
        moments = prediction.moments()
        parts['distance'].append(np.linalg.norm(real - moments.mean, axis=-1))
        parts['spread'].append(spread_m(moments.covariance, FLOOR_M))
        balls = [
            holding_radius(prediction.futures, prediction.weights, moments.mean, level)
            for level in levels
        ]
        parts['ball'].append(np.stack(balls))
    return Measured(
        np.concatenate(parts['distance']),
        np.concatenate(parts['spread']),
        np.concatenate(parts['ball'], axis=1),
        np.array(file.windows.subjects)[file.chosen],
        file.windows.clip[file.chosen],
        file.windows.start[file.chosen],
    )


def follow(
    apart: NDArray[np.float64],
    clip: NDArray[np.int64],
    start: NDArray[np.int64],
    share: float,
    mode: str,
) -> NDArray[np.float64]:
    """
    Return the factors on the radius in a node that sees the windows one after another.

    Each checked instant changes the factor when it has come, and not before.

    :param apart: distances over the radii stated with factor 1, ``(N, T_fut, J)``.
    :param clip: clip of each window, ``(N,)``; pending checks end when it changes.
    :param start: first frame of each window in its clip, increasing, ``(N,)``.
    :param share: share to hold.
    :param mode: mode of :class:`motion_predictor.predict.radius.RadiusScale`.
    :returns: the factor when each window was predicted, ``(N,)``.
    """
    frames = checked_instants(apart.shape[1])
    tracked, scales = RadiusScale(share, mode), np.empty(len(apart))
    waiting: list[tuple[int, float]] = []
    for number, checked in enumerate(apart[:, frames]):
        if number and clip[number] != clip[number - 1]:
            now = np.iinfo(np.int64).max
        else:
            now = start[number]
        come = sorted(each for each in waiting if each[0] <= now)
        waiting = [each for each in waiting if each[0] > now]
        for _, missed in come:
            tracked.note(missed, 1.0 / len(frames))
        scales[number] = tracked.value
        missed_now = (checked > tracked.value).mean(axis=-1)
        waiting += zip((start[number] + frames + 1).tolist(), missed_now.tolist())
    return scales


def report_row(
    measured: Sequence[Measured],
    calibration: Calibration,
    rate_hz: float,
    label: str,
) -> dict[str, Any]:
    """
    Return the share of real positions within the radii, over windows, instants and joints.

    :param measured: one or several files, scored together; radii that follow what happens begin
        again with each file.
    :param calibration: the radii.
    :param rate_hz: frames per second.
    :param label: name of the row.
    """
    levels = [
        _level(measured, calibration, rate_hz, index) for index in range(len(calibration.levels))
    ]
    return {
        'data': label,
        'windows': sum(len(part.distance) for part in measured),
        'levels': levels,
    }


def _level(
    measured: Sequence[Measured], calibration: Calibration, rate_hz: float, index: int
) -> dict[str, Any]:
    """Return what the radii of one level held."""
    level = calibration.levels[index]
    distance = np.concatenate([part.distance for part in measured])
    ball = np.concatenate([part.ball for part in measured], axis=1)[index]
    frames = distance.shape[1]
    seconds = np.unique(np.linspace(0, frames - 1, 9).round().astype(int)[1:])
    stated = [calibration.factor[index] * part.spread**calibration.power for part in measured]
    radius = np.concatenate(stated)
    inside, sampled = distance <= radius, distance <= ball
    by_window = {'fixed': inside.mean(axis=(1, 2))}
    followed: dict[str, dict[str, float]] = {}
    for mode in ('both', 'widen'):
        scale = np.concatenate(
            [
                follow(part.distance / own, part.clip, part.start, level, mode)
                for part, own in zip(measured, stated)
            ]
        )
        scaled = radius * scale[:, None, None]
        by_window[mode] = (distance <= scaled).mean(axis=(1, 2))
        followed[mode] = {
            'held': round(float(by_window[mode].mean()), 4),
            'median_radius_m': round(float(np.median(scaled)), 4),
            'median_scale': round(float(np.median(scale)), 4),
        }
    return {
        'level': level,
        'held': round(float(inside.mean()), 4),
        'held_by_samples_ball': round(float(sampled.mean()), 4),
        'median_radius_m': round(float(np.median(radius)), 4),
        'median_radius_of_samples_m': round(float(np.median(ball)), 4),
        'followed': followed,
        'by_second': {
            f'{(frame + 1) / rate_hz:g}': round(float(inside[:, frame].mean()), 4)
            for frame in seconds
        },
        'by_joint': [round(float(x), 4) for x in inside.mean(axis=(0, 1))],
        'by_joint_samples_ball': [round(float(x), 4) for x in sampled.mean(axis=(0, 1))],
        'by_subject': _by_subject(measured, by_window),
    }


def _by_subject(
    measured: Sequence[Measured], by_window: Mapping[str, NDArray[np.float64]]
) -> dict[str, dict[str, float]]:
    subjects = np.concatenate([part.subjects for part in measured])
    return {
        name: {
            'windows': int((subjects == name).sum()),
            **{
                mode: round(float(shares[subjects == name].mean()), 4)
                for mode, shares in by_window.items()
            },
        }
        for name in np.unique(subjects).tolist()
    }


def calibrate(options: CalibrateOptions, arguments: Sequence[str]) -> dict[str, Any]:
    """
    Fit a weights file's calibration, write it back into the file, and report.

    :returns: the report, JSON-able.
    :raises MotionPredictorError: if a file cannot be used.
    """
    loaded = load_weights(options.weights)
    if loaded.model.config.role == 'teacher':
        raise ConfigError(f'{options.weights}: a many-step teacher; calibrate a one-step model')
    levels = tuple(sorted(options.levels))
    sampler = sampler_for(options.weights, device=options.device)
    window = loaded.model.config.window
    skeleton = loaded.model.skeleton
    fit_files = load_data(options.fit, window, skeleton=skeleton)
    others = load_data(options.report, window, skeleton=skeleton) if options.report else []
    measured = {f.label: measure(sampler, f, levels, options) for f in [*fit_files, *others]}
    fitting = [measured[file.label] for file in fit_files]
    distance = np.concatenate([part.distance for part in fitting])
    spread = np.concatenate([part.spread for part in fitting])
    subjects = np.concatenate([part.subjects for part in fitting])
    power, quantiles, tried = hold_the_left_out(distance, spread, subjects, levels)
    calibration = Calibration(
        levels=levels,
        factor=fit_factor(distance / spread**power, quantiles),
        power=power,
        floor_m=FLOOR_M,
        samples=options.samples,
        fitted_on={f'{f.set_name}/{f.path.name}': f.sha256 for f in fit_files},
    )
    groups = [(file.label, [file]) for file in [*fit_files, *others]]
    for split in dict.fromkeys(file.split for file in [*fit_files, *others]):
        members = [file for file in [*fit_files, *others] if file.split == split]
        if len(members) > 1:
            groups.append((f'{"both" if len(members) == 2 else "all"}/{split}', members))
    rows = [
        report_row([measured[f.label] for f in files], calibration, window.rate_hz, label)
        for label, files in groups
    ]
    if not options.keep_file:
        rewrite(options.weights, replace(loaded, calibration=calibration))
    return {
        **provenance.origin(FORMAT, VERSION, 'training calibrate', arguments),
        'model': options.weights.stem,
        'sha256': file_digest(options.weights),
        'settings': {
            'samples': options.samples,
            'seed': options.seed,
            'quantiles': quantiles,
            **calibration.facts(),
        },
        'left_out': tried,
        'joints': list(skeleton.joints),
        'rows': rows,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :returns: the exit code: 0, or 2 if an argument cannot be used.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = read_options(CalibrateOptions, 'training calibrate', about(__doc__), EXAMPLE, words)
    try:
        if options.samples < 2:
            raise ConfigError(f'--samples {options.samples}: a spread needs two or more')
        if options.dry_run:
            load_weights(options.weights)
            print(f'{options.weights}: levels {options.levels}, {options.samples} samples; fit on '
                  f'{", ".join(map(str, options.fit))}')  # fmt: skip
            return 0
        require_writable(options.json)
        result = calibrate(options, words)
    except MotionPredictorError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    provenance.write_json(options.json, result)
    for row in result['rows']:
        for level in row['levels']:
            print(
                f'{row["data"]:<16} {row["windows"]:>5} windows  asked {level["level"]:.3f}  held '
                f"{level['held']:.3f} (the samples' own ball {level['held_by_samples_ball']:.3f}; "
                f'following {level["followed"]["both"]["held"]:.3f})'
                f'  median radius {level["median_radius_m"]:.3f} m'
            )
    print(f'written: {options.json}')
    return 0
