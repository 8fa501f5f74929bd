# SPDX-License-Identifier: Apache-2.0
"""
The compiled half of message packages that tests make: one library a package.

Which of several middlewares' serialisations is used is decided when a message is first sent, by
the name of a library; ``LOADER`` loads what is asked for under each name.
"""

from __future__ import annotations

from collections.abc import Sequence
import os
from pathlib import Path
import re
import subprocess
import sys
import sysconfig

FASTRTPS = 'rosidl_typesupport_fastrtps_c'
INTROSPECTION = 'rosidl_typesupport_introspection_c'
"""Jazzy's middleware asks for it beside the other."""
DEPENDENCIES = ('builtin_interfaces', 'std_msgs', 'geometry_msgs')
LOADER = '''"""Load the library of these messages under the names that are asked for."""
import ctypes
from pathlib import Path
ctypes.CDLL(str(Path(__file__).with_name('lib{package}__rosidl_typesupport_introspection_c.so')))
'''
"""A package's ``__init__.py``."""


class CannotBuildError(Exception):
    """A compiler, a header or a generator is not installed."""


def share_of(package: str) -> Path:
    prefixes = [*filter(None, os.environ.get('AMENT_PREFIX_PATH', '').split(':')), sys.prefix]
    for prefix in prefixes:
        if (Path(prefix) / 'share' / package).is_dir():
            return Path(prefix) / 'share' / package
    raise CannotBuildError(f'{package} is in none of {", ".join(prefixes)}')


def compile_package(folder: Path, package: str, needs: Sequence[str]) -> None:
    # One library with the classes' C structures, their serialisation and the Python module. The
    # dispatcher asks the loader for the serialisation by the SONAME that it is given here.
    import numpy as np

    code, target = folder / 'work' / package / 'code', folder / 'python' / package
    made = [name for name in needs if (folder / 'work' / name).is_dir()]
    roots = list(dict.fromkeys(share_of(name).parents[1] for name in needs if name not in made))
    includes = [
        f'-I{path}'
        for path in (
            code,
            *(folder / 'work' / name / 'code' for name in made),
            target.parent,
            sysconfig.get_paths()['include'],
            np.get_include(),
            *(path for root in roots for path in _headers(root / 'include')),
        )
    ]
    flags = ['-O0', '-w', '-fPIC', *includes]
    # Descriptions hide names of the same spelling from each other; all else may be one unit.
    alone = sorted(code.rglob('*__description.c'))
    _run(['gcc', '-std=gnu11', *flags, '-c', *map(str, alone)], code)
    objects = [str(path) for path in sorted(code.glob('*.o'))]
    for kind, compiler, standard in (('c', 'gcc', '-std=gnu11'), ('cpp', 'g++', '-std=gnu++17')):
        files = sorted({*code.rglob(f'*.{kind}'), *target.rglob(f'*.{kind}')} - {*alone})
        unity = code / f'all.{kind}'
        unity.write_text(''.join(f'#include "{file}"\n' for file in files))
        objects.append(f'{unity}.o')
        _run([compiler, standard, *flags, '-c', str(unity), '-o', objects[-1]])
    suffix = sysconfig.get_config_var('EXT_SUFFIX')
    module = target / f'{package}_s__rosidl_typesupport_c{suffix}'
    libraries = [
        *(f'{name}__rosidl_{kind}' for name in needs for kind in
          ('generator_c', 'generator_py', 'typesupport_c', 'typesupport_fastrtps_c',
           'typesupport_introspection_c')),
        'rosidl_runtime_c', 'rosidl_typesupport_c', INTROSPECTION, FASTRTPS,
        'rosidl_typesupport_fastrtps_cpp',
        'rosidl_dynamic_typesupport_fastrtps', 'rcutils', 'rcpputils', 'fastcdr', 'rmw',
    ]  # fmt: skip
    folders = [*(str(root / 'lib') for root in roots), *(str(target.parent / x) for x in made)]
    found = [f'-l{name}' for name in libraries if _library(name, folders)]
    _run(
        [
            'g++', '-shared', *objects, '-o', str(module),
            f'-Wl,-soname,lib{package}__{FASTRTPS}.so',
            *(f'-L{folder}' for folder in folders),
            *(f'-Wl,-rpath,{folder}' for folder in folders),
            *found,
        ]
    )  # fmt: skip
    (target / f'lib{package}__{FASTRTPS}.so').symlink_to(module.name)  # for packages with needs
    other = f'lib{package}__{INTROSPECTION}.so'  # holds nothing: what it needs is found through it
    _run(
        [
            'g++', '-shared', '-o', str(target / other), f'-Wl,-soname,{other}',
            '-Wl,--no-as-needed', f'-Wl,-rpath,{target}', str(module),
        ]
    )  # fmt: skip


def _headers(include: Path) -> list[Path]:
    return [include, *sorted(folder for folder in include.iterdir() if folder.is_dir())]


def _library(name: str, folders: list[str]) -> bool:
    return any((Path(folder) / f'lib{name}.so').exists() for folder in folders)


def _run(command: list[str], folder: Path | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    if done.returncode:
        lines = re.findall(r'.*(?:error|undefined).*', done.stderr)[:5] or [done.stderr[-500:]]
        raise CannotBuildError(f'{command[0]}: ' + '; '.join(lines))
