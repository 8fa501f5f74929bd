# SPDX-License-Identifier: Apache-2.0
"""Verbs in separate processes."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


ENVIRONMENT = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}


LONG_S = 240.0
"""Deadline of a whole process in seconds; it is reached only on failure."""


def options(folder: Path, *settings: str) -> list[str]:
    return [
        '--preset', 'debug', '--run-folder', str(folder), '--device', 'cpu',
        '--set', 'pool=64', *settings,
    ]  # fmt: skip
