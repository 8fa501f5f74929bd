# SPDX-License-Identifier: Apache-2.0
"""Replay recorded motion to the predictor to see its outputs, optionally with RViz.

    ros2 launch motion_predictor demo.launch.py rviz:=true clip:=walk.bvh

Without ``clip`` it plays the motion capture that ``scripts/demo`` has downloaded, or otherwise a
synthetic walker; the first line of the replay node names it.
"""

from pathlib import Path
import re
import sys

from launch import LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_context import LaunchContext
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

HERE = Path(__file__).resolve().parent
FETCHED_CLIP = Path(sys.prefix) / 'share' / 'motion_clips' / 'humanoid3d_walk.txt'
PREDICTOR_ARGUMENTS = ('config', 'namespace', 'rviz', 'weights')


def recording_of(clip: str) -> str:
    """Return the file of a clip; ``FILE.npz:CLIP`` names one of several clips."""
    return re.sub(r'(\.npz):.*$', r'\1', clip)


def replay_action(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """
    Return the replay node, with a clip that exists.

    :raises RuntimeError: if the clip does not exist.
    """
    clip = LaunchConfiguration('clip').perform(context)
    if clip and not clip.startswith('synthetic') and not Path(recording_of(clip)).exists():
        raise RuntimeError(f'clip:={clip}: there is no such file')
    if not clip:
        clip = str(FETCHED_CLIP) if FETCHED_CLIP.is_file() else 'synthetic'
    node = Node(
        package='motion_predictor',
        executable='replay',
        name='replay',
        namespace=LaunchConfiguration('namespace'),
        parameters=[
            {
                'path': ParameterValue(clip, value_type=str),
                'rate_hz': ParameterValue(LaunchConfiguration('rate_hz'), value_type=float),
                'wait_for_subscribers': 1,
            }
        ],
        output='screen',
    )
    return [node]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and describe the launch."""
    predictor = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(HERE / 'predictor.launch.py')),
        launch_arguments={name: LaunchConfiguration(name) for name in PREDICTOR_ARGUMENTS}.items(),
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'clip',
                default_value='',
                description='FILE.bvh, FILE.npz:CLIP, a rosbag2, synthetic, synthetic:2 ...',
            ),
            DeclareLaunchArgument(
                'rate_hz', default_value='30.0', description='Frames per second of the replay.'
            ),
            DeclareLaunchArgument(
                'rviz',
                default_value='false',
                choices=['true', 'false'],
                description='Start RViz with our configuration.',
            ),
            DeclareLaunchArgument(
                'config',
                default_value=str(HERE.parent / 'config' / 'predictor.yaml'),
                description='Parameter file of the predictor.',
            ),
            DeclareLaunchArgument(
                'namespace', default_value='', description='Namespace of both nodes.'
            ),
            DeclareLaunchArgument(
                'weights',
                default_value='',
                description='A shipped model or a .safetensors file, instead of the config.',
            ),
            OpaqueFunction(function=replay_action),
            predictor,
        ]
    )
