# SPDX-License-Identifier: Apache-2.0
"""The linters of ROS, for `colcon test`, where they are installed."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [str(ROOT / name) for name in ('launch', 'motion_predictor', 'scripts', 'test')]
SOURCES += [str(path) for path in (ROOT / 'training', ROOT / 'setup.py') if path.exists()]


@pytest.mark.flake8
@pytest.mark.linter
def test_ament_flake8_has_nothing_to_say() -> None:
    flake8 = pytest.importorskip('ament_flake8.main')
    number, errors = flake8.main_with_errors(['--config', str(ROOT / 'setup.cfg'), *SOURCES])
    assert number == 0, '\n'.join(errors)


@pytest.mark.pep257
@pytest.mark.linter
def test_ament_pep257_has_nothing_to_say() -> None:
    pep257 = pytest.importorskip('ament_pep257.main')
    assert pep257.main(SOURCES) == 0
