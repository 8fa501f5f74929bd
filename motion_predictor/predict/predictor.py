"""Predictor: observed windows in, sampled futures out; NumPy on both sides."""

from __future__ import annotations

from collections.abc import Callable
import copy
from dataclasses import dataclass
from functools import cached_property, lru_cache
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from motion_predictor.body.skeleton import Skeleton
from motion_predictor.common.shapes import require_shape
from motion_predictor.errors import ConfigError, ShapeError, WeightsError
from motion_predictor.model.calibration import Calibration
from motion_predictor.model.candidates import MODEL
from motion_predictor.model.config import ENGINES, WindowConfig
from motion_predictor.model.motion_model import MotionModel
from motion_predictor.model.weighing_weights import WeighingWeights
from motion_predictor.model.weights import GoldenPair, load_weights, LoadedWeights
from motion_predictor.predict.forecast import Forecast
from motion_predictor.predict.place.mix import Mix
from motion_predictor.predict.summaries import holding_radius, Moments, sample_moments

DEVICES = ('auto', 'cpu', 'cuda')
GOLDEN_M = {'fp32': 0.005, 'bf16': 0.05}
"""How far a coordinate of the golden pair may be off when it is replayed, by engine. In bf16 the
shipped models are off by 0.5 to 1.1 cm."""


@dataclass(frozen=True)
class Prediction:
    """
    Sampled futures of P people, S samples each.

    ``futures`` float32 (float64 far from the origin of the frame), (P, S, T_fut, J, 3), metres, in
    the frame of the input; frame i lies ``(i + 1) / rate_hz`` seconds after the last observed one.
    ``weights`` likewise (P, S), every row sums to one. ``closed_form`` holds the moments of
    every frame where the model knows them better than its samples do (a mixture of Gaussians),
    ``calibration`` says how often people really were how near to the mean, where the weights
    file carries that.
    """

    futures: np.ndarray
    weights: np.ndarray
    rate_hz: float
    closed_form: Moments | Forecast | None = None
    calibration: Calibration | None = None
    radius_scale: float = 1.0
    """What :meth:`radius` is multiplied by (:mod:`motion_predictor.predict.adaptation`)."""
    mix: Mix | None = None
    """How the samples of several candidates belong together; None: all are the model's."""

    @property
    def candidate(self) -> np.ndarray:
        """Which of ``candidates.CANDIDATES`` each sample is of, uint8 (S,)."""
        if self.mix is not None:
            return self.mix.candidate
        return np.zeros(self.futures.shape[1], dtype=np.uint8)

    def weights_at(self, frames: np.ndarray) -> np.ndarray:
        """
        Return the weight of every sample at some frames; they sum to one over the samples.

        :param frames: indices, F of them.
        :returns: (P, S, F).
        """
        if self.mix is not None:
            return self.mix.weights_at(frames)
        return np.repeat(self.weights[:, :, None], len(frames), axis=2)

    @cached_property
    def expected(self) -> np.ndarray:
        """
        Return the one future with the least expected error, float64 (P, T_fut, J, 3).

        The weighted mean of all samples on the person's own bones. Without a mix: the mean of
        the model's samples, whose bones are those of the samples.
        """
        if self.mix is not None:
            return self.mix.expected()
        start = self.futures[:, :1].astype(np.float64)
        shares = self.weights[:, :, None, None, None]
        return start[:, 0] + (shares * (self.futures - start)).sum(axis=1)

    @property
    def times_s(self) -> np.ndarray:
        """Seconds after the last observed frame, float64 (T_fut,)."""
        return np.arange(1, self.futures.shape[2] + 1) / self.rate_hz

    @property
    def most_likely(self) -> np.ndarray:
        """
        Index of the sample to show as the trajectory of each person, int64 (P,).

        The medoid: the one with the least distance to all others, by their weight, which is the
        least expected error where the samples are what may happen. The heaviest one of many
        experts is a corner of what may happen, and farther from what does (docs/results/moe.md,
        top 1 and few 1).
        """
        persons, samples = self.weights.shape
        chosen = np.empty(persons, dtype=np.int64)
        for person in range(persons):
            flat = self.futures[person].reshape(samples, -1)
            flat = flat - flat.mean(axis=0)
            square = (flat * flat).sum(axis=1)
            # torch, which keeps to the threads it was given: NumPy's take every core there is,
            # and where others need them this small product then takes 100 ms instead of 1
            inner = torch.from_numpy(np.ascontiguousarray(flat))
            gaps = square[:, None] + square[None] - 2.0 * (inner @ inner.T).numpy()
            expected = np.sqrt(np.maximum(gaps, 0.0)) @ self.weights[person]
            chosen[person] = int(expected.argmin())
        return chosen

    def moments(self, frames: np.ndarray | None = None) -> Moments:
        """
        Give mean and covariance of every joint: in closed form, else of the weighted samples.

        :param frames: indices of the frames to give; all by default.
        """
        chosen = np.arange(self.futures.shape[2]) if frames is None else frames
        if self.mix is None:
            if self.closed_form is not None:
                return self.closed_form.at(chosen)
            return sample_moments(self.futures[:, :, chosen], self.weights)
        own = np.flatnonzero(self.mix.candidate == MODEL)
        if self.closed_form is not None:
            model = self.closed_form.at(chosen)
        else:
            model = sample_moments(self.futures[:, own][:, :, chosen], self.mix.within[:, own])
        return self.mix.moments(self.futures, chosen, model)

    def radius(self, coverage: float, moments: Moments, frames: np.ndarray) -> np.ndarray:
        """
        Give the radius about the mean within which each joint will be.

        The weights file's calibration where it has a level that is not below the share: of real
        positions so many lay within. Else the ball that holds so many of the weighted samples.
        Either times ``radius_scale``.

        :param coverage: the share, above 0 and at most 1.
        :param moments: from :meth:`moments` of the same frames.
        :param frames: indices of the frames.
        :returns: metres, (P, frames, J).
        """
        if self.mix is not None:
            stated = self.mix.radius(coverage, frames)
            if stated is not None:
                return stated
        elif self.calibration is not None:
            level = self.calibration.level_for(coverage)
            if level is not None:
                stated = self.calibration.radius(level, moments.covariance, frames)
                return self.radius_scale * stated
        weights = self.weights if self.mix is None else self.weights_at(frames)
        ball = holding_radius(self.futures[:, :, frames], weights, moments.mean, coverage)
        return self.radius_scale * ball


def cpu_has_fast_bf16() -> bool:
    """Tell whether this processor multiplies bfloat16 matrices in hardware (AVX512-BF16, AMX)."""
    checks = ('_is_avx512_bf16_supported', '_is_amx_tile_supported')
    return any(bool(getattr(torch.cpu, check, bool)()) for check in checks)


def use_threads(count: int = 0) -> int:
    """
    Set how many threads torch works with, for the calling thread and those begun after.

    More is not faster when cores are shared: torch's threads wait for each other, and each that
    loses its core to the middleware or the tracker holds up all of them.

    :param count: 0 for half of the cores this process may use, at least 1 and at most 4.
    :returns: how many were set.
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


@lru_cache(maxsize=8)
def sample_noise(seed: int, samples: int, rows: int, channels: int) -> np.ndarray:
    """
    Draw the noise of S samples; sample i is the same however many are asked for.

    Philox by NumPy: the same numbers on every platform.

    :param seed: not negative.
    :returns: float32 (S, rows, channels), read-only.
    """
    generator = np.random.Generator(np.random.Philox(seed))
    noise = generator.standard_normal((samples, rows, channels), dtype=np.float32)
    noise.setflags(write=False)
    return noise


class Predictor:
    """A loaded one-step model, ready to predict; see :meth:`load`."""

    def __init__(
        self,
        model: MotionModel,
        card: dict[str, Any],
        golden: GoldenPair | None = None,
        *,
        device: str = 'auto',
        engine: str = 'auto',
        name: str = 'model',
        calibration: Calibration | None = None,
        weighing: WeighingWeights | None = None,
    ) -> None:
        """
        Wrap a model.

        :param model: of role 'one_step', 'swiftdiff' or 'moe'.
        :param card: the model card.
        :param golden: replayed by :meth:`golden_error_m`.
        :param device: 'auto' (CUDA where there is one), 'cpu' or 'cuda'.
        :param engine: 'fp32', 'bf16' (the network alone), or 'auto': bf16 where the device is
            fast at it. A mixture of experts runs in fp32: its network takes a tenth of the time.
        :param name: shown in messages and diagnostics.
        :param calibration: put into every prediction.
        :param weighing: kept for those who weigh predictions
            (:mod:`motion_predictor.predict.place.place`).
        :raises ConfigError: if device or engine is unknown or cannot be had.
        :raises WeightsError: if the model is a many-step teacher.
        """
        self._load(
            LoadedWeights(model, card, golden, Path(name), calibration), device, engine, name
        )

    def _load(self, weights: LoadedWeights, device: str, engine: str, name: str) -> None:
        model = weights.model
        if model.config.role == 'teacher':
            raise WeightsError(
                f'{name}: a many-step teacher; only models of one step deploy '
                '(one_step, swiftdiff, moe)'
            )
        self.device = _pick_device(device)
        self.engine = _pick_engine(engine, self.device, model.config.role)
        self.asked_engine = engine
        self.name = name
        # Kept as it was read: for the day that the device is lost, when nothing can be copied off
        # it, and since the caller's own model keeps its device, precision and gradients.
        self.weights = weights
        self._model = copy.deepcopy(model).to(self.device).eval().requires_grad_(False)
        if self.engine == 'bf16':  # positions, DCT and whitening stay float32
            self._model.denoiser.to(torch.bfloat16)

    @classmethod
    def load(cls, path: Path | str, *, device: str = 'auto', engine: str = 'auto') -> Predictor:
        """
        Load a weights file.

        :param path: safetensors file written by ``training export``.
        :param device: 'auto', 'cpu' or 'cuda'.
        :param engine: 'auto', 'fp32' or 'bf16'.
        :raises WeightsError: if the file is missing, damaged, of another version, or a teacher.
        :raises ConfigError: if device or engine is unknown or cannot be had.
        """
        return cls.of(load_weights(path), device=device, engine=engine, name=Path(path).stem)

    @classmethod
    def of(
        cls,
        weights: LoadedWeights,
        *,
        device: str = 'auto',
        engine: str = 'auto',
        name: str = 'model',
    ) -> Predictor:
        """
        Make a predictor of everything that a weights file says.

        :param weights: from :func:`motion_predictor.model.weights.load_weights`, as for
            :meth:`load`.
        :param name: shown in messages and diagnostics.
        :raises WeightsError: if the model is a many-step teacher.
        :raises ConfigError: if device or engine is unknown or cannot be had.
        """
        made = cls.__new__(cls)
        made._load(weights, device, engine, name)
        return made

    def on_cpu(self) -> Predictor:
        """
        Make the same predictor on the CPU, without a word to the device that this one uses.

        Of the same weights record: radii, golden pair and card are the same.
        """
        return Predictor.of(self.weights, device='cpu', engine=self.asked_engine, name=self.name)

    @property
    def card(self) -> dict[str, Any]:
        """The model card."""
        return self.weights.card

    @property
    def golden(self) -> GoldenPair | None:
        """The input and output that :meth:`golden_error_m` replays."""
        return self.weights.golden

    @property
    def calibration(self) -> Calibration | None:
        """What is put into every prediction."""
        return self.weights.calibration

    @property
    def weighing(self) -> WeighingWeights | None:
        """How predictions are weighed in :class:`~.place.place.Place`; None: not fitted."""
        return self.weights.weighing

    @property
    def surprise_threshold(self) -> float | None:
        """
        Surprise above which motion counts as new to the model, nats a coordinate.

        From the card's ``surprise.threshold``; None where the weights file states none.
        """
        stated = self.card.get('surprise')
        value = stated.get('threshold') if isinstance(stated, dict) else None
        known = isinstance(value, (int, float)) and math.isfinite(value)
        return float(value) if known and value is not None else None

    @property
    def window(self) -> WindowConfig:
        """Give what the model sees and predicts."""
        return self._model.config.window

    @property
    def skeleton(self) -> Skeleton:
        """Give the joints, in the model's order."""
        return self._model.skeleton

    @property
    def model(self) -> MotionModel:
        """Give the torch model itself, in evaluation mode."""
        return self._model

    def predict(
        self,
        observed: np.ndarray,
        *,
        samples: int = 50,
        seed: int = 0,
        noise: np.ndarray | None = None,
    ) -> Prediction:
        """
        Sample futures of one or several people in one pass.

        The same seed gives the same noise for every person and call, so that sample i of one
        frame continues as sample i of the next, and nobody's samples depend on who else is there.
        A mixture gives its experts' means, moved apart, first, in order of weight: there sample i
        is the i-th likeliest future. Asked for fewer samples than it has experts, it gives those
        that stand for all of them best, with the weight of those they stand for.

        :param observed: joint positions in metres at ``window.rate_hz``, gravity along -z, any
            origin and heading, ``(T_obs, J, 3)`` or ``(P, T_obs, J, 3)``, finite.
        :param samples: S, at least 1.
        :param seed: not negative; ignored when noise is given.
        :param noise: standard normal ``(P, S, K, 3J)`` to be used instead of the seed's.
        :returns: futures ``(P, S, T_fut, J, 3)`` in the frame of the input.
        :raises ShapeError: if an array has another shape.
        :raises ConfigError: if samples or seed cannot be used, or observed is not finite.
        """
        observed = np.array(observed, dtype=np.float32, order='C')  # torch wants a writable copy
        window, joints = self.window, self.skeleton.num_joints
        if observed.ndim == 3:
            observed = observed[None]
        if observed.ndim != 4:
            raise ShapeError(
                f'observed: expected ({window.observed_frames}, {joints}, 3) or one axis of '
                f'people more, got {observed.shape}'
            )
        require_shape('observed', observed, ('P', window.observed_frames, joints, 3))
        if not np.isfinite(observed).all():
            raise ConfigError('observed: holds NaN or infinity; fill or leave out missing joints')
        persons, rows, channels = len(observed), window.dct_keep, 3 * joints
        if noise is None:
            if not 1 <= samples <= 10_000:
                raise ConfigError(f'samples={samples}: must lie in 1..10000')
            if seed < 0:
                raise ConfigError(f'seed={seed}: must not be negative')
            drawn = torch.from_numpy(sample_noise(seed, samples, rows, channels).copy())
            drawn = drawn.to(self.device).expand(persons, -1, -1, -1)
        else:
            require_shape('noise', noise, (persons, 'S', rows, channels))
            drawn = torch.from_numpy(np.array(noise, dtype=np.float32, order='C')).to(self.device)
        with torch.inference_mode():
            model = self._model
            history = model.observe(torch.from_numpy(observed).to(self.device))
            forecast: Forecast | None = None
            if model.config.role == 'moe':
                mixture = model.mixture(history)
                forecast = Forecast(model, mixture, history)
                white, likely = model.ranked(mixture, drawn)
                weights = likely.cpu().numpy()
            else:
                white = model.one_step(drawn, history.condition)
                count = drawn.shape[1]
                weights = np.full((persons, count), 1.0 / count, dtype=np.float32)
            futures = model.decode(white, history).cpu().numpy()
        return Prediction(futures, weights, window.rate_hz, forecast, self.calibration)

    def warm_up(
        self,
        persons: int = 1,
        samples: int = 50,
        require_wanted: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Run a few predictions so that the first real one is as fast as the others.

        :param persons: batch size to prepare for.
        :param samples: samples to prepare for.
        :param require_wanted: called after each prediction; raises to give up.
        """
        frames, joints = self.window.observed_frames, self.skeleton.num_joints
        standing = np.zeros((persons, frames, joints, 3), dtype=np.float32)
        standing[..., 2] = np.linspace(0.0, 1.0, joints, dtype=np.float32)
        for _ in range(3):
            self.predict(standing, samples=samples)
            require_wanted()

    def golden_error_m(self) -> float:
        """
        Replay the golden pair of the weights file.

        :returns: largest distance in metres between a coordinate now and at export.
        :raises WeightsError: if the file carries none.
        """
        if self.golden is None:
            raise WeightsError(f'{self.name}: carries no golden pair')
        now = self.predict(
            self.golden.observed, samples=len(self.golden.futures), seed=self.golden.seed
        )
        return float(np.abs(now.futures[0] - self.golden.futures).max())

    def require_golden(self) -> bool:
        """
        Replay the golden pair, if there is one, and refuse weights that give something else.

        A file that states no digest is replayed on the CPU in fp32 first, which tells damaged
        weights from a device or an engine that calculates wrongly.

        :returns: whether there is a golden pair.
        :raises WeightsError: if the weights are damaged, or this engine cannot run them.
        :raises RuntimeError: if the weights are sound and the device, not the CPU, is at fault.
        """
        if self.golden is None:
            return False
        exact = self.device == 'cpu' and self.engine == 'fp32'
        sound = bool(self.weights.digest)
        if not sound and not exact:
            Predictor.of(
                self.weights, device='cpu', engine='fp32', name=self.name
            ).require_golden()
            sound = True
        error_m = self.golden_error_m()
        if error_m <= GOLDEN_M[self.engine]:  # not of NaN
            return True
        what = (
            f'its golden pair is off by {error_m:.3g} m on {self.device} in {self.engine}, at '
            f'most {GOLDEN_M[self.engine]:g} m is allowed'
        )
        if not sound:
            raise WeightsError(f'{self.name}: damaged: {what}; fetch or export it again')
        if self.device != 'cpu':
            raise RuntimeError(f'{self.name}: {what}')
        hint = '' if self.engine == 'fp32' else "set model.engine to 'fp32', or "
        raise WeightsError(f'{self.name}: {what}; {hint}export it again')


def _pick_device(device: str) -> str:
    if device not in DEVICES:
        raise ConfigError(f'device={device!r}: must be one of {DEVICES}')
    if device == 'cpu':
        return 'cpu'
    available = torch.cuda.is_available()
    if device == 'cuda' and not available:
        raise ConfigError("device='cuda': torch finds no CUDA device here; use 'auto' or 'cpu'")
    return 'cuda' if available else 'cpu'


def _pick_engine(engine: str, device: str, role: str) -> str:
    if engine not in ENGINES:
        raise ConfigError(f'engine={engine!r}: must be one of {ENGINES}')
    if role == 'moe':
        if engine == 'bf16':
            raise ConfigError("engine='bf16': a mixture of experts runs in fp32; use 'auto'")
        return 'fp32'
    if engine != 'auto':
        return engine
    fast = torch.cuda.is_bf16_supported() if device == 'cuda' else cpu_has_fast_bf16()
    return 'bf16' if fast else 'fp32'
