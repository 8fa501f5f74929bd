# SPDX-License-Identifier: Apache-2.0
"""A training's loss curve: one JSON object a line, exact to the last bit."""

from __future__ import annotations

from collections.abc import Mapping
import json
from pathlib import Path

from motion_predictor.common.whole_files import not_written, write_whole
from motion_predictor.errors import StorageError

CURVE = 'losses.jsonl'
"""File in the run folder: one JSON object for every ``log_every`` steps, exact to the last bit."""


def note(curve: Path, values: Mapping[str, float]) -> None:
    """Append a line to a loss curve."""
    try:
        with curve.open('a', encoding='utf-8') as file:
            file.write(json.dumps(values) + '\n')
    except OSError as error:
        raise StorageError(not_written(curve, error)) from error


def read_curve(curve: Path) -> list[dict[str, float]]:
    """Return a loss curve; an unfinished last line of a killed process is ignored."""
    entries = []
    for line in curve.read_text(encoding='utf-8').splitlines() if curve.is_file() else []:
        try:
            entries.append(json.loads(line))
        except ValueError:
            break
    return entries


def forget_after(curve: Path, step: int) -> None:
    """Remove what a killed run wrote after its last checkpoint."""
    kept = [entry for entry in read_curve(curve) if entry['step'] <= step]
    write_whole(curve, ''.join(json.dumps(entry) + '\n' for entry in kept))
