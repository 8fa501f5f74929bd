# SPDX-License-Identifier: Apache-2.0
"""Over DDS: people for MoveIt's planning scene, for people_msgs, and on prescyent's topics."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')

from consumer_rig import Hall, long_walk, REAL
from geometry_msgs.msg import PoseArray
from ros_harness import wait_until

from motion_predictor.ros.messages import ns_to_stamp, stamp_to_ns
from motion_predictor.ros.replay import pose_array

NEAR_M = 0.5
"""How far a joint may be from where it is predicted."""


def spheres(body: Any) -> np.ndarray:
    """Centres (N, 3) of an object's spheres."""
    assert len(body.primitives) == len(body.primitive_poses)
    assert all(each.type == each.SPHERE and each.dimensions for each in body.primitives)
    return np.array([(p.position.x, p.position.y, p.position.z) for p in body.primitive_poses])


@pytest.mark.slow
@pytest.mark.ros
def test_people_are_objects_of_the_scene_and_a_list_and_are_taken_back(hall: Hall) -> None:
    pytest.importorskip('shape_msgs')
    from moveit_msgs.msg import CollisionObject, PlanningScene
    from people_msgs.msg import People

    walk, listener = long_walk(), hall.listener
    scenes = listener.collect(PlanningScene, '/planning_scene')
    lists = listener.collect(People, '/people')
    hall.start('people_scene')
    hall.start('people_list')
    hall.start_predictor()
    hall.show_until(walk[0], lambda: scenes and lists, 'a scene and a list')
    for pose in walk[:60]:
        hall.show(pose)
    assert all(scene.is_diff and scene.robot_state.is_diff for scene in scenes)
    shown = walk[59]

    def has_caught_up() -> bool:  # the programs may still answer an earlier frame
        objects, people = scenes[-1].world.collision_objects, lists[-1].people
        if (
            not objects
            or not people
            or len(objects[0].primitives) != len(objects[0].primitive_poses)
        ):
            return False
        centres, place = spheres(objects[0]), people[0].position
        apart = np.linalg.norm(centres[:, None] - shown[None], axis=2)  # metres, (spheres, joints)
        near = apart.min(axis=0).max() < NEAR_M
        return bool(near and np.hypot(place.x - shown[0, 0], place.y - shown[0, 1]) < NEAR_M)

    listener.wait(has_caught_up, 'every joint near a sphere, and the person near the pelvis')
    (body,) = scenes[-1].world.collision_objects
    assert (body.operation, body.header.frame_id) == (CollisionObject.ADD, 'map')
    assert body.id.startswith('person_')
    assert len(spheres(body)) == 17 * 5, 'every joint at every keyframe'
    (person,) = lists[-1].people
    velocity = person.velocity
    way = walk[60, 0, :2] - walk[35, 0, :2]  # of the last second
    if REAL.is_file():  # the walker of our own making goes to and fro within a step
        assert np.dot([velocity.x, velocity.y], way) > 0.5 * float(way @ way)
    hall.predictor.kill()
    listener.wait(
        lambda: (
            [each.operation for each in scenes[-1].world.collision_objects]
            == [CollisionObject.REMOVE]
        ),
        'people to be removed',
    )
    assert scenes[-1].world.collision_objects[0].id == body.id


@pytest.mark.slow
@pytest.mark.ros
@pytest.mark.parametrize('counted', [True, False])
def test_prescyents_topics_are_served(hall: Hall, counted: bool) -> None:
    """By remapping alone where frames have a name; by the bridge where they are numbered."""
    walk, listener = long_walk(), hall.listener
    predictions = listener.collect(PoseArray, '/prescyent/prediction')
    position = listener.node.create_publisher(PoseArray, '/prescyent/position', 10)
    remapped = {}
    if counted:
        hall.start('prescyent_bridge', rate_hz=25.0)
    else:
        remapped = {'skeleton': '/prescyent/position', '~/poses': '/prescyent/prediction'}
    hall.start_predictor(remapped, poses__horizons_s=[1.0])
    sent: dict[int, int] = {}

    def send(frame: int) -> None:
        message = pose_array([walk[frame % len(walk)]])
        stamp_ns = hall.tick()
        sent[stamp_ns] = frame
        message.header.stamp = ns_to_stamp(stamp_ns)
        message.header.frame_id = str(frame) if counted else 'map'
        count = len(predictions)
        position.publish(message)
        begun_s = time.monotonic()
        while len(predictions) == count and time.monotonic() - begun_s < 0.5:
            hall.tell_time()

    frames = iter(range(100_000))
    wait_until(lambda: len(predictions) > 20, lambda: send(next(frames)), 'predictions')
    last = predictions[-1]
    assert len(last.poses) == 17
    stamp_ns = stamp_to_ns(last.header.stamp)
    if counted:
        frame = sent[stamp_ns - 1_000_000_000]
        assert last.header.frame_id == str(frame + 25)
    else:
        frame = sent[stamp_ns]
        assert last.header.frame_id == 'map'
    hip = last.poses[0].position
    now = walk[frame % len(walk)][0]
    assert np.hypot(hip.x - now[0], hip.y - now[1]) < 3.0, 'within a second of walking'
    assert all(np.isfinite([p.position.x, p.position.y, p.position.z]).all() for p in last.poses)
