# SPDX-License-Identifier: Apache-2.0
"""The training that adapts a student: examples, loss, validation and the settings of the loop."""

from __future__ import annotations

from collections.abc import Mapping
import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn, Tensor

from motion_predictor.model.codec import Context
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.person_frame import PersonFrame, to_features
from motion_predictor.predict.device import cpu_has_fast_bf16
from training.common.parallel import Shard
from training.data.random_windows import Augmentation, TrainingWindows
from training.engine.checkpoints import Kept
from training.engine.loop import Descent, Loop, OneStream, Plan
from training.stages.adapt.held_back import cut_windows, Parts
from training.stages.adapt.settings import FinetuneConfig
from training.stages.losses import best_of_samples, displacement_errors

WARMUP_STEPS = 20
"""Number of steps in which the learning rate rises."""


@dataclass(frozen=True)
class Examples:
    """Windows in the form of the student and its loss: histories and real futures."""

    context: Context
    future: Tensor
    """Root and pose in each person's frame, metres, ``(N, T_fut, D)``."""

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.future)

    def pick(self, rows: Tensor) -> Examples:
        """Return some of the windows."""
        context = self.context
        return Examples(
            Context(
                PersonFrame(context.frame.origin[rows], context.frame.rotation[rows]),
                context.features[rows],
                context.padded[rows],
                context.condition[rows],
            ),
            self.future[rows],
        )


def examples_of(model: MotionModel, windows: Tensor) -> Examples:
    """
    Encode windows.

    :param windows: world metres, ``(N, T, J, 3)``.
    """
    past = model.config.window.observed_frames
    context = model.observe(windows[:, :past])
    return Examples(context, to_features(context.frame.enter(windows[:, past:])))


class FinetuneLoss:
    """The best of S samples is drawn to the real future; others stay near the original's."""

    def __init__(self, config: FinetuneConfig, original: MotionModel) -> None:
        self.config = config
        self.original = original
        frames = original.config.window.future_frames
        kept = torch.arange(frames - 1, -1, -config.frame_stride).flip(0)  # the last one always
        self.frames = kept

    def __call__(self, model: MotionModel, examples: Examples, noise: Tensor) -> dict[str, Tensor]:
        """
        Return the losses of a step.

        :param model: the student.
        :param examples: B windows.
        :param noise: ``(B, S, K, D)``.
        """
        config, context = self.config, examples.context
        best = self.errors(model, examples, noise).argmin(dim=1)
        rows = torch.arange(len(examples), device=noise.device)
        few = noise[:, : config.matched]
        kept = torch.cat((few, noise[rows, best][:, None]), dim=1)
        futures = self._futures(model, context, kept)
        with torch.no_grad():
            before = self._futures(self.original, context, few)
        square = (futures[:, : config.matched] - before).square()
        pose, root = square[..., 3:].sum(dim=-1), square[..., :3].sum(dim=-1)
        stay = (pose + config.root * root).mean()
        difference = futures[:, config.matched :] - examples.future[:, None, self.frames]
        real = best_of_samples(self._distance(difference))
        return {'loss': real + config.stay * stay, 'real': real, 'stay': stay}

    @torch.no_grad()
    def errors(self, model: MotionModel, examples: Examples, noise: Tensor) -> Tensor:
        """Return the distance of every sample from the real future, metres, ``(B, S)``."""
        futures = self._futures(model, examples.context, noise)
        return self._distance(futures - examples.future[:, None, self.frames])

    def _futures(self, model: MotionModel, context: Context, noise: Tensor) -> Tensor:
        white = model.one_step(noise, context.condition)
        with torch.autocast('cpu', enabled=False):  # positions stay float32
            return model.decode_features(white, context)[:, :, self.frames]  # (B, S, frames, D)

    def _distance(self, difference: Tensor) -> Tensor:
        pose, root = displacement_errors(difference)
        return pose + self.config.root * root


class Validation:
    """
    The error of the averaged student on windows that it does not learn from.

    It keeps the best student. The training is over when ``patience`` evaluations brought no better
    one.
    """

    def __init__(
        self, original: MotionModel, windows: Examples, noise: Tensor, loss: FinetuneLoss
    ) -> None:
        """
        Evaluate the original first.

        :param original: the original student; it is not changed.
        :param windows: N windows.
        :param noise: the same for every evaluation, ``(N, S, K, D)``.
        :param loss: measures the distance of futures from the real one, and states how often to
            evaluate and how long to wait.
        """
        self.loss, self.windows, self.noise = loss, windows, noise
        self.model = copy.deepcopy(original)
        self.best: Mapping[str, Tensor] = copy.deepcopy(original.denoiser.state_dict())
        self.curve = [{'step': 0.0, 'val': self.error()}]
        self.waited = 0

    def error(self) -> float:
        """Return the error of the model in metres."""
        with torch.autocast('cpu', torch.bfloat16, enabled=cpu_has_fast_bf16()):
            errors = [
                self.loss.errors(self.model, self.windows.pick(rows), self.noise[rows])
                for rows in torch.arange(len(self.windows)).split(64)
            ]
        return float(best_of_samples(torch.cat(errors)))

    @property
    def over(self) -> bool:
        """See :class:`training.engine.loop.Judge`."""
        return self.waited >= self.loss.config.patience

    def look(self, done: int, averaged: nn.Module) -> dict[str, float]:
        """See :class:`training.engine.loop.Judge`."""
        config = self.loss.config
        if done % config.every and done != config.steps:
            return {}
        self.model.denoiser = averaged
        best, now = min(entry['val'] for entry in self.curve), self.error()
        self.curve.append({'step': float(done), 'val': now})
        self.waited += 1
        if now < best:
            self.waited = 0
            self.best = copy.deepcopy(averaged.state_dict())
        return {'val': now, 'before': self.curve[0]['val']}

    def state(self) -> dict[str, Any]:
        """See :class:`training.engine.loop.Judge`."""
        return {'best': self.best, 'curve': self.curve, 'waited': self.waited}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See :class:`training.engine.loop.Judge`."""
        self.best, self.curve, self.waited = state['best'], state['curve'], int(state['waited'])


def adapt(
    original: MotionModel,
    parts: Parts,
    config: FinetuneConfig,
    *,
    quiet: bool = False,
    kept: Kept | None = None,
) -> tuple[MotionModel, list[dict[str, float]]]:
    """
    Train a copy of a student on the first part of a recording, until validation stops improving.

    :param original: a model of role 'one_step' or 'swiftdiff'; it is not changed.
    :param parts: from :func:`take_apart`.
    :param config: settings.
    :param quiet: whether to show no progress bar.
    :param kept: the training continues from its state, and writes its state there.
    :raises KeyboardInterrupt: on Ctrl-C or SIGTERM, after a step is done and saved.
    :returns: the best student by validation (the original if none was better), and the result of
        each validation: ``{'step', 'val'}``, metres; step 0 is the original.
    """
    window = original.config.window
    torch.manual_seed(config.seed)
    original = copy.deepcopy(original).eval().requires_grad_(False)
    student = copy.deepcopy(original).train()
    student.denoiser.requires_grad_(True)
    windows = TrainingWindows(parts.adapt, window, original.skeleton)
    generator = torch.Generator().manual_seed(config.seed)
    pool = examples_of(original, windows.draw(config.pool, generator, Augmentation()))
    checked = examples_of(original, torch.from_numpy(cut_windows(parts.val, window)[0]))
    loss = FinetuneLoss(config, original)
    shape = (config.samples, *original.state_scale.shape)
    fixed = torch.randn((len(checked), *shape), generator=generator)
    validation = Validation(original, checked, fixed, loss)

    def losses(
        step: int, network: nn.Module, generator: torch.Generator, shard: Shard
    ) -> dict[str, Tensor]:
        rows = torch.randint(len(pool), (config.batch,), generator=generator)
        noise = torch.randn((config.batch, *shape), generator=generator)
        return loss(student, pool.pick(rows), noise)

    descent = _descent(student, config)
    plan = Plan(steps=config.steps, ema=config.ema, save_every=config.every, bf16=True)
    loop = Loop(
        student.denoiser,
        losses,
        [descent],
        plan,
        OneStream(generator),
        title='finetune',
        kept=kept,
        judge=validation,
        quiet=quiet,
    )
    loop.run()
    student.denoiser.load_state_dict(validation.best)
    return student.eval().requires_grad_(False), validation.curve


def _descent(student: MotionModel, config: FinetuneConfig) -> Descent:
    return Descent(
        name='optimizer',
        loss='loss',
        optimizer=torch.optim.AdamW(
            student.denoiser.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
        ),
        rate=lambda step: config.learning_rate * min(1.0, (step + 1) / WARMUP_STEPS),
        clip_norm=1.0,
    )
