"""What tests of consumers start from: messages of other packages, and a predictor that runs."""

from __future__ import annotations

from collections.abc import Iterator
import os
from pathlib import Path
import sys
from typing import Any, TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ros_harness import Listener

sys.path.insert(0, str(Path(__file__).parent))  # for the helpers beside this file


@pytest.fixture(scope='session')
def packages(pytestconfig: pytest.Config) -> Path:
    """Make the messages of Nav2, MoveIt and others: STAND-INS, see ``consumer_packages``."""
    pytest.importorskip('rclpy')
    import consumer_packages
    import tracker_packages

    folder = Path(pytestconfig.cache.mkdir('consumer_packages'))
    try:
        hashes = consumer_packages.build(folder)
    except tracker_packages.CannotBuildError as error:
        pytest.skip(f'messages of other packages cannot be made: {error}')
    wrong = {
        name: hashes[name]
        for name, real in consumer_packages.TYPE_HASHES.items()
        if hashes[name] != real
    }
    assert not wrong, f'stand-ins differ from the real definitions: {wrong}'
    tracker_packages.use(folder, [*consumer_packages.DEFINITIONS, *consumer_packages.MOVEIT])
    return folder / 'python'


@pytest.fixture
def path_of_packages(packages: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let processes that a test starts import them, too."""
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(packages)]))
    return packages


@pytest.fixture
def hall(listener: Listener, path_of_packages: Path) -> Iterator[Any]:
    """Run a predictor process, with a person who walks when asked to."""
    from consumer_rig import Hall

    with Hall(listener) as hall:
        yield hall
