"""
Object archives of positions: a pickled dict of arrays inside an npz, read without running code.

Human3.6M and HumanEva are usually passed on as such archives. Only this training code reads
them, and its unpickler makes dicts, lists, text, numbers and NumPy arrays and nothing else.
"""

from __future__ import annotations

import importlib
from pathlib import Path
import pickle
from typing import Any
import zipfile
import zlib

import numpy as np

from motion_predictor.errors import RecordingError

ALLOWED = {
    ('numpy', 'ndarray'),
    ('numpy', 'dtype'),
    ('numpy.core.multiarray', '_reconstruct'),
    ('numpy._core.multiarray', '_reconstruct'),
    ('numpy.core.multiarray', 'scalar'),
    ('numpy._core.multiarray', 'scalar'),
    ('numpy.core.numeric', '_frombuffer'),
    ('numpy._core.numeric', '_frombuffer'),
    ('_codecs', 'encode'),
}
"""What such a pickle may name: how NumPy builds arrays, and how Python 2 wrote bytes."""
MAX_ARRAY_BYTES = 64 * 2**30


class ArrayUnpickler(pickle.Unpickler):
    """Unpickles plain containers and NumPy arrays; any other class or function is refused."""

    def find_class(self, module: str, name: str) -> Any:
        """
        Give one of the allowed constructors.

        :raises UnpicklingError: naming what the file asked for.
        """
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f'it asks for {module}.{name}, which is no array')
        if module.startswith('numpy.core'):  # its name before NumPy 2
            for real in ('numpy._core' + module[len('numpy.core') :], module):
                try:
                    return getattr(importlib.import_module(real), name)
                except (ImportError, AttributeError):
                    continue
        return super().find_class(module, name)


def read_object_archive(path: Path, entry: str = 'positions_3d') -> dict[str, Any]:
    """
    Read the dict that an npz holds as a pickled object array of no dimension.

    :param path: the archive.
    :param entry: name of the array.
    :raises RecordingError: naming the file and what is wrong with it.
    """
    if not path.is_file():
        raise RecordingError(f'{path}: no such file')
    if not zipfile.is_zipfile(path):
        raise RecordingError(f'{path}: truncated, or no npz archive; fetch it again')
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if f'{entry}.npy' not in names:
                raise RecordingError(
                    f'{path}: has no {entry!r}; it holds {", ".join(names) or "nothing"}'
                )
            with archive.open(f'{entry}.npy') as file:
                version = np.lib.format.read_magic(file)
                read = {
                    (1, 0): np.lib.format.read_array_header_1_0,
                    (2, 0): np.lib.format.read_array_header_2_0,
                }.get(version)
                if read is None:
                    raise RecordingError(f'{path}: {entry}: npy version {version} is not read')
                shape, _, dtype = read(file)
                if dtype != np.dtype(object) or shape not in ((), (1,)):
                    raise RecordingError(
                        f'{path}: {entry}: expected one pickled dict, got {shape} of {dtype}'
                    )
                content = ArrayUnpickler(file, encoding='latin1').load()
    except RecordingError:
        raise
    except (pickle.UnpicklingError, AttributeError, IndexError, TypeError) as error:
        raise RecordingError(f'{path}: {entry}: refused ({error})') from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise RecordingError(f'{path}: truncated or damaged ({error}); fetch it again') from None
    # an object array pickles itself whole: itself, or what is in it
    if isinstance(content, np.ndarray) and content.size == 1:
        content = content.reshape(-1)[0]
    if not isinstance(content, dict):
        raise RecordingError(f'{path}: {entry}: expected a dict, got {type(content).__name__}')
    return content
