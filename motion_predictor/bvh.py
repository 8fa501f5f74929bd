"""BVH files of one person, or of anything: a hierarchy of joints and a table of channels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
import re

import numpy as np

from motion_predictor.errors import RecordingError
from motion_predictor.recording import Recording
from motion_predictor.skeleton import H36M17

# Names in use, prefix, case and separators removed; the first that the file has is taken.
_BVH_NAMES: dict[str, tuple[str, ...]] = {
    'RHip': ('rightupleg', 'rightthigh', 'righthip', 'rthigh', 'rhip', 'rightupperleg'),
    'RKnee': ('rightleg', 'rightlowleg', 'rightknee', 'rightshin', 'rshin', 'rightlowerleg'),
    'RAnkle': ('rightfoot', 'rightankle', 'rfoot'),
    'LHip': ('leftupleg', 'leftthigh', 'lefthip', 'lthigh', 'lhip', 'leftupperleg'),
    'LKnee': ('leftleg', 'leftlowleg', 'leftknee', 'leftshin', 'lshin', 'leftlowerleg'),
    'LAnkle': ('leftfoot', 'leftankle', 'lfoot'),
    'Thorax': ('neck', 'neck1'),
    'Nose': ('head',),
    'LShoulder': ('leftarm', 'leftuparm', 'leftupperarm', 'lshldr', 'leftshoulder'),
    'LElbow': ('leftforearm', 'leftlowarm', 'leftelbow', 'lforearm', 'leftlowerarm'),
    'LWrist': ('lefthand', 'leftwrist', 'lhand'),
    'RShoulder': ('rightarm', 'rightuparm', 'rightupperarm', 'rshldr', 'rightshoulder'),
    'RElbow': ('rightforearm', 'rightlowarm', 'rightelbow', 'rforearm', 'rightlowerarm'),
    'RWrist': ('righthand', 'rightwrist', 'rhand'),
}
_BVH_UNITS_M = {'m': 1.0, 'cm': 0.01, 'mm': 0.001, 'inch': 0.0254, 'CMU (inch / 0.45)': 0.056444}
_ADULT_LEG_M = 0.85
MAX_JOINT_SPEED_M_S = 20.0
_HEAD_TOP_M = 0.11  # from the top of the neck, where a file has no end of the head


@dataclass(frozen=True)
class _Bvh:
    """A parsed BVH file; joints in file order, end sites among them."""

    joints: list[str]
    parents: list[int]
    offsets: np.ndarray  # (N, 3)
    channels: list[list[str]]
    frame_time_s: float
    values: np.ndarray  # (T, channels)


def read_bvh(path: Path, units_scale: float = 0.0) -> Recording:
    """
    Read a BVH file of one person, with the joint names of CMU, Mixamo, LaFAN or Xsens exports.

    The T-pose that many files begin with is left out where the motion does not start from it.

    :param path: the file.
    :param units_scale: metres per unit; 0 takes the usual unit that gives the likeliest legs.
    :raises RecordingError: naming what is malformed, or which joints could not be found.
    """
    try:
        bvh = _parse_bvh(path.read_text(errors='replace'))
    except OSError as error:
        raise RecordingError(f'{path}: {error.strerror}') from None
    except (ValueError, IndexError) as error:
        raise RecordingError(f'{path}: not a BVH file that can be read: {error}') from None
    found = _find_bvh_joints(path, bvh)
    rest = _bvh_positions(bvh, at_rest=True)[0]
    leg = float(
        np.linalg.norm(rest[found['RKnee']] - rest[found['RHip']])
        + np.linalg.norm(rest[found['RAnkle']] - rest[found['RKnee']])
    )
    unit = f'{units_scale:g} m as given'
    if units_scale <= 0.0:
        unit, units_scale = min(
            _BVH_UNITS_M.items(), key=lambda entry: abs(np.log(entry[1] * leg / _ADULT_LEG_M))
        )
        if not 0.4 <= units_scale * leg <= 1.3:
            raise RecordingError(
                f'{path}: hip to ankle measures {leg:g} units, which is a leg in no usual unit; '
                f'give units_scale, metres per unit'
            )
        unit = f'{unit}, judged by legs of {units_scale * leg:.2f} m'
    up = rest[found['Thorax']] - rest[found['RAnkle']]
    axis = int(np.argmax(np.abs(up)))
    order = [(axis + 1) % 3, (axis + 2) % 3, axis]  # a cyclic change keeps left and right
    places = _bvh_positions(bvh)[..., order] * units_scale
    if up[axis] < 0:
        places = places * np.array([1.0, -1.0, -1.0])
    poses = np.zeros((len(places), H36M17.num_joints, 3))
    for joint, index in found.items():
        poses[:, H36M17.index(joint)] = places[:, index]
    joint_of = H36M17.index
    poses[:, joint_of('Hip')] = (poses[:, joint_of('RHip')] + poses[:, joint_of('LHip')]) / 2
    if 'Spine' not in found:
        hip, thorax = poses[:, joint_of('Hip')], poses[:, joint_of('Thorax')]
        poses[:, joint_of('Spine')] = hip + 0.47 * (thorax - hip)
    if 'Head' not in found:
        nose, thorax = poses[:, joint_of('Nose')], poses[:, joint_of('Thorax')]
        upward = (nose - thorax) / np.maximum(
            np.linalg.norm(nose - thorax, axis=-1, keepdims=True), 1e-9
        )
        poses[:, joint_of('Head')] = nose + _HEAD_TOP_M * upward
    remark = ''
    if len(poses) > 2:
        leap_m = float(np.linalg.norm(poses[1] - poses[0], axis=-1).max())
        if leap_m > MAX_JOINT_SPEED_M_S * bvh.frame_time_s:
            poses, remark = poses[1:], '; first pose left out, far from the second'
    return Recording(
        name=path.stem,
        layout=H36M17.name,
        rate_hz=1.0 / bvh.frame_time_s,
        persons={'0': poses.astype(np.float32)},
        source=f'BVH {path.name} (unit {unit}; {"xyz"[axis]} up{remark})',
    )


def read_bvh_joints(path: Path) -> tuple[list[str], np.ndarray, float]:
    """
    Read the joints of a BVH file of anything, by the file's own names.

    :param path: the file.
    :returns: names, end sites left out; positions in the file's units and axes, ``(T, N, 3)``;
        frames per second.
    :raises RecordingError: naming what is malformed.
    """
    try:
        bvh = _parse_bvh(path.read_text(errors='replace'))
        places = _bvh_positions(bvh)
    except OSError as error:
        raise RecordingError(f'{path}: {error.strerror}') from None
    except (ValueError, IndexError) as error:
        raise RecordingError(f'{path}: not a BVH file that can be read: {error}') from None
    named = [index for index, name in enumerate(bvh.joints) if name]
    return [bvh.joints[index] for index in named], places[:, named], 1.0 / bvh.frame_time_s


def _find_bvh_joints(path: Path, bvh: _Bvh) -> dict[str, int]:
    """Index in the file for each of the 17 joints but Hip; Spine and Head where it has them."""
    plain = {_plain(name): index for index, name in reversed(list(enumerate(bvh.joints)))}
    found: dict[str, int] = {}
    for joint, names in _BVH_NAMES.items():
        for name in names:
            if name in plain and plain[name] not in found.values():
                found[joint] = plain[name]
                break
    missing = [joint for joint in _BVH_NAMES if joint not in found]
    if missing:
        tried = '; '.join(f'{joint} ({", ".join(_BVH_NAMES[joint])})' for joint in missing)
        raise RecordingError(
            f'{path}: no joint found for {tried}; the file has '
            f'{", ".join(name for name in bvh.joints if name)}'
        )
    # the joint nearest the middle of the back, among those between hips and neck
    between = []
    index = bvh.parents[found['Thorax']]
    while index > 0:
        between.append(index)
        index = bvh.parents[index]
    if between:
        rest = _bvh_positions(bvh, at_rest=True)[0]
        hip = (rest[found['RHip']] + rest[found['LHip']]) / 2
        trunk = rest[found['Thorax']] - hip
        share = {i: float((rest[i] - hip) @ trunk / (trunk @ trunk)) for i in between}
        middle = min(between, key=lambda i: abs(share[i] - 0.47))
        if 0.3 <= share[middle] <= 0.65:
            found['Spine'] = middle
    for name in ('headtopend', 'headend', 'headnub'):
        if name in plain:
            found['Head'] = plain[name]
            return found
    ends = [
        i for i, parent in enumerate(bvh.parents) if parent == found['Nose'] and not bvh.joints[i]
    ]
    if ends and np.linalg.norm(bvh.offsets[ends[0]]) > 0:
        found['Head'] = ends[0]
    return found


def _plain(name: str) -> str:
    """Give a joint's name without exporter's prefix, case and separators."""
    name = re.split(r'[:|]', name)[-1].lower()
    name = re.sub(r'^(mixamorig|character|bip0?1|skeleton)\d*[_ ]?', '', name)
    return re.sub(r'[^a-z0-9]', '', name)


def _parse_bvh(text: str) -> _Bvh:
    hierarchy, mark, motion = text.partition('MOTION')
    words = hierarchy.split()
    if not mark or not words or words[0] != 'HIERARCHY':
        raise ValueError('it needs a HIERARCHY and a MOTION part')
    joints: list[str] = []
    parents: list[int] = []
    offsets: list[list[float]] = []
    channels: list[list[str]] = []
    stack: list[int] = []
    position = 1
    while position < len(words):
        word = words[position]
        if word in ('ROOT', 'JOINT', 'End'):
            if word == 'ROOT' and joints:
                raise ValueError('more than one ROOT')
            joints.append('' if word == 'End' else words[position + 1])
            parents.append(stack[-1] if stack else -1)
            offsets.append([0.0, 0.0, 0.0])
            channels.append([])
            position += 2
        elif word == '{':
            stack.append(len(joints) - 1)
            position += 1
        elif word == '}':
            stack.pop()
            position += 1
        elif word == 'OFFSET':
            offsets[stack[-1]] = [float(value) for value in words[position + 1 : position + 4]]
            position += 4
        elif word == 'CHANNELS':
            count = int(words[position + 1])
            channels[stack[-1]] = words[position + 2 : position + 2 + count]
            position += 2 + count
        else:
            raise ValueError(f'unexpected {word!r} in the HIERARCHY')
    header = re.match(r'\s*Frames:\s*(\d+)\s*Frame Time:\s*([0-9.eE+-]+)\s*', motion)
    if header is None:
        raise ValueError('no "Frames:" and "Frame Time:" after MOTION')
    count, frame_time_s = int(header.group(1)), float(header.group(2))
    width = sum(len(names) for names in channels)
    numbers = np.array(motion[header.end() :].split(), np.float64)
    if not 0.001 <= frame_time_s <= 1.0:
        raise ValueError(f'Frame Time {frame_time_s:g} s is not within 0.001..1')
    if count < 1 or numbers.size != count * width:
        raise ValueError(
            f'{count} frames of {width} channels need {count * width} numbers, got {numbers.size}'
        )
    return _Bvh(
        joints, parents, np.array(offsets), channels, frame_time_s, numbers.reshape(count, width)
    )


def _bvh_positions(bvh: _Bvh, at_rest: bool = False) -> np.ndarray:
    """Forward kinematics: positions ``(T, N, 3)`` in file units; at rest, of the bare offsets."""
    count = 1 if at_rest else len(bvh.values)
    places = np.zeros((count, len(bvh.joints), 3))
    turns = np.zeros((count, len(bvh.joints), 3, 3))
    column = 0
    for index, parent in enumerate(bvh.parents):
        local = np.repeat(bvh.offsets[index][None], count, axis=0)
        turn = np.repeat(np.eye(3)[None], count, axis=0)
        moved = False
        for channel in [] if at_rest else bvh.channels[index]:
            values = bvh.values[:, column]
            column += 1
            axis = 'XYZ'.find(channel[:1].upper())
            if axis >= 0 and channel[1:].lower() == 'position':
                if not moved:  # position channels replace the offset
                    local, moved = np.zeros_like(local), True
                local[:, axis] = values
            elif axis >= 0 and channel[1:].lower() == 'rotation':
                turn = turn @ _axis_rotations(axis, np.radians(values))
            else:
                raise ValueError(f'unknown channel {channel!r}')
        if parent < 0:
            places[:, index], turns[:, index] = local, turn
        else:
            places[:, index] = places[:, parent] + np.einsum('tij,tj->ti', turns[:, parent], local)
            turns[:, index] = turns[:, parent] @ turn
    return places


def _axis_rotations(axis: int, angles: np.ndarray) -> np.ndarray:
    """Rotations about one axis, ``(T, 3, 3)``."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    out = np.repeat(np.eye(3)[None], len(angles), axis=0)
    out[:, first, first] = out[:, second, second] = np.cos(angles)
    out[:, second, first] = np.sin(angles)
    out[:, first, second] = -np.sin(angles)
    return out
