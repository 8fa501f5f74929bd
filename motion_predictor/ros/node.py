# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 node: its parameters and its lifecycle.

``python -m motion_predictor.ros.node --ros-args -p autostart:=true`` runs it without a launch
file.
"""

from __future__ import annotations

from collections.abc import Callable
import gc
import os
import sys
import threading
from time import perf_counter
import traceback
from typing import Any

from rcl_interfaces.msg import SetParametersResult
import rclpy
from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.lifecycle import LifecyclePublisher, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter as RosParameter
from rclpy.subscription import Subscription

from motion_predictor.common.background import CancelledError
from motion_predictor.errors import ConfigError, MotionPredictorError
from motion_predictor.predict.device import use_threads
from motion_predictor.predict.predictor import Predictor
from motion_predictor.ros.diagnostics.diagnostics import Diagnostics
from motion_predictor.ros.diagnostics.monitoring import Monitor, STAGES
from motion_predictor.ros.intake.inbox import Inbox
from motion_predictor.ros.intake.inputs import awaited, make_input, subscribe
from motion_predictor.ros.intake.transforms import FrameTransforms
from motion_predictor.ros.lifecycle import TolerantLifecycleNode
from motion_predictor.ros.loading import load_predictor, require_fit
from motion_predictor.ros.memory.remembering import Remembering, remembering_of
from motion_predictor.ros.memory.services import MemoryServices
from motion_predictor.ros.parameters import AT_CONFIGURE, BY_NAME, Settings
from motion_predictor.ros.parameters.declare import declare_parameters, parameter_values
from motion_predictor.ros.publish.publishers import make_publishers, wait_for_delivery
from motion_predictor.ros.publish.summaries import SUMMARIES
from motion_predictor.ros.session import input_turn, make_online, Session
from motion_predictor.ros.start import NODE_NAME, run_until_asked
from motion_predictor.ros.worker import Worker
from motion_predictor.sources.tf.frame_motion import FrameMotion
from motion_predictor.track.checks.body_checks import BodyChecks

PATIENCE_S = 10.0
"""Longest time in seconds that a transition waits for a running prediction; then its result is
dropped."""
HASTE_S = 0.4
"""Longest time in seconds that a process which was asked to end waits for it."""


class MotionPredictorNode(TolerantLifecycleNode):
    """
    Managed node that publishes sampled futures of everybody it observes.

    Callbacks only store messages in the inbox. One worker thread runs the model while the node is
    active.
    """

    def __init__(self, node_name: str = NODE_NAME, **node_arguments: Any) -> None:
        """
        Declare the parameters; nothing is loaded before configure.

        :param node_name: name of the node.
        :param node_arguments: passed on to :class:`rclpy.lifecycle.LifecycleNode`.
        :raises ConfigError: if a parameter was given a value that cannot work.
        """
        # This comes before anything can fail: a refused node is destroyed too.
        self._worker: Worker | None = None
        self._patience_s = PATIENCE_S
        self.owns_process = False
        """Whether the process is there for this node alone; its garbage collector is then the
        node's too."""
        self.left_behind = False
        """A prediction under way was not waited for: its thread goes on, and publishes nothing."""
        super().__init__(node_name, **node_arguments)
        self.startup_failed = False
        self.asked_to_end = threading.Event()
        """Set when the process is to end: a configuration under way is called off."""
        self._settings = self._declare_parameters()
        self._monitor = Monitor(
            lambda text: self.get_logger().warning(text), (*STAGES, *SUMMARIES)
        )
        self._counts = self._monitor.counts
        self._inbox = Inbox(self._monitor, lambda: self.get_clock().now().nanoseconds)
        self._inputs: list[Subscription] = []
        self._outputs: dict[str, LifecyclePublisher] = {}
        self._diagnostics = Diagnostics(self, self._monitor)
        steady = rclpy.clock.Clock(clock_type=rclpy.clock.ClockType.STEADY_TIME)
        period_s = self._settings.diagnostics.period_s
        self._diagnostics_timer = self.create_timer(period_s, self._on_diagnostics, clock=steady)
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
        if self._settings.autostart:
            self._autostart_timer = self.create_timer(0.0, self._autostart, clock=steady)

    @property
    def _session(self) -> Session | None:
        return None if self._worker is None else self._worker.session

    # Parameters --------------------------------------------------------------------------------

    def _declare_parameters(self) -> Settings:
        declare_parameters(self)
        settings = Settings.from_values(parameter_values(self))
        self.add_on_set_parameters_callback(self._check_parameters)
        if hasattr(self, 'add_post_set_parameters_callback'):
            self.add_post_set_parameters_callback(self._take_parameters)
        return settings

    def _check_parameters(self, changes: list[RosParameter]) -> SetParametersResult:
        session, values = self._session, parameter_values(self)
        for change in changes:
            if change.name not in BY_NAME:
                continue
            parameter = BY_NAME[change.name]
            if parameter.applies == AT_CONFIGURE and session is not None:
                return SetParametersResult(
                    successful=False,
                    reason=f'{change.name}: is read at configure; clean the node up before',
                )
            values[change.name] = change.value
        try:
            settings = Settings.from_values(values)
            if session is not None:
                require_fit(settings, session.predictor)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if not hasattr(self, 'add_post_set_parameters_callback'):  # Humble
            self._settings = settings
        return SetParametersResult(successful=True)

    def _take_parameters(self, changes: list[RosParameter]) -> None:
        self._settings = Settings.from_values(parameter_values(self))

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
        # rclpy hides errors of a transition callback, so they are caught and logged here.
        try:
            action()
        except CancelledError:
            self.get_logger().info(f'{what} called off: the process was asked to end')
            return TransitionCallbackReturn.FAILURE
        except MotionPredictorError as error:
            self.get_logger().error(f'{what} failed: {error}')
            return TransitionCallbackReturn.FAILURE
        except Exception:
            if self.context.ok():  # otherwise it was shut down meanwhile, and nothing can be done
                self.get_logger().error(f'{what} failed:\n{traceback.format_exc()}')
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the weights, warm the model up and create the outputs."""
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
        """Stop observing, and take back the last futures."""
        done = self._guarded('deactivate', self._deactivate)
        super().on_deactivate(state)
        return done

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the model and the outputs."""
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
        """Take back the last outputs and stop at once, in any state."""
        self._patience_s = HASTE_S
        self._guarded('stop', self._stop_everything)

    def destroy_node(self) -> None:
        """Stop the worker, then destroy the node."""
        self._stop_worker()
        self._save_memory()
        super().destroy_node()

    # Configure and clean-up --------------------------------------------------------------------

    def _require_running(self) -> None:
        if self.asked_to_end.is_set():
            raise CancelledError

    def _configure(self) -> None:
        settings = self._settings
        threads = use_threads(settings.model.threads)
        started = perf_counter()
        predictor, lost_device = load_predictor(settings, self._require_running)
        loaded_s = perf_counter() - started
        if lost_device:
            self._counts.add('device_losses')
            self.get_logger().error(lost_device)
        require_fit(settings, predictor)
        session = self._make_session(settings, predictor, lost_device)
        source = session.input
        if source.layout.units == 'mm' and session.scale == 1.0:
            self.get_logger().warning(
                f'input.skeleton={source.layout.name} is usually sent in millimetres; '
                'set input.units_scale to 0.001 unless yours is in metres'
            )
        self._begin_to_remember(session, settings)
        self._worker = Worker(
            self, session, self._inbox, self._outputs, self._monitor, lambda: self._settings
        )
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
        if self.owns_process:
            # What is loaded by now stays: a full collection that looks at all of it stops every
            # thread for as long as several frames take.
            gc.collect()
            gc.freeze()

    def _make_session(self, settings: Settings, predictor: Predictor, lost_device: str) -> Session:
        source = make_input(settings, predictor.skeleton)
        target_frame = '' if source.in_target_frame else settings.target_frame
        make_publishers(self, settings, self._outputs)
        online = make_online(predictor, source.layout, settings)
        return Session(
            predictor=predictor,
            online=online,
            input=source,
            scale=settings.input.units_scale,
            turn=input_turn(settings),
            transforms=FrameTransforms(self, target_frame, self._on_transform)
            if target_frame
            else None,
            frame_motion=FrameMotion(target_frame),
            checks=BodyChecks(source.layout),
            lost_device=lost_device,
        )

    def _begin_to_remember(self, session: Session, settings: Settings) -> None:
        def failed(text: str) -> None:
            self._monitor.warn('memory', text)

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

    def _discard(self) -> None:
        self._stop_worker()
        wait_for_delivery(self, self._outputs.values(), self._patience_s)
        for publisher in self._outputs.values():
            self.destroy_lifecycle_publisher(publisher)
        self._outputs.clear()
        if self._session is not None:
            self._session.close(self._counts)
        self._worker = None
        if self.owns_process:
            gc.unfreeze()
        gc.collect()  # a session refers to itself: its model would stay for many minutes

    # Activate and deactivate -------------------------------------------------------------------

    def _activate(self) -> None:
        if self._worker is None:
            raise ConfigError('the node is not configured')
        self._inbox.restart()
        self._worker.start()
        for wanted in self._worker.session.input.subscriptions:
            self._inputs.append(subscribe(self, wanted, self._inbox.store(wanted.topic)))
        self.get_logger().info(f'active: waits for {awaited(self._inputs)}')

    def _deactivate(self) -> None:
        while self._inputs:
            self.destroy_subscription(self._inputs.pop())
        self._stop_worker()
        self._counts.add('messages_unread', len(self._inbox))
        self._inbox.clear()
        if self._worker is not None:
            self._worker.take_back()
            self._save_memory()

    def _stop_everything(self) -> None:
        self._deactivate()
        self._discard()

    def _stop_worker(self) -> None:
        if self._worker is not None and not self._worker.stop(self._patience_s):
            self.left_behind = True
            self.get_logger().warning('a prediction under way is given up')

    # Callbacks: they only store and wake -------------------------------------------------------

    def _on_transform(self) -> None:
        if self._worker is not None and len(self._worker.intake.held):
            self._inbox.wake.set()

    def _on_clock_jump(self, jump: TimeJump) -> None:
        self._counts.add('resets_clock_jump')
        self._inbox.reset_wanted.set()
        self._inbox.wake.set()

    def _on_diagnostics(self) -> None:
        worker, now_s = self._worker, perf_counter()
        if worker is not None and worker.session.remembering is not None:
            worker.session.remembering.save_if_due(now_s)
            worker.publishing.model.tell_leading(worker.active, now_s)
        self._diagnostics.publish(worker, self._settings, self._inputs, now_s)


def main(args: list[str] | None = None) -> int:
    """
    Run the node until SIGINT, SIGTERM or SIGHUP.

    :param args: arguments of the command line; None for those of the process.
    :returns: 0, or 1 if a parameter was bad or the node could not start by itself.
    """
    made: list[MotionPredictorNode] = []

    def make(asked_to_end: threading.Event) -> MotionPredictorNode:
        node = MotionPredictorNode()
        node.asked_to_end, node.owns_process = asked_to_end, True
        made.append(node)
        return node

    code = run_until_asked(
        NODE_NAME,
        make,
        args,
        has_ended=lambda node: node.startup_failed,
        stop=MotionPredictorNode.stop,
    )
    if any(node.startup_failed for node in made):
        code = 1
    if any(node.left_behind for node in made):  # its thread runs the model and cannot be ended
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


if __name__ == '__main__':
    sys.exit(main())
