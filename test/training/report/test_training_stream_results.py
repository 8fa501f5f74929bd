# SPDX-License-Identifier: Apache-2.0
"""The page of streams is written from what the verb measured, and from nothing else."""

import json
from pathlib import Path

import pytest
from random_models import save_random, save_recording

from training.judge.stream import evaluate_streams
from training.report import stream_results

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope='module')
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp('streams')
    weights = save_random(folder / 'swiftdiff.safetensors')
    data = [
        save_recording(folder / 'one' / 'val.npz', (200, 140)),
        save_recording(folder / 'two' / 'val.npz', (180,), seed=9),
    ]
    words = ['--weights', str(weights), '--data', *map(str, data), '--samples', '4', '--quiet']
    conditions = {
        'plain': [],
        'noisy': ['--noise', '0.01', '--rate', '15', '--order', 'random', '--missing', '0.01'],
        'regimes': ['--regimes', '--memory', 'off', '--wander', '0.005'],
    }
    for name, more in conditions.items():
        out = ['--json', str(folder / f'{name}.json')]
        assert evaluate_streams.main([*words, *out, *more]) == 0
    return [folder / f'{name}.json' for name in conditions]


def written(results: list[Path], page: Path) -> str:
    words = ['--json', *map(str, results), '--out', str(page)]
    assert stream_results.main(words) == 0
    return page.read_text()


@pytest.mark.slow
def test_the_page_shows_what_was_measured_with_what_words(
    results: list[Path], tmp_path: Path
) -> None:
    text = written(results, tmp_path / 'streams.md')
    measured = json.loads(results[0].read_text())
    row = next(row for row in measured['rows'] if row['name'] == 'two')
    low, high = row['error_interval95_cm'][2]
    assert f'{row["error_cm"]["published"][2]:.1f} ({low:.1f} to {high:.1f})' in text
    low, high = row['error_ratio_interval95'][1]
    assert f'{row["error_ratio"][1]:.2f} ({low:.2f} to {high:.2f}) {row["error_best"][1]}' in text
    wrist = ' '.join(f'{value:.1f}' for value in measured['joints'][0]['error_cm']['RWrist'])
    assert f'| RWrist | {wrist} |' in text
    for path in results:
        assert json.loads(path.read_text())['command'] in text
    for heading in (
        '## At a glance',
        "## Played at 25 Hz, no noise, the files' order",
        '## Played at 15 Hz, 10 mm of white noise, joints unseen for 1 % of the time, tasks mixed',
        '## Played at 25 Hz, 5 mm of slow noise, another kind of motion every 5 to 20 s, '
        'memory off',
    ):
        assert f'{heading}\n' in text
    assert text.count('### Joints, cm') == 1  # the first in full
    assert text.count('### Radii') == text.count('### Any minute of any person') == 3
    assert 'nan' not in text
    lines = [*text.splitlines(), '']
    for number, line in enumerate(lines):
        if line.startswith('|---'):  # every row has as many cells as its head
            end = next(i for i in range(number, len(lines)) if not lines[i].startswith('|'))
            assert {row.count('|') for row in lines[number - 1 : end]} == {line.count('|')}
    assert written(results[:1], tmp_path / 'one.md').count('## At a glance') == 0


@pytest.mark.slow
def test_files_of_another_kind_are_refused(
    results: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    page = tmp_path / 'streams.md'
    other = tmp_path / 'other.json'
    other.write_text(json.dumps({'format': 'motion_predictor evaluation', 'version': 1}))
    for words, said in (
        (['--json', str(other)], 'this page is made of'),
        (['--json'], 'name at least one file'),
        (['--json', str(tmp_path / 'nothing.json')], 'no such file'),
    ):
        assert stream_results.main([*words, '--out', str(page)]) == 2
        assert said in capsys.readouterr().err
    assert not page.exists()


def test_the_page_in_the_documentation_is_what_its_command_writes(tmp_path: Path) -> None:
    page = (ROOT / 'docs' / 'results' / 'streams.md').read_text()
    command = next(line for line in page.splitlines() if line.startswith('python -m '))
    words = command.split()[3:]
    files = words[words.index('--json') + 1 : words.index('--out')]
    made = written([ROOT / file for file in files], tmp_path / 'streams.md')

    def without_command(text: str) -> list[str]:
        return [line for line in text.splitlines() if 'training report streams' not in line]

    assert without_command(made) == without_command(page)


@pytest.mark.slow
def test_other_weights_are_named_and_shown_with_their_errors(
    results: list[Path], tmp_path: Path
) -> None:
    other = json.loads(results[0].read_text())
    for place in other['places']:
        place['weights'] = 'resource/weights/moe.safetensors'
    other['rows'][0]['error_cm']['published'] = [1.11, 2.22, 33.3, 44.4]
    path = tmp_path / 'moe.json'
    path.write_text(json.dumps(other))
    text = written([results[0], path], tmp_path / 'streams.md')
    title = "weights moe, 25 Hz, no noise, the files' order"
    assert f'| {title}: error |' in text
    first, second = text.split(f'## Played at {title}')
    assert "## Played at 25 Hz, no noise, the files' order" in first
    assert 'weights moe' not in first.replace(f'| {title}', '')
    assert '33.3 (' in second
    assert '1.1 2.2 33.3 44.4' in second
    assert '### Joints, cm' not in second
