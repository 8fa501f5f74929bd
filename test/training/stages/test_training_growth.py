"""Growing a trained mixer: the same output at first, then more that can learn."""

from dataclasses import replace
import json
from pathlib import Path

import numpy as np
import pytest
from random_models import observed_people, random_model, save_random
from safetensors import safe_open
from safetensors.torch import save_file
import torch

from motion_predictor.errors import ConfigError, WeightsError
from motion_predictor.model.config import DenoiserConfig, ModelConfig
from motion_predictor.model.growth import grown
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.networks.denoiser import build_denoiser
from motion_predictor.model.weights import file_digest, load_weights, save_weights
from motion_predictor.predict.predictor import Predictor
from training.engine import export
from training.stages import growth
from training.stages.distill import begin_from


def larger(config: ModelConfig, **sizes: int) -> ModelConfig:
    return replace(config, denoiser=replace(config.denoiser, **sizes))


@pytest.mark.parametrize('width,depth', [(16, 2), (32, 2), (48, 5), (16, 7)])
def test_a_grown_mixer_gives_what_the_small_one_gave(width: int, depth: int) -> None:
    model = random_model('swiftdiff')
    new = larger(model.config, width=width, depth=depth)
    network = grown(model.denoiser, model.config, new).eval()
    x, condition = torch.randn(6, 20, 51), torch.randn(3, 12, 51)
    torch.testing.assert_close(
        network(x, condition), model.denoiser(x, condition), rtol=1e-4, atol=1e-4
    )
    expected = sum(p.numel() for p in build_denoiser(new, 17).parameters())
    assert sum(p.numel() for p in network.parameters()) == expected


def test_copies_of_a_channel_part_when_trained() -> None:
    model = random_model('swiftdiff')
    network = grown(model.denoiser, model.config, larger(model.config, width=32)).eval()
    network(torch.randn(6, 20, 51), torch.randn(3, 12, 51)).square().mean().backward()
    gradient = network.get_parameter('blocks.1.channels_out.weight').grad
    assert gradient is not None
    assert (gradient[:16] - gradient[16:]).abs().max() > 1e-6


def test_what_cannot_be_grown_is_refused() -> None:
    model = random_model('swiftdiff')
    for new, what in (
        (larger(model.config, width=24), 'multiple of 16'),
        (larger(model.config, depth=1), 'must be 2 at least'),
    ):
        with pytest.raises(ConfigError, match=what):
            grown(model.denoiser, model.config, new)
    flat = random_model('swiftdiff', architecture='flat')
    with pytest.raises(ConfigError, match='only a mixer'):
        grown(flat.denoiser, flat.config, flat.config)


def test_a_student_goes_on_from_weights_of_the_same_data_alone(tmp_path: Path) -> None:
    earlier = load_weights(save_random(tmp_path / 'small.safetensors')).model
    size = DenoiserConfig(
        architecture='mixer', width=32, depth=3, heads=2, hidden_ratio=1.0, condition_width=16
    )
    student = MotionModel(replace(earlier.config, denoiser=size), earlier.skeleton)
    student.load_state_dict(
        {k: v for k, v in earlier.state_dict().items() if not k.startswith('denoiser.')},
        strict=False,
    )
    begin_from(student.eval(), earlier, 'small')
    x, condition = torch.randn(2, 20, 51), torch.randn(1, 12, 51)
    torch.testing.assert_close(
        student.denoiser(x, condition), earlier.denoiser(x, condition), rtol=1e-4, atol=1e-4
    )
    student.state_scale.mul_(1.1)
    with pytest.raises(ConfigError, match='state_scale'):
        begin_from(student, earlier, 'small')


def test_the_verb_writes_a_larger_model_with_the_same_futures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small, large = save_random(tmp_path / 'small.safetensors'), tmp_path / 'large.safetensors'
    words = ['--weights', str(small), '--width', '32', '--depth', '3', '--out', str(large)]
    growth.main([*words, '--dry-run'])
    assert not large.exists()
    growth.main(words)
    assert '2 x 16 to 3 x 32' in capsys.readouterr().out
    people = observed_people(2)
    futures = [
        Predictor.load(path, device='cpu', engine='fp32').predict(people, samples=3).futures
        for path in (small, large)
    ]
    np.testing.assert_allclose(futures[1], futures[0], atol=1e-3)
    assert load_weights(large).card['grown_from'] == file_digest(small)
    with pytest.raises(SystemExit, match='multiple of 16'):
        growth.main([*words[:2], '--width', '20', *words[4:]])


def test_a_file_holds_the_smaller_network_and_stays_so_when_it_is_exported(tmp_path: Path) -> None:
    small, run = save_random(tmp_path / 'small.safetensors'), tmp_path / 'run'
    large = run / 'swiftdiff.safetensors'
    growth.main(['--weights', str(small), '--width', '64', '--depth', '6', '--out', str(large)])
    out = tmp_path / 'out' / 'swiftdiff.safetensors'
    export.main(
        ['--run', str(run), '--only', 'swiftdiff', '--dtype', 'int8', '--out', str(out.parent)]
    )
    assert out.stat().st_size < small.stat().st_size + 200_000  # and a golden pair
    loaded = load_weights(out)
    assert loaded.model.config.denoiser.width == 64
    assert loaded.golden is not None
    found = Predictor.load(out, device='cpu', engine='fp32').predict(
        loaded.golden.observed, samples=4, seed=loaded.golden.seed
    )
    np.testing.assert_allclose(found.futures[0], loaded.golden.futures, atol=1e-4)
    before = out.read_bytes()
    export.rewrite(out, loaded)
    assert len(out.read_bytes()) == len(before)


@pytest.mark.parametrize(
    'sizes', [{'width': 16_384}, {'width': 24}, {'depth': 100_000}, {'join_s': 1.0}]
)
def test_a_file_that_asks_to_grow_beyond_bounds_is_refused(
    tmp_path: Path, sizes: dict[str, float]
) -> None:
    model, path = random_model('swiftdiff'), tmp_path / 'hostile.safetensors'
    save_weights(path, model, {}, stored=model)
    with safe_open(str(path), 'pt') as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in list(file.keys())}
    del metadata['digest']  # as a file of an earlier release, or one made to deceive
    config = json.loads(metadata['config'])
    (config if 'join_s' in sizes else config['denoiser']).update(sizes)
    save_file(tensors, path, {**metadata, 'config': json.dumps(config)})
    with pytest.raises(WeightsError, match=r'hostile.*(grown|metadata)'):
        load_weights(path)
