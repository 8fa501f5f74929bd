"""Show the predictor at work: motion over DDS into the node, and the result.

Three processes talk over DDS on this machine alone: the replay node, the predictor node with its
weights, and a collector. At the end the expected future of ~/trajectory is compared with what then
really happened, beside damped velocity and standing still, in centimetres per joint at .5, 1 and 2
s.

Without a recording of yours, the demo plays a shipped one: ten side lunges of a person on whose
data nothing was fitted, once, with no invented frame. "--clip medley" is the hard case: another
kind of motion every few seconds.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
import contextlib
from dataclasses import dataclass
import os
from pathlib import Path
import signal
import subprocess
import sys
import tempfile
import time
import webbrowser

import numpy as np

from motion_predictor.errors import MotionPredictorError
from motion_predictor.recordings.open import SYNTHETIC
from motion_predictor.recordings.recording import Overrides, Recording
from tools.command import parser_of
from tools.demo.demo_clips import (
    CLIPS,
    demo_recording,
    EXERCISE,
    MEDLEY,
    whole_recording,
    WORK,
)
from tools.demo.demo_page import Facts, Run, write_page
from tools.demo.demo_rerun import import_rerun, open_viewer, write_rerun
from tools.demo.demo_scores import (
    Collection,
    EXPECTED,
    METHODS,
    REPORTED_S,
    Running,
    running,
    score,
    Scores,
    Timing,
    timing,
)
from tools.demo.demo_still import write_still
from tools.domain import Domain

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = (ROOT if (ROOT / 'scripts').is_dir() else Path.cwd()) / 'demo_output'
"""Folder of the output: in the source tree; for an installed demo, where it was started."""
START_LIMIT_S = 180.0
WORK_S, CLIP_S, LONGEST_S = 120.0, 20.0, 900.0
"""Duration in seconds of repeated work and of clips, and longest duration of a recording."""
HORIZONS_S = [round(0.1 * (step + 1), 1) for step in range(20)]
"""Keyframes of ~/trajectory in seconds: those of ~/predictions."""
STOP_LIMIT_S = 10.0


class DemoError(MotionPredictorError):
    """The demo cannot continue; the message says why."""


@dataclass
class Child:
    """A process that the demo started, with its own log file."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def tail(self, lines: int = 12) -> str:
        """Return the end of its output."""
        return '\n'.join(self.log.read_text(errors='replace').splitlines()[-lines:])

    def stop(self) -> None:
        """Ask it to end as Ctrl-C does, and kill it after some time."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is not None:
                return
            self.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_LIMIT_S)


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """Hold Ctrl-C back until a starting process is known, so that it is always stopped."""
    pending: list[int] = []
    numbers = signal.SIGINT, signal.SIGTERM
    before = {n: signal.signal(n, lambda number, _: pending.append(number)) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for held in pending:
            signal.raise_signal(held)


class Stage:
    """Starts the processes, and stops all of them whatever happens."""

    def __init__(self, folder: Path) -> None:
        """Choose a separate DDS domain, so that no other topics interfere."""
        self.folder = folder
        self.children: list[Child] = []
        self._claimed = Domain()
        self.domain = self._claimed.number
        self._environment = os.environ | {
            'ROS_DOMAIN_ID': str(self.domain),
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
            'PYTHONUNBUFFERED': '1',
        }

    def start(self, name: str, module: str, arguments: list[str]) -> Child:
        """Start a Python module as a process with a log file of its name."""
        log = self.folder / f'{name}.log'
        with log.open('wb') as output, _signals_held_back():
            process = subprocess.Popen(
                [sys.executable, '-m', module, *arguments],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C comes here; the children are stopped in order
            )
            child = Child(name, process, log)
            self.children.append(child)
        return child

    def stop(self) -> None:
        """Stop the processes that still run, the last started first, and free the domain."""
        for child in reversed(self.children):
            child.stop()
        self._claimed.close()


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = parser_of('scripts/demo', __doc__, 'scripts/demo --recording bench.bvh --view')
    parser.add_argument(
        '--seconds',
        type=float,
        help=f'how long (default: all of {EXERCISE}, {WORK_S:g} of {WORK}, {CLIP_S:g} of other '
        f'clips, all of a recording up to {LONGEST_S:g})',
    )
    played = parser.add_mutually_exclusive_group()
    played.add_argument(
        '--recording',
        help='one long recording of yours, played once: a .bvh file, an .npz of clips (all, one '
        'after another; or FILE.npz:CLIP), a rosbag2 folder',
    )
    played.add_argument(
        '--clip',
        default=EXERCISE,
        help=f'what to play else: {EXERCISE} (default: real, once); or, repeated where it is '
        f'short, {MEDLEY} (the hard case), {", ".join(CLIPS)}, {WORK} (repeated work, synthetic), '
        f'{SYNTHETIC} ({SYNTHETIC}:2 for two people), a .bvh file, FILE.npz:CLIP or a rosbag2',
    )
    parser.add_argument('--rate', type=float, default=30.0, help='frames a second (default: 30)')
    _add_file_options(parser)
    parser.add_argument(
        '--weights', default='swiftdiff', help='a shipped model or a file (default: swiftdiff)'
    )
    parser.add_argument(
        '--beside',
        action='append',
        default=[],
        metavar='WEIGHTS',
        help='further weights: they are played the same motion, and the page shows both',
    )
    parser.add_argument('--output', type=Path, default=OUTPUT, help='where to leave page and logs')
    parser.add_argument(
        '--view',
        nargs='?',
        const='page',
        choices=('page', 'rerun'),
        help='open the page in a browser; or write demo.rrd and open it in Rerun (an extra: '
        'pip install rerun-sdk)',
    )
    options = parser.parse_args(arguments)
    if options.seconds is None:
        usual = {EXERCISE: LONGEST_S, WORK: WORK_S}.get(options.clip, CLIP_S)
        options.seconds = LONGEST_S if options.recording else usual
    for name, low, high in (('seconds', 5.0, LONGEST_S), ('rate', 5.0, 120.0)):
        if not low <= getattr(options, name) <= high:
            parser.error(f'--{name} {getattr(options, name):g}: must lie in {low:g}..{high:g}')
    return options


def _add_file_options(parser: argparse.ArgumentParser) -> None:
    for name, kind, words in (
        ('--units-scale', float, "of a file: metres in its unit (default: the file's own)"),
        (
            '--up',
            str,
            'of a file: its axis that points up, such as y, or --up=-z (default: its own)',
        ),
        ('--mapping', str, 'of a file: mapping file from its joints (default: the usual names)'),
        ('--recorded-rate', float, 'of a file: its frames a second (default: its own)'),
    ):
        parser.add_argument(name, type=kind, default=kind(), help=words)


def overrides_of(options: argparse.Namespace) -> Overrides:
    """
    Return the command line's facts about a file.

    :raises RecordingError: if a value cannot be used.
    """
    return Overrides(options.units_scale, options.up, options.mapping, options.recorded_rate)


def perform(weights: str, recording: Recording, folder: Path) -> Collection:
    """
    Run the three processes until the motion has been played.

    :param weights: a shipped model's name or a file.
    :param recording: the motion to play.
    :param folder: folder for the processes' logs and files.
    :returns: the messages that the collector received.
    :raises DemoError: if a process fails, or if no prediction came.
    """
    motion = folder / 'motion.npz'
    poses = list(recording.persons.values())
    lengths = [len(each) for each in poses]
    np.savez(
        motion,
        positions=np.concatenate(poses),
        offsets=np.cumsum([0, *lengths]),
        names=np.array([f'person{index}' for index in range(len(poses))]),
        fps=np.float64(recording.rate_hz),
    )
    clip = '+'.join(f'person{index}' for index in range(len(poses)))
    stage = Stage(folder)
    found = folder / 'collected.npz'
    try:
        node = stage.start(
            'node',
            'motion_predictor.ros.node',
            ['--ros-args', '-p', 'autostart:=true', '-p', f'model.path:={weights}']
            + ['-p', f'trajectory.horizons_s:={HORIZONS_S}'],
        )
        collector = stage.start('collector', 'tools.demo.demo_collector', ['--out', str(found)])
        replay = stage.start(
            'replay',
            'motion_predictor.ros.replay',
            ['--ros-args', '-p', f'path:={motion}:{clip}', '-p', 'loop:=false']
            + ['-p', 'wait_for_subscribers:=2', '-p', 'frame_id:=map'],
        )
        print(
            f'demo: replay -> predictor -> collector over DDS, ROS_DOMAIN_ID {stage.domain}; '
            f'the model is being loaded',
            flush=True,
        )
        _watch(stage, node, collector, replay, recording.duration_s)
    finally:
        stage.stop()
    if not found.is_file():
        raise DemoError(f'the collector left nothing:\n{collector.tail()}')
    collection = Collection.load(found).with_made_up(recording.instants_s, recording.invented)
    if not len(collection.poses):
        raise DemoError(f'no pose arrived from the replay node:\n{replay.tail()}')
    if not len(collection.stamps_s):
        raise DemoError(
            f'the node produced nothing from {len(collection.poses)} frames; it said:\n'
            f'{node.tail()}'
        )
    return collection


def _watch(stage: Stage, node: Child, collector: Child, replay: Child, seconds: float) -> None:
    """Wait for the collector to finish, print its progress, and fail early if a process does."""
    shown = 0
    began = time.monotonic()
    limit_s = START_LIMIT_S + 2.0 * seconds
    while collector.process.poll() is None:
        lines = collector.log.read_text(errors='replace').splitlines()
        for line in lines[shown:]:
            print(f'demo: {line}', flush=True)
        shown = len(lines)
        for child in (node, replay):
            code = child.process.poll()
            if code is not None and (child is node or code != 0):
                raise DemoError(f'{child.name} ended with code {code}; it said:\n{child.tail()}')
        if time.monotonic() - began > limit_s:
            raise DemoError(
                f'nothing more after {limit_s:g} s; the node said:\n{node.tail()}\n'
                f'the replay said:\n{replay.tail()}'
            )
        time.sleep(0.1)
    if collector.process.returncode:
        raise DemoError(f'the collector failed; it said:\n{collector.tail()}')


def summary(measured: Timing, scores: Scores | None, learning: Running | None = None) -> str:
    """Return the results in one line."""
    line = (
        f'{measured.frames_in} frames in ({measured.rate_in_hz:.1f} Hz), '
        f'{measured.predictions_out} predictions out ({measured.rate_out_hz:.1f} Hz), '
        f'latency p50/p99 {measured.published_ms[0]:.1f}/{measured.published_ms[1]:.1f} ms to '
        f'publication, {measured.received_ms[0]:.1f}/{measured.received_ms[1]:.1f} ms to reception'
    )
    if scores is None:
        return line + '; no prediction with its whole future known, so no error'
    error = ', '.join(f'{name} {_centimetres(scores, name)}' for name in METHODS)
    error += f'; of the pelvis: {EXPECTED} {_centimetres(scores, EXPECTED, pelvis=True)}'
    left = (
        f', without the {100 * scores.left_out:.0f} % of their instants that are made up or come '
        'after a splice'
        if scores.left_out
        else ''
    )
    line += (
        f'; error of a joint in cm at {"/".join(f"{s:g}" for s in REPORTED_S)} s '
        f'(in the world, n={len(scores.rows)}{left}): {error}'
    )
    if learning is not None:
        ends = (
            f'{name} {100 * first:.1f} -> {100 * last:.1f}'
            for name, (first, last) in learning.ends_m.items()
        )
        line += (
            f'; {learning.ahead_s:g} s ahead, first -> last {learning.span_s:.0f} s: '
            f'{", ".join(ends)}'
        )
    return line


def _centimetres(scores: Scores, method: str, *, pelvis: bool = False) -> str:
    means = (100.0 * scores.at_m(ahead_s, method, pelvis=pelvis) for ahead_s in REPORTED_S)
    return '/'.join(f'{mean:.1f}' for mean in means)


@contextlib.contextmanager
def _terminating_like_ctrl_c() -> Iterator[None]:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(weights: str, recording: Recording, scratch: Path, output: Path) -> Run:
    """Play the recording to a node with these weights, keep the logs, and score what it said."""
    scratch.mkdir()
    collection = perform(weights, recording, scratch)
    for log in scratch.glob('*.log'):
        name = log.name if scratch.name == '0' else f'{Path(weights).stem}_{log.name}'
        (output / name).write_bytes(log.read_bytes())
    measured, scores = timing(collection), score(collection)
    learning = None if scores is None else running(collection, scores)
    said = summary(measured, scores, learning)
    facts = Facts(recording.name, recording.source, Path(weights).stem, said)
    return Run(collection, measured, scores, facts)


def main(arguments: list[str] | None = None) -> int:
    """Run the demo."""
    options = parse_arguments(arguments)
    rerun_file = options.output / 'demo.rrd'
    try:
        if options.view == 'rerun':
            import_rerun()  # now, and not after half a minute of demo
        with _terminating_like_ctrl_c(), tempfile.TemporaryDirectory() as scratch:
            given, overrides = options.recording, overrides_of(options)
            get = whole_recording if given else demo_recording
            recording = get(given or options.clip, options.seconds, options.rate, overrides)
            real = 'SYNTHETIC' if 'not motion capture' in recording.source else 'recorded'
            print(
                f'demo: playing {recording.duration_s:.0f} s of {real} motion: {recording.name}; '
                f'{recording.source}',
                flush=True,
            )
            options.output.mkdir(parents=True, exist_ok=True)
            runs = [
                _run(weights, recording, Path(scratch) / str(number), options.output)
                for number, weights in enumerate([options.weights, *options.beside])
            ]
            page = write_page(options.output / 'index.html', *runs)
            print(f'demo: page to look at: {page}')
            collection, scores, facts = runs[0].collection, runs[0].scores, runs[0].facts
            if scores is not None:
                still = write_still(options.output / 'still.png', collection, scores, facts)
                print(f'demo: still picture: {still}')
            if options.view == 'rerun':
                write_rerun(rerun_file, collection, recording.name, scores)
                print(f'demo: Rerun recording: {rerun_file}')
    except MotionPredictorError as error:
        print(f'demo: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('demo: interrupted; everything is stopped', file=sys.stderr)
        return 130
    if options.view == 'page':
        webbrowser.open(page.resolve().as_uri())
    elif options.view == 'rerun' and not open_viewer(rerun_file):
        print(f'demo: no rerun viewer here; open {rerun_file} with: rerun {rerun_file}')
    for run in runs:
        which = f'{run.facts.weights}: ' if options.beside else ''
        print(f'demo: {which}{run.facts.summary}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
