"""Distil the teacher into a mixture of experts (VDD): python -m training train mixture."""

from __future__ import annotations

from collections.abc import Sequence
import copy
from dataclasses import replace
import hashlib
import json
from pathlib import Path
import sys

from safetensors.torch import load_file, save_file
import torch
from torch import Tensor
from tqdm import tqdm

from motion_predictor.body.skeleton import H36M17
from motion_predictor.common.whole_files import written_whole
from motion_predictor.errors import ConfigError, MotionPredictorError
from motion_predictor.model.config import DenoiserConfig, ModelConfig
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.networks.experts import MotionExperts
from motion_predictor.model.networks.mixture import GaussianMixture
from motion_predictor.model.schedule import to_eps, to_x0
from motion_predictor.model.weights import file_digest, load_weights, save_weights
from training.data.pool import EncodedPool
from training.data.store import data_digest
from training.data.windows import skeleton_of
from training.engine.config import as_plain, ChainConfig, MoeConfig, require_encoding_of
from training.engine.losses import displacement_errors
from training.engine.run_options import parse_run
from training.engine.runs import card_of, open_stage, pool_of, Run, stage_or_shipped
from training.engine.vdd import Batch, distil, VddConfig
from training.stages.cross_fit import cross_fitted_samples, share_out

EXAMPLE = """
example, from a run that training train teacher and training train swiftdiff have been through, or,
where the run folder holds no teacher, from the shipped one:
  python -m training train mixture --preset small --run runs/small \\
      --data ../shared/data/cmu17/train.npz ../shared/data/uiprmd17/train.npz
example, the same network by maximum likelihood on the recordings:
  python -m training train mixture --preset small --run runs/em_data --set moe.method=em_data
"""
PASS = 512
"""States that go through the one-step teacher at once."""
LOW_RANK = 'network.loading'
"""In the names of the low-rank part's parameters, and in no others."""
POINTS = 'network.points'
"""In those of the points that stand for the experts."""
FITTED = 20_000
"""Windows that linear maps are fitted to, at most."""


class MotionTeacher:
    """
    The motion teacher's score over the experts' coordinates.

    The rest of the state is drawn from a linear Gaussian given coordinates and condition, fitted
    to the training windows: the expectation of the teacher's score along the directions is then
    the score of the coordinates alone (Fisher's identity).
    """

    def __init__(self, model: MotionModel, experts: MotionExperts, pool: EncodedPool) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.levels = model.config.diffusion_steps
        self.encoder = experts.encoder.clone()
        self.power = experts.network.unit.square()
        self.channels = model.state_scale.shape[-1]
        state, condition = pool.state[:FITTED].flatten(1), pool.condition[:FITTED].flatten(1)
        inputs = torch.cat((state @ experts.encoder, condition), dim=1)
        self.map = ridge(inputs, state)
        self.deviation = (state - inputs @ self.map).std(dim=0)

    def scales(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`training.engine.vdd.ScoreTeacher`."""
        alpha_bar = self.model.alpha_bar[level]
        return alpha_bar.sqrt(), (1.0 - alpha_bar).sqrt()

    @torch.no_grad()
    def score(self, noisy: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        """See :class:`training.engine.vdd.ScoreTeacher`; ``noisy`` (M, B, N)."""
        count, size = noisy.shape[:2]
        signal, noise = (part[None, :, None] for part in self.scales(level))
        # what lies beneath the noise: the linear estimate
        clean = noisy * signal * self.power / (signal.square() * self.power + noise.square())
        given = condition.flatten(1).expand(count, -1, -1)
        state = torch.cat((clean, given), dim=-1) @ self.map
        state = state + self.deviation * torch.randn_like(state)
        state = signal * state + noise * torch.randn_like(state)
        state = state + (noisy - state @ self.encoder) @ self.encoder.T  # as asked, there
        flat = state.flatten(0, 1).unflatten(-1, (-1, self.channels))  # (M B, K, D)
        alpha_bar = self.model.alpha_bar[level].repeat(count)[:, None, None]
        output = self.model.denoiser(
            flat, condition.repeat(count, 1, 1), level.repeat(count)
        ).float()
        x_0 = to_x0(self.model.config.prediction, output, flat, alpha_bar)
        score = -to_eps(x_0, flat, alpha_bar) / (1.0 - alpha_bar).sqrt()
        return (score.flatten(1) @ self.encoder).unflatten(0, (count, size))


def ridge(inputs: Tensor, targets: Tensor, strength: float = 1e-3) -> Tensor:
    """
    Fit a linear map by regularised least squares, without intercept.

    :param inputs: ``(N, I)``.
    :param targets: ``(N, O)``.
    :param strength: of the penalty, relative to the inputs' mean square.
    :returns: ``(I, O)``.
    """
    gram = (inputs.T @ inputs).double()
    gram.diagonal().add_(strength * gram.diagonal().mean())
    return torch.linalg.solve(gram, (inputs.T @ targets).double()).float()


@torch.no_grad()
def start_from_the_data(experts: MotionExperts, pool: EncodedPool, complete: Tensor) -> None:
    """
    Set fresh experts' directions and units by linear fits to the windows.

    Directions: principal components of the joined futures in metres, the root's path counting
    four times (in square) as it moves all joints. Back: regression of states on coordinates.

    :param complete: from coefficients to the joined future, ``(T_fut, K)``.
    """
    network = experts.network
    size, channels = pool.state.shape[1:]
    scale = pool.state_whitening.scale * torch.tensor([2.0] * 3 + [1.0] * (channels - 3))
    values, vectors = torch.linalg.eigh((complete.T @ complete).double())
    root = (vectors * values.clamp_min(0.0).sqrt()).float()  # K x K: |root.T x| = |complete x|
    to_future = (root.T @ (torch.eye(size * channels).unflatten(-1, (size, -1)) * scale)).flatten(
        1
    )
    states = pool.state[:FITTED].flatten(1)
    futures = states @ to_future
    main = torch.linalg.eigh((futures.T @ futures).double())[1].flip(1)[:, : network.values]
    encoder = torch.linalg.qr(to_future @ main.float())[0]
    experts.set_directions(encoder, ridge(states @ encoder, states, 1e-6))
    network.unit.copy_((states @ encoder).std(dim=0).clamp_min(1e-3))


class NearestExpert:
    """
    The distance of the expert nearest to what really happened, as ADE and FDE measure it.

    All experts get a small share (relaxed winner-takes-all; Rupprecht et al., 2017).
    """

    def __init__(self, config: MoeConfig, student: MotionModel) -> None:
        """
        Prepare the maps from coordinates to metres.

        :param config: weights of the term and its parts.
        :param student: with its directions set.
        """
        assert isinstance(student.denoiser, MotionExperts)
        self.config = config
        self.scale = student.state_scale
        self.decoder = student.denoiser.decoder.clone()
        self.frames = student.map_complete.flip(0)[:: config.frame_stride].flip(0)
        weights = torch.ones_like(self.scale[0])
        weights[:3] = config.root**0.5
        unit = self.decoder.unflatten(-1, self.scale.shape) * self.scale * weights
        futures = (self.frames @ unit).flatten(1)  # (N, F D)
        gram = (futures @ futures.T).double() / len(self.frames)
        values, vectors = torch.linalg.eigh(gram)
        self.metric = (vectors * values.clamp_min(0.0).sqrt()).float()  # (N, N)
        self.to_end = (self.frames[-1:] @ unit).flatten(1)  # (N, D), root weighed

    def __call__(self, mixture: GaussianMixture, batch: Batch, progress: float) -> Tensor:
        """
        Give the term.

        :param batch: ``whole`` are the real states, ``real`` their coordinates.
        :param progress: 0 at the first step, 1 at the last.
        """
        assert batch.real is not None
        assert batch.whole is not None
        apart = mixture.representatives - batch.real[0][:, None]
        distance = ((apart @ self.metric).square().sum(dim=-1) + 1e-6).sqrt()  # rms over time
        nearest = self._error(mixture, batch.whole, distance, self.frames)
        term = self.config.best * (nearest + self.config.best_all * distance.mean())
        if self.config.best_end > 0.0:
            at_end = (apart @ self.to_end).square().sum(dim=-1)
            nearest = self._error(mixture, batch.whole, at_end, self.frames[-1:])
            term = term + self.config.best_end * nearest
        return term * (1.0 - progress * (1.0 - self.config.best_fade))

    def _error(
        self, mixture: GaussianMixture, whole: Tensor, distance: Tensor, frames: Tensor
    ) -> Tensor:
        """Give the error, at some frames, of the experts that are the nearest, ``(B, E)``."""
        rows = torch.arange(len(distance), device=distance.device)
        won = mixture.representatives[rows, distance.argmin(dim=1)] @ self.decoder
        difference = (won.view_as(whole) - whole) * self.scale
        pose, root = displacement_errors(frames @ difference)
        return (pose + self.config.root * root).mean()


def vdd_config(config: MoeConfig) -> VddConfig:
    """Give the training settings of a method: the controls are VDD without its score."""
    vdd = config.vdd
    if config.method == 'vdd':
        return vdd
    if config.method == 'em_teacher':
        return replace(vdd, reverse=0.0, warm=1.0, real=0.0)
    alone = replace(vdd, reverse=0.0, warm=0.0, forward=0.0, forward_end=0.0)
    if config.method == 'em_data':
        return replace(alone, real=1.0)
    return replace(alone, winner=True, real=max(vdd.real, 0.1))


def likelihood_config(config: MoeConfig) -> VddConfig:
    """Give the settings of maximum likelihood on the values that a method may see."""
    method = 'em_teacher' if config.method == 'em_teacher' else 'em_data'
    return vdd_config(replace(config, method=method))


def first_config(config: MoeConfig) -> VddConfig:
    """Give the settings of the likelihood that comes first, of ``likelihood_first`` steps."""
    return replace(
        likelihood_config(config),
        steps=config.likelihood_first,
        learning_rate=config.likelihood_rate,
        temperature=config.likelihood_temperature,
    )


def last_config(config: MoeConfig) -> VddConfig:
    """Give the settings of the covariances' own likelihood, of ``covariance_last`` steps."""
    return replace(likelihood_config(config), steps=config.covariance_last)


def together_config(config: MoeConfig) -> VddConfig:
    """Give the settings of the last steps of all, of ``together_last`` steps."""
    return replace(
        vdd_config(config),
        steps=config.together_last,
        learning_rate=config.together_rate,
        temperature=1.0,
    )


def points_config(config: MoeConfig) -> VddConfig:
    """Give the settings of the points' own steps: no term but the nearest expert's."""
    return replace(
        likelihood_config(config),
        steps=config.points_last,
        learning_rate=config.points_rate,
        gate='uniform',
        real=0.0,
    )


def with_fresh(part: str, model: MotionModel, denoiser: DenoiserConfig) -> MotionModel:
    """
    Make a mixture of which one part is fresh and of another size, all else being as it was.

    :param part: what is in the names of its parameters: LOW_RANK, or POINTS.
    :param model: of role 'moe'.
    :param denoiser: differs in that part's sizes alone: ``rank`` and ``loading_width``, or
        ``points_width``.
    """
    made = MotionModel(replace(model.config, denoiser=denoiser), model.skeleton)
    kept = {name: value for name, value in model.state_dict().items() if part not in name}
    made.load_state_dict(kept, strict=False)
    return made.to(model.state_mean.device)


def moe_pool(run: Run, chain: ChainConfig, teacher: MotionModel, kept_in: Path) -> EncodedPool:
    """
    Draw and encode the training windows with the teacher's own whitening, or read them again.

    :param kept_in: folder for the file.
    :raises RecordingError: if a recording cannot be used.
    """
    state, condition = teacher.state, teacher.condition
    settings = json.dumps(
        [
            as_plain(chain.moe.augmentation),
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
        raw = pool_of(run, chain, chain.moe.augmentation, like=teacher, without=chain.moe.without)
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
    padded = state.apply(torch.zeros_like(state.mean)[None])  # of no use here
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
    Sample the one-step teacher for every window without noise, or read what was written.

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


def require_same_body(run: Run, wanted: ModelConfig, model: MotionModel, path: Path) -> None:
    """
    Check that a teacher is of the body that the recordings are of, and sees motion as asked for.

    :param wanted: of the mixture.
    :param model: of the teacher, or of the weights to begin with.
    :param path: where it was, for the error.
    :raises ConfigError: if it is not, naming both.
    """
    found = skeleton_of(run.data[0], run.skeleton) if run.data else run.skeleton or H36M17
    if model.skeleton.joints != found.joints:
        raise ConfigError(
            f'{path}: has the joints of {model.skeleton.name}, the recordings those of '
            f'{found.name}: train its teachers first (train teacher, train swiftdiff)'
        )
    require_encoding_of('moe', wanted, model.config, f'{path}: ')


def distil_moe(run: Run, chain: ChainConfig, kept: Path | None = None) -> MotionModel:
    """
    Train the mixture and write ``moe.safetensors`` to the run folder.

    :param run: folder, device and data of the run.
    :param chain: settings.
    :param kept: folder for windows and samples of the teacher, made once; ``moe_samples`` in the
        run folder by default.
    :returns: the averaged model.
    """
    config = chain.moe
    crossed = config.cross_fit.folds > 0 and config.method == 'vdd'
    names = ('teacher',) if crossed else ('teacher', 'one_step')
    paths = {name: stage_or_shipped(run, name) for name in names}
    digests = {name: file_digest(path) for name, path in paths.items()}
    teacher = load_weights(paths['teacher']).model.to(run.device)
    model_config = config.model
    for path in paths.values():
        require_same_body(run, model_config, load_weights(path).model, path)
    if config.start:
        start = load_weights(config.start).model
        require_same_body(run, model_config, start, Path(config.start))
    folder = open_stage(run, chain, 'moe')
    kept = kept or run.folder / 'moe_samples'
    pool = moe_pool(run, chain, teacher, kept)
    torch.manual_seed(chain.seed + 3)
    with_nearest = config.best > 0.0 and config.method in ('vdd', 'winner')
    whole = model_config.denoiser
    if not with_nearest:  # nobody would teach the points
        whole = replace(whole, points_width=0)
        model_config = replace(model_config, denoiser=whole)
    if config.covariance_last:
        plain = replace(whole, rank=config.plain_rank, loading_width=0, points_width=0)
        model_config = replace(model_config, denoiser=plain)
    student = MotionModel(
        model_config, pool.skeleton, pool.state_whitening, pool.condition_whitening
    ).to(run.device)
    experts = student.denoiser
    assert isinstance(experts, MotionExperts)
    if config.start:
        begin = load_weights(config.start).model
        size = model_config.denoiser
        have = begin.config.denoiser
        wanted = replace(
            size,
            rank=have.rank,
            loading_width=have.loading_width,
            points_width=have.points_width,
            dropout=have.dropout,
        )
        if have != wanted:
            raise ConfigError(
                f'moe.start={config.start}: its network is {have}, must be {size} but for rank, '
                'loading_width, points_width and dropout'
            )
        if have.points_width != size.points_width:
            have = replace(have, points_width=size.points_width)
            begin = with_fresh(POINTS, begin, have)
        if (have.rank, have.loading_width) != (size.rank, size.loading_width):
            begin = with_fresh(LOW_RANK, begin, size)
        experts.load_state_dict(begin.denoiser.state_dict())
        digests['start'] = file_digest(config.start)
    else:
        start_from_the_data(experts, pool, student.map_complete)
    vdd = vdd_config(config)
    real = experts.encode(pool.state)
    drawn = torch.zeros(0)
    if vdd.warm > 0.0 or vdd.forward > 0.0 or vdd.reverse > 0.0:
        if crossed:
            assert pool.person is not None
            assert pool.clip is not None
            drawn = cross_fitted_samples(
                config.cross_fit,
                real,
                pool.condition,
                share_out(pool.person, pool.clip, config.cross_fit.folds),
                seed=chain.seed + 20,
                kept=kept,
                folder=folder / 'cross_fit',
            ).float()
        else:
            one_step = load_weights(paths['one_step']).model.to(run.device)
            samples = teacher_samples(chain, pool, one_step, digests['one_step'], kept)
            drawn = torch.stack([of.float().to(run.device) @ experts.encoder for of in samples])

    def batches(generator: torch.Generator) -> Batch:
        device = generator.device
        chosen = torch.randint(len(pool), (config.batch,), generator=generator, device=device)
        chosen = chosen[pool.clean[chosen].argsort(descending=True, stable=True)]
        clean = pool.clean[chosen]
        recorded = real[chosen][None]
        samples = recorded
        if len(drawn):
            samples = drawn[:, chosen]
            if not crossed:  # the one-step teacher knows histories without noise alone
                samples = torch.where(clean[:, None], samples, recorded)
        known = int(clean.sum())
        return Batch(pool.condition[chosen], samples, recorded, pool.state[chosen], known)

    if config.likelihood_first:
        begun = distil(
            experts.network,
            None,
            batches,
            first_config(config),
            seed=chain.seed + 3,
            folder=folder / 'first',
            title='likelihood first',
        )
        experts.network = begun.requires_grad_(True)
    score = MotionTeacher(teacher, experts, pool) if vdd.reverse > 0.0 else None
    if vdd.steps:
        experts.network = distil(
            experts.network,
            score,
            batches,
            vdd,
            seed=chain.seed + 3,
            folder=folder / 'means' if config.covariance_last or config.together_last else folder,
            further=NearestExpert(config, student) if with_nearest else None,
            title=config.method,
        )
    if config.covariance_last:
        torch.manual_seed(chain.seed + 5)
        student = with_fresh(LOW_RANK, student, replace(whole, points_width=0))
        experts = student.denoiser
        assert isinstance(experts, MotionExperts)
        experts.network = distil(
            experts.network,
            None,
            batches,
            last_config(config),
            seed=chain.seed + 5,
            folder=folder / 'covariances' if config.together_last else folder,
            trained=experts.network.covariance_parameters(),
            title='covariances',
        )
    nearest = replace(
        config,
        best=config.together_best,
        best_end=config.together_best_end,
        best_fade=config.together_fade,
    )
    with_points = config.together_last > 0 and config.points_last > 0 and whole.points_width > 0
    if config.together_last:
        if whole.points_width and config.covariance_last:
            torch.manual_seed(chain.seed + 7)
            student = with_fresh(POINTS, student, whole)
            experts = student.denoiser
            assert isinstance(experts, MotionExperts)
        experts.network = distil(
            experts.network.requires_grad_(True),
            score,
            batches,
            together_config(config),
            seed=chain.seed + 7,
            folder=folder / 'together' if with_points else folder,
            further=NearestExpert(nearest, student) if with_nearest else None,
            title='together',
        )
    if with_points:
        network = experts.network.requires_grad_(False)
        points = network.points_parameters()
        for parameter in points:
            parameter.requires_grad_(True)
        experts.network = distil(
            network,
            None,
            batches,
            points_config(config),
            seed=chain.seed + 11,
            folder=folder,
            further=NearestExpert(nearest, student),
            trained=points,
            title='points',
        )
    what = {
        'vdd': 'mixture of experts, distilled from the teacher by VDD',
        'em_data': 'mixture of experts, maximum likelihood on recordings (control)',
        'em_teacher': "mixture of experts, maximum likelihood on the teacher's samples (control)",
        'winner': 'mixture of experts, winner-takes-all on recordings (control)',
    }[config.method]
    card = card_of(run, chain, what, folder)
    card['teachers'] = digests
    save_weights(run.folder / 'moe.safetensors', student, card, dtype=torch.float16)
    return student


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the verb, continued where it stopped."""
    run, chain = parse_run('training train mixture', __doc__, EXAMPLE, arguments, ('moe',))
    try:
        distil_moe(run, chain)
    except MotionPredictorError as error:
        sys.exit(f'training train mixture: {error}')
    print(f'wrote {run.folder / "moe.safetensors"}')
