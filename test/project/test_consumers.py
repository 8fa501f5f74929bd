# SPDX-License-Identifier: Apache-2.0
"""The pages of the consumers, and the comparison that the demo of a monitor prints."""

from __future__ import annotations

from pathlib import Path
import re

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / 'docs' / 'guide' / 'consumers').glob('*.md'))
FENCE = re.compile(r'^```(\w+)\n(.*?)^```$', re.DOTALL | re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in FENCE.findall(page.read_text()) if kind == language]


def test_every_consumer_has_a_page() -> None:
    assert {page.stem for page in PAGES} == {
        'README', 'moveit2', 'nav2', 'prescyent', 'ros2_control', 'ssm',
    }  # fmt: skip
    index = (ROOT / 'docs' / 'guide' / 'consumers' / 'README.md').read_text()
    for page in PAGES:
        if page.stem != 'README':
            assert f']({page.name})' in index
            named = re.findall(r'ros2 launch motion_predictor (\S+)', page.read_text())
            assert named, f'{page.name} does not say how to start it'
            assert all((ROOT / 'launch' / name).is_file() for name in named), named


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_settings_are_well_formed_and_exist(page: Path) -> None:
    yaml = pytest.importorskip('yaml')
    from motion_predictor.ros.consumers.settings import CONSUMERS

    for settings in blocks(page, 'yaml'):
        content = yaml.safe_load(settings)
        assert isinstance(content, dict)
        for node, values in content.items():
            if node.startswith('/**/'):
                record = CONSUMERS[node.removeprefix('/**/')]
                for name in values['ros__parameters']:
                    assert hasattr(record, name), f'{page.name}: {name} of {node}'


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r'\]\(([^)#]+)[^)]*\)', page.read_text()):
        assert (page.parent / target).exists(), target


def test_what_is_named_of_our_interface_exists() -> None:
    summaries = pytest.importorskip('motion_predictor.ros.publish.summaries')
    from motion_predictor.ros.parameters import BY_NAME

    topics = {*summaries.SUMMARIES, 'predictions', 'markers', 'model', 'people'}
    for page in [*PAGES, ROOT / 'docs' / 'guide' / 'outputs.md']:
        text = page.read_text()
        for topic in re.findall(r'/motion_predictor/(\w+)|`~/(\w+)`', text):
            name = topic[0] or topic[1]
            assert name in topics | {'speed_scaling_input'}, f'{page.name}: {name}'
        for group in ('occupancy', 'trajectory', 'poses', 'moments'):
            for name in re.findall(rf'`({group}\.\w+)', text):
                assert name in BY_NAME, f'{page.name}: {name}'


# Speed and separation ---------------------------------------------------------------------------

pytest.importorskip('rclpy')
pytest.importorskip('rosbags')

from tools.demo.ssm_demo import Comparison  # noqa: E402


def test_leads_are_times_and_what_was_not_needed_is_counted() -> None:
    times = np.arange(8) * 0.5
    measured = np.array([1.0, 1.0, 1.0, 0.9, 0.4, 0.4, 1.0, 1.0])
    predicted = np.array([1.0, 0.9, 0.4, 0.4, 0.4, 0.4, 1.0, 0.5])
    found = Comparison(times, measured, predicted, 1.0, 0.2)
    assert found.lead_s(1.0) == 1.0
    assert found.lead_s(0.5) == 1.0
    assert found.lead_s(0.1) is None
    assert found.needless_share(ahead_s=1.0) == pytest.approx(1 / 8)
