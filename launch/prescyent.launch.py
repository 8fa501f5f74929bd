# SPDX-License-Identifier: Apache-2.0
"""Start the predictor on the topics of ros2_prescyent, in place of its node.

    ros2 launch motion_predictor prescyent.launch.py config:=my.yaml

It subscribes to /prescyent/position and answers on /prescyent/prediction, both
geometry_msgs/PoseArray.
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

HERE = Path(__file__).resolve().parent
CONFIG = HERE.parent / 'config' / 'prescyent.yaml'


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and describe the launch."""
    shared = ('config', 'namespace')
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'config',
                default_value=str(CONFIG),
                description='Parameter file of the predictor and of the bridge.',
            ),
            DeclareLaunchArgument(
                'namespace', default_value='', description='Namespace of both nodes.'
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(HERE / 'predictor.launch.py')),
                launch_arguments={name: LaunchConfiguration(name) for name in shared}.items(),
            ),
            Node(
                package='motion_predictor',
                executable='prescyent_bridge',
                name='prescyent_bridge',
                namespace=LaunchConfiguration('namespace'),
                parameters=[LaunchConfiguration('config')],
                output='screen',
                emulate_tty=True,
            ),
        ]
    )
