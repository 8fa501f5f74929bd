# SPDX-License-Identifier: Apache-2.0
"""Several processes of one training, as torchrun starts them, and each one's part of a step."""

from __future__ import annotations

import atexit
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
import os

import torch
from torch import distributed, nn, Tensor

from motion_predictor.errors import ConfigError


@dataclass(frozen=True)
class Shard:
    """
    The part of a step's batch that is computed.

    A loss draws the whole batch of step i from (seed, i), whatever the number of processes, and
    keeps its own rows by :meth:`of`. So the number of processes changes only the order in which
    floats are added.
    """

    index: int = 0
    count: int = 1

    def of(self, batch: Tensor) -> Tensor:
        """
        Return this shard's rows.

        :param batch: ``(B, ...)``, B a multiple of ``count``.
        :returns: ``(B / count, ...)``.
        """
        if self.count == 1:
            return batch
        size = len(batch) // self.count
        begin = self.index * size
        end = begin + size
        return batch[begin:end]


WHOLE = Shard()
"""The whole batch: one process, no accumulation."""


@dataclass(frozen=True)
class Processes:
    """The processes that train together; only rank 0 writes files and shows progress."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Return whether this is the process that writes."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until every process has come to this point."""
        if self.world > 1:
            distributed.barrier()

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Run the block in rank 0, then in the others, for folders and files that it makes."""
        if not self.is_main:
            self.wait()
        yield
        if self.is_main:
            self.wait()

    def any(self, asked: bool) -> bool:
        """Return whether ``asked`` is true in at least one process, the same in all of them."""
        if self.world == 1:
            return asked
        device = 'cuda' if distributed.get_backend() == 'nccl' else 'cpu'
        flag = torch.tensor(float(asked), device=device)
        distributed.all_reduce(flag, op=distributed.ReduceOp.MAX)
        return bool(flag)

    def mean(self, terms: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the mean of named scalars over the processes."""
        names = sorted(terms)
        values = torch.stack([terms[name].detach().float() for name in names])
        if self.world > 1:
            distributed.all_reduce(values)
            values = values / self.world
        return dict(zip(names, values.tolist()))

    def shards(self, accumulate: int, batch: int) -> list[Shard]:
        """
        Return the shards of a step that this process computes, one after another.

        :param accumulate: number of shards that a process computes before the optimiser's step.
        :param batch: number of windows of the whole step.
        :raises ConfigError: if the batch cannot be divided evenly.
        """
        count = self.world * accumulate
        if batch % count:
            raise ConfigError(
                f'batch={batch}: {self.world} processes x accumulate={accumulate} need a '
                f'multiple of {count}'
            )
        first = self.rank * accumulate
        return [Shard(first + i, count) for i in range(accumulate)]

    def wrap(self, network: nn.Module, device: str, *, partial: bool = False) -> nn.Module:
        """
        Return the network with gradients averaged over the processes.

        It uses DistributedDataParallel.

        :param network: the network.
        :param device: 'cpu' or 'cuda'.
        :param partial: whether a step may leave some layers out.
        """
        if self.world == 1:
            return network
        ids = [torch.cuda.current_device()] if device == 'cuda' else None
        return nn.parallel.DistributedDataParallel(
            network, device_ids=ids, find_unused_parameters=partial
        )


def started_by_torchrun() -> bool:
    """Return whether torchrun started this process."""
    return distributed.is_available() and distributed.is_torchelastic_launched()


def current() -> Processes:
    """Return the processes of this training: one, unless several have called :func:`join`."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return Processes()
    return Processes(
        distributed.get_rank(),
        distributed.get_world_size(),
        int(os.environ.get('LOCAL_RANK', '0')),
    )


@contextmanager
def join(device: str) -> Iterator[Processes]:
    """
    Join the other processes that torchrun started, by gloo on a CPU and NCCL with CUDA.

    A process that was started alone does nothing here. The processes part only when they end: if
    they joined again, they could meet remains of the first time and wait for ever.

    :param device: 'cpu' or 'cuda'; if there are several GPUs, each process takes its own.
    """
    if not started_by_torchrun() or distributed.is_initialized():
        yield current()
        return
    if device == 'cuda':
        torch.cuda.set_device(int(os.environ['LOCAL_RANK']))
    distributed.init_process_group('nccl' if device == 'cuda' else 'gloo')
    atexit.register(distributed.destroy_process_group)
    yield current()
