# SPDX-License-Identifier: Apache-2.0
"""The process of a node: it starts rclpy, runs the node until it is asked to end, and ends."""

from __future__ import annotations

from collections.abc import Callable
import signal
import sys
import threading
from typing import TypeVar

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from motion_predictor.common.files import brief
from motion_predictor.errors import ConfigError, MotionPredictorError
from motion_predictor.signals import when_asked_to_end

NODE_NAME = 'motion_predictor'
NodeT = TypeVar('NodeT', bound=Node)
SIGNAL_PERIOD_S = 0.1
"""Period in seconds with which a process that waits for messages checks whether it was asked to
end."""


def start_ros(args: list[str] | None = None) -> None:
    """
    Initialise rclpy, without log files if they cannot be written, for example on a full disk.

    Signals are left to the caller.

    :param args: arguments of the command line; None for those of the process.
    """
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:
        if 'Failed to parse' in str(error):  # the command line, or the file that it names
            raise ConfigError(brief(str(error).partition('\n')[0])) from None
        if 'logging' not in str(error):
            raise
        print(f'{NODE_NAME}: no log files will be written: {error}', file=sys.stderr)
        rclpy.try_shutdown()
        given = sys.argv if args is None else args
        rclpy.init(
            args=[*given, '--ros-args', '--disable-external-lib-logs'],
            signal_handler_options=SignalHandlerOptions.NO,
        )


def run_until_asked(
    name: str,
    make: Callable[[threading.Event], NodeT],
    args: list[str] | None = None,
    *,
    has_ended: Callable[[NodeT], bool] = lambda node: False,
    stop: Callable[[NodeT], None] = lambda node: None,
) -> int:
    """
    Run one node in the process of its own until SIGINT, SIGTERM or SIGHUP.

    :param name: name of the program, for errors.
    :param make: makes the node; it is given the event that is set when the process is to end.
    :param args: arguments of the command line; None for those of the process.
    :param has_ended: whether the node has nothing left to do, or cannot go on.
    :param stop: what the node does before it is destroyed, while it can still publish.
    :returns: 0, or 1 if an argument, a parameter or a file was bad.
    """
    # A signal only asks the loop below to end. If rclpy's own handlers shut the context down, a
    # running transition would fail, and nothing could be taken back any more.
    asked_to_end = threading.Event()
    when_asked_to_end(lambda received, frame: asked_to_end.set())
    node = None
    try:
        start_ros(args)
        node = make(asked_to_end)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while rclpy.ok() and not asked_to_end.is_set() and not has_ended(node):
            executor.spin_once(timeout_sec=SIGNAL_PERIOD_S)
        if rclpy.ok():
            stop(node)
    except MotionPredictorError as error:
        print(f'{name}: {error}', file=sys.stderr)
        return 1
    except ExternalShutdownException:
        pass
    except Exception:
        if rclpy.ok():  # otherwise the context was shut down while the executor was using it
            raise
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
        # `ros2 launch` repeats Ctrl-C: a second one must not kill the process while Python ends.
        when_asked_to_end(signal.SIG_IGN)
    return 0
