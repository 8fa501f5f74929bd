# SPDX-License-Identifier: Apache-2.0
"""Find the programs and weights that a wheel carries inside this package, or beside it."""

from __future__ import annotations

import os
from pathlib import Path
import sys

PACKAGE = Path(__file__).resolve().parent
BUNDLE = PACKAGE / 'bundle_files'
"""Folder of an installed wheel with ``training/`` and ``tools/``, as in the source tree, and
``weights/``. It is a folder of its own, so that no module named ``training`` gets into anybody's
site-packages."""
SOURCE_TREE = PACKAGE.parent


def in_source_tree() -> bool:
    """Return whether this package is used from its source tree, as editable installs do."""
    return (SOURCE_TREE / 'package.xml').is_file() and (SOURCE_TREE / 'setup.py').is_file()


def programs_folder() -> Path | None:
    """
    Return the folder that holds the packages ``training`` and ``tools``.

    :returns: None if they are not installed: colcon installs only what a robot needs.
    """
    if in_source_tree():
        return SOURCE_TREE
    return BUNDLE if (BUNDLE / 'training').is_dir() else None


def add_programs() -> Path | None:
    """
    Make ``import training`` and ``import tools`` work, here and in processes started from here.

    :returns: the folder that was added to the module search path; None if there is none.
    """
    folder = programs_folder()
    if folder is not None:
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
        known = [part for part in os.environ.get('PYTHONPATH', '').split(os.pathsep) if part]
        if str(folder) not in known:
            os.environ['PYTHONPATH'] = os.pathsep.join([*known, str(folder)])
    return folder


def shipped_folders() -> list[Path]:
    """
    Return the existing folders of shipped weights, the nearest first.

    A wheel carries them inside the package. The source tree and editable installs have
    ``resource/weights``. ``colcon build`` puts them below ``share`` of the install prefix.
    """
    folders = [SOURCE_TREE / 'resource' / 'weights'] if in_source_tree() else []
    folders.append(BUNDLE / 'weights')
    prefixes = [parent.parent for parent in PACKAGE.parents if parent.name in ('lib', 'local')]
    prefixes.append(Path(sys.prefix))
    folders += [prefix / 'share' / 'motion_predictor' / 'weights' for prefix in prefixes]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]
