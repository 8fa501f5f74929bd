"""Short trainings of SwiftDiff students and their scores: what tuning and ablations share."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
import copy
from dataclasses import dataclass, replace
import hashlib
import json
from pathlib import Path
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.errors import ConfigError
from motion_predictor.model.config import ModelConfig, WindowConfig
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.normalization import Whitening
from motion_predictor.model.weights import file_digest, load_weights
from motion_predictor.predict.predictor import Predictor
from training.common.locks import Lock
from training.data.pool import encode_pool, EncodedPool
from training.data.store import data_digest
from training.data.windows import recordings_folder
from training.engine.config import ChainConfig
from training.engine.diffusion import Sampler
from training.engine.fitting import Watch
from training.engine.runs import Run, training_windows
from training.judge import metrics
from training.judge.scoring import (
    CHUNK,
    DataFile,
    find_alternatives,
    Futures,
    group_values,
    load_data,
    make_groups,
    score_file,
)
from training.judge.speed.benchmark import FEWEST, walking_window, WARM_UP
from training.judge.variety import temperature_for
from training.stages.distill import distil_swiftdiff, make_pairs, Pairs, StudentLoss

ERRORS = ('ade', 'fde', 'mmade', 'mmfde')
"""Of the root-relative pose: their ratios to the reference's, averaged, are a student's error."""
Scores = Mapping[str, Mapping[str, float]]
"""By set and split (``cmu17/val``): ERRORS and ``apd``, metres."""


@dataclass(frozen=True)
class Material:
    """What all students of a comparison learn from."""

    data: tuple[Path, ...]
    pool: EncodedPool
    one_step: MotionModel
    digest: str
    """Of the data, the pool's size and the teachers: part of every result's key."""
    device: str
    pairs: Pairs | None = None
    """Of the diffusion teacher, where ``swiftdiff.match_ddim`` wants them."""


def gather(
    data: Sequence[Path], chain: ChainConfig, one_step: Path, device: str = 'cpu'
) -> Material:
    """
    Draw the training windows and load the one-step teacher.

    The windows are whitened as that teacher was, whatever its own pool held, so that it and the
    diffusion teacher mean the same by a coefficient.

    :param data: recordings, as ``training train swiftdiff`` takes them.
    :param chain: settings; ``pool`` windows are drawn by ``seed`` 0, whatever the chain's, and
        varied as the student's are.
    :param one_step: weights file of the one-step teacher.
    :raises WeightsError: if that cannot be read.
    :raises ConfigError: if it is no one-step teacher of this window.
    """
    teacher = load_teacher(one_step, 'one_step', chain)
    run = Run(Path(), tuple(data), device, ())
    windows = training_windows(run, replace(chain, seed=0))
    raw = encode_pool(
        windows,
        teacher.config,
        chain.swiftdiff.augmentation,
        chain.pool,
        0,
        whiten=False,
    )
    pool = whitened_as(teacher, raw, device)
    key = [[data_digest(path) for path in data], chain.pool, file_digest(one_step)]
    return Material(tuple(data), pool, teacher.to(device).eval(), digest(key), device)


TEACHERS = {'one_step': 'one-step', 'teacher': 'diffusion'}


def load_teacher(path: Path, role: str, chain: ChainConfig) -> MotionModel:
    """
    Load a teacher of the students.

    :param role: 'one_step' or 'teacher'.
    :param chain: whose students' window it has to have.
    :raises WeightsError: if the file cannot be read.
    :raises ConfigError: if it holds another role or window.
    """
    model = load_weights(path).model
    if model.config.role != role:
        raise ConfigError(
            f'{path}: role {model.config.role!r}; expected a {TEACHERS[role]} teacher'
        )
    window = chain.swiftdiff.model.window
    if model.config.window != window:
        raise ConfigError(f'{path}: window {model.config.window}; the preset has {window}')
    return model


def variety_of(path: Path, chain: ChainConfig, scorer: Scorer) -> float:
    """
    Give how much a diffusion teacher's samples differ (DDIM, 100 steps): APD, metres.

    :param path: its weights file.
    :param chain: ``teacher.completion`` is taken.
    :raises WeightsError: if that cannot be read.
    :raises ConfigError: if it is no diffusion teacher of this window, or its samples are no poses.
    """
    model = load_teacher(path, 'teacher', chain).to(scorer.device).eval()
    apd = scorer.variety(model, completion=chain.teacher.completion)
    if not np.isfinite(apd):
        raise ConfigError(f'{path}: its samples are not finite; train it for longer')
    return round(apd, 6)


def with_ddim(
    material: Material, chain: ChainConfig, teacher: Path, run: Path, count: int
) -> Material:
    """
    Add pairs of the diffusion teacher's DDIM, the same for all seeds, made once a run folder.

    :param chain: ``one_step.teacher_steps`` and ``teacher.completion`` are taken.
    :param teacher: its weights file.
    :param count: N.
    :raises WeightsError: if that cannot be read.
    :raises ConfigError: if it is no diffusion teacher of this window.
    """
    model = load_teacher(teacher, 'teacher', chain).to(material.device)
    steps, completion = chain.one_step.teacher_steps, chain.teacher.completion
    key = digest([material.digest, file_digest(teacher), count, steps, completion])
    made = Run(run, material.data, material.device, ())
    clean = material.pool.clean.nonzero().squeeze(-1)
    with Lock(run / 'pairs.lock'):
        pairs = make_pairs(
            made, replace(chain, seed=0), material.pool, model, run / f'pairs_{key}', count,
            among=clean,
        )  # fmt: skip
    return replace(material, pairs=pairs, digest=key)


def whitened_as(model: MotionModel, raw: EncodedPool, device: str = 'cpu') -> EncodedPool:
    """
    Whiten a pool in metres with a model's statistics.

    :param raw: from :func:`training.data.pool.encode_pool` with ``whiten=False``.
    """
    condition = Whitening(model.condition_mean.cpu(), model.condition_scale.cpu())
    state = Whitening(model.state_mean.cpu(), model.state_scale.cpu())
    return EncodedPool(
        state.apply(raw.state).to(device),
        condition.apply(raw.condition).to(device),
        state.apply(raw.padded).to(device),
        state,
        condition,
        raw.clean.to(device),
        raw.skeleton,
    )


def shortened(chain: ChainConfig, windows: int, pool: int) -> ChainConfig:
    """
    Give a chain's stage 2 the budget of a trial.

    :param windows: that are looked at in all; steps are what the batch makes of it.
    :param pool: windows that are drawn.
    :returns: with as much of the warm-up as a tenth of the steps allows.
    """
    optim = chain.swiftdiff.optim
    steps = max(1, windows // optim.batch)
    short = replace(
        optim,
        steps=steps,
        warmup_steps=min(optim.warmup_steps, max(1, steps // 10)),
        log_every=min(optim.log_every, max(1, steps // 8)),
        save_every=max(1, steps // 5),
    )
    return replace(chain, pool=pool, swiftdiff=replace(chain.swiftdiff, optim=short))


def train_student(
    material: Material,
    chain: ChainConfig,
    folder: Path,
    *,
    loss: StudentLoss | None = None,
    watch: Watch | None = None,
) -> MotionModel:
    """
    Train a student as ``train swiftdiff`` does; a killed training goes on where it stopped.

    :param folder: of the student alone.
    :param loss: where it is not :class:`training.stages.distill.SwiftDiffLoss`.
    :param watch: as of :func:`training.engine.fitting.fit`.
    """
    run = Run(folder, material.data, material.device, ('swiftdiff',))
    pool, one_step, pairs = material.pool, material.one_step, material.pairs
    return distil_swiftdiff(run, chain, pool, one_step, pairs=pairs, loss=loss, watch=watch)


class Scorer:
    """Scores a model as ``training evaluate`` does, each file with its own sets."""

    def __init__(
        self,
        paths: Sequence[Path],
        window: WindowConfig,
        *,
        limit: int | None = None,
        samples: int = 50,
        device: str = 'cpu',
        skeleton: Skeleton | None = None,
    ) -> None:
        """
        Load the recordings and find their multimodal sets.

        :param limit: score this many windows of each file, spread evenly; None: all.
        :param samples: futures a window.
        """
        self.files = load_data(paths, window, limit, skeleton)
        self.groups = [group for group in make_groups(self.files) if len(group.members) == 1]
        self.alternatives, _ = find_alternatives(self.files, self.groups)
        self.samples = samples
        self.device = device

    def __call__(
        self, model: MotionModel, *, ddim_steps: int = 100, completion: str = 'clean'
    ) -> dict[str, dict[str, float]]:
        """
        Score a model.

        :param model: of any role; it is not changed.
        :param ddim_steps: sampling steps of a teacher.
        :param completion: of a teacher's sampling.
        :returns: see :data:`Scores`.
        """
        sampler = self._sampler(model, ddim_steps, completion)
        scores = [
            score_file(file, self._futures(sampler, file), sets)
            for file, sets in zip(self.files, self.alternatives)
        ]
        found: dict[str, dict[str, float]] = {}
        for group in self.groups:
            values = group_values(group, scores)
            found[group.label] = {
                name: float(values[f'pose.{name}'].mean()) for name in (*ERRORS, 'apd')
            }
        return found

    def variety(
        self, model: MotionModel, *, ddim_steps: int = 100, completion: str = 'clean'
    ) -> float:
        """
        Give how much a model's samples differ: APD over all windows scored, metres.

        :param model: of any role; it is not changed.
        :param ddim_steps: sampling steps of a teacher.
        :param completion: of a teacher's sampling.
        """
        sampler = self._sampler(model, ddim_steps, completion)
        parts = []
        for file in self.files:
            read = self._futures(sampler, file)
            for first in range(0, len(file.chosen), CHUNK):
                _, pose = read(first, min(first + CHUNK, len(file.chosen)))
                parts.append(metrics.apd(torch.from_numpy(pose).flatten(-2)))
        return float(torch.cat(parts).double().mean())

    def as_varied(
        self, model: MotionModel, apd: float
    ) -> tuple[dict[str, dict[str, float]], float]:
        """
        Score a model of one step at the temperature at which its samples differ as asked.

        The best of many samples gains from variety, and students differ in it; what one gives
        the robot is tempered too (``training choose-temperature``), so this compares what would be
        shipped.

        :param model: its own temperature does not matter; it is not changed.
        :param apd: see :meth:`variety`, metres.
        :returns: see :data:`Scores`; the temperature.
        """
        found = temperature_for(lambda t: self.variety(tempered(model, t)), apd)
        return self(tempered(model, found)), found

    def _sampler(self, model: MotionModel, ddim_steps: int, completion: str) -> Sampler:
        predictor = None
        if model.config.role != 'teacher':
            predictor = Predictor(model, {}, device=self.device)
        return Sampler(model, predictor, {}, ddim_steps, 256, completion)

    def _futures(self, sampler: Sampler, file: DataFile) -> Futures:
        def read(first: int, last: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            observed = file.observed[first:last]
            futures = sampler.sample(observed, samples=self.samples, first_index=first)
            root = futures[..., 0, :]
            shift = root - observed[:, None, None, -1, 0]
            return shift, futures[..., 1:, :] - root[..., None, :]

        return read


def tempered(model: MotionModel, temperature: float) -> MotionModel:
    """Give the same network with another temperature."""
    same = copy.copy(model)
    same.config = replace(model.config, temperature=temperature)
    return same


def relative_error(scores: Scores, reference: Scores) -> float:
    """
    Give a student's error in one number: below 1 is better than the reference.

    :param scores: of the student.
    :param reference: of the one-step teacher, on the same windows.
    :returns: mean over files and :data:`ERRORS` of the ratio.
    """
    ratios = [
        scores[label][name] / theirs[name]
        for label, theirs in reference.items()
        for name in ERRORS
    ]
    return float(np.mean(ratios))


def times_ms(
    models: Sequence[MotionModel],
    *,
    persons: int = 1,
    repetitions: int = 30,
    samples: int = 50,
    device: str = 'cpu',
    budget_s: float = 20.0,
) -> list[float]:
    """
    Time one Predictor call of some models taking turns, with one thread.

    On a CPU in processor time of this thread: what a call takes on a core of its own, whatever
    else the machine has to do. With CUDA by the clock on the wall.

    :param models: of one step; their weights do not matter.
    :param persons: P, the batch.
    :param budget_s: a model slower than this allows makes fewer calls, but three.
    :returns: the median of each, milliseconds.
    """
    now = time.thread_time if device == 'cpu' else time.perf_counter
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        calls: list[tuple[Predictor, NDArray[np.float32]]] = []
        times_s: list[list[float]] = []
        for model in models:
            predictor = Predictor(model, {}, device=device)
            observed = walking_window(persons, model.config.window)
            for _ in range(WARM_UP):
                predictor.predict(observed, samples=samples)
            calls.append((predictor, observed))
            times_s.append([])
        for turn in range(repetitions):
            for (predictor, observed), own in zip(calls, times_s):
                if turn >= FEWEST and sum(own) > budget_s:
                    continue
                begun = now()
                predictor.predict(observed, samples=samples)
                own.append(now() - begun)
    finally:
        torch.set_num_threads(before)
    return [round(1000.0 * float(np.median(own)), 3) for own in times_s]


def fresh_model(config: ModelConfig, pool: EncodedPool) -> MotionModel:
    """Make an untrained model of some size, to be timed."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MotionModel(
            config, pool.skeleton, pool.state_whitening, pool.condition_whitening
        ).eval()


def require_positive(options: argparse.Namespace, names: Sequence[str]) -> None:
    """
    Check whole numbers of a command line; those that were not given are None.

    :raises ConfigError: on one below 1.
    """
    for name in names:
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ConfigError(f'--{name.replace("_", "-")} {value}: must be at least 1')


def found_recordings(given: Sequence[Path] | None) -> list[Path]:
    """
    Give the recordings to train on.

    :param given: on the command line; None for train.npz of every set.
    :raises ConfigError: if there are none, or one does not exist.
    """
    if given is None:
        folder = recordings_folder()
        given = sorted(folder.glob('*/train.npz')) if folder else []
    if not given:
        raise ConfigError('--data: no recordings found; name train.npz files')
    require_files('data', given)
    return list(given)


def require_files(name: str, paths: Sequence[Path]) -> None:
    """
    Check that files or stores exist.

    :param name: of the option that named them.
    :raises ConfigError: if one does not.
    """
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise ConfigError(f'--{name}: no such file: {", ".join(missing)}')


def beside(data: Sequence[Path], *splits: str) -> list[Path]:
    """Name the files of other splits beside recordings."""
    return [path.with_name(f'{split}.npz') for split in splits for path in data]


def of_split(scores: Scores, split: str) -> Scores:
    """Keep the scores of one split."""
    return {label: of for label, of in scores.items() if label.endswith(f'/{split}')}


def digest(key: Any) -> str:
    """Name a JSON-able key by 16 hexadecimal digits."""
    text = json.dumps(key, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_json(path: Path) -> dict[str, Any] | None:
    """
    Read a result that ``provenance.write_json`` wrote, None where there is none.

    :raises ConfigError: if it cannot be read.
    """
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise ConfigError(f'{path}: no readable JSON ({error}); delete it') from None


class Stopwatch:
    """Processor seconds of this process since it was made."""

    def __init__(self) -> None:
        self._begun = time.process_time()

    def seconds(self) -> float:
        """Give them."""
        return time.process_time() - self._begun
