# SPDX-License-Identifier: Apache-2.0
"""Draw every tracker's skeleton and the model's joints that are made of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
import sys
from xml.sax.saxutils import escape

import numpy as np

from motion_predictor.body.layout import (
    HEAD_TOP_M,
    Layout,
    NOSE_AHEAD_M,
    NOSE_UP_M,
    SPINE_FRACTION,
)
from motion_predictor.body.layout_table import LAYOUTS
from motion_predictor.body.skeleton import H36M17

FOLDER = Path(__file__).resolve().parents[2] / 'docs' / 'guide' / 'trackers'
WIDTH, HEIGHT = 860, 430
SCALE = 205.0
"""Pixels per metre."""
LEFT_X, RIGHT_X, TEXT_X = 150, 420, 560
FLOOR_Y = 395
USED, UNUSED, DERIVED, BONE = '#0b62a4', '#a0a7ad', '#c85a00', '#5f6b75'

Place = tuple[float, float, float]

# A person who stands and faces +x: +y is the left. The key is a joint's name without its side.
SIDED: Mapping[str, Place] = {
    'hip': (0.0, 0.10, 0.92), 'knee': (0.02, 0.12, 0.50), 'ankle': (0.0, 0.13, 0.10),
    'foot': (0.15, 0.19, 0.03), 'big_toe': (0.2, 0.15, 0.02), 'small_toe': (0.17, 0.23, 0.02),
    'heel': (-0.06, 0.07, 0.03),
    'shoulder': (0.0, 0.19, 1.36), 'elbow': (0.0, 0.36, 1.13), 'wrist': (0.05, 0.50, 0.92),
    'hand': (0.06, 0.54, 0.85), 'handtip': (0.07, 0.59, 0.76), 'fingertip': (0.07, 0.59, 0.76),
    'thumb': (0.1, 0.46, 0.82), 'index': (0.07, 0.50, 0.74), 'middle': (0.07, 0.57, 0.76),
    'pinky': (0.07, 0.62, 0.83),
    'collar': (0.0, 0.06, 1.41), 'clavicle': (0.0, 0.06, 1.40),
    'ear': (0.03, 0.15, 1.62), 'eye': (0.09, 0.065, 1.665), 'eye_inner': (0.1, 0.035, 1.655),
    'eye_outer': (0.08, 0.105, 1.665), 'mouth': (0.1, 0.045, 1.545),
}  # fmt: skip
MIDDLE: Mapping[str, Place] = {
    'pelvis': (0.0, 0.0, 0.97), 'body': (0.0, 0.0, 0.92), 'mid_hip': (0.0, 0.0, 0.92),
    'waist': (0.0, 0.0, 1.0), 'spine_navel': (0.0, 0.0, 1.12), 'spine_chest': (0.0, 0.0, 1.26),
    'spine_1': (0.0, 0.0, 1.04), 'spine_2': (0.0, 0.0, 1.15), 'spine_3': (0.0, 0.0, 1.27),
    'spine1': (0.0, 0.0, 1.04), 'spine2': (0.0, 0.0, 1.15), 'spine3': (0.0, 0.0, 1.27),
    'torso': (0.0, 0.0, 1.15), 'chest': (0.0, 0.0, 1.22),
    'l5': (0.0, 0.0, 1.03), 'l3': (0.0, 0.0, 1.11), 't12': (0.0, 0.0, 1.19),
    't8': (0.0, 0.0, 1.28), 'neck': (0.0, 0.0, 1.44), 'p_head': (0.0, 0.0, 1.50),
    'head': (0.03, 0.0, 1.62), 'nose': (0.12, 0.0, 1.60), 'none': (0.0, -0.55, 0.05),
}  # fmt: skip
HRI_TORSO: Place = (0.0, 0.0, 1.36)
SEGMENTS: Mapping[str, str] = {
    'shoulder': 'clavicle', 'upper_arm': 'shoulder', 'forearm': 'elbow', 'hand': 'wrist',
    'upper_leg': 'hip', 'lower_leg': 'knee', 'foot': 'ankle', 'toe': 'foot',
}  # fmt: skip
MODEL: Mapping[str, Place] = {
    'Hip': (0.0, 0.0, 0.92), 'Spine': (0.0, 0.0, 1.15), 'Thorax': (0.0, 0.0, 1.44),
    'Nose': (0.12, 0.0, 1.60), 'Head': (0.03, 0.0, 1.72),
}  # fmt: skip


def place_of(source: Layout, joint: str) -> Place:
    """
    Return the position of a layout's joint on the drawn person.

    :raises KeyError: if no position is known for such a joint.
    """
    if source.name == 'h36m17':
        x, y, z = MODEL[joint] if joint in MODEL else SIDED[joint[1:].lower()]
        return x, -y if joint[0] == 'R' and joint not in MODEL else y, z
    if source.name == 'hri' and joint == 'torso':
        return HRI_TORSO
    if joint in MIDDLE:
        return MIDDLE[joint]
    words = joint.split('_')
    sides = {'l': 1.0, 'left': 1.0, 'r': -1.0, 'right': -1.0}
    side = next(sides[word] for word in words if word in sides)
    rest = '_'.join(word for word in words if word not in sides)
    if source.name == 'xsens23':
        rest = SEGMENTS[rest]
    x, y, z = SIDED[rest]
    return x, side * y, z


def origin_of(source: Layout, joint: str) -> tuple[str, bool]:
    """Return the source joints of a joint of the model, and whether it is derived."""

    def named(part: str) -> str:
        return f'{source.index(part)} {part}'

    mapped = source.mapping.get(joint)
    if mapped is None:
        return _derived(source, joint, named), True
    if isinstance(mapped, str):
        text, derived = named(mapped), False
    elif len(set(mapped.values())) == 1:
        text = 'middle of ' + ', '.join(str(source.index(part)) for part in mapped)
        derived = True
    else:
        parts = (f'{weight:g} of {named(part)}' for part, weight in mapped.items())
        text, derived = ' + '.join(parts), True
    if joint == 'Thorax' and source.thorax_rise_m:
        return f'{text}, {1e3 * source.thorax_rise_m:.0f} mm up', True
    if joint == 'Nose' and source.nose_ahead_m:
        return f'{text}, {1e3 * source.nose_ahead_m:.0f} mm ahead', True
    return text, derived


def _derived(source: Layout, joint: str, named: object) -> str:
    if joint == 'Hip':
        return 'middle of RHip, LHip'
    if joint == 'Spine':
        return f'{SPINE_FRACTION:.0%} of the way from Hip to Thorax'
    if joint == 'Nose':
        return f'{1e3 * NOSE_UP_M:.0f} mm up from Thorax, {1e3 * NOSE_AHEAD_M:.0f} mm ahead'
    towards = ', '.join(str(source.index(part)) for part in source.head_towards) or 'up the spine'
    return f'{1e3 * HEAD_TOP_M:.0f} mm from Thorax towards {towards}'


def draw(source: Layout) -> str:
    """Return the drawing of one layout: the tracker's joints, the model's, and their relation."""
    places = np.array([place_of(source, joint) for joint in source.joints])
    model, known = source.to_model(places)
    assert known.all(), f'{source.name}: {known}'
    used = set(source.used.tolist())
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(LEFT_X, 22, f'{source.name}: {source.num_joints} joints', '#111111', 'middle', 14),
        _text(RIGHT_X, 22, 'the model: 17', '#111111', 'middle', 14),
        _text(LEFT_X - 105, 50, 'right', UNUSED, 'middle'),
        _text(LEFT_X + 105, 50, 'left', UNUSED, 'middle'),
        *_bones(source, places),
    ]
    for index, place in enumerate(places):
        x, y = _at(place, LEFT_X)
        colour = USED if index in used else UNUSED
        lines.append(f'<circle cx="{x}" cy="{y}" r="3.2" fill="{colour}"/>')
        lines.append(_number(index, x, y, place, colour))
    for child, parent in enumerate(H36M17.parents):
        if parent >= 0:
            lines.append(_line(_at(model[child], RIGHT_X), _at(model[parent], RIGHT_X)))
    for index, joint in enumerate(H36M17.joints):
        text, derived = origin_of(source, joint)
        colour = DERIVED if derived else USED
        x, y = _at(model[index], RIGHT_X)
        lines.append(f'<circle cx="{x}" cy="{y}" r="3.6" fill="{colour}"/>')
        lines.append(_number(index, x, y, model[index], colour))
        row = 60 + 20 * index
        lines.append(_text(TEXT_X, row, f'{index} {joint}', '#111111'))
        lines.append(_text(TEXT_X + 82, row, text, colour))
    lines += [
        _text(TEXT_X, HEIGHT - 16, 'blue: as the tracker has it', USED),
        _text(TEXT_X + 150, HEIGHT - 16, 'orange: derived', DERIVED),
        '</svg>',
    ]
    return '\n'.join(lines) + '\n'


def _number(index: int, x: float, y: float, place: np.ndarray, colour: str) -> str:
    if place[2] < 0.06 or (abs(place[1]) < 0.01 and 0.9 < place[2] < 0.95):
        return _text(x, y + 13, str(index), colour, 'middle', 9)
    if place[1] < -0.01:
        return _text(x - 6, y + 3, str(index), colour, 'end', 9)
    return _text(x + 6, y + 3, str(index), colour, 'start', 9)


def _bones(source: Layout, places: np.ndarray) -> Iterator[str]:
    single = {
        joint: source.index(part)
        for joint, part in source.mapping.items()
        if isinstance(part, str)
    }
    for child, parent in enumerate(H36M17.parents):
        ends = [H36M17.joints[child], H36M17.joints[parent]]
        if parent >= 0 and all(end in single for end in ends):
            first, second = (_at(places[single[end]], LEFT_X) for end in ends)
            yield _line(first, second)


def _at(place: np.ndarray, middle: float) -> tuple[float, float]:
    # Seen from the front: the person's left is on the right.
    return round(middle + SCALE * float(place[1]), 1), round(FLOOR_Y - SCALE * float(place[2]), 1)


def _line(first: tuple[float, float], second: tuple[float, float]) -> str:
    return (
        f'<line x1="{first[0]}" y1="{first[1]}" x2="{second[0]}" y2="{second[1]}" '
        f'stroke="{BONE}" stroke-width="1.4"/>'
    )


def _text(
    x: float, y: float, text: str, colour: str, anchor: str = 'start', size: int = 11
) -> str:
    return (
        f'<text x="{round(x, 1)}" y="{round(y, 1)}" fill="{colour}" text-anchor="{anchor}" '
        f'font-size="{size}">{escape(text)}</text>'
    )


def main() -> int:
    """Write the drawings; with --check only report whether they are up to date."""
    check = '--check' in sys.argv[1:]
    stale = []
    for name, source in LAYOUTS.items():
        path, drawing = FOLDER / f'{name}.svg', draw(source)
        if not path.exists() or path.read_text() != drawing:
            stale.append(name)
            if not check:
                FOLDER.mkdir(parents=True, exist_ok=True)
                path.write_text(drawing)
    if check and stale:
        print(f'not up to date: {", ".join(stale)}; run python -m tools.site.draw_layouts')
    return int(check and bool(stale))


if __name__ == '__main__':
    sys.exit(main())
