# SPDX-License-Identifier: Apache-2.0
"""From a teacher to a mixture of experts that predicts, on synthetic walks."""

from dataclasses import replace
import json
from pathlib import Path
import shutil
from typing import Any

import numpy as np
import pytest
from random_models import save_random, save_recording
import torch

from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import ConfigError
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.networks.experts import MotionExperts
from motion_predictor.model.weights import load_weights
from motion_predictor.predict.predictor import Predictor
from training.engine.checkpoints import load_checkpoint
from training.engine.loop import Loop
from training.engine.overrides import override
from training.engine.presets import preset
from training.judge.accuracy import evaluate_moe
from training.report.moe_results import main as write_page
from training.report.moe_results import outside_of_the_network
from training.stages import distill_moe, export
from training.stages.losses import displacement_errors
from training.stages.mixture import parts as parts_of_it
from training.stages.mixture import vdd_training
from training.stages.mixture.nearest import Nearest, NearestExpert, ROOT
from training.stages.mixture.terms import vdd_config
from training.stages.mixture.vdd import Batch, VddConfig
from training.stages.mixture.vdd_training import distil


@pytest.fixture(scope='module')
def moe_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('moe') / 'debug'
    for role in ('teacher', 'one_step'):
        save_random(folder / f'{role}.safetensors', role)
    options = ['--preset', 'debug', '--run', str(folder), '--device', 'cpu', '--set', 'pool=64']
    distill_moe.main([*options, 'moe.vdd.steps=12', 'moe.vdd.save_every=6'])
    return folder


def test_the_mixture_predicts_ranked_futures(moe_run: Path) -> None:
    predictor = Predictor.load(moe_run / 'moe.safetensors', device='cpu')
    assert predictor.model.config.role == 'moe'
    observed = np.zeros((25, 17, 3), dtype=np.float32)
    observed[..., 2] = np.linspace(0.0, 1.0, 17)
    prediction = predictor.predict(observed, samples=3)
    assert np.isfinite(prediction.futures).all()
    assert (np.diff(prediction.weights[0]) <= 0.0).all()
    assert set(predictor.card['teachers']) == {'teacher'}


def test_exported_mixtures_replay_their_golden_pair(moe_run: Path, tmp_path: Path) -> None:
    export.main(['--run', str(moe_run), '--out', str(tmp_path), '--only', 'moe'])
    predictor = Predictor.load(tmp_path / 'moe.safetensors', device='cpu')
    assert predictor.golden_error_m() < 1e-4
    assert 'experts, width 16' in (tmp_path / 'moe.md').read_text()


def test_a_second_call_goes_on_from_the_checkpoint_and_the_kept_samples(moe_run: Path) -> None:
    for folder, steps in (
        ('moe/means', 12),
        ('moe/covariances', 10),
        ('moe/together', 4),
        ('moe', 3),
    ):
        saved = load_checkpoint(moe_run / folder / 'checkpoint.pt')
        assert saved is not None
        assert saved['step'] == steps
    kept = sorted(path.name.split('_')[0] for path in (moe_run / 'moe_samples').iterdir())
    assert kept == ['futures', 'windows']


@pytest.mark.slow
@pytest.mark.slow
def test_where_a_part_is_longer_those_after_it_begin_anew(
    moe_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / 'run'
    shutil.copytree(moe_run, run)
    begun: dict[str, int] = {}

    class Watched(Loop):
        def run(self) -> Any:
            begun[self.title] = self.begin
            return super().run()

    monkeypatch.setattr(vdd_training, 'Loop', Watched)
    words = ['--preset', 'debug', '--run', str(run), '--device', 'cpu', '--set', 'pool=64']
    words += ['moe.vdd.steps=12', 'moe.vdd.save_every=6']
    distill_moe.main([*words, 'moe.points_last=5'])
    assert begun == {'vdd': 12, 'covariances': 10, 'together': 4, 'points': 3}
    distill_moe.main([*words, 'moe.points_last=5', 'moe.together_last=6'])
    assert begun == {'vdd': 12, 'covariances': 10, 'together': 4, 'points': 0}
    with pytest.raises(SystemExit, match=r'likelihood_first=0, now 3'):  # a part that was not
        distill_moe.main(
            [*words, 'moe.points_last=5', 'moe.together_last=6', 'moe.likelihood_first=3']
        )


@pytest.mark.slow
def test_a_teacher_is_asked_about_histories_without_noise_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for role in ('teacher', 'one_step'):
        save_random(tmp_path / f'{role}.safetensors', role)
    seen: list[Batch] = []

    def caught(network: Any, score: Any, batches: Any, *_: Any, **__: Any) -> Any:
        seen.append(batches(torch.Generator().manual_seed(0)))
        return network

    monkeypatch.setattr(parts_of_it, 'distil', caught)
    words = ['--preset', 'debug', '--run', str(tmp_path), '--device', 'cpu', '--set', 'pool=64']
    words += ['moe.batch=32', 'moe.augmentation.jitter_share=0.5', 'moe.cross_fit.folds=0']
    distill_moe.main(words)
    batch = seen[0]
    assert batch.known is not None
    assert 0 < batch.known < 32
    assert batch.real is not None
    apart = (batch.drawn - batch.real).abs().amax(dim=-1)[0]
    assert (apart[: batch.known] > 0.0).all()  # the teacher's sample
    assert (apart[batch.known :] == 0.0).all()  # the recording instead


@pytest.mark.parametrize('method', ['em_data', 'em_teacher', 'winner'])
def test_a_control_is_the_same_network_without_the_score(method: str) -> None:
    chain = preset('debug')
    moe = replace(chain.moe, method=method)
    settings = vdd_config(moe)
    assert settings.reverse == 0.0
    assert settings.winner == (method == 'winner')
    assert (settings.real > 0.0) == (method != 'em_teacher')


@pytest.mark.slow
@pytest.mark.parametrize('method', ['vdd', 'em_teacher'])
def test_likelihood_comes_first_and_the_method_goes_on_from_there(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for role in ('teacher', 'one_step'):
        save_random(tmp_path / f'{role}.safetensors', role)
    calls: list[tuple[dict[str, torch.Tensor], Any, VddConfig, Path]] = []
    begun: list[dict[str, torch.Tensor]] = []

    def watched(network: Any, score: Any, batches: Any, config: VddConfig, **more: Any) -> Any:
        begun.append({name: value.clone() for name, value in network.state_dict().items()})
        learning = {
            name.split('.')[0] for name, p in network.named_parameters() if p.requires_grad
        }
        assert (learning == {'points'}) == (more['title'] == 'points')
        result = distil(network, score, batches, config, **more)
        ended = {name: value.clone() for name, value in result.state_dict().items()}
        calls.append((ended, score, config, more['folder']))
        return result

    monkeypatch.setattr(parts_of_it, 'distil', watched)
    words = ['--preset', 'debug', '--run', str(tmp_path), '--device', 'cpu', '--set', 'pool=64']
    words += ['moe.likelihood_first=7', 'moe.vdd.steps=5', 'moe.vdd.save_every=5']
    distill_moe.main([*words, f'moe.method={method}'])
    (first, score, config, folder), (means, _, second, _), (last, scoreless, third, _) = calls[:3]
    fourth = calls[3]
    assert len(calls) == (5 if method == 'vdd' else 4)
    for together, _, ended, _ in calls[4:]:  # the points alone: the density stays as it is
        assert (ended.steps, ended.learning_rate) == (3, 0.002)
        apart = {name for name in together if not torch.equal(together[name], fourth[0][name])}
        assert {name.split('.')[0] for name in apart} == {'points'}
    assert score is None
    assert fourth[2].steps == 4
    assert not torch.equal(fourth[0]['code'], last['code'])  # everything learns once more
    assert scoreless is None
    assert (config.steps, config.learning_rate, config.reverse) == (7, 0.002, 0.0)
    assert (config.real, config.warm) == ((0.0, 1.0) if method == 'em_teacher' else (1.0, 0.0))
    assert second.steps == 5
    assert (folder / 'checkpoint.pt').is_file()
    assert folder.name == 'first'
    for name, value in first.items():
        assert torch.equal(begun[1][name], value)
    learned = [name for name, value in begun[0].items() if not torch.equal(value, begun[1][name])]
    assert learned
    # in the end the covariances and the gate alone
    assert (third.steps, third.real, third.warm) == (10, config.real, config.warm)
    others = [name for name in last if 'loading' not in name]
    apart = {name for name in others if not torch.equal(last[name], means[name])}
    assert apart
    assert {name.split('.')[0] for name in apart} <= {
        'value_gain', 'expert_gain', 'log_scale',
        'gate', 'gate_bias', 'gate_features', 'gate_condition',
    }  # fmt: skip
    assert means['loading'].shape[1] == 1
    assert last['loading'].shape[1] == 2
    assert last['loading_change.2.weight'].abs().sum() > 0.0


@pytest.mark.slow
def test_it_begins_from_weights_of_the_same_size_whatever_their_covariances(
    moe_run: Path, tmp_path: Path
) -> None:
    for role in ('teacher', 'one_step'):
        save_random(tmp_path / f'{role}.safetensors', role)
    words = ['--preset', 'debug', '--run', str(tmp_path), '--device', 'cpu', '--set', 'pool=64']
    words += ['moe.vdd.steps=2', f'moe.start={moe_run / "moe.safetensors"}']
    with pytest.raises(SystemExit, match='its network is'):
        distill_moe.main([*words, 'moe.model.denoiser.width=32'])
    shutil.rmtree(tmp_path / 'moe')
    distill_moe.main(words)
    assert load_weights(tmp_path / 'moe.safetensors').model.config.denoiser.loading_width == 8


def test_points_learn_with_the_features_and_leave_the_density_alone(moe_run: Path) -> None:
    model = load_weights(moe_run / 'moe.safetensors').model
    conditions = torch.randn(5, model.config.condition_rows, 51)
    mixture = model.denoiser(conditions)
    assert mixture.points is not None
    assert (mixture.points - mixture.means).abs().max() > 0.0
    network = model.denoiser.network.requires_grad_(True)
    network(conditions).points.sum().backward()
    reached = {name.split('.')[0] for name, p in network.named_parameters() if p.grad is not None}
    assert {'points', 'blocks', 'code', 'condition'} <= reached
    of_the_density = {
        'out', 'offset', 'shared', 'log_scale', 'value_gain', 'expert_gain', 'loading',
        'loading_change', 'gate', 'gate_bias', 'gate_features', 'gate_condition',
    }  # fmt: skip
    assert not reached & of_the_density


def test_the_term_of_the_nearest_expert_is_its_distance_in_metres_and_fades() -> None:
    base = preset('debug')
    config = base.model_of('moe')
    model = MotionModel(config, H36M17)
    experts = model.denoiser
    assert isinstance(experts, MotionExperts)
    with torch.no_grad():
        flat = model.state_scale.numel()
        encoder = torch.linalg.qr(torch.randn(flat, config.denoiser.latent))[0]
        experts.set_directions(encoder, encoder.T)
    means = torch.randn(3, config.denoiser.experts, config.denoiser.latent)
    made = model.denoiser(torch.zeros(3, config.condition_rows, 51))
    mixture = replace(made, means=means, points=None)
    whole = experts.decode(means[:, 2], 51)  # what happens is what the third expert says
    batch = Batch(torch.zeros(3, 1), means[None, :, 2], means[None, :, 2], whole)
    weights = Nearest(best=2.0, end=1.0, fade=0.25, everyone=0.0)
    term = NearestExpert(weights, model)
    assert float(term(mixture, batch, 0.0)) == pytest.approx(0.0, abs=1e-3)
    moved = replace(batch, whole=whole + 1.0, real=batch.real)
    full = term(mixture, moved, 0.0)
    off = torch.ones(3, *model.state_scale.shape) * model.state_scale
    far = [displacement_errors(frames @ off) for frames in (term.frames, term.frames[-1:])]
    overall, at_end = ((pose + ROOT * root).mean() for pose, root in far)
    torch.testing.assert_close(full, 2.0 * overall + 1.0 * at_end)
    torch.testing.assert_close(term(mixture, moved, 1.0), 0.25 * full)
    torch.testing.assert_close(term(mixture, moved, 0.5), 0.625 * full)
    with_points = replace(mixture, means=means + 1.0, points=means)  # it is the points that count
    torch.testing.assert_close(term(with_points, moved, 1.0), 0.25 * full)
    with pytest.raises(ConfigError, match='best_fade=2'):
        replace(base.moe, best_fade=2.0)


@pytest.mark.slow
def test_without_steps_of_its_own_the_method_has_the_last_part_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_random(tmp_path / 'teacher.safetensors', 'teacher')
    parts: list[tuple[str, bool]] = []

    def watched(network: Any, score: Any, *given: Any, **more: Any) -> Any:
        parts.append((more['title'], score is not None))
        return distil(network, score, *given, **more)

    monkeypatch.setattr(parts_of_it, 'distil', watched)
    words = ['--preset', 'debug', '--run', str(tmp_path), '--device', 'cpu', '--set', 'pool=64']
    distill_moe.main([*words, 'moe.likelihood_first=2', 'moe.vdd.steps=0'])
    named = ['likelihood first', 'covariances', 'together', 'points']
    assert parts == [(name, name == 'together') for name in named]


def test_settings_of_the_mixture_that_cannot_be_are_named() -> None:
    for name, value in (('likelihood_first', '-1'), ('vdd.samples', '0'), ('best', '-1')):
        with pytest.raises(ConfigError, match=f'{name.split(".")[-1]}={value}'):
            override(preset('debug'), {f'moe.{name}': value})


def test_the_likelihood_of_positions_is_a_density_of_the_pose_at_instants_to_the_end(
    moe_run: Path,
) -> None:
    model = load_weights(moe_run / 'moe.safetensors').model
    still = np.zeros((17, 3), dtype=np.float32)
    still[:, 2] = np.linspace(0.0, 1.0, 17)
    windows = torch.from_numpy(still).expand(1, 125, -1, -1).clone()
    found = evaluate_moe.likelihoods(model, windows)
    density = []
    for frame in (9, 24, 49, 74, 99):  # 0.2, 0.5, 1, 1.5 and 2 s at 50 Hz
        moved = windows.clone()
        moved[:, 25 + frame] += 5.0
        density.append(float(evaluate_moe.likelihoods(model, moved)['position_nll']))
    assert all(value > float(found['position_nll']) + 1.0 for value in density)
    elsewhere = windows.clone()
    elsewhere[:, 25 + 60] += 5.0  # no instant that is looked at
    same = evaluate_moe.likelihoods(model, elsewhere)['position_nll']
    assert float(same) == pytest.approx(float(found['position_nll']), abs=1e-5)


@pytest.mark.slow
def test_mixtures_are_scored_and_the_page_says_so(moe_run: Path, tmp_path: Path) -> None:
    val = save_recording(tmp_path / 'made' / 'val.npz', (70, 80))
    test = save_recording(tmp_path / 'made' / 'test.npz', (70, 80), seed=5)
    out = tmp_path / 'moe.json'
    options = ['--weights', str(moe_run / 'moe.safetensors'), '--json', str(out), '--quiet']
    options += ['--samples', '6', '--held-out', 'walk', '--data', str(val), str(test)]
    assert evaluate_moe.main(options) == 0
    rows = json.loads(out.read_text())['rows']
    scored = [row for row in rows if row['set'] == 'made']
    assert all(row['pose.top5'] <= row['pose.top3'] <= row['pose.top1'] for row in scored)
    assert all(row['pose.few5'] <= row['pose.few1'] for row in scored)
    assert all(0.0 <= row['reliability']['ece'] <= 1.0 for row in scored)
    surprise = {row['split']: row for row in rows if row['set'] == 'surprise'}
    assert surprise['val']['false_alarms'] <= 0.5
    assert 0.0 <= surprise['test']['roc']['auc'] <= 1.0
    plain = tmp_path / 'plain.json'
    result = json.loads(out.read_text())
    result['settings']['held_out'] = ''
    plain.write_text(json.dumps(result))
    shipped = tmp_path / 'shipped'
    words = ['--run', str(moe_run), '--out', str(shipped), '--only', 'moe', '--dtype', 'int8']
    export.main([*words, '--surprise', str(out)])
    deployed = Predictor.load(shipped / 'moe.safetensors', device='cpu')
    assert deployed.surprise_threshold == surprise['val']['threshold']
    with pytest.raises(SystemExit, match=r'evaluate that file'):
        export.main([*words[:-2], '--surprise', str(tmp_path / 'none.json')])
    page = tmp_path / 'moe.md'
    words = ['--json', str(plain), str(out), '--out', str(page), '--images', str(tmp_path)]
    assert write_page(words) == 0
    text = page.read_text()
    assert '## Weights and likelihood' in text
    assert '## Motion that the model never saw' in text
    result['version'] = 1
    plain.write_text(json.dumps(result))
    assert write_page([*words[:1], str(plain), *words[3:]]) == 2  # has no likelihood of positions
    for name in ('reliability_moe.svg', 'moe_roc.svg'):
        assert f']({name})' in text
        assert (tmp_path / name).is_file()


@pytest.mark.slow
def test_rows_of_mixtures_that_are_not_at_hand_are_taken_over(
    moe_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    val = save_recording(tmp_path / 'made' / 'val.npz', (70, 80))
    old, other = tmp_path / 'old' / 'moe.safetensors', moe_run / 'moe.safetensors'
    old.parent.mkdir()
    shutil.copy(other, old)
    kept, out, page = tmp_path / 'kept.json', tmp_path / 'out.json', tmp_path / 'page.md'
    words = ['--data', str(val), '--quiet', '--samples', '6']
    assert evaluate_moe.main([*words, '--weights', str(old), '--json', str(kept)]) == 0
    old.unlink()
    take = ['--take-over', str(kept), '--weights', str(old), str(other)]
    assert evaluate_moe.main([*words, *take, '--json', str(out)]) == 0
    first, second = (json.loads(path.read_text()) for path in (kept, out))
    assert [facts['model'] for facts in second['models']] == ['old/moe', 'debug/moe']
    rows = [dict(row) for row in second['rows'] if row['model'] == 'old/moe']
    assert {row.pop('taken_over_from') for row in rows} == {first['commit']}
    assert rows == first['rows']
    assert write_page(['--json', str(out), '--out', str(page), '--images', str(tmp_path)]) == 0
    assert 'Taken over from an earlier evaluation: `old/moe`' in page.read_text()
    again = [*words, *take, '--json', str(out), '--samples', '7']
    assert evaluate_moe.main(again) == 2
    assert 'no rows of it with these settings' in capsys.readouterr().err


def test_the_page_says_how_fast_any_network_could_be() -> None:
    at = {'engine': 'fp32', 'threads': 2, 'persons': 10}
    rows = [
        {**at, 'model': 'moe', 'median_ms': 4.0},
        {**at, 'model': 'swiftdiff', 'median_ms': 9.0},
        {**at, 'model': 'swiftdiff', 'persons': 1, 'median_ms': 3.0},
    ]
    networks = [
        {**at, 'model': 'moe', 'median_ms': 1.0},
        {**at, 'model': 'swiftdiff', 'median_ms': 6.0},
        {**at, 'model': 'swiftdiff', 'persons': 1, 'median_ms': 2.95},  # no more than noise
    ]
    said = outside_of_the_network({'rows': rows, 'networks': networks}, ['swiftdiff'])
    assert said == ['`swiftdiff`, 2 threads, 10 people: 3.00 of 9.00 ms, 3.0 times']
    assert outside_of_the_network({'rows': rows}, ['swiftdiff']) == []


def test_an_expert_that_wins_as_often_as_it_says_is_calibrated() -> None:
    generator = np.random.default_rng(0)
    weights = generator.dirichlet(np.ones(4), 20_000)
    honest = np.array([generator.choice(4, p=row) for row in weights[:5000]])
    assert evaluate_moe.reliability(weights[:5000], honest)['ece'] < 0.03
    always_first = np.zeros(5000, dtype=np.int64)
    assert evaluate_moe.reliability(weights[:5000], always_first)['ece'] > 0.15


def test_the_area_under_the_curve_is_the_share_of_pairs_in_order() -> None:
    ordinary, strange = np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0])
    found = evaluate_moe.roc(ordinary, strange)
    assert found['auc'] == pytest.approx((0.5 + 1.0 + 3.0) / 6.0, abs=1e-6)
    assert found['false_alarms'][0] == 0.0


def test_other_weights_are_no_mixture(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = save_random(tmp_path / 'swiftdiff.safetensors')
    val = save_recording(tmp_path / 'made' / 'val.npz', (70,))
    options = ['--weights', str(path), '--data', str(val), '--json', str(tmp_path / 'o.json')]
    assert evaluate_moe.main(options) == 2
    assert 'role moe' in capsys.readouterr().err
