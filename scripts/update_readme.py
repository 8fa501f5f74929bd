"""Write what the sources know into the README: python -m scripts.update_readme."""

from __future__ import annotations

import json
from pathlib import Path
import re
import sys

from motion_predictor import parameters
from motion_predictor.layouts import LAYOUTS

STREAMS = Path(__file__).resolve().parent.parent / 'docs' / 'streams.json'
PLACES = {
    'cmu17': 'acting, sports, walking (CMU, 8 people)',
    'uiprmd17': 'exercises, repeated (UI-PRMD, 1 person)',
    'rocketbox17': 'seated, hands at work, gestures (1 person)',
    'reactidle17': 'people who wait (3 people)',
}
SHOWN = {
    'published': '**what the node publishes**',
    'model': 'SwiftDiff alone',
    'damped velocity': 'damped velocity',
    'standing still': 'standing still',
}
README = Path(__file__).resolve().parent.parent / 'README.md'


def replay_rows() -> str:
    """Rows of the table of the replay node's parameters."""
    from motion_predictor.replay import PARAMETERS

    rows = ['| parameter of `replay` | default | meaning |', '|---|---|---|']
    for name, (default, description) in PARAMETERS.items():
        shown = str(default).lower() if isinstance(default, bool) else repr(default)
        rows.append(f'| `{name}` | `{shown}` | {description} |')
    return '\n'.join(rows)


def results_rows() -> str:
    """Rows of the table of errors, from the streams that were played (docs/streams.json)."""
    rows = {row['name']: row for row in json.loads(STREAMS.read_text())['rows']
            if row['by'] == 'laboratory'}  # fmt: skip
    lines = [
        '| error of a joint, cm, at .5 / 1 / 2 s | ' + ' | '.join(PLACES.values()) + ' |',
        '|---|' + '---:|' * len(PLACES),
    ]
    for name, label in SHOWN.items():
        cells = (
            ' / '.join(f'{value:.1f}' for value in rows[place]['error_cm'][name][1:])
            for place in PLACES
        )
        lines.append(f'| {label} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def updated(text: str) -> str:
    """
    Fill in the parts between ``<!-- name -->`` and ``<!-- /name -->``.

    :param text: of the README.
    :raises ValueError: if a part has lost its marks.
    """
    skeletons = ', '.join(f'`{name}`' for name in LAYOUTS)
    parts = {
        'replay parameters': f'\n{replay_rows()}\n',
        'results': f'\n{results_rows()}\n',
        'skeletons': skeletons,
        'parameters': f'\n{parameters.markdown_table().strip()}\n',
    }
    for name, content in parts.items():
        found = list(re.finditer(f'<!-- {name} -->(.*?)<!-- /{name} -->', text, re.DOTALL))
        if len(found) != 1:
            raise ValueError(f'README: expected <!-- {name} --> ... <!-- /{name} --> once')
        text = text[: found[0].start(1)] + content + text[found[0].end(1) :]
    return text


def main() -> int:
    """Update the README; with --check only say whether it is up to date."""
    before = README.read_text()
    after = updated(before)
    if '--check' in sys.argv[1:]:
        return int(before != after)
    README.write_text(after)
    return 0


if __name__ == '__main__':
    sys.exit(main())
