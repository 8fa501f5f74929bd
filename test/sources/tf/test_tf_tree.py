# SPDX-License-Identifier: Apache-2.0
"""The tree of TF's frames: what it keeps whatever comes, and why it has no transform."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tracker_packages import plain
from tracker_people import transform

from motion_predictor.sources.tf import tree as tf_tree
from motion_predictor.sources.tf.causes import Cause
from motion_predictor.sources.tf.tree import MAX_FRAMES, TransformTree

SECOND = 1_000_000_000
HERE = (1.0, 0.0, 0.0)


def add(tree: TransformTree, parent: str, child: str, stamp_ns: int, static: bool = False) -> bool:
    return tree.add(transform(plain, parent, child, HERE, stamp_ns), static)


def is_placed(tree: TransformTree, frame: str, stamp_ns: int, target: str = '') -> bool:
    return frame in tree.place([frame], stamp_ns, target)


def flood(tree: TransformTree, count: int, stamp_ns: int, static: bool = False) -> None:
    sent = transform(plain, 'map', 'f', HERE, stamp_ns)
    for index in range(count):
        sent.child_frame_id = f'flood_{stamp_ns}_{index}'
        tree.add(sent, static)


@pytest.mark.slow
@pytest.mark.parametrize('static', [False, True])
def test_a_flood_of_names_takes_no_frame_that_is_in_use(static: bool) -> None:
    tree = TransformTree()
    add(tree, 'map', 'camera', 0, static=True)
    for frame in range(12):
        stamp_ns = frame * SECOND // 30
        add(tree, 'camera', 'hand', stamp_ns)
        assert is_placed(tree, 'hand', stamp_ns, 'map'), f'frame {frame}'
        flood(tree, MAX_FRAMES // 4, stamp_ns, static)
    assert len(tree) <= MAX_FRAMES + 2
    assert tree.forgotten > MAX_FRAMES


@pytest.mark.slow
def test_fixed_frames_below_somebody_who_has_gone_make_room_first() -> None:
    tree = TransformTree()
    add(tree, 'base', 'lidar', 0, static=True)  # which nobody has asked for yet
    for body in range(MAX_FRAMES // 5):
        stamp_ns = body * SECOND
        for frame in range(10):
            for link in range(5):
                add(tree, 'map', f'link_{link}_{body}', stamp_ns + frame * SECOND // 30)
        for joint in range(6):
            add(tree, f'link_0_{body}', f'joint_{joint}_{body}', stamp_ns, static=True)
        assert is_placed(tree, f'joint_5_{body}', stamp_ns, 'map')
    assert len(tree) <= 2 * MAX_FRAMES
    assert is_placed(tree, 'lidar', 10**12, 'base'), 'nobody sends it again'


@pytest.mark.slow
def test_many_frames_at_a_high_rate_keep_a_shorter_past(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf_tree, 'MAX_TRANSFORMS', 3_000)
    tree = TransformTree()
    for frame in range(200):
        for name in range(50):
            add(tree, 'map', f'f{name}', frame * 10_000_000)
        assert sum(len(edge.stamps) for edge in tree._edges.values()) == tree._kept <= 3_000
    assert is_placed(tree, 'f7', 1_955_000_000), 'between the latest two'
    assert is_placed(tree, 'f7', 1_800_000_000), 'a fifth of a second ago'


def test_names_of_absurd_length_are_no_frames() -> None:
    tree = TransformTree()
    assert not add(tree, 'map', 'x' * 1_000_000, 0)
    assert not add(tree, 'x' * 1_000_000, 'hand', 0)
    assert len(tree) == 0


def test_a_late_transform_above_what_two_frames_share_holds_nothing_up() -> None:
    tree = TransformTree()
    add(tree, 'map', 'odom', 0)  # as AMCL does, seldom
    for frame in range(30):
        add(tree, 'odom', 'base', frame * SECOND // 30)
    add(tree, 'base', 'camera', 0, static=True)
    found = tree.place(['camera'], SECOND // 2, 'odom')['camera']
    assert not found.lacking
    np.testing.assert_allclose(found.translation, [2.0, 0.0, 0.0])
    assert not is_placed(tree, 'camera', SECOND // 2, 'map')


def explained(tree: TransformTree, *asked: Any) -> tuple[Cause, str]:
    missing = tree.explain(*asked)
    assert missing is not None
    return missing.cause, missing.text


def test_each_cause_of_no_transform_has_its_words() -> None:
    tree = TransformTree()
    for frame in range(30):
        add(tree, 'odom', 'base', 10 * SECOND + frame * SECOND // 30)
    add(tree, 'base', 'camera_link', 0, static=True)
    add(tree, 'world', 'tag', 0, static=True)
    now_ns = 10 * SECOND + SECOND // 2
    assert tree.explain('camera_link', now_ns, 'odom') is None
    cause, text = explained(tree, 'camera_lonk', now_ns, 'odom')
    assert cause is Cause.NO_FRAME
    assert "no frame 'camera_lonk', which is the frame_id of the input" in text
    assert "it has 'camera_link'" in text
    cause, text = explained(tree, '', now_ns, 'odom')
    assert (cause, 'set input.frame_id' in text) == (Cause.NO_FRAME, True)
    cause, text = explained(tree, 'camera_link', now_ns, 'map')
    assert cause is Cause.NO_TARGET
    assert "no frame 'map', which is target_frame" in text
    cause, text = explained(tree, 'camera_link', now_ns, 'world')
    assert cause is Cause.NOT_CONNECTED
    assert "'camera_link' (its tree begins at 'odom')" in text
    late = 11 * SECOND - SECOND // 30 + 80_000_000
    cause, text = explained(tree, 'camera_link', late, 'odom', 0.05)
    assert cause is Cause.TOO_NEW
    assert "(that of 'base') is 0.080 s older" in text
    assert 'set tf_timeout_s above 0.15' in text, 'what was waited for, and three periods'
    cause, text = explained(tree, 'camera_link', late + 4 * SECOND, 'odom')
    assert (cause, 'another clock' in text) == (Cause.TOO_NEW, True)
    cause, text = explained(tree, 'camera_link', 5 * SECOND, 'odom')
    assert cause is Cause.TOO_OLD
    assert '5.000 s younger than the stamp' in text


def test_words_stay_short_whatever_the_names() -> None:
    tree = TransformTree()
    add(tree, 'map', 'f' * 200, 0)
    for asked in ('x' * 1_000_000, 'f' * 200):
        _, text = explained(tree, asked, 10 * SECOND, 'map')
        assert len(text) < 500
