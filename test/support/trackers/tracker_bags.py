# SPDX-License-Identifier: Apache-2.0
"""Bags of trackers' own messages."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg, get_typestore, Stores
from tracker_packages import COMMON, DEFINITIONS, plain
from tracker_people import MAKERS, tf, transform

from motion_predictor.body.layout_file import layout
from motion_predictor.recordings.walker import synthetic_walkers
from motion_predictor.sources.trackers import TRACKERS

BEGAN_NS = 1_700_000_000_000_000_000


STEP_NS = 33_333_333


FRAMES = 20


WALKERS = [
    poses + np.float32(shift)
    for poses, shift in zip(
        synthetic_walkers(2, 2.0, 30.0).persons.values(), ([3.0, 0.0, 0.0], [3.0, 2.0, 0.0])
    )
]


def store() -> Any:
    """Return the types of every tracker's messages."""
    made = get_typestore(Stores.ROS2_HUMBLE)
    types: dict[str, Any] = {}
    for package, messages in DEFINITIONS.items():
        for name, text in messages.items():
            if f'{package}/msg/{name}' not in made.fielddefs:
                types |= get_types_from_msg(dedent(text), f'{package}/msg/{name}')
    made.register(types)
    return made


STORE = store()


def packed(kind: str, message: Any) -> Any:
    """Return a message of a bag from a stand-in with the same fields."""
    package, _, name = kind.partition('/msg/')
    short = f'{package}/{name}'
    values = {}
    text = COMMON.get(short) or DEFINITIONS[package][name]
    for line in filter(None, map(str.strip, text.splitlines())):
        type_name, field = line.split()
        if '=' in field:
            continue
        base, _, count = type_name.partition('[')
        value = getattr(message, field)
        if base == base.lower():
            many = {'string': list}.get(base, lambda v, base=base: np.array(v, base))
            values[field] = many(value) if count else value
            continue
        nested = base if '/' in base else f'{package}/{base}'
        nested = nested.replace('/', '/msg/')
        values[field] = [packed(nested, v) for v in value] if count else packed(nested, value)
    return STORE.types[kind](**values)


def write(
    path: Path,
    messages: list[tuple[int, str, str, Any]],
    storage: StoragePlugin = StoragePlugin.MCAP,
) -> Path:
    """Write (received, topic, type, stand-in) to a bag."""
    with Writer(path, version=9, storage_plugin=storage) as writer:
        connections: dict[str, Any] = {}
        for received_ns, topic, kind, message in messages:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            raw = STORE.serialize_cdr(packed(kind, message), kind)
            writer.write(connections[topic], received_ns, raw)
    return path


def tracked(kind: str, people: list[np.ndarray]) -> list[tuple[int, str, str, Any]]:
    tracker = TRACKERS[kind]
    made = []
    for index in range(FRAMES):
        stamp_ns = BEGAN_NS + index * STEP_NS
        message = MAKERS[kind](
            plain, layout(tracker.layout), [poses[index] for poses in people], stamp_ns
        )
        made.append((stamp_ns + 40_000_000, '/people', tracker.message, message))
    return made


def tree(bodies: tuple[str, ...]) -> list[tuple[int, str, str, Any]]:
    """Return everybody's frames as robot_state_publisher sends them, below a camera."""
    kind, joints = 'tf2_msgs/msg/TFMessage', layout('hri').joints
    fixed = tf(plain, [transform(plain, 'map', 'camera', [0.0, 0.0, 2.0], 0)])
    made: list[tuple[int, str, str, Any]] = [(BEGAN_NS, '/tf_static', kind, fixed)]
    for index in range(FRAMES):
        stamp_ns = BEGAN_NS + index * STEP_NS
        for number, body in enumerate(bodies):
            frames = [
                transform(plain, 'camera', f'{joint}_{body}',
                          [0.1 * index, float(number), 0.01 * place], stamp_ns)
                for place, joint in enumerate(joints)
            ]  # fmt: skip
            made.append((stamp_ns + 1_000 * number, '/tf', kind, tf(plain, frames)))
    return made
