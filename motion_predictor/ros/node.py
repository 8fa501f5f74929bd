"""
The ROS 2 node: parameters, topics, lifecycle, one worker thread and diagnostics.

``python -m motion_predictor.ros.node --ros-args -p autostart:=true`` runs it without a launch
file.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
import contextlib
from dataclasses import dataclass, field
import math
import os
from pathlib import Path
import signal
from statistics import median
import sys
import threading
from time import perf_counter
import traceback
from typing import Any, NamedTuple

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
import numpy as np
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
import rclpy
from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import (
    LifecycleNode,
    LifecyclePublisher,
    LifecycleState,
    TransitionCallbackReturn,
)
from rclpy.parameter import Parameter as RosParameter
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions
from rclpy.subscription import Subscription, SubscriptionEventCallbacks
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import String
from visualization_msgs.msg import MarkerArray

from motion_predictor.body.geometry import rotation_matrix
from motion_predictor.body.layout import Layout
from motion_predictor.common.background import CancelledError
from motion_predictor.common.files import brief
from motion_predictor.errors import ConfigError, MessageError, MotionPredictorError, WeightsError
from motion_predictor.model.weights import default_weights
from motion_predictor.predict.device import use_threads
from motion_predictor.predict.likely import drawn_samples, likely_futures
from motion_predictor.predict.live import LivePrediction, LivePredictor
from motion_predictor.predict.predictor import Predictor
from motion_predictor.ros import messages
from motion_predictor.ros.budget import require_budget
from motion_predictor.ros.diagnostics.monitoring import Counts, EventRate, LatencyLog, SequenceGaps
from motion_predictor.ros.intake.inputs import Input, make_input, profile_of, published_elsewhere
from motion_predictor.ros.intake.transforms import find_transforms, FrameTransforms, TreeTransforms
from motion_predictor.ros.memory.remembering import make_place, Remembering, remembering_of
from motion_predictor.ros.memory.services import MemoryServices
from motion_predictor.ros.messages import MarkerPerson
from motion_predictor.ros.parameters import (
    AT_CONFIGURE,
    BY_NAME,
    Parameter,
    PARAMETERS,
    Settings,
    unknown_parameter_message,
)
from motion_predictor.ros.publish.outputs import Outlook, SUMMARIES, SummaryPublishers
from motion_predictor.ros.publish.qos import (
    assert_alive,
    every_policy,
    latched_profile,
    output_profile,
)
from motion_predictor.ros.publish.seen import PeoplePublisher, PeopleReport, places
from motion_predictor.signals import when_asked_to_end
from motion_predictor.sources.decoding import Decoded
from motion_predictor.sources.observation import DecodedPerson, message_header, Observation
from motion_predictor.sources.tf.frame_motion import FrameMotion
from motion_predictor.sources.tf.queue import Held, Place, Ready, TransformQueue
from motion_predictor.sources.tf.tree import Pose
from motion_predictor.track.checks.body_checks import BodyChecks
from motion_predictor.track.checks.stamp_checks import SameStamps, stamp_complaints
from motion_predictor.track.limits import HistoryLimits, PeopleLimits
from motion_predictor.track.messages import ObserveOutcome
from motion_predictor.track.snapshot import Snapshot, unpredicted_of
from motion_predictor.track.states import Excluded, Refusal, short

NODE_NAME = 'motion_predictor'
INBOX_SIZE = 512
"""Messages that wait for the worker: over a second of the fastest input."""
BACKLOG_S = 1.0
"""What waited for longer than this, while newer messages came, is dropped unread."""
MAX_TAKEN = 50
"""Messages of a topic that are read before a prediction; of more, as many, evenly spaced."""
CATCHES_UP = 0.8
"""A worker that predicting every frame of the input keeps busier than this cannot catch up."""
RECENT_S = 1.0
"""The input's rate during this time tells whether the worker can catch up."""
HELD_PERIOD_S = 0.01
"""How often the worker looks for those who have waited for their transform long enough."""
EXPLAIN_PERIOD_S = 1.0
MAX_LOGGED = 4_000
"""Characters of a line of the log."""
MAX_MESSAGE_BYTES = 8 * 2**20
"""A message of 100 000 points has less; more is no tracker's, and is not even read."""
MAX_INBOX_BYTES = 64 * 2**20
MAX_GONE = 32
"""People who have gone whose numbers are kept for them."""
MAX_DRAWN = 2_000
"""Sampled futures that are drawn, of all people together."""
PATIENCE_S = 10.0
"""How long a transition waits for a prediction under way; its result is dropped then."""
HASTE_S = 0.4
"""How long a process that was asked to end waits for it."""
IDLE_PERIOD_S = 0.05
"""How often the worker looks for people who have gone while nothing arrives."""
SIGNAL_PERIOD_S = 0.1
"""How often a process that waits for messages looks whether it was asked to end."""
DELIVERY_S = 0.5
"""How long a node that ends waits for subscribers to have its last messages."""
WARN_PERIOD_S = 5.0
UNCONFIGURED_S = 5.0
"""A node that nobody has configured for so long says what would do; launch files take less."""
SLOW_INPUT_HZ = 10.0
FLOAT32_REACH_M = 10_000.0
"""Farther from the origin float32, which clouds are made of, is off by a millimetre and more."""
TELL_PERIOD_S = 10.0
"""~/model says anew what the futures are made of, at least so often."""
STAGES = ('input', 'queue', 'history', 'model', 'message', 'publish', 'total')
FOREIGN_PARAMETERS = ('qos_overrides.', 'use_sim_time', 'start_type_description_service')


class Arrival(NamedTuple):
    """A message as the callback stored it, with the node's clock and a stopwatch reading."""

    topic: str
    message: Any
    received_ns: int
    received_s: float


class PersonNumbers:
    """
    The numbers of people in ~/predictions; a tracker's own number is kept where it is free.

    Whoever comes back has the number of before, and it is nobody else's in between.
    """

    def __init__(self) -> None:
        """Start with nobody."""
        self._numbers: dict[str, int] = {}
        self._gone: dict[str, int] = {}

    @property
    def table(self) -> dict[str, int]:
        """Give the number by the person's name, of everyone now here."""
        return dict(self._numbers)

    def update(self, present: list[str], renamed: Mapping[str, str] | None = None) -> bool:
        """
        Set aside the numbers of those who have gone and number who is new.

        :param present: names of everyone now here.
        :param renamed: new name to the former one, whose number goes on.
        :returns: whether the table changed.
        """
        for new, former in (renamed or {}).items():
            if former in self._numbers:
                self._numbers[new] = self._numbers.pop(former)
        kept = {name: n for name, n in self._numbers.items() if name in present}
        self._gone = {name: n for name, n in self._gone.items() if name not in kept}
        self._gone |= {name: n for name, n in self._numbers.items() if name not in kept}
        for name in list(self._gone)[:-MAX_GONE]:
            del self._gone[name]
        for name in present:
            if name not in kept:
                number = self._gone.pop(name, -1)
                taken = {*kept.values(), *self._gone.values()}
                free = number >= 0 and number not in taken
                kept[name] = number if free else self._free_number(name, taken)
        changed = kept != self._numbers
        self._numbers = kept
        return changed

    @staticmethod
    def _free_number(name: str, taken: set[int]) -> int:
        tail = name.rpartition('/')[2]
        if tail.isascii() and tail.isdigit() and int(tail) < 2**32 and int(tail) not in taken:
            return int(tail)
        return next(n for n in range(len(taken) + 1) if n not in taken)


def ros_descriptor(parameter: Parameter) -> ParameterDescriptor:
    """Describe one parameter to ROS: text, range and read-only mark."""
    parts = [parameter.description]
    if parameter.unit:
        parts.append(f'Unit: {parameter.unit}.')
    if parameter.applies == AT_CONFIGURE:
        parts.append('Set it before configure.')
    descriptor = ParameterDescriptor(
        name=parameter.name,
        description=' '.join(parts),
        additional_constraints=parameter.allowed,
        read_only=parameter.read_only,
    )
    low, high = parameter.minimum, parameter.maximum
    if low is not None and high is not None:
        if isinstance(parameter.default, int):
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
        else:
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    return descriptor


def make_online(predictor: Predictor, source: Layout, settings: Settings) -> LivePredictor:
    """Make the people's histories with the limits that the parameters give."""
    limits = PeopleLimits(
        history=HistoryLimits(
            max_joint_gap_s=settings.number('max_joint_gap_s'),
            min_observed_s=settings.number('min_observed_s'),
        ),
        min_confidence=settings.number('input.min_confidence'),
        **{
            name: settings.number(name)
            for name in (
                'stale_timeout_s', 'max_future_s', 'jump_back_s', 'reassociate_within_m',
                'reassociate_within_s',
            )
        },
    )  # fmt: skip
    point = np.array(settings.numbers('reference_point_m'))
    turn = input_turn(settings)
    x, y, z = (point if turn is None else turn @ point).tolist()
    return LivePredictor(
        predictor,
        limits,
        layout=source,
        max_persons=settings.integer('max_persons'),
        samples=settings.integer('samples'),
        seed=settings.integer('seed'),
        reference_point_m=(x, y, z),
        coverage=settings.number('moments.coverage'),
        adapt=settings.text('moments.adapt'),
        place=make_place(predictor, settings),
    )


def input_turn(settings: Settings) -> np.ndarray | None:
    """Make the matrix (3, 3) that turns the input level; None where it is level."""
    rotation = settings.numbers('input.rotation')
    return rotation_matrix(rotation) if any(rotation[:3]) else None


def output_frames(settings: Settings, rate_hz: float, future_frames: int) -> np.ndarray:
    """
    Choose which frames of a future are published.

    :returns: indices, at least one; every ``output.step_s`` up to ``horizon_s``.
    """
    stride = max(1, round(settings.number('output.step_s') * rate_hz))
    last = min(future_frames, int(settings.number('horizon_s') * rate_hz + 1e-6))
    frames = np.arange(stride, last + 1, stride) - 1
    return frames if len(frames) else np.array([max(last, 1) - 1])


@dataclass
class Session:
    """Everything that configure makes: the model, the adapters and the people's state."""

    predictor: Predictor
    online: LivePredictor
    input: Input
    scale: float
    turn: np.ndarray | None  # (3, 3), input to level; None where the input is level
    transforms: FrameTransforms | TreeTransforms | None
    markers: messages.MarkerEncoder
    cloud: messages.CloudEncoder
    numbers: PersonNumbers
    checks: BodyChecks
    frame_motion: FrameMotion
    summaries: SummaryPublishers
    fresh: bool = False  # something arrived since the last prediction
    waiting_frames: int = 0  # messages with people since the last prediction
    used: tuple[Any, ...] = ()  # people and stamps that the last prediction used
    lag_ns: int | None = None  # from the stamp of what was stored last to its arrival
    last_stamp_ns: int = 0
    last_frame_id: str = ''
    shows_people: bool = False  # the last cloud held somebody
    due_s: float = 0.0  # when rate_limit_hz allows the next prediction
    cycles_s: deque[float] = field(default_factory=lambda: deque(maxlen=9))
    """What the latest predictions took, with all that belongs to them."""
    behind_since_s: float | None = None  # since when a backlog is predicted frame by frame
    held: TransformQueue = field(default_factory=lambda: TransformQueue(0.5))
    """Messages that wait for a transform."""
    no_transform: str = ''  # why the latest of them got none
    explained_s: float = -math.inf
    markers_due_s: float = 0.0
    lost_device: str = ''  # what became of the device that the model was loaded to
    empty_ns: int = 0  # stamp of the tracker's latest word that nobody is there, told in ~/poses
    report: PeopleReport = field(default_factory=PeopleReport)
    people: PeoplePublisher | None = None
    tracks: Mapping[str, int] = field(default_factory=dict)
    """Of whom the latest prediction was: the number of each person's history by their name."""
    remembering: Remembering | None = None
    same_stamps: SameStamps = field(default_factory=SameStamps)
    leading: Mapping[str, str] = field(default_factory=dict)
    """What ~/model said last of each person's future, and below when that was."""
    told_s: float = 0.0

    def source_of(self, topic: str) -> str:
        """Name what a topic's stamps and words are of: frames of TF and their list are one."""
        return self.input.topics if self.input.in_target_frame else topic

    def words(self, person: str) -> str:
        """Say what the prediction of a person is mostly taken from; '' where nothing is."""
        if self.remembering is None or person not in self.tracks:
            return ''
        return self.remembering.place.words(self.tracks[person])

    def name_of(self, topic: str, person: DecodedPerson | Observation) -> str:
        """Name a person, by the topic too where several topics show people."""
        several = len(self.input.subscriptions) > 1 and not self.input.in_target_frame
        return f'{topic}/{person.person}' if several else person.person


class MotionPredictorNode(LifecycleNode):
    """
    Managed node that publishes sampled futures of everyone it observes.

    Callbacks only store; one worker thread, alive while the node is active, runs the model.
    """

    def __init__(self, node_name: str = NODE_NAME, **node_arguments: Any) -> None:
        """
        Declare the parameters; nothing is loaded before configure.

        :param node_name: name of the node.
        :param node_arguments: passed on to :class:`rclpy.lifecycle.LifecycleNode`.
        :raises ConfigError: if a parameter was given a value that cannot work.
        """
        # Before anything can fail: a node that is refused is destroyed too.
        self._session: Session | None = None
        self._worker: threading.Thread | None = None
        self._stopping = threading.Event()
        self._called_off = threading.local()  # of a worker's thread: its own _stopping
        self._patience_s = PATIENCE_S
        self.left_behind = False
        """A prediction under way was not waited for: its thread goes on, and publishes nothing."""
        self._wake = threading.Event()
        super().__init__(node_name, **node_arguments)
        self.startup_failed = False
        self.asked_to_end = threading.Event()
        """Set when the process is to end: a configuration under way is called off."""
        self._settings = self._declare_parameters()
        self._reset_wanted = threading.Event()
        self._inbox: deque[Arrival] = deque()
        self._inputs: list[Any] = []
        self._outputs: dict[str, LifecyclePublisher] = {}
        self._counts = Counts(
            'messages', 'messages_lost', 'messages_overflowed', 'messages_overdue',
            'messages_unread',
            'messages_empty', 'messages_malformed', 'messages_without_transform',
            'persons_refused',
            'messages_without_stamp', 'messages_same_stamp', 'messages_without_frame',
            'messages_without_news',
            'joints_not_finite',
            'joints_at_origin', 'joints_beyond_float32',
            'frames_refused', 'frames_stored', 'frames_answered',
            'frames_skipped', 'frames_unpredicted', 'predictions', 'deadline_misses',
            'worker_errors', 'resets_clock_jump', 'device_losses', 'outputs_not_finite',
        )  # fmt: skip
        self._latencies = LatencyLog((*STAGES, *SUMMARIES))
        self._gaps = SequenceGaps()
        self._input_rate, self._output_rate = EventRate(), EventRate()
        self._recent_rate = EventRate(RECENT_S)
        self._last_received_s = 0.0
        self._last_warnings: dict[str, float] = {}
        self._reported: dict[str, int] = {}
        self._waits_since_s = perf_counter()  # for the first configure; never after it
        self._told_to_configure = False
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        steady = rclpy.clock.Clock(clock_type=rclpy.clock.ClockType.STEADY_TIME)
        period_s = self._settings.number('diagnostics.period_s')
        self._diagnostics_timer = self.create_timer(
            period_s, self._publish_diagnostics, clock=steady
        )
        self._jump_handle = self.get_clock().create_jump_callback(
            JumpThreshold(
                min_forward=None,
                min_backward=Duration(seconds=-0.5),
                on_clock_change=True,
            ),
            post_callback=self._on_clock_jump,
        )
        self._memory_services = MemoryServices(self, self._remembering, lambda: self._settings)
        self._autostart_timer = None
        if self._settings.flag('autostart'):
            self._autostart_timer = self.create_timer(0.0, self._autostart, clock=steady)

    # Parameters --------------------------------------------------------------------------------

    def _declare_parameters(self) -> Settings:
        for name in getattr(self, '_parameter_overrides', {}):
            if name not in BY_NAME and not name.startswith(FOREIGN_PARAMETERS):
                self.get_logger().warning(unknown_parameter_message(name) + '; it is ignored')
        for parameter in PARAMETERS:
            default: Any = parameter.default
            if isinstance(default, tuple):
                default = list(default)
            try:
                self.declare_parameter(parameter.name, default, ros_descriptor(parameter))
            except InvalidParameterTypeException as error:
                hint = f', for instance {default!r}'
                raise ConfigError(
                    f'{parameter.name}: expected {parameter.type_name}{hint} ({brief(error)})'
                ) from None
            except InvalidParameterValueException as error:
                raise ConfigError(
                    f'{parameter.name}: must be {parameter.allowed} ({brief(error)})'
                ) from None
            if self.get_parameter_or(parameter.name).type_ == RosParameter.Type.NOT_SET:
                raise ConfigError(
                    f'{parameter.name}: has no value (null) in the parameter file; expected '
                    f'{parameter.type_name}, for instance {default!r}'
                )
        settings = Settings.from_values(self._parameter_values())
        self.add_on_set_parameters_callback(self._check_parameters)
        if hasattr(self, 'add_post_set_parameters_callback'):
            self.add_post_set_parameters_callback(self._take_parameters)
        return settings

    def _parameter_values(self) -> dict[str, Any]:
        return {p.name: self.get_parameter(p.name).value for p in PARAMETERS}

    def _check_parameters(self, changes: list[RosParameter]) -> SetParametersResult:
        values = self._parameter_values()
        for change in changes:
            if change.name not in BY_NAME:
                continue
            parameter = BY_NAME[change.name]
            if parameter.applies == AT_CONFIGURE and self._session is not None:
                return SetParametersResult(
                    successful=False,
                    reason=f'{change.name}: is read at configure; clean the node up before',
                )
            values[change.name] = change.value
        try:
            settings = Settings.from_values(values)
            if self._session is not None:
                _require_budget(settings, self._session.predictor)
                require_horizon(settings, self._session.predictor)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if not hasattr(self, 'add_post_set_parameters_callback'):  # Humble
            self._settings = settings
        return SetParametersResult(successful=True)

    def _take_parameters(self, changes: list[RosParameter]) -> None:
        self._settings = Settings.from_values(self._parameter_values())

    # Lifecycle ---------------------------------------------------------------------------------

    def _autostart(self) -> None:
        assert self._autostart_timer is not None
        self.destroy_timer(self._autostart_timer)
        self._autostart_timer = None
        done = self.trigger_configure()
        if self.asked_to_end.is_set():
            return
        if done == TransitionCallbackReturn.SUCCESS:
            done = self.trigger_activate()
        self.startup_failed = done != TransitionCallbackReturn.SUCCESS

    def _guarded(self, what: str, action: Callable[[], None]) -> TransitionCallbackReturn:
        # rclpy swallows what a transition callback raises, so it is caught and logged here.
        try:
            action()
        except CancelledError:
            self.get_logger().info(f'{what} called off: the process was asked to end')
            return TransitionCallbackReturn.FAILURE
        except MotionPredictorError as error:
            self.get_logger().error(f'{what} failed: {error}')
            return TransitionCallbackReturn.FAILURE
        except Exception:
            if self.context.ok():  # else it was shut down meanwhile, and nothing can be done
                self.get_logger().error(f'{what} failed:\n{traceback.format_exc()}')
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the weights, warm the model up, create the outputs."""
        done = self._guarded('configure', self._configure)
        if done != TransitionCallbackReturn.SUCCESS:
            self._guarded('clean-up after a failed configure', self._discard)
            return done
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the input and start the worker."""
        done = super().on_activate(state)
        if done == TransitionCallbackReturn.SUCCESS:
            done = self._guarded('activate', self._activate)
        if done != TransitionCallbackReturn.SUCCESS:
            self._guarded('stop after a failed activate', self._deactivate)
            super().on_deactivate(state)
        return done

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop observing; the futures shown last are taken back."""
        done = self._guarded('deactivate', self._deactivate)
        super().on_deactivate(state)
        return done

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of the model and the outputs."""
        done = self._guarded('clean-up', self._discard)
        super().on_cleanup(state)
        return done

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop from any state."""
        done = self._guarded('shutdown', self._stop_everything)
        super().on_shutdown(state)
        return done

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to unconfigured."""
        return self._guarded('error processing', self._stop_everything)

    def stop(self) -> None:
        """Take back what was published last and stop at once, whatever the state."""
        self._patience_s = HASTE_S
        self._guarded('stop', self._stop_everything)

    def destroy_node(self) -> None:
        """Stop the worker, then take the node away."""
        self._stopping.set()
        self._stop_worker()
        self._save_memory()
        super().destroy_node()

    def _require_running(self) -> None:
        if self.asked_to_end.is_set():
            raise CancelledError

    def _configure(self) -> None:
        settings = self._settings
        threads = use_threads(settings.integer('model.threads'))
        started = perf_counter()
        predictor, lost_device = load_predictor(settings, self._require_running)
        loaded_s = perf_counter() - started
        if lost_device:
            self._counts.add('device_losses')
            self.get_logger().error(lost_device)
        _require_budget(settings, predictor)
        require_horizon(settings, predictor)
        source = make_input(settings, predictor.skeleton)
        target_frame = '' if source.in_target_frame else settings.text('target_frame')
        self._make_outputs(settings)
        session = Session(
            predictor=predictor,
            online=make_online(predictor, source.layout, settings),
            input=source,
            scale=settings.number('input.units_scale'),
            turn=input_turn(settings),
            transforms=find_transforms(self, target_frame, self._on_transform)
            if target_frame
            else None,
            held=TransformQueue(settings.number('jump_back_s')),
            markers=messages.MarkerEncoder(predictor.skeleton),
            cloud=messages.CloudEncoder(),
            numbers=PersonNumbers(),
            checks=BodyChecks(source.layout),
            frame_motion=FrameMotion(target_frame),
            summaries=SummaryPublishers(
                self._outputs,
                lambda name, seconds: self._latencies.add({name: seconds}),
                self._on_summary_failed,
            ),
            lost_device=lost_device,
            people=PeoplePublisher(self._outputs['people']),
        )
        if source.layout.units == 'mm' and session.scale == 1.0:
            self.get_logger().warning(
                f'input.skeleton={source.layout.name} is usually sent in millimetres; '
                'set input.units_scale to 0.001 unless yours is in metres'
            )
        self._begin_to_remember(session, settings)
        self._session = session
        self.get_logger().info(
            f'{predictor.name} on {predictor.device} ({predictor.engine}, '
            f'{threads} threads), {predictor.window.observed_frames} observed + '
            f'{predictor.window.future_frames} future frames at '
            f'{predictor.window.rate_hz:g} Hz, loaded and warmed up in '
            f'{loaded_s:.2f} s; {source.layout.name} from {source.topics}'
        )
        if not predictor.weights.digest and predictor.golden is None:
            self.get_logger().warning(
                f'{predictor.name}: carries neither digest nor golden pair: damage to it would '
                'not be noticed; export it again'
            )

    def _begin_to_remember(self, session: Session, settings: Settings) -> None:
        def failed(text: str) -> None:
            self._warn('memory', text)

        session.remembering = remembering_of(session.online.place, settings, failed)
        if session.remembering is None:
            return
        if not self._memory_services.available:
            self.get_logger().warning(MemoryServices.MISSING)
        try:
            found = session.remembering.read()
            if found:
                self.get_logger().info(found)
        except MotionPredictorError as error:
            self.get_logger().warning(str(error))

    def _save_memory(self) -> None:
        remembering = self._remembering()
        if remembering is not None:
            try:
                remembering.save_at_end()
            except MotionPredictorError as error:
                self.get_logger().warning(str(error))

    def _remembering(self) -> Remembering | None:
        return None if self._session is None else self._session.remembering

    def _make_outputs(self, settings: Settings) -> None:
        def output(message_type: type, name: str, profile: QoSProfile | None = None) -> None:
            try:
                self._outputs[name] = self.create_lifecycle_publisher(
                    message_type,
                    f'~/{name}',
                    profile or output_profile(name, settings),
                    qos_overriding_options=every_policy(),
                )
            except (RuntimeError, TypeError, ValueError) as error:
                raise ConfigError(f'qos_overrides of ~/{name}: {error}') from None

        output(String, 'model', latched_profile())
        output(String, 'people', latched_profile())
        if settings.flag('publish.predictions'):
            output(PointCloud2, 'predictions')
        if settings.flag('publish.markers'):
            output(MarkerArray, 'markers')
        for name, summary in SUMMARIES.items():
            if settings.flag(f'publish.{name}'):
                output(summary.message_type, name)

    def _activate(self) -> None:
        session = self._require_session()
        session.online.reset()
        session.held.clear()
        self._inbox.clear()
        self._gaps = SequenceGaps()
        self._stopping = threading.Event()
        self._publish_model(session)
        self._worker = threading.Thread(
            target=self._work,
            args=(session, self._stopping),
            name='prediction worker',
            daemon=True,
        )
        self._worker.start()
        for wanted in session.input.subscriptions:
            self._inputs.append(
                self.create_subscription(
                    wanted.message_type,
                    wanted.topic,
                    self._store(wanted.topic),
                    profile_of(wanted),
                    raw=True,  # read by the worker, in its own time
                    # two on one topic would share what is overridden
                    qos_overriding_options=None
                    if wanted.quiet
                    else QoSOverridingOptions.with_default_policies(),
                    event_callbacks=SubscriptionEventCallbacks(
                        use_default_callbacks=not wanted.quiet
                    ),
                )
            )

    def _deactivate(self) -> None:
        while self._inputs:
            self.destroy_subscription(self._inputs.pop())
        self._stopping.set()
        self._stop_worker()
        self._counts.add('messages_unread', len(self._inbox))
        self._inbox.clear()
        session = self._session
        if session is not None:
            self._counts.add('frames_skipped', session.waiting_frames)
            session.waiting_frames = 0
            self._refuse_held(session)
            session.report = PeopleReport()
            self._publish_nobody(session)
            if session.people is not None:
                session.people.publish(session.report)
            self._save_memory()

    def _discard(self) -> None:
        self._stop_worker()
        self._wait_for_delivery()
        for publisher in self._outputs.values():
            self.destroy_lifecycle_publisher(publisher)
        self._outputs.clear()
        if self._session is not None:
            if self._session.transforms is not None:
                self._session.transforms.close()
            # Those of a session that is over go on counting.
            for name, count in self._session.online.counters.items():
                self._counts.add(name, count)
            for name, count in self._session.input.source.counters.items():
                self._counts.add(name, count)
            if self._session.remembering is not None:
                self._session.remembering.close()
        self._session = None

    def _wait_for_delivery(self) -> None:
        """Let what was published last arrive: a writer that is gone sends nothing again."""
        end = perf_counter() + min(DELIVERY_S, self._patience_s)
        for publisher in self._outputs.values():
            left = max(0.0, end - perf_counter())
            try:
                publisher.wait_for_all_acked(Duration(seconds=left))
            except RuntimeError as error:  # not every middleware can tell
                self.get_logger().debug(f'{publisher.topic_name}: {error}')

    def _stop_everything(self) -> None:
        self._deactivate()
        self._discard()

    def _stop_worker(self) -> None:
        if self._worker is not None:
            self._stopping.set()
            self._wake.set()
            self._worker.join(self._patience_s)
            if self._worker.is_alive():
                self.left_behind = True
                self.get_logger().warning('a prediction under way is given up')
            self._worker = None
        if self._session is not None:
            self._session.summaries.close(0.1 * self._patience_s)

    def _require_wanted(self) -> None:
        """
        Go on only while the worker's thread is wanted.

        :raises CancelledError: if it was asked to stop.
        """
        if self._is_called_off():
            raise CancelledError

    def _is_called_off(self) -> bool:
        stopping = getattr(self._called_off, 'stopping', None)
        return stopping is not None and stopping.is_set()

    def _require_session(self) -> Session:
        if self._session is None:
            raise ConfigError('the node is not configured')
        return self._session

    # Callbacks: they only store ----------------------------------------------------------------

    def _store(self, topic: str) -> Callable[..., None]:
        def store(message: Any, lost: int = 0) -> None:
            if lost:
                self._counts.add('messages_lost', lost)
            if _size(message) > MAX_MESSAGE_BYTES:
                self._counts.add('messages')
                self._counts.add('messages_malformed')
                self._warn('size', f'{topic}: a message of {_size(message)} bytes is not read')
                return
            while self._is_full(message):  # the newest matter most
                with contextlib.suppress(IndexError):  # the worker has taken all
                    self._inbox.popleft()
                    self._counts.add('messages_overflowed')
            received_ns = self.get_clock().now().nanoseconds
            self._inbox.append(Arrival(topic, message, received_ns, perf_counter()))
            self._wake.set()

        def store_with_info(message: Any, info: Mapping[str, Any]) -> None:
            store(message, self._gaps.lost_before(info))

        # Before ROS 2 Iron callbacks are told nothing of a message's number.
        return store_with_info if hasattr(Subscription, 'CallbackType') else store

    def _is_full(self, message: Any) -> bool:
        if len(self._inbox) >= INBOX_SIZE:
            return True
        if _size(message) * INBOX_SIZE < MAX_INBOX_BYTES or not self._inbox:
            return False
        held = sum(_size(arrival.message) for arrival in list(self._inbox))
        return held + _size(message) > MAX_INBOX_BYTES

    def _on_transform(self) -> None:
        if self._session is not None and len(self._session.held):
            self._wake.set()

    def _on_clock_jump(self, jump: TimeJump) -> None:
        self._counts.add('resets_clock_jump')
        self._reset_wanted.set()
        self._wake.set()

    # Worker ------------------------------------------------------------------------------------

    def _work(self, session: Session, stopping: threading.Event) -> None:
        self._called_off.stopping = stopping
        try:
            # Torch keeps thread pools and handles by thread: those of configure are not ours.
            use_threads(self._settings.integer('model.threads'))
            session.predictor.warm_up(1, self._settings.integer('samples'))
        except Exception:  # a device that has failed is dealt with by the first prediction
            self._counts.add('worker_errors')
            self._warn('worker', 'the warm-up failed:\n' + traceback.format_exc())
        while not stopping.is_set():
            wait_s = IDLE_PERIOD_S
            if session.fresh:
                wait_s = min(wait_s, max(0.0, session.due_s - perf_counter()))
            if len(session.held):
                wait_s = min(wait_s, HELD_PERIOD_S)
            self._wake.wait(wait_s)
            self._wake.clear()
            if stopping.is_set():
                return
            try:
                assert_alive(self._outputs.values())
                self._cycle(session, self._settings)
            except Exception:
                if stopping.is_set() or not self.context.ok():
                    return
                self._counts.add('worker_errors')
                self._warn('worker', 'a prediction failed:\n' + traceback.format_exc())

    def _cycle(self, session: Session, settings: Settings) -> None:
        if self._reset_wanted.is_set():
            self._reset_wanted.clear()
            session.online.reset()
            self._refuse_held(session)
            if session.transforms is not None:
                session.transforms.restart()
        # People are absent as of now: what arrives while messages are read is not read yet.
        begun_s, begun_ns = perf_counter(), self.get_clock().now().nanoseconds
        waiting = len(self._inbox)
        count = 1 if self._can_catch_up(session, settings, waiting) else waiting
        if count < waiting:
            self._wake.set()
        oldest_s = self._take_in(session, settings, count, waiting)
        limit_hz = settings.number('rate_limit_hz')
        if session.fresh and limit_hz > 0.0:
            period_s, now_s = 1.0 / limit_hz, perf_counter()
            if now_s < session.due_s - 0.1 * period_s:
                return
            session.due_s = max(session.due_s, now_s - period_s) + period_s
        session.fresh = False
        session.online.samples = settings.integer('samples')
        session.online.seed = settings.integer('seed')
        session.online.max_persons = settings.integer('max_persons')
        session.online.coverage = settings.number('moments.coverage')
        session.online.adapt = settings.text('moments.adapt')
        if session.online.place is not None:
            session.online.place.follow(settings.text('moments.adapt'))
        snapshot = session.online.snapshot(begun_ns, expire=count == waiting)
        if snapshot is None:
            return
        stages = {'queue': begun_s - oldest_s, 'history': perf_counter() - begun_s}
        self._number_people(session, snapshot)
        if not snapshot.persons:
            self._counts.add('frames_unpredicted', session.waiting_frames)
            session.waiting_frames = 0
            self._report(session, snapshot)
            self._publish_nobody(session)
            return
        session.tracks = dict(zip(snapshot.persons, snapshot.tracks))
        if session.remembering is not None:
            session.remembering.frame_id = snapshot.frame_id
            session.remembering.known.note(session.tracks, session.numbers.table)
        seen = tuple((name, other.stamp_ns) for name, other in snapshot.others.items())
        using = (snapshot.persons, tuple(window.stamp_ns for window in snapshot.windows), seen)
        if using == session.used:
            return  # nothing new of anybody who is seen
        session.used = using
        frames, session.waiting_frames = session.waiting_frames, 0
        try:
            answered = self._predict(session, settings, snapshot, stages)
        except Exception:
            self._counts.add('frames_unpredicted', frames)
            if not self._is_called_off():
                everybody = np.ones(len(snapshot.persons), dtype=bool)
                failed = unpredicted_of(snapshot, everybody, Excluded.PREDICTION_FAILED)
                self._report(session, failed)
                self._publish_nobody(session)
            raise
        self._counts.add('frames_answered' if answered else 'frames_unpredicted', min(frames, 1))
        self._counts.add('frames_skipped', max(frames - 1, 0))
        session.cycles_s.append(perf_counter() - begun_s)

    def _can_catch_up(self, session: Session, settings: Settings, waiting: int) -> bool:
        # Whether messages that wait are few enough, and the worker fast enough, to predict from
        # each in turn, with the newest not much later for it.
        if waiting < 2:
            session.behind_since_s = None
            return False
        now_s = perf_counter()
        since_s = session.behind_since_s or now_s
        session.behind_since_s = since_s  # more may come in while the first are predicted
        if not session.cycles_s:
            return False
        cycle_s = median(session.cycles_s)  # one that was held up says nothing of the next
        if now_s - since_s + waiting * cycle_s > settings.number('catch_up_s'):
            return False
        in_pieces = any(wanted.reliable for wanted in session.input.subscriptions)
        busy = self._recent_rate.rate_hz(now_s) * cycle_s
        return busy <= CATCHES_UP and not in_pieces and not settings.number('rate_limit_hz')

    def _take_in(self, session: Session, settings: Settings, count: int, waiting: int) -> float:
        """Hand the first of those that wait to the histories; tell when the first of them came."""
        oldest_s = perf_counter()
        arrivals = self._timely_arrivals(session, count)
        for index, arrival in enumerate(arrivals):
            if self._is_called_off():
                self._counts.add('messages_unread', len(arrivals) - index)
                raise CancelledError
            oldest_s = min(oldest_s, arrival.received_s)
            self._counts.add('messages')
            try:
                arrival = _opened(session, arrival)
                decoded = session.input.decoder.decode(
                    arrival.topic, arrival.message, arrival.received_ns
                )
            except MessageError as error:
                self._last_received_s = arrival.received_s
                self._counts.add('messages_malformed')
                self._warn('malformed', f'{arrival.topic}: {error}')
                continue
            except Exception:  # of a decoder: this message is lost, those behind it are not
                self._last_received_s = arrival.received_s
                self._counts.add('messages_malformed')
                self._counts.add('worker_errors')
                self._warn('decoder', f'{arrival.topic}:\n{traceback.format_exc()}')
                continue
            if decoded is None:  # nothing about who is there, as most messages of TF
                self._counts.add('messages_without_news')
                continue
            people = decoded.people
            self._note_decoded(arrival.topic, decoded)
            self._last_received_s = arrival.received_s
            self._input_rate.note(arrival.received_s)
            self._recent_rate.note(arrival.received_s)
            for flawed in decoded.flawed:
                self._refuse(session, settings, arrival, flawed, Refusal.MALFORMED, flawed.flaw)
            if people:
                self._counts.add('messages_without_stamp', int(people[0].stamp_ns <= 0))
                names = (person.person for person in people)
                same = session.same_stamps.repeat(arrival.topic, people[0].stamp_ns, names)
                self._counts.add('messages_same_stamp', int(same))
                self._counts.add('messages_without_frame', int(not people[0].frame_id))
            else:
                self._counts.add('messages_empty')
            held = Held(arrival, arrival.topic, arrival.received_s)
            if session.transforms is None:
                self._answer(session, settings, Ready(held, None, people, None, True))
                continue
            for person in people:
                held.groups.setdefault(self._place(settings, arrival, person), []).append(person)
            if session.held.put(held):
                session.transforms.restart()
        if session.transforms is not None:
            timeout_s, now_s = settings.number('tf_timeout_s'), perf_counter()
            for ready in session.held.ready(session.transforms.lookup, now_s, timeout_s):
                oldest_s = min(oldest_s, ready.held.received_s)
                self._answer(session, settings, ready)
                if ready.held.stored and self._can_answer_each(session, settings):
                    self._wake.set()  # those behind it whose transforms came, too
                    break
        return oldest_s

    def _note_decoded(self, topic: str, decoded: Decoded) -> None:
        """Count what a message's decoder left out, and say why."""
        self._counts.add('persons_refused', len(decoded.flawed))
        if decoded.flawed:
            self._warn('refused', f'{topic}: left out: {decoded.flawed[0].flaw}')
        for what, number in decoded.counts.items():
            self._counts.add(what, number)
        if decoded.beyond:
            self._warn('beyond', f'{topic}: {decoded.beyond}')

    def _can_answer_each(self, session: Session, settings: Settings) -> bool:
        # Of messages whose transforms came together each is predicted from, if that is quick.
        waiting = len(session.held)
        if not waiting or not session.cycles_s or settings.number('rate_limit_hz'):
            return False
        return waiting * median(session.cycles_s) <= settings.number('catch_up_s')

    @staticmethod
    def _place(settings: Settings, arrival: Arrival, person: DecodedPerson | Observation) -> Place:
        return Place(
            person.frame_id or settings.text('input.frame_id'),
            person.stamp_ns if person.stamp_ns > 0 else arrival.received_ns,
        )

    def _answer(self, session: Session, settings: Settings, ready: Ready) -> None:
        """Store people of one message, or note that it shows nobody."""
        arrival, held = ready.held.arrival, ready.held
        if not ready.people:
            stamp_ns, frame_id = message_header(arrival.message)
            session.online.observe_nobody(
                stamp_ns if stamp_ns > 0 else arrival.received_ns - (session.lag_ns or 0),
                '' if session.transforms else frame_id,
                arrival.received_ns,
                session.source_of(arrival.topic),
            )
            session.fresh = True
            return
        session.checks.look_at(arrival.received_s, ready.people, session.scale)
        stored = [
            self._observe(session, settings, arrival, person, ready.found)
            for person in ready.people
        ]
        session.fresh = True  # who is refused is seen too
        if any(stored):
            session.waiting_frames += not held.stored
            held.stored = True
        if ready.last:
            self._counts.add('frames_stored' if held.stored else 'frames_refused')

    def _refuse_held(self, session: Session) -> None:
        for held in session.held.clear():
            if held.groups:
                self._counts.add('frames_stored' if held.stored else 'frames_refused')

    def _timely_arrivals(self, session: Session, count: int) -> list[Arrival]:
        # What waits, in order; when the worker has fallen behind, what it can still catch up
        # with: reading everything would take so long that nobody was ever predicted.
        arrivals: list[Arrival] = []
        for _ in range(count):
            with contextlib.suppress(IndexError):  # a callback made room in between
                arrivals.append(self._inbox.popleft())
        kept = set(range(len(arrivals)))
        for wanted in session.input.subscriptions:
            if wanted.reliable:  # pieces of a whole, as of TF: none can be left out
                continue
            waiting = [i for i, arrival in enumerate(arrivals) if arrival.topic == wanted.topic]
            if len(waiting) < 2:
                continue
            newest_s = arrivals[waiting[-1]].received_s
            timely = [i for i in waiting if newest_s - arrivals[i].received_s <= BACKLOG_S]
            if len(timely) > MAX_TAKEN:
                places = np.linspace(0, len(timely) - 1, MAX_TAKEN).round().astype(int)
                timely = [timely[place] for place in places]
            kept -= set(waiting) - set(timely)
        self._counts.add('messages_overdue', len(arrivals) - len(kept))
        return [arrivals[i] for i in sorted(kept)]

    def _observe(
        self,
        session: Session,
        settings: Settings,
        arrival: Arrival,
        person: Observation,
        found: Pose | None,
    ) -> bool:
        frame_id, stamp_ns = self._place(settings, arrival, person)
        xyz = person.xyz * session.scale
        if session.turn is not None:
            xyz = xyz @ session.turn.T
        if session.transforms is not None:
            if found is None:
                self._counts.add('messages_without_transform')
                self._explain(session, settings, arrival, Place(frame_id, stamp_ns))
                return False
            rotation, translation = found
            xyz, frame_id = xyz @ rotation.T + translation, session.transforms.target_frame
        name, source = session.name_of(arrival.topic, person), session.source_of(arrival.topic)
        seen = Observation(
            stamp_ns,
            frame_id,
            name,
            xyz,
            person.confidence,
            person.seen,
            source,
            person.identified,
        )
        try:
            outcome = session.online.observe(seen, arrival.received_ns).outcome
        except Exception:  # this person is lost, those beside them are not
            self._counts.add('worker_errors')
            self._warn('person', f'{arrival.topic}: {short(name)}:\n{traceback.format_exc()}')
            self._refuse(session, settings, arrival, person, Refusal.FAILED)
            return False
        if outcome is ObserveOutcome.FAR_FUTURE:
            self._warn(
                'far future',
                f'{arrival.topic}: stamped {(stamp_ns - arrival.received_ns) * 1e-9:.2f} s ahead '
                "of the node's clock, dropped; set max_future_s, synchronize the clocks, or set "
                'use_sim_time for a recording',
            )
        if outcome is ObserveOutcome.STORED:
            session.lag_ns = arrival.received_ns - stamp_ns
        return outcome is ObserveOutcome.STORED

    def _refuse(
        self,
        session: Session,
        settings: Settings,
        arrival: Arrival,
        person: DecodedPerson | Observation,
        refusal: Refusal,
        why: str = '',
    ) -> None:
        """Note somebody who is seen and cannot be observed."""
        frame_id, stamp_ns = self._place(settings, arrival, person)
        name, source = session.name_of(arrival.topic, person), session.source_of(arrival.topic)
        nowhere = np.full_like(person.xyz, np.nan)
        seen = Observation(
            stamp_ns, frame_id, name, nowhere, source=source, identified=person.identified
        )
        session.online.refuse(seen, refusal, arrival.received_ns, why)
        session.fresh = True

    def _explain(
        self, session: Session, settings: Settings, arrival: Arrival, place: Place
    ) -> None:
        now_s = perf_counter()
        if session.transforms is None or now_s - session.explained_s < EXPLAIN_PERIOD_S:
            return
        session.explained_s = now_s
        waited_s = settings.number('tf_timeout_s')
        missing = session.transforms.explain(*place, waited_s)
        session.no_transform = missing.text if missing else 'it came too late; set tf_timeout_s'
        self._warn('transform', f'{arrival.topic}: no transform: {session.no_transform}')

    def _number_people(self, session: Session, snapshot: Snapshot) -> None:
        present = [*snapshot.persons, *snapshot.others]
        if session.numbers.update(present, snapshot.reassociated):
            self._publish_model(session)

    def _predict(
        self, session: Session, settings: Settings, snapshot: Snapshot, stages: dict[str, float]
    ) -> bool:
        begun_s = perf_counter()
        try:
            result = session.online.run(snapshot)
        except RuntimeError as error:  # what torch raises when the device has failed
            if session.predictor.device == 'cpu':
                raise
            self._fall_back_to_cpu(session, error)
            result = session.online.run(snapshot)
        self._require_wanted()
        self._report(session, result)
        session.checks.note(
            result.persons, result.stamps_ns, result.last_poses, result.last_filled
        )
        if result.prediction is None:
            self._publish_nobody(session)
            return False
        modelled_s = perf_counter()
        rate_hz = session.predictor.window.rate_hz
        frames = output_frames(settings, rate_hz, session.predictor.window.future_frames)
        futures = result.prediction.futures[:, :, frames]  # (P, S, T, J, 3)
        if session.turn is not None:
            futures = futures @ session.turn.astype(futures.dtype)
        numbers = [session.numbers.table[name] for name in result.persons]
        message = None
        if 'predictions' in self._outputs:
            message = session.cloud.encode(
                result.stamp_ns,
                result.frame_id,
                numbers,
                futures,
                result.prediction.weights_at(frames),
                result.prediction.times_s[frames],
                result.prediction.candidate,
                ~result.last_filled,
            )
        encoded_s = perf_counter()
        far = np.abs(result.last_poses).max() > FLOAT32_REACH_M
        self._counts.add('predictions_far_from_origin', int(far))
        self._require_wanted()
        if message is not None:
            self._outputs['predictions'].publish(message)
        published_s = perf_counter()
        arrival_ns = result.stamp_ns if snapshot.arrival_ns is None else snapshot.arrival_ns
        total_s = (self.get_clock().now().nanoseconds - arrival_ns) * 1e-9
        session.shows_people = True
        session.last_stamp_ns, session.last_frame_id = result.stamp_ns, result.frame_id
        self._counts.add('predictions')
        self._output_rate.note(published_s)
        if total_s > settings.number('deadline_s'):
            self._counts.add('deadline_misses')
        self._latencies.add(
            {
                **stages,
                'input': (arrival_ns - result.stamp_ns) * 1e-9,
                'model': modelled_s - begun_s,
                'message': encoded_s - modelled_s,
                'publish': published_s - encoded_s,
                'total': total_s,
            }
        )
        self._publish_summaries(session, settings, result, numbers, frames)
        self._publish_markers(session, settings, result, numbers, frames, futures)
        return True

    def _publish_summaries(
        self,
        session: Session,
        settings: Settings,
        result: LivePrediction,
        numbers: list[int],
        frames: np.ndarray,
    ) -> None:
        wanted = session.summaries.wanted(settings, perf_counter())
        if not wanted:
            return
        skeleton = session.predictor.skeleton
        outlook = Outlook.of(result, numbers, frames, skeleton, session.turn)
        for name in wanted:
            self._require_wanted()
            try:
                session.summaries.publish(name, outlook, settings)
            except MessageError as error:  # NaN: what listens gets nothing rather than that
                self._on_summary_failed(name, error)

    def _on_summary_failed(self, name: str, error: Exception) -> None:
        if not self.context.ok():
            return  # it was shut down while this was built
        about: dict[type[Exception], str] = {
            MessageError: 'outputs_not_finite',
            ConfigError: 'summaries_refused',
        }
        known = about.get(type(error))
        self._counts.add(known or 'worker_errors')
        self._warn(name, str(error) if known else ''.join(traceback.format_exception(error)))

    def _fall_back_to_cpu(self, session: Session, error: RuntimeError) -> None:
        # After a failure of the device every later call on it may fail: nothing is copied off it.
        lost = session.predictor.device
        self._counts.add('device_losses')
        reason = str(error).strip().partition('\n')[0]
        session.lost_device = f'{lost} was lost ({reason}): predicting on the CPU'
        self.get_logger().error(f'{session.lost_device}; clean up and configure to try {lost}')
        session.predictor = session.predictor.on_cpu()
        session.online.predictor = session.predictor
        session.predictor.warm_up(1, self._settings.integer('samples'))
        self._publish_model(session)

    def _publish_markers(
        self,
        session: Session,
        settings: Settings,
        result: LivePrediction,
        numbers: list[int],
        frames: np.ndarray,
        futures: np.ndarray,
    ) -> None:
        publisher = self._outputs.get('markers')
        now_s = perf_counter()
        gone = session.markers.shown - set(numbers)
        if publisher is None or not (gone or now_s >= session.markers_due_s):
            return
        if not (gone or publisher.get_subscription_count()):
            return
        period_s = 1.0 / settings.number('markers.rate_hz')
        session.markers_due_s = max(session.markers_due_s, now_s - period_s) + period_s
        assert result.prediction is not None
        poses, prediction = result.last_poses, result.prediction
        likely = likely_futures(prediction, settings.text('output.future'))[:, frames]
        if session.turn is not None:
            poses, likely = poses @ session.turn, likely @ session.turn
        drawn = min(settings.integer('markers.samples'), MAX_DRAWN // max(1, len(numbers)))
        chosen = drawn_samples(prediction, drawn)
        people = [
            MarkerPerson(
                number,
                poses[index],
                likely[index],
                futures[index, chosen[index]],
                session.words(result.persons[index]),
            )
            for index, number in enumerate(numbers)
        ]
        publisher.publish(session.markers.encode(result.stamp_ns, result.frame_id, people))

    def _report(self, session: Session, found: Snapshot | LivePrediction) -> None:
        """Say who is predicted, who is only seen, and who is lost."""
        nobody = isinstance(found, Snapshot) and found.nobody and not found.persons
        session.report = PeopleReport(
            found.stamp_ns,
            found.frame_id,
            found.persons,
            found.others,
            session.numbers.table,
            nobody,
        )
        if session.people is not None:
            session.people.publish(session.report)

    def _publish_nobody(self, session: Session) -> None:
        """
        Take back what was published last: one empty cloud, every marker deleted.

        ~/poses shows who is seen all the same, and is empty on the tracker's own word alone.
        """
        stamp_ns, frame_id = session.last_stamp_ns, session.last_frame_id
        report, others = session.report, places(session.report.others, session.turn)
        if report.stamp_ns >= stamp_ns and (report.nobody or others):
            stamp_ns, frame_id = report.stamp_ns, report.frame_id
        session.summaries.publish_nobody(
            stamp_ns,
            frame_id,
            asked=report.nobody and stamp_ns not in (0, session.empty_ns),
            others=others,
            horizons=len(self._settings.numbers('poses.horizons_s')),
        )
        session.empty_ns = stamp_ns if report.nobody else 0
        session.used = ()
        if session.shows_people and 'predictions' in self._outputs:
            self._outputs['predictions'].publish(session.cloud.nobody(stamp_ns, frame_id))
        session.shows_people = False
        if session.markers.shown and 'markers' in self._outputs:
            self._outputs['markers'].publish(session.markers.encode(stamp_ns, frame_id, []))

    def _publish_model(self, session: Session) -> None:
        predictor = session.predictor
        window = predictor.window
        facts = {
            'model': predictor.name,
            'device': predictor.device,
            'engine': predictor.engine,
            'rate_hz': window.rate_hz,
            'observed_frames': window.observed_frames,
            'future_frames': window.future_frames,
            'horizon_s': window.horizon_s,
        }
        table = session.numbers.table
        if session.remembering is not None:
            facts |= session.remembering.facts(session.tracks, table)
        content = messages.encode_model(predictor.skeleton, predictor.card, table, facts)
        self._outputs['model'].publish(content)

    def _tell_leading(self, session: Session, active: bool, now_s: float) -> None:
        """Publish ~/model anew, at once where a future is mostly taken from elsewhere now."""
        assert session.remembering is not None
        leading = session.remembering.leading(session.tracks)
        due = leading and now_s - session.told_s >= TELL_PERIOD_S
        if active and (due or leading != session.leading):
            session.leading, session.told_s = leading, now_s
            self._publish_model(session)

    def _warn(self, about: str, text: str) -> None:
        """Log a warning, each kind at most every few seconds."""
        now_s = perf_counter()
        if now_s - self._last_warnings.get(about, -WARN_PERIOD_S) >= WARN_PERIOD_S:
            self._last_warnings[about] = now_s
            self.get_logger().warning(text[:MAX_LOGGED])

    # Diagnostics -------------------------------------------------------------------------------

    def _publish_diagnostics(self) -> None:
        name = self.get_fully_qualified_name().lstrip('/')  # nodes of two cells are two names
        status = DiagnosticStatus(name=f'{name}: prediction', level=DiagnosticStatus.OK)
        session, now_s = self._session, perf_counter()
        counts = Counter(self._counts.snapshot())
        if session is not None:
            counts.update(session.online.counters_so_far)  # adds
            counts.update(dict(session.input.source.counters))
        new = {name: count - self._reported.get(name, 0) for name, count in counts.items()}
        self._reported = dict(counts)
        active = self._worker is not None
        state = 'active' if active else 'inactive' if session is not None else 'unconfigured'
        input_hz, output_hz = self._input_rate.rate_hz(now_s), self._output_rate.rate_hz(now_s)
        values: dict[str, Any] = {
            'state': state,
            'input rate (Hz)': f'{input_hz:.2f}',
            'output rate (Hz)': f'{output_hz:.2f}',
            'input age (s)': f'{now_s - self._last_received_s:.3f}'
            if self._last_received_s
            else 'never',
        }
        rates: dict[str, float] = {}
        strangers: list[str] = []
        if session is not None:
            rates = session.online.source_rates_hz
            values.update(
                {
                    'model': session.predictor.name,
                    'device': session.predictor.device,
                    'engine': session.predictor.engine,
                    'persons': ', '.join(session.numbers.table) or 'nobody',
                    **session.report.values,
                    'radius scale': f'{session.online.radius_scale:.3f}',
                    'radius held': f'{session.online.radius_held:.3f}',
                }
            )
            for source, jitter_s in session.online.stamp_jitters_s.items():
                values[f'stamp jitter {source} (ms)'] = f'{1e3 * jitter_s:.2f}'
            for person, tall_m in session.checks.heights_m.items():
                values[f'body height {person} (m)'] = f'{tall_m:.2f}'
            if session.remembering is not None:
                session.remembering.save_if_due(now_s)
                values.update(session.remembering.values(session.tracks))
                self._tell_leading(session, active, now_s)
            threshold = session.predictor.surprise_threshold
            for person, surprise in session.online.surprises.items():
                values[f'surprise {person} (nats)'] = f'{surprise:.2f}'
                if threshold is not None and surprise > threshold:
                    strangers.append(person)
        for stage, (p50, p99) in self._latencies.percentiles_s(50, 99).items():
            values[f'latency {stage} p50 (ms)'] = f'{1e3 * p50:.2f}'
            values[f'latency {stage} p99 (ms)'] = f'{1e3 * p99:.2f}'
        values.update(counts)
        complaints = self._complaints(active, new, rates, now_s)
        if strangers:
            complaints.append(f'motion unlike the training data: {", ".join(strangers)}')
        if session is not None and session.lost_device:
            complaints.insert(0, session.lost_device)
        complaints += self._namesakes() + self._unconfigured(session, now_s)
        if session is not None and session.remembering:
            complaints += session.remembering.complaints
        if active and session is not None:
            complaints += self._unseen(session.report, input_hz, output_hz)
        status.level = DiagnosticStatus.WARN if complaints else DiagnosticStatus.OK
        status.message = '; '.join(complaints) or (state if not active else 'predicting')
        status.hardware_id = session.predictor.device if session is not None else ''
        status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _unconfigured(self, session: Session | None, now_s: float) -> list[str]:
        """Complain of a node that nobody has configured since it was started; log it once."""
        if session is not None:
            self._waits_since_s = math.inf
        if now_s - self._waits_since_s < UNCONFIGURED_S:
            return []
        name = self.get_fully_qualified_name()
        complaint = (
            f'unconfigured for {UNCONFIGURED_S:g} s and more: `ros2 lifecycle set {name} '
            f'configure`, then `activate`; or start it with -p autostart:=true'
        )
        if not self._told_to_configure:
            self._told_to_configure = True
            self.get_logger().warning(complaint)
        return [complaint]

    def _namesakes(self) -> list[str]:
        """Complain of other nodes with this one's name: their outputs mix, and parameters too."""
        own = (self.get_name(), self.get_namespace())
        count = self.get_node_names_and_namespaces().count(own)
        if count < 2:
            return []
        complaint = (
            f'{count} nodes are called {self.get_fully_qualified_name()}: give each its own name '
            'or namespace (-r __ns:=/cell_2)'
        )
        self._warn('name', complaint)
        return [complaint]

    @staticmethod
    def _unseen(report: PeopleReport, input_hz: float, output_hz: float) -> list[str]:
        complaint = report.complaint
        if not complaint and input_hz > 0.0 and output_hz <= 0.0 and not report.nobody:
            complaint = f'input at {input_hz:.1f} Hz, and nobody is predicted'
        return [complaint] if complaint else []

    def _about_shared_ids(self, session: Session) -> list[str]:
        shared = session.online.shared_ids
        if not shared:
            return []
        publishers = [
            f'{found.node_namespace.rstrip("/")}/{found.node_name} on {wanted.topic}'
            for wanted in session.input.subscriptions
            for found in self.get_publishers_info_by_topic(wanted.topic)
        ]
        return [
            f'two bodies at once have the id {", ".join(map(short, shared[:4]))} (from '
            f'{", ".join(publishers[:6]) or "nobody"}): give each tracker a topic of its own'
        ]

    def _about_target_frame(self, session: Session, now_s: float) -> list[str]:
        if session.transforms is None:
            return []
        found = session.transforms.target_in_root(self.get_clock().now().nanoseconds)
        if found is not None:
            session.frame_motion.note(now_s, *found)
        complaint = session.frame_motion.complaint
        return [complaint] if complaint else []

    def _about_stamps(self, new: Mapping[str, int]) -> list[str]:
        lag_ns = self._session.lag_ns if self._session is not None else None
        return stamp_complaints(
            None if lag_ns is None else lag_ns * 1e-9,
            new,
            sim_time=bool(self.get_parameter('use_sim_time').value),
            clock_ns=self.get_clock().now().nanoseconds,
        )

    def _complaints(
        self, active: bool, new: Mapping[str, int], rates: Mapping[str, float], now_s: float
    ) -> list[str]:
        if not active:
            return []
        complaints: list[str] = []
        frames = self._session.input.complaints() if self._session is not None else []
        if now_s - self._last_received_s > max(1.0, self._settings.number('stale_timeout_s')):
            session = self._session
            names = dict.fromkeys(subscription.topic_name for subscription in self._inputs)
            if names:  # as remapping and namespace made them
                heard = ', '.join(names)
            else:
                heard = session.input.topics if session else 'any topic'
            silent = f'no input on {heard}{published_elsewhere(self, self._inputs)}'
            complaints += frames or [silent]
        else:
            complaints += frames
        slow = [f'{name} {rate:.1f} Hz' for name, rate in rates.items() if rate < SLOW_INPUT_HZ]
        if slow:
            complaints.append(f'input slower than {SLOW_INPUT_HZ:g} Hz: {", ".join(slow)}')
        watched = {
            'messages_malformed': 'malformed messages',
            'predictions_not_finite': 'predictions of NaN (check the weights and the device)',
            'outputs_not_finite': 'outputs of NaN held back (check the weights and the device)',
            'persons_refused': 'people who do not fit, beside others who do (see the log)',
            'joints_beyond_float32': 'joints too far for float32 (see the log)',
            'messages_lost': 'messages lost before the node (transport, or a full queue)',
            'messages_overflowed': 'messages lost to a full inbox',
            'messages_overdue': 'messages dropped unread: too slow for this input',
            'messages_without_transform': 'people without a transform',
            'observations_far_future': "observations ahead of the node's clock",
            'resets_frame_change': 'changes of frame_id (set target_frame)',
            'observations_other_frame': "people in another topic's frame (set target_frame)",
            'left_out_source_behind': "people whose topic's clock is behind another's",
            'poses_frozen': 'poses the same to the bit as the last (does the tracker still run?)',
            'observations_crowded_out': 'sightings of people farther off than all who are kept',
            'predictions_far_from_origin': 'predictions beyond 10 km from the origin of the frame '
            '(float32 of clouds is too coarse there: set target_frame to a nearer one)',
            'deadline_misses': 'deadline misses',
            'worker_errors': 'worker errors',
        }
        complaints += self._about_stamps(new)
        if self._session is not None:
            complaints += self._session.checks.complaints()
            complaints += self._about_target_frame(self._session, now_s)
            complaints += self._about_shared_ids(self._session)
        # A new session counts from zero again: what is negative is no news.
        grown = {key: text for key, text in watched.items() if new.get(key, 0) > 0}
        complaints += [f'{new[key]} {text}' for key, text in grown.items()]
        if 'messages_without_transform' in grown and self._session is not None:
            complaints.append(self._session.no_transform)
        return complaints


def require_horizon(settings: Settings, predictor: Predictor) -> None:
    """
    Check that no future is asked for beyond what the model predicts.

    The default is cut to that: whoever sets nothing takes what there is.

    :raises ConfigError: if ``horizon_s`` was set to more.
    """
    asked_s, given_s = settings.number('horizon_s'), predictor.window.horizon_s
    if asked_s > given_s + 1e-9 and asked_s != BY_NAME['horizon_s'].default:
        raise ConfigError(
            f'horizon_s={asked_s:g}: {predictor.name} predicts {given_s:g} s; set at most that'
        )


def _require_budget(settings: Settings, predictor: Predictor) -> None:
    window = predictor.window
    require_budget(
        settings,
        rate_hz=window.rate_hz,
        future_frames=window.future_frames,
        joints=predictor.skeleton.num_joints,
    )


def _size(message: Any) -> int:
    # Of a message as it came over DDS; one that was made in this process costs nothing more.
    return len(message) if isinstance(message, bytes) else 0


def _opened(session: Session, arrival: Arrival) -> Arrival:
    # With the message read from its bytes.
    if not isinstance(arrival.message, bytes):
        return arrival
    kinds = {wanted.topic: wanted.message_type for wanted in session.input.subscriptions}
    try:
        message = deserialize_message(arrival.message, kinds[arrival.topic])
    except Exception as error:  # RMWError and others, by the middleware
        raise MessageError(f'cannot be read: {str(error).partition(chr(10))[0]}') from None
    return arrival._replace(message=message)


def load_predictor(
    settings: Settings, require_wanted: Callable[[], None] = lambda: None
) -> tuple[Predictor, str]:
    """
    Load and warm up the model that the parameters name.

    :param require_wanted: called between the steps; raises where the model is no longer wanted.
    :returns: the predictor, and what became of the device where ``auto`` had to do without it.
    :raises MotionPredictorError: if the file or the device cannot be used.
    """
    path, device = weights_path(settings.text('model.path')), settings.text('model.device')

    def load(device: str, engine: str) -> Predictor:
        require_wanted()
        predictor = Predictor.load(path, device=device, engine=engine)
        require_wanted()
        predictor.warm_up(1, settings.integer('samples'), require_wanted)
        predictor.require_golden()
        require_wanted()
        return predictor

    try:
        return load(device, settings.text('model.engine')), ''
    except (RuntimeError, AssertionError) as error:  # what torch raises of a device that fails
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
    Find a weights file.

    :param name_or_path: the name of a shipped model, or a path.
    :raises WeightsError: if it is a name and no such model is shipped.
    """
    looks_like_path = '/' in name_or_path or name_or_path.endswith('.safetensors')
    if not looks_like_path:
        return default_weights(name_or_path)
    try:
        return Path(name_or_path).expanduser()
    except RuntimeError as error:  # ~ of nobody
        raise WeightsError(f'model.path={name_or_path[:200]!r}: {error}') from None


def start_ros(args: list[str] | None = None) -> None:
    """
    Initialize rclpy, without log files where they cannot be written: a disk may be full.

    Signals are left to the caller.

    :param args: of the command line; None for those of the process.
    """
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:
        if 'Failed to parse' in str(error):  # the command line, or the file that it names
            raise ConfigError(brief(str(error).partition('\n')[0])) from None
        if 'logging' not in str(error):
            raise
        print(f'{NODE_NAME}: no log files will be written: {error}', file=sys.stderr)
        rclpy.try_shutdown()
        given = sys.argv if args is None else args
        rclpy.init(
            args=[*given, '--ros-args', '--disable-external-lib-logs'],
            signal_handler_options=SignalHandlerOptions.NO,
        )


def main(args: list[str] | None = None) -> int:
    """
    Run the node until SIGINT, SIGTERM or SIGHUP.

    :returns: 0, or 1 if a parameter was bad or the node could not start by itself.
    """
    # A signal only asks the loop below to end: were the context shut down by rclpy's own handlers,
    # a transition under way would fail, and nothing could be taken back any more.
    asked_to_end = threading.Event()
    when_asked_to_end(lambda received, frame: asked_to_end.set())
    node = None
    try:
        start_ros(args)
        node = MotionPredictorNode()
        node.asked_to_end = asked_to_end
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while rclpy.ok() and not asked_to_end.is_set() and not node.startup_failed:
            executor.spin_once(timeout_sec=SIGNAL_PERIOD_S)
        if rclpy.ok():
            node.stop()
    except ConfigError as error:
        print(f'{NODE_NAME}: {error}', file=sys.stderr)
        return 1
    except ExternalShutdownException:
        pass
    except Exception:
        if rclpy.ok():  # else the context went away while the executor was using it
            raise
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
        # `ros2 launch` repeats Ctrl-C: a second one must not kill us while Python winds down.
        when_asked_to_end(signal.SIG_IGN)
    code = 1 if node is not None and node.startup_failed else 0
    if node is not None and node.left_behind:  # its thread is in the model, and cannot be ended
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


if __name__ == '__main__':
    sys.exit(main())
