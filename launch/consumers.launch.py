# SPDX-License-Identifier: Apache-2.0
"""Start programs that use the predictor's outputs, beside a predictor that runs already.

    ros2 launch motion_predictor consumers.launch.py start:=nav2,moveit2 config:=my.yaml

`nav2`, `moveit2`, `ros2_control` and `speed_and_separation` also have their own launch files.
"""

from importlib.util import find_spec
from pathlib import Path

from launch import LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction
from launch.launch_context import LaunchContext
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

CONFIG = Path(__file__).resolve().parent.parent / 'config' / 'consumers.yaml'
NODES = {
    'nav2': ('people_costs', 'people_list', 'speed_and_separation', 'nav2_speed_limit'),
    'moveit2': ('people_scene',),
    'ros2_control': ('speed_and_separation', 'speed_scaling'),
    'speed_and_separation': ('speed_and_separation',),
}
"""Names of the nodes of each consumer; the program has the same name, except for the one below."""
PROGRAMS = {'nav2_speed_limit': 'speed_scaling'}
PRESENT_ONLY = {'people_list': 'people_msgs'}
"""Nodes that are left out if a package is not installed."""


def consumer_nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """
    Return the nodes of the requested consumers.

    :raises RuntimeError: if there is no such consumer, or no such parameter file.
    """

    def setting(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    config = Path(setting('config'))
    if not config.is_file():
        raise RuntimeError(f'config:={config}: there is no such file')
    wanted = [name.strip() for name in setting('start').split(',') if name.strip()]
    unknown = [name for name in wanted if name not in NODES]
    if unknown or not wanted:
        raise RuntimeError(
            f'start:={setting("start")}: must be one or more of {", ".join(NODES)}, with commas'
        )
    entities: list[LaunchDescriptionEntity] = []
    for name in dict.fromkeys(node for consumer in wanted for node in NODES[consumer]):
        package = PRESENT_ONLY.get(name)
        if package is not None and find_spec(package) is None:
            entities.append(LogInfo(msg=f'{name} is left out: {package} is not installed'))
            continue
        entities.append(
            Node(
                package='motion_predictor',
                executable=PROGRAMS.get(name, name),
                name=name,
                namespace=setting('namespace'),
                parameters=[
                    str(CONFIG),
                    str(config),  # parameters that it leaves out are as in ours
                    {
                        'use_sim_time': ParameterValue(
                            LaunchConfiguration('use_sim_time'), value_type=bool
                        )
                    },
                ],
                output='screen',
                emulate_tty=True,
            )
        )
    return entities


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and describe the launch."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'start',
                default_value='speed_and_separation',
                description=f'Consumers, with commas between them: {", ".join(NODES)}.',
            ),
            DeclareLaunchArgument(
                'config', default_value=str(CONFIG), description='Parameter file of the consumers.'
            ),
            DeclareLaunchArgument(
                'namespace',
                default_value='',
                description='Namespace of the consumers and of the predictor.',
            ),
            DeclareLaunchArgument(
                'use_sim_time',
                default_value='false',
                choices=['true', 'false'],
                description='Take the time from /clock.',
            ),
            OpaqueFunction(function=consumer_nodes),
        ]
    )
