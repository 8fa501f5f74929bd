"""The demo's animated page in one self-contained file."""

from __future__ import annotations

import base64
from dataclasses import dataclass
import json
from pathlib import Path
from typing import Any

import numpy as np

from motion_predictor.body.geometry import heading_rad
from motion_predictor.body.skeleton import H36M17
from motion_predictor.predict.likely import by_weight
from tools.demo.demo_scores import (
    BEST,
    Collection,
    DAMPED,
    EXPECTED,
    METHODS,
    Running,
    running,
    RUNNING_S,
    Scores,
    STILL,
    Timing,
)

TEMPLATE = Path(__file__).with_suffix('.html')
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


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def _limb(joint: str) -> str:
    return joint if joint in THICK_M else joint[1:]


def page_data(
    collection: Collection, measured: Timing, scores: Scores | None, facts: Facts
) -> dict[str, Any]:
    """
    Return the data for the page.

    :returns: JSON-able values; poses as base64 of float32 ``(N, P, J, 3)`` metres, futures as
        base64 of int16 ``(R, S, T, J, 3)`` millimetres from each row's origin.
    """
    step_s, samples = _sizes(collection)
    kept = _thin_out(collection, step_s)
    rows, blocks = [], []
    for row in kept:
        chosen = by_weight(collection.weights[row][None], samples - 1)[0]
        futures = np.concatenate([collection.expected[row][None], collection.futures[row, chosen]])
        origin = futures[0, 0, 0].astype(np.float64).round(3)
        blocks.append(np.clip(np.round((futures - origin) * 1000), -32767, 32767))
        rows.append(
            {
                't': round(float(collection.stamps_s[collection.message[row]]), 4),
                'p': int(collection.person[row]),
                'o': origin.tolist(),
            }
        )
    learning = None if scores is None else running(collection, scores)
    extent = np.nanmax(np.abs(collection.poses[..., 0, :2] - collection.poses[:1, :, 0, :2]))
    first = np.nanmean(collection.poses[:30, 0], axis=0)
    forward = float(np.nan_to_num(heading_rad(first, H36M17)))
    return {
        'joints': H36M17.num_joints,
        'bones': [list(bone) for bone in H36M17.bones],
        'radii': [THICK_M[_limb(H36M17.joints[child])] for child, _ in H36M17.bones],
        'people': int(collection.poses.shape[1]),
        'samples': samples,
        'times': [round(float(t), 4) for t in collection.times_s],
        'stamps': [round(float(t), 4) for t in collection.pose_stamps_s],
        'poses': _base64(collection.poses.astype('<f4')),
        'rows': rows,
        'futures': _base64(np.array(blocks, dtype='<i2')),
        'view': {
            'turn': forward - 1.05,
            'far': 5.2 if collection.poses.shape[1] == 1 else min(6.0 + 0.3 * float(extent), 8.0),
        },
        'curves': {
            name: [round(100.0 * float(v), 3) for v in scores.curves[name][: scores.steps]]
            for name in METHODS
        }
        if scores is not None and scores.steps
        else {},
        'scored': len(scores.rows) if scores is not None else 0,
        'running': {} if learning is None else _running_data(learning),
        'cards': _cards(measured, scores, learning),
        'subtitle': (
            f'{collection.futures.shape[1]} weighted futures of the next '
            f'{collection.times_s[-1]:.1f} s for every frame, and the one that is expected, from '
            f'the running ROS 2 node, beside what the person then really did.'
        ),
        'about': _about(facts, step_s, samples),
    }


def _about(facts: Facts, step_s: float, samples: int) -> list[tuple[str, str]]:
    return [
        ('', f'Played: {facts.clip}.'),
        ('soft', f'Source: {facts.source}.'),
        ('soft', f'Weights: {facts.weights}. {facts.summary}.'),
        (
            'soft',
            f'The page keeps the expected future (~/trajectory) and {samples - 1} samples, '
            f'chosen by weight, of a prediction every {step_s:g} s. Drag to orbit, wheel to '
            f'zoom, space to pause.',
        ),
    ]


def _cards(
    measured: Timing, scores: Scores | None, learning: Running | None
) -> list[tuple[str, str, str]]:
    """Return the cards: title, figure and explanation."""
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
    if scores is None:
        return cards
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
    mean = {name: 100.0 * value for name, value in scores.mean_m.items()}
    return [
        *cards,
        ('expected future, whole run', f'{mean[EXPECTED]:.1f} cm', 'a joint, over the horizon'),
        (
            'without a model',
            f'{min(mean[STILL], mean[DAMPED]):.1f} cm',
            f'standing still {mean[STILL]:.1f}, damped velocity {mean[DAMPED]:.1f}',
        ),
        ('best of samples', f'{mean[BEST]:.1f} cm', 'the nearest one, chosen afterwards'),
    ]


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


def write_page(
    path: Path, collection: Collection, measured: Timing, scores: Scores | None, facts: Facts
) -> Path:
    """
    Write the page: one file, no network, any current browser.

    :returns: the file.
    """
    data = json.dumps(page_data(collection, measured, scores, facts), separators=(',', ':'))
    page = TEMPLATE.read_text().replace('/*DATA*/', data.replace('</', '<\\/'))
    path.write_text(page, encoding='utf-8')
    return path
