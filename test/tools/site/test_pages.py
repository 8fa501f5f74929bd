# SPDX-License-Identifier: Apache-2.0
"""Generated parts of pages are up to date, and the README's figures are those of the docs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tools.site import draw_paths, update_pages

ROOT = Path(__file__).resolve().parents[3]


def test_generated_parts_of_pages_are_up_to_date() -> None:
    pytest.importorskip('rclpy')
    for page, text in update_pages.pages().items():
        assert page.read_text() == text, f'{page.name}: run python -m tools.site.update_pages'


def test_every_figure_of_the_readmes_first_words_is_from_the_docs() -> None:
    def streams(name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            (ROOT / 'docs' / 'results' / 'data' / f'{name}.json').read_text()
        )
        return found

    def error(name: str, group: str, horizon: int) -> float:
        row = next(row for row in streams(name)['rows'] if row['name'] == group)
        return float(row['error_cm']['published'][horizon])

    words = ' '.join(update_pages.growth_words().split())
    over = streams('streams')['over_laboratories']
    assert f'is {100 - round(100 * over["error_ratio_mean"][2])} % below' in words
    first, next_four, later = (
        round(100 * (1 - error('streams', of, 2) / error('streams_memory_off', of, 2)))
        for of in ('0-1', '1-5', '5-15')
    )
    assert f'lowers the error by {first} %' in words
    assert f'watches, {next_four} % in the next four and {later} % in the ten' in words
    readme = update_pages.README.read_text()
    assert words in ' '.join(readme.split())
    rows = {cells[1].strip(' *'): cells[2:6] for line in update_pages.results_rows().splitlines()
            if len(cells := line.split('|')) == 9}  # fmt: skip
    for label, name in (
        ('what the node publishes', 'streams'),
        ('the same with its memory off', 'streams_memory_off'),
    ):
        shown = [float(value) for value in rows[label][1].split('/')]
        assert shown == pytest.approx([error(name, 'uiprmd17', at) for at in (1, 2, 3)], abs=0.051)


def test_the_table_of_weights_is_of_what_ships_and_of_the_models_alone() -> None:
    rows = {cells[1].strip(' `'): cells for line in update_pages.models_rows().splitlines()
            if len(cells := line.split('|')) == 7 and '`' in cells[1]}  # fmt: skip
    shipped = {path.stem for path in update_pages.WEIGHTS.glob('*.safetensors')}
    assert rows.keys() == shipped - {'teacher'}, 'the teacher stands in the table of errors'
    found = json.loads((ROOT / 'docs' / 'results' / 'data' / 'streams_moe.json').read_text())
    whole = next(row for row in found['rows'] if row['name'] == 'all')
    shown = [float(value) for value in rows['moe'][5].split('/')]
    assert shown == pytest.approx(whole['error_cm']['model'][1:], abs=0.051)
    assert len(update_pages.README.read_text().splitlines()) <= 120


def test_the_picture_of_the_ways_is_up_to_date_and_its_rooms_exist(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr('sys.argv', ['draw_paths', '--check'])
    assert draw_paths.main() == 0, 'run python -m tools.site.draw_paths'
    for name, _ in (*draw_paths.MESSAGE, *draw_paths.CLIP):
        places = [ROOT / name, ROOT / 'motion_predictor' / name]
        assert name in draw_paths.OUTSIDE or any(place.is_dir() for place in places), name
    monkeypatch.setattr(draw_paths, 'PICTURE', ROOT / 'no_such.svg')
    assert draw_paths.main() == 1
