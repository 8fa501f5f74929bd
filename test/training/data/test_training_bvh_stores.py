# SPDX-License-Identifier: Apache-2.0
"""Folders of BVH become stores, and wrong ones are refused."""

from __future__ import annotations

import json
from pathlib import Path
import shutil
from typing import Any

from bvh_person import along_x, bvh_text
from bvh_person import walking as bvh_walking
import numpy as np
import pytest
from random_models import save_recording

from motion_predictor.body.skeleton_file import read_skeleton
from motion_predictor.errors import RecordingError
from training.data.prepare import main
from training.data.readers import source
from training.data.readers.bvh_folder import read_bvh_folder
from training.data.store import open_store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    file = save_recording(tmp_path / 'walks' / 'test.npz', (80, 63))
    assert main(['prepare', 'npz', str(file), '--out', str(tmp_path), '--quiet']) == 0
    return tmp_path / 'npz' / 'test'


BVH = """HIERARCHY
ROOT Base
{{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Elbow
  {{
    OFFSET 0 40 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    JOINT Tool
    {{
      OFFSET 0 30 0
      CHANNELS 3 Zrotation Xrotation Yrotation
      End Site
      {{
        OFFSET 0 5 0
      }}
    }}
  }}
}}
MOTION
Frames: {frames}
Frame Time: {step}
{values}
"""


ARM = {
    'name': 'arm3',
    'joints': ['base', 'elbow', 'tool'],
    'parents': {'elbow': 'base', 'tool': 'elbow'},
    'zero_is_missing': False,
}


ARM_MAPPING = {
    'joints': ['Base', 'Elbow', 'Tool'],
    'mapping': {'base': 'Base', 'elbow': 'Elbow', 'tool': {'Elbow': 0.1, 'Tool': 0.9}},
}


@pytest.fixture
def arm_bvh(tmp_path: Path) -> Path:
    for subject in ('left', 'right'):
        folder = tmp_path / 'bvh' / subject
        folder.mkdir(parents=True)
        lines = [
            f'0 0 0 {30 * np.sin(i / 20):.6f} 0 0 {20 * np.cos(i / 15):.6f} 0 0 0 0 0'
            for i in range(200)
        ]
        text = BVH.format(frames=len(lines), step=0.02, values='\n'.join(lines))
        (folder / 'move_1.bvh').write_text(text)
    (tmp_path / 'arm.json').write_text(json.dumps(ARM))
    (tmp_path / 'arm_bvh.json').write_text(json.dumps(ARM_MAPPING))
    return tmp_path / 'bvh'


def test_a_folder_of_bvh_goes_through_its_mapping_file(arm_bvh: Path, tmp_path: Path) -> None:
    words = ['prepare', 'bvh', str(arm_bvh), '--out', str(tmp_path), '--name', 'arms', '--quiet']
    words += [
        '--skeleton',
        str(tmp_path / 'arm.json'),
        '--mapping',
        str(tmp_path / 'arm_bvh.json'),
    ]
    assert main([*words, '--units-scale', '0.01', '--test', 'right']) == 0
    train, test = (open_store(tmp_path / 'arms' / split) for split in ('train', 'test'))
    assert [clip.subject for clip in (*train.clips, *test.clips)] == ['left', 'right']
    assert train.facts.skeleton.joints == ('base', 'elbow', 'tool')
    first = train.positions[0]
    np.testing.assert_allclose(first[0], 0.0, atol=1e-6)
    np.testing.assert_allclose(first[1], [0.0, 0.0, 0.4], atol=1e-6)  # y up became z up
    angle = np.radians(20.0)
    turned = [0.0, -0.3 * 0.9 * np.sin(angle), 0.4 + 0.3 * 0.9 * np.cos(angle)]
    np.testing.assert_allclose(np.abs(first[2]), np.abs(turned), atol=1e-5)


@pytest.mark.parametrize(
    'options,message',
    [
        ({}, 'say how many metres'),
        ({'units_scale': 0.01, 'up': 'w'}, 'must be one of x, y, z'),
        ({'units_scale': 0.01, 'subject_pattern': '('}, '--subject'),
        ({'units_scale': 0.01, 'subject_pattern': 'left'}, r'must have a \(group\)'),
        ({'units_scale': 0.01, 'subject_pattern': '(nobody)'}, 'is not found in it'),
        ({'mapping': None}, 'need a --mapping'),
    ],
)
def test_bvh_options_that_cannot_work_are_refused(
    arm_bvh: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    skeleton = read_skeleton(tmp_path / 'arm.json')
    given = {'mapping': tmp_path / 'arm_bvh.json', 'skeleton': skeleton, **options}
    with pytest.raises(RecordingError, match=message):
        read_bvh_folder(arm_bvh, **given)


def test_people_in_a_folder_of_bvh_are_read_as_judged_and_it_is_printed(
    tmp_path: Path, capsys: Any
) -> None:
    walk = bvh_walking(80, 25.0)
    for name, text in (
        ('a/one.bvh', bvh_text(walk)),
        ('a/two.bvh', bvh_text(along_x(walk))),
        ('b/child.bvh', bvh_text(walk.scaled(0.66), 1 / 0.0254)),
    ):
        (tmp_path / 'bvh' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'bvh' / name).write_text(text)
    words = ['prepare', 'bvh', str(tmp_path / 'bvh'), '--out', str(tmp_path), '--quiet']
    words += ['--rate', '25']
    assert main([*words, '--dry-run']) == 0
    assert 'a/one: 1 files: unit cm; y up, judged by the motion' in capsys.readouterr().out
    assert main(words) == 0
    said = capsys.readouterr().out
    assert 'bvh: 2 files: unit cm; y up, judged by the motion' in said
    assert 'bvh: 1 files: unit inch; y up, judged by the motion' in said
    store = open_store(tmp_path / 'bvh' / 'train')
    for begin in (0, 80):
        np.testing.assert_allclose(store.positions[begin : begin + 80], walk.truth(), atol=1e-4)
    assert main([*words, '--overwrite', '--units-scale', '0.02', '--up=-y']) == 0
    assert '3 files: unit 0.02 m as given; -y up as given' in capsys.readouterr().out
    upset = open_store(tmp_path / 'bvh' / 'train').positions[:80]
    expected = 2.0 * walk.truth() * [1.0, -1.0, -1.0]
    np.testing.assert_allclose(upset, expected, atol=1e-3)


def test_bvh_files_without_a_joint_or_damaged_are_refused(arm_bvh: Path, tmp_path: Path) -> None:
    skeleton = read_skeleton(tmp_path / 'arm.json')
    path = arm_bvh / 'left' / 'move_1.bvh'
    path.write_text(path.read_text().replace('Elbow', 'Knee'))
    mapping = tmp_path / 'arm_bvh.json'
    source = read_bvh_folder(arm_bvh, mapping=mapping, skeleton=skeleton, units_scale=0.01)
    with pytest.raises(RecordingError, match='has no joint Elbow; it has Base, Knee, Tool'):
        source.clips[0].load()
    path.write_text(path.read_text()[:900])
    with pytest.raises(RecordingError, match='not a BVH file that can be read'):
        source.clips[0].load()
    shutil.rmtree(arm_bvh / 'left')
    shutil.rmtree(arm_bvh / 'right')
    with pytest.raises(RecordingError, match=r'no \.bvh file'):
        read_bvh_folder(arm_bvh, mapping=mapping, skeleton=skeleton, units_scale=0.01)


def test_positions_of_other_joints_than_the_skeletons_are_refused(
    tmp_path: Path, capsys: Any
) -> None:
    file = save_recording(tmp_path / 'walks' / 'train.npz', (80,))
    (tmp_path / 'arm.json').write_text(json.dumps(ARM))
    words = ['prepare', 'npz', str(file), '--skeleton', str(tmp_path / 'arm.json')]
    assert main([*words, '--out', str(tmp_path)]) == 2
    assert 'expected (frames, 3, 3), got (80, 17, 3)' in capsys.readouterr().err
    assert source.split_of('bert', ['a*'], ['b*']) == 'test'
