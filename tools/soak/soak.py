# SPDX-License-Identifier: Apache-2.0
"""Run the node for a long time while everything goes wrong, and check the outcome.

A publisher plays motion at 30 Hz over real DDS to the real node, a process with the shipped
weights, and injects a fault every few seconds; memory and latency are recorded. At the end the
following must hold: the node never ended, its memory grew by less than 2%, every good frame was
answered or is counted as skipped for a newer one, and the node's counters account for every
message. The exit code says whether they do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
import json
import os
from pathlib import Path
import sys
import tempfile
import time
from typing import Any

import numpy as np
from rclpy.publisher import Publisher

from motion_predictor.errors import MotionPredictorError
from motion_predictor.recordings.recording import Recording
from motion_predictor.recordings.scenes import with_seam
from tools.demo.demo_clips import demo_recording, MEDLEY
from tools.domain import Domain
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
from tools.soak.soak_faults import Fault, FAULTS, FRAME, shuffled, stamp_is_known
from tools.soak.soak_hostile import HOSTILE
from tools.soak.soak_record import Frames, memory_growth, percentiles_ms, Run, Tally
from tools.soak.soak_report import write_report
from training.common.options import read_options

RATE_HZ = 30.0
SETTLE_S = 1.5
"""Time in seconds after a fault before frames count as good: a new person is observed for some
time first."""
HELD_UP_S = 0.2
"""A publisher that was delayed by less than this, in seconds, sends what it missed."""
BIN_S = 10.0
WARM_UP_S = 20.0
MAX_GROWTH = 0.02
NEAR_M = 1.0
"""The good person is served if a person is expected within this distance, in metres, of the real
position."""
FORGET_S = 90.0
TOPICS = ('skeleton', 'second')
SERIES = ('at_s', 'rss_mb', 'threads', 'files', 'cpu', 'load', 'p50_ms', 'p99_ms')
"""Quantities that are noted every few seconds."""


class Soak:
    """One run, which implements the stage of :class:`tools.soak.soak_faults.Stage`."""

    def __init__(
        self, node: NodeProcess, domain: int, recording: Recording, seed: int, fault_every_s: float
    ) -> None:
        """
        Join the node's domain.

        :param node: the node.
        :param domain: ROS_DOMAIN_ID.
        :param recording: motion that is played in a loop.
        :param seed: seed of the faults' order and of random faults.
        :param fault_every_s: least time between the beginnings of two faults, seconds.
        """
        self.node = node
        self.frames = Frames()
        self.driver = Driver(domain, self._heard)
        self.rng = np.random.default_rng(seed)
        self.tallies: dict[str, Tally] = {}
        self.problems: list[str] = []
        self.unstamped: list[tuple[int, int]] = []
        self.series: dict[str, list[float]] = {name: [] for name in SERIES}
        self.main: Publisher
        self.second: Publisher
        (self._poses,) = recording.persons.values()
        self._frame = 0
        self._fault_every_s = fault_every_s
        self._due_s = 0.0
        self._begun_s = 0.0
        self._good = False
        self._run = Run('the start')
        self._bin_s = 0.0
        self._last_cpu_s = 0.0

    # What faults use ---------------------------------------------------------------------------

    def pose(self) -> np.ndarray:
        """Return the next pose of the recording."""
        self._frame = (self._frame + 1) % len(self._poses)
        return self._poses[self._frame]

    def send(
        self,
        people: list[np.ndarray],
        stamp_ns: int | None = None,
        frame_id: str = FRAME,
        publisher: Publisher | None = None,
    ) -> int:
        """Publish people, stamped with the due time unless a stamp is given; return the stamp."""
        stamp = self._captured_ns() if stamp_ns is None else stamp_ns
        message = pose_array(people)
        frames = self.frames
        with frames.lock:
            frames.frames_given.add(frame_id)
            if publisher is not self.second:
                frames.good += self._good
                frames.sent[stamp] = self._good
                if self._good:
                    frames.roots[stamp] = people[0][0]
                    frames.waiting.append(stamp)
                    self._run.length += 1
                    frames.places[stamp] = (self._run, self._run.length)
            else:
                frames.sent[stamp] = False
        self.driver.send(publisher or self.main, message, stamp, frame_id)
        return stamp

    def _captured_ns(self) -> int:
        # A tracker stamps when it sees, not when it sends. This process may be delayed too, and
        # stamps would then be closer together than any tracker's.
        late_s = time.monotonic() - self._due_s
        return self.driver.now_ns() - round(late_s * 1e9 if 0.0 < late_s < HELD_UP_S else 0)

    def pace(self, rate_hz: float = RATE_HZ) -> None:
        """Wait until the next frame of this rate is due; sometimes note memory and latency."""
        now_s = time.monotonic()
        if now_s - self._due_s >= HELD_UP_S:
            self._due_s = now_s
        self._due_s += 1.0 / rate_hz
        self._note_bin(now_s)
        if self._due_s > now_s:
            time.sleep(self._due_s - now_s)

    def stream(
        self, seconds: float, change: Callable[[np.ndarray], list[np.ndarray]] | None = None
    ) -> None:
        """Publish at 30 Hz as a tracker does, with each pose changed by a function."""
        for _ in range(max(1, round(seconds * RATE_HZ))):
            pose = self.pose()
            self.send([pose] if change is None else change(pose))
            self.pace()

    def stream_beside(
        self, seconds: float, change: Callable[[np.ndarray], list[np.ndarray]]
    ) -> None:
        """Publish as :meth:`stream`; the first person is good and must be served."""
        # Not in the first moment: the fault before may have removed that person.
        self.stream(SETTLE_S)
        self._good = True
        self.stream(seconds, change)
        self._good = False

    def pause(self, seconds: float) -> None:
        """Publish nothing."""
        time.sleep(seconds)

    def recreate_main(self, pause_s: float) -> None:
        """Destroy the tracker's publisher, and make another after some time."""
        self.driver.node.destroy_publisher(self.main)
        self.pause(pause_s)
        self.main = self.driver.publisher(f'/{TOPICS[0]}')

    def inactive_stream(self, seconds: float) -> None:
        """Publish while the node is not active: it must neither answer nor count this."""
        for _ in range(round(seconds * RATE_HZ)):
            message = pose_array([self.pose()])
            self.driver.send(self.main, message, self.driver.now_ns(), FRAME, count=False)
            self.pace()

    def resume(self) -> None:
        """Wait until the node subscribes again."""
        for publisher in (self.main, self.second):
            self.driver.wait_for_subscriber(publisher)

    # The run -----------------------------------------------------------------------------------

    def perform(self, seconds: float) -> dict[str, int]:
        """
        Stream and inject faults for some seconds.

        :returns: the node's counters at the end.
        """
        self.main, self.second = (self.driver.publisher(f'/{topic}') for topic in TOPICS)
        self._begun_s = self._bin_s = time.monotonic()
        self._last_cpu_s = self.node.usage().cpu_s
        self.stream(SETTLE_S)
        self._stream_good(WARM_UP_S)
        pending: list[Fault] = []
        before = self.driver.fresh_counters()
        while time.monotonic() - self._begun_s < seconds and self.node.running:
            begun_s = time.monotonic()
            pending = pending or shuffled(self.rng, (*FAULTS, *HOSTILE))
            fault = pending.pop()
            tally = self.tallies.setdefault(fault.name, Tally())
            tally.injected += 1
            self._run.before = fault.name
            self._run = Run(fault.name)
            try:
                fault.inject(self)
            except (MotionPredictorError, RuntimeError) as error:
                self.problems.append(f'{fault.name}: {error}')
            self.stream(SETTLE_S)
            wanted = self.driver.diagnostics_count + 2
            self._stream_good(self._fault_every_s - (time.monotonic() - begun_s))
            while self.driver.diagnostics_count < wanted and self.node.running:
                self._stream_good(0.1)
            after = self.driver.counters()
            grown = {name: after.get(name, 0) - before.get(name, 0) for name in after}
            before = after
            self._judge(fault, tally, grown)
        self._run.before = 'the end'
        self._stream_good(2.0)
        counters = self.driver.fresh_counters if self.node.running else self.driver.counters
        found = counters()
        with self.frames.lock:
            self.frames.forget(self.driver.now_ns())
        return found

    def _judge(self, fault: Fault, tally: Tally, grown: dict[str, int]) -> None:
        risen = {name: by for name, by in grown.items() if by > 0}
        for name in filter(risen.get, fault.named):
            tally.counters[name] = tally.counters.get(name, 0) + risen[name]
        if not fault.named or any(name in risen for name in fault.named):
            tally.named += 1
        else:
            self.problems.append(f'{fault.name}: {fault.named} have not grown, but {risen} have')

    def _stream_good(self, seconds: float) -> None:
        self._good = True
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            self.stream(1.0 / RATE_HZ)
        self._good = False

    def _heard(self, heard: Heard) -> None:
        frames = self.frames
        with frames.lock:
            if not stamp_is_known(heard.stamp_ns, frames.sent, self.unstamped):
                frames.unknown_stamps.append(heard.stamp_ns)
            if heard.frame_id not in frames.frames_given:
                frames.unknown_frames.append(heard.frame_id)
            frames.not_finite += not heard.finite
            root = frames.roots.get(heard.stamp_ns)
            if root is not None:
                apart_m = np.linalg.norm(heard.places - root, axis=1).min(initial=np.inf)
                if apart_m > NEAR_M:
                    frames.unserved.append(f'{self._run.after}: {apart_m:.1f} m')
            while frames.waiting and frames.waiting[0] <= heard.stamp_ns:
                waited_ns = heard.received_ns - frames.waiting.popleft()
                frames.covered_s.append(waited_ns * 1e-9)
            if frames.sent.get(heard.stamp_ns) and heard.stamp_ns not in frames.answered:
                latency_s = (heard.received_ns - heard.stamp_ns) * 1e-9
                frames.answered[heard.stamp_ns] = latency_s
                frames.good_answered += 1
                frames.latencies.append((time.monotonic() - self._begun_s, latency_s))

    def _note_bin(self, now_s: float) -> None:
        if now_s - self._bin_s < BIN_S or not self.node.running:
            return
        usage = self.node.usage()
        at_s = now_s - self._begun_s
        with self.frames.lock:
            frames = self.frames
            late = [s for t, s in frames.latencies[-2000:] if t >= self._bin_s - self._begun_s]
            forgotten = self.driver.now_ns() - int(FORGET_S * 1e9)
            frames.forget(forgotten)
            self.unstamped[:] = [each for each in self.unstamped if each[1] > forgotten]
        p50, p99 = np.percentile(late, (50, 99)) * 1e3 if late else (np.nan, np.nan)
        row = {
            'at_s': at_s,
            'rss_mb': usage.rss_bytes / 2**20,
            'threads': usage.threads,
            'files': usage.files,
            'cpu': (usage.cpu_s - self._last_cpu_s) / (now_s - self._bin_s),
            'load': os.getloadavg()[0],
            'p50_ms': p50,
            'p99_ms': p99,
        }
        for name, value in row.items():
            self.series[name].append(round(float(value), 3))
        self._bin_s, self._last_cpu_s = now_s, usage.cpu_s


def judge(soak: Soak, counters: dict[str, int], exit_code: int, ended: bool) -> dict[str, Any]:
    """Compare the messages sent with the node's counters, and return the checks."""
    frames, driver = soak.frames, soak.driver
    accounts = {
        'messages sent': driver.sent,
        'messages seen, lost, overflowed, overdue or unread': sum(
            counters.get(f'messages{name}', 0)
            for name in ('', '_lost', '_overflowed', '_overdue', '_unread')
        ),
        'messages seen': counters.get('messages', 0),
        'malformed, empty, stored or refused': sum(
            counters.get(name, 0)
            for name in ('messages_malformed', 'messages_empty', 'frames_stored', 'frames_refused')
        ),
        'frames stored': counters.get('frames_stored', 0),
        'answered, skipped or unpredicted': sum(
            counters.get(f'frames_{name}', 0) for name in ('answered', 'skipped', 'unpredicted')
        ),
        'predictions published': counters.get('predictions', 0),
        'predictions heard or missed by the listener': driver.clouds
        + max(0, driver.clouds_missed),
    }
    names, values = list(accounts), list(accounts.values())
    unanswered = frames.good - frames.good_answered
    growth = memory_growth(soak.series['rss_mb']) if soak.series['rss_mb'] else 0.0
    slack = 3  # frames that may be on their way while the diagnostics are made
    checks = {
        'the node never ended by itself': not ended,
        'asked to end, it did with code 0': exit_code == 0,
        f'memory grew by less than {100 * MAX_GROWTH:g}%': growth < MAX_GROWTH,
        'every good frame was answered, or skipped for a newer one and counted': unanswered
        <= counters.get('frames_skipped', 0) + driver.clouds_missed + slack,
        'for every good frame came a prediction as new or newer': len(frames.waiting) <= slack,
        'every fault that drops something is named in diagnostics': not soak.problems,
        'no prediction with a stamp that was not given': not frames.unknown_stamps,
        'no prediction with a frame that was not given': not frames.unknown_frames,
        'the good person is in every prediction from a good frame': not frames.unserved,
        'no NaN published': not frames.not_finite and not driver.broken,
        'no worker error': counters.get('worker_errors', 0) == 0,
    }
    for index in range(0, len(names), 2):
        statement = f'{names[index]} = {names[index + 1]}'
        checks[statement] = abs(values[index] - values[index + 1]) <= slack
    return {
        'checks': checks,
        'accounts': accounts,
        'good_frames': frames.good,
        'good_answered': frames.good_answered,
        'good_unanswered': [
            {'after': after, 'before': before, 'frames': count}
            for (after, before), count in frames.unanswered.items()
        ],
        'clouds_missed': driver.clouds_missed,
        'good_covered_ms': percentiles_ms(frames.covered_s),
        'latency_ms': percentiles_ms([latency_s for _, latency_s in frames.latencies]),
        'growth': growth,
    }


EXAMPLE = """example:
  python -m tools.soak.soak --minutes 60 --json soak.json
"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``tools.soak.soak``."""

    minutes: float = 60.0
    """Duration of the run, min."""
    every: float = 5.5
    """Seconds from fault to fault."""
    seed: int = 0
    """Seed of the order of faults."""
    clip: str = MEDLEY
    """Motion that is played, as for scripts/demo."""
    json: Path = ROOT / 'demo_output' / 'soak.json'
    """File to write."""
    report: bool = False
    """Only write page and plot of an existing --json."""


def main(arguments: list[str] | None = None) -> int:
    """Run the soak, write its JSON, plot and page; return 0 if everything held."""
    options = read_options(Options, 'tools.soak.soak', __doc__, EXAMPLE, arguments)
    if options.report:
        write_report(options.json)
        return 0
    recording = with_seam(demo_recording(options.clip, 120.0, RATE_HZ))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    use_large_messages()  # two clouds of 0.6 MB within milliseconds, after a short backlog
    begun = datetime.now(timezone.utc)
    with Domain() as domain, tempfile.TemporaryDirectory() as folder:
        node = NodeProcess(
            Path(folder) / 'node.log',
            domain,
            {'input.topics': f'[{",".join(TOPICS)}]', 'diagnostics.period_s': 0.5},
        )
        soak = Soak(node, domain, recording, options.seed, options.every)
        counters: dict[str, int] = {}
        try:
            counters = soak.perform(60.0 * options.minutes)
            diagnostics = dict(soak.driver.diagnostics)
        except (MotionPredictorError, KeyboardInterrupt) as error:
            soak.problems.append(f'the run broke off: {error!r}')
            diagnostics = dict(soak.driver.diagnostics)
        ended = not node.running
        exit_code = node.stop()
        soak.driver.close()
        output = node.output()
    judged = judge(soak, counters, exit_code, ended)
    if 'Traceback' in output:
        judged['checks']['no trace in what the node printed'] = False
        print(output[-6000:], file=sys.stderr)
    result = {
        'command': 'python -m tools.soak.soak ' + ' '.join(arguments or sys.argv[1:]),
        'commit': commit(),
        'begun': begun.isoformat(timespec='seconds'),
        'minutes': (time.monotonic() - soak._begun_s) / 60.0,
        'machine': machine(),
        'motion': recording.source,
        'faults': sum(tally.injected for tally in soak.tallies.values()),
        'kinds': {name: asdict(tally) for name, tally in sorted(soak.tallies.items())},
        **judged,
        'problems': [*soak.problems, *soak.frames.unserved][:50],
        'diagnostics': diagnostics,
        'series': soak.series,
    }
    options.json.write_text(json.dumps(result, indent=1, default=str) + '\n')
    page = write_report(options.json)
    _tell(result, soak, page)
    return 0 if all(judged['checks'].values()) else 1


def _tell(result: dict[str, Any], soak: Soak, page: Path) -> None:
    """Print what held, the accounts, the first problems and a summary."""
    for statement, holds in result['checks'].items():
        print(f'{"ok  " if holds else "FAIL"} {statement}')
    for name, value in result['accounts'].items():
        print(f'     {name}: {value}')
    for problem in [*soak.problems, *soak.frames.unserved][:20]:
        print(f'     {problem}')
    print(
        f'{result["faults"]} faults of {len(soak.tallies)} kinds in {result["minutes"]:.1f} min; '
        f'{result["good_answered"]} of {result["good_frames"]} good frames answered themselves; '
        f'latency {result["latency_ms"]} ms; memory {100 * result["growth"]:+.2f}%; {page}'
    )


if __name__ == '__main__':
    sys.exit(main())
