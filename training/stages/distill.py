"""Distil the teacher into one step, then SwiftDiff: python -m training train swiftdiff."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import copy
from dataclasses import dataclass
from pathlib import Path
import sys

from safetensors.torch import load_file, save_file
import torch
from torch import nn, Tensor
from tqdm import tqdm

from motion_predictor.common.whole_files import written_whole
from motion_predictor.errors import ConfigError, MotionPredictorError
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.schedule import to_x0
from motion_predictor.model.weights import load_weights, save_weights
from motion_predictor.predict.device import cpu_has_fast_bf16
from training.common.parallel import current, join, Shard, WHOLE
from training.data.pool import EncodedPool
from training.engine.checkpoints import open_run
from training.engine.config import ChainConfig, SwiftDiffConfig
from training.engine.diffusion import ddim
from training.engine.fitting import fit, LossOfStep
from training.engine.loop import Watch
from training.engine.run_options import parse_run
from training.engine.runs import card_of, open_stage, pool_of, Run, settings_up_to
from training.stages.losses import (
    best_of_samples,
    coefficient_weights,
    displacement_errors,
    energy_score,
)

EXAMPLE = """
example, after training train teacher with the same preset and run folder:
  python -m training train swiftdiff --preset small --run runs/small \\
      --data ../shared/data/cmu17/train.npz ../shared/data/uiprmd17/train.npz
"""
PAIRS_A_FILE = 4096
SPREAD_SAMPLES = 4
"""Samples that the energy score is of; the matched ones are among them. More say little more and
cost as much again."""
ROOT = 0.5
"""Weight of the root's path beside the pose, in all terms."""
FRAME_STRIDE = 4
"""The terms look at every so many future frames, the last one always among them: what lies between
is as smooth as the lowest 20 frequencies are."""
StudentLoss = Callable[[SwiftDiffConfig, MotionModel, MotionModel, EncodedPool], LossOfStep]
"""``(settings, student, one-step teacher, pool)`` give the loss of stage 2."""


@dataclass(frozen=True)
class Pairs:
    """Fixed noises with what a student shall make of them, whitened as its pool is."""

    chosen: Tensor
    """Windows of the pool, ``(N,)``."""
    noise: Tensor
    """``(N, K, D)``."""
    target: Tensor
    """``(N, K, D)``."""


def distil_one_step(
    run: Run, chain: ChainConfig, pool: EncodedPool, teacher: MotionModel
) -> MotionModel:
    """
    Stage 1: teach a copy of the teacher to give its DDIM end point in one pass.

    :param run: folder, device and data of the run.
    :param chain: settings.
    :param pool: encoded training windows.
    :param teacher: the diffusion teacher; it is not changed.
    :returns: the one-step teacher, also written to ``one_step.safetensors``.
    """
    config = chain.one_step
    folder = open_stage(run, chain, 'one_step')
    torch.manual_seed(chain.seed + 1)
    whitening = pool.state_whitening, pool.condition_whitening
    student = MotionModel(chain.model_of('one_step'), pool.skeleton, *whitening).to(run.device)
    student.denoiser.load_state_dict(teacher.denoiser.state_dict())
    drawn = {'teacher_steps': config.teacher_steps, 'pairs': config.pairs}
    with current().main_first():  # another teacher's would be read again, and believed
        open_run(run.folder / 'pairs', {**settings_up_to(run, chain, 'teacher'), **drawn})
    pairs = make_pairs(run, chain, pool, teacher, run.folder / 'pairs', config.pairs)
    chosen, noise, target = pairs.chosen, pairs.noise, pairs.target
    scale = student.state_scale
    weights = coefficient_weights(scale, chain.teacher.metric_weight)
    alpha_bar = student.alpha_bar[config.t_star]

    def losses(
        network: nn.Module, generator: torch.Generator, shard: Shard = WHOLE
    ) -> dict[str, Tensor]:
        size = config.optim.batch
        rows = torch.randint(len(chosen), (size,), generator=generator, device=chosen.device)
        rows = shard.of(rows)
        x_t, condition = noise[rows], pool.condition[chosen[rows]]
        step = torch.full((len(rows),), config.t_star, device=x_t.device)
        output = network(x_t, condition, step).float()
        x_0 = to_x0(student.config.prediction, output, x_t, alpha_bar)
        return {'loss': (weights * (x_0 - target[rows]).square()).mean()}

    student.denoiser = fit(
        student.denoiser,
        losses,
        config.optim,
        folder,
        seed=chain.seed + 1,
        title='one step',
        device=run.device,
    )
    card = card_of(
        run, chain, 'one-step TransFusion, distilled from the teacher (stage 1)', folder
    )
    if current().is_main:
        save_weights(run.folder / 'one_step.safetensors', student, card, dtype=torch.float16)
    current().wait()
    return student


def make_pairs(
    run: Run,
    chain: ChainConfig,
    pool: EncodedPool,
    teacher: MotionModel,
    folder: Path,
    count: int,
    *,
    among: Tensor | None = None,
) -> Pairs:
    """
    Run the teacher's DDIM from fresh noises, or read what an earlier call wrote.

    Of several processes each makes its share of the files.

    :param chain: ``one_step.teacher_steps`` are taken, the history put back as the teacher's.
    :param pool: whose windows are asked about, whitened as the teacher's or otherwise.
    :param folder: of the pairs' files, made for the purpose.
    :param count: N.
    :param among: numbers of the windows that may be asked about; None for all.
    """
    config = chain.one_step
    folder.mkdir(parents=True, exist_ok=True)
    among = torch.arange(len(pool)) if among is None else among.cpu()
    fast = run.device == 'cuda' or cpu_has_fast_bf16()
    teacher = copy.deepcopy(teacher)
    if fast and config.optim.bf16:
        teacher.denoiser.to(torch.bfloat16)
    files = range((count + PAIRS_A_FILE - 1) // PAIRS_A_FILE)
    processes = current()
    mine = files[processes.rank :: processes.world]
    for number in tqdm(mine, desc='teacher pairs', unit='file', disable=not processes.is_main):
        path = folder / f'{number:04d}.safetensors'
        if not path.is_file():
            size = min(PAIRS_A_FILE, count - number * PAIRS_A_FILE)
            generator = torch.Generator().manual_seed(chain.seed * 1_000_003 + number)
            chosen = among[torch.randint(len(among), (size,), generator=generator)]
            noise = torch.randn((size, *pool.state.shape[1:]), generator=generator)
            ends: list[Tensor] = []
            for first in range(0, size, 256):
                rows = chosen[first : first + 256].to(run.device)
                condition, padded = as_seen_by(teacher, pool, rows)
                end = ddim(
                    teacher,
                    noise[first : first + 256].to(run.device),
                    condition,
                    padded,
                    steps=config.teacher_steps,
                )
                ends.append(pool.state_whitening.apply(teacher.state.undo(end)).cpu())
            with written_whole(path) as partial:
                save_file({'chosen': chosen, 'noise': noise, 'end': torch.cat(ends)}, partial)
    processes.wait()
    parts = [load_file(folder / f'{number:04d}.safetensors') for number in files]
    joined = [torch.cat([part[name] for part in parts]) for name in ('chosen', 'noise', 'end')]
    return Pairs(*(values.to(run.device) for values in joined))


def as_seen_by(model: MotionModel, pool: EncodedPool, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """
    Give windows of a pool whitened as a model's are.

    :param model: of the same encoding.
    :param chosen: numbers of the windows, ``(B,)``.
    :returns: condition ``(B, C, D)``; padded states, broadcastable to ``(B, K, D)``.
    """
    condition = model.condition.apply(pool.condition_whitening.undo(pool.condition[chosen]))
    return condition, model.state.apply(pool.state_whitening.undo(pool.padded_of(chosen)))


def distil_swiftdiff(
    run: Run,
    chain: ChainConfig,
    pool: EncodedPool,
    one_step: MotionModel,
    *,
    pairs: Pairs | None = None,
    loss: StudentLoss | None = None,
    watch: Watch | None = None,
) -> MotionModel:
    """
    Stage 2: teach the MLP-only student its teachers' outputs, and the real future.

    :param run: folder, device and data of the run.
    :param chain: settings.
    :param pool: encoded training windows.
    :param one_step: the stage-1 model; it is not changed.
    :param pairs: of the diffusion teacher, where ``swiftdiff.match_ddim`` wants them.
    :param loss: makes the loss from settings, student, one-step teacher and pool; the default is
        :class:`SwiftDiffLoss` with the pairs.
    :param watch: as of :class:`training.engine.loop.Loop`.
    :returns: SwiftDiff, also written to ``swiftdiff.safetensors``.
    """
    config = chain.swiftdiff
    folder = open_stage(run, chain, 'swiftdiff')
    torch.manual_seed(chain.seed + 2)
    whitening = pool.state_whitening, pool.condition_whitening
    student = MotionModel(chain.model_of('swiftdiff'), pool.skeleton, *whitening)
    if config.start:
        begin_from(student, load_weights(config.start).model, config.start)
    student.to(run.device)
    one_step = one_step.to(run.device).eval().requires_grad_(False)
    if loss is None:
        losses: LossOfStep = SwiftDiffLoss(config, student, one_step, pool, pairs)
    else:
        losses = loss(config, student, one_step, pool)
    student.denoiser = fit(
        student.denoiser,
        losses,
        config.optim,
        folder,
        seed=chain.seed + 2,
        title='swiftdiff',
        device=run.device,
        watch=watch,
    )
    card = card_of(run, chain, 'SwiftDiff, distilled from the one-step teacher (stage 2)', folder)
    if current().is_main:
        save_weights(run.folder / 'swiftdiff.safetensors', student, card)
    current().wait()
    return student


def begin_from(student: MotionModel, earlier: MotionModel, name: str) -> None:
    """
    Give a student the network of an earlier one.

    :param student: changed.
    :param earlier: with the same joints, window and whitening.
    :param name: of the earlier one, for messages.
    :raises ConfigError: if the two do not belong together.
    """
    for statistic in ('state_mean', 'state_scale', 'condition_mean', 'condition_scale'):
        mine, theirs = getattr(student, statistic), getattr(earlier, statistic)
        if mine.shape != theirs.shape or not torch.allclose(mine, theirs, rtol=1e-4, atol=1e-6):
            raise ConfigError(
                f'swiftdiff.start={name}: its {statistic} is not that of this training data; '
                f'start from weights trained on the same recordings with the same pool and seed'
            )
    if earlier.config.denoiser != student.config.denoiser:
        raise ConfigError(
            f'swiftdiff.start={name}: its network is {earlier.config.denoiser}, the student is '
            f'to have {student.config.denoiser}; start from weights of the same size'
        )
    student.denoiser.load_state_dict(earlier.denoiser.state_dict())


class SwiftDiffLoss:
    """
    Match the teachers sample by sample; bring the best sample to the real future.

    The best of S is found without gradients; only that sample and the matched ones are run a
    second time with them, so a large S costs little.
    """

    def __init__(
        self,
        config: SwiftDiffConfig,
        student: MotionModel,
        one_step: MotionModel,
        pool: EncodedPool,
        pairs: Pairs | None = None,
    ) -> None:
        """
        Keep what the loss looks at.

        :param pairs: of the diffusion teacher, of clean histories.
        :raises ConfigError: if there are none and ``match_ddim`` wants them.
        """
        if config.match_ddim > 0.0 and pairs is None:
            raise ConfigError(
                f"match_ddim={config.match_ddim}: needs pairs of the diffusion teacher's DDIM"
            )
        if config.spread > 0.0 and config.samples < SPREAD_SAMPLES:
            raise ConfigError(
                f'swiftdiff.samples={config.samples}: must be at least {SPREAD_SAMPLES} with '
                f'spread={config.spread}'
            )
        self.config = config
        self.pool = pool
        self.pairs = pairs
        self.one_step = one_step
        self.alpha_bar = student.alpha_bar[student.config.t_star]
        self.prediction = student.config.prediction
        frames = student.map_complete.flip(0)[::FRAME_STRIDE].flip(0)  # the last frame always
        self.to_frames = frames
        self.scale = student.state_scale
        self.state_whitening = student.state
        self.condition_whitening = student.condition
        self.clean_share = pool.clean.float().mean().clamp_min(1.0 / len(pool))

    def __call__(
        self, network: nn.Module, generator: torch.Generator, shard: Shard = WHOLE
    ) -> dict[str, Tensor]:
        """Give one step's losses."""
        config, pool = self.config, self.pool
        device = pool.state.device
        size, samples = config.optim.batch, config.samples
        chosen = torch.randint(len(pool), (size,), generator=generator, device=device)
        shape = (size, samples, *pool.state.shape[1:])
        noise = torch.randn(shape, generator=generator, device=device)
        chosen, noise = shard.of(chosen), shard.of(noise)
        real, condition = pool.state[chosen], pool.condition[chosen]
        near = max(config.matched, SPREAD_SAMPLES if config.spread > 0.0 else 0)
        kept = noise[:, :near]
        if config.real > 0.0:
            with torch.no_grad():
                tried = self._x_0(network, noise, condition)
                error = self._distance(tried - real[:, None])  # (B, S)
            best = error.argmin(dim=1)
            rows = torch.arange(len(chosen), device=device)
            kept = torch.cat((kept, noise[rows, best][:, None]), dim=1)
        x_0 = self._x_0(network, kept, condition)
        terms: dict[str, Tensor] = {'loss': torch.zeros((), device=device)}
        if config.match > 0.0:
            with torch.no_grad():
                target = self._teachers(noise[:, : config.matched], condition)
            clean = pool.clean[chosen] / self.clean_share  # (B,)
            square = self._square(x_0[:, : config.matched] - target)
            terms['match'] = (clean * square.mean(dim=1)).mean()
            terms['loss'] = terms['loss'] + config.match * terms['match']
        if config.match_ddim > 0.0 and self.pairs is not None:
            terms['match_ddim'] = self.of_pairs(self.pairs, network, generator, shard)
            terms['loss'] = terms['loss'] + config.match_ddim * terms['match_ddim']
        if config.spread > 0.0:
            drawn = x_0[:, :SPREAD_SAMPLES]
            features = self._features(drawn)
            to_real = self._distance(drawn - real[:, None])
            pairs = self._of_features(features[:, :, None] - features[:, None])
            terms['spread'] = energy_score(to_real, pairs)
            terms['loss'] = terms['loss'] + config.spread * terms['spread']
        if config.real > 0.0:
            closest = best_of_samples(self._distance(x_0[:, near:] - real[:, None]))
            terms['real'] = closest
            terms['loss'] = terms['loss'] + config.real * closest
        return terms

    def of_pairs(
        self, pairs: Pairs, network: nn.Module, generator: torch.Generator, shard: Shard
    ) -> Tensor:
        """Give the mean square distance from a batch of fixed pairs' targets, m^2 a frame."""
        size, device = self.config.optim.batch, pairs.chosen.device
        rows = torch.randint(len(pairs.chosen), (size,), generator=generator, device=device)
        rows = shard.of(rows)
        condition = self.pool.condition[pairs.chosen[rows]]
        found = self._x_0(network, pairs.noise[rows][:, None], condition)
        return self._square(found - pairs.target[rows][:, None]).mean()

    def _x_0(self, network: nn.Module, noise: Tensor, condition: Tensor) -> Tensor:
        flat = noise.flatten(0, 1)
        output = network(flat, condition).float()
        x_0 = to_x0(self.prediction, output, flat, self.alpha_bar)
        return x_0.view_as(noise)

    def _teachers(self, noise: Tensor, condition: Tensor) -> Tensor:
        # The one-step teacher's x_0; its coefficients may be whitened otherwise than the pool's.
        teacher = self.one_step
        given = teacher.condition.apply(self.condition_whitening.undo(condition))
        return self.state_whitening.apply(teacher.state.undo(teacher.one_step(noise, given)))

    def _features(self, difference: Tensor) -> Tensor:
        with torch.autocast(difference.device.type, enabled=False):
            return self.to_frames @ (difference * self.scale)  # (B, S, frames, D), metres

    def _distance(self, difference: Tensor) -> Tensor:
        return self._of_features(self._features(difference))

    def _of_features(self, difference: Tensor) -> Tensor:
        pose, root = displacement_errors(difference)
        return pose + ROOT * root

    def _square(self, difference: Tensor) -> Tensor:
        square = self._features(difference).square()
        pose, root = square[..., 3:].sum(dim=-1), square[..., :3].sum(dim=-1)
        return (pose + ROOT * root).mean(dim=-1)


def load_stage(run: Run, name: str, before: str) -> MotionModel:
    """
    Read an earlier stage's weights from the run folder.

    :raises ConfigError: if they are not there, naming the verb that makes them.
    """
    path = Path(run.folder) / f'{name}.safetensors'
    if not path.is_file():
        raise ConfigError(f'{path}: not there; run {before} with the same --run first')
    return load_weights(path).model.to(run.device)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the verb: both stages, each continued where it stopped."""
    stages = ('one_step', 'swiftdiff')
    run, chain = parse_run('training train swiftdiff', __doc__, EXAMPLE, arguments, stages)
    try:
        with join(run.device) as processes:
            _distil(run, chain)
    except MotionPredictorError as error:
        sys.exit(f'training train swiftdiff: {error}')
    if processes.is_main:
        print('wrote ' + ' and '.join(str(run.folder / f'{s}.safetensors') for s in run.stages))


def _distil(run: Run, chain: ChainConfig) -> None:
    if 'one_step' in run.stages:
        teacher = load_stage(run, 'teacher', 'python -m training train teacher')
        open_stage(run, chain, 'one_step')
        one_step = distil_one_step(run, chain, pool_of(run, chain), teacher)
    else:
        one_step = load_stage(
            run, 'one_step', 'python -m training train swiftdiff --stages one_step'
        )
    if 'swiftdiff' in run.stages:
        pool = pool_of(run, chain, chain.augmentation_of('swiftdiff'))
        pairs = None
        if chain.swiftdiff.match_ddim > 0.0:
            teacher = load_stage(run, 'teacher', 'python -m training train teacher')
            folder = open_stage(run, chain, 'swiftdiff') / 'pairs'
            clean = pool.clean.nonzero().squeeze(-1)
            count = chain.swiftdiff.pairs
            pairs = make_pairs(run, chain, pool, teacher, folder, count, among=clean)
        distil_swiftdiff(run, chain, pool, one_step, pairs=pairs)
