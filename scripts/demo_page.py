"""The demo's pictures: an animated page that needs nothing else, and a still."""

from __future__ import annotations

import base64
from dataclasses import dataclass
import json
from pathlib import Path
from typing import Any

import numpy as np

from motion_predictor.recordings import heading_rad
from motion_predictor.skeleton import H36M17
from scripts.demo_scores import Collection, METHODS, Scores, Timing

TEMPLATE = Path(__file__).with_suffix('.html')
PAGE_SAMPLES = 16
PAGE_STEP_S = 0.2
"""Samples of each prediction, and time between predictions, that the page keeps."""
STILL_SAMPLES = 25
THICK_M = {
    'Spine': 0.10, 'Thorax': 0.10, 'Nose': 0.05, 'Head': 0.05, 'Hip': 0.07, 'Knee': 0.068,
    'Ankle': 0.05, 'Shoulder': 0.06, 'Elbow': 0.047, 'Wrist': 0.036,
}  # fmt: skip
COLOURS = {
    'real': '#1f2937', 'best sample': '#0f9a94', 'median sample': '#e8590c',
    'zero velocity': '#98a2b3', 'constant velocity': '#7c6bd6',
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
    kept = _thin_out(collection)
    samples = min(PAGE_SAMPLES, collection.futures.shape[1])
    likely = dict(zip(scores.rows.tolist(), scores.likely.tolist())) if scores else {}
    rows, blocks = [], []
    for row in kept:
        shown = likely.get(int(row), 0)
        chosen = [shown] + [s for s in range(collection.futures.shape[1]) if s != shown]
        futures = collection.futures[row, chosen[:samples]]  # (S, T, J, 3)
        origin = futures[0, 0, 0].astype(np.float64).round(3)
        blocks.append(np.clip(np.round((futures - origin) * 1000), -32767, 32767))
        rows.append(
            {
                't': round(float(collection.stamps_s[collection.message[row]]), 4),
                'p': int(collection.person[row]),
                'o': origin.tolist(),
                'l': 0,
            }
        )
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
    if scores is not None:
        ade = scores.ade
        cards += [
            (
                'ADE, best of samples',
                f'{ade["best sample"]:.3f} m',
                'all joints together, mean over the horizon',
            ),
            ('ADE, median sample', f'{ade["median sample"]:.3f} m', 'half the samples are better'),
            (
                'ADE without a model',
                f'{min(ade["zero velocity"], ade["constant velocity"]):.3f} m',
                f'standing still {ade["zero velocity"]:.3f}, '
                f'straight on {ade["constant velocity"]:.3f}',
            ),
        ]
    extent = np.nanmax(np.abs(collection.poses[..., 0, :2] - collection.poses[:1, :, 0, :2]))
    forward = float(heading_rad(np.nanmean(collection.poses[:30, 0], axis=0)))
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
            name: [round(float(v), 4) for v in scores.curves[name][: scores.steps]]
            for name in METHODS
        }
        if scores is not None and scores.steps
        else {},
        'scored': len(scores.rows) if scores is not None else 0,
        'cards': cards,
        'subtitle': (
            f'{collection.futures.shape[1]} sampled futures of the next '
            f'{collection.times_s[-1]:.1f} s for every frame, from the running ROS 2 node, beside '
            f'what the person then really did.'
        ),
        'about': [
            ('', f'Played: {facts.clip}.'),
            ('soft', f'Source: {facts.source}.'),
            ('soft', f'Weights: {facts.weights}. {facts.summary}.'),
            (
                'soft',
                f'The page keeps {samples} samples of a prediction every {PAGE_STEP_S:g} s. Drag '
                f'to orbit, wheel to zoom, space to pause.',
            ),
        ],
    }


def _thin_out(collection: Collection) -> list[int]:
    """Rows of predictions at least ``PAGE_STEP_S`` apart, everybody of a message together."""
    stamps = collection.stamps_s[collection.message]
    kept: list[int] = []
    last_s = -np.inf
    for row, stamp_s in enumerate(stamps):
        if stamp_s == last_s or stamp_s - last_s >= PAGE_STEP_S - 1e-3:
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
    Draw one prediction as a strip of instants, and the error over the horizon.

    It is the prediction whose best sample is the median one of the run.

    :returns: the file.
    """
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib.figure import Figure

    best = np.linalg.norm(
        (collection.futures[scores.rows, scores.best] - scores.truth).reshape(
            len(scores.rows), len(collection.times_s), -1
        ),
        axis=-1,
    ).mean(axis=1)
    real = scores.real.all(axis=1)
    if real.any():
        best[~real] = np.inf
    chosen = int(best.argsort()[np.isfinite(best).sum() // 2])
    row = int(scores.rows[chosen])
    futures, truth = collection.futures[row], scores.truth[chosen]
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
            for sample in futures[:STILL_SAMPLES, step]:
                stick(flat(sample, shift), color=COLOURS['best sample'], lw=0.9, alpha=0.35)
            likely = futures[scores.likely[chosen], step]
            stick(flat(likely, shift), color=COLOURS['median sample'], lw=2.0)
        real = truth[step] if step >= 0 else now
        stick(flat(real, shift), color=COLOURS['real'], lw=3.0)
        label = f'+{collection.times_s[step]:.1f} s' if step >= 0 else 'now'
        strip.text(place * gap, -0.3, label, ha='center', color='#667085', fontsize=11)
    strip.set_aspect('equal')
    strip.set_xlim(-0.8, 4 * gap + 0.8)
    strip.set_ylim(-0.45, 2.15)
    strip.axis('off')
    figure.text(
        0.02, 0.93, f'{len(futures)} futures sampled by the node, and what then really happened',
        fontsize=14, fontweight='bold', color='#1a2230',
    )  # fmt: skip
    figure.text(
        0.02, 0.875,
        f'black: real; orange: most likely; green: {min(STILL_SAMPLES, len(futures))} samples. At '
        f'{stamp_s:.1f} s of: {facts.clip[:60]}. The hip moves {travel:.1f} m; each instant is '
        'drawn around the real hip.',
        fontsize=9, color='#667085',
    )  # fmt: skip
    plot = figure.add_axes((0.745, 0.14, 0.245, 0.66))
    times = np.concatenate([[0.0], collection.times_s])
    for name in METHODS:
        plot.plot(
            times, np.concatenate([[0.0], scores.curves[name]]), color=COLOURS[name], lw=2,
            label=name,
        )  # fmt: skip
    plot.set_xlabel('seconds ahead')
    plot.set_title('error of the whole pose, m', fontsize=11, loc='left', color='#1a2230')
    plot.legend(frameon=False, fontsize=9)
    plot.grid(color='#e5e7eb')
    plot.set_xlim(0, times[-1])
    plot.set_ylim(0, None)
    for side in ('top', 'right'):
        plot.spines[side].set_visible(False)
    figure.savefig(path)
    return path
