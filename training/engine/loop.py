# SPDX-License-Identifier: Apache-2.0
"""The training loop of all networks: steps, moving average, logs, exact resume."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
import copy
from dataclasses import dataclass
import math
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import nn, Tensor
from tqdm import tqdm

from motion_predictor.errors import StorageError
from motion_predictor.predict.device import cpu_has_fast_bf16
from training.common import parallel
from training.common.logs import Logs
from training.common.parallel import Shard
from training.common.stopping import stop_when_whole, stopped_at
from training.engine.checkpoints import Kept
from training.engine.curve import CURVE, forget_after, note

Network = TypeVar('Network', bound=nn.Module)
StepLosses = Callable[[int, nn.Module, torch.Generator, Shard], Mapping[str, Tensor]]
"""A function of ``(step, network, generator, shard)`` that returns the named losses of a step; the
first step is 0. It draws the whole batch from the generator; ``shard.of`` then keeps the rows of
this process.
"""
Watch = Callable[[int, nn.Module], None]
"""A function of the number of steps done and the moving average of the network."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The length of a training, the moving average, and how often something is written."""

    steps: int
    ema: float
    """Decay of the moving average of the weights; 0: the average is the network itself."""
    save_every: int
    log_every: int = 50
    batch: int = 1
    """Windows per step, which all processes and parts share."""
    accumulate: int = 1
    """Number of parts of a process's share of the batch that are computed one after another."""
    bf16: bool = False
    """Whether to use autocast to bfloat16 if the device has hardware for it."""
    partial: bool = False
    """Whether a step may leave some layers out."""


@dataclass(frozen=True, kw_only=True)
class Descent:
    """One optimiser, the loss that it minimises, and its learning rate."""

    name: str
    """Name of the optimiser's state in checkpoints."""
    loss: str
    """Name of its loss among a step's losses."""
    optimizer: torch.optim.Optimizer
    rate: Callable[[int], float]
    """Function from a step to its learning rate."""
    clip_norm: float
    """Largest norm of a gradient; longer ones are shortened."""
    every: int = 1
    """Number of steps of the loop per step of this optimiser."""

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Return the parameters that it changes."""
        return [p for group in self.optimizer.param_groups for p in group['params']]

    def begin(self, step: int) -> None:
        """Set the rate of a step, and clear the gradients of the step before."""
        rate = self.rate(step)
        for group in self.optimizer.param_groups:
            group['lr'] = rate
        self.optimizer.zero_grad(set_to_none=True)

    def end(self) -> Tensor:
        """
        Take the step, unless the gradient is infinite or NaN.

        :returns: norm of the gradient before it was shortened.
        """
        norm = nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
        if math.isfinite(float(norm)):
            self.optimizer.step()
        return norm


class Draws(Protocol):
    """The source of a step's randomness."""

    def generator(self, step: int, shard: Shard) -> torch.Generator:
        """Return the generator of a step's batch; torch's own is prepared for dropout."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Return the state that continues the draws."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue the draws from a state."""
        ...


class FromStep:
    """Step i draws everything from (seed, i), so its draws do not depend on the steps before."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.seed, self.device = seed, device

    def generator(self, step: int, shard: Shard) -> torch.Generator:
        """See :class:`Draws`."""
        mixed = self.seed * 1_000_003 + step
        torch.manual_seed(mixed + 1_000_000_007 * shard.index)  # for the dropout
        return torch.Generator(self.device).manual_seed(mixed)

    def state(self) -> dict[str, Tensor]:
        """See :class:`Draws`."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See :class:`Draws`."""


class OneStream:
    """All steps draw from one generator, one after another; dropout uses torch's own."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def generator(self, step: int, shard: Shard) -> torch.Generator:
        """See :class:`Draws`."""
        return self._generator

    def state(self) -> dict[str, Tensor]:
        """See :class:`Draws`."""
        return {'generator': self._generator.get_state(), 'dropout': torch.get_rng_state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See :class:`Draws`."""
        self._generator.set_state(state['generator'])
        torch.set_rng_state(state['dropout'])


class Judge(Protocol):
    """Evaluates the moving average from time to time, and decides when the training is over."""

    @property
    def over(self) -> bool:
        """Return whether further steps are of no use."""
        ...

    def look(self, done: int, averaged: nn.Module) -> Mapping[str, float]:
        """Evaluate after some steps; return figures for the progress bar, none if not due."""
        ...

    def state(self) -> dict[str, Any]:
        """Return the state that continues the evaluation."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue the evaluation from a state."""
        ...


class Loop(Generic[Network]):
    """
    One training: it continues from its checkpoint if there is one, and ends with the average.

    Under torchrun the processes share every batch, and so do the ``plan.accumulate`` parts of one
    process.
    """

    def __init__(
        self,
        network: Network,
        losses: StepLosses,
        descents: Sequence[Descent],
        plan: Plan,
        draws: Draws,
        *,
        title: str,
        kept: Kept | None = None,
        folder: Path | None = None,
        compiled: nn.Module | None = None,
        judge: Judge | None = None,
        watch: Watch | None = None,
        quiet: bool = False,
    ) -> None:
        """
        Prepare the training, and read the checkpoint.

        :param network: changed in place, on its device.
        :param losses: called once per step and shard, under autocast where that is faster.
        :param descents: the optimisers, each for one of the losses.
        :param plan: steps, average, logs.
        :param draws: the randomness.
        :param title: title of the progress bar.
        :param kept: the checkpoint; None keeps nothing.
        :param folder: folder for the curve and TensorBoard's logs; None: neither.
        :param compiled: the network in the form in which it is called, if that differs.
        :param judge: may end the training before the last step.
        :param watch: called after every step, when its checkpoint is written; its errors end the
            training.
        :param quiet: whether to show no progress bar.
        :raises ConfigError: if the batch cannot be divided evenly, or if the checkpoint cannot be
            read.
        """
        self.network, self.losses, self.descents, self.plan = network, losses, descents, plan
        self.draws, self.title, self.kept, self.folder = draws, title, kept, folder
        self.judge, self.watch, self.quiet = judge, watch, quiet
        self.device = next(network.parameters()).device
        self.processes = parallel.current()
        self.shards = self.processes.shards(plan.accumulate, plan.batch)
        network.train()
        self.averaged = copy.deepcopy(network).eval().requires_grad_(False)
        self.begin = self._restore()
        called = network if compiled is None else compiled
        self.wrapped = self.processes.wrap(called, self.device.type, partial=plan.partial)
        fast = self.device.type == 'cuda' or cpu_has_fast_bf16()
        self.bf16 = plan.bf16 and fast

    def run(self) -> Network:
        """
        Take the remaining steps.

        :returns: the moving average of the network: the one to use.
        :raises StorageError: if the folder can no longer be written.
        :raises KeyboardInterrupt: on Ctrl-C or SIGTERM, after the step is done and saved; it says
            how to continue.
        """
        logs = self._logs()
        saved = self.begin
        bar = tqdm(
            range(self.begin, self.plan.steps),
            initial=self.begin,
            total=self.plan.steps,
            desc=self.title,
            disable=self.quiet or not self.processes.is_main,
            mininterval=0.5,
        )
        try:
            with stop_when_whole() as stop:
                for step in bar:
                    if self.judge is not None and self.judge.over:
                        break
                    terms, norm = self._step(step)
                    done = step + 1
                    shown = self._tell(done, terms, norm, logs)
                    if self.judge is not None:
                        shown = {**shown, **self.judge.look(done, self.averaged)}
                    if shown:
                        bar.set_postfix({name: f'{value:.4g}' for name, value in shown.items()})
                    stopping = self.processes.any(stop.asked)
                    if done % self.plan.save_every == 0 or done == self.plan.steps or stopping:
                        self._save(done)
                        saved = done
                    if self.watch is not None:
                        self.watch(done, self.averaged)
                    if stopping:
                        told = stopped_at(self.title, done, self.plan.steps)
                        raise KeyboardInterrupt(told if self.kept is not None else '')
        except StorageError as error:
            if self.kept is None:
                raise
            raise StorageError(
                f'{error}; {self.kept.path} holds step {saved}: the same command goes on from '
                'there'
            ) from error
        finally:
            bar.close()
            if logs is not None:
                logs.close()
        self.processes.wait()
        self.network.eval()
        return self.averaged

    def _step(self, step: int) -> tuple[dict[str, Tensor], Tensor]:
        """Take one step; return its losses, and the norm of the first gradient."""
        turn = [descent for descent in self.descents if step % descent.every == 0]
        for descent in turn:
            descent.begin(step)
        terms: dict[str, Tensor] = {}
        count = len(self.shards)
        for number, shard in enumerate(self.shards):
            generator = self.draws.generator(step, shard)
            with _no_sync(self.wrapped, number == count - 1):
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                    part = self.losses(step, self.wrapped, generator, shard)
                self._backward(part, turn)
            for name, value in part.items():
                share = value.detach() / count
                terms[name] = terms[name] + share if name in terms else share
        norms = [descent.end() for descent in turn]
        self._average(min(self.plan.ema, (1.0 + step) / (10.0 + step)))
        return terms, norms[0]

    def _backward(self, part: Mapping[str, Tensor], turn: Sequence[Descent]) -> None:
        wanted = [(part[d.loss], d) for d in turn if part[d.loss].requires_grad]
        for number, (loss, descent) in enumerate(wanted):
            only = [parameter for parameter in descent.parameters if parameter.requires_grad]
            more = number < len(wanted) - 1
            (loss / len(self.shards)).backward(retain_graph=more, inputs=only)

    @torch.no_grad()
    def _average(self, decay: float) -> None:
        targets: list[Tensor] = list(self.averaged.parameters())
        sources: list[Tensor] = [parameter.detach() for parameter in self.network.parameters()]
        torch._foreach_lerp_(targets, sources, 1.0 - decay)

    def _logs(self) -> Logs | None:
        if self.folder is None or not self.processes.is_main:
            return None
        forget_after(self.folder / CURVE, self.begin)
        return Logs(self.folder / 'tensorboard', self.begin or None)

    def _tell(
        self, done: int, terms: Mapping[str, Tensor], norm: Tensor, logs: Logs | None
    ) -> Mapping[str, float]:
        """Log the losses if it is time; return those to show."""
        if done % self.plan.log_every:
            return {}
        values = self.processes.mean(terms)
        if logs is not None and self.folder is not None:
            for name, mean in values.items():
                logs.add_scalar(f'train/{name}', mean, done)
            logs.add_scalar('train/gradient_norm', float(norm), done)
            rate = self.descents[0].optimizer.param_groups[0]['lr']
            logs.add_scalar('train/learning_rate', rate, done)
            note(self.folder / CURVE, {'step': done, **values})
        return values

    def _restore(self) -> int:
        """Read the checkpoint; return the number of steps that are done."""
        saved = self.kept.load(self.device) if self.kept is not None else None
        if saved is None:
            return 0
        self.network.load_state_dict(saved['network'])
        self.averaged.load_state_dict(saved['averaged'])
        for descent in self.descents:
            descent.optimizer.load_state_dict(saved[descent.name])
        self.draws.restore(saved)
        if self.judge is not None:
            self.judge.restore(saved)
        return int(saved['step'])

    def _save(self, done: int) -> None:
        if self.kept is None or not self.processes.is_main:
            return
        self.kept.save(
            {
                'network': self.network.state_dict(),
                'averaged': self.averaged.state_dict(),
                **{descent.name: descent.optimizer.state_dict() for descent in self.descents},
                **self.draws.state(),
                **(self.judge.state() if self.judge is not None else {}),
                'step': done,
            }
        )


def _no_sync(network: nn.Module, last: bool) -> Any:
    # Gradients are exchanged once a step, with the last part of the batch.
    hold = getattr(network, 'no_sync', None)
    return nullcontext() if last or hold is None else hold()
