"""What every test starts with, and the marks that folders give."""

from pathlib import Path
import signal

import pytest
import torch

torch.set_num_threads(1)
# Begun in a shell's background, pytest ignores SIGINT and the processes it starts would too.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOMS = Path(__file__).parent
MARKED = {'ros': 'ros', 'studies': 'studies', 'tools': 'ros'}
"""Folder, and the mark of its tests: tools are run over DDS."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folders, so that `scripts/test fast` can leave some out."""
    for item in items:
        room = item.path.relative_to(ROOMS).parts[0]
        if room in MARKED:
            item.add_marker(getattr(pytest.mark, MARKED[room]))
