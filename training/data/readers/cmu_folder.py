# SPDX-License-Identifier: Apache-2.0
"""Read folders of ASF and AMC files, as the CMU motion capture database has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from motion_predictor.body.skeleton import H36M17
from motion_predictor.errors import RecordingError
from motion_predictor.recordings.acclaim.body import Body, read_asf
from motion_predictor.recordings.acclaim.person import body_of, read_acclaim
from motion_predictor.recordings.recording import Overrides
from training.data.readers.source import Positions, Source, SourceClip, split_of


def read_cmu_folder(
    folder: Path,
    *,
    given: Overrides | None = None,
    val: Sequence[str] = (),
    test: Sequence[str] = (),
) -> Source:
    """
    Read every AMC file below a folder (or one file), each with the ASF file beside it.

    The subject of a clip is the name of its ASF file.

    :param folder: the folder or file.
    :param given: known facts, instead of the unit of the ASF file, y up and 120 Hz.
    :param val: patterns of subjects for validation.
    :param test: patterns of subjects for the test.
    :raises RecordingError: if there is no AMC file, or if one has no ASF file.
    """
    files = [folder] if folder.is_file() else sorted(folder.rglob('*.[aA][mM][cC]'))
    root = folder.parent if folder.is_file() else folder
    if not files:
        raise RecordingError(f'{folder}: no .amc file in it')
    given = given or Overrides()
    body_at = cache(read_asf)
    judged: Counter[str] = Counter()
    clips, bodies = [], []
    for path in files:
        asf = body_of(path)
        bodies.append(asf)
        name = path.relative_to(root).with_suffix('').as_posix()
        load = _loader(path, asf, body_at, given, judged)
        clips.append(SourceClip(name, asf.stem, path.stem, split_of(asf.stem, val, test), load))
    together = tuple(sorted({*files, *bodies}))
    return Source('cmu', H36M17, together, root, tuple(clips), judged=judged)


def _loader(
    path: Path,
    asf: Path,
    body_at: Callable[[Path], Body],
    given: Overrides,
    judged: Counter[str],
) -> Callable[[], Positions]:
    def load() -> Positions:
        recording = read_acclaim(path, given, body_at(asf))
        judged[recording.reading] += 1
        return next(iter(recording.persons.values())).astype(np.float32), recording.rate_hz

    return load
