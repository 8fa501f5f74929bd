# SPDX-License-Identifier: Apache-2.0
"""A student is adapted to a recording: what is held back, what is written, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from finetune_runs import command, QUICK, walks, WINDOW
import numpy as np
import pytest
from random_models import random_model, save_random, save_recording, walking
import torch

from motion_predictor.errors import RecordingError
from motion_predictor.model.weights import load_weights
from motion_predictor.predict.predictor import Predictor
from training.stages import finetune
from training.stages.adapt.adapting import adapt, examples_of, FinetuneLoss
from training.stages.adapt.comparison import compare, got_worse, score
from training.stages.adapt.held_back import cut_windows, Parts, take_apart
from training.stages.adapt.settings import FinetuneConfig


@pytest.fixture(scope='module')
def learnt() -> tuple[Any, Any, Parts, list[dict[str, float]]]:
    """Adapt a tiny student that knows nothing to people who walk."""
    original = random_model()
    parts = take_apart(walks(2), WINDOW, QUICK)
    student, curve = adapt(original, parts, QUICK, quiet=True)
    return original, student, parts, curve


def test_the_student_gets_better_on_what_it_never_saw_and_the_original_stays(
    learnt: tuple[Any, Any, Parts, list[dict[str, float]]],
) -> None:
    original, student, parts, curve = learnt
    fresh = random_model().state_dict()
    assert all(torch.equal(fresh[name], value) for name, value in original.state_dict().items())
    assert min(entry['val'] for entry in curve) < curve[0]['val']
    held, blocks = cut_windows(parts.held, WINDOW)
    before, after = (score(model, held, 4, 0) for model in (original, student))
    rows = compare(before, after, blocks)
    assert rows['pose.ade']['after'] < rows['pose.ade']['before']
    assert not got_worse(rows)
    assert got_worse(compare(after, before, blocks))


@pytest.mark.slow
def test_staying_near_the_original_keeps_its_futures() -> None:
    original = random_model()
    parts = take_apart(walks(2), WINDOW, QUICK)
    windows = torch.from_numpy(cut_windows(parts.held, WINDOW)[0])
    noise = torch.randn(len(windows), 2, *original.state_scale.shape)
    moved = []
    for stay in (0.0, 1e3):
        config = FinetuneConfig(
            steps=20, batch=8, samples=4, matched=2, every=20, pool=64, stay=stay
        )
        student, _ = adapt(original, parts, config, quiet=True)
        history = original.observe(windows[:, :25])
        futures = [
            model.decode(model.one_step(noise, history.condition), history)
            for model in (original, student)
        ]
        moved.append(float((futures[1] - futures[0]).abs().mean()))
    assert moved[1] < moved[0]


def test_the_loss_is_the_best_samples_and_vanishes_for_the_real_future() -> None:
    model = random_model()
    windows = torch.from_numpy(np.stack([walking(125, seed) for seed in range(3)]))
    examples = examples_of(model, windows)
    loss = FinetuneLoss(QUICK, model)
    noise = torch.randn(3, 4, *model.state_scale.shape)
    errors = loss.errors(model, examples, noise)
    terms = loss(model, examples, noise)
    assert float(terms['real']) == pytest.approx(float(errors.min(dim=1).values.mean()), rel=1e-4)
    assert float(terms['stay']) == pytest.approx(0.0, abs=1e-8)
    zero = torch.zeros(3, 1, QUICK.frame_stride, 51)
    assert float(loss._distance(zero).max()) < 1e-3


def test_no_window_lies_in_two_parts_and_the_end_of_every_clip_is_held_back() -> None:
    clips = [np.full((600, 17, 3), k, np.float32) for k in range(3)]
    for number, clip in enumerate(clips):
        clip[:, 0, 0] = np.arange(600) + 1000 * number
    parts = take_apart(clips, WINDOW, FinetuneConfig())
    for whole, first, middle, last in zip(clips, parts.adapt, parts.val, parts.held, strict=True):
        np.testing.assert_array_equal(np.concatenate([first, middle, last]), whole)
        assert (len(first), len(middle), len(last)) == (325, 125, 150)


def test_short_clips_and_whole_ones_on_request_go_to_the_parts_in_turn() -> None:
    short = [np.full((130, 17, 3), k, np.float32) for k in range(8)]
    for clips, config in (
        (short, FinetuneConfig()),
        ([np.repeat(clip, 5, axis=0) for clip in short], FinetuneConfig(hold_back='clips')),
    ):
        parts = take_apart(clips, WINDOW, config)
        assert [int(clip[0, 0, 0]) for clip in parts.adapt] == [0, 2, 4, 6]
        assert [int(clip[0, 0, 0]) for clip in parts.held] == [1, 5]
        assert [int(clip[0, 0, 0]) for clip in parts.val] == [3, 7]


def test_a_recording_too_short_to_hold_a_part_back_is_refused() -> None:
    with pytest.raises(RecordingError, match=r'longest of 4\.0 s; a window lasts 2\.5 s'):
        take_apart(walks(1, 4.0), WINDOW, FinetuneConfig())


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return save_recording(tmp_path / 'home' / 'walks.npz', (300, 300))


@pytest.mark.slow
def test_the_verb_writes_weights_that_the_predictor_and_the_node_load(
    tmp_path: Path, recording: Path, capsys: Any
) -> None:
    weights = save_random(tmp_path / 'tiny.safetensors')
    report, figures = tmp_path / 'page.md', tmp_path / 'figures.json'
    words = command(tmp_path, recording, weights, '--report', str(report), '--json', str(figures))
    assert finetune.main(words) == 0
    said = capsys.readouterr().out
    assert '| world FDE |' in said
    result = json.loads(figures.read_text())
    row = result['held_back']['pose.ade']
    assert row['after'] < row['before']
    assert f'| ADE | {row["before"]:.3f} | {row["after"]:.3f} |' in report.read_text()
    out = tmp_path / 'mine.safetensors'
    predictor = Predictor.load(out, device='cpu', engine='fp32')
    assert predictor.golden_error_m() < 1e-4
    assert predictor.card['finetuned']['weights']['file'] == 'tiny.safetensors'
    assert 'home/walks.npz' in predictor.card['data']
    assert 'held-back part of the recording, after' in out.with_suffix('.md').read_text()
    changed, given = (load_weights(path).model.state_dict() for path in (out, weights))
    assert any(not torch.equal(changed[name], given[name]) for name in given)
    whitening = [name for name in given if not name.startswith('denoiser.')]
    assert all(torch.equal(changed[name], given[name]) for name in whitening)

    pytest.importorskip('rclpy')
    from rclpy.lifecycle import TransitionCallbackReturn
    from rclpy.parameter import Parameter
    from ros_harness import Listener

    from motion_predictor.ros.node import MotionPredictorNode

    listener = Listener()
    node = MotionPredictorNode(
        context=listener.context,
        parameter_overrides=[
            Parameter('model.path', value=str(out)), Parameter('samples', value=2),
        ],
    )  # fmt: skip
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    finally:
        node.destroy_node()
        listener.close()


def test_weights_that_got_worse_are_not_written_unless_asked_for(
    tmp_path: Path, recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    weights = save_random(tmp_path / 'tiny.safetensors')
    ruined = random_model(seed=3)
    ruined.state_scale.mul_(20.0)  # futures flung far off
    monkeypatch.setattr(
        finetune,
        'adapt',
        lambda *_, **__: (ruined, [{'step': 0.0, 'val': 2.0}, {'step': 40.0, 'val': 1.0}]),
    )
    words = command(tmp_path, recording, weights)
    assert finetune.main(words) == 3
    assert 'not written: pose.ade and world.ade got worse' in capsys.readouterr().err
    assert not (tmp_path / 'mine.safetensors').exists()
    assert finetune.main([*words, '--keep-anyway']) == 0
    assert (tmp_path / 'mine.safetensors').exists()


def test_where_nothing_was_better_on_validation_nothing_is_written(
    tmp_path: Path, recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    weights = save_random(tmp_path / 'tiny.safetensors')
    monkeypatch.setattr(
        finetune,
        'adapt',
        lambda original, *_, **__: (original, [{'step': 0.0, 'val': 1.0}]),
    )
    assert finetune.main(command(tmp_path, recording, weights)) == 3
    assert 'nothing tried was better on validation' in capsys.readouterr().err


@pytest.mark.parametrize(
    'changes,message',
    [
        (['--recording', 'absent'], 'no such file or folder'),
        (['--weights', 'absent.safetensors'], 'no such weights file'),
        (['--out', 'mine.pt'], r'ends in \.safetensors'),
        (['--stay', '-1'], 'must not be negative'),
        (['--samples', '1'], r'matched=2: must lie in 1\.\.1'),
    ],
)
def test_what_cannot_be_used_is_named(
    tmp_path: Path, recording: Path, capsys: Any, changes: list[str], message: str
) -> None:
    weights = save_random(tmp_path / 'tiny.safetensors')
    assert finetune.main([*command(tmp_path, recording, weights), *changes]) == 2
    with pytest.raises(RuntimeError, match=message):
        raise RuntimeError(capsys.readouterr().err)


def test_a_teacher_cannot_be_fine_tuned_and_a_dry_run_writes_nothing(
    tmp_path: Path, recording: Path, capsys: Any
) -> None:
    teacher = save_random(tmp_path / 'teacher.safetensors', 'teacher')
    assert finetune.main(command(tmp_path, recording, teacher)) == 2
    assert 'a many-step teacher' in capsys.readouterr().err
    weights = save_random(tmp_path / 'tiny.safetensors')
    assert finetune.main(command(tmp_path, recording, weights, '--dry-run')) == 0
    assert 'held back' in capsys.readouterr().out
    assert not (tmp_path / 'mine.safetensors').exists()
