"""What most tests over DDS start from: weights, somebody who listens, and nodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # without ROS this file is read and nothing of it is used
    from node_rig import Nodes
    from ros_harness import Listener


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
