# SPDX-License-Identifier: Apache-2.0
"""The demo's animated page in one self-contained file."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
import json
from pathlib import Path
from typing import Any

import numpy as np

from motion_predictor.body.geometry import heading_rad
from motion_predictor.body.skeleton import H36M17
from motion_predictor.predict.likely import by_weight
from tools.demo.demo_layers import ellipsoids, VOXEL_M, voxels
from tools.demo.demo_scores import (
    BEST,
    Collection,
    DAMPED,
    EXPECTED,
    METHODS,
    REPORTED_S,
    Running,
    running,
    RUNNING_S,
    Scores,
    STILL,
    Timing,
)
from training.judge.baselines import DAMPED_OVER_S, DAMPING_S

PARTS = Path(__file__).with_name('page')
SCRIPTS = ('motion.js', 'words.js', 'picture.js', 'controls.js')
"""Parts of the page's one script, in this order."""
PAGE_SAMPLES = 16
FEWEST_SAMPLES = 4
PAGE_STEP_S = 0.2
"""Least time in seconds between predictions on the page, and its number of futures of each."""
PAGE_FUTURES = 4000
"""Greatest number of futures altogether, each of two kilobytes in the page's file."""
THICK_M = {
    'Spine': 0.10, 'Thorax': 0.10, 'Nose': 0.05, 'Head': 0.05, 'Hip': 0.07, 'Knee': 0.068,
    'Ankle': 0.05, 'Shoulder': 0.06, 'Elbow': 0.047, 'Wrist': 0.036,
}  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """The facts about a run, in words."""

    clip: str
    source: str
    weights: str
    summary: str


@dataclass(frozen=True)
class Run:
    """One run of the demo: the received messages, and their scores."""

    collection: Collection
    measured: Timing
    scores: Scores | None
    facts: Facts


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def _limb(joint: str) -> str:
    return joint if joint in THICK_M else joint[1:]


def page_data(*runs: Run) -> dict[str, Any]:
    """
    Return the data for the page.

    :param runs: runs of one recording; the second has other weights and is shown beside the first.
    :returns: JSON-able values; poses as base64 of float32 ``(N, P, J, 3)`` metres; for each run
        the futures as base64 of int16 ``(R, S, T, J, 3)`` millimetres from each row's origin.
    """
    first = runs[0]
    collection = first.collection
    extent = np.nanmax(np.abs(collection.poses[..., 0, :2] - collection.poses[:1, :, 0, :2]))
    begin = np.nanmean(collection.poses[:30, 0], axis=0)
    forward = float(np.nan_to_num(heading_rad(begin, H36M17)))
    learning = None if first.scores is None else running(collection, first.scores)
    return {
        'joints': H36M17.num_joints,
        'bones': [list(bone) for bone in H36M17.bones],
        'radii': [THICK_M[_limb(H36M17.joints[child])] for child, _ in H36M17.bones],
        'people': int(collection.poses.shape[1]),
        'times': [round(float(t), 4) for t in collection.times_s],
        'stamps': [round(float(t), 4) for t in collection.pose_stamps_s],
        'poses': _base64(collection.poses.astype('<f4')),
        'madeUp': collection.made_up_s.round(4).tolist(),
        'damping': [DAMPING_S, DAMPED_OVER_S],
        'view': {
            'turn': forward - 1.05,
            'far': 5.2 if collection.poses.shape[1] == 1 else min(6.0 + 0.3 * float(extent), 8.0),
        },
        'runs': [_run_data(run) for run in runs],
        'table': _table(runs),
        'curves': _curves(first.scores),
        'scored': len(first.scores.rows) if first.scores is not None else 0,
        'running': {} if learning is None else _running_data(learning),
        'cards': _cards(first, learning),
        'subtitle': (
            f'{collection.futures.shape[1]} weighted futures of the next '
            f'{collection.times_s[-1]:.1f} s for every frame, and the one that is expected, from '
            f'the running ROS 2 node, beside what the person then really did.'
        ),
        'about': _about(runs),
    }


def _run_data(run: Run) -> dict[str, Any]:
    """Return the predictions of one run that the page keeps."""
    collection = run.collection
    step_s, samples = _sizes(collection)
    kept = _thin_out(collection, step_s)
    origins = collection.expected[kept, 0, 0].astype(np.float64).round(3).reshape(-1, 3)
    rows, blocks = [], []
    for row, origin in zip(kept, origins):
        chosen = by_weight(collection.weights[row][None], samples - 1)[0]
        futures = np.concatenate([collection.expected[row][None], collection.futures[row, chosen]])
        blocks.append(np.clip(np.round((futures - origin) * 1000), -32767, 32767))
        rows.append(
            {
                't': round(float(collection.stamps_s[collection.message[row]]), 4),
                'p': int(collection.person[row]),
                'o': origin.tolist(),
            }
        )
    spread, touched = ellipsoids(collection, kept, origins), voxels(collection, kept, origins)
    return {
        'name': run.facts.weights,
        'samples': samples,
        'rows': rows,
        'futures': _base64(np.array(blocks, dtype='<i2')),
        'ellipsoids': {'marks': list(spread.marks_s), 'mm': _base64(spread.values.astype('<i2'))},
        'voxels': {
            'm': VOXEL_M,
            'bins': touched.bins,
            'first': touched.first,
            'bytes': _base64(touched.values),
        },
    }


def _curves(scores: Scores | None) -> dict[str, list[float]]:
    if scores is None:
        return {}
    return {
        name: [round(100.0 * float(v), 3) for v in scores.curves[name][: scores.steps]]
        for name in METHODS
        if scores.steps
    }


def _table(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the table of errors: centimetres at each instant, of all joints and the pelvis."""
    scored = [(run, run.scores) for run in runs if run.scores is not None]
    if not scored:
        return {}

    def row(name: str, scores: Scores, method: str, kind: str) -> dict[str, Any]:
        def of(pelvis: bool) -> list[str]:
            means = (100.0 * scores.at_m(at_s, method, pelvis=pelvis) for at_s in REPORTED_S)
            return [f'{mean:.1f}' if np.isfinite(mean) else '-' for mean in means]

        pelvis = of(True) if method in scores.pelvis else ['-'] * len(REPORTED_S)
        return {'name': name, 'kind': kind, 'joint': of(False), 'pelvis': pelvis}

    rows = []
    for run, scores in scored:
        which = f', {run.facts.weights}' if len(scored) > 1 else ''
        rows.append(row(f'{EXPECTED}{which}', scores, EXPECTED, 'ours'))
    first = scored[0][1]
    rows += [row(DAMPED, first, DAMPED, ''), row(STILL, first, STILL, '')]
    for run, scores in scored:
        which = f', {run.facts.weights}' if len(scored) > 1 else ''
        count = run.collection.futures.shape[1]
        rows.append(row(f'nearest of {count} samples{which}', scores, BEST, 'soft'))
    return {'at': [f'{at_s:g} s' for at_s in REPORTED_S], 'rows': rows, 'notes': _notes(scored)}


def _notes(scored: Sequence[tuple[Run, Scores]]) -> list[str]:
    first = scored[0][1]
    left = (
        f' {100.0 * first.left_out:.0f} % of the instants are made up, come after a splice or '
        f'were not seen: those are not scored.'
        if first.left_out
        else ' Every instant was really recorded.'
    )
    notes = [
        f'How far a joint is from where it really was then, in the room: the mean over the '
        f'joints and {len(first.rows)} predictions, half a second or more after the start.'
        f'{left} The nearest sample is chosen afterwards: nobody could know it.'
    ]
    for run, scores in scored:
        if scores.field_m is not None:
            ade, fde = scores.field_m
            which = f' ({run.facts.weights})' if len(scored) > 1 else ''
            notes.append(
                f"In papers' norm{which}: ADE {ade:.3f} m, FDE {fde:.3f} m. It is the length of "
                f'one vector of all coordinates of the body about its pelvis, of the nearest of '
                f'{run.collection.futures.shape[1]} samples: no distance that a joint has.'
            )
    return notes


def _about(runs: Sequence[Run]) -> list[tuple[str, str]]:
    first = runs[0]
    step_s, samples = _sizes(first.collection)
    return [
        ('', f'Played: {first.facts.clip}.'),
        ('soft', f'Source: {first.facts.source}.'),
        *(('soft', f'Weights: {run.facts.weights}. {run.facts.summary}.') for run in runs),
        (
            'soft',
            f'The page keeps the expected future (~/trajectory) and {samples - 1} samples, '
            f'chosen by weight, of a prediction every {step_s:g} s. Ellipsoids hold 90 % of a '
            f'normal distribution with the mean and covariance of all samples; occupancy is of '
            f'{VOXEL_M:g} m voxels that a tenth of the samples or more touch within one half '
            f'second.',
        ),
    ]


def _cards(run: Run, learning: Running | None) -> list[tuple[str, str, str]]:
    """Return the cards: title, figure, and its explanation."""
    measured = run.measured
    cards = [
        (
            'predictions',
            f'{measured.rate_out_hz:.1f} / s',
            f'from {measured.rate_in_hz:.1f} frames / s',
        ),
        (
            'latency to publication',
            f'{measured.published_ms[0]:.1f} ms',
            f'median; p99 {measured.published_ms[1]:.1f} ms',
        ),
    ]
    if run.scores is None:
        return cards
    scores = run.scores
    ahead_s = REPORTED_S[1]
    ours, still, damped = (100.0 * scores.at_m(ahead_s, of) for of in (EXPECTED, STILL, DAMPED))
    if np.isfinite(ours):
        cards.insert(
            0,
            (
                f'a joint, {ahead_s:g} s ahead',
                f'{ours:.1f} cm off',
                f'standing still {still:.1f}, damped velocity {damped:.1f}',
            ),
        )
    if learning is not None:
        begin, end = learning.ends_m[EXPECTED]
        others = ', '.join(
            f'{name} {100 * of[0]:.1f} → {100 * of[1]:.1f}'
            for name, of in learning.ends_m.items()
            if name != EXPECTED
        )
        cards.append(
            (
                f'{learning.ahead_s:g} s ahead, first → last {learning.span_s:.0f} s',
                f'{100 * begin:.1f} → {100 * end:.1f} cm',
                others,
            )
        )
    return cards


def _running_data(learning: Running) -> dict[str, Any]:
    return {
        'ahead': round(learning.ahead_s, 3),
        'over': RUNNING_S,
        'at': [round(float(t), 2) for t in learning.watched_s],
        'cm': {
            name: [round(100.0 * float(v), 3) for v in of]
            for name, of in learning.errors_m.items()
        },
    }


def _sizes(collection: Collection) -> tuple[float, int]:
    """Return the time between predictions, and the futures of each, that fit on the page."""
    step_s = PAGE_STEP_S
    rows = max(len(_thin_out(collection, step_s)), 1)
    while rows * FEWEST_SAMPLES > PAGE_FUTURES:
        step_s = round(step_s + PAGE_STEP_S, 3)
        rows = max(len(_thin_out(collection, step_s)), 1)
    room = min(PAGE_SAMPLES, PAGE_FUTURES // rows, 1 + collection.futures.shape[1])
    return step_s, max(room, 2)


def _thin_out(collection: Collection, step_s: float) -> list[int]:
    """Return rows of predictions at least ``step_s`` apart, all people of a message together."""
    stamps = collection.stamps_s[collection.message]
    kept: list[int] = []
    last_s = -np.inf
    for row, stamp_s in enumerate(stamps):
        if stamp_s == last_s or stamp_s - last_s >= step_s - 1e-3:
            last_s = stamp_s
            if collection.person[row] < collection.poses.shape[1]:
                kept.append(row)
    return kept


def write_page(path: Path, *runs: Run) -> Path:
    """
    Write the page: one file, no network, any current browser.

    :param runs: see :func:`page_data`.
    :returns: the file.
    """
    data = json.dumps(page_data(*runs), separators=(',', ':'))
    script = '\n'.join((PARTS / name).read_text() for name in SCRIPTS)
    page = (PARTS / 'page.html').read_text()
    for mark, text in (
        ('/*STYLE*/', (PARTS / 'page.css').read_text()),
        ('/*SCRIPT*/', script),
        ('/*DATA*/', data.replace('</', '<\\/')),
    ):
        page = page.replace(mark, text)
    path.write_text(page, encoding='utf-8')
    return path
