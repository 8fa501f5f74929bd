# SPDX-License-Identifier: Apache-2.0
"""The whole chain on synthetic motion: teacher, both distillations, export, load, predict."""

import contextlib
from dataclasses import replace
import json
from pathlib import Path
import shutil

import numpy as np
import pytest
import torch

from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import ConfigError, WeightsError
from motion_predictor.model.codec import Codec, Whitening
from motion_predictor.model.config import WindowConfig
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.weights import load_weights
from motion_predictor.predict.predictor import Predictor
from motion_predictor.recordings.walker import walk
from training.data.pool import encode_pool
from training.data.random_windows import (
    Augmentation,
    mirror_windows,
    scale_bones,
    tracker_noise,
    TrainingWindows,
)
from training.engine.checkpoints import load_checkpoint
from training.engine.curve import CURVE, read_curve
from training.engine.diffusion import ddim
from training.engine.fitting import fit
from training.engine.overrides import override
from training.engine.presets import preset
from training.engine.runs import pool_of, Run
from training.stages import distill, export, train_one_step, train_teacher
from training.stages.pairs import make_pairs
from training.stages.swiftdiff import SwiftDiffLoss


@pytest.fixture(scope='module')
def chain_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train the debug preset once; all of it takes seconds."""
    folder = tmp_path_factory.mktemp('chain') / 'debug'
    options = ['--preset', 'debug', '--run', str(folder), '--device', 'cpu']
    train_teacher.main(options)
    distill.main(options)
    export.main(['--run', str(folder), '--out', str(folder / 'weights')])
    return folder


@pytest.mark.slow
def test_the_debug_chain_ends_in_weights_that_predict(chain_run: Path) -> None:
    predictor = Predictor.load(chain_run / 'weights' / 'swiftdiff.safetensors', device='cpu')
    walked = walk(0.5, 50.0, np.random.default_rng(3))
    prediction = predictor.predict(walked, samples=5, seed=1)
    assert prediction.futures.shape == (1, 5, 100, 17, 3)
    assert np.isfinite(prediction.futures).all()
    step = np.abs(prediction.futures[0, :, 0] - walked[-1]).max()
    assert step < 0.5  # the future begins where the person is


def test_training_makes_the_teacher_better_than_an_untrained_one(chain_run: Path) -> None:
    chain = preset('debug')
    run = Run(chain_run, (), 'cpu', ())
    pool = pool_of(run, chain)
    trained = load_weights(chain_run / 'teacher.safetensors').model
    torch.manual_seed(0)
    untrained = load_weights(chain_run / 'teacher.safetensors').model
    for parameter in untrained.denoiser.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    errors = []
    for model in (trained, untrained):
        losses = train_teacher.TeacherLoss(chain.teacher, model, pool)
        with torch.no_grad():
            generator = torch.Generator().manual_seed(5)
            values = [float(losses(model.denoiser, generator)['loss']) for _ in range(8)]
        errors.append(np.mean(values))
    assert errors[0] < 0.95 * errors[1]


def test_distillation_changes_the_student_and_not_the_teacher(chain_run: Path) -> None:
    teacher = load_weights(chain_run / 'teacher.safetensors').model.denoiser.state_dict()
    one_step = load_weights(chain_run / 'one_step.safetensors').model.denoiser.state_dict()
    assert any(not torch.equal(teacher[name], one_step[name]) for name in teacher)
    chain = preset('debug')
    pool = pool_of(Run(chain_run, (), 'cpu', ()), chain)
    model = load_weights(chain_run / 'one_step.safetensors').model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    student = load_weights(chain_run / 'swiftdiff.safetensors').model
    config = replace(chain.swiftdiff, match_ddim=0.0)
    losses = SwiftDiffLoss(config, student, model, pool)
    student.denoiser.requires_grad_(True)
    losses(student.denoiser, torch.Generator().manual_seed(0))['loss'].backward()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_one_step_student_can_be_trained_alone(chain_run: Path, tmp_path: Path) -> None:
    words = ['--preset', 'debug', '--run', str(tmp_path), '--device', 'cpu']
    with pytest.raises(SystemExit, match=r'train one-step: .*train teacher with'):
        train_one_step.main(words)
    shutil.copy(chain_run / 'teacher.safetensors', tmp_path)
    train_one_step.main(words)
    assert not (tmp_path / 'swiftdiff.safetensors').exists()
    found, expected = (
        load_weights(folder / 'one_step.safetensors').model.denoiser.state_dict()
        for folder in (tmp_path, chain_run)
    )
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_teacher_is_refused_for_deployment(chain_run: Path) -> None:
    with pytest.raises(WeightsError, match='many-step teacher'):
        Predictor.load(chain_run / 'weights' / 'teacher.safetensors')


def test_a_student_may_be_exported_under_another_name(chain_run: Path, tmp_path: Path) -> None:
    words = ['--run', str(chain_run), '--out', str(tmp_path), '--name', 'lighter']
    export.main([*words, '--only', 'swiftdiff'])
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        'lighter.md',
        'lighter.safetensors',
    ]
    with pytest.raises(SystemExit):
        export.main([*words, '--only', 'swiftdiff', 'teacher'])


def test_balance_is_small_but_for_its_student() -> None:
    small, balance = preset('small'), preset('balance')
    assert replace(balance, preset='small', swiftdiff=small.swiftdiff) == small
    sizes = [chain.swiftdiff.model.denoiser for chain in (balance, small)]
    assert sizes[0].width * sizes[0].depth < sizes[1].width * sizes[1].depth


def test_exported_weights_replay_their_golden_pair(chain_run: Path) -> None:
    for name in ('one_step', 'swiftdiff'):
        path = chain_run / 'weights' / f'{name}.safetensors'
        predictor = Predictor.load(path, device='cpu', engine='fp32')
        assert predictor.golden_error_m() < 1e-4


def test_distilling_before_the_teacher_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r'training train teacher'):
        distill.main(['--preset', 'debug', '--run', str(tmp_path / 'empty')])


def test_a_run_folder_with_other_settings_is_refused_and_names_them(chain_run: Path) -> None:
    options = ['--preset', 'debug', '--run', str(chain_run), '--device', 'cpu', '--set']
    changed = ['teacher.optim.steps=7', 'teacher.optim.learning_rate=0.5', 'pool=32']
    with pytest.raises(SystemExit, match='other settings') as refused:
        train_teacher.main([*options, *changed])
    for told in (
        'pool=256, now 32',
        'teacher.optim.steps=60, now 7',
        'teacher.optim.learning_rate=0.001, now 0.5',
    ):
        assert told in str(refused.value)
    assert 'one_step' not in str(refused.value)


@pytest.mark.slow
def test_a_finished_run_goes_on_for_more_steps(chain_run: Path, tmp_path: Path) -> None:
    for name in ('teacher', 'pairs'):
        shutil.copytree(chain_run / name, tmp_path / name)
    options = ['--preset', 'debug', '--run', str(tmp_path), '--device', 'cpu', '--set']
    longer = [*options, 'teacher.optim.steps=80']
    train_teacher.main(longer)
    curve = read_curve(tmp_path / 'teacher' / CURVE)
    assert curve[:6] == read_curve(chain_run / 'teacher' / CURVE)
    assert [entry['step'] for entry in curve[6:]] == [70, 80]
    with pytest.raises(SystemExit, match=r'teacher\.optim\.steps=80, now 60'):  # fewer
        train_teacher.main(options[:-1])
    with pytest.raises(SystemExit, match=r'pairs: .*teacher\.optim\.steps=60, now 80'):
        distill.main(longer)  # they are the shorter teacher's


def test_a_dry_run_prints_the_settings_and_makes_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / 'never'
    with pytest.raises(SystemExit) as stop:
        train_teacher.main(['--preset', 'debug', '--run', str(folder), '--dry-run'])
    assert stop.value.code == 0
    assert json.loads(capsys.readouterr().out)['teacher']['optim']['steps'] == 60
    assert not folder.exists()


@pytest.mark.slow
def test_a_killed_run_resumes_exactly(tmp_path: Path) -> None:
    chain = preset('debug')
    pool = pool_of(Run(tmp_path, (), 'cpu', ()), chain)
    optim = replace(chain.teacher.optim, steps=12, save_every=6, log_every=1)

    def losses_of(stop_at: int | None, folder: Path) -> list[float]:
        torch.manual_seed(0)
        model = train_teacher.MotionModel(
            chain.model_of('teacher'), H36M17, pool.state_whitening,
            pool.condition_whitening,
        )  # fmt: skip
        step_losses = train_teacher.TeacherLoss(chain.teacher, model, pool)
        seen: list[float] = []

        class KilledError(Exception):
            pass

        def losses(network: torch.nn.Module, generator: torch.Generator) -> dict:
            if stop_at is not None and len(seen) == stop_at:
                raise KilledError
            terms = step_losses(network, generator)
            seen.append(float(terms['loss'].detach()))
            return terms

        with contextlib.suppress(KilledError):
            fit(model.denoiser, losses, optim, folder, seed=4, title='test')
        return seen

    whole = losses_of(None, tmp_path / 'whole')
    first = losses_of(8, tmp_path / 'killed')  # dies after step 8; the checkpoint is of step 6
    saved = load_checkpoint(tmp_path / 'killed' / 'checkpoint.pt')
    assert saved is not None
    assert saved['step'] == 6
    rest = losses_of(None, tmp_path / 'killed')
    assert first[:6] + rest == pytest.approx(whole, abs=0.0)


def test_mirroring_twice_gives_the_same_windows_and_keeps_sides_apart() -> None:
    walked = torch.from_numpy(walk(3.0, 50.0, np.random.default_rng(0)))[None]
    skeleton = H36M17
    mirrored = mirror_windows(walked, skeleton)
    assert torch.equal(mirror_windows(mirrored, skeleton), walked)
    right, left = skeleton.index('RWrist'), skeleton.index('LWrist')
    swapped = walked[..., left, :] * torch.tensor([1.0, -1.0, 1.0])
    assert torch.equal(mirrored[..., right, :], swapped)


def test_drawn_windows_stay_inside_their_clip_at_every_speed() -> None:
    window = preset('debug').encoding.window
    generator = np.random.default_rng(1)
    clips = []
    for number in range(5):  # each clip far from the others: a window across a seam would leap
        clip = walk(2.6, window.rate_hz, generator)
        clips.append(clip + np.float32([100.0 * number, 0.0, 0.0]))
    drawn = TrainingWindows(clips, window).draw(
        512, torch.Generator().manual_seed(0), Augmentation(speed_share=1.0, scale=0.0)
    )
    assert drawn.shape == (512, window.total_frames, 17, 3)
    assert float((drawn[:, 1:] - drawn[:, :-1]).abs().max()) < 0.5


def test_the_pool_is_white_and_the_same_for_the_same_seed() -> None:
    chain = preset('debug')
    clips = [walk(4.0, 50.0, np.random.default_rng(i)) for i in range(4)]
    windows = TrainingWindows(clips, chain.encoding.window)
    codec = Codec(chain.model_of('teacher'), H36M17)
    pools = [encode_pool(windows, codec, Augmentation(), 128, 3, fit=True) for _ in range(2)]
    assert torch.equal(pools[0].state, pools[1].state)
    assert float(pools[0].state.mean(dim=0).abs().max()) < 1e-3
    clear = pools[0].state_whitening.scale > 2e-3
    assert torch.allclose(pools[0].state.std(dim=0)[clear], torch.ones(()), atol=1e-3)


@pytest.mark.parametrize(
    'setting,message',
    [
        ('teacher.optim.steps=many', 'must be a int'),
        ('teacher.optim.step=5', 'no setting'),
        ('teacher.optim=5', 'name one of its parts'),
        ('swiftdiff.matched=99', r'must lie in 1\.\.4'),
    ],
)
def test_bad_settings_are_refused_by_name(setting: str, message: str) -> None:
    name, value = setting.split('=')
    with pytest.raises(ConfigError, match=message):
        override(preset('debug'), {name: value})


@pytest.mark.slow
def test_the_papers_own_settings_go_through_the_whole_chain(tmp_path: Path) -> None:
    settings = ['whiten=false', 'teacher.metric_weight=0', 'pool=64']
    settings += ['encoding.condition=padded', 'encoding.residual=false']
    settings += [f'{stage}.model.prediction=eps' for stage in ('teacher', 'swiftdiff')]
    settings += ['one_step.t_star=951', 'swiftdiff.model.t_star=951']
    settings += [f'{stage}.optim.steps=3' for stage in ('teacher', 'one_step', 'swiftdiff')]
    options = ['--preset', 'debug', '--run', str(tmp_path), '--device', 'cpu', '--set', *settings]
    train_teacher.main(options)
    distill.main(options)
    predictor = Predictor.load(tmp_path / 'swiftdiff.safetensors', device='cpu')
    assert predictor.model.config.prediction == 'eps'
    walked = walk(0.5, 50.0, np.random.default_rng(3))
    assert np.isfinite(predictor.predict(walked, samples=3).futures).all()


def test_bones_change_length_and_keep_their_direction() -> None:
    poses = torch.from_numpy(walk(1.0, 50.0, np.random.default_rng(0)))[None]
    factors = torch.rand(1, 17, generator=torch.Generator().manual_seed(0)) + 0.5
    scaled = scale_bones(poses, H36M17, factors)
    assert torch.equal(scaled[:, :, 0], poses[:, :, 0])
    for child, parent in H36M17.bones:
        before = poses[:, :, child] - poses[:, :, parent]
        after = scaled[:, :, child] - scaled[:, :, parent]
        torch.testing.assert_close(after, factors[0, child] * before, rtol=1e-4, atol=1e-5)


def test_bones_of_both_sides_are_scaled_alike() -> None:
    clips = [walk(4.0, 50.0, np.random.default_rng(1))]
    drawn = TrainingWindows(clips, WindowConfig()).draw(
        16, torch.Generator().manual_seed(0), Augmentation(bones=0.3, mirror=0.0)
    )

    def lengths(child: int) -> torch.Tensor:
        return (drawn[:, 0, child] - drawn[:, 0, H36M17.parents[child]]).norm(dim=-1)

    knee, other_knee, wrist = lengths(2), lengths(5), lengths(13)
    torch.testing.assert_close(knee, other_knee, rtol=1e-3, atol=1e-4)
    assert (knee / wrist).std() > 0.05  # but every bone by a factor of its own


def test_a_trackers_noise_has_the_size_and_the_share_asked_for() -> None:
    observed = torch.zeros(4000, 25, 17, 3)
    generator = torch.Generator().manual_seed(0)
    wanted = Augmentation(jitter_m=0.02, jitter_share=0.25)
    noisy, clean = tracker_noise(observed, wanted, generator)
    assert clean.float().mean() == pytest.approx(0.75, abs=0.03)
    assert torch.equal(noisy[clean], observed[clean])
    deviation = noisy[~clean].flatten(1).std(dim=1)
    assert deviation.min() > 0.5 * 0.05 * 0.02
    assert deviation.max() < 1.3 * 0.02
    assert deviation.median() == pytest.approx(0.02 * 0.05**0.5, rel=0.15)
    step = (noisy[~clean][:, 1:] - noisy[~clean][:, :-1]).flatten(1).std(dim=1) / deviation
    assert step.max() > 1.3  # white
    assert step.min() < 0.5  # slow


def test_a_pool_says_which_of_its_histories_have_noise() -> None:
    clips = [walk(4.0, 50.0, np.random.default_rng(2))]
    config = preset('debug').model_of('teacher')
    windows = TrainingWindows(clips, config.window)
    still = Augmentation(mirror=0.0, scale=0.0, speed=0.0)
    noisy = replace(still, jitter_m=0.05, jitter_share=1.0)
    pools = [
        encode_pool(windows, Codec(config, H36M17), each, 64, seed=4) for each in (still, noisy)
    ]
    assert pools[0].clean.all()
    assert not pools[1].clean.any()
    assert not torch.allclose(pools[0].condition, pools[1].condition)


def test_the_student_is_matched_to_the_teacher_on_clean_histories_alone(tmp_path: Path) -> None:
    chain = preset('debug')
    pool = pool_of(Run(tmp_path, (), 'cpu', ()), chain, chain.augmentation_of('swiftdiff'))
    assert 0 < int(pool.clean.sum()) < len(pool)
    student, one_step = (
        MotionModel(config, H36M17, pool.state_whitening, pool.condition_whitening)
        for config in (chain.model_of('swiftdiff'), chain.model_of('one_step'))
    )
    generator = torch.Generator().manual_seed(0)
    for parameter in one_step.parameters():  # fresh networks give the same, zero
        parameter.data.normal_(0.0, 0.1, generator=generator)
    config = replace(chain.swiftdiff, match_ddim=0.0)
    for clean, matched in ((torch.zeros_like(pool.clean), False), (pool.clean, True)):
        part = replace(pool, clean=clean)
        losses = SwiftDiffLoss(config, student, one_step, part)
        assert (losses(student.denoiser, generator)['match'].item() > 0.0) is matched


def test_a_teacher_with_another_whitening_gives_the_same_targets(tmp_path: Path) -> None:
    chain = preset('debug')
    pool = pool_of(Run(tmp_path, (), 'cpu', ()), chain)
    whitening = pool.state_whitening, pool.condition_whitening
    student = MotionModel(chain.model_of('swiftdiff'), H36M17, *whitening)
    other = MotionModel(
        chain.model_of('one_step'), H36M17,
        *(Whitening(each.mean + 0.1, each.scale * 2.0) for each in whitening),
    )  # fmt: skip
    torch.nn.init.normal_(other.denoiser.out.weight, std=0.2)
    observed = torch.from_numpy(walk(0.5, 50.0, np.random.default_rng(3)))[None]
    noise = torch.randn(1, 3, 20, 51, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        history = other.observe(observed)
        wanted = other.coefficients(other.one_step(noise, history.condition), history)
        config = replace(chain.swiftdiff, match_ddim=0.0)
        losses = SwiftDiffLoss(config, student, other, pool)
        mine = student.observe(observed)
        found = student.coefficients(losses._teachers(noise, mine.condition), mine)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_pairs_are_of_clean_windows_and_of_the_teachers_ddim(
    chain_run: Path, tmp_path: Path
) -> None:
    chain = preset('debug')
    run = Run(tmp_path, (), 'cpu', ())
    pool = pool_of(
        run, chain, chain.augmentation_of('swiftdiff')
    )  # whitened otherwise than the teacher
    teacher = load_weights(chain_run / 'teacher.safetensors').model
    clean = pool.clean.nonzero().squeeze(-1)
    assert 0 < len(clean) < len(pool)
    made = make_pairs(run, chain, pool, teacher, tmp_path / 'pairs', 9, among=clean)
    assert pool.clean[made.chosen].tolist() == [True] * 9
    student = MotionModel(
        chain.model_of('swiftdiff'), H36M17, pool.state_whitening, pool.condition_whitening
    )
    metres = pool.condition_whitening.undo(pool.condition[made.chosen])
    condition = (metres - teacher.condition_mean) / teacher.condition_scale
    padded = (-teacher.state_mean / teacher.state_scale)[None]  # residual: zero metres
    steps = chain.one_step.teacher_steps
    ends = ddim(teacher, made.noise, condition, padded, steps=steps)
    wanted = ends * teacher.state_scale + teacher.state_mean
    found = made.target * student.state_scale + student.state_mean
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
    again = make_pairs(run, chain, pool, teacher, tmp_path / 'pairs', 9, among=clean)
    assert torch.equal(made.target, again.target)


@pytest.mark.slow
def test_a_student_may_be_matched_to_the_teachers_ddim(chain_run: Path, tmp_path: Path) -> None:
    for name in ('teacher', 'one_step'):
        shutil.copy(chain_run / f'{name}.safetensors', tmp_path)
    words = ['--preset', 'debug', '--run', str(tmp_path), '--stages', 'swiftdiff', '--set']
    distill.main([*words, 'swiftdiff.match=0', 'swiftdiff.match_ddim=1', 'swiftdiff.pairs=32'])
    curve = read_curve(tmp_path / 'swiftdiff' / CURVE)
    assert 'match' not in curve[-1]
    assert curve[-1]['match_ddim'] < curve[0]['match_ddim']
    assert (tmp_path / 'swiftdiff.safetensors').is_file()


def test_pairs_that_are_wanted_and_not_there_are_asked_for(tmp_path: Path) -> None:
    chain = preset('debug')
    pool = pool_of(Run(tmp_path, (), 'cpu', ()), chain)
    models = (MotionModel(chain.model_of(stage), H36M17) for stage in ('swiftdiff', 'one_step'))
    with pytest.raises(ConfigError, match=r'match_ddim=0\.5'):
        SwiftDiffLoss(chain.swiftdiff, *models, pool)
    with pytest.raises(ConfigError, match='pairs=0'):
        replace(chain.swiftdiff, pairs=0)


def test_a_higher_temperature_spreads_the_samples(chain_run: Path) -> None:
    loaded = load_weights(chain_run / 'swiftdiff.safetensors')
    walked = walk(0.5, 50.0, np.random.default_rng(3))
    spread = []
    for temperature in (0.5, 1.0, 2.0):
        config = replace(loaded.model.config, temperature=temperature)
        model = MotionModel(config, H36M17)
        model.load_state_dict(loaded.model.state_dict())
        futures = Predictor(model, {}, device='cpu').predict(walked, samples=8).futures
        spread.append(float(futures.std(axis=1).mean()))
    assert spread[0] < spread[1] < spread[2]
