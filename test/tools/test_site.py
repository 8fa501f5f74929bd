# SPDX-License-Identifier: Apache-2.0
"""The documentation site as it is built: its links, its search, and how a phone shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from demo_runs import Opener
import pytest

from tools.site.check_links import broken_links

SITE = Path(__file__).resolve().parents[2] / 'build' / 'site'
DESKTOP = {'viewport': {'width': 1280, 'height': 800}}
PHONE = {'viewport': {'width': 390, 'height': 844}, 'has_touch': True, 'is_mobile': True}


@pytest.fixture(scope='module')
def site() -> Path:
    if not (SITE / 'index.html').is_file():
        pytest.skip('no site in build/site: scripts/docs builds it')
    return SITE


def test_links_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    (tmp_path / 'a.html').write_text(
        '<a href="b.html#there">1</a><a href="b.html#gone">2</a><a href="c.html">3</a>'
        '<a href="#here" id="here">4</a><a href="https://example.org/">5</a>'
        '<script src="https://example.org/x.js"></script><img src="no.png">'
    )
    (tmp_path / 'b.html').write_text('<p id="there">words</p>')
    found = broken_links(tmp_path)
    assert [line.partition(': ')[2] for line in found] == [
        'b.html#gone: no such anchor',
        'c.html: no such file',
        'https://example.org/x.js: is loaded from another host',
        'no.png: no such file',
    ]


def test_every_link_of_the_site_leads_somewhere(site: Path) -> None:
    assert len(list(site.rglob('*.html'))) > 30
    assert broken_links(site) == []


@pytest.mark.slow
def test_the_search_works_from_files(opened: Opener, site: Path) -> None:
    with opened(site / 'search.html', '?q=occupancy', **DESKTOP) as page:
        page.wait_for_selector('#search-results li a', timeout=60_000)
        titles = page.locator('#search-results li a').all_inner_texts()
        assert len(titles) > 3
        assert any('Outputs' in title or 'ccupancy' in title for title in titles)


@pytest.mark.slow
@pytest.mark.parametrize('colours', ['light', 'dark'])
@pytest.mark.parametrize('device', [DESKTOP, PHONE], ids=['desktop', 'phone'])
def test_pages_are_readable(
    opened: Opener, site: Path, device: dict[str, Any], colours: str
) -> None:
    for name in ('index.html', 'reference/parameters.html', 'tutorials/robot.html'):
        with opened(site / name, color_scheme=colours, **device) as page:
            wide = page.evaluate('document.documentElement.scrollWidth - innerWidth')
            assert wide <= 0, f'{name} is wider than the screen'
            shade = page.evaluate(
                'getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).slice(0, 3)'
            )
            assert (sum(map(int, shade)) < 250) == (colours == 'dark')


@pytest.mark.slow
def test_code_is_highlighted_and_can_be_copied(opened: Opener, site: Path) -> None:
    with opened(site / 'guide' / 'run.html', **DESKTOP) as page:
        assert page.locator('.highlight span').count() > 10
        assert page.locator('button.copybtn').count() > 1
    with opened(site / 'api' / 'predict.html', **DESKTOP) as page:
        assert page.locator('dl.py').count() > 10


@pytest.mark.slow
def test_the_button_copies_the_commands_without_the_prompt(opened: Opener, site: Path) -> None:
    with opened(site / 'index.html', **DESKTOP) as page:
        block = page.locator('div.highlight', has_text='scripts/demo').first
        block.hover()
        block.locator('button.copybtn').click()
        page.evaluate("document.body.prepend(document.createElement('textarea'))")
        page.focus('textarea')
        page.keyboard.press('Control+V')
        copied = page.input_value('textarea')
        assert copied.startswith('scripts/demo ')
        assert copied.splitlines()[1].startswith('scripts/test ')


@pytest.mark.slow
def test_the_colours_can_be_changed_and_every_section_is_listed(
    opened: Opener, site: Path
) -> None:
    with opened(site / 'guide' / 'run.html', color_scheme='light', **DESKTOP) as page:
        shade = 'getComputedStyle(document.body).backgroundColor'
        before = page.evaluate(shade)
        for _ in range(3):  # by the system, light, dark
            page.locator('button.theme-toggle').locator('visible=true').first.click()
            if page.evaluate(shade) != before:
                break
        assert page.evaluate(shade) != before
        assert page.locator('.sidebar-tree p.caption').all_text_contents() == [
            'Get started', 'Tutorials', 'How-to', 'Reference', 'Results',
        ]  # fmt: skip
        assert page.locator('.sidebar-brand-text').inner_text().split()[-1].count('.') == 2


@pytest.mark.slow
def test_pictures_are_there_and_no_diagram_is_left_as_code(opened: Opener, site: Path) -> None:
    for name in ('index.html', 'design/architecture.html', 'guide/outputs.html'):
        with opened(site / name, **PHONE) as page:
            widths = page.evaluate("""Array.from(document.querySelectorAll('article img'),
                i => [i.complete && i.naturalWidth, i.getBoundingClientRect().right])""")
            assert widths, name
            assert all(natural > 0 and right <= 390 for natural, right in widths), name
    for page_file in site.rglob('*.html'):
        text = page_file.read_text()
        assert 'highlight-mermaid' not in text
        assert 'language-mermaid' not in text


@pytest.mark.slow
def test_a_phone_shows_each_parameter_as_a_card(opened: Opener, site: Path) -> None:
    with opened(site / 'reference' / 'parameters.html', **PHONE) as page:
        row = page.locator('table.parameters tbody tr').nth(1)
        assert row.evaluate('e => getComputedStyle(e).display') == 'block'
        box = row.bounding_box()
        assert box['x'] >= 0
        assert box['x'] + box['width'] <= 390
        cell = row.locator('td').nth(2)
        assert 'default' in cell.evaluate("e => getComputedStyle(e, '::before').content")
