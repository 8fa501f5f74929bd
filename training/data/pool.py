# SPDX-License-Identifier: Apache-2.0
"""A pool of augmented windows that are drawn and encoded once; a step only looks them up."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from motion_predictor.body.skeleton import H36M17, Skeleton
from motion_predictor.model.codec import Codec, Context, Whitening
from motion_predictor.model.config import ModelConfig
from training.common.parallel import current
from training.data.hidden import complete_windows, hide_joints
from training.data.random_windows import Augmentation, tracker_noise, TrainingWindows


@dataclass(frozen=True)
class EncodedPool:
    """
    Whitened windows as the network sees them, and the whitening that was fitted to them.

    ``state`` (N, K, D) and ``condition`` (N, C, D) are float32. ``padded`` is the state of each
    window padded with its last observed pose, (N, K, D), or (1, K, D) if states are residual and
    it is the same for all. ``clean`` is bool (N,), True for windows whose observed joints are all
    seen and without noise. States are those of the motion without noise, relative to the last
    observed pose with noise.
    """

    state: Tensor
    condition: Tensor
    padded: Tensor
    state_whitening: Whitening
    condition_whitening: Whitening
    clean: Tensor
    skeleton: Skeleton = H36M17
    clip: Tensor | None = None
    """Number of each window's recording, ``(N,)``; None: not known."""
    person: Tensor | None = None
    """Number of each window's person, ``(N,)``."""

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.state)

    def padded_of(self, chosen: Tensor) -> Tensor:
        """
        Return the padded states of some windows.

        :param chosen: numbers of the windows, ``(B,)``.
        :returns: broadcastable to ``(B, K, D)``.
        """
        return self.padded if len(self.padded) == 1 else self.padded[chosen]


def encode_pool(
    windows: TrainingWindows,
    codec: Codec,
    augmentation: Augmentation,
    count: int,
    seed: int,
    *,
    fit: bool = False,
    chunk: int = 2048,
    device: str = 'cpu',
) -> EncodedPool:
    """
    Draw and encode windows.

    :param windows: the training recordings.
    :param codec: encodes and whitens; without statistics, values stay in metres.
    :param augmentation: how windows are varied.
    :param count: number of windows, N.
    :param seed: seed of the drawing.
    :param fit: whiten by the statistics of these windows instead of the codec's.
    :param chunk: number of windows encoded at a time.
    :param device: device of the pool.
    """
    config = codec.config
    plain = Codec(config, windows.skeleton)  # in metres, on the CPU
    generator = torch.Generator().manual_seed(seed)
    keep, channels = config.window.dct_keep, 3 * windows.skeleton.num_joints
    state = torch.empty(count, keep, channels)
    condition = torch.empty(count, config.condition_rows, channels)
    padded = torch.zeros(1 if config.residual else count, keep, channels)
    clean = torch.empty(count, dtype=torch.bool)
    clip = torch.empty(count, dtype=torch.int64)
    chunks, quiet = range(0, count, chunk), not current().is_main
    for begin in tqdm(chunks, desc='encode windows', unit='chunk', disable=quiet):
        size = min(chunk, count - begin)
        drawn, clip[begin : begin + size] = windows.draw_known(size, generator, augmentation)
        drawn, context, untouched = _as_seen(drawn, plain, augmentation, generator)
        clean[begin : begin + size] = untouched
        state[begin : begin + size] = plain.encode(drawn, context)
        condition[begin : begin + size] = context.condition
        if not config.residual:
            padded[begin : begin + size] = context.padded
    by_state, by_condition = (
        (Whitening.fit(state), _fit_condition(condition, config))
        if fit
        else (codec.state, codec.condition)
    )
    for values, by in ((state, by_state), (padded, by_state), (condition, by_condition)):
        values.sub_(by.mean.cpu()).div_(by.scale.cpu())  # in place, because they are large
    return EncodedPool(
        state.to(device),
        condition.to(device),
        padded.to(device),
        by_state,
        by_condition,
        clean.to(device),
        windows.skeleton,
        clip=clip.to(device),
        person=windows.person_of_clip.to(device)[clip.to(device)],
    )


def _as_seen(
    drawn: Tensor, plain: Codec, augmentation: Augmentation, generator: torch.Generator
) -> tuple[Tensor, Context, Tensor]:
    """Return windows with hidden joints completed, their context, and which are fully seen."""
    past = drawn[:, : plain.config.window.observed_frames]
    observed, clean = tracker_noise(past, augmentation, generator)
    seen = hide_joints(len(drawn), augmentation.hidden, plain.skeleton, generator)
    drawn, observed = (complete_windows(each, seen, plain.skeleton) for each in (drawn, observed))
    return drawn, plain.observe(observed, seen), clean & seen.all(dim=1)


def _fit_condition(condition: Tensor, config: ModelConfig) -> Whitening:
    # The row that marks hidden joints stays as it is.
    fitted = Whitening.fit(condition)
    if config.mask:
        fitted.mean[-1], fitted.scale[-1] = 0.0, 1.0
    return fitted
