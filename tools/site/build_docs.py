# SPDX-License-Identifier: Apache-2.0
"""
Build the documentation site: ``python -m tools.site.build_docs``, or ``scripts/docs``.

The pages are those of ``docs/`` and of the repository's top, as they are read on the repository's
own pages too; only links between them are put right. Sphinx builds the site and the reference of
the API from the docstrings, every warning an error; then every link and anchor of the site is
followed. The site needs no network and no server: it is read, and searched, from its files.
"""

from __future__ import annotations

from dataclasses import dataclass
import os
from pathlib import Path
import re
import shutil
import subprocess
import sys

from tools.rig import ROOT
from tools.site.check_links import broken_links
from training.common.options import read_options

BUILD = ROOT / 'build'
TOP = {
    'README.md': 'index.md',
    'CONTRIBUTING.md': 'contributing.md',
    'QUALITY_DECLARATION.md': 'quality_declaration.md',
    'CHANGELOG.rst': 'changelog.md',
}
"""Pages that lie at the top of the repository."""
NAVIGATION: dict[str, tuple[str, ...]] = {
    'Get started': ('guide/run.md', 'guide/prediction.md', 'guide/faq.md'),
    'Tutorials': ('tutorials/camera.md', 'tutorials/robot.md', 'tutorials/retrain.md'),
    'How-to': (
        'guide/trackers/',
        'guide/outputs.md',
        'guide/consumers/',
        'guide/training.md',
        'guide/data.md',
        'guide/',
    ),
    'Reference': (
        'reference/parameters.md',
        'reference/',
        'api/index.md',
        'design/',
        'contributing.md',
        'quality_declaration.md',
        'changelog.md',
    ),
    'Results': (
        'results/results.md',
        'results/streams.md',
        'results/weighing.md',
        'results/claims.md',
        'results/',
    ),
}
"""The site's sections and their pages, in this order; a folder is all that is left in it."""
FOLDED = ('guide/trackers/', 'guide/consumers/')
"""Folders whose pages lie below their first one."""
APART = 'notebook/'
"""Pages that are on the site and not in its navigation."""
LINK = re.compile(r'(\]\()([^)\s#]*)((?:#[^)\s]*)?\))')
SETTINGS = Path(__file__).parent / 'sphinx'
"""Sphinx's own settings, the style and the template of the API's pages."""
PACKAGE = ROOT / 'motion_predictor'
NO_API = ('moved', 'bundle')
"""Modules that forward names or find files."""


def stage(folder: Path) -> list[str]:
    """
    Lay out the site's sources.

    :param folder: made anew.
    :returns: every page, by its path in the folder.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pages: list[str] = []
    for source in sorted((ROOT / 'docs').rglob('*')):
        place = folder / source.relative_to(ROOT / 'docs')
        if source.suffix == '.md':
            _write_page(source, folder, place.relative_to(folder).as_posix(), pages)
        elif source.suffix in ('.svg', '.png'):
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)
    for name, page in TOP.items():
        if (ROOT / name).is_file():
            _write_page(ROOT / name, folder, page, pages)
    pages += _write_api(folder)
    _write_contents(folder, pages)
    for source in SETTINGS.iterdir():
        shutil.copyfile(source, folder / source.name)
    return pages


def _write_page(source: Path, folder: Path, page: str, pages: list[str]) -> None:
    text = source.read_text()
    if source.suffix == '.rst':  # a changelog: its lists and code are those of Markdown
        text = re.sub(r'^\^+\n(.*)\n\^+\n', r'# \1\n', text)
        text = re.sub(r'^(.+)\n~+$', r'### \1\n', text, flags=re.MULTILINE)

    def put_right(found: re.Match[str]) -> str:
        before, target, after = found.groups()
        if not target or re.match(r'[a-z]+:', target):
            return found.group(0)
        wanted = (source.parent / target).resolve()
        return before + _target(wanted, folder, page) + after

    place = folder / page
    place.parent.mkdir(parents=True, exist_ok=True)
    text = LINK.sub(put_right, text)
    if page == 'reference/parameters.md':  # a table whose rows a phone shows as cards
        text = re.sub(r'^(?=\| parameter)', '{.parameters}\n', text, flags=re.MULTILINE)
    if page.startswith(APART):
        text = '---\norphan: true\n---\n' + text
    place.write_text(text)
    pages.append(page)


def _target(wanted: Path, folder: Path, page: str) -> str:
    # Where a file of the repository is found on the site, from a page.
    if not wanted.is_relative_to(ROOT) or not wanted.exists():
        return wanted.name  # Sphinx will complain
    inside = wanted.relative_to(ROOT).as_posix()
    if inside in TOP:
        place = TOP[inside]
    elif inside.startswith('docs/') and wanted.suffix in ('.md', '.svg', '.png'):
        place = inside.removeprefix('docs/')
    else:
        place = f'files/{inside}' + ('.txt' if wanted.suffix in ('', '.md') else '')
        if wanted.is_file():
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(wanted, folder / place)
    return os.path.relpath(folder / place, (folder / page).parent)


def _write_api(folder: Path) -> list[str]:
    """Write a page for each room of the package, with every public name of its modules."""
    rooms: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob('*.py')):
        module = path.relative_to(ROOT).with_suffix('').as_posix().replace('/', '.')
        if path.stem.startswith('_') or path.stem in NO_API or 'bundle_files' in module:
            continue
        room = module.split('.')[1] if module.count('.') > 1 else 'package'
        rooms.setdefault(room, []).append(module)
    place = folder / 'api'
    place.mkdir(parents=True, exist_ok=True)
    for room, modules in rooms.items():
        title = 'motion_predictor' + (f'.{room}' if room != 'package' else ': modules of its own')
        parts = [f'{title}\n{"=" * len(title)}\n']
        if room != 'package':
            parts.append(f'.. automodule:: {title}\n   :no-members:\n')
        for name in modules:
            parts.append(f'{name}\n{"-" * len(name)}\n\n.. automodule:: {name}\n')
        (place / f'{room}.rst').write_text('\n'.join(parts))
    listed = '\n'.join(rooms)
    (place / 'index.md').write_text(
        '# API\n\nEvery public name of `motion_predictor`, room by room, from the docstrings. '
        'What most programs need: {py:class}`~motion_predictor.predict.predictor.Predictor`, '
        '{py:class}`~motion_predictor.predict.prediction.Prediction` and '
        '{py:func}`~motion_predictor.model.weights.default_weights`.\n\n'
        f'```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```\n'
    )
    return [*(f'api/{room}.rst' for room in rooms), 'api/index.md']


def navigation(pages: list[str]) -> dict[str, list[str]]:
    """
    Put the pages in order; a folder's first page is its index.

    :returns: pages of each section. Those of :data:`FOLDED` follow their index.
    """
    left = {page for page in pages if not page.startswith((APART, 'api/'))} | {'api/index.md'}
    left.discard('index.md')
    named = {name for names in NAVIGATION.values() for name in names}
    found: dict[str, list[str]] = {}
    for section, names in NAVIGATION.items():
        found[section] = []
        for name in names:
            inside = sorted(
                (
                    page
                    for page in left
                    if page == name
                    or (name[-1] == '/' and page.startswith(name) and page not in named)
                ),
                key=lambda page: (not page.endswith(('index.md', 'README.md')), page),
            )
            left -= set(inside)
            found[section] += inside
    found['Results'] += sorted(left)
    return found


def _write_contents(folder: Path, pages: list[str]) -> None:
    """Append the contents to the first page, and to the first page of each folded folder."""
    first = folder / 'index.md'
    text = first.read_text()
    for section, names in navigation(pages).items():
        heads = []
        for prefix in FOLDED:
            inside = [name for name in names if name.startswith(prefix)]
            names = [name for name in names if name not in inside[1:]]
            if inside[1:]:
                head = folder / inside[0]
                below = '\n'.join(f'/{name}' for name in inside[1:])
                heads.append((head, f'\n```{{toctree}}\n:hidden:\n\n{below}\n```\n'))
        for head, contents in heads:
            head.write_text(head.read_text() + contents)
        listed = '\n'.join(f'/{name}' for name in names)
        text += f'\n```{{toctree}}\n:hidden:\n:caption: {section}\n\n{listed}\n```\n'
    first.write_text(text)


def build(site: Path = BUILD / 'site') -> int:
    """
    Stage the pages, run Sphinx and follow the links of what it made; the exit code.

    :param site: folder of the site, made anew.
    """
    sources = BUILD / 'docs'
    stage(sources)
    shutil.rmtree(site, ignore_errors=True)
    command = [sys.executable, '-m', 'sphinx', '-b', 'html', '-W', '--keep-going', '-q']
    command += ['-d', str(BUILD / 'doctrees'), str(sources), str(site)]
    code = subprocess.run(command, cwd=ROOT).returncode
    broken = broken_links(site) if code == 0 else []
    for line in broken:
        print(f'site: {line}', file=sys.stderr)
    return code or bool(broken)


@dataclass(frozen=True)
class Options:
    """Options of ``tools.site.build_docs``: there are none."""


def main() -> int:
    """Build the site into build/site."""
    read_options(Options, 'tools.site.build_docs', __doc__)
    code = build()
    if code == 0:
        print(f'site: {BUILD / "site" / "index.html"}')
    return code


if __name__ == '__main__':
    sys.exit(main())
