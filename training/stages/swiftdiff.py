# SPDX-License-Identifier: Apache-2.0
"""Stage 2: SwiftDiff, the MLP-only student of both teachers and of the real future."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn, Tensor

from motion_predictor.errors import ConfigError
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.schedule import to_x0
from motion_predictor.model.weights import load_weights, save_weights
from training.common.parallel import current, Shard, WHOLE
from training.data.pool import EncodedPool
from training.engine.config import ChainConfig, SwiftDiffConfig
from training.engine.fitting import fit, LossOfStep
from training.engine.loop import Watch
from training.engine.runs import card_of, open_stage, Run
from training.stages.losses import (
    best_of_samples,
    displacement_errors,
    displacement_errors_in_room,
    energy_score,
)
from training.stages.pairs import Pairs

SPREAD_SAMPLES = 4
"""Number of samples in the energy score, with the matched ones among them. More samples add little
and cost proportionally more."""
ROOT = 0.5
"""Weight of the root's path beside the pose, in all terms."""
FRAME_STRIDE = 4
"""The terms use every so many future frames, always with the last one; between them the motion is
as smooth as the lowest 20 frequencies are."""
StudentLoss = Callable[[SwiftDiffConfig, MotionModel, MotionModel | None, EncodedPool], LossOfStep]
"""A function of settings, student, one-step teacher and pool that returns the loss of stage 2."""


def distil_swiftdiff(
    run: Run,
    chain: ChainConfig,
    pool: EncodedPool,
    one_step: MotionModel | None,
    *,
    pairs: Pairs | None = None,
    loss: StudentLoss | None = None,
    watch: Watch | None = None,
) -> MotionModel:
    """
    Stage 2: train the MLP-only student on its teachers' outputs and the real future.

    :param run: folder, device and data of the run.
    :param chain: settings.
    :param pool: encoded training windows.
    :param one_step: the stage-1 model; it is not changed. None if no term needs it.
    :param pairs: pairs of the diffusion teacher, if ``swiftdiff.match_ddim`` needs them.
    :param loss: makes the loss from settings, student, one-step teacher and pool; the default is
        :class:`SwiftDiffLoss` with the pairs.
    :param watch: as in :class:`training.engine.loop.Loop`.
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
    if one_step is not None:
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
    card = card_of(run, chain, title_of(config), folder)
    if current().is_main:
        save_weights(run.folder / 'swiftdiff.safetensors', student, card)
    current().wait()
    return student


def title_of(config: SwiftDiffConfig) -> str:
    """Return the title of the student's card; it names teachers where a term asks one."""
    taught = config.match > 0.0 or config.match_ddim > 0.0
    return f'SwiftDiff, {"distilled from its teachers" if taught else "trained without a teacher"}'


def begin_from(student: MotionModel, earlier: MotionModel, name: str) -> None:
    """
    Copy the network of an earlier student into a student.

    :param student: the student; it is changed.
    :param earlier: a student with the same joints, window and whitening.
    :param name: name of the earlier one, for messages.
    :raises ConfigError: if the two do not fit together.
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
    Match the teachers sample by sample; draw the best sample to the real future.

    The best of S is found without gradients. Only that sample and the matched ones are computed a
    second time with gradients, so a large S costs little.
    """

    def __init__(
        self,
        config: SwiftDiffConfig,
        student: MotionModel,
        one_step: MotionModel | None,
        pool: EncodedPool,
        pairs: Pairs | None = None,
    ) -> None:
        """
        Keep the inputs of the loss.

        :param config: settings.
        :param student: the student.
        :param one_step: the one-step teacher.
        :param pool: encoded training windows.
        :param pairs: pairs of the diffusion teacher, for clean histories.
        :raises ConfigError: if ``match_ddim`` needs pairs and there are none, or if ``match``
            needs a one-step teacher and there is none.
        """
        if config.match > 0.0 and one_step is None:
            raise ConfigError(f'match={config.match}: needs the one-step teacher')
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
        frames = student.map_complete.flip(0)[::FRAME_STRIDE].flip(0)  # always with the last frame
        self.to_frames = frames
        self.scale = student.state_scale
        self.state_whitening = student.state
        self.condition_whitening = student.condition
        self.clean_share = pool.clean.float().mean().clamp_min(1.0 / len(pool))

    def __call__(
        self, network: nn.Module, generator: torch.Generator, shard: Shard = WHOLE
    ) -> dict[str, Tensor]:
        """Return one step's losses."""
        config, pool = self.config, self.pool
        device = pool.state.device
        size, samples = config.optim.batch, config.samples
        chosen = torch.randint(len(pool), (size,), generator=generator, device=device)
        shape = (size, samples, *pool.state.shape[1:])
        noise = torch.randn(shape, generator=generator, device=device)
        chosen, noise = shard.of(chosen), shard.of(noise)
        real, condition = pool.state[chosen], pool.condition[chosen]
        near = max(
            config.matched if config.match > 0.0 else 0,
            SPREAD_SAMPLES if config.spread > 0.0 else 0,
        )
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
            drawn = self._features(x_0[:, near - SPREAD_SAMPLES : near] - real[:, None])
            between = displacement_errors_in_room(drawn[:, :, None] - drawn[:, None])
            terms['spread'] = energy_score(displacement_errors_in_room(drawn), between)
            terms['loss'] = terms['loss'] + config.spread * terms['spread']
        if config.real > 0.0:
            closest = best_of_samples(self._distance(x_0[:, near:] - real[:, None]))
            terms['real'] = closest
            terms['loss'] = terms['loss'] + config.real * closest
        return terms

    def of_pairs(
        self, pairs: Pairs, network: nn.Module, generator: torch.Generator, shard: Shard
    ) -> Tensor:
        """Return the mean square distance from a batch of fixed pairs' targets, m^2 per frame."""
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
        # The one-step teacher's x_0; its whitening may differ from the pool's.
        teacher = self.one_step
        assert teacher is not None
        known = self.condition_whitening.undo(condition)[:, : teacher.config.condition_rows]
        given = teacher.condition.apply(known)
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
