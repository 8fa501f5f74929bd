# SPDX-License-Identifier: Apache-2.0
"""Start, configure and activate the predictor, optionally with RViz.

ros2 launch motion_predictor predictor.launch.py config:=my.yaml namespace:=cell_1 rviz:=true
"""

from pathlib import Path

from ament_index_python.packages import get_package_prefix
from launch import LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessStart
from launch.events import matches_action
from launch.launch_context import LaunchContext
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import ParameterValue
from lifecycle_msgs.msg import Transition

SHARE = Path(__file__).resolve().parent.parent
CONFIG = SHARE / 'config' / 'predictor.yaml'
RVIZ = SHARE / 'config' / 'predictor.rviz'
PATIENCE_S = '15'
"""Time in seconds that the node gets to end before a stronger signal. With launch's own 5 s, a
node on a busy machine could be killed while it writes its memory."""

TRUTHS = ['true', 'false']


def setting(context: LaunchContext, name: str) -> str:
    """Return the value of a launch argument."""
    value: str = LaunchConfiguration(name).perform(context)
    return value


def check_arguments(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """
    Check the files and packages that the arguments name, before anything is started.

    :raises RuntimeError: naming the argument whose file or package does not exist.
    """
    config, weights = Path(setting(context, 'config')), setting(context, 'weights')
    if not config.is_file():
        raise RuntimeError(f'config:={config}: there is no such file')
    is_path = '/' in weights or weights.endswith('.safetensors')
    if is_path and not Path(weights).expanduser().is_file():
        raise RuntimeError(f'weights:={weights}: there is no such file')
    if setting(context, 'rviz') == 'true':
        try:
            get_package_prefix('rviz2')
        except (LookupError, OSError):  # no index at all
            raise RuntimeError(
                'rviz:=true: rviz2 is not installed; install ros-$ROS_DISTRO-rviz2, or look at '
                'the topics with config/foxglove_layout.json; nothing was started'
            ) from None
    return []


def predictor_actions(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Return the node and, with autostart, the events that configure and then activate it."""
    parameters: list[object] = [
        setting(context, 'config'),
        {'use_sim_time': ParameterValue(LaunchConfiguration('use_sim_time'), value_type=bool)},
    ]
    if setting(context, 'weights'):
        weights = ParameterValue(setting(context, 'weights'), value_type=str)
        parameters.append({'model.path': weights})
    node = LifecycleNode(
        package='motion_predictor',
        executable='predictor',
        name='motion_predictor',
        namespace=setting(context, 'namespace'),
        parameters=parameters,
        output='screen',
        emulate_tty=True,
        sigterm_timeout=PATIENCE_S,
        sigkill_timeout=PATIENCE_S,
        on_exit=[OpaqueFunction(function=end_launch)],
    )
    actions: list[LaunchDescriptionEntity] = [node]
    if setting(context, 'autostart') == 'true':
        actions = [*autostart_actions(node), node]
    return actions


def end_launch(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """End the launch with the node; a launch that is ending already must not be ended twice."""
    return [] if context.is_shutdown else [Shutdown(reason='the predictor has ended')]


def autostart_actions(node: LifecycleNode) -> list[LaunchDescriptionEntity]:
    """
    Configure the node when its process has started, and activate it if that worked.

    The node is activated only after this first configuration: whoever configures it later by hand
    also activates it.
    """

    def emit(transition_id: int) -> EmitEvent:
        change = ChangeState(
            lifecycle_node_matcher=matches_action(node), transition_id=transition_id
        )
        return EmitEvent(event=change)

    def answer(context: LaunchContext) -> list[LaunchDescriptionEntity]:
        if context.locals.event.goal_state == 'inactive':
            return [emit(Transition.TRANSITION_ACTIVATE)]
        return [LogInfo(msg='motion_predictor was not configured: see its error above')]

    configure = OnProcessStart(
        target_action=node, on_start=[emit(Transition.TRANSITION_CONFIGURE)]
    )
    configured = OnStateTransition(
        target_lifecycle_node=node,
        start_state='configuring',
        entities=[OpaqueFunction(function=answer)],
        handle_once=True,
    )
    return [RegisterEventHandler(handler) for handler in (configure, configured)]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and describe the launch."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'config', default_value=str(CONFIG), description='Parameter file of the node.'
            ),
            DeclareLaunchArgument(
                'namespace', default_value='', description='Namespace of the node.'
            ),
            DeclareLaunchArgument(
                'autostart',
                default_value='true',
                choices=TRUTHS,
                description='Configure and activate the node; false leaves it unconfigured.',
            ),
            DeclareLaunchArgument(
                'rviz',
                default_value='false',
                choices=TRUTHS,
                description='Start RViz with our configuration.',
            ),
            DeclareLaunchArgument(
                'use_sim_time',
                default_value='false',
                choices=TRUTHS,
                description='Take the time from /clock.',
            ),
            DeclareLaunchArgument(
                'weights',
                default_value='',
                description='A shipped model or a .safetensors file, instead of the config.',
            ),
            OpaqueFunction(function=check_arguments),
            OpaqueFunction(function=predictor_actions),
            Node(
                package='rviz2',
                executable='rviz2',
                name='rviz',
                namespace=LaunchConfiguration('namespace'),
                arguments=['-d', str(RVIZ)],
                condition=IfCondition(LaunchConfiguration('rviz')),
            ),
        ]
    )
