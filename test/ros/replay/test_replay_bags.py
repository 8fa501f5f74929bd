# SPDX-License-Identifier: Apache-2.0
"""The replay node plays bags of trackers' own messages and of TF, as the node would read them."""

from __future__ import annotations

from collections.abc import Callable
import subprocess
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')
pytest.importorskip('rosbags')

from geometry_msgs.msg import PoseArray
from replay_rig import Listener, listener, PATIENCE_S, replay  # noqa: F401
from tracker_bags import FRAMES, tracked, tree, WALKERS, write

from motion_predictor.body.layout_file import layout
from motion_predictor.recordings.open import open_recording


@pytest.mark.parametrize(
    'messages,topic,joints,frame',
    [
        (tracked('zed', WALKERS), '', 'zed38', 'zed_left_camera_frame'),
        (tracked('zed', WALKERS) + tree(('anna', 'bob')), '/tf', 'hri', 'map'),
    ],
    ids=['zed', 'tf'],
)
def test_a_trackers_bag_is_played(
    tmp_path: Any,
    messages: list[Any],
    topic: str,
    joints: str,
    frame: str,
    listener: Listener,  # noqa: F811
    replay: Callable[..., subprocess.Popen[str]],  # noqa: F811
) -> None:
    bag = write(tmp_path / 'bag', sorted(messages, key=lambda entry: entry[0]))
    heard = listener.listen(PoseArray, '/people')
    more = {'bag_topic': topic} if topic else {}
    process = replay(
        path=bag, topic='/people', loop=False, wait_for_subscribers=1, speed=0.5, **more
    )
    listener.wait_for(lambda: bool(heard) and not heard[-1].poses)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    assert f'2 of {joints}, {FRAMES} frames' in said
    assert {message.header.frame_id for message in heard} == {frame}
    count = layout(joints).num_joints
    recording = open_recording(bag, topic=topic)
    whole = [message for message in heard if message.poses]
    assert len(whole) >= FRAMES / 2, 'a busy machine leaves some out'
    for message in whole:
        places = np.array([(p.position.x, p.position.y, p.position.z) for p in message.poses])
        people = places.reshape(2, count, 3).astype(np.float32)
        apart = [
            np.abs(np.stack([poses[i] for poses in recording.persons.values()]) - people).max()
            for i in range(FRAMES)
        ]
        assert min(apart) < 1e-5
