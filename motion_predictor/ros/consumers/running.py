# SPDX-License-Identifier: Apache-2.0
"""The process of a consumer: its parameters, its node, and its end."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, TypeVar

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from motion_predictor.ros.parameters.declare import declare_one, FOREIGN_PARAMETERS
from motion_predictor.ros.parameters.fields import parameters_of, replaced
from motion_predictor.ros.start import run_until_asked

T = TypeVar('T')


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
    return run_until_asked(name, lambda asked: make(), args)
