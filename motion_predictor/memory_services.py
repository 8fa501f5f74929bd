"""The services ~/forget and ~/save_memory, where the messages of std_srvs are installed."""

from __future__ import annotations

from collections.abc import Callable
import importlib
import threading
from typing import Any

from rclpy.node import Node
from rclpy.task import Future

from motion_predictor.errors import MotionPredictorError
from motion_predictor.parameters import Settings
from motion_predictor.remembering import memory_path, Remembering, remove_memory


class MemoryServices:
    """Answers both in a thread of their own, since a disk may be slow."""

    MISSING = (
        'std_srvs is not installed: no services ~/forget and ~/save_memory; '
        'apt install ros-$ROS_DISTRO-std-srvs'
    )

    def __init__(
        self,
        node: Node,
        remembering: Callable[[], Remembering | None],
        settings: Callable[[], Settings],
    ) -> None:
        """
        Offer them.

        :param node: whose services they are.
        :param remembering: returns what the node remembers now, None where nothing.
        :param settings: returns the node's parameters.
        """
        self._remembering, self._settings = remembering, settings
        try:
            trigger = importlib.import_module('std_srvs.srv').Trigger
        except ImportError:
            self.available = False
            return
        self.available = True
        node.create_service(trigger, '~/forget', self._answering(self._forget))
        node.create_service(trigger, '~/save_memory', self._answering(self._save))

    def _forget(self) -> str:
        remembering = self._remembering()
        if remembering is not None:
            return remembering.forget()
        path = memory_path(self._settings())  # what an earlier run has left
        return 'nothing is remembered' if path is None else remove_memory(path)

    def _save(self) -> str:
        remembering = self._remembering()
        if remembering is None:
            raise MotionPredictorError('nothing is remembered: configure the node before')
        return remembering.save()

    @staticmethod
    def _answering(action: Callable[[], str]) -> Callable[[Any, Any], Any]:
        async def answer(request: Any, response: Any) -> Any:
            done: Future = Future()

            def work() -> None:
                try:
                    done.set_result((True, action()))
                except MotionPredictorError as error:
                    done.set_result((False, str(error)))
                except Exception as error:  # a client that waits is told in any case
                    done.set_result((False, f'{type(error).__name__}: {error}'))

            threading.Thread(target=work, name='memory service', daemon=True).start()
            response.success, response.message = await done
            return response

        return answer
