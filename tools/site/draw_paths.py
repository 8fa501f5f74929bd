# SPDX-License-Identifier: Apache-2.0
"""Draw the ways of the data, of a message to the robot and of a clip to weights, as one picture.

python -m tools.site.draw_paths  # --check
"""

from __future__ import annotations

from pathlib import Path
import sys
from xml.sax.saxutils import escape

PICTURE = Path(__file__).resolve().parents[2] / 'docs' / 'images' / 'paths.svg'
WIDTH, HEIGHT = 900, 330
BOX_W, BOX_H = 128, 58
INK, SOFT, NODE, WORK = '#1a2230', '#5d6979', '#0f9a94', '#e8590c'

MESSAGE = (
    ('tracker', ('any of the pages', 'of trackers')),
    ('ros/intake', ('inbox, TF,', 'sources/ decode')),
    ('track', ('who is who,', 'windows of .5 s')),
    ('predict', ('memory, gate;', 'calls model/')),
    ('ros/publish', ('clouds, poses,', 'moments, markers')),
    ('ros/consumers', ('Nav2, MoveIt 2,', 'ros2_control, SSM')),
)
"""A message's way: a room or what lies outside, and what it does, on two lines."""
CLIP = (
    ('recordings', ('BVH, AMC, npz,', 'rosbag2')),
    ('training/data', ('stores of clips,', 'random windows')),
    ('training/stages', ('teacher, one step,', 'SwiftDiff, mixture')),
    ('training/judge', ('errors, radii,', 'temperature, gate')),
    ('resource/weights', ('.safetensors', 'and a card')),
)
"""A clip's way; the last step is loaded by ``predict``."""
OUTSIDE = ('tracker',)
"""Steps that are no folder of this repository."""


def draw() -> str:
    """Return the picture, SVG."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="sans-serif" font-size="12">',
        '<title>The ways of a message and of a clip</title>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
        f'<path d="M0,0 L8,4 L0,8 z" fill="{SOFT}"/></marker></defs>',
    ]
    left, step = 12, BOX_W + 20
    node = left + step - 9
    lines.append(
        f'<rect x="{node}" y="38" width="{4 * step - 2}" height="106" rx="12" fill="none" '
        f'stroke="{NODE}" stroke-dasharray="5 4"/>'
    )
    lines.append(
        _text(
            node + 12,
            56,
            'the node: callbacks fill the inbox, one worker thread does all else',
            NODE,
        )
    )
    lines.append(_text(left, 22, 'A message', INK, 14))
    lines.append(_text(left, 212, 'A clip', INK, 14))
    for row, (steps, y, colour) in enumerate(((MESSAGE, 70, NODE), (CLIP, 228, WORK))):
        for index, (name, words) in enumerate(steps):
            x = left + step * index
            lines += _box(x, y, name, words, SOFT if name in OUTSIDE else colour)
            if index:
                lines.append(_arrow(x - 20, y + BOX_H / 2, x - 2, y + BOX_H / 2))
        if row:
            start = left + step * (len(steps) - 1) + BOX_W / 2
            to = left + step * 3 + BOX_W / 2
            lines.append(
                f'<path d="M{start},{y - 2} V186 H{to} V{70 + BOX_H + 3}" fill="none" '
                f'stroke="{SOFT}" stroke-width="1.4" marker-end="url(#tip)"/>'
            )
            lines.append(_text(to + 12, 180, 'read at configure', SOFT))
    lines.append(_text(left, 310, 'Bags and clips come back as messages by ros/replay.', SOFT))
    lines.append('</svg>')
    return '\n'.join(lines) + '\n'


def _box(x: float, y: float, name: str, words: tuple[str, str], colour: str) -> list[str]:
    return [
        f'<rect x="{x}" y="{y}" width="{BOX_W}" height="{BOX_H}" rx="8" fill="#ffffff" '
        f'stroke="{colour}" stroke-width="1.6"/>',
        _text(x + 10, y + 18, name, INK, 13),
        *(_text(x + 10, y + 34 + 15 * i, line, SOFT) for i, line in enumerate(words)),
    ]


def _arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    return (
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{SOFT}" stroke-width="1.4" '
        f'marker-end="url(#tip)"/>'
    )


def _text(x: float, y: float, text: str, colour: str, size: int = 12) -> str:
    return f'<text x="{x}" y="{y}" fill="{colour}" font-size="{size}">{escape(text)}</text>'


def main() -> int:
    """Write the picture; with --check only report whether it is up to date."""
    if '--check' in sys.argv[1:]:
        if not PICTURE.exists() or PICTURE.read_text() != draw():
            print(f'{PICTURE.name} is not up to date; run python -m tools.site.draw_paths')
            return 1
        return 0
    PICTURE.write_text(draw())
    return 0


if __name__ == '__main__':
    sys.exit(main())
