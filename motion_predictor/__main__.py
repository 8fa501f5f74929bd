"""Start the node: ``python -m motion_predictor --ros-args -p autostart:=true``."""

from __future__ import annotations

import signal
import sys
from types import FrameType


def main() -> int:
    """
    Run the node; an interrupt while PyTorch is still being imported also ends it without a trace.

    :returns: the exit code.
    """

    def leave(received: int, frame: FrameType | None) -> None:
        # `ros2 launch` repeats Ctrl-C: a second one must not kill us while Python winds down.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        raise SystemExit(0)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    from motion_predictor.node import main as run

    return run()


if __name__ == '__main__':
    sys.exit(main())
