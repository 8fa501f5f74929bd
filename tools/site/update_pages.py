# SPDX-License-Identifier: Apache-2.0
"""Write the generated parts of pages: python -m tools.site.update_pages."""

from __future__ import annotations

import json
from pathlib import Path
import re
import sys
import textwrap
from typing import Any

from motion_predictor.body.layout_table import LAYOUTS
from motion_predictor.ros import parameters
from motion_predictor.ros.consumers import settings as consumers
from motion_predictor.ros.parameters.fields import parameters_of
from motion_predictor.ros.parameters.replay import REPLAY_PARAMETERS
from training.report.page import render

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / 'README.md'
RUN = ROOT / 'docs' / 'guide' / 'run.md'
REFERENCE = ROOT / 'docs' / 'reference' / 'parameters.md'
CONFIG = ROOT / 'config' / 'predictor.yaml'
CONSUMERS = ROOT / 'config' / 'consumers.yaml'
DATA = ROOT / 'docs' / 'results' / 'data'
STREAMS, FORGETFUL = DATA / 'streams.json', DATA / 'streams_memory_off.json'
TAUGHT = DATA / 'streams_teacher.json'
REGIMES, BENCHMARK = DATA / 'streams_regimes.json', DATA / 'benchmark.json'
TEMPLATES = Path(__file__).parent / 'templates'
WEIGHTS = ROOT / 'resource' / 'weights'
MODELS = {
    'swiftdiff': ('SwiftDiff, the default', 'streams.json'),
    'swiftdiff_balance': ('a smaller SwiftDiff', 'streams_swiftdiff_balance.json'),
    'moe': ('a mixture of experts: moments in closed form', 'streams_moe.json'),
    'one_step': ('the one-step teacher of SwiftDiff', 'streams_one_step.json'),
}
"""Shipped weights: what each is, and the streams that it was played into alone."""
PLACES = {
    'cmu17': 'acting, sports, walking (8 people)',
    'uiprmd17': 'exercises, repeated (1)',
    'rocketbox17': 'seated, hands at work (1)',
    'reactidle17': 'people who wait (3)',
}
SHOWN = {
    'published': '**what the node publishes**',
    'model': 'SwiftDiff alone',
    'damped velocity': 'damped velocity',
    'standing still': 'standing still',
}
COSTS = ('a call, ms', 'MB')
ONE_SECOND, TWO_SECONDS = 2, 3
"""Indices of these horizons in the results of streams."""


def replay_rows() -> str:
    """Return the rows of the table of the replay node's parameters."""
    rows = ['| parameter of `replay` | default | meaning |', '|---|---|---|']
    for p in REPLAY_PARAMETERS:
        shown = str(p.default).lower() if isinstance(p.default, bool) else repr(p.default)
        rows.append(f'| `{p.name}` | `{shown}` | {p.description} |')
    return '\n'.join(rows)


def reference_page() -> str:
    """Return the page of all parameters."""
    table = parameters.markdown_table().strip()
    return (
        '# Parameters\n\nMade from the declarations in `motion_predictor/ros/parameters/` by '
        '`python -m tools.site.update_pages`; `config/predictor.yaml` holds those of the node.\n\n'
        f'## The node\n\n{table}\n\n## The replay node\n\n{replay_rows()}\n\n'
        f'## Consumers\n\nRead when a consumer starts; `config/consumers.yaml` holds all of them. '
        f'`nav2_speed_limit` is `speed_scaling` with `output: nav2`.\n\n{consumer_tables()}\n'
    )


def consumer_tables() -> str:
    """Return a table of parameters for each program among the consumers."""
    return '\n\n'.join(
        f'### `{name}`\n\n{parameters.markdown_table(parameters_of(type(record)))}'
        for name, record in consumers.CONSUMERS.items()
        if name != 'nav2_speed_limit'
    )


def results_rows() -> str:
    """Return the rows of the table of errors, times and sizes."""
    rows, forgetful = _rows(STREAMS, 'laboratory'), _rows(FORGETFUL, 'laboratory')
    taught = _rows(TAUGHT, 'laboratory')
    shown = [(rows, name, label) for name, label in SHOWN.items()]
    shown.insert(1, (forgetful, 'published', 'the same with its memory off'))
    table = []
    for of, name, label in shown:
        errors = [_errors(of[place], name) for place in PLACES]
        cost = (_call_ms('swiftdiff'), _megabytes('swiftdiff')) if name == 'model' else ('', '')
        table.append({'label': label, 'errors': errors, 'call_ms': cost[0], 'megabytes': cost[1]})
    table.append(
        {
            'label': 'its teacher, 100 steps of diffusion',
            'errors': [_errors(taught[place], 'model') for place in PLACES],
            'call_ms': _call_ms('teacher'),
            'megabytes': _megabytes('teacher'),
        }
    )
    return render(
        'results.md', TEMPLATES, places=list(PLACES.values()), rows=table, teacher=_teacher()
    )


def models_rows() -> str:
    """Return the table of shipped weights; errors are of the model alone, over all streams."""
    rows = []
    for name, (what, streams) in MODELS.items():
        errors = _rows(DATA / streams, 'all')['all']['error_cm']['model'][1:]
        rows.append(
            {
                'name': name,
                'what': what,
                'megabytes': _megabytes(name),
                'call_ms': _call_ms(name),
                'errors': ' / '.join(f'{error:.1f}' for error in errors),
            }
        )
    return render('models.md', TEMPLATES, rows=rows)


def _errors(row: dict[str, Any], name: str) -> str:
    """Return the errors of one candidate in one place at .5, 1 and 2 s, cm."""
    return ' / '.join(f'{value:.1f}' for value in row['error_cm'][name][1:])


def _teacher() -> dict[str, Any]:
    """Return on which predictions the teacher is scored, and how far these are from all."""
    rows, taught = _rows(STREAMS, 'laboratory'), _rows(TAUGHT, 'laboratory')
    apart = [
        abs(a - b)
        for place in PLACES
        for a, b in zip(
            rows[place]['error_cm']['damped velocity'][1:],
            taught[place]['error_cm']['damped velocity'][1:],
            strict=True,
        )
    ]
    return {
        'every': json.loads(TAUGHT.read_text())['settings']['every'],
        'predictions': sum(taught[place]['predictions'] for place in PLACES),
        'of': sum(rows[place]['predictions'] for place in PLACES),
        'apart': f'{max(apart):.1f}',
    }


def _call_ms(model: str) -> str:
    # Of the fastest engine, one core, one person, as benchmarked.
    times = [
        row['median_ms']
        for row in json.loads(BENCHMARK.read_text())['rows']
        if (row['model'], row['threads'], row['persons'], row['device']) == (model, 1, 1, 'cpu')
    ]
    return f'{min(times):.{0 if min(times) > 100.0 else 1}f}'


def _megabytes(model: str) -> str:
    return f'{(WEIGHTS / f"{model}.safetensors").stat().st_size / 1e6:.1f}'


def growth_words() -> str:
    """Return the gain of weighing and of the memory, in figures."""
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
    near, far = worth
    return render(
        'growth.md',
        TEMPLATES,
        below=_below,
        mean={1: mean[ONE_SECOND], 2: mean[TWO_SECONDS]},
        worst={1: worst[ONE_SECOND], 2: worst[TWO_SECONDS]},
        places=len(PLACES),
        near=near,
        far=far,
        regimes=hard['error_ratio_max'][TWO_SECONDS],
    )


def _rows(path: Path, by: str) -> dict[str, Any]:
    return {row['name']: row for row in json.loads(path.read_text())['rows'] if row['by'] == by}


def _below(ratio: float) -> int:
    """Return by how many per cent a ratio is below one."""
    return round(100.0 * (1.0 - ratio)) + 0


def updated(text: str, name: str) -> str:
    """
    Return a page with the parts between ``<!-- name -->`` and ``<!-- /name -->`` filled in.

    :param text: text of the page.
    :param name: name of the page, for the message.
    :raises ValueError: if a part has lost one of its marks.
    """
    parts = {
        'results': lambda: f'\n{results_rows()}\n',
        'models': lambda: f'\n{models_rows()}\n',
        'growth': lambda: f'\n{textwrap.fill(growth_words(), 119)}\n',
        'skeletons': lambda: ', '.join(f'`{name}`' for name in LAYOUTS),
    }
    for part, content in parts.items():
        begins, ends = f'<!-- {part} -->', f'<!-- /{part} -->'
        if begins not in text and ends not in text:
            continue
        found = list(re.finditer(f'{begins}(.*?){ends}', text, re.DOTALL))
        if len(found) != 1:
            raise ValueError(f'{name}: expected {begins} ... {ends} once')
        text = text[: found[0].start(1)] + content() + text[found[0].end(1) :]
    return text


def pages() -> dict[Path, str]:
    """Return every generated page with its present text."""
    made = {page: updated(page.read_text(), page.name) for page in (README, RUN)}
    return {
        **made,
        REFERENCE: reference_page(),
        CONFIG: parameters.parameter_file(),
        CONSUMERS: consumers.parameter_file(),
    }


def main() -> int:
    """Update the pages; with --check only report whether they are up to date."""
    stale = [
        page for page, text in pages().items() if not page.is_file() or page.read_text() != text
    ]
    if '--check' in sys.argv[1:]:
        return int(bool(stale))
    for page in stale:
        page.write_text(pages()[page])
        print(f'written: {page.relative_to(ROOT)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
