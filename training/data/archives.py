# SPDX-License-Identifier: Apache-2.0
"""Object archives of positions: a pickled dict of arrays in an npz, read without running code.

Human3.6M and HumanEva are usually distributed as such archives. Only this training code reads
them, by a reader of its own that knows dicts, lists, text, numbers and plain arrays.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from motion_predictor.common.files import brief, refused
from motion_predictor.errors import RecordingError
from motion_predictor.recordings.npz import Npz, read_header
from training.data.plain_pickle import PlainPickleError, read_plain_pickle


def read_object_archive(path: Path, entry: str = 'positions_3d') -> dict[str, Any]:
    """
    Read the dict that an npz holds as a pickled object array without dimensions.

    :param path: the archive.
    :param entry: name of the array.
    :raises RecordingError: naming the file and the fault.
    """
    words = f'{entry}: truncated or damaged; fetch it again'
    with Npz(path) as archive, refused(path, words), archive.open(entry) as file:
        header = read_header(file)
        if header.dtype != np.dtype(object) or header.shape not in ((), (1,)):
            raise RecordingError(
                f'{path}: {entry}: expected one pickled dict, got {header.shape} of '
                f'{brief(header.dtype)}'
            )
        try:
            content = read_plain_pickle(file)
        except PlainPickleError as error:
            raise RecordingError(f'{path}: {entry}: refused ({brief(error)})') from None
    # an object array pickles itself or its content
    if isinstance(content, np.ndarray) and content.size == 1:
        content = content.reshape(-1)[0]
    if not isinstance(content, dict):
        raise RecordingError(f'{path}: {entry}: expected a dict, got {type(content).__name__}')
    return content
