# SPDX-License-Identifier: Apache-2.0
"""The benchmark command: what it times and how it is written down; never how long it takes."""

import json
from pathlib import Path
from typing import Any

from place_people import weights_of
import pytest
from random_models import random_model, save_random
import torch

from motion_predictor.body.skeleton import H36M17
from motion_predictor.model.config import DenoiserConfig, WindowConfig
from motion_predictor.model.weights import save_weights
from motion_predictor.predict.place.memory.place_memory import PlaceMemory
from tools.measure.timed_node import STAGES
from training.judge.speed import benchmark, cases, timing
from training.judge.speed.benchmark_options import BenchmarkOptions
from training.judge.speed.benchmark_weighing import fill
from training.report import results
from training.report.times import benchmark_section


@pytest.fixture(autouse=True)
def small_paper_size(monkeypatch: pytest.MonkeyPatch) -> None:
    size = DenoiserConfig(architecture='mixer', width=24, depth=3, hidden_ratio=1.0)
    monkeypatch.setattr(cases, 'PAPER_SIZE', size)


@pytest.fixture
def weights(tmp_path: Path) -> list[Path]:
    roles = ('teacher', 'one_step', 'swiftdiff')
    return [save_random(tmp_path / f'{role}.safetensors', role) for role in roles]


def run(folder: Path, weights: list[Path], *more: str) -> dict[str, Any]:
    words = ['--json', str(folder / 'times.json'), '--quiet', '--device', 'cpu', '--samples', '3']
    words += ['--repetitions', '4', '--ddim-steps', '2', '--persons', '1', '2', '--threads', '1']
    words += [] if '--node-seconds' in more else ['--node-seconds', '0']
    words += [] if '--crowd-seconds' in more else ['--crowd-seconds', '0']
    words += [] if '--weighing-minutes' in more else ['--weighing-minutes', '0']
    assert benchmark.main([*words, '--weights', *map(str, weights), *more]) == 0
    found: dict[str, Any] = json.loads((folder / 'times.json').read_text())
    return found


@pytest.mark.slow
def test_every_model_is_timed_on_every_engine_for_every_number_of_people(
    tmp_path: Path, weights: list[Path]
) -> None:
    result = run(tmp_path, weights, '--engines', 'fp32', 'bf16')
    found = {(row['model'], row['engine'], row['persons']) for row in result['rows']}
    for persons in (1, 2):
        for model in ('one_step', 'swiftdiff', 'paper_size_3x24'):
            assert {(model, 'fp32', persons), (model, 'bf16', persons)} <= found
        assert sum(model == 'teacher' for model, _, count in found if count == persons) == 1
    for row in result['rows']:
        assert 3 <= row['repetitions'] <= 4
        assert 0 < row['fastest_ms'] <= row['median_ms'] <= row['p99_ms'] <= row['slowest_ms']
        assert row['weights'] == 'random'
        assert row['threads'] == 1


@pytest.mark.slow
def test_ratios_are_against_the_same_setting_of_the_same_run(
    tmp_path: Path, weights: list[Path]
) -> None:
    result = run(tmp_path, weights, '--engines', 'fp32')
    rows = {(row['model'], row['persons']): row for row in result['rows']}
    for persons in (1, 2):
        row, teacher = rows['swiftdiff', persons], rows['teacher', persons]
        expected = teacher['median_ms'] / row['median_ms']
        assert row['times_faster_than']['teacher'] == pytest.approx(expected, abs=1e-3)
        assert set(row['times_faster_than']) == {'teacher', 'one_step'}
        assert set(teacher['times_faster_than']) == {'one_step', 'swiftdiff'}


def test_an_engine_that_cannot_be_had_is_named_and_the_rest_is_timed(
    tmp_path: Path, weights: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = ('fp32', 'steam')
    options = BenchmarkOptions(
        weights=(weights[2],), json=tmp_path / 'x.json', engines=engines, paper_size=False
    )
    missing: list[str] = []
    made = cases.cases_for(options, 1, 1, missing)
    assert [case.facts['engine'] for case in made] == ['fp32']
    assert len(missing) == 1
    assert 'steam' in missing[0]


def test_a_slow_case_is_repeated_less_often_than_a_fast_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    monkeypatch.setattr(timing.time, 'perf_counter', lambda: clock[0])

    def case(seconds: float) -> benchmark.Case:
        def call() -> None:
            clock[0] += seconds

        return benchmark.Case({}, call, 0, [])

    slow = [case(0.001), case(1.0), case(100.0)]
    benchmark.measure(slow, budget_s=5.0, repetitions=50)
    assert [len(case.times_s) for case in slow] == [50, 5, benchmark.FEWEST]
    assert slow[1].row()['median_ms'] == pytest.approx(1000.0)


@pytest.mark.slow
def test_weighing_is_timed_beside_the_model_of_the_same_run(tmp_path: Path) -> None:
    path = tmp_path / 'weighed.safetensors'
    save_weights(path, random_model(), {'what': 'untrained weights'}, weighing=weights_of())
    words = ['--engines', 'fp32', '--no-paper-size', '--weighing-minutes', '0.2']
    result = run(tmp_path, [path, save_random(tmp_path / 'bare.safetensors')], *words)
    rows = {(r['call'], r['persons'], r['remembered_min']): r for r in result['weighing']}
    assert len(rows) == len(result['weighing']) == 8
    assert set(rows) >= {
        ('weigh', 1, 0.0),
        ('weigh', 1, 0.2),
        ('weigh', 8, 0.2),
        ('model', 8, 0.0),
    }
    for (_, persons, _), row in rows.items():
        assert row['model'] == 'weighed'
        alone = rows['model', persons, 0.0]['median_ms']
        assert row['of_model'] == pytest.approx(row['median_ms'] / alone, abs=1e-3)
        assert 0.0 < row['median_ms'] <= row['p99_ms']
    page = benchmark_section(result, tmp_path, tmp_path / 'page.md')
    assert '**Weighing**' in page
    assert f'| {rows["weigh", 8, 0.2]["median_ms"]:.2f} |' in page
    assert 'weighing, weighed: weigh, 8 people' in benchmark.table(result)


def test_a_memory_is_filled_with_as_much_as_is_said() -> None:
    memory = PlaceMemory(WindowConfig(), H36M17)
    fill(memory, 2.0)
    assert memory.moments == pytest.approx(2 * 580, abs=20)


@pytest.mark.slow
def test_threads_are_put_back(tmp_path: Path, weights: list[Path]) -> None:
    before = torch.get_num_threads()
    run(tmp_path, weights[2:], '--no-paper-size', '--threads', '1', '2')
    assert torch.get_num_threads() == before


@pytest.mark.slow
def test_the_page_shows_every_time(tmp_path: Path, weights: list[Path]) -> None:
    result = run(tmp_path, weights, '--engines', 'fp32')
    page = tmp_path / 'docs' / 'results.md'
    assert results.main(['--json', str(tmp_path / 'times.json'), '--out', str(page)]) == 0
    text = page.read_text()
    assert result['command'] in text
    assert (tmp_path / 'docs' / 'images' / 'latency.svg').is_file()
    for row in result['rows']:
        assert f'| {row["median_ms"]:.1f} |' in text


def test_what_cannot_be_timed_is_refused_with_the_reason(
    tmp_path: Path, weights: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = ['--json', str(tmp_path / 'x.json')]
    for words, message in (
        (['--weights', str(tmp_path / 'no.safetensors')], 'no such weights'),
        (['--weights', '--no-paper-size'], 'none is shipped'),
        (['--samples', '0'], 'at least 1'),
        (['--persons', '0'], 'at least 1'),
    ):
        assert benchmark.main([*words, *out]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / 'x.json').exists()


def test_a_dry_run_times_nothing(
    tmp_path: Path,
    weights: list[Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forbidden(options: object, arguments: object) -> dict[str, Any]:
        raise AssertionError('timed something')

    monkeypatch.setattr(benchmark, 'benchmark', forbidden)
    words = ['--weights', *map(str, weights), '--json', str(tmp_path / 'x.json'), '--dry-run']
    assert benchmark.main(words) == 0
    assert 'teacher.safetensors: teacher' in capsys.readouterr().out


@pytest.mark.slow
def test_one_step_models_are_measured_in_the_node_and_the_teacher_is_not(
    tmp_path: Path, weights: list[Path]
) -> None:
    pytest.importorskip('rclpy')
    teacher, _, swiftdiff = weights
    words = ['--engines', 'fp32', '--no-paper-size', '--node-seconds', '8']
    result = run(tmp_path, [teacher, swiftdiff], *words)
    (row,) = result['node']
    assert row['model'] == 'swiftdiff'
    assert 0 < row['predictions_out'] <= row['frames_in']
    assert 0 < row['median_ms'] <= row['p99_ms'] <= row['slowest_ms']
    assert 'node over DDS, swiftdiff' in benchmark.table(result)
    page = benchmark_section(result, tmp_path, tmp_path / 'page.md')
    assert '**In the node**' in page
    assert not result['unavailable']


@pytest.mark.slow
def test_every_stage_of_a_frame_is_timed_in_the_node(tmp_path: Path, weights: list[Path]) -> None:
    pytest.importorskip('rclpy')
    words = ['--engines', 'fp32', '--no-paper-size', '--crowd-seconds', '3', '--crowd', '2']
    result = run(tmp_path, weights[2:], *words)
    assert not result['unavailable']
    rows = result['crowd']['rows']
    assert [(row['checkout'], row['persons'], row['people']) for row in rows] == 2 * [
        ('this', 2, 2)
    ]
    for row in rows:
        assert all(row['stages'][name]['cpu_ms'] > 0.0 for name in STAGES if name != 'moments')
        assert sum(stage['cpu_ms'] for stage in row['stages'].values()) <= row['process_cpu_ms']
        assert 0.0 < row['ros_share'] < 1.0
    assert '| publish |' in benchmark.table(result)


@pytest.mark.slow
def test_a_node_that_cannot_be_measured_is_named(tmp_path: Path, weights: list[Path]) -> None:
    pytest.importorskip('rclpy')
    options = BenchmarkOptions(weights=(weights[2],), json=Path('x'), node_seconds=1000.0)
    missing: list[str] = []
    assert benchmark.node_rows(options, missing) == []
    assert len(missing) == 1
    assert 'must lie in' in missing[0]
