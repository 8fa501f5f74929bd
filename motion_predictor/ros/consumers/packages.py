# SPDX-License-Identifier: Apache-2.0
"""Import messages of packages that are not part of ROS, when a consumer needs them."""

from __future__ import annotations

import importlib

from motion_predictor.errors import ConfigError


def message_class(message: str, needed_by: str) -> type:
    """
    Import the class of a message whose package may not be installed.

    :param message: ``package/msg/Name``.
    :param needed_by: name of the consumer, for the error.
    :raises ConfigError: if it cannot be imported, naming the package to install.
    """
    package, _, name = message.split('/')
    try:
        return getattr(importlib.import_module(f'{package}.msg'), name)
    except (ImportError, AttributeError) as error:
        debian = package.replace('_', '-')
        raise ConfigError(
            f'{needed_by}: needs {message}, which cannot be imported ({error}); '
            f'install ros-$ROS_DISTRO-{debian}, or source the workspace that holds {package}'
        ) from None
