# SPDX-License-Identifier: Apache-2.0
"""The device, the engine and the threads that run a model."""

from __future__ import annotations

import os

import torch

from motion_predictor.errors import ConfigError
from motion_predictor.model.config import ENGINES

DEVICES = ('auto', 'cpu', 'cuda')


def cpu_has_fast_bf16() -> bool:
    """Return whether this processor has hardware for bfloat16 matrices (AVX512-BF16, AMX)."""
    checks = ('_is_avx512_bf16_supported', '_is_amx_tile_supported')
    return any(bool(getattr(torch.cpu, check, bool)()) for check in checks)


def use_threads(count: int = 0) -> int:
    """
    Set the number of torch's threads, for the calling thread and those started later.

    More threads are not faster on shared cores: torch's threads wait for each other, and one that
    loses its core to the middleware or the tracker holds up all of them.

    :param count: 0 for half of the cores this process may use, at least 1 and at most 4.
    :returns: the number that was set.
    :raises ConfigError: if the count is negative.
    """
    if count < 0:
        raise ConfigError(f'threads={count}: must be 0 (half of the cores, 1 to 4) or more')
    chosen = count or max(1, min(4, _cores() // 2))
    torch.set_num_threads(chosen)
    return chosen


def _cores() -> int:
    affinity = getattr(os, 'sched_getaffinity', None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def pick_device(device: str) -> str:
    """
    Return the device to use, 'cpu' or 'cuda'.

    :param device: 'auto' (CUDA if there is one), 'cpu' or 'cuda'.
    :raises ConfigError: if the device is unknown or not available.
    """
    if device not in DEVICES:
        raise ConfigError(f'device={device!r}: must be one of {DEVICES}')
    if device == 'cpu':
        return 'cpu'
    available = torch.cuda.is_available()
    if device == 'cuda' and not available:
        raise ConfigError("device='cuda': torch finds no CUDA device here; use 'auto' or 'cpu'")
    return 'cuda' if available else 'cpu'


def pick_engine(engine: str, device: str, role: str) -> str:
    """
    Return the engine to use, 'fp32', 'bf16' or 'onnx'.

    :param engine: 'fp32', 'bf16', 'onnx' (fp32 by ONNX Runtime on the CPU), or 'auto', which takes
        bf16 if the device is fast at it.
    :param device: from :func:`pick_device`.
    :param role: role of the model; a mixture of experts ('moe') runs in fp32.
    :raises ConfigError: if the engine is unknown, or the model cannot run in it.
    """
    if engine not in ENGINES:
        raise ConfigError(f'engine={engine!r}: must be one of {ENGINES}')
    if role == 'moe':
        if engine in ('bf16', 'onnx'):
            raise ConfigError(f"engine={engine!r}: a mixture of experts runs in fp32; use 'auto'")
        return 'fp32'
    if engine == 'onnx' and device != 'cpu':
        raise ConfigError(f"engine='onnx': runs on the CPU and not on {device}; use 'auto'")
    if engine != 'auto':
        return engine
    fast = torch.cuda.is_bf16_supported() if device == 'cuda' else cpu_has_fast_bf16()
    return 'bf16' if fast else 'fp32'
