# SPDX-License-Identifier: Apache-2.0
"""People as the frames that drivers send of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tracker_packages import plain
from tracker_people import source_pose, tf, transform

from motion_predictor.body.layout_file import layout
from motion_predictor.recordings.walker import synthetic_walkers
from motion_predictor.sources.observation import DecodedPerson
from motion_predictor.sources.tf.people import TfSource

HRI, XSENS = layout('hri'), layout('xsens23')
PERIOD_NS = 33_000_000
WALKERS = [poses + [3.0, 0.0, 0.0] for poses in synthetic_walkers(2).persons.values()]


STATIC, MOVING = '/tf_static', '/tf'


def turned(angle: float) -> tuple[float, float, float, float]:
    return (0.0, 0.0, float(np.sin(angle / 2)), float(np.cos(angle / 2)))


def frames_of(
    chosen: Any, pose: np.ndarray, stamp_ns: int, person: str, pattern: str, parent: str = 'world'
) -> list[Any]:
    """Make one transform for each joint of somebody, all below one frame."""
    names = [pattern.format(joint=joint, person=person) for joint in chosen.joints]
    return [
        transform(plain, parent, name, xyz, stamp_ns, turned(index))
        for index, (name, xyz) in enumerate(zip(names, source_pose(chosen, pose)))
    ]


def decode(source: TfSource, transforms: Sequence[Any], now_ns: int, topic: str = MOVING) -> Any:
    return source.decode(topic, tf(plain, transforms), now_ns)


def feed(source: TfSource, frame: int, how: str = 'together') -> list[DecodedPerson]:
    """Send the frames of two people of one instant; give who came out."""
    stamp_ns = 10**9 + frame * PERIOD_NS
    found = []
    for person, poses in zip(('ana', 'bo_2'), WALKERS):
        sent = frames_of(HRI, poses[frame], stamp_ns, person, '{joint}_{person}')
        if how == 'together':
            groups = [sent]
        else:  # a message for each, in another order every time
            order = np.random.default_rng(frame).permutation(len(sent))
            groups = [[sent[index]] for index in order]
        for group in groups:
            found += decode(source, group, stamp_ns + 1_000_000) or []
    return found


def given_without_a_wrist(source: TfSource) -> list[DecodedPerson]:
    """Feed three whole frames, then five without the left wrist: the people given of those."""
    for frame in range(3):
        feed(source, frame)
    given: list[DecodedPerson] = []
    for frame in range(3, 8):
        stamp_ns = 10**9 + frame * PERIOD_NS
        sent = frames_of(HRI, WALKERS[0][frame], stamp_ns, 'ana', '{joint}_{person}')
        del sent[HRI.index('l_wrist')]
        given += decode(source, sent, stamp_ns) or []
    return given
