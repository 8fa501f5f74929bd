# SPDX-License-Identifier: Apache-2.0
"""Transforms into one frame, from the messages of TF that a node hears."""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')

from tracker_packages import plain
from tracker_people import tf, transform

from motion_predictor.ros.intake.transforms import FrameTransforms
from motion_predictor.sources.tf.causes import Cause

SECOND = 1_000_000_000


class Hub:
    """A STAND-IN of a node that keeps what is subscribed to, and hands messages over."""

    def __init__(self) -> None:
        self.callbacks: dict[str, Any] = {}

    def create_subscription(self, kind: type, topic: str, callback: Any, profile: Any) -> str:
        self.callbacks[topic] = callback
        return topic

    def destroy_subscription(self, topic: str) -> None:
        del self.callbacks[topic]


@pytest.fixture
def changes() -> list[None]:
    return []


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def transforms(hub: Hub, monkeypatch: pytest.MonkeyPatch, changes: list[None]) -> FrameTransforms:
    messages: Any = types.ModuleType('tf2_msgs.msg')
    messages.TFMessage = type('TFMessage', (), {})
    monkeypatch.setitem(sys.modules, 'tf2_msgs', types.ModuleType('tf2_msgs'))
    monkeypatch.setitem(sys.modules, 'tf2_msgs.msg', messages)
    return FrameTransforms(hub, 'map', lambda: changes.append(None))


def tell(hub: Hub, parent: str, child: str, stamp_ns: int) -> None:
    sent = transform(plain, parent, child, (1.0, 0.0, 0.0), stamp_ns)
    hub.callbacks['/tf'](tf(plain, [sent]))


def test_each_cause_has_its_words(hub: Hub, transforms: FrameTransforms) -> None:
    def cause(frame: str, stamp_ns: int) -> Cause:
        missing = transforms.explain(frame, stamp_ns, 0.05)
        assert missing is not None
        assert len(missing.text) < 500
        return missing.cause

    tell(hub, 'odom', 'camera', 100 * SECOND)
    assert cause('camera', 100 * SECOND) is Cause.NO_TARGET
    tell(hub, 'map', 'base', 100 * SECOND)
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


def test_time_that_begins_anew_forgets_what_was(hub: Hub, transforms: FrameTransforms) -> None:
    tell(hub, 'map', 'camera', 100 * SECOND)
    tell(hub, 'map', 'camera', SECOND)
    assert transforms.lookup('camera', SECOND) is not None
    assert transforms.lookup('camera', 100 * SECOND) is None


def test_transforms_are_found_as_they_come(
    hub: Hub, transforms: FrameTransforms, changes: list[None]
) -> None:
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
