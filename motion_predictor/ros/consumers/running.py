"""The process of a consumer: its parameters, its node, and its end."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
import signal
import sys
import threading
from typing import Any, TypeVar

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from motion_predictor.errors import ConfigError
from motion_predictor.ros.parameters.declare import declare_one, FOREIGN_PARAMETERS
from motion_predictor.ros.parameters.fields import parameters_of, replaced
from motion_predictor.ros.start import start_ros
from motion_predictor.signals import when_asked_to_end

T = TypeVar('T')
SIGNAL_PERIOD_S = 0.1
"""Period in seconds with which a process that waits for messages checks whether it was asked to
end."""


def declared(node: Node, defaults: T) -> T:
    """
    Declare the parameters of a consumer and return the values that it was given.

    :param node: the consumer.
    :param defaults: a record of frozen dataclasses whose fields are the parameters.
    :returns: the record with the given values in place of its defaults.
    :raises ConfigError: if a parameter was given a value that cannot work.
    """
    known = {each.name: each for each in parameters_of(defaults)}
    for name in getattr(node, '_parameter_overrides', {}):
        if name not in known and not name.startswith(FOREIGN_PARAMETERS):
            close = get_close_matches(name, known, n=1)
            hint = f'; did you mean {close[0]}?' if close else ''
            node.get_logger().warning(f'{name}: there is no such parameter{hint}; it is ignored')
    values: dict[str, Any] = {}
    for name, each in known.items():
        default = getattr(defaults, name)
        declare_one(node, each, default)
        values[name] = each.check(node.get_parameter(name).value)
    return replaced(defaults, values)


def every(node: Node, period_s: float, call: Callable[[], None]) -> None:
    """
    Call a function periodically, by a clock that nothing can stop, not even /clock.

    :param node: the node whose executor calls it.
    :param period_s: period in seconds.
    :param call: the function.
    """
    node.create_timer(period_s, call, clock=Clock(clock_type=ClockType.STEADY_TIME))


def run(name: str, make: Callable[[], Node], args: list[str] | None = None) -> int:
    """
    Run one consumer until SIGINT, SIGTERM or SIGHUP.

    :param name: name of the consumer, for errors.
    :param make: makes its node.
    :param args: arguments of the command line; None for those of the process.
    :returns: 0, or 1 if a parameter was bad or a message package is missing.
    """
    asked_to_end = threading.Event()
    when_asked_to_end(lambda received, frame: asked_to_end.set())
    node = None
    try:
        start_ros(args)
        node = make()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while rclpy.ok() and not asked_to_end.is_set():
            executor.spin_once(timeout_sec=SIGNAL_PERIOD_S)
    except ConfigError as error:
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
