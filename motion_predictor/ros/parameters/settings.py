# SPDX-License-Identifier: Apache-2.0
"""All parameters of the node: a complete, checked, immutable record of their values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
import math

from motion_predictor.errors import ConfigError
from motion_predictor.ros.parameters.fields import (
    group,
    parameter,
    parameters_of,
    replaced,
)
from motion_predictor.ros.parameters.groups import (
    Diagnostics,
    Input,
    Markers,
    Memory,
    Model,
    Moments,
    Occupancy,
    Output,
    Poses,
    Publish,
    Trajectory,
    Weighing,
)
from motion_predictor.ros.parameters.parameter import ALWAYS, AT_START, Parameter
from motion_predictor.sources.naming import require_pattern
from motion_predictor.sources.source import AUTO


@dataclass(frozen=True, kw_only=True)
class Settings:
    """
    The values of all parameters; two threads read them, so a change makes a new record.

    ``settings.moments.coverage`` is the parameter ``moments.coverage``. Values from outside go
    through :meth:`from_values` and :meth:`changed`, which check them.
    """

    autostart: bool = parameter(
        False,
        applies=AT_START,
    )
    """Configure and activate without a manager, for a node that no launch file manages."""
    model: Model = group(Model)
    samples: int = parameter(
        50,
        minimum=1,
        maximum=1000,
        applies=ALWAYS,
    )
    """Number of futures sampled for each person; the product with max_persons and steps is limited
    to 2 GiB."""
    horizon_s: float = parameter(
        2.0,
        unit='s',
        minimum=0.02,
        maximum=60.0,
        applies=ALWAYS,
    )
    """Horizon of the published futures; a value beyond the model's horizon is refused, except for
    the default.
    """
    seed: int = parameter(
        0,
        minimum=0,
        maximum=2**31 - 1,
        applies=ALWAYS,
    )
    """Seed of the samples: the same seed and input give the same futures."""
    max_persons: int = parameter(
        8,
        minimum=1,
        maximum=100,
        applies=ALWAYS,
    )
    """Greatest number of people predicted at once, the nearest to reference_point_m."""
    reference_point_m: tuple[float, ...] = parameter(
        (0.0, 0.0, 0.0),
        unit='m',
        lengths=(3,),
    )
    """Point of the output frame that max_persons measures distances from, such as the robot."""
    rate_limit_hz: float = parameter(
        0.0,
        unit='Hz',
        minimum=0.0,
        maximum=1000.0,
        applies=ALWAYS,
    )
    """Greatest number of predictions per second; 0 predicts on every new observation."""
    catch_up_s: float = parameter(
        0.1,
        unit='s',
        minimum=0.0,
        maximum=1.0,
        applies=ALWAYS,
    )
    """If predicting all frames that came while the node was busy takes no longer than this, they
    are predicted one by one, in order; otherwise only the newest frame is predicted. 0 always
    predicts only the newest frame.
    """
    deadline_s: float = parameter(
        0.033,
        unit='s',
        minimum=0.001,
        maximum=10.0,
        applies=ALWAYS,
    )
    """Longest time from the arrival of a message to publication; the diagnostics count later
    predictions.
    """
    weighing: Weighing = group(
        Weighing,
    )
    memory: Memory = group(Memory)
    target_frame: str = parameter(
        '',
    )
    """Level frame (z up) that does not move (odom or map, never base_link) in which people are
    predicted, reached by TF; empty takes the input frame.
    """
    tf_timeout_s: float = parameter(
        0.2,
        unit='s',
        minimum=0.0,
        maximum=1.0,
        applies=ALWAYS,
    )
    """Longest time after its arrival that a message waits for the transform into target_frame at
    its stamp; raise it if TF comes late or seldom.
    """
    input: Input = group(Input)
    min_observed_s: float = parameter(
        0.25,
        unit='s',
        minimum=0.02,
        maximum=10.0,
    )
    """Time that a person is observed before the first prediction."""
    max_joint_gap_s: float = parameter(
        0.25,
        unit='s',
        minimum=0.0,
        maximum=2.0,
    )
    """A joint that is missing for longer counts as unseen. It is completed from the joints that
    are seen and marked in the outputs; without a torso the person is not predicted."""
    stale_timeout_s: float = parameter(
        1.0,
        unit='s',
        minimum=0.05,
        maximum=60.0,
    )
    """A person who is not shown for this time is forgotten, with one empty output."""
    max_future_s: float = parameter(
        0.5,
        unit='s',
        minimum=0.0,
        maximum=3600.0,
    )
    """Observations stamped further ahead of the node's clock are dropped."""
    jump_back_s: float = parameter(
        0.5,
        unit='s',
        minimum=0.1,
        maximum=60.0,
    )
    """If all stamps fall back by more than this, histories begin again (a looping bag)."""
    reassociate_within_m: float = parameter(
        0.5,
        unit='m',
        minimum=0.0,
        maximum=5.0,
    )
    """A new id that appears within this distance of where another vanished is the same person; 0:
    never.
    """
    reassociate_within_s: float = parameter(
        0.5,
        unit='s',
        minimum=0.0,
        maximum=5.0,
    )
    """Longest time since the other id vanished."""
    output: Output = group(Output)
    publish: Publish = group(Publish)
    moments: Moments = group(Moments)
    trajectory: Trajectory = group(Trajectory)
    poses: Poses = group(Poses)
    occupancy: Occupancy = group(Occupancy)
    markers: Markers = group(Markers)
    diagnostics: Diagnostics = group(Diagnostics)

    @classmethod
    def from_values(cls, values: Mapping[str, object]) -> Settings:
        """
        Build settings: check values, fill in defaults, and check rules between parameters.

        :param values: values by parameter name; the others take their defaults.
        :raises ConfigError: for an unknown name, a bad value, or values that exclude each other.
        """
        return cls().changed(values)

    def changed(self, values: Mapping[str, object]) -> Settings:
        """
        Return the settings with other values; these settings stay as they are.

        :param values: new values by parameter name.
        :raises ConfigError: for an unknown name, a bad value, or values that exclude each other.
        """
        for name in values:
            if name not in BY_NAME:
                raise ConfigError(unknown_parameter_message(name))
        checked = {p.name: p.check(values[p.name]) for p in PARAMETERS if p.name in values}
        return replaced(self, checked)

    def __post_init__(self) -> None:
        """
        Check the rules between parameters.

        :raises ConfigError: for values that exclude each other.
        """
        topics = self.input.topics
        if len(set(topics)) != len(topics):
            raise ConfigError(f'input.topics={list(topics)}: names a topic twice')
        if self.output.step_s > self.horizon_s:
            raise ConfigError(
                f'output.step_s={self.output.step_s:g}: must not exceed '
                f'horizon_s={self.horizon_s:g}'
            )
        if self.input.pattern != AUTO:
            require_pattern(self.input.pattern)
        rotation = self.input.rotation
        if len(rotation) == 4 and abs(math.hypot(*rotation) - 1.0) > 0.01:
            raise ConfigError(
                f'input.rotation={list(rotation)}: a quaternion must have length 1, '
                f'this one has {math.hypot(*rotation):g}'
            )
        if any(rotation[:3]) and self.target_frame:
            raise ConfigError(
                f'input.rotation={list(rotation)} and target_frame='
                f'{self.target_frame!r}: set one of them; TF already turns the input'
            )


PARAMETERS: tuple[Parameter, ...] = tuple(parameters_of(Settings))
"""All parameters, in the order of the reference page."""

BY_NAME: Mapping[str, Parameter] = {parameter.name: parameter for parameter in PARAMETERS}


def unknown_parameter_message(name: str) -> str:
    """Return the error text for a parameter that does not exist, with the closest known name."""
    close = get_close_matches(name, BY_NAME, n=1)
    hint = f'; did you mean {close[0]}?' if close else ''
    return f'{name}: there is no such parameter{hint}'
