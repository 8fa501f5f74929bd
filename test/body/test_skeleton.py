# SPDX-License-Identifier: Apache-2.0
"""The model's own skeleton, and what a skeleton must be."""

from dataclasses import replace
from typing import Any

import pytest

from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.errors import SkeletonError


def test_the_skeleton_is_that_of_the_recordings() -> None:
    assert H36M17.joints == (
        'Hip', 'RHip', 'RKnee', 'RAnkle', 'LHip', 'LKnee', 'LAnkle', 'Spine', 'Thorax', 'Nose',
        'Head', 'LShoulder', 'LElbow', 'LWrist', 'RShoulder', 'RElbow', 'RWrist',
    )  # fmt: skip
    assert H36M17.parents == (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15)
    assert H36M17.num_joints == 17


def test_mirroring_swaps_left_and_right_and_keeps_the_tree() -> None:
    swapped = str.maketrans('LR', 'RL')
    for joint, name in enumerate(H36M17.joints):
        other = H36M17.mirror[joint]
        expected = name[0].translate(swapped) + name[1:] if name[0] in 'LR' else name
        assert H36M17.joints[other] == expected
        parent = H36M17.parents[joint]
        if parent >= 0:
            assert H36M17.parents[other] == H36M17.mirror[parent]


def test_pairs_are_right_then_left() -> None:
    for pair in (H36M17.hips, H36M17.shoulders):
        right, left = (H36M17.joints[joint] for joint in pair)
        assert right == 'R' + left[1:]


def test_every_joint_but_the_root_hangs_on_a_bone() -> None:
    assert len(H36M17.bones) == 16
    assert {child for child, _ in H36M17.bones} == set(range(1, 17))


def test_joints_are_found_by_name_and_unknown_ones_refused_with_the_list() -> None:
    assert H36M17.index('RWrist') == 16
    with pytest.raises(SkeletonError, match=r"'Tail'.*Hip, RHip"):
        H36M17.index('Tail')


@pytest.mark.parametrize(
    'changes,message',
    [
        ({'joints': ('Hip',) * 17}, 'names all different'),
        ({'parents': (0,) * 17}, 'root'),
        ({'parents': H36M17.parents[:-1]}, 'must list 17'),
        ({'parents': (-1, 2, *H36M17.parents[2:])}, 'parent of RHip is 2'),
        ({'mirror': tuple(range(16)) + (0,)}, 'swap pairs'),
        ({'mirror': tuple(range(1, 17)) + (0,)}, 'swap pairs'),
        ({'mirror': tuple(range(16))}, 'swap pairs'),
        ({'hips': (1, 17)}, 'hips'),
        ({'hips': (1.0, 4.0)}, 'whole numbers'),
        ({'parents': (-1, 0.5, *H36M17.parents[2:])}, 'whole numbers'),
        ({'ahead': (0, 99)}, 'ahead'),
        ({'zero_is_missing': 'no'}, 'must be true or false'),
        ({'bones_m': (0.0, 0.5)}, 'must be 17 lengths'),
        ({'bones_m': (float('nan'),) * 17}, 'must be 17 lengths'),
        ({'shoulders': (14, 11, 3)}, 'shoulders'),
    ],
)
def test_an_inconsistent_skeleton_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SkeletonError, match=message):
        replace(H36M17, **changes)


def test_any_tree_with_its_root_first_will_do() -> None:
    stick = Skeleton('stick', ('a', 'b'), (-1, 0), (0, 1), (0, 1), (0, 1))
    assert stick.bones == ((1, 0),)
