"""Start the node: ``python -m motion_predictor --ros-args -p autostart:=true``."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> int:
    """
    Run the node; an interrupt while PyTorch is still being imported also ends it without a trace.

    :returns: the exit code.
    """

    def leave(received: int, frame: FrameType | None) -> None:
        # At once, as nothing is open yet: an exception would be lost in a callback of the import
        # machinery, and the node would then run on.
        os._exit(0)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    from motion_predictor.node import main as run

    return run()


if __name__ == '__main__':
    sys.exit(main())
