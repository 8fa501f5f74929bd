# SPDX-License-Identifier: Apache-2.0
"""The evaluation command, with few samples."""

from collections.abc import Sequence
import json
from pathlib import Path
from typing import Any

from training.judge.accuracy import evaluate


def run(
    folder: Path, weights: Sequence[Path], recordings: Sequence[Path], *more: str
) -> dict[str, Any]:
    out = folder / 'out.json'
    words = ['--data', *map(str, recordings), '--json', str(out), '--runs', str(folder / 'runs')]
    words += ['--samples', '4', '--ddim-steps', '3', '--device', 'cpu', '--engine', 'fp32']
    words += ['--quiet', '--weights', *map(str, weights), *more]
    assert evaluate.main(words) == 0
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def row_of(result: dict[str, Any], model: str, set_name: str) -> dict[str, Any]:
    (row,) = [r for r in result['rows'] if (r['model'], r['set']) == (model, set_name)]
    return row
