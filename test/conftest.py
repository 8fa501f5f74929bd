# SPDX-License-Identifier: Apache-2.0
"""What every test starts with, and the marks that folders give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
import os
from pathlib import Path
import shutil
import signal
from typing import Any

import pytest
import torch

torch.set_num_threads(1)
# Begun in a shell's background, pytest ignores SIGINT and the processes it starts would too.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOMS = Path(__file__).parent
MARKED = {'ros': 'ros', 'studies': 'studies', 'tools': 'ros'}
"""Folder, and the mark of its tests: tools are run over DDS."""
OPTIONAL = {
    'hypothesis', 'jinja2', 'matplotlib', 'optuna', 'rerun', 'rosbags', 'ruamel', 'tensorboard',
    'tqdm', 'tyro', 'xdist', 'yaml',
}  # fmt: skip
"""Packages of tests, training and tools that a robot does not install. A test that needs one which
is absent is skipped by its name, so that ``colcon test`` passes; ``scripts/test`` has all."""
EVERYTHING = bool(os.environ.get('MOTION_PREDICTOR_TEST_EVERYTHING'))
"""Whether an absent package is an error: where everything should be installed."""


def absent(error: BaseException | None) -> str:
    """Return the optional package whose absence an error is about; '' for every other error."""
    if EVERYTHING or not isinstance(error, ModuleNotFoundError):
        return ''
    package = (error.name or '').partition('.')[0]
    return package if package in OPTIONAL else ''


class ModuleThatMayLackPackages(pytest.Module):
    """A test module that is skipped where a package that it imports is not installed."""

    def collect(self) -> Any:
        try:
            return list(super().collect())
        except self.CollectError as error:
            if package := absent(error.__cause__):
                text = f'{self.path.name} needs {package}, which is not installed'
                pytest.skip(text, allow_module_level=True)
            raise


def pytest_pycollect_makemodule(module_path: Path, parent: Any) -> pytest.Module:
    """Collect every test module so."""
    return ModuleThatMayLackPackages.from_parent(parent, path=module_path)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Iterator[None]:
    """Skip a test that finds only when it runs that a package is not installed."""
    outcome: Any = yield
    error = call.excinfo.value if call.excinfo else None
    if package := absent(error):
        report = outcome.get_result()
        report.outcome = 'skipped'
        report.longrepr = (str(item.path), 0, f'Skipped: {package} is not installed')


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folders, so that `scripts/test fast` can leave some out."""
    for item in items:
        room = item.path.relative_to(ROOMS).parts[0]
        if room in MARKED:
            item.add_marker(getattr(pytest.mark, MARKED[room]))


CHROMIUMS = ('chromium', 'chromium-browser', 'google-chrome')
Opener = Callable[..., AbstractContextManager[Any]]


@pytest.fixture(scope='session')
def browser() -> Iterator[Any]:
    """Start a headless Chromium, or skip and say what is absent."""
    playwright = pytest.importorskip(
        'playwright.sync_api', reason='no playwright: pip install -r requirements-docs.txt'
    )
    found = os.environ.get('CHROMIUM') or next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if found is None:
        pytest.skip('no Chromium: apt install chromium, or name one with CHROMIUM=/path')
    with playwright.sync_playwright() as started:
        flags = ['--no-sandbox'] if os.geteuid() == 0 else []
        chromium = started.chromium.launch(executable_path=found, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser: Any) -> Opener:
    """
    Return what opens a file in a context of its own, without a network.

    At the end the page must have logged no error, and have asked for nothing that is not there or
    lies elsewhere.
    """

    @contextmanager
    def open_file(path: Path, query: str = '', **settings: Any) -> Iterator[Any]:
        context = browser.new_context(**settings)
        page = context.new_page()
        problems: list[str] = []
        page.on(
            'console',
            lambda said: problems.append(said.text) if said.type == 'error' else None,
        )
        page.on('pageerror', lambda error: problems.append(str(error)))
        page.on('requestfailed', lambda request: problems.append(f'failed: {request.url}'))
        page.on(
            'request',
            lambda request: (
                None
                if request.url.startswith(('file:', 'data:', 'blob:'))
                else problems.append(f'asked for {request.url}')
            ),
        )
        page.goto(path.resolve().as_uri() + query)
        yield page
        context.close()
        assert not problems

    return open_file
