# SPDX-License-Identifier: Apache-2.0
"""Draw every output as a picture, from the messages themselves, for docs/guide/outputs.md.

    python -m tools.site.draw_outputs --clip walk --at 1.5

A clip is watched up to ``--at`` with ten predictions per second and what the node learns of its
place. The last prediction's outputs are encoded as in the node, decoded from the message and
drawn. Dashed lines show what then really happened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
import sys
from typing import Any

from geometry_msgs.msg import PoseArray
from matplotlib import colormaps
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Rectangle
import numpy as np
from rclpy.serialization import deserialize_message
from trajectory_msgs.msg import MultiDOFJointTrajectory

from motion_predictor.body.geometry import heading_rad
from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import MotionPredictorError
from motion_predictor.model.weights import default_weights
from motion_predictor.predict.device import use_threads
from motion_predictor.predict.likely import by_weight, drawn_samples, likely_futures
from motion_predictor.predict.live import LivePredictor
from motion_predictor.predict.predictor import Predictor
from motion_predictor.ros.memory.remembering import make_place
from motion_predictor.ros.messages import (
    CloudEncoder,
    decode_predictions,
    MarkerEncoder,
    MarkerPerson,
    read_cloud,
)
from motion_predictor.ros.parameters import Settings
from motion_predictor.ros.publish.outlook import Outlook
from motion_predictor.ros.publish.outputs import decode_moments
from motion_predictor.ros.publish.summaries import SUMMARIES
from motion_predictor.sources.observation import Observation
from tools.demo.demo_clips import demo_recording
from training.common.options import read_options

FOLDER = Path(__file__).resolve().parents[2] / 'docs' / 'images' / 'outputs'
BONES = np.array(H36M17.bones)
WRIST = H36M17.index('RWrist')
SIDE, TOP = (0, 2), (0, 1)
PREDICT_EVERY_S = 0.1
DRAWN = 50
WALKS_M = 0.3
"""Distance in metres in the picture's time from which a person walks; all others are turned by
their heading."""
SPACING_M = 2.6
"""Distance in metres between the time bins of ~/occupancy in its picture."""
COLOURS = ('#1f77b4', '#e08214', '#2ca02c', '#c51b7d', '#8c564b')


@dataclass(frozen=True)
class Scene:
    """A prediction and what then really happened, turned so that the motion goes along +x."""

    outlook: Outlook
    actual: np.ndarray
    """Real future at the model's frames, metres, (T_fut, J, 3)."""


def make_scene(clip: str, at_s: float, samples: int, weights: Path) -> Scene:
    """
    Watch a clip, learn from it as the node does, and predict one moment.

    :param clip: as in scripts/demo.
    :param at_s: last observed instant, seconds; half a second before and two after must be in the
        clip.
    :param samples: number of samples.
    :param weights: weights file.
    :raises MotionPredictorError: if there is no such clip, or if it is too short.
    """
    predictor = Predictor.load(weights)
    window = predictor.window
    needed_s = at_s + window.future_frames / window.rate_hz
    recording = demo_recording(clip, needed_s + 0.5, window.rate_hz)
    poses = next(iter(recording.persons.values()))
    last = round(at_s * window.rate_hz)
    first = last - window.observed_frames + 1
    if first < 0 or last + window.future_frames >= len(poses):
        raise MotionPredictorError(
            f'--at {at_s:g}: the clip lasts {recording.duration_s:g} s, and '
            f'{window.observed_s:g} s before and {window.horizon_s:g} s after are needed'
        )
    way = poses[last + window.future_frames, 0, :2] - poses[first, 0, :2]
    walks = np.linalg.norm(way) >= WALKS_M
    turn = np.arctan2(way[1], way[0]) if walks else float(heading_rad(poses[last], H36M17))
    cos, sin = np.cos(turn), np.sin(turn)
    level = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
    origin = poses[last, 0] * [1.0, 1.0, 0.0]
    poses = (poses - origin) @ level.T
    place = make_place(predictor, Settings())
    online = LivePredictor(predictor, samples=samples, place=place)
    every = round(PREDICT_EVERY_S * window.rate_hz)
    result = None
    for frame in range(last + 1):
        stamp_ns = round((1.0 + frame / window.rate_hz) * 1e9)
        online.observe(Observation(stamp_ns, 'map', '0', poses[frame]))
        if frame >= window.observed_frames and (last - frame) % every == 0:
            result = online.predict()
    assert result is not None
    frames = np.arange(4, window.future_frames, 5)
    actual = poses[last + 1 : last + 1 + window.future_frames]
    return Scene(Outlook.of(result, [0], frames, predictor.skeleton), actual)


def body(axes: Any, pose: np.ndarray, view: tuple[int, int], **style: Any) -> None:
    """Draw one pose (J, 3) as its bones, seen along an axis."""
    lines = pose[BONES][:, :, list(view)]
    axes.add_collection(LineCollection(list(lines), **style))


def framed(axes: Any, view: tuple[int, int]) -> None:
    """Show metres with the same scale along both axes."""
    axes.set_aspect('equal')
    axes.autoscale_view()
    axes.set_xlabel('x, m')
    axes.set_ylabel(f'{"xyz"[view[1]]}, m')
    axes.grid(alpha=0.25, linewidth=0.5)


def draw_predictions(axes: Any, scene: Scene) -> None:
    """Draw samples, each candidate's as many as it weighs: paths of the wrist, last poses."""
    view = scene.outlook
    prediction = view.prediction
    message = CloudEncoder().encode(
        view.stamp_ns,
        view.frame_id,
        list(view.numbers),
        prediction.futures[:, :, view.frames],
        prediction.weights_at(view.frames),
        prediction.times_s[view.frames],
        prediction.candidate,
    )
    decoded = decode_predictions(message)
    futures = decoded.futures[0]  # (S, T, J, 3)
    for sample in futures[by_weight(decoded.weights, DRAWN)[0]]:
        body(axes, sample[-1], SIDE, colors=COLOURS[0], linewidths=0.4, alpha=0.25)
        axes.plot(sample[:, WRIST, 0], sample[:, WRIST, 2], color=COLOURS[0], lw=0.5, alpha=0.5)
    finish(axes, scene, SIDE)
    axes.set_title(
        f'~/predictions: {DRAWN} of {len(futures)} samples by weight, right wrist, pose at 2 s'
    )


def draw_moments(axes: Any, scene: Scene) -> None:
    """Draw ellipses of one standard deviation and the stated radius, for wrist and hip."""
    decoded = decode_moments(SUMMARIES['moments'].encode(scene.outlook, Settings()))
    for joint, colour in ((WRIST, COLOURS[1]), (0, COLOURS[2])):
        mean, spread = decoded.moments.mean[0, :, joint], decoded.moments.covariance[0, :, joint]
        axes.plot(mean[:, 0], mean[:, 2], '.-', color=colour, lw=0.8, ms=3)
        for step in range(1, len(mean), 3):
            values, vectors = np.linalg.eigh(spread[step][np.ix_(SIDE, SIDE)])
            width, height = 2.0 * np.sqrt(np.maximum(values, 0.0))
            angle = np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0]))
            place = (float(mean[step, 0]), float(mean[step, 2]))
            axes.add_patch(
                Ellipse(place, width, height, angle=angle, fc=colour, alpha=0.25, ec='none')
            )
            across = 2.0 * decoded.radius_m[0, step, joint]
            axes.add_patch(Ellipse(place, across, across, fc='none', ec=colour, lw=0.4))
    finish(axes, scene, SIDE)
    axes.set_title('~/moments: mean, covariance (1 sigma), radius of 90 % (circle)')


def draw_trajectory(axes: Any, scene: Scene) -> None:
    """Draw the expected future at its keyframes."""
    sent = SUMMARIES['trajectory'].encode(scene.outlook, Settings())
    message = deserialize_message(sent, MultiDOFJointTrajectory)
    for index, point in enumerate(message.points):
        pose = np.array([(t.translation.x, t.translation.y, t.translation.z)
                         for t in point.transforms])  # fmt: skip
        shade = 1.0 - 0.15 * index
        body(axes, pose, SIDE, colors=COLOURS[3], linewidths=1.2, alpha=shade)
        time_s = point.time_from_start.sec + 1e-9 * point.time_from_start.nanosec
        axes.annotate(f'{time_s:.2g} s', pose[10, [0, 2]], ha='center', va='bottom', fontsize=7)
    finish(axes, scene, SIDE)
    axes.set_title('~/trajectory: expected future at trajectory.horizons_s')


def draw_poses(axes: Any, scene: Scene) -> None:
    """Draw the points for monitors."""
    message = deserialize_message(SUMMARIES['poses'].encode(scene.outlook, Settings()), PoseArray)
    points = np.array([(p.position.x, p.position.y, p.position.z) for p in message.poses])
    horizons = points.reshape(-1, H36M17.num_joints, 3)
    for index, pose in enumerate(horizons):
        axes.plot(pose[:, 0], pose[:, 2], 'o', ms=3, color=COLOURS[4], alpha=1.0 - 0.2 * index)
    finish(axes, scene, SIDE)
    axes.set_title(f'~/poses: {len(points)} points at poses.horizons_s')


def draw_occupancy(axes: Any, scene: Scene) -> None:
    """Draw the view from above: the greatest probability of each column, bins side by side."""
    message = SUMMARIES['occupancy'].encode(scene.outlook, Settings())
    rows = read_cloud(message)
    voxel = 0.1
    for number in sorted(set(rows['bin'])):
        of_bin = rows[rows['bin'] == number]
        cells = np.stack([np.floor(of_bin[axis] / voxel).astype(int) for axis in 'xy'], axis=1)
        best: dict[tuple[int, int], float] = {}
        for cell, probability in zip(map(tuple, cells.tolist()), of_bin['probability'].tolist()):
            best[cell] = max(best.get(cell, 0.0), probability)
        shift = SPACING_M * number
        for (x, y), probability in best.items():
            axes.add_patch(
                Rectangle(
                    (x * voxel + shift, y * voxel),
                    voxel,
                    voxel,
                    fc=colormaps['magma_r'](probability),
                    ec='none',
                )
            )
        times = scene.outlook.prediction.times_s
        inside = (times > of_bin['t'][0] + 1e-6) & (times <= of_bin['t_end'][0] + 1e-6)
        way = scene.actual[inside][:, 0]
        axes.plot(way[:, 0] + shift, way[:, 1], 'c--', lw=1.2)
        label = f'{of_bin["t"][0]:.1f} to {of_bin["t_end"][0]:.1f} s'
        axes.annotate(label, (shift + 0.5, 1.2), fontsize=7, ha='center')
        axes.plot([shift, shift], [-1.2, 1.1], color='grey', lw=0.4)  # where the person was
    axes.set_xlim(-0.9, SPACING_M * (float(rows['bin'].max()) + 1.0) + 0.2)
    axes.set_ylim(-1.3, 1.4)
    axes.set_aspect('equal')
    axes.set_xticks([])
    axes.set_ylabel('y, m')
    axes.set_title('~/occupancy from above, bin beside bin (dark: certain; line: x = 0)')


def draw_markers(axes: Any, scene: Scene) -> None:
    """Draw the markers as RViz draws them."""
    view = scene.outlook
    expected = likely_futures(view.prediction)[0, view.frames]
    chosen = drawn_samples(view.prediction, 10)[0]
    person = MarkerPerson(
        0, view.last_poses[0], expected, view.prediction.futures[0, chosen][:, view.frames]
    )
    message = MarkerEncoder(view.skeleton).encode(view.stamp_ns, view.frame_id, [person])
    for marker in message.markers:
        ends = np.array([(p.x, p.z) for p in marker.points]).reshape(-1, 2, 2)
        parts = marker.colors[::2] or [marker.color]
        colours = [(c.r, c.g, c.b, c.a) for c in parts]
        width = max(0.4, 60.0 * marker.scale.x)
        axes.add_collection(LineCollection(list(ends), colors=colours, linewidths=width))
    finish(axes, scene, SIDE, last=False)
    axes.set_title('~/markers: last pose, fading expected future, 10 samples by weight')


def finish(axes: Any, scene: Scene, view: tuple[int, int], *, last: bool = True) -> None:
    """Add the last observed pose and what then really happened."""
    if last:
        body(axes, scene.outlook.last_poses[0], view, colors='black', linewidths=1.6)
    body(axes, scene.actual[-1], view, colors='grey', linewidths=0.8, linestyles='dashed')
    way = scene.actual[:, WRIST]
    axes.plot(way[:, view[0]], way[:, view[1]], '--', color='grey', lw=0.9)
    framed(axes, view)


PICTURES: dict[str, Callable[[Any, Scene], None]] = {
    'predictions': draw_predictions,
    'moments': draw_moments,
    'trajectory': draw_trajectory,
    'poses': draw_poses,
    'occupancy': draw_occupancy,
    'markers': draw_markers,
}


def draw(scene: Scene, folder: Path) -> list[Path]:
    """
    Write one PNG per output.

    :param folder: folder for the pictures; a missing folder is made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, draw_one in PICTURES.items():
        figure = Figure(figsize=(7.0, 4.4), dpi=80, layout='constrained')
        axes = figure.add_subplot()
        draw_one(axes, scene)
        axes.title.set_fontsize(9)
        written.append(folder / f'{name}.png')
        figure.savefig(written[-1], metadata={'Software': None})
    return written


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``tools.site.draw_outputs``."""

    clip: str = 'walk'
    """Motion that is played, as for scripts/demo."""
    at: float = 1.5
    """Last observed instant, s."""
    samples: int = 50
    """Number of futures."""
    weights: Path = field(default_factory=default_weights)
    """Weights file."""
    out: Path = FOLDER
    """Folder for the pictures."""


def main(arguments: list[str] | None = None) -> int:
    """Draw every output."""
    options = read_options(Options, 'tools.site.draw_outputs', __doc__, '', arguments)
    use_threads(1)
    try:
        scene = make_scene(options.clip, options.at, options.samples, options.weights)
    except MotionPredictorError as error:
        print(f'draw_outputs: {error}', file=sys.stderr)
        return 1
    for path in draw(scene, options.out):
        print(f'{path} ({path.stat().st_size / 1000:.0f} kB)')
    return 0


if __name__ == '__main__':
    sys.exit(main())
