# SPDX-License-Identifier: Apache-2.0
"""Measure the node over DDS: the time from a pose's stamp to the publication of its prediction.

It uses the demo's three processes (replay, predictor node, collector) on a synthetic walker,
because the motion does not change the time. It prints rates, p50 and p99, and whether a backlog
grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
import sys
import tempfile
from typing import Any

import numpy as np

from motion_predictor.errors import MotionPredictorError
from motion_predictor.recordings.open import SYNTHETIC
from tools.demo.demo import perform
from tools.demo.demo_clips import demo_recording
from tools.demo.demo_scores import Collection, timing
from training.common.options import read_options, refuse
from training.common.provenance import write_json

SETTLED_S = 1.0
"""Time in seconds that is left out at the beginning: discovery, and people not observed long
enough."""


def measure(weights: str, seconds: float, rate_hz: float, persons: int) -> dict[str, Any]:
    """
    Play a walker to the node and collect its predictions.

    :param weights: a shipped model's name, or a file that the node may load.
    :param seconds: duration.
    :param rate_hz: frames per second.
    :param persons: number of walkers.
    :returns: figures, JSON-able; latencies in ms from stamp to publication.
    :raises MotionPredictorError: if a process fails or nothing was predicted.
    """
    recording = demo_recording(f'{SYNTHETIC}:{persons}', seconds + SETTLED_S, rate_hz)
    with tempfile.TemporaryDirectory() as scratch:
        collection = perform(weights, recording, Path(scratch))
    return {'weights_argument': weights, 'persons': persons, **figures(collection)}


def figures(collection: Collection) -> dict[str, Any]:
    """
    Return the figures of a collection after its first second of predictions.

    ``drift_ms`` is the median latency of the last third minus that of the first third, which is
    what a growing backlog would add.
    """
    stamps = collection.stamps_s
    if not len(stamps) or stamps[-1] - stamps[0] <= SETTLED_S:
        raise MotionPredictorError(
            f'{len(stamps)} predictions in {SETTLED_S:g} s: too few to measure; play longer'
        )
    settled = stamps >= stamps[0] + SETTLED_S
    late_ms = 1e3 * (collection.published_s - stamps)[settled]
    third = max(1, len(late_ms) // 3)
    frames = int((collection.pose_stamps_s >= stamps[settled][0] - 1e-9).sum())
    measured = timing(collection)
    return {
        'frames_in': frames,
        'predictions_out': int(settled.sum()),
        'rate_in_hz': round(measured.rate_in_hz, 2),
        'rate_out_hz': round(measured.rate_out_hz, 2),
        'median_ms': round(float(np.median(late_ms)), 3),
        'p99_ms': round(float(np.quantile(late_ms, 0.99)), 3),
        'slowest_ms': round(float(late_ms.max()), 3),
        'drift_ms': round(float(np.median(late_ms[-third:]) - np.median(late_ms[:third])), 3),
        'frame_period_ms': round(1e3 / measured.rate_in_hz, 3),
    }


PROGRAM = 'tools.measure.node_latency'
EXAMPLE = """example:
  python -m tools.measure.node_latency --weights swiftdiff --seconds 20
"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``tools.measure.node_latency``."""

    weights: str = 'swiftdiff'
    """Name of a shipped model, or a weights file."""
    seconds: float = 20.0
    """Duration of the motion, s."""
    rate: float = 30.0
    """Frame rate, Hz."""
    persons: int = 1
    """Number of people."""
    json: Path | None = None
    """File for the figures."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 1 if the node could not be measured."""
    options = read_options(Options, PROGRAM, __doc__, EXAMPLE, arguments)
    for name, low, high in (('seconds', 3.0, 600.0), ('rate', 5.0, 240.0), ('persons', 1, 20)):
        value = getattr(options, name)
        if not low <= value <= high:
            refuse(PROGRAM, f'--{name} {value:g}: must lie in {low:g}..{high:g}')
    try:
        found = measure(options.weights, options.seconds, options.rate, options.persons)
    except MotionPredictorError as error:
        print(f'node_latency: {error}', file=sys.stderr)
        return 1
    if options.json:
        write_json(options.json, found)
    print(
        f'{options.weights}, {options.persons} people: {found["rate_in_hz"]:.1f} Hz in, '
        f'{found["rate_out_hz"]:.1f} Hz out, stamp to publication median '
        f'{found["median_ms"]:.1f} ms, p99 {found["p99_ms"]:.1f} ms (one frame: '
        f'{found["frame_period_ms"]:.1f} ms), last third less first {found["drift_ms"]:+.1f} ms'
    )
    return 0


if __name__ == '__main__':
    sys.exit(main())
