# SPDX-License-Identifier: Apache-2.0
"""The documentation site's sources: every page once, and links that lead somewhere."""

from __future__ import annotations

from pathlib import Path
import re

import pytest

pytest.importorskip('rclpy')

from tools.site.build_docs import APART, LINK, navigation, stage


@pytest.fixture(scope='module')
def staged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp('site') / 'docs'
    return folder, stage(folder)


def test_every_page_but_the_notebook_is_in_the_navigation_once(
    staged: tuple[Path, list[str]],
) -> None:
    folder, pages = staged
    sections = navigation(pages)
    assert list(sections) == ['Get started', 'Tutorials', 'How-to', 'Reference', 'Results']
    listed = [page for names in sections.values() for page in names]
    own = [page for page in pages if not page.startswith((APART, 'api/'))]
    assert sorted(['index.md', *listed]) == sorted([*own, 'api/index.md'])
    assert [page for page in sections['Tutorials'] if page.endswith('.md')] == [
        'tutorials/camera.md', 'tutorials/robot.md', 'tutorials/retrain.md',
    ]  # fmt: skip
    first = (folder / 'index.md').read_text()
    assert all(f':caption: {section}' in first for section in sections)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob('*.[mr][ds]*')}
    assert found >= set(pages)


def test_links_between_pages_and_to_files_lead_somewhere(
    staged: tuple[Path, list[str]],
) -> None:
    folder, pages = staged
    followed = 0
    for page in pages:
        for found in LINK.finditer((folder / page).read_text()):
            target = found.group(2)
            if target and not re.match(r'[a-z]+:', target):
                assert ((folder / page).parent / target).exists(), f'{page}: {target}'
                followed += 1
    assert followed > 20


def test_the_parameters_page_holds_every_parameter(staged: tuple[Path, list[str]]) -> None:
    folder, _ = staged
    text = (folder / 'reference' / 'parameters.md').read_text()
    assert '`input.topics`' in text
    assert '`blend_s`' in text
