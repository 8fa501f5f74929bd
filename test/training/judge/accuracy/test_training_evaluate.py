# SPDX-License-Identifier: Apache-2.0
"""The evaluation command: its rows, what it refuses, and the page made of it."""

import json
from pathlib import Path

from evaluations import row_of, run
import numpy as np
import pytest
from random_models import save_random, save_recording, walking
import torch

from motion_predictor.errors import ConfigError
from motion_predictor.model.config import WindowConfig
from training.common import provenance
from training.engine.diffusion import sampler_for
from training.judge import metrics, plots, scoring
from training.judge.accuracy import evaluate
from training.judge.baselines import (
    constant_root_velocity,
    constant_velocity,
    damped_velocity,
    zero_velocity,
)
from training.judge.futures import PredictionStore
from training.report import results
from training.stages import export

WINDOW = WindowConfig()


def test_every_model_gets_a_row_for_each_set_and_for_both(
    tmp_path: Path, weights: list[Path], recordings: list[Path]
) -> None:
    result = run(tmp_path, weights, recordings)
    models = ['zero_velocity', 'constant_velocity', 'constant_root_velocity', 'damped_velocity']
    models += ['teacher', 'one_step', 'swiftdiff']
    found = [(row['model'], row['set'], row['split'], row['windows']) for row in result['rows']]
    assert found == [
        (model, set_name, 'test', count)
        for model in models
        for set_name, count in (('one', 5), ('two', 1), ('both', 6))
    ]
    for row in result['rows']:
        measures = ('apd', 'ade', 'fde', 'mmade', 'mmfde', 'ade_median', 'ade_worst')
        assert all(np.isfinite(row['pose'][name]) for name in measures)
        assert row['pose']['ade'] <= row['pose']['ade_median'] <= row['pose']['ade_worst']
        assert len(row['horizon']['pose.best']) == len(row['horizon']['times_s']) == 100
        assert sum(action['windows'] for action in row['actions'].values()) == row['windows']
    assert [data['sha256'] for data in result['data']]
    assert [model['sha256'] for model in result['models'] if model['role'] != 'baseline']


def test_both_is_the_mean_over_the_windows_of_the_files(
    tmp_path: Path, weights: list[Path], recordings: list[Path]
) -> None:
    result = run(tmp_path, weights[2:], recordings)
    for part, measure in (('pose', 'ade'), ('pose', 'apd'), ('world', 'fde')):
        one, two, both = (
            row_of(result, 'swiftdiff', name)[part][measure] for name in ('one', 'two', 'both')
        )
        assert both == pytest.approx((5 * one + two) / 6, abs=1e-5)


def test_the_figures_are_those_of_the_futures_that_the_model_gives(
    tmp_path: Path, weights: list[Path], recordings: list[Path]
) -> None:
    (file,) = scoring.load_data(recordings[:1], WINDOW)
    result = run(tmp_path, weights, recordings[:1])
    poses = torch.from_numpy(file.windows.poses)
    future = poses[:, WINDOW.observed_frames :]
    for path in weights:
        sampler = sampler_for(path, device='cpu', ddim_steps=3, engine='fp32')
        futures = torch.from_numpy(sampler.sample(file.observed, samples=4, seed=0, first_index=0))
        row = row_of(result, path.stem, 'one')
        pose = metrics.pose_metrics(metrics.root_relative(futures), metrics.root_relative(future))
        world = metrics.world_metrics(futures, future)
        for part, expected in (('pose', pose), ('world', world)):
            for name, value in expected.items():  # stored in half precision: under a millimetre
                assert row[part][name] == pytest.approx(value.mean().item(), abs=1e-3), name


@pytest.mark.slow
def test_the_batch_size_changes_no_figure(
    tmp_path: Path, weights: list[Path], recordings: list[Path]
) -> None:
    first = run(tmp_path / 'a', weights, recordings, '--batch', '1')
    second = run(tmp_path / 'b', weights, recordings, '--batch', '5')
    for row, other in zip(first['rows'], second['rows']):
        assert row['pose'] == pytest.approx(other['pose'], abs=1e-4)
        assert row['world'] == pytest.approx(other['world'], abs=1e-4)


@pytest.mark.slow
def test_another_seed_gives_other_samples_and_the_same_seed_the_same(
    tmp_path: Path, weights: list[Path], recordings: list[Path]
) -> None:
    first = run(tmp_path / 'a', weights[2:], recordings)
    again = run(tmp_path / 'b', weights[2:], recordings)
    other = run(tmp_path / 'c', weights[2:], recordings, '--seed', '1')
    assert first['rows'] == again['rows']
    assert first['rows'][-1]['pose'] != other['rows'][-1]['pose']


def test_students_are_compared_with_the_teacher_of_the_same_run(
    tmp_path: Path, weights: list[Path], recordings: list[Path]
) -> None:
    result = run(tmp_path, weights, recordings)
    teacher, student = (row_of(result, name, 'both') for name in ('teacher', 'swiftdiff'))
    found = student['against']['pose.ade']
    assert found['ratio'] == pytest.approx(
        student['pose']['ade'] / teacher['pose']['ade'], rel=1e-4
    )
    low, high = found['interval95']
    assert low <= found['ratio'] <= high
    assert 'against' not in teacher


class CountingSampler:
    """Moves the last pose by the window's index; may be stopped like a killed process."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.seen: list[int] = []
        self.stop_after = stop_after

    def sample(
        self, observed: np.ndarray, *, samples: int, seed: int, first_index: int
    ) -> np.ndarray:
        for i in range(len(observed)):
            if self.stop_after is not None and len(self.seen) >= self.stop_after:
                raise KeyboardInterrupt
            self.seen.append(first_index + i)
        index = np.arange(first_index, first_index + len(observed), dtype=np.float32)
        futures = np.repeat(observed[:, None, -1:], samples, axis=1)
        futures = np.repeat(futures, WINDOW.future_frames, axis=2)
        return futures + index[:, None, None, None, None]


def test_a_killed_evaluation_goes_on_where_it_stopped(tmp_path: Path) -> None:
    observed = np.stack([walking(25, seed) for seed in range(7)])

    def store() -> PredictionStore:
        return PredictionStore(tmp_path, {'a': 1}, 7, 2, WINDOW, 17)

    killed = CountingSampler(stop_after=5)
    with pytest.raises(KeyboardInterrupt):
        store().fill(killed, observed, seed=0, batch=2, commit='c1')
    assert store().done == 4
    rest = CountingSampler()
    advanced: list[int] = []
    found = store()
    found.fill(rest, observed, seed=0, batch=2, commit='c2', advance=advanced.append)
    assert rest.seen == [4, 5, 6]
    assert advanced == [2, 1]
    assert found.complete
    assert found.progress['commits'] == ['c1', 'c2']
    root, pose = found.read(0, 7)
    np.testing.assert_allclose(root[:, 0, 0, 0], np.arange(7), atol=1e-5)
    relative = observed[:, -1, 1:] - observed[:, -1, :1]
    np.testing.assert_allclose(pose[:, 1, 50], relative, atol=1e-3)


def test_other_settings_get_another_store_and_fresh_forgets(tmp_path: Path) -> None:
    observed = walking(25)[None]
    first = PredictionStore(tmp_path, {'seed': 0}, 1, 2, WINDOW, 17)
    first.fill(CountingSampler(), observed, seed=0, batch=1, commit=None)
    assert PredictionStore(tmp_path, {'seed': 0}, 1, 2, WINDOW, 17).complete
    assert not PredictionStore(tmp_path, {'seed': 1}, 1, 2, WINDOW, 17).complete
    assert not PredictionStore(tmp_path, {'seed': 0}, 1, 2, WINDOW, 17, fresh=True).complete


def test_a_store_that_lost_an_array_starts_again(tmp_path: Path) -> None:
    observed = walking(25)[None]
    first = PredictionStore(tmp_path, {}, 1, 2, WINDOW, 17)
    first.fill(CountingSampler(), observed, seed=0, batch=1, commit=None)
    (first.folder / 'pose.npy').unlink()
    assert PredictionStore(tmp_path, {}, 1, 2, WINDOW, 17).done == 0


def test_limit_spreads_the_windows_and_keeps_all_multimodal_futures(
    tmp_path: Path, recordings: list[Path]
) -> None:
    result = run(tmp_path, [], recordings, '--limit', '2')
    assert [data['scored'] for data in result['data']] == [2, 1]
    assert [data['windows'] for data in result['data']] == [5, 1]
    files = scoring.load_data(recordings, WINDOW, 3)
    assert files[0].chosen.tolist() == [0, 2, 4]
    assert row_of(result, 'zero_velocity', 'both')['windows'] == 3


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(
    tmp_path: Path,
    weights: list[Path],
    recordings: list[Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ['--data', *map(str, recordings), '--weights', *map(str, weights)]
    before = sorted(tmp_path.rglob('*'))
    assert evaluate.main([*words, '--json', str(tmp_path / 'x.json'), '--dry-run']) == 0
    said = capsys.readouterr().out
    assert 'both/test: 6 windows' in said
    assert 'teacher, DDIM 100' in said
    assert sorted(tmp_path.rglob('*')) == before


def test_what_cannot_be_evaluated_is_refused_with_the_reason(
    tmp_path: Path,
    weights: list[Path],
    recordings: list[Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    data, out = str(recordings[0]), ['--json', str(tmp_path / 'x.json'), '--device', 'cpu']
    short = save_random(tmp_path / 'short.safetensors', window=WindowConfig(future_frames=50))
    same = save_random(tmp_path / 'other' / 'teacher.safetensors')
    for words, message in (
        (['--data', str(tmp_path / 'no.npz')], 'no such file'),
        (['--data', data, data], 'a second file for one/test'),
        (['--data', data, '--samples', '0'], 'at least 1'),
        (['--data', data, '--seed', '-1'], 'not be negative'),
        (['--data', data, '--limit', '0'], 'at least 1'),
        (['--data', data, '--weights', str(tmp_path / 'no.safetensors')], 'no such weights'),
        (['--data', data, '--weights', str(weights[2]), str(short)], 'separate runs'),
        (['--data', data, '--weights', str(weights[0]), str(same)], 'two files of one name'),
    ):
        assert evaluate.main([*words, *out]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / 'x.json').exists()


def test_baselines_do_what_they_say() -> None:
    observed = np.zeros((1, 3, 17, 3), np.float32)
    observed[0, :, 0, 0] = [0.0, 0.1, 0.3]  # the root starts to move
    observed[0, :, 1, 1] = [0.0, 0.0, 1.0]  # and a joint beside it
    still = zero_velocity(observed, 4)
    assert still.shape == (1, 1, 4, 17, 3)
    np.testing.assert_array_equal(still[0, 0, 3], observed[0, -1])
    moving = constant_velocity(observed, 4)
    np.testing.assert_allclose(moving[0, 0, :, 0, 0], [0.5, 0.7, 0.9, 1.1], rtol=1e-5)
    np.testing.assert_allclose(moving[0, 0, :, 1, 1], [2.0, 3.0, 4.0, 5.0], rtol=1e-5)
    gliding = constant_root_velocity(observed, 4)
    np.testing.assert_allclose(gliding[0, 0, :, 1, 0], [0.2, 0.4, 0.6, 0.8], rtol=1e-5)
    np.testing.assert_allclose(gliding[0, 0, :, 1, 1], 1.0)


@pytest.mark.parametrize('rate_hz', [50.0, 100.0])
def test_damped_velocity_comes_to_rest_after_a_fifth_of_a_second_of_it(rate_hz: float) -> None:
    steps = round(0.1 * rate_hz)  # five frames of 50 Hz
    observed = np.zeros((1, 2 * steps, 17, 3), np.float32)
    observed[0, -steps - 1 :, 3, 0] = np.linspace(0.0, 0.05, steps + 1) ** 2 * 20  # .05 m in .1 s
    damped = damped_velocity(observed, round(2.0 * rate_hz), rate_hz)
    ahead_s = np.arange(1, round(2.0 * rate_hz) + 1) / rate_hz
    expected = 0.05 + 0.5 * 0.2 * (1.0 - np.exp(-ahead_s / 0.2))
    np.testing.assert_allclose(damped[0, 0, :, 3, 0], expected, rtol=1e-5)
    assert not damped[0, 0, :, 4].any()


def test_intervals_hold_the_mean_and_shrink_to_a_point_without_spread() -> None:
    values = np.random.default_rng(0).normal(1.0, 0.2, 60)
    clusters = np.repeat(np.arange(12), 5)
    low, high = scoring.bootstrap_interval(values, np.ones(60), clusters)
    assert low < values.mean() < high
    assert scoring.bootstrap_interval(values, values, clusters) == pytest.approx((1.0, 1.0))
    assert scoring.bootstrap_interval(values, np.ones(60), np.zeros(60, int)) == pytest.approx(
        (values.mean(), values.mean())
    )


@pytest.mark.slow
def test_the_page_names_command_commit_and_weights_and_is_the_same_each_time(
    tmp_path: Path, weights: list[Path], recordings: list[Path]
) -> None:
    result = run(tmp_path, weights, recordings)
    page = tmp_path / 'docs' / 'results.md'
    words = ['--json', str(tmp_path / 'out.json'), '--out', str(page)]
    assert results.main(words) == 0
    text = page.read_text()
    assert result['command'] in text
    for model in result['models']:
        if model['role'] != 'baseline':
            assert model['sha256'][:12] in text
    for row in result['rows']:
        assert f'{row["world"]["fde_worst"]:.3f}' in text
    images = sorted((tmp_path / 'docs' / 'images').iterdir())
    assert [image.name for image in images] == [
        f'horizon_{name}_test.svg' for name in ('both', 'one', 'two')
    ]
    assert all(f'](images/{image.name})' in text for image in images)
    before = [page.read_bytes(), *(image.read_bytes() for image in images)]
    assert results.main(words) == 0
    assert [page.read_bytes(), *(image.read_bytes() for image in images)] == before


def test_a_page_of_something_else_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = tmp_path / 'strange.json'
    for content, message in (
        ('{"format": "x"}', 'not of training'),
        ('nonsense', 'cannot be read as JSON'),
        (json.dumps({'format': evaluate.FORMAT, 'version': 0}), 'version 0'),
    ):
        strange.write_text(content)
        assert results.main(['--json', str(strange), '--out', str(tmp_path / 'p.md')]) == 2
        assert message in capsys.readouterr().err


def test_recorded_paths_do_not_name_folders_outside_the_repository() -> None:
    inside = provenance.REPOSITORY / 'resource' / 'weights' / 'a.safetensors'
    assert provenance.shown_path(inside) == 'resource/weights/a.safetensors'
    outside = '/a folder of somebody/b.npz'
    assert provenance.shown_path(outside) == 'b.npz'
    command = provenance.command_line('training evaluate', ['--data', outside])
    assert command == 'python -m training evaluate --data b.npz'


def test_names_say_what_a_model_is_once() -> None:
    row = {'model': 'swiftdiff', 'label': 'SwiftDiff', 'role': 'swiftdiff'}
    assert plots.shown_name(row) == 'SwiftDiff'
    assert plots.shown_name({**row, 'model': 'wide'}) == 'SwiftDiff (wide)'


def test_a_set_of_files_without_a_common_split_is_not_put_together(tmp_path: Path) -> None:
    files = scoring.load_data(
        [
            save_recording(tmp_path / 'one' / 'val.npz', (63,)),
            save_recording(tmp_path / 'one' / 'test.npz', (63,)),
        ],
        WINDOW,
    )
    assert [group.label for group in scoring.make_groups(files)] == ['one/val', 'one/test']
    with pytest.raises(ConfigError, match='limit'):
        scoring.load_data([], WINDOW, 0)


def test_cards_get_the_scores_of_their_own_file_alone(
    tmp_path: Path, weights: list[Path], recordings: list[Path]
) -> None:
    result = run(tmp_path, weights[2:], recordings)
    save_random(tmp_path / 'other.safetensors', 'swiftdiff', 50)
    before = weights[2].read_bytes()
    words = ['--out', str(tmp_path), '--cards', str(tmp_path / 'out.json')]
    export.main(words)
    assert not (tmp_path / 'other.md').exists()
    assert weights[2].read_bytes() == before
    card = weights[2].with_suffix('.md').read_text()
    row = row_of(result, 'swiftdiff', 'both')
    assert f'"ADE": {row["pose"]["ade"]:.3f}'.rstrip('0') in card
    assert 'zero velocity' in card
    (tmp_path / 'out.json').write_text('[]')
    with pytest.raises(SystemExit, match='no evaluation'):
        export.main(words)


@pytest.mark.slow
def test_a_trackers_noise_is_seen_by_models_and_baselines_and_not_by_the_scores(
    tmp_path: Path, weights: list[Path], recordings: list[Path]
) -> None:
    clean = run(tmp_path / 'clean', weights[2:], recordings)
    noise = ('--tracker-noise', '0.05')
    seen = run(tmp_path / 'noisy', weights[2:], recordings, *noise)
    again = run(tmp_path / 'again', weights[2:], recordings, *noise, '--batch', '2')
    for one, other in zip(seen['rows'], again['rows'], strict=True):  # whatever the batch
        assert one.keys() == other.keys()
        for part, found in one.items():  # but for how a processor adds up
            figures = found.items() if isinstance(found, dict) else [(part, found)]
            for name, figure in figures:
                wanted = other[part][name] if isinstance(found, dict) else other[part]
                if not isinstance(figure, (str, dict)):
                    wanted = pytest.approx(wanted, abs=1e-5)
                assert figure == wanted, (part, name)
    for name in ('swiftdiff', 'constant_velocity', 'zero_velocity'):
        without, behind = (row_of(each, name, 'both') for each in (clean, seen))
        assert behind['pose']['ade'] > without['pose']['ade']
        assert behind['world']['ade'] > without['world']['ade']
    # 5 cm on 16 joints and on the root that they are relative to; a last pose that stays
    expected = 0.05 * (2 * 3 * 16) ** 0.5
    still, really = (
        row_of(each, 'zero_velocity', 'both')['pose']['ade'] for each in (seen, clean)
    )
    assert 0.5 * expected < still < 2.0 * expected + really
    again = run(tmp_path / 'clean', weights[2:], recordings)
    assert again['rows'] == clean['rows']  # what is kept of the two is not mixed up


@pytest.mark.slow
def test_the_page_sets_evaluations_behind_a_noisy_tracker_apart(
    tmp_path: Path, weights: list[Path], recordings: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, weights[2:], recordings)
    plain = (tmp_path / 'out.json').rename(tmp_path / 'plain.json')
    run(tmp_path, weights[2:], recordings, '--tracker-noise', '0.01')
    page = tmp_path / 'page.md'
    words = ['--out', str(page), '--json', str(tmp_path / 'out.json')]
    assert results.main(words) == 2
    assert 'without --tracker-noise' in capsys.readouterr().err
    assert results.main([*words, str(plain)]) == 0
    text = page.read_text()
    assert '## Behind a noisy tracker' in text
    assert '### 10 mm' in text
    assert text.index('## Accuracy') < text.index('### 10 mm')
    assert text.count('## Accuracy') == 1


@pytest.mark.slow
def test_what_followed_in_the_training_set_is_a_row_beside_the_models(
    tmp_path: Path, weights: list[Path], recordings: list[Path], capsys: pytest.CaptureFixture
) -> None:
    train = save_recording(tmp_path / 'one' / 'train.npz', (150, 120), seed=10)
    result = run(tmp_path, weights[2:], recordings, '--neighbours', str(train))
    assert [model['model'] for model in result['models']][-2:] == ['neighbours', 'swiftdiff']
    facts = result['models'][-2]
    assert (facts['samples'], facts['windows'], len(facts['files'])) == (4, 12, 1)
    row = row_of(result, 'neighbours', 'both')
    assert row['windows'] == 6
    assert row['world']['ade'] < row_of(result, 'zero_velocity', 'both')['world']['ade']
    words = ['--data', *map(str, recordings), '--neighbours', str(recordings[0])]
    assert evaluate.main([*words, '--json', str(tmp_path / 'x.json'), '--quiet']) == 2
    assert 'is judged as well' in capsys.readouterr().err
