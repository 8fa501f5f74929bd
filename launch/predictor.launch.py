"""
Start the predictor, configure and activate it; optionally RViz beside it.

    ros2 launch motion_predictor predictor.launch.py config:=my.yaml namespace:=cell_1 rviz:=true
"""

from pathlib import Path

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


def predictor_actions(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Make the node and, with autostart, the events that configure and then activate it."""

    def setting(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    parameters: list[object] = [
        setting('config'),
        {'use_sim_time': ParameterValue(LaunchConfiguration('use_sim_time'), value_type=bool)},
    ]
    if setting('weights'):
        parameters.append({'model.path': ParameterValue(setting('weights'), value_type=str)})
    node = LifecycleNode(
        package='motion_predictor',
        executable='predictor',
        name='motion_predictor',
        namespace=setting('namespace'),
        parameters=parameters,
        output='screen',
        emulate_tty=True,
        on_exit=[OpaqueFunction(function=end_launch)],
    )
    actions: list[LaunchDescriptionEntity] = [node]
    if setting('autostart').lower() in ('true', '1'):
        actions = [*autostart_actions(node), node]
    return actions


def end_launch(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """End the launch with the node; a launch that is ending already must not be ended twice."""
    return [] if context.is_shutdown else [Shutdown(reason='the predictor has ended')]


def autostart_actions(node: LifecycleNode) -> list[LaunchDescriptionEntity]:
    """
    Configure the node when its process has started, and activate it when that has worked.

    Without ``start_state`` the activation would also follow every later deactivation, because
    that ends in the state 'inactive' too.
    """

    def emit(transition_id: int) -> EmitEvent:
        change = ChangeState(
            lifecycle_node_matcher=matches_action(node), transition_id=transition_id
        )
        return EmitEvent(event=change)

    configure = OnProcessStart(
        target_action=node, on_start=[emit(Transition.TRANSITION_CONFIGURE)]
    )
    activate = OnStateTransition(
        target_lifecycle_node=node,
        start_state='configuring',
        goal_state='inactive',
        entities=[emit(Transition.TRANSITION_ACTIVATE)],
    )
    refused = OnStateTransition(
        target_lifecycle_node=node,
        start_state='configuring',
        goal_state='unconfigured',
        entities=[LogInfo(msg='motion_predictor was not configured: see its error above')],
    )
    return [RegisterEventHandler(handler) for handler in (configure, activate, refused)]


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
                description='Configure and activate the node; false leaves it unconfigured.',
            ),
            DeclareLaunchArgument(
                'rviz', default_value='false', description='Start RViz with our configuration.'
            ),
            DeclareLaunchArgument(
                'use_sim_time', default_value='false', description='Take the time from /clock.'
            ),
            DeclareLaunchArgument(
                'weights',
                default_value='',
                description='A shipped model or a .safetensors file, instead of the config.',
            ),
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
