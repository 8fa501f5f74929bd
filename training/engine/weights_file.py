# SPDX-License-Identifier: Apache-2.0
"""Weights files in the form in which they ship: golden pairs, precisions, cards beside them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.common.files import read_json
from motion_predictor.common.whole_files import write_whole
from motion_predictor.errors import ConfigError
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.weights import (
    file_digest,
    GoldenPair,
    load_weights,
    LoadedWeights,
    quantize_rows,
    save_weights,
)
from motion_predictor.predict.predictor import Predictor
from motion_predictor.recordings.walker import walk

CARD_METRICS = ('APD', 'ADE', 'FDE', 'MMADE', 'MMFDE')
GOLDEN_SAMPLES = 4


def golden_input(model: MotionModel, seed: int) -> np.ndarray:
    """
    Return a synthetic observed window: a walk, or for other skeletons a swaying tree.

    :returns: metres, ``(T_obs, J, 3)``.
    """
    window, skeleton = model.config.window, model.skeleton
    generator = np.random.default_rng(seed)
    if skeleton.joints == H36M17.joints:
        seconds = (window.observed_frames + 1) / window.rate_hz
        return walk(seconds, window.rate_hz, generator)[: window.observed_frames]
    return sway(skeleton, window.observed_frames, window.rate_hz, generator)


def sway(
    skeleton: Skeleton, frames: int, rate_hz: float, generator: np.random.Generator
) -> np.ndarray:
    """Return a tree whose bones swing about their directions, ``(frames, J, 3)`` metres."""
    time_s = np.arange(frames)[:, None] / rate_hz
    poses = np.zeros((frames, skeleton.num_joints, 3), dtype=np.float32)
    for child, parent in skeleton.bones:
        length = 0.3 if skeleton.bones_m is None else skeleton.bones_m[child]
        phase, pace = generator.uniform(0, 2 * np.pi, 3), generator.uniform(0.3, 1.0, 3)
        bone = generator.normal(size=3) + 0.5 * np.sin(2 * np.pi * pace * time_s + phase)
        bone *= length / np.linalg.norm(bone, axis=-1, keepdims=True)
        poses[:, child] = poses[:, parent] + bone
    return poses


def golden_pair(model: MotionModel, seed: int = 7) -> GoldenPair | None:
    """
    Return an input/output pair from synthetic motion, in float32 on the CPU.

    :returns: None for a teacher, which is sampled in many steps.
    """
    if model.config.role == 'teacher':
        return None
    observed = golden_input(model, seed)
    predictor = Predictor(model, {}, device='cpu', engine='fp32')
    futures = predictor.predict(observed, samples=GOLDEN_SAMPLES, seed=seed).futures[0]
    return GoldenPair(observed, futures, seed)


def export(
    source: Path,
    out: Path,
    dtype: torch.dtype | None = None,
    scores: dict[str, object] | None = None,
    surprise: dict[str, object] | None = None,
) -> None:
    """
    Copy a weights file with a golden pair and write its card beside it.

    :param source: weights file of a training verb.
    :param out: the file to write; the card is ``out`` with suffix ``.md``.
    :param dtype: number format of the network's tensors; None for half precision if the source has
        it.
    :param scores: for the card: metric names and values by data file.
    :param surprise: for the card: from :func:`surprise_facts`.
    :raises WeightsError: if the source is damaged.
    """
    loaded = load_weights(source)
    model = loaded.model
    kept = dtype or (torch.float32 if model.config.role == 'swiftdiff' else torch.float16)
    numbers = [*model.denoiser.parameters(), *model.denoiser.buffers()]
    for parameter in numbers:  # the golden pair must be that of the file
        if kept == torch.int8:
            if parameter.ndim == 2:
                whole, scale = quantize_rows(parameter.data)
                parameter.data = whole.float() * scale
        else:
            parameter.data = parameter.data.to(kept).float()
    card = dict(loaded.card)
    if scores:
        card['scores'] = scores
    if surprise:
        card['surprise'] = surprise
    save_weights(out, model, card, golden_pair(model), kept)
    write_whole(out.with_suffix('.md'), card_text(out, model, card))


def rewrite(path: Path, loaded: LoadedWeights) -> None:
    """
    Write a changed model over its file, in the same precision, and over its card, if any.

    :param path: the weights file.
    :param loaded: the new content.
    """
    save_weights(
        path,
        loaded.model,
        loaded.card,
        loaded.golden,
        loaded.dtype,
        loaded.calibration,
        loaded.weighing,
    )
    card = path.with_suffix('.md')
    if card.is_file():
        write_whole(card, card_text(path, loaded.model, loaded.card))


def card_text(out: Path, model: MotionModel, card: dict[str, object]) -> str:
    """Return a model card as Markdown: title, sizes, data, scores, limits."""
    config = model.config
    parameters = sum(parameter.numel() for parameter in model.denoiser.parameters())
    size = config.denoiser
    lines = [
        f'# {out.name}',
        '',
        f'{card.get("what", "")}.{_taught_by(card)}',
        '',
        f'- Network: {size.architecture}, width {size.width}, depth {size.depth}, '
        f'{parameters / 1e6:.2f} M parameters, {out.stat().st_size / 1e6:.2f} MB.',
        f'- Window: {config.window.observed_frames} observed and {config.window.future_frames} '
        f'future frames at {config.window.rate_hz:g} Hz; {config.window.dct_keep} DCT rows; '
        f'joints of {config.skeleton}.',
        f'- Trained with preset {card.get("preset")}, seed {card.get("seed")}, '
        f'commit {card.get("commit")}.',
        '- Training data (SHA-256):',
    ]
    data = card.get('data')
    if isinstance(data, dict):
        lines += [f'  - `{name}` {digest}' for name, digest in data.items()]
    lines += ['', '## Scores', '']
    scores = card.get('scores')
    if isinstance(scores, dict) and scores:
        for name, values in scores.items():
            lines += [f'- {name}: {json.dumps(values)}']
    else:
        lines += ['See docs/results/results.md.']
    lines += ['', '## Limits', '', _limits(model, card), '']
    names = ' '.join(data) if isinstance(data, dict) else ''
    if 'cmu17' in names:
        lines += [
            'The data used in this project was obtained in part from mocap.cs.cmu.edu. The '
            'database was created with funding from NSF EIA-0196217.',
            '',
        ]
    if 'uiprmd17' in names:
        lines += [
            'UI-PRMD: Vakanski, Jun, Paul, Baker, Data 3(1):2, 2018 (PDDL 1.0).',
            '',
        ]
    return '\n'.join(lines)


def _taught_by(card: dict[str, object]) -> str:
    """Return a sentence on the terms of a student's loss, the largest weight first."""
    settings = card.get('settings')
    what = str(card.get('what'))
    if not isinstance(settings, dict) or 'finetuned' in card:
        return ''
    student = settings.get('swiftdiff', {})
    terms = {
        f'the distance of the best of {student.get("samples")} samples '
        'from the real future': 'real',
        "the mean square distance from samples of the diffusion teacher's DDIM": 'match_ddim',
        'the energy score of samples against the real future': 'spread',
        'the mean square distance from samples of the one-step teacher': 'match',
    }
    if what.startswith('mixture'):
        mixture = settings.get('moe', {})
        student = {**mixture.get('vdd', {}), **mixture} if mixture.get('method') == 'vdd' else {}
        terms = {
            'the log likelihood of the recordings': 'real',
            'the log likelihood of futures that diffusion models sampled': 'forward',
            'the distance of the nearest expert from the real future': 'together_best',
            'the distance of the nearest from the last instant': 'together_best_end',
            "VDD's bound, which asks the teacher's score": 'reverse',
        }
    elif not what.startswith('SwiftDiff'):
        return ''
    found = sorted(((student.get(name, 0.0), term) for term, name in terms.items()), reverse=True)
    told = [f'{weight:g} for {term}' for weight, term in found if weight > 0.0]
    return f' The terms of its loss by weight: {"; ".join(told)}.' if told else ''


def _limits(model: MotionModel, card: dict[str, object]) -> str:
    data = card.get('data')
    names = ' '.join(data) if isinstance(data, dict) else ''
    trained = 'Trained on the data named above, one body at a time. '
    if 'cmu17' in names and 'uiprmd17' in names:
        trained = (
            'Trained on adults of two motion-capture collections, one person at a time: everyday '
            'actions, dance, sport, climbing, and rehabilitation exercises. '
        )
    around = 'It knows nothing of objects, of other bodies and of what is around it'
    if model.skeleton.joints == H36M17.joints:
        around = 'It knows nothing of objects, of other people or of the robot'
    return (
        f'{trained}{around}, and what it has not seen it predicts badly. Not for safety '
        'functions: it may tighten a monitor that works on measured positions, never replace it.'
    )


def scores_by_digest(evaluation: Path) -> dict[str, dict[str, object]]:
    """
    Return the results of an evaluation for every weights file, for its card.

    :param evaluation: JSON of ``training evaluate``.
    :returns: by SHA-256 of the file: metric names and values by set and split, with those of the
        constant pose.
    :raises ConfigError: if the file holds no evaluation.
    """
    try:
        result = read_json(evaluation, ConfigError)
        digests = {m['model']: m['sha256'] for m in result['models'] if m.get('sha256')}
        settings = result['settings']
        how = f'{settings["samples"]} samples, seed {settings["seed"]}, metres'
        found: dict[str, dict[str, object]] = {
            digest: {'python -m training evaluate': how} for digest in digests.values()
        }
        still = {}
        for row in result['rows']:
            where = f'{row["set"]} {row["split"]}'
            pose = {name: round(row['pose'][name.lower()], 3) for name in CARD_METRICS}
            world = {f'world {n}': round(row['world'][n.lower()], 3) for n in ('ADE', 'FDE')}
            if row['model'] == 'zero_velocity':
                still[where] = {n: pose[n] for n in ('ADE', 'FDE')} | world
            elif row['model'] in digests:
                scores = found[digests[row['model']]]
                scores[where] = {**pose, **world}
                scores[f'{where}, zero velocity'] = still[where]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f'--cards {evaluation}: no evaluation of this release: {error}'
        ) from None
    return found


def surprise_facts(evaluation: Path, weights: Path) -> dict[str, object]:
    """
    Return the threshold above which a mixture's surprise counts as new, for its card.

    :param evaluation: JSON of ``training evaluate-mixture``.
    :param weights: the file that is exported; it must be the one evaluated.
    :returns: 'threshold' in nats per coordinate, and 'false_alarms' by split.
    :raises ConfigError: if the evaluation holds no threshold for that file.
    """
    try:
        result = read_json(evaluation, ConfigError)
        digest = file_digest(weights)
        name = next(m['model'] for m in result['models'] if m['sha256'] == digest)
        rows = [r for r in result['rows'] if r['set'] == 'surprise' and r['model'] == name]
        return {
            'threshold': float(rows[0]['threshold']),
            'quantile_on_val': result['settings']['quantile'],
            'false_alarms': {row['split']: row['false_alarms'] for row in rows},
        }
    except (OSError, ValueError, KeyError, TypeError, IndexError, StopIteration) as error:
        raise ConfigError(
            f'--surprise {evaluation}: no threshold of {weights.name} in it '
            f'({type(error).__name__}: {error}); evaluate that file by evaluate-mixture '
            'and a val.npz among its --data'
        ) from None


def write_cards(folder: Path, evaluation: Path) -> list[Path]:
    """
    Write the cards of a folder's weights with their scores; the weights stay as they are.

    :returns: the cards of the files that the evaluation contains.
    """
    scores = scores_by_digest(evaluation)
    written = []
    for path in sorted(folder.glob('*.safetensors')):
        known = scores.get(file_digest(path))
        if known is None:
            continue
        loaded = load_weights(path)
        card = {**loaded.card, 'scores': known}
        write_whole(path.with_suffix('.md'), card_text(path, loaded.model, card))
        written.append(path.with_suffix('.md'))
    return written
