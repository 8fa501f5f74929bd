# SPDX-License-Identifier: Apache-2.0
"""Measure the cost of each output: to build it, and to publish it to one reliable subscriber.

    python -m tools.measure.benchmark_outputs --json FILE --page docs/guide/outputs.md

All rows are timed in turns, round after round, so that other load on the machine affects all of
them alike. Processor time is shown beside wall-clock time, which grows if others need the cores.
The ratio is that of processor time to ~/predictions, which is always published. Rows in brackets
are alternatives that the node does not use, or settings that are not the default.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
import json
import os
from pathlib import Path
import platform
import subprocess
import sys
from time import perf_counter, process_time, sleep
from typing import Any

import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import PointCloud2
from visualization_msgs.msg import MarkerArray

from motion_predictor.model.weights import default_weights
from motion_predictor.predict.device import use_threads
from motion_predictor.predict.likely import drawn_samples, likely_futures
from motion_predictor.predict.live import LivePredictor
from motion_predictor.predict.predictor import Predictor
from motion_predictor.recordings.walker import synthetic_walkers
from motion_predictor.ros.memory.remembering import make_place
from motion_predictor.ros.messages import CloudEncoder, MarkerEncoder, MarkerPerson
from motion_predictor.ros.parameters import Settings
from motion_predictor.ros.publish.outlook import Outlook
from motion_predictor.ros.publish.summaries import SUMMARIES
from motion_predictor.sources.observation import Observation
from tools.domain import Domain
from training.common.options import read_options

REFERENCE = '~/predictions'
SAMPLES = 50
WATCHED_FRAMES = 400
BEGIN = '<!-- costs -->'
END = '<!-- /costs -->'


@dataclass
class Row:
    """One output, or an alternative to one."""

    name: str
    message_type: type
    build: Callable[[], Any]
    built_s: list[float] = field(default_factory=list)
    """Processor time of building in each round, seconds."""
    published_s: list[float] = field(default_factory=list)
    """Processor time of publishing in each round, seconds."""
    taken_s: list[float] = field(default_factory=list)
    """Wall-clock time of both in each round, seconds."""
    size: int = 0


def outlook(persons: int) -> Outlook:
    """
    Predict walking people after some seconds, so that all candidates are weighed.

    The motion is synthetic: the measured times do not depend on it.
    """
    predictor = Predictor.load(default_weights())
    place = make_place(predictor, Settings())
    online = LivePredictor(predictor, max_persons=persons, samples=SAMPLES, place=place)
    scene = synthetic_walkers(persons)
    result = None
    for frame in range(WATCHED_FRAMES):
        for name, poses in scene.persons.items():
            stamp_ns = 1_000_000_000 + frame * 20_000_000
            online.observe(Observation(stamp_ns, 'map', name, poses[frame]))
        if frame >= predictor.window.observed_frames and frame % 5 == 4:
            result = online.predict()
    assert result is not None
    assert result.prediction is not None
    assert result.prediction.mix is not None
    assert len(result.persons) == persons
    frames = np.arange(4, 100, 5)
    return Outlook.of(result, list(range(persons)), frames, predictor.skeleton)


def drawn(view: Outlook, markers: MarkerEncoder) -> MarkerArray:
    """Return the markers of a prediction."""
    prediction, numbers = view.prediction, list(view.numbers)
    expected = likely_futures(prediction)[:, view.frames]
    chosen = drawn_samples(prediction, 10)
    people = [
        MarkerPerson(
            number,
            view.last_poses[index],
            expected[index],
            prediction.futures[index, chosen[index]][:, view.frames],
        )
        for index, number in enumerate(numbers)
    ]
    return markers.encode(view.stamp_ns, view.frame_id, people)


def rows_of(view: Outlook) -> list[Row]:
    """Return the rows that are timed."""
    cloud, markers = CloudEncoder(), MarkerEncoder(view.skeleton)
    prediction, numbers = view.prediction, list(view.numbers)

    def predictions(frames: np.ndarray) -> Callable[[], PointCloud2]:
        futures = prediction.futures[:, :, frames]
        weights, times_s = prediction.weights_at(frames), prediction.times_s[frames]
        encoder = CloudEncoder() if len(frames) == 100 else cloud
        return lambda: encoder.encode(
            view.stamp_ns, view.frame_id, numbers, futures, weights, times_s, prediction.candidate
        )

    def summary(name: str, **changed: Any) -> Callable[[], Any]:
        settings = Settings.from_values(changed)

        def build() -> Any:
            view.__dict__.pop('most_likely', None)  # each has to find it, as when it is alone
            prediction.__dict__.pop('expected', None)
            return SUMMARIES[name].encode(view, settings)

        return build

    every = [round(0.02 * (frame + 1), 2) for frame in range(100)]
    kinds = {name: summary.message_type for name, summary in SUMMARIES.items()}
    return [
        Row(REFERENCE, PointCloud2, predictions(view.frames)),
        Row('(~/predictions, all 100 frames)', PointCloud2, predictions(np.arange(100))),
        Row('~/moments', kinds['moments'], summary('moments')),
        Row('~/trajectory', kinds['trajectory'], summary('trajectory')),
        Row(
            '(~/trajectory, all 100 frames)',
            kinds['trajectory'],
            summary('trajectory', **{'trajectory.horizons_s': every}),
        ),
        Row('~/poses', kinds['poses'], summary('poses')),
        Row(
            '(~/poses, all 100 frames)',
            kinds['poses'],
            summary('poses', **{'poses.horizons_s': every}),
        ),
        Row('~/occupancy', kinds['occupancy'], summary('occupancy')),
        Row(
            '(~/occupancy, voxels of 0.05 m)',
            kinds['occupancy'],
            summary('occupancy', **{'occupancy.voxel_m': 0.05}),
        ),
        Row('~/markers', MarkerArray, lambda: drawn(view, markers)),
    ]


def measure(rows: list[Row], seconds: float) -> None:
    """Time all rows in turns until the time is over, at least 20 rounds."""
    context = Context()
    domain = Domain()
    rclpy.init(context=context, domain_id=domain.number)
    node = Node('benchmark_outputs', context=context)
    profile = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
    publishers = []
    for index, row in enumerate(rows):
        publishers.append(node.create_publisher(row.message_type, f'row_{index}', profile))
        node.create_subscription(row.message_type, f'row_{index}', lambda message: None, profile)
    while not all(publisher.get_subscription_count() for publisher in publishers):
        sleep(0.02)
    rounds, began_s = 0, perf_counter()
    while rounds < 22 or perf_counter() - began_s < seconds:
        for row, publisher in zip(rows, publishers):
            start_s, began = perf_counter(), process_time()
            message = row.build()
            built = process_time()
            publisher.publish(message)
            end = process_time()
            if rounds >= 2:  # the first are slower
                row.built_s.append(built - began)
                row.published_s.append(end - built)
                row.taken_s.append(perf_counter() - start_s)
            written = isinstance(message, bytes)  # as the middleware takes it
            row.size = row.size or len(message if written else serialize_message(message))
        rounds += 1
    node.destroy_node()
    rclpy.try_shutdown(context=context)
    domain.close()


def facts(rows: list[Row]) -> list[dict[str, Any]]:
    """Return the summary of each row, in milliseconds and bytes."""

    def whole(row: Row) -> float:
        return float(np.median(np.add(row.built_s, row.published_s)))

    reference = whole(next(row for row in rows if row.name == REFERENCE))

    def milliseconds(values: list[float], *percents: int) -> list[float]:
        return [round(1e3 * float(np.percentile(values, percent)), 3) for percent in percents]

    return [
        {
            'name': row.name,
            'build_ms': milliseconds(row.built_s, 50),
            'publish_ms': milliseconds(row.published_s, 50),
            'taken_ms': milliseconds(row.taken_s, 50, 99),
            'bytes': row.size,
            'ratio': round(whole(row) / reference, 2),
            'rounds': len(row.built_s),
        }
        for row in rows
    ]


def table(persons: int, found: list[dict[str, Any]]) -> str:
    """Return the table for one number of people as Markdown."""
    title = f'{persons} {"person" if persons == 1 else "people"}'
    lines = [
        f'| {title} | build, ms CPU | publish, ms CPU | both, ms wall p50 / p99 | kB '
        f'| CPU against {REFERENCE} |',
        '|---|---:|---:|---:|---:|---:|',
    ]
    for row in found:
        (build,), (publish,) = row['build_ms'], row['publish_ms']
        taken = '{:.1f} / {:.1f}'.format(*row['taken_ms'])
        lines.append(
            f'| {row["name"]} | {build:.2f} | {publish:.2f} | {taken} '
            f'| {row["bytes"] / 1000:.1f} | {row["ratio"]:.1f} |'
        )
    return '\n'.join(lines)


def page_part(content: dict[str, Any]) -> str:
    """Return all measurements as Markdown."""
    parts = [
        f'Medians (and 99th percentiles) of {content["rounds"]} rounds; {content["machine"]}; '
        f'load average of the machine at the end {content["load"]:.1f}; commit '
        f'`{content["commit"][:12]}`, {content["date"]}:',
        f'`python -m tools.measure.benchmark_outputs {content["arguments"]}`',
    ]
    parts += [table(int(persons), found) for persons, found in content['persons'].items()]
    return '\n\n'.join(parts)


def with_part(text: str, part: str) -> str:
    """
    Return a page with the tables between their marks.

    :raises ValueError: if the page has lost its marks.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f'expected {BEGIN} ... {END} once')
    return text[: text.index(BEGIN) + len(BEGIN)] + f'\n{part}\n' + text[text.index(END) :]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``tools.measure.benchmark_outputs``."""

    persons: tuple[int, ...] = (1, 3)
    """Numbers of people."""
    seconds: float = 20.0
    """Seconds for each number of people."""
    threads: int = 0
    """As the parameter model.threads."""
    json: Path | None = None
    """File to write."""
    page: Path | None = None
    """Page to write the tables into."""


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and write to the requested files."""
    given = sys.argv[1:] if arguments is None else arguments
    options = read_options(Options, 'tools.measure.benchmark_outputs', __doc__, '', given)
    threads = use_threads(options.threads)
    measured = {}
    for persons in options.persons:
        rows = rows_of(outlook(persons))
        measure(rows, options.seconds)
        measured[str(persons)] = facts(rows)
        print(table(persons, measured[str(persons)]), flush=True)
    commit = subprocess.run(['git', 'rev-parse', 'HEAD'], capture_output=True, text=True)
    content = {
        'arguments': ' '.join(given),
        'machine': f'{_processor()}, {len(os.sched_getaffinity(0))} cores, {threads} threads, '
        f'Python {platform.python_version()}',
        'load': os.getloadavg()[0],
        'commit': commit.stdout.strip() or 'unknown',
        'date': datetime.now(timezone.utc).date().isoformat(),
        'rounds': min(row['rounds'] for found in measured.values() for row in found),
        'persons': measured,
    }
    if options.json:
        options.json.write_text(json.dumps(content, indent=1) + '\n')
    if options.page:
        options.page.write_text(with_part(options.page.read_text(), page_part(content)))
    return 0


def _processor() -> str:
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.machine()


if __name__ == '__main__':
    sys.exit(main())
