# SPDX-License-Identifier: Apache-2.0
"""The noise of samples, the same on every platform."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=8)
def sample_noise(seed: int, samples: int, rows: int, channels: int) -> np.ndarray:
    """
    Draw the noise of S samples; sample i does not depend on the number of samples.

    NumPy's Philox generator gives the same numbers on every platform.

    :param seed: not negative.
    :param samples: S.
    :param rows: K.
    :param channels: 3 J.
    :returns: float32 (S, rows, channels), read-only.
    """
    generator = np.random.Generator(np.random.Philox(seed))
    noise = generator.standard_normal((samples, rows, channels), dtype=np.float32)
    noise.setflags(write=False)
    return noise
