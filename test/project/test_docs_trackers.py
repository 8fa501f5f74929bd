# SPDX-License-Identifier: Apache-2.0
"""The pages of docs/trackers: their parameters can be set, their pictures and names agree."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import re
from typing import Any

import pytest

from motion_predictor.body.layout_file import layout, read_layout
from motion_predictor.body.layout_table import LAYOUTS
from motion_predictor.ros.parameters import INPUT_TYPES, Settings
from motion_predictor.sources.naming import NAME_PATTERN
from motion_predictor.sources.source import AUTO
from motion_predictor.sources.tf.people import HriSource, TfSource
from motion_predictor.sources.trackers import TRACKERS
from tools.site import draw_layouts

FOLDER = Path(__file__).resolve().parents[2] / 'docs' / 'guide' / 'trackers'
PAGES = sorted(path for path in FOLDER.glob('*.md') if path.name != 'index.md')
COUNTER = re.compile(r'`([a-z0-9]+(?:_[a-z0-9]+)+)`')


def blocks(page: Path) -> Iterator[Any]:
    yaml = pytest.importorskip('yaml')
    for text in re.findall(r'```yaml\n(.*?)```', page.read_text(), re.DOTALL):
        yield yaml.safe_load(text)


def parameters(page: Path) -> list[dict[str, Any]]:
    found = []

    def flatten(values: dict[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
        for key, value in values.items():
            if isinstance(value, dict):
                yield from flatten(value, f'{prefix}{key}.')
            else:
                yield prefix + key, value

    for block in blocks(page):
        if '/**' in block:
            found.append(dict(flatten(block['/**']['ros__parameters'])))
    return found


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_the_parameters_of_a_page_pass_the_nodes_checks(page: Path, tmp_path: Path) -> None:
    sets = parameters(page)
    assert sets, 'a page without parameters'
    for values in sets:
        settings = Settings.from_values(values)
        kind, skeleton = settings.input.type, settings.input.skeleton
        pattern = settings.input.pattern
        assert kind == 'hri' or skeleton != AUTO, 'a reader should see the skeleton'
        if skeleton.startswith('/path/to/'):
            skeleton = str(mapping_file(page, tmp_path))
        if kind in TRACKERS:
            chosen = layout(TRACKERS[kind].layout if skeleton == AUTO else skeleton)
            TRACKERS[kind].source(chosen, TRACKERS[kind].pattern if pattern == AUTO else pattern)
        elif kind in ('tf', 'hri'):
            chosen = layout('hri' if skeleton == AUTO else skeleton)
            source = TfSource if kind == 'tf' else HriSource
            source(chosen, NAME_PATTERN if pattern == AUTO else pattern)
        else:
            layout(skeleton)


def mapping_file(page: Path, folder: Path) -> Path:
    (text,) = re.findall(r'```yaml\n(name: .*?)```', page.read_text(), re.DOTALL)
    path = folder / 'mapping.yaml'
    path.write_text(text)
    return path


def test_the_mapping_file_of_the_mocap_page_is_one(tmp_path: Path) -> None:
    pytest.importorskip('yaml')
    assert read_layout(mapping_file(FOLDER / 'mocap.md', tmp_path)).num_joints == 30


def test_every_input_type_and_every_skeleton_has_a_page() -> None:
    pytest.importorskip('yaml')
    kinds = {values['input.type'] for page in PAGES for values in parameters(page)}
    assert kinds == set(INPUT_TYPES)
    shown = {name for page in PAGES for name in re.findall(r'\((\w+)\.svg\)', page.read_text())}
    assert shown == set(LAYOUTS)


def test_the_drawings_are_those_of_the_mappings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('sys.argv', ['draw_layouts', '--check'])
    assert draw_layouts.main() == 0, 'run python -m tools.site.draw_layouts'
    for name in LAYOUTS:
        assert (FOLDER / f'{name}.svg').stat().st_size < 20_000


@pytest.mark.parametrize('page', [*PAGES, FOLDER / 'index.md'], ids=lambda page: page.stem)
def test_links_lead_somewhere_and_pages_are_listed(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r'\]\(([^)#]+)(?:#[^)]*)?\)', text):
        assert (FOLDER / target).exists(), target
    if page.name != 'index.md':
        assert f'({page.name})' in (FOLDER / 'index.md').read_text()
        assert '**Tested**' in text
        assert '**Not tested**' in text


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_counters_that_a_page_names_exist(page: Path) -> None:
    pytest.importorskip('rclpy')
    from motion_predictor.track.limits import HistoryCounters, PeopleCounters

    package = Path(__file__).resolve().parents[2] / 'motion_predictor'
    node = '\n'.join(path.read_text() for path in package.rglob('*.py'))
    known = {*HistoryCounters().as_dict(), *vars(PeopleCounters()), *HriSource.counted}
    known |= {name for entry in TRACKERS.values() for name in entry.source.counted}
    known |= set(re.findall(r"'(messages_\w+)'", node))
    rows = [line for line in page.read_text().splitlines() if line.startswith('| ')]
    for row in rows:
        cells = [cell.strip() for cell in row.strip('|').split('|')]
        if len(cells) == 3:
            assert set(COUNTER.findall(cells[2])) <= known, row
