# SPDX-License-Identifier: Apache-2.0
"""Find the temperature at which a model's samples differ as much as requested."""

from __future__ import annotations

from collections.abc import Callable
import math

LOWEST, HIGHEST = 0.2, 5.0
"""Range in which a temperature is searched."""


def temperature_for(
    apd: Callable[[float], float], wanted: float, low: float = LOWEST, high: float = HIGHEST
) -> float:
    """
    Return the lowest temperature at which samples differ as much as requested, in steps of 0.01.

    :param apd: function from a temperature to the mean average pairwise distance in metres; it
        increases.
    :param wanted: requested distance, metres.
    :param low: lowest result, even if the samples differ more (or without bound) there.
    :param high: highest result, even if the samples differ too little there.
    """
    from scipy.optimize import brentq

    known: dict[float, float] = {}

    def missing(temperature: float) -> float:
        if temperature not in known:
            value = apd(temperature)
            known[temperature] = (value if math.isfinite(value) else 1e9) - wanted
        return known[temperature]

    if missing(low) >= 0.0:
        return low
    if missing(high) < 0.0:
        return high
    found = math.ceil(100.0 * brentq(missing, low, high, xtol=0.002) - 1e-6) / 100.0
    while missing(found) < 0.0 and found < high:  # the result of brentq may lie on either side
        found = round(found + 0.01, 2)
    return min(found, high)
