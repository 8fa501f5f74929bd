# SPDX-License-Identifier: Apache-2.0
"""Control of the memory from outside: ~/forget, ~/save_memory and ~/forget_person.

The first two are services, if the messages of std_srvs are installed. No standard service takes a
person's name, so ~/forget_person is a topic, and the log says what was done.
"""

from __future__ import annotations

from collections.abc import Callable
import importlib
import threading
from typing import Any

from rclpy.node import Node
from rclpy.task import Future
from std_msgs.msg import String

from motion_predictor.errors import MotionPredictorError
from motion_predictor.ros.memory.remembering import memory_path, Remembering, remove_memory
from motion_predictor.ros.parameters import Settings

PEOPLE_AT_ONCE = 10
"""Greatest number of names that wait in ~/forget_person."""


class MemoryServices:
    """Does all of this in a thread of its own, because a disk may be slow."""

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
        Make the services and the topic.

        :param node: the node.
        :param remembering: returns the present memory of the node; None if there is none.
        :param settings: returns the node's parameters.
        """
        self._remembering, self._settings = remembering, settings
        self._logger = node.get_logger()
        node.create_subscription(String, '~/forget_person', self._on_person, PEOPLE_AT_ONCE)
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
        path = memory_path(self._settings())  # the file of an earlier run
        return 'nothing is remembered' if path is None else remove_memory(path)

    def _on_person(self, message: String) -> None:
        def work() -> None:
            try:
                self._logger.info(self._forget_person(message.data))
            except MotionPredictorError as error:
                self._logger.warning(f'~/forget_person: {error}')
            except Exception as error:  # the node continues
                self._logger.error(f'~/forget_person: {type(error).__name__}: {error}')

        threading.Thread(target=work, name='forget person', daemon=True).start()

    def _forget_person(self, person: str) -> str:
        remembering = self._remembering()
        if remembering is None:
            raise MotionPredictorError(
                'nothing is remembered of people of this run; ~/forget removes what an earlier '
                'run has left in memory.file'
            )
        return remembering.forget_person(person)

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
                except Exception as error:  # a waiting client is answered in any case
                    done.set_result((False, f'{type(error).__name__}: {error}'))

            threading.Thread(target=work, name='memory service', daemon=True).start()
            response.success, response.message = await done
            return response

        return answer
