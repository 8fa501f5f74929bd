"""Transforms by a tree of our own, and by tf2_ros, STOOD IN for here since it has no wheel."""

from __future__ import annotations

from collections.abc import Iterator
import sys
import types
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')

from rclpy.time import Time
from tracker_packages import plain
from tracker_people import tf, transform

from motion_predictor.ros.intake.transforms import FrameTransforms, TreeTransforms
from motion_predictor.sources.tf.causes import Cause
from motion_predictor.sources.tf.tree import TransformTree

SECOND = 1_000_000_000


def stand_in() -> types.ModuleType:
    """Make a module that raises what tf2_ros raises, and like it refuses stamps of the past."""
    module: Any = types.ModuleType('tf2_ros')
    module.TransformException = type('TransformException', (Exception,), {})
    for name in ('Lookup', 'Connectivity', 'Extrapolation'):
        kind = type(f'{name}Exception', (module.TransformException,), {})
        setattr(module, kind.__name__, kind)

    class Buffer:
        def __init__(self, node: Any) -> None:
            self.tree, self.newest_ns = TransformTree(), 0

        def set_transform(self, message: Any, authority: str) -> None:
            stamp_ns = message.header.stamp.sec * SECOND + message.header.stamp.nanosec
            if stamp_ns > self.newest_ns - 10 * SECOND:
                self.newest_ns = max(self.newest_ns, stamp_ns)
                self.tree.add(message, False)

        def lookup_transform(self, target: str, source: str, time: Time) -> Any:
            placed = self.tree.place([source], time.nanoseconds, target).get(source)
            if placed is not None and not placed.lacking:
                x, y, z = placed.translation.tolist()
                return transform(plain, target, source, (x, y, z), time.nanoseconds)
            missing = self.tree.explain(source, time.nanoseconds, target)
            assert missing is not None
            if missing.cause in (Cause.NO_FRAME, Cause.NO_TARGET):
                which = 'target' if missing.cause is Cause.NO_TARGET else 'source'
                raise module.LookupException(
                    f'"x" passed to lookupTransform argument {which}_frame does not exist. '
                )
            if missing.cause is Cause.NOT_CONNECTED:
                raise module.ConnectivityException('not in the same tree')
            raise module.ExtrapolationException('Lookup would require extrapolation')

        def get_latest_common_time(self, target: str, source: str) -> Time:
            return Time(nanoseconds=self.newest_ns)

        def all_frames_as_string(self) -> str:
            return ''.join(f'Frame {name} exists with parent x.\n' for name in self.tree._edges)

        def clear(self) -> None:
            self.tree, self.newest_ns = TransformTree(), 0

    class TransformListener:
        def __init__(self, buffer: Buffer, node: Any) -> None:
            self.buffer = buffer

        def unregister(self) -> None:
            pass

    module.Buffer, module.TransformListener = Buffer, TransformListener
    return module


@pytest.fixture
def changes() -> list[None]:
    return []


@pytest.fixture
def transforms(monkeypatch: pytest.MonkeyPatch, changes: list[None]) -> Iterator[FrameTransforms]:
    monkeypatch.setitem(sys.modules, 'tf2_ros', stand_in())
    transforms = FrameTransforms(None, 'map', lambda: changes.append(None))
    yield transforms
    transforms.close()


def tell(transforms: FrameTransforms, parent: str, child: str, stamp_ns: int) -> None:
    sent = transform(plain, parent, child, (1.0, 0.0, 0.0), stamp_ns)
    transforms._listener.buffer.set_transform(sent, 'default_authority')


def test_every_transform_that_comes_is_told_and_found_without_waiting(
    transforms: FrameTransforms, changes: list[None]
) -> None:
    assert transforms.lookup('camera', SECOND) is None
    tell(transforms, 'map', 'camera', SECOND)
    assert changes == [None]
    found = transforms.lookup('/camera', SECOND)
    assert found is not None
    assert found[1].tolist() == [1.0, 0.0, 0.0]


def test_each_cause_has_its_words(transforms: FrameTransforms) -> None:
    def cause(frame: str, stamp_ns: int) -> Cause:
        missing = transforms.explain(frame, stamp_ns, 0.05)
        assert missing is not None
        assert len(missing.text) < 500
        return missing.cause

    tell(transforms, 'odom', 'camera', 100 * SECOND)
    assert cause('camera', 100 * SECOND) is Cause.NO_TARGET
    tell(transforms, 'map', 'base', 100 * SECOND)
    assert cause('camera', 100 * SECOND) is Cause.NOT_CONNECTED
    assert cause('camara', 100 * SECOND) is Cause.NO_FRAME
    assert cause('', 100 * SECOND) is Cause.NO_FRAME
    assert cause('x' * 1_000_000, 100 * SECOND) is Cause.NO_FRAME
    assert cause('base', 99 * SECOND) is Cause.TOO_OLD
    missing = transforms.explain('base', 100 * SECOND + SECOND // 10, 0.05)
    assert missing is not None
    assert missing.cause is Cause.TOO_NEW
    assert '0.100 s older' in missing.text
    assert 'set tf_timeout_s above 0.15' in missing.text
    assert transforms.explain('base', 100 * SECOND, 0.05) is None


def test_time_that_begins_anew_clears_what_tf2_keeps(transforms: FrameTransforms) -> None:
    tell(transforms, 'map', 'camera', 100 * SECOND)
    tell(transforms, 'map', 'camera', SECOND)
    assert transforms.lookup('camera', SECOND) is None, 'tf2 takes nothing so old'
    transforms.restart()
    tell(transforms, 'map', 'camera', SECOND)
    assert transforms.lookup('camera', SECOND) is not None


# The tree in place of tf2_ros


class Hub:
    """A STAND-IN of a node that keeps what is subscribed to, and hands messages over."""

    def __init__(self) -> None:
        self.callbacks: dict[str, Any] = {}

    def create_subscription(self, kind: type, topic: str, callback: Any, profile: Any) -> str:
        self.callbacks[topic] = callback
        return topic

    def destroy_subscription(self, topic: str) -> None:
        del self.callbacks[topic]


def test_without_tf2_ros_a_tree_of_our_own_finds_transforms_as_they_come(
    monkeypatch: pytest.MonkeyPatch, changes: list[None]
) -> None:
    messages: Any = types.ModuleType('tf2_msgs.msg')
    messages.TFMessage = type('TFMessage', (), {})
    monkeypatch.setitem(sys.modules, 'tf2_msgs', types.ModuleType('tf2_msgs'))
    monkeypatch.setitem(sys.modules, 'tf2_msgs.msg', messages)
    hub = Hub()
    transforms = TreeTransforms(hub, 'map', lambda: changes.append(None))
    hub.callbacks['/tf_static'](tf(plain, [transform(plain, 'map', 'base', (1, 0, 0), 0)]))
    assert transforms.lookup('camera', 7) is None
    hub.callbacks['/tf'](tf(plain, [transform(plain, 'base', 'camera', (0, 0, 2), 7)]))
    assert changes == [None, None]
    found = transforms.lookup('camera', 7)
    assert found is not None
    np.testing.assert_allclose(found[0], np.eye(3))
    np.testing.assert_allclose(found[1], [1.0, 0.0, 2.0])
    assert transforms.lookup('camera', 8) is None, 'not before its transform has come'
    missing = transforms.explain('camera', 8, 0.0)
    assert missing is not None
    assert missing.cause is Cause.TOO_NEW
    transforms.close()
    assert not hub.callbacks
