"""Adapting a student to a recording: what it learns from, what is held back, and the loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import copy
from dataclasses import dataclass
import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch
from torch import nn, Tensor

from motion_predictor.errors import ConfigError, RecordingError
from motion_predictor.model.codec import Context
from motion_predictor.model.config import WindowConfig
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.person_frame import PersonFrame, to_features
from motion_predictor.predict.device import cpu_has_fast_bf16
from training.common.parallel import Shard
from training.data.random_windows import Augmentation, TrainingWindows
from training.engine.checkpoints import Kept
from training.engine.loop import Descent, Loop, OneStream, Plan
from training.stages.losses import best_of_samples, displacement_errors

BLOCK_S = 10.0
"""Windows of one clip within so long count as one when intervals are drawn."""
WARMUP_STEPS = 20
"""Steps in which the learning rate rises."""


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """How a student is adapted."""

    steps: int = 400
    """At most; it ends when validation gets no better."""
    batch: int = 16
    samples: int = 10
    """Noises drawn for each window; the best of them meets the real future."""
    learning_rate: float = 3e-4
    weight_decay: float = 0.0
    ema: float = 0.95
    stay: float = 1.0
    """Weight of the mean square distance from the original student's futures, square metres a
    frame; 0 lets go of it."""
    matched: int = 2
    """Noises of each window that this distance is taken at."""
    root: float = 0.5
    """Weight of the root's path beside the pose."""
    frame_stride: int = 4
    every: int = 40
    """Steps from one validation to the next."""
    patience: int = 3
    """Validations without a better one before it stops."""
    pool: int = 2048
    """Varied windows that are drawn once."""
    hold_back: str = 'end'
    """'end': the last part of every clip; 'clips': whole clips."""
    test_share: float = 0.25
    val_share: float = 0.15
    scored_samples: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ('steps', 'batch', 'samples', 'every', 'patience', 'pool', 'scored_samples'):
            if getattr(self, name) < 1:
                raise ConfigError(f'{name}={getattr(self, name)}: must be at least 1')
        if not 1 <= self.matched <= self.samples:
            raise ConfigError(f'matched={self.matched}: must lie in 1..{self.samples} (samples)')
        if self.hold_back not in ('end', 'clips'):
            raise ConfigError(f'hold_back={self.hold_back!r}: must be end or clips')
        if min(self.stay, self.root) < 0.0 or not self.learning_rate > 0.0:
            raise ConfigError(
                f'stay={self.stay}, root={self.root}, learning_rate={self.learning_rate}: '
                'must not be negative'
            )
        shares = self.test_share, self.val_share
        if min(shares) <= 0.0 or sum(shares) >= 0.9:
            raise ConfigError(f'shares {shares}: must be positive and leave a tenth to learn from')


@dataclass(frozen=True)
class Parts:
    """
    A recording taken apart; no window lies in two parts.

    Each part: clips of world positions in metres, ``(T, J, 3)``, at the model's rate.
    """

    adapt: tuple[NDArray[np.float32], ...]
    val: tuple[NDArray[np.float32], ...]
    held: tuple[NDArray[np.float32], ...]


def take_apart(
    clips: Sequence[NDArray[np.float32]], window: WindowConfig, config: FinetuneConfig
) -> Parts:
    """
    Hold back a part to test and one to stop by, in whole blocks of time.

    With 'end' every clip long enough for a window in each part gives its end to the test and what
    lies before that to validation; shorter clips, and with 'clips' all of them, go whole to one
    part in turn.

    :raises RecordingError: if a part would hold no window.
    """
    total = window.total_frames
    adapt: list[NDArray[np.float32]] = []
    val: list[NDArray[np.float32]] = []
    held: list[NDArray[np.float32]] = []
    turns = itertools.cycle((adapt, held, adapt, val))
    for clip in clips:
        if len(clip) < total:
            continue
        last = max(total, round(config.test_share * len(clip)))
        middle = max(total, round(config.val_share * len(clip)))
        first = len(clip) - last - middle
        if config.hold_back == 'clips' or first < total:
            next(turns).append(clip)
            continue
        adapt.append(clip[:first])
        val.append(clip[first : first + middle])
        held.append(clip[first + middle :])
    if not (adapt and val and held):
        longest = max((len(clip) for clip in clips), default=0) / window.rate_hz
        raise RecordingError(
            f'too little to hold a part back: {len(clips)} clips, the longest of {longest:.1f} s; '
            f'a window lasts {total / window.rate_hz:.1f} s: record at least three times that '
            'without a break, or four such clips'
        )
    return Parts(tuple(adapt), tuple(val), tuple(held))


@dataclass(frozen=True)
class Examples:
    """Windows as the student and its loss see them: histories and what really followed."""

    context: Context
    future: Tensor
    """Root and pose in each person's frame, metres, ``(N, T_fut, D)``."""

    def __len__(self) -> int:
        """Count the windows."""
        return len(self.future)

    def pick(self, rows: Tensor) -> Examples:
        """Give some of them."""
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


def cut_windows(
    clips: Sequence[NDArray[np.float32]], window: WindowConfig, stride_s: float = 0.5
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """
    Cut clips into windows as evaluation does.

    :returns: world metres ``(N, T, J, 3)``, and for each window the number of its block of time.
    """
    stride, total = max(1, round(stride_s * window.rate_hz)), window.total_frames
    block = round(BLOCK_S * window.rate_hz)
    poses, blocks, seen = [], [], 0
    for clip in clips:
        for start in range(0, len(clip) - total + 1, stride):
            poses.append(clip[start : start + total])
            blocks.append(seen + start // block)
        seen += len(clip) // block + 1
    return np.stack(poses), np.array(blocks, dtype=np.int64)


class FinetuneLoss:
    """The best of S samples meets the real future; others stay near the original's."""

    def __init__(self, config: FinetuneConfig, original: MotionModel) -> None:
        self.config = config
        self.original = original
        frames = original.config.window.future_frames
        kept = torch.arange(frames - 1, -1, -config.frame_stride).flip(0)  # the last one always
        self.frames = kept

    def __call__(self, model: MotionModel, examples: Examples, noise: Tensor) -> dict[str, Tensor]:
        """
        Give a step's losses.

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
        """Distance of every sample from the real future, metres, ``(B, S)``."""
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

    It keeps the best student, and the training is over when ``patience`` looks brought no better.
    """

    def __init__(
        self, original: MotionModel, windows: Examples, noise: Tensor, loss: FinetuneLoss
    ) -> None:
        """
        Look at the original first.

        :param original: it is not changed.
        :param windows: N of them.
        :param noise: the same for every look, ``(N, S, K, D)``.
        :param loss: says how far futures are from the real one, how often to look, and how long
            to wait.
        """
        self.loss, self.windows, self.noise = loss, windows, noise
        self.model = copy.deepcopy(original)
        self.best: Mapping[str, Tensor] = copy.deepcopy(original.denoiser.state_dict())
        self.curve = [{'step': 0.0, 'val': self.error()}]
        self.waited = 0

    def error(self) -> float:
        """Measure the model, metres."""
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
    Teach a copy of a student the first part of a recording, until validation gets no better.

    :param original: of role 'one_step' or 'swiftdiff'; it is not changed.
    :param parts: from :func:`take_apart`.
    :param config: settings.
    :param quiet: no progress bar.
    :param kept: goes on from what is kept there, and keeps what it comes to.
    :raises KeyboardInterrupt: on Ctrl-C or SIGTERM, once a step is done and kept.
    :returns: the best student by validation (the original itself where none was better), and what
        each validation said: ``{'step', 'val'}``, metres; step 0 is the original.
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

    descent = Descent(
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
