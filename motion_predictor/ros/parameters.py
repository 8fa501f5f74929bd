"""
Every parameter of the node, declared once: the node, its checks and the README's table use this.

``python -m motion_predictor.ros.parameters`` prints the table as Markdown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
import math

from motion_predictor.errors import ConfigError
from motion_predictor.model.config import ENGINES
from motion_predictor.predict.adaptation import MODES
from motion_predictor.predict.likely import EXPECTED, FUTURES
from motion_predictor.sources.trackers import AUTO, require_pattern, TRACKERS

Value = bool | int | float | str | tuple[str, ...] | tuple[float, ...]
"""What a parameter can hold; lists are kept as tuples so that a set of values is immutable."""

MAX_TEXT = 4_096
"""Characters of a text: as long as a path may be."""
AT_START = 'start'
AT_CONFIGURE = 'configure'
ALWAYS = 'now'
INPUT_TYPES = ('pose_array', 'point_cloud', 'marker_array', 'tf', 'hri', *TRACKERS)


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """
    One parameter of the node.

    ``applies`` says when a value is taken over: ``start`` (read-only afterwards), ``configure``
    (refused while the node is configured) or ``now`` (with the next prediction).
    """

    name: str
    default: Value
    description: str
    unit: str = ''
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    lengths: tuple[int, ...] = ()
    applies: str = AT_CONFIGURE

    @property
    def read_only(self) -> bool:
        """Whether the value is fixed once the node runs."""
        return self.applies == AT_START

    @property
    def type_name(self) -> str:
        """Name the type as ROS does: bool, integer, double, string or an array of one."""
        if isinstance(self.default, tuple):
            return 'string array' if isinstance(self.default[0], str) else 'double array'
        return {bool: 'bool', int: 'integer', float: 'double', str: 'string'}[type(self.default)]

    @property
    def allowed(self) -> str:
        """Say in words which values are allowed; empty when every one of the type is."""
        if self.choices:
            return 'one of ' + ', '.join(self.choices)
        if self.lengths:
            return ' or '.join(str(length) for length in self.lengths) + ' numbers'
        if self.minimum is not None and self.maximum is not None:
            each = 'each ' if isinstance(self.default, tuple) else ''
            return f'{each}{self.minimum:g} to {self.maximum:g}'
        return f'at least {self.minimum:g}' if self.minimum is not None else ''

    def check(self, value: object) -> Value:
        """
        Check one value and give it the declared type.

        :param value: what the user set; an integer is accepted for a double.
        :returns: the value, lists as tuples.
        :raises ConfigError: naming the parameter, the value found and what would do.
        """
        try:
            checked = self._of_type(value)
        except (TypeError, ValueError):
            raise ConfigError(f'{self.name}: expected {self.type_name}, got {value!r}') from None
        for text in checked if isinstance(checked, tuple) else (checked,):
            if isinstance(text, str) and len(text) > MAX_TEXT:
                raise ConfigError(
                    f'{self.name}={text[:20]!r}...: has {len(text)} characters; at most {MAX_TEXT}'
                )
        if self.choices and checked not in self.choices:
            raise ConfigError(f'{self.name}={value!r}: must be {self.allowed}')
        if isinstance(checked, (int, float)) and not isinstance(checked, bool):
            self._check_range(checked)
        if isinstance(checked, tuple):
            self._check_elements(checked)
        return checked

    def _of_type(self, value: object) -> Value:
        if isinstance(self.default, tuple):
            if isinstance(value, (str, bytes)) or not hasattr(value, '__iter__'):
                raise TypeError
            kind = type(self.default[0])
            return tuple(_scalar(kind, item) for item in value)  # type: ignore[return-value]
        return _scalar(type(self.default), value)

    def _check_range(self, value: float) -> None:
        low, high = self.minimum, self.maximum
        inside = (low is None or value >= low) and (high is None or value <= high)
        if not math.isfinite(value) or not inside:
            raise ConfigError(f'{self.name}={value:g}: must be {self.allowed or "finite"}')

    def _check_elements(self, value: tuple[str, ...] | tuple[float, ...]) -> None:
        if not value or (self.lengths and len(value) not in self.lengths):
            wanted = self.allowed or 'at least one entry'
            raise ConfigError(f'{self.name}={list(value)}: must be {wanted}')
        for item in value:
            if item == '' or (isinstance(item, float) and not math.isfinite(item)):
                raise ConfigError(f'{self.name}={list(value)}: {item!r} is not allowed in it')
            if isinstance(item, float):
                self._check_range(item)


def _scalar(kind: type, value: object) -> bool | int | float | str:
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise TypeError
    return value  # type: ignore[return-value]


PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        name='autostart',
        default=False,
        applies=AT_START,
        description='Configure and activate by itself, for a node that no launch file manages.',
    ),
    Parameter(
        name='model.path',
        default='swiftdiff',
        description='Weights: the name of a shipped model, or the path of a .safetensors file.',
    ),
    Parameter(
        name='model.device',
        default='auto',
        choices=('auto', 'cpu', 'cuda'),
        description='Where the model runs; auto takes a CUDA GPU where there is one.',
    ),
    Parameter(
        name='model.engine',
        default='auto',
        choices=ENGINES,
        description='How the model is executed; auto takes the fastest that works here.',
    ),
    Parameter(
        name='model.threads',
        default=0,
        minimum=0,
        maximum=64,
        description='Processor threads of the model; 0 takes half of the cores, 1 to 4.',
    ),
    Parameter(
        name='samples',
        default=50,
        minimum=1,
        maximum=1000,
        applies=ALWAYS,
        description='Futures sampled for each person; with max_persons and steps 2 GiB at most.',
    ),
    Parameter(
        name='horizon_s',
        default=2.0,
        unit='s',
        minimum=0.02,
        maximum=60.0,
        applies=ALWAYS,
        description=(
            'How far ahead futures are published; more than the model predicts is refused, but '
            'for the default.'
        ),
    ),
    Parameter(
        name='seed',
        default=0,
        minimum=0,
        maximum=2**31 - 1,
        applies=ALWAYS,
        description='Seed of the samples: the same seed and input give the same futures.',
    ),
    Parameter(
        name='max_persons',
        default=8,
        minimum=1,
        maximum=100,
        applies=ALWAYS,
        description='People predicted at once, the nearest to reference_point_m.',
    ),
    Parameter(
        name='reference_point_m',
        default=(0.0, 0.0, 0.0),
        unit='m',
        lengths=(3,),
        description='Point of the output frame that max_persons counts from, such as the robot.',
    ),
    Parameter(
        name='rate_limit_hz',
        default=0.0,
        unit='Hz',
        minimum=0.0,
        maximum=1000.0,
        applies=ALWAYS,
        description='Predictions a second at most; 0 predicts on every new observation.',
    ),
    Parameter(
        name='catch_up_s',
        default=0.1,
        unit='s',
        minimum=0.0,
        maximum=1.0,
        applies=ALWAYS,
        description='Frames that came while the node was busy are predicted one by one, in order, '
        'if all of them take no longer than this; else the newest alone, as always with 0.',
    ),
    Parameter(
        name='deadline_s',
        default=0.033,
        unit='s',
        minimum=0.001,
        maximum=10.0,
        applies=ALWAYS,
        description='From the arrival of a message to publication; later ones are counted in '
        'diagnostics.',
    ),
    Parameter(
        name='weighing.enabled',
        default=True,
        description=(
            'Weigh the model against standing still, damped velocity and what was remembered, '
            'where the weights file says how; false: the model alone, and nothing is kept.'
        ),
    ),
    Parameter(
        name='memory.enabled',
        default=True,
        description='Remember what people did here, and expect it again of who does the like.',
    ),
    Parameter(
        name='memory.megabytes',
        default=64.0,
        unit='MB',
        minimum=1.0,
        maximum=4096.0,
        description='What the memory takes at most; the oldest gives way.',
    ),
    Parameter(
        name='memory.file',
        default='',
        description=(
            'File that the memory is kept in over restarts: read in configure, written every few '
            'minutes, when the node is deactivated and when it ends; empty: none.'
        ),
    ),
    Parameter(
        name='target_frame',
        default='',
        description='Level frame (z up) that does not move (odom or map, never base_link) to '
        'predict in, reached by TF; empty: the input frame.',
    ),
    Parameter(
        name='tf_timeout_s',
        default=0.2,
        unit='s',
        minimum=0.0,
        maximum=1.0,
        applies=ALWAYS,
        description=(
            'How long a message may wait, once it came, for the transform into target_frame at '
            'its stamp; raise it where TF comes late or seldom.'
        ),
    ),
    Parameter(
        name='input.type',
        default='pose_array',
        choices=INPUT_TYPES,
        description='What sends the skeletons: a type of message, a tracker, or frames of TF.',
    ),
    Parameter(
        name='input.topics',
        default=('skeleton',),
        description=(
            'Skeleton topics; with several, the people of each are told apart by topic. Not for '
            'tf (/tf, /tf_static) and hri (and /humans/bodies/tracked).'
        ),
    ),
    Parameter(
        name='input.skeleton',
        default=AUTO,
        description=(
            "Joint layout of the input, a mapping file, or 'identity': the model's own joints; "
            'auto: the usual one of input.type, identity for messages that any program may send.'
        ),
    ),
    Parameter(
        name='input.pattern',
        default=AUTO,
        description=(
            'How frames, rigid bodies or labelled markers are named, with {joint} as in the '
            'layout and {person}; auto: {joint}_{person} for tf and hri, {person}.{joint} for '
            'mocap4r2_bodies, {joint} for mocap4r2.'
        ),
    ),
    Parameter(
        name='input.units_scale',
        default=1.0,
        unit='m per unit',
        minimum=1e-6,
        maximum=1e6,
        description='Metres in one unit of the input; 0.001 for millimetres.',
    ),
    Parameter(
        name='input.rotation',
        default=(0.0, 0.0, 0.0, 1.0),
        lengths=(3, 4),
        description=(
            'Turns the input level, z up: quaternion x y z w, or roll pitch yaw in rad; futures '
            'are turned back. [-1.5708, 0, 0] for an optical frame that looks ahead.'
        ),
    ),
    Parameter(
        name='input.frame_id',
        default='',
        description='Frame of messages that name none.',
    ),
    Parameter(
        name='input.min_confidence',
        default=0.2,
        minimum=0.0,
        maximum=100.0,
        description='Joints that the tracker trusts less than this count as missing.',
    ),
    Parameter(
        name='input.fields.person',
        default='person',
        description='point_cloud: name of the field with the person, if the cloud has it.',
    ),
    Parameter(
        name='input.fields.joint',
        default='joint',
        description='point_cloud: name of the field with the joint index, if the cloud has it.',
    ),
    Parameter(
        name='input.fields.confidence',
        default='confidence',
        description='point_cloud: name of the field with the confidence, if the cloud has it.',
    ),
    Parameter(
        name='min_observed_s',
        default=0.25,
        unit='s',
        minimum=0.02,
        maximum=10.0,
        description='How long somebody is observed before the first prediction.',
    ),
    Parameter(
        name='max_joint_gap_s',
        default=0.25,
        unit='s',
        minimum=0.0,
        maximum=2.0,
        description='A joint missing for longer stops the predictions of that person.',
    ),
    Parameter(
        name='stale_timeout_s',
        default=1.0,
        unit='s',
        minimum=0.05,
        maximum=60.0,
        description='A person not shown for this long is forgotten, with one empty output.',
    ),
    Parameter(
        name='max_future_s',
        default=0.5,
        unit='s',
        minimum=0.0,
        maximum=3600.0,
        description="Observations stamped further ahead of the node's clock are dropped.",
    ),
    Parameter(
        name='jump_back_s',
        default=0.5,
        unit='s',
        minimum=0.1,
        maximum=60.0,
        description='When all stamps fall back by more, histories begin anew (a looping bag).',
    ),
    Parameter(
        name='reassociate_within_m',
        default=0.5,
        unit='m',
        minimum=0.0,
        maximum=5.0,
        description='A new id this near to where another vanished is the same person; 0: never.',
    ),
    Parameter(
        name='reassociate_within_s',
        default=0.5,
        unit='s',
        minimum=0.0,
        maximum=5.0,
        description='How long ago the other may have vanished.',
    ),
    Parameter(
        name='output.step_s',
        default=0.1,
        unit='s',
        minimum=0.001,
        maximum=10.0,
        applies=ALWAYS,
        description='Time between published steps, in whole model frames (0.02 s: every one).',
    ),
    Parameter(
        name='output.future',
        default=EXPECTED,
        choices=FUTURES,
        applies=ALWAYS,
        description=(
            'The one future in ~/trajectory, ~/poses and ~/markers: the weighted mean on the '
            "person's own bones, or the most typical sample; typical where the model is alone."
        ),
    ),
    Parameter(
        name='publish.predictions',
        default=True,
        description='Publish ~/predictions.',
    ),
    Parameter(
        name='publish.markers',
        default=True,
        description='Publish ~/markers; they are built only while someone subscribes.',
    ),
    Parameter(
        name='publish.moments',
        default=True,
        description='Publish ~/moments; like those below, built only while someone subscribes.',
    ),
    Parameter(
        name='publish.trajectory',
        default=True,
        description='Publish ~/trajectory.',
    ),
    Parameter(
        name='publish.poses',
        default=True,
        description='Publish ~/poses.',
    ),
    Parameter(
        name='publish.occupancy',
        default=True,
        description='Publish ~/occupancy.',
    ),
    Parameter(
        name='moments.coverage',
        default=0.9,
        minimum=0.01,
        maximum=1.0,
        applies=ALWAYS,
        description=(
            'Share of real positions within the radius that ~/moments states, by the calibration '
            'in the weights file; of the samples where that has no level as high.'
        ),
    ),
    Parameter(
        name='moments.adapt',
        default='both',
        choices=MODES,
        applies=ALWAYS,
        description=(
            'Whether that radius follows what the people who are there really do: wider and '
            'narrower, never narrower than it was calibrated, or not at all.'
        ),
    ),
    Parameter(
        name='trajectory.horizons_s',
        default=(0.25, 0.5, 1.0, 1.5, 2.0),
        unit='s',
        minimum=0.0,
        maximum=60.0,
        applies=ALWAYS,
        description='Keyframes of ~/trajectory, 0: the last pose; each costs as many poses.',
    ),
    Parameter(
        name='poses.horizons_s',
        default=(0.0, 0.25, 0.5, 1.0),
        unit='s',
        minimum=0.0,
        maximum=60.0,
        applies=ALWAYS,
        description='Keyframes of ~/poses, 0: the last pose as it was observed.',
    ),
    Parameter(
        name='occupancy.voxel_m',
        default=0.1,
        unit='m',
        minimum=0.02,
        maximum=2.0,
        applies=ALWAYS,
        description='Edge of the voxels of ~/occupancy.',
    ),
    Parameter(
        name='occupancy.bin_s',
        default=0.5,
        unit='s',
        minimum=0.02,
        maximum=60.0,
        applies=ALWAYS,
        description='Length of the time bins of ~/occupancy.',
    ),
    Parameter(
        name='occupancy.body_radius_m',
        default=0.1,
        unit='m',
        minimum=0.0,
        maximum=1.0,
        applies=ALWAYS,
        description='How thick the body is around its joints and bones.',
    ),
    Parameter(
        name='occupancy.min_probability',
        default=0.05,
        minimum=0.0,
        maximum=1.0,
        applies=ALWAYS,
        description='Voxels that are touched less probably are left out; 0: none that is touched.',
    ),
    Parameter(
        name='occupancy.rate_hz',
        default=5.0,
        unit='Hz',
        minimum=0.1,
        maximum=1000.0,
        applies=ALWAYS,
        description='Clouds of ~/occupancy a second at most.',
    ),
    Parameter(
        name='markers.rate_hz',
        default=10.0,
        unit='Hz',
        minimum=0.1,
        maximum=1000.0,
        applies=ALWAYS,
        description='Marker updates a second at most.',
    ),
    Parameter(
        name='markers.samples',
        default=10,
        minimum=0,
        maximum=1000,
        applies=ALWAYS,
        description='Sampled futures drawn as thin lines for each person.',
    ),
    Parameter(
        name='diagnostics.period_s',
        default=1.0,
        unit='s',
        minimum=0.1,
        maximum=60.0,
        applies=AT_START,
        description='Time between messages on /diagnostics.',
    ),
)
"""The declaration table."""

BY_NAME: Mapping[str, Parameter] = {parameter.name: parameter for parameter in PARAMETERS}


@dataclass(frozen=True)
class Settings:
    """A complete, checked set of values, read by dotted name through the typed getters."""

    values: Mapping[str, Value]

    @classmethod
    def from_values(cls, values: Mapping[str, object]) -> Settings:
        """
        Check values, fill in defaults, and check what must hold between parameters.

        :param values: by parameter name; those left out take their default.
        :raises ConfigError: for an unknown name, a bad value, or values that exclude each other.
        """
        for name in values:
            if name not in BY_NAME:
                raise ConfigError(unknown_parameter_message(name))
        checked = {p.name: p.check(values.get(p.name, p.default)) for p in PARAMETERS}
        settings = cls(checked)
        settings._check_combinations()
        return settings

    def _check_combinations(self) -> None:
        topics = self.texts('input.topics')
        if len(set(topics)) != len(topics):
            raise ConfigError(f'input.topics={list(topics)}: names a topic twice')
        if self.number('output.step_s') > self.number('horizon_s'):
            raise ConfigError(
                f'output.step_s={self.number("output.step_s"):g}: must not exceed '
                f'horizon_s={self.number("horizon_s"):g}'
            )
        if self.text('input.pattern') != AUTO:
            require_pattern(self.text('input.pattern'))
        rotation = self.numbers('input.rotation')
        if len(rotation) == 4 and abs(math.hypot(*rotation) - 1.0) > 0.01:
            raise ConfigError(
                f'input.rotation={list(rotation)}: a quaternion must have length 1, '
                f'this one has {math.hypot(*rotation):g}'
            )
        turned = any(rotation[:3])
        if turned and self.text('target_frame'):
            raise ConfigError(
                f'input.rotation={list(rotation)} and target_frame='
                f'{self.text("target_frame")!r}: set one of them; TF already turns the input'
            )

    def flag(self, name: str) -> bool:
        """Get a bool."""
        return bool(self.values[name])

    def integer(self, name: str) -> int:
        """Get an integer."""
        return int(self.values[name])  # type: ignore[arg-type]

    def number(self, name: str) -> float:
        """Get a double."""
        return float(self.values[name])  # type: ignore[arg-type]

    def text(self, name: str) -> str:
        """Get a string."""
        return str(self.values[name])

    def texts(self, name: str) -> tuple[str, ...]:
        """Get an array of strings."""
        return tuple(str(item) for item in self._items(name))

    def numbers(self, name: str) -> tuple[float, ...]:
        """Get an array of doubles."""
        return tuple(float(item) for item in self._items(name))

    def _items(self, name: str) -> tuple[str, ...] | tuple[float, ...]:
        value = self.values[name]
        assert isinstance(value, tuple), name
        return value


def unknown_parameter_message(name: str) -> str:
    """Word what is wrong with a parameter that does not exist, with the closest that does."""
    close = get_close_matches(name, BY_NAME, n=1)
    hint = f'; did you mean {close[0]}?' if close else ''
    return f'{name}: there is no such parameter{hint}'


def markdown_table() -> str:
    """Render the declarations as the table of the README."""
    lines = [
        '| parameter | type | default | allowed | unit | change | meaning |',
        '|---|---|---|---|---|---|---|',
    ]
    change = {AT_START: 'read-only', AT_CONFIGURE: 'before configure', ALWAYS: 'any time'}
    for p in PARAMETERS:
        lines.append(
            f'| `{p.name}` | {p.type_name} | `{_yaml(p.default)}` | {p.allowed} | {p.unit} '
            f'| {change[p.applies]} | {p.description} |'
        )
    return '\n'.join(lines)


def _yaml(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return '[' + ', '.join(_yaml(item) for item in value) + ']'
    return f"'{value}'" if isinstance(value, str) else str(value)


def main() -> None:
    """Print the table."""
    print(markdown_table())


if __name__ == '__main__':
    main()
