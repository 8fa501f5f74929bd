# SPDX-License-Identifier: Apache-2.0
"""The predictor node with a stopwatch in every stage of a frame; tools.measure.crowd starts it.

It runs by its path from any checkout, also from an older one; stages that a checkout lacks are not
timed. SIGUSR1 begins the measurement again. At SIGUSR2 the measurement is written to the file that
the environment names.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
import contextlib
import functools
import importlib
import json
import os
from pathlib import Path
import signal
import sys
import threading
from time import perf_counter, thread_time
from typing import Any

OUT_VARIABLE = 'MOTION_PREDICTOR_STAGES'
_ROOT = 'motion_predictor.'
STAGES = {
    'decode': ('ros.intake.intake:Intake._read',),
    'store': ('track.people:People.observe', 'track.people:People.observe_all'),
    'window': ('track.people:People.snapshot',),
    'model': ('predict.predictor:Predictor.predict',),
    'memory': (
        'predict.place.memory.place_memory:PlaceMemory.remember',
        'predict.place.memory.place_memory:PlaceMemory.recall',
    ),
    'weighing': ('predict.place.place:Place.weigh',),
    'to world': (
        'model.codec:Codec.decode',
        'predict.prediction:Prediction.futures_at',
        'predict.place.candidates:side_by_side',
        'predict.place.beside:side_by_side',
    ),
    'moments': ('predict.prediction:Prediction.moments',),
    'encode': (
        'ros.publish.publishing:Publishing._chosen',
        'ros.publish.publishing:Publishing._encoded',
        'ros.publish.summaries:SummaryPublishers.publish',
        'ros.publish.markers:MarkerTopic.publish',
    ),
    'publish': ('/rclpy.publisher:Publisher.publish',),
    'rest': ('ros.worker:Worker.cycle',),
}
"""Functions of each stage; time in a nested stage is not counted for the outer one."""


class Stopwatch:
    """Times the stages of each frame in the predicting thread, each without nested stages."""

    def __init__(self) -> None:
        """Begin without times."""
        self._open: list[list[float]] = []
        self._now: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self.frames: list[dict[str, list[float]]] = []
        self._worker = 0
        self.begin()

    def begin(self) -> None:
        """Forget the measurement so far."""
        self.frames = []
        self._begun_s, self._begun_cpu = perf_counter(), threads_cpu_s()

    @contextlib.contextmanager
    def timing(self, stage: str) -> Iterator[None]:
        """Time a call of a stage."""
        if threading.current_thread().name != 'prediction worker':
            yield
            return
        self._worker = threading.get_native_id()
        self._open.append([0.0, 0.0])
        wall_s, cpu_s = perf_counter(), thread_time()
        try:
            yield
        finally:
            took = (perf_counter() - wall_s, thread_time() - cpu_s)
            within = self._open.pop()
            for part in range(2):
                self._now[stage][part] += took[part] - within[part]
                if self._open:
                    self._open[-1][part] += took[part]
            if not self._open:
                self._end_of_cycle()

    def _end_of_cycle(self) -> None:
        if 'model' not in self._now:
            return  # time before a prediction counts for it
        self.frames.append({name: list(took) for name, took in self._now.items()})
        self._now.clear()

    def result(self) -> dict[str, Any]:
        """Return all measurements, JSON-able; seconds."""
        passed_s, cpu = perf_counter() - self._begun_s, threads_cpu_s()
        used: defaultdict[str, float] = defaultdict(float)
        for number, (name, spent_s) in cpu.items():
            kind = 'middleware' if name.startswith('dds') else 'others'
            if number == self._worker:
                kind = 'worker'
            elif number == os.getpid():
                kind = 'executor'
            used[kind] += spent_s - self._begun_cpu.get(number, (name, 0.0))[1]
        return {'passed_s': passed_s, 'threads_s': dict(used), 'frames': self.frames}


def threads_cpu_s() -> dict[int, tuple[str, float]]:
    """Return name and processor time of every thread of this process, by its number."""
    found = {}
    for folder in Path('/proc/self/task').iterdir():
        with contextlib.suppress(OSError):
            spent_ns = int((folder / 'schedstat').read_text().split()[0])
            found[int(folder.name)] = (folder / 'comm').read_text().strip(), 1e-9 * spent_ns
    return found


def timed(function: Callable[..., Any], stage: str, watch: Stopwatch) -> Callable[..., Any]:
    """Return the same function, timed."""

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        with watch.timing(stage):
            return function(*arguments, **named)

    return call


def instrument(watch: Stopwatch) -> list[str]:
    """Time every stage of this checkout; return the stages that it lacks."""
    missing = []
    for stage, places in STAGES.items():
        for place in places:
            module_name, _, path = place.partition(':')
            full = module_name[1:] if module_name.startswith('/') else _ROOT + module_name
            try:
                holder: Any = importlib.import_module(full)
                *owners, name = path.split('.')
                for owner in owners:
                    holder = getattr(holder, owner)
                function = getattr(holder, name)
            except (ImportError, AttributeError):
                missing.append(place)
                continue
            made = timed(function, stage, watch)
            setattr(holder, name, made)
            if not owners:  # modules that imported it by its name
                for module in list(sys.modules.values()):
                    if getattr(module, '__name__', '').startswith(_ROOT):
                        for known in [k for k, v in vars(module).items() if v is function]:
                            setattr(module, known, made)
    return missing


def main() -> int:
    """Run the node until it is asked to end; return its exit code."""
    from motion_predictor.ros.node import main as run

    watch = Stopwatch()
    missing = instrument(watch)
    out = Path(os.environ[OUT_VARIABLE])

    def write(number: int, frame: Any) -> None:
        part = out.with_suffix('.part')
        part.write_text(json.dumps({**watch.result(), 'missing': missing}))
        part.replace(out)

    signal.signal(signal.SIGUSR1, lambda number, frame: watch.begin())
    signal.signal(signal.SIGUSR2, write)
    return run()


if __name__ == '__main__':
    sys.exit(main())
