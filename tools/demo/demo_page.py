"""The demo's pictures: an animated page that needs nothing else, and a still."""

from __future__ import annotations

import base64
from dataclasses import dataclass
import json
from pathlib import Path
from typing import Any

import numpy as np

from motion_predictor.body.skeleton import H36M17
from motion_predictor.predict.likely import by_weight
from motion_predictor.recordings.scenes import heading_rad
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
"""Futures of each prediction, and time between predictions, that the page keeps at best."""
PAGE_FUTURES = 4000
"""At most so many futures altogether: two kilobytes each in the page's file."""
STILL_SAMPLES = 25
THICK_M = {
    'Spine': 0.10, 'Thorax': 0.10, 'Nose': 0.05, 'Head': 0.05, 'Hip': 0.07, 'Knee': 0.068,
    'Ankle': 0.05, 'Shoulder': 0.06, 'Elbow': 0.047, 'Wrist': 0.036,
}  # fmt: skip
COLOURS = {
    'real': '#1f2937', BEST: '#0f9a94', EXPECTED: '#e8590c', STILL: '#98a2b3', DAMPED: '#7c6bd6',
}  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What was run, in words."""

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
    Put together what the page shows.

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
    forward = float(np.nan_to_num(heading_rad(np.nanmean(collection.poses[:30, 0], axis=0))))
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
        'about': [
            ('', f'Played: {facts.clip}.'),
            ('soft', f'Source: {facts.source}.'),
            ('soft', f'Weights: {facts.weights}. {facts.summary}.'),
            (
                'soft',
                f'The page keeps the expected future (~/trajectory) and {samples - 1} samples, '
                f'chosen by weight, of a prediction every {step_s:g} s. Drag to orbit, wheel to '
                f'zoom, space to pause.',
            ),
        ],
    }


def _cards(
    measured: Timing, scores: Scores | None, learning: Running | None
) -> list[tuple[str, str, str]]:
    """Return what the cards say: title, figure, and what it is."""
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
    """Choose the time between predictions and the futures of each that the page can hold."""
    step_s = PAGE_STEP_S
    rows = max(len(_thin_out(collection, step_s)), 1)
    while rows * FEWEST_SAMPLES > PAGE_FUTURES:
        step_s = round(step_s + PAGE_STEP_S, 3)
        rows = max(len(_thin_out(collection, step_s)), 1)
    room = min(PAGE_SAMPLES, PAGE_FUTURES // rows, 1 + collection.futures.shape[1])
    return step_s, max(room, 2)


def _thin_out(collection: Collection, step_s: float) -> list[int]:
    """Rows of predictions at least ``step_s`` apart, everybody of a message together."""
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


def write_still(path: Path, collection: Collection, scores: Scores, facts: Facts) -> Path:
    """
    Draw one prediction as a strip of instants, the running error and that over the horizon.

    It is the prediction of the last third of the run whose expected future is its median one:
    what the node has learnt by then shows.

    :returns: the file.
    """
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib.figure import Figure

    error = scores.errors[EXPECTED].mean(axis=1)
    stamps_s = collection.stamps_s[collection.message[scores.rows]]
    late = stamps_s >= stamps_s[0] + 2.0 / 3.0 * (stamps_s[-1] - stamps_s[0])
    usable = np.flatnonzero(scores.real.all(axis=1) & late)
    usable = usable if len(usable) else np.arange(len(error))
    chosen = int(usable[error[usable].argsort()[len(usable) // 2]])
    row = int(scores.rows[chosen])
    futures, truth = collection.futures[row], scores.truth[chosen]
    drawn = futures[by_weight(collection.weights[row][None], STILL_SAMPLES)[0]]
    stamp_s = float(collection.stamps_s[collection.message[row]])
    at = int(np.argmin(np.abs(collection.pose_stamps_s - stamp_s)))
    now = collection.poses[at, int(collection.person[row])]

    figure = Figure(figsize=(13, 4.8), dpi=120, facecolor='white')
    strip = figure.add_axes((0.005, 0.0, 0.7, 0.82))
    turn = float(heading_rad(now)) - np.pi / 2 + 0.5
    right = np.array([np.cos(turn), np.sin(turn)])

    def flat(poses: np.ndarray, shift: float) -> np.ndarray:
        """Seen from the side, from a little above."""
        across = (poses[..., :2] - now[0, :2]) @ right
        deep = (poses[..., :2] - now[0, :2]) @ np.array([-right[1], right[0]])
        return np.stack([across + shift, poses[..., 2] + 0.18 * deep], axis=-1)

    def stick(points: np.ndarray, **style: Any) -> None:
        ends = points[..., np.array(H36M17.bones), :].reshape(-1, 2, 2)
        gaps = np.full((len(ends), 1, 2), np.nan)
        x, y = np.concatenate([ends, gaps], axis=1).reshape(-1, 2).T
        strip.plot(x, y, solid_capstyle='round', **style)

    steps = [int(np.argmin(np.abs(collection.times_s - t))) for t in (0.5, 1.0, 1.5, 2.0)]
    travel = float(np.abs(flat(truth, 0.0)[..., 0]).max())
    gap = 1.9
    for place, step in enumerate([-1, *steps]):
        shift = place * gap - (flat(truth[step], 0.0)[0, 0] if step >= 0 else 0.0)
        if step >= 0:
            for sample in drawn[:, step]:
                stick(flat(sample, shift), color=COLOURS[BEST], lw=0.9, alpha=0.35)
            expected = collection.expected[row, step]
            stick(flat(expected, shift), color=COLOURS[EXPECTED], lw=2.0)
        real = truth[step] if step >= 0 else now
        stick(flat(real, shift), color=COLOURS['real'], lw=3.0)
        label = f'+{collection.times_s[step]:.1f} s' if step >= 0 else 'now'
        strip.text(place * gap, -0.3, label, ha='center', color='#667085', fontsize=11)
    strip.set_aspect('equal')
    strip.set_xlim(-0.8, 4 * gap + 0.8)
    strip.set_ylim(-0.45, 2.15)
    strip.axis('off')
    figure.text(
        0.02, 0.93, f'{len(futures)} weighted futures of the node, and what then really happened',
        fontsize=14, fontweight='bold', color='#1a2230',
    )  # fmt: skip
    figure.text(
        0.02, 0.905,
        f'black: real; orange: expected; green: {STILL_SAMPLES} samples, chosen by weight. At '
        f'{stamp_s:.1f} s of: {facts.clip[:60]}.\nThe hip moves {travel:.1f} m; each instant is '
        'drawn around the real hip.',
        fontsize=9, color='#667085', va='top',
    )  # fmt: skip
    learning = running(collection, scores)
    if learning is not None:
        plot = _plot(figure, (0.745, 0.60, 0.245, 0.29))
        for name, of in learning.errors_m.items():
            plot.plot(learning.watched_s, 100.0 * of, color=COLOURS[name], lw=2, label=name)
        plot.set_xlabel('seconds watched', fontsize=9)
        title = f'error {learning.ahead_s:g} s ahead, last {RUNNING_S:g} s, cm a joint'
        plot.set_title(title, fontsize=11, loc='left', color='#1a2230')
        plot.set_xlim(0, learning.watched_s[-1])
        plot.set_ylim(0, None)
    plot = _plot(figure, (0.745, 0.12, 0.245, 0.29 if learning is not None else 0.68))
    times = np.concatenate([[0.0], collection.times_s])
    for name in METHODS:
        of = np.concatenate([[0.0], 100.0 * scores.curves[name]])
        plot.plot(times, of, color=COLOURS[name], lw=2, label=name)
    plot.set_xlabel('seconds ahead', fontsize=9)
    plot.set_title('error over the whole run, cm a joint', fontsize=11, loc='left')
    plot.legend(frameon=False, fontsize=8)
    plot.set_xlim(0, times[-1])
    plot.set_ylim(0, None)
    figure.savefig(path)
    return path


def _plot(figure: Any, place: tuple[float, float, float, float]) -> Any:
    plot = figure.add_axes(place)
    plot.grid(color='#e5e7eb')
    plot.tick_params(labelsize=9)
    for side in ('top', 'right'):
        plot.spines[side].set_visible(False)
    return plot
