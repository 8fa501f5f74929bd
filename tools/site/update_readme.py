"""Write what the sources know into the README: python -m tools.site.update_readme."""

from __future__ import annotations

import json
from pathlib import Path
import re
import sys
import textwrap
from typing import Any

from motion_predictor.body.layouts import LAYOUTS
from motion_predictor.ros import parameters

DOCS = Path(__file__).resolve().parents[2] / 'docs'
STREAMS, FORGETFUL = DOCS / 'streams.json', DOCS / 'streams_memory_off.json'
REGIMES = DOCS / 'streams_regimes.json'
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
ONE_SECOND, TWO_SECONDS = 2, 3
"""Where they are among the horizons of streams."""
README = Path(__file__).resolve().parents[2] / 'README.md'


def replay_rows() -> str:
    """Rows of the table of the replay node's parameters."""
    from motion_predictor.ros.replay import PARAMETERS

    rows = ['| parameter of `replay` | default | meaning |', '|---|---|---|']
    for name, (default, description) in PARAMETERS.items():
        shown = str(default).lower() if isinstance(default, bool) else repr(default)
        rows.append(f'| `{name}` | `{shown}` | {description} |')
    return '\n'.join(rows)


def results_rows() -> str:
    """Rows of the table of errors, from the streams that were played (docs/streams*.json)."""
    rows, forgetful = _rows(STREAMS, 'laboratory'), _rows(FORGETFUL, 'laboratory')
    lines = [
        '| error of a joint, cm, at .5 / 1 / 2 s | ' + ' | '.join(PLACES.values()) + ' |',
        '|---|' + '---:|' * len(PLACES),
    ]
    shown = [(rows, name, label) for name, label in SHOWN.items()]
    shown.insert(1, (forgetful, 'published', 'the same with its memory off'))
    for of, name, label in shown:
        cells = (
            ' / '.join(f'{value:.1f}' for value in of[place]['error_cm'][name][1:])
            for place in PLACES
        )
        lines.append(f'| {label} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def growth_words() -> str:
    """Say in figures what weighing is worth, and what the memory is as the node watches."""
    over = json.loads(STREAMS.read_text())['over_laboratories']
    mean, worst = over['error_ratio_mean'], over['error_ratio_max']
    rows, forgetful = _rows(STREAMS, 'minutes'), _rows(FORGETFUL, 'minutes')
    worth = [
        [
            _below(rows[minutes]['error_cm']['published'][at]
                   / forgetful[minutes]['error_cm']['published'][at])
            for minutes in ('0-1', '1-5', '5-15')
        ]
        for at in (ONE_SECOND, TWO_SECONDS)
    ]  # fmt: skip
    hard = json.loads(REGIMES.read_text())['over_laboratories']
    regimes = hard['error_ratio_max'][TWO_SECONDS]
    near, far = worth
    least = [_below(worst[at]) for at in (ONE_SECOND, TWO_SECONDS)]
    return (
        f'One second ahead the published future is {_below(mean[ONE_SECOND])} % nearer to what '
        f'then happens than the best of model, damped velocity and standing still, chosen '
        f'afterwards ({least[0]} % in the worst of {len(PLACES)} places); two seconds ahead '
        f'{_below(mean[TWO_SECONDS])} % ({least[1]} %). The memory alone takes {near[0]} % off '
        f'the error in the first minute that it watches, {near[1]} % in the next four and '
        f'{near[2]} % in the ten after them; two seconds ahead {far[0]}, {far[1]} and {far[2]} %. '
        f'Where another kind of motion begins every few seconds, the published future can be '
        f'{-_below(regimes)} % farther off than the best guess two seconds ahead.'
    )


def _rows(path: Path, by: str) -> dict[str, Any]:
    return {row['name']: row for row in json.loads(path.read_text())['rows'] if row['by'] == by}


def _below(ratio: float) -> int:
    """Return by how many per cent a ratio is below one."""
    return round(100.0 * (1.0 - ratio)) + 0


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
        'growth': f'\n{textwrap.fill(growth_words(), 99)}\n',
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
