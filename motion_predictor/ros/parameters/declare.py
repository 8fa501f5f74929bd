# SPDX-License-Identifier: Apache-2.0
"""Declare the node's parameters to ROS, with their descriptions and ranges."""

from __future__ import annotations

from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from motion_predictor.common.files import brief
from motion_predictor.errors import ConfigError
from motion_predictor.ros.parameters.parameter import AT_CONFIGURE, Parameter
from motion_predictor.ros.parameters.settings import (
    BY_NAME,
    PARAMETERS,
    unknown_parameter_message,
)

FOREIGN_PARAMETERS = ('qos_overrides.', 'use_sim_time', 'start_type_description_service')


def ros_descriptor(parameter: Parameter) -> ParameterDescriptor:
    """Return the ROS descriptor of a parameter: text, range and read-only mark."""
    parts = [parameter.description]
    if parameter.unit:
        parts.append(f'Unit: {parameter.unit}.')
    if parameter.applies == AT_CONFIGURE:
        parts.append('Set it before configure.')
    descriptor = ParameterDescriptor(
        name=parameter.name,
        description=' '.join(parts),
        additional_constraints=parameter.allowed,
        read_only=parameter.read_only,
    )
    low, high = parameter.minimum, parameter.maximum
    if low is not None and high is not None:
        if isinstance(parameter.default, int):
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
        else:
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    return descriptor


def declare_parameters(node: Node) -> None:
    """
    Declare all parameters, and warn of unknown ones that were given.

    :param node: the node.
    :raises ConfigError: if a parameter was given a value that cannot work.
    """
    for name in getattr(node, '_parameter_overrides', {}):
        if name not in BY_NAME and not name.startswith(FOREIGN_PARAMETERS):
            node.get_logger().warning(unknown_parameter_message(name) + '; it is ignored')
    for parameter in PARAMETERS:
        declare_one(node, parameter, parameter.default)


def declare_one(node: Node, parameter: Parameter, default: Any) -> None:
    """
    Declare one parameter.

    :param default: its value where none was given; tuples become lists.
    :raises ConfigError: if it was given a value that cannot work.
    """
    if isinstance(default, tuple):
        default = list(default)
    try:
        node.declare_parameter(parameter.name, default, ros_descriptor(parameter))
    except InvalidParameterTypeException as error:
        hint = f', for instance {default!r}'
        raise ConfigError(
            f'{parameter.name}: expected {parameter.type_name}{hint} ({brief(error)})'
        ) from None
    except InvalidParameterValueException as error:
        raise ConfigError(
            f'{parameter.name}: must be {parameter.allowed} ({brief(error)})'
        ) from None
    if node.get_parameter_or(parameter.name).type_ == RosParameter.Type.NOT_SET:
        raise ConfigError(
            f'{parameter.name}: has no value (null) in the parameter file; expected '
            f'{parameter.type_name}, for instance {default!r}'
        )


def parameter_values(node: Node) -> dict[str, Any]:
    """Return the present values of the parameters, by name."""
    return {p.name: node.get_parameter(p.name).value for p in PARAMETERS}
