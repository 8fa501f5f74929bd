"""Start the node: ``python -m motion_predictor --ros-args -p autostart:=true``."""

from __future__ import annotations

import sys

from motion_predictor.signals import leave_at_once_when_asked


def main() -> int:
    """
    Run the node. An interrupt while PyTorch is still being imported ends it without a traceback.

    :returns: the exit code.
    """
    leave_at_once_when_asked()
    from motion_predictor.ros.node import main as run

    return run()


if __name__ == '__main__':
    sys.exit(main())
