# SPDX-License-Identifier: Apache-2.0
"""What is evaluated: recordings and weights."""

from pathlib import Path

import pytest
from random_models import save_random, save_recording


@pytest.fixture
def recordings(tmp_path: Path) -> list[Path]:
    """Two sets of one split: 2 + 3 windows, and 1."""
    return [
        save_recording(tmp_path / 'one' / 'test.npz', (76, 90)),
        save_recording(tmp_path / 'two' / 'test.npz', (63,), seed=5),
    ]


@pytest.fixture
def weights(tmp_path: Path) -> list[Path]:
    roles = ('teacher', 'one_step', 'swiftdiff')
    return [
        save_random(tmp_path / f'{role}.safetensors', role, seed)
        for seed, role in enumerate(roles)
    ]
