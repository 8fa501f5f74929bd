# SPDX-License-Identifier: Apache-2.0
"""Make, save and describe what the node learns of its place, as the parameters say. No ROS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import math
from pathlib import Path
import threading
from typing import Any

import numpy as np

from motion_predictor.common.background import Background, CancelledError
from motion_predictor.common.files import brief
from motion_predictor.errors import MotionPredictorError, StorageError
from motion_predictor.model.candidates import CANDIDATES, knot_frames, KNOTS_S
from motion_predictor.predict.place.known_people import KnownPeople
from motion_predictor.predict.place.memory_file import is_memory, read_memory, write_memory
from motion_predictor.predict.place.place import Place
from motion_predictor.predict.predictor import Predictor
from motion_predictor.ros.parameters import Settings

SAVE_PERIOD_S = 180.0
"""Time in seconds between writings of the memory's file, if something new is remembered."""


def make_place(predictor: Predictor, settings: Settings) -> Place | None:
    """
    Begin to learn a place.

    :param predictor: the model with its weighing weights.
    :param settings: the node's parameters.
    :returns: None if the weights file has no weighing weights, or if the model must count alone.
    :raises ConfigError: if the memory is too small to hold anything.
    """
    weighing = predictor.weighing
    if weighing is None or weighing.gate is None or not settings.weighing.enabled:
        return None
    return Place(
        predictor.window,
        predictor.skeleton,
        weighing,
        memory_mb=settings.memory.megabytes,
        remember=settings.memory.enabled,
        follow=settings.moments.adapt,
    )


def memory_path(settings: Settings) -> Path | None:
    """Return the file of the memory; None if the memory ends with the node."""
    text = settings.memory.file
    if not text:
        return None
    try:
        return Path(text).expanduser()
    except RuntimeError:  # ~ of an unknown user
        return Path(text)


def remove_memory(path: Path) -> str:
    """
    Delete a memory's file.

    :returns: the outcome in words.
    :raises StorageError: if it is not a memory of this package, or cannot be deleted.
    """
    if not path.exists():
        return 'there is no file'
    if not is_memory(path):
        raise StorageError(f'{brief(path)}: is no memory file, and was left; remove it yourself')
    try:
        path.unlink()
    except OSError as error:
        raise StorageError(f'{brief(path)}: cannot be removed ({error.strerror})') from None
    return f'{brief(path)} is removed'


class Remembering:
    """A place and its file, if any; any thread may call the methods."""

    def __init__(
        self, place: Place, path: Path | None, failed: Callable[[str], None] = lambda text: None
    ) -> None:
        """
        Make the object; nothing is read yet.

        :param place: the place that the worker learns.
        :param path: its file; None: nothing outlives the node.
        :param failed: called with the error of a file that was written in the background.
        """
        self.place, self.path = place, path
        self.frame_id = ''
        """Of reference; named in the file."""
        self.complaint = ''
        """Why nothing is written, if so."""
        self.known = KnownPeople(place.remembered_tracks)
        self.forgotten = 0
        """People who were forgotten one by one."""
        self._overdue = ''
        self._failed = failed
        self._file = threading.Lock()
        self._background = Background('memory')
        self._saved = place.state
        self._due_s = math.inf

    def read(self) -> str:
        """
        Continue from the file, if there is one.

        A file that is refused stays as it is: nothing is written there before it is removed.

        :returns: a sentence that says what was read; '' for nothing.
        :raises MotionPredictorError: if the file is refused.
        """
        if self.path is None:
            return ''
        try:
            if not self.path.exists():
                return ''
            with self._file:
                found = read_memory(self.path, self.place)
        except (MotionPredictorError, OSError, ValueError) as error:
            self.complaint = f'memory.file: {brief(error)}; nothing is kept there meanwhile'
            raise StorageError(self.complaint) from error
        self._saved = self.place.state
        return found

    def save(self) -> str:
        """
        Write the file if something is new.

        :returns: the outcome in words.
        :raises StorageError: if it cannot be written, or if the existing file was refused.
        """
        if self.path is None:
            raise StorageError('memory.file is empty: name a file, and configure again')
        with self._file:
            if self.complaint:
                raise StorageError(self.complaint)
            state = self.place.state
            if state == self._saved and self.path.exists():
                return f'nothing new since {brief(self.path)} was written'
            moments = write_memory(self.path, self.place, self.frame_id)
            if moments is None:
                return 'nothing was written: somebody was forgotten meanwhile'
            self._saved, self._overdue = state, ''
            return f'{moments} moments written to {brief(self.path)}'

    def save_if_due(self, now_s: float) -> None:
        """
        Write the file in the background every :data:`SAVE_PERIOD_S`, if something is new.

        :param now_s: reading of a stopwatch, seconds.
        """
        if self.path is None or self.complaint or self._background.busy:
            return
        if self._overdue:  # a person is still to be forgotten in the file
            self._due_s = now_s
        self._due_s = min(self._due_s, now_s + SAVE_PERIOD_S)
        if now_s < self._due_s or self.place.state == self._saved:
            return
        self._due_s = now_s + SAVE_PERIOD_S

        def make(stopped: Callable[[], bool]) -> str:
            try:
                return self.save()
            except Exception as error:
                self._failed(str(error))
                raise CancelledError from None

        self._background.ask(make, lambda done: None)

    def save_at_end(self) -> None:
        """
        Write the file, if there is one and something is new.

        :raises StorageError: if it cannot be written.
        """
        if self.path is not None and not self.complaint and self.place.state != self._saved:
            self.save()

    def forget(self) -> str:
        """
        Forget everything and delete the file.

        :returns: the outcome in words.
        :raises StorageError: if the file could not be deleted; the rest is forgotten.
        """
        self.place.forget()
        self.known = KnownPeople(self.place.remembered_tracks)
        with self._file:  # a file that is just being written is deleted as well
            done = '' if self.path is None else f'; {remove_memory(self.path)}'
            self.complaint = self._overdue = ''
            self._saved = self.place.state
        return f'everything is forgotten{done}'

    def forget_person(self, person: str) -> str:
        """
        Forget one person of this run, also in the file, which is written at once.

        :param person: name as in ~/people, or number.
        :returns: the outcome in words.
        :raises UnknownPersonError: if nobody in this run had that name or number.
        :raises StorageError: if the file could not be written; the rest is forgotten, and writing
            is tried again.
        """
        tracks = self.known.find(person)
        self.known.drop(tracks)
        moments = self.place.forget_tracks(tracks)
        self.forgotten += 1
        done = f'{brief(repr(person))} is forgotten: {moments} moments'
        with self._file:  # a running write is finished
            written = self.path is not None and not self.complaint and self.path.exists()
        if not written:
            return done  # this run has written nothing, also if it refused the existing file
        try:
            return f'{done}; {self.save()}'
        except MotionPredictorError as error:
            self._overdue = f'{done}, but not in memory.file, which still holds them: {error}'
            raise StorageError(self._overdue) from error

    @property
    def complaints(self) -> list[str]:
        """Return what is wrong with the file, in words."""
        return [text for text in (self.complaint, self._overdue) if text]

    def close(self) -> None:
        """End the writing thread."""
        self._background.close(0.0)

    def values(self, tracks: Mapping[str, int]) -> dict[str, str]:
        """
        Return what is known about the place in words, for the diagnostics.

        :param tracks: number of each person's history, by name.
        """
        place, found = self.place, dict[str, str]()
        for name, track in tracks.items():
            words = place.words(track)
            if words:
                shares = (f'{key} {share:.2f}' for key, share in place.shares(track).items())
                found[f'future of {name}'] = f'{words} ({", ".join(shares)})'
        if place.memory is not None:
            found['memory (moments)'] = str(place.memory.moments)
            found['memory (MB)'] = f'{place.memory.megabytes:.1f}'
            found['memory forgotten (people)'] = str(self.forgotten)
            found['memory forgotten (moments)'] = str(place.moments_forgotten)
        names = (*CANDIDATES, 'published')
        for knot, errors in zip(knot_frames(place.window), place.evidence.errors_m):
            horizon_s = (knot + 1) * place.window.period_s
            said = (f'{name} {error:.3f}' for name, error in zip(names, errors))
            known = math.isfinite(errors[-1])
            found[f'error at {horizon_s:g} s (m)'] = ', '.join(said) if known else 'unknown'
        return found

    def facts(self, tracks: Mapping[str, int], numbers: Mapping[str, int]) -> dict[str, Any]:
        """
        Return the parts of the prediction, and what is known about the place, for ~/model.

        :param tracks: number of each person's history, by name.
        :param numbers: number of each person in the outputs, by name.
        """
        place, names = self.place, (*CANDIDATES, 'published')
        errors_m = np.moveaxis(place.evidence.errors_m, 1, 0)  # (C + 1, K)
        return {
            'candidates': list(CANDIDATES),
            'weighed_at_s': list(KNOTS_S),
            'radius_levels': list(place.levels),
            'futures': {
                str(numbers[name]): {'words': place.words(track), 'weights': place.shares(track)}
                for name, track in tracks.items()
                if name in numbers and place.words(track)
            },
            'remembered': {
                'moments': 0 if place.memory is None else place.memory.moments,
                'megabytes': 0.0 if place.memory is None else round(place.memory.megabytes, 1),
            },
            'running_error_m': {
                name: [round(value, 4) if math.isfinite(value) else None for value in of]
                for name, of in zip(names, errors_m.tolist(), strict=True)
            },
        }

    def leading(self, tracks: Mapping[str, int]) -> dict[str, str]:
        """Return the candidate that each person's future mostly comes from, by name."""
        found = {}
        for name, track in tracks.items():
            shares = self.place.shares(track)
            if shares:
                found[name] = max(shares, key=lambda candidate: shares[candidate])
        return found


def remembering_of(
    place: Place | None, settings: Settings, failed: Callable[[str], None]
) -> Remembering | None:
    """Return the keeper of a place as the parameters say; None if there is no place."""
    if place is None:
        return None
    path = memory_path(settings) if settings.memory.enabled else None
    return Remembering(place, path, failed)
