# SPDX-License-Identifier: Apache-2.0
"""Build the network that a model's settings ask for."""

from __future__ import annotations

from torch import nn

from motion_predictor.errors import ConfigError
from motion_predictor.model.config import ModelConfig
from motion_predictor.model.networks.experts import MotionExperts
from motion_predictor.model.networks.mlp import FlatDenoiser, MixerDenoiser
from motion_predictor.model.networks.transfusion import TransfusionDenoiser


def build_denoiser(config: ModelConfig, num_joints: int) -> nn.Module:
    """
    Return the network of a model, with fresh weights.

    :param config: names the architecture and its size.
    :param num_joints: number of joints J; the network sees 3J channels.
    :raises ConfigError: if the architecture does not fit the role.
    """
    if config.denoiser.architecture == 'transfusion':
        return TransfusionDenoiser(config, 3 * num_joints)
    architecture = config.denoiser.architecture
    if architecture == 'experts':
        return MotionExperts(config, 3 * num_joints)
    if config.role == 'teacher':
        raise ConfigError(
            f'architecture={architecture!r}: a teacher needs a time step; use "transfusion"'
        )
    network = FlatDenoiser if architecture == 'flat' else MixerDenoiser
    return network(config, 3 * num_joints)
