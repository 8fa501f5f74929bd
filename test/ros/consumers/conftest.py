# SPDX-License-Identifier: Apache-2.0
"""What tests of consumers start from: a predictor that runs, and somebody who walks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import sys
from typing import Any, TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ros_harness import Listener

sys.path.insert(0, str(Path(__file__).parent))  # for the helpers beside this file


@pytest.fixture
def hall(listener: Listener, path_of_packages: Path) -> Iterator[Any]:
    """Run a predictor process, with a person who walks when asked to."""
    from consumer_rig import Hall

    with Hall(listener) as hall:
        yield hall
