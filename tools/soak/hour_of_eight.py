# SPDX-License-Identifier: Apache-2.0
"""Eight people for an hour, with the memory and without it: its size and its time per frame.

A publisher in a separate process plays recordings of real people side by side, in a loop, at the
rate of a camera, to the real node: first with its memory, which keeps growing, then to another
node without memory. For every ten minutes the output states resident memory, the size of the
memory, and the milliseconds that a frame takes in the node and until another process has its
prediction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import pairwise
import json
import multiprocessing
import os
from pathlib import Path
import sys
import tempfile
import threading
import time
from typing import Any

import numpy as np

from motion_predictor.errors import MotionPredictorError
from tools.domain import Domain
from tools.rig import (
    commit,
    Driver,
    Heard,
    machine,
    NodeProcess,
    pose_array,
    use_large_messages,
)
from training.common.options import read_options

FRAME = 'hall'
APART_M = 3.0
WARM_UP_S = 20.0
DATA = Path('../shared/data')
SETS = (
    'cmu17/train', 'uiprmd17/train', 'rocketbox17/train', 'reactidle17/train', 'cmu13more17/train',
    'cmu17/test', 'uiprmd17/test', 'reactidle17/val',
)  # fmt: skip
"""Recording sets, one per person; people of one set are the same distance apart."""


EXAMPLE = """example:
  python -m tools.soak.hour_of_eight --json docs/hour_of_eight.json
"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``tools.soak.hour_of_eight``."""

    data: Path = DATA
    """Folder of the recordings."""
    persons: int = 8
    """Number of people."""
    rate: float = 30.0
    """Frame rate, Hz."""
    minutes: float = 60.0
    """Minutes with the memory on."""
    without: float = 10.0
    """Minutes with the memory off."""
    part: float = 10.0
    """Minutes of one row."""
    json: Path
    """File to write."""


def recordings(folder: Path, persons: int, rate_hz: float) -> list[np.ndarray]:
    """
    Read the motion of each person: all clips of a set in turn, each person at a separate place.

    :returns: (T, 17, 3) metres for each, at ``rate_hz``.
    """
    people = []
    for number in range(persons):
        path = folder / f'{SETS[number % len(SETS)]}.npz'
        try:
            with np.load(path) as file:
                poses = file['positions'].astype(np.float32) / 1000.0
                offsets, fps = file['offsets'], float(file['fps'])
        except (OSError, KeyError) as error:
            raise MotionPredictorError(f'{path}: {error}; name the folder by --data') from None
        clips = []
        for begin, end in pairwise(offsets.tolist()):
            clip = poses[begin:end] - poses[begin, 0] * [1.0, 1.0, 0.0]
            at = np.arange(0.0, len(clip) - 1, fps / rate_hz)
            before = at.astype(np.int64)
            share = (at - before)[:, None, None]
            clips.append(clip[before] + share * (clip[before + 1] - clip[before]))
        whole = np.concatenate(clips[number // len(SETS) :])
        people.append(whole + [0.0, APART_M * number, 0.0])
    return people


def publish(options: Options, domain: int, ended: Any) -> None:
    """Play until told to end; this is the body of the publisher's process."""
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    people = recordings(options.data, options.persons, options.rate)
    driver = Driver(domain, lambda heard: None)
    try:
        publisher = driver.publisher('/skeleton')
        frame, due_s = 0, time.monotonic()
        while not ended.is_set():
            message = pose_array([poses[frame % len(poses)] for poses in people])
            driver.send(publisher, message, driver.now_ns(), FRAME)
            frame += 1
            due_s = max(due_s + 1.0 / options.rate, time.monotonic() - 0.2)
            time.sleep(max(0.0, due_s - time.monotonic()))
    finally:
        driver.close()


def percentiles_ms(values_s: list[float]) -> dict[str, float]:
    """Return median, 99th percentile and maximum of durations in milliseconds."""
    if not values_s:
        return {}
    found = np.percentile(values_s, (50, 99, 100)) * 1e3
    return dict(zip(('median', 'p99', 'longest'), found.round(1).tolist()))


def perform(options: Options) -> Iterator[dict[str, Any]]:
    """
    Run both nodes, one after the other.

    :returns: a row for every part, as soon as it is over.
    :raises MotionPredictorError: if a node does not start, or ends.
    """
    use_large_messages()
    for remembers, minutes in ((True, options.minutes), (False, options.without)):
        if minutes > 0.0:
            yield from _with_memory(options, remembers, minutes)


def _with_memory(options: Options, remembers: bool, minutes: float) -> Iterator[dict[str, Any]]:
    lock, late = threading.Lock(), list[float]()
    people = list[int]()

    def note(each: Heard) -> None:
        with lock:
            late.append((each.received_ns - each.stamp_ns) * 1e-9)
            people.append(len(each.persons))

    parameters = {'max_persons': options.persons, 'memory.enabled': str(remembers).lower()}
    context = multiprocessing.get_context('spawn')
    ended = context.Event()
    with Domain() as domain, tempfile.TemporaryDirectory() as folder:
        source = context.Process(target=publish, args=(options, domain, ended), daemon=True)
        node = NodeProcess(Path(folder) / 'node.log', domain, parameters)
        driver = Driver(domain, note)
        try:
            source.start()
            driver.wait(lambda: late, 'the first prediction')
            time.sleep(WARM_UP_S)
            begun_s = time.monotonic()
            left_s = 60.0 * minutes
            while left_s > 0.0:
                length_s = min(60.0 * options.part, left_s)
                left_s -= length_s
                before, usage = driver.fresh_counters(), node.usage()
                part_s = time.monotonic()
                with lock:
                    late.clear()
                    people.clear()
                stages = _watched(driver, node, source, part_s + length_s)
                took_s, after = time.monotonic() - part_s, driver.fresh_counters()
                used = node.usage()
                with lock:
                    heard, crowd = list(late), list(people)
                yield {
                    'memory': remembers,
                    'until_min': round((time.monotonic() - begun_s) / 60.0, 1),
                    'predicted_hz': round(
                        (after.get('predictions', 0) - before.get('predictions', 0)) / took_s, 2
                    ),
                    'people': round(sum(crowd) / len(crowd), 2) if crowd else 0.0,
                    'rss_mb': round(used.rss_bytes / 1e6, 1),
                    'cpu': round((used.cpu_s - usage.cpu_s) / took_s, 3),
                    'load': round(os.getloadavg()[0], 1),
                    'received_ms': percentiles_ms(heard),
                    'stages': _stages(stages),
                    'moments': int(driver.diagnostics.get('memory (moments)', 0)),
                    'remembered_mb': float(driver.diagnostics.get('memory (MB)', 0.0)),
                }
        finally:
            ended.set()
            source.join(20.0)
            if source.is_alive():
                source.terminate()
            node.stop()
            driver.close()


def _watched(
    driver: Driver, node: NodeProcess, source: Any, until_s: float
) -> list[dict[str, str]]:
    # Return what the diagnostics say every five seconds until then; both processes must continue.
    seen: list[dict[str, str]] = []
    while time.monotonic() < until_s:
        time.sleep(min(5.0, max(0.05, until_s - time.monotonic())))
        if not (node.running and source.is_alive()):
            raise MotionPredictorError(f'ended: {node.output()[-2000:]}')
        seen.append(dict(driver.diagnostics))
    return seen


def _stages(seen: list[dict[str, str]]) -> dict[str, list[float]]:
    # Return the median of the readings of every latency in the diagnostics.
    found = {}
    for key in sorted({key for each in seen for key in each if key.startswith('latency')}):
        rows = []
        for each in seen:
            words = each.get(key, '').replace(',', ' ').replace('/', ' ').split()
            numbers = [float(word) for word in words if word.replace('.', '', 1).isdigit()]
            if numbers:
                rows.append(numbers)
        width = min((len(row) for row in rows), default=0)
        if width:
            middle = np.median(np.array([row[:width] for row in rows]), axis=0)
            found[key] = middle.round(2).tolist()
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run and write the JSON after every part; return 1 if a node ended."""
    options = read_options(Options, 'tools.soak.hour_of_eight', __doc__, EXAMPLE, arguments)
    result: dict[str, Any] = {
        'command': 'python -m tools.soak.hour_of_eight ' + ' '.join(sys.argv[1:]),
        'commit': commit(),
        'begun': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'machine': machine(),
        'persons': options.persons,
        'rate_hz': options.rate,
        'recordings': [SETS[number % len(SETS)] for number in range(options.persons)],
        'parts': [],
    }
    try:
        for part in perform(options):
            result['parts'].append(part)
            options.json.write_text(json.dumps(result, indent=1) + '\n')
            print(json.dumps(part), flush=True)
    except MotionPredictorError as error:
        print(f'hour_of_eight: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
