# SPDX-License-Identifier: Apache-2.0
"""Every tracker's joints become the model's, at the right place and side."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from tracker_people import source_pose

from motion_predictor.body.geometry import torso_frame
from motion_predictor.body.layout import HEAD_TOP_M, Layout
from motion_predictor.body.layout_file import layout, read_layout
from motion_predictor.body.layout_table import LAYOUTS
from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import ShapeError, SkeletonError
from motion_predictor.recordings.walker import synthetic_walkers

# Somebody who stands at the origin and faces +x: left is +y. Places of joints by what they are
# called, without their side; the left ones have y > 0.
PLACES = {
    'hip': (0.0, 0.1, 0.9), 'knee': (0.02, 0.11, 0.5), 'ankle': (0.0, 0.12, 0.1),
    'shoulder': (0.0, 0.18, 1.335), 'elbow': (-0.02, 0.2, 1.1), 'wrist': (0.1, 0.22, 0.9),
    'ear': (0.03, 0.07, 1.57), 'eye': (0.1, 0.03, 1.6), 'collar': (0.0, 0.0, 1.41),
    'clavicle': (0.0, 0.05, 1.39),
}  # fmt: skip
MIDDLE = {
    'pelvis': (0.0, 0.0, 0.95), 'body': (0.0, 0.0, 0.9), 'mid_hip': (0.0, 0.0, 0.9),
    'neck': (0.0, 0.0, 1.41), 'torso_hri': (0.0, 0.0, 1.335), 'nose': (0.11, 0.0, 1.56),
    'head': (0.02, 0.0, 1.57), 'p_head': (0.01, 0.0, 1.5),
    'spine_navel': (0.0, 0.0, 1.13), 'spine_2': (0.0, 0.0, 1.14), 'spine2': (0.0, 0.0, 1.14),
    'l3': (0.0, 0.0, 1.13), 'torso': (0.0, 0.0, 1.14),
}  # fmt: skip
SEGMENTS = {
    'upper_leg': 'hip', 'lower_leg': 'knee', 'foot': 'ankle', 'upper_arm': 'shoulder',
    'forearm': 'elbow', 'hand': 'wrist',
}  # fmt: skip
LIMBS = [side + limb for side in 'LR' for limb in
         ('Hip', 'Knee', 'Ankle', 'Shoulder', 'Elbow', 'Wrist')]  # fmt: skip
MODEL_PLACES = {
    'Hip': (0.0, 0.0, 0.9), 'Spine': (0.0, 0.0, 1.14), 'Thorax': (0.0, 0.0, 1.41),
    'Nose': (0.06, 0.0, 1.54), 'Head': (0.05, 0.0, 1.67),
}  # fmt: skip


def place_of(joint: str, xsens: bool, hri: bool) -> tuple[float, float, float]:
    """Say where a source joint is on the standing person; somewhere odd if it must not matter."""
    words = joint.split('_')
    side = next((s for word in words for s in ('left', 'right', 'l', 'r') if word == s), '')
    rest = '_'.join(word for word in words if word not in ('left', 'right', 'l', 'r'))
    if hri and rest == 'torso':
        return MIDDLE['torso_hri']
    if rest in MIDDLE and not side:
        return MIDDLE[rest]
    if xsens:
        rest = SEGMENTS.get(rest, 'elsewhere')
    if rest in PLACES and side:
        x, y, z = PLACES[rest]
        return (x, y if side.startswith('l') else -y, z)
    return (0.3, 0.4, 2.5)


def standing(source: Layout) -> np.ndarray:
    """Pose (J_src, 3) of the standing person as that publisher would send it."""
    if source.name == 'h36m17':
        return expected_pose()
    return np.array([
        place_of(joint, source.name == 'xsens23', source.name == 'hri')
        for joint in source.joints
    ])  # fmt: skip


def expected_pose() -> np.ndarray:
    """Return the same in the model's joints."""

    def of(joint: str) -> tuple[float, float, float]:
        if joint in MODEL_PLACES:
            return MODEL_PLACES[joint]
        x, y, z = PLACES[joint[1:].lower()]
        return (x, y if joint[0] == 'L' else -y, z)

    return np.array([of(joint) for joint in H36M17.joints])


@pytest.mark.parametrize('name', LAYOUTS)
def test_a_standing_person_arrives_joint_by_joint(name: str) -> None:
    xyz, valid = LAYOUTS[name].to_model(standing(LAYOUTS[name]))
    assert valid.all()
    apart = np.linalg.norm(xyz - expected_pose(), axis=-1)
    limits = dict.fromkeys(H36M17.joints, 1e-9) | {'Spine': 0.02, 'Thorax': 0.01}
    limits |= {'Nose': 0.08, 'Head': 0.05}
    for joint, distance in zip(H36M17.joints, apart):
        assert distance <= limits[joint], f'{joint} is {distance:.3f} m off'


@pytest.mark.parametrize('name', LAYOUTS)
def test_turning_and_moving_the_person_turns_and_moves_the_joints(name: str) -> None:
    source = LAYOUTS[name]
    angle, shift = 2.1, np.array([3.0, -7.0, 0.4])
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0],
                     [0, 0, 1]])  # fmt: skip
    straight, _ = source.to_model(standing(source))
    turned, valid = source.to_model(standing(source) @ turn.T + shift)
    assert valid.all()
    np.testing.assert_allclose(turned, straight @ turn.T + shift, atol=1e-9)


@pytest.mark.parametrize('name', LAYOUTS)
def test_leading_axes_are_kept(name: str) -> None:
    source = LAYOUTS[name]
    one, _ = source.to_model(standing(source))
    many, valid = source.to_model(np.broadcast_to(standing(source), (2, 3, source.num_joints, 3)))
    assert many.shape == (2, 3, 17, 3)
    assert valid.shape == (2, 3, 17)
    np.testing.assert_allclose(many, np.broadcast_to(one, many.shape))


@pytest.mark.parametrize('name', LAYOUTS)
def test_a_walking_person_keeps_human_proportions(name: str) -> None:
    source = LAYOUTS[name]
    (walk,) = synthetic_walkers(1).persons.values()
    walk = walk[::7]
    xyz, valid = source.to_model(np.stack([source_pose(source, pose) for pose in walk]))
    assert valid.all()
    at = dict(zip(H36M17.joints, np.moveaxis(xyz, 1, 0)))
    for joint in LIMBS:
        np.testing.assert_allclose(at[joint], walk[:, H36M17.index(joint)], atol=1e-9)
    np.testing.assert_allclose(at['Hip'], (at['RHip'] + at['LHip']) / 2, atol=0.02)
    trunk = np.linalg.norm(at['Thorax'] - at['Hip'], axis=-1)
    share = ((at['Spine'] - at['Hip']) * (at['Thorax'] - at['Hip'])).sum(-1) / trunk**2
    assert (abs(share - 0.47) < 0.12).all(), 'the spine is near the middle of the trunk'
    for joint, low, high in (('Head', 0.4, 0.65), ('Nose', 0.2, 0.55)):
        from_thorax = np.linalg.norm(at[joint] - at['Thorax'], axis=-1) / trunk
        assert (from_thorax > low).all(), joint
        assert (from_thorax < high).all(), joint
    axes, _, framed = torso_frame(xyz, valid)
    assert framed.all()
    ahead = ((at['Nose'] - at['Thorax']) * axes[..., 0]).sum(-1)
    assert (ahead > -0.03).all(), 'a nose does not look back'


def test_shoulders_alone_give_the_neck_spine_and_head_as_documented() -> None:
    for name in ('coco17', 'mediapipe33'):
        source = LAYOUTS[name]
        xyz, _ = source.to_model(standing(source))
        at = dict(zip(H36M17.joints, xyz))
        middle = (at['LShoulder'] + at['RShoulder']) / 2
        np.testing.assert_allclose(at['Thorax'], middle + [0.0, 0.0, 0.075], atol=1e-9)
        np.testing.assert_allclose(at['Spine'], at['Hip'] + 0.47 * (at['Thorax'] - at['Hip']))
        ears = np.mean([standing(source)[source.index(ear)] for ear in ('ear_l', 'ear_r')], axis=0)
        head, towards = at['Head'] - at['Thorax'], ears - at['Thorax']
        assert head @ towards == pytest.approx(np.linalg.norm(head) * np.linalg.norm(towards))
        scale = np.linalg.norm(at['Thorax'] - at['Hip']) / 0.478
        assert np.linalg.norm(head) == pytest.approx(HEAD_TOP_M * scale)


@pytest.mark.parametrize('name', ['coco18', 'zed18', 'body25', 'coco17', 'k4a32', 'zed38'])
def test_eyes_and_ears_of_the_other_side_change_nothing(name: str) -> None:
    # ROS4HRI numbers them left to right where OpenPose has right to left.
    source = LAYOUTS[name]
    pose = standing(source)
    swapped = pose.copy()
    for part in ('eye', 'ear'):
        sides = [source.index(f'{part}_l'), source.index(f'{part}_r')]
        swapped[sides] = pose[sides[::-1]]
    np.testing.assert_allclose(source.to_model(swapped)[0], source.to_model(pose)[0], atol=1e-12)


def test_published_orders_have_their_landmarks_at_the_documented_indices() -> None:
    documented = {
        'k4a32': {'nose': 27, 'hip_l': 18, 'hip_r': 22, 'wrist_r': 14, 'ear_r': 31},
        'zed34': {'nose': 27, 'heel_r': 33, 'ankle_r': 24},
        'zed38': {'hip_l': 18, 'hip_r': 19, 'ankle_r': 23, 'wrist_l': 16, 'neck': 4, 'heel_l': 28},
        'zed18': {'hip_r': 8, 'wrist_l': 7, 'ear_l': 17},
        'coco17': {'shoulder_l': 5, 'ankle_r': 16, 'ear_r': 4},
        'coco18': {'neck': 1, 'eye_r': 14, 'ankle_l': 13},
        'body25': {'mid_hip': 8, 'hip_r': 9, 'ankle_l': 14, 'ear_l': 18, 'heel_r': 24},
        'mediapipe33': {'shoulder_l': 11, 'hip_r': 24, 'ankle_r': 28, 'foot_r': 32},
        'smpl22': {'hip_l': 1, 'neck': 12, 'wrist_r': 21, 'shoulder_l': 16},
        'nuitrack': {'head': 1, 'collar_l': 5, 'wrist_r': 14, 'hip_l': 17, 'ankle_r': 23},
        'openptrack15': {'head': 0, 'hip_r': 8, 'ankle_l': 13, 'chest': 14},
        'xsens23': {'l3': 2, 'right_upper_arm': 8, 'right_upper_leg': 15, 'left_toe': 22},
    }
    for name, landmarks in documented.items():
        for joint, index in landmarks.items():
            assert LAYOUTS[name].index(joint) == index, (name, joint)


def test_the_torso_faces_ahead_of_a_person_who_faces_x() -> None:
    axes, scale, framed = torso_frame(expected_pose(), np.ones(17, dtype=bool))
    assert framed
    np.testing.assert_allclose(axes, np.eye(3), atol=1e-12)  # ahead +x, left +y, up +z
    assert scale == pytest.approx(0.51 / 0.478)


def test_the_models_own_layout_changes_nothing() -> None:
    pose = np.random.default_rng(0).normal(size=(5, 17, 3))
    xyz, valid = layout('h36m17').to_model(pose)
    np.testing.assert_array_equal(xyz, pose)
    assert valid.all()


@pytest.mark.parametrize('bad', [(np.nan, 0.1, 1.0), (0.0, 0.0, 0.0), (np.inf, 0.0, 0.0)])
def test_a_bad_joint_takes_what_is_made_of_it_along_and_nothing_else(bad: tuple) -> None:
    source = layout('k4a32')
    pose = standing(source)
    pose[source.index('hip_l')] = bad
    xyz, valid = source.to_model(pose)
    missing = {joint for joint, seen in zip(H36M17.joints, valid) if not seen}
    assert missing == {'Hip', 'LHip', 'Head'}  # the head's length is scaled by the torso's
    assert np.isfinite(xyz).all()


def test_a_joint_marked_as_not_seen_is_not_used() -> None:
    source = layout('coco17')
    seen = np.ones(17, dtype=bool)
    seen[source.index('ear_l')] = False
    _, valid = source.to_model(standing(source), seen)
    assert [joint for joint, there in zip(H36M17.joints, valid) if not there] == ['Head']


def test_a_hip_at_the_camera_does_not_pull_the_middle_there() -> None:
    source = layout('coco17')
    pose = standing(source) + np.array([3.0, 0.0, 0.0])
    pose[source.index('hip_r')] = (0.1, 0.0, 1.2)
    _, valid = source.to_model(pose)
    assert not valid[H36M17.index('Hip')]
    assert valid[H36M17.index('LHip')]


def test_without_ears_or_nose_the_head_follows_the_spine() -> None:
    plain = {joint: joint for joint in H36M17.joints if joint not in ('Nose', 'Head', 'Spine')}
    source = Layout('headless', tuple(plain.values()), plain)
    pose = expected_pose()[[H36M17.index(joint) for joint in source.joints]]
    xyz, valid = source.to_model(pose)
    assert valid.all()
    head = xyz[H36M17.index('Head')] - xyz[H36M17.index('Thorax')]
    np.testing.assert_allclose(head, (0.0, 0.0, HEAD_TOP_M * 0.51 / 0.478), atol=1e-9)
    assert xyz[H36M17.index('Nose'), 0] > 0.01  # ahead


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(st.data())
def test_nothing_that_a_tracker_sends_gives_nan(data: st.DataObject) -> None:
    source = LAYOUTS[data.draw(st.sampled_from(sorted(LAYOUTS)))]
    numbers = st.one_of(st.floats(width=32), st.just(0.0), st.floats(-3, 3), st.just(float('nan')))
    values = data.draw(
        st.lists(numbers, min_size=3 * source.num_joints, max_size=3 * source.num_joints)
    )
    xyz, valid = source.to_model(np.array(values).reshape(-1, 3))
    assert np.isfinite(xyz).all()
    assert (xyz[~valid] == 0.0).all()


def test_another_number_of_joints_is_refused() -> None:
    with pytest.raises(ShapeError, match=r'\(\.\.\., 32, 3\) for layout k4a32, got \(17, 3\)'):
        layout('k4a32').to_model(np.zeros((17, 3)))
    with pytest.raises(ShapeError, match='seen'):
        layout('h36m17').to_model(np.ones((17, 3)), np.ones(16, dtype=bool))


def test_an_unknown_name_is_answered_with_the_closest() -> None:
    with pytest.raises(SkeletonError, match="did you mean 'mediapipe33'"):
        layout('mediapipe')
    with pytest.raises(SkeletonError, match='mapping file'):
        layout('spider')


def custom(**changes: object) -> dict:
    """Contents of a mapping file that works, with changes."""
    content = {
        'name': 'rigs',
        'joints': [*standing_names(), 'skull'],
        'mapping': {joint: joint.lower() for joint in H36M17.joints if joint not in
                    ('Hip', 'Spine', 'Nose', 'Head')},
        'head_towards': ['skull'],
    }  # fmt: skip
    return {**content, **changes}


def standing_names() -> list[str]:
    """Names of the custom publisher's joints but the skull."""
    return [j.lower() for j in H36M17.joints if j not in ('Hip', 'Spine', 'Nose', 'Head')]


@pytest.mark.parametrize('suffix', ['.json', '.yaml', '.yml'])
def test_a_mapping_file_describes_a_skeleton_of_ones_own(tmp_path, suffix: str) -> None:
    path = tmp_path / f'rigs{suffix}'
    path.write_text(json.dumps(custom()))  # JSON is YAML too
    source = layout(str(path))
    assert source.name == 'rigs'
    assert source.num_joints == 14
    names = [*standing_names(), 'skull']
    everything = dict(zip((j.lower() for j in H36M17.joints), expected_pose()))
    everything['skull'] = np.array([0.02, 0.0, 1.55])
    xyz, valid = source.to_model(np.array([everything[name] for name in names]))
    assert valid.all()
    np.testing.assert_allclose(xyz[0], (0.0, 0.0, 0.9), atol=1e-9)


@pytest.mark.parametrize(
    'changes,message',
    [
        ({'joint': []}, "unknown key 'joint'; did you mean 'joints'"),
        ({'joints': 'all'}, 'joints must be a list'),
        ({'joints': ['rhip', 'rhip']}, 'all of them different'),
        ({'mapping': []}, 'mapping must hold named values'),
        ({'mapping': {'RHip': 'rhip'}}, 'mapping lacks RKnee'),
        ({'mapping': {'RHip': 3}}, "mapping of 'RHip' is 3"),
        ({'mapping': {'Tail': 'rhip'}}, r"names \['Tail'\], which the model does not have"),
        ({'head_towards': ['scull']}, "did you mean 'skull'"),
        ({'thorax_rise_m': 'high'}, 'must be a number'),
        ({'thorax_rise_m': 75}, r'must lie in 0\.\.0\.3'),
    ],
)
def test_a_wrong_mapping_file_is_refused_with_what_is_wrong(tmp_path, changes, message) -> None:
    path = tmp_path / 'rigs.json'
    path.write_text(json.dumps(custom(**changes)))
    with pytest.raises(SkeletonError, match=message):
        read_layout(path)


def test_weights_that_do_not_sum_to_one_are_refused(tmp_path) -> None:
    path = tmp_path / 'rigs.json'
    mapping = {**custom()['mapping'], 'Thorax': {'rhip': 0.5, 'lhip': 0.4}}
    path.write_text(json.dumps(custom(mapping=mapping)))
    with pytest.raises(SkeletonError, match=r'weights of Thorax .* sum to 1'):
        read_layout(path)


@pytest.mark.parametrize('text', ['{', '[]', '{"joints": []}', '\x00'])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text: str) -> None:
    path = tmp_path / 'broken.json'
    path.write_text(text)
    with pytest.raises(SkeletonError, match=r'broken\.json'):
        read_layout(path)


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(SkeletonError, match=r'absent\.yaml: no such file'):
        layout(tmp_path / 'absent.yaml')
