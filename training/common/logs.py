"""TensorBoard logs of a training, which continues without them if they cannot be written."""

from __future__ import annotations

from pathlib import Path
import sys
import threading

from torch.utils.tensorboard import SummaryWriter


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
        self._hook = threading.excepthook
        threading.excepthook = self._quiet  # error of the writer's thread, which arrives here too
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
