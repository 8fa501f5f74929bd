# SPDX-License-Identifier: Apache-2.0
"""Files that other programs read: containers, CI services, hooks, citation. None is run here."""

from __future__ import annotations

import json
from pathlib import Path
import re
import stat
import sys
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]


def read_yaml(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


def exec_depends() -> set[str]:
    manifest = ElementTree.parse(ROOT / 'package.xml').getroot()
    return {str(entry.text) for entry in manifest.findall('exec_depend')}


def test_the_dockerfile_parses_and_copies_what_exists() -> None:
    parse = pytest.importorskip('dockerfile_parse', reason='dockerfile-parse is not installed')
    parser = parse.DockerfileParser(path=str(ROOT / 'Dockerfile'), cache_content=True)
    steps = [step for step in parser.structure if step['instruction'] != 'COMMENT']
    assert parser.baseimage == 'ros:jazzy-ros-base'
    assert {step['instruction'] for step in steps} <= {
        'FROM', 'SHELL', 'RUN', 'COPY', 'WORKDIR', 'ENV', 'USER', 'ENTRYPOINT',
    }  # fmt: skip
    for step in steps:
        if step['instruction'] == 'COPY':
            assert (ROOT / step['value'].split()[0]).exists(), step['value']
    (start,) = [json.loads(s['value']) for s in steps if s['instruction'] == 'ENTRYPOINT']
    assert (ROOT / 'launch' / start[-1]).is_file()
    (pins,) = re.findall(r"grep -E '\^\(([^)]*)\)=='", (ROOT / 'Dockerfile').read_text())
    pinned = {line.partition('==')[0] for line in (ROOT / 'constraints.txt').read_text().split()}
    assert set(pins.split('|')) <= pinned
    (profile,) = re.findall(
        r'share/motion_predictor/(\S+\.xml)', (ROOT / 'Dockerfile').read_text()
    )
    assert (ROOT / profile).is_file()


def test_the_image_says_that_it_is_untested() -> None:
    assert 'NOT TESTED' in (ROOT / 'Dockerfile').read_text()
    assert 'NOT TESTED' in (ROOT / 'pixi.toml').read_text()


def test_the_image_leaves_out_what_the_machine_made() -> None:
    left_out = (ROOT / '.dockerignore').read_text().split()
    for line in (ROOT / '.gitignore').read_text().splitlines():
        if line.startswith('/') or line == '.venv/':
            assert line.strip('/') in left_out, line


def test_the_container_for_editors_starts_the_set_up() -> None:
    told = json.loads((ROOT / '.devcontainer' / 'devcontainer.json').read_text())
    assert (ROOT / told['postCreateCommand']).is_file()


@pytest.mark.parametrize('name, jobs', [
    ('.github/workflows/ci.yml',
     lambda told: [s['run'] for s in told['jobs']['check']['steps'] if 'run' in s]),
    ('.gitlab-ci.yml', lambda told: told['check']['script']),
])  # fmt: skip
def test_a_ci_service_calls_the_one_check(name: str, jobs: Any) -> None:
    told = read_yaml(name)
    assert jobs(told) == ['.ci/run']
    assert (ROOT / '.ci/run').stat().st_mode & stat.S_IXUSR
    for minor in (10, 11, 12, 13):
        assert f"'3.{minor}'" in (ROOT / name).read_text()


def test_hooks_call_the_tools_of_the_check() -> None:
    hooks = read_yaml('.pre-commit-config.yaml')['repos'][0]['hooks']
    checks = (ROOT / '.ci' / 'run').read_text()
    for hook in hooks:
        if hook['id'] != 'rooms':
            assert ' '.join(hook['name'].split()) in checks
        for word in hook['entry'].split():
            if word.startswith('test/'):
                assert (ROOT / word).is_file()


def test_the_citation_is_of_this_release() -> None:
    told = read_yaml('CITATION.cff')
    manifest = ElementTree.parse(ROOT / 'package.xml').getroot()
    assert told['cff-version'] == '1.2.0'
    assert (told['title'], told['version'], told['license']) == tuple(
        manifest.findtext(part) for part in ('name', 'version', 'license')
    )
    assert {'message', 'authors'} <= told.keys()
    readme = (ROOT / 'README.md').read_text()
    for reference in told['references']:
        assert reference['url'].rpartition('/')[2] in readme


def test_the_changelog_has_this_release_on_top() -> None:
    manifest = ElementTree.parse(ROOT / 'package.xml').getroot()
    text = (ROOT / 'CHANGELOG.rst').read_text()
    releases = re.findall(r'^(?:Forthcoming \()?(\d+\.\d+\.\d+)', text, re.MULTILINE)
    assert releases[0] == manifest.findtext('version')
    assert releases == sorted(releases, reverse=True)


def test_pixi_has_every_package_of_the_manifest() -> None:
    text = (ROOT / 'pixi.toml').read_text()
    for name in exec_depends():
        if name.startswith('python3-'):  # conda-forge names most packages as PyPI does
            wanted = name.removeprefix('python3-').replace('torch', 'pytorch')
        else:
            wanted = f'ros-jazzy-{name.replace("_", "-")}'
        assert re.search(rf'^"?{re.escape(wanted)}"? = ', text, re.MULTILINE), name


def test_pixi_parses_and_its_environments_and_tasks_exist() -> None:
    reader = pytest.importorskip('tomllib' if sys.version_info >= (3, 11) else 'tomli')
    told = reader.loads((ROOT / 'pixi.toml').read_text())
    for environment in told['environments'].values():
        features = environment if isinstance(environment, list) else environment['features']
        assert set(features) <= told['feature'].keys()
    for task in told['tasks'].values():
        before = task.get('depends-on', []) if isinstance(task, dict) else []
        assert set(before) <= told['tasks'].keys()


def test_issue_forms_ask_for_something() -> None:
    for path in (ROOT / '.github' / 'ISSUE_TEMPLATE').glob('*.yml'):
        told = yaml.safe_load(path.read_text())
        if path.stem != 'config':
            assert told['name']
            assert told['description']
            assert any(part.get('validations', {}).get('required') for part in told['body'])
    policy = (ROOT / 'SECURITY.md').read_text()
    for link in re.findall(r'\]\(([^)]+)\)', policy):
        assert (ROOT / link).is_file(), link
