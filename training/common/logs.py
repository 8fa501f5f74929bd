"""TensorBoard logs of a training, which goes on without them where they cannot be written."""

from __future__ import annotations

from pathlib import Path
import sys
import threading

from torch.utils.tensorboard import SummaryWriter


class Logs:
    """A SummaryWriter that falls silent, and says so once, when its disk is full."""

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        """
        Begin to write.

        :param folder: of the event files.
        :param purge_step: what was logged from there on is taken back.
        """
        self.folder = folder
        self._writer: SummaryWriter | None = None
        self._hook = threading.excepthook
        threading.excepthook = self._quiet  # of the writer's thread, whose error comes here too
        try:
            self._writer = SummaryWriter(str(folder), purge_step=purge_step)
        except OSError as error:
            self._fall_silent(error)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """Log a value."""
        if self._writer is not None:
            try:
                self._writer.add_scalar(name, value, step)
            except OSError as error:
                self._fall_silent(error)

    def close(self) -> None:
        """Finish the files."""
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
