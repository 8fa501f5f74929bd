# SPDX-License-Identifier: Apache-2.0
"""
Start the node, ``python -m motion_predictor --ros-args -p autostart:=true``, or another verb.

``python -m motion_predictor VERB`` is what ``motion-predictor VERB`` is; without a verb it is the
node, as ``ros2 run`` starts it.
"""

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


def main_of_module() -> int:
    """Run the verb that the first word names, or the node; returns the exit code."""
    if sys.argv[1:2] and not sys.argv[1].startswith('--ros'):
        from motion_predictor.commands import main as run_verb

        return run_verb()
    return main()


if __name__ == '__main__':
    sys.exit(main_of_module())
