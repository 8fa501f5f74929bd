# SPDX-License-Identifier: Apache-2.0
"""The node's parameters, declared once as fields of frozen dataclasses.

The node's declarations and descriptors, ``config/predictor.yaml`` and the reference page are made
from them. ``python -m motion_predictor.ros.parameters`` prints the table of that page.
"""

from motion_predictor.ros.parameters.groups import INPUT_TYPES
from motion_predictor.ros.parameters.parameter import (
    ALWAYS,
    AT_CONFIGURE,
    AT_START,
    Parameter,
    Value,
)
from motion_predictor.ros.parameters.settings import (
    BY_NAME,
    PARAMETERS,
    Settings,
    unknown_parameter_message,
)
from motion_predictor.ros.parameters.texts import markdown_table, parameter_file

__all__ = [
    'ALWAYS',
    'AT_CONFIGURE',
    'AT_START',
    'BY_NAME',
    'INPUT_TYPES',
    'PARAMETERS',
    'Parameter',
    'Settings',
    'Value',
    'markdown_table',
    'parameter_file',
    'unknown_parameter_message',
]
