# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning loses nothing: it tries its places, and goes on where it was stopped."""

from __future__ import annotations

from pathlib import Path
import signal
from typing import Any

from finetune_runs import command, QUICK, walks, WINDOW
import pytest
from random_models import random_model, save_random, save_recording
import torch

from motion_predictor.model.weights import load_weights
from training.engine.checkpoints import Kept
from training.stages import finetune
from training.stages.adapt.adapting import adapt
from training.stages.adapt.held_back import take_apart

NOWHERE = Path('/proc/version/runs')  # below a file: nobody can write there, root neither


def test_fine_tuning_tries_its_places_before_it_works(tmp_path: Path, capsys: Any) -> None:
    recording = save_recording(tmp_path / 'home' / 'walks.npz', (300, 300))
    weights = save_random(tmp_path / 'tiny.safetensors')
    for option in ('--json', '--report', '--out'):
        place = NOWHERE / ('x.safetensors' if option == '--out' else 'x.json')
        words = [*command(tmp_path, recording, weights), option, str(place)]
        assert finetune.main(words) == 2
        assert f'error: {place}: cannot be written' in capsys.readouterr().err
    assert not list(tmp_path.glob('*.checkpoint'))


@pytest.mark.slow
def test_fine_tuning_writes_its_weights_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    recording = save_recording(tmp_path / 'home' / 'walks.npz', (300, 300))
    weights = save_random(tmp_path / 'tiny.safetensors')
    report = tmp_path / 'pages' / 'page.md'
    words = command(tmp_path, recording, weights, '--report', str(report))
    before = finetune.compare

    def compare(*arguments: Any) -> Any:  # meanwhile somebody puts a file where the folder was
        report.parent.rmdir()
        report.parent.write_text('')
        return before(*arguments)

    monkeypatch.setattr(finetune, 'compare', compare)
    assert finetune.main([*words, '--keep-anyway']) == 2
    assert f'{report}: cannot be written' in capsys.readouterr().err
    assert load_weights(tmp_path / 'mine.safetensors').card['finetuned']


@pytest.mark.slow
def test_fine_tuning_that_is_stopped_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = random_model()
    parts = take_apart(walks(2), WINDOW, QUICK)
    whole, curve = adapt(original, parts, QUICK, quiet=True)
    kept = Kept(tmp_path / 'mine.checkpoint', 'key', mended=True)
    steps = 0
    average = torch._foreach_lerp_

    def stop(*arguments: Any) -> None:  # once, and at the end of the step that has a validation
        nonlocal steps
        steps += 1
        average(*arguments)
        if steps in (7, 20):
            signal.raise_signal(signal.SIGTERM if steps == 7 else signal.SIGINT)

    monkeypatch.setattr(torch, '_foreach_lerp_', stop)
    for at in (7, 20):
        with pytest.raises(KeyboardInterrupt, match=f'stopped after step {at} of 30, saved'):
            adapt(original, parts, QUICK, quiet=True, kept=kept)
    student, again = adapt(original, parts, QUICK, quiet=True, kept=kept)
    assert again == curve
    states = whole.state_dict(), student.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert Kept(kept.path, 'of other data').load() is None
    kept.path.write_bytes(b'torn')
    assert kept.load() is None
    kept.forget()
    assert not kept.path.exists()
