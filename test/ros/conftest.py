# SPDX-License-Identifier: Apache-2.0
"""What most tests over DDS start from: weights, somebody who listens, and nodes."""

from __future__ import annotations

from collections.abc import Iterator
import os
from pathlib import Path
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # without ROS this file is read and nothing of it is used
    from node_rig import Nodes
    from ros_harness import Listener


@pytest.fixture(scope='module')
def terminal() -> Iterator[None]:
    """Let a hangup end what is started here, whether or not these tests outlive their terminal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of random weights."""
    from ros_harness import write_random_weights

    return write_random_weights(tmp_path_factory.mktemp('weights') / 'tiny.safetensors')


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Listen in a context of the test's own."""
    from ros_harness import Listener

    listener = Listener()
    yield listener
    listener.close()


@pytest.fixture
def nodes(listener: Listener, weights: Path) -> Iterator[Nodes]:
    """Make nodes in the listener's context, and take them away again."""
    from node_rig import Nodes

    nodes = Nodes(listener, weights)
    yield nodes
    nodes.close()


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
    monkeypatch.setenv('PYTHONPATH', str(packages), prepend=os.pathsep)
    return packages
