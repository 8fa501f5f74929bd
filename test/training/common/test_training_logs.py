# SPDX-License-Identifier: Apache-2.0
"""
Loggers beside TensorBoard.

Trackio and Weights & Biases are stand-ins: both send what they are told to a service.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import sys
from types import ModuleType
from typing import Any

import pytest

from motion_predictor.errors import ConfigError
from training.common.logs import choose_service, Logs


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, Any]]]:
    """Put a stand-in in place of Trackio; return what it is told."""
    heard: list[tuple[str, Any]] = []
    service = ModuleType('trackio')
    service.init = lambda **named: heard.append(('init', named))  # type: ignore[attr-defined]
    service.log = lambda values, step: heard.append(('log', (values, step)))  # type: ignore[attr-defined]
    service.finish = lambda: heard.append(('finish', None))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, 'trackio', service)
    choose_service('trackio')
    yield heard
    choose_service('none')


def test_a_chosen_service_hears_every_value_of_a_run(
    told: list[tuple[str, Any]], tmp_path: Path
) -> None:
    logs = Logs(tmp_path / 'mine' / 'swiftdiff' / 'tensorboard')
    logs.add_scalar('train/loss', 0.5, 10)
    inner = Logs(tmp_path / 'mine' / 'swiftdiff' / 'tensorboard' / 'validation')
    inner.add_scalar('validation/error', 7.0, 10)
    inner.close()
    logs.add_scalar('train/loss', 0.4, 20)
    logs.close()
    assert told == [
        ('init', {'project': 'motion_predictor', 'name': 'mine/swiftdiff'}),
        ('log', ({'train/loss': 0.5}, 10)),
        ('log', ({'validation/error': 7.0}, 10)),
        ('log', ({'train/loss': 0.4}, 20)),
        ('finish', None),
    ]


def test_without_a_choice_nothing_is_sent(told: list[tuple[str, Any]], tmp_path: Path) -> None:
    choose_service('none')
    logs = Logs(tmp_path / 'tensorboard')
    logs.add_scalar('train/loss', 0.5, 10)
    logs.close()
    assert told == []


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'wandb', None)
    with pytest.raises(ConfigError, match='pip install wandb'):
        choose_service('wandb')
