# SPDX-License-Identifier: Apache-2.0
"""Calls that are timed in turns, and their figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import time
from typing import Any

import numpy as np


@dataclass
class Case:
    """One call, the facts about it, and its times."""

    facts: dict[str, Any]
    call: Callable[[], object]
    wanted: int
    times_s: list[float]

    def run(self) -> None:
        """Time one call."""
        begun = time.perf_counter()
        self.call()
        self.times_s.append(time.perf_counter() - begun)

    def row(self) -> dict[str, Any]:
        """Return the figures."""
        times_ms = 1000.0 * np.array(self.times_s)
        return {
            **self.facts,
            'repetitions': len(times_ms),
            'median_ms': round(float(np.median(times_ms)), 3),
            'p99_ms': round(float(np.quantile(times_ms, 0.99)), 3),
            'fastest_ms': round(float(times_ms.min()), 3),
            'slowest_ms': round(float(times_ms.max()), 3),
        }
