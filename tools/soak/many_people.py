# SPDX-License-Identifier: Apache-2.0
"""Play ten people at 30 Hz to the node, and count what it predicts and what it drops.

A publisher plays that many people, each with their own part of the recording, at the rate of a
camera to the real node, a process with the shipped weights. Rates, latencies, the share of the
processor, the memory, and every counter of dropped data are printed and written for every minute,
so that a growing backlog would be seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
import json
import os
from pathlib import Path
import sys
import tempfile
import threading
import time
from typing import Any

import numpy as np

from motion_predictor.errors import MotionPredictorError
from motion_predictor.recordings.scenes import with_seam
from tools.demo.demo_clips import demo_recording, MEDLEY
from tools.domain import Domain
from tools.measure.crowd_table import section
from tools.rig import (
    commit,
    Driver,
    Heard,
    machine,
    NodeProcess,
    pose_array,
    ROOT,
    use_large_messages,
)
from training.common.options import read_options

FRAME = 'hall'
APART_M = 2.0
PART_S = 60.0
WARM_UP_S = 20.0
PREDICTED = 'predictions'
DROPS = (
    'frames_skipped', 'frames_unpredicted', 'frames_refused', 'messages_lost',
    'messages_overflowed', 'messages_overdue', 'messages_unread', 'messages_malformed',
    'messages_empty', 'left_out_too_many_persons', 'deadline_misses', 'worker_errors',
)  # fmt: skip
CROWD = ROOT / 'docs' / 'results' / 'data' / 'crowd.json'
"""The figures of ``tools.measure.crowd``, which end the page."""


EXAMPLE = """example:
  python -m tools.soak.many_people --persons 10 --minutes 10
"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``tools.soak.many_people``."""

    persons: int = 10
    """Number of people."""
    minutes: float = 10.0
    """Duration of the motion, min."""
    rate: float = 30.0
    """Frame rate, Hz."""
    samples: int = 50
    """Futures of each person."""
    clip: str = MEDLEY
    """Motion that is played, as for scripts/demo."""
    json: Path = ROOT / 'demo_output' / 'many_people.json'
    """File to write."""
    report: bool = False
    """Only write the page of an existing --json."""


def people_at(poses: np.ndarray, persons: int, frame: int) -> list[np.ndarray]:
    """
    Return people side by side, each at another part of the recording.

    :param poses: (T, 17, 3) metres.
    :param persons: number of people.
    :param frame: number of the frame.
    :returns: (17, 3) metres for each, about their own place on the floor.
    """
    people = []
    for person in range(persons):
        pose = poses[(frame + person * len(poses) // persons) % len(poses)]
        people.append(pose + [0.0, APART_M * person, 0.0])
    return people


def percentiles_ms(values_s: list[float]) -> list[float]:
    """Return median, 99th percentile and maximum in milliseconds; empty for no values."""
    if not values_s:
        return []
    return [round(float(value), 1) for value in np.percentile(values_s, (50, 99, 100)) * 1e3]


class Tracker:
    """Plays people at the rate of a camera, and remembers the stamps that it sent."""

    def __init__(self, node: NodeProcess, driver: Driver, persons: int, rate_hz: float) -> None:
        """Publish to the node's topic."""
        self.node, self.driver = node, driver
        self.persons, self.rate_hz = persons, rate_hz
        self.sent: set[int] = set()
        self._publisher = driver.publisher('/skeleton')
        self._frame = 0

    def play(self, poses: np.ndarray, seconds: float) -> int:
        """
        Play for some seconds, from where it stopped.

        :param poses: (T, 17, 3) metres.
        :param seconds: duration.
        :returns: the number of frames.
        """
        begin = due_s = time.monotonic()
        count = 0
        while time.monotonic() - begin < seconds and self.node.running:
            stamp_ns = self.driver.now_ns()
            message = pose_array(people_at(poses, self.persons, self._frame))
            self.driver.send(self._publisher, message, stamp_ns, FRAME)
            self.sent.add(stamp_ns)
            self._frame, count = self._frame + 1, count + 1
            due_s = max(due_s, time.monotonic() - 0.2) + 1.0 / self.rate_hz
            time.sleep(max(0.0, due_s - time.monotonic()))
        return count


class Ear:
    """Keeps the predictions that were received since it was last cleared."""

    def __init__(self) -> None:
        """Begin without predictions."""
        self._lock, self._heard = threading.Lock(), list[Heard]()

    def note(self, each: Heard) -> None:
        """Keep a prediction; the receiving thread calls it."""
        with self._lock:
            self._heard.append(each)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._heard.clear()

    def heard(self) -> list[Heard]:
        """Return the predictions that were received."""
        with self._lock:
            return list(self._heard)


def play_part(
    tracker: Tracker, ear: Ear, poses: np.ndarray, seconds: float, before: Mapping[str, int]
) -> tuple[dict[str, Any], dict[str, int]]:
    """
    Play for some seconds, and sum up the node's answers.

    :returns: a row of the table, and the counters at the end.
    """
    usage, begun_s = tracker.node.usage(), time.monotonic()
    ear.clear()
    frames = tracker.play(poses, seconds)
    took_s, after_usage = time.monotonic() - begun_s, tracker.node.usage()
    after = tracker.driver.counters()
    heard = ear.heard()
    late = [(each.received_ns - each.stamp_ns) * 1e-9 for each in heard]
    people = [len(each.persons) for each in heard]
    part = {
        'frames_in_hz': round(frames / took_s, 2),
        'predictions_out_hz': round(len(late) / took_s, 2),
        'predicted_hz': round(
            (after.get('predictions', 0) - before.get('predictions', 0)) / took_s, 2
        ),
        'people': round(float(np.mean(people)), 2) if people else 0.0,
        'latency_ms': percentiles_ms(late),
        'cpu': round((after_usage.cpu_s - usage.cpu_s) / took_s, 3),
        'rss_mb': round(after_usage.rss_bytes / 2**20, 1),
        'load': round(os.getloadavg()[0], 1),
        'untrue': sum(each.stamp_ns not in tracker.sent or not each.finite for each in heard),
        **{name: after.get(name, 0) - before.get(name, 0) for name in DROPS},
    }
    return part, after


def perform(options: Options) -> dict[str, Any]:
    """
    Play people to the node for the requested time.

    :returns: all measurements, JSON-able.
    :raises MotionPredictorError: if the node does not start.
    """
    recording = with_seam(demo_recording(options.clip, 120.0, options.rate))
    (poses,) = recording.persons.values()
    poses = poses - poses[:, :1] * [1.0, 1.0, 0.0]  # everybody stays in place
    ear = Ear()
    use_large_messages()  # a cloud of ten people holds 5 MB
    begun = datetime.now(timezone.utc)
    parameters = {'max_persons': options.persons, 'samples': options.samples}
    parts: list[dict[str, Any]] = []
    with Domain() as domain, tempfile.TemporaryDirectory() as folder:
        node = NodeProcess(Path(folder) / 'node.log', domain, parameters)
        driver = Driver(domain, ear.note)
        try:
            tracker = Tracker(node, driver, options.persons, options.rate)
            tracker.play(poses, WARM_UP_S)
            before = whole = driver.fresh_counters()
            for _ in range(max(1, round(60.0 * options.minutes / PART_S))):
                seconds = min(PART_S, 60.0 * options.minutes)
                part, before = play_part(tracker, ear, poses, seconds, before)
                parts.append(part)
                print(json.dumps(part), flush=True)
            final = driver.fresh_counters()
            diagnostics = dict(driver.diagnostics)
        finally:
            ended = not node.running
            code = node.stop()
            driver.close()
        if ended or code:
            raise MotionPredictorError(f'the node ended with {code}: {node.output()[-2000:]}')
    return {
        'command': 'python -m tools.soak.many_people ' + ' '.join(sys.argv[1:]),
        'commit': commit(),
        'begun': begun.isoformat(timespec='seconds'),
        'machine': machine(),
        'motion': recording.source,
        'persons': options.persons,
        'rate_hz': options.rate,
        'samples': options.samples,
        'minutes': options.minutes,
        'parts': parts,
        'counted': {
            name: final.get(name, 0) - whole.get(name, 0)
            for name in ('messages', 'frames_stored', 'frames_answered', *DROPS)
        },
        'diagnostics': diagnostics,
    }


def page(result: dict[str, Any], source: str) -> str:
    """Return the page of a run as Markdown."""
    parts, counted = result['parts'], result['counted']
    stages = {
        key: value for key, value in result['diagnostics'].items() if key.startswith('latency')
    }

    def mean(name: str) -> float:
        return float(np.mean([part[name] for part in parts]))

    share = 100.0 * mean('predicted_hz') / mean('frames_in_hz')
    lines = [
        f'# {result["persons"]} people at {result["rate_hz"]:g} Hz',
        '',
        f'Written by the command, from `{source}`:',
        '',
        '```sh',
        result['command'],
        '```',
        '',
        f'Commit `{result["commit"]}`, {result["begun"]}; {result["machine"]}. '
        f'{result["samples"]} futures a person. Motion: {result["motion"]}.',
        '',
        f'The tracker sent {mean("frames_in_hz"):.1f} frames a second of {result["persons"]} '
        f'people; {mean("predicted_hz"):.2f} a second were predicted ({share:.1f}%), each time '
        f'the newest, and {mean("predictions_out_hz"):.2f} a second heard by another process, of '
        f'{mean("people"):.1f} people on average. The other frames were passed over for '
        f'a newer one and counted (`frames_skipped`: {counted["frames_skipped"]} of '
        f'{counted["frames_stored"]}). The node used {100 * mean("cpu"):.0f}% of one processor; '
        f'mean load of the machine, which was shared with other work: {mean("load"):.1f}. '
        'Latency is from stamp to reception in another process.',
        '',
        '| minute | in, Hz | predicted, Hz | heard, Hz | latency p50, ms | p99, ms | longest, ms '
        '| memory, MiB | load | skipped | lost | other drops |',
        '|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|',
    ]
    for index, part in enumerate(parts):
        late = part['latency_ms'] or ['', '', '']
        lost = sum(part[f'messages_{name}'] for name in ('lost', 'overflowed', 'overdue'))
        other = sum(
            part[name] for name in ('frames_unpredicted', 'frames_refused', 'messages_malformed')
        )
        lines.append(
            f'| {index + 1} | {part["frames_in_hz"]} | {part["predicted_hz"]} '
            f'| {part["predictions_out_hz"]} | {late[0]} '
            f'| {late[1]} | {late[2]} | {part["rss_mb"]} | {part["load"]} '
            f'| {part["frames_skipped"]} | {lost} | {other} |'
        )
    lines += [
        '',
        "From the node's own diagnostics at the end:",
        '',
        '| | |',
        '|---|---:|',
        *(f'| {key} | {value} |' for key, value in stages.items()),
    ]
    return '\n'.join(lines) + '\n'


def main(arguments: list[str] | None = None) -> int:
    """Run, write JSON and page; return 1 if the node ended or published untrue data."""
    options = read_options(Options, 'tools.soak.many_people', __doc__, EXAMPLE, arguments)
    if not options.report:
        try:
            result = perform(options)
        except MotionPredictorError as error:
            print(f'many_people: {error}', file=sys.stderr)
            return 1
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + '\n')
    result = json.loads(options.json.read_text())
    written = options.json.with_suffix('.md')
    text = page(result, options.json.name)
    if CROWD.exists():  # beside it
        text += '\n' + section(json.loads(CROWD.read_text()))
    written.write_text(text)
    print(f'counted: {result["counted"]}; {written}')
    bad = sum(part['untrue'] for part in result['parts']) + result['counted']['worker_errors']
    return int(bad > 0)


if __name__ == '__main__':
    sys.exit(main())
