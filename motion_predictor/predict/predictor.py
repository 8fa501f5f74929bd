# SPDX-License-Identifier: Apache-2.0
"""Predictor: observed windows in, sampled futures out; NumPy on both sides."""

from __future__ import annotations

from collections.abc import Callable
import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from motion_predictor.body.completion import complete, shows_torso
from motion_predictor.body.skeleton import Skeleton
from motion_predictor.common.shapes import require_shape
from motion_predictor.errors import ConfigError, ShapeError, WeightsError
from motion_predictor.model.calibration import Calibration
from motion_predictor.model.config import WindowConfig
from motion_predictor.model.motion_model import MotionModel, SharedNoise
from motion_predictor.model.networks.flat_onnx import OnnxFlatDenoiser
from motion_predictor.model.networks.mlp import FlatDenoiser
from motion_predictor.model.weighing_weights import WeighingWeights
from motion_predictor.model.weights import GoldenPair, load_weights, LoadedWeights
from motion_predictor.predict.device import pick_device, pick_engine
from motion_predictor.predict.futures.sampled import Futures, Whole
from motion_predictor.predict.futures.states import States
from motion_predictor.predict.mixture_forecast import Forecast
from motion_predictor.predict.prediction import Prediction as Prediction
from motion_predictor.without_torch.noise import sample_noise as sample_noise

GOLDEN_M = {'fp32': 0.005, 'bf16': 0.05, 'onnx': 0.005}
"""Largest accepted error in metres of a coordinate when the golden pair is replayed, by engine. In
bf16 the errors of the shipped models are 0.5 to 1.1 cm."""


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

        :param model: a model of role 'one_step', 'swiftdiff' or 'moe'.
        :param card: the model card.
        :param golden: the golden pair that :meth:`golden_error_m` replays.
        :param device: 'auto' (CUDA if there is one), 'cpu' or 'cuda'.
        :param engine: 'fp32', 'bf16' (for the network alone), 'onnx' (the network in fp32 by ONNX
            Runtime, on the CPU), or 'auto', which takes bf16 if the device is fast at it. A
            mixture of experts runs in fp32: its network takes a tenth of the time.
        :param name: name in messages and diagnostics.
        :param calibration: calibrated radii, put into every prediction.
        :param weighing: weights for weighing predictions
            (:mod:`motion_predictor.predict.place.place`).
        :raises ConfigError: if the device or the engine is unknown or not available.
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
        self.device = pick_device(device)
        self.engine = pick_engine(engine, self.device, model.config.role)
        self.asked_engine = engine
        self.engine_times = ''
        """What was measured to choose the engine, in words; '' if nothing was."""
        self.name = name
        # Kept as it was read. If the device is lost, nothing can be copied from it. Besides, the
        # caller's own model keeps its device, precision and gradients.
        self.weights = weights
        self._model = copy.deepcopy(model).to(self.device).eval().requires_grad_(False)
        if self.engine == 'bf16':  # positions, DCT and whitening stay float32
            self._model.denoiser.to(torch.bfloat16)
        if self.engine == 'onnx':
            denoiser = self._model.denoiser
            if not isinstance(denoiser, FlatDenoiser):
                raise ConfigError(
                    f"engine='onnx': {name} is not the flat network; use 'fp32' or 'auto'"
                )
            self._model.denoiser = OnnxFlatDenoiser(denoiser)
        self._shared: tuple[tuple[int, int], SharedNoise | None] | None = None

    @classmethod
    def load(cls, path: Path | str, *, device: str = 'auto', engine: str = 'auto') -> Predictor:
        """
        Load a weights file.

        :param path: safetensors file written by ``training export``.
        :param device: 'auto', 'cpu' or 'cuda'.
        :param engine: 'auto', 'fp32', 'bf16' or 'onnx'.
        :raises WeightsError: if the file is missing, damaged, of another version, or a teacher.
        :raises ConfigError: if the device or the engine is unknown or not available.
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
        Make a predictor from the content of a weights file.

        :param weights: from :func:`motion_predictor.model.weights.load_weights`.
        :param device: as for :meth:`load`.
        :param engine: as for :meth:`load`.
        :param name: name in messages and diagnostics.
        :raises WeightsError: if the model is a many-step teacher.
        :raises ConfigError: if the device or the engine is unknown or not available.
        """
        made = cls.__new__(cls)
        made._load(weights, device, engine, name)
        return made

    def on_cpu(self) -> Predictor:
        """
        Return the same predictor on the CPU, without any call to the device of this one.

        It uses the same weights record, so radii, golden pair and card are the same.
        """
        return Predictor.of(self.weights, device='cpu', engine=self.asked_engine, name=self.name)

    @property
    def card(self) -> dict[str, Any]:
        """Return the model card."""
        return self.weights.card

    @property
    def golden(self) -> GoldenPair | None:
        """Return the input and output that :meth:`golden_error_m` replays."""
        return self.weights.golden

    @property
    def calibration(self) -> Calibration | None:
        """Return the calibrated radii that are put into every prediction."""
        return self.weights.calibration

    @property
    def weighing(self) -> WeighingWeights | None:
        """Return the weights for :class:`~.place.place.Place`; None: not fitted."""
        return self.weights.weighing

    @property
    def surprise_threshold(self) -> float | None:
        """
        Return the surprise above which motion is new to the model, in nats per coordinate.

        It is the card's ``surprise.threshold``; None if the weights file states none.
        """
        stated = self.card.get('surprise')
        value = stated.get('threshold') if isinstance(stated, dict) else None
        known = isinstance(value, (int, float)) and math.isfinite(value)
        return float(value) if known and value is not None else None

    @property
    def window(self) -> WindowConfig:
        """Return the number of frames that the model observes and predicts, and their rate."""
        return self._model.config.window

    @property
    def skeleton(self) -> Skeleton:
        """Return the skeleton; its joints are in the model's order."""
        return self._model.skeleton

    @property
    def model(self) -> MotionModel:
        """Return the torch model in evaluation mode."""
        return self._model

    def predict(
        self,
        observed: np.ndarray,
        *,
        samples: int = 50,
        seed: int = 0,
        noise: np.ndarray | None = None,
        seen: np.ndarray | None = None,
    ) -> Prediction:
        """
        Sample futures of one or several people in one pass.

        The same seed gives the same noise for every person and every call. So sample i of one call
        continues as sample i of the next, and a person's samples do not depend on who else is
        present. A mixture first returns its experts' means, moved apart, in order of weight, so
        sample i is the i-th likeliest future. If fewer samples than experts are requested, it
        returns the means that represent all experts best, with the weight of those they represent.

        :param observed: joint positions in metres at ``window.rate_hz``, gravity along -z, any
            origin and heading, ``(T_obs, J, 3)`` or ``(P, T_obs, J, 3)``, finite.
        :param samples: number of samples S, at least 1.
        :param seed: not negative; ignored if noise is given.
        :param noise: standard normal ``(P, S, K, 3J)``, used instead of the seed's noise.
        :param seen: which joints of each person were seen at all, bool ``(P, J)``. The others are
            completed already, or NaN, and are completed here, see
            :func:`motion_predictor.body.completion.complete`. None: all were seen.
        :returns: futures of P people in the frame of the input, decoded on demand.
        :raises ShapeError: if an array has another shape.
        :raises ConfigError: if samples or seed are not valid, or if observed is not finite.
        """
        observed, seen = self._checked(observed, seen)
        shared = self._shared_noise(samples, seed) if noise is None else None
        drawn = None if shared else self._drawn(len(observed), samples, seed, noise)
        marked = None if seen is None else torch.from_numpy(seen).to(self.device)
        with torch.inference_mode():
            model = self._model
            context = model.observe(torch.from_numpy(observed).to(self.device), marked)
            forecast: Forecast | None = None
            if drawn is None:
                assert shared is not None
                white = model.one_step_of(shared, context.condition)
            elif model.config.role == 'moe':
                mixture = model.mixture(context)
                forecast = Forecast(model, mixture, context)
                white, likely = model.ranked(mixture, drawn)
                weights = likely.cpu().numpy()
            else:
                white = model.one_step(drawn, context.condition)
            if forecast is None:
                count = white.shape[1]
                weights = np.full((len(observed), count), 1.0 / count, dtype=np.float32)
            sampled: Futures = States(model, context, white)
            if self.device != 'cpu':  # where decoding costs nothing beside a copy
                sampled = Whole(sampled.every())
        return Prediction(sampled, weights, self.window.rate_hz, forecast, self.calibration)

    def _checked(
        self, observed: np.ndarray, seen: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        # Return windows (P, T_obs, J, 3), float32, that the model accepts, and the joints that
        # were seen, None for all.
        observed = np.array(observed, dtype=np.float32, order='C')  # torch wants a writable copy
        frames, joints = self.window.observed_frames, self.skeleton.num_joints
        if observed.ndim == 3:
            observed = observed[None]
        if observed.ndim != 4:
            raise ShapeError(
                f'observed: expected ({frames}, {joints}, 3) or one axis of people more, got '
                f'{observed.shape}'
            )
        require_shape('observed', observed, ('P', frames, joints, 3))
        if seen is not None:
            seen = np.array(seen, dtype=bool)
            require_shape('seen', seen, (len(observed), joints))
            if seen.all():
                seen = None
            elif not np.isfinite(observed).all():
                if not shows_torso(seen, self.skeleton).all():
                    raise ConfigError(
                        'seen: somebody shows neither both shoulders nor hips and one, and cannot '
                        'be completed'
                    )
                observed = complete(observed, seen, self.skeleton)
        if not np.isfinite(observed).all():
            raise ConfigError(
                'observed: holds NaN or infinity; fill in missing joints, or name those that '
                'were never seen'
            )
        return observed, seen

    def _shared_noise(self, samples: int, seed: int) -> SharedNoise | None:
        # Return the noise of a seed, which is the same for everybody and in every call, with all
        # that does not depend on people; None if the network has no such part.
        known = self._shared  # another thread may replace it
        if known is None or known[0] != (samples, seed):
            with torch.inference_mode():
                drawn = self._drawn(1, samples, seed, None)[0]
                known = (samples, seed), self._model.shared(drawn)
            self._shared = known
        return known[1]

    def _drawn(
        self, persons: int, samples: int, seed: int, noise: np.ndarray | None
    ) -> torch.Tensor:
        # Return the noise of every sample, (P, S, K, 3 J), on the device.
        rows, channels = self.window.dct_keep, 3 * self.skeleton.num_joints
        if noise is not None:
            require_shape('noise', noise, (persons, 'S', rows, channels))
            return torch.from_numpy(np.array(noise, dtype=np.float32, order='C')).to(self.device)
        if not 1 <= samples <= 10_000:
            raise ConfigError(f'samples={samples}: must lie in 1..10000')
        if seed < 0:
            raise ConfigError(f'seed={seed}: must not be negative')
        drawn = torch.from_numpy(sample_noise(seed, samples, rows, channels).copy())
        return drawn.to(self.device).expand(persons, -1, -1, -1)

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
        :param require_wanted: called after each prediction; raises an error to give up.
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

        :returns: largest difference in metres between a coordinate now and at export.
        :raises WeightsError: if the file has no golden pair.
        """
        if self.golden is None:
            raise WeightsError(f'{self.name}: carries no golden pair')
        now = self.predict(
            self.golden.observed, samples=len(self.golden.futures), seed=self.golden.seed
        )
        return float(np.abs(now.futures[0] - self.golden.futures).max())

    def require_golden(self) -> bool:
        """
        Replay the golden pair, if there is one, and refuse weights with another result.

        A file without a digest is first replayed on the CPU in fp32. This distinguishes damaged
        weights from a device or an engine that computes wrongly.

        :returns: whether there is a golden pair.
        :raises WeightsError: if the weights are damaged, or if this engine cannot run them.
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
        if error_m <= GOLDEN_M[self.engine]:  # not true for NaN
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
