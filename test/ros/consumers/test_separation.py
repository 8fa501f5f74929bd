# SPDX-License-Identifier: Apache-2.0
"""The protective separation distance; the speed limit over DDS as somebody walks past a robot."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from motion_predictor.errors import ConfigError
from motion_predictor.ros.consumers.separation import (
    permitted_speed_m_s,
    protective_distance_m,
    separation_m,
    SeparationSettings,
)


@given(
    distance_m=st.floats(0.0, 20.0),
    human_speed_m_s=st.floats(0.1, 3.0),
    reaction_s=st.floats(0.0, 1.0),
    deceleration_m_s2=st.floats(0.2, 20.0),
)
def test_the_permitted_speed_is_the_highest_that_keeps_the_protective_distance(
    distance_m: float, human_speed_m_s: float, reaction_s: float, deceleration_m_s2: float
) -> None:
    settings = SeparationSettings(
        human_speed_m_s=human_speed_m_s,
        reaction_s=reaction_s,
        deceleration_m_s2=deceleration_m_s2,
    )
    speed = permitted_speed_m_s(distance_m, settings)
    assert 0.0 <= speed <= settings.full_speed_m_s
    if speed > 0.0:
        assert protective_distance_m(speed, settings) <= distance_m + 1e-9
    if speed < settings.full_speed_m_s:
        assert protective_distance_m(speed + 1e-6, settings) >= distance_m - 1e-9


def test_the_formula_is_the_sum_of_its_terms() -> None:
    settings = SeparationSettings(
        human_speed_m_s=1.6, reaction_s=0.1, deceleration_m_s2=2.0, intrusion_m=0.1
    )
    # 1 m/s: 1.6 (0.1 + 0.5) + 1 * 0.1 + 1 / 4 + 0.1
    assert protective_distance_m(1.0, settings) == pytest.approx(0.96 + 0.1 + 0.25 + 0.1)


def test_nobody_is_infinitely_far_and_what_is_not_known_is_near() -> None:
    settings = SeparationSettings()
    assert separation_m(np.zeros((0, 3)), (0.0, 0.0, 0.0)) == np.inf
    assert permitted_speed_m_s(np.inf, settings) == settings.full_speed_m_s
    assert permitted_speed_m_s(float('nan'), settings) == 0.0
    assert separation_m(np.array([[3.0, 4.0, 0.0], [9.0, 9.0, 9.0]]), (0.0, 0.0, 0.0)) == 5.0
    assert separation_m(np.array([[3.0, 4.0, 9.0]]), (0.0, 0.0, 0.0), axes=2) == 5.0
    assert np.isnan(separation_m(np.full((1, 3), np.nan), (0.0, 0.0, 0.0)))


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match='deceleration_m_s2=0'):
        SeparationSettings(deceleration_m_s2=0.0)
    with pytest.raises(ConfigError, match='reaction_s=-1'):
        SeparationSettings(reaction_s=-1.0)


# Over DDS ---------------------------------------------------------------------------------------


def percent(message: Any) -> float:
    assert message.percentage
    return float(message.speed_limit)


def points_of(message: Any) -> np.ndarray:
    return np.array([(p.position.x, p.position.y, p.position.z) for p in message.poses])


def limits_along(
    hall: Any,
    walk: np.ndarray,
    there: np.ndarray,
    limits: list[Any],
    valid: list[Any],
    nav2: list[Any],
) -> tuple[list[float], list[float]]:
    """
    Show a walk, and see that the limit follows each answer of the predictor.

    On a busy machine too, a limit is compared with the pose that the message behind it is of.

    :returns: m/s for each frame: what the measured pose alone permits, and what was permitted.
    """
    from motion_predictor.ros.messages import stamp_to_ns

    settings, shown = SeparationSettings(), {}
    measured, permitted = [], []
    for pose in walk:
        shown[hall.show(pose)] = pose
        answer = hall.poses[-1]
        limit = permitted_speed_m_s(separation_m(points_of(answer), there), settings)
        hall.listener.wait(
            lambda limit=limit: valid[-1].data and limits[-1].data == pytest.approx(limit),
            'the limit of this pose',
        )
        if limit < 0.2 * settings.full_speed_m_s:
            hall.listener.wait(lambda: percent(nav2[-1]) < 50.0, 'a slow Nav2')
        seen = shown.get(stamp_to_ns(answer.header.stamp), walk[0])
        measured.append(permitted_speed_m_s(separation_m(seen, there), settings))
        permitted.append(limit)
    return measured, permitted


@pytest.mark.slow
@pytest.mark.ros
def test_the_limit_drops_before_somebody_arrives_returns_and_ends_with_the_predictor(
    hall: Any,
) -> None:
    from consumer_rig import long_walk
    from control_msgs.msg import SpeedScalingFactor
    from nav2_msgs.msg import SpeedLimit
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from std_msgs.msg import Bool, Float64

    walk, listener = long_walk(), hall.listener
    walk = walk[len(walk) // 4 : 3 * len(walk) // 4]
    settings = SeparationSettings()
    there = walk[int(0.5 * len(walk))][0] + [0.0, 0.4, 0.1]  # where the walk passes by
    limits = listener.collect(Float64, '/speed_limit_predicted')
    valid = listener.collect(Bool, '/speed_limit_predicted_valid')
    nav2 = listener.collect(SpeedLimit, '/speed_limit')
    factors: list[Any] = []
    listener.node.create_subscription(
        SpeedScalingFactor,
        '/joint_trajectory_controller/speed_scaling_input',
        factors.append,
        QoSProfile(depth=50, durability=DurabilityPolicy.TRANSIENT_LOCAL),
    )
    patient = {'stale_s': 10.0, 'missed_periods': 100.0}  # of a machine that is busy
    hall.start('monitor', robot_m=[float(each) for each in there], **patient)
    hall.start('scaling', stale_s=2.0, rise_per_s=100.0)
    hall.start('scaling', output='nav2', stale_s=2.0, rise_per_s=100.0)
    listener.wait(lambda: limits and nav2 and factors, 'all programs')
    assert {each.data for each in limits} == {0.0}, 'a speed without a predictor'
    assert not any(each.data for each in valid)
    assert {percent(each) for each in nav2} == {5.0}
    assert {each.factor for each in factors} == {0.0}
    hall.start_predictor()
    hall.show_until(walk[0], lambda: limits[-1].data == 1.0, 'full speed while nobody is near')
    hall.show_until(walk[0], lambda: percent(nav2[-1]) == 100.0, 'full speed of Nav2')
    hall.show_until(walk[0], lambda: factors[-1].factor == 1.0, 'full speed of the controller')
    measured, permitted = limits_along(hall, walk, there, limits, valid, nav2)
    full = settings.full_speed_m_s
    first = {name: int(np.argmax(np.array(values) < 0.99 * full)) for name, values in
             (('measured', measured), ('permitted', permitted))}  # fmt: skip
    assert min(measured) < 0.2 * full, 'the walk does not pass the robot'
    assert min(permitted) < 0.2 * full, 'Nav2 was not looked at'
    assert 0 < first['permitted'] < first['measured'], 'the limit does not drop before'
    assert permitted[-1] == full, 'the limit does not return'
    hall.show_until(walk[-1], lambda: percent(nav2[-1]) == 100.0, 'full speed of Nav2 again')
    hall.predictor.kill()
    listener.wait(lambda: limits[-1].data == 0.0 and not valid[-1].data, 'a stop')
    listener.wait(lambda: factors[-1].factor == 0.0, 'a stop of the controller')
    listener.wait(lambda: percent(nav2[-1]) == 5.0, 'the lowest limit of Nav2')


@pytest.mark.slow
@pytest.mark.ros
def test_a_message_in_another_frame_or_ahead_of_the_clock_permits_nothing(
    listener: Any,
) -> None:
    from geometry_msgs.msg import Pose, PoseArray
    from rclpy.duration import Duration
    from rclpy.qos import LivelinessPolicy, QoSProfile
    from ros_harness import process
    from std_msgs.msg import Bool, Float64

    from motion_predictor.ros.messages import ns_to_stamp

    limits = listener.collect(Float64, '/speed_limit_predicted')
    valid = listener.collect(Bool, '/speed_limit_predicted_valid')
    lease = Duration(seconds=0.4)
    publisher = listener.node.create_publisher(
        PoseArray,
        '/motion_predictor/poses',
        QoSProfile(
            depth=1,
            deadline=lease,
            liveliness=LivelinessPolicy.MANUAL_BY_TOPIC,
            liveliness_lease_duration=lease,
        ),
    )
    far = Pose()
    far.position.x = 50.0

    def send(frame_id: str, ahead_s: float, *poses: Pose) -> None:
        now_ns = listener.node.get_clock().now().nanoseconds + round(ahead_s * 1e9)
        message = PoseArray(poses=list(poses))
        message.header.stamp, message.header.frame_id = ns_to_stamp(now_ns), frame_id
        publisher.publish(message)
        listener.spin()

    monitor = 'motion_predictor.ros.consumers.monitor'
    patient = {'stale_s': 5.0, 'missed_periods': 100.0, 'frame': 'map'}
    with process(monitor, patient):
        for frame_id, ahead_s, poses, speed in (
            ('map', 0.0, [far], 1.0),
            ('other', 0.0, [far], 0.0),
            ('map', 0.0, [], 1.0),
            ('map', 9.0, [far], 0.0),
            ('map', 0.0, [far], 1.0),
            ('map', -9.0, [far], 0.0),
        ):
            from ros_harness import wait_until

            wait_until(
                lambda speed=speed: limits and limits[-1].data == speed,
                lambda frame_id=frame_id, ahead_s=ahead_s, poses=poses: send(
                    frame_id, ahead_s, *poses
                ),
                f'{speed} for {frame_id} {ahead_s} s ahead',
            )
            listener.wait(
                lambda speed=speed: valid and valid[-1].data == (speed > 0.0), 'its validity'
            )
