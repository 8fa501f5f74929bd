"""Build the documentation site: ``python -m tools.site.build_docs``, or ``scripts/docs``.

The pages are those of ``docs/`` and of the repository's top, which can also be read on the
repository's own pages; only links between them are adjusted. MkDocs builds the site, and every
warning (such as a link that leads nowhere) is an error.
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
from training.common.options import read_options

BUILD = ROOT / 'build'
TOP = {
    'README.md': 'index.md',
    'CONTRIBUTING.md': 'contributing.md',
    'QUALITY_DECLARATION.md': 'quality_declaration.md',
    'CHANGELOG.rst': 'changelog.md',
}
"""Pages at the top of the repository."""
NAVIGATION = (
    ('Quick start', 'index.md'),
    ('Running it', 'guide/run.md'),
    ('Trackers', 'guide/trackers/'),
    ('Consumers', 'guide/consumers/'),
    ('Outputs', 'guide/outputs.md'),
    ('How the prediction is made', 'guide/prediction.md'),
    ('Questions', 'guide/faq.md'),
    ('Training', 'guide/training.md'),
    ('Data', 'guide/data.md'),
    ('Parameters', 'reference/parameters.md'),
    ('Architecture', 'design/architecture.md'),
    ('Limits and safety', 'design/limits.md'),
    ('On bad days', 'design/robustness.md'),
    ('Security', 'design/security.md'),
    ('Results', 'results/results.md'),
    ('Streams', 'results/streams.md'),
    ('Weighing', 'results/weighing.md'),
    ('Mixture of experts', 'results/moe.md'),
    ('Ablations', 'results/ablations.md'),
    ("The teacher's switches", 'results/teacher_ablations.md'),
    ("The mixture's ablations", 'results/moe_ablations.md'),
    ('Tuning', 'results/tuning.md'),
    ('Soak', 'results/soak.md'),
    ('Many people', 'results/many_people.md'),
    ('Fuzz campaign', 'results/fuzz.md'),
    ('Contributing', 'contributing.md'),
    ('Quality declaration', 'quality_declaration.md'),
    ('Changelog', 'changelog.md'),
)
"""Order of the navigation; other pages come after, by their own titles."""
APART = 'notebook/'
"""Pages on the site that are not in its navigation."""
LINK = re.compile(r'(\]\()([^)\s#]*)((?:#[^)\s]*)?\))')
MERMAID = re.compile(r'```mermaid\n.*?```\n', re.DOTALL)


def stage(folder: Path) -> list[str]:
    """
    Write the site's sources.

    :param folder: folder for them; it is emptied first.
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
    return pages


def _write_page(source: Path, folder: Path, page: str, pages: list[str]) -> None:
    text = source.read_text()
    if source.suffix == '.rst':  # a changelog: its lists and code are those of Markdown
        text = re.sub(r'^\^+\n(.*)\n\^+\n', r'# \1\n', text)
        text = re.sub(r'^(.+)\n~+$', r'### \1\n', text, flags=re.MULTILINE)
    text = MERMAID.sub('', text)  # the architecture page states it in words

    def put_right(found: re.Match[str]) -> str:
        before, target, after = found.groups()
        if not target or re.match(r'[a-z]+:', target):
            return found.group(0)
        wanted = (source.parent / target).resolve()
        return before + _target(wanted, folder, page) + after

    place = folder / page
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(LINK.sub(put_right, text))
    pages.append(page)


def _target(wanted: Path, folder: Path, page: str) -> str:
    # Return where a file of the repository is found on the site, from a page.
    if not wanted.is_relative_to(ROOT) or not wanted.exists():
        return wanted.name  # MkDocs will complain
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


def navigation(pages: list[str]) -> list[dict[str, object]]:
    """Put the pages in order; folders become sections, with their index first."""
    entries: list[dict[str, object]] = []
    left = {page for page in pages if not page.startswith(APART)}
    for title, name in NAVIGATION:
        inside = sorted(
            (page for page in left if page == name or (name[-1] == '/' and page.startswith(name))),
            key=lambda page: (not page.endswith(('index.md', 'README.md')), page),
        )
        left -= set(inside)
        if inside:
            entries.append({title: inside[0] if name == inside[0] else inside})
    for page in sorted(left):
        entries.append({Path(page).stem.replace('_', ' '): page})
    return entries


def build() -> int:
    """Write the sources and run MkDocs; return its exit code."""
    import yaml

    sources = BUILD / 'docs'
    settings = {
        'site_name': 'motion_predictor',
        'site_description': 'Where people will be in the next two seconds',
        'docs_dir': str(sources),
        'site_dir': str(BUILD / 'site'),
        'theme': {
            'name': 'readthedocs',
            'highlightjs': False,
            'include_homepage_in_sidebar': True,
        },
        'plugins': ['search'],
        'markdown_extensions': ['tables', 'fenced_code', 'toc'],
        'validation': {'links': {'anchors': 'warn'}},
        'use_directory_urls': False,
        'nav': navigation(stage(sources)),
        'not_in_nav': APART,
    }
    config = BUILD / 'mkdocs.yml'
    config.write_text(yaml.safe_dump(settings, sort_keys=False))
    command = [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--clean']
    return subprocess.run([*command, '-f', str(config)], cwd=ROOT).returncode


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
