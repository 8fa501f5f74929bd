# SPDX-License-Identifier: Apache-2.0
"""The demo as a Rerun recording (.rrd): people, their futures, and what then really happened."""

from __future__ import annotations

from pathlib import Path
import shutil
import subprocess
import sys
from typing import Any

import numpy as np

from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import MotionPredictorError
from motion_predictor.predict.likely import by_weight
from motion_predictor.predict.occupancy import occupancy
from tools.demo.demo_scores import AHEAD_S, Collection, RUNNING, Scores

BONES = np.array(H36M17.bones)
ENDS = [j for j in range(H36M17.num_joints) if j not in H36M17.parents]
"""Head, hands and feet: their paths are drawn."""
SAMPLES_DRAWN = 10
COLOUR = (31, 119, 180)
OCCUPIED = 'occupied_at_the_end'


class RerunError(MotionPredictorError):
    """Rerun is not installed or cannot write; the message says what to do."""


def import_rerun() -> Any:
    """
    Import the Rerun SDK, which is a separate extra.

    :raises RerunError: if it is not installed.
    """
    try:
        import rerun
    except ImportError as error:
        raise RerunError(
            f'--view rerun needs the Rerun SDK ({error}): '
            '.venv/bin/python -m pip install -c constraints.txt rerun-sdk'
        ) from None
    return rerun


def write_rerun(
    path: Path, collection: Collection, title: str, scores: Scores | None = None
) -> Path:
    """
    Write everything that the collector received, in seconds since the first pose.

    :param path: .rrd file to write.
    :param collection: from :func:`tools.demo.demo_scores.Collection.load`.
    :param title: name of the recording.
    :param scores: errors of the predictions, which are drawn over time beside the people.
    :returns: the path.
    :raises RerunError: if Rerun is not installed.
    """
    rr = import_rerun()
    stream = rr.RecordingStream('motion_predictor')
    stream.save(str(path))
    stream.send_recording_name(title)
    stream.send_blueprint(_blueprint(collection.poses.shape[1]))
    stream.log('world', rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    for stamp_s, people in zip(collection.pose_stamps_s, collection.poses):
        stream.set_time('time', duration=float(stamp_s))
        for number, pose in enumerate(people):
            seen = np.isfinite(pose).all(axis=-1)
            bones = BONES[seen[BONES].all(axis=1)]
            stream.log(
                f'world/person_{number}/observed',
                rr.LineStrips3D(list(pose[bones]), colors=[255, 255, 255], radii=0.012),
            )
    for row, message in enumerate(collection.message):
        stream.set_time('time', duration=float(collection.stamps_s[message]))
        _log_future(rr, stream, collection, row)
    _log_series(rr, stream, collection, scores)
    stream.flush()
    stream.disconnect()
    return path


def _blueprint(people: int) -> Any:
    """Return the layout: people in 3-D beside error and latency over time, occupancy hidden."""
    import rerun.blueprint as rrb

    hidden = {
        f'/world/person_{number}/{OCCUPIED}': rrb.EntityBehavior(visible=False)
        for number in range(people)
    }
    return rrb.Blueprint(
        rrb.Horizontal(
            rrb.Spatial3DView(origin='/world', name='people', overrides=hidden),
            rrb.Vertical(
                rrb.TimeSeriesView(origin='/error', name=f'error {AHEAD_S:g} s ahead, cm a joint'),
                rrb.TimeSeriesView(origin='/latency', name='latency, ms'),
            ),
            column_shares=[3, 2],
        ),
        collapse_panels=True,
    )


def _log_series(rr: Any, stream: Any, collection: Collection, scores: Scores | None) -> None:
    for stamp_s, published_s in zip(collection.stamps_s, collection.published_s):
        stream.set_time('time', duration=float(published_s))
        stream.log('latency/publication', rr.Scalars(1e3 * float(published_s - stamp_s)))
    if scores is None:
        return
    step = int(np.argmin(np.abs(scores.times_s - AHEAD_S)))
    stamps_s = collection.stamps_s[collection.message[scores.rows]]
    for name in RUNNING:
        for stamp_s, error_m, real in zip(
            stamps_s, scores.errors[name][:, step], scores.real[:, step]
        ):
            if real:  # logged when it came true
                stream.set_time('time', duration=float(stamp_s + scores.times_s[step]))
                stream.log(f'error/{name.replace(" ", "_")}', rr.Scalars(100.0 * float(error_m)))


def _log_future(rr: Any, stream: Any, collection: Collection, row: int) -> None:
    futures, weights = collection.futures[row], collection.weights[row]
    root = f'world/person_{collection.person[row]}'
    expected = collection.expected[row]
    steps = np.linspace(0, len(expected) - 1, 5).round().astype(int)
    strips, colours = [], []
    for place, step in enumerate(steps):
        strips += list(expected[step][BONES])
        colours += [(*COLOUR, round(255 * (0.8 - 0.15 * place)))] * len(BONES)
    stream.log(f'{root}/expected', rr.LineStrips3D(strips, colors=colours, radii=0.006))
    chosen = by_weight(weights[None], SAMPLES_DRAWN)[0]
    drawn = futures[chosen][:, :, ENDS]  # (S, T, ends, 3)
    ways = np.moveaxis(drawn, 2, 1).reshape(-1, *drawn.shape[1:2], 3)
    stream.log(f'{root}/samples', rr.LineStrips3D(list(ways), colors=[*COLOUR, 90], radii=0.002))
    found = occupancy(
        futures[None], weights[None], collection.times_s, H36M17.bones,
        voxel_m=0.1, bin_s=0.5, body_radius_m=0.1, min_probability=0.3,
    )  # fmt: skip
    last = found.bin == found.bin.max(initial=0)
    shade = np.rint(255 * found.probability[last]).astype(np.uint8)
    stream.log(
        f'{root}/{OCCUPIED}',
        rr.Points3D(
            found.centres[last],
            radii=0.03,
            colors=np.stack([shade, 80 + 0 * shade, 255 - shade], axis=-1),
        ),
    )


def open_viewer(path: Path) -> bool:
    """Start the Rerun viewer on a file; return whether there is one."""
    beside = str(Path(sys.executable).parent)  # in a virtual environment that is not activated
    viewer = shutil.which('rerun', path=beside) or shutil.which('rerun')
    if viewer is None:
        return False
    quiet = subprocess.DEVNULL
    subprocess.Popen([viewer, str(path)], stdout=quiet, stderr=quiet, start_new_session=True)
    return True
