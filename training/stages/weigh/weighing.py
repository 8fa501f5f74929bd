# SPDX-License-Identifier: Apache-2.0
"""Fit the weighing of the model against other candidates: python -m training weighing.

Recordings of people that the model has not seen are played as streams, clean and as trackers send
them. Gate and radius network are fitted to the candidates' later errors, and written into the
weights file. Recordings of one folder count as one laboratory, and all laboratories have equal
weight. Do not give recordings of people whom the model was trained on: it is better on those than
it will be on others. If there are no other people for some kind of motion, name weights of the
same recipe that were trained without them (--held-out); those play them. --leave-out fits again
without each laboratory in turn and prints how well the rest serves it; settings are chosen by
that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motion_predictor.body.geometry import bone_lengths, with_bones
from motion_predictor.body.skeleton import Skeleton
from motion_predictor.common.whole_files import require_writable
from motion_predictor.errors import ConfigError, MotionPredictorError
from motion_predictor.model.networks.gate import Described, Gate
from motion_predictor.model.weighing_weights import WeighingWeights
from motion_predictor.model.weights import file_digest, load_weights
from motion_predictor.predict.device import use_threads
from motion_predictor.predict.place.mix import firmness
from motion_predictor.predict.predictor import Predictor
from training.common import provenance
from training.common.options import about, read_options
from training.engine.weights_file import rewrite
from training.judge.held_out import made_without
from training.stages.weigh.fit_gate import fit_gate, GateFit, groups_of
from training.stages.weigh.fit_radius import fit_radius, LEVELS
from training.stages.weigh.weighing_data import (
    collect,
    fit_basis,
    PLAYS,
    read_records,
    Records,
    save_records,
)

FORMAT = 'motion_predictor weighing'
VERSION = 1
EXAMPLE = """\
worked example, from the root of the source tree: weigh the shipped model for one's own place
  python -m training weighing --weights my.safetensors --data hall_a/*.npz hall_b/*.npz \\
      --leave-out --json weighing.json
"""


@dataclass(frozen=True, kw_only=True)
class WeighingOptions:
    """Options of ``weighing``."""

    weights: Path
    """The model; it is overwritten."""
    out: Path | None = None
    """Write to this file instead."""
    data: tuple[Path, ...]
    """Recordings of people that the model has not seen."""
    basis: tuple[Path, ...] | None = None
    """Recordings for the memory's basis (default: those of --data)."""
    json: Path
    """File for the results."""
    held_out: tuple[str, ...] = ()
    """SET=FILE: weights that were trained without a set, for the people of that set; or without
    one file, as reactidle17/train.npz=FILE."""
    keep: Path | None = None
    """File that keeps what was played, so that the next call fits on it again."""
    plays: int = len(PLAYS)
    """So many ways of playing each file (default all )."""
    leave_out: bool = False
    """Also fit without each laboratory, and compare."""
    samples: int = 50
    """Samples of the model."""
    seed: int = 0
    """Seed of the fit."""
    processes: int = 1
    """Number of processes that play at once."""


def collected(options: WeighingOptions) -> tuple[NDArray[np.float32], list[Records]]:
    """
    Play the recordings, or read what an earlier call kept of them.

    :returns: the memory's basis, and the moments.
    """
    predictor = Predictor.load(options.weights, device='cpu')
    basis = fit_basis(options.basis or options.data, predictor)
    if options.keep and options.keep.is_file():
        return basis, read_records(options.keep)
    parts = collect(
        options.weights, basis, options.data, PLAYS[: options.plays], options.processes,
        options.samples, made_without(options.held_out),
    )  # fmt: skip
    if options.keep:
        save_records(parts, options.keep)
    return basis, parts


def ratios(gate: Gate, parts: Sequence[Records], skeleton: Skeleton) -> dict[str, list[float]]:
    """
    Compare the published future with the best guess, chosen afterwards by horizon.

    :param gate: the gate.
    :param parts: records of one laboratory and one way of playing.
    :param skeleton: the model's skeleton.
    :returns: error of the one future, and energy score, relative to the best of model, damped
        velocity and standing still, by knot.
    """
    sums: dict[str, Any] = {'off': 0.0, 'energy': 0.0, 'offs': 0.0, 'energies': 0.0}
    for part in parts:
        described = Described(part.features, part.means, part.available)
        weights = gate.weights(described, part.evidence)
        mean = (weights[..., None, None] * part.means).sum(axis=2)
        boned = with_bones(mean, bone_lengths(part.seen, skeleton)[:, None], skeleton)
        mean = mean + firmness(part.jitter)[:, None, None, None] * (boned - mean)
        sums['off'] += np.linalg.norm(mean - part.truth, axis=-1).mean(axis=-1).sum(axis=0)
        pairs = np.einsum('nkc,nkcd,nkd->nk', weights, part.between, weights)
        sums['energy'] += ((weights * part.near).sum(axis=-1) - 0.5 * pairs).sum(axis=0)
        each = np.linalg.norm(part.means - part.truth[:, :, None], axis=-1).mean(axis=-1)
        sums['offs'] += each[..., :3].sum(axis=0)
        own = np.diagonal(part.between, axis1=2, axis2=3)
        sums['energies'] += (part.near - 0.5 * own)[..., :3].sum(axis=0)
    return {
        'error': (sums['off'] / sums['offs'].min(axis=-1)).round(3).tolist(),
        'energy': (sums['energy'] / sums['energies'].min(axis=-1)).round(3).tolist(),
    }


def leave_out(
    parts: Sequence[Records], skeleton: Skeleton, settings: GateFit
) -> list[dict[str, Any]]:
    """Fit without each laboratory in turn; return a row for each and each way of playing it."""
    rows = []
    for laboratory in sorted({part.laboratory for part in parts}):
        rest = [part for part in parts if part.laboratory != laboratory]
        if not rest:
            continue
        gate = fit_gate(rest, settings)
        for group in groups_of([part for part in parts if part.laboratory == laboratory]):
            play = PLAYS[group[0].play]
            rows.append(
                {
                    'laboratory': laboratory,
                    'play': group[0].play,
                    'order': play.order,
                    'memory': play.memory,
                    'tracker': vars(play.tracker),
                    'moments': sum(map(len, group)),
                    **ratios(gate, group, skeleton),
                }
            )
    return rows


def fit(options: WeighingOptions, arguments: Sequence[str]) -> dict[str, Any]:
    """
    Fit and write.

    :returns: the result with its data, JSON-able.
    :raises MotionPredictorError: if a file cannot be used.
    """
    loaded = load_weights(options.weights)
    skeleton, window = loaded.model.skeleton, loaded.model.config.window
    basis, parts = collected(options)
    if not parts:
        raise ConfigError('--data: no clip is long enough for a window and its future')
    begun = time.perf_counter()
    settings = GateFit(seed=options.seed)
    rows = leave_out(parts, skeleton, settings) if options.leave_out else []
    gate = fit_gate(parts, settings)
    radius = fit_radius(parts, gate, skeleton, window.rate_hz)
    moments = sum(map(len, parts))
    people = {f'{part.laboratory}/{s}' for part in parts for s in part.subject}
    facts = {
        'fitted_on': {_named(path): file_digest(path) for path in options.data},
        'held_out': {
            name: file_digest(path) for name, path in made_without(options.held_out).items()
        },
        'samples': options.samples,
        'seed': options.seed,
        'moments': moments,
        'people': len(people),
        'joints_behind_level': {
            str(level): round((1.0 - level) * moments * skeleton.num_joints) for level in LEVELS
        },
    }
    weighing = WeighingWeights(basis, gate, radius, facts)
    weighing.check(window, skeleton)
    rewrite(options.out or options.weights, replace(loaded, weighing=weighing))
    return {
        **provenance.origin(FORMAT, VERSION, 'training weighing', arguments),
        **facts,
        'fit_s': round(time.perf_counter() - begun, 1),
        'left_out': rows,
    }


def _named(path: Path) -> str:
    # Files of elsewhere by their set and name: files of several sets have the same name.
    shown = provenance.shown_path(path)
    return shown if '/' in shown else f'{path.resolve().parent.name}/{shown}'


def summary(result: dict[str, Any]) -> str:
    """Return the left-out laboratories as plain text."""
    lines = [f'{"laboratory":<18}{"played":<34}error to the best guess, by horizon']
    for row in result['left_out']:
        tracker = row['tracker']
        played = f'{row["order"]}, memory {"on" if row["memory"] else "off"}, '
        played += f'{tracker["rate_hz"]:g} Hz, {100 * tracker["noise_m"]:g} cm'
        errors = ' '.join(f'{value:.2f}' for value in row['error'])
        energy = ' '.join(f'{value:.2f}' for value in row['energy'])
        lines.append(f'{row["laboratory"]:<18}{played:<34}{errors}   energy {energy}')
    return '\n'.join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    :returns: the exit code: 0, or 2 if an argument cannot be used.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = read_options(WeighingOptions, 'training weighing', about(__doc__), EXAMPLE, words)
    try:
        if not 1 <= options.plays <= len(PLAYS):
            raise ConfigError(f'--plays {options.plays}: must lie in 1..{len(PLAYS)}')
        use_threads(1)
        require_writable(options.json)
        require_writable(options.out or options.weights)
        result = fit(options, words)
    except MotionPredictorError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    provenance.write_json(options.json, result)
    if result['left_out']:
        print(summary(result))
    print(f'written: {options.out or options.weights}, {options.json}')
    return 0
