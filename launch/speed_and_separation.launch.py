# SPDX-License-Identifier: Apache-2.0
"""A speed limit by the separation of robot and people, measured and predicted.

ros2 launch motion_predictor speed_and_separation.launch.py config:=my.yaml namespace:=cell_1
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

CONSUMERS = Path(__file__).resolve().parent / 'consumers.launch.py'


def generate_launch_description() -> LaunchDescription:
    """Include the launch of consumers; its other arguments are those of this file."""
    return LaunchDescription(
        [
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(CONSUMERS)),
                launch_arguments={'start': 'speed_and_separation'}.items(),
            )
        ]
    )
