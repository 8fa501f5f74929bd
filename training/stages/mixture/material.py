# SPDX-License-Identifier: Apache-2.0
"""The training material of a mixture: teachers, windows, and samples of futures, made once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
import hashlib
import json
from pathlib import Path

from safetensors.torch import load_file, save_file
import torch
from torch import Tensor
from tqdm import tqdm

from motion_predictor.body.skeleton import H36M17
from motion_predictor.common.whole_files import written_whole
from motion_predictor.errors import ConfigError
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.networks.experts import MotionExperts
from motion_predictor.model.weights import file_digest, load_weights
from training.data.pool import EncodedPool
from training.data.store import data_digest
from training.data.windows import skeleton_of
from training.engine.config import as_plain, ChainConfig, Encoding, MoeConfig
from training.engine.runs import pool_of, Run, stage_or_shipped
from training.stages.mixture.cross_fit import cross_fitted_samples, share_out
from training.stages.mixture.vdd import Batch

ENCODING = tuple(part.name for part in fields(Encoding))
"""Settings that a model and its pool must share."""
PASS = 512
"""Number of states in one call of the one-step teacher."""


def moe_pool(run: Run, chain: ChainConfig, teacher: MotionModel, kept_in: Path) -> EncodedPool:
    """
    Draw and encode the training windows with the teacher's own whitening, or read them.

    :param run: the run.
    :param chain: settings of the chain.
    :param teacher: the teacher.
    :param kept_in: folder for the file.
    :raises RecordingError: if a recording cannot be used.
    """
    state, condition = teacher.state, teacher.condition
    settings = json.dumps(
        [
            as_plain(chain.augmentation_of('moe')),
            as_plain(teacher.config),
            [data_digest(p) for p in run.data],
        ]
    )
    if teacher.skeleton != H36M17:
        settings += json.dumps(teacher.skeleton.joints)
    facts = f'{settings}{chain.moe.without}{state.scale.sum():.6f}{condition.scale.sum():.6f}'
    digest = hashlib.sha256(facts.encode()).hexdigest()[:12]
    path = kept_in / f'windows_{digest}_{chain.pool}_{chain.seed}.safetensors'
    if not path.is_file():
        raw = pool_of(
            run,
            chain,
            chain.augmentation_of('moe'),
            like=teacher,
            without=chain.moe.without,
        )
        assert raw.clip is not None
        assert raw.person is not None
        made = {
            'state': raw.state.half(),
            'condition': raw.condition.half(),
            'clean': raw.clean,
            'clip': raw.clip,
            'person': raw.person,
        }
        with written_whole(path) as partial:
            save_file({name: value.cpu() for name, value in made.items()}, partial)
    kept = {name: value.to(run.device) for name, value in load_file(path).items()}
    padded = state.apply(torch.zeros_like(state.mean)[None])  # not needed here
    white, given = kept['state'].float(), kept['condition'].float()
    return EncodedPool(
        white,
        given,
        padded,
        state,
        condition,
        kept['clean'],
        teacher.skeleton,
        clip=kept['clip'],
        person=kept['person'],
    )


@torch.no_grad()
def teacher_samples(
    chain: ChainConfig, pool: EncodedPool, one_step: MotionModel, digest: str, kept_in: Path
) -> Tensor:
    """
    Sample the one-step teacher for every window without noise, or read the samples.

    :param chain: settings of the chain.
    :param pool: the windows.
    :param one_step: the one-step teacher.
    :param digest: digest of its file.
    :param kept_in: folder for the file.
    :returns: whitened states, half precision, ``(drawn, N, K D)``; zero for the other windows.
    """
    config = chain.moe
    kept_in.mkdir(parents=True, exist_ok=True)
    clean = pool.clean.nonzero().squeeze(1).cpu()
    asked = hashlib.sha256(pool.condition[clean[:PASS]].half().cpu().numpy().tobytes())
    wanted = f'{digest[:12]}_{asked.hexdigest()[:12]}_{config.drawn}x{len(pool)}_{chain.seed}'
    path = kept_in / f'{wanted}.safetensors'
    if path.is_file():
        return load_file(path)['samples']
    shape = pool.state.shape[1:]
    samples = torch.zeros(config.drawn, len(pool), shape.numel(), dtype=torch.float16)
    parts = clean.split(PASS)
    for begin, rows in enumerate(tqdm(parts, desc='sample the one-step teacher', unit='pass')):
        condition = pool.condition[rows]
        generator = torch.Generator().manual_seed(chain.seed * 1_000_003 + begin)
        for number in range(config.drawn):
            noise = torch.randn(len(rows), *shape, generator=generator)
            x_0 = one_step.one_step(noise.to(condition.device), condition)
            samples[number, rows] = x_0.flatten(1).half().cpu()
    with written_whole(path) as partial:
        save_file({'samples': samples}, partial)
    return samples


def require_same_body(run: Run, chain: ChainConfig, model: MotionModel, path: Path) -> None:
    """
    Check that a teacher has the recordings' skeleton and the requested encoding.

    :param run: the run.
    :param chain: settings of the chain.
    :param model: the teacher, or the weights to begin from.
    :param path: its file, for the error.
    :raises ConfigError: if it has not; the error names both.
    """
    found = skeleton_of(run.data[0], run.skeleton) if run.data else run.skeleton or H36M17
    if model.skeleton.joints != found.joints:
        raise ConfigError(
            f'{path}: has the joints of {model.skeleton.name}, the recordings those of '
            f'{found.name}: train its teachers first (train teacher, train swiftdiff)'
        )
    for name in ENCODING:
        wanted, theirs = getattr(chain.encoding, name), getattr(model.config, name)
        if wanted != theirs:
            raise ConfigError(
                f"encoding.{name}={wanted!r}: must be the teacher's ({path}: {name}={theirs!r})"
            )


@dataclass(frozen=True)
class Teachers:
    """The teachers of a mixture: their files, and the diffusion teacher itself."""

    paths: Mapping[str, Path]
    model: MotionModel

    @classmethod
    def find(cls, run: Run, chain: ChainConfig) -> Teachers:
        """
        Find the teachers in the run folder, or take the shipped ones.

        :raises ConfigError: if one has another skeleton than the recordings, or another encoding
            than the mixture.
        """
        names = ('teacher',) if is_crossed(chain.moe) else ('teacher', 'one_step')
        paths = {name: stage_or_shipped(run, name) for name in names}
        models = {name: load_weights(path).model for name, path in paths.items()}
        for name, path in paths.items():
            require_same_body(run, chain, models[name], path)
        return cls(paths, models['teacher'].to(run.device))

    @property
    def digests(self) -> dict[str, str]:
        """Return the digests of the files, by the names of the roles."""
        return {name: file_digest(path) for name, path in self.paths.items()}


def is_crossed(config: MoeConfig) -> bool:
    """Return whether futures come from diffusion models that have not seen the person."""
    return config.cross_fit.folds > 0 and config.method == 'vdd'


def draw_futures(
    run: Run,
    chain: ChainConfig,
    teachers: Teachers,
    pool: EncodedPool,
    experts: MotionExperts,
    kept: Path,
) -> Tensor:
    """
    Sample futures for every window, or read them.

    :param run: the run.
    :param chain: settings of the chain.
    :param teachers: the teachers.
    :param pool: the windows.
    :param experts: the experts, which define the coordinates.
    :param kept: folder for the files.
    :returns: coordinates, ``(M, N, V)``.
    """
    if is_crossed(chain.moe):
        assert pool.person is not None
        assert pool.clip is not None
        folds = share_out(pool.person, pool.clip, chain.moe.cross_fit.folds)
        return cross_fitted_samples(
            chain.moe.cross_fit,
            experts.encode(pool.state),
            pool.condition,
            folds,
            seed=chain.seed + 20,
            kept=kept,
            folder=run.folder / 'moe' / 'cross_fit',
        ).float()
    path = teachers.paths['one_step']
    one_step = load_weights(path).model.to(run.device)
    samples = teacher_samples(chain, pool, one_step, file_digest(path), kept)
    return torch.stack([of.float().to(run.device) @ experts.encoder for of in samples])


@dataclass(frozen=True)
class Windows:
    """The windows from which the batches are drawn."""

    pool: EncodedPool
    real: Tensor
    """Coordinates of the real futures, ``(N, V)``."""
    drawn: Tensor | None
    """Coordinates of the samples, ``(M, N, V)``; None: nothing is learnt from samples."""
    clean_only: bool
    """Whether there are samples only for clean histories; the recording replaces them for the
    others."""
    batch: int

    def batches(self, generator: torch.Generator) -> Batch:
        """Return a step's batch, windows without noise first; see :data:`Batches`."""
        pool, device = self.pool, generator.device
        chosen = torch.randint(len(pool), (self.batch,), generator=generator, device=device)
        chosen = chosen[pool.clean[chosen].argsort(descending=True, stable=True)]
        clean = pool.clean[chosen]
        recorded = self.real[chosen][None]
        samples = recorded
        if self.drawn is not None:
            samples = self.drawn[:, chosen]
            if self.clean_only:
                samples = torch.where(clean[:, None], samples, recorded)
        known = int(clean.sum())
        return Batch(pool.condition[chosen], samples, recorded, pool.state[chosen], known)
