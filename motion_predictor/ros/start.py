"""Start rclpy in the node's own process, even if no log file can be written."""

from __future__ import annotations

import sys

import rclpy
from rclpy.signals import SignalHandlerOptions

from motion_predictor.common.files import brief
from motion_predictor.errors import ConfigError

NODE_NAME = 'motion_predictor'


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
