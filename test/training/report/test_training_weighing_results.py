# SPDX-License-Identifier: Apache-2.0
"""The page of left-out laboratories is what its command writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.report import weighing_results

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_in_the_documentation_is_what_its_command_writes(tmp_path: Path) -> None:
    out = tmp_path / 'weighing.md'
    source = ROOT / 'docs' / 'results' / 'data' / 'weighing.json'
    assert weighing_results.main(['--json', str(source), '--out', str(out)]) == 0

    def without_command(text: str) -> list[str]:
        return [line for line in text.splitlines() if 'training report weighing' not in line]

    kept = (ROOT / 'docs' / 'results' / 'weighing.md').read_text()
    assert without_command(out.read_text()) == without_command(kept)


def test_files_of_another_kind_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    other = tmp_path / 'other.json'
    other.write_text(json.dumps({'format': 'motion_predictor evaluation', 'version': 1}))
    out = tmp_path / 'weighing.md'
    assert weighing_results.main(['--json', str(other), '--out', str(out)]) == 2
    assert 'this page is made of' in capsys.readouterr().err
    assert not out.exists()
