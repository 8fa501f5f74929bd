# SPDX-License-Identifier: Apache-2.0
"""A person of few bones, written as the CMU database's ASF and AMC files."""

from __future__ import annotations

from collections.abc import Mapping

UNIT_M = 0.0254 / 0.45

# name, parent, vector in metres (y up, facing z, the left at +x), axis in degrees, dof
BONES = (
    ('lhipjoint', 'root', (0.1, -0.1, 0.0), (0, 0, 0), ''),
    ('lfemur', 'lhipjoint', (0.0, -0.4, 0.0), (0, 0, 20), 'rx ry rz'),
    ('ltibia', 'lfemur', (0.0, -0.4, 0.0), (0, 0, 0), 'rx'),
    ('rhipjoint', 'root', (-0.1, -0.1, 0.0), (0, 0, 0), ''),
    ('rfemur', 'rhipjoint', (0.0, -0.4, 0.0), (0, 0, -20), 'rx ry rz'),
    ('rtibia', 'rfemur', (0.0, -0.4, 0.0), (0, 0, 0), 'rx'),
    ('lowerback', 'root', (0.0, 0.2, 0.0), (0, 0, 0), 'rx ry rz'),
    ('thorax', 'lowerback', (0.0, 0.2, 0.0), (0, 0, 0), 'rx ry rz'),
    ('upperneck', 'thorax', (0.0, 0.2, 0.0), (0, 0, 0), 'rx ry rz'),
    ('head', 'upperneck', (0.0, 0.1, 0.0), (0, 0, 0), 'rx ry rz'),
    ('lclavicle', 'thorax', (0.2, 0.0, 0.0), (0, 0, 0), 'ry rz'),
    ('lhumerus', 'lclavicle', (0.3, 0.0, 0.0), (0, 0, 90), 'rx ry rz'),
    ('lradius', 'lhumerus', (0.25, 0.0, 0.0), (0, 90, 0), 'rx'),
    ('rclavicle', 'thorax', (-0.2, 0.0, 0.0), (0, 0, 0), 'ry rz'),
    ('rhumerus', 'rclavicle', (-0.3, 0.0, 0.0), (0, 0, -90), 'rx ry rz'),
    ('rradius', 'rhumerus', (-0.25, 0.0, 0.0), (0, 90, 0), 'rx'),
)
REST = {
    'Hip': (0, 0.9, 0), 'RHip': (-0.1, 0.9, 0), 'RKnee': (-0.1, 0.5, 0), 'RAnkle': (-0.1, 0.1, 0),
    'LHip': (0.1, 0.9, 0), 'LKnee': (0.1, 0.5, 0), 'LAnkle': (0.1, 0.1, 0), 'Spine': (0, 1.2, 0),
    'Thorax': (0, 1.4, 0), 'Nose': (0, 1.6, 0), 'Head': (0, 1.7, 0), 'LShoulder': (0.2, 1.4, 0),
    'LElbow': (0.5, 1.4, 0), 'LWrist': (0.75, 1.4, 0), 'RShoulder': (-0.2, 1.4, 0),
    'RElbow': (-0.5, 1.4, 0), 'RWrist': (-0.75, 1.4, 0),
}  # fmt: skip
"""The joints of the person at rest with the root at (0, 1, 0), metres, y up."""


def asf_text(length: float = 0.45) -> str:
    """Return the body's ASF file, whose ``length`` of the units is given."""
    lines = [
        '# a body of few bones',
        ':version 1.10',
        ':name few',
        ':units',
        f'  mass 1.0\n  length {length}\n  angle deg',
        ':documentation\n  written by hand',
        ':root',
        '  order TX TY TZ RX RY RZ\n  axis XYZ\n  position 0 0 0\n  orientation 0 0 0',
        ':bonedata',
    ]
    for number, (name, _, vector, axis, dof) in enumerate(BONES, 1):
        size = sum(value**2 for value in vector) ** 0.5
        direction = ' '.join(f'{value / size:.9f}' for value in vector)
        lines += ['  begin', f'    id {number}', f'    name {name}', f'    direction {direction}']
        lines += [f'    length {size * length / 0.0254:.9f}', f'    axis {axis[0]} {axis[1]} '
                  f'{axis[2]}  XYZ']  # fmt: skip
        if dof:
            lines += [f'    dof {dof}', '    limits (-180.0 180.0)']
            lines += ['           (-180.0 180.0)'] * (len(dof.split()) - 1)
        lines += ['  end']
    lines += [':hierarchy', '  begin']
    for parent in dict.fromkeys(parent for _, parent, _, _, _ in BONES):
        children = ' '.join(name for name, above, _, _, _ in BONES if above == parent)
        lines.append(f'    {parent} {children}')
    return '\n'.join([*lines, '  end', ''])


def amc_text(*frames: Mapping[str, tuple[float, ...]], length: float = 0.45) -> str:
    """
    Return an AMC file.

    :param frames: the values of bones in each frame, degrees, and of the root first its place in
        metres; whatever is not given is 0, and the root at (0, 1, 0).
    :param length: the ``length`` of the body's units.
    """
    lines = ['#!OML:ASF few.asf', ':FULLY-SPECIFIED', ':DEGREES']
    for number, given in enumerate(frames, 1):
        root = given.get('root', (0.0, 1.0, 0.0, 0.0, 0.0, 0.0))
        place = [f'{value * length / 0.0254:.9f}' for value in root[:3]]
        lines += [str(number), ' '.join(['root', *place, *(f'{value:g}' for value in root[3:])])]
        for name, _, _, _, dof in BONES:
            if dof:
                values = given.get(name, (0.0,) * len(dof.split()))
                lines.append(' '.join([name, *(f'{value:g}' for value in values)]))
    return '\n'.join([*lines, ''])
