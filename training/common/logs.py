# SPDX-License-Identifier: Apache-2.0
"""
Logs of a training: TensorBoard, and a service where one was chosen.

The training continues without them if they cannot be written.
"""

from __future__ import annotations

import importlib
from pathlib import Path
import sys
import threading
from typing import Any, TYPE_CHECKING

from torch.utils.tensorboard import SummaryWriter

from motion_predictor.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SERVICES = ('trackio', 'wandb')
"""Loggers beside TensorBoard: packages of these names with ``init``, ``log`` and ``finish``."""
PROJECT = 'motion_predictor'
_chosen: list[Any] = []
_begun: list[Any] = []


def choose_service(name: str) -> None:
    """
    Send what is logged from here on to a service, too.

    :param name: one of SERVICES, or 'none'.
    :raises ConfigError: if its package is not installed.
    """
    _chosen.clear()
    if name == 'none':
        return
    try:
        _chosen.append(importlib.import_module(name))
    except ImportError:
        raise ConfigError(
            f'--logger {name}: the package is not installed: pip install {name}'
        ) from None


class Logs:
    """A SummaryWriter that stops writing, and says so once, if its disk is full."""

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        """
        Begin to write.

        :param folder: folder of the event files.
        :param purge_step: values logged from this step on are taken back.
        """
        self.folder = folder
        self._writer: SummaryWriter | None = None
        self._service: Any = _chosen[0] if _chosen else None
        self._begins = self._service is not None and not _begun
        if self._service is not None and self._begins:  # the validation's are of the same run
            stage = folder.resolve().parent
            self._service.init(project=PROJECT, name=f'{stage.parent.name}/{stage.name}')
            _begun.append(self._service)
        self._hook = threading.excepthook
        threading.excepthook = self._quiet  # error of the writer's thread, which arrives here too
        try:
            self._writer = SummaryWriter(str(folder), purge_step=purge_step)
        except OSError as error:
            self._fall_silent(error)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """Log a value."""
        if self._service is not None:
            self._service.log({name: value}, step=step)
        if self._writer is not None:
            try:
                self._writer.add_scalar(name, value, step)
            except OSError as error:
                self._fall_silent(error)

    def add_figure(self, name: str, figure: Figure, step: int) -> None:
        """Log a figure, in TensorBoard alone."""
        if self._writer is not None:
            try:
                self._writer.add_figure(name, figure, step)
            except OSError as error:
                self._fall_silent(error)

    def close(self) -> None:
        """Finish the files."""
        if self._begins and self._service is not None:
            self._service.finish()
            _begun.clear()
        if self._writer is not None:
            try:
                self._writer.close()
            except OSError as error:
                self._fall_silent(error)
        threading.excepthook = self._hook

    def _fall_silent(self, error: OSError) -> None:
        self._writer = None
        print(
            f'{self.folder}: TensorBoard logs cannot be written ({error.strerror or error}); the '
            'training goes on without them',
            file=sys.stderr,
        )

    def _quiet(self, failed: threading.ExceptHookArgs) -> None:
        if not isinstance(failed.exc_value, OSError):
            self._hook(failed)
