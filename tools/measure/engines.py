# SPDX-License-Identifier: Apache-2.0
"""Measure the differences between the engines of the shipped models, and write their table.

    python -m tools.measure.engines --page docs/design/limits.md

For each one-step model, with fp32 and bf16, it measures whether the same input gives the same
futures again. It measures how far they move if seven other people are predicted too, in another
order; if the input is turned by a quarter and moved by metres (and the futures turned back); and
if it is moved by a thousandth of a millimetre. Finally it measures how far bf16 is from fp32. A
mixture runs only in fp32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
import platform
import sys
from typing import Literal

import numpy as np
import torch

from motion_predictor.errors import ConfigError
from motion_predictor.model.weights import default_weights
from motion_predictor.predict.predictor import Predictor
from motion_predictor.recordings.walker import synthetic_walkers
from training.common.options import read_options

MODELS = ('swiftdiff', 'swiftdiff_balance', 'one_step', 'moe')
PEOPLE = 8
MARKER = '<!-- engines -->'
END = '<!-- /engines -->'
TURN = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
SHIFT_M = np.array([5.0, 3.0, 0.0])
HEAD = (
    '| model | engine | again | beside seven others | in another order | turned and moved '
    '| input moved by 0.001 mm | from fp32: mean, largest |\n'
    '|---|---|---|---:|---:|---:|---:|---:|'
)


def walks(frames: int) -> np.ndarray:
    """Return observed windows of walking people at different moments, (8, T_obs, 17, 3)."""
    people = synthetic_walkers(PEOPLE, 60).persons.values()
    return np.stack([walk[100 * i : 100 * i + frames] for i, walk in enumerate(people)])


def largest_mm(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest difference of a coordinate, in millimetres."""
    return 1000.0 * float(np.abs(one - other).max())


def measured(name: str, engine: str, device: str) -> str:
    """
    Measure one model with one engine.

    :returns: a row of the table.
    :raises ConfigError: if the model does not run with this engine.
    """
    predictor = Predictor.load(default_weights(name), device=device, engine=engine)
    observed = walks(predictor.window.observed_frames).astype(np.float64)
    alone = predictor.predict(observed[:1]).futures
    again = predictor.predict(observed[:1]).futures
    reversed_ = predictor.predict(observed[::-1]).futures[-1:]
    everybody = predictor.predict(observed).futures
    turned = predictor.predict(observed @ TURN.T + SHIFT_M).futures
    noise = np.random.default_rng(0).normal(0.0, 1e-6, observed.shape)
    moved = predictor.predict(observed + noise).futures
    exact = Predictor.load(default_weights(name), device='cpu', engine='fp32')
    off = 1000.0 * np.abs(everybody - exact.predict(observed).futures)
    return (
        f'| {name} | {predictor.engine} | {"the same" if np.array_equal(alone, again) else "not"} '
        f'| {largest_mm(alone, everybody[:1]):.3f} mm | {largest_mm(alone, reversed_):.3f} mm '
        f'| {largest_mm(turned, everybody @ TURN.T + SHIFT_M):.3f} mm '
        f'| {largest_mm(everybody, moved):.3f} mm | {off.mean():.3f}, {off.max():.3f} mm |'
    )


def table(device: str) -> str:
    """Measure every model with every engine that can run it."""
    rows = []
    for name in MODELS:
        for engine in ('fp32', 'bf16'):
            try:
                rows.append(measured(name, engine, device))
            except ConfigError as error:
                print(f'engines: {name}: {error}', file=sys.stderr)
    return '\n'.join([HEAD, *rows])


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``tools.measure.engines``."""

    device: Literal['cpu', 'cuda'] = 'cpu'
    """Device of the engines."""
    page: Path | None = None
    """Page whose marked part is written."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or put it into a page."""
    options = read_options(Options, 'tools.measure.engines', __doc__, '', arguments)
    found = table(options.device)
    where = torch.cuda.get_device_name() if options.device == 'cuda' else 'CPU'
    text = (
        f'Largest difference of a coordinate, of 50 futures of eight people over two seconds; '
        f'{where}, '
        f'{platform.machine()}, torch {torch.__version__.partition("+")[0]}:\n\n{found}'
    )
    if options.page is None:
        print(text)
        return 0
    page = options.page.read_text()
    before, begin, rest = page.partition(MARKER)
    _, end, after = rest.partition(END)
    if not (begin and end):
        print(f'engines: {options.page}: has no {MARKER} and {END}', file=sys.stderr)
        return 1
    options.page.write_text(f'{before}{MARKER}\n{text}\n{END}{after}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
