# SPDX-License-Identifier: Apache-2.0
"""Show the predictor at work: motion over DDS into the node, and the result.

The processes talk over DDS on this machine alone: the replay node, the predictor node with its
weights, a collector, and a recorder that leaves the session as an MCAP file. At the end the
expected future of ~/trajectory is compared with what then really happened, beside damped velocity
and standing still, in centimetres per joint at .5, 1 and 2 s.

Without a recording of yours, the demo plays a shipped one: ten side lunges of a person on whose
data nothing was fitted, once, with no invented frame. "--clip medley" is the hard case: another
kind of motion every few seconds.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
import contextlib
from dataclasses import dataclass
from importlib.util import find_spec
import os
from pathlib import Path
import shutil
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
    running,
    score,
    summary,
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
        '--mcap',
        type=Path,
        metavar='FILE',
        help='where to leave the session, input and predictions (default: session.mcap beside the '
        'page)',
    )
    parser.add_argument('--no-mcap', action='store_true', help='leave no such file')
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


def _motion_file(recording: Recording, folder: Path) -> str:
    """Write the motion for the replay node; return the words for it, file and clips."""
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
    return f'{motion}:{clip}'


def perform(
    weights: str, recording: Recording, folder: Path, session: Path | None = None
) -> Collection:
    """
    Run the processes until the motion has been played.

    :param weights: a shipped model's name or a file.
    :param recording: the motion to play.
    :param folder: folder for the processes' logs and files.
    :param session: MCAP file for the input and the predictions; None records none.
    :returns: the messages that the collector received.
    :raises DemoError: if a process fails, or if no prediction came.
    """
    motion = _motion_file(recording, folder)
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
        if session is not None:
            stage.start('recorder', 'tools.demo.demo_recorder', ['--out', str(session)])
        replay = stage.start(
            'replay',
            'motion_predictor.ros.replay',
            ['--ros-args', '-p', f'path:={motion}', '-p', 'loop:=false']
            + ['-p', f'wait_for_subscribers:={2 if session is None else 3}']
            + ['-p', 'frame_id:=map'],
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


def _session_of(options: argparse.Namespace) -> Path | None:
    """Return where the session is to be recorded; None if it is not, or cannot be."""
    if options.no_mcap:
        return None
    if find_spec('rosbags') is None:
        print("demo: no MCAP of the session: pip install 'motion-predictor[demo]' (rosbags)")
        return None
    return Path(options.mcap or options.output / 'session.mcap')


def _keep(recorded: Path, place: Path, log: Path) -> None:
    """Move the recorded session to its place; a demo without one is a demo all the same."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(recorded, place)
    except OSError as error:
        print(f'demo: no MCAP of the session: {error}; see {log}', file=sys.stderr)
    else:
        print(f'demo: the session, input and predictions: {place}', flush=True)


@contextlib.contextmanager
def _terminating_like_ctrl_c() -> Iterator[None]:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(
    weights: str, recording: Recording, scratch: Path, output: Path, session: Path | None
) -> Run:
    """Play the recording to a node with these weights, keep the files, and score what it said."""
    scratch.mkdir()
    recorded = None if session is None else scratch / 'session.mcap'
    collection = perform(weights, recording, scratch, recorded)
    first = scratch.name == '0'
    for log in scratch.glob('*.log'):
        name = log.name if first else f'{Path(weights).stem}_{log.name}'
        (output / name).write_bytes(log.read_bytes())
    if session is not None and recorded is not None:
        place = session if first else session.with_name(f'{Path(weights).stem}_{session.name}')
        _keep(recorded, place, output / 'recorder.log')
    measured, scores = timing(collection), score(collection)
    learning = None if scores is None else running(collection, scores)
    said = summary(measured, scores, learning)
    facts = Facts(recording.name, recording.source, Path(weights).stem, said)
    return Run(collection, measured, scores, facts)


def _require(*packages: str) -> None:
    # What the demo's processes import: said before they start, not by the traceback of one.
    for name in packages:
        if find_spec(name) is None:
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)


def main(arguments: list[str] | None = None) -> int:
    """Run the demo."""
    options = parse_arguments(arguments)
    _require('rclpy', 'matplotlib')
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
            session = _session_of(options)
            runs = [
                _run(weights, recording, Path(scratch) / str(number), options.output, session)
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
