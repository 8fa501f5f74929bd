# SPDX-License-Identifier: Apache-2.0
"""Tests that need a package that is absent are skipped by its name, and by no other error."""

from __future__ import annotations

import os
from pathlib import Path
import subprocess
import sys

import pytest

ROOT = Path(__file__).resolve().parents[3]
HIDDEN = """
import sys
from importlib.machinery import PathFinder
import pytest


class Hiding:
    find_distributions = PathFinder.find_distributions
    invalidate_caches = PathFinder.invalidate_caches

    @staticmethod
    def find_spec(name, path=None, target=None):
        hidden = name.partition('.')[0] == sys.argv[1]
        return None if hidden else PathFinder.find_spec(name, path, target)


sys.meta_path[:] = [Hiding if each is PathFinder else each for each in sys.meta_path]
sys.exit(pytest.main(['-q', '-rs', '-p', 'no:cacheprovider', *sys.argv[2:]]))
"""
"""Runs pytest as where a package is not installed: ``HIDDEN PACKAGE TESTS``."""


def run_without(package: str, *tests: str, everything: str = '') -> tuple[int, str]:
    """Return the exit code of pytest, and what it printed."""
    done = subprocess.run(
        [sys.executable, '-c', HIDDEN, package, *tests],
        cwd=ROOT,
        env={
            **os.environ,
            'MOTION_PREDICTOR_TEST_EVERYTHING': everything,
            'PYTEST_DISABLE_PLUGIN_AUTOLOAD': '1',  # hypothesis brings a plugin
        },
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout


@pytest.mark.slow
def test_a_module_is_skipped_by_the_name_of_what_it_lacks() -> None:
    pytest.importorskip('hypothesis')
    module = 'test/ros/consumers/test_separation.py'
    code, told = run_without('hypothesis', module, 'test/common')
    assert code == 0, told
    assert 'test_separation.py needs hypothesis, which is not installed' in told
    assert ' passed' in told, 'the others are not run'
    code, told = run_without('hypothesis', module, everything='1')
    assert code != 0, 'where everything should be installed, nothing may be skipped'


@pytest.mark.slow
def test_a_package_that_a_robot_needs_is_an_error() -> None:
    code, told = run_without('safetensors', 'test/model/test_weights.py')
    assert code != 0
    assert 'safetensors' in told
