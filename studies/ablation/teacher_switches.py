# SPDX-License-Identifier: Apache-2.0
"""The teacher with switches that no preset uses, for its loss and its sampling."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from motion_predictor.errors import ConfigError
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.schedule import to_x0
from training.data.pool import EncodedPool
from training.engine.config import ChainConfig, TeacherConfig
from training.engine.diffusion import COMPLETIONS
from training.stages.train_teacher import TeacherLoss


@dataclass(frozen=True, kw_only=True)
class SwitchedTeacher(TeacherConfig):
    """The teacher's settings, with switches that only this study has."""

    min_snr: float = 0.0
    """Weight of a step: the smaller of its signal-to-noise ratio and this value, for errors of x0,
    as in Min-SNR weighting (Hang et al., arXiv 2303.09556, gamma); 0 weighs all steps alike."""
    velocity: float = 0.0
    """Weight of the mean squared error of the joints' velocity in the future, computed from the x0
    of the network's output (MDM, arXiv 2209.14916, equation 5), by its signal."""
    completion: str = 'clean'
    """Way in which its DDIM puts the observed history back; see ``diffusion.ddim``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ('min_snr', 'velocity'):
            if not getattr(self, name) >= 0.0:
                raise ConfigError(f'{name}={getattr(self, name)}: must not be negative')
        if self.completion not in COMPLETIONS:
            raise ConfigError(f'completion={self.completion!r}: must be one of {COMPLETIONS}')


def switched(chain: ChainConfig) -> ChainConfig:
    """Return the chain with a teacher that has the switches, all off."""
    teacher = chain.teacher
    same = {part.name: getattr(teacher, part.name) for part in fields(TeacherConfig)}
    return replace(chain, teacher=SwitchedTeacher(**same))


class SwitchedTeacherLoss(TeacherLoss):
    """The teacher's loss, with ``min_snr`` and ``velocity`` as :class:`SwitchedTeacher` says."""

    def __init__(self, config: TeacherConfig, model: MotionModel, pool: EncodedPool) -> None:
        """
        Prepare the loss.

        :param config: a :class:`SwitchedTeacher`.
        :param model: the teacher.
        :param pool: encoded training windows.
        """
        super().__init__(config, model, pool)
        assert isinstance(config, SwitchedTeacher)
        self.switches = config
        window = model.config.window
        future = model.map_full[:, window.observed_frames - 1 :].T  # with the last observed frame
        self.to_velocity = future.diff(dim=0) * window.rate_hz  # (T_fut, K)
        self.scale = model.state_scale

    def terms(
        self, square: Tensor, output: Tensor, x_0: Tensor, x_t: Tensor, alpha_bar: Tensor
    ) -> dict[str, Tensor]:
        """See :meth:`TeacherLoss.terms`."""
        switches, prediction = self.switches, self.model.prediction
        if switches.min_snr > 0.0:
            square = square * min_snr_weight(prediction, alpha_bar, switches.min_snr)
        losses = {'loss': square.mean()}
        if switches.velocity > 0.0:
            found = to_x0(prediction, output, x_t, alpha_bar)
            error = self.to_velocity @ ((found - x_0) * self.scale)  # metres a second
            losses['velocity'] = (alpha_bar * error.square()).mean()
            losses['loss'] = losses['loss'] + switches.velocity * losses['velocity']
        return losses


def min_snr_weight(prediction: str, alpha_bar: Tensor, gamma: float) -> Tensor:
    """
    Return weights of a prediction's squared error that count x0 by min(SNR, gamma).

    Min-SNR weighting (Hang et al., arXiv 2303.09556, section 3.4).

    :param prediction: 'eps', 'x0' or 'v': their squared errors are SNR, 1 and SNR + 1 times that
        of x0.
    :param alpha_bar: values at the steps, any shape.
    :param gamma: above 0; the paper's choice is 5.
    :returns: the same shape as ``alpha_bar``.
    """
    snr = alpha_bar / (1.0 - alpha_bar)
    of_x0 = {'eps': snr, 'x0': torch.ones_like(snr), 'v': snr + 1.0}[prediction]
    return snr.clamp_max(gamma) / of_x0
