# SPDX-License-Identifier: Apache-2.0
"""Find the model that the parameters name, load it, warm it up, and check the parameters on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from motion_predictor.errors import ConfigError, WeightsError
from motion_predictor.model.weights import default_weights
from motion_predictor.predict.predictor import Predictor
from motion_predictor.ros.budget import require_budget
from motion_predictor.ros.engines import fastest
from motion_predictor.ros.parameters import Settings


def load_predictor(
    settings: Settings, require_wanted: Callable[[], None] = lambda: None
) -> tuple[Predictor, str]:
    """
    Load the model that the parameters name, and warm it up.

    :param settings: the node's parameters.
    :param require_wanted: called between the steps; raises an error if the model is no longer
        wanted.
    :returns: the predictor, and why the device was left, if ``auto`` had to do without it.
    :raises MotionPredictorError: if the file or the device cannot be used.
    """
    path, device = weights_path(settings.model.path), settings.model.device

    def load(device: str, engine: str) -> Predictor:
        require_wanted()
        predictor = Predictor.load(path, device=device, engine=engine)
        require_wanted()
        predictor.warm_up(1, settings.samples, require_wanted)
        predictor.require_golden()
        require_wanted()
        if engine == 'auto' and predictor.device == 'cpu':
            predictor, times = fastest(
                predictor, settings.samples, settings.max_persons, require_wanted
            )
            predictor.engine_times = times
            predictor.require_golden()
            require_wanted()
        return predictor

    try:
        return load(device, settings.model.engine), ''
    except (RuntimeError, AssertionError) as error:  # torch's errors of a failing device
        reason = str(error).strip().partition('\n')[0]
        if device == 'cuda':
            raise ConfigError(
                f"model.device='cuda': failed ({reason}); 'auto' goes on on the CPU then"
            ) from error
        if device == 'cpu':
            raise
        predictor = load('cpu', 'auto')
        return (
            predictor,
            f'the device of model.device=auto failed ({reason}): predicting on the CPU',
        )


def weights_path(name_or_path: str) -> Path:
    """
    Return the path of a weights file.

    :param name_or_path: the name of a shipped model, or a path.
    :raises WeightsError: if it is a name and no such model is shipped.
    """
    looks_like_path = '/' in name_or_path or name_or_path.endswith('.safetensors')
    if not looks_like_path:
        return default_weights(name_or_path)
    try:
        return Path(name_or_path).expanduser()
    except RuntimeError as error:  # ~ of an unknown user
        raise WeightsError(f'model.path={name_or_path[:200]!r}: {error}') from None


def require_fit(settings: Settings, predictor: Predictor) -> None:
    """
    Check that the parameters do not ask for more than the model or the robot has.

    :param settings: the node's parameters.
    :param predictor: the model.
    :raises ConfigError: if their product takes too much memory or time, or if ``horizon_s`` was
        set to more than the model predicts.
    """
    window = predictor.window
    require_budget(
        settings,
        rate_hz=window.rate_hz,
        future_frames=window.future_frames,
        joints=predictor.skeleton.num_joints,
    )
    _require_horizon(settings, predictor)


def _require_horizon(settings: Settings, predictor: Predictor) -> None:
    # The default is cut to what the model predicts, so that it works without being set.
    asked_s, given_s = settings.horizon_s, predictor.window.horizon_s
    if asked_s > given_s + 1e-9 and asked_s != Settings.horizon_s:
        raise ConfigError(
            f'horizon_s={asked_s:g}: {predictor.name} predicts {given_s:g} s; set at most that'
        )
