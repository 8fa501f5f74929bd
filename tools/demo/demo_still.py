# SPDX-License-Identifier: Apache-2.0
"""The demo's still picture: one prediction as a strip of instants, beside the errors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from motion_predictor.body.geometry import heading_rad
from motion_predictor.body.skeleton import H36M17
from motion_predictor.predict.likely import by_weight
from tools.demo.demo_page import Facts
from tools.demo.demo_scores import (
    BEST,
    Collection,
    DAMPED,
    EXPECTED,
    METHODS,
    running,
    RUNNING_S,
    Scores,
    STILL,
)

STILL_SAMPLES = 25
GAP_M = 1.9
"""Gap in metres between the instants of the strip."""
COLOURS = {
    'real': '#1f2937', BEST: '#0f9a94', EXPECTED: '#e8590c', STILL: '#98a2b3', DAMPED: '#7c6bd6',
}  # fmt: skip


def write_still(path: Path, collection: Collection, scores: Scores, facts: Facts) -> Path:
    """
    Draw one prediction as a strip of instants, the running error and that over the horizon.

    The prediction is, in the last third of the run, the one whose expected future has the median
    error. So it shows what the node has learnt by then.

    :returns: the file.
    """
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib.figure import Figure

    chosen = _typical(collection, scores)
    row, truth = int(scores.rows[chosen]), scores.truth[chosen]
    figure = Figure(figsize=(13, 4.8), dpi=120, facecolor='white')
    travel_m = _draw_strip(figure, collection, row, truth)
    stamp_s = float(collection.stamps_s[collection.message[row]])
    figure.text(
        0.02, 0.93, f'{len(collection.futures[row])} weighted futures of the node, and what then '
        'really happened',
        fontsize=14, fontweight='bold', color='#1a2230',
    )  # fmt: skip
    figure.text(
        0.02, 0.905,
        f'black: real; orange: expected; green: {STILL_SAMPLES} samples, chosen by weight. At '
        f'{stamp_s:.1f} s of: {facts.clip[:60]}.\nThe hip moves {travel_m:.1f} m; each instant is '
        'drawn around the real hip.',
        fontsize=9, color='#667085', va='top',
    )  # fmt: skip
    _draw_errors(figure, collection, scores)
    figure.savefig(path)
    return path


def _typical(collection: Collection, scores: Scores) -> int:
    # In the last third, the scored prediction whose expected future has the median error.
    error = scores.errors[EXPECTED].mean(axis=1)
    stamps_s = collection.stamps_s[collection.message[scores.rows]]
    late = stamps_s >= stamps_s[0] + 2.0 / 3.0 * (stamps_s[-1] - stamps_s[0])
    usable = np.flatnonzero(scores.real.all(axis=1) & late)
    usable = usable if len(usable) else np.arange(len(error))
    return int(usable[error[usable].argsort()[len(usable) // 2]])


@dataclass(frozen=True)
class _Side:
    """The view of a person from the side, from a little above."""

    hip: np.ndarray
    """Point on the floor that is drawn at 0, (2,) metres."""
    right: np.ndarray
    """Direction on the floor that is drawn to the right, (2,)."""

    def flat(self, poses: np.ndarray, shift: float) -> np.ndarray:
        """Return the drawn positions (..., 2) of points (..., 3), shifted to the right."""
        across = (poses[..., :2] - self.hip) @ self.right
        deep = (poses[..., :2] - self.hip) @ np.array([-self.right[1], self.right[0]])
        return np.stack([across + shift, poses[..., 2] + 0.18 * deep], axis=-1)


def _draw_strip(figure: Any, collection: Collection, row: int, truth: np.ndarray) -> float:
    """
    Draw the person now and at four instants of the future, as sticks.

    :param row: row of the prediction in the collection.
    :param truth: real future, (T, J, 3) metres.
    :returns: distance that the hip moves in this view, metres.
    """
    drawn = collection.futures[row][by_weight(collection.weights[row][None], STILL_SAMPLES)[0]]
    stamp_s = float(collection.stamps_s[collection.message[row]])
    at = int(np.argmin(np.abs(collection.pose_stamps_s - stamp_s)))
    now = collection.poses[at, int(collection.person[row])]
    strip = figure.add_axes((0.005, 0.0, 0.7, 0.82))
    turn = float(heading_rad(now, H36M17)) - np.pi / 2 + 0.5
    side = _Side(now[0, :2], np.array([np.cos(turn), np.sin(turn)]))

    def stick(pose: np.ndarray, shift: float, **style: Any) -> None:
        ends = side.flat(pose, shift)[..., np.array(H36M17.bones), :].reshape(-1, 2, 2)
        gaps = np.full((len(ends), 1, 2), np.nan)
        x, y = np.concatenate([ends, gaps], axis=1).reshape(-1, 2).T
        strip.plot(x, y, solid_capstyle='round', **style)

    steps = [int(np.argmin(np.abs(collection.times_s - t))) for t in (0.5, 1.0, 1.5, 2.0)]
    for place, step in enumerate([-1, *steps]):
        shift = place * GAP_M - (side.flat(truth[step], 0.0)[0, 0] if step >= 0 else 0.0)
        if step >= 0:
            for sample in drawn[:, step]:
                stick(sample, shift, color=COLOURS[BEST], lw=0.9, alpha=0.35)
            stick(collection.expected[row, step], shift, color=COLOURS[EXPECTED], lw=2.0)
        stick(truth[step] if step >= 0 else now, shift, color=COLOURS['real'], lw=3.0)
        label = f'+{collection.times_s[step]:.1f} s' if step >= 0 else 'now'
        strip.text(place * GAP_M, -0.3, label, ha='center', color='#667085', fontsize=11)
    strip.set_aspect('equal')
    strip.set_xlim(-0.8, 4 * GAP_M + 0.8)
    strip.set_ylim(-0.45, 2.15)
    strip.axis('off')
    return float(np.abs(side.flat(truth, 0.0)[..., 0]).max())


def _draw_errors(figure: Any, collection: Collection, scores: Scores) -> None:
    """Draw the running error, if there is one, and the error over the horizon."""
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


def _plot(figure: Any, place: tuple[float, float, float, float]) -> Any:
    plot = figure.add_axes(place)
    plot.grid(color='#e5e7eb')
    plot.tick_params(labelsize=9)
    for side in ('top', 'right'):
        plot.spines[side].set_visible(False)
    return plot
