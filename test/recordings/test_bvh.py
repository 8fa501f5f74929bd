# SPDX-License-Identifier: Apache-2.0
"""BVH files of every exporter put the same person in the same place, or are refused by name."""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import json
from pathlib import Path
from typing import Any

from bvh_person import along_x, bvh_text, MAPPING, NAMES, Person, walking
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
from numpy.typing import NDArray
import pytest
from scipy.spatial.transform import Rotation

from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import RecordingError, SkeletonError
from motion_predictor.recordings import bvh_file
from motion_predictor.recordings.bvh import read_bvh, read_bvh_joints
from motion_predictor.recordings.recording import Overrides, Recording

WALK = walking()
TRUTH = WALK.truth()


JOINT = H36M17.index


def read(tmp_path: Path, text: str | bytes, **given: Any) -> Recording:
    path = tmp_path / 'walk.bvh'
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_bvh(path, Overrides(**given))


def error_m(recording: Recording, truth: NDArray = TRUTH) -> float:
    poses = recording.persons['0']
    assert poses.shape == truth.shape
    return float(np.linalg.norm(poses - truth, axis=-1).max())


def renamed(**parts: str) -> list[str]:
    """Write names by a pattern of side and part, such as ``{l}_{part}``."""
    how = parts.pop('pattern')
    names = []
    for name in NAMES:
        side = next((word for word in ('Left', 'Right') if name.startswith(word)), '')
        part = parts.get(name.removeprefix(side), name.removeprefix(side))
        names.append(how.format(l=side[:1], side=side, part=part) if side else part)
    return names


THIGHS = {'UpLeg': 'Thigh', 'Leg': 'Calf', 'Arm': 'UpperArm', 'ForeArm': 'Forearm'}


EXPORTERS: dict[str, list[str]] = {
    'cmu': list(NAMES),
    'mixamo': [f'mixamorig7:{name}' for name in NAMES],
    'maya': [f'|rig|guy:{name}' for name in NAMES],
    'any prefix': [f'MyGuy_{name}' for name in NAMES],
    'prefix in lower case': [f'guy{name.lower()}' for name in NAMES],
    'bandai-namco': renamed(
        pattern='{part}_{l}', UpLeg='UpperLeg', Leg='LowerLeg', Arm='UpperArm', ForeArm='LowerArm',
        Spine='Chest', Hips='joint_Root',
    ),
    'blender': renamed(
        pattern='{part}.{l}', UpLeg='thigh', Leg='shin', Foot='foot', Arm='upper_arm',
        ForeArm='forearm', Hand='hand', Shoulder='shoulder', Hips='hips', Spine='spine',
        Neck='neck', Head='head',
    ),
    'bip01': renamed(
        pattern='Bip01_{l}_{part}', **THIGHS, Shoulder='Clavicle', Hips='Bip01',
        Spine='Bip01_Spine', Neck='Bip01_Neck', Head='Bip01_Head',
    ),
    'bip01 with spaces': renamed(
        pattern='Bip01 {l} {part}', **THIGHS, Shoulder='Clavicle', Hips='Bip01 Pelvis',
        Spine='Bip01 Spine', Neck='Bip01 Neck', Head='Bip01 Head',
    ),
    'smpl': renamed(
        pattern='{l}_{part}', UpLeg='Hip', Leg='Knee', Foot='Ankle', Shoulder='Collar',
        Arm='Shoulder', ForeArm='Elbow', Hand='Wrist', Hips='Pelvis', Spine='Spine1',
    ),
    'asf': [name.lower() for name in renamed(
        pattern='{l}{part}', UpLeg='femur', Leg='tibia', Shoulder='clavicle', Arm='humerus',
        ForeArm='radius', Hips='root', Spine='upperback', Neck='lowerneck',
    )],
    'motive': renamed(
        pattern='{l}{part}', UpLeg='Thigh', Leg='Shin', Arm='UArm', ForeArm='FArm', Hips='Hip',
        Spine='Ab',
    ),
    'motive with a skeleton': [f'Skeleton 001:{name}' for name in renamed(
        pattern='{l}{part}', UpLeg='Thigh', Leg='Shin', Arm='UArm', ForeArm='FArm',
    )],
    'unreal': [name.lower() for name in renamed(
        pattern='{part}_{l}', **THIGHS | {'ForeArm': 'lowerarm'}, Shoulder='clavicle',
        Hips='pelvis', Spine='spine_01', Neck='neck_01',
    )],
    'vrm': renamed(
        pattern='J_Bip_{l}_{part}', UpLeg='UpperLeg', Leg='LowerLeg', Arm='UpperArm',
        ForeArm='LowerArm', Hips='J_Bip_C_Hips', Neck='J_Bip_C_Neck', Head='J_Bip_C_Head',
    ),
    'xsens': renamed(
        pattern='{side}{part}', UpLeg='UpperLeg', Leg='LowerLeg', Arm='UpperArm',
        ForeArm='ForeArm',
    ),
    'poser': renamed(
        pattern='{l}{part}', UpLeg='Thigh', Leg='Shin', Shoulder='Collar', Arm='Shldr',
        Hips='hip', Spine='abdomen', Neck='neck', Head='head',
    ),
    'names with spaces': [
        name.replace('Left', 'Left ').replace('Right', 'Right ') for name in NAMES
    ],
}  # fmt: skip


@pytest.mark.parametrize('names', EXPORTERS.values(), ids=EXPORTERS)
def test_the_joints_of_every_exporter_are_found(tmp_path: Path, names: list[str]) -> None:
    assert error_m(read(tmp_path, bvh_text(WALK, names=names))) < 1e-4


PLAIN = bvh_text(WALK)


def body_positions(joint: int) -> NDArray:
    return WALK.offsets[joint]


def nothing(joint: int) -> NDArray:
    return np.zeros(3)


def below_a_still_root() -> str:
    """Write as Bandai-Namco does: the hips' own channels hold the way in the world."""
    head, motion = bvh_text(WALK, positions=body_positions).split('MOTION')
    body = head.split('HIERARCHY')[1].replace('ROOT', 'JOINT')
    body = body.replace('OFFSET 0.000000 0.000000 0.000000', 'OFFSET 0.8 93.9 -452.2', 1)
    channels = 'CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation'
    lines = motion.split('\n')
    lines[3:-1] = [f'0 0 0 0 0 -0 {line}' for line in lines[3:-1]]
    root = f'HIERARCHY\nROOT joint_Root\n{{\nOFFSET 0 0 0\n{channels}{body}}}\nMOTION'
    return root + '\n'.join(lines)


def collapsed() -> Person:
    return Person(0 * WALK.offsets, WALK.root, WALK.turns, head_top=(0.0, 0.11, 0.0))


WAYS: dict[str, str | bytes] = {
    'plain': PLAIN,
    'metres': bvh_text(WALK, 1.0),
    'millimetres': bvh_text(WALK, 1000.0),
    'inches': bvh_text(WALK, 1 / 0.0254),
    'CMU': bvh_text(WALK, 1 / 0.056444),
    'bones along x at rest': bvh_text(along_x(WALK)),
    'six channels': bvh_text(WALK, positions=body_positions),
    'six channels, hips below a still root': below_a_still_root(),
    'six channels relative to OFFSET': bvh_text(WALK, positions=nothing),
    'OFFSETs zero': bvh_text(collapsed(), positions=body_positions),
    'root relative to its OFFSET': bvh_text(
        Person(WALK.offsets, WALK.root - [0.0, 0.9, 0.0], WALK.turns), root_offset=(0.0, 0.9, 0.0)
    ),
    'root absolute beside its OFFSET': bvh_text(WALK, root_offset=(2.0, 0.9, -3.0)),
    'BOM': '\ufeff' + PLAIN,
    'UTF-16': PLAIN.encode('utf-16'),
    'UTF-16 without a BOM': PLAIN.encode('utf-16-le'),
    'CRLF': PLAIN.replace('\n', '\r\n'),
    'CR': PLAIN.replace('\n', '\r'),
    'decimal commas': PLAIN.replace('.', ','),
    'commas between numbers': PLAIN.split('MOTION')[0]
    + 'MOTION'
    + PLAIN.split('MOTION')[1].replace(' ', ', ').replace('Frames:,', 'Frames:')
    .replace('Frame, Time:,', 'Frame Time:'),
    'one frame fewer than declared': bvh_text(WALK, declared=13),
    'one frame more than declared': bvh_text(WALK, declared=11),
    'brace on the line': PLAIN.replace('\n{', '{').replace('End Site\n', 'End Site '),
    'hierarchy on one line': ' '.join(PLAIN.split('MOTION')[0].split())
    + '\nMOTION'
    + PLAIN.split('MOTION')[1],
    'words in capitals': PLAIN.replace('Xposition', 'XPOSITION').replace('JOINT', 'Joint'),
    'tabs': PLAIN.replace(' ', '\t').replace('End\tSite', 'End Site'),
    'one row over several lines': PLAIN.split('MOTION')[0]
    + 'MOTION'
    + PLAIN.split('MOTION')[1].replace(' 0.000000 ', '\n0.000000\n'),
}  # fmt: skip


@pytest.mark.parametrize('text', WAYS.values(), ids=WAYS)
def test_every_way_of_writing_gives_the_same_person(tmp_path: Path, text: str | bytes) -> None:
    recording = read(tmp_path, text)
    assert error_m(recording) < 1e-3
    assert 'y up, judged by the motion' in recording.source
    assert recording.rate_hz == pytest.approx(30.0, rel=1e-4)


UPS = {
    'y': np.eye(3),
    'z': Rotation.from_euler('x', 90, degrees=True).as_matrix(),
    '-y': Rotation.from_euler('x', 180, degrees=True).as_matrix(),
    '-z': Rotation.from_euler('x', -90, degrees=True).as_matrix(),
    'x': Rotation.from_euler('z', -90, degrees=True).as_matrix(),
}


@pytest.mark.parametrize('up', UPS)
@pytest.mark.parametrize('body', [WALK, along_x(WALK)], ids=['upright at rest', 'along x at rest'])
def test_the_vertical_axis_is_judged_by_the_motion(tmp_path: Path, up: str, body: Person) -> None:
    recording = read(tmp_path, bvh_text(body.turned(UPS[up])))
    assert f'; {up} up, judged by the motion' in recording.source
    poses = recording.persons['0'].astype(float)
    np.testing.assert_allclose(poses[..., 2], TRUTH[..., 2], atol=1e-4)
    # the way about the vertical is the file's own; left stays left
    turn = np.linalg.lstsq(poses.reshape(-1, 3), TRUTH.reshape(-1, 3), rcond=None)[0]
    np.testing.assert_allclose(poses @ turn, TRUTH, atol=1e-3)
    assert np.linalg.det(turn) == pytest.approx(1.0, abs=1e-3)


def lying(frames: int) -> NDArray:
    """Turn somebody who stands into somebody who lies, over the middle third."""
    angle = 90.0 * np.clip((np.arange(frames) - frames / 3) / (frames / 3), 0, 1)
    return Rotation.from_euler('x', angle[:, None], degrees=True).as_matrix()


def falling(frames: int = 90) -> Person:
    person = walking(frames)
    turns = person.turns.copy()
    turn = lying(frames)
    turns[:, 0] = turn @ turns[:, 0]
    root = np.einsum('tij,tj->ti', turn, np.array([0.0, 0.9, 0.0]) + np.zeros((frames, 3)))
    return Person(person.offsets, root, turns)


def test_an_axis_that_the_motion_leaves_open_is_asked_for(tmp_path: Path) -> None:
    text = bvh_text(along_x(falling()))
    with pytest.raises(RecordingError, match=r'which axis points up cannot be judged.*give up'):
        read(tmp_path, text)
    recording = read(tmp_path, text, up='y')
    assert 'y up as given' in recording.source
    assert error_m(recording, falling().truth()) < 1e-4
    upright = read(tmp_path, bvh_text(falling()))  # a body that stands at rest helps
    assert 'y up, judged by the rest pose' in upright.source
    assert error_m(upright, falling().truth()) < 1e-4


@pytest.mark.parametrize('unit,name', [(39.37, 'inch'), (100.0, 'cm'), (1000.0, 'mm'), (1.0, 'm')])
def test_a_child_is_not_doubled(tmp_path: Path, unit: float, name: str) -> None:
    child = WALK.scaled(0.55 / 0.83)
    recording = read(tmp_path, bvh_text(child, unit))
    assert f'(unit {name}, judged by legs of 0.55 m;' in recording.source
    assert error_m(recording, child.truth()) < 1e-4


def test_two_units_that_fit_and_legs_that_are_long_are_said(tmp_path: Path) -> None:
    small = WALK.scaled(0.42 / 0.83)
    recording = read(tmp_path, bvh_text(small, 1 / 0.0254))
    assert 'inch would fit too, with legs of 0.42 m: give units_scale' in recording.source
    given = read(tmp_path, bvh_text(small, 1 / 0.0254), units_scale=0.0254)
    assert error_m(given, small.truth()) < 1e-4
    tall = read(tmp_path, bvh_text(WALK.scaled(1.2 / 0.83), 1.0))
    assert 'legs of 1.20 m, which are long for anybody' in tall.source


def test_the_rate_can_be_given_where_a_file_has_none(tmp_path: Path) -> None:
    text = PLAIN.replace('Frame Time: 0.033333', 'Frame Time: 0.000000')
    with pytest.raises(RecordingError, match=r'Frame Time 0 s .*give the rate'):
        read(tmp_path, text)
    assert read(tmp_path, text, rate_hz=60.0).rate_hz == 60.0
    assert read(tmp_path, PLAIN, rate_hz=60.0).rate_hz == 60.0


def test_a_body_without_a_neck_gets_one_above_the_shoulders(tmp_path: Path) -> None:
    names = [name.replace('Neck', 'Collar') for name in NAMES]
    poses = read(tmp_path, bvh_text(WALK, names=names)).persons['0']
    off_m = np.linalg.norm(poses - TRUTH, axis=-1).max(axis=0)
    assert off_m[JOINT('Thorax')] < 0.03
    others = [joint for joint in range(17) if joint != JOINT('Thorax')]
    assert off_m[others].max() < 1e-4


def test_a_first_pose_of_another_motion_is_left_out_at_any_rate(tmp_path: Path) -> None:
    walk = walking(60, 24.0)
    posed = walk.at([0, *range(60)])
    stretched = posed.turns.copy()
    for side, angle in (('Left', 90), ('Right', -90)):
        turn = Rotation.from_euler('z', angle, degrees=True).as_matrix()
        stretched[0, NAMES.index(f'{side}Arm')] = turn
    recording = read(tmp_path, bvh_text(Person(posed.offsets, posed.root, stretched, 24.0)))
    assert 'first pose left out' in recording.source
    assert error_m(recording, walk.truth()) < 1e-4
    assert 'left out' not in read(tmp_path, bvh_text(walk)).source


def test_what_a_file_lacks_is_said(tmp_path: Path) -> None:
    rows = PLAIN.split('\n')
    rows[-4] = 'nan ' + rows[-4].split(' ', 1)[1]
    rows[-5] = '-1.#IND ' + rows[-5].split(' ', 1)[1]
    recording = read(tmp_path, '\n'.join(rows))
    assert 'frames with numbers missing: 2' in recording.source
    assert np.isnan(recording.persons['0']).all(axis=(1, 2)).sum() == 2
    assert 'on the spot' in read(tmp_path, bvh_text(WALK, root_axes='')).source
    mirrored = [
        name.replace('Left', '#').replace('Right', 'Left').replace('#', 'Right') for name in NAMES
    ]
    source = read(tmp_path, bvh_text(WALK, names=mirrored)).source
    assert 'knees bend backwards: left and right look swapped' in source
    assert 'swapped' not in read(tmp_path, PLAIN).source


def test_a_mapping_file_names_joints_that_no_exporter_does(tmp_path: Path) -> None:
    strange = {name: f'bone{index}' for index, name in enumerate(NAMES)}
    text = json.dumps(MAPPING)
    for name in sorted(strange, key=len, reverse=True):
        text = text.replace(f'"{name}"', f'"{strange[name]}"')
    mapping = tmp_path / 'map.json'
    mapping.write_text(text)
    written = bvh_text(along_x(WALK), names=list(strange.values()))
    with pytest.raises(RecordingError, match=r'no joint found for .*name them in a mapping file'):
        read(tmp_path, written)
    poses = read(tmp_path, written, mapping=str(mapping)).persons['0']
    mapped = [JOINT(name) for name in json.loads(text)['mapping']] + [JOINT('Hip')]
    np.testing.assert_allclose(poses[:, mapped], TRUTH[:, mapped], atol=1e-4)
    assert np.isfinite(poses).all()
    with pytest.raises(RecordingError, match='has no joint bone'):
        read(tmp_path, PLAIN, mapping=str(mapping))
    with pytest.raises(SkeletonError, match='is not known'):
        read(tmp_path, PLAIN, mapping='nonesuch')


def test_a_root_at_the_origin_is_there(tmp_path: Path) -> None:
    person = Person(WALK.offsets.copy(), 0 * WALK.root, WALK.turns)
    person.offsets[1], person.offsets[4] = 0.0, [-0.18, 0.0, 0.0]  # the left hip at the root
    mapping = tmp_path / 'map.json'
    mapping.write_text(json.dumps(MAPPING))
    poses = read(tmp_path, bvh_text(person), mapping=str(mapping)).persons['0']
    assert np.isfinite(poses).all()


BROKEN: dict[str, tuple[Callable[[str], str], str]] = {
    'two roots': (
        lambda text: text.replace(
            'MOTION', text.split('HIERARCHY')[1].split('MOTION')[0] + 'MOTION'
        ),
        'more than one ROOT .*export each on its own',
    ),
    'CHANNELS -2': (lambda text: text.replace('CHANNELS 3', 'CHANNELS -2', 1), 'CHANNELS -2 of'),
    'CHANNELS 99': (lambda text: text.replace('CHANNELS 3', 'CHANNELS 99', 1), 'CHANNELS 99 of'),
    'CHANNELS 2': (lambda text: text.replace('CHANNELS 3', 'CHANNELS 2', 1), 'CHANNELS 2 of'),
    'scales': (lambda text: text.replace('Zrotation', 'Zscale', 1), 'CHANNELS|unexpected'),
    'W rotation': (lambda text: text.replace('Zrotation', 'Wrotation'), "channel 'Wrotation'"),
    'OFFSET of two': (lambda text: text.replace('OFFSET 9.000000', 'OFFSET', 1), 'OFFSET'),
    'OFFSET of NaN': (lambda text: text.replace('OFFSET 9.000000', 'OFFSET nan', 1), 'OFFSET'),
    'a brace more': (lambda text: text.replace('MOTION', '}\nMOTION'), 'braces'),
    'a brace less': (lambda text: text.replace('}\nMOTION', 'MOTION'), 'braces'),
    'no joint': (lambda text: 'HIERARCHY\nMOTION' + text.split('MOTION')[1], 'no joint'),
    'no name': (lambda text: text.replace('JOINT Spine', 'JOINT', 1), 'without a name'),
    'no MOTION': (lambda text: text.split('MOTION')[0], 'no MOTION'),
    'no HIERARCHY': (lambda text: text[4:], 'needs a HIERARCHY'),
    'two frames less': (lambda text: text.rsplit('\n', 3)[0] + '\n', '12 frames of'),
    'half a row': (lambda text: text[:-100], '12 frames of'),
    'frames in words': (lambda text: text.replace('Frames: 12', 'Frames: twelve'), 'twelve'),
    'all NaN': (
        lambda text: '\n'.join(
            'nan ' + row.split(' ', 1)[1] if row[:1] in '-0123456789' and ' ' in row else row
            for row in text.split('\n')
        ),
        'no frame of it',
    ),
}


@pytest.mark.parametrize('change,words', BROKEN.values(), ids=BROKEN)
def test_what_is_no_bvh_of_a_person_is_refused_by_name(
    tmp_path: Path, change: Callable[[str], str], words: str
) -> None:
    with pytest.raises(RecordingError, match=words) as caught:
        read(tmp_path, change(PLAIN))
    assert 'walk.bvh' in str(caught.value)


def test_overrides_that_make_no_sense_are_refused() -> None:
    for given_, words in (
        ({'up': 'w'}, 'must be one of x, y, z, -x, -y, -z'),
        ({'units_scale': -1.0}, 'units_scale=-1'),
        ({'units_scale': float('nan')}, 'units_scale=nan'),
        ({'rate_hz': 0.1}, 'rate_hz=0.1'),
    ):
        with pytest.raises(RecordingError, match=words):
            Overrides(**given_)


def test_long_files_are_read_in_pieces(tmp_path: Path, monkeypatch: Any) -> None:
    whole = read(tmp_path, PLAIN).persons['0']
    monkeypatch.setattr(bvh_file, 'CHUNK_CHARACTERS', 7)
    monkeypatch.setattr(bvh_file, 'CHUNK_JOINTS', 60)
    np.testing.assert_array_equal(read(tmp_path, PLAIN).persons['0'], whole)


def test_joints_of_anything_keep_the_files_names_and_axes(tmp_path: Path) -> None:
    path = tmp_path / 'walk.bvh'
    path.write_text(PLAIN)
    names, places, rate_hz = read_bvh_joints(path, 50.0)
    assert names == [NAMES[index] for index in np.argsort([PLAIN.index(f' {n}\n') for n in NAMES])]
    truth, _ = WALK.places()
    for name, place in zip(names, places.transpose(1, 0, 2)):
        np.testing.assert_allclose(place, 100.0 * truth[:, NAMES.index(name)], atol=1e-3)
    assert rate_hz == 50.0


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.text(max_size=6), st.integers(0, 12))))
def test_damaged_files_are_read_or_refused(tmp_path_factory: Any, changes: list) -> None:
    text = bvh_text(WALK.at(slice(0, 3)))
    for where, put, length in changes:
        at = where % (len(text) + 1)
        text = text[:at] + put + text[at + length :]
    with contextlib.suppress(RecordingError):
        read(tmp_path_factory.mktemp('b'), text.encode(errors='replace'))
