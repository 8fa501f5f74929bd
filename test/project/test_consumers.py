"""The programs of docs/consumers, and the monitor that the demo of them runs."""

from __future__ import annotations

import ast
from pathlib import Path
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / 'docs' / 'guide' / 'consumers').glob('*.md'))
FENCE = re.compile(r'^```(\w+)\n(.*?)^```$', re.DOTALL | re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in FENCE.findall(page.read_text()) if kind == language]


def functions_of(page: str) -> dict[str, Any]:
    """Constants and functions of a page's program, without its imports and classes."""
    (program,) = blocks(ROOT / 'docs' / 'guide' / 'consumers' / page, 'python')
    tree = ast.parse(program)
    tree.body = [part for part in tree.body if isinstance(part, (ast.Assign, ast.FunctionDef))]
    names: dict[str, Any] = {'np': np}
    exec(compile(tree, page, 'exec'), names)
    return names


def test_every_consumer_has_a_page() -> None:
    assert {page.stem for page in PAGES} == {'README', 'moveit2', 'nav2', 'ros2_control', 'ssm'}
    index = (ROOT / 'docs' / 'guide' / 'consumers' / 'README.md').read_text()
    for page in PAGES:
        if page.stem != 'README':
            assert f']({page.name})' in index
            assert blocks(page, 'python'), page.name


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_programs_and_settings_are_well_formed(page: Path) -> None:
    for program in blocks(page, 'python'):
        tree = compile(program, page.name, 'exec', flags=ast.PyCF_ONLY_AST)
        lines = program.splitlines()
        assert max(len(line) for line in lines) <= 99
        assert any(isinstance(part, ast.ClassDef) for part in tree.body)
    for settings in blocks(page, 'yaml'):
        yaml = pytest.importorskip('yaml')
        assert isinstance(yaml.safe_load(settings), dict)


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


def test_occupancy_is_flattened_into_the_map_of_the_nav2_page() -> None:
    outputs = pytest.importorskip('motion_predictor.ros.publish.outputs')
    flattened = functions_of('nav2.md')['flattened']
    rows = np.zeros(5, dtype=outputs.OCCUPANCY_DTYPE)
    rows['x'], rows['y'], rows['z'] = [1.05, 1.05, 1.05, 99.0, -5.95], [2.05] * 5, [1.0] * 5
    rows['z'][2] = 2.5  # above the robot
    rows['probability'] = [0.2, 0.7, 1.0, 1.0, 0.5]
    rows['t'][4] = 1.5  # further ahead than is looked
    grid = flattened(rows)
    assert grid.shape == (120, 120)
    assert grid[80, 70] == 70, 'the line is y, the column x'
    assert np.count_nonzero(grid) == 1
    assert not flattened(rows[:0]).any()


# Speed and separation ---------------------------------------------------------------------------

pytest.importorskip('rclpy')
pytest.importorskip('rosbags')

from motion_predictor.errors import ConfigError  # noqa: E402
from tools.demo.ssm_demo import (  # noqa: E402
    Comparison,
    permitted_speed_m_s,
    protective_distance_m,
    separation_m,
    SeparationSettings,
)


@given(
    distance_m=st.floats(0.0, 20.0),
    human_speed_m_s=st.floats(0.1, 3.0),
    reaction_s=st.floats(0.0, 1.0),
    deceleration_m_s2=st.floats(0.2, 20.0),
)
def test_the_permitted_speed_is_the_highest_that_keeps_the_protective_distance(
    distance_m: float, human_speed_m_s: float, reaction_s: float, deceleration_m_s2: float
) -> None:
    settings = SeparationSettings(
        human_speed_m_s=human_speed_m_s,
        reaction_s=reaction_s,
        deceleration_m_s2=deceleration_m_s2,
    )
    speed = permitted_speed_m_s(distance_m, settings)
    assert 0.0 <= speed <= settings.full_speed_m_s
    if speed > 0.0:
        assert protective_distance_m(speed, settings) <= distance_m + 1e-9
    if speed < settings.full_speed_m_s:
        assert protective_distance_m(speed + 1e-6, settings) >= distance_m - 1e-9


def test_the_formula_is_the_sum_of_its_terms() -> None:
    settings = SeparationSettings(
        human_speed_m_s=1.6, reaction_s=0.1, deceleration_m_s2=2.0, intrusion_m=0.1
    )
    # 1 m/s: 1.6 (0.1 + 0.5) + 1 * 0.1 + 1 / 4 + 0.1
    assert protective_distance_m(1.0, settings) == pytest.approx(0.96 + 0.1 + 0.25 + 0.1)
    page = functions_of('ssm.md')['permitted_speed']
    for distance_m in (0.0, 0.3, 0.7, 1.2, 3.0):
        assert page(distance_m) == pytest.approx(permitted_speed_m_s(distance_m, settings))


def test_nobody_is_infinitely_far_and_what_is_not_known_is_near() -> None:
    settings = SeparationSettings()
    assert separation_m(np.zeros((0, 3)), (0.0, 0.0, 0.0)) == np.inf
    assert permitted_speed_m_s(np.inf, settings) == settings.full_speed_m_s
    assert permitted_speed_m_s(float('nan'), settings) == 0.0
    assert separation_m(np.array([[3.0, 4.0, 0.0], [9.0, 9.0, 9.0]]), (0.0, 0.0, 0.0)) == 5.0


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match='deceleration_m_s2=0'):
        SeparationSettings(deceleration_m_s2=0.0)
    with pytest.raises(ConfigError, match='reaction_s=-1'):
        SeparationSettings(reaction_s=-1.0)


def test_leads_are_times_and_what_was_not_needed_is_counted() -> None:
    times = np.arange(8) * 0.5
    measured = np.array([1.0, 1.0, 1.0, 0.9, 0.4, 0.4, 1.0, 1.0])
    predicted = np.array([1.0, 0.9, 0.4, 0.4, 0.4, 0.4, 1.0, 0.5])
    found = Comparison(times, measured, predicted, 1.0, 0.2)
    assert found.lead_s(1.0) == 1.0
    assert found.lead_s(0.5) == 1.0
    assert found.lead_s(0.1) is None
    assert found.needless_share(ahead_s=1.0) == pytest.approx(1 / 8)
