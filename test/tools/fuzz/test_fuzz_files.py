# SPDX-License-Identifier: Apache-2.0
"""A little of the campaign on files: each damaged one is read or refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip('rclpy')
pytest.importorskip('rosbags')
pytest.importorskip('yaml')

from dataclasses import replace

from motion_predictor.errors import RecordingError
from tools.fuzz.__main__ import campaign, Options, page
from tools.fuzz.fuzz import Findings, walker
from tools.fuzz.fuzz_files import fuzz_files, kinds_of_files
from training.common.options import read_options

KINDS = kinds_of_files(walker())


@pytest.mark.parametrize('what', KINDS)
def test_damaged_files_are_read_or_refused_by_name(what: str) -> None:
    findings = Findings()
    read, refused = fuzz_files(what, KINDS[what], 40, 11, findings)
    assert findings.found == []
    assert read + refused == findings.messages == 40
    assert refused > 5, 'they are damaged'


def test_the_campaign_would_find_an_error_of_another_kind() -> None:
    findings = Findings()

    def bare(path: Path) -> None:
        if path.read_bytes() != good:
            raise KeyError(path.name)

    files = KINDS['recordings: BVH']
    good = files.good(Path())
    fuzz_files('bare', replace(files, read=bare), 6, 1, findings)
    assert any('KeyError' in text for text in findings.found)
    longest = Findings()

    def loud(path: Path) -> None:
        if path.read_bytes() != good:
            raise RecordingError('x' * 5000)

    fuzz_files('loud', replace(files, read=loud), 6, 1, longest)
    assert any('an error of 5000 characters' in text for text in longest.found)


def test_files_are_part_of_the_campaign_and_of_its_table(tmp_path: Path) -> None:
    words = ['--joints', '0', '--damaged', '6', '--kinds', 'pose_array']
    options = read_options(Options, 'tools.fuzz', 'Purpose.', words=words)
    parts = {name: run for name, run in campaign(options, walker()) if name in KINDS}
    assert list(parts) == list(KINDS)
    findings = Findings()
    parts['recordings: BVH'](findings)
    assert findings.messages == 6
    result = {
        'command': 'python -m tools.fuzz', 'commit': 'abc', 'machine': 'a machine',
        'motion': 'a walker', 'joints': 0, 'predictions': 0, 'findings': 0,
        'parts': {'recordings: BVH': vars(findings)},
    }  # fmt: skip
    (tmp_path / 'one.json').write_text(json.dumps(result))
    text = page([tmp_path / 'one.json'])
    assert '6 damaged files' in text
    assert (
        f'| recordings: BVH | 6 |  |  | {findings.read or ""} | {findings.refused or ""} |' in text
    )
