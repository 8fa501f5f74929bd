# SPDX-License-Identifier: Apache-2.0
"""
Measure ONNX Runtime beside torch: difference, time and installed size, and write the table of it.

    python -m tools.measure.onnx_beside_torch --page docs/results/onnx.md

Both predict the same people and decode every frame of every sample, in turns, in one process and
on one thread each, so that whatever else the machine does meets both. Wall time suffers from other
programs; processor time does less.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
import platform
import sys
import tempfile
import time

import numpy as np
import torch

from motion_predictor.errors import MotionPredictorError
from motion_predictor.model.weights import default_weights, load_weights
from motion_predictor.predict.predictor import Predictor
from motion_predictor.recordings.walker import synthetic_walkers
from motion_predictor.without_torch.onnx_predictor import OnnxPredictor
from training.common.options import read_options
from training.stages.exporting.onnx_export import export_onnx

MARKER, END = '<!-- onnx -->', '<!-- /onnx -->'
HEAD = (
    '| model | people | largest difference, mm | torch, ms: median / p99 | ONNX Runtime, ms: '
    'median / p99 | ratio of medians | ratio of processor times |\n'
    '|---|---:|---:|---:|---:|---:|---:|'
)
NEEDED = {
    'torch': ('torch', 'numpy', 'safetensors', 'scipy'),
    'ONNX Runtime': ('onnxruntime', 'numpy'),
}
"""What each needs to predict."""


@dataclass(frozen=True, kw_only=True)
class OnnxOptions:
    """What can be told."""

    models: tuple[str, ...] = ('swiftdiff', 'swiftdiff_balance', 'moe')
    """Shipped weights."""
    people: tuple[int, ...] = (1, 3, 10)
    """Numbers of people."""
    samples: int = 50
    """Number of samples."""
    repetitions: int = 200
    """Number of predictions of each, after ten that are not counted."""
    page: Path | None = None
    """Page to put the tables into, between its markers; printed if there is none."""


@dataclass(frozen=True)
class Times:
    """Times of one predictor in milliseconds, one entry a prediction."""

    wall: np.ndarray
    processor: np.ndarray

    def shown(self) -> str:
        """Return the median and the 99th percentile of wall time."""
        return f'{np.median(self.wall):.1f} / {np.percentile(self.wall, 99):.1f}'


def in_turns(calls: Sequence[Callable[[], object]], repetitions: int) -> list[Times]:
    """
    Time functions in turns: the first, the second, the first, ...

    :param repetitions: of each, after ten that are not counted.
    """
    taken = np.zeros((2, len(calls), repetitions + 10))
    for turn in range(repetitions + 10):
        for index, call in enumerate(calls):
            began = time.perf_counter(), time.process_time()
            call()
            taken[0, index, turn] = time.perf_counter() - began[0]
            taken[1, index, turn] = time.process_time() - began[1]
    kept = 1000.0 * taken[:, :, 10:]
    return [Times(kept[0, index], kept[1, index]) for index in range(len(calls))]


def rows_of(name: str, options: OnnxOptions, folder: Path) -> list[str]:
    """
    Measure one model.

    :param name: of shipped weights.
    :param folder: for its ONNX file.
    :returns: a row of the table for each number of people.
    """
    weights, samples = load_weights(default_weights(name)), options.samples
    path = folder / f'{name}.onnx'
    export_onnx(weights, path, samples)
    onnx = OnnxPredictor.load(path, threads=1)
    predictor = Predictor.of(weights, device='cpu', engine='fp32')
    frames = predictor.window.observed_frames
    rows = []
    for people in options.people:
        walks = synthetic_walkers(people, 10).persons.values()
        observed = np.stack([walk[5 * i : 5 * i + frames] for i, walk in enumerate(walks)])
        expected = predictor.predict(observed, samples=samples).futures
        off_mm = 1000.0 * float(np.abs(onnx.predict(observed).futures - expected).max())
        torch_times, onnx_times = in_turns(
            (
                lambda seen=observed: predictor.predict(seen, samples=samples).futures,  # type: ignore[misc]
                lambda seen=observed: onnx.predict(seen).futures,  # type: ignore[misc]
            ),
            options.repetitions,
        )
        rows.append(
            f'| {name} | {people} | {off_mm:.4f} | {torch_times.shown()} | {onnx_times.shown()} '
            f'| {np.median(onnx_times.wall) / np.median(torch_times.wall):.2f} '
            f'| {np.median(onnx_times.processor) / np.median(torch_times.processor):.2f} |'
        )
        print(rows[-1], file=sys.stderr)
    return rows


def installed_mb(packages: Sequence[str]) -> float:
    """Return the size in MB of the installed files of packages and all that they need."""
    waiting, found, size = list(packages), set(), 0
    while waiting:
        name = waiting.pop()
        try:
            package = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # of another platform or an extra
            continue
        if package.metadata['Name'] in found:
            continue
        found.add(package.metadata['Name'])
        for file in package.files or ():
            path = Path(str(file.locate()))
            size += path.stat().st_size if path.is_file() else 0
        for requirement in package.requires or ():
            if 'extra ==' not in requirement:
                waiting.append(''.join(c if c.isalnum() or c in '-_.' else ' ' for c in
                                       requirement).split()[0])  # fmt: skip
    return size / 1e6


def measured(options: OnnxOptions) -> str:
    """
    Measure everything.

    :returns: the tables, and what they were measured on.
    """
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for name in options.models for row in rows_of(name, options, Path(folder))]
        files = ', '.join(
            f'{name} {(Path(folder) / f"{name}.onnx").stat().st_size / 1e6:.1f} MB (safetensors: '
            f'{default_weights(name).stat().st_size / 1e6:.1f} MB)'
            for name in options.models
        )
    sizes = ', '.join(f'{name}: {installed_mb(needed):.0f} MB' for name, needed in NEEDED.items())
    versions = f'torch {torch.__version__}, onnxruntime {metadata.version("onnxruntime")}'
    return (
        f'{options.samples} samples, one thread each, {options.repetitions} predictions in turns; '
        f'{platform.machine()}, {versions}; a ratio below 1 is in favour of ONNX Runtime.\n\n'
        + '\n'.join([HEAD, *rows])
        + f'\n\nInstalled, with all that each needs to predict: {sizes}. Files: {files}.'
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables, or put them into a page; returns the exit code."""
    options = read_options(OnnxOptions, 'tools.measure.onnx_beside_torch', __doc__, '', arguments)
    try:
        text = measured(options)
    except MotionPredictorError as error:
        print(f'onnx_beside_torch: {error}', file=sys.stderr)
        return 1
    if options.page is None:
        print(text)
        return 0
    before, begin, rest = options.page.read_text().partition(MARKER)
    _, end, after = rest.partition(END)
    if not (begin and end):
        print(f'{options.page}: has no {MARKER} and {END}', file=sys.stderr)
        return 1
    options.page.write_text(f'{before}{MARKER}\n{text}\n{END}{after}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
